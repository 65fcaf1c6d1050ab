//! A synthetic ECG: a heart as a moving dipole, seen by twelve leads, with seeded faults.
//!
//! Deliberately absent: time of day, devices, frames; a simulator puts those around it. The
//! same configuration gives the same samples on every architecture and in blocks of any size.

mod beats;
mod config;
mod dipole;
mod noise;
pub(crate) mod random;

use std::collections::VecDeque;

use cardio_core::calibration::Calibration;
use cardio_core::lead::Lead;

pub use beats::SynthBeat;
pub use config::{
    Ectopics, ElectrodeOff, HeartRateVariability, Noise, Pause, RateChange, SpanSeconds,
    SynthConfig, VentricularRun,
};

use crate::num;
use beats::BeatProcess;
use dipole::Kernel;
use noise::{ELECTRODES, NoiseSource};

/// One instant of the eight measured leads in millivolts, in the order of
/// [`Lead::MEASURED_EIGHT`]. A lead without contact is [`RAIL_MV`].
pub type MeasuredRow = [f64; 8];

/// What a lead without contact shows: more than any converter holds.
pub const RAIL_MV: f64 = 1e9;

/// How long before its R peak a beat's first wave may start, and after it the last may end.
const BEFORE_R_S: f64 = 0.35;
const AFTER_R_S: f64 = 0.80;

/// An endless synthetic ECG.
#[derive(Clone, Debug)]
pub struct EcgSynth {
    config: SynthConfig,
    hz: f64,
    sample: u64,
    process: BeatProcess,
    active: VecDeque<(SynthBeat, Vec<Kernel>)>,
    started: Vec<SynthBeat>,
    noise: NoiseSource,
}

impl EcgSynth {
    /// A heart that starts now.
    pub fn new(config: SynthConfig) -> Self {
        let hz = config.rate.as_hz();
        Self {
            process: BeatProcess::new(&config),
            noise: NoiseSource::new(config.noise, config.seed, hz),
            config,
            hz,
            sample: 0,
            active: VecDeque::new(),
            started: Vec::new(),
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &SynthConfig {
        &self.config
    }

    /// How many samples were made.
    pub const fn position(&self) -> u64 {
        self.sample
    }

    /// The beats whose waves began since the last call: the truth, in order of time.
    pub fn take_beats(&mut self) -> Vec<SynthBeat> {
        std::mem::take(&mut self.started)
    }

    /// The next instant of the eight measured leads.
    pub fn next_measured(&mut self) -> MeasuredRow {
        let at_s = num::float_u64(self.sample) / self.hz;
        self.sample = self.sample.saturating_add(1);
        let heart = dipole::leads(self.dipole(at_s));
        let contact = self.noise.next(at_s);
        let mut row = heart;
        for (lead, value) in row.iter_mut().enumerate() {
            *value += lead_of_contacts(&contact, lead);
        }
        self.cut_contacts(at_s, &mut row);
        row
    }

    fn dipole(&mut self, at_s: f64) -> [f64; 3] {
        while self.process.peek().at_s - BEFORE_R_S <= at_s {
            let beat = self.process.take();
            self.active.push_back((beat, dipole::kernels(&beat)));
            self.started.push(beat);
        }
        while self
            .active
            .front()
            .is_some_and(|(beat, _)| beat.at_s + AFTER_R_S < at_s)
        {
            self.active.pop_front();
        }
        let size = self.config.amplitude;
        let mut sum = [0.0; 3];
        for (beat, kernels) in &self.active {
            for kernel in kernels {
                kernel.add_to(&mut sum, at_s - beat.at_s, size);
            }
        }
        if self.config.af.iter().any(|span| span.holds(at_s)) {
            let waves = dipole::fibrillation(at_s, size);
            for (total, part) in sum.iter_mut().zip(waves) {
                *total += part;
            }
        }
        sum
    }

    fn cut_contacts(&self, at_s: f64, row: &mut MeasuredRow) {
        for off in &self.config.electrode_off {
            if !off.span.holds(at_s) {
                continue;
            }
            for (lead, value) in Lead::MEASURED_EIGHT.iter().zip(row.iter_mut()) {
                if off.electrode.measured_leads().contains(lead) {
                    *value = RAIL_MV;
                }
            }
        }
    }
}

impl Iterator for EcgSynth {
    type Item = MeasuredRow;

    fn next(&mut self) -> Option<MeasuredRow> {
        Some(self.next_measured())
    }
}

/// What a lead shows of its contacts' own potentials; chest leads against Wilson's terminal.
fn lead_of_contacts(contact: &[f64; ELECTRODES], lead: usize) -> f64 {
    let [ra, la, ll, chest @ ..] = contact;
    match lead {
        0 => la - ra,
        1 => ll - ra,
        other => chest.get(other - 2).unwrap_or(&0.0) - (ra + la + ll) / 3.0,
    }
}

/// The count of a converter for a voltage: nearest, and at most the rails.
pub fn to_adu(millivolts: f64, calibration: &Calibration, rails: (i32, i32)) -> i32 {
    let (low, high) = rails;
    let adu =
        num::round_i32(millivolts * calibration.gain_adu_per_unit() + calibration.baseline_adu());
    adu.clamp(low, high.max(low))
}

/// The twelve leads of a measured row, in the order of the paper sheet, in millivolts.
pub fn twelve(row: &MeasuredRow) -> [f64; 12] {
    let [i, ii, chest @ ..] = row;
    let mut all = [0.0; 12];
    let limbs = [*i, *ii, ii - i, -(i + ii) / 2.0, i - ii / 2.0, ii - i / 2.0];
    for (place, value) in all.iter_mut().zip(limbs.iter().chain(chest)) {
        *place = *value;
    }
    all
}

#[cfg(test)]
mod tests;
