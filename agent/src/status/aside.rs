//! Files that were set aside, and what is carried over from them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::bytes;

/// Files that were set aside, because they were damaged or the card forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideStatus {
    /// How many there are. They go a week after the gateway has all that can be read of them.
    pub files: u64,
    /// Their bytes on the disk, beside the outbox.
    pub bytes: u64,
    /// Frames that wait to be carried over.
    pub waiting: u64,
    /// Frames that were carried over.
    pub carried: u64,
    /// Frames that cannot be read; gap records name them.
    pub unreadable: u64,
}

impl From<cardio_store::AsideSummary> for AsideStatus {
    fn from(summary: cardio_store::AsideSummary) -> Self {
        Self {
            files: summary.files,
            bytes: summary.bytes,
            waiting: summary.waiting,
            carried: summary.carried,
            unreadable: summary.passed,
        }
    }
}

impl fmt::Display for AsideStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} file(s) set aside, {} · {} frame(s) carried over, {} waiting, {} unreadable",
            self.files,
            bytes(self.bytes),
            self.carried,
            self.waiting,
            self.unreadable
        )
    }
}
