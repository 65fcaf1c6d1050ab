//! One table of the rules: its keys read, its numbers with their units.

use cardio_core::quality::QualityVerdict;
use toml::{Table, Value};

use super::{LEAST_HOLD_OFF_US, RuleError, nearest};
use crate::kind::{Kind, Limited, Unit};
use crate::rule::{PerAttendance, Priority, Rule};

/// A table with the place that an error names.
pub(super) struct Section<'a> {
    pub(super) place: String,
    pub(super) table: &'a Table,
}

impl<'a> Section<'a> {
    pub(super) fn missing(&self, key: &'static str) -> RuleError {
        RuleError::MissingKey {
            place: self.place.clone(),
            key,
        }
    }

    pub(super) fn bad(&self, key: &str, want: &str) -> RuleError {
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

    pub(super) fn only<'k>(
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

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, RuleError> {
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

    pub(super) fn version(&self) -> Result<Option<u32>, RuleError> {
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

    pub(super) fn list(&self, key: &str) -> Result<Vec<Section<'a>>, RuleError> {
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

    pub(super) fn kind(&self, text: &str) -> Result<Kind, RuleError> {
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

    pub(super) fn new_rule(&self, name: String, kind: Kind) -> Result<Rule, RuleError> {
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
            // About the patient: off until a prescriber sets it.
            enabled: !kind.judges_signal(),
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
    pub(super) fn settings(&self, mut rule: Rule) -> Result<Rule, RuleError> {
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
        let limit = limits.attended.min(limits.unattended);
        let Some(value) = self.number("hysteresis", limited.unit)? else {
            // One that was meant for a larger limit would keep an alert open for ever.
            let too_wide = rule.hysteresis > limit / 2.0;
            return Ok(if too_wide {
                default_hysteresis(rule)
            } else {
                rule.hysteresis
            });
        };
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
