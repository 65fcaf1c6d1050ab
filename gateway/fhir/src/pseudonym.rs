//! A resource without anything that names a person, for a data warehouse.
//!
//! Only what is listed here is kept, so that an element nobody thought of never leaves. Ids and
//! references become pseudonyms that a key decides: with the same key the same ones, and without
//! it nobody can tell whose they are. Dates stay, but for a birth date, of which the year does.
//! Deliberately absent: the key; the caller gives the pseudonym of a name.

use serde_json::{Map, Value, json};

/// The types that are made into pseudonymous ones.
pub const KINDS: [&str; 6] = [
    "Patient",
    "Device",
    "Observation",
    "DiagnosticReport",
    "DetectedIssue",
    "Task",
];

/// Elements that are kept of a type, beside its id and its security labels. One that ends in `*`
/// stands for every element of that beginning.
const fn kept(kind: &str) -> &'static [&'static str] {
    match kind.as_bytes() {
        b"Patient" => &["active", "gender", "birthDate", "deceasedBoolean"],
        b"Device" => &[
            "status",
            "manufacturer",
            "modelNumber",
            "type",
            "specialization",
            "version",
            "property",
        ],
        b"Observation" => &[
            "extension",
            "status",
            "category",
            "code",
            "subject",
            "device",
            "effective*",
            "value*",
            "dataAbsentReason",
            "interpretation",
            "method",
            "derivedFrom",
            "component",
        ],
        b"DiagnosticReport" => &[
            "status",
            "category",
            "code",
            "subject",
            "effective*",
            "issued",
            "result",
        ],
        b"DetectedIssue" => &[
            "status",
            "code",
            "severity",
            "patient",
            "identified*",
            "author",
            "implicated",
        ],
        b"Task" => &[
            "status",
            "statusReason",
            "businessStatus",
            "intent",
            "priority",
            "code",
            "for",
            "authoredOn",
            "lastModified",
        ],
        _ => &[],
    }
}

/// Elements that are dropped wherever they stand: names, words of people, and documents within.
const DROPPED: [&str; 8] = [
    "identifier",
    "display",
    "text",
    "note",
    "comment",
    "contained",
    "valueString",
    "serialNumber",
];

/// The resource without names; `None` for a type that is not made pseudonymous. `name` gives the
/// pseudonym of a reference such as `Patient/p1`: a logical id that tells nothing.
pub fn pseudonymous(resource: &Value, name: &dyn Fn(&str) -> String) -> Option<Value> {
    let whole = resource.as_object()?;
    let (kind, id) = (
        whole.get("resourceType")?.as_str()?,
        whole.get("id")?.as_str()?,
    );
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let mut left = Map::new();
    left.insert("resourceType".to_owned(), json!(kind));
    left.insert("id".to_owned(), json!(name(&format!("{kind}/{id}"))));
    if let Some(labels) = resource.pointer("/meta/security") {
        let labels = without_names(labels, name);
        left.extend(labels.map(|labels| ("meta".to_owned(), json!({"security": labels}))));
    }
    for (key, value) in whole.iter().filter(|(key, _)| is_kept(kind, key)) {
        let value = match (key.as_str(), value) {
            ("birthDate", Value::String(day)) => Some(json!(day.get(..4)?)),
            _ => without_names(value, name),
        };
        left.extend(value.map(|value| (key.clone(), value)));
    }
    Some(Value::Object(left))
}

fn is_kept(kind: &str, key: &str) -> bool {
    kept(kind)
        .iter()
        .any(|known| match known.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => *known == key,
        })
}

/// A value without names; `None` when nothing is left of it.
fn without_names(value: &Value, name: &dyn Fn(&str) -> String) -> Option<Value> {
    match value {
        Value::Object(map) => {
            let mut left = Map::new();
            for (key, value) in map {
                if DROPPED.contains(&key.as_str()) {
                    // Of a code the display is a name of a thing, and the code says the same.
                    continue;
                }
                let value = match (key.as_str(), value) {
                    ("reference", Value::String(to)) => reference(to, name),
                    _ => without_names(value, name),
                };
                left.extend(value.map(|value| (key.clone(), value)));
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Value::Array(list) => {
            let left: Vec<Value> = list
                .iter()
                .filter_map(|value| without_names(value, name))
                .collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        other => Some(other.clone()),
    }
}

/// A reference to what is pseudonymous too; others are dropped.
fn reference(to: &str, name: &dyn Fn(&str) -> String) -> Option<Value> {
    let (kind, id) = to.split_once('/')?;
    let known = KINDS.contains(&kind) && !id.is_empty() && !id.contains('/');
    known.then(|| json!(format!("{kind}/{}", name(to))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(of: &str) -> String {
        format!("x{}", of.len())
    }

    #[test]
    fn of_a_patient_sex_and_year_of_birth_are_left() {
        let patient = json!({
            "resourceType": "Patient", "id": "p-1",
            "meta": {"security": [{"system": "s", "code": "HTEST", "display": "test"}]},
            "identifier": [{"system": "urn:oid:1.2.250.1.213.1.4.10", "value": "123"}],
            "name": [{"family": "ESSAI"}], "telecom": [{"value": "0600000000"}],
            "address": [{"city": "Nantes"}], "contact": [{"name": {"family": "AUTRE"}}],
            "gender": "female", "birthDate": "1974-12-25", "active": true,
        });
        assert_eq!(
            pseudonymous(&patient, &named),
            Some(json!({
                "resourceType": "Patient", "id": "x11",
                "meta": {"security": [{"system": "s", "code": "HTEST"}]},
                "gender": "female", "birthDate": "1974", "active": true,
            }))
        );
    }

    #[test]
    fn references_become_pseudonyms_and_those_to_people_are_dropped() {
        let observation = json!({
            "resourceType": "Observation", "id": "o",
            "identifier": [{"value": "ACDE48FFFE234568-p-1-147842"}],
            "extension": [{"url": "gateway", "valueReference": {"reference": "Device/b"}}],
            "subject": {"reference": "Patient/p-1", "display": "ESSAI Visite"},
            "performer": [{"reference": "PractitionerRole/nurse1"}],
            "derivedFrom": [{"reference": "Observation/w"}, {"reference": "#within"}],
            "valueSampledData": {"data": "1 2 3", "period": 4},
            "note": [{"text": "vue chez Mme ESSAI"}],
            "component": [{"code": {"text": "ESSAI", "coding": [{"code": "131329"}]}}],
        });
        let left = pseudonymous(&observation, &named).unwrap();
        assert_eq!(
            left,
            json!({
                "resourceType": "Observation", "id": "x13",
                "extension": [{"url": "gateway", "valueReference": {"reference": "Device/x8"}}],
                "subject": {"reference": "Patient/x11"},
                "derivedFrom": [{"reference": "Observation/x13"}],
                "valueSampledData": {"data": "1 2 3", "period": 4},
                "component": [{"code": {"coding": [{"code": "131329"}]}}],
            })
        );
    }

    #[test]
    fn what_is_no_known_type_is_not_exported() {
        for resource in [
            json!({"resourceType": "Communication", "id": "c"}),
            json!({"resourceType": "Patient"}),
            json!([]),
        ] {
            assert_eq!(pseudonymous(&resource, &named), None);
        }
    }
}
