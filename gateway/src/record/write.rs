//! Resources that others write: one, or several that are all written or none.
//!
//! Every condition is looked at before anything is written, within the transaction that writes:
//! what is refused leaves no trace, and nobody can come between the look and the writing.
//! References to resources that the same request creates are made to name them. Deliberately
//! absent: whether a resource has the shape of its type ([`cardio_fhir::shape`]).

use std::collections::{BTreeMap, BTreeSet};

use cardio_core::clock::UtcMicros;
use cardio_fhir::patient::merge_links;
use serde_json::{Value, json};

use super::merged::survivor;
use super::query::Query;
use super::scope::Scope;
use super::search;
use super::store::{Put, Versioned, put, read};
use crate::db::{Connection, DbError};

/// One resource to write.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its type.
    pub kind: &'static str,
    /// The logical id that it has, or is given.
    pub id: String,
    /// Whether the writer chose the id; else it was drawn just now.
    pub is_named: bool,
    /// The resource.
    pub resource: Value,
    /// How others of the same request refer to it.
    pub full_url: Option<String>,
    /// Written only if nothing matches this search: a conditional create.
    pub unless: Option<Query>,
    /// Written only over this version, as an entity tag; `*` for any that is there.
    pub if_match: Option<String>,
}

/// What became of one resource.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its type.
    pub kind: &'static str,
    /// Its logical id.
    pub id: String,
    /// What was done; unchanged when the condition of its creation found it.
    pub put: Put,
    /// As it is now.
    pub versioned: Versioned,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteRefused {
    /// Somebody wrote it meanwhile.
    #[error("the resource has another version by now: read it again, and decide again")]
    Version,
    /// Several resources match the condition of a create.
    #[error("more than one resource matches the condition: nothing was created")]
    SeveralMatch,
    /// One resource would be written twice.
    #[error("one request writes {address} twice")]
    Twice {
        /// The resource.
        address: String,
    },
    /// The record of that patient is continued elsewhere.
    #[error("the patient is merged into Patient/{survivor}: write that one")]
    Merged {
        /// Who continues the record.
        survivor: String,
    },
    /// Links of a merge are not the writer's.
    #[error("links that a merge made stay as they are: use Patient/$merge")]
    Links,
    /// Nothing of that address is in the writer's scope, and only a drawn id is new for sure.
    #[error("there is no {address}; create it with POST")]
    Unseen {
        /// The resource.
        address: String,
    },
    /// It would be about a patient whom the writer does not see, or about nobody.
    #[error(
        "it must be about patients of your teams and about nobody else; a Patient names one \
             of your teams as managingOrganization"
    )]
    OutOfScope,
    /// A reference to something that the request does not hold.
    #[error("the reference {reference} names no entry of this bundle")]
    Unresolved {
        /// The reference.
        reference: String,
    },
}

impl WriteRefused {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version => "write.version",
            Self::SeveralMatch => "write.several-match",
            Self::Twice { .. } => "write.twice",
            Self::Merged { .. } => "write.merged",
            Self::Links => "write.links",
            Self::Unseen { .. } => "write.unseen",
            Self::OutOfScope => "write.scope",
            Self::Unresolved { .. } => "write.unresolved",
        }
    }
}

/// Writes all of them or, when one is refused, none; says which one and why. Whoever has a scope
/// writes within it, and learns nothing of what lies outside.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn write(
    tx: &Connection,
    mut wanted: Vec<Wanted>,
    scope: &Scope,
    now: UtcMicros,
) -> Result<Result<Vec<Written>, (usize, WriteRefused)>, DbError> {
    let mut found = Vec::with_capacity(wanted.len());
    for (at, one) in wanted.iter_mut().enumerate() {
        match look(tx, one, scope)? {
            Ok(existing) => found.push(existing),
            Err(refused) => return Ok(Err((at, refused))),
        }
    }
    if let Err(refused) = named(&mut wanted) {
        return Ok(Err(refused));
    }
    if let Some(at) = outside(tx, &wanted, &found, scope)? {
        return Ok(Err((at, WriteRefused::OutOfScope)));
    }
    let mut written = Vec::with_capacity(wanted.len());
    for (one, existing) in wanted.into_iter().zip(found) {
        let done = match existing {
            Some(_) => Put::Unchanged,
            None => put(tx, &one.resource, now)?,
        };
        let versioned = read(tx, one.kind, &one.id)?;
        written.push(Written {
            kind: one.kind,
            id: one.id,
            put: done,
            versioned: versioned.ok_or(DbError::Damaged { what: "resource" })?,
        });
    }
    Ok(Ok(written))
}

/// The first of them that its writer may not write as it is.
fn outside(
    tx: &Connection,
    wanted: &[Wanted],
    found: &[Option<Versioned>],
    scope: &Scope,
) -> Result<Option<usize>, DbError> {
    let patients = wanted.iter().filter(|one| one.kind == "Patient");
    let patients: BTreeSet<String> = patients.map(|one| one.id.clone()).collect();
    for (at, (one, existing)) in wanted.iter().zip(found).enumerate() {
        if existing.is_none() && !scope.admits(tx, one.kind, &one.resource, &patients)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether the conditions hold; a resource that a conditional create finds lends its id.
fn look(
    tx: &Connection,
    one: &mut Wanted,
    scope: &Scope,
) -> Result<Result<Option<Versioned>, WriteRefused>, DbError> {
    if let Some(query) = &one.unless {
        let mut matches = search(tx, query, scope)?.found;
        if matches.len() > 1 {
            return Ok(Err(WriteRefused::SeveralMatch));
        }
        if let Some(found) = matches.pop() {
            let id = found.resource.get("id").and_then(Value::as_str);
            one.id = id.unwrap_or_default().to_owned();
            return Ok(Ok(Some(found)));
        }
    }
    if *scope != Scope::Everything && one.is_named && !scope.holds(tx, one.kind, &one.id)? {
        let address = format!("{}/{}", one.kind, one.id);
        return Ok(Err(WriteRefused::Unseen { address }));
    }
    if one.kind == "Patient"
        && let Some(survivor) = survivor(tx, &one.id)?
    {
        return Ok(Err(WriteRefused::Merged { survivor }));
    }
    let current = read(tx, one.kind, &one.id)?;
    let stored = current.as_ref().map(|current| &current.resource);
    if merge_links(&one.resource) != stored.map(merge_links).unwrap_or_default() {
        return Ok(Err(WriteRefused::Links));
    }
    if let Some(tag) = &one.if_match
        && !current.is_some_and(|current| is_version(tag, current.version))
    {
        return Ok(Err(WriteRefused::Version));
    }
    Ok(Ok(None))
}

/// Whether an entity tag, or a list of them, names a version: `W/"3"`, `"3"` or `*`.
pub(crate) fn is_version(tags: &str, version: u64) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || tag == format!("\"{version}\"")
    })
}

/// Gives every resource its id, and every reference to one of them its address.
fn named(wanted: &mut [Wanted]) -> Result<(), (usize, WriteRefused)> {
    let mut addresses = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut conditions = BTreeSet::new();
    for (at, one) in wanted.iter().enumerate() {
        let address = format!("{}/{}", one.kind, one.id);
        let condition = one
            .unless
            .as_ref()
            .map(|query| (one.kind, &query.understood));
        let twice = condition.is_some_and(|condition| !conditions.insert(condition));
        if twice || !taken.insert(address.clone()) {
            return Err((at, WriteRefused::Twice { address }));
        }
        if let Some(url) = &one.full_url
            && addresses.insert(url.clone(), address).is_some()
        {
            let address = url.clone();
            return Err((at, WriteRefused::Twice { address }));
        }
    }
    for (at, one) in wanted.iter_mut().enumerate() {
        let mut unresolved = None;
        if let Some(map) = one.resource.as_object_mut() {
            map.insert("id".to_owned(), json!(one.id));
        }
        each_reference(&mut one.resource, &mut |reference| {
            if let Some(address) = addresses.get(reference.as_str()) {
                reference.clone_from(address);
            } else if reference.starts_with("urn:uuid:") {
                unresolved = Some(reference.chars().take(64).collect());
            }
        });
        if let Some(reference) = unresolved {
            return Err((at, WriteRefused::Unresolved { reference }));
        }
    }
    Ok(())
}

/// Calls `each` with every literal reference of a resource.
pub(super) fn each_reference(value: &mut Value, each: &mut impl FnMut(&mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_reference(item, each)),
        Value::Object(map) => {
            for (name, item) in map {
                match item {
                    Value::String(text) if name == "reference" => each(text),
                    item => each_reference(item, each),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STEPS, newest, parse, read};
    use super::{Put, Scope, Wanted, WriteRefused, write};
    use crate::db::Connection;
    use crate::db::testing::Fresh;
    use cardio_core::clock::UtcMicros;
    use serde_json::{Value, json};

    fn wanted(kind: &'static str, id: &str, resource: Value) -> Wanted {
        let mut resource = resource;
        resource["resourceType"] = json!(kind);
        resource["id"] = json!(id);
        Wanted {
            kind,
            id: id.to_owned(),
            is_named: true,
            resource,
            full_url: None,
            unless: None,
            if_match: None,
        }
    }

    fn unless(kind: &'static str, value: &str) -> Option<super::Query> {
        let pairs = [("identifier".to_owned(), value.to_owned())];
        Some(parse(kind, &pairs, 2, 2).unwrap())
    }

    fn run(c: &Connection, all: Vec<Wanted>) -> Result<Vec<super::Written>, (usize, WriteRefused)> {
        write(c, all, &Scope::Everything, UtcMicros(7)).unwrap()
    }

    #[test]
    fn what_is_created_together_refers_to_each_other() {
        Fresh::on(STEPS, |c| {
            let mut patient = wanted("Patient", "new", json!({}));
            patient.full_url = Some("urn:uuid:one".to_owned());
            let request = wanted(
                "ServiceRequest",
                "r",
                json!({"subject": {"reference": "urn:uuid:one"}}),
            );
            let done = run(c, vec![request, patient]).unwrap();
            assert!(done.iter().all(|one| one.put == Put::Created));
            let filed = read(c, "ServiceRequest", "r").unwrap().unwrap().resource;
            assert_eq!(filed["subject"]["reference"], "Patient/new");
        });
    }

    #[test]
    fn a_conditional_create_finds_what_is_there_and_says_when_it_cannot_tell() {
        Fresh::on(STEPS, |c| {
            let of = |id: &str, value: &str| {
                let mut one = wanted(
                    "Patient",
                    id,
                    json!({"identifier": [{"system": "s", "value": value}]}),
                );
                one.unless = unless("Patient", &format!("s|{value}"));
                one
            };
            assert_eq!(run(c, vec![of("a", "1")]).unwrap()[0].put, Put::Created);
            let again = run(c, vec![of("b", "1")]).unwrap();
            assert_eq!((again[0].id.as_str(), again[0].put), ("a", Put::Unchanged));
            let mut second = of("c", "1");
            second.unless = None;
            run(c, vec![second]).unwrap();
            let err = run(c, vec![of("d", "2"), of("e", "1")]).unwrap_err();
            assert_eq!(err, (1, WriteRefused::SeveralMatch));
            assert!(read(c, "Patient", "d").unwrap().is_none(), "all or nothing");
            let err = run(c, vec![of("f", "9"), of("g", "9")]).unwrap_err();
            assert!(matches!(err, (1, WriteRefused::Twice { .. })));
        });
    }

    #[test]
    fn a_stale_version_a_foreign_reference_and_a_repeat_write_nothing() {
        Fresh::on(STEPS, |c| {
            run(c, vec![wanted("Organization", "o", json!({"name": "one"}))]).unwrap();
            for (tag, good) in [
                ("W/\"2\"", false),
                ("W/\"1\"", true),
                ("\"2\"", true),
                ("*", true),
                ("2", false),
            ] {
                let mut update = wanted("Organization", "o", json!({"name": tag}));
                update.if_match = Some(tag.to_owned());
                assert_eq!(run(c, vec![update]).is_ok(), good, "{tag}");
            }
            let mut absent = wanted("Organization", "none", json!({}));
            absent.if_match = Some("*".to_owned());
            assert_eq!(
                run(c, vec![absent]).unwrap_err(),
                (0, WriteRefused::Version)
            );
            let before = newest(c).unwrap();
            let lost = json!({"subject": {"reference": "urn:uuid:nobody"}});
            let err = run(
                c,
                vec![
                    wanted("Organization", "x", json!({})),
                    wanted("Consent", "y", lost),
                ],
            );
            assert!(matches!(err, Err((1, WriteRefused::Unresolved { .. }))));
            let twice = vec![
                wanted("Consent", "z", json!({})),
                wanted("Consent", "z", json!({})),
            ];
            assert!(matches!(
                run(c, twice),
                Err((1, WriteRefused::Twice { .. }))
            ));
            assert_eq!(newest(c).unwrap(), before);
        });
    }
}
