//! Durations and sizes as an operator writes them: `"200ms"`, `"8GiB"`.
//!
//! Deliberately absent: numbers without a unit. They are refused, never guessed.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};

/// A duration written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A size in bytes written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: a whole number and one of {units} are expected")]
pub struct UnitError {
    text: String,
    what: &'static str,
    units: &'static str,
}

impl std::str::FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        quantity(text, |unit| {
            Some(match unit {
                "ms" => 1,
                "s" => 1_000,
                "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            })
        })
        .map(|ms| Self(Duration::from_millis(ms)))
        .ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "duration",
            units: "ms, s, min, h, d",
        })
    }
}

impl std::str::FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        quantity(text, |unit| {
            Some(match unit {
                "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            })
        })
        .map(Self)
        .ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "size",
            units: "B, KiB, MiB, GiB",
        })
    }
}

fn quantity(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor(unit.trim())?)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Size, Span};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_number_with_its_unit_is_read() {
        assert_eq!("10s".parse(), Ok(Span(Duration::from_secs(10))));
        assert_eq!("200 ms".parse(), Ok(Span(Duration::from_millis(200))));
        assert_eq!("8GiB".parse(), Ok(Size(8 << 30)));
    }

    #[test]
    fn a_number_without_a_unit_is_refused_and_the_units_are_named() {
        let err = "10".parse::<Span>().unwrap_err();
        assert!(err.to_string().contains("ms, s, min, h, d"), "{err}");
        for bad in [
            "",
            "s",
            "-1s",
            "1.5s",
            "10 parsecs",
            "99999999999999999999s",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("10MB".parse::<Size>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_an_error(text: String) {
            let _ = text.parse::<Span>();
            let _ = text.parse::<Size>();
        }
    }
}
