//! One connection to a PostgreSQL server.
//!
//! The synchronous client: every connection belongs to a thread that may wait. It runs its
//! own small event loop, which must not stand inside another one, so it is dropped on a
//! thread of its own too.

use std::cell::RefCell;
use std::collections::HashMap;

use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, SimpleQueryMessage, Statement};

use super::value::{Cell, Row, Value};
use super::{Cause, Fault, Server};

/// Prepared statements kept on one connection; searches make new ones for ever.
const STATEMENTS_KEPT: usize = 256;

/// A server setting that lets an answered commit be lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has {setting} = off: a commit that it reports could still be lost; turn it on")]
pub struct NotDurable {
    /// The setting.
    pub setting: &'static str,
}

/// A connection.
pub(super) struct Postgres(RefCell<Option<Open>>);

struct Open {
    client: Client,
    statements: HashMap<(String, Vec<u8>), Statement>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(open) = self.0.get_mut().take() {
            std::thread::spawn(move || drop(open));
        }
    }
}

impl Postgres {
    /// Connects, and refuses a server that does not flush what it commits.
    pub(super) fn connect(server: &Server) -> Result<Self, Cause> {
        let mut client = server.connect()?;
        for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
            let shown = client.simple_query(&format!("SHOW {setting}"))?;
            let off = shown.iter().any(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0) == Some("off"),
                _ => false,
            });
            if off {
                return Err(Box::new(NotDurable { setting }));
            }
        }
        Ok(Self(RefCell::new(Some(Open {
            client,
            statements: HashMap::new(),
        }))))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Open) -> Result<T, postgres::Error>,
    ) -> Result<T, Fault> {
        match self.0.borrow_mut().as_mut() {
            Some(open) => work(open).map_err(fault),
            None => Err(Fault {
                full: false,
                source: "the connection is closed".into(),
            }),
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_none_or(|open| open.client.is_closed())
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.with(|open| open.client.batch_execute(sql))
    }

    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Fault> {
        self.with(|open| {
            let statement = open.prepare(sql, values)?;
            open.client.execute(&statement, &bound(values))
        })
    }

    pub(super) fn rows(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Fault> {
        self.with(|open| {
            let statement = open.prepare(sql, values)?;
            let found = open.client.query(&statement, &bound(values))?;
            found.iter().map(|row| read(act, row)).collect()
        })
    }
}

impl Open {
    /// Prepares a statement once for each combination of types.
    fn prepare(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Statement, postgres::Error> {
        let kinds: Vec<u8> = values.iter().map(kind).collect();
        let key = (sql.to_owned(), kinds);
        if let Some(statement) = self.statements.get(&key) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = values.iter().map(type_of).collect();
        let statement = self.client.prepare_typed(&numbered(sql), &types)?;
        if self.statements.len() >= STATEMENTS_KEPT {
            self.statements.clear();
        }
        self.statements.insert(key, statement.clone());
        Ok(statement)
    }
}

fn bound<'a>(values: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| {
            let value: &(dyn ToSql + Sync) = value;
            value
        })
        .collect()
}

const fn kind(value: &Value<'_>) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) => 1,
        Value::Text(_) => 2,
        Value::Bytes(_) => 3,
    }
}

const fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

/// Placeholders as the server writes them: `?1` becomes `$1`.
fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

/// A schema in the server's words. Ours are SQLite's, in its strict types.
pub(super) fn schema(sql: &str) -> String {
    [
        (" STRICT, WITHOUT ROWID", ""),
        (" STRICT", ""),
        (" BLOB", " BYTEA"),
        (" INTEGER", " BIGINT"),
        // The order of bytes, as SQLite has it, on any server.
        (" TEXT", " TEXT COLLATE \"C\""),
    ]
    .into_iter()
    .fold(sql.to_owned(), |sql, (ours, theirs)| {
        sql.replace(ours, theirs)
    })
}

fn read(act: &'static str, row: &postgres::Row) -> Result<Row, postgres::Error> {
    let cells = row.columns().iter().enumerate().map(|(at, column)| {
        Ok(match *column.type_() {
            Type::INT8 => row
                .try_get::<_, Option<i64>>(at)?
                .map_or(Cell::Null, Cell::Integer),
            Type::INT4 => row
                .try_get::<_, Option<i32>>(at)?
                .map_or(Cell::Null, |number| Cell::Integer(i64::from(number))),
            Type::BOOL => row
                .try_get::<_, Option<bool>>(at)?
                .map_or(Cell::Null, |truth| Cell::Integer(i64::from(truth))),
            Type::BYTEA => row
                .try_get::<_, Option<Vec<u8>>>(at)?
                .map_or(Cell::Null, Cell::Bytes),
            _ => row
                .try_get::<_, Option<String>>(at)?
                .map_or(Cell::Null, Cell::Text),
        })
    });
    Ok(Row {
        act,
        cells: cells.collect::<Result<_, postgres::Error>>()?,
    })
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut bytes::BytesMut) -> Result<IsNull, Cause> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => number.to_sql(ty, out),
            // A text of this server cannot hold the character NUL.
            Self::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{FFFD}").as_str().to_sql(ty, out)
            }
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Types are stated when the statement is prepared.
        true
    }

    to_sql_checked!();
}

fn fault(error: postgres::Error) -> Fault {
    Fault {
        full: error.code() == Some(&postgres::error::SqlState::DISK_FULL),
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{numbered, schema};

    #[test]
    fn a_schema_and_its_statements_are_said_in_the_servers_words() {
        assert_eq!(
            schema("CREATE TABLE t (a BLOB PRIMARY KEY, b INTEGER NOT NULL) STRICT;"),
            "CREATE TABLE t (a BYTEA PRIMARY KEY, b BIGINT NOT NULL);"
        );
        assert_eq!(numbered("a = ?1 AND b = ?12"), "a = $1 AND b = $12");
    }
}
