//! All that is filed of a patient: what refers to the patient, the devices and people that this
//! refers to, and where it comes from.

use cardio_core::clock::UtcMicros;

use super::scope::Scope;
use super::store::{Versioned, dressed};
use crate::db::{AsValue as _, Connection, DbError, Value};

/// Types that are told beside what refers to the patient.
const BESIDE: [&str; 4] = ["Device", "Organization", "Practitioner", "PractitionerRole"];

/// What of a patient is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EverythingQuery {
    /// Logical id of the patient.
    pub patient: String,
    /// Only these types; all when empty.
    pub kinds: Vec<&'static str>,
    /// Only what was written at this instant or later.
    pub since: Option<UtcMicros>,
    /// Type and id where the page before ended.
    pub after: Option<(String, String)>,
    /// Resources on a page.
    pub count: u32,
}

/// One page, in the order of type and id, and whether there are more behind it.
///
/// # Errors
/// [`DbError`] when the store fails.
pub fn everything(
    connection: &Connection,
    query: &EverythingQuery,
    scope: &Scope,
) -> Result<(Vec<Versioned>, bool), DbError> {
    let patient = format!("Patient/{}", query.patient);
    let mut values = vec![patient.value(), query.patient.value()];
    let mut bind = |value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let mut conditions = vec!["1 = 1".to_owned()];
    if let Some((kind, id)) = &query.after {
        let (kind, id) = (bind(kind.value()), bind(id.value()));
        conditions.push(format!("(r.kind, r.id) > ({kind}, {id})"));
    }
    if let Some(since) = &query.since {
        conditions.push(format!("r.updated_us >= {}", bind(since.value())));
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<String> = query.kinds.iter().map(|kind| bind(kind.value())).collect();
        conditions.push(format!("r.kind IN ({})", kinds.join(", ")));
    }
    conditions.push(scope.condition(("r.kind", "r.id"), &mut bind));
    let limit = bind(Value::Integer(i64::from(query.count) + 1));
    // Names of types are our own, never the reader's text.
    let beside: String = BESIDE
        .iter()
        .map(|kind| {
            let begin = kind.len() + 2;
            format!(
                " UNION SELECT '{kind}', substr(t.target, {begin}) FROM members m
                  JOIN index_references t ON t.kind = m.kind AND t.id = m.id
                  WHERE t.target LIKE '{kind}/%'"
            )
        })
        .collect();
    let sql = format!(
        "WITH members AS (SELECT DISTINCT kind, id FROM index_references WHERE target = ?1),
         told AS (
           SELECT kind, id FROM members
           UNION SELECT 'Patient', ?2
           UNION SELECT p.kind, p.id FROM members m JOIN index_references p
             ON p.kind = 'Provenance' AND p.param = 'target'
             AND p.target = m.kind || '/' || m.id
           {beside})
         SELECT r.version, r.updated_us, r.body
         FROM told a JOIN resources r ON r.kind = a.kind AND r.id = a.id
         WHERE {} ORDER BY r.kind, r.id LIMIT {limit}",
        conditions.join(" AND ")
    );
    let mut rows = connection.rows("read everything of a patient", &sql, &values)?;
    let room = usize::try_from(query.count).unwrap_or(usize::MAX);
    let more = rows.len() > room;
    rows.truncate(room);
    let page = rows.into_iter().map(|mut row| {
        let body: String = row.take(2)?;
        dressed(row.take(0)?, row.take(1)?, &body)
    });
    Ok((page.collect::<Result<_, _>>()?, more))
}

#[cfg(test)]
mod tests {
    use super::super::{STEPS, put};
    use super::{EverythingQuery, Scope, everything};
    use crate::db::testing::Fresh;
    use cardio_core::clock::UtcMicros;
    use serde_json::json;

    #[test]
    fn all_of_one_patient_is_told_in_pages_and_nothing_of_another() {
        Fresh::on(STEPS, |c| {
            for resource in [
                json!({"resourceType": "Patient", "id": "p1"}),
                json!({"resourceType": "Patient", "id": "p2"}),
                json!({"resourceType": "Device", "id": "d1"}),
                json!({"resourceType": "Device", "id": "d2"}),
                json!({"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}, "device": {"reference": "Device/d1"}}),
                json!({"resourceType": "Observation", "id": "o2", "subject": {"reference": "Patient/p2"}, "device": {"reference": "Device/d2"}}),
                json!({"resourceType": "Provenance", "id": "v1", "target": [{"reference": "Observation/o1"}]}),
            ] {
                put(c, &resource, UtcMicros(5)).unwrap();
            }
            let mut query = EverythingQuery {
                patient: "p1".to_owned(),
                kinds: Vec::new(),
                since: None,
                after: None,
                count: 2,
            };
            let mut told = Vec::new();
            loop {
                let (page, more) = everything(c, &query, &Scope::Everything).unwrap();
                for one in page {
                    let text = |name: &str| one.resource[name].as_str().unwrap().to_owned();
                    query.after = Some((text("resourceType"), text("id")));
                    told.push(format!("{}/{}", text("resourceType"), text("id")));
                }
                if !more {
                    break;
                }
            }
            assert_eq!(
                told,
                ["Device/d1", "Observation/o1", "Patient/p1", "Provenance/v1"]
            );
            let query = EverythingQuery {
                after: None,
                kinds: vec!["Observation"],
                ..query
            };
            assert_eq!(
                everything(c, &query, &Scope::Everything).unwrap().0.len(),
                1
            );
            let query = EverythingQuery {
                since: Some(UtcMicros(6)),
                ..query
            };
            assert_eq!(
                everything(c, &query, &Scope::Everything).unwrap().0.len(),
                0
            );
        });
    }
}
