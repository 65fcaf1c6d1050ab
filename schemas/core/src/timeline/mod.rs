//! Placing frames in time: the index of every sample, and every absence as a gap.
//!
//! - A counter proves how many frames are missing, up to whole turns of the counter; turns
//!   are told by arrival time. A counter that follows on proves nothing missing: a burst
//!   after a stall looks like lost turns at first, so these are told once the pace afterwards
//!   stays behind. A counter that turns faster than arrivals can be told apart proves less:
//!   its gaps are uncertain by a turn, and whole turns show as without counter.
//! - A time stamp proves how many samples are missing, to within its resolution; a device
//!   clock that jumps is a new time line, not a gap of years, nor one of a second (`ticks`).
//! - A counter and a time stamp together also tell a device that started anew (`witness`).
//! - Without counter and time stamp, a loss shows only as fewer samples than time demands:
//!   it is reported within a second and a half after it happened, at the place where it is
//!   noticed, with an uncertainty.
//! - A device that must be asked brackets what it took: each answer tells by itself what is
//!   missing before it (`asked`).
//! - Repeated frames and frames that come after their place was given up are not placed;
//!   both are counted.
//! - An index once given never changes.
//!
//! Deliberately absent: reading a clock, and any use of the sample values.

mod asked;
mod pace;
mod ticks;
mod witness;

use std::collections::VecDeque;

use crate::clock::BoxInstant;
use crate::device::IntegrityClass;
use crate::gap::{Gap, GapCause};
use crate::index::{SampleCount, SampleIndex};
use crate::rate::SamplingRate;

use asked::Bracket;
pub use pace::Drift;
use pace::Pace;
use ticks::{Step, Ticks};

/// Steps back of a counter that are taken for repeats or late frames, at most.
const BACK_FRAMES_MAX: u32 = 32;
/// Shares of a frame, and microseconds, by which the edge of the lateness must rise for good
/// before a source without counter is said to have lost samples.
const STEP_FRAMES: (u64, u64) = (3, 5);
const STEP_MIN_US: i64 = 30_000;
/// Shortest turn of a counter that one arrival can tell from a delay.
const TURN_TOLD_US: u64 = 200_000;
/// Gaps kept to tell a late frame from a repeated one.
const GAPS_KEPT: usize = 16;

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Its samples start at `first`; when samples are missing just before, `gap` says so.
    Block {
        /// The instant of the frame's first sample.
        first: SampleIndex,
        /// What is missing between the frame before and this one.
        gap: Option<Gap>,
    },
    /// The frame was placed already: to be dropped.
    Repeated {
        /// Its counter, or the low bits of its time stamp.
        seq: u32,
    },
    /// The frame belongs into a gap that was already reported: to be dropped.
    Late {
        /// Its counter, or the low bits of its time stamp.
        seq: u32,
    },
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimelineCounts {
    /// Samples placed, per lead.
    pub samples: SampleCount,
    /// Gaps reported.
    pub gaps: u64,
    /// Samples in those gaps.
    pub missing: SampleCount,
    /// Frames that came again.
    pub repeated_frames: u64,
    /// Frames that came after their place was given up.
    pub late_frames: u64,
    /// Times that the device's clock jumped and began a new time line.
    pub clock_resets: u64,
}

/// The time line of one source.
#[derive(Clone, Debug)]
pub struct Timeline {
    rate: SamplingRate,
    integrity: IntegrityClass,
    modulus: Option<u32>,
    next: SampleIndex,
    expected: Option<u32>,
    /// Frames since the counter was last taken up, missing ones included.
    frames: u64,
    frame_gaps: VecDeque<(u64, u64)>,
    pace: Pace,
    ticks: Ticks,
    asked: Bracket,
    backlog: SampleCount,
    counts: TimelineCounts,
}

impl Timeline {
    /// A time line whose next sample is `start`. `modulus` is the number of values of the
    /// frame counter.
    pub fn new(
        rate: SamplingRate,
        integrity: IntegrityClass,
        modulus: Option<u32>,
        start: SampleIndex,
    ) -> Self {
        Self {
            rate,
            integrity,
            modulus: modulus.filter(|modulus| *modulus > 1),
            next: start,
            expected: None,
            frames: 0,
            frame_gaps: VecDeque::new(),
            pace: Pace::new(rate),
            ticks: Ticks::new(rate),
            asked: Bracket::new(rate),
            backlog: SampleCount(0),
            counts: TimelineCounts::default(),
        }
    }

    /// Says how many samples per lead came in the same read, before they are placed. Samples
    /// that waited together prove that a silence was delay and not loss.
    pub const fn note_backlog(&mut self, samples: SampleCount) {
        self.backlog = samples;
    }

    /// Says that nothing of the present stream was taken before `since`, because the source was
    /// asked for it then or its link began. It bounds how late the first frame can be, where it
    /// begins the time line or goes on behind an absence.
    pub const fn note_taken_since(&mut self, since: BoxInstant) {
        self.pace.note_taken_since(since);
    }

    /// Places the samples of one frame that came at `arrival`.
    pub fn place(
        &mut self,
        seq: Option<u32>,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        self.backlog = SampleCount(self.backlog.0.saturating_sub(samples.0));
        match (seq, self.modulus) {
            (Some(seq), Some(modulus)) => {
                self.place_counted(seq % modulus, modulus, samples, arrival)
            }
            _ => self.place_by_time(samples, arrival),
        }
    }

    /// Places the samples of one frame whose last sample the device took at `nanos` of its
    /// own clock. A clock that jumps is a new time line: what is missing is then told by
    /// arrival.
    pub fn place_ticks(
        &mut self,
        nanos: u64,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        self.backlog = SampleCount(self.backlog.0.saturating_sub(samples.0));
        let seq = u32::try_from(nanos & u64::from(u32::MAX)).unwrap_or(0);
        let late_us = self.pace.first_late_us(arrival);
        match self.ticks.step(nanos, samples.0, arrival, late_us) {
            step @ (Step::Again | Step::Back) => self.refuse_as(step, seq),
            Step::Follows {
                missing: 0,
                uncertainty: _,
            } => self.accept(None, samples, arrival, None),
            Step::Follows {
                missing,
                uncertainty,
            } => {
                let gap = Gap {
                    from: self.next,
                    len: SampleCount(missing),
                    uncertainty: SampleCount(uncertainty),
                    cause: GapCause::FramesLost,
                };
                self.accept(None, samples, arrival, Some(gap))
            }
            Step::Doubtful {
                missing,
                uncertainty,
            } => {
                self.counts.clock_resets = self.counts.clock_resets.saturating_add(1);
                // from none to all of them
                let half = SampleCount(missing.saturating_add(uncertainty).div_ceil(2));
                let gap = Gap {
                    from: self.next,
                    len: half,
                    uncertainty: half,
                    cause: GapCause::FramesLost,
                };
                self.accept(None, samples, arrival, Some(gap))
            }
            Step::First => self.accept(None, samples, arrival, None),
            Step::Anew => {
                self.counts.clock_resets = self.counts.clock_resets.saturating_add(1);
                let gap = self.gap_until(GapCause::FewerThanTime, samples, arrival);
                let told = gap.filter(|gap| gap.len > gap.uncertainty);
                if told.is_some() {
                    self.pace = Pace::new(self.rate);
                }
                self.accept(None, samples, arrival, told)
            }
        }
    }

    /// Whether, after an absence, a frame whose last sample the device took at `nanos` of its own
    /// clock goes on with the time line of the frames before it, so that [`Timeline::place_ticks`] can tell
    /// what is missing between, however long the source was away.
    pub fn ticks_go_on(&mut self, nanos: u64, arrival: BoxInstant) -> bool {
        let late_us = self.pace.first_late_us(arrival);
        self.ticks.goes_on(nanos, arrival, late_us)
    }

    fn place_counted(
        &mut self,
        seq: u32,
        modulus: u32,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Placement {
        let Some(ahead) = self.frames_ahead(seq, modulus) else {
            return self.accept(Some((seq, modulus)), samples, arrival, None);
        };
        let late = self.late_frames(samples, arrival);
        if self.is_step_back(ahead, modulus) && late.saturating_mul(2) < i128::from(ahead) {
            return self.refuse(seq, u64::from(modulus) - ahead);
        }
        if ahead == 0 {
            let gap = self.lasting_turns(modulus, samples, arrival);
            return self.accept(Some((seq, modulus)), samples, arrival, gap);
        }
        let turns = self.missing_turns(ahead, modulus, late, samples, arrival);
        let missing = ahead + turns * u64::from(modulus);
        let uncertainty = if self.tells_turns(modulus, samples) {
            SampleCount(0)
        } else {
            SampleCount(u64::from(modulus).saturating_mul(samples.0))
        };
        let gap = self.miss(missing, samples, uncertainty);
        self.accept(Some((seq, modulus)), samples, arrival, Some(gap))
    }

    /// Frames by which a counter is ahead of the one that was expected, within a turn.
    fn frames_ahead(&self, seq: u32, modulus: u32) -> Option<u64> {
        let (seq, modulus) = (u64::from(seq), u64::from(modulus));
        self.expected
            .map(|expected| (seq + modulus - u64::from(expected)) % modulus)
    }

    /// Whether a counter so far ahead can be one that was seen just before.
    fn is_step_back(&self, ahead: u64, modulus: u32) -> bool {
        let back_max = u64::from(BACK_FRAMES_MAX.min(modulus / 4)).min(self.frames);
        ahead > 0 && u64::from(modulus).saturating_sub(ahead) <= back_max
    }

    /// Takes note of frames that the counter says are missing.
    fn miss(&mut self, frames: u64, samples: SampleCount, uncertainty: SampleCount) -> Gap {
        self.frame_gaps.push_back((self.frames, frames));
        if self.frame_gaps.len() > GAPS_KEPT {
            self.frame_gaps.pop_front();
        }
        self.frames = self.frames.saturating_add(frames);
        Gap {
            from: self.next,
            len: SampleCount(frames.saturating_mul(samples.0)),
            uncertainty,
            cause: GapCause::FramesLost,
        }
    }

    /// Frames by which this one is later than if nothing were missing, without the delay
    /// that the backlog explains.
    fn late_frames(&self, samples: SampleCount, arrival: BoxInstant) -> i128 {
        let lateness = self.pace.lateness_us(self.next.after(samples), arrival);
        let waited = SampleIndex(self.backlog.0);
        let explained = i128::from(self.rate.micros_at(waited));
        (i128::from(lateness) - explained) / i128::from(self.frame_us(samples))
    }

    fn frame_us(&self, samples: SampleCount) -> u64 {
        self.rate.micros_at(SampleIndex(samples.0)).max(1)
    }

    /// Whole turns of the counter that are missing besides `ahead` frames. Both the lateness
    /// and the silence before this frame must be long enough for them.
    fn missing_turns(
        &self,
        ahead: u64,
        modulus: u32,
        late: i128,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> u64 {
        if !self.tells_turns(modulus, samples) {
            return 0;
        }
        let turn = i128::from(modulus);
        let silence = i128::from(self.pace.silence_us(arrival) / self.frame_us(samples));
        let by_lateness = (late - i128::from(ahead) + turn / 10) / turn;
        let by_silence = (silence * 5 / 4 - i128::from(ahead)) / turn;
        u64::try_from(by_lateness.min(by_silence)).unwrap_or(0)
    }

    fn tells_turns(&self, modulus: u32, samples: SampleCount) -> bool {
        let turn_us = self.frame_us(samples).saturating_mul(u64::from(modulus));
        turn_us >= TURN_TOLD_US
    }

    /// Whole turns of a counter that have gone missing for good, as a gap, though the counter
    /// follows on.
    fn lasting_turns(
        &mut self,
        modulus: u32,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Option<Gap> {
        let turn = SampleCount(u64::from(modulus).saturating_mul(samples.0));
        let turn_us = self.frame_us(turn);
        let share = turn_us.saturating_mul(STEP_FRAMES.0) / STEP_FRAMES.1;
        let step_us = i64::try_from(share).unwrap_or(i64::MAX).max(STEP_MIN_US);
        let end = self.next.after(samples);
        let risen = self.pace.observe(end, arrival, step_us)?;
        let risen = u64::try_from(risen).ok()?;
        let turns = risen.saturating_add(turn_us / 2) / turn_us;
        self.pace.settle();
        Some(Gap {
            from: self.next,
            len: SampleCount(turns.max(1).saturating_mul(turn.0)),
            uncertainty: turn,
            cause: GapCause::FewerThanTime,
        })
    }

    fn refuse(&mut self, seq: u32, back: u64) -> Placement {
        let place = self.frames.saturating_sub(back);
        let in_gap = self
            .frame_gaps
            .iter()
            .any(|(from, len)| (*from..from.saturating_add(*len)).contains(&place));
        if in_gap {
            self.counts.late_frames = self.counts.late_frames.saturating_add(1);
            Placement::Late { seq }
        } else {
            self.counts.repeated_frames = self.counts.repeated_frames.saturating_add(1);
            Placement::Repeated { seq }
        }
    }

    fn place_by_time(&mut self, samples: SampleCount, arrival: BoxInstant) -> Placement {
        if self.integrity != IntegrityClass::Uncounted {
            return self.accept(None, samples, arrival, None);
        }
        let frame_us = self.frame_us(samples);
        let share = frame_us.saturating_mul(STEP_FRAMES.0) / STEP_FRAMES.1;
        let step_us = i64::try_from(share).unwrap_or(i64::MAX).max(STEP_MIN_US);
        let risen = self
            .pace
            .observe(self.next.after(samples), arrival, step_us)
            .and_then(|risen| u64::try_from(risen).ok());
        let gap = risen.map(|risen| {
            // Whole frames are lost, never parts.
            let frames = risen.saturating_add(frame_us / 2) / frame_us;
            self.pace.settle();
            Gap {
                from: self.next,
                len: SampleCount(frames.max(1).saturating_mul(samples.0)),
                uncertainty: samples,
                cause: GapCause::FewerThanTime,
            }
        });
        self.accept(None, samples, arrival, gap)
    }

    fn accept(
        &mut self,
        seq: Option<(u32, u32)>,
        samples: SampleCount,
        arrival: BoxInstant,
        gap: Option<Gap>,
    ) -> Placement {
        let first = gap.map_or(self.next, |gap| gap.end());
        self.next = first.after(samples);
        if let Some((seq, modulus)) = seq {
            self.expected = Some((seq + 1) % modulus);
            self.frames = self.frames.saturating_add(1);
        }
        // Observing the same samples again changes nothing.
        self.pace.observe(self.next, arrival, i64::MAX);
        self.pace.forget_start();
        self.counts.samples.0 = self.counts.samples.0.saturating_add(samples.0);
        if let Some(gap) = gap {
            self.count_gap(gap);
        }
        Placement::Block { first, gap }
    }

    const fn count_gap(&mut self, gap: Gap) {
        self.counts.gaps = self.counts.gaps.saturating_add(1);
        self.counts.missing.0 = self.counts.missing.0.saturating_add(gap.len.0);
    }

    /// The gap from the last sample to a frame of `samples` that came at `arrival`, after
    /// the source was away. `None` when the box restarted in between: then the caller knows
    /// the length from elsewhere. At least one sample long, because continuity cannot be
    /// claimed.
    pub fn gap_until(
        &self,
        cause: GapCause,
        samples: SampleCount,
        arrival: BoxInstant,
    ) -> Option<Gap> {
        let due = self.pace.due(self.next)?;
        let away_us = match arrival.micros_since(&due) {
            Some(away) => away,
            None if arrival.boot == due.boot => 0,
            None => return None,
        };
        let away = self.rate.count_in_micros(away_us);
        // The one frame that tells when the source was back may be as late as any before it, or
        // have waited ever since it could be taken. That the edge was too late itself is beside it.
        let usual_us = self.pace.usual_delay_us().saturating_mul(4);
        let worst_us = self.pace.worst_delay_us().saturating_mul(2);
        let first_us = self.pace.first_late_us(arrival);
        let uncertain_us = usual_us.max(worst_us).max(first_us).max(20_000);
        let uncertain_us = uncertain_us.saturating_add(self.pace.slack_us());
        Some(Gap {
            from: self.next,
            len: SampleCount(away.0.saturating_sub(samples.0).max(1)),
            uncertainty: SampleCount(self.rate.count_in_micros(uncertain_us).0.max(1)),
            cause,
        })
    }

    /// Goes on behind a gap that the caller knows of: the source was lost and has returned,
    /// or samples could not be stored. The counter and the pace are taken up anew.
    pub fn resume_after(&mut self, gap: Gap) {
        self.next = self.next.max(gap.end());
        self.expected = None;
        self.frames = 0;
        self.frame_gaps.clear();
        self.pace = self.pace.behind_absence();
        self.ticks = Ticks::new(self.rate);
        self.asked = Bracket::new(self.rate);
        self.backlog = SampleCount(0);
        self.count_gap(gap);
    }

    /// The instant of the next sample to come.
    pub const fn next(&self) -> SampleIndex {
        self.next
    }

    /// What was counted so far.
    pub const fn counts(&self) -> TimelineCounts {
        self.counts
    }

    /// When the sample was taken, by the box's clock, and how many microseconds that may be
    /// wrong. Steadier than the arrival of one frame: it rests on the frames that came with
    /// the least delay.
    pub fn instant_of(&self, index: SampleIndex) -> Option<(BoxInstant, u64)> {
        let taken = self.pace.due(index.after(SampleCount(1)))?;
        let period = self.rate.micros_at(SampleIndex(1));
        Some((taken, self.pace.usual_delay_us().saturating_add(period)))
    }

    /// The device's clock against the box's, once half a minute of signal has shown it.
    pub fn drift(&self) -> Option<Drift> {
        self.pace.drift()
    }

    /// The estimate of [`Timeline::drift`] alone, in parts per million.
    pub fn drift_ppm(&self) -> Option<f64> {
        self.drift().map(|drift| drift.ppm)
    }
}

#[cfg(test)]
mod tests;
