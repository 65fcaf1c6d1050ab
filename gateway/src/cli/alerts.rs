//! `cardio-gateway alerts list`.

use std::path::Path;

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
}

pub(super) fn run(verb: &Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let Verb::List { json } = verb;
    let config = configured(config)?;
    let alerts = ask(&config, &Request::AlertsList)?;
    if *json {
        out::document(&alerts);
        return Ok(exit::WELL);
    }
    let about = |technical: bool| -> Vec<Vec<String>> {
        out::list(&alerts, "alerts")
            .filter(|one| one.get("technical").and_then(Value::as_bool) == Some(technical))
            .map(row)
            .collect()
    };
    let head = ["PRI", "AGE", "STATE", "PATIENT", "CONDITION"];
    out::result(&out::table(&head, &about(false)));
    let technical = about(true);
    if !technical.is_empty() {
        out::result("\nTECHNICAL\n");
        out::result(&out::table(&head, &technical));
    }
    Ok(exit::WELL)
}

fn row(one: &Value) -> Vec<String> {
    let stars = match one.get("priority").and_then(Value::as_str) {
        Some("high") => "***",
        Some("medium") => "**",
        Some("low") => "*",
        _ => "-",
    };
    let state = match one.get("ended") {
        Some(Value::String(_)) => "over",
        _ => "new",
    };
    let age = one.get("age_s").and_then(Value::as_i64).unwrap_or(0);
    vec![
        stars.to_owned(),
        out::age(age),
        state.to_owned(),
        match one.get("subject") {
            Some(Value::String(subject)) => subject.clone(),
            _ => "UNASSIGNED".to_owned(),
        },
        out::text(one, "text_en"),
    ]
}
