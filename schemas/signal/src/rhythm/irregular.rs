//! How irregular the intervals are, and whether that looks like atrial fibrillation.
//!
//! Ectopic beats make intervals uneven too, but in patterns: the interval two, three or four
//! beats earlier was alike, or most intervals are near one value; and where the atria beat,
//! P waves are alike. A sum of small trees over such measures, learnt by `examples/train`,
//! says how likely fibrillation is. Deliberately absent: waves of fibrillation; it stays a
//! suspicion.

use std::sync::{Arc, OnceLock};

use crate::forest::Forest;
use crate::num;

/// Intervals over which irregularity is judged.
pub const WINDOW: usize = 32;

/// What is looked at: shares, ratios to the mean interval, entropies.
pub const IRREGULARITY: [&str; 11] = [
    "middle step of own intervals",
    "coefficient of sample entropy of own intervals",
    "share of intervals near the middle one",
    "smallest middle step over one to four intervals",
    "root mean square step of own intervals",
    "share of turning points",
    "share of cells of the map of steps that are taken",
    "share of intervals beside an ectopic beat",
    "mean interval",
    "middle likeness of P waves",
    "likeness of P waves that a quarter of them exceeds",
];

/// Intervals this near the middle one, as a share, are near it.
const NEAR: f64 = 0.1;
/// Side of a cell of the map of interval against step (Lian 2011), in seconds.
const CELL_S: f64 = 0.025;

/// The trees for beats whose P waves nobody looked at, read once.
pub(super) fn forest_of_intervals() -> Arc<Forest> {
    static FOREST: OnceLock<Arc<Forest>> = OnceLock::new();
    let read = || Forest::parse(include_str!("../../models/af-intervals.txt")).unwrap_or_default();
    Arc::clone(FOREST.get_or_init(|| Arc::new(read())))
}

/// The trees of the file, read once.
pub(super) fn reviewed_forest() -> Arc<Forest> {
    static FOREST: OnceLock<Arc<Forest>> = OnceLock::new();
    let read = || Forest::parse(include_str!("../../models/af.txt")).unwrap_or_default();
    Arc::clone(FOREST.get_or_init(|| Arc::new(read())))
}

/// An interval between two beats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    /// Its length, in seconds.
    pub interval_s: f64,
    /// Whether an ectopic beat is beside it.
    pub ectopic: bool,
    /// How like the P wave at its end is to those before, from -1 to 1; `None` when nobody
    /// looked.
    pub p_wave: Option<f64>,
}

/// What intervals look like, in the order of [`IRREGULARITY`]; without P waves the last two
/// are zero. `None` when fewer than twelve
/// are the heart's own.
pub fn irregularity(intervals: &[Beside]) -> Option<[f64; IRREGULARITY.len()]> {
    let all: Vec<f64> = intervals.iter().map(|one| one.interval_s).collect();
    let own = || intervals.iter().filter(|one| !one.ectopic);
    let mut p_waves: Vec<f64> = own().filter_map(|one| one.p_wave).collect();
    let own: Vec<f64> = own().map(|one| one.interval_s).collect();
    let entropy = sample_entropy_coefficient(&own)?;
    let count = num::float(all.len().max(1));
    let mean = (all.iter().sum::<f64>() / count).max(0.1);
    let middle = num::median(&mut all.clone());
    let near = all
        .iter()
        .filter(|interval| (*interval - middle).abs() < NEAR * middle)
        .count();
    let smallest = (1..=4)
        .map(|lag| middle_step(&all, lag) / mean)
        .fold(f64::MAX, f64::min);
    let steps: Vec<f64> = own.windows(2).map(step).collect();
    let squares: f64 = steps.iter().map(|step| step * step).sum();
    let turns = steps
        .windows(2)
        .filter(|pair| pair.iter().product::<f64>() < 0.0)
        .count();
    Some([
        relative_difference(&own),
        entropy,
        num::float(near) / count,
        smallest,
        (squares / num::float(steps.len().max(1))).sqrt() / mean,
        num::float(turns) / num::float(steps.len().max(1)),
        taken_cells(&own),
        num::float(all.len() - own.len()) / count,
        mean,
        num::median(&mut p_waves),
        num::quantile(&mut p_waves, 0.75),
    ])
}

fn step(pair: &[f64]) -> f64 {
    pair.last().unwrap_or(&0.0) - pair.first().unwrap_or(&0.0)
}

/// Middle of the differences, without sign, of intervals that are `lag` beats apart.
fn middle_step(intervals_s: &[f64], lag: usize) -> f64 {
    let later = intervals_s.iter().skip(lag);
    let mut steps: Vec<f64> = intervals_s
        .iter()
        .zip(later)
        .map(|(one, two)| (one - two).abs())
        .collect();
    num::median(&mut steps)
}

/// How scattered intervals and their steps are: cells taken on their map, over intervals.
fn taken_cells(intervals_s: &[f64]) -> f64 {
    let mut cells: Vec<(i64, i64)> = intervals_s
        .windows(2)
        .map(|pair| {
            let place = pair.last().unwrap_or(&0.0) / CELL_S;
            (num::round_i64(place), num::round_i64(step(pair) / CELL_S))
        })
        .collect();
    let count = cells.len().max(1);
    cells.sort_unstable();
    cells.dedup();
    num::float(cells.len()) / num::float(count)
}

/// The tolerance starts here, in seconds, and grows by this until enough pairs agree.
const TOLERANCE_S: f64 = 0.030;
const TOLERANCE_STEP_S: f64 = 0.010;
/// Pairs of intervals that must agree.
const MATCHES: usize = 8;
/// Fewer intervals say nothing.
const LEAST: usize = 12;

/// Coefficient of sample entropy, of order one, of intervals in seconds: about -2.5 for a
/// regular rhythm, above -1.4 in fibrillation. `None` for fewer than twelve intervals.
pub fn sample_entropy_coefficient(intervals_s: &[f64]) -> Option<f64> {
    if intervals_s.len() < LEAST {
        return None;
    }
    let mean = intervals_s.iter().sum::<f64>() / num::float(intervals_s.len());
    let mut tolerance = TOLERANCE_S;
    while tolerance < 1.0 {
        let (pairs, triples) = matches(intervals_s, tolerance);
        if triples >= MATCHES {
            let entropy = -libm::log(num::float(triples) / num::float(pairs));
            return Some(entropy + libm::log(2.0 * tolerance) - libm::log(mean.max(0.1)));
        }
        tolerance += TOLERANCE_STEP_S;
    }
    Some(0.0)
}

/// Pairs of intervals that agree, and those whose next intervals agree too.
fn matches(intervals_s: &[f64], tolerance: f64) -> (usize, usize) {
    let (mut pairs, mut both) = (0, 0);
    let next = intervals_s.iter().skip(1);
    let steps: Vec<(f64, f64)> = intervals_s.iter().copied().zip(next.copied()).collect();
    for (place, (one, one_next)) in steps.iter().enumerate() {
        for (other, other_next) in steps.iter().skip(place + 1) {
            if (one - other).abs() <= tolerance {
                pairs += 1;
                if (one_next - other_next).abs() <= tolerance {
                    both += 1;
                }
            }
        }
    }
    (pairs, both)
}

/// Middle of the differences of neighbours, without sign, over the mean interval.
pub fn relative_difference(intervals_s: &[f64]) -> f64 {
    let next = intervals_s.iter().skip(1);
    let mut differences: Vec<f64> = intervals_s
        .iter()
        .zip(next)
        .map(|(one, two)| (one - two).abs())
        .collect();
    let mean = intervals_s.iter().sum::<f64>() / num::float(intervals_s.len().max(1));
    num::median(&mut differences) / mean.max(0.1)
}

#[cfg(test)]
mod tests {
    use super::{
        Beside, Forest, IRREGULARITY, irregularity, relative_difference, reviewed_forest,
        sample_entropy_coefficient,
    };

    /// Intervals from a small congruential generator, so that the test repeats.
    fn scattered(mean: f64, spread: f64, count: u32) -> Vec<f64> {
        let mut state = 7_u32;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                mean + spread * (f64::from(state >> 8) / f64::from(1_u32 << 24) - 0.5)
            })
            .collect()
    }

    #[test]
    fn regular_intervals_are_low_and_scattered_ones_high() {
        let regular = sample_entropy_coefficient(&scattered(0.8, 0.02, 30)).unwrap();
        let scattered_high = sample_entropy_coefficient(&scattered(0.7, 0.5, 30)).unwrap();
        assert!(regular < -2.0, "{regular}");
        assert!(scattered_high > -1.4, "{scattered_high}");
        assert!(relative_difference(&scattered(0.7, 0.5, 30)) > 0.08);
    }

    #[test]
    fn the_reviewed_files_of_trees_are_read_whole() {
        for text in [
            include_str!("../../models/af.txt"),
            include_str!("../../models/af-intervals.txt"),
        ] {
            let whole = Forest::parse(text).unwrap();
            assert!(whole.score(&[0.0; IRREGULARITY.len()]) != 0.0);
        }
    }

    #[test]
    fn scattered_intervals_are_suspected_and_patterns_of_ectopic_beats_are_not() {
        let odds = |intervals: Vec<f64>, p_wave| {
            let beside = |interval_s| Beside {
                interval_s,
                ectopic: false,
                p_wave: Some(p_wave),
            };
            let all: Vec<Beside> = intervals.into_iter().map(beside).collect();
            reviewed_forest().score(&irregularity(&all).unwrap())
        };
        assert!(odds(scattered(0.7, 0.5, 32), 0.1) > 0.0);
        assert!(odds(scattered(0.8, 0.03, 32), 0.9) < 0.0);
        assert!(odds([0.8, 0.5, 1.1].repeat(11), 0.8) < 0.0);
        assert!(odds([0.55, 1.05].repeat(16), 0.8) < 0.0);
        assert!(odds(scattered(0.7, 0.5, 32), 0.95) < odds(scattered(0.7, 0.5, 32), 0.1));
    }

    #[test]
    fn few_intervals_say_nothing() {
        assert_eq!(sample_entropy_coefficient(&[0.8; 11]), None);
        assert_eq!(sample_entropy_coefficient(&[]), None);
    }
}
