//! Identifiers of services and characteristics.

use std::fmt;
use std::str::FromStr;

/// The Bluetooth base identifier, into which short numbers are put.
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

/// A 128-bit identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID: groups of 8-4-4-4-12 hexadecimal digits are expected")]
pub struct UuidError;

impl UuidError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "uuid.bad"
    }
}

impl Uuid {
    /// The identifier of a number that the Bluetooth SIG has assigned.
    #[expect(clippy::as_conversions, reason = "widening; From is not const")]
    pub const fn short(number: u16) -> Self {
        Self((number as u128) << 96 | BASE)
    }

    /// The assigned number, if it is one.
    pub fn as_short(self) -> Option<u16> {
        let number = u16::try_from(self.0 >> 96).ok()?;
        (Self::short(number) == self).then_some(number)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        for (at, digit) in digits.chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                f.write_str("-")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        let digits: String = text.split('-').collect();
        if lengths != [8, 4, 4, 4, 12] || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(UuidError);
        }
        u128::from_str_radix(&digits, 16)
            .map(Self)
            .map_err(|_| UuidError)
    }
}

#[cfg(test)]
mod tests {
    use super::Uuid;
    use proptest::prelude::*;

    #[test]
    fn a_short_number_stands_in_the_base_identifier() {
        let uuid = Uuid::short(0x2A37);
        assert_eq!(uuid.to_string(), "00002a37-0000-1000-8000-00805f9b34fb");
        assert_eq!(uuid.as_short(), Some(0x2A37));
        assert_eq!(Uuid(0xFB00_5C80 << 96).as_short(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_no_text_panics(number: u128, text: String) {
            prop_assert_eq!(Uuid(number).to_string().parse::<Uuid>().unwrap(), Uuid(number));
            let _ = text.parse::<Uuid>();
        }
    }
}
