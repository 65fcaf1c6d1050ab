//! Beat by beat, as EC57 says: pairs within 150 ms, flutter left out.

use cardio_core::rate::SamplingRate;
use cardio_signal::qrs::{FusedDetector, QrsDetector};

use crate::data::{Truth, seconds};

const WINDOW_S: f64 = 0.150;

/// Counts of one record, or of many.
#[derive(Clone, Copy, Default)]
pub(crate) struct Score {
    pub(crate) hits: f64,
    pub(crate) missed: f64,
    pub(crate) extra: f64,
    sum_ms: f64,
    square_ms: f64,
}

impl Score {
    pub(crate) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.missed += other.missed;
        self.extra += other.extra;
        self.sum_ms += other.sum_ms;
        self.square_ms += other.square_ms;
    }

    pub(crate) fn sensitivity(&self) -> f64 {
        self.hits / (self.hits + self.missed).max(1.0)
    }

    pub(crate) fn precision(&self) -> f64 {
        self.hits / (self.hits + self.extra).max(1.0)
    }

    pub(crate) fn f1(&self) -> f64 {
        2.0 * self.hits / (2.0 * self.hits + self.missed + self.extra).max(1.0)
    }

    pub(crate) fn line(&self, name: &str) -> String {
        let hits = self.hits.max(1.0);
        format!(
            "{name:<12} Se {:.4} +P {:.4} F1 {:.4}  missed {:>4} extra {:>4}  bias {:>5.1} ms rms {:>5.1} ms",
            self.sensitivity(),
            self.precision(),
            self.f1(),
            self.missed,
            self.extra,
            self.sum_ms / hits,
            (self.square_ms / hits).sqrt(),
        )
    }
}

/// A pair, or what has none: indexes into the truth and into the found beats.
pub(crate) enum Pair {
    Hit(usize, usize),
    Missed(usize),
    Extra(usize),
}

/// Pairs beats in order of time; each with the nearest that is within the window.
pub(crate) fn pair(truth: &[f64], found: &[f64]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let (mut t, mut f) = (0, 0);
    let apart = |t: usize, f: usize| match (truth.get(t), found.get(f)) {
        (Some(a), Some(b)) => (a - b).abs(),
        _ => f64::INFINITY,
    };
    while t < truth.len() || f < found.len() {
        let here = apart(t, f);
        if here <= WINDOW_S {
            if apart(t, f + 1) < here {
                pairs.push(Pair::Extra(f));
                f += 1;
            } else if apart(t + 1, f) < here {
                pairs.push(Pair::Missed(t));
                t += 1;
            } else {
                pairs.push(Pair::Hit(t, f));
                t += 1;
                f += 1;
            }
        } else if t < truth.len() && (f >= found.len() || truth[t] < found[f]) {
            pairs.push(Pair::Missed(t));
            t += 1;
        } else {
            pairs.push(Pair::Extra(f));
            f += 1;
        }
    }
    pairs
}

/// Whether an instant counts: late enough, and not within flutter.
fn counts(at: f64, from_s: f64, left_out: &[(f64, f64)]) -> bool {
    at >= from_s && !left_out.iter().any(|(a, b)| at >= *a && at <= *b)
}

pub(crate) fn score(truth: &[Truth], found: &[f64], from_s: f64, left_out: &[(f64, f64)]) -> Score {
    let truth: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    let mut score = Score::default();
    for pair in pair(&truth, found) {
        match pair {
            Pair::Hit(t, f) if counts(truth[t], from_s, left_out) => {
                let ms = (found[f] - truth[t]) * 1000.0;
                score.hits += 1.0;
                score.sum_ms += ms;
                score.square_ms += ms * ms;
            }
            Pair::Missed(t) if counts(truth[t], from_s, left_out) => score.missed += 1.0,
            Pair::Extra(f) if counts(found[f], from_s, left_out) => score.extra += 1.0,
            _ => {}
        }
    }
    score
}

/// Every error of a record: `-` missed, `+` extra, with its instant.
pub(crate) fn errors(
    truth: &[Truth],
    found: &[f64],
    from_s: f64,
    left_out: &[(f64, f64)],
) -> Vec<(char, f64)> {
    let at: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    pair(&at, found)
        .iter()
        .filter_map(|pair| match pair {
            Pair::Missed(t) => Some(('-', at[*t])),
            Pair::Extra(f) => Some(('+', found[*f])),
            Pair::Hit(..) => None,
        })
        .filter(|(_, at)| counts(*at, from_s, left_out))
        .collect()
}

/// The beats of a row, in seconds.
pub(crate) fn detect(row: &[i32], rate: SamplingRate, gain: f64) -> Vec<f64> {
    let mut detector = QrsDetector::new(rate, gain);
    let mut found = detector.push(row);
    found.extend(detector.finish());
    found.iter().map(|at| seconds(at.0, rate.as_hz())).collect()
}

/// The beats of rows that were recorded together, in seconds.
pub(crate) fn detect_fused(rows: &[Vec<i32>], rate: SamplingRate, gains: &[f64]) -> Vec<f64> {
    let mut detector = FusedDetector::new(rate, gains);
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    let mut found = detector.push(&rows);
    found.extend(detector.finish());
    found.iter().map(|at| seconds(at.0, rate.as_hz())).collect()
}
