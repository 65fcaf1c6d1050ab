//! Frames that carry a counter and a time of the device's clock: each is the other's witness, and
//! the time of arrival judges between them.
//!
//! - Both agree: the counter says to the frame what is missing, and the clock how many whole turns.
//! - They do not, and the counter agrees with the time of arrival, or follows on: the clock jumped,
//!   however little, and nothing is missing but what is not counted.
//! - They do not, and the clock goes on: the device has started anew, and the clock says for how long
//!   it was away.
//! - Neither agrees with the time of arrival: the device has started anew, and the time of arrival
//!   says for how long it was away.
//!
//! What cannot be known: a device that starts anew, has lost its time, and takes up its counter
//! just where it stood looks like one whose time was set. Only at the counter's first value is that
//! likely, and only there it is taken for a restart. A clock that is set by less than a sample and a
//! half and a twentieth of a frame goes unnoticed; nothing rests on it.

use super::{BACK_FRAMES_MAX, Placement, SampleCount, SampleIndex, Step, Timeline};
use crate::clock::BoxInstant;
use crate::gap::{Gap, GapCause};

impl Timeline {
    /// Places the samples of one frame with the counter `seq`, whose last sample the device took
    /// at `nanos` of its own clock.
    pub fn place_counted_ticks(
        &mut self,
        seq: u32,
        nanos: u64,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        let Some(modulus) = self.modulus else {
            return self.place_ticks(nanos, samples, arrival);
        };
        self.backlog = SampleCount(self.backlog.0.saturating_sub(samples.0));
        let seq = seq % modulus;
        let ahead = self.frames_ahead(seq, modulus);
        if ahead.is_some_and(|ahead| self.was_before(nanos, ahead, modulus, samples)) {
            let is_last = self.ticks.behind(nanos) == Some(0);
            return self.refuse_as(if is_last { Step::Again } else { Step::Back }, seq);
        }
        let late_us = self.pace.first_late_us(arrival);
        let step = self.ticks.step(nanos, samples.0, arrival, late_us);
        let Some(ahead) = ahead else {
            return self.accept(Some((seq, modulus)), samples, arrival, None);
        };
        if let Step::Again | Step::Back = step {
            self.ticks.begin_anew(nanos, samples.0, arrival);
        }
        let by_clock = match step {
            Step::Follows {
                missing,
                uncertainty,
            }
            | Step::Doubtful {
                missing,
                uncertainty,
            } => Some((missing, uncertainty)),
            _ => None,
        };
        let agreed = by_clock.and_then(|(missing, uncertainty)| {
            agreed(ahead, modulus, samples, missing, uncertainty)
        });
        if let Some(missing) = agreed {
            return self.go_on(seq, modulus, missing, samples, arrival);
        }
        let late = self.late_frames(samples, arrival);
        let is_due = (late - i128::from(ahead)).abs() <= 1;
        if is_due || (ahead == 0 && seq != 0) {
            self.counts.clock_resets = self.counts.clock_resets.saturating_add(1);
            if by_clock.is_some() {
                self.ticks.begin_anew(nanos, samples.0, arrival);
            }
            let counted = ahead.saturating_mul(samples.0);
            return self.go_on(seq, modulus, counted, samples, arrival);
        }
        let absence = match by_clock {
            Some((missing, uncertainty)) => (SampleCount(missing), SampleCount(uncertainty.max(1))),
            None => {
                self.counts.clock_resets = self.counts.clock_resets.saturating_add(1);
                self.absence_by_arrival(samples, arrival)
            }
        };
        self.begin_anew(seq, modulus, absence, samples, arrival)
    }

    /// How long the device was away, where its clock does not say.
    fn absence_by_arrival(
        &self,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> (SampleCount, SampleCount) {
        let waited = self.rate.micros_at(SampleIndex(self.backlog.0));
        let came = arrival.minus_micros(waited);
        self.gap_until(GapCause::SourceLost, samples, came)
            .map_or((SampleCount(1), SampleCount(1)), |gap| {
                (gap.len, gap.uncertainty)
            })
    }

    /// Whether counter and clock agree that this frame belongs before the last one, or is it.
    fn was_before(&self, nanos: u64, ahead: u64, modulus: u32, samples: SampleCount) -> bool {
        let back = u64::from(modulus).saturating_sub(ahead);
        let frame_ns = self.frame_us(samples).saturating_mul(1000);
        let by_counter = back.saturating_sub(1).saturating_mul(frame_ns);
        let agree = |behind: u64| behind.abs_diff(by_counter) <= frame_ns / 2;
        back <= u64::from(BACK_FRAMES_MAX) && self.ticks.behind(nanos).is_some_and(agree)
    }

    pub(super) const fn refuse_as(&mut self, step: Step, seq: u32) -> Placement {
        if matches!(step, Step::Again) {
            self.counts.repeated_frames = self.counts.repeated_frames.saturating_add(1);
            return Placement::Repeated { seq };
        }
        self.counts.late_frames = self.counts.late_frames.saturating_add(1);
        Placement::Late { seq }
    }

    /// The counter goes on, `missing` samples further.
    fn go_on(
        &mut self,
        seq: u32,
        modulus: u32,
        missing: u64,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        let frames = missing / samples.0.max(1);
        let gap = (frames > 0).then(|| self.miss(frames, samples, SampleCount(0)));
        self.accept(Some((seq, modulus)), samples, arrival, gap)
    }

    /// The counter begins anew behind an absence.
    fn begin_anew(
        &mut self,
        seq: u32,
        modulus: u32,
        (len, uncertainty): (SampleCount, SampleCount),
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        self.frames = 0;
        self.frame_gaps.clear();
        let gap = Gap {
            from: self.next,
            len,
            uncertainty,
            cause: GapCause::SourceLost,
        };
        let gap = Some(gap).filter(|gap| gap.len.0 > 0);
        self.accept(Some((seq, modulus)), samples, arrival, gap)
    }
}

/// Samples that are missing where counter and clock agree: as many as the counter is ahead, and whole
/// turns of it, of which the clock tells the number.
fn agreed(
    ahead: u64,
    modulus: u32,
    samples: SampleCount,
    missing: u64,
    uncertainty: u64,
) -> Option<u64> {
    let turn = u64::from(modulus).saturating_mul(samples.0).max(1);
    let counted = ahead.saturating_mul(samples.0);
    let turns = (missing.saturating_add(turn / 2).saturating_sub(counted)) / turn;
    let counted = counted.saturating_add(turns.saturating_mul(turn));
    let slack = uncertainty.saturating_add(samples.0 / 2);
    (counted.abs_diff(missing) <= slack).then_some(counted)
}
