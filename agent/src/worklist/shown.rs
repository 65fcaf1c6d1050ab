//! The visits as a nurse sees them: a document, and lines in French or English.
//!
//! Without being asked for them, neither holds a name. Deliberately absent: colour, and choosing.

use std::fmt::Write as _;

use cardio_core::clock::UtcMicros;
use cardio_core::words::Language;
use cardio_wire::visits::{TIME_ZONE, Visit};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Worklist;

/// What is known of the day's visits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VisitsState {
    /// No list since the program started, or its day is over.
    #[default]
    NoList,
    /// There is one.
    Listed,
}

/// The document `visits/1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VisitsDocument {
    /// `visits/1`.
    pub schema: String,
    /// What is known.
    pub state: VisitsState,
    /// The day, as `2026-01-31`.
    pub day: Option<String>,
    /// Seconds since the list came.
    pub age_s: Option<u64>,
    /// The visits.
    pub visits: Vec<ShownVisit>,
    /// Visits of the day that found no place on the list.
    pub left_out: u64,
    /// Visits that were cancelled or done since, and whose data are gone from this box.
    pub withdrawn: usize,
    /// Whether the gateway answers.
    pub connected: bool,
}

/// One visit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownVisit {
    /// Its place on the list, from 1.
    pub number: usize,
    /// The request.
    pub request: String,
    /// What is asked for.
    pub what: Option<String>,
    /// From when, in RFC 3339.
    pub from: Option<String>,
    /// Until when.
    pub until: Option<String>,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
    /// What the patient is called, if names were asked for.
    pub name: Option<String>,
    /// When the patient was born, if names were asked for.
    pub born: Option<String>,
}

impl Worklist {
    /// The document, with names only if they were asked for.
    pub fn document(&self, with_names: bool, connected: bool) -> VisitsDocument {
        self.drop_what_is_over();
        let now_us = self.clock.read().box_instant.micros;
        let held = self.held();
        let document = VisitsDocument {
            schema: "visits/1".to_owned(),
            withdrawn: held.withdrawn,
            connected,
            ..VisitsDocument::default()
        };
        let Some(kept) = &held.list else {
            return document;
        };
        let visits = kept.list.visits.iter().zip(1..);
        VisitsDocument {
            state: VisitsState::Listed,
            day: Some(kept.list.day.clone()),
            age_s: Some(now_us.saturating_sub(kept.received_us) / 1_000_000),
            visits: visits
                .map(|(visit, number)| ShownVisit {
                    chosen: held.chosen.as_ref() == Some(&visit.request),
                    ..shown(visit, number, with_names)
                })
                .collect(),
            left_out: kept.list.left_out,
            ..document
        }
    }
}

fn shown(visit: &Visit, number: usize, with_names: bool) -> ShownVisit {
    let at = |at: Option<UtcMicros>| Some(Timestamp::from_microsecond(at?.0).ok()?.to_string());
    ShownVisit {
        number,
        request: visit.request.as_str().to_owned(),
        what: visit.what.as_ref().map(|text| text.to_string()),
        from: at(visit.from),
        until: at(visit.until),
        chosen: false,
        name: with_names.then(|| visit.name.to_string()),
        born: visit
            .born
            .as_ref()
            .filter(|_| with_names)
            .map(|text| text.to_string()),
    }
}

/// The visits in words.
pub fn as_text(document: &VisitsDocument, language: Language) -> String {
    let words = Words::of(language);
    let mut text = match (&document.day, document.state) {
        (Some(day), VisitsState::Listed) => {
            (words.head)(document.visits.len(), day, document.age_s.unwrap_or(0) / 60)
        }
        _ if document.connected => words.no_team.to_owned(),
        _ => words.no_list.to_owned(),
    };
    text.push('\n');
    for visit in &document.visits {
        let mark = if visit.chosen { "*" } else { " " };
        let when = hours(visit);
        let mut who = visit.name.clone().unwrap_or_default();
        if let Some(born) = &visit.born {
            who += &format!(", {} {born}", words.born);
        }
        let what = visit.what.as_deref().unwrap_or("-");
        let parts = [when.as_str(), who.as_str(), what, visit.request.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        // writing to a String cannot fail
        let _ = writeln!(text, "{mark} {:>3}  {}", visit.number, parts.join("  "));
    }
    if document.left_out > 0 {
        text += &(words.left_out)(document.left_out);
        text.push('\n');
    }
    if document.withdrawn > 0 {
        text += &(words.withdrawn)(document.withdrawn);
        text.push('\n');
    }
    text
}

/// Hours and minutes where the team works.
fn hours(visit: &ShownVisit) -> String {
    let zone = TimeZone::get(TIME_ZONE).unwrap_or(TimeZone::UTC);
    let clock = |at: &Option<String>| {
        let at: Timestamp = at.as_ref()?.parse().ok()?;
        Some(at.to_zoned(zone.clone()).strftime("%H:%M").to_string())
    };
    match (clock(&visit.from), clock(&visit.until)) {
        (Some(from), Some(until)) => format!("{from}-{until}"),
        (Some(from), None) => from,
        _ => String::new(),
    }
}

/// Whole sentences; none is glued from parts.
struct Words {
    head: fn(usize, &str, u64) -> String,
    no_list: &'static str,
    no_team: &'static str,
    born: &'static str,
    left_out: fn(u64) -> String,
    withdrawn: fn(usize) -> String,
}

impl Words {
    const fn of(language: Language) -> &'static Self {
        match language {
            Language::French => &FRENCH,
            Language::English => &ENGLISH,
        }
    }
}

const FRENCH: Words = Words {
    head: |visits, day, minutes| match visits {
        0 => format!("Aucune visite le {day} (liste reçue il y a {minutes} min)"),
        1 => format!("1 visite le {day} (liste reçue il y a {minutes} min)"),
        _ => format!("{visits} visites le {day} (liste reçue il y a {minutes} min)"),
    },
    no_list: "La liste des visites revient au prochain contact avec la passerelle. \
              Un examen sans demande reste possible.",
    no_team: "La passerelle n'a envoyé aucune liste : connaît-elle l'équipe de ce boîtier ? \
              Un examen sans demande reste possible.",
    born: "né(e) le",
    left_out: |count| format!("Visites du jour absentes de cette liste, trop longue : {count}"),
    withdrawn: |count| {
        format!(
            "Visites annulées ou terminées, dont les données sont effacées de ce boîtier : {count}"
        )
    },
};

const ENGLISH: Words = Words {
    head: |visits, day, minutes| match visits {
        0 => format!("No visit on {day} (list of {minutes} min ago)"),
        1 => format!("1 visit on {day} (list of {minutes} min ago)"),
        _ => format!("{visits} visits on {day} (list of {minutes} min ago)"),
    },
    no_list: "The list of visits comes back at the next contact with the gateway. \
              An exam without a request can be made.",
    no_team: "The gateway has sent no list: does it know the team of this box? \
              An exam without a request can be made.",
    born: "born",
    left_out: |count| format!("Visits of the day that this list had no room for: {count}"),
    withdrawn: |count| {
        format!("Visits cancelled or done, whose data are gone from this box: {count}")
    },
};
