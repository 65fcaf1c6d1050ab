//! `cardio-gateway push list|retry`.

use std::path::Path;

use cardio_gateway::control::Request;
use serde_json::Value;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// How far each server has the record, and what it would not take.
    List {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Try at once what waits for its time, once its cause is mended.
    Retry {
        /// The server's name in the configuration.
        name: String,
    },
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    match verb {
        Verb::List { json } => {
            let told = ask(&config, &Request::PushList)?;
            if json {
                out::document(&told);
            } else {
                out::result(&table(&told));
            }
            let well = out::list(&told, "push").all(is_well);
            Ok(if well { exit::WELL } else { exit::DEGRADED })
        }
        Verb::Retry { name } => {
            let told = ask(&config, &Request::PushRetry { name: name.clone() })?;
            if told.get("known").and_then(Value::as_bool) != Some(true) {
                let why = format!("no server is called {name}; `push list` shows them");
                return Err(Failure::new(why, "push.unknown"));
            }
            out::narrate("It is tried at once. Next: cardio-gateway push list\n");
            Ok(exit::WELL)
        }
    }
}

fn is_well(one: &Value) -> bool {
    one.get("refused").and_then(Value::as_u64) == Some(0)
        && one.get("failing_since_us").is_none_or(Value::is_null)
}

/// A server in a line.
pub(super) fn line(one: &Value) -> String {
    let (name, base) = (out::text(one, "name"), out::text(one, "base"));
    let (behind, refused) = (out::text(one, "behind"), out::text(one, "refused"));
    let failing = match one.get("failure").and_then(Value::as_str) {
        Some(why) => format!(" · FAILING: {why}"),
        None => String::new(),
    };
    format!("{name} at {base}: {behind} versions behind, {refused} refused{failing}")
}

fn table(told: &Value) -> String {
    let mut text = String::new();
    for one in out::list(told, "push") {
        text.push_str(&line(one));
        text.push('\n');
        for refused in out::list(one, "refusals") {
            text.push_str(&format!(
                "  {}  {} times  {}\n",
                out::text(refused, "resource"),
                out::text(refused, "tries"),
                out::text(refused, "why")
            ));
        }
    }
    if text.is_empty() {
        text.push_str("no other server is configured; `config default` shows [[push]]\n");
    }
    text
}
