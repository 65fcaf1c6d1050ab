//! How the rules stand after a fact: runs of a condition, alerts raised and ended.

use cardio_core::clock::UtcMicros;
use cardio_core::quality::QualityVerdict;
use uuid::Uuid;

use crate::alert::{Alert, AlertEvent, EndReason, Ended, Evidence, seconds};
use crate::fact::{Algorithm, Fact};
use crate::kind::{Kind, Measure};
use crate::rule::Rule;
use crate::state::{Open, Run, SubjectState, Track};

/// What all rules are shown of one fact.
pub(super) struct Shown<'a> {
    pub(super) subject: &'a str,
    pub(super) stream: &'a str,
    pub(super) acquisition: Option<String>,
    pub(super) from_us: i64,
    pub(super) to_us: i64,
    pub(super) at: UtcMicros,
    pub(super) now: UtcMicros,
    pub(super) quality: Option<QualityVerdict>,
    pub(super) electrode: Option<String>,
    pub(super) algorithms: &'a [Algorithm],
    pub(super) rhythm: Option<&'a Algorithm>,
    pub(super) measures: Vec<(&'a Rule, f64, i64, Measure)>,
}

pub(super) fn show(state: &mut SubjectState, rules: &[Rule], shown: &Shown<'_>) -> Vec<AlertEvent> {
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

/// What a rule reads of a window, with the limit and the time that apply to it.
pub(super) fn measured<'a>(
    rule: &'a Rule,
    fact: &Fact,
    unanalysed_percent: Option<f64>,
) -> Option<(&'a Rule, f64, i64, Measure)> {
    let measure = rule.kind.measure(fact, unanalysed_percent)?;
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
}

impl<'a> Shown<'a> {
    /// One window of a subject, measured by some rules.
    pub(super) fn window(
        subject: &'a str,
        stream: &'a str,
        fact: &'a Fact,
        now: UtcMicros,
        measures: Vec<(&'a Rule, f64, i64, Measure)>,
    ) -> Self {
        Self {
            subject,
            stream,
            acquisition: Some(stream.to_owned()),
            from_us: fact.start_us(),
            to_us: fact.end_us(),
            at: fact.at,
            now,
            quality: Some(fact.verdict),
            electrode: fact
                .suspect_electrode
                .map(|electrode| electrode.iec().to_owned()),
            algorithms: &fact.algorithms,
            rhythm: fact.rhythm.as_ref().map(|rhythm| &rhythm.algorithm),
            measures,
        }
    }
}

/// Shows one rule one window; answers the alert that its run makes, if it fires.
pub(super) fn show_one(track: &mut Track, rule: &Rule, shown: &Shown<'_>) -> Option<Alert> {
    let (_, limit, hold_us, measure) = shown.measures.first()?;
    observe(track, rule, *limit, *hold_us, measure, shown);
    let run = firing(track, measure, rule, *limit)?;
    Some(alert(rule, *limit, *hold_us, &run, 0, shown))
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
        (Measure::HoldsSince(_), _) => true,
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
            // What holds for longer than anybody has looked began before this window.
            let began_us = match measure {
                Measure::HoldsSince(since_us) => shown.to_us.min(*since_us),
                _ => shown.to_us,
            };
            *run = Some(Run {
                began_us,
                began_at: shown
                    .at
                    .0
                    .saturating_sub(shown.to_us.saturating_sub(began_us)),
                from_us: shown.from_us.min(began_us),
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
        algorithms: shown
            .algorithms
            .iter()
            .chain(shown.rhythm.filter(|_| rule.kind.rests_on_rhythm()))
            .cloned()
            .collect(),
        held_back,
        applied: Some(rule.clone()),
    }
}

/// Ends the alerts whose condition holds in no recording any more, or whose rule is off.
pub(super) fn end_what_is_over(
    state: &mut SubjectState,
    rules: &[Rule],
    at: UtcMicros,
) -> Vec<AlertEvent> {
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
