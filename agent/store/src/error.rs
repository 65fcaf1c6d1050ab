//! What can go wrong with the outbox.

use std::path::PathBuf;
use std::sync::Arc;

use cardio_sqlite::OpenError;
use cardio_wire::chain::ChainError;
use cardio_wire::envelope::SealError;
use cardio_wire::lane::Lane;
use cardio_wire::record::LaneGapV1;

use crate::fork::ForkSign;

/// Why the outbox did not do what it was asked. Clones share the cause, because one failed
/// commit answers every record of its group.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// Another program, or another handle, has the outbox open.
    #[error("the outbox {} is in use by another program", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// A later version of this program made the outbox.
    #[error("the outbox {} has schema version {found}, this program knows up to {known}", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The latest version that is known.
        known: i64,
    },
    /// A file could not be made, read or moved.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The database refused.
    #[error("cannot {act} in the outbox")]
    Database {
        /// What was tried.
        act: &'static str,
        /// What the database said.
        source: Arc<rusqlite::Error>,
    },
    /// What was read contradicts itself. The file is set aside and a new chain begins.
    #[error("the outbox is damaged: {what}")]
    Damaged {
        /// What contradicts what.
        what: String,
    },
    /// The gateway holds another history of the lane's chain: the card forgot what it had
    /// stored. The file is set aside and a new chain begins.
    #[error("the gateway holds another history of the {lane} lane ({})", sign.code())]
    Forked {
        /// Which lane.
        lane: Lane,
        /// What proved it.
        sign: ForkSign,
    },
    /// A frame that is kept does not continue its chain.
    #[error("the chain of the {lane} lane is broken at frame {seq}")]
    Chain {
        /// Which lane.
        lane: Lane,
        /// The place of the frame.
        seq: u64,
        /// How.
        source: ChainError,
    },
    /// The space left is kept for more urgent lanes. The refusal is counted and will be named
    /// in a signed gap record.
    #[error("the outbox is {used_percent} % full: the {lane} lane is refused")]
    Full {
        /// The lane that was refused.
        lane: Lane,
        /// How full the outbox is.
        used_percent: u8,
    },
    /// The record could not be sealed.
    #[error("cannot seal a record of the {lane} lane")]
    Seal {
        /// The lane of the record.
        lane: Lane,
        /// Why.
        source: SealError,
    },
    /// The system gave no random bytes.
    #[error("cannot {act}: the system gave no random bytes")]
    Randomness {
        /// What was tried.
        act: &'static str,
    },
    /// The outbox was closed, or its thread has ended.
    #[error("the outbox is closed")]
    Closed,
}

impl OutboxError {
    /// Stable identifier for logs and `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "outbox.in-use",
            Self::Newer { .. } => "outbox.newer",
            Self::File { .. } | Self::Database { .. } if self.is_full_disk() => "outbox.disk-full",
            Self::File { .. } => "outbox.file",
            Self::Database { .. } => "outbox.database",
            Self::Damaged { .. } => LaneGapV1::DAMAGED,
            Self::Forked { .. } => LaneGapV1::FORKED,
            Self::Chain { source, .. } => source.code(),
            Self::Full { .. } => "outbox.full",
            Self::Seal { source, .. } => source.code(),
            Self::Randomness { .. } => "outbox.randomness",
            Self::Closed => "outbox.closed",
        }
    }

    /// Whether the same call may succeed later without anyone's help.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Database { .. } | Self::Damaged { .. } | Self::Full { .. }
        )
    }

    pub(crate) fn database(act: &'static str, source: rusqlite::Error) -> Self {
        Self::Database {
            act,
            source: Arc::new(source),
        }
    }

    pub(crate) fn file(act: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            act,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn opening(err: OpenError) -> Self {
        match err {
            OpenError::InUse { path } => Self::InUse { path },
            OpenError::File { act, path, source } => Self::file(act, &path, source),
            OpenError::Database { act, source, .. } => Self::database(act, source),
        }
    }

    /// Whether the database or the disk under it has no room. On a disk without a free block
    /// the write-ahead log cannot be written anew, nor SQLite's index of it be made, which it
    /// says in other words.
    pub(crate) fn is_full_disk(&self) -> bool {
        use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR_SHMSIZE};
        match self {
            Self::Database { source, .. } => {
                let code = source.sqlite_error().map(|err| err.extended_code);
                matches!(code, Some(SQLITE_FULL | SQLITE_IOERR_SHMSIZE))
            }
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether the file itself is wrong, so that opening it again does not help.
    pub(crate) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, Self::Damaged { .. })
            || matches!(self.sqlite_code(), Some(DatabaseCorrupt | NotADatabase))
    }

    fn sqlite_code(&self) -> Option<rusqlite::ErrorCode> {
        match self {
            Self::Database { source, .. } => source.sqlite_error_code(),
            _ => None,
        }
    }
}
