//! Spans of time and sizes as people write them in a configuration: `"200ms"`, `"8GiB"`.
//!
//! Deliberately absent: bare numbers. A number without a unit is refused, because a reader
//! cannot know which unit was meant.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};

/// A span of time, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes, written with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SPAN_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Why a text is neither a span nor a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number at the start, or it does not fit.
    #[error("`{text}` does not start with a whole number that fits")]
    Number {
        /// What was written.
        text: String,
    },
    /// The unit is missing or unknown.
    #[error("`{text}` has no known unit: one of {expected} is expected, as in `{example}`")]
    Unit {
        /// What was written.
        text: String,
        /// The units that are known.
        expected: String,
        /// A text that would do.
        example: &'static str,
    },
}

impl UnitError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Number { .. } => "config.value.number",
            Self::Unit { .. } => "config.value.unit",
        }
    }
}

impl std::str::FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        with_unit(text, &SPAN_UNITS, "30s").map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl std::str::FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        with_unit(text, &SIZE_UNITS, "8GiB").map(Self)
    }
}

fn with_unit(
    text: &str,
    units: &[(&'static str, u64)],
    example: &'static str,
) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let digits = trimmed.len()
        - trimmed
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| UnitError::Number {
        text: text.to_owned(),
    })?;
    let unit = unit.trim_start();
    let factor = units
        .iter()
        .find_map(|(name, factor)| (*name == unit).then_some(*factor))
        .ok_or_else(|| UnitError::Unit {
            text: text.to_owned(),
            expected: units
                .iter()
                .map(|(name, _)| *name)
                .collect::<Vec<_>>()
                .join(", "),
            example,
        })?;
    number.checked_mul(factor).ok_or_else(|| UnitError::Number {
        text: text.to_owned(),
    })
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_with_unit(ms, &SPAN_UNITS, f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_with_unit(self.0, &SIZE_UNITS, f)
    }
}

/// Writes in the largest unit that divides the value, so that reading it back is exact.
fn write_with_unit(
    value: u64,
    units: &[(&'static str, u64)],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let (name, factor) = units
        .iter()
        .filter(|(_, factor)| value.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor)
        .filter(|_| value != 0)
        .or_else(|| units.first())
        .copied()
        .unwrap_or(("", 1));
    write!(f, "{}{name}", value / factor)
}

struct UnitVisitor<T> {
    what: &'static str,
    made: std::marker::PhantomData<T>,
}

impl<T: std::str::FromStr<Err = UnitError>> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl<'de> de::Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitVisitor {
            what: "a span with its unit, as in \"30s\"",
            made: std::marker::PhantomData,
        })
    }
}

impl<'de> de::Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitVisitor {
            what: "a size with its unit, as in \"8GiB\"",
            made: std::marker::PhantomData,
        })
    }
}

impl serde::Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Size, Span, UnitError};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        assert_eq!(
            "200ms".parse::<Span>().unwrap().0,
            Duration::from_millis(200)
        );
        assert_eq!(
            "10 min".parse::<Span>().unwrap().0,
            Duration::from_secs(600)
        );
        assert_eq!("8GiB".parse::<Size>().unwrap().0, 8 << 30);
    }

    #[test]
    fn a_number_alone_or_with_a_wrong_unit_is_refused_with_the_known_ones() {
        for bad in ["30", "30 parsecs", "10M"] {
            let err = bad.parse::<Span>().unwrap_err();
            assert!(matches!(err, UnitError::Unit { .. }), "{bad}");
            assert!(err.to_string().contains("ms, s, min, h, d"), "{err}");
        }
        assert_eq!(
            "ten s".parse::<Span>().unwrap_err().code(),
            "config.value.number"
        );
    }

    #[test]
    fn a_size_beyond_the_largest_number_is_refused() {
        assert_eq!(
            "99999999999999GiB".parse::<Size>().unwrap_err().code(),
            "config.value.number"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in 0_u64..u64::MAX / 2) {
            prop_assert_eq!(Size(value).to_string().parse::<Size>().unwrap(), Size(value));
            let span = Span(Duration::from_millis(value));
            prop_assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }

        #[test]
        fn any_text_is_a_value_or_an_error(text: String) {
            let _ = text.parse::<Span>();
            let _ = text.parse::<Size>();
        }
    }
}
