//! The gateway's clock adapter, the only module of this program that reads a clock, and what is
//! known of the clocks of boxes.
//!
//! | module | holds |
//! | --- | --- |
//! | [`tie`] | one boot of a box against this gateway's clock, without IO |
//! | [`boots`] | what the order of boots and the box's own words add to it |

pub mod boots;
pub mod tie;

use cardio_core::clock::{BoxInstant, Clock, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    boot: BootId,
}

impl SystemClock {
    /// The clocks of this run of the kernel.
    pub fn new() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(BootId([0; 16]));
        Self { boot }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        ClockReading {
            box_instant: BoxInstant {
                boot: self.boot,
                micros: u64::try_from(micros(boot)).unwrap_or(0),
            },
            utc: UtcMicros(micros(wall)),
            quality: ClockQuality::Unsynchronised,
        }
    }
}

fn micros(at: rustix::time::Timespec) -> i64 {
    at.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(at.tv_nsec / 1_000)
}

/// An instant as RFC 3339 in UTC with microseconds; the epoch when it lies outside the
/// calendar.
pub fn rfc3339(at: UtcMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{SystemClock, UtcMicros, rfc3339};
    use cardio_core::clock::Clock;

    #[test]
    fn both_clocks_are_read_and_the_boot_clock_never_goes_back() {
        let clock = SystemClock::new();
        let (first, second) = (clock.read(), clock.read());
        assert!(
            second
                .box_instant
                .micros_since(&first.box_instant)
                .is_some()
        );
        assert!(first.utc > UtcMicros(1_600_000_000_000_000));
    }

    #[test]
    fn an_instant_is_written_in_utc() {
        assert_eq!(rfc3339(UtcMicros(1_500)), "1970-01-01T00:00:00.0015Z");
        assert_eq!(rfc3339(UtcMicros(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
