//! ECG quality of one source, lead by lead and over all leads, second by second.

use std::collections::VecDeque;

use cardio_core::electrode::Electrode;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{
    AlgorithmId, LeadQuality, QualityCause, QualityVerdict, SignalQuality, SignalQualityIndex,
};
use cardio_core::rate::SamplingRate;

use super::limbs::LimbWatch;
use super::second::{Meter, Second};
use super::verdict::{self, FEATURES, Features};
use crate::limbs::LimbSwap;
use crate::num;
use crate::qrs::{Band, Peak, QrsDetector};

/// Who says how good the signal is.
pub const ALGORITHM: AlgorithmId = AlgorithmId {
    name: "sqi-ecg",
    version: 3,
};

/// A value held for this long, in seconds, means no contact now.
const OFF_NOW_S: f64 = 0.5;
/// Beats are known this long after the first sample, in seconds.
const BEATS_KNOWN_S: f64 = 4.0;

/// What the quality needs to know of a lead.
#[derive(Clone, Debug, PartialEq)]
pub struct LeadSpec {
    /// What a person calls it.
    pub label: String,
    /// The standard lead, if it is one.
    pub lead: Option<Lead>,
    /// Counts per millivolt.
    pub gain_adu_per_mv: f64,
    /// The count that stands for zero.
    pub baseline_adu: f64,
    /// The converter's lowest and highest count, if they are known.
    pub rails: Option<(i32, i32)>,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QualityConfig {
    /// Length of a whole window, in seconds.
    pub window_s: usize,
    /// The first verdict needs this much signal, in seconds.
    pub first_s: usize,
    /// Whether a contact that is back starts its lead's window again, as a person at the
    /// bedside wants, or stays in it, as a finished recording is judged.
    pub forget_lost_contact: bool,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self {
            window_s: 10,
            first_s: 2,
            forget_lost_contact: true,
        }
    }
}

#[derive(Clone, Debug)]
struct LeadMonitor {
    meter: Meter,
    detector: QrsDetector,
    seconds: VecDeque<Second>,
    peaks: VecDeque<Peak>,
    band: VecDeque<(Band, f64)>,
    rails_known: bool,
    features: Features,
}

/// Scores the leads of one source while the samples come.
///
/// From two seconds of signal on there is a verdict every second, over all seconds up to
/// ten. A gap, or a contact that was lost and is back, starts the window again.
#[derive(Clone, Debug)]
pub struct EcgQuality {
    rate: SamplingRate,
    config: QualityConfig,
    leads: Vec<LeadMonitor>,
    limbs: LimbWatch,
    standard: Vec<Option<Lead>>,
    end: SampleIndex,
    /// The first sample of the current window's oldest second since the last gap.
    base: SampleIndex,
    /// Whole seconds since `base`.
    whole_seconds: u64,
    next_second: SampleIndex,
}

impl EcgQuality {
    /// Watches the leads of a source.
    pub fn new(rate: SamplingRate, specs: &[LeadSpec], config: QualityConfig) -> Self {
        let leads = specs
            .iter()
            .map(|spec| LeadMonitor {
                meter: Meter::new(
                    rate.as_hz(),
                    spec.gain_adu_per_mv,
                    spec.baseline_adu,
                    spec.rails,
                ),
                detector: QrsDetector::new(rate, spec.gain_adu_per_mv),
                seconds: VecDeque::new(),
                peaks: VecDeque::new(),
                band: VecDeque::new(),
                rails_known: spec.rails.is_some(),
                features: Features::default(),
            })
            .collect();
        let mut quality = Self {
            rate,
            config: QualityConfig {
                window_s: config.window_s.clamp(1, 60),
                first_s: config.first_s.clamp(1, config.window_s.clamp(1, 60)),
                forget_lost_contact: config.forget_lost_contact,
            },
            leads,
            limbs: LimbWatch::new(rate, specs, config.window_s.clamp(1, 60)),
            standard: specs.iter().map(|spec| spec.lead).collect(),
            end: SampleIndex(0),
            base: SampleIndex(0),
            whole_seconds: 0,
            next_second: SampleIndex(0),
        };
        quality.next_second = quality.second_end(1);
        quality
    }

    /// Takes the same instants of every lead, in the order of the specs, and gives a verdict
    /// for each second that they complete. A lead without a row counts as missing samples
    /// of value zero; rows are read up to the shortest.
    pub fn push(&mut self, rows: &[&[i32]]) -> Vec<SignalQuality> {
        let count = rows.iter().map(|row| row.len()).min().unwrap_or(0);
        let mut told = Vec::new();
        let mut from = 0;
        while from < count {
            let room = self.next_second.since(self.end).map_or(0, SampleCount::len);
            let to = count.min(from.saturating_add(room.max(1)));
            for (lead, row) in self.leads.iter_mut().zip(rows) {
                lead.push(row.get(from..to).unwrap_or_default());
            }
            self.limbs.push(rows, from..to);
            self.end = self.end.after(SampleCount(num::count(to - from)));
            from = to;
            if self.end >= self.next_second {
                told.extend(self.close_second());
            }
        }
        told
    }

    /// Signal is missing: the window starts again after it.
    pub fn gap(&mut self, len: SampleCount) {
        for lead in &mut self.leads {
            lead.restart(len);
        }
        self.limbs.restart();
        self.end = self.end.after(len);
        self.base = self.end;
        self.whole_seconds = 0;
        self.next_second = self.second_end(1);
    }

    /// Which leads have no contact at this very sample: held at the rail, or at any value,
    /// for half a second. Known without waiting for the second to end.
    pub fn off_now(&self) -> Vec<bool> {
        self.leads
            .iter()
            .map(|lead| {
                let (held_s, railed_s) = lead.meter.holding();
                held_s >= OFF_NOW_S || railed_s >= OFF_NOW_S
            })
            .collect()
    }

    /// What the newest window of each lead looked like, in the order of [`FEATURES`].
    pub fn features(&self) -> Vec<[f64; FEATURES.len()]> {
        self.leads.iter().map(|lead| lead.features.row()).collect()
    }

    /// The one contact that explains best why these leads have none.
    pub fn suspect_electrode(&self, quality: &SignalQuality) -> Option<Electrode> {
        let failing: Vec<Lead> = self
            .standard
            .iter()
            .zip(&quality.per_lead)
            .filter(|(_, told)| {
                told.causes.contains(&QualityCause::LeadOff)
                    || told.causes.contains(&QualityCause::Flat)
            })
            .filter_map(|(lead, _)| *lead)
            .collect();
        Electrode::suspect(&failing)
    }

    /// The limb electrodes that look swapped, judged every few seconds over whole windows.
    pub const fn suspect_swap(&self) -> Option<LimbSwap> {
        self.limbs.suspected()
    }

    /// The instant after `seconds` since the last gap; exact for every rate.
    fn second_end(&self, seconds: u64) -> SampleIndex {
        self.base
            .after(self.rate.count_in_micros(seconds.saturating_mul(1_000_000)))
    }

    fn close_second(&mut self) -> Option<SignalQuality> {
        self.whole_seconds += 1;
        self.next_second = self.second_end(self.whole_seconds + 1);
        let keep = self.config.window_s;
        let ready = self.whole_seconds >= num::count(self.config.first_s);
        let length = self.whole_seconds.min(num::count(keep));
        let first = self.second_end(self.whole_seconds - length);
        let rate_hz = self.rate.as_hz();
        let mut per_lead = Vec::with_capacity(self.leads.len());
        for lead in &mut self.leads {
            lead.close_second(keep, first, self.config.forget_lost_contact);
            if ready {
                per_lead.push(lead.judge(rate_hz, self.whole_seconds));
            }
        }
        if self.limbs.is_due(self.whole_seconds) {
            self.limbs.look(&per_lead, self.end, |row| {
                let peaks = self.leads.get(row).map(|lead| &lead.peaks);
                peaks.into_iter().flatten().map(|peak| peak.at).collect()
            });
        }
        self.limbs.name(&mut per_lead, &self.standard);
        ready.then(|| SignalQuality {
            first,
            len: self.end.since(first).unwrap_or_default(),
            overall: overall(&per_lead, &self.standard),
            per_lead,
            algorithm: ALGORITHM,
        })
    }
}

impl LeadMonitor {
    fn push(&mut self, samples: &[i32]) {
        for adu in samples {
            self.meter.step(*adu);
        }
        self.peaks.extend(self.detector.push_peaks(samples));
    }

    fn restart(&mut self, len: SampleCount) {
        self.meter.restart();
        self.detector.gap(len);
        self.forget();
    }

    fn forget(&mut self) {
        self.seconds.clear();
        self.band.clear();
        self.peaks.clear();
    }

    fn close_second(&mut self, keep: usize, first: SampleIndex, forget: bool) {
        let second = self.meter.take();
        let was_off = self
            .seconds
            .back()
            .is_some_and(|last| last.railing_s >= OFF_NOW_S || last.holding_s >= OFF_NOW_S);
        let is_off = second.railing_s > 0.0 || second.holding_s >= OFF_NOW_S;
        if forget && was_off && !is_off {
            // The contact is back: what was before says nothing about it.
            self.forget();
        } else {
            self.seconds.push_back(second);
        }
        let (band, doubt) = (self.detector.take_band(), self.detector.take_doubt());
        self.band.push_back((band, doubt));
        while self.seconds.len() > keep {
            self.seconds.pop_front();
        }
        while self.band.len() > keep {
            self.band.pop_front();
        }
        while self.peaks.front().is_some_and(|peak| peak.at < first) {
            self.peaks.pop_front();
        }
    }

    fn judge(&mut self, rate_hz: f64, whole_seconds: u64) -> LeadQuality {
        if self.seconds.is_empty() {
            // The contact came back within this second.
            return LeadQuality {
                index: SignalQualityIndex::clamped(0.0),
                verdict: QualityVerdict::Insufficient,
                causes: vec![QualityCause::LeadOff],
            };
        }
        self.features = Features::of(self.seconds.iter(), rate_hz);
        self.features.beats_known = num::float_u64(whole_seconds) >= BEATS_KNOWN_S
            && num::float(self.seconds.len()) >= BEATS_KNOWN_S;
        self.measure_beats();
        verdict::judge(&self.features, self.rails_known)
    }
}

impl LeadMonitor {
    /// What the detector knows of the window's beats.
    fn measure_beats(&mut self) {
        let features = &mut self.features;
        let mut sizes: Vec<f64> = self.peaks.iter().map(|peak| peak.span_mv).collect();
        features.beats = num::float(sizes.len());
        features.qrs_mv = num::median(&mut sizes);
        let middle = features.qrs_mv;
        let mut apart: Vec<f64> = sizes.iter().map(|size| (size - middle).abs()).collect();
        features.qrs_spread = num::median(&mut apart) / middle.max(1e-6);
        let likeness = self.peaks.iter().map(|peak| peak.likeness);
        features.likeness = likeness.clone().sum::<f64>() / features.beats.max(1.0);
        features.least_likeness = likeness.fold(1.0, f64::min);
        let (mut shortest, mut longest) = (f64::MAX, 0.0_f64);
        for (before, after) in self.peaks.iter().zip(self.peaks.iter().skip(1)) {
            let apart = num::float_u64(after.at.0.saturating_sub(before.at.0));
            shortest = shortest.min(apart);
            longest = longest.max(apart);
        }
        features.interval_ratio = if longest > 0.0 {
            longest / shortest.max(1.0)
        } else {
            0.0
        };
        let mut levels: Vec<f64> = self.band.iter().map(|(band, _)| band.middle_mv).collect();
        let seconds = num::float(levels.len().max(1));
        features.band_mv = num::median(&mut levels);
        features.band_square = self
            .band
            .iter()
            .map(|(band, _)| band.mean_square)
            .sum::<f64>()
            / seconds;
        features.doubt = self.band.iter().map(|(_, doubt)| doubt).sum::<f64>() / seconds;
    }
}

/// All leads together: with up to three leads the best one decides, with more a third of
/// them, or both of I and II, must not be insufficient.
fn overall(per_lead: &[LeadQuality], standard: &[Option<Lead>]) -> LeadQuality {
    let mut causes: Vec<QualityCause> = per_lead
        .iter()
        .flat_map(|lead| lead.causes.iter().copied())
        .collect();
    causes.sort_unstable();
    causes.dedup();
    let mut indexes: Vec<f64> = per_lead.iter().map(|lead| lead.index.get()).collect();
    let few = per_lead.len() <= 3;
    let bad = |lead: &LeadQuality| lead.verdict == QualityVerdict::Insufficient;
    let best = per_lead.iter().map(|lead| lead.verdict).max();
    let worst = per_lead.iter().map(|lead| lead.verdict).min();
    let insufficient = per_lead.iter().filter(|lead| bad(lead)).count();
    let limbs_bad = [Lead::I, Lead::II].iter().all(|limb| {
        standard
            .iter()
            .zip(per_lead)
            .any(|(lead, told)| *lead == Some(*limb) && bad(told))
    });
    let verdict = match (best, worst) {
        (Some(best), _) if few => best,
        _ if limbs_bad || 3 * insufficient >= per_lead.len() => QualityVerdict::Insufficient,
        (_, Some(QualityVerdict::Good)) => QualityVerdict::Good,
        _ => QualityVerdict::Acceptable,
    };
    let index = if few {
        indexes.iter().copied().fold(0.0, f64::max)
    } else {
        num::quantile(&mut indexes, 0.25)
    };
    LeadQuality {
        index: SignalQualityIndex::clamped(index),
        verdict,
        causes,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
