//! `cardio-gateway config check|default`.

use std::path::Path;

use cardio_gateway::access::openid::OpenId;
use cardio_gateway::config::{Config, DEFAULT_TOML};
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
            let store = config
                .inbox_place()
                .map_err(|error| Failure::of(&error, error.code()))?;
            if let Some(openid) = &config.access.openid {
                let checked = OpenId::check(openid);
                checked.map_err(|error| Failure::of(&error, error.code()))?;
            }
            let on = rules.rules().iter().filter(|rule| rule.enabled).count();
            out::result(&format!(
                "OK   state in {}, records in {store}, boxes {}, readers at {}, {on} of {} rules on \
                 for everybody\n",
                config.state.display(),
                ways(&config).join(" and "),
                config.https.listen,
                rules.rules().len()
            ));
        }
    }
    Ok(exit::WELL)
}

/// How boxes reach this gateway.
fn ways(config: &Config) -> Vec<String> {
    let here = config.mqtt.listen.address();
    let there = config.broker.as_ref();
    let here = here.map(|at| format!("at {at}"));
    let there = there.map(|broker| {
        format!(
            "through the broker at {} as {}",
            broker.address, broker.user
        )
    });
    here.into_iter().chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::{Config, ways};

    #[test]
    fn the_check_says_how_boxes_reach_this_gateway() {
        let said = |text: &str| ways(&Config::from_toml(text, "t").unwrap()).join(" and ");
        let broker = "[broker]\naddress = \"b.example:8883\"\n";
        assert_eq!(said(""), "at 127.0.0.1:8883");
        let there = "through the broker at b.example:8883 as cardio-gateway";
        assert_eq!(said(broker), format!("at 127.0.0.1:8883 and {there}"));
        assert_eq!(said(&format!("[mqtt]\nlisten = \"off\"\n{broker}")), there);
    }
}
