//! Rules as data: which condition, which limit, how long, how urgent, for whom.
//!
//! A rule that makes no sense is refused before it is active. A clinical rule is off until a
//! prescriber sets it for a patient. Deliberately absent: files; the text is an argument.

use cardio_core::acquisition::Attendance;
use cardio_core::quality::QualityVerdict;

use crate::kind::Kind;
pub use crate::parse::RuleError;

/// How urgent an alert is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// No response needed.
    Information,
    /// Be aware.
    Low,
    /// Prompt.
    Medium,
    /// Someone must look now.
    High,
}

impl Priority {
    /// All priorities, least urgent first.
    pub const ALL: [Self; 4] = [Self::Information, Self::Low, Self::Medium, Self::High];

    /// Stable name in rules and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// Hold-off of a rule that names none: five minutes for high, 15 for medium, 4 h below.
    pub(crate) const fn hold_off_us(self) -> i64 {
        match self {
            Self::High => 300_000_000,
            Self::Medium => 900_000_000,
            Self::Low | Self::Information => 14_400_000_000,
        }
    }
}

/// Something that depends on whether a person attends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PerAttendance<T> {
    /// While a person attends.
    pub attended: T,
    /// Otherwise.
    pub unattended: T,
}

impl<T: Copy> PerAttendance<T> {
    /// The same for both.
    pub const fn both(value: T) -> Self {
        Self {
            attended: value,
            unattended: value,
        }
    }

    /// The one that applies.
    pub const fn get(&self, attendance: Attendance) -> T {
        match attendance {
            Attendance::Attended => self.attended,
            Attendance::Unattended => self.unattended,
        }
    }
}

/// One rule, complete and possible. Serialisable, so that an alert keeps the rule that raised it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The condition that it watches.
    pub kind: Kind,
    /// Version; any change of what it does raises it.
    pub version: u32,
    /// Whether it is on.
    pub enabled: bool,
    /// The limit, in the condition's unit; `None` for conditions without one.
    pub limit: Option<PerAttendance<f64>>,
    /// How long the condition must hold, in microseconds of signal.
    pub hold_us: PerAttendance<i64>,
    /// How urgent its alert is.
    pub priority: Priority,
    /// Below this quality it says that it could not analyse.
    #[serde(with = "verdict")]
    pub minimum_quality: Option<QualityVerdict>,
    /// How far within the limit a value must come back to end the alert.
    pub hysteresis: f64,
    /// How long it must stay there, in microseconds of signal.
    pub end_after_us: i64,
    /// How long after an alert no other one of the rule is raised for the same patient.
    pub hold_off_us: i64,
    /// Rules of one group raise one alert: the most urgent one.
    pub group: Option<String>,
    /// Who set it for the patient, when it was set for one.
    pub prescription: Option<Prescription>,
}

/// Who set a rule for a patient.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Prescription {
    /// A reference such as `PractitionerRole/cardio1`.
    pub set_by: String,
    /// Version of the patient's rules.
    pub version: u32,
}

/// All rules, and what is different for which patient.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
    pub(crate) patients: Vec<PatientRules>,
}

/// Rules of one patient.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PatientRules {
    pub(crate) subject: String,
    pub(crate) rules: Vec<Rule>,
}

/// The rules that come with the product: technical ones on, clinical ones off.
const DEFAULT: &str = include_str!("../rules/default.toml");

impl RuleSet {
    /// Reads rules. A text that says `extends = "default"` starts from the rules that come
    /// with the product and changes them by name.
    ///
    /// # Errors
    /// [`RuleError`] names the rule, the key and what is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, RuleError> {
        crate::parse::rule_set(text, DEFAULT)
    }

    /// The text of the rules that come with the product.
    pub const fn default_toml() -> &'static str {
        DEFAULT
    }

    /// The rules that come with the product.
    ///
    /// # Errors
    /// As [`RuleSet::from_toml`]; a test holds that there is none.
    pub fn standard() -> Result<Self, RuleError> {
        Self::from_toml(DEFAULT)
    }

    /// The rules for everybody.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many patients have rules of their own.
    pub fn patients(&self) -> usize {
        self.patients.len()
    }

    /// Whether a patient has rules of their own.
    pub fn has_patient(&self, subject: &str) -> bool {
        self.patients
            .iter()
            .any(|patient| patient.subject == subject)
    }

    /// The same rules, every one of them on: to try them, never to run them.
    #[must_use]
    pub fn all_on(mut self) -> Self {
        let of_patients = self.patients.iter_mut().flat_map(|one| &mut one.rules);
        for rule in self.rules.iter_mut().chain(of_patients) {
            rule.enabled = true;
        }
        self
    }

    /// The rules for a patient, or for a box or sensor.
    pub fn rules_for(&self, subject: &str) -> &[Rule] {
        self.patients
            .iter()
            .find(|patient| patient.subject == subject)
            .map_or(&self.rules, |patient| &patient.rules)
    }
}

/// A verdict by its stable name.
mod verdict {
    use cardio_core::quality::QualityVerdict;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const ALL: [QualityVerdict; 3] = [
        QualityVerdict::Insufficient,
        QualityVerdict::Acceptable,
        QualityVerdict::Good,
    ];

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        verdict: &Option<QualityVerdict>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        verdict.map(QualityVerdict::name).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<QualityVerdict>, D::Error> {
        let Some(name) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        let known = ALL.into_iter().find(|verdict| verdict.name() == name);
        known
            .map(Some)
            .ok_or_else(|| D::Error::custom("no verdict"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Family;

    #[test]
    fn a_rule_is_read_again_as_it_was_written() {
        for rule in RuleSet::standard().unwrap().rules() {
            let written = serde_json::to_string(rule).unwrap();
            assert_eq!(&serde_json::from_str::<Rule>(&written).unwrap(), rule);
        }
    }

    #[test]
    fn the_rules_that_come_with_the_product_are_possible() {
        let rules = RuleSet::standard().unwrap();
        assert!(rules.rules().len() >= 15);
    }

    #[test]
    fn a_clinical_rule_is_off_until_somebody_sets_it_for_a_patient() {
        let rules = RuleSet::standard().unwrap();
        for rule in rules.rules() {
            let clinical = rule.kind.family() == Family::Physiological;
            assert_eq!(rule.enabled, !clinical, "{}", rule.name);
            assert_eq!(rule.minimum_quality.is_some(), clinical, "{}", rule.name);
        }
    }

    #[test]
    fn a_rule_set_for_one_patient_leaves_the_others_alone() {
        let rules = RuleSet::from_toml(
            r#"
            schema = "rules/1"
            extends = "default"
            [[patient]]
            subject = "p1"
            set_by = "PractitionerRole/cardio1"
            version = 3
            [patient.rule.tachycardia]
            enabled = true
            limit = "120/min"
            "#,
        )
        .unwrap();
        let of = |subject: &str| {
            let rules = rules.rules_for(subject).iter();
            rules
                .clone()
                .find(|rule| rule.name == "tachycardia")
                .unwrap()
                .clone()
        };
        assert!(of("p1").enabled && !of("p2").enabled);
        assert_eq!(of("p1").limit, Some(PerAttendance::both(120.0)));
        assert_eq!(of("p1").prescription.unwrap().version, 3);
        assert_eq!(of("p2").prescription, None);
    }
}
