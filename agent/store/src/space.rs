//! What is refused and deleted as the space runs out.
//!
//! | used | what happens |
//! | --- | --- |
//! | 70 % | a warning |
//! | 85 % | acknowledged frames are deleted, oldest first |
//! | 92 % | the bulk lane is refused |
//! | 97 % | alerts only |
//! | all | the ballast file is given up for alerts |
//!
//! Used means pages that hold something. All is the configured cap, or what the disk leaves
//! if that is less: others may fill the disk too. What the write-ahead log and a copy of it need,
//! and what the ballast shall have, is not counted as left. Never deleted: a frame that the gateway has not
//! acknowledged.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cardio_core::clock::BoxInstant;
use cardio_sqlite::beside;
use cardio_wire::lane::Lane;

use crate::error::OutboxError;

/// How full the outbox is, in the steps at which something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpaceLevel {
    /// Below 70 %.
    Ample,
    /// From 70 %: a person should know.
    Warning,
    /// From 85 %: acknowledged frames are deleted.
    Deleting,
    /// From 92 %: the bulk lane is refused.
    RefusingBulk,
    /// From 97 %: alerts only.
    AlertsOnly,
}

impl SpaceLevel {
    /// The level of a percentage.
    pub const fn of_percent(percent: u8) -> Self {
        match percent {
            0..=69 => Self::Ample,
            70..=84 => Self::Warning,
            85..=91 => Self::Deleting,
            92..=96 => Self::RefusingBulk,
            97.. => Self::AlertsOnly,
        }
    }

    /// Whether a lane may store at this level.
    pub const fn allows(self, lane: Lane) -> bool {
        match self {
            Self::Ample | Self::Warning | Self::Deleting => true,
            Self::RefusingBulk => !matches!(lane, Lane::Bulk),
            Self::AlertsOnly => matches!(lane, Lane::Alert),
        }
    }

    /// Stable name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Warning => "warning",
            Self::Deleting => "deleting-acknowledged",
            Self::RefusingBulk => "refusing-bulk",
            Self::AlertsOnly => "alerts-only",
        }
    }
}

/// The space of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The configured cap.
    pub cap_bytes: u64,
    /// What is used of it.
    pub used_bytes: u64,
    /// What the disk leaves beyond that.
    pub disk_bytes: u64,
}

impl Space {
    /// The cap, or what the disk has for this outbox if that is less.
    pub fn all_bytes(&self) -> u64 {
        self.cap_bytes
            .min(self.used_bytes.saturating_add(self.disk_bytes))
    }

    /// From 0 to 100, rounded down.
    pub fn used_percent(&self) -> u8 {
        let percent = u128::from(self.used_bytes) * 100 / u128::from(self.all_bytes().max(1));
        u8::try_from(percent.min(100)).unwrap_or(100)
    }

    /// What happens at this filling.
    pub fn level(&self) -> SpaceLevel {
        SpaceLevel::of_percent(self.used_percent())
    }

    /// What can still be stored.
    pub fn free_bytes(&self) -> u64 {
        self.all_bytes().saturating_sub(self.used_bytes)
    }
}

/// What the disk under a file leaves to this user; without an answer, as much as anyone asks.
pub(crate) fn left_on_disk(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

const BALLAST_MAX_BYTES: u64 = 16 * 1024 * 1024;
const BALLAST_BLOCK: usize = 64 * 1024;
const RETRY_US: u64 = 60_000_000;

/// A file that holds space until alerts need it: 16 MiB, or a sixteenth of a smaller cap.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) held: bool,
    last_try: Option<BoxInstant>,
}

impl Ballast {
    /// The ballast beside an outbox, before anybody looked whether it is there.
    pub(crate) fn new(outbox: &Path, cap_bytes: u64) -> Self {
        Self {
            path: beside(outbox, ".ballast"),
            bytes: (cap_bytes / 16).min(BALLAST_MAX_BYTES),
            held: false,
            last_try: None,
        }
    }

    /// Whether it is time to take the space again: at most once a minute, because a disk that
    /// others have filled refuses again and again.
    pub(crate) fn is_due(&mut self, now: BoxInstant) -> bool {
        let passed = self.last_try.map(|last| now.micros_since(&last));
        let due = !self.held && passed.is_none_or(|us| us.is_none_or(|us| us >= RETRY_US));
        if due {
            self.last_try = Some(now);
        }
        due
    }

    /// Takes the space if it is not taken yet. A disk without that much room leaves the outbox
    /// without ballast; that is a state, not an error.
    pub(crate) fn hold(&mut self) {
        let have = std::fs::metadata(&self.path).map_or(0, |meta| meta.len());
        if have == self.bytes {
            self.held = true;
            return;
        }
        self.held = fill(&self.path, self.bytes).is_ok();
        if !self.held {
            tracing::warn!(code = "outbox.ballast", "OutboxBallastTakeError");
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Gives the space up.
    pub(crate) fn give_up(&mut self) -> Result<(), OutboxError> {
        std::fs::remove_file(&self.path)
            .map_err(|source| OutboxError::file("give up the ballast", &self.path, source))?;
        self.held = false;
        Ok(())
    }
}

/// Writes zeros and waits until they are on the disk.
fn fill(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let block = [0_u8; BALLAST_BLOCK];
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while let Some(part) = block
        .get(..left.min(BALLAST_BLOCK))
        .filter(|p| !p.is_empty())
    {
        file.write_all(part)?;
        left -= part.len();
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{Lane, Space, SpaceLevel};

    #[test]
    fn each_threshold_refuses_what_it_says() {
        let at = |used_bytes| {
            let cap_bytes = 1000;
            let disk_bytes = u64::MAX;
            let level = Space {
                cap_bytes,
                used_bytes,
                disk_bytes,
            }
            .level();
            Lane::ALL.map(|lane| level.allows(lane))
        };
        assert_eq!(at(919), [true; 4]);
        assert_eq!(at(920), [true, true, false, true]);
        assert_eq!(at(970), [true, false, false, false]);
        assert_eq!(at(5000), [true, false, false, false]);
        let level = |percent| SpaceLevel::of_percent(percent);
        assert!(level(69) < level(70) && level(84) < level(85));
    }

    #[test]
    fn a_cap_of_nothing_is_full_and_divides_by_nothing() {
        let space = Space {
            cap_bytes: 0,
            used_bytes: 4096,
            disk_bytes: 9,
        };
        assert_eq!(space.level(), SpaceLevel::AlertsOnly);
    }

    #[test]
    fn a_disk_that_others_have_filled_counts_like_the_cap() {
        let space = |disk_bytes| Space {
            cap_bytes: 1000,
            used_bytes: 300,
            disk_bytes,
        };
        assert_eq!(space(u64::MAX).level(), SpaceLevel::Ample);
        assert_eq!((space(700).free_bytes(), space(50).free_bytes()), (700, 50));
        assert_eq!(space(100).level(), SpaceLevel::Warning);
        assert_eq!(space(26).level(), SpaceLevel::RefusingBulk);
        assert_eq!(space(0).level(), SpaceLevel::AlertsOnly);
    }
}
