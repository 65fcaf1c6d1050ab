//! `cardio-gateway status`.

use std::path::Path;

use cardio_gateway::control::Request;
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    let status = ask(&config, &Request::Status)?;
    if arguments.json {
        out::document(&status);
    } else {
        out::result(&told(&status));
    }
    Ok(match status.get("verdict").and_then(Value::as_str) {
        Some("RECEIVING") => exit::WELL,
        _ => exit::DEGRADED,
    })
}

/// How boxes reach this gateway.
fn ways(status: &Value) -> String {
    let here = status.get("mqtt").and_then(Value::as_str);
    let here = here.map(|at| format!("at {at}"));
    let there = status.get("broker").filter(|broker| broker.is_object());
    let there = there.map(|broker| {
        let met = broker.get("connected").and_then(Value::as_bool) == Some(true);
        let not = if met { "" } else { " (NOT CONNECTED)" };
        format!(
            "through the broker at {}{not}",
            out::text(broker, "address")
        )
    });
    let ways: Vec<String> = here.into_iter().chain(there).collect();
    ways.join(" and ")
}

fn told(status: &Value) -> String {
    let up = status.get("up_s").and_then(Value::as_i64).unwrap_or(0);
    let mut text = format!(
        "{}   boxes {} · record at https://{}/fhir · up {}\n\n",
        out::text(status, "verdict"),
        ways(status),
        out::text(status, "https"),
        out::age(up)
    );
    text.push_str(&super::boxes::table(status));
    let (none, inbox, record) = (Value::Null, status.get("inbox"), status.get("record"));
    let (inbox, record) = (inbox.unwrap_or(&none), record.unwrap_or(&none));
    text.push_str(&format!(
        "\nINBOX   {} frames, {} carried over · {} conflicts · {} missing, {} of them named in \
         gaps · {} refused by boxes · {} broken and {} forked lanes, {} ended\n\
         RECORD  {} records · {} acquisitions, {} UNASSIGNED · {} resources · {} reports due · \
         {} in quarantine\n\
         ALERTS  {} open\n",
        out::text(inbox, "frames"),
        out::text(inbox, "carried"),
        out::text(inbox, "conflicts"),
        out::text(inbox, "missing"),
        out::text(inbox, "named_in_gaps"),
        out::text(inbox, "refused"),
        out::text(inbox, "broken_lanes"),
        out::text(inbox, "forked_lanes"),
        out::text(inbox, "forks_ended"),
        out::text(record, "records"),
        out::text(record, "acquisitions"),
        out::text(record, "unassigned"),
        out::text(record, "resources"),
        out::text(record, "reports_due"),
        out::text(record, "quarantined"),
        out::text(record, "alerts_open"),
    ));
    for one in out::list(status, "push") {
        text.push_str(&format!("PUSH    {}\n", super::push::line(one)));
    }
    if let Some(disk) = status.get("disk") {
        let mib = |name: &str| disk.get(name).and_then(Value::as_u64).unwrap_or(0) >> 20;
        text.push_str(&format!(
            "DISK    inbox {} MiB · record {} MiB · {} MiB free\n",
            mib("inbox_bytes"),
            mib("record_bytes"),
            mib("free_bytes")
        ));
    }
    for one in out::list(status, "quarantine") {
        text.push_str(&format!(
            "QUARANTINE  {}  {}  {}\n",
            out::text(one, "frame"),
            out::text(one, "code"),
            out::text(one, "why")
        ));
    }
    text.push_str("Next: cardio-gateway alerts list\n");
    text
}
