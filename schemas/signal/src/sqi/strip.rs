//! Whether a recording of several leads as a whole is good enough to be read.
//!
//! The question of the PhysioNet Challenge 2011. Deliberately absent: which lead to redo.

use std::sync::OnceLock;

use super::verdict::FEATURES;
use crate::forest::{Forest, probability};
use crate::num;

/// Numbers that sum a strip up.
const NUMBERS: usize = 18;

/// Probability that a recording of eight leads or more is unacceptable, from the
/// probability of each lead to be insufficient and what it looked like.
pub(crate) fn unacceptable(bad: &[f64], leads: &[[f64; FEATURES.len()]]) -> f64 {
    static FOREST: OnceLock<Forest> = OnceLock::new();
    let forest = FOREST.get_or_init(|| {
        Forest::parse(include_str!("../../models/sqi-strip.txt")).unwrap_or_default()
    });
    probability(forest.score(&strip_features(bad, leads)))
}

/// A strip as a row for the learnt function: places within the sorted probabilities of its
/// leads, their mean and how many are bad, and the worst and middle of some lead features.
pub fn strip_features(bad: &[f64], leads: &[[f64; FEATURES.len()]]) -> [f64; NUMBERS] {
    let mut sorted = bad.to_vec();
    let mut at = |q: f64| num::quantile(&mut sorted, q);
    let count = num::float(bad.len().max(1));
    let over = |limit: f64| num::float(bad.iter().filter(|p| **p > limit).count()) / count;
    let column = |feature: usize, q: f64| {
        let mut values: Vec<f64> = leads
            .iter()
            .filter_map(|row| row.get(feature).copied())
            .collect();
        num::quantile(&mut values, q)
    };
    [
        at(0.0),
        at(0.25),
        at(0.5),
        at(0.75),
        at(0.9),
        at(1.0),
        bad.iter().sum::<f64>() / count,
        over(0.5),
        over(0.2),
        column(3, 0.75),
        column(5, 0.75),
        column(6, 0.9),
        column(7, 0.1),
        column(8, 0.25),
        column(18, 0.75),
        column(2, 1.0),
        column(1, 1.0),
        column(12, 0.1),
    ]
}
