//! From TOML to rules: every key is known, every number has its unit and makes sense.

mod section;

use toml::{Table, Value};

use self::section::Section;
use crate::rule::{PatientRules, Prescription, Rule, RuleSet};

/// Most rules that a set may hold.
pub const MAX_RULES: usize = 200;
/// Most patients that a set may hold rules for.
pub const MAX_PATIENTS: usize = 10_000;

/// Least hold-off, so that a storm of facts is never a storm of alerts.
const LEAST_HOLD_OFF_US: i64 = 10_000_000;

/// Why a text is not a set of rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Not TOML.
    #[error("the rules are not TOML")]
    Syntax {
        /// What the TOML reader says, with the line.
        #[source]
        source: toml::de::Error,
    },
    /// A key that nothing reads.
    #[error("{place}: unknown key '{key}'{}", suggest(.suggestion.as_deref()))]
    UnknownKey {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A key that is needed.
    #[error("{place}: the key '{key}' is missing")]
    MissingKey {
        /// Where it should stand.
        place: String,
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong form.
    #[error("{place}: {key} needs {want}")]
    BadValue {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// What it needs.
        want: String,
    },
    /// A name that nothing is called by.
    #[error("{place}: {key} names '{name}', which is none{}", suggest(.suggestion.as_deref()))]
    UnknownName {
        /// Where it stands.
        place: String,
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A number that makes no sense.
    #[error("{place}: {key} is impossible: {why}")]
    Impossible {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// Why it makes no sense.
        why: String,
    },
    /// Two things of one name.
    #[error("{place} stands twice")]
    Twice {
        /// What stands twice.
        place: String,
    },
    /// More than a set may hold.
    #[error("{what}: at most {most} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        most: usize,
    },
}

impl RuleError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "rules.syntax",
            Self::UnknownKey { .. } => "rules.unknown-key",
            Self::MissingKey { .. } => "rules.missing-key",
            Self::BadValue { .. } => "rules.bad-value",
            Self::UnknownName { .. } => "rules.unknown-name",
            Self::Impossible { .. } => "rules.impossible",
            Self::Twice { .. } => "rules.twice",
            Self::TooMany { .. } => "rules.too-many",
        }
    }
}

fn suggest(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// The nearest of some names, if one is near.
fn nearest(text: &str, names: impl Iterator<Item = &'static str>) -> Option<String> {
    names
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3))
        .map(|(_, name)| name.to_owned())
}

const SET_KEYS: [&str; 4] = ["schema", "extends", "rule", "patient"];
const PATIENT_KEYS: [&str; 4] = ["subject", "set_by", "version", "rule"];
/// Keys that a prescriber may change for a patient.
const SETTING_KEYS: [&str; 12] = [
    "enabled",
    "limit",
    "limit_unattended",
    "for",
    "for_unattended",
    "priority",
    "minimum_quality",
    "hysteresis",
    "end_after",
    "hold_off",
    "group",
    "version",
];
const IDENTITY_KEYS: [&str; 2] = ["name", "kind"];

pub(crate) fn rule_set(text: &str, default: &str) -> Result<RuleSet, RuleError> {
    let table: Table = text
        .parse()
        .map_err(|source| RuleError::Syntax { source })?;
    let set = Section {
        place: "the rules".to_owned(),
        table: &table,
    };
    set.only(SET_KEYS.iter())?;
    if set.text("schema")? != Some("rules/1") {
        return Err(set.bad("schema", "\"rules/1\""));
    }
    let mut rules = match set.text("extends")? {
        None => Vec::new(),
        Some("default") => rule_set(default, "")?.rules,
        Some(_) => return Err(set.bad("extends", "\"default\"")),
    };
    let inherited = rules.len();
    for section in set.list("rule")? {
        add_rule(&mut rules, inherited, section)?;
    }
    if rules.len() > MAX_RULES {
        return Err(RuleError::TooMany {
            what: "rules",
            most: MAX_RULES,
        });
    }
    if let Some(rule) = rules
        .iter()
        .find(|rule| rule.enabled && rule.kind.judges_signal())
    {
        return Err(RuleError::Impossible {
            place: format!("rule '{}'", rule.name),
            key: "enabled".to_owned(),
            why: "a prescriber sets a rule about the patient for one patient".to_owned(),
        });
    }
    let sections = set.list("patient")?;
    if sections.len() > MAX_PATIENTS {
        return Err(RuleError::TooMany {
            what: "patients",
            most: MAX_PATIENTS,
        });
    }
    let mut patients: Vec<PatientRules> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for section in sections {
        let patient = patient_rules(&rules, &section)?;
        if !seen.insert(patient.subject.clone()) {
            return Err(RuleError::Twice {
                place: section.place,
            });
        }
        patients.push(patient);
    }
    Ok(RuleSet { rules, patients })
}

/// Adds a rule, or changes the inherited one of the same name.
fn add_rule(
    rules: &mut Vec<Rule>,
    inherited: usize,
    section: Section<'_>,
) -> Result<(), RuleError> {
    let name = section
        .text("name")?
        .ok_or_else(|| section.missing("name"))?
        .to_owned();
    let section = Section {
        place: format!("rule '{name}'"),
        ..section
    };
    section.only(IDENTITY_KEYS.iter().chain(&SETTING_KEYS))?;
    let kind = section
        .text("kind")?
        .map(|text| section.kind(text))
        .transpose()?;
    match rules.iter().position(|rule| rule.name == name) {
        Some(position) if position < inherited => {
            let Some(base) = rules.get(position) else {
                return Ok(());
            };
            if kind.is_some_and(|kind| kind != base.kind) {
                return Err(section.bad("kind", "the condition of the rule that it changes"));
            }
            let changed = section.settings(base.clone())?;
            if let Some(place) = rules.get_mut(position) {
                *place = changed;
            }
            Ok(())
        }
        Some(_) => Err(RuleError::Twice {
            place: section.place,
        }),
        None => {
            let kind = kind.ok_or_else(|| section.missing("kind"))?;
            rules.push(section.new_rule(name, kind)?);
            Ok(())
        }
    }
}

/// Whether a text refers to a person who may prescribe (FHIR R4, `id`: 1 to 64 characters).
fn is_prescriber(text: &str) -> bool {
    let id = ["Practitioner/", "PractitionerRole/"]
        .into_iter()
        .find_map(|kind| text.strip_prefix(kind));
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    id.is_some_and(|id| (1..=64).contains(&id.len()) && id.chars().all(allowed))
}

fn patient_rules(rules: &[Rule], section: &Section<'_>) -> Result<PatientRules, RuleError> {
    section.only(PATIENT_KEYS.iter())?;
    let subject = section
        .text("subject")?
        .ok_or_else(|| section.missing("subject"))?;
    let set_by = section
        .text("set_by")?
        .ok_or_else(|| section.missing("set_by"))?;
    if !is_prescriber(set_by) {
        return Err(section.bad(
            "set_by",
            "who prescribed it, such as \"PractitionerRole/cardio1\" or \"Practitioner/ID\"",
        ));
    }
    let version = section
        .version()?
        .ok_or_else(|| section.missing("version"))?;
    let mut own = rules.to_vec();
    let changes = match section.table.get("rule") {
        None => return Err(section.missing("rule")),
        Some(Value::Table(changes)) => changes,
        Some(_) => return Err(section.bad("rule", "a table for each rule")),
    };
    for (name, change) in changes {
        let place = format!("{}, rule '{name}'", section.place);
        let Value::Table(table) = change else {
            return Err(section.bad(name, "a table of settings"));
        };
        let change = Section { place, table };
        change.only(SETTING_KEYS.iter())?;
        let Some(rule) = own.iter_mut().find(|rule| &rule.name == name) else {
            let names = rules.iter().map(|rule| rule.name.as_str());
            let near = names
                .map(|other| (strsim::damerau_levenshtein(name, other), other))
                .min()
                .filter(|(distance, other)| *distance <= 2.max(other.len() / 3));
            return Err(RuleError::UnknownName {
                place: section.place.clone(),
                key: "rule",
                name: name.clone(),
                suggestion: near.map(|(_, other)| other.to_owned()),
            });
        };
        let mut changed = change.settings(rule.clone())?;
        changed.prescription = Some(Prescription {
            set_by: set_by.to_owned(),
            version,
        });
        *rule = changed;
    }
    Ok(PatientRules {
        subject: subject.to_owned(),
        rules: own,
    })
}

#[cfg(test)]
mod tests;
