//! `cardio-gateway alerts list|explain|seen|acknowledge|close`.

use std::path::Path;

use cardio_alert::life::CloseReason;
use cardio_gateway::control::Request;
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Alerts, those whose condition goes on first.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Why an alert was raised: conditions, limits, values, signal used, versions, its life.
    Explain {
        /// The alert's id, or the beginning of it.
        id: String,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// A person has opened an alert, and has the time of its priority again.
    Seen {
        /// The alert's id, or the beginning of it.
        id: String,
        /// The person, such as PractitionerRole/cardio1.
        #[arg(long, value_name = "REFERENCE")]
        by: String,
    },
    /// A person takes an alert on; nobody else is told any more.
    Acknowledge {
        /// The alert's id, or the beginning of it.
        id: String,
        /// The person, such as PractitionerRole/cardio1.
        #[arg(long, value_name = "REFERENCE")]
        by: String,
    },
    /// An alert needs nobody any more.
    Close {
        /// The alert's id, or the beginning of it.
        id: String,
        /// The person, such as PractitionerRole/cardio1.
        #[arg(long, value_name = "REFERENCE")]
        by: String,
        /// Why: care-given, no-action-needed, false-alarm, equipment-mended, duplicate, other.
        #[arg(long, value_parser = reason)]
        reason: CloseReason,
        /// In the person's words; needed with `other`.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

fn reason(text: &str) -> Result<CloseReason, String> {
    CloseReason::from_name(text).ok_or_else(|| {
        let names = CloseReason::ALL.map(CloseReason::name).join(", ");
        format!("the reasons are {names}")
    })
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    match verb {
        Verb::List { json } => {
            let alerts = ask(&config, &Request::AlertsList)?;
            if json {
                out::document(&alerts);
            } else {
                list(&alerts);
            }
        }
        Verb::Explain { id, json } => {
            let explained = ask(&config, &Request::AlertsExplain { id })?;
            if json {
                out::document(&explained);
            } else {
                out::result(&explanation(&explained));
            }
        }
        Verb::Seen { id, by } => {
            let done = ask(&config, &Request::AlertsSeen { id, by })?;
            out::result(&format!("{} seen\n", out::text(&done, "id")));
        }
        Verb::Acknowledge { id, by } => {
            let done = ask(&config, &Request::AlertsAcknowledge { id, by })?;
            out::result(&format!("{} acknowledged\n", out::text(&done, "id")));
        }
        Verb::Close {
            id,
            by,
            reason,
            note,
        } => {
            let request = Request::AlertsClose {
                id,
                by,
                reason,
                note,
            };
            let done = ask(&config, &request)?;
            out::result(&format!("{} closed\n", out::text(&done, "id")));
        }
    }
    Ok(exit::WELL)
}

fn list(alerts: &Value) {
    let about = |technical: bool| -> Vec<Vec<String>> {
        out::list(alerts, "alerts")
            .filter(|one| one.get("technical").and_then(Value::as_bool) == Some(technical))
            .map(row)
            .collect()
    };
    let head = ["PRI", "AGE", "ID", "STATE", "PATIENT", "CONDITION"];
    out::result(&out::table(&head, &about(false)));
    let technical = about(true);
    if !technical.is_empty() {
        out::result("\nTECHNICAL\n");
        out::result(&out::table(&head, &technical));
    }
}

fn row(one: &Value) -> Vec<String> {
    let stars = match one.get("priority").and_then(Value::as_str) {
        Some("high") => "***",
        Some("medium") => "**",
        Some("low") => "*",
        _ => "-",
    };
    let mut state = out::text(one, "stage");
    if one.get("ended").is_some_and(Value::is_string) {
        state.push_str(", over");
    }
    let age = one.get("age_s").and_then(Value::as_i64).unwrap_or(0);
    vec![
        stars.to_owned(),
        out::age(age),
        out::text(one, "id").chars().take(8).collect(),
        state,
        match one.get("subject") {
            Some(Value::String(subject)) => subject.clone(),
            _ => "UNASSIGNED".to_owned(),
        },
        out::text(one, "text_en"),
    ]
}

/// Whether the stored bytes give the same alert again.
fn made_again(recomputed: &Value) -> String {
    match recomputed.get("same").and_then(Value::as_bool) {
        None => format!("made again  no: {}\n", out::text(recomputed, "why")),
        Some(true) => format!(
            "made again  from {} stored windows, SHA-256 {}: the same\n",
            out::text(recomputed, "windows"),
            out::text(recomputed, "sha256")
        ),
        Some(false) => {
            let differences = out::list(recomputed, "differences").map(|one| {
                let [what, then, now] = ["what", "then", "now"].map(|key| out::text(one, key));
                format!("            {what}: {then} then, {now} now\n")
            });
            let head = "made again  from stored windows: NOT the same\n".to_owned();
            head + &differences.collect::<String>()
        }
    }
}

fn explanation(explained: &Value) -> String {
    let none = Value::Null;
    let evidence = explained.get("evidence").unwrap_or(&none);
    let mut text = format!(
        "{}\n{}\n\n\
         alert       {} ({})\n\
         rule        {} version {}\n\
         about       {} · box {} · acquisition {}\n\
         began       {}\ncompleted   {}\nraised      {}\nended       {}\n\
         signal      {} s, from {} to {} µs of the recording\n",
        out::text(explained, "text_fr"),
        out::text(explained, "text_en"),
        out::text(explained, "id"),
        out::text(explained, "priority"),
        out::text(explained, "rule"),
        out::text(explained, "rule_version"),
        out::text(explained, "subject"),
        out::text(explained, "box"),
        out::text(explained, "acquisition"),
        out::text(explained, "began"),
        out::text(explained, "completed"),
        out::text(explained, "raised"),
        out::text(explained, "ended"),
        out::text(evidence, "seconds"),
        out::text(evidence, "from_us"),
        out::text(evidence, "to_us"),
    );
    if let Some(prescription) = explained.get("prescription").filter(|one| one.is_object()) {
        text.push_str(&format!(
            "set by      {} (version {})\n",
            out::text(prescription, "set_by"),
            out::text(prescription, "version")
        ));
    }
    for one in out::list(explained, "algorithms") {
        text.push_str(&format!(
            "algorithm   {} version {}\n",
            out::text(one, "name"),
            out::text(one, "version")
        ));
    }
    text.push_str(&made_again(explained.get("recomputed").unwrap_or(&none)));
    let rows = |name, row: fn(&Value) -> Vec<String>| -> Vec<Vec<String>> {
        out::list(explained, name).map(row).collect()
    };
    text.push('\n');
    text.push_str(&out::table(
        &["CONDITION", "FOUND", "AGAINST"],
        &rows("conditions", |one| {
            ["what", "found", "against"]
                .map(|key| out::text(one, key))
                .into()
        }),
    ));
    let life = rows("life", |one| {
        let step = one.get("step").unwrap_or(&Value::Null);
        let why = ["channel", "reason", "why", "note"].map(|key| out::text(step, key));
        let why: Vec<String> = why.into_iter().filter(|text| text != "-").collect();
        vec![
            out::text(one, "at"),
            out::text(step, "step"),
            out::text(step, "who"),
            why.join(", "),
        ]
    });
    if !life.is_empty() {
        text.push('\n');
        text.push_str(&out::table(&["AT", "STEP", "WHO", ""], &life));
    }
    text
}
