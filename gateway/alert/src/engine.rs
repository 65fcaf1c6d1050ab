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

use std::collections::BTreeMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use cardio_core::quality::QualityVerdict;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::{Alert, AlertEvent, EndReason, Ended, Evidence, seconds};
use crate::fact::{Algorithm, Fact, Reading};
use crate::kind::{Kind, Measure};
use crate::rule::{Rule, RuleSet};
use crate::state::{Open, Run, SubjectState, Track};

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

/// What all rules are shown of one fact.
struct Shown<'a> {
    subject: &'a str,
    stream: &'a str,
    acquisition: Option<String>,
    from_us: i64,
    to_us: i64,
    at: UtcMicros,
    now: UtcMicros,
    quality: Option<QualityVerdict>,
    electrode: Option<String>,
    algorithms: &'a [Algorithm],
    measures: Vec<(&'a Rule, f64, i64, Measure)>,
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
        let analysed = fact.bpm.is_some() && fact.verdict != QualityVerdict::Insufficient;
        let percent = memory.minutes.count(to_us, analysed);
        let measures = self
            .rules
            .rules_for(subject)
            .iter()
            .filter(|rule| rule.enabled)
            .filter_map(|rule| {
                let measure = rule.kind.measure(fact, percent)?;
                let poor = rule
                    .minimum_quality
                    .is_some_and(|least| fact.verdict < least);
                let measure = if poor {
                    Measure::CouldNotAnalyse
                } else {
                    measure
                };
                let limit = rule.limit.map_or(0.0, |limit| limit.get(fact.attendance));
                Some((rule, limit, rule.hold_us.get(fact.attendance), measure))
            })
            .collect();
        let shown = Shown {
            subject,
            stream: &stream,
            acquisition: Some(stream.clone()),
            from_us: fact.start_us(),
            to_us,
            at: fact.at,
            now,
            quality: Some(fact.verdict),
            electrode: fact
                .suspect_electrode
                .map(|electrode| electrode.iec().to_owned()),
            algorithms: &fact.algorithms,
            measures,
        };
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

fn show(state: &mut SubjectState, rules: &[Rule], shown: &Shown<'_>) -> Vec<AlertEvent> {
    let mut events = Vec::new();
    for (rule, limit, hold_us, measure) in &shown.measures {
        let memory = state.acquisition(shown.stream);
        let track = memory.tracks.entry(rule.name.clone()).or_default();
        observe(track, rule, *limit, *hold_us, measure, shown);
        if let Some(firing) = firing(track, measure, rule, *limit) {
            let counted = std::mem::replace(&mut track.counted, true);
            let raised = raise(
                state,
                rules,
                rule,
                (*limit, *hold_us),
                &firing,
                counted,
                shown,
            );
            events.extend(raised.map(|alert| AlertEvent::Raised(Box::new(alert))));
        }
    }
    events.extend(end_what_is_over(state, rules, shown.at));
    events
}

/// The run of a condition that holds now and has held long enough.
fn firing(track: &Track, measure: &Measure, rule: &Rule, limit: f64) -> Option<Run> {
    (track.active && holds(rule, limit, measure))
        .then(|| track.run.clone())
        .flatten()
}

fn holds(rule: &Rule, limit: f64, measure: &Measure) -> bool {
    match (measure, rule.kind.limited()) {
        (Measure::Value(value), Some(limited)) => limited.side.crossed(*value, limit),
        (Measure::Holds(holds), _) => *holds,
        _ => false,
    }
}

fn is_well(rule: &Rule, limit: f64, measure: &Measure) -> bool {
    match (measure, rule.kind.limited()) {
        (Measure::Value(value), Some(limited)) => {
            limited.side.well_within(*value, limit, rule.hysteresis)
        }
        (Measure::Holds(holds), _) => !holds,
        _ => false,
    }
}

fn observe(
    track: &mut Track,
    rule: &Rule,
    limit: f64,
    hold_us: i64,
    measure: &Measure,
    shown: &Shown<'_>,
) {
    track.blind = *measure == Measure::CouldNotAnalyse;
    if track.blind {
        track.well_since_us = None;
        return;
    }
    if holds(rule, limit, measure) {
        track.well_since_us = None;
        extend(track, rule, measure, shown);
        let held = track
            .run
            .as_ref()
            .map_or(0, |run| shown.to_us.saturating_sub(run.began_us));
        track.active |= held >= hold_us;
        return;
    }
    if !track.active {
        track.run = None;
        track.counted = false;
        return;
    }
    if is_well(rule, limit, measure) {
        let since = *track.well_since_us.get_or_insert(shown.to_us);
        if shown.to_us.saturating_sub(since) >= rule.end_after_us {
            *track = Track::default();
        }
    } else {
        track.well_since_us = None;
    }
}

/// Lets a run go on over signal without a hole, or starts a new one.
fn extend(track: &mut Track, rule: &Rule, measure: &Measure, shown: &Shown<'_>) {
    let value = match measure {
        Measure::Value(value) => Some(*value),
        _ => None,
    };
    match &mut track.run {
        Some(run) if track.active || shown.from_us <= run.last_us => {
            run.last_us = shown.to_us;
            run.worst = match (run.worst, value, rule.kind.limited()) {
                (Some(a), Some(b), Some(limited)) => Some(limited.side.worse(a, b)),
                (worst, value, _) => worst.or(value),
            };
        }
        run => {
            *run = Some(Run {
                began_us: shown.to_us,
                began_at: shown.at.0,
                from_us: shown.from_us,
                last_us: shown.to_us,
                worst: value,
            });
            track.counted = false;
        }
    }
}

/// Raises an alert, unless one is open, its group is spoken for, or the rule holds off.
fn raise(
    state: &mut SubjectState,
    rules: &[Rule],
    rule: &Rule,
    (limit, hold_us): (f64, i64),
    run: &Run,
    counted: bool,
    shown: &Shown<'_>,
) -> Option<Alert> {
    let firing = u64::from(!counted);
    if let Some(open) = speaker(state, rules, rule) {
        open.repeats = open.repeats.saturating_add(firing);
        return None;
    }
    let standing = state.rules.entry(rule.name.clone()).or_default();
    let since = standing
        .raised_at
        .map(|last| shown.at.0.saturating_sub(last).saturating_abs());
    if since.is_some_and(|since| since < rule.hold_off_us) {
        standing.held = standing.held.saturating_add(firing);
        return None;
    }
    let alert = alert(rule, limit, hold_us, run, standing.held, shown);
    standing.raised_at = Some(shown.at.0);
    standing.held = 0;
    standing.open = Some(Open {
        alert: alert.clone(),
        repeats: 0,
    });
    Some(alert)
}

/// The open alert that speaks for a rule: its own, or one of its group at least as urgent.
fn speaker<'a>(state: &'a mut SubjectState, rules: &[Rule], rule: &Rule) -> Option<&'a mut Open> {
    let related = |name: &str| {
        name == rule.name
            || rules.iter().any(|other| {
                other.name == name
                    && other.group.is_some()
                    && other.group == rule.group
                    && other.priority >= rule.priority
            })
    };
    let standing = state.rules.iter_mut();
    standing
        .filter(|(name, _)| related(name))
        .find_map(|(_, standing)| standing.open.as_mut())
}

fn alert(
    rule: &Rule,
    limit: f64,
    hold_us: i64,
    run: &Run,
    held_back: u64,
    shown: &Shown<'_>,
) -> Alert {
    let key = format!(
        "{}/{}/{}/{}",
        rule.name, shown.subject, shown.stream, run.began_us
    );
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, b"https://ess-cardio.example/alert");
    Alert {
        id: Uuid::new_v5(&namespace, key.as_bytes()).to_string(),
        rule: rule.name.clone(),
        rule_version: rule.version,
        prescription: rule.prescription.clone(),
        kind: rule.kind,
        priority: rule.priority,
        subject: shown.subject.to_owned(),
        acquisition: shown.acquisition.clone(),
        value: run.worst,
        limit: rule.limit.map(|_| limit),
        held_s: seconds(run.last_us.saturating_sub(run.began_us)),
        needed_s: seconds(hold_us),
        quality: shown.quality.map(|verdict| verdict.name().to_owned()),
        minimum_quality: rule
            .minimum_quality
            .map(|verdict| verdict.name().to_owned()),
        electrode: shown
            .electrode
            .clone()
            .filter(|_| rule.kind == Kind::ElectrodeOff),
        began: UtcMicros(run.began_at),
        at: shown.at,
        raised: shown.now,
        evidence: Evidence {
            from_us: run.from_us,
            to_us: run.last_us,
        },
        algorithms: shown.algorithms.to_vec(),
        held_back,
    }
}

/// Ends the alerts whose condition holds in no recording any more, or whose rule is off.
fn end_what_is_over(state: &mut SubjectState, rules: &[Rule], at: UtcMicros) -> Vec<AlertEvent> {
    let is_on = |name: &str| rules.iter().any(|rule| rule.name == name && rule.enabled);
    for memory in state.acquisitions.values_mut() {
        memory.tracks.retain(|name, _| is_on(name));
    }
    let open: Vec<String> = state
        .rules
        .iter()
        .filter(|(_, standing)| standing.open.is_some())
        .map(|(name, _)| name.clone())
        .collect();
    let mut events = Vec::new();
    for name in open {
        if state.is_active(&name) {
            continue;
        }
        let ended = state
            .rules
            .get_mut(&name)
            .and_then(|standing| standing.open.take());
        let reason = if !is_on(&name) {
            EndReason::RuleOff
        } else if state.tracks_any(&name) {
            EndReason::BackWithinLimits
        } else {
            EndReason::RecordingEnded
        };
        events.extend(ended.map(|open| {
            AlertEvent::Ended(Ended {
                id: open.alert.id,
                rule: name,
                at,
                reason,
                repeats: open.repeats,
            })
        }));
    }
    events
}
