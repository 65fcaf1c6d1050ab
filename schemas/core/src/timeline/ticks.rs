//! The device's own time line: what a step of its time stamps says.
//!
//! A time stamp names the last sample of a frame. The box's clock judges it: samples do not arrive
//! before they are taken, so a stamp that is ahead of its arrival by more than any before it is of a
//! clock that jumped, and so is one that overlaps the samples before it, or goes back without being
//! of a frame that is known or missing. A step longer than the frame is a loss otherwise.
//!
//! What cannot be known: a clock that jumps ahead while its frames are late by as much looks like a
//! loss of so many samples, and is claimed as one. Where the first frames of a time line may have been
//! late, one that jumps by less than that is stated as a loss of so many samples or of none. A clock
//! that jumps back over a loss that is longer shortens it. A counter tells all of them (`witness`).
//!
//! Deliberately absent: the index of any sample.

mod edge;

use std::collections::VecDeque;

use crate::clock::BoxInstant;
use crate::rate::SamplingRate;
use edge::Edge;

/// How late a frame may be before its clock is said to have jumped back, beside five percent of
/// the step.
const LATE_NANOS: i128 = 5_000_000_000;
/// Steps after which the device's true rate is trusted.
const KNOWN_STEPS: u32 = 16;
/// Samples that a step may be off without a loss.
const SLACK_SAMPLES: f64 = 1.5;
/// How far the true rate may be from the nominal one, before it is known and after.
const RATE_UNKNOWN: f64 = 0.05;
const RATE_KNOWN: f64 = 0.005;
/// Frames that are remembered to know one that comes again. A clock that starts at its origin
/// again gives its first stamps a second time, so they are few.
const STAMPS_KEPT: usize = 4;
/// Frames after which one that was missing is not waited for any more.
const GAP_FRAMES: u64 = 4;

/// What a time stamp says of its frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// The first that is seen.
    First,
    /// The device's clock has jumped: the first of a new time line.
    Anew,
    /// Either so many samples are missing, or the device's clock has jumped ahead while the first
    /// frames of its time line were late; both look the same.
    Doubtful {
        /// Samples that can be missing.
        missing: u64,
        /// How far that may be wrong, beside that none may be.
        uncertainty: u64,
    },
    /// It follows the frame before; so many samples are missing between, with uncertainty.
    Follows {
        /// Missing samples.
        missing: u64,
        /// How far that may be wrong.
        uncertainty: u64,
    },
    /// The same time again.
    Again,
    /// An earlier time, at which a frame was there or is missing.
    Back,
}

/// The last time stamps, and the device's clock against the box's.
#[derive(Clone, Debug)]
pub(super) struct Ticks {
    nominal: f64,
    last: Option<(u64, BoxInstant)>,
    edge: Edge,
    stamps: VecDeque<u64>,
    /// When the first sample of this time line was taken, and how many frames have come since.
    begun: Option<(i128, u64)>,
    /// The last two stamps between which frames are missing, and how many have come since.
    gap: Option<(u64, u64, u64)>,
    /// What comes next comes behind an absence.
    was_away: bool,
    /// Nanoseconds of one sample, smoothed over steps without a loss.
    period: f64,
    steps: u32,
}

impl Ticks {
    pub(super) fn new(rate: SamplingRate) -> Self {
        let period = 1e9 / rate.as_hz();
        Self {
            nominal: period,
            last: None,
            edge: Edge::default(),
            stamps: VecDeque::new(),
            begun: None,
            gap: None,
            was_away: false,
            period,
            steps: 0,
        }
    }

    /// Judges the time stamp of a frame of `samples` that came at `arrival`, at most `late_us` late
    /// if it is the first of a stream.
    pub(super) fn step(
        &mut self,
        nanos: u64,
        samples: u64,
        arrival: BoxInstant,
        late_us: u64,
    ) -> Step {
        let Some((last, since)) = self.last else {
            self.edge.begin(nanos, arrival, i128::from(late_us) * 1000);
            self.begin_with(nanos, samples);
            self.take(nanos, arrival);
            return Step::First;
        };
        if nanos == last {
            return Step::Again;
        }
        let step = i128::from(nanos) - i128::from(last);
        let is_of_old = self.is_known(nanos) || self.is_out_of_place(nanos, samples, arrival);
        if step < 0 && is_of_old && !is_too_late(step, since, arrival) {
            return Step::Back;
        }
        let short = as_float(step) / self.period - as_float(i128::from(samples));
        let overlaps = short < -(SLACK_SAMPLES + as_float(i128::from(samples)) * RATE_UNKNOWN);
        if overlaps || self.edge.is_early(nanos, arrival) || is_too_late(step, since, arrival) {
            self.begin_anew(nanos, samples, arrival);
            return Step::Anew;
        }
        let follows = self.follow(as_float(step), samples);
        if let Step::Follows {
            missing: missing @ 1..,
            uncertainty,
        } = follows
            && self.edge.may_be_early(nanos, arrival)
        {
            self.begin_anew(nanos, samples, arrival);
            return Step::Doubtful {
                missing,
                uncertainty,
            };
        }
        let follows = self.widened(follows, nanos, arrival);
        self.take(nanos, arrival);
        self.edge.observe(nanos, arrival);
        self.gap = match (follows, self.gap) {
            (Step::Follows { missing: 1.., .. }, _) => Some((last, nanos, 0)),
            (_, Some((from, to, frames))) if frames < GAP_FRAMES => Some((from, to, frames + 1)),
            _ => None,
        };
        follows
    }

    /// Whether a frame of this time stamp was there of late.
    fn is_known(&self, nanos: u64) -> bool {
        self.stamps.contains(&nanos)
    }

    /// Nanoseconds by which a time stamp is before the last one.
    pub(super) fn behind(&self, nanos: u64) -> Option<u64> {
        self.last.and_then(|(last, _)| last.checked_sub(nanos))
    }

    /// Another time line of the device begins with this time stamp. Its frame is as late as any can
    /// be that follows the one before.
    pub(super) fn begin_anew(&mut self, nanos: u64, samples: u64, arrival: BoxInstant) {
        let silence_us = self
            .last
            .and_then(|(_, last)| arrival.micros_since(&last))
            .unwrap_or(0);
        let late = i128::from(silence_us) * 1000 + self.edge.late_nanos();
        self.edge.begin(nanos, arrival, late);
        self.gap = None;
        self.begin_with(nanos, samples);
        self.take(nanos, arrival);
    }

    /// The first frame of a time line has `samples`, the last of them taken at `nanos`.
    fn begin_with(&mut self, nanos: u64, samples: u64) {
        self.begun = Some((i128::from(nanos) - self.span_nanos(samples), 0));
    }

    fn span_nanos(&self, samples: u64) -> i128 {
        as_nanos(self.period * as_float(i128::from(samples)))
    }

    /// Whether the frame of an earlier time stamp is one that was missing, and has changed places with
    /// the one before it: it came too soon behind that to have been taken after it.
    fn is_out_of_place(&self, nanos: u64, samples: u64, arrival: BoxInstant) -> bool {
        let since = self.last.and_then(|(_, last)| arrival.micros_since(&last));
        let is_behind =
            since.is_some_and(|us| i128::from(us) * 1000 < self.span_nanos(samples) / 2);
        is_behind && (self.is_missing(nanos) || self.is_before_begin(nanos, samples))
    }

    /// Whether the frame of a time stamp ends where this time line begins, of which one frame is known.
    fn is_before_begin(&self, nanos: u64, samples: u64) -> bool {
        let count = as_float(i128::from(samples));
        let slack = as_nanos(self.period * (SLACK_SAMPLES + count * RATE_UNKNOWN));
        let ends_there = |begun: i128| (i128::from(nanos) - begun).abs() <= slack;
        self.begun
            .is_some_and(|(begun, frames)| frames <= 1 && ends_there(begun))
    }

    /// The first frame behind an absence is of a clock that went on, or of one that started anew and
    /// shows about the same time: what is missing is uncertain by what the two differ.
    fn widened(&mut self, follows: Step, nanos: u64, arrival: BoxInstant) -> Step {
        let was_away = std::mem::take(&mut self.was_away);
        match follows {
            Step::Follows {
                missing,
                uncertainty,
            } if was_away => {
                let apart = self.edge.apart_nanos(nanos, arrival);
                let samples = whole((as_float(apart) / self.period).ceil());
                Step::Follows {
                    missing,
                    uncertainty: uncertainty.saturating_add(samples),
                }
            }
            other => other,
        }
    }

    /// Whether the time stamp of a frame that came at `arrival`, after an absence and at most
    /// `late_us` late, belongs to the time line of the one before. An earlier time does not: a
    /// device that was away brings nothing from before, but one that was switched off and on counts
    /// from its origin again.
    pub(super) fn goes_on(&mut self, nanos: u64, arrival: BoxInstant, late_us: u64) -> bool {
        self.was_away = true;
        self.last.is_some_and(|(last, since)| {
            nanos >= last
                && arrival.boot == since.boot
                && !self.edge.is_early(nanos, arrival)
                && !self
                    .edge
                    .is_late(nanos, arrival, i128::from(late_us) * 1000)
        })
    }

    fn take(&mut self, nanos: u64, arrival: BoxInstant) {
        self.last = Some((nanos, arrival));
        self.begun = self.begun.map(|(begun, frames)| (begun, frames + 1));
        self.stamps.push_back(nanos);
        if self.stamps.len() > STAMPS_KEPT {
            self.stamps.pop_front();
        }
    }

    fn is_missing(&self, nanos: u64) -> bool {
        self.gap
            .is_some_and(|(from, to, _)| from < nanos && nanos < to)
    }

    fn follow(&mut self, step: f64, samples: u64) -> Step {
        let count = as_float(i128::from(samples));
        let spread = if self.steps < KNOWN_STEPS {
            RATE_UNKNOWN
        } else {
            RATE_KNOWN
        };
        let missing = step / self.period - count;
        if missing <= SLACK_SAMPLES + count * spread {
            self.learn(step, count);
            return Step::Follows {
                missing: 0,
                uncertainty: 0,
            };
        }
        Step::Follows {
            missing: whole(missing.round()),
            uncertainty: whole((SLACK_SAMPLES + missing * spread).floor()),
        }
    }

    fn learn(&mut self, step: f64, count: f64) {
        if count < 1.0 {
            return;
        }
        self.steps = self.steps.saturating_add(1);
        let found = (step / count).clamp(self.nominal * 0.95, self.nominal * 1.05);
        let weight = 1.0 / f64::from(self.steps.min(4 * KNOWN_STEPS));
        self.period += (found - self.period) * weight;
    }
}

/// Whether the box's clock went on by more than a step of the device's and any delay, or was
/// started anew itself.
fn is_too_late(step: i128, since: BoxInstant, arrival: BoxInstant) -> bool {
    let elapsed = (i128::from(arrival.micros) - i128::from(since.micros)) * 1000;
    arrival.boot != since.boot || elapsed - step > LATE_NANOS + elapsed.abs() / 20
}

#[expect(
    clippy::as_conversions,
    reason = "spans of nanoseconds and counts, where the nearest float does"
)]
fn as_float(value: i128) -> f64 {
    value as f64
}

#[expect(
    clippy::as_conversions,
    reason = "spans of a frame, far below the limit"
)]
fn as_nanos(value: f64) -> i128 {
    value as i128
}

#[expect(
    clippy::as_conversions,
    reason = "a saturating conversion of a rounded number"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
