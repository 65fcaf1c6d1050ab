//! Instants as FHIR writes them, and the time that a resource speaks of.
//!
//! All times are written in UTC. Deliberately absent: any call to a clock, and any guess: a
//! time that nothing vouches for is not filed as a time.

use cardio_core::clock::UtcMicros;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use crate::codes::{EXT_DATA_ABSENT, own};

/// Earliest and latest instants that FHIR's four-digit years and the calendar allow.
const EARLIEST: i64 = -62_135_596_800_000_000;
const LATEST: i64 = 253_402_207_200_000_000;

/// An instant in UTC with milliseconds, or microseconds where there are any. Instants outside
/// the years 1 to 9999 are written as the nearest that is inside.
pub fn instant(at: UtcMicros) -> String {
    let micros = at.0.clamp(EARLIEST, LATEST);
    let stamp = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    if micros.rem_euclid(1_000) == 0 {
        format!("{stamp:.3}")
    } else {
        format!("{stamp:.6}")
    }
}

/// The time that an observation or a report speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effective {
    /// One instant, vouched for.
    At(UtcMicros),
    /// A stretch, vouched for; the end is the instant of the last sample.
    Over {
        /// First instant.
        start: UtcMicros,
        /// Last instant.
        end: UtcMicros,
    },
    /// A stretch as a clock stated it that nothing had set: filed as *unknown*, with what was
    /// stated beside it. A gateway that heard the box in the same boot corrects the time
    /// against its own clock and uses [`Effective::Over`] instead.
    Unvouched {
        /// First instant, as stated.
        start: UtcMicros,
        /// Last instant, as stated.
        end: UtcMicros,
    },
}

impl Effective {
    /// Writes the element `effective[x]`, and what goes with it.
    pub(crate) fn write_into(self, resource: &mut Map<String, Value>) {
        match self {
            Self::At(at) => {
                resource.insert("effectiveDateTime".to_owned(), json!(instant(at)));
            }
            Self::Over { start, end } => {
                resource.insert("effectivePeriod".to_owned(), period(start, end));
            }
            Self::Unvouched { start, end } => {
                resource.insert(
                    "effectivePeriod".to_owned(),
                    json!({"extension": [{"url": EXT_DATA_ABSENT, "valueCode": "unknown"}]}),
                );
                crate::element::push(
                    resource,
                    "extension",
                    json!({"url": own::EXT_STATED_TIME, "valuePeriod": period(start, end)}),
                );
            }
        }
    }
}

/// Says how far the stated time of a resource may lie from the true one, in seconds: rounded
/// up to one of 1, 2 and 5 times a power of ten, and never less than a millisecond, so that
/// the same time known a little better is no other version.
pub fn state_error(resource: &mut Value, error_us: u64) {
    let seconds = crate::element::quantity(coarse_seconds(error_us), "s", "s");
    let error = json!({"url": own::EXT_TIME_ERROR, "valueQuantity": seconds});
    extend(resource, error);
}

/// Says between which instants a time lies that is filed as unknown, as far as that is known.
pub fn state_bounds(resource: &mut Value, earliest: Option<UtcMicros>, latest: Option<UtcMicros>) {
    let mut bounds = Map::new();
    for (name, at) in [("start", earliest), ("end", latest)] {
        if let Some(at) = at {
            bounds.insert(name.to_owned(), json!(instant(at)));
        }
    }
    if !bounds.is_empty() {
        extend(
            resource,
            json!({"url": own::EXT_TIME_BOUNDS, "valuePeriod": bounds}),
        );
    }
}

fn extend(resource: &mut Value, extension: Value) {
    if let Some(map) = resource.as_object_mut() {
        crate::element::push(map, "extension", extension);
    }
}

fn coarse_seconds(micros: u64) -> f64 {
    const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
    let micros = std::time::Duration::from_micros(micros).as_secs_f64();
    let decades = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0];
    let steps = decades
        .into_iter()
        .flat_map(|decade| STEPS.map(|step| step * decade));
    let mut rounded = steps.filter(|step| *step >= micros);
    rounded.next().unwrap_or(micros)
}

/// A period with both ends.
pub(crate) fn period(start: UtcMicros, end: UtcMicros) -> Value {
    json!({"start": instant(start), "end": instant(end)})
}

/// The stretch that a FHIR date, dateTime or instant covers: first and last microsecond.
/// `None` when the text is none of them.
pub fn covered(text: &str) -> Option<(UtcMicros, UtcMicros)> {
    let (first, after) = if text.contains('T') {
        covered_instant(text)?
    } else {
        covered_date(text)?
    };
    Some((UtcMicros(first), UtcMicros(after.saturating_sub(1))))
}

fn covered_instant(text: &str) -> Option<(i64, i64)> {
    let first = text.parse::<Timestamp>().ok()?.as_microsecond();
    let (_, clock) = text.split_once('T')?;
    let local = clock.split(['Z', '+', '-']).next()?;
    let width = match local.split_once('.') {
        None if local.len() == 5 => 60_000_000,
        None => 1_000_000,
        Some((_, digits)) => match digits.len() {
            1 => 100_000,
            2 => 10_000,
            3 => 1_000,
            4 => 100,
            5 => 10,
            _ => 1,
        },
    };
    Some((first, first.saturating_add(width)))
}

fn covered_date(text: &str) -> Option<(i64, i64)> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map(|part| digits(part, 2));
    let day = parts.next().map(|part| digits(part, 2));
    if parts.next().is_some() {
        return None;
    }
    let (first, next) = match (month, day) {
        (None, _) => {
            let first = Date::new(year, 1, 1).ok()?;
            (first, Date::new(year.checked_add(1)?, 1, 1).ok())
        }
        (Some(month), None) => {
            let first = Date::new(year, i8::try_from(month?).ok()?, 1).ok()?;
            (first, first.last_of_month().tomorrow().ok())
        }
        (Some(month), Some(day)) => {
            let (month, day) = (i8::try_from(month?).ok()?, i8::try_from(day?).ok()?);
            let first = Date::new(year, month, day).ok()?;
            (first, first.tomorrow().ok())
        }
    };
    let from = midnight(first)?;
    Some((from, next.and_then(midnight).unwrap_or(LATEST)))
}

fn digits(text: &str, len: usize) -> Option<i16> {
    (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn midnight(date: Date) -> Option<i64> {
    let civil = date.at(0, 0, 0, 0);
    Some(Offset::UTC.to_timestamp(civil).ok()?.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::{UtcMicros, covered, instant, json, state_bounds, state_error};
    use proptest::prelude::*;

    #[test]
    fn an_instant_is_written_in_utc_with_milliseconds() {
        assert_eq!(
            instant(UtcMicros(1_772_439_300_000_000)),
            "2026-03-02T08:15:00.000Z"
        );
        assert_eq!(
            instant(UtcMicros(1_772_439_300_000_250)),
            "2026-03-02T08:15:00.000250Z"
        );
    }

    #[test]
    fn instants_that_no_calendar_holds_are_written_as_the_nearest() {
        assert!(instant(UtcMicros(i64::MIN)).starts_with("0001-01-01T"));
        assert!(instant(UtcMicros(i64::MAX)).starts_with("9999-12-30T"));
    }

    #[test]
    fn a_date_covers_its_whole_day_month_or_year() {
        let day = covered("2026-03-02").unwrap();
        assert_eq!(instant(day.0), "2026-03-02T00:00:00.000Z");
        assert_eq!(instant(day.1), "2026-03-02T23:59:59.999999Z");
        let month = covered("2026-02").unwrap();
        assert_eq!(instant(month.1), "2026-02-28T23:59:59.999999Z");
        let year = covered("2026").unwrap();
        assert_eq!(instant(year.1), "2026-12-31T23:59:59.999999Z");
    }

    #[test]
    fn an_instant_covers_what_its_digits_leave_open() {
        let (from, to) = covered("2026-03-02T09:15:00+01:00").unwrap();
        assert_eq!(from, UtcMicros(1_772_439_300_000_000));
        assert_eq!(to, UtcMicros(1_772_439_300_999_999));
        let (from, to) = covered("2026-03-02T08:15:00.014Z").unwrap();
        assert_eq!(to.0 - from.0, 999);
    }

    #[test]
    fn an_error_is_stated_in_seconds_rounded_up() {
        let stated = |micros| {
            let mut resource = json!({"resourceType": "Observation"});
            state_error(&mut resource, micros);
            resource["extension"][0]["valueQuantity"]["value"].clone()
        };
        assert_eq!(stated(0), json!(0.001));
        assert_eq!(stated(1_000), json!(0.001));
        assert_eq!(stated(20_001), json!(0.05));
        assert_eq!(stated(151_200_000), json!(200));
        assert_eq!(stated(u64::MAX).as_f64(), Some(18_446_744_073_709.55));
    }

    #[test]
    fn bounds_are_stated_as_far_as_they_are_known() {
        let mut resource = json!({});
        state_bounds(&mut resource, None, None);
        assert_eq!(resource, json!({}));
        state_bounds(&mut resource, None, Some(UtcMicros(0)));
        let period = &resource["extension"][0]["valuePeriod"];
        assert_eq!(*period, json!({"end": "1970-01-01T00:00:00.000Z"}));
    }

    #[test]
    fn texts_that_are_no_date_cover_nothing() {
        for text in [
            "",
            "26",
            "2026-13",
            "2026-02-30",
            "2026-1-1",
            "yesterday",
            "2026-01-01-01",
        ] {
            assert_eq!(covered(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_covers_the_instant_it_was_written_for(micros in -62_000_000_000_000_000_i64..253_000_000_000_000_000) {
            let (from, to) = covered(&instant(UtcMicros(micros))).unwrap();
            prop_assert!(from.0 <= micros && micros <= to.0);
        }

        #[test]
        fn any_text_covers_something_or_nothing(text: String) {
            let _ = covered(&text);
        }
    }
}
