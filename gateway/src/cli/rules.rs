//! `cardio-gateway rules check|default`.

use std::path::{Path, PathBuf};

use cardio_alert::{Family, RuleSet};

use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Read alert rules and say what is wrong with them, before they are active.
    Check {
        /// The rules.
        file: PathBuf,
    },
    /// Print the rules that come with the product.
    Default,
}

pub(super) fn run(verb: &Verb, _config: Option<&Path>) -> Result<u8, Failure> {
    let Verb::Check { file } = verb else {
        out::result(RuleSet::default_toml());
        return Ok(exit::WELL);
    };
    let rules = cardio_gateway::gateway::rules_of(file)
        .map_err(|error| Failure::of(&error, error.code()))?;
    let row = |rule: &cardio_alert::rule::Rule| {
        vec![
            rule.name.clone(),
            rule.version.to_string(),
            if rule.enabled { "on" } else { "off" }.to_owned(),
            rule.priority.name().to_owned(),
            match rule.kind.family() {
                Family::Physiological => "patient",
                Family::Technical => "equipment",
            }
            .to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = rules.rules().iter().map(row).collect();
    let head = ["RULE", "VERSION", "FOR ALL", "PRIORITY", "ABOUT"];
    out::result(&out::table(&head, &rows));
    out::result(&format!(
        "{} patients with rules of their own\n",
        rules.patients()
    ));
    Ok(exit::WELL)
}
