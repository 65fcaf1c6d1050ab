//! From TOML to rules: every key is known, every number has its unit and makes sense.

use cardio_core::quality::QualityVerdict;
use toml::{Table, Value};

use crate::kind::{Kind, Limited, Unit};
use crate::rule::{PatientRules, PerAttendance, Prescription, Priority, Rule, RuleSet};

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

fn patient_rules(rules: &[Rule], section: &Section<'_>) -> Result<PatientRules, RuleError> {
    section.only(PATIENT_KEYS.iter())?;
    let subject = section
        .text("subject")?
        .ok_or_else(|| section.missing("subject"))?;
    let set_by = section
        .text("set_by")?
        .ok_or_else(|| section.missing("set_by"))?;
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

/// A table with the place that an error names.
struct Section<'a> {
    place: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    fn missing(&self, key: &'static str) -> RuleError {
        RuleError::MissingKey {
            place: self.place.clone(),
            key,
        }
    }

    fn bad(&self, key: &str, want: &str) -> RuleError {
        RuleError::BadValue {
            place: self.place.clone(),
            key: key.to_owned(),
            want: want.to_owned(),
        }
    }

    fn impossible(&self, key: &str, why: String) -> RuleError {
        RuleError::Impossible {
            place: self.place.clone(),
            key: key.to_owned(),
            why,
        }
    }

    fn only<'k>(
        &self,
        known: impl Iterator<Item = &'k &'static str> + Clone,
    ) -> Result<(), RuleError> {
        match self
            .table
            .keys()
            .find(|key| !known.clone().any(|known| known == key))
        {
            None => Ok(()),
            Some(key) => Err(RuleError::UnknownKey {
                place: self.place.clone(),
                key: key.clone(),
                suggestion: nearest(key, known.copied()),
            }),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, RuleError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(self.bad(key, "a text in quotes, with its unit if it is a number")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, RuleError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.bad(key, "true or false")),
        }
    }

    fn version(&self) -> Result<Option<u32>, RuleError> {
        match self.table.get("version") {
            None => Ok(None),
            Some(value) => value
                .as_integer()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number > 0)
                .map(Some)
                .ok_or_else(|| self.bad("version", "a whole number from 1")),
        }
    }

    fn list(&self, key: &str) -> Result<Vec<Section<'a>>, RuleError> {
        let items = match self.table.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(self.bad(key, &format!("the form [[{key}]]"))),
        };
        (1..)
            .zip(items)
            .map(|(number, item)| match item {
                Value::Table(table) => Ok(Section {
                    place: format!("{key} {number}"),
                    table,
                }),
                _ => Err(self.bad(key, &format!("the form [[{key}]]"))),
            })
            .collect()
    }

    fn kind(&self, text: &str) -> Result<Kind, RuleError> {
        Kind::from_name(text)
            .ok_or_else(|| self.unknown("kind", text, Kind::ALL.into_iter().map(Kind::name)))
    }

    fn unknown(
        &self,
        key: &'static str,
        name: &str,
        names: impl Iterator<Item = &'static str>,
    ) -> RuleError {
        RuleError::UnknownName {
            place: self.place.clone(),
            key,
            name: name.to_owned(),
            suggestion: nearest(name, names),
        }
    }

    fn priority(&self) -> Result<Option<Priority>, RuleError> {
        let Some(text) = self.text("priority")? else {
            return Ok(None);
        };
        let found = Priority::ALL
            .into_iter()
            .find(|priority| priority.name() == text);
        let names = Priority::ALL.into_iter().map(Priority::name);
        found
            .map(Some)
            .ok_or_else(|| self.unknown("priority", text, names))
    }

    fn minimum_quality(&self, kind: Kind) -> Result<Option<QualityVerdict>, RuleError> {
        let key = "minimum_quality";
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        if !kind.judges_signal() {
            let why = format!("'{}' does not judge the patient's signal", kind.name());
            return Err(self.impossible(key, why));
        }
        match text {
            "acceptable" => Ok(Some(QualityVerdict::Acceptable)),
            "good" => Ok(Some(QualityVerdict::Good)),
            "insufficient" => Err(self.impossible(
                key,
                "a clinical rule needs a signal that is at least acceptable".to_owned(),
            )),
            _ => Err(self.unknown(key, text, ["acceptable", "good"].into_iter())),
        }
    }

    fn new_rule(&self, name: String, kind: Kind) -> Result<Rule, RuleError> {
        let priority = self.priority()?.ok_or_else(|| self.missing("priority"))?;
        let limited = kind.limited();
        if limited.is_some() && !self.table.contains_key("limit") {
            return Err(self.missing("limit"));
        }
        if kind.judges_signal() && !self.table.contains_key("minimum_quality") {
            return Err(self.missing("minimum_quality"));
        }
        let version = self.version()?.ok_or_else(|| self.missing("version"))?;
        let base = Rule {
            name,
            kind,
            version,
            enabled: true,
            limit: limited.map(|limited| PerAttendance::both(limited.least)),
            hold_us: PerAttendance::both(0),
            priority,
            minimum_quality: None,
            hysteresis: 0.0,
            end_after_us: 10_000_000,
            hold_off_us: priority.hold_off_us(),
            group: None,
            prescription: None,
        };
        let mut rule = self.settings(base)?;
        if !self.table.contains_key("hysteresis") {
            rule.hysteresis = default_hysteresis(&rule);
        }
        Ok(rule)
    }

    /// A rule with what this section changes.
    fn settings(&self, mut rule: Rule) -> Result<Rule, RuleError> {
        rule.enabled = self.flag("enabled")?.unwrap_or(rule.enabled);
        rule.version = self.version()?.unwrap_or(rule.version);
        rule.priority = self.priority()?.unwrap_or(rule.priority);
        rule.minimum_quality = self.minimum_quality(rule.kind)?.or(rule.minimum_quality);
        rule.limit = self.limits(&rule)?;
        rule.hysteresis = self.hysteresis(&rule)?;
        if let Some(hold) = self.duration("for")? {
            rule.hold_us = PerAttendance::both(hold);
        }
        if let Some(hold) = self.duration("for_unattended")? {
            rule.hold_us.unattended = hold;
        }
        rule.end_after_us = self.duration("end_after")?.unwrap_or(rule.end_after_us);
        rule.hold_off_us = self.duration("hold_off")?.unwrap_or(rule.hold_off_us);
        if rule.hold_off_us < LEAST_HOLD_OFF_US {
            return Err(self.impossible("hold_off", "it must be at least 10 s".to_owned()));
        }
        if let Some(group) = self.text("group")? {
            rule.group = Some(group.to_owned());
        }
        Ok(rule)
    }

    fn limits(&self, rule: &Rule) -> Result<Option<PerAttendance<f64>>, RuleError> {
        let (Some(limited), Some(mut limits)) = (rule.kind.limited(), rule.limit) else {
            return match ["limit", "limit_unattended", "hysteresis"]
                .into_iter()
                .find(|key| self.table.contains_key(*key))
            {
                None => Ok(None),
                Some(key) => {
                    Err(self.impossible(key, format!("'{}' has no limit", rule.kind.name())))
                }
            };
        };
        if let Some(limit) = self.limit("limit", limited)? {
            limits = PerAttendance::both(limit);
        }
        if let Some(limit) = self.limit("limit_unattended", limited)? {
            limits.unattended = limit;
        }
        Ok(Some(limits))
    }

    fn limit(&self, key: &str, limited: Limited) -> Result<Option<f64>, RuleError> {
        let Some(value) = self.number(key, limited.unit)? else {
            return Ok(None);
        };
        if value >= limited.least && value <= limited.greatest {
            return Ok(Some(value));
        }
        let unit = limited.unit.symbol();
        let why = format!(
            "{value}{unit} is not within {}{unit} and {}{unit}",
            limited.least, limited.greatest
        );
        Err(self.impossible(key, why))
    }

    fn hysteresis(&self, rule: &Rule) -> Result<f64, RuleError> {
        let (Some(limited), Some(limits)) = (rule.kind.limited(), rule.limit) else {
            return Ok(0.0);
        };
        let Some(value) = self.number("hysteresis", limited.unit)? else {
            return Ok(rule.hysteresis);
        };
        let limit = limits.attended.min(limits.unattended);
        if value < 0.0 || value > limit / 2.0 {
            let why = "it must lie between zero and half of the limit".to_owned();
            return Err(self.impossible("hysteresis", why));
        }
        Ok(value)
    }

    /// A number with its unit.
    fn number(&self, key: &str, unit: Unit) -> Result<Option<f64>, RuleError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let want = match unit {
            Unit::PerMinute => "a number with the unit /min, such as \"130/min\"",
            Unit::Seconds => "a time, such as \"10 s\", \"5 min\" or \"2 h\"",
            Unit::Hours => "a time in hours, such as \"24 h\"",
            Unit::Percent => "a percentage, such as \"20 %\"",
            Unit::Events => "a whole number, such as \"1\"",
        };
        let (value, symbol) = split_unit(text).ok_or_else(|| self.bad(key, want))?;
        let factor = match (unit, symbol) {
            (Unit::PerMinute, "/min") | (Unit::Percent, "%") | (Unit::Events, "") => 1.0,
            (Unit::Seconds, _) => seconds_in(symbol).ok_or_else(|| self.bad(key, want))?,
            (Unit::Hours, "h") => 1.0,
            (Unit::Hours, "d") => 24.0,
            _ => return Err(self.bad(key, want)),
        };
        Ok(Some(value * factor))
    }

    /// A time in microseconds, at most 31 days.
    fn duration(&self, key: &str) -> Result<Option<i64>, RuleError> {
        let Some(seconds) = self.number(key, Unit::Seconds)? else {
            return Ok(None);
        };
        if !(0.0..=2_678_400.0).contains(&seconds) {
            return Err(self.impossible(key, "it must lie between zero and 31 days".to_owned()));
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "between zero and 2.7e12: checked on the lines above"
        )]
        Ok(Some((seconds * 1e6).round() as i64))
    }
}

/// Ten percent of the limit; nothing for a count.
fn default_hysteresis(rule: &Rule) -> f64 {
    match (rule.kind.limited(), rule.limit) {
        (Some(limited), Some(limits)) if limited.unit != Unit::Events => {
            limits.attended.min(limits.unattended) / 10.0
        }
        _ => 0.0,
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let value: f64 = number.parse().ok()?;
    value.is_finite().then_some((value, unit.trim()))
}

fn seconds_in(unit: &str) -> Option<f64> {
    match unit {
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "min" => Some(60.0),
        "h" => Some(3_600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &str) -> RuleError {
        RuleSet::from_toml(&format!("schema = \"rules/1\"\n{body}")).unwrap_err()
    }

    const TACHYCARDIA: &str = "[[rule]]\nname = \"t\"\nkind = \"heart-rate-high\"\nversion = 1\npriority = \"medium\"\nminimum_quality = \"acceptable\"\n";

    #[test]
    fn a_misspelt_key_is_named_with_the_right_one() {
        let err = refused(&format!(
            "{TACHYCARDIA}limit = \"130/min\"\nhysterisis = \"5/min\""
        ));
        assert_eq!(
            err.to_string(),
            "rule 't': unknown key 'hysterisis'; did you mean 'hysteresis'?"
        );
        assert_eq!(err.code(), "rules.unknown-key");
        let err = refused("[[rules]]");
        assert_eq!(
            err.to_string(),
            "the rules: unknown key 'rules'; did you mean 'rule'?"
        );
    }

    #[test]
    fn a_number_without_its_unit_or_with_a_wrong_one_is_refused() {
        for limit in ["130", "\"130\"", "\"130 bpm\"", "\"fast\"", "\"130 s\""] {
            let err = refused(&format!("{TACHYCARDIA}limit = {limit}"));
            assert_eq!(err.code(), "rules.bad-value", "{limit}: {err}");
        }
    }

    #[test]
    fn an_impossible_limit_is_refused_with_the_possible_ones() {
        let err = refused(&format!("{TACHYCARDIA}limit = \"1300/min\""));
        assert_eq!(
            err.to_string(),
            "rule 't': limit is impossible: 1300/min is not within 60/min and 300/min"
        );
        let err = refused(&format!(
            "{TACHYCARDIA}limit = \"130/min\"\nhysteresis = \"100/min\""
        ));
        assert_eq!(err.code(), "rules.impossible");
        let err = refused(&format!("{TACHYCARDIA}limit = \"130/min\"\nfor = \"-5 s\""));
        assert_eq!(err.code(), "rules.impossible");
    }

    #[test]
    fn what_a_clinical_rule_needs_cannot_be_left_out() {
        assert_eq!(
            refused(TACHYCARDIA).to_string(),
            "rule 't': the key 'limit' is missing"
        );
        let err = refused(
            "[[rule]]\nname = \"t\"\nkind = \"af-suspected\"\nversion = 1\npriority = \"low\"",
        );
        assert_eq!(
            err.to_string(),
            "rule 't': the key 'minimum_quality' is missing"
        );
        let err = refused(&format!(
            "{}limit = \"130/min\"",
            TACHYCARDIA.replace("acceptable", "insufficient")
        ));
        assert_eq!(err.code(), "rules.impossible");
    }

    #[test]
    fn a_condition_or_a_rule_that_is_none_is_named_with_the_near_one() {
        let err = refused("[[rule]]\nname = \"t\"\nkind = \"heart-rate-hi\"");
        assert!(
            err.to_string().ends_with("did you mean 'heart-rate-high'?"),
            "{err}"
        );
        let err = refused(
            "extends = \"default\"\n[[patient]]\nsubject = \"p1\"\nset_by = \"x\"\nversion = 1\n[patient.rule.tachicardia]\nenabled = true",
        );
        assert!(
            err.to_string().ends_with("did you mean 'tachycardia'?"),
            "{err}"
        );
        assert!(
            refused("[[rule]]\nname = \"t\"\nkind = \"zzzzzzzz\"")
                .to_string()
                .ends_with("which is none")
        );
    }

    #[test]
    fn nothing_stands_twice() {
        let rule = format!("{TACHYCARDIA}limit = \"130/min\"\n");
        assert_eq!(
            refused(&format!("{rule}{rule}")).to_string(),
            "rule 't' stands twice"
        );
        let patient = "[[patient]]\nsubject = \"p1\"\nset_by = \"x\"\nversion = 1\n[patient.rule.t]\nenabled = true\n";
        let err = refused(&format!("{rule}{patient}{patient}"));
        assert_eq!(err.to_string(), "patient 2 stands twice");
    }

    #[test]
    fn a_rule_that_changes_an_inherited_one_keeps_the_rest_of_it() {
        let set = RuleSet::from_toml(
            "schema = \"rules/1\"\nextends = \"default\"\n[[rule]]\nname = \"electrode-off\"\nfor = \"2 s\"",
        )
        .unwrap();
        let rule = set
            .rules()
            .iter()
            .find(|rule| rule.name == "electrode-off")
            .unwrap();
        assert_eq!(rule.hold_us, PerAttendance::both(2_000_000));
        assert_eq!((rule.priority, rule.version), (Priority::Low, 1));
    }

    #[test]
    fn a_text_that_is_no_toml_is_refused_with_the_reason_behind() {
        let err = RuleSet::from_toml("schema = ").unwrap_err();
        assert_eq!(err.to_string(), "the rules are not TOML");
        assert!(std::error::Error::source(&err).is_some());
        assert_eq!(
            RuleSet::from_toml("").unwrap_err().code(),
            "rules.bad-value"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_set_of_rules_or_an_error(text: String, value in "[0-9.-]{0,8} ?(s|min|h|%|/min|)") {
            let _ = RuleSet::from_toml(&text);
            let _ = RuleSet::from_toml(&format!("schema = \"rules/1\"\n{TACHYCARDIA}limit = \"{value}\"\nfor = \"{value}\""));
        }
    }
}
