//! What "of the day" means.
//!
//! A day is one of the calendar in the team's zone, from midnight to midnight: 23, 24 or 25 hours.
//! What a request says to the day is of that day there; what it says to the second is of the day
//! in which that second lies there. Deliberately absent: clocks.

use cardio_core::clock::UtcMicros;
use cardio_wire::visits::TIME_ZONE;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

/// One day of the team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    /// As `2026-01-31`.
    pub(super) date: String,
    /// Its first instant.
    pub(super) begin: UtcMicros,
    /// The first instant of the next day.
    pub(super) end: UtcMicros,
}

/// When a request is due within a day, if it says so to the second.
pub(super) type Due = (Option<UtcMicros>, Option<UtcMicros>);

impl Day {
    /// The day in which an instant lies; `None` for one that no calendar holds.
    pub(super) fn at(now: UtcMicros) -> Option<Self> {
        let zone = TimeZone::get(TIME_ZONE).ok()?;
        let midnight = Timestamp::from_microsecond(now.0).ok()?.to_zoned(zone);
        let midnight = midnight.start_of_day().ok()?;
        let next = midnight.checked_add(1.day()).ok()?.start_of_day().ok()?;
        Some(Self {
            date: midnight.date().to_string(),
            begin: UtcMicros(midnight.timestamp().as_microsecond()),
            end: UtcMicros(next.timestamp().as_microsecond()),
        })
    }

    /// When a request is due on this day; `None` when it is not of this day, or of no day.
    pub(super) fn due(&self, request: &Value) -> Option<Due> {
        if let Some(at) = request.get("occurrenceDateTime").and_then(Value::as_str) {
            let at = When::of(at)?;
            return (at.begins_by(self) && at.ends_from(self)).then_some((at.instant(), None));
        }
        let period = request.get("occurrencePeriod")?;
        let end_of = |name| period.get(name).and_then(Value::as_str);
        if (end_of("start"), end_of("end")) == (None, None) {
            return None;
        }
        let read = |text: Option<&str>| text.map(When::of);
        let (start, end) = match (read(end_of("start")), read(end_of("end"))) {
            (Some(None), _) | (_, Some(None)) => return None,
            (start, end) => (start.flatten(), end.flatten()),
        };
        let begins = start.as_ref().is_none_or(|start| start.begins_by(self));
        let ends = end.as_ref().is_none_or(|end| end.ends_from(self));
        let within = |when: Option<When>| {
            let at = when.and_then(|when| when.instant());
            at.filter(|at| (self.begin..=self.end).contains(at))
        };
        (begins && ends).then(|| (within(start), within(end)))
    }
}

/// A FHIR dateTime: an instant, or a date of one to three parts.
enum When {
    Instant(UtcMicros),
    Date(String),
}

impl When {
    fn of(text: &str) -> Option<Self> {
        if text.contains('T') {
            let at: Timestamp = text.parse().ok()?;
            return Some(Self::Instant(UtcMicros(at.as_microsecond())));
        }
        let is_date = [4, 7, 10].contains(&text.len())
            && text.chars().all(|c| c.is_ascii_digit() || c == '-');
        is_date.then(|| Self::Date(text.to_owned()))
    }

    const fn instant(&self) -> Option<UtcMicros> {
        match self {
            Self::Instant(at) => Some(*at),
            Self::Date(_) => None,
        }
    }

    /// Whether something that begins then has begun before the day is over.
    fn begins_by(&self, day: &Day) -> bool {
        match self {
            Self::Instant(at) => *at < day.end,
            Self::Date(date) => date.as_str() <= part(day, date),
        }
    }

    /// Whether something that ends then has not ended before the day began.
    fn ends_from(&self, day: &Day) -> bool {
        match self {
            Self::Instant(at) => *at >= day.begin,
            Self::Date(date) => date.as_str() >= part(day, date),
        }
    }
}

/// The day, as precisely as a date is written.
fn part<'d>(day: &'d Day, date: &str) -> &'d str {
    day.date.get(..date.len()).unwrap_or(&day.date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> UtcMicros {
        UtcMicros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    fn day(text: &str) -> Day {
        Day::at(at(text)).unwrap()
    }

    #[test]
    fn a_day_runs_from_midnight_to_midnight_in_paris() {
        let winter = day("2026-11-23T22:59:59Z");
        assert_eq!(winter.date, "2026-11-23");
        assert_eq!(winter.begin, at("2026-11-22T23:00:00Z"));
        assert_eq!(winter.end, at("2026-11-23T23:00:00Z"));
        assert_eq!(day("2026-11-23T23:00:00Z").date, "2026-11-24");
        assert_eq!(day("2026-07-01T22:00:00Z").date, "2026-07-02");
    }

    #[test]
    fn the_days_on_which_the_clocks_change_have_23_and_25_hours() {
        let hours = |day: Day| (day.end.0 - day.begin.0) / 3_600_000_000;
        assert_eq!(hours(day("2026-03-29T12:00:00Z")), 23);
        assert_eq!(hours(day("2026-10-25T12:00:00Z")), 25);
    }

    #[test]
    fn a_request_is_of_the_day_that_it_names_there() {
        let day = day("2026-11-23T12:00:00Z");
        let due = |value: Value| day.due(&value);
        let at_once = |text: &str| due(json!({ "occurrenceDateTime": text }));
        assert_eq!(at_once("2026-11-23"), Some((None, None)));
        assert_eq!(at_once("2026-11"), Some((None, None)));
        let early = at("2026-11-22T23:00:00Z");
        assert_eq!(
            at_once("2026-11-23T00:00:00+01:00"),
            Some((Some(early), None))
        );
        for other in [
            "2026-11-22",
            "2026-11-24",
            "2026-11-22T22:59:59Z",
            "2026-11-23T23:00:00Z",
            "not a date",
        ] {
            assert_eq!(at_once(other), None, "{other}");
        }
        assert_eq!(due(json!({})), None);
        assert_eq!(due(json!({"occurrencePeriod": {}})), None);
    }

    #[test]
    fn a_period_is_of_every_day_that_it_touches() {
        let day = day("2026-11-23T12:00:00Z");
        let period = |start: Option<&str>, end: Option<&str>| {
            let mut period = json!({});
            for (name, value) in [("start", start), ("end", end)] {
                if let Some(value) = value {
                    period[name] = json!(value);
                }
            }
            day.due(&json!({ "occurrencePeriod": period }))
        };
        assert_eq!(
            period(Some("2026-11-20"), Some("2026-11-23")),
            Some((None, None))
        );
        assert_eq!(period(Some("2026-11-23"), None), Some((None, None)));
        assert_eq!(period(None, Some("2026-11-22")), None);
        assert_eq!(period(Some("2026-11-24"), Some("2026-11-25")), None);
        let (from, until) = ("2026-11-23T13:00:00Z", "2026-11-23T13:30:00Z");
        assert_eq!(
            period(Some(from), Some(until)),
            Some((Some(at(from)), Some(at(until))))
        );
        let whole = period(Some("2026-11-01T00:00:00Z"), Some("2026-12-01T00:00:00Z"));
        assert_eq!(whole, Some((None, None)));
        assert_eq!(period(Some("soon"), Some("2026-11-23")), None);
    }
}
