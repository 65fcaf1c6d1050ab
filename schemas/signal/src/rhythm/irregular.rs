//! How irregular the heart's own intervals are: the coefficient of sample entropy.
//!
//! Lake and Moorman 2011. Deliberately absent: P waves; irregularity alone is a suspicion.

use crate::num;

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
    use super::{relative_difference, sample_entropy_coefficient};

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
    fn few_intervals_say_nothing() {
        assert_eq!(sample_entropy_coefficient(&[0.8; 11]), None);
        assert_eq!(sample_entropy_coefficient(&[]), None);
    }
}
