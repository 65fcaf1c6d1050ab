//! One number of a table, exact.

/// The most decimals of a count in 32 bits.
pub(super) const DECIMALS_MAX: u32 = 9;

/// A decimal number as written: `digits * 10^-decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: i64,
    pub(super) decimals: u32,
}

impl Decimal {
    /// Reads `-12.5`, `3` or `1.2e-3`; `None` for anything else.
    pub(super) fn parse(text: &str, comma_is_point: bool) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let point = if comma_is_point && mantissa.contains(',') {
            ','
        } else {
            '.'
        };
        let (whole, fraction) = mantissa.split_once(point).unwrap_or((mantissa, ""));
        let unsigned = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let mut digits = 0_i64;
        let mut any = false;
        let fraction = fraction.trim_end_matches('0');
        for byte in unsigned.bytes().chain(fraction.bytes()) {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            digits = digits.checked_mul(10)?.checked_add(digit)?;
            any = true;
        }
        if !any && !mantissa.contains('0') {
            return None;
        }
        if whole.starts_with('-') {
            digits = -digits;
        }
        let places = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if digits == 0 {
            return Some(Self {
                digits,
                decimals: 0,
            });
        }
        match u32::try_from(places) {
            Ok(decimals) => Some(Self { digits, decimals }),
            Err(_) => Some(Self {
                digits: digits.checked_mul(10_i64.checked_pow(places.unsigned_abs())?)?,
                decimals: 0,
            }),
        }
    }

    /// The number as a count of `10^-decimals`; `None` when 32 bits do not hold it.
    pub(super) fn count(self, decimals: u32) -> Option<i32> {
        let finer = decimals.checked_sub(self.decimals)?;
        let count = self.digits.checked_mul(10_i64.checked_pow(finer)?)?;
        i32::try_from(count).ok()
    }
}

/// Whether a cell says that there is no sample.
pub(super) fn is_absent(cell: &str) -> bool {
    cell.is_empty() || cell.eq_ignore_ascii_case("nan") || cell == "-"
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        let count =
            |text, decimals| Decimal::parse(text, false).and_then(|number| number.count(decimals));
        assert_eq!(count("-0.125", 3), Some(-125));
        assert_eq!(count("1.2e-3", 4), Some(12));
        assert_eq!(count("1.50", 1), Some(15));
        assert_eq!(count("3e2", 0), Some(300));
        assert_eq!(count("0.0", 0), Some(0));
        assert_eq!(count("9999999999", 0), None);
        for text in ["", "-", ".", "x", "1..2", "--1", "1e"] {
            assert_eq!(Decimal::parse(text, false), None, "{text}");
        }
    }
}
