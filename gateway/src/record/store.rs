//! Resources: written when they change, read by type and id.

use cardio_core::clock::UtcMicros;
use cardio_fhir::index::{IndexValue, index_of};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use crate::db::{DbError, during, from_sql};

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

/// Writes a resource if its content differs from what is stored.
///
/// # Errors
/// [`DbError`] when the resource has no type or id, or the store fails.
pub fn put(connection: &Connection, resource: &Value, now: UtcMicros) -> Result<Put, DbError> {
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let (Some(kind), Some(id)) = (text("resourceType"), text("id")) else {
        return Err(DAMAGED);
    };
    let body = resource.to_string();
    let old: Option<(i64, i64, String)> = connection
        .prepare_cached(
            "SELECT version, updated_us, body FROM resources WHERE kind = ?1 AND id = ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![kind, id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(during("look for a resource"))?;
    let (put, version) = match old {
        Some((_, _, same)) if same == body => return Ok(Put::Unchanged),
        Some((version, updated, old)) => {
            keep(connection, kind, id, version, updated, &old)?;
            (Put::Updated, version.saturating_add(1))
        }
        None => (Put::Created, 1),
    };
    connection
        .prepare_cached(
            "INSERT INTO resources (kind, id, version, updated_us, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (kind, id) DO UPDATE SET version = ?3, updated_us = ?4, body = ?5",
        )
        .and_then(|mut statement| statement.execute(params![kind, id, version, now.0, body]))
        .map_err(during("write a resource"))?;
    index(connection, kind, id, resource, now)?;
    Ok(put)
}

fn keep(
    connection: &Connection,
    kind: &str,
    id: &str,
    version: i64,
    updated: i64,
    body: &str,
) -> Result<(), DbError> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO history (kind, id, version, updated_us, body)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| statement.execute(params![kind, id, version, updated, body]))
        .map(|_| ())
        .map_err(during("keep the version before"))
}

fn index(
    connection: &Connection,
    kind: &str,
    id: &str,
    resource: &Value,
    now: UtcMicros,
) -> Result<(), DbError> {
    for table in [
        "DELETE FROM index_tokens WHERE kind = ?1 AND id = ?2",
        "DELETE FROM index_references WHERE kind = ?1 AND id = ?2",
        "DELETE FROM index_dates WHERE kind = ?1 AND id = ?2",
    ] {
        connection
            .prepare_cached(table)
            .and_then(|mut statement| statement.execute(params![kind, id]))
            .map_err(during("clear the index of a resource"))?;
    }
    insert_date(connection, kind, "_lastUpdated", (now.0, now.0), id)?;
    for entry in index_of(resource) {
        match &entry.value {
            IndexValue::Token { system, code } => insert_text(
                connection,
                "INSERT OR IGNORE INTO index_tokens (kind, param, code, system, id)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![kind, entry.param, code, system.as_deref().unwrap_or(""), id],
            )?,
            IndexValue::Reference(target) => insert_text(
                connection,
                "INSERT OR IGNORE INTO index_references (kind, param, target, id)
                 VALUES (?1, ?2, ?3, ?4)",
                params![kind, entry.param, target, id],
            )?,
            IndexValue::Date { from, to } => {
                insert_date(connection, kind, entry.param, (from.0, to.0), id)?;
            }
        }
    }
    Ok(())
}

fn insert_text(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<(), DbError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map(|_| ())
        .map_err(during("index a resource"))
}

fn insert_date(
    connection: &Connection,
    kind: &str,
    param: &str,
    (from, to): (i64, i64),
    id: &str,
) -> Result<(), DbError> {
    insert_text(
        connection,
        "INSERT OR IGNORE INTO index_dates (kind, param, from_us, to_us, id)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![kind, param, from, to, id],
    )
}

/// Reads the newest version.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn read(connection: &Connection, kind: &str, id: &str) -> Result<Option<Versioned>, DbError> {
    let row: Option<(i64, i64, String)> = connection
        .prepare_cached(
            "SELECT version, updated_us, body FROM resources WHERE kind = ?1 AND id = ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![kind, id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(during("read a resource"))?;
    row.map(|(version, updated, body)| dressed(version, updated, &body))
        .transpose()
}

/// Reads one version.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn read_version(
    connection: &Connection,
    kind: &str,
    id: &str,
    version: u64,
) -> Result<Option<Versioned>, DbError> {
    Ok(history(connection, kind, id)?
        .into_iter()
        .find(|versioned| versioned.version == version))
}

/// Reads every version, newest first.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn history(connection: &Connection, kind: &str, id: &str) -> Result<Vec<Versioned>, DbError> {
    let act = "read the history of a resource";
    let mut statement = connection
        .prepare_cached(
            "SELECT version, updated_us, body FROM resources WHERE kind = ?1 AND id = ?2
             UNION ALL
             SELECT version, updated_us, body FROM history WHERE kind = ?1 AND id = ?2
             ORDER BY 1 DESC",
        )
        .map_err(during(act))?;
    let mut rows = statement.query(params![kind, id]).map_err(during(act))?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let body: String = row.get(2).map_err(during(act))?;
        versions.push(dressed(
            row.get(0).map_err(during(act))?,
            row.get(1).map_err(during(act))?,
            &body,
        )?);
    }
    Ok(versions)
}

/// Writes version and time into the resource's `meta`.
pub(super) fn dressed(version: i64, updated: i64, body: &str) -> Result<Versioned, DbError> {
    let mut resource: Value = serde_json::from_str(body).map_err(|_| DAMAGED)?;
    let updated = UtcMicros(updated);
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
        version: from_sql(version),
        updated,
        resource,
    })
}

/// The bytes of a Binary: the opened records of its acquisition, in chain order.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn binary_bytes(connection: &Connection, id: &str) -> Result<Option<BinaryBytes>, DbError> {
    let act = "read the bytes of a document";
    let acquisition: Option<Vec<u8>> = connection
        .query_row(
            "SELECT acquisition FROM binaries WHERE id = ?1",
            [id],
            |row| row.get(0),
        )
        .optional()
        .map_err(during(act))?;
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
