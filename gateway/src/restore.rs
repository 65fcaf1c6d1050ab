//! A copy that [`crate::backup`] made put into the place of the databases of a gateway that does
//! not run. What was there is set aside, never deleted.
//!
//! The copies are checked beside their new place before anything is moved. If this is cut short, the
//! folder [`UNFINISHED`] stays, the gateway does not start on half of a backup, and restoring again
//! begins anew. Deliberately absent: keys, which are restored by hand, from where they are kept; a
//! server of PostgreSQL, which has its own tools.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cardio_core::clock::UtcMicros;

use crate::backup::FILES;
use crate::db::{DbError, Place, Readers};
use crate::gateway::{RunError, StateLock};

/// Folder in the state directory that is there while a backup is being restored.
pub(crate) const UNFINISHED: &str = "restoring";
/// What SQLite keeps beside a database; it belongs to that database and to no other.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

/// Why nothing was restored. Everything that was there is where it was, or set aside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The state directory cannot be had, for instance because the gateway runs.
    #[error("the state directory cannot be had")]
    State(#[source] RunError),
    /// The keys are not there, and nothing opens without them.
    #[error("there are no keys in {}", path.display())]
    NoKeys {
        /// Where they should be.
        path: PathBuf,
    },
    /// A file cannot be read, written or moved.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A copy cannot be read as a database.
    #[error("{} is no whole copy", path.display())]
    Unreadable {
        /// Which copy.
        path: PathBuf,
        /// What the database said.
        source: DbError,
    },
    /// A copy is damaged.
    #[error("{} is damaged: {said}", path.display())]
    Damaged {
        /// Which copy.
        path: PathBuf,
        /// What the database said first.
        said: String,
    },
}

impl RestoreError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::State(error) => error.code(),
            Self::NoKeys { .. } => "restore.keys",
            Self::File { .. } => "restore.file",
            Self::Unreadable { .. } | Self::Damaged { .. } => "restore.damaged",
        }
    }
}

/// Puts the databases of the backup in `from` into the state directory; answers the folder in
/// which those that were there lie now, if there were any.
///
/// # Errors
/// [`RestoreError`]; unless it says that a file cannot be moved, nothing was changed.
pub fn restore(from: &Path, state: &Path, now: UtcMicros) -> Result<Option<PathBuf>, RestoreError> {
    let _lock = StateLock::take(state).map_err(RestoreError::State)?;
    let keys = state.join("keys");
    if !keys.is_dir() {
        return Err(RestoreError::NoKeys { path: keys });
    }
    let staging = state.join(UNFINISHED);
    if staging.exists() {
        doing("remove", &staging, std::fs::remove_dir_all(&staging))?;
    }
    make_folder(&staging)?;
    let staged = FILES
        .iter()
        .try_for_each(|file| stage(&from.join(file), &staging.join(file)));
    if let Err(error) = staged {
        // Nothing was moved: what was copied so far says nothing and may go.
        let _ = std::fs::remove_dir_all(&staging);
        return Err(error);
    }
    flush(&staging)?;
    let aside = set_aside(state, now)?;
    for file in FILES {
        rename(&staging.join(file), &state.join(file))?;
    }
    flush(state)?;
    doing("remove", &staging, std::fs::remove_dir(&staging))?;
    flush(state)?;
    Ok(aside)
}

/// Copies one database and reads the copy through.
fn stage(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let mut source = doing("read", from, File::open(from))?;
    let mut copy = doing("write", to, File::create_new(to))?;
    let copied = io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all());
    doing("copy", from, copied)?;
    let unreadable = |source| RestoreError::Unreadable {
        path: from.to_owned(),
        source,
    };
    let readers = Readers::of(&Place::Sqlite(to.to_owned()));
    let said: Option<String> = readers
        .read(|copy| copy.cell("check a copy", "PRAGMA integrity_check(1)", &[]))
        .map_err(unreadable)?;
    drop(readers);
    for beside in BESIDE.iter().skip(1) {
        let path = with(to, beside);
        if path.exists() {
            doing("remove", &path, std::fs::remove_file(&path))?;
        }
    }
    match said.as_deref() {
        Some("ok") => Ok(()),
        said => Err(RestoreError::Damaged {
            path: from.to_owned(),
            said: said.unwrap_or("it says nothing").to_owned(),
        }),
    }
}

/// Moves the databases that are there into a folder of their own.
fn set_aside(state: &Path, now: UtcMicros) -> Result<Option<PathBuf>, RestoreError> {
    let places = FILES
        .iter()
        .flat_map(|file| BESIDE.map(|beside| with(Path::new(file), beside)));
    let there: Vec<PathBuf> = places.filter(|file| state.join(file).exists()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let aside = state.join(format!("replaced-{}", now.0));
    make_folder(&aside)?;
    for file in there {
        rename(&state.join(&file), &aside.join(&file))?;
    }
    flush(&aside)?;
    Ok(Some(aside))
}

fn with(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

fn make_folder(path: &Path) -> Result<(), RestoreError> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    doing("make", path, made)
}

fn rename(from: &Path, to: &Path) -> Result<(), RestoreError> {
    doing("move", from, std::fs::rename(from, to))
}

/// Makes what was moved into a folder, or out of it, outlast a loss of power.
fn flush(folder: &Path) -> Result<(), RestoreError> {
    let flushed = File::open(folder).and_then(|folder| folder.sync_all());
    doing("flush", folder, flushed)
}

fn doing<T>(act: &'static str, path: &Path, done: io::Result<T>) -> Result<T, RestoreError> {
    done.map_err(|source| RestoreError::File {
        act,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::{RestoreError, UNFINISHED, restore};
    use crate::backup::FILES;
    use cardio_core::clock::UtcMicros;
    use std::path::Path;

    fn database(path: &Path, said: &str) {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection
            .pragma_update(None, "journal_mode", "wal")
            .unwrap();
        let made = format!("CREATE TABLE word (said TEXT); INSERT INTO word VALUES ('{said}')");
        connection.execute_batch(&made).unwrap();
    }

    fn said(path: &Path) -> String {
        let connection = rusqlite::Connection::open(path).unwrap();
        let word = connection.query_row("SELECT said FROM word", (), |row| row.get(0));
        word.unwrap()
    }

    fn scene() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["state/keys", "backup"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in FILES {
            database(&dir.path().join("state").join(file), "new");
            database(&dir.path().join("backup").join(file), "old");
        }
        dir
    }

    #[test]
    fn what_was_there_is_set_aside_with_its_log_and_the_backup_stands_in_its_place() {
        let dir = scene();
        let (state, backup) = (dir.path().join("state"), dir.path().join("backup"));
        std::fs::write(state.join("inbox.sqlite-wal"), b"of the inbox before").unwrap();
        let aside = restore(&backup, &state, UtcMicros(7)).unwrap().unwrap();
        assert_eq!(aside, state.join("replaced-7"));
        assert!(!state.join("inbox.sqlite-wal").exists());
        assert!(aside.join("inbox.sqlite-wal").exists());
        for file in FILES {
            assert_eq!(said(&state.join(file)), "old");
            assert_eq!(said(&backup.join(file)), "old");
        }
        assert_eq!(said(&aside.join("record.sqlite")), "new");
        assert!(!state.join(UNFINISHED).exists());
    }

    #[test]
    fn one_damaged_or_missing_copy_changes_nothing() {
        let dir = scene();
        let (state, backup) = (dir.path().join("state"), dir.path().join("backup"));
        let last = backup.join("access.sqlite");
        let mut bytes = std::fs::read(&last).unwrap();
        bytes[4096..4200].fill(0xFF);
        std::fs::write(&last, &bytes).unwrap();
        let error = restore(&backup, &state, UtcMicros(7)).unwrap_err();
        assert_eq!(error.code(), "restore.damaged", "{error}");
        std::fs::remove_file(&last).unwrap();
        let error = restore(&backup, &state, UtcMicros(7)).unwrap_err();
        assert!(
            matches!(&error, RestoreError::File { path, .. } if *path == last),
            "{error}"
        );
        for file in FILES {
            assert_eq!(said(&state.join(file)), "new");
        }
        assert!(!state.join(UNFINISHED).exists());
        assert!(!state.join("replaced-7").exists());
    }

    #[test]
    fn what_was_cut_short_is_begun_anew_and_no_database_is_lost() {
        let dir = scene();
        let (state, backup) = (dir.path().join("state"), dir.path().join("backup"));
        // As a loss of power leaves it between two moves.
        std::fs::create_dir(state.join(UNFINISHED)).unwrap();
        std::fs::create_dir(state.join("replaced-6")).unwrap();
        let (there, aside) = (
            state.join("record.sqlite"),
            state.join("replaced-6/record.sqlite"),
        );
        std::fs::rename(there, &aside).unwrap();
        restore(&backup, &state, UtcMicros(7)).unwrap();
        assert_eq!(said(&state.join("record.sqlite")), "old");
        assert_eq!(said(&aside), "new");
        assert_eq!(said(&state.join("replaced-7/inbox.sqlite")), "new");
    }

    #[test]
    fn without_keys_nothing_is_restored() {
        let dir = scene();
        std::fs::remove_dir(dir.path().join("state/keys")).unwrap();
        let state = dir.path().join("state");
        let error = restore(&dir.path().join("backup"), &state, UtcMicros(7)).unwrap_err();
        assert_eq!(error.code(), "restore.keys");
    }
}
