//! The learnt part of the quality index: a logistic function of a few named features.
//!
//! Its numbers come from the reviewed text file `models/pcg-quality.txt`, which the program
//! `examples/train_pcg.rs` prints. Deliberately absent: learning, and the verdict's limits.

use crate::pcg::features::SoundFeatures;

/// The reviewed numbers.
const TEXT: &str = include_str!("../../models/pcg-quality.txt");

/// One feature's part.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Term {
    feature: usize,
    mean: f64,
    deviation: f64,
    weight: f64,
}

/// A logistic function of standardised features.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QualityModel {
    bias: f64,
    terms: Vec<Term>,
}

impl QualityModel {
    /// The model that the verdicts rest on.
    pub fn reviewed() -> Self {
        Self::parse(TEXT).unwrap_or_default()
    }

    /// Reads a model's text: `#` begins a remark, `bias X` is the constant, `term NAME MEAN
    /// DEVIATION WEIGHT` a feature's part. `None` when a line is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let mut model = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                None => {}
                Some(word) if word.starts_with('#') => {}
                Some("bias") => model.bias = number(words.next())?,
                Some("term") => {
                    let name = words.next()?;
                    let term = Term {
                        feature: SoundFeatures::NAMES.iter().position(|own| *own == name)?,
                        mean: number(words.next())?,
                        deviation: number(words.next()).filter(|d| *d > 0.0)?,
                        weight: number(words.next())?,
                    };
                    model.terms.push(term);
                }
                Some(_) => return None,
            }
            if words
                .next()
                .is_some_and(|_| !line.trim_start().starts_with('#'))
            {
                return None;
            }
        }
        (!model.terms.is_empty()).then_some(model)
    }

    /// Likelihood that a person calls the stretch good, from 0 to 1. A feature further out
    /// than three deviations counts as three.
    pub fn index(&self, features: &SoundFeatures) -> f64 {
        let values = features.values();
        let sum: f64 = self
            .terms
            .iter()
            .map(|term| {
                let value = values.get(term.feature).copied().unwrap_or(term.mean);
                let distance = (value - term.mean) / term.deviation;
                term.weight * distance.clamp(-3.0, 3.0)
            })
            .sum();
        1.0 / (1.0 + libm::exp(-(self.bias + sum)))
    }
}

fn number(word: Option<&str>) -> Option<f64> {
    word?.parse().ok().filter(|x: &f64| x.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{QualityModel, TEXT};
    use crate::pcg::SoundFeatures;

    #[test]
    fn the_reviewed_file_is_a_model() {
        let model = QualityModel::parse(TEXT).unwrap();
        assert_eq!(model, QualityModel::reviewed());
        let clean = SoundFeatures {
            periodicity: 0.9,
            sound_snr_db: 15.0,
            ambient_db: -25.0,
            low_db: -5.0,
            ..SoundFeatures::default()
        };
        let noise = SoundFeatures {
            periodicity: 0.1,
            sound_snr_db: 4.0,
            ambient_db: 0.0,
            low_db: 12.0,
            ..SoundFeatures::default()
        };
        assert!(model.index(&clean) > 0.9, "{}", model.index(&clean));
        assert!(model.index(&noise) < 0.1, "{}", model.index(&noise));
    }

    #[test]
    fn lines_that_are_no_model_are_refused() {
        for text in [
            "",
            "bias",
            "bias x\nterm periodicity 0 1 1",
            "term colour 0 1 1",
            "term periodicity 0 0 1",
            "term periodicity 0 1",
            "term periodicity 0 1 1 1",
            "tree 1 2",
        ] {
            assert_eq!(QualityModel::parse(text), None, "{text}");
        }
        assert!(QualityModel::parse("# remark\n\nterm periodicity 0 1 1\n").is_some());
    }
}
