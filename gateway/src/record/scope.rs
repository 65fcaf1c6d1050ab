//! What of the record somebody may see.
//!
//! * A patient is in the care of a team when `Patient.managingOrganization` names it. Who sees
//!   the patients of some teams sees what is about them and about nobody else, and the directory
//!   (devices and people that are about no patient).
//! * What is about no patient, such as an exam that is not assigned yet, is in no team.
//! * Which patients a resource is about is written down with it (`belongs`), so that a condition
//!   of SQL decides: what is out of scope is neither counted nor brought along.
//! * An older version must be in scope itself, and so must the newest: what was moved to another
//!   patient is that patient's with its whole history.
//!
//! Deliberately absent: what somebody may do ([`crate::access`]).

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::merged::patients_in;
use crate::db::{AsValue as _, Connection, DbError, Value, values};

/// Types that everybody sees, as long as they are about no patient.
pub const DIRECTORY: [&str; 4] = ["Device", "Organization", "Practitioner", "PractitionerRole"];

/// What of the record somebody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Everything,
    /// The patients of these organizations, each as `Organization/id`, and the directory.
    Teams(Vec<String>),
    /// The directory alone.
    Directory,
}

impl Scope {
    /// The condition under which a resource is in scope; `kind` and `id` are how a statement
    /// names its type and id, never a reader's text.
    pub(super) fn condition<'s>(
        &'s self,
        (kind, id): (&str, &str),
        bind: &mut impl FnMut(Value<'s>) -> String,
    ) -> String {
        let about = format!("SELECT 1 FROM belongs b WHERE b.kind = {kind} AND b.id = {id}");
        let directory = format!("{kind} IN ('{}')", DIRECTORY.join("', '"));
        match self {
            Self::Everything => "1 = 1".to_owned(),
            Self::Teams(teams) if !teams.is_empty() => {
                let own = own_patients(teams, bind);
                format!(
                    "(({directory} OR EXISTS ({about})) \
                     AND NOT EXISTS ({about} AND b.patient NOT IN ({own})))"
                )
            }
            Self::Teams(_) | Self::Directory => format!("({directory} AND NOT EXISTS ({about}))"),
        }
    }

    /// Whether a resource is in scope.
    ///
    /// # Errors
    /// [`DbError`] when the store fails.
    pub fn holds(&self, connection: &Connection, kind: &str, id: &str) -> Result<bool, DbError> {
        let mut values = vec![kind.value(), id.value()];
        let condition = self.condition(("r.kind", "r.id"), &mut |value| {
            values.push(value);
            format!("?{}", values.len())
        });
        let sql =
            format!("SELECT 1 FROM resources r WHERE r.kind = ?1 AND r.id = ?2 AND {condition}");
        let found: Option<i64> = connection.cell("look whether it is in scope", &sql, &values)?;
        Ok(found.is_some())
    }

    /// Whether a version, whose resource is in scope, is in scope itself.
    pub(super) fn tells(
        &self,
        connection: &Connection,
        kind: &str,
        version: &Json,
    ) -> Result<bool, DbError> {
        if *self == Self::Everything || kind == "Patient" {
            return Ok(true);
        }
        for patient in named(version) {
            if !self.holds(connection, "Patient", &patient)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether somebody of this scope may write a resource as it is here, given the patients that
    /// the same request writes.
    pub(super) fn admits(
        &self,
        connection: &Connection,
        kind: &str,
        resource: &Json,
        written: &BTreeSet<String>,
    ) -> Result<bool, DbError> {
        let teams = match self {
            Self::Everything => return Ok(true),
            Self::Teams(teams) => teams.as_slice(),
            Self::Directory => &[],
        };
        if kind == "Patient" {
            let team = resource.pointer("/managingOrganization/reference");
            let team = team.and_then(Json::as_str).unwrap_or_default();
            return Ok(teams.iter().any(|own| own == team));
        }
        let about = named(resource);
        for patient in &about {
            if !written.contains(patient) && !self.holds(connection, "Patient", patient)? {
                return Ok(false);
            }
        }
        Ok(DIRECTORY.contains(&kind) == about.is_empty())
    }
}

fn own_patients<'s>(teams: &'s [String], bind: &mut impl FnMut(Value<'s>) -> String) -> String {
    let teams: Vec<String> = teams.iter().map(|team| bind(team.value())).collect();
    format!(
        "SELECT p.id FROM index_references p WHERE p.kind = 'Patient' \
         AND p.param = 'organization' AND p.target IN ({})",
        teams.join(", ")
    )
}

/// The patients that a resource names.
pub fn named(resource: &Json) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    patients_in(resource, &mut found);
    found
}

/// The patients that a resource is about.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn about(connection: &Connection, kind: &str, id: &str) -> Result<Vec<String>, DbError> {
    connection.cells(
        "look whom a resource is about",
        "SELECT patient FROM belongs WHERE kind = ?1 AND id = ?2",
        values![kind, id],
    )
}

/// Writes down which patients a resource is about.
pub(super) fn note(
    connection: &Connection,
    kind: &str,
    id: &str,
    resource: &Json,
) -> Result<(), DbError> {
    let about = match kind {
        // A Binary has no patient of its own; it is noted with its document.
        "Binary" => return Ok(()),
        "Patient" => BTreeSet::from([id.to_owned()]),
        "Provenance" => of_targets(connection, resource)?,
        _ => named(resource),
    };
    set(connection, kind, id, &about)?;
    if kind == "DocumentReference" {
        let content = resource.get("content").and_then(Json::as_array);
        let urls = content.into_iter().flatten();
        let urls = urls.filter_map(|one| one.pointer("/attachment/url")?.as_str());
        for binary in urls.filter_map(|url| url.strip_prefix("Binary/")) {
            set(connection, "Binary", binary, &about)?;
        }
    }
    Ok(())
}

fn of_targets(connection: &Connection, provenance: &Json) -> Result<BTreeSet<String>, DbError> {
    let mut found = named(provenance);
    let targets = provenance.get("target").and_then(Json::as_array);
    let targets = targets.into_iter().flatten();
    for target in targets.filter_map(|one| one.get("reference")?.as_str()) {
        let mut parts = target.split('/');
        let (Some(kind), Some(id)) = (parts.next(), parts.next()) else {
            continue;
        };
        found.extend(about(connection, kind, id)?);
    }
    Ok(found)
}

fn set(
    connection: &Connection,
    kind: &str,
    id: &str,
    about: &BTreeSet<String>,
) -> Result<(), DbError> {
    let act = "note whom a resource is about";
    let clear = "DELETE FROM belongs WHERE kind = ?1 AND id = ?2";
    connection.execute(act, clear, values![kind, id])?;
    let insert = "INSERT INTO belongs (kind, id, patient) VALUES (?1, ?2, ?3)";
    for patient in about {
        connection.execute(act, insert, values![kind, id, patient])?;
    }
    Ok(())
}
