//! One database: one thread that writes, connections that only read. SQLite or PostgreSQL,
//! behind the same handful of statements.
//!
//! * The writer thread owns the only writing connection of this program. Work is handed over
//!   as a closure and its answer comes back after COMMIT has returned: SQLite in WAL with
//!   `synchronous=FULL`, PostgreSQL only when it flushes what it commits.
//! * Work that waits together is committed together (at most [`GROUP_MAX`] pieces), each piece
//!   behind its own savepoint: a piece that fails undoes itself and nothing else.
//! * Each piece names what it changes by a key. Where several programs write (PostgreSQL), the
//!   key is locked until the commit; a group takes its locks in the order of the keys, so that
//!   no two programs wait for each other. Where one program writes (SQLite), there is no lock.
//! * After a failed COMMIT, or a failed checkpoint, the connection is closed; what was not
//!   answered counts as not stored. A file is opened again only while no connection of this
//!   program is open on it, and everything that can then be read of it is on the disk (see
//!   [`cardio_sqlite`]). The program need not end for that, and the connections of boxes stay:
//!   each of them sends again what was not answered.
//! * A file has one writing program: the lock of the state directory. Others, as `chain verify`,
//!   open it to read only, which never moves the log; while they do it cannot be opened anew.
//! * A database of a newer program is refused untouched.
//!
//! Statements are written once, in the words that both databases share: `?1` for values,
//! `ON CONFLICT` for repetition, whole numbers, text and bytes for types. Deliberately absent:
//! what the tables mean. See [`crate::inbox`] and [`crate::record`].

mod connection;
mod postgres;
mod read;
mod server;
mod sqlite;
mod value;
mod write;

use std::path::PathBuf;
use std::sync::Arc;

pub use connection::Connection;
pub use postgres::NotDurable;
pub use read::Readers;
pub use server::{Server, TrustError};
pub(crate) use value::values;
pub use value::{AsValue, Cell, FromCell, Row, Value};
pub use write::Writer;

/// Pieces of work that share one COMMIT.
pub const GROUP_MAX: usize = 128;

/// What a library says of a failure.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A statement that failed, before its act is named.
struct Fault {
    full: bool,
    source: Cause,
}

impl Fault {
    fn during(self, act: &'static str) -> DbError {
        if self.full {
            DbError::Full { act }
        } else {
            DbError::Statement {
                act,
                source: self.source,
            }
        }
    }
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The database cannot be opened or created.
    #[error("cannot open the database {place}")]
    Open {
        /// Which one.
        place: Place,
        /// What the database or the system said.
        source: Cause,
    },
    /// The database was written by a newer program.
    #[error(
        "the {part} in the database {place} has schema version {found}; this program knows {known}"
    )]
    Newer {
        /// Which database.
        place: Place,
        /// Which part of it.
        part: &'static str,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {act}")]
    Statement {
        /// What was tried.
        act: &'static str,
        /// What the database said.
        source: Cause,
    },
    /// The disk is full.
    #[error("cannot {act}: the disk is full")]
    Full {
        /// What was tried.
        act: &'static str,
    },
    /// The work was undone because its group could not be committed.
    #[error("cannot commit: {why}")]
    NotCommitted {
        /// What the database said.
        why: String,
    },
    /// The writer has stopped, or could not open the database again after an error.
    #[error("the database is closed: the program is stopping, or cannot open it again")]
    Closed,
    /// A stored value does not have the form that this program wrote.
    #[error("cannot {what}: a stored value has another form than this program writes")]
    Damaged {
        /// What was tried, or which value.
        what: &'static str,
    },
    /// The database has its own tools for it.
    #[error("cannot {act} of {place} from here: use the server's own tools")]
    NotHere {
        /// What was tried.
        act: &'static str,
        /// Which database.
        place: Place,
    },
}

impl DbError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "store.open",
            Self::Newer { .. } => "store.newer",
            Self::Statement { .. } => "store.statement",
            Self::Full { .. } => "store.full",
            Self::NotCommitted { .. } => "store.commit",
            Self::Closed => "store.closed",
            Self::Damaged { .. } => "store.damaged",
            Self::NotHere { .. } => "store.backup.server",
        }
    }
}

/// Where a database is.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file of SQLite, written by one program.
    Sqlite(PathBuf),
    /// A server of PostgreSQL, written by several.
    Postgres(Arc<Server>),
}

impl Place {
    /// Whether other programs may write here at the same time.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(server) => server.fmt(f),
        }
    }
}

/// A part of a database and the statements that bring it to its newest schema.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Where it is.
    pub place: Place,
    /// Its name; parts of one server have different ones.
    pub part: &'static str,
    /// Statements of each version, from 1, in the strict types of SQLite.
    pub steps: &'static [&'static str],
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
