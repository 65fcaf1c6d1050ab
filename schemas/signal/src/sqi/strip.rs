//! Whether a recording of many leads as a whole is good enough to be read.
//!
//! The question of the PhysioNet Challenge 2011: mostly the worst lead answers it.
//! Deliberately absent: which lead to redo.

use crate::forest::probability;
use crate::num;

/// Constant, and weights of the worst lead, the second worst, and the mean, all as logarithms
/// of odds: a logistic function fitted to the 700 strips of set a that are at hand, whose
/// leads were judged by trees that had not seen them (ten-fold: accuracy 0.937, AUC 0.978).
const CONSTANT: f64 = -2.494;
const WORST: f64 = 0.706;
const SECOND: f64 = 0.03;
const MEAN: f64 = 0.208;
/// Probabilities are held this far from nought and one.
const EDGE: f64 = 1e-4;

/// And those of windows this far.
const WINDOW_EDGE: f64 = 1e-3;

/// Probability that a lead is insufficient over a whole recording, from those of its
/// windows: their logarithms of odds are averaged. Certain when there is no window.
pub fn over_windows(bad: &[f64]) -> f64 {
    if bad.is_empty() {
        return 1.0;
    }
    let odds = |p: &f64| libm::log((p + WINDOW_EDGE) / (1.0 - p + WINDOW_EDGE));
    probability(bad.iter().map(odds).sum::<f64>() / num::float(bad.len()))
}

/// Probability that a recording is unacceptable, from the probability of each of its leads
/// to be insufficient; certain when there is no lead.
pub fn unacceptable(bad: &[f64]) -> f64 {
    let mut odds: Vec<f64> = bad
        .iter()
        .map(|p| libm::log((p + EDGE) / (1.0 - p + EDGE)))
        .collect();
    odds.sort_by(|a, b| b.total_cmp(a));
    let Some(worst) = odds.first() else {
        return 1.0;
    };
    let second = odds.get(1).unwrap_or(worst);
    let mean = odds.iter().sum::<f64>() / num::float(odds.len());
    probability(CONSTANT + WORST * worst + SECOND * second + MEAN * mean)
}

#[cfg(test)]
mod tests {
    use super::{over_windows, unacceptable};

    #[test]
    fn a_surely_good_window_outweighs_one_that_is_a_little_doubtful() {
        assert!((over_windows(&[0.3]) - 0.3).abs() < 1e-2);
        assert!(over_windows(&[0.6, 0.001]) < 0.2);
        assert!(over_windows(&[0.999, 0.999, 0.4]) > 0.9);
        assert!(over_windows(&[]) > 0.99);
    }

    #[test]
    fn one_hopeless_lead_of_twelve_makes_a_strip_unacceptable() {
        let mut leads = [0.02; 12];
        assert!(unacceptable(&leads) < 0.1);
        leads[5] = 0.9999;
        assert!(unacceptable(&leads) > 0.5);
        assert!(unacceptable(&[]) > 0.99);
    }
}
