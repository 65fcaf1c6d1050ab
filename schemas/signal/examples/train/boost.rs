//! Gradient boosting of small complete trees on a two-class logistic loss.
//!
//! Plain and repeatable: quantile bins, greedy splits, no chance anywhere.

use std::fmt::Write;

use cardio_signal::forest::DEPTH;

const BINS: usize = 48;
const NODES: usize = (1 << DEPTH) - 1;
const LEAVES: usize = 1 << DEPTH;

/// How to learn.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) trees: usize,
    pub(crate) shrinkage: f64,
    /// Weight that is added to every leaf.
    pub(crate) ridge: f64,
    /// Weight that a leaf must hold.
    pub(crate) least: f64,
    /// What is known of each feature beforehand: whether more of it speaks for the class
    /// (1), against it (-1), or either (0, as for features beyond the end).
    pub(crate) signs: &'static [i8],
    /// Share of the features that each tree may look at.
    pub(crate) seen: f64,
    /// How many questions a tree asks, at most [`DEPTH`].
    pub(crate) depth: usize,
}

/// Examples: rows of features, what they are, and how much they count.
#[derive(Clone, Default)]
pub(crate) struct Examples {
    pub(crate) rows: Vec<Vec<f64>>,
    pub(crate) labels: Vec<bool>,
    pub(crate) weights: Vec<f64>,
}

impl Examples {
    pub(crate) fn push(&mut self, row: Vec<f64>, label: bool, weight: f64) {
        self.rows.push(row);
        self.labels.push(label);
        self.weights.push(weight);
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.rows.extend_from_slice(&other.rows);
        self.labels.extend_from_slice(&other.labels);
        self.weights.extend_from_slice(&other.weights);
    }
}

/// Learns and writes the trees as the text that `Forest::parse` reads.
pub(crate) fn learn(examples: &Examples, settings: Settings, remarks: &[String]) -> String {
    let features = examples.rows.first().map_or(0, Vec::len);
    let limits: Vec<Vec<f64>> = (0..features).map(|f| quantiles(examples, f)).collect();
    let bins = binned(examples, &limits);
    let positive: f64 = weight_where(examples, true);
    let negative: f64 = weight_where(examples, false);
    let bias = (positive / negative.max(1e-9)).max(1e-9).ln();
    let mut scores = vec![bias; examples.rows.len()];
    let mut text = String::new();
    for remark in remarks {
        let _ = writeln!(text, "# {remark}");
    }
    let _ = writeln!(text, "bias {bias:.6}");
    for turn in 0..settings.trees {
        let tree = Tree::grow(examples, &bins, &limits, &scores, settings, turn);
        for (row, score) in scores.iter_mut().enumerate() {
            *score += tree.leaves[tree.leaf(&bins, row)];
        }
        tree.write(&mut text);
    }
    text
}

fn weight_where(examples: &Examples, label: bool) -> f64 {
    let chosen = examples.labels.iter().zip(&examples.weights);
    chosen.filter(|(is, _)| **is == label).map(|(_, w)| w).sum()
}

fn quantiles(examples: &Examples, feature: usize) -> Vec<f64> {
    let mut values: Vec<f64> = examples.rows.iter().map(|row| row[feature]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let mut limits: Vec<f64> = (1..BINS)
        .filter_map(|bin| values.get(bin * values.len() / BINS).copied())
        .map(|limit| (limit * 1e5).round() / 1e5)
        .collect();
    limits.dedup();
    limits
}

/// Bins, feature by feature.
fn binned(examples: &Examples, limits: &[Vec<f64>]) -> Vec<Vec<u8>> {
    limits
        .iter()
        .enumerate()
        .map(|(feature, limits)| {
            let bin = |row: &Vec<f64>| limits.partition_point(|limit| *limit < row[feature]) as u8;
            examples.rows.iter().map(bin).collect()
        })
        .collect()
}

struct Tree {
    nodes: [(usize, usize, f64); NODES],
    leaves: [f64; LEAVES],
}

impl Tree {
    fn grow(
        examples: &Examples,
        bins: &[Vec<u8>],
        limits: &[Vec<f64>],
        scores: &[f64],
        settings: Settings,
        turn: usize,
    ) -> Self {
        let rows = scores.len();
        let slopes: Vec<(f64, f64)> = (0..rows)
            .map(|row| {
                let p = 1.0 / (1.0 + (-scores[row]).exp());
                let target = if examples.labels[row] { 1.0 } else { 0.0 };
                let weight = examples.weights[row];
                (weight * (target - p), weight * p * (1.0 - p))
            })
            .collect();
        let mut tree = Self {
            nodes: [(0, BINS, 1e9); NODES],
            leaves: [0.0; LEAVES],
        };
        let mut place = vec![0_usize; rows];
        // What each node's leaves may say, so that a sign known beforehand holds below it too.
        let mut bounds = [(f64::NEG_INFINITY, f64::INFINITY); NODES + LEAVES];
        for depth in 0..DEPTH {
            let first = (1 << depth) - 1;
            let width = 1 << depth;
            let within = &bounds[first..first + width];
            let splits = if depth >= settings.depth {
                vec![None; width]
            } else {
                best_splits(&place, first, within, bins, &slopes, settings, turn)
            };
            for (node, split) in splits.into_iter().enumerate() {
                let at = first + node;
                let (mut left, mut right) = (bounds[at], bounds[at]);
                if let Some(split) = split {
                    tree.nodes[at] = (split.feature, split.bin, limits[split.feature][split.bin]);
                    match settings.sign(split.feature) {
                        1 => (left.1, right.0) = (split.middle, split.middle),
                        -1 => (left.0, right.1) = (split.middle, split.middle),
                        _ => {}
                    }
                }
                (bounds[2 * at + 1], bounds[2 * at + 2]) = (left, right);
            }
            for (row, at) in place.iter_mut().enumerate() {
                let (feature, bin, _) = tree.nodes[*at];
                let left = usize::from(bins[feature][row]) <= bin;
                *at = 2 * *at + if left { 1 } else { 2 };
            }
        }
        let mut sums = [(0.0, 0.0); LEAVES];
        for (row, at) in place.iter().enumerate() {
            sums[at - NODES].0 += slopes[row].0;
            sums[at - NODES].1 += slopes[row].1;
        }
        for ((leaf, (slope, bend)), (low, high)) in
            tree.leaves.iter_mut().zip(sums).zip(&bounds[NODES..])
        {
            let value = settings.shrinkage * (slope / (bend + settings.ridge)).clamp(*low, *high);
            *leaf = (value * 1e5).round() / 1e5;
        }
        tree
    }

    fn leaf(&self, bins: &[Vec<u8>], row: usize) -> usize {
        let mut at = 0;
        for _ in 0..DEPTH {
            let (feature, bin, _) = self.nodes[at];
            at = 2 * at
                + if usize::from(bins[feature][row]) <= bin {
                    1
                } else {
                    2
                };
        }
        at - NODES
    }

    fn write(&self, text: &mut String) {
        text.push_str("tree");
        for (feature, _, limit) in self.nodes {
            let _ = write!(text, " {feature} {limit}");
        }
        for leaf in self.leaves {
            let _ = write!(text, " {leaf}");
        }
        text.push('\n');
    }
}

/// Where a node parts its rows: feature, last bin of the left side, and the value halfway
/// between what the sides say.
#[derive(Clone, Copy)]
struct Split {
    feature: usize,
    bin: usize,
    middle: f64,
}

impl Settings {
    /// Whether a tree may look at a feature: others look at other ones, so that no few
    /// features decide alone.
    fn sees(&self, turn: usize, feature: usize) -> bool {
        let mixed = (turn * 2_654_435_761 + feature * 40_503 + 7) % 1_000_003;
        ((mixed * mixed) % 1_009) as f64 <= 1_009.0 * self.seen
    }

    fn sign(&self, feature: usize) -> i8 {
        self.signs.get(feature).copied().unwrap_or(0)
    }
}

/// The best split of every node of one depth.
fn best_splits(
    place: &[usize],
    first: usize,
    bounds: &[(f64, f64)],
    bins: &[Vec<u8>],
    slopes: &[(f64, f64)],
    settings: Settings,
    turn: usize,
) -> Vec<Option<Split>> {
    let width = bounds.len();
    let mut best: Vec<(f64, Option<Split>)> = vec![(1e-6, None); width];
    for (feature, column) in bins.iter().enumerate() {
        if !settings.sees(turn, feature) {
            continue;
        }
        let mut sums = vec![(0.0, 0.0); width * BINS];
        for (row, bin) in column.iter().enumerate() {
            let cell = &mut sums[(place[row] - first) * BINS + usize::from(*bin)];
            cell.0 += slopes[row].0;
            cell.1 += slopes[row].1;
        }
        let sign = f64::from(settings.sign(feature));
        for ((node, best), (low, high)) in best.iter_mut().enumerate().zip(bounds) {
            let cells = &sums[node * BINS..(node + 1) * BINS];
            let all = cells.iter().fold((0.0, 0.0), |a, c| (a.0 + c.0, a.1 + c.1));
            let value =
                |(slope, bend): (f64, f64)| (slope / (bend + settings.ridge)).clamp(*low, *high);
            // How much the loss falls when a side says its value.
            let worth = |side: (f64, f64)| {
                let value = value(side);
                2.0 * side.0 * value - (side.1 + settings.ridge) * value * value
            };
            let mut left = (0.0, 0.0);
            for (bin, cell) in cells.iter().enumerate().take(BINS - 1) {
                left = (left.0 + cell.0, left.1 + cell.1);
                let right = (all.0 - left.0, all.1 - left.1);
                if left.1 < settings.least || right.1 < settings.least {
                    continue;
                }
                let gain = worth(left) + worth(right) - worth(all);
                let (here, there) = (value(left), value(right));
                if gain > best.0 && sign * (there - here) >= 0.0 {
                    let middle = f64::midpoint(here, there);
                    *best = (
                        gain,
                        Some(Split {
                            feature,
                            bin,
                            middle,
                        }),
                    );
                }
            }
        }
    }
    best.into_iter().map(|(_, split)| split).collect()
}
