//! Resources: written when they change, read by type and id.

use cardio_core::clock::UtcMicros;
use cardio_fhir::index::{IndexValue, index_of};
use serde_json::{Value, json};

use super::merged::continued;
use super::scope::{self, Scope};
use crate::db::{Connection, DbError, Row, values};

/// What writing a resource did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There was none.
    Created,
    /// Its content changed.
    Updated,
    /// Its content was the same: nothing was written.
    Unchanged,
}

/// A resource with its version.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// Counts from 1.
    pub version: u64,
    /// When this version was written.
    pub updated: UtcMicros,
    /// The resource, with both in its `meta`.
    pub resource: Value,
}

/// The bytes of a Binary.
#[derive(Clone, Debug)]
pub struct BinaryBytes {
    /// Its media type.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

const DAMAGED: DbError = DbError::Damaged { what: "resource" };

/// Writes a resource if its content differs from what is stored. What names a patient who was
/// merged is written for the one who continues the record.
///
/// # Errors
/// [`DbError`] when the resource has no type or id, or the store fails.
pub fn put(connection: &Connection, resource: &Value, now: UtcMicros) -> Result<Put, DbError> {
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let (Some(kind), Some(id)) = (text("resourceType"), text("id")) else {
        return Err(DAMAGED);
    };
    let resource = &*continued(connection, kind, resource)?;
    let body = resource.to_string();
    let old = connection
        .row(
            "look for a resource",
            "SELECT version, updated_us, body FROM resources WHERE kind = ?1 AND id = ?2",
            values![kind, id],
        )?
        .map(Stored::of)
        .transpose()?;
    let (put, version) = match old {
        Some(old) if old.body == body => {
            // Its targets may have become somebody else's.
            if kind == "Provenance" {
                scope::note(connection, kind, id, resource)?;
            }
            return Ok(Put::Unchanged);
        }
        Some(old) => {
            keep(connection, kind, id, &old)?;
            (Put::Updated, old.version.saturating_add(1))
        }
        None => (Put::Created, 1),
    };
    connection.execute(
        "write a resource",
        "INSERT INTO resources (kind, id, version, updated_us, body) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version,
           updated_us = excluded.updated_us, body = excluded.body",
        values![kind, id, version, now, body],
    )?;
    connection.execute(
        "number a version",
        "INSERT INTO changes (seq, kind, id, version, updated_us)
         SELECT coalesce(max(seq), 0) + 1, ?1, ?2, ?3, ?4 FROM changes",
        values![kind, id, version, now],
    )?;
    index(connection, kind, id, resource, now)?;
    scope::note(connection, kind, id, resource)?;
    Ok(put)
}

/// A version as it is stored.
struct Stored {
    version: u64,
    updated: UtcMicros,
    body: String,
}

impl Stored {
    fn of(mut row: Row) -> Result<Self, DbError> {
        Ok(Self {
            version: row.take(0)?,
            updated: row.take(1)?,
            body: row.take(2)?,
        })
    }

    fn versioned(&self) -> Result<Versioned, DbError> {
        dressed(self.version, self.updated, &self.body)
    }
}

fn keep(connection: &Connection, kind: &str, id: &str, old: &Stored) -> Result<(), DbError> {
    connection
        .execute(
            "keep the version before",
            "INSERT INTO history (kind, id, version, updated_us, body)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            values![kind, id, old.version, old.updated, old.body],
        )
        .map(|_| ())
}

fn index(
    connection: &Connection,
    kind: &str,
    id: &str,
    resource: &Value,
    now: UtcMicros,
) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM index_tokens WHERE kind = ?1 AND id = ?2",
        "DELETE FROM index_references WHERE kind = ?1 AND id = ?2",
        "DELETE FROM index_dates WHERE kind = ?1 AND id = ?2",
    ] {
        connection.execute("clear the index of a resource", sql, values![kind, id])?;
    }
    insert_date(connection, kind, "_lastUpdated", (now, now), id)?;
    let act = "index a resource";
    for entry in index_of(resource) {
        match &entry.value {
            IndexValue::Token { system, code } => connection
                .execute(
                    act,
                    "INSERT INTO index_tokens (kind, param, code, system, id)
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                    values![kind, entry.param, code, system.as_deref().unwrap_or(""), id],
                )
                .map(|_| ())?,
            IndexValue::Reference(target) => connection
                .execute(
                    act,
                    "INSERT INTO index_references (kind, param, target, id)
                     VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    values![kind, entry.param, target, id],
                )
                .map(|_| ())?,
            IndexValue::Date { from, to } => {
                insert_date(connection, kind, entry.param, (*from, *to), id)?;
            }
        }
    }
    Ok(())
}

fn insert_date(
    connection: &Connection,
    kind: &str,
    param: &str,
    (from, to): (UtcMicros, UtcMicros),
    id: &str,
) -> Result<(), DbError> {
    connection
        .execute(
            "index a resource",
            "INSERT INTO index_dates (kind, param, from_us, to_us, id)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            values![kind, param, from, to, id],
        )
        .map(|_| ())
}

/// Reads the newest version.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn read(connection: &Connection, kind: &str, id: &str) -> Result<Option<Versioned>, DbError> {
    let row = connection.row(
        "read a resource",
        "SELECT version, updated_us, body FROM resources WHERE kind = ?1 AND id = ?2",
        values![kind, id],
    )?;
    row.map(|row| Stored::of(row)?.versioned()).transpose()
}

/// Reads the newest version, if it is in scope.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn read_for(
    connection: &Connection,
    scope: &Scope,
    kind: &str,
    id: &str,
) -> Result<Option<Versioned>, DbError> {
    match scope.holds(connection, kind, id)? {
        true => read(connection, kind, id),
        false => Ok(None),
    }
}

/// Reads one version, if it is in scope.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn read_version(
    connection: &Connection,
    scope: &Scope,
    kind: &str,
    id: &str,
    version: u64,
) -> Result<Option<Versioned>, DbError> {
    if !scope.holds(connection, kind, id)? {
        return Ok(None);
    }
    let row = connection.row(
        "read a version of a resource",
        "SELECT version, updated_us, body FROM resources
         WHERE kind = ?1 AND id = ?2 AND version = ?3
         UNION ALL
         SELECT version, updated_us, body FROM history
         WHERE kind = ?1 AND id = ?2 AND version = ?3",
        values![kind, id, version],
    )?;
    let found = row.map(|row| Stored::of(row)?.versioned()).transpose()?;
    match found {
        Some(found) if scope.tells(connection, kind, &found.resource)? => Ok(Some(found)),
        _ => Ok(None),
    }
}

/// Writes version and time into the resource's `meta`.
pub(super) fn dressed(version: u64, updated: UtcMicros, body: &str) -> Result<Versioned, DbError> {
    let mut resource: Value = serde_json::from_str(body).map_err(|_| DAMAGED)?;
    let object = resource.as_object_mut().ok_or(DAMAGED)?;
    let meta = object.entry("meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("versionId".to_owned(), json!(version.to_string()));
        meta.insert(
            "lastUpdated".to_owned(),
            json!(cardio_fhir::time::instant(updated)),
        );
    }
    Ok(Versioned {
        version,
        updated,
        resource,
    })
}

/// The bytes of a Binary: an uploaded file, a file that a box sent, or the opened records of its
/// acquisition, in chain order.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn binary_bytes(connection: &Connection, id: &str) -> Result<Option<BinaryBytes>, DbError> {
    let file = connection.row(
        "read the bytes of a document",
        "SELECT media_type, bytes FROM files WHERE \"binary\" = ?1",
        values![id],
    )?;
    if let Some(mut file) = file {
        return Ok(Some(BinaryBytes {
            media_type: file.take(0)?,
            bytes: file.take(1)?,
        }));
    }
    if let Some((media_type, bytes)) = crate::filing::original_bytes(connection, id)? {
        return Ok(Some(BinaryBytes { media_type, bytes }));
    }
    let acquisition: Option<Vec<u8>> = connection.cell(
        "read the bytes of a document",
        "SELECT acquisition FROM binaries WHERE id = ?1",
        values![id],
    )?;
    let Some(acquisition) = acquisition else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    crate::filing::each_record(connection, &acquisition, |record| {
        bytes.extend_from_slice(record)
    })?;
    Ok(Some(BinaryBytes {
        media_type: crate::filing::ORIGINAL_MEDIA_TYPE.to_owned(),
        bytes,
    }))
}
