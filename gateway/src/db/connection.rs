//! One connection, and how a schema comes to be.

use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::value::{FromCell, Row, Value, values};
use super::{Cause, DbError, Fault, Place, Schema, postgres};

/// Held while a schema is brought to its newest version.
const SCHEMA_LOCK: i64 = i64::MIN;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Connection {
    /// Opens a database to write, with its schema at the newest version.
    pub(super) fn open(schema: &Schema) -> Result<Self, DbError> {
        let inner = match &schema.place {
            Place::Sqlite(path) => Sqlite::open(path).map(Inner::Sqlite),
            Place::Postgres(server) => {
                Postgres::connect(server).map(|open| Inner::Postgres(Box::new(open)))
            }
        };
        let connection = Self::opened(inner, &schema.place)?;
        connection.migrate(schema)?;
        Ok(connection)
    }

    /// Opens a database to read.
    pub(super) fn open_to_read(place: &Place) -> Result<Self, DbError> {
        let inner = match place {
            Place::Sqlite(path) => Sqlite::open_to_read(path).map(Inner::Sqlite),
            Place::Postgres(server) => {
                Postgres::connect(server).map(|open| Inner::Postgres(Box::new(open)))
            }
        };
        Self::opened(inner, place)
    }

    fn opened(inner: Result<Inner, Cause>, place: &Place) -> Result<Self, DbError> {
        inner
            .map(|inner| Self { inner })
            .map_err(|source| DbError::Open {
                place: place.clone(),
                source,
            })
    }

    /// Whether other programs may write here at the same time; then all parts of the store are
    /// one database.
    pub const fn is_shared(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    /// Does something; answers how many rows changed.
    ///
    /// # Errors
    /// [`DbError::Statement`] names `act`.
    pub fn execute(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<u64, DbError> {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.execute(sql, values),
            Inner::Postgres(postgres) => postgres.execute(sql, values),
        }
        .map_err(|fault| fault.during(act))
    }

    /// Reads rows.
    ///
    /// # Errors
    /// [`DbError::Statement`] names `act`.
    pub fn rows(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, DbError> {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.rows(act, sql, values),
            Inner::Postgres(postgres) => postgres.rows(act, sql, values),
        }
        .map_err(|fault| fault.during(act))
    }

    /// Reads the first row, if there is one.
    ///
    /// # Errors
    /// [`DbError::Statement`] names `act`.
    pub fn row(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, DbError> {
        Ok(self.rows(act, sql, values)?.into_iter().next())
    }

    /// Reads the first column of the first row, if there is one.
    ///
    /// # Errors
    /// [`DbError::Statement`] names `act`; [`DbError::Damaged`] when it is something else.
    pub fn cell<T: FromCell>(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<T>, DbError> {
        self.row(act, sql, values)?
            .map(|mut row| row.take(0))
            .transpose()
    }

    /// Reads the first column of every row.
    ///
    /// # Errors
    /// [`DbError::Statement`] names `act`; [`DbError::Damaged`] when one is something else.
    pub fn cells<T: FromCell>(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<T>, DbError> {
        let rows = self.rows(act, sql, values)?;
        rows.into_iter().map(|mut row| row.take(0)).collect()
    }

    /// Holds a key until the transaction ends, against other programs on the same database.
    pub(super) fn lock(&self, key: i64) -> Result<(), DbError> {
        match &self.inner {
            Inner::Sqlite(_) => Ok(()),
            Inner::Postgres(_) => self
                .execute(
                    "take a lock",
                    "SELECT pg_advisory_xact_lock(?1)",
                    values![key],
                )
                .map(|_| ()),
        }
    }

    pub(super) fn begin(&self) -> Result<(), DbError> {
        self.batch(
            "begin a transaction",
            match &self.inner {
                Inner::Sqlite(_) => "BEGIN IMMEDIATE",
                Inner::Postgres(_) => "BEGIN",
            },
        )
    }

    pub(super) fn batch(&self, act: &'static str, sql: &str) -> Result<(), DbError> {
        self.run(sql).map_err(|fault| fault.during(act))
    }

    fn run(&self, sql: &str) -> Result<(), Fault> {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.batch(sql),
            Inner::Postgres(postgres) => postgres.batch(sql),
        }
    }

    /// Keeps the log short, between transactions. What was committed stands, whatever becomes of
    /// this; after an error the connection must be closed.
    pub(super) fn checkpoint(&self) -> Result<(), DbError> {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.checkpoint(),
            Inner::Postgres(_) => Ok(()),
        }
        .map_err(|fault| fault.during("move the log into the database"))
    }

    /// Closes a connection that has met no error.
    pub(super) fn close(self) {
        if let Inner::Sqlite(sqlite) = self.inner {
            sqlite.close();
        }
    }

    /// Whether a connection that was idle can still be used.
    pub(super) fn is_alive(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(_) => true,
            Inner::Postgres(postgres) => !postgres.is_lost() && postgres.batch("").is_ok(),
        }
    }

    pub(super) fn copy_to(&self, place: &Place, path: &std::path::Path) -> Result<(), DbError> {
        match &self.inner {
            Inner::Sqlite(sqlite) => sqlite.copy_to(path).map_err(|source| DbError::Statement {
                act: "copy the database",
                source,
            }),
            Inner::Postgres(_) => Err(DbError::NotHere {
                act: "make a backup",
                place: place.clone(),
            }),
        }
    }

    fn migrate(&self, schema: &Schema) -> Result<(), DbError> {
        self.begin()?;
        let done = self.migrate_within(schema);
        match done {
            Ok(()) => self.batch("commit a migration", "COMMIT"),
            Err(error) => {
                // The connection is dropped with the error; nothing of it stays.
                let _ = self.run("ROLLBACK");
                Err(error)
            }
        }
    }

    fn migrate_within(&self, schema: &Schema) -> Result<(), DbError> {
        self.lock(SCHEMA_LOCK)?;
        let act = "read the schema version";
        let found: i64 = match &self.inner {
            Inner::Sqlite(_) => self.cell(act, "PRAGMA user_version", values![])?,
            Inner::Postgres(_) => {
                self.batch(
                    act,
                    "CREATE TABLE IF NOT EXISTS schema_versions
                       (part TEXT PRIMARY KEY, version BIGINT NOT NULL)",
                )?;
                let sql = "SELECT version FROM schema_versions WHERE part = ?1";
                self.cell(act, sql, values![schema.part])?
            }
        }
        .unwrap_or(0);
        let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(DbError::Newer {
                place: schema.place.clone(),
                part: schema.part,
                found,
                known,
            });
        }
        let done = usize::try_from(found).unwrap_or(0);
        for step in schema.steps.iter().skip(done) {
            let act = "migrate the schema";
            match &self.inner {
                Inner::Sqlite(_) => self.batch(act, step)?,
                Inner::Postgres(_) => self.batch(act, &postgres::schema(step))?,
            }
        }
        let act = "note the schema version";
        match &self.inner {
            Inner::Sqlite(_) => self.batch(act, &format!("PRAGMA user_version = {known}")),
            Inner::Postgres(_) => self
                .execute(
                    act,
                    "INSERT INTO schema_versions (part, version) VALUES (?1, ?2)
                     ON CONFLICT (part) DO UPDATE SET version = excluded.version",
                    values![schema.part, known],
                )
                .map(|_| ()),
        }
    }
}
