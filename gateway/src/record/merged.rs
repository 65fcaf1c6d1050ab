//! Who continues the record of a patient who was merged, and what follows for resources.

use std::borrow::Cow;
use std::collections::BTreeSet;

use cardio_core::clock::UtcMicros;
use serde_json::Value;

use super::store::{Put, put, read};
use super::write::each_reference;
use crate::db::{Connection, DbError, values};

/// Types that go on naming the patient that they named when they were written.
const KEEPS: [&str; 3] = ["Patient", "Provenance", "AuditEvent"];

/// Who continues the record of a patient, if they were merged.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn survivor(connection: &Connection, patient: &str) -> Result<Option<String>, DbError> {
    connection.cell(
        "look for who continues a record",
        "SELECT survivor FROM merges WHERE merged = ?1",
        values![patient],
    )
}

/// A resource as it is filed: what names a patient who was merged names the one who continues
/// the record.
pub(super) fn continued<'r>(
    connection: &Connection,
    kind: &str,
    resource: &'r Value,
) -> Result<Cow<'r, Value>, DbError> {
    if KEEPS.contains(&kind) {
        return Ok(Cow::Borrowed(resource));
    }
    let mut named = BTreeSet::new();
    patients_in(resource, &mut named);
    let mut resource = Cow::Borrowed(resource);
    for patient in named {
        if let Some(survivor) = survivor(connection, &patient)? {
            let (from, to) = (format!("Patient/{patient}"), format!("Patient/{survivor}"));
            rename(resource.to_mut(), &from, &to);
        }
    }
    Ok(resource)
}

pub(super) fn patients_in(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| patients_in(item, found)),
        Value::Object(map) => {
            for (name, item) in map {
                match item.as_str().filter(|_| name == "reference") {
                    Some(text) => found.extend(text.strip_prefix("Patient/").map(str::to_owned)),
                    None => patients_in(item, found),
                }
            }
        }
        _ => {}
    }
}

fn rename(resource: &mut Value, from: &str, to: &str) {
    each_reference(resource, &mut |reference| {
        if reference == from {
            to.clone_into(reference);
        }
    });
}

/// Writes a resource again that names `to` wherever it named `from`.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn repoint(
    tx: &Connection,
    (kind, id): (&str, &str),
    from: &str,
    to: &str,
    now: UtcMicros,
) -> Result<Put, DbError> {
    let Some(found) = read(tx, kind, id)? else {
        return Ok(Put::Unchanged);
    };
    let mut resource = found.resource;
    rename(&mut resource, from, to);
    put(tx, &undressed(resource), now)
}

/// A resource without the version and the time that columns hold.
pub fn undressed(mut resource: Value) -> Value {
    if let Some(map) = resource.as_object_mut() {
        if let Some(Value::Object(meta)) = map.get_mut("meta") {
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        if map
            .get("meta")
            .is_some_and(|meta| meta == &serde_json::json!({}))
        {
            map.remove("meta");
        }
    }
    resource
}

/// Addresses of what names a patient, except what goes on doing so.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn filed_for(connection: &Connection, patient: &str) -> Result<Vec<String>, DbError> {
    connection.cells(
        "list what names a patient",
        "SELECT DISTINCT kind || '/' || id FROM index_references
         WHERE target = ?1 AND kind NOT IN ('Patient', 'Provenance', 'AuditEvent')",
        values![patient],
    )
}
