//! The clock adapter: the only place of this program that reads a clock.
//!
//! The truth is the boot id with `CLOCK_BOOTTIME`; wall time is a hint with a quality.
//! Deliberately absent: setting a clock, time zones, sleeping.
//!
//! The wall clock counts as synchronised while systemd-timesyncd says so. It touches
//! [`SYNC_MARK`] at each answer it accepts, and accepts none whose root distance exceeds
//! 5 s (`RootDistanceMaxSec` of timesyncd.conf); between answers the kernel's clock drifts
//! by at most 500 ppm (the limit of adjtimex). Both make the error bound that is stated.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
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
/// Stands for "never looked" and for "not synchronised".
const NONE: u64 = u64::MAX;

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
    looked_at_us: AtomicU64,
    synced_at_utc_us: AtomicU64,
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
            looked_at_us: AtomicU64::new(NONE),
            synced_at_utc_us: AtomicU64::new(NONE),
        }
    }

    fn quality(&self, boot_us: u64, utc_us: u64) -> ClockQuality {
        let looked_at = self.looked_at_us.load(Ordering::Relaxed);
        if looked_at == NONE || boot_us.saturating_sub(looked_at) >= QUALITY_EVERY_US {
            self.looked_at_us.store(boot_us, Ordering::Relaxed);
            let synced_at = touched_at_us(&self.sync_mark).unwrap_or(NONE);
            self.synced_at_utc_us.store(synced_at, Ordering::Relaxed);
        }
        match self.synced_at_utc_us.load(Ordering::Relaxed) {
            NONE => ClockQuality::Unsynchronised,
            synced_at => ClockQuality::Synchronised {
                error_us: utc_us.saturating_sub(synced_at) / (1_000_000 / DRIFT_MAX_PPM)
                    + ROOT_DISTANCE_MAX_US,
            },
        }
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
    use super::{BootId, Clock, ClockQuality, SystemClock};

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
