//! How long a device's time stamps are under way to the box, at least.
//!
//! The offset of an arrival from its stamp is that of the two clocks and a delay. Its lower edge is
//! the offset of the clocks, to within the shortest delay: what lies below it was sent before it was
//! taken. The edge follows clocks that drift apart.
//!
//! Deliberately absent: what a stamp below the edge means.

use crate::clock::BoxInstant;

/// How much earlier than any frame before it one may come: what its way can vary in the short time
/// that is known.
const JITTER_NANOS: i128 = 100_000_000;
/// How fast the device's clock may drift from the box's: one part in so many.
const DRIFT_SHARE: i128 = 100;
/// Stretch of arrivals whose lowest offset is kept.
const BUCKET_NANOS: i128 = 2_000_000_000;
/// How long the first frames may all be late.
const SLACK_NANOS: i128 = 3_000_000_000;

/// The lower edge of the offsets, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Edge {
    offset: i128,
    /// The last offset, and when it was seen.
    last: (i128, i128),
    since: i128,
    /// How much lower the edge may be, because its first frames may have been late.
    slack: i128,
    /// How much the edge was raised since a frame lay on it.
    raised: i128,
    bucket_until: i128,
    bucket_lowest: i128,
}

impl Edge {
    /// A time line begins with a frame that is at most `late` late.
    pub(super) fn begin(&mut self, nanos: u64, arrival: BoxInstant, late: i128) {
        let (offset, now) = measured(nanos, arrival);
        *self = Self {
            offset,
            last: (offset, now),
            since: now,
            slack: late,
            raised: 0,
            bucket_until: now.saturating_add(BUCKET_NANOS),
            bucket_lowest: offset,
        };
    }

    /// Takes note of a frame of the same time line.
    pub(super) fn observe(&mut self, nanos: u64, arrival: BoxInstant) {
        let (offset, now) = measured(nanos, arrival);
        if now > self.bucket_until {
            let most = self.offset + BUCKET_NANOS / DRIFT_SHARE;
            if self.bucket_lowest > most {
                self.raised += most - self.offset;
                self.offset = most;
            } else {
                self.raised = 0;
                self.offset = self.bucket_lowest;
            }
            self.bucket_until = now.saturating_add(BUCKET_NANOS);
            self.bucket_lowest = offset;
        }
        self.bucket_lowest = self.bucket_lowest.min(offset);
        let fallen = (self.offset - offset).max(0);
        self.offset -= fallen;
        self.raised = (self.raised - fallen).max(0);
        self.slack = match now - self.since {
            ..SLACK_NANOS => (self.slack - fallen).max(0),
            _ => 0,
        };
        self.last = (offset, now);
    }

    /// Whether the frame of a stamp came before it can have been taken.
    pub(super) fn is_early(&self, nanos: u64, arrival: BoxInstant) -> bool {
        let (offset, now) = measured(nanos, arrival);
        self.offset - offset > self.allowed(now) + self.slack + self.raised
    }

    /// Whether the frame of a stamp came before it can have been taken, if none of the first frames
    /// was late.
    pub(super) fn may_be_early(&self, nanos: u64, arrival: BoxInstant) -> bool {
        let (offset, now) = measured(nanos, arrival);
        self.slack > 0 && self.offset - offset > self.allowed(now) + self.raised
    }

    /// How far an arrival is from when the frame of its stamp would have come without any delay.
    pub(super) fn apart_nanos(&self, nanos: u64, arrival: BoxInstant) -> i128 {
        (measured(nanos, arrival).0 - self.offset).abs()
    }

    /// Whether the frame of a stamp came more than `late` after it was taken.
    pub(super) fn is_late(&self, nanos: u64, arrival: BoxInstant, late: i128) -> bool {
        let (offset, now) = measured(nanos, arrival);
        offset - self.offset > self.allowed(now) + late
    }

    /// How late the last frame was.
    pub(super) fn late_nanos(&self) -> i128 {
        (self.last.0 - self.offset).max(0)
    }

    fn allowed(&self, now: i128) -> i128 {
        JITTER_NANOS + (now - self.last.1).abs() / DRIFT_SHARE
    }
}

/// The offset of an arrival from its stamp, and the arrival.
fn measured(nanos: u64, arrival: BoxInstant) -> (i128, i128) {
    let now = i128::from(arrival.micros) * 1000;
    (now - i128::from(nanos), now)
}
