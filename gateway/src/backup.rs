//! A copy of inbox, record, invitations and accounts as they are, while the program goes on.
//!
//! The inbox is copied first. A record that is older than its inbox files again what it lacks,
//! an inbox that is older than its boxes asks them to send again. Deliberately absent: keys,
//! which have a folder of their own and open everything; a server of PostgreSQL, which has its
//! own tools.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::db::{DbError, Readers};

/// The databases of a backup, by the names that they have in the state directory too: inbox,
/// record, invitations, accounts.
pub(crate) const FILES: [&str; 4] = [
    "inbox.sqlite",
    "record.sqlite",
    "enrol.sqlite",
    "access.sqlite",
];

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The folder cannot be made, for instance because it exists.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A database cannot be copied.
    #[error("the {what} cannot be copied")]
    Copy {
        /// Which one.
        what: &'static str,
        /// Why.
        source: DbError,
    },
}

impl BackupError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "backup.folder",
            Self::Copy { source, .. } => source.code(),
        }
    }
}

/// Where to copy from.
#[derive(Debug)]
pub struct Originals {
    /// The inbox.
    pub inbox: Readers,
    /// The patient record.
    pub record: Readers,
    /// The invitations of boxes.
    pub invitations: Readers,
    /// The accounts.
    pub access: Readers,
}

/// Copies all into a new folder that only its owner may enter.
///
/// # Errors
/// [`BackupError`]; a folder that was made stays, with what was copied into it.
pub fn copy(from: &Originals, folder: &Path) -> Result<(), BackupError> {
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|source| BackupError::Folder {
            path: folder.to_owned(),
            source,
        })?;
    let parts = [
        ("inbox", &from.inbox),
        ("record", &from.record),
        ("desk of invitations", &from.invitations),
        ("store of accounts", &from.access),
    ];
    for ((what, readers), file) in parts.into_iter().zip(FILES) {
        readers
            .copy_to(&folder.join(file))
            .map_err(|source| BackupError::Copy { what, source })?;
    }
    Ok(())
}
