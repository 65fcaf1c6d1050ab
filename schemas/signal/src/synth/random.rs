//! Chance from a seed: ChaCha8 words as uniform and normal numbers.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::num;

/// One stream of numbers. Streams of one seed are independent, so that a change of one part
/// of a configuration leaves what other parts draw as it was.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    words: ChaCha8Rng,
    spare: Option<f64>,
}

impl Chance {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut words = ChaCha8Rng::seed_from_u64(seed);
        words.set_stream(stream);
        Self { words, spare: None }
    }

    /// In [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        num::unit(self.words.next_u64())
    }

    /// In [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Normal with mean zero and standard deviation one (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let (sine, cosine) = libm::sincos(core::f64::consts::TAU * self.uniform());
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut chance = Chance::new(1, 0);
        let drawn: Vec<f64> = (0..20_000).map(|_| chance.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| x * x).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
