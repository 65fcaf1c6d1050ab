//! From a window's seconds to a verdict and its causes.
//!
//! Over a whole window a sum of small trees decides, learnt by `examples/train`; before
//! that, limits do. Causes always come from limits: those that part labelled leads of the
//! PhysioNet Challenge 2011, each named with its unit. Deliberately absent: anything over several leads.

use std::sync::OnceLock;

use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};

use super::second::Second;
use crate::forest::{Forest, probability};
use crate::num;

/// A value held this long, in seconds, is no heart.
const HOLD_S: f64 = 1.0;
/// At the rail this long, in seconds, the electrode is off.
const OFF_S: f64 = 0.4;
/// Share of the window that may be flat.
const FLAT_SHARE: f64 = 0.05;
/// Peak to peak, in millivolts.
const RANGE_MV: f64 = 10.0;
/// Swing of the baseline in the worst second, in millivolts.
const SWING_MV: f64 = 1.5;
const SWING_NOTED_MV: f64 = 0.5;
/// Noise above 45 Hz in the worst second, in millivolts root mean square.
const HIGH_MV: f64 = 0.08;
const HIGH_NOTED_MV: f64 = 0.025;
/// Change within 2 ms, in millivolts.
const SLOPE_MV: f64 = 1.0;
/// QRS peak to peak over the middle value of the band without sign.
const QRS_OVER_NOISE: f64 = 8.0;
const QRS_OVER_NOISE_NOTED: f64 = 14.0;
/// A smaller QRS, in millivolts, is a low one.
const LOW_QRS_MV: f64 = 0.15;
/// Mains hum that stands out, as a ratio of powers, and when it is worth a word, in
/// millivolts root mean square.
const MAINS_RATIO: f64 = 10.0;
const MAINS_NOTED_MV: f64 = 0.02;

/// What the learnt function looks at, in this order; logarithms unless a share or a time.
pub const FEATURES: [&str; 24] = [
    "flat share",
    "longest hold",
    "range",
    "swing of baseline",
    "noise above 45 Hz, worst second",
    "noise above 45 Hz, middle second",
    "steepest slope",
    "QRS over band",
    "likeness of beats",
    "least likeness of beats",
    "beats per second",
    "longest interval over shortest",
    "QRS size",
    "kurtosis",
    "band over all",
    "noise over all",
    "mains",
    "mains over its neighbours",
    "baseline over all",
    "noise above 45 Hz, worst over middle",
    "mean square",
    "doubt about beats",
    "spread of QRS sizes",
    "share at the rail",
];

/// Natural logarithm, bounded below.
fn log(value: f64) -> f64 {
    libm::log(value.max(0.0) + 1e-6).min(20.0)
}

/// What a window of one lead shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Features {
    pub(crate) seconds: f64,
    pub(crate) hold_s: f64,
    pub(crate) holding_s: f64,
    pub(crate) railing_s: f64,
    pub(crate) flat_share: f64,
    pub(crate) rail_share: f64,
    pub(crate) range_mv: f64,
    pub(crate) swing_mv: f64,
    pub(crate) high_rms_mv: f64,
    pub(crate) mains_rms_mv: f64,
    pub(crate) mains_ratio: f64,
    pub(crate) slope_mv: f64,
    pub(crate) high_middle_mv: f64,
    /// Mean square over the baseline and the same of the baseline, in square millivolts.
    pub(crate) mean_square: f64,
    pub(crate) slow_variance: f64,
    pub(crate) kurtosis: f64,
    /// Mean square of the band, in square millivolts.
    pub(crate) band_square: f64,
    /// Mean and least likeness of the beats to forms seen.
    pub(crate) likeness: f64,
    pub(crate) least_likeness: f64,
    /// Longest interval over shortest.
    pub(crate) interval_ratio: f64,
    /// Spread of the QRS sizes: middle difference from the middle, over the middle.
    pub(crate) qrs_spread: f64,
    /// Doubt about beats per second.
    pub(crate) doubt: f64,
    /// Beats in the window.
    pub(crate) beats: f64,
    /// Middle QRS peak to peak in 5 to 20 Hz, in millivolts; zero without beats.
    pub(crate) qrs_mv: f64,
    /// Middle value of the band without sign, in millivolts.
    pub(crate) band_mv: f64,
    /// Whether beats could have been found by now.
    pub(crate) beats_known: bool,
}

impl Features {
    /// Puts the seconds of a window together; beats and band are the caller's.
    pub(crate) fn of<'a>(seconds: impl Iterator<Item = &'a Second>, samples_per_s: f64) -> Self {
        let mut all = Self::default();
        let (mut lowest, mut highest) = (f64::MAX, f64::MIN);
        let (mut flat_s, mut rail_s) = (0.0, 0.0);
        let mut mains_ratio: Vec<f64> = Vec::new();
        let mut high: Vec<f64> = Vec::new();
        let (mut samples, mut square, mut fourth, mut slow) = (0.0, 0.0, 0.0, 0.0);
        for second in seconds {
            all.seconds += second.samples / samples_per_s;
            lowest = lowest.min(second.low_mv);
            highest = highest.max(second.high_mv);
            flat_s += second.flat_s;
            rail_s += second.rail_s;
            all.hold_s = all.hold_s.max(second.hold_s);
            all.swing_mv = all.swing_mv.max(second.swing_mv);
            all.high_rms_mv = all.high_rms_mv.max(second.high_rms_mv);
            all.mains_rms_mv = all.mains_rms_mv.max(second.mains_rms_mv);
            all.slope_mv = all.slope_mv.max(second.slope_mv);
            mains_ratio.push(second.mains_ratio);
            high.push(second.high_rms_mv);
            samples += second.samples;
            square += second.square;
            fourth += second.fourth;
            slow += second.slow_variance * second.samples;
            all.holding_s = second.holding_s;
            all.railing_s = second.railing_s;
        }
        all.mains_ratio = num::median(&mut mains_ratio);
        all.high_middle_mv = num::median(&mut high);
        let samples = f64::max(samples, 1.0);
        all.mean_square = square / samples;
        all.slow_variance = slow / samples;
        all.kurtosis = fourth / samples / (all.mean_square * all.mean_square + 1e-12);
        let length_s = all.seconds.max(1e-9);
        all.flat_share = flat_s / length_s;
        all.rail_share = rail_s / length_s;
        all.range_mv = (highest - lowest).max(0.0);
        all
    }

    /// As a row for the learnt function, in the order of [`FEATURES`].
    pub(crate) fn row(&self) -> [f64; FEATURES.len()] {
        [
            self.flat_share,
            self.hold_s,
            log(self.range_mv),
            log(self.swing_mv),
            log(self.high_rms_mv),
            log(self.high_middle_mv),
            log(self.slope_mv),
            log(self.qrs_over_noise()),
            self.likeness,
            self.least_likeness,
            self.beats / self.seconds.max(1.0),
            log(self.interval_ratio),
            log(self.qrs_mv),
            log(self.kurtosis),
            log(self.band_square / (self.mean_square + 1e-9)),
            log(self.high_rms_mv * self.high_rms_mv / (self.mean_square + 1e-9)),
            log(self.mains_rms_mv),
            log(self.mains_ratio),
            log(self.slow_variance / (self.mean_square + 1e-9)),
            log(self.high_rms_mv / (self.high_middle_mv + 1e-6)),
            log(self.mean_square),
            self.doubt,
            self.qrs_spread,
            self.rail_share,
        ]
    }

    fn qrs_over_noise(&self) -> f64 {
        self.qrs_mv / self.band_mv.max(1e-6)
    }
}

/// From this length on, in seconds, the learnt function decides; before, the limits do.
const LEARNT_FROM_S: f64 = 7.5;
/// Up to this probability of being insufficient a lead may be good.
const GOOD_UP_TO: f64 = 0.2;
/// And up to this share of the limits.
const GOOD_SHARE: f64 = 0.5;

/// Without contact a lead is insufficient as surely as this.
const OFF: f64 = 0.9995;

/// The trees of the file, read once.
fn reviewed_forest() -> &'static Forest {
    static FOREST: OnceLock<Forest> = OnceLock::new();
    FOREST.get_or_init(|| {
        Forest::parse(include_str!("../../models/sqi-lead.txt")).unwrap_or_default()
    })
}

/// The verdict over a window of one lead.
pub(crate) fn judge(f: &Features, rails_known: bool) -> LeadQuality {
    let mut causes = Vec::new();
    let mut badness: f64 = 0.0;
    contact(f, rails_known, &mut causes, &mut badness);
    let off = causes.contains(&QualityCause::LeadOff);
    disturbance(f, &mut causes, &mut badness);
    beats(f, &mut causes, &mut badness);
    let by_limits = badness * badness / (1.0 + badness * badness);
    let bad = if off {
        by_limits.max(OFF)
    } else if f.beats_known && f.seconds >= LEARNT_FROM_S {
        probability(reviewed_forest().score(&f.row()))
    } else {
        by_limits
    };
    let verdict = if bad >= 0.5 {
        QualityVerdict::Insufficient
    } else if bad <= GOOD_UP_TO && badness <= GOOD_SHARE {
        QualityVerdict::Good
    } else {
        QualityVerdict::Acceptable
    };
    if verdict == QualityVerdict::Insufficient && causes.is_empty() {
        causes.push(QualityCause::Noise);
    }
    causes.sort_unstable();
    causes.dedup();
    LeadQuality {
        index: SignalQualityIndex::clamped(1.0 - bad),
        verdict,
        causes,
    }
}

/// How far a value is on its way to a limit; 1 at the limit.
fn share(value: f64, limit: f64) -> f64 {
    (value / limit).max(0.0)
}

fn contact(f: &Features, rails_known: bool, causes: &mut Vec<QualityCause>, badness: &mut f64) {
    if f.railing_s >= OFF_S {
        causes.extend([QualityCause::LeadOff, QualityCause::Saturation]);
        *badness = badness.max(4.0);
    } else if f.rail_share > 0.0 {
        causes.push(QualityCause::Saturation);
        *badness = badness.max(0.6 + 20.0 * f.rail_share);
    }
    let held = f.hold_s >= HOLD_S || f.flat_share > FLAT_SHARE;
    if held && f.railing_s < OFF_S {
        causes.push(QualityCause::Flat);
        if !rails_known && f.hold_s >= HOLD_S {
            causes.push(QualityCause::LeadOff);
        }
        *badness = badness.max(2.0);
    }
}

fn disturbance(f: &Features, causes: &mut Vec<QualityCause>, badness: &mut f64) {
    let off = causes.contains(&QualityCause::LeadOff);
    if off {
        return;
    }
    let swing = share(f.swing_mv, SWING_MV).max(share(f.range_mv, RANGE_MV));
    if swing >= 1.0 || f.swing_mv > SWING_NOTED_MV {
        causes.push(QualityCause::Baseline);
    }
    *badness = badness.max(swing);
    let mains = f.mains_ratio > MAINS_RATIO && f.mains_rms_mv > MAINS_NOTED_MV;
    let broad = (f.high_rms_mv * f.high_rms_mv - f.mains_rms_mv * f.mains_rms_mv)
        .max(0.0)
        .sqrt();
    if mains {
        causes.push(QualityCause::Mains);
    }
    if broad > HIGH_NOTED_MV && (!mains || broad > f.mains_rms_mv) {
        causes.push(QualityCause::Muscle);
    }
    *badness = badness.max(share(f.high_rms_mv, HIGH_MV));
    if f.slope_mv >= SLOPE_MV {
        causes.push(QualityCause::Spikes);
        *badness = badness.max(1.0);
    }
}

fn beats(f: &Features, causes: &mut Vec<QualityCause>, badness: &mut f64) {
    if !f.beats_known || causes.contains(&QualityCause::LeadOff) {
        return;
    }
    if f.beats < 0.5 {
        // No beat: a silent heart on a quiet line, or a line on which none can be seen.
        if f.range_mv < 2.0 * LOW_QRS_MV {
            causes.push(QualityCause::LowAmplitude);
            *badness = badness.max(0.6);
        } else {
            causes.push(QualityCause::Noise);
            *badness = badness.max(1.2);
        }
        return;
    }
    let clear = f.qrs_over_noise();
    if clear < QRS_OVER_NOISE {
        causes.push(QualityCause::Noise);
        *badness = badness.max(1.0 + 0.1 * (QRS_OVER_NOISE - clear));
    } else if clear < QRS_OVER_NOISE_NOTED {
        *badness = badness.max(0.6);
    }
    if f.qrs_mv < LOW_QRS_MV {
        causes.push(QualityCause::LowAmplitude);
        *badness = badness.max(0.55);
    }
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, Forest};

    #[test]
    fn the_reviewed_file_of_trees_is_read_whole() {
        let forest = Forest::parse(include_str!("../../models/sqi-lead.txt")).unwrap();
        let score = forest.score(&[0.0; FEATURES.len()]);
        assert!(score.is_finite() && score != 0.0);
    }
}
