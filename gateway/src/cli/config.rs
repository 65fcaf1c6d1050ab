//! `cardio-gateway config check|default`.

use std::path::Path;

use cardio_gateway::config::DEFAULT_TOML;
use cardio_gateway::gateway::rules;

use super::ask::configured;
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Say whether the configuration, and the files that it names, can be used.
    Check,
    /// Print the commented default configuration.
    Default,
}

pub(super) fn run(verb: &Verb, config: Option<&Path>) -> Result<u8, Failure> {
    match verb {
        Verb::Default => out::result(DEFAULT_TOML),
        Verb::Check => {
            let config = configured(config)?;
            let rules = rules(&config).map_err(|error| Failure::of(&error, error.code()))?;
            let on = rules.rules().iter().filter(|rule| rule.enabled).count();
            out::result(&format!(
                "OK   state in {}, boxes at {}, readers at {}, {on} of {} rules on for everybody\n",
                config.state.display(),
                config.mqtt.listen,
                config.https.listen,
                rules.rules().len()
            ));
        }
    }
    Ok(exit::WELL)
}
