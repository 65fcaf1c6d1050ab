//! One connection to a SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, params_from_iter};

use super::value::{Cell, Row, Value};
use super::{Cause, Fault};

const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// More than the different statements of any part, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 256;

/// A connection.
#[derive(Debug)]
pub(super) struct Sqlite(rusqlite::Connection);

impl Sqlite {
    /// Opens or creates a file to write: WAL, every commit flushed, and everything that can be
    /// read of it is on the disk. No other connection of this program may be open on it.
    pub(super) fn open(path: &Path) -> Result<Self, Cause> {
        let connection = cardio_sqlite::open(path)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Self::settled(connection)
    }

    /// Opens a file to read.
    pub(super) fn open_to_read(path: &Path) -> Result<Self, Cause> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_LIMIT)?;
        Self::settled(connection)
    }

    /// A statement is planned once, when it is prepared. Without that promise of the planner every
    /// new value for a `LIMIT` makes it plan anew.
    fn settled(connection: rusqlite::Connection) -> Result<Self, Cause> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(Self(connection))
    }

    /// Moves the log into the database if it is long.
    pub(super) fn checkpoint(&self) -> Result<(), Fault> {
        cardio_sqlite::checkpoint(&self.0).map_err(fault)
    }

    /// Closes a connection that has met no error: everything is in the database then.
    pub(super) fn close(self) {
        cardio_sqlite::close(self.0);
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.0.execute_batch(sql).map_err(fault)
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        let changed = self
            .0
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params_from_iter(values.iter())))
            .map_err(fault)?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    pub(super) fn rows(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Fault> {
        let read = || {
            let mut statement = self.0.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut found = statement.query(params_from_iter(values.iter()))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                let cells = (0..columns).map(|column| row.get_ref(column).map(cell));
                rows.push(Row {
                    act,
                    cells: cells.collect::<Result<_, _>>()?,
                });
            }
            Ok(rows)
        };
        read().map_err(fault)
    }

    /// Copies the whole database, as it is now, into a new file while others write.
    pub(super) fn copy_to(&self, path: &Path) -> Result<(), Cause> {
        let name = path.to_str().ok_or("the name of the file is not text")?;
        self.0.execute("VACUUM INTO ?1", [name])?;
        std::fs::File::open(path)?.sync_all()?;
        Ok(())
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        // No column of ours is a floating-point number.
        ValueRef::Real(_) => Cell::Null,
    }
}

fn fault(error: rusqlite::Error) -> Fault {
    Fault {
        full: error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
        source: Box::new(error),
    }
}
