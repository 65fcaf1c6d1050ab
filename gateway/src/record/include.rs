//! What comes along with the resources of a page: what they refer to, or what refers to them.

use std::collections::{BTreeMap, BTreeSet};

use super::query::{Include, Query};
use super::scope::Scope;
use super::store::{Versioned, dressed};
use crate::db::{AsValue as _, Connection, DbError, Value};

/// Most resources that come along with one page.
const ALONG_MAX: usize = 1_000;

/// What comes along with a page.
#[derive(Clone, Debug, Default)]
pub struct Along {
    /// The resources, none of them twice and none that is on the page.
    pub resources: Vec<Versioned>,
    /// Whether there are more of them than one answer holds; then there are none.
    pub too_many: bool,
}

/// Finds what comes along with resources of the type that was searched.
pub(super) fn along(
    connection: &Connection,
    query: &Query,
    scope: &Scope,
    ids: &[String],
) -> Result<Along, DbError> {
    let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
    for include in &query.includes {
        let own: Vec<String> = ids
            .iter()
            .map(|id| format!("{}/{id}", query.kind))
            .collect();
        let found = if include.reverse {
            referring(connection, include, &own)?
        } else {
            referred(connection, include, ids)?
        };
        let others = found
            .iter()
            .filter(|reference| !own.contains(reference))
            .filter_map(|reference| reference.split_once('/'))
            .filter(|(kind, _)| include.reverse || include.target.is_none_or(|only| only == *kind));
        wanted.extend(others.map(|(kind, id)| (kind.to_owned(), id.to_owned())));
        if wanted.len() > ALONG_MAX {
            return Ok(Along {
                resources: Vec::new(),
                too_many: true,
            });
        }
    }
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (kind, id) in wanted {
        by_kind.entry(kind).or_default().push(id);
    }
    let mut resources = Vec::new();
    for (kind, ids) in by_kind {
        resources.extend(read_all(connection, scope, &kind, &ids)?);
    }
    Ok(Along {
        resources,
        too_many: false,
    })
}

/// References to what the resources of these ids refer to.
fn referred(
    connection: &Connection,
    include: &Include,
    ids: &[String],
) -> Result<Vec<String>, DbError> {
    let select = "SELECT DISTINCT i.target FROM index_references i WHERE i.kind = ?1 AND i.id";
    among(connection, include, select, ids)
}

/// References to what refers to one of these.
fn referring(
    connection: &Connection,
    include: &Include,
    own: &[String],
) -> Result<Vec<String>, DbError> {
    let select = "SELECT DISTINCT i.kind || '/' || i.id FROM index_references i
                  WHERE i.kind = ?1 AND i.target";
    among(connection, include, select, own)
}

fn among(
    connection: &Connection,
    include: &Include,
    select: &str,
    of: &[String],
) -> Result<Vec<String>, DbError> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = vec![include.kind.value()];
    let mut sql = format!("{select} IN ({})", places(&mut values, of));
    if let Some(param) = &include.param {
        values.push(param.value());
        sql.push_str(&format!(" AND i.param = ?{}", values.len()));
    }
    values.push(Value::Integer(
        i64::try_from(ALONG_MAX).unwrap_or(i64::MAX) + 2,
    ));
    sql.push_str(&format!(" LIMIT ?{}", values.len()));
    connection.cells("find what comes along", &sql, &values)
}

fn places<'v>(values: &mut Vec<Value<'v>>, texts: &'v [String]) -> String {
    let mut places = Vec::with_capacity(texts.len());
    for text in texts {
        values.push(text.value());
        places.push(format!("?{}", values.len()));
    }
    places.join(", ")
}

fn read_all(
    connection: &Connection,
    scope: &Scope,
    kind: &str,
    ids: &[String],
) -> Result<Vec<Versioned>, DbError> {
    let mut values = vec![kind.value()];
    let places = places(&mut values, ids);
    let within = scope.condition(("r.kind", "r.id"), &mut |value| {
        values.push(value);
        format!("?{}", values.len())
    });
    let sql = format!(
        "SELECT r.version, r.updated_us, r.body FROM resources r
         WHERE r.kind = ?1 AND r.id IN ({places}) AND {within} ORDER BY r.id"
    );
    let rows = connection.rows("read what comes along", &sql, &values)?;
    rows.into_iter()
        .map(|mut row| {
            let body: String = row.take(2)?;
            dressed(row.take(0)?, row.take(1)?, &body)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{STEPS, Scope, parse, put, search};
    use crate::db::Connection;
    use crate::db::testing::Fresh;
    use cardio_core::clock::UtcMicros;
    use serde_json::json;

    fn along(connection: &Connection, kind: &'static str, params: &[(&str, &str)]) -> Vec<String> {
        let pairs: Vec<(String, String)> = params
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let page = search(
            connection,
            &parse(kind, &pairs, 50, 500).unwrap(),
            &Scope::Everything,
        )
        .unwrap();
        assert!(!page.along.too_many);
        let all = page.along.resources.iter();
        all.map(|one| {
            format!("{}/{}", one.resource["resourceType"], one.resource["id"]).replace('"', "")
        })
        .collect()
    }

    #[test]
    fn what_is_referred_to_and_what_refers_comes_along_once() {
        Fresh::on(STEPS, |c| {
            for resource in [
                json!({"resourceType": "Patient", "id": "p1"}),
                json!({"resourceType": "Device", "id": "d1"}),
                json!({"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}, "device": {"reference": "Device/d1"}}),
                json!({"resourceType": "Observation", "id": "o2", "subject": {"reference": "Patient/p1"}, "device": {"reference": "Device/d1"}}),
                json!({"resourceType": "DiagnosticReport", "id": "r1", "subject": {"reference": "Patient/p1"}, "result": [{"reference": "Observation/o1"}, {"reference": "Observation/gone"}]}),
            ] {
                put(c, &resource, UtcMicros(1)).unwrap();
            }
            assert_eq!(
                along(c, "Observation", &[("_include", "Observation:device")]),
                ["Device/d1"]
            );
            assert_eq!(
                along(
                    c,
                    "DiagnosticReport",
                    &[
                        ("_include", "DiagnosticReport:result"),
                        ("_include", "DiagnosticReport:subject")
                    ]
                ),
                ["Observation/o1", "Patient/p1"]
            );
            assert_eq!(
                along(
                    c,
                    "DiagnosticReport",
                    &[("_include", "DiagnosticReport:*:Patient")]
                ),
                ["Patient/p1"]
            );
            assert_eq!(
                along(
                    c,
                    "Patient",
                    &[
                        ("_revinclude", "Observation:subject"),
                        ("_revinclude", "DiagnosticReport:patient")
                    ]
                ),
                ["DiagnosticReport/r1", "Observation/o1", "Observation/o2"]
            );
            assert_eq!(
                along(
                    c,
                    "Observation",
                    &[("_id", "o2"), ("_revinclude", "DiagnosticReport:result")]
                ),
                Vec::<String>::new()
            );
        });
    }
}
