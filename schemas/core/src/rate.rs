//! Sampling rates, kept as an exact ratio so that index and time convert without drift.

use std::num::NonZeroU32;

use crate::index::{SampleCount, SampleIndex};

/// Samples per second, as an exact positive ratio in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SamplingRate {
    samples: NonZeroU32,
    seconds: NonZeroU32,
}

/// Why a number is not a sampling rate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{hz} Hz is not a sampling rate: it must be above 0 and at most 4 GHz")]
pub struct RateError {
    /// The rate that was refused, in hertz.
    pub hz: f64,
}

impl RateError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "rate.impossible"
    }
}

impl SamplingRate {
    /// A whole number of hertz.
    ///
    /// # Errors
    /// [`RateError`] when `hz` is zero.
    pub fn hz(hz: u32) -> Result<Self, RateError> {
        Self::ratio(hz, 1)
    }

    /// `samples` in `seconds`, for rates that are no whole number of hertz.
    ///
    /// # Errors
    /// [`RateError`] when either is zero.
    pub fn ratio(samples: u32, seconds: u32) -> Result<Self, RateError> {
        let divisor = gcd(samples, seconds).max(1);
        match (
            NonZeroU32::new(samples / divisor),
            NonZeroU32::new(seconds / divisor),
        ) {
            (Some(samples), Some(seconds)) => Ok(Self { samples, seconds }),
            _ => Err(RateError {
                hz: f64::from(samples) / f64::from(seconds),
            }),
        }
    }

    /// The ratio nearest to a rate that a file states as a decimal number, exact to one
    /// millionth of a hertz.
    ///
    /// # Errors
    /// [`RateError`] when `hz` is not finite, not positive, or too large.
    pub fn from_hz(hz: f64) -> Result<Self, RateError> {
        for seconds in [1_u32, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let scaled = hz * f64::from(seconds);
            let nearest = scaled.round();
            let exact = (scaled - nearest).abs() <= 1e-9 * scaled.abs();
            if (exact || seconds == 1_000_000) && nearest >= 1.0 && nearest <= f64::from(u32::MAX) {
                #[expect(
                    clippy::as_conversions,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, at least 1 and at most u32::MAX: checked on the line above"
                )]
                return Self::ratio(nearest as u32, seconds);
            }
        }
        Err(RateError { hz })
    }

    /// Samples per second as a floating-point number.
    pub fn as_hz(self) -> f64 {
        f64::from(self.samples.get()) / f64::from(self.seconds.get())
    }

    /// Numerator and denominator of the ratio, in lowest terms: samples, seconds.
    pub fn as_ratio(self) -> (u32, u32) {
        (self.samples.get(), self.seconds.get())
    }

    /// Time from the first sample to the instant `index`, in whole microseconds, rounded down.
    pub fn micros_at(self, index: SampleIndex) -> u64 {
        let micros = u128::from(index.0) * u128::from(self.seconds.get()) * 1_000_000
            / u128::from(self.samples.get());
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    /// Number of samples nearest to a span of microseconds.
    pub fn count_in_micros(self, micros: u64) -> SampleCount {
        let denominator = u128::from(self.seconds.get()) * 1_000_000;
        let count =
            (u128::from(micros) * u128::from(self.samples.get()) + denominator / 2) / denominator;
        SampleCount(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl std::fmt::Display for SamplingRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} Hz", self.as_hz())
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::{SampleCount, SampleIndex, SamplingRate};
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_kept_in_lowest_terms() {
        assert_eq!(
            SamplingRate::ratio(500, 2).unwrap(),
            SamplingRate::hz(250).unwrap()
        );
        assert_eq!(SamplingRate::from_hz(0.5).unwrap().as_ratio(), (1, 2));
        assert_eq!(
            SamplingRate::from_hz(360.0).unwrap(),
            SamplingRate::hz(360).unwrap()
        );
    }

    #[test]
    fn impossible_rates_are_refused() {
        for hz in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert!(SamplingRate::from_hz(hz).is_err(), "{hz}");
        }
        assert!(SamplingRate::hz(0).is_err());
    }

    proptest! {
        #[test]
        fn the_time_of_an_index_counts_back_to_the_index(hz in 1_u32..50_000, index in 0_u64..10_000_000_000) {
            let rate = SamplingRate::hz(hz).unwrap();
            prop_assert_eq!(rate.count_in_micros(rate.micros_at(SampleIndex(index))), SampleCount(index));
        }
    }
}
