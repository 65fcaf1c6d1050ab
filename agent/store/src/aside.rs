//! Files that were set aside: their names, and the markers beside them.
//!
//! | file | says |
//! | --- | --- |
//! | `.damaged-<n>`, `.forked-<n>` | a database, and why it was set aside |
//! | `….named` | gap records name what it still had to send; made after their commit |
//! | `….carried` | all that could be read of it is acknowledged; holds since when |
//!
//! A number is never given twice while a file of it is left. Deliberately absent: reading the
//! databases.

use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cardio_core::clock::UtcMicros;
use cardio_wire::record::LaneGapV1;

use crate::error::OutboxError;
use cardio_sqlite::{beside, directory, private_file};

/// Ends the name of SQLite's write-ahead log.
const LOG: &str = "-wal";
const NAMED: &str = ".named";
const CARRIED: &str = ".carried";

/// Why a file was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It contradicts itself.
    Damaged,
    /// The gateway holds another history of one of its chains.
    Forked,
}

impl Cause {
    const fn word(self) -> &'static str {
        match self {
            Self::Damaged => ".damaged-",
            Self::Forked => ".forked-",
        }
    }

    /// What gap records say.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Damaged => LaneGapV1::DAMAGED,
            Self::Forked => LaneGapV1::FORKED,
        }
    }
}

impl From<&OutboxError> for Cause {
    fn from(err: &OutboxError) -> Self {
        match err {
            OutboxError::Forked { .. } => Self::Forked,
            _ => Self::Damaged,
        }
    }
}

/// A file that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Aside {
    pub(crate) path: PathBuf,
    pub(crate) cause: Cause,
    number: u64,
}

impl Aside {
    /// How the file's name ends: it names the file within its directory.
    pub(crate) fn name(&self) -> String {
        let word = self.cause.word().trim_start_matches('.');
        format!("{word}{}", self.number)
    }

    /// Whether its losses are named and committed.
    pub(crate) fn is_named(&self) -> bool {
        beside(&self.path, NAMED).exists()
    }

    /// Notes that its losses are named and committed.
    pub(crate) fn mark_named(&self) -> Result<(), OutboxError> {
        mark(&beside(&self.path, NAMED), "")
    }

    /// Since when all that can be read of it is acknowledged; `None` while it is not.
    pub(crate) fn carried_at(&self) -> Option<UtcMicros> {
        let mut text = String::new();
        let marker = std::fs::File::open(beside(&self.path, CARRIED)).ok()?;
        marker.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().map(UtcMicros)
    }

    /// Notes that all that can be read of it is acknowledged.
    pub(crate) fn mark_carried(&self, at: UtcMicros) -> Result<(), OutboxError> {
        mark(&beside(&self.path, CARRIED), &at.0.to_string())
    }

    /// Deletes it. The database goes last: while it is there without its markers it is carried
    /// once more, which the gateway notices.
    pub(crate) fn delete(&self) -> Result<(), OutboxError> {
        for part in [CARRIED, NAMED, LOG, "-shm", ""] {
            let file = beside(&self.path, part);
            match std::fs::remove_file(&file) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(OutboxError::file("delete", &file, source));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        let parts = ["", LOG].map(|part| beside(&self.path, part));
        let sizes = parts.iter().filter_map(|file| file.metadata().ok());
        sizes.map(|meta| meta.len()).sum()
    }
}

fn mark(marker: &Path, text: &str) -> Result<(), OutboxError> {
    let failed = |source| OutboxError::file("mark", marker, source);
    let mut file = private_file(marker).map_err(failed)?;
    file.set_len(0)
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// The files that were set aside of an outbox, oldest first.
pub(crate) fn list(outbox: &Path) -> Result<Vec<Aside>, OutboxError> {
    let mut asides = Vec::new();
    for part in parts(outbox)? {
        if part.ending.is_empty() {
            asides.push(part.of);
        }
    }
    asides.sort_by_key(|aside| aside.number);
    Ok(asides)
}

/// A file that belongs to one that was set aside, or is it.
struct Part {
    of: Aside,
    /// What follows the number in its name.
    ending: Vec<u8>,
}

fn parts(outbox: &Path) -> Result<Vec<Part>, OutboxError> {
    let directory = directory(outbox);
    let failed = |source| OutboxError::file("list", directory, source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().as_bytes();
        for cause in [Cause::Damaged, Cause::Forked] {
            let prefix = beside(outbox, cause.word());
            let prefix = prefix.file_name().unwrap_or_default().as_bytes();
            let Some(rest) = name.strip_prefix(prefix) else {
                continue;
            };
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = rest.split_at_checked(digits).unwrap_or_default();
            let number = str::from_utf8(digits)
                .ok()
                .and_then(|text| text.parse().ok());
            found.extend(number.map(|number| Part {
                of: Aside {
                    path: path.clone(),
                    cause,
                    number,
                },
                ending: rest.to_vec(),
            }));
        }
    }
    Ok(found)
}

/// Moves the database and its log out of the way. The log goes last: what interrupts that is
/// made good by the next opening.
pub(crate) fn set_aside(outbox: &Path, cause: Cause) -> Result<PathBuf, OutboxError> {
    let last = parts(outbox)?.iter().map(|part| part.of.number).max();
    let number = last.unwrap_or(0).saturating_add(1);
    let aside = beside(outbox, &format!("{}{number}", cause.word()));
    rename(outbox, &aside)?;
    finish_setting_aside(outbox)?;
    Ok(aside)
}

/// A log without its database belongs to the one that was set aside last. SQLite would delete it
/// with the first use of a new database.
pub(crate) fn finish_setting_aside(outbox: &Path) -> Result<(), OutboxError> {
    let log = beside(outbox, LOG);
    if outbox.exists() || !log.exists() {
        return Ok(());
    }
    let its_log = list(outbox)?.last().map(|aside| beside(&aside.path, LOG));
    match its_log {
        Some(its_log) if !its_log.exists() => rename(&log, &its_log),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), OutboxError> {
    std::fs::rename(from, to).map_err(|source| OutboxError::file("set aside", from, source))
}

#[cfg(test)]
mod tests {
    use super::{Cause, UtcMicros, list, set_aside};

    #[test]
    fn asides_are_found_in_their_order_and_a_number_is_not_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = dir.path().join("outbox.db");
        for (cause, name) in [
            (Cause::Damaged, "damaged-1"),
            (Cause::Forked, "forked-2"),
            (Cause::Damaged, "damaged-3"),
        ] {
            std::fs::write(&outbox, "x").unwrap();
            set_aside(&outbox, cause).unwrap();
            assert_eq!(list(&outbox).unwrap().last().unwrap().name(), name);
        }
        let asides = list(&outbox).unwrap();
        asides[2].mark_named().unwrap();
        asides[2].mark_carried(UtcMicros(-7)).unwrap();
        assert!(asides[2].is_named() && !asides[1].is_named());
        assert_eq!(asides[2].carried_at(), Some(UtcMicros(-7)));
        // A deletion that was cut off leaves a marker: its number is not used again.
        std::fs::remove_file(&asides[2].path).unwrap();
        std::fs::write(&outbox, "x").unwrap();
        assert!(
            set_aside(&outbox, Cause::Forked)
                .unwrap()
                .ends_with("outbox.db.forked-4")
        );
        let left = list(&outbox).unwrap();
        left[1].delete().unwrap();
        assert_eq!(list(&outbox).unwrap().len(), 2);
    }
}
