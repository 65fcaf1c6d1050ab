//! The device's own time line: what a step of its time stamps says.
//!
//! A time stamp names the last sample of a frame. A step longer than the frame is a loss; a
//! step that the box's clock contradicts is a new time line of the device, not years of
//! silence. Deliberately absent: the index of any sample.

use crate::clock::BoxInstant;
use crate::rate::SamplingRate;

/// How far the device's clock may be from the box's over one step before it is taken for a
/// new time line, beside five percent of the step.
const JUMP_NANOS: i128 = 5_000_000_000;
/// Steps after which the device's true rate is trusted.
const KNOWN_STEPS: u32 = 16;
/// Samples that a step may be off without a loss.
const SLACK_SAMPLES: f64 = 1.5;
/// How far the true rate may be from the nominal one, before it is known and after.
const RATE_UNKNOWN: f64 = 0.05;
const RATE_KNOWN: f64 = 0.005;

/// What a time stamp says of its frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// The first that is seen.
    First,
    /// The device's clock has jumped: the first of a new time line.
    Anew,
    /// It follows the frame before; so many samples are missing between, with uncertainty.
    Follows {
        /// Missing samples.
        missing: u64,
        /// How far that may be wrong.
        uncertainty: u64,
    },
    /// The same time again.
    Again,
    /// An earlier time.
    Back,
}

/// The last time stamp, and the device's rate against its own clock.
#[derive(Clone, Debug)]
pub(super) struct Ticks {
    nominal: f64,
    last: Option<(u64, BoxInstant)>,
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
            period,
            steps: 0,
        }
    }

    /// Judges the time stamp of a frame of `samples` that came at `arrival`.
    pub(super) fn step(&mut self, nanos: u64, samples: u64, arrival: BoxInstant) -> Step {
        let Some((last, since)) = self.last else {
            self.last = Some((nanos, arrival));
            return Step::First;
        };
        let step = i128::from(nanos) - i128::from(last);
        if !is_same_line(step, since, arrival) {
            self.last = Some((nanos, arrival));
            return Step::Anew;
        }
        match step {
            0 => return Step::Again,
            ..0 => return Step::Back,
            _ => self.last = Some((nanos, arrival)),
        }
        self.follow(as_float(step), samples)
    }

    /// Nanoseconds by which a time stamp is before the last one.
    pub(super) fn behind(&self, nanos: u64) -> Option<u64> {
        self.last.and_then(|(last, _)| last.checked_sub(nanos))
    }

    /// Another time line of the device begins with this time stamp.
    pub(super) const fn begin_anew(&mut self, nanos: u64, arrival: BoxInstant) {
        self.last = Some((nanos, arrival));
    }

    /// Whether the time stamp of a frame that came at `arrival`, after an absence, belongs to the
    /// time line of the one before. An earlier time does not: a device that was away brings nothing
    /// from before, but one that was switched off and on counts from its origin again.
    pub(super) fn goes_on(&self, nanos: u64, arrival: BoxInstant) -> bool {
        self.last.is_some_and(|(last, since)| {
            nanos >= last && is_same_line(i128::from(nanos) - i128::from(last), since, arrival)
        })
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

/// Whether the box's clock agrees with a step of the device's.
fn is_same_line(step: i128, since: BoxInstant, arrival: BoxInstant) -> bool {
    let elapsed = (i128::from(arrival.micros) - i128::from(since.micros)) * 1000;
    let allowed = JUMP_NANOS + elapsed.abs() / 20;
    arrival.boot == since.boot && (step - elapsed).abs() <= allowed
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
    reason = "a saturating conversion of a rounded number"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
