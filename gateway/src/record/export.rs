//! A part of the record as a set of resources that stands alone.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::store::{binary_bytes, read};
use crate::db::{Connection, DbError, values};

/// Most resources of one export.
const EXPORT_MAX: usize = 200_000;

/// Everything that belongs to a patient or to a report: what refers to it, what that refers
/// to in turn, and where it comes from. `root` is a reference such as `Patient/p1`.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn export(connection: &Connection, root: &str) -> Result<Vec<Value>, DbError> {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    let mut waiting: BTreeSet<String> = BTreeSet::from([root.to_owned()]);
    while let Some(reference) = waiting.pop_first() {
        if found.contains_key(&reference) || found.len() >= EXPORT_MAX {
            continue;
        }
        let Some((kind, id)) = reference.split_once('/') else {
            continue;
        };
        let Some(versioned) = read(connection, kind, id)? else {
            continue;
        };
        waiting.extend(referred(connection, kind, id)?);
        if reference == root || matches!(kind, "DiagnosticReport" | "DocumentReference") {
            waiting.extend(referring(connection, &reference)?);
        }
        if kind == "DocumentReference" {
            waiting.extend(attachments(&versioned.resource));
        }
        let mut resource = versioned.resource;
        if kind == "Binary"
            && let Some(content) = binary_bytes(connection, id)?
            && let Some(map) = resource.as_object_mut()
        {
            map.insert("data".to_owned(), json!(STANDARD.encode(&content.bytes)));
        }
        found.insert(reference, resource);
    }
    Ok(found.into_values().collect())
}

fn attachments(document: &Value) -> Vec<String> {
    document
        .get("content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|content| content.pointer("/attachment/url")?.as_str())
        .map(str::to_owned)
        .collect()
}

fn referred(connection: &Connection, kind: &str, id: &str) -> Result<Vec<String>, DbError> {
    connection.cells(
        "follow the references of a resource",
        "SELECT DISTINCT target FROM index_references WHERE kind = ?1 AND id = ?2",
        values![kind, id],
    )
}

fn referring(connection: &Connection, target: &str) -> Result<Vec<String>, DbError> {
    connection.cells(
        "find what refers to a resource",
        "SELECT DISTINCT kind || '/' || id FROM index_references WHERE target = ?1",
        values![target],
    )
}
