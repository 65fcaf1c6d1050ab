//! Opening a database to write, and moving its log into it.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Advice, FlockOperation, fadvise, fcntl_lock};

use crate::renew::renew;

/// Pages in the log from which on it is moved into the database, as SQLite does by itself.
const LOG_PAGES: i64 = 1000;

/// What a log is cut back to when it begins again.
pub const LOG_BYTES: u32 = 8 * 1024 * 1024;

/// How often and how long another program is waited for: five seconds in all.
const TRIES: u32 = 250;
const TRY_EVERY: Duration = Duration::from_millis(20);

/// How long a statement waits for another connection.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// Statements that stay prepared.
const STATEMENTS: usize = 64;

/// Why a database was not opened. It can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file could not be made, read, written or flushed.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another program has the database open, if only to read.
    #[error("another program has {} open: close it, then try again", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("cannot {act} {}", path.display())]
    Database {
        /// What was tried.
        act: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "sqlite.file",
            Self::InUse { .. } => "sqlite.in-use",
            Self::Database { .. } => "sqlite.database",
        }
    }

    pub(crate) fn file(act: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        Self::File { act, path, source }
    }
}

/// Opens a database to write, or makes it: everything that can be read of it is on the disk.
/// WAL, every COMMIT flushed. No connection of this program may be open on the file.
///
/// # Errors
/// [`OpenError`]; the file is then as it was.
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    read_from_disk(path)?;
    let failed = |act| {
        let path = path.to_owned();
        move |source| OpenError::Database { act, path, source }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("open"))?;
    set_up(&connection).map_err(failed("set up"))?;
    sync_directory(path)?;
    Ok(connection)
}

/// Steps 1 to 3 of [`crate`]. The lock ends with the handle, before SQLite opens its own: POSIX
/// locks belong to the process, and closing any handle of a file lets go of them all.
fn read_from_disk(path: &Path) -> Result<(), OpenError> {
    let failed = |act| move |source| OpenError::file(act, path, source);
    let file = private_file(path).map_err(failed("make"))?;
    wait_until_alone(&file, path)?;
    renew(path)?;
    file.sync_all().map_err(failed("flush"))?;
    fadvise(&file, 0, None, Advice::DontNeed).map_err(|err| failed("forget")(err.into()))
}

fn wait_until_alone(file: &File, path: &Path) -> Result<(), OpenError> {
    for _ in 0..TRIES {
        match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
                std::thread::sleep(TRY_EVERY);
            }
            Err(err) => return Err(OpenError::file("lock", path, err.into())),
        }
    }
    let path = path.to_owned();
    Err(OpenError::InUse { path })
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_LIMIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(code = "sqlite.journal", mode, "SqliteJournalModeError");
    }
    connection.pragma_update(None, "synchronous", synchronous())?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    // The first reading makes the log.
    connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
    Ok(())
}

/// `FULL`. A debug build can be told otherwise by the power-cut rig, which proves itself by
/// finding what is lost then; a release build cannot.
fn synchronous() -> &'static str {
    #[cfg(debug_assertions)]
    if std::env::var_os("CARDIO_RIG_SYNCHRONOUS").is_some_and(|mode| mode == "normal") {
        tracing::error!(code = "sqlite.unsafe", "SqliteSynchronousNormal");
        return "normal";
    }
    "full"
}

/// Moves the log into the database once it is long enough. Belongs after a COMMIT, which stands
/// whatever is answered here.
///
/// # Errors
/// What SQLite says; the connection must then be closed and the file opened anew.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let pages = |sql| {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row([], |row| row.get::<_, i64>(1))
    };
    if pages("PRAGMA wal_checkpoint(NOOP)")? >= LOG_PAGES {
        pages("PRAGMA wal_checkpoint(PASSIVE)")?;
    }
    Ok(())
}

/// Closes a connection that has met no error, and leaves everything in the database and nothing in
/// the log, unless somebody reads. A connection that has met one is dropped instead.
pub fn close(connection: Connection) {
    let moved = connection
        .busy_timeout(Duration::ZERO)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    if let Err(err) = moved {
        // The log keeps it all, and is written anew with the next opening.
        tracing::warn!(code = "sqlite.close", "SqliteCheckpointError: {err}");
    }
}

/// A file that only its owner may read, made if there is none.
///
/// # Errors
/// What the system says.
pub fn private_file(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The path with a suffix after the file name.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that a file lies in.
#[must_use]
pub fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Waits until the names in the directory of a file are on the disk.
///
/// # Errors
/// [`OpenError::File`].
pub fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = directory(path);
    File::open(directory)
        .and_then(|open| open.sync_all())
        .map_err(|source| OpenError::file("flush the directory", directory, source))
}
