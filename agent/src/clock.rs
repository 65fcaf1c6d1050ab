//! The clock adapter: the only place of this program that reads a clock.
//!
//! The truth is the boot id with `CLOCK_BOOTTIME`; wall time is a hint with a quality.
//! Deliberately absent: setting a clock, time zones, sleeping.
//!
//! The wall clock counts as synchronised while systemd-timesyncd says so. It touches
//! [`SYNC_MARK`] at each answer it accepts, and accepts none whose root distance exceeds
//! 5 s (`RootDistanceMaxSec` of timesyncd.conf); between answers the kernel's clock drifts
//! by at most 500 ppm (the limit of adjtimex). Both make the error bound that is stated. A
//! wall clock that moves against the boot clock by more than that was set by somebody else:
//! it counts as unsynchronised until timesyncd has set it again.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cardio_core::clock::{BoxInstant, Clock, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The file that systemd-timesyncd touches when it has set the clock.
pub const SYNC_MARK: &str = "/run/systemd/timesync/synchronized";

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const ROOT_DISTANCE_MAX_US: u64 = 5_000_000;
const DRIFT_MAX_PPM: u64 = 500;
/// How often the mark is looked at.
const QUALITY_EVERY_US: u64 = 10_000_000;
/// A smaller jump of the wall clock may be the time between reading one clock and the other.
const STEP_MIN_US: u64 = 1_000_000;

/// Wall time as RFC 3339 writes it; the bare number where that cannot be done.
pub fn rfc_3339(at: UtcMicros) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}

/// Why the clock cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// The kernel's boot id cannot be read.
    #[error("cannot read the boot id from {BOOT_ID}")]
    BootId {
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel's boot id is not a UUID.
    #[error("the boot id in {BOOT_ID} is not a UUID")]
    BootIdForm {
        /// What is wrong with it.
        source: cardio_core::ids::IdError,
    },
}

impl ClockError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BootId { .. } => "clock.boot_id.unreadable",
            Self::BootIdForm { .. } => "clock.boot_id.form",
        }
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
    sync_mark: PathBuf,
    seen: Mutex<Seen>,
}

/// What was last seen of the mark, and of the wall clock against the boot clock.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    looked_at_us: Option<u64>,
    /// When timesyncd last set the clock, by the wall clock.
    synced_at_us: Option<u64>,
    /// How far the wall clock was ahead of the boot clock, and when.
    ahead: Option<(u64, u64)>,
    /// Whether the wall clock was set by somebody else since.
    set_elsewhere: bool,
}

impl Seen {
    /// The mark as it is now. A mark that was touched again vouches for the clock as it is.
    fn note_mark(&mut self, synced_at_us: Option<u64>) {
        if self.synced_at_us != synced_at_us {
            self.synced_at_us = synced_at_us;
            self.set_elsewhere = false;
            self.ahead = None;
        }
    }

    /// Holds the wall clock against the boot clock.
    fn note_clocks(&mut self, boot_us: u64, utc_us: u64) {
        let ahead = utc_us.saturating_sub(boot_us);
        if let Some((before, at_us)) = self.ahead {
            let slewed = boot_us.saturating_sub(at_us) / (1_000_000 / DRIFT_MAX_PPM);
            self.set_elsewhere |= ahead.abs_diff(before) > slewed + STEP_MIN_US;
        }
        self.ahead = Some((ahead, boot_us));
    }

    fn quality(&self, utc_us: u64) -> ClockQuality {
        match self.synced_at_us.filter(|_| !self.set_elsewhere) {
            None => ClockQuality::Unsynchronised,
            Some(synced_at) => ClockQuality::Synchronised {
                error_us: utc_us.saturating_sub(synced_at) / (1_000_000 / DRIFT_MAX_PPM)
                    + ROOT_DISTANCE_MAX_US,
            },
        }
    }
}

impl SystemClock {
    /// Opens the system's clocks.
    ///
    /// # Errors
    /// [`ClockError`] when the kernel does not say which boot this is.
    pub fn open() -> Result<Self, ClockError> {
        let text =
            std::fs::read_to_string(BOOT_ID).map_err(|source| ClockError::BootId { source })?;
        let boot = text
            .trim()
            .parse()
            .map_err(|source| ClockError::BootIdForm { source })?;
        Ok(Self::with_mark(boot, Path::new(SYNC_MARK)))
    }

    fn with_mark(boot: BootId, sync_mark: &Path) -> Self {
        Self {
            boot,
            sync_mark: sync_mark.to_owned(),
            seen: Mutex::default(),
        }
    }

    fn quality(&self, boot_us: u64, utc_us: u64) -> ClockQuality {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = seen
            .looked_at_us
            .is_none_or(|at| boot_us.saturating_sub(at) >= QUALITY_EVERY_US);
        seen.note_clocks(boot_us, utc_us);
        if is_due {
            seen.looked_at_us = Some(boot_us);
            seen.note_mark(touched_at_us(&self.sync_mark));
        }
        seen.quality(utc_us)
    }
}

impl Clock for SystemClock {
    fn read(&self) -> ClockReading {
        let boot_us = micros(clock_gettime(ClockId::Boottime));
        let utc_us = wall_us();
        ClockReading {
            box_instant: BoxInstant {
                boot: self.boot,
                micros: boot_us,
            },
            utc: UtcMicros(i64::try_from(utc_us).unwrap_or(i64::MAX)),
            quality: self.quality(boot_us, utc_us),
        }
    }
}

/// The wall clock, through the C library, where a rig can shift it: of the boot clock nobody
/// can make this program believe another.
fn wall_us() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock adapter, the only place that reads the wall"
    )]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since_epoch.unwrap_or(Duration::ZERO).as_micros();
    u64::try_from(micros).unwrap_or(u64::MAX)
}

fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000) + nanos / 1_000
}

fn touched_at_us(mark: &Path) -> Option<u64> {
    let age: Duration = std::fs::metadata(mark)
        .ok()?
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    u64::try_from(age.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::{BootId, Clock, ClockQuality, Seen, SystemClock};

    #[test]
    fn the_boot_clock_never_runs_backwards() {
        let clock = SystemClock::open().unwrap();
        let first = clock.read().box_instant;
        let second = clock.read().box_instant;
        assert!(second.micros_since(&first).is_some());
    }

    #[test]
    fn without_a_mark_the_wall_clock_is_only_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::with_mark(BootId([1; 16]), &dir.path().join("synchronized"));
        assert_eq!(clock.read().quality, ClockQuality::Unsynchronised);
    }

    #[test]
    fn a_wall_clock_that_somebody_sets_is_a_hint_until_timesyncd_has_set_it_again() {
        let second = 1_000_000;
        let noon = 1_780_000_000 * second;
        let mut seen = Seen::default();
        seen.note_mark(Some(noon));
        seen.note_clocks(second, noon);
        seen.note_clocks(2 * second, noon + second);
        assert!(matches!(
            seen.quality(noon),
            ClockQuality::Synchronised { .. }
        ));
        // Back by one hour, and on from there.
        seen.note_clocks(3 * second, noon - 3_600 * second);
        seen.note_clocks(4 * second, noon - 3_599 * second);
        seen.note_mark(Some(noon));
        assert_eq!(seen.quality(noon), ClockQuality::Unsynchronised);
        seen.note_mark(Some(noon + 5 * second));
        seen.note_clocks(5 * second, noon + 5 * second);
        assert!(matches!(
            seen.quality(noon),
            ClockQuality::Synchronised { .. }
        ));
    }

    #[test]
    fn a_wall_clock_that_is_steered_stays_synchronised() {
        let hour = 3_600_000_000;
        let mut seen = Seen::default();
        seen.note_mark(Some(hour));
        for passed in 0..100 {
            // 400 ppm fast.
            seen.note_clocks(passed * hour, 1_000 * hour + passed * (hour + 1_440_000));
        }
        assert!(matches!(
            seen.quality(hour),
            ClockQuality::Synchronised { .. }
        ));
    }

    #[test]
    fn a_mark_touched_now_bounds_the_error_by_the_root_distance() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("synchronized");
        std::fs::write(&mark, "").unwrap();
        let clock = SystemClock::with_mark(BootId([1; 16]), &mark);
        let ClockQuality::Synchronised { error_us } = clock.read().quality else {
            panic!("a mark means synchronised");
        };
        assert!((5_000_000..5_100_000).contains(&error_us), "{error_us}");
    }
}
