//! An alert with everything that explains it, and the events of its life that the engine
//! makes. What people do with it (deliver, acknowledge, close) is not the engine's matter.

use cardio_core::clock::UtcMicros;
use serde::{Deserialize, Serialize};

use crate::fact::Algorithm;
use crate::kind::{Family, Kind};
use crate::rule::{Prescription, Priority, Rule};

/// What the engine tells.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertEvent {
    /// A condition has held long enough.
    Raised(Box<Alert>),
    /// The condition of an alert is over. A person still closes the alert, with a reason.
    Ended(Ended),
}

/// The end of an alert's condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The alert.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// When, by the time of the fact that shows it.
    #[serde(with = "utc")]
    pub at: UtcMicros,
    /// Why.
    pub reason: EndReason,
    /// Firings of the rule or of its group while the alert was open.
    pub repeats: u64,
}

/// Why a condition is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The value is well within its limit again.
    BackWithinLimits,
    /// The recording ended while the condition held.
    RecordingEnded,
    /// The rule was switched off.
    RuleOff,
}

impl EndReason {
    /// Stable name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BackWithinLimits => "back-within-limits",
            Self::RecordingEnded => "recording-ended",
            Self::RuleOff => "rule-off",
        }
    }
}

/// An alert, and everything that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its name for ever: a UUID that follows from rule, subject, acquisition and beginning.
    pub id: String,
    /// The rule.
    pub rule: String,
    /// The rule's version.
    pub rule_version: u32,
    /// Who set the rule for the patient, if somebody did.
    pub prescription: Option<Prescription>,
    /// The condition.
    pub kind: Kind,
    /// How urgent it is.
    pub priority: Priority,
    /// The patient, box or sensor, as the engine was told.
    pub subject: String,
    /// The acquisition that shows it; `None` for a reading of the equipment.
    pub acquisition: Option<String>,
    /// The worst value so far, for conditions with a limit.
    pub value: Option<f64>,
    /// The limit.
    pub limit: Option<f64>,
    /// How long the condition has held, in seconds.
    pub held_s: f64,
    /// How long it had to hold.
    pub needed_s: f64,
    /// Quality of the window that completed it.
    pub quality: Option<String>,
    /// The quality that the rule needs.
    pub minimum_quality: Option<String>,
    /// The electrode, by its IEC letter, for conditions that name one.
    pub electrode: Option<String>,
    /// When the condition began.
    #[serde(with = "utc")]
    pub began: UtcMicros,
    /// Time of the fact that completed it.
    #[serde(with = "utc")]
    pub at: UtcMicros,
    /// When the alert was raised, by the clock of whoever runs the engine.
    #[serde(with = "utc")]
    pub raised: UtcMicros,
    /// The signal that was used.
    pub evidence: Evidence,
    /// The algorithms behind the values.
    pub algorithms: Vec<Algorithm>,
    /// Firings of the rule that were held back since its last alert.
    pub held_back: u64,
    /// The whole rule as it was then; `None` in alerts of programs that did not keep it.
    #[serde(default)]
    pub applied: Option<Rule>,
}

/// The stretch of an acquisition that shows a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its start, in microseconds on the recording's own time line.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
}

impl Evidence {
    /// Seconds of signal that were used.
    pub fn seconds(&self) -> f64 {
        seconds(self.to_us.saturating_sub(self.from_us))
    }
}

/// One condition of an alert: what was asked, what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConditionPart {
    /// What was asked.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What it was compared with.
    pub against: String,
}

impl Alert {
    /// What it is about.
    pub const fn family(&self) -> Family {
        self.kind.family()
    }

    /// Each condition with its limit and its value: the answer to *why*.
    pub fn conditions(&self) -> Vec<ConditionPart> {
        let mut parts = Vec::new();
        if let (Some(limited), Some(value), Some(limit)) =
            (self.kind.limited(), self.value, self.limit)
        {
            let unit = limited.unit.symbol();
            let side = match limited.side {
                crate::kind::Side::Above => "above",
                crate::kind::Side::AtLeast => "at least",
                crate::kind::Side::Below => "below",
            };
            parts.push(ConditionPart {
                what: self.kind.name(),
                found: format!("{value:.1} {unit}").trim_end().to_owned(),
                against: format!("{side} {limit} {unit}").trim_end().to_owned(),
            });
        } else {
            parts.push(ConditionPart {
                what: self.kind.name(),
                found: self.electrode.clone().unwrap_or_else(|| "yes".to_owned()),
                against: "no limit".to_owned(),
            });
        }
        parts.push(ConditionPart {
            what: "held",
            found: format!("{:.1} s", self.held_s),
            against: format!("at least {} s", self.needed_s),
        });
        if let (Some(quality), Some(minimum)) = (&self.quality, &self.minimum_quality) {
            parts.push(ConditionPart {
                what: "quality",
                found: quality.clone(),
                against: format!("at least {minimum}"),
            });
        }
        parts
    }
}

/// Microseconds as seconds.
pub(crate) fn seconds(micros: i64) -> f64 {
    let whole = i32::try_from(micros / 1_000_000).unwrap_or(i32::MAX);
    let rest = i32::try_from(micros % 1_000_000).unwrap_or_default();
    f64::from(whole) + f64::from(rest) / 1e6
}

/// `UtcMicros` as a number of microseconds.
mod utc {
    use cardio_core::clock::UtcMicros;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &UtcMicros, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UtcMicros, D::Error> {
        i64::deserialize(from).map(UtcMicros)
    }
}
