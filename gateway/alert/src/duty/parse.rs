//! From TOML to a roster: every key is known, every name stands for a person of it.

use jiff::SignedDuration;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{Absence, Escalation, Outside, Person, Roster, Shift};
use crate::rule::Priority;

/// Most people, shifts, absences and closed days that a roster may hold, each.
const MOST: usize = 1_000;
/// Least time that a person has: a message must be able to arrive.
const LEAST_PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Most often that one person is told of one alert.
const MOST_ROUNDS: u32 = 20;
const DAY_MINUTES: i64 = 24 * 60;

/// Why a text is not a roster.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DutyError {
    /// Not TOML, or not of the form of a roster.
    #[error("the roster cannot be read")]
    Form {
        /// What the TOML reader says, with the line.
        #[source]
        source: toml::de::Error,
    },
    /// A value that makes no sense.
    #[error("{place}: {key} is {value:?}, which is not {want}")]
    BadValue {
        /// Where it stands.
        place: String,
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        want: &'static str,
    },
    /// A person whom the roster does not describe.
    #[error("{place} names {who:?}, but there is no [[person]] of that name")]
    Unknown {
        /// Where it stands.
        place: String,
        /// The name.
        who: String,
    },
    /// A person whom no message reaches.
    #[error("person {who:?} has neither mail nor webhook: no message can arrive")]
    Unreachable {
        /// The person.
        who: String,
    },
    /// Two people of one name.
    #[error("person {who:?} stands twice")]
    Twice {
        /// The person.
        who: String,
    },
    /// Nobody is ever on duty.
    #[error("there is no [[shift]]: nobody would ever be told")]
    NoShift,
    /// More than a roster may hold.
    #[error("{what}: at most {MOST} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
    },
}

impl DutyError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form { .. } => "duty.form",
            Self::BadValue { .. } => "duty.bad-value",
            Self::Unknown { .. } => "duty.unknown-person",
            Self::Unreachable { .. } => "duty.unreachable",
            Self::Twice { .. } => "duty.twice",
            Self::NoShift => "duty.no-shift",
            Self::TooMany { .. } => "duty.too-many",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: String,
    time_zone: String,
    #[serde(default)]
    closed: Vec<String>,
    #[serde(default)]
    person: Vec<WrittenPerson>,
    #[serde(default)]
    shift: Vec<WrittenShift>,
    #[serde(default)]
    absence: Vec<WrittenAbsence>,
    outside: WrittenOutside,
    escalation: WrittenEscalation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPerson {
    who: String,
    mail: Option<String>,
    webhook: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenShift {
    days: Vec<String>,
    from: String,
    to: String,
    people: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAbsence {
    who: String,
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenOutside {
    people: Vec<String>,
    least_priority: Priority,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEscalation {
    high: String,
    medium: String,
    low: String,
    rounds: u32,
}

/// Where an entry stands, for errors.
struct At(String);

impl At {
    fn bad(&self, key: &'static str, value: &str, want: &'static str) -> DutyError {
        DutyError::BadValue {
            place: self.0.clone(),
            key,
            value: value.to_owned(),
            want,
        }
    }

    fn date(&self, key: &'static str, text: &str) -> Result<Date, DutyError> {
        text.parse()
            .map_err(|_| self.bad(key, text, "a day such as 2026-12-25"))
    }

    fn time(&self, key: &'static str, text: &str) -> Result<Time, DutyError> {
        text.parse()
            .map_err(|_| self.bad(key, text, "a time of day such as 08:30"))
    }

    fn patience(&self, key: &'static str, text: &str) -> Result<SignedDuration, DutyError> {
        let longest = SignedDuration::from_hours(7 * 24);
        text.parse()
            .ok()
            .filter(|time| (LEAST_PATIENCE..=longest).contains(time))
            .ok_or_else(|| self.bad(key, text, "a time from 10 s to 7 days, such as 5 min"))
    }

    fn day(&self, text: &str) -> Result<Weekday, DutyError> {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let place = DAYS.iter().position(|day| *day == text);
        place
            .and_then(|place| Weekday::from_monday_zero_offset(i8::try_from(place).ok()?).ok())
            .ok_or_else(|| self.bad("days", text, "one of mon, tue, wed, thu, fri, sat, sun"))
    }
}

pub(super) fn roster(text: &str) -> Result<Roster, DutyError> {
    let written: Written = toml::from_str(text).map_err(|source| DutyError::Form { source })?;
    let top = At("the roster".to_owned());
    if written.schema != "duty/1" {
        return Err(top.bad("schema", &written.schema, "\"duty/1\""));
    }
    few("[[person]]", written.person.len())?;
    few("[[shift]]", written.shift.len())?;
    few("[[absence]]", written.absence.len())?;
    few("closed", written.closed.len())?;
    let zone = TimeZone::get(&written.time_zone).map_err(|_| {
        let want = "a time zone such as Europe/Paris";
        top.bad("time_zone", &written.time_zone, want)
    })?;
    let people = people(written.person)?;
    let known = |at: &At, who: &str| match people.iter().any(|person| person.who == who) {
        true => Ok(()),
        false => Err(DutyError::Unknown {
            place: at.0.clone(),
            who: who.to_owned(),
        }),
    };
    let mut shifts = Vec::new();
    for (number, one) in (1..).zip(written.shift) {
        let at = At(format!("shift {number}"));
        one.people.iter().try_for_each(|who| known(&at, who))?;
        shifts.push(shift(&at, one)?);
    }
    if shifts.is_empty() {
        return Err(DutyError::NoShift);
    }
    let mut absences = Vec::new();
    for (number, one) in (1..).zip(written.absence) {
        let at = At(format!("absence {number}"));
        known(&at, &one.who)?;
        absences.push(absence(&at, one)?);
    }
    let at = At("outside".to_owned());
    let called = &written.outside.people;
    called.iter().try_for_each(|who| known(&at, who))?;
    Ok(Roster {
        closed: written
            .closed
            .iter()
            .map(|day| top.date("closed", day))
            .collect::<Result<_, _>>()?,
        outside: Outside {
            people: written.outside.people,
            least: written.outside.least_priority,
        },
        escalation: escalation(&written.escalation)?,
        zone,
        people,
        shifts,
        absences,
    })
}

const fn few(what: &'static str, count: usize) -> Result<(), DutyError> {
    if count > MOST {
        return Err(DutyError::TooMany { what });
    }
    Ok(())
}

fn people(written: Vec<WrittenPerson>) -> Result<Vec<Person>, DutyError> {
    let mut people: Vec<Person> = Vec::new();
    for one in written {
        let at = At(format!("person {:?}", one.who));
        let (kind, id) = one.who.split_once('/').unwrap_or_default();
        if !matches!(kind, "PractitionerRole" | "Practitioner") || id.is_empty() {
            let want = "a reference such as PractitionerRole/cardio1";
            return Err(at.bad("who", &one.who, want));
        }
        if let Some(url) = &one.webhook
            && !url.starts_with("https://")
        {
            return Err(at.bad("webhook", url, "an address that starts with https://"));
        }
        if one.mail.is_none() && one.webhook.is_none() {
            return Err(DutyError::Unreachable { who: one.who });
        }
        if people.iter().any(|person| person.who == one.who) {
            return Err(DutyError::Twice { who: one.who });
        }
        people.push(Person {
            who: one.who,
            mail: one.mail,
            webhook: one.webhook,
        });
    }
    Ok(people)
}

fn shift(at: &At, one: WrittenShift) -> Result<Shift, DutyError> {
    let days: Vec<Weekday> = one
        .days
        .iter()
        .map(|day| at.day(day))
        .collect::<Result<_, _>>()?;
    if days.is_empty() || one.people.is_empty() {
        let key = if days.is_empty() { "days" } else { "people" };
        return Err(at.bad(key, "[]", "a list of at least one"));
    }
    let from = at.time("from", &one.from)?;
    let to = match one.to.as_str() {
        "24:00" => Time::midnight(),
        to => at.time("to", to)?,
    };
    let minutes = (to.duration_since(from).as_secs() / 60).rem_euclid(DAY_MINUTES);
    Ok(Shift {
        days,
        from,
        // From a time to the same time is a whole day.
        minutes: if minutes == 0 { DAY_MINUTES } else { minutes },
        people: one.people,
    })
}

fn absence(at: &At, one: WrittenAbsence) -> Result<Absence, DutyError> {
    let (from, to) = (at.date("from", &one.from)?, at.date("to", &one.to)?);
    if to < from {
        return Err(at.bad("to", &one.to, "the day of `from` or a later one"));
    }
    Ok(Absence {
        who: one.who,
        from,
        to,
    })
}

fn escalation(written: &WrittenEscalation) -> Result<Escalation, DutyError> {
    let at = At("escalation".to_owned());
    if !(1..=MOST_ROUNDS).contains(&written.rounds) {
        let want = "a whole number from 1 to 20";
        return Err(at.bad("rounds", &written.rounds.to_string(), want));
    }
    Ok(Escalation {
        high: at.patience("high", &written.high)?,
        medium: at.patience("medium", &written.medium)?,
        low: at.patience("low", &written.low)?,
        rounds: written.rounds,
    })
}
