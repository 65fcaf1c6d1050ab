//! Learning the quality model: ridge logistic regression, and honest figures of it.

use cardio_signal::pcg::{QualityModel, SoundFeatures};

/// What the model looks at: four features that physiology and the literature name (beats
/// alike, sounds above the silence between them, the room, movement), no more, because few
/// labels are at hand.
pub(crate) const TERMS: [&str; 4] = ["periodicity", "sound_snr_db", "ambient_db", "low_db"];
/// Weight of the ridge.
const RIDGE: f64 = 1.0;
/// Steps of Newton's method.
const STEPS: usize = 60;

const TERM_COUNT: usize = TERMS.len();
/// The constant and the terms.
const SIZE: usize = TERM_COUNT + 1;

/// One labelled example.
#[derive(Clone, Copy)]
pub(crate) struct Example {
    pub(crate) features: SoundFeatures,
    pub(crate) good: bool,
}

fn picked(features: &SoundFeatures) -> [f64; TERM_COUNT] {
    let values = features.values();
    TERMS.map(|term| {
        let place = SoundFeatures::NAMES.iter().position(|name| *name == term);
        place.map_or(0.0, |place| values[place])
    })
}

/// Learns a model and gives its text; both classes weigh the same.
pub(crate) fn learn(examples: &[Example]) -> String {
    let rows: Vec<[f64; TERM_COUNT]> = examples.iter().map(|e| picked(&e.features)).collect();
    let count = rows.len() as f64;
    let mean: [f64; TERM_COUNT] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at]).sum::<f64>() / count);
    let deviation: [f64; TERM_COUNT] = std::array::from_fn(|at| {
        let squares = rows.iter().map(|row| (row[at] - mean[at]).powi(2));
        (squares.sum::<f64>() / count).sqrt().max(1e-6)
    });
    let goods = examples.iter().filter(|e| e.good).count() as f64;
    let mut weights = [0.0; SIZE];
    for _ in 0..STEPS {
        let mut gradient = [0.0; SIZE];
        let mut curvature = [[0.0; SIZE]; SIZE];
        for (row, example) in rows.iter().zip(examples) {
            let input: [f64; SIZE] = std::array::from_fn(|at| {
                at.checked_sub(1).map_or(1.0, |t| {
                    ((row[t] - mean[t]) / deviation[t]).clamp(-3.0, 3.0)
                })
            });
            let z: f64 = input.iter().zip(weights).map(|(x, w)| x * w).sum();
            let told = 1.0 / (1.0 + libm::exp(-z));
            let (truth, class) = if example.good {
                (1.0, goods)
            } else {
                (0.0, count - goods)
            };
            let share = 0.5 * count / class.max(1.0);
            for a in 0..SIZE {
                gradient[a] += share * (told - truth) * input[a];
                for b in 0..SIZE {
                    curvature[a][b] += share * told * (1.0 - told) * input[a] * input[b];
                }
            }
        }
        for at in 0..SIZE {
            let ridge = if at == 0 { 1e-6 } else { RIDGE };
            gradient[at] += ridge * weights[at];
            curvature[at][at] += ridge;
        }
        let step = solve(curvature, gradient);
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight -= step;
        }
    }
    let mut text = format!("bias {:.4}\n", weights[0]);
    for (at, term) in TERMS.iter().enumerate() {
        let (mean, deviation, weight) = (mean[at], deviation[at], weights[at + 1]);
        text += &format!("term {term} {mean:.4} {deviation:.4} {weight:.4}\n");
    }
    text
}

/// Solves a system of linear equations by elimination with pivots.
fn solve(mut matrix: [[f64; SIZE]; SIZE], mut right: [f64; SIZE]) -> [f64; SIZE] {
    for at in 0..SIZE {
        let pivot = (at..SIZE)
            .max_by(|a, b| matrix[*a][at].abs().total_cmp(&matrix[*b][at].abs()))
            .unwrap_or(at);
        matrix.swap(at, pivot);
        right.swap(at, pivot);
        let (upper, lower) = matrix.split_at_mut(at + 1);
        let top = upper[at];
        for (row, below) in lower.iter_mut().zip(at + 1..) {
            let factor = row[at] / top[at];
            for (cell, above) in row.iter_mut().zip(top) {
                *cell -= factor * above;
            }
            right[below] -= factor * right[at];
        }
    }
    let mut solution = [0.0; SIZE];
    for at in (0..SIZE).rev() {
        let known: f64 = (at + 1..SIZE).map(|c| matrix[at][c] * solution[c]).sum();
        solution[at] = (right[at] - known) / matrix[at][at];
    }
    solution
}

/// Indices of every example by a model that has not seen its group.
pub(crate) fn held_out<G: PartialEq>(examples: &[Example], groups: &[G]) -> Vec<f64> {
    examples
        .iter()
        .zip(groups)
        .map(|(example, group)| {
            let others: Vec<Example> = examples
                .iter()
                .zip(groups)
                .filter(|(_, other)| *other != group)
                .map(|(example, _)| *example)
                .collect();
            let model = QualityModel::parse(&learn(&others)).unwrap_or_default();
            model.index(&example.features)
        })
        .collect()
}

/// Area under the curve: how often a good recording has the higher score.
pub(crate) fn auc(scores: &[f64], examples: &[Example]) -> f64 {
    let of = |good| {
        scores
            .iter()
            .zip(examples)
            .filter(move |(_, example)| example.good == good)
            .map(|(score, _)| *score)
    };
    let mut wins = 0.0;
    let mut pairs = 0.0;
    for good in of(true) {
        for bad in of(false) {
            pairs += 1.0;
            wins += if good > bad {
                1.0
            } else if good == bad {
                0.5
            } else {
                0.0
            };
        }
    }
    wins / pairs
}
