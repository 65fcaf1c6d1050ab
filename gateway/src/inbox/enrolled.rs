//! Enrolled boxes: public parts only.

use std::collections::HashMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::message::Hello;

use super::ties::{self, Ties};
use crate::boxes::KnownBox;
use crate::db::{Connection, DbError, Row, values};

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
    /// When it was last connected to one of several programs that share the inbox.
    pub connected: Option<UtcMicros>,
    /// The version of its program, as it said.
    pub agent_version: Option<String>,
    /// Its free space, as it said.
    pub free_bytes: Option<u64>,
    /// The team that carries it, as `Organization/id`.
    pub team: Option<String>,
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

pub(super) fn enrol(
    connection: &Connection,
    new: &NewBox,
) -> Result<Result<(), EnrolError>, DbError> {
    let taken: Option<i64> = connection.cell(
        "look for the name of a box",
        "SELECT 1 FROM boxes WHERE name = ?1",
        values![new.known.name],
    )?;
    if taken.is_some() {
        return Ok(Err(EnrolError::NameTaken {
            name: new.known.name.clone(),
        }));
    }
    connection.execute(
        "enrol a box",
        "INSERT INTO boxes (id, name, cert_key_hash, frame_key, enrolled_us)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        values![
            new.known.id,
            new.known.name,
            new.known.cert_key_hash,
            new.known.frame_key.0,
            new.at
        ],
    )?;
    Ok(Ok(()))
}

pub(super) fn revoke(
    connection: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Result<BoxId, EnrolError>, DbError> {
    let id = connection.cell(
        "revoke a box",
        "UPDATE boxes SET revoked_us = ?2 WHERE name = ?1 AND revoked_us IS NULL RETURNING id",
        values![name, now],
    )?;
    Ok(id.ok_or_else(|| EnrolError::UnknownName {
        name: name.to_owned(),
    }))
}

pub(super) fn set_team(
    connection: &Connection,
    name: &str,
    team: Option<&str>,
) -> Result<Result<BoxId, EnrolError>, DbError> {
    let id = connection.cell(
        "note the team of a box",
        "UPDATE boxes SET team = ?2 WHERE name = ?1 AND revoked_us IS NULL RETURNING id",
        values![name, team],
    )?;
    Ok(id.ok_or_else(|| EnrolError::UnknownName {
        name: name.to_owned(),
    }))
}

pub(super) fn heard(connection: &Connection, hello: &Hello, now: UtcMicros) -> Result<(), DbError> {
    connection
        .execute(
            "note a hello",
            "UPDATE boxes SET heard_us = ?2, agent_version = ?3, free_bytes = ?4 WHERE id = ?1",
            values![hello.device, now, hello.agent_version, hello.free_bytes],
        )
        .map(|_| ())
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

/// What boxes said of themselves, as a transaction of another part of the store may rely on it:
/// what this program `read` before, unless another program may have learnt more since.
pub(crate) fn lore_within(
    tx: &Connection,
    devices: &[BoxId],
    read: BoxLore,
) -> Result<BoxLore, DbError> {
    match tx.is_shared() {
        true => read_lore(tx, devices),
        false => Ok(read),
    }
}

pub(super) fn connected(
    connection: &Connection,
    device: BoxId,
    now: UtcMicros,
) -> Result<(), DbError> {
    connection
        .execute(
            "note that a box is connected",
            "UPDATE boxes SET connected_us = ?2
             WHERE id = ?1 AND (connected_us IS NULL OR connected_us < ?2)",
            values![device, now],
        )
        .map(|_| ())
}

/// Every box that was ever enrolled, by name.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn list(connection: &Connection) -> Result<Vec<BoxRow>, DbError> {
    let rows = connection.rows(
        "list the boxes",
        "SELECT id, name, cert_key_hash, frame_key, enrolled_us, revoked_us, heard_us,
                agent_version, free_bytes, connected_us, team FROM boxes ORDER BY name",
        values![],
    )?;
    rows.into_iter().map(read).collect()
}

fn read(mut row: Row) -> Result<BoxRow, DbError> {
    Ok(BoxRow {
        known: KnownBox {
            id: row.take(0)?,
            name: row.take(1)?,
            cert_key_hash: row.take(2)?,
            frame_key: VerifyingKey(row.take(3)?),
        },
        enrolled: row.take(4)?,
        revoked: row.take(5)?,
        heard: row.take(6)?,
        agent_version: row.take(7)?,
        free_bytes: row.take(8)?,
        connected: row.take(9)?,
        team: row.take(10)?,
    })
}
