//! What was recorded, held against the ledger.

use cardio_agent::pipeline::Captured;
use cardio_core::device::IntegrityClass;
use cardio_core::gap::GapCause;
use cardio_core::index::SampleIndex;
use cardio_core::quality::QualityCause;
use cardio_firmware_sim::ledger::Entry;

use crate::strap;
use crate::visit::{Deaf, Visit, folded};
use crate::wide;

/// What a box may leave out beside a loss or before its conversation stands, in seconds: a frame
/// is accepted on evidence, and one frame of a strap is half a second.
const BESIDE_US: u64 = 1_200_000;
/// Without a counter a loss is noticed by time, so many seconds behind its place, and no better
/// than this.
const TIMED_US: u64 = 100_000;
/// Shortest turn of a counter that the box tells from a delay.
const TURN_TOLD_US: u64 = 200_000;
/// After so long a sensor that says nothing that can be understood is lost.
const SILENT_US: u64 = 2_500_000;

/// What lies between two gaps.
#[derive(Debug, Default)]
struct Run {
    first: u64,
    values: Vec<i32>,
    /// The gap before it: length, uncertainty, whether its cause is that the source was away.
    gap: Option<(u64, u64, bool)>,
}

fn runs(captured: &[Captured]) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = vec![Run::default()];
    for one in captured {
        match one {
            Captured::Segment(segment) => {
                let run = runs.last_mut().unwrap();
                if run.values.is_empty() {
                    run.first = segment.block.first.0;
                }
                let (due, first) = (run.first + wide(run.values.len()), segment.block.first.0);
                if due != first {
                    return Err(format!("{first} follows {due}, and no gap says so"));
                }
                run.values.extend(folded(&segment.block.leads));
            }
            Captured::Gap { gap, .. } => {
                let is_away = gap.cause == GapCause::SourceLost;
                let told = (gap.len.0, gap.uncertainty.0, is_away);
                let last = runs.last_mut().unwrap();
                if last.values.is_empty() && last.gap.is_some() {
                    let (len, uncertainty, was_away) = last.gap.unwrap();
                    last.gap = Some((len + told.0, uncertainty + told.1, was_away || is_away));
                } else {
                    runs.push(Run {
                        gap: Some(told),
                        ..Run::default()
                    });
                }
            }
            _ => {}
        }
    }
    runs.retain(|run| !run.values.is_empty());
    Ok(runs)
}

/// Why record and ledger do not agree, if they do not.
pub(crate) fn disagreement(visit: &Visit) -> Option<String> {
    if visit.device.sees_beats() {
        return strap::disagreement(visit).or_else(|| of_asides(visit));
    }
    let runs = match runs(&visit.captured) {
        Ok(runs) => runs,
        Err(why) => return Some(why),
    };
    if runs.is_empty() {
        return Some("nothing was recorded".to_owned());
    }
    let of_samples = if tells_place(visit) {
        in_place(visit, &runs)
    } else {
        in_order(visit, &runs)
    };
    of_samples
        .or_else(|| of_contact(visit))
        .or_else(|| of_asides(visit))
}

/// Whether the device proves where something was lost. A counter that turns within moments does so
/// only up to a turn; what is beyond shows as without a counter, and noise may be longer. So does a
/// loss of exactly whole turns of any counter: the frame behind it follows on, as the first one
/// behind a stall of that length does, stray bytes may come between in either case, and only what
/// comes later, too late or in a burst, tells one from the other. A device that must be asked brackets
/// what it took with every answer; where its memory was full, nobody knows which end it dropped.
fn tells_place(visit: &Visit) -> bool {
    if visit.device.must_be_asked() {
        return visit.deaf.iter().all(|one| one.is_away);
    }
    let turn = visit
        .device
        .modulus
        .map(|turn| u64::from(turn) * visit.device.per_frame());
    let is_fast = turn.is_some_and(|turn| turn < span(visit, TURN_TOLD_US));
    let is_beyond = |one: &Deaf| {
        let turns = turn.map(|turn| (one.len / turn, one.len % turn));
        turns.is_some_and(|(turns, rest)| turns > 0 && (is_fast || rest == 0)) && !one.is_away
    };
    let is_beyond = visit.deaf.iter().any(is_beyond);
    visit.device.integrity != IntegrityClass::Uncounted && !is_beyond
}

/// What is wrong with the signal itself is said of the leads that it concerns, while it lasts, and
/// of no other.
fn of_contact(visit: &Visit) -> Option<String> {
    let (rail, absent) = (visit.device.rails.1, visit.device.absent_adu);
    // where each lead stood at the rail, as it was recorded
    let mut railed: Vec<Vec<u64>> = vec![Vec::new(); visit.device.waves.len()];
    let mut found = Vec::new();
    for captured in &visit.captured {
        match captured {
            Captured::Segment(segment) => {
                for (kept, row) in railed.iter_mut().zip(&segment.block.leads) {
                    let at = (segment.block.first.0..).zip(row);
                    let is_off = |count: i32| count == rail || Some(count) == absent;
                    kept.extend(at.filter(|(_, count)| is_off(**count)).map(|(at, _)| at));
                }
            }
            Captured::Assessment(one) => found.push(&one.quality),
            _ => {}
        }
    }
    let faults: Vec<&Entry> = visit
        .told
        .iter()
        .filter(|one| matches!(one, Entry::Signal { .. }))
        .collect();
    if faults.is_empty() && railed.iter().any(|row| !row.is_empty()) {
        return Some("a rail that nobody injected".to_owned());
    }
    for quality in found {
        let (from, to) = (quality.first.0, quality.first.0 + quality.len.0);
        for ((label, lead), at) in quality.per_lead.iter().zip(&railed) {
            let between = |from, to| {
                wide(at.partition_point(|i| *i < to) - at.partition_point(|i| *i < from))
            };
            // what a contact was like before it came back is forgotten: the newest second counts
            let newest = to.saturating_sub(span(visit, 1_000_000)).max(from);
            let said = [QualityCause::LeadOff, QualityCause::Saturation];
            let is_said = lead.causes.iter().any(|cause| said.contains(cause));
            if between(newest, to) >= span(visit, 500_000) && !is_said {
                return Some(format!(
                    "{label} is at the rail from {from} to {to}, and all that is said is {:?}",
                    lead.causes
                ));
            }
            let at_rail = between(from, to);
            if at_rail == 0 && is_said {
                return Some(format!("{label} is said to be off from {from} to {to}"));
            }
        }
    }
    None
}

/// Clock, battery, repeats: what was injected is said, and nothing else.
fn of_asides(visit: &Visit) -> Option<String> {
    let injected = |is: fn(&Entry) -> bool| visit.told.iter().filter(|one| is(one)).count();
    let said = |code: &str| {
        let is =
            |one: &&Captured| matches!(one, Captured::Event { code: found, .. } if *found == code);
        visit.captured.iter().filter(is).count()
    };
    let jumps = injected(|one| matches!(one, Entry::Clock { .. }));
    if jumps > 0 && said("source.clock_reset") == 0 {
        return Some(format!("{jumps} jumps of the clock, and none was said"));
    }
    let facts = visit.playback.facts();
    let battery = visit.told.iter().rev().find_map(|one| match one {
        Entry::Battery { percent, .. } => Some(*percent),
        _ => None,
    });
    if battery.is_some() && facts.battery_percent != battery {
        return Some(format!(
            "the battery is at {battery:?}, not at {:?}",
            facts.battery_percent
        ));
    }
    let repeats = wide(injected(|one| matches!(one, Entry::Repeat { .. })));
    if facts.counts.repeated_frames > repeats {
        return Some(format!(
            "{} repeats, of which {repeats} were injected",
            facts.counts.repeated_frames
        ));
    }
    None
}

fn span(visit: &Visit, micros: u64) -> u64 {
    visit.device.rate().count_in_micros(micros).0
}

/// Whether the source was away, or silent for as long as the box takes for it, in a stretch;
/// `None` where that stands on the edge.
fn causes(visit: &Visit, end: u64, at: u64) -> Option<bool> {
    let mut deaf = visit.deaf.iter();
    let meets = |one: &&Deaf| one.from < at && one.from + one.len > end;
    if visit.deaf.iter().filter(meets).any(|one| one.is_away) {
        return Some(true);
    }
    let not_understood = deaf.any(|one| meets(&one));
    // a device that must be asked is silent until it answers, whatever it then still has
    let silent_us = if visit.device.must_be_asked() {
        let mut heard = visit.heard_us.range(..end).rev().map(|(_, us)| *us);
        let behind = visit.heard_us.range(at..).next();
        let before = heard.next();
        behind.zip(before).map_or(0, |((_, to), from)| to - from)
    } else if not_understood {
        visit.device.rate().micros_at(SampleIndex(at - end))
    } else {
        0
    };
    match silent_us {
        long if long >= SILENT_US + BESIDE_US => Some(true),
        long if long >= SILENT_US - BESIDE_US => None,
        _ => Some(false),
    }
}

/// Each run is what was sent at its place; between two runs something was lost, as much and for the
/// cause that the gap says.
fn in_place(visit: &Visit, runs: &[Run]) -> Option<String> {
    let beside = span(visit, BESIDE_US);
    let is_at = |run: &Run, at: u64| {
        (at..)
            .zip(&run.values)
            .all(|(i, value)| visit.sent.get(&i) == Some(value))
    };
    let mut end: Option<u64> = None;
    for run in runs {
        let (least, most) = match (end, run.gap) {
            (None, _) => (run.first, run.first + beside),
            (Some(end), Some((len, uncertainty, _))) => (
                (end + len).saturating_sub(uncertainty),
                end + len + uncertainty,
            ),
            (Some(_), None) => return Some("a run without a gap".to_owned()),
        };
        let Some(at) = (least..=most).find(|at| is_at(run, *at)) else {
            let anywhere = visit.sent.keys().find(|at| is_at(run, **at));
            return Some(format!(
                "{} samples at {} are not what was sent at {least} to {most}, but at {anywhere:?}",
                run.values.len(),
                run.first
            ));
        };
        if let (Some(end), Some((len, uncertainty, says_away))) = (end, run.gap) {
            let left_out = wide(visit.sent.range(end..at).count());
            // what stands before noise may be refused with it, and a clock that jumps while it is not
            // known how late its first frames are may hide a loss, which is then no more than possible
            let is_possible = len <= uncertainty;
            let is_beside = |one: &Entry| match one {
                Entry::Garbage { i, .. } => (end..=at).contains(i),
                Entry::Clock { i, .. } => is_possible && (end..=at).contains(i),
                _ => false,
            };
            if left_out == at - end && !visit.told.iter().any(is_beside) {
                return Some(format!("nothing was lost from {end} to {at}"));
            }
            if left_out > beside {
                return Some(format!(
                    "{left_out} that were heard are not there before {at}"
                ));
            }
            let was_away = causes(visit, end, at);
            if was_away.is_some_and(|was_away| was_away != says_away) {
                return Some(format!("the gap from {end} to {at} has another cause"));
            }
        }
        end = Some(at + wide(run.values.len()));
    }
    let left_out = wide(visit.sent.range(end?..).count());
    (left_out > beside).then(|| format!("{left_out} that were heard at the end are not there"))
}

/// All that was sent is there in its order, and the gaps are together as long as what was lost.
fn in_order(visit: &Visit, runs: &[Run]) -> Option<String> {
    let sent: Vec<(u64, i32)> = visit.sent.iter().map(|(i, value)| (*i, *value)).collect();
    let mut at = 0;
    let (mut left_out, mut first) = (0, None);
    for (number, value) in runs.iter().flat_map(|run| &run.values).enumerate() {
        while sent.get(at).is_some_and(|(_, sent)| sent != value) {
            at += 1;
            left_out += u64::from(first.is_some());
        }
        let Some((i, _)) = sent.get(at) else {
            return Some(format!("recorded sample {number} was never sent"));
        };
        first.get_or_insert(*i);
        at += 1;
    }
    let end = sent.get(at.saturating_sub(1))?.0 + 1;
    let lost = end - first? - runs.iter().map(|run| wide(run.values.len())).sum::<u64>();
    let told: u64 = runs.iter().filter_map(|run| run.gap).map(|gap| gap.0).sum();
    let slack: u64 = runs.iter().filter_map(|run| run.gap).map(|gap| gap.1).sum();
    let slack = slack + span(visit, TIMED_US);
    if left_out > span(visit, BESIDE_US) * 3 {
        return Some(format!("{left_out} that were heard are not there"));
    }
    (told.abs_diff(lost) > slack).then(|| format!("gaps of {told}, but {lost} were lost"))
}
