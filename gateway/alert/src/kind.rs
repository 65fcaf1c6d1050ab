//! The conditions that a rule can watch, and what each one measures.
//!
//! A condition reads a fact and gives a number, a yes or no, or *could not analyse*.
//! Deliberately absent: limits and times, which are data of the rules.

use cardio_core::quality::{QualityCause, QualityVerdict};

use crate::fact::{Fact, Quantity, Reading};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The patient.
    Physiological,
    /// The exam, a sensor, a link, a store or a clock.
    Technical,
}

/// On which side of its limit a value is out of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above the limit.
    Above,
    /// At the limit or above it.
    AtLeast,
    /// Below the limit.
    Below,
}

/// Unit of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Beats per minute.
    PerMinute,
    /// Seconds.
    Seconds,
    /// Hours.
    Hours,
    /// Percent.
    Percent,
    /// A count of events.
    Events,
}

impl Unit {
    /// As it is written behind a number.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::PerMinute => "/min",
            Self::Seconds => "s",
            Self::Hours => "h",
            Self::Percent => "%",
            Self::Events => "",
        }
    }
}

/// A condition with a limit: its unit, its side, and the limits that make sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limited {
    /// Unit of the limit.
    pub unit: Unit,
    /// Side on which a value is out of limits.
    pub side: Side,
    /// Least limit that makes sense.
    pub least: f64,
    /// Greatest limit that makes sense.
    pub greatest: f64,
}

/// A condition that a rule can watch.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// Heart rate above a limit.
    HeartRateHigh,
    /// Heart rate below a limit.
    HeartRateLow,
    /// An RR interval longer than a limit.
    Pause,
    /// No beat for a time up to now.
    Asystole,
    /// Atrial fibrillation suspected.
    AfSuspected,
    /// Too large a share of ten minutes could not be analysed.
    HeartRateMissing,
    /// The signal cannot be used.
    QualityInsufficient,
    /// A named electrode has no contact.
    ElectrodeOff,
    /// A sensor sends nothing.
    SourceSilent,
    /// A box sends nothing.
    BoxSilent,
    /// A battery is low.
    BatteryLow,
    /// The box's store will soon be full.
    StoreFilling,
    /// The box's clock is wrong.
    ClockBad,
    /// An alert was not confirmed to have arrived.
    DeliveryUnconfirmed,
    /// A hash or a signature does not match.
    ChainBroken,
}

/// What a condition reads from a fact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measure {
    /// A number to compare with the limit.
    Value(f64),
    /// Whether the condition holds, for conditions without a limit.
    Holds(bool),
    /// The condition holds, and has since then: microseconds of the recording's own time line.
    HoldsSince(i64),
    /// Nothing can be said, and why.
    CouldNotAnalyse,
}

impl Kind {
    /// All conditions.
    pub const ALL: [Self; 15] = [
        Self::HeartRateHigh,
        Self::HeartRateLow,
        Self::Pause,
        Self::Asystole,
        Self::AfSuspected,
        Self::HeartRateMissing,
        Self::QualityInsufficient,
        Self::ElectrodeOff,
        Self::SourceSilent,
        Self::BoxSilent,
        Self::BatteryLow,
        Self::StoreFilling,
        Self::ClockBad,
        Self::DeliveryUnconfirmed,
        Self::ChainBroken,
    ];

    /// Stable name in rules, JSON and FHIR.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeartRateHigh => "heart-rate-high",
            Self::HeartRateLow => "heart-rate-low",
            Self::Pause => "pause",
            Self::Asystole => "asystole",
            Self::AfSuspected => "af-suspected",
            Self::HeartRateMissing => "heart-rate-missing",
            Self::QualityInsufficient => "quality-insufficient",
            Self::ElectrodeOff => "electrode-off",
            Self::SourceSilent => "source-silent",
            Self::BoxSilent => "box-silent",
            Self::BatteryLow => "battery-low",
            Self::StoreFilling => "store-filling",
            Self::ClockBad => "clock-bad",
            Self::DeliveryUnconfirmed => "delivery-unconfirmed",
            Self::ChainBroken => "chain-broken",
        }
    }

    /// The condition of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What an alert of this condition is about.
    pub const fn family(self) -> Family {
        match self {
            Self::HeartRateHigh
            | Self::HeartRateLow
            | Self::Pause
            | Self::Asystole
            | Self::AfSuspected => Family::Physiological,
            _ => Family::Technical,
        }
    }

    /// The limit that the condition needs, if it needs one.
    pub const fn limited(self) -> Option<Limited> {
        let (unit, side, least, greatest) = match self {
            Self::HeartRateHigh => (Unit::PerMinute, Side::Above, 60.0, 300.0),
            Self::HeartRateLow => (Unit::PerMinute, Side::Below, 15.0, 80.0),
            // A window of 10 s holds no longer interval.
            Self::Pause => (Unit::Seconds, Side::Above, 1.5, 9.0),
            Self::Asystole => (Unit::Seconds, Side::AtLeast, 2.0, 9.0),
            Self::HeartRateMissing => (Unit::Percent, Side::Above, 1.0, 99.0),
            Self::SourceSilent => (Unit::Seconds, Side::Above, 2.0, 86_400.0),
            Self::BoxSilent => (Unit::Seconds, Side::Above, 10.0, 2_592_000.0),
            Self::BatteryLow => (Unit::Percent, Side::Below, 1.0, 99.0),
            Self::StoreFilling => (Unit::Hours, Side::Below, 0.1, 720.0),
            Self::ClockBad => (Unit::Seconds, Side::Above, 0.1, 86_400.0),
            Self::DeliveryUnconfirmed => (Unit::Seconds, Side::Above, 5.0, 86_400.0),
            Self::ChainBroken => (Unit::Events, Side::AtLeast, 1.0, 1.0),
            Self::AfSuspected | Self::QualityInsufficient | Self::ElectrodeOff => return None,
        };
        Some(Limited {
            unit,
            side,
            least,
            greatest,
        })
    }

    /// Whether a minimum quality makes sense: only where the signal itself is judged.
    pub const fn judges_signal(self) -> bool {
        matches!(self.family(), Family::Physiological)
    }

    /// Whether the condition rests on what many windows say together.
    pub const fn rests_on_rhythm(self) -> bool {
        matches!(self, Self::AfSuspected)
    }

    pub(crate) fn measure(self, fact: &Fact, unanalysed_percent: Option<f64>) -> Option<Measure> {
        let number = |value: Option<f64>| match value {
            Some(value) if value.is_finite() => Measure::Value(value),
            _ => Measure::CouldNotAnalyse,
        };
        Some(match self {
            Self::HeartRateHigh | Self::HeartRateLow => number(fact.bpm),
            Self::Pause => number(fact.longest_rr_s()),
            Self::Asystole => number(fact.since_last_beat_s()),
            Self::AfSuspected => match fact.fibrillation_since_us() {
                None => Measure::CouldNotAnalyse,
                Some(None) => Measure::Holds(false),
                Some(Some(from_us)) => Measure::HoldsSince(from_us),
            },
            Self::HeartRateMissing => number(unanalysed_percent),
            Self::QualityInsufficient => {
                Measure::Holds(fact.verdict == QualityVerdict::Insufficient)
            }
            Self::ElectrodeOff => Measure::Holds(
                fact.suspect_electrode.is_some() && fact.causes.contains(&QualityCause::LeadOff),
            ),
            _ => return None,
        })
    }

    pub(crate) fn read(self, reading: &Reading) -> Option<Measure> {
        let quantity = match self {
            Self::SourceSilent => Quantity::SourceSilence,
            Self::BoxSilent => Quantity::BoxSilence,
            Self::BatteryLow => Quantity::Battery,
            Self::StoreFilling => Quantity::Autonomy,
            Self::ClockBad => Quantity::ClockError,
            Self::DeliveryUnconfirmed => Quantity::DeliveryWait,
            Self::ChainBroken => Quantity::ChainBreaks,
            _ => return None,
        };
        (reading.quantity == quantity).then(|| {
            if reading.value.is_finite() {
                Measure::Value(reading.value)
            } else {
                Measure::CouldNotAnalyse
            }
        })
    }
}

impl Side {
    /// Whether a value is out of limits.
    pub(crate) fn crossed(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
        }
    }

    /// Whether a value is within limits by a margin.
    pub(crate) fn well_within(self, value: f64, limit: f64, margin: f64) -> bool {
        match self {
            Self::Above | Self::AtLeast => value <= limit - margin && !self.crossed(value, limit),
            Self::Below => value >= limit + margin,
        }
    }

    /// The worse of two values.
    pub(crate) fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Above | Self::AtLeast => a.max(b),
            Self::Below => a.min(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_found_again_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            let written = serde_json::to_value(kind).unwrap();
            assert_eq!(written, serde_json::json!(kind.name()));
        }
    }

    #[test]
    fn a_value_between_limit_and_margin_is_neither_out_nor_well_within() {
        assert!(!Side::Above.crossed(128.0, 130.0));
        assert!(!Side::Above.well_within(128.0, 130.0, 5.0));
        assert!(Side::Above.well_within(125.0, 130.0, 5.0));
        assert!(Side::Below.well_within(45.0, 40.0, 5.0));
        assert!(!Side::AtLeast.well_within(1.0, 1.0, 0.0));
    }
}
