//! A learnt function: a sum of small decision trees over named features.
//!
//! The trees come from a reviewed text file beside the code; the program that wrote it is
//! `examples/train`. Deliberately absent: learning.

/// Depth of every tree.
pub const DEPTH: usize = 4;
/// Inner nodes of a tree, and its leaves.
const NODES: usize = (1 << DEPTH) - 1;
const LEAVES: usize = 1 << DEPTH;

/// One complete tree: node `n` goes on to `2n + 1` when its feature is at most its limit,
/// to `2n + 2` otherwise.
#[derive(Clone, Debug, PartialEq)]
struct Tree {
    features: [u8; NODES],
    limits: [f64; NODES],
    leaves: [f64; LEAVES],
}

/// A sum of trees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forest {
    bias: f64,
    trees: Vec<Tree>,
}

impl Forest {
    /// Reads the file's text: `#` begins a remark, `bias X` the constant, `tree` a line of
    /// feature and limit per node, then the leaves. `None` when a line is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let mut forest = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                None | Some("#") => {}
                Some("bias") => forest.bias = words.next()?.parse().ok()?,
                Some("tree") => forest.trees.push(Tree::parse(words)?),
                Some(_) => return None,
            }
        }
        Some(forest)
    }

    /// The sum for one row of features: the logarithm of the odds. A feature that is not
    /// there counts as zero.
    pub fn score(&self, features: &[f64]) -> f64 {
        self.bias
            + self
                .trees
                .iter()
                .map(|tree| tree.score(features))
                .sum::<f64>()
    }
}

impl Tree {
    fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut features, mut limits) = ([0; NODES], [0.0; NODES]);
        for (feature, limit) in features.iter_mut().zip(&mut limits) {
            *feature = words.next()?.parse().ok()?;
            *limit = words.next()?.parse().ok()?;
        }
        let mut leaves = [0.0; LEAVES];
        for leaf in &mut leaves {
            *leaf = words.next()?.parse().ok()?;
        }
        words.next().is_none().then_some(Self {
            features,
            limits,
            leaves,
        })
    }

    fn score(&self, features: &[f64]) -> f64 {
        let mut at = 0;
        for _ in 0..DEPTH {
            let feature = usize::from(self.features.get(at).copied().unwrap_or(0));
            let limit = self.limits.get(at).copied().unwrap_or(0.0);
            let value = features.get(feature).copied().unwrap_or(0.0);
            at = 2 * at + if value <= limit { 1 } else { 2 };
        }
        self.leaves.get(at - NODES).copied().unwrap_or(0.0)
    }
}

/// The probability of a sum.
pub(crate) fn probability(score: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-score))
}

#[cfg(test)]
mod tests {
    use super::{Forest, probability};

    fn one_tree() -> String {
        let nodes = "0 1.5 ".repeat(15);
        let leaves: Vec<String> = (0..16).map(|leaf| leaf.to_string()).collect();
        format!("# a remark\nbias 0.5\ntree {nodes}{}\n", leaves.join(" "))
    }

    #[test]
    fn a_tree_sends_small_values_left_and_large_ones_right() {
        let forest = Forest::parse(&one_tree()).unwrap();
        assert_eq!(forest.score(&[1.0]), 0.5);
        assert_eq!(forest.score(&[2.0]), 15.5);
        assert_eq!(forest.score(&[]), 0.5);
    }

    #[test]
    fn a_file_that_is_cut_or_foreign_is_refused() {
        assert!(Forest::parse("tree 0 1").is_none());
        assert!(Forest::parse("leaf 3").is_none());
        assert!(Forest::parse(&format!("{} 9", one_tree().trim_end())).is_none());
    }

    #[test]
    fn a_sum_of_zero_is_even_odds() {
        assert_eq!(probability(0.0), 0.5);
        assert!(probability(-800.0) >= 0.0);
    }
}
