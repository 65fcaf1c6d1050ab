//! What a heart-rate strap told, held against the ledger of the beats that it saw.
//!
//! A strap sends no samples: what is demanded is that every value which came is recorded once and
//! in order with the intervals of its beats, a repeated one as often as it came, and nothing else;
//! that each lies where it was told, to within the second that a telling speaks of; and that a
//! silence in which something may be missing is a gap of its length and cause.

use std::collections::BTreeSet;

use cardio_agent::pipeline::Captured;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::{SkinContact, ToldRate};
use cardio_core::quality::QualityCause;
use cardio_firmware_sim::ledger::Entry;

use crate::visit::Visit;
use crate::wide;

/// What one telling speaks of, in 1/1024 s.
const SECOND: u64 = 1024;
/// So long a silence between two tellings is no gap: one may be late, two are not.
const SILENCE: u64 = 3 * SECOND;

/// A value that the box heard, by the ledger.
#[derive(Debug)]
enum Heard {
    /// The second that begins there; again, if it is a repeat.
    Second(u64),
    /// Stray bytes, which may look like a value.
    Noise,
}

/// What the box made of the strap.
#[derive(Debug)]
struct Kept {
    at: u64,
    told: ToldRate,
    /// The gap before it.
    gap: Option<Gap>,
}

/// Why record and ledger do not agree, if they do not.
pub(crate) fn disagreement(visit: &Visit) -> Option<String> {
    let kept = match kept(visit) {
        Ok(kept) => kept,
        Err(why) => return Some(why),
    };
    let heard = heard(visit);
    let mut pairs = Vec::new();
    let mut left = kept.iter().peekable();
    // whether noise that looks like a value ended a gap since the last value
    let mut is_split = false;
    for one in &heard {
        match one {
            Heard::Second(from) => {
                let Some(kept) = left.next() else {
                    return Some(format!("the second at {from} was heard and is not there"));
                };
                if let Err(why) = holds(visit, *from, &kept.told) {
                    return Some(why);
                }
                pairs.push((*from, kept, std::mem::take(&mut is_split)));
            }
            // noise counts where it is not what the ledger says comes next, or where that comes again
            // behind it and there is more than was sent
            Heard::Noise => {
                let next = behind(&heard, one).next();
                let is_next =
                    |kept: &&Kept| next.is_some_and(|from| holds(visit, from, &kept.told).is_ok());
                let is_more = left.len() > behind(&heard, one).count();
                let comes_again = is_more && left.clone().nth(1).is_some_and(|kept| is_next(&kept));
                let noise = left.next_if(|kept| comes_again || !is_next(kept));
                is_split |= noise.is_some_and(|noise| noise.gap.is_some());
            }
        }
    }
    if let Some(more) = left.next() {
        return Some(format!("{more:?} was never sent"));
    }
    if pairs.is_empty() {
        return Some("nothing was recorded".to_owned());
    }
    pairs
        .array_windows()
        .find_map(|[before, after]| of_silence(visit, before, after))
        .or_else(|| of_contact(visit, &kept))
}

/// The seconds that follow noise.
fn behind(heard: &[Heard], noise: &Heard) -> impl Iterator<Item = u64> {
    let behind = heard.iter().skip_while(|one| !std::ptr::eq(*one, noise));
    behind.filter_map(|one| match one {
        Heard::Second(from) => Some(*from),
        Heard::Noise => None,
    })
}

fn kept(visit: &Visit) -> Result<Vec<Kept>, String> {
    let (mut kept, mut gap, mut next) = (Vec::new(), None, 0);
    for captured in &visit.captured {
        match captured {
            Captured::Rates(stretch) => {
                if stretch.first.0 != next {
                    return Err(format!("{} follows {next}", stretch.first.0));
                }
                next = stretch.first.0 + stretch.len.0;
                for (behind, told) in &stretch.told {
                    let (at, told) = (stretch.first.0 + behind.0, told.clone());
                    let gap = gap.take();
                    kept.push(Kept { at, told, gap });
                }
            }
            Captured::Gap { gap: found, .. } => {
                next = found.end().0;
                gap = Some(*found);
            }
            _ => {}
        }
    }
    Ok(kept)
}

/// What reached the box, in its order.
fn heard(visit: &Visit) -> Vec<Heard> {
    let mut all: Vec<(u64, u8)> = visit
        .sent
        .keys()
        .filter(|i| **i % SECOND == 0)
        .map(|i| (*i, 1))
        .collect();
    all.extend(visit.told.iter().filter_map(|one| match one {
        Entry::Garbage { i, .. } => Some((*i, 0)),
        Entry::Repeat { i } => Some((*i, 2)),
        _ => None,
    }));
    all.sort_unstable();
    let value = |(i, kind)| match kind {
        0 => Heard::Noise,
        _ => Heard::Second(i),
    };
    all.into_iter().map(value).collect()
}

/// Whether a telling is what the strap saw in the second that begins at `from`.
fn holds(visit: &Visit, from: u64, told: &ToldRate) -> Result<(), String> {
    let off_now = is_off(visit, from);
    if (told.contact == SkinContact::Off) != off_now {
        return Err(format!("at {from} contact is told as {:?}", told.contact));
    }
    let marked: BTreeSet<u64> = visit.beats.range(..from + SECOND).copied().collect();
    let seen: Vec<u64> = marked.range(from..).copied().collect();
    let before = marked.range(..from).next_back().copied();
    let between = |one: u64, next: u64| u16::try_from(next - one).unwrap();
    let inner: Vec<u16> = seen.array_windows().map(|[a, b]| between(*a, *b)).collect();
    // an interval that began where the strap saw nothing, or may have, is none
    let all: Option<Vec<u16>> = seen.first().zip(before).map(|(first, before)| {
        let leading = std::iter::once(between(before, *first));
        leading.chain(inner.iter().copied()).collect()
    });
    let was_seen = before.is_some_and(|beat| {
        let second = beat / SECOND * SECOND;
        let mut seconds = (second..from).step_by(1024);
        seconds.all(|at| visit.sent.contains_key(&at) && !is_off(visit, at))
    });
    let is_as_sent = match (off_now, &all) {
        (true, _) => told.rr.is_empty(),
        (false, Some(all)) if was_seen => told.rr == *all,
        (false, Some(all)) => told.rr == *all || told.rr == inner,
        (false, None) => told.rr == inner,
    };
    if is_as_sent {
        return Ok(());
    }
    Err(format!(
        "at {from} the intervals are {:?}, and beats were at {seen:?}, {before:?} before",
        told.rr
    ))
}

/// Whether the strap has no contact in a second, as far as the script goes.
fn is_off(visit: &Visit, second: u64) -> bool {
    visit.told.iter().any(|one| match one {
        Entry::Signal { from, len, .. } => (*from..from + len).contains(&second),
        _ => false,
    })
}

/// Whether anything was said to be missing between two tellings, and rightly.
fn of_silence(
    visit: &Visit,
    (before, kept_before, _): &(u64, &Kept, bool),
    (after, kept, is_split): &(u64, &Kept, bool),
) -> Option<String> {
    let silent = after - before;
    let moved = kept.at - kept_before.at;
    let wrong = moved.abs_diff(silent);
    // late as a stall lets them be, and the second that is not known
    if wrong > 2 * SECOND {
        return Some(format!("{after} is {moved} behind {before}"));
    }
    if *is_split {
        // the gap before the noise says so; what lies behind it may be too short for another
        return None;
    }
    let meets = |one: &&crate::visit::Deaf| one.is_away && (*before..*after).contains(&one.from);
    let was_away = visit.deaf.iter().any(|one| meets(&one));
    let Some(gap) = kept.gap else {
        let is_long = was_away || silent > SILENCE + SECOND;
        return is_long.then(|| format!("nothing is said of the silence from {before} to {after}"));
    };
    if silent <= SECOND {
        return Some(format!(
            "nothing was lost from {before} to {after}: {gap:?}"
        ));
    }
    let missing = silent - SECOND;
    if gap.len.0.abs_diff(missing) > gap.uncertainty.0 {
        return Some(format!("{missing} were missing before {after}: {gap:?}"));
    }
    let says_away = gap.cause == GapCause::SourceLost;
    // who is silent for longer than the box waits is lost too
    let is_lost = match silent {
        _ if was_away => Some(true),
        SILENCE => None,
        silent => Some(silent > SILENCE),
    };
    let is_another = is_lost.is_some_and(|is_lost| is_lost != says_away);
    is_another.then(|| format!("the gap before {after} has another cause: {gap:?}"))
}

/// Every telling is judged, and the lack of contact is said of those without it and of no other.
fn of_contact(visit: &Visit, kept: &[Kept]) -> Option<String> {
    let judged: Vec<bool> = visit
        .captured
        .iter()
        .filter_map(|one| match one {
            Captured::Assessment(one) => Some(&one.quality.overall.causes),
            _ => None,
        })
        .map(|causes| causes.contains(&QualityCause::LeadOff))
        .collect();
    let told: Vec<bool> = kept
        .iter()
        .map(|one| one.told.contact == SkinContact::Off)
        .collect();
    (judged != told).then(|| {
        let (judged, told) = (wide(judged.len()), wide(told.len()));
        format!("{told} were told, {judged} judged, not all by their contact")
    })
}
