//! Whether a resource that somebody wrote has the shape of its type in FHIR R4, for the types
//! that others may write: which elements there are, which must be there, and what they may be.
//!
//! Deliberately absent: profiles, terminologies other than the required codes, and invariants
//! that reach over several resources.

use serde_json::Value;

use crate::time::covered;

mod tables;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 32;

/// What an element may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Text that is not empty.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Number,
    /// One of these codes.
    Code(&'static [&'static str]),
    /// A date: a year, a month or a day.
    Date,
    /// A date or an instant.
    DateTime,
    /// A stretch of time.
    Period,
    /// A code with its system, or several, or a text.
    Concept,
    /// An identifier with a system and a value.
    Identifier,
    /// A resource of one of these types; of any when there are none.
    To(&'static [&'static str]),
    /// An object that is looked into no further.
    Part,
}

/// An element of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Element {
    name: &'static str,
    form: Form,
    list: bool,
    required: bool,
}

/// What is wrong with a resource, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expression}: {expected}")]
pub struct ShapeError {
    /// The element, as `ServiceRequest.subject`.
    pub expression: String,
    /// What it should be.
    pub expected: String,
}

impl ShapeError {
    fn new(expression: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            expression: expression.into(),
            expected: expected.into(),
        }
    }

    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "fhir.shape"
    }
}

/// Checks a resource of one of the types that others may write.
///
/// # Errors
/// [`ShapeError`] names the first element that is wrong.
pub fn check(resource: &Value) -> Result<(), ShapeError> {
    let map = resource
        .as_object()
        .ok_or_else(|| ShapeError::new("$this", "a resource is an object"))?;
    let kind = map
        .get("resourceType")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some((kind, elements)) = tables::of(kind) else {
        return Err(ShapeError::new(
            "resourceType",
            "a type that can be written",
        ));
    };
    substance(kind, resource, DEPTH_MAX)?;
    for (name, value) in map {
        let plain = name.strip_prefix('_').unwrap_or(name);
        let known = elements.iter().find(|element| element.name == plain);
        let shown: String = plain.chars().take(64).collect();
        let Some(element) = known else {
            if tables::EVERYWHERE.contains(&plain) {
                continue;
            }
            let why = format!("{kind} has no such element");
            return Err(ShapeError::new(format!("{kind}.{shown}"), why));
        };
        if name == plain {
            check_element(&format!("{kind}.{shown}"), element, value)?;
        }
    }
    let missing = elements
        .iter()
        .find(|element| element.required && !map.contains_key(element.name));
    if let Some(element) = missing {
        let place = format!("{kind}.{}", element.name);
        return Err(ShapeError::new(place, "is required"));
    }
    let meta = map.get("meta");
    if meta.is_some_and(|meta| !meta.is_object()) {
        return Err(ShapeError::new(format!("{kind}.meta"), "an object"));
    }
    tables::invariants(kind, map)
}

/// Nothing in FHIR is empty: no text, no list, no object; null only holds a place in a list.
fn substance(place: &str, value: &Value, depth: usize) -> Result<(), ShapeError> {
    if depth == 0 {
        let why = format!("nested deeper than {DEPTH_MAX} levels");
        return Err(ShapeError::new(short(place), why));
    }
    match value {
        Value::Null => Err(ShapeError::new(short(place), "null has no place here")),
        Value::String(text) if text.trim().is_empty() => {
            Err(ShapeError::new(short(place), "an empty text"))
        }
        Value::Array(items) if items.is_empty() => {
            Err(ShapeError::new(short(place), "an empty list"))
        }
        Value::Object(map) if map.is_empty() => {
            Err(ShapeError::new(short(place), "an empty object"))
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter(|(_, item)| !item.is_null())
            .try_for_each(|(at, item)| substance(&format!("{place}[{at}]"), item, depth - 1)),
        Value::Object(map) => map
            .iter()
            .try_for_each(|(name, item)| substance(&format!("{place}.{name}"), item, depth - 1)),
        _ => Ok(()),
    }
}

/// A place of bounded length, whatever the names in it.
fn short(place: &str) -> String {
    place.chars().take(256).collect()
}

fn check_element(place: &str, element: &Element, value: &Value) -> Result<(), ShapeError> {
    match (element.list, value) {
        (false, value) => check_form(place, element.form, value),
        (true, Value::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| check_form(&format!("{place}[{at}]"), element.form, item)),
        (true, _) => Err(ShapeError::new(place, "a list")),
    }
}

fn check_form(place: &str, form: Form, value: &Value) -> Result<(), ShapeError> {
    let text = value.as_str();
    let (good, expected): (bool, String) = match form {
        Form::Text => (text.is_some(), "a text".to_owned()),
        Form::Flag => (value.is_boolean(), "true or false".to_owned()),
        Form::Number => (value.is_u64(), "a whole number".to_owned()),
        Form::Code(codes) => (
            text.is_some_and(|text| codes.contains(&text)),
            format!("one of {}", codes.join(", ")),
        ),
        Form::Date => (
            text.is_some_and(|text| text.len() <= 10 && covered(text).is_some()),
            "a date, as 1974-12-25".to_owned(),
        ),
        Form::DateTime => (
            text.is_some_and(|text| covered(text).is_some()),
            "a date or an instant, as 2026-03-02T09:15:00+01:00".to_owned(),
        ),
        Form::Part => (value.is_object(), "an object".to_owned()),
        Form::Period => return check_period(place, value),
        Form::Concept => return check_concept(place, value),
        Form::Identifier => return check_identifier(place, value),
        Form::To(kinds) => return check_reference(place, kinds, value),
    };
    match good {
        true => Ok(()),
        false => Err(ShapeError::new(place, expected)),
    }
}

fn check_period(place: &str, value: &Value) -> Result<(), ShapeError> {
    let end = |name: &str| match value.get(name) {
        None => Ok(None),
        Some(text) => text
            .as_str()
            .and_then(covered)
            .map(Some)
            .ok_or_else(|| ShapeError::new(format!("{place}.{name}"), "a date or an instant")),
    };
    if !value.is_object() {
        return Err(ShapeError::new(place, "a period with start, end or both"));
    }
    match (end("start")?, end("end")?) {
        (Some((start, _)), Some((_, end))) if start > end => {
            Err(ShapeError::new(place, "a period that ends after it starts"))
        }
        _ => Ok(()),
    }
}

fn check_concept(place: &str, value: &Value) -> Result<(), ShapeError> {
    let Some(map) = value.as_object() else {
        return Err(ShapeError::new(place, "a concept with codings or a text"));
    };
    let codings = match map.get("coding") {
        None => return Ok(()),
        Some(Value::Array(codings)) => codings,
        Some(_) => return Err(ShapeError::new(format!("{place}.coding"), "a list")),
    };
    for (at, coding) in codings.iter().enumerate() {
        for name in ["system", "code", "display"] {
            if coding.get(name).is_some_and(|part| !part.is_string()) || !coding.is_object() {
                let place = format!("{place}.coding[{at}].{name}");
                return Err(ShapeError::new(place, "a text"));
            }
        }
    }
    Ok(())
}

fn check_identifier(place: &str, value: &Value) -> Result<(), ShapeError> {
    let whole = ["system", "value"]
        .iter()
        .all(|name| value.get(name).is_some_and(Value::is_string));
    match whole {
        true => Ok(()),
        false => Err(ShapeError::new(
            place,
            "an identifier with a system and a value",
        )),
    }
}

fn check_reference(place: &str, kinds: &[&str], value: &Value) -> Result<(), ShapeError> {
    let address = match value.get("reference") {
        Some(Value::String(address)) => address,
        Some(_) => return Err(ShapeError::new(format!("{place}.reference"), "a text")),
        None if value.get("identifier").is_some() || value.get("display").is_some() => {
            return Ok(());
        }
        None => {
            return Err(ShapeError::new(
                place,
                "a reference, an identifier or a display",
            ));
        }
    };
    let local = |address: &str| {
        let (kind, id) = address.split_once('/')?;
        (is_id(id) && (kinds.is_empty() || kinds.contains(&kind))).then_some(())
    };
    let foreign = ["urn:uuid:", "urn:oid:", "http://", "https://", "#"];
    if foreign.iter().any(|begin| address.starts_with(begin)) || local(address).is_some() {
        return Ok(());
    }
    let kinds = match kinds {
        [] => "Type/id".to_owned(),
        kinds => kinds
            .iter()
            .map(|kind| format!("{kind}/id"))
            .collect::<Vec<_>>()
            .join(" or "),
    };
    Err(ShapeError::new(format!("{place}.reference"), kinds))
}

/// Whether a text can be a logical id (FHIR R4, `id`).
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// The types that others may write.
pub const WRITTEN: [&str; 6] = [
    "Patient",
    "ServiceRequest",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Consent",
];

#[cfg(test)]
mod tests {
    use super::{WRITTEN, check, is_id, tables};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn samples() -> Vec<Value> {
        vec![
            json!({"resourceType": "Patient", "id": "p1", "active": true, "gender": "female", "birthDate": "1974-12"}),
            json!({"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": {"reference": "Patient/p1"}, "code": {"coding": [{"system": "http://snomed.info/sct", "code": "268400002"}]}, "occurrencePeriod": {"start": "2026-03-02", "end": "2026-03-03"}}),
            json!({"resourceType": "Practitioner", "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101010101"}]}),
            json!({"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/n1"}, "organization": {"display": "Team"}}),
            json!({"resourceType": "Organization", "name": "Team"}),
            json!({"resourceType": "Consent", "status": "active", "scope": {"text": "care"}, "category": [{"text": "telemonitoring"}], "patient": {"reference": "Patient/p1"}, "policyRule": {"text": "opt in"}}),
        ]
    }

    #[test]
    fn each_type_that_can_be_written_has_a_sample_that_passes() {
        let kinds: Vec<Value> = samples()
            .iter()
            .map(|one| one["resourceType"].clone())
            .collect();
        assert_eq!(json!(kinds), json!(WRITTEN));
        for sample in samples() {
            assert_eq!(check(&sample), Ok(()), "{sample}");
            assert!(tables::of(sample["resourceType"].as_str().unwrap()).is_some());
        }
    }

    #[test]
    fn a_fault_is_named_with_its_element() {
        for (at, element, value, place) in [
            (1, "status", json!("open"), "ServiceRequest.status"),
            (
                1,
                "subject",
                json!({"reference": "Organization/o"}),
                "ServiceRequest.subject.reference",
            ),
            (
                1,
                "subject",
                json!({"reference": "Patient/../x"}),
                "ServiceRequest.subject.reference",
            ),
            (
                1,
                "occurrencePeriod",
                json!({"start": "2026-03-02", "end": "2025"}),
                "ServiceRequest.occurrencePeriod",
            ),
            (1, "note", json!([]), "ServiceRequest.note"),
            (1, "note", json!({"text": "x"}), "ServiceRequest.note"),
            (0, "birthDate", json!("25/12/1974"), "Patient.birthDate"),
            (0, "gender", json!("m"), "Patient.gender"),
            (0, "shoeSize", json!(43), "Patient.shoeSize"),
            (0, "name", json!([{"family": ""}]), "Patient.name[0].family"),
            (
                2,
                "identifier",
                json!([{"value": "1"}]),
                "Practitioner.identifier[0]",
            ),
            (3, "period", json!("2026"), "PractitionerRole.period"),
            (4, "name", json!(null), "Organization.name"),
            (
                5,
                "provision",
                json!({"type": null}),
                "Consent.provision.type",
            ),
        ] {
            let mut wrong = samples()[at].clone();
            wrong[element] = value;
            assert_eq!(check(&wrong).unwrap_err().expression, place);
        }
        for (at, element) in [(1, "intent"), (5, "scope"), (4, "name"), (5, "policyRule")] {
            let mut wrong = samples()[at].clone();
            wrong.as_object_mut().unwrap().remove(element);
            assert!(check(&wrong).is_err(), "{element}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let mut deep = json!("end");
        for _ in 0..40 {
            deep = json!({"extension": [deep]});
        }
        let patient = json!({"resourceType": "Patient", "extension": [deep]});
        let err = check(&patient).unwrap_err();
        assert!(err.expected.contains("32 levels") && err.expression.len() <= 256);
    }

    proptest! {
        #[test]
        fn any_value_in_any_element_is_right_or_an_error(at in 0_usize..6, which in 0_usize..64, text: String, number: i64) {
            let (_, elements) = tables::of(WRITTEN[at]).unwrap();
            let name = elements[which % elements.len()].name;
            for value in [json!(text), json!(number), json!([text]), json!({"reference": text}), json!({"coding": text}), json!([{"start": text, "system": number}]), json!(null)] {
                let mut resource = samples()[at].clone();
                resource[name] = value;
                let _ = check(&resource);
            }
            let _ = is_id(&text);
        }
    }
}
