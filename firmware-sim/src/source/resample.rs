//! From one rate to another: a windowed sinc, linear in phase, evaluated at exact instants.
//!
//! Same rates pass unchanged. The weights are computed with `libm`, so the same recording
//! gives the same counts on every architecture.

use core::f64::consts::PI;

use cardio_core::rate::SamplingRate;

/// Zero crossings of the sinc on each side.
const CROSSINGS: f64 = 16.0;
/// Kaiser window: about 90 dB of stop band.
const BETA: f64 = 9.0;
/// Edge of the pass band, as a share of the lower Nyquist frequency.
const PASS: f64 = 0.92;
/// Sets of weights that are kept.
const PHASES_MAX: u64 = 4096;

/// Reads a row of samples at the instants of another rate.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// Source samples per output sample, as a ratio in lowest terms.
    step: (u64, u64),
    /// Cut-off in cycles per source sample.
    cutoff: f64,
    half: i64,
    phases: Vec<Option<Box<[f64]>>>,
}

impl Resampler {
    /// From the rate of a source to the rate of a device.
    pub fn new(from: SamplingRate, to: SamplingRate) -> Self {
        let (a, b) = from.as_ratio();
        let (c, d) = to.as_ratio();
        let numerator = u64::from(a) * u64::from(d);
        let denominator = u64::from(b) * u64::from(c);
        let divisor = gcd(numerator, denominator).max(1);
        let step = (numerator / divisor, denominator / divisor);
        let narrowing = (to.as_hz() / from.as_hz()).min(1.0);
        let half = CROSSINGS / (narrowing * PASS);
        let phases = usize::try_from(step.1.min(PHASES_MAX)).unwrap_or(1);
        Self {
            step,
            cutoff: 0.5 * narrowing * PASS,
            half: integer(half.ceil()).max(1),
            phases: vec![None; phases],
        }
    }

    /// Whether samples pass unchanged.
    pub const fn is_identity(&self) -> bool {
        self.step.0 == self.step.1
    }

    /// Source sample that holds the instant of output sample `at`, rounded down.
    pub fn position(&self, at: u64) -> u64 {
        let position = u128::from(at) * u128::from(self.step.0) / u128::from(self.step.1);
        u64::try_from(position).unwrap_or(u64::MAX)
    }

    /// The value at output sample `at`, from a source that is asked for its samples by
    /// position and answers for any, beyond its ends too.
    pub fn value(&mut self, at: u64, sample: impl Fn(i64) -> f64) -> f64 {
        let base = i64::try_from(self.position(at)).unwrap_or(i64::MAX);
        if self.is_identity() {
            return sample(base);
        }
        let phase =
            u64::try_from(u128::from(at) * u128::from(self.step.0) % u128::from(self.step.1))
                .unwrap_or(0);
        let first = base.saturating_sub(self.half - 1);
        let sum = |weights: &[f64]| {
            weights
                .iter()
                .zip(first..)
                .map(|(weight, position)| weight * sample(position))
                .sum::<f64>()
        };
        let kept = usize::try_from(phase)
            .ok()
            .filter(|slot| *slot < self.phases.len());
        let Some(slot) = kept.filter(|_| self.step.1 <= PHASES_MAX) else {
            return sum(&self.weights(phase));
        };
        if self.phases.get(slot).is_some_and(Option::is_none) {
            let weights = self.weights(phase).into_boxed_slice();
            if let Some(place) = self.phases.get_mut(slot) {
                *place = Some(weights);
            }
        }
        self.phases
            .get(slot)
            .and_then(Option::as_deref)
            .map_or(f64::NAN, sum)
    }

    /// Weights of the source samples from `half - 1` before the base to `half` after it;
    /// their sum is one.
    fn weights(&self, phase: u64) -> Vec<f64> {
        let fraction = float(phase) / float(self.step.1);
        let half = float(u64::try_from(self.half).unwrap_or(1));
        let mut weights: Vec<f64> = (1 - self.half..=self.half)
            .map(|offset| {
                let distance = float_i(offset) - fraction;
                let ratio = distance / half;
                let window = if ratio.abs() < 1.0 {
                    bessel(BETA * (1.0 - ratio * ratio).sqrt()) / bessel(BETA)
                } else {
                    0.0
                };
                sinc(2.0 * self.cutoff * distance) * window
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        for weight in &mut weights {
            *weight /= sum;
        }
        weights
    }
}

fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 {
        1.0
    } else {
        libm::sin(PI * x) / (PI * x)
    }
}

/// Modified Bessel function of order zero.
fn bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..40_u32 {
        term *= quarter / (f64::from(k) * f64::from(k));
        sum += term;
    }
    sum
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[expect(clippy::as_conversions, reason = "ratios of rates, far below 2^53")]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::as_conversions, reason = "offsets within a filter")]
fn float_i(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::as_conversions, reason = "a saturating conversion")]
fn integer(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::{PI, Resampler, float, float_i};
    use cardio_core::rate::SamplingRate;

    fn hz(hz: u32) -> SamplingRate {
        SamplingRate::hz(hz).unwrap()
    }

    /// Greatest error of a sine of `frequency` brought from one rate to another, for an
    /// output that should have the amplitude `want`.
    fn error(from: u32, to: u32, frequency: f64, want: f64) -> f64 {
        let mut resampler = Resampler::new(hz(from), hz(to));
        (0..2000_u64)
            .map(|at| {
                let value = resampler.value(at, |position| {
                    libm::sin(2.0 * PI * frequency * float_i(position) / f64::from(from))
                });
                let due = want * libm::sin(2.0 * PI * frequency * float(at) / f64::from(to));
                (value - due).abs()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn what_lies_in_the_pass_band_keeps_shape_phase_and_size() {
        for (from, to) in [(360, 250), (500, 250), (128, 250), (1000, 128), (257, 250)] {
            for frequency in [1.0, 10.0, 25.0, 40.0] {
                let error = error(from, to, frequency, 1.0);
                assert!(error < 2e-4, "{from} -> {to} at {frequency} Hz: {error}");
            }
        }
    }

    #[test]
    fn what_lies_above_the_new_limit_is_removed() {
        let error = error(1000, 250, 160.0, 0.0);
        assert!(error < 2e-4, "{error}");
    }

    #[test]
    fn the_same_rate_passes_every_sample_unchanged() {
        let mut resampler = Resampler::new(hz(250), hz(250));
        assert!(resampler.is_identity());
        for at in 0..100_u64 {
            assert_eq!(resampler.value(at, float_i).to_bits(), float(at).to_bits());
        }
    }

    #[test]
    fn a_constant_stays_the_constant() {
        let mut resampler = Resampler::new(hz(360), hz(250));
        for at in 0..500 {
            assert!((resampler.value(at, |_| 0.7) - 0.7).abs() < 1e-12);
        }
    }
}
