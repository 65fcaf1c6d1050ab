//! Conversions between counts and floating-point numbers, in one place.
//!
//! Deliberately absent: anything that a platform's own mathematics library computes.
//! Functions beyond the four operations, `sqrt` and rounding come from `libm`, so that the
//! same samples give the same bits on every architecture.

#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the one place for conversions: float casts saturate, counts stay below 2^53"
)]

/// A length in memory as a number.
pub(crate) fn float(n: usize) -> f64 {
    n as f64
}

/// A count as a number.
pub(crate) fn float_u64(n: u64) -> f64 {
    n as f64
}

/// The nearest length; negative and not-a-number give zero.
pub(crate) fn round_usize(x: f64) -> usize {
    x.round() as usize
}

/// The nearest count; negative and not-a-number give zero.
pub(crate) fn round_u64(x: f64) -> u64 {
    x.round() as u64
}

/// The nearest signed count, saturating.
pub(crate) fn round_i64(x: f64) -> i64 {
    x.round() as i64
}

/// The nearest converter count, saturating.
pub(crate) fn round_i32(x: f64) -> i32 {
    x.round() as i32
}

/// A length as a 64-bit count.
pub(crate) fn count(n: usize) -> u64 {
    n as u64
}

/// The upper 53 bits of a random word as a number in [0, 1).
pub(crate) fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// The middle value of a slice, which is reordered; zero when it is empty.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the share `q` of a slice lies (nearest rank); the slice is reordered.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let rank = round_usize(q * float(values.len() - 1)).min(values.len() - 1);
    let (_, value, _) = values.select_nth_unstable_by(rank, f64::total_cmp);
    *value
}

#[cfg(test)]
mod tests {
    use super::{median, quantile, round_i32, round_usize, unit};

    #[test]
    fn casts_saturate_and_never_wrap() {
        assert_eq!(round_i32(1e30), i32::MAX);
        assert_eq!(round_i32(f64::NAN), 0);
        assert_eq!(round_usize(-3.0), 0);
    }

    #[test]
    fn the_middle_of_nothing_is_zero() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(&mut [4.0, 1.0, 2.0, 3.0, 0.0], 1.0), 4.0);
    }

    #[test]
    fn a_random_word_becomes_a_number_below_one() {
        assert!(unit(u64::MAX) < 1.0);
        assert_eq!(unit(0), 0.0);
    }
}
