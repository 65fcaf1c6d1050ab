//! What happens during a visit, and what must come of it: one TOML file per scenario.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// A visit with its mishaps and its expected alerts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// One line for a person.
    pub(crate) about: String,
    /// Scenario of the simulated sensor.
    pub(crate) sim: String,
    /// Codes of the alerts that must be raised, and no other.
    pub(crate) alerts: Vec<String>,
    /// What happens to the programs.
    #[serde(default)]
    pub(crate) chaos: Vec<Chaos>,
}

/// A program is killed and comes back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chaos {
    /// Milliseconds after the first frame.
    pub(crate) at_ms: u64,
    /// Which program.
    pub(crate) kill: Victim,
    /// Milliseconds until it is started again.
    pub(crate) back_after_ms: u64,
}

/// A program that can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Victim {
    /// The box.
    Agent,
    /// The receiving end.
    Gateway,
    /// Both at once.
    Both,
}

impl Victim {
    /// What a person calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "box",
            Self::Gateway => "gateway",
            Self::Both => "box and gateway",
        }
    }

    /// Whether the box is killed.
    pub(crate) const fn is_agent(self) -> bool {
        matches!(self, Self::Agent | Self::Both)
    }

    /// Whether the gateway is killed.
    pub(crate) const fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::Both)
    }
}

impl Scenario {
    /// Reads the scenario called `name` from `hw-test/scenarios`.
    pub(crate) fn load(name: &str) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let path = folder.join(format!("{name}.toml"));
        if !path.is_file() {
            bail!(
                "no scenario is called {name}; there are: {}",
                names(&folder).join(", ")
            );
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a scenario", path.display()))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::{Scenario, names};
    use std::path::Path;

    #[test]
    fn every_scenario_of_the_folder_can_be_read() {
        let all = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"));
        assert!(all.len() >= 6, "{all:?}");
        for name in all {
            Scenario::load(&name).unwrap();
        }
    }

    #[test]
    fn a_scenario_that_does_not_exist_is_answered_with_those_that_do() {
        let text = Scenario::load("clam").unwrap_err().to_string();
        assert!(text.contains("clam") && text.contains("calm"), "{text}");
    }
}
