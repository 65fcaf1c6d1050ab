//! Enrolled boxes: public parts only.

use std::collections::HashMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::message::Hello;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::ties::{self, Ties};
use crate::boxes::KnownBox;
use crate::db::{DbError, during, fixed, from_sql, to_sql};

/// What boxes said of themselves.
#[derive(Clone, Debug, Default)]
pub struct BoxLore {
    /// Version of the program of each box.
    pub agent_versions: HashMap<BoxId, String>,
    /// What is known of their clocks.
    pub ties: Ties,
}

/// A box to enrol.
#[derive(Clone, Debug)]
pub struct NewBox {
    /// Its public parts.
    pub known: KnownBox,
    /// When it is enrolled.
    pub at: UtcMicros,
}

/// A box as it is stored.
#[derive(Clone, Debug)]
pub struct BoxRow {
    /// Its public parts.
    pub known: KnownBox,
    /// When it was enrolled.
    pub enrolled: UtcMicros,
    /// When it was revoked, if it was.
    pub revoked: Option<UtcMicros>,
    /// When it last said hello.
    pub heard: Option<UtcMicros>,
    /// The version of its program, as it said.
    pub agent_version: Option<String>,
    /// Its free space, as it said.
    pub free_bytes: Option<u64>,
}

/// Why a box cannot be enrolled or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// Another box has the name.
    #[error("a box named {name} is already enrolled")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The text cannot be the name of a box.
    #[error(
        "`{name}` cannot name a box: 1 to 64 ASCII letters, digits, '-', '_' or '.' are expected"
    )]
    BadName {
        /// The text.
        name: String,
    },
    /// No box that may connect has the name.
    #[error("no enrolled box is named {name}")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// The inbox could not be written.
    #[error("the inbox did not take the change")]
    Store(#[source] DbError),
}

impl EnrolError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "boxes.name.taken",
            Self::BadName { .. } => "boxes.name.bad",
            Self::UnknownName { .. } => "boxes.name.unknown",
            Self::Store(error) => error.code(),
        }
    }
}

pub(crate) fn enrol(
    connection: &Connection,
    new: &NewBox,
) -> Result<Result<(), EnrolError>, DbError> {
    let taken: Option<i64> = connection
        .query_row(
            "SELECT 1 FROM boxes WHERE name = ?1",
            [&new.known.name],
            |row| row.get(0),
        )
        .optional()
        .map_err(during("look for the name of a box"))?;
    if taken.is_some() {
        return Ok(Err(EnrolError::NameTaken {
            name: new.known.name.clone(),
        }));
    }
    connection
        .execute(
            "INSERT INTO boxes (id, name, cert_key_hash, frame_key, enrolled_us)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                new.known.id.0,
                new.known.name,
                new.known.cert_key_hash,
                new.known.frame_key.0,
                new.at.0
            ],
        )
        .map_err(during("enrol a box"))?;
    Ok(Ok(()))
}

pub(crate) fn revoke(
    connection: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Result<BoxId, EnrolError>, DbError> {
    let id: Option<Vec<u8>> = connection
        .query_row(
            "UPDATE boxes SET revoked_us = ?2 WHERE name = ?1 AND revoked_us IS NULL
             RETURNING id",
            params![name, now.0],
            |row| row.get(0),
        )
        .optional()
        .map_err(during("revoke a box"))?;
    match id {
        Some(id) => Ok(Ok(BoxId(fixed(&id, "box id")?))),
        None => Ok(Err(EnrolError::UnknownName {
            name: name.to_owned(),
        })),
    }
}

pub(crate) fn heard(connection: &Connection, hello: &Hello, now: UtcMicros) -> Result<(), DbError> {
    connection
        .execute(
            "UPDATE boxes SET heard_us = ?2, agent_version = ?3, free_bytes = ?4 WHERE id = ?1",
            params![
                hello.device.0,
                now.0,
                hello.agent_version,
                to_sql(hello.free_bytes)
            ],
        )
        .map(|_| ())
        .map_err(during("note a hello"))
}

/// What boxes said of themselves.
pub(crate) fn read_lore(connection: &Connection, devices: &[BoxId]) -> Result<BoxLore, DbError> {
    let versions = list(connection)?.into_iter().filter_map(|row| {
        let version = row.agent_version?;
        devices
            .contains(&row.known.id)
            .then_some((row.known.id, version))
    });
    Ok(BoxLore {
        agent_versions: versions.collect(),
        ties: ties::of(connection, devices)?,
    })
}

/// Every box that was ever enrolled, by name.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn list(connection: &Connection) -> Result<Vec<BoxRow>, DbError> {
    let act = "list the boxes";
    let mut statement = connection
        .prepare_cached(
            "SELECT id, name, cert_key_hash, frame_key, enrolled_us, revoked_us, heard_us,
                    agent_version, free_bytes FROM boxes ORDER BY name",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([]).map_err(during(act))?;
    let mut boxes = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        boxes.push(read(row)?);
    }
    Ok(boxes)
}

fn read(row: &rusqlite::Row<'_>) -> Result<BoxRow, DbError> {
    let act = "read a box";
    let bytes = |column: usize| row.get::<_, Vec<u8>>(column).map_err(during(act));
    let time = |column: usize| row.get::<_, Option<i64>>(column).map_err(during(act));
    Ok(BoxRow {
        known: KnownBox {
            id: BoxId(fixed(&bytes(0)?, "box id")?),
            name: row.get(1).map_err(during(act))?,
            cert_key_hash: fixed(&bytes(2)?, "certificate hash")?,
            frame_key: VerifyingKey(fixed(&bytes(3)?, "frame key")?),
        },
        enrolled: UtcMicros(row.get(4).map_err(during(act))?),
        revoked: time(5)?.map(UtcMicros),
        heard: time(6)?.map(UtcMicros),
        agent_version: row.get(7).map_err(during(act))?,
        free_bytes: time(8)?.map(from_sql),
    })
}
