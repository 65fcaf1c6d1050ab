//! The series of intervals between beats, each with what may be read from it.
//!
//! As the Task Force of the ESC and NASPE asks (1996), variability is measured on intervals
//! between normal beats only, and the differences only of intervals that follow each other.
//! Deliberately absent: interpolation, spectra, and anything over stretches without signal.

use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::index::SampleIndex;
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;
use cardio_core::rr;

use crate::num;

/// Who says which intervals are normal.
pub const SERIES_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "rr-series",
    version: 1,
};

/// What an interval lies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalKind {
    /// Two normal beats.
    Normal,
    /// An ectopic or fusion beat begins or ends it.
    Ectopic,
    /// A beat that could not be classified begins or ends it, or the signal is insufficient.
    Unclassified,
}

impl IntervalKind {
    /// Stable name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Ectopic => "ectopic",
            Self::Unclassified => "unclassified",
        }
    }

    fn of(one: Option<BeatClass>, two: Option<BeatClass>) -> Self {
        let known = |class| !matches!(class, None | Some(BeatClass::Unknown));
        if one == Some(BeatClass::Normal) && two == Some(BeatClass::Normal) {
            Self::Normal
        } else if known(one) && known(two) {
            Self::Ectopic
        } else {
            Self::Unclassified
        }
    }
}

/// An interval of the series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The beat that ends it.
    pub ends_at: SampleIndex,
    /// Its length, in milliseconds.
    pub millis: f64,
    /// What it lies between.
    pub kind: IntervalKind,
    /// Whether the interval before it ends where this one begins.
    pub follows: bool,
}

/// The intervals between beats in order of time. None lies across a break, the instants at
/// which signal is missing.
pub fn series(beats: &[Beat], rate: SamplingRate, breaks: &[SampleIndex]) -> Vec<Interval> {
    let mut all = Vec::new();
    let mut breaks = breaks.iter().peekable();
    let mut follows = false;
    for pair in beats.windows(2) {
        let [one, two] = pair else { continue };
        let mut is_broken = false;
        while breaks.next_if(|at| **at <= two.at).is_some_and(|at| {
            is_broken |= *at > one.at;
            true
        }) {}
        let interval = rr::intervals(&[one.at, two.at], rate);
        let whole = interval.first().filter(|_| !is_broken);
        all.extend(whole.map(|interval| Interval {
            ends_at: interval.ends_at,
            millis: interval.millis,
            kind: IntervalKind::of(one.class, two.class),
            follows,
        }));
        follows = whole.is_some();
    }
    all
}

/// Variability of the intervals between normal beats, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variability {
    /// How many intervals between normal beats there are.
    pub normal: usize,
    /// How many other ones.
    pub left_out: usize,
    /// Their mean.
    pub mean_ms: f64,
    /// Their standard deviation (SDNN).
    pub sdnn_ms: f64,
    /// Root mean square of the differences of those that follow each other (RMSSD).
    pub rmssd_ms: f64,
    /// Share of these differences above 50 ms (pNN50).
    pub pnn50: f64,
}

/// Fewer pairs of intervals say nothing.
const LEAST_PAIRS: usize = 8;

/// The variability of a series; `None` with fewer than eight pairs of intervals between
/// normal beats that follow each other.
pub fn variability(series: &[Interval]) -> Option<Variability> {
    let is_normal = |interval: &&Interval| interval.kind == IntervalKind::Normal;
    let normal = series.iter().filter(is_normal).count();
    let steps: Vec<f64> = series
        .windows(2)
        .filter_map(|pair| match pair {
            [one, two] if two.follows && is_normal(&one) && is_normal(&two) => {
                Some(two.millis - one.millis)
            }
            _ => None,
        })
        .collect();
    if steps.len() < LEAST_PAIRS {
        return None;
    }
    let count = num::float(normal);
    let of_normal = || series.iter().filter(is_normal).map(|one| one.millis);
    let mean_ms = of_normal().sum::<f64>() / count;
    let square: f64 = of_normal().map(|ms| (ms - mean_ms) * (ms - mean_ms)).sum();
    let pairs = num::float(steps.len());
    let far = steps.iter().filter(|step| step.abs() > 50.0).count();
    Some(Variability {
        normal,
        left_out: series.len() - normal,
        mean_ms,
        sdnn_ms: (square / (count - 1.0)).sqrt(),
        rmssd_ms: (steps.iter().map(|step| step * step).sum::<f64>() / pairs).sqrt(),
        pnn50: num::float(far) / pairs,
    })
}

#[cfg(test)]
mod tests {
    use super::{Beat, BeatClass, IntervalKind, SampleIndex, SamplingRate, series, variability};

    fn beats(spec: &[(u64, BeatClass)]) -> Vec<Beat> {
        let mut at = 0;
        spec.iter()
            .map(|(apart, class)| {
                at += apart;
                Beat {
                    at: SampleIndex(at),
                    class: Some(*class),
                }
            })
            .collect()
    }

    fn rate() -> SamplingRate {
        SamplingRate::hz(1_000).unwrap()
    }

    #[test]
    fn intervals_beside_an_ectopic_beat_are_told_apart_and_left_out() {
        use BeatClass::{Normal, Unknown, Ventricular};
        let mut spec = vec![(800, Normal); 12];
        spec.extend([(500, Ventricular), (1_100, Normal), (800, Unknown)]);
        spec.extend([(800, Normal); 12]);
        let told = series(&beats(&spec), rate(), &[]);
        let kinds: Vec<_> = told[10..16].iter().map(|one| one.kind).collect();
        let (n, e, q) = (
            IntervalKind::Normal,
            IntervalKind::Ectopic,
            IntervalKind::Unclassified,
        );
        assert_eq!(kinds, [n, e, e, q, q, n]);
        let found = variability(&told).unwrap();
        assert_eq!((found.normal, found.left_out), (22, 4));
        assert_eq!((found.mean_ms, found.sdnn_ms), (800.0, 0.0));
    }

    #[test]
    fn no_interval_lies_across_a_gap_and_no_difference_is_taken_over_it() {
        let spec = vec![(800, BeatClass::Normal); 12];
        let told = series(&beats(&spec), rate(), &[SampleIndex(4_100)]);
        assert_eq!(told.len(), 10);
        let breaks = told.iter().filter(|one| !one.follows).count();
        assert_eq!(breaks, 2);
        assert!(variability(&told).is_some());
        assert!(variability(&told[..8]).is_none());
    }

    #[test]
    fn alternating_intervals_have_the_variability_of_the_textbook() {
        let spec: Vec<_> = (0..41)
            .map(|n| (if n % 2 == 0 { 800 } else { 860 }, BeatClass::Normal))
            .collect();
        let found = variability(&series(&beats(&spec), rate(), &[])).unwrap();
        assert_eq!(
            (found.mean_ms, found.rmssd_ms, found.pnn50),
            (830.0, 60.0, 1.0)
        );
        assert!((found.sdnn_ms - 30.0 * (40.0_f64 / 39.0).sqrt()).abs() < 1e-9);
    }
}
