//! Time as a box can know it.
//!
//! The truth is the boot id with the microseconds since that boot, suspend included
//! (`CLOCK_BOOTTIME`). Wall time is a hint that says how far it may be wrong. Deliberately
//! absent: any call to a clock; programs implement [`Clock`] once and pass it down.

use crate::ids::BootId;
use crate::index::SampleIndex;

/// An instant of the box's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoxInstant {
    /// Which run of the kernel.
    pub boot: BootId,
    /// Microseconds since that boot, suspend included.
    pub micros: u64,
}

impl BoxInstant {
    /// Microseconds from `earlier` to this instant; `None` across boots or backwards.
    pub fn micros_since(&self, earlier: &Self) -> Option<u64> {
        (self.boot == earlier.boot)
            .then(|| self.micros.checked_sub(earlier.micros))
            .flatten()
    }

    /// The instant `micros` later in the same boot.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self {
            boot: self.boot,
            micros: self.micros.saturating_add(micros),
        }
    }

    /// The instant `micros` earlier in the same boot, at the earliest the boot itself.
    #[must_use]
    pub const fn minus_micros(self, micros: u64) -> Self {
        Self {
            boot: self.boot,
            micros: self.micros.saturating_sub(micros),
        }
    }
}

/// Wall time: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcMicros(pub i64);

/// How well the box's wall clock is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockQuality {
    /// Nothing has set the clock since boot, or it is known to be wrong.
    Unsynchronised,
    /// The kernel's clock is disciplined; the error is at most this many microseconds.
    Synchronised {
        /// Upper bound of the error, in microseconds.
        error_us: u64,
    },
}

/// One reading of both clocks at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClockReading {
    /// The box's own clock.
    pub box_instant: BoxInstant,
    /// What the wall clock said.
    pub utc: UtcMicros,
    /// How far to trust it.
    pub quality: ClockQuality,
}

/// Where all time comes from. Only a program's clock adapter reads a real clock; tests pass
/// a clock that they move by hand.
pub trait Clock: Send + Sync {
    /// Reads both clocks at once.
    fn read(&self) -> ClockReading;
}

/// Ties one sample to the box's clock, and to the world as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeAnchor {
    /// The sample that is tied.
    pub index: SampleIndex,
    /// When it was taken, by the box's clocks.
    pub at: ClockReading,
    /// How far `at.box_instant` may lie from the true instant of the sample, in
    /// microseconds: transport and scheduling delay, not the wall clock's error.
    pub uncertainty_us: u64,
}

/// A clock that moves only when told to. For tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    reading: std::sync::Mutex<ClockReading>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn at(start: ClockReading) -> Self {
        Self {
            reading: std::sync::Mutex::new(start),
        }
    }

    /// Lets `micros` pass on both clocks.
    pub fn advance_micros(&self, micros: u64) {
        let mut reading = self.lock();
        reading.box_instant = reading.box_instant.plus_micros(micros);
        reading.utc = UtcMicros(
            reading
                .utc
                .0
                .saturating_add(i64::try_from(micros).unwrap_or(i64::MAX)),
        );
    }

    /// Sets the wall clock alone, as a time server or a person does.
    pub fn set_utc(&self, utc: UtcMicros, quality: ClockQuality) {
        let mut reading = self.lock();
        reading.utc = utc;
        reading.quality = quality;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ClockReading> {
        self.reading
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn read(&self) -> ClockReading {
        *self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::{BootId, BoxInstant, Clock, ClockQuality, ClockReading, ManualClock, UtcMicros};

    #[test]
    fn instants_of_two_boots_have_no_distance() {
        let a = BoxInstant {
            boot: BootId([1; 16]),
            micros: 5,
        };
        let b = BoxInstant {
            boot: BootId([2; 16]),
            micros: 9,
        };
        assert_eq!(b.micros_since(&a), None);
        assert_eq!(a.plus_micros(4).micros_since(&a), Some(4));
        assert_eq!(a.micros_since(&a.plus_micros(4)), None);
    }

    #[test]
    fn setting_the_wall_does_not_move_the_boot_clock() {
        let start = ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: 0,
            },
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        };
        let clock = ManualClock::at(start);
        clock.advance_micros(10);
        clock.set_utc(
            UtcMicros(1_000_000),
            ClockQuality::Synchronised { error_us: 50 },
        );
        assert_eq!(clock.read().box_instant.micros, 10);
        assert_eq!(clock.read().utc, UtcMicros(1_000_000));
    }
}
