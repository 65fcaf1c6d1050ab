//! What the heart does and what goes wrong, as TOML.
//!
//! Every key has a default and an unknown key is an error. Spans are texts with a unit:
//! `"8s"`, `"2500ms"`, `"2min"`, `"24h"`. Deliberately absent: anything about a box.

mod fault;
mod span;

use cardio_core::electrode::Electrode;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_signal::synth::{
    Ectopics, HeartRateVariability, Noise, Pause, RateChange, SpanSeconds, SynthConfig,
    VentricularRun,
};
use serde::Deserialize;

pub use fault::{Fault, FaultKind};
pub use span::{Span, SpanError};

/// Scenarios that the program carries: name and text.
pub const BUILT_IN: [(&str, &str); 12] = [
    ("calm", include_str!("../../scenarios/calm.toml")),
    (
        "electrode-off",
        include_str!("../../scenarios/electrode-off.toml"),
    ),
    (
        "tachycardia",
        include_str!("../../scenarios/tachycardia.toml"),
    ),
    ("dropouts", include_str!("../../scenarios/dropouts.toml")),
    ("af", include_str!("../../scenarios/af.toml")),
    ("noisy", include_str!("../../scenarios/noisy.toml")),
    ("ectopics", include_str!("../../scenarios/ectopics.toml")),
    (
        "rough-line",
        include_str!("../../scenarios/rough-line.toml"),
    ),
    ("unplugged", include_str!("../../scenarios/unplugged.toml")),
    ("rough-air", include_str!("../../scenarios/rough-air.toml")),
    ("weak-link", include_str!("../../scenarios/weak-link.toml")),
    (
        "wrong-baud",
        include_str!("../../scenarios/wrong-baud.toml"),
    ),
];

/// Why a text is not a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Not TOML, a key that does not exist, or a value of the wrong kind.
    #[error("scenario {name} cannot be read")]
    Invalid {
        /// File or name.
        name: String,
        /// What the parser found, with line and column.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A fault names an electrode or a lead that does not exist.
    #[error("scenario {name}: {field} cannot be \"{found}\"")]
    Value {
        /// File or name.
        name: String,
        /// The key.
        field: &'static str,
        /// The value.
        found: String,
    },
}

impl ScenarioError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "scenario.invalid",
            Self::Value { .. } => "scenario.value",
        }
    }
}

/// A scenario.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// One line for a person.
    pub summary: String,
    /// What the synthetic heart does; a recording ignores it.
    pub heart: Heart,
    /// What disturbs the synthetic signal; a recording ignores it.
    pub noise: NoiseLevels,
    /// The device's own properties.
    pub device: DeviceTraits,
    /// Faults by chance.
    pub random: RandomFaults,
    /// Faults at given times.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
}

/// What the synthetic heart does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heart {
    /// Mean rate at the start.
    pub rate_bpm: f64,
    /// Other means later.
    pub rate_changes: Vec<RateFrom>,
    /// Standard deviation of the RR intervals.
    pub hrv_sd_ms: f64,
    /// Ventricular premature beats.
    pub ventricular_per_min: f64,
    /// Supraventricular premature beats.
    pub supraventricular_per_min: f64,
    /// Spans of atrial fibrillation.
    pub af: Vec<FromTo>,
    /// Runs of ventricular beats.
    pub ventricular_runs: Vec<RunAt>,
    /// Pauses.
    pub pauses: Vec<PauseAt>,
    /// Size of the signal; 1 is usual.
    pub amplitude: f64,
}

impl Default for Heart {
    fn default() -> Self {
        Self {
            rate_bpm: 70.0,
            rate_changes: Vec::new(),
            hrv_sd_ms: 30.0,
            ventricular_per_min: 0.0,
            supraventricular_per_min: 0.0,
            af: Vec::new(),
            ventricular_runs: Vec::new(),
            pauses: Vec::new(),
            amplitude: 1.0,
        }
    }
}

/// A mean rate from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateFrom {
    /// From when.
    pub at: Span,
    /// The mean.
    pub bpm: f64,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromTo {
    /// The first instant inside.
    pub from: Span,
    /// The first instant after.
    pub to: Span,
}

/// A run of ventricular beats.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAt {
    /// The first instant inside.
    pub from: Span,
    /// The first instant after.
    pub to: Span,
    /// How fast.
    pub bpm: f64,
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseAt {
    /// Behind the first beat at or after this instant.
    pub at: Span,
    /// The RR interval.
    pub length: Span,
}

/// What disturbs the synthetic signal, as root mean square at one electrode.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseLevels {
    /// Slow wander.
    pub baseline_mv: f64,
    /// Mains hum.
    pub mains_mv: f64,
    /// Frequency of the mains.
    pub mains_hz: f64,
    /// Muscle tension.
    pub muscle_mv: f64,
    /// Steps when a contact moves.
    pub motion_mv: f64,
    /// White noise.
    pub white_mv: f64,
}

impl Default for NoiseLevels {
    fn default() -> Self {
        let quiet = Noise::QUIET;
        Self {
            baseline_mv: quiet.baseline_mv,
            mains_mv: quiet.mains_mv,
            mains_hz: quiet.mains_hz,
            muscle_mv: quiet.muscle_mv,
            motion_mv: quiet.motion_mv,
            white_mv: quiet.white_mv,
        }
    }
}

/// The device's own properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceTraits {
    /// How much faster than nominal its clock runs, in parts per million.
    pub clock_ppm: f64,
    /// The speed of its serial line, instead of the one that it is sold with.
    pub baud: Option<u32>,
}

/// Faults by chance, seeded.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RandomFaults {
    /// Losses, mean number per minute.
    pub drops_per_min: f64,
    /// Frames lost at a time, at most.
    pub drop_frames_max: u64,
    /// Frames sent twice, mean number per minute.
    pub repeats_per_min: f64,
    /// Frames damaged, mean number per minute.
    pub corrupt_per_min: f64,
}

impl Default for RandomFaults {
    fn default() -> Self {
        Self {
            drops_per_min: 0.0,
            drop_frames_max: 1,
            repeats_per_min: 0.0,
            corrupt_per_min: 0.0,
        }
    }
}

impl Scenario {
    /// A scenario that the program carries.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| *text)
    }

    /// Reads a scenario and checks what TOML cannot.
    ///
    /// # Errors
    /// [`ScenarioError`] says where and what.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|source| ScenarioError::Invalid {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        for fault in &scenario.faults {
            let (field, found, known) = match fault {
                Fault::ElectrodeOff { electrode, .. } => (
                    "electrode",
                    electrode,
                    Electrode::from_letter(electrode).is_some(),
                ),
                Fault::Saturate {
                    lead: Some(lead), ..
                } => ("lead", lead, Lead::from_label(lead).is_some()),
                _ => continue,
            };
            if !known {
                return Err(ScenarioError::Value {
                    name: name.to_owned(),
                    field,
                    found: found.clone(),
                });
            }
        }
        Ok(scenario)
    }

    /// The synthetic heart of the scenario.
    pub fn synth(&self, seed: u64, rate: SamplingRate) -> SynthConfig {
        let heart = &self.heart;
        let calm = SynthConfig::calm(seed, rate);
        let span = |from: Span, to: Span| SpanSeconds {
            start_s: from.seconds(),
            end_s: to.seconds(),
        };
        SynthConfig {
            heart_rate_bpm: heart.rate_bpm,
            rate_changes: heart
                .rate_changes
                .iter()
                .map(|change| RateChange {
                    from_s: change.at.seconds(),
                    bpm: change.bpm,
                })
                .collect(),
            hrv: HeartRateVariability {
                sd_ms: heart.hrv_sd_ms,
                ..calm.hrv
            },
            ectopics: Ectopics {
                ventricular_per_min: heart.ventricular_per_min,
                supraventricular_per_min: heart.supraventricular_per_min,
            },
            af: heart.af.iter().map(|af| span(af.from, af.to)).collect(),
            ventricular_runs: heart
                .ventricular_runs
                .iter()
                .map(|run| VentricularRun {
                    span: span(run.from, run.to),
                    bpm: run.bpm,
                })
                .collect(),
            pauses: heart
                .pauses
                .iter()
                .map(|pause| Pause {
                    at_s: pause.at.seconds(),
                    length_s: pause.length.seconds(),
                })
                .collect(),
            noise: Noise {
                baseline_mv: self.noise.baseline_mv,
                mains_mv: self.noise.mains_mv,
                mains_hz: self.noise.mains_hz,
                muscle_mv: self.noise.muscle_mv,
                motion_mv: self.noise.motion_mv,
                white_mv: self.noise.white_mv,
            },
            amplitude: heart.amplitude,
            ..calm
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, Scenario};

    #[test]
    fn every_scenario_that_the_program_carries_can_be_read_and_says_what_it_is() {
        for (name, text) in BUILT_IN {
            let scenario = Scenario::from_toml(name, text).unwrap();
            assert!(!scenario.summary.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_says_where() {
        let err = Scenario::from_toml("x", "[heart]\nrate_bmp = 80\n").unwrap_err();
        assert_eq!(err.code(), "scenario.invalid");
        let cause = std::error::Error::source(&err).unwrap().to_string();
        assert!(
            cause.contains("rate_bmp") && cause.contains("line 2"),
            "{cause}"
        );
    }

    #[test]
    fn an_electrode_that_does_not_exist_is_an_error() {
        let text =
            "[[fault]]\nkind = \"electrode-off\"\nelectrode = \"V9\"\nat = \"1s\"\nfor = \"1s\"\n";
        let err = Scenario::from_toml("x", text).unwrap_err();
        assert_eq!(err.to_string(), "scenario x: electrode cannot be \"V9\"");
    }
}
