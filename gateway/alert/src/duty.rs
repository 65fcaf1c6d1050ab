//! Who is told of an alert, and when it is passed on: the duty roster.
//!
//! A roster is a TOML text (`duty/1`): people, weekly shifts in local time, absences, closed
//! days, what happens outside every shift, and how long a person has before the next one is
//! told. Deliberately absent: how a message travels; addresses are handed on as they stand.

mod parse;
mod plan;

use cardio_core::clock::UtcMicros;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::rule::Priority;
use crate::words::Language;

pub use parse::DutyError;
pub use plan::Act;

/// A roster to start from.
pub const EXAMPLE: &str = include_str!("../rules/duty-example.toml");

/// Days within which a shift is looked for.
const HORIZON_DAYS: i64 = 62;

/// A person who can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// As a FHIR reference, such as `PractitionerRole/cardio1`.
    pub who: String,
    /// Where mail reaches the person.
    pub mail: Option<String>,
    /// Where a program of the person receives notices over HTTPS.
    pub webhook: Option<String>,
}

/// Hours of the week in which some people are on duty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shift {
    days: Vec<Weekday>,
    from: Time,
    /// Minutes that it lasts; it may run through midnight.
    minutes: i64,
    people: Vec<String>,
}

/// Days on which a person is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Absence {
    who: String,
    from: Date,
    to: Date,
}

/// What happens outside every shift.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outside {
    people: Vec<String>,
    least: Priority,
}

/// How long a person has before the next one is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Escalation {
    high: SignedDuration,
    medium: SignedDuration,
    low: SignedDuration,
    rounds: u32,
}

impl Escalation {
    const fn after(&self, priority: Priority) -> SignedDuration {
        match priority {
            Priority::High => self.high,
            Priority::Medium => self.medium,
            Priority::Low | Priority::Information => self.low,
        }
    }
}

/// A duty roster, complete and possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    zone: TimeZone,
    people: Vec<Person>,
    shifts: Vec<Shift>,
    absences: Vec<Absence>,
    closed: Vec<Date>,
    outside: Outside,
    escalation: Escalation,
}

impl Roster {
    /// Reads a roster.
    ///
    /// # Errors
    /// [`DutyError`] names the entry and what is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, DutyError> {
        parse::roster(text)
    }

    /// Everybody in it.
    pub fn people(&self) -> &[Person] {
        &self.people
    }

    /// A person of it.
    pub fn person(&self, who: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.who == who)
    }

    /// Who is on duty, in the order in which they are told; empty outside every shift.
    pub fn on_duty(&self, at: UtcMicros) -> Vec<&str> {
        let Ok(now) = Timestamp::from_microsecond(at.0) else {
            return Vec::new();
        };
        let today = now.to_zoned(self.zone.clone()).date();
        let mut found: Vec<&str> = Vec::new();
        for shift in &self.shifts {
            let begins = [today.yesterday().ok(), Some(today)];
            for day in begins.into_iter().flatten() {
                let Some((from, to)) = self.run(shift, day) else {
                    continue;
                };
                if from <= now && now < to {
                    let there = shift.people.iter().filter(|who| self.is_there(who, day));
                    for who in there {
                        if !found.contains(&who.as_str()) {
                            found.push(who);
                        }
                    }
                }
            }
        }
        found
    }

    /// When somebody is on duty next, from `after` on; `None` when nobody is within two months.
    pub fn next_opening(&self, after: UtcMicros) -> Option<UtcMicros> {
        if !self.on_duty(after).is_empty() {
            return Some(after);
        }
        let now = Timestamp::from_microsecond(after.0).ok()?;
        let today = now.to_zoned(self.zone.clone()).date();
        (0..=HORIZON_DAYS).find_map(|days| {
            let day = today
                .checked_add(SignedDuration::from_hours(24 * days))
                .ok()?;
            let begins = self.shifts.iter().filter_map(|shift| {
                let (from, _) = self.run(shift, day)?;
                let somebody = shift.people.iter().any(|who| self.is_there(who, day));
                (somebody && from > now).then_some(from)
            });
            begins.min().map(|from| UtcMicros(from.as_microsecond()))
        })
    }

    /// The hours in which somebody is on duty, as people read them.
    pub fn hours(&self, language: Language) -> String {
        let shifts: Vec<String> = self
            .shifts
            .iter()
            .map(|shift| shift_in_words(shift, language))
            .collect();
        shifts.join(match language {
            Language::French => " ; ",
            Language::English => "; ",
        })
    }

    /// The stretch of a shift that begins on a day; none where it does not.
    fn run(&self, shift: &Shift, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !shift.days.contains(&day.weekday()) || self.closed.contains(&day) {
            return None;
        }
        let begin = day.to_datetime(shift.from);
        let end = begin
            .checked_add(SignedDuration::from_mins(shift.minutes))
            .ok()?;
        let instant = |local| {
            let zoned = self.zone.to_ambiguous_zoned(local).compatible().ok()?;
            Some(zoned.timestamp())
        };
        Some((instant(begin)?, instant(end)?))
    }

    fn is_there(&self, who: &str, day: Date) -> bool {
        let mut absences = self.absences.iter();
        !absences.any(|one| one.who == who && one.from <= day && day <= one.to)
    }

    /// Whom to call outside every shift for an alert of this priority.
    fn outside(&self, priority: Priority, at: UtcMicros) -> Vec<&str> {
        let day = Timestamp::from_microsecond(at.0)
            .map(|now| now.to_zoned(self.zone.clone()).date())
            .unwrap_or_default();
        let called = priority >= self.outside.least;
        let people = self.outside.people.iter().filter(|_| called);
        let there = people.filter(|who| self.is_there(who, day));
        there.map(String::as_str).collect()
    }
}

fn shift_in_words(shift: &Shift, language: Language) -> String {
    let days: Vec<&str> = shift
        .days
        .iter()
        .map(|day| in_words(*day, language))
        .collect();
    let to = shift
        .from
        .wrapping_add(SignedDuration::from_mins(shift.minutes));
    let clock = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
    format!("{} {}–{}", days.join(", "), clock(shift.from), clock(to))
}

const fn in_words(day: Weekday, language: Language) -> &'static str {
    let (french, english) = match day {
        Weekday::Monday => ("lundi", "Monday"),
        Weekday::Tuesday => ("mardi", "Tuesday"),
        Weekday::Wednesday => ("mercredi", "Wednesday"),
        Weekday::Thursday => ("jeudi", "Thursday"),
        Weekday::Friday => ("vendredi", "Friday"),
        Weekday::Saturday => ("samedi", "Saturday"),
        Weekday::Sunday => ("dimanche", "Sunday"),
    };
    match language {
        Language::French => french,
        Language::English => english,
    }
}

#[cfg(test)]
mod tests;
