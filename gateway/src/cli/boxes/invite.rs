//! Enrolment over the network, as its operator sees it.

use cardio_gateway::config::Config;
use cardio_gateway::control::Request;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::Value;

use crate::cli::ask::ask;
use crate::cli::failure::Failure;
use crate::cli::{exit, out};

pub(super) fn invite(config: &Config, name: String, json: bool) -> Result<u8, Failure> {
    let made = ask(config, &Request::BoxesInvite { name })?;
    if json {
        out::document(&made);
        return Ok(exit::WELL);
    }
    let [name, address, authority, code, until, text] =
        ["name", "address", "ca_sha256", "code", "until", "qr"].map(|part| out::text(&made, part));
    // a text too long for a QR code is typed instead
    let drawn = QrCode::new(text.as_bytes()).map_or_else(
        |_| String::new(),
        |qr| qr.render::<Dense1x2>().quiet_zone(true).build() + "\n",
    );
    out::result(&format!(
        "INVITED   {name}, until {until}\n\
         address   {address}\n\
         ca-sha256 {authority}\n\
         code      {code}   shown once; it is kept nowhere\n\n\
         {drawn}\n\
         At the box:\n  cardio-agent enrol --gateway {address} --ca-sha256 {authority} --code -\n  {code}\n\
         Then here, with the six words that the box shows:\n  \
         cardio-gateway boxes confirm {name} --words \"...\"\n"
    ));
    Ok(exit::WELL)
}

pub(super) fn pending(config: &Config, json: bool) -> Result<u8, Failure> {
    let visitors = ask(config, &Request::BoxesPending)?;
    if json {
        out::document(&visitors);
    } else {
        out::result(&table(&visitors));
    }
    Ok(exit::WELL)
}

fn table(visitors: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(visitors, "invitations")
        .map(|one| {
            let left = one.get("left_s").and_then(Value::as_i64).unwrap_or(0);
            vec![
                out::text(one, "name"),
                out::text(one, "state"),
                out::age(left),
                out::text(one, "words"),
                note(one),
            ]
        })
        .collect();
    out::table(&["BOX", "STATE", "LEFT", "SIX WORDS", "NOTE"], &rows)
}

/// What an operator should know before deciding.
fn note(one: &Value) -> String {
    let count = |part| one.get(part).and_then(Value::as_i64).unwrap_or(0);
    match (count("used_again"), count("wrong_codes")) {
        (0, 0) => "-".to_owned(),
        (0, wrong) => format!("{wrong} wrong code(s)"),
        (again, _) => format!("code used {again} more time(s) with other keys"),
    }
}

pub(super) fn confirm(config: &Config, name: String, words: String) -> Result<u8, Failure> {
    let request = Request::BoxesConfirm {
        name: name.clone(),
        words,
    };
    ask(config, &request)?;
    out::narrate(&format!("{name} is enrolled and may connect.\n"));
    Ok(exit::WELL)
}

pub(super) fn refuse(config: &Config, name: String) -> Result<u8, Failure> {
    ask(config, &Request::BoxesRefuse { name: name.clone() })?;
    out::narrate(&format!("{name} is refused.\n"));
    Ok(exit::WELL)
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn a_code_that_came_twice_is_said_before_anything_else() {
        let text = table(&json!({"invitations": [
            {"name": "FR75-012", "state": "pending", "left_s": 3600, "words": "a b c d e f",
             "used_again": 1, "wrong_codes": 2},
        ]}));
        assert!(
            text.contains("code used 1 more time(s) with other keys"),
            "{text}"
        );
    }
}
