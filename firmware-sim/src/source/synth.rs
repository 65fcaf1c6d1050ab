//! A synthetic heart on the device's inputs.

use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_signal::synth::{EcgSynth, SynthConfig};

use super::{Mark, SignalSource};

/// An endless synthetic ECG.
#[derive(Debug)]
pub struct SynthSource {
    heart: EcgSynth,
    rate: SamplingRate,
    /// For each row of the device, which of the eight measured leads it shows.
    rows: Vec<Option<usize>>,
}

impl SynthSource {
    /// The leads of a device, shown by a heart.
    pub fn new(config: SynthConfig, leads: &[Option<Lead>]) -> Self {
        let rows = leads
            .iter()
            .map(|lead| {
                Lead::MEASURED_EIGHT
                    .iter()
                    .position(|measured| Some(*measured) == *lead)
            })
            .collect();
        Self {
            rate: config.rate,
            heart: EcgSynth::new(config),
            rows,
        }
    }
}

impl SignalSource for SynthSource {
    fn next_row(&mut self, row: &mut [f64]) -> bool {
        let measured = self.heart.next_measured();
        for (value, from) in row.iter_mut().zip(&self.rows) {
            *value = from
                .and_then(|from| measured.get(from).copied())
                .unwrap_or(f64::NAN);
        }
        true
    }

    fn take_marks(&mut self) -> Vec<Mark> {
        let (samples, seconds) = self.rate.as_ratio();
        let rate = f64::from(samples) / f64::from(seconds);
        self.heart
            .take_beats()
            .iter()
            .map(|beat| Mark {
                at: SampleIndex(whole(beat.at_s * rate)),
                code: beat.class.letter().to_string(),
            })
            .collect()
    }
}

#[expect(
    clippy::as_conversions,
    reason = "a saturating conversion of a rounded number"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
