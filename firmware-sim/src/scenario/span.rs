//! A span of time as a person writes it: a number and its unit.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A span of time, read from `"8s"`, `"250ms"`, `"2min"` or `"24h"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(Duration);

/// Why a text is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a span of time: write a number with ms, s, min or h, such as 8s")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// A span of whole microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(Duration::from_micros(micros))
    }

    /// Microseconds.
    pub fn micros(self) -> u64 {
        u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX)
    }

    /// Seconds.
    pub const fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let trimmed = text.trim();
        let split = trimmed
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let scale = match unit {
            "ms" => Some(0.001),
            "s" => Some(1.0),
            "min" => Some(60.0),
            "h" => Some(3600.0),
            _ => None,
        };
        let plain = number.trim_end();
        let is_number = plain.starts_with(|c: char| c.is_ascii_digit());
        scale
            .zip(plain.parse::<f64>().ok())
            .filter(|_| is_number)
            .and_then(|(scale, number)| Duration::try_from_secs_f64(number * scale).ok())
            .map(Self)
            .ok_or_else(|| SpanError {
                text: text.to_owned(),
            })
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn spans_are_read_with_their_unit_and_never_without() {
        for (text, micros) in [
            ("8s", 8_000_000),
            ("2500ms", 2_500_000),
            ("1.5 s", 1_500_000),
            ("2min", 120_000_000),
            ("24h", 86_400_000_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().micros(), micros, "{text}");
        }
        for bad in ["8", "s", "-1s", "8 days", "nan s", "infs", "1e300h", ""] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
