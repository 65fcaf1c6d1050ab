//! A device that must be asked: an answer holds all that was taken since the one before, up to its
//! question. So the question and the arrival of its answer bracket the instant of its last sample, and
//! each answer tells by itself, at once and in its place, what is missing before it, to within the time
//! that answers are under way. A question that nobody hears takes nothing away: its samples wait for
//! the next one.
//!
//! What cannot be known: a loss that is shorter than answers are under way, and whether a device whose
//! memory was full dropped the oldest samples or the newest; the gap is placed before those that came.

use super::{Gap, GapCause, Placement, SampleCount, SampleIndex, Timeline};
use crate::clock::BoxInstant;
use crate::rate::SamplingRate;

/// How old the newest sample of an answer may be: what a device takes together, in microseconds.
const STALE_US: u64 = 100_000;
/// What must be missing for sure to be said, in microseconds: less is a device that takes more together.
const LEAST_US: i64 = 100_000;
/// How far the device's rate may be from the nominal one: one part in so many (25 000 ppm).
const RATE_SHARE: u64 = 40;

/// Between which bounds the samples of a time line were taken: what is to be added to their nominal
/// instants, in microseconds of the box's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bracket {
    rate: SamplingRate,
    known: Option<Bounds>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    least: i64,
    most: i64,
    at: BoxInstant,
}

impl Bounds {
    fn middle(&self) -> i64 {
        self.least.midpoint(self.most)
    }

    /// Whether more time has passed than the samples between account for.
    fn is_behind(&self, known: &Self) -> bool {
        self.least - known.most >= LEAST_US
    }

    fn half(&self) -> i64 {
        (self.most - self.least) / 2
    }
}

impl Bracket {
    pub(super) const fn new(rate: SamplingRate) -> Self {
        Self { rate, known: None }
    }

    /// The bounds that an answer which ends at `end` tells, and what those before it allow by then.
    fn meet(
        &self,
        end: SampleIndex,
        asked: BoxInstant,
        arrival: BoxInstant,
    ) -> (Bounds, Option<Bounds>) {
        let due = signed(self.rate.micros_at(end));
        let told = Bounds {
            least: signed(asked.micros.saturating_sub(STALE_US)) - due,
            most: signed(arrival.micros.max(asked.micros)) - due,
            at: arrival,
        };
        let known = self.known.and_then(|known| {
            let drift = signed(arrival.micros_since(&known.at)? / RATE_SHARE);
            Some(Bounds {
                least: known.least - drift,
                most: known.most + drift,
                at: arrival,
            })
        });
        (told, known)
    }

    /// Takes an answer that ends at `end`; samples that are missing before it, and how far that may
    /// be wrong.
    fn take(
        &mut self,
        end: SampleIndex,
        asked: BoxInstant,
        arrival: BoxInstant,
    ) -> Option<(SampleCount, SampleCount)> {
        let (told, known) = self.meet(end, asked, arrival);
        let Some(known) = known else {
            self.known = Some(told);
            return None;
        };
        if !told.is_behind(&known) {
            // a stale answer says nothing of when it was taken; none is there before it was
            let most = known.most.min(told.most);
            let least = known.least.max(told.least).min(most);
            self.known = Some(Bounds {
                least,
                most,
                ..told
            });
            return None;
        }
        let missing = told.middle() - known.middle();
        let uncertain = told.half() + known.half();
        let count = |micros: i64| self.rate.count_in_micros(micros.unsigned_abs());
        let len = SampleCount(count(missing).0.max(1));
        let moved = signed(self.rate.micros_at(SampleIndex(len.0)));
        self.known = Some(Bounds {
            least: told.least - moved,
            most: told.most - moved,
            ..told
        });
        Some((len, SampleCount(count(uncertain).0.max(1))))
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

impl Timeline {
    /// Places the samples of an answer to a question that went out at `asked`, and that came at
    /// `arrival`: all that the device took since its answer before.
    pub fn place_asked(
        &mut self,
        samples: SampleCount,
        asked: BoxInstant,
        arrival: BoxInstant,
    ) -> Placement {
        self.backlog = SampleCount(self.backlog.0.saturating_sub(samples.0));
        let end = self.next.after(samples);
        let missing = self.asked.take(end, asked, arrival);
        let gap = missing.map(|(len, uncertainty)| Gap {
            from: self.next,
            len,
            uncertainty,
            cause: GapCause::FewerThanTime,
        });
        if gap.is_some() {
            self.pace.settle();
        }
        self.accept(None, samples, arrival, gap)
    }

    /// Whether an answer of `samples` to a question that went out at `asked` holds all that was taken
    /// since the answer before, though the device was silent meanwhile.
    pub fn asked_goes_on(
        &self,
        samples: SampleCount,
        asked: BoxInstant,
        arrival: BoxInstant,
    ) -> bool {
        let end = self.next.after(samples);
        let (told, known) = self.asked.meet(end, asked, arrival);
        known.is_some_and(|known| !told.is_behind(&known))
    }

    /// Says that what is placed next answers a question that went out at `asked`: so late it can be
    /// at most.
    pub const fn note_asked(&mut self, asked: BoxInstant) {
        self.note_taken_since(asked.minus_micros(STALE_US));
    }
}
