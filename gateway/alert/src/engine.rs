//! From facts to alerts: pure, the same answer for the same facts.
//!
//! - A fact that was seen before, or that ends no later than one of its acquisition that was,
//!   changes nothing.
//! - A condition counts only over signal without a hole; what could not be analysed neither
//!   starts nor ends anything.
//! - One alert is open per rule and subject; further firings are counted on it. After an
//!   alert, the rule holds off for its time of signal; what it held back is counted.
//! - Of the rules of a group, one at least as urgent that is open silences the others.
//!
//! Deliberately absent: clocks, storage, delivery, people.

mod again;
mod judge;

use std::collections::BTreeMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use serde::{Deserialize, Serialize};

pub use self::again::Again;
use self::judge::{Shown, end_what_is_over, measured, show};
use crate::alert::{Alert, AlertEvent};
use crate::fact::{Fact, Reading};
use crate::rule::RuleSet;
use crate::state::SubjectState;

/// Most patients, boxes and sensors that are remembered.
pub const MAX_SUBJECTS: usize = 10_000;

/// What an engine remembers; serialisable, so that a restart continues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineState {
    steps: u64,
    subjects: BTreeMap<String, Remembered>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    step: u64,
    state: SubjectState,
}

impl EngineState {
    /// What is remembered of a patient, box or sensor.
    pub fn subject(&self, subject: &str) -> Option<&SubjectState> {
        self.subjects.get(subject).map(|one| &one.state)
    }

    /// All alerts whose condition goes on.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.subjects.values().flat_map(|one| one.state.open())
    }

    /// The subject's memory, started if need be; the one that was quiet longest makes room,
    /// one without an open alert first.
    fn enter(&mut self, subject: &str) -> &mut SubjectState {
        if !self.subjects.contains_key(subject) && self.subjects.len() >= MAX_SUBJECTS {
            let quiet = self
                .subjects
                .iter()
                .min_by_key(|(_, one)| (one.state.open().next().is_some(), one.step));
            if let Some(quiet) = quiet.map(|(name, _)| name.clone()) {
                self.subjects.remove(&quiet);
            }
        }
        self.steps = self.steps.saturating_add(1);
        let one = self.subjects.entry(subject.to_owned()).or_default();
        one.step = self.steps;
        &mut one.state
    }
}

/// Rules, and how they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    rules: RuleSet,
    state: EngineState,
}

impl Engine {
    /// An engine that remembers nothing.
    pub fn new(rules: RuleSet) -> Self {
        Self::with_state(rules, EngineState::default())
    }

    /// An engine that goes on where another one stopped.
    pub const fn with_state(rules: RuleSet, state: EngineState) -> Self {
        Self { rules, state }
    }

    /// What it remembers.
    pub const fn state(&self) -> &EngineState {
        &self.state
    }

    /// The rules.
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Takes new rules. Alerts of rules that are off now end with the next fact.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.rules = rules;
    }

    /// Whether a window comes again or too late, and will change nothing.
    pub fn is_late(&self, subject: &str, fact: &Fact) -> bool {
        let of = self.state.subject(subject);
        let memory = of.and_then(|one| one.acquisitions.get(&fact.acquisition.to_string()));
        let seen = memory.and_then(|memory| memory.seen_us);
        seen.is_some_and(|seen| fact.end_us() <= seen)
    }

    /// Takes one scored window of a subject.
    pub fn step(&mut self, subject: &str, fact: &Fact, now: UtcMicros) -> Vec<AlertEvent> {
        let state = self.state.enter(subject);
        let stream = fact.acquisition.to_string();
        let memory = state.acquisition(&stream);
        let to_us = fact.end_us();
        if memory.seen_us.is_some_and(|seen| to_us <= seen) {
            state.repeated = state.repeated.saturating_add(1);
            return Vec::new();
        }
        memory.seen_us = Some(to_us);
        let percent = memory.minutes.count(to_us, fact.is_analysed());
        let rules = self.rules.rules_for(subject).iter();
        let measures = rules
            .filter(|rule| rule.enabled)
            .filter_map(|rule| measured(rule, fact, percent))
            .collect();
        let shown = Shown::window(subject, &stream, fact, now, measures);
        show(state, self.rules.rules_for(subject), &shown)
    }

    /// Takes one reading of the equipment.
    pub fn reading(&mut self, reading: &Reading, now: UtcMicros) -> Vec<AlertEvent> {
        let subject = reading.about.as_str();
        let state = self.state.enter(subject);
        let stream = reading.quantity.name();
        let memory = state.acquisition(stream);
        let to_us = reading.at.0;
        if memory.seen_us.is_some_and(|seen| to_us <= seen) {
            state.repeated = state.repeated.saturating_add(1);
            return Vec::new();
        }
        let from_us = memory.seen_us.replace(to_us).unwrap_or(to_us);
        let measures = self
            .rules
            .rules_for(subject)
            .iter()
            .filter(|rule| rule.enabled)
            .filter_map(|rule| {
                let measure = rule.kind.read(reading)?;
                let limit = rule
                    .limit
                    .map_or(0.0, |limit| limit.get(reading.attendance));
                Some((rule, limit, rule.hold_us.get(reading.attendance), measure))
            })
            .collect();
        let shown = Shown {
            subject,
            stream,
            acquisition: None,
            from_us,
            to_us,
            at: reading.at,
            now,
            quality: None,
            electrode: None,
            algorithms: &[],
            rhythm: None,
            measures,
        };
        show(state, self.rules.rules_for(subject), &shown)
    }

    /// Takes the end of an acquisition: a condition that held to the end ends with it.
    pub fn acquisition_ended(
        &mut self,
        subject: &str,
        acquisition: AcquisitionId,
        at: UtcMicros,
    ) -> Vec<AlertEvent> {
        let Some(one) = self.state.subjects.get_mut(subject) else {
            return Vec::new();
        };
        if let Some(memory) = one.state.acquisitions.get_mut(&acquisition.to_string()) {
            memory.tracks.clear();
            memory.minutes = crate::state::Minutes::default();
        }
        end_what_is_over(&mut one.state, self.rules.rules_for(subject), at)
    }

    /// How each rule that is on stands in each recording of a subject.
    pub fn standing(&self, subject: &str) -> Vec<Standing> {
        let Some(state) = self.state.subject(subject) else {
            return Vec::new();
        };
        let standing = |(stream, memory): (&String, &crate::state::Acquisition)| {
            let stream = stream.clone();
            let tracks = memory.tracks.clone().into_iter();
            tracks.map(move |(rule, track)| Standing {
                rule,
                stream: stream.clone(),
                state: match (&track.run, track.active, track.blind) {
                    (_, true, _) => StandingState::Holds,
                    (_, false, true) => StandingState::CouldNotAnalyse,
                    (Some(_), false, false) => StandingState::Building,
                    (None, false, false) => StandingState::Clear,
                },
            })
        };
        state.acquisitions.iter().flat_map(standing).collect()
    }
}

/// How a rule stands in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The rule.
    pub rule: String,
    /// The acquisition, or the quantity of a reading.
    pub stream: String,
    /// How it stands.
    pub state: StandingState,
}

/// How a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingState {
    /// The condition does not hold.
    Clear,
    /// It holds, but not yet for long enough.
    Building,
    /// It has held long enough.
    Holds,
    /// The last window could not be analysed for it.
    CouldNotAnalyse,
}
