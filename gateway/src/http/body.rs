//! Whether a body is a resource that may be filed.
//!
//! Its shape by FHIR R4, identifiers by the French rules, and test identities labelled as such.
//! Deliberately absent: full validation against the profiles.

use cardio_core::subject::SubjectRef;
use cardio_fhir::codes::ACT_REASON;
use cardio_fhir::ins::{Ins, InsKind};
use cardio_fhir::shape;
use serde_json::{Map, Value, json};

use super::respond::Refusal;

const INS_KINDS: [InsKind; 4] = [InsKind::Nir, InsKind::Nia, InsKind::Test, InsKind::Demo];
/// Number of a professional in the national register: eleven digits.
const RPPS: &str = "https://rpps.esante.gouv.fr";
const IDENTIFIERS_MAX: usize = 32;
/// Longest text of a parameter.
const TEXT_MAX: usize = 500;

/// Reads JSON; says where it ends to be some.
pub(super) fn parsed(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = format!("not JSON at line {line}, column {column}");
        Refusal::invalid("structure", why)
    })
}

/// Reads the Parameters of an operation.
pub(super) fn parameters(body: &[u8]) -> Result<Value, Refusal> {
    let parameters = parsed(body)?;
    match parameters.get("resourceType").and_then(Value::as_str) {
        Some("Parameters") => Ok(parameters),
        _ => {
            let why = "the body is not of the type Parameters";
            Err(Refusal::invalid("invalid", why).at("resourceType"))
        }
    }
}

/// The text of a parameter of that name; `value` says where, as in `/valueString`.
pub(super) fn parameter<'p>(
    parameters: &'p Value,
    name: &str,
    value: &str,
) -> Result<&'p str, Refusal> {
    parameter_up_to(parameters, name, value, TEXT_MAX)
}

/// As [`parameter`], of at most `max` bytes.
pub(super) fn parameter_up_to<'p>(
    parameters: &'p Value,
    name: &str,
    value: &str,
    max: usize,
) -> Result<&'p str, Refusal> {
    let given = bounded(parameters, name, value, max)?;
    given.ok_or_else(|| wrong_parameter(name, value, max))
}

/// As [`parameter`], of one that may be absent.
pub(super) fn parameter_if_given<'p>(
    parameters: &'p Value,
    name: &str,
    value: &str,
) -> Result<Option<&'p str>, Refusal> {
    bounded(parameters, name, value, TEXT_MAX)
}

fn bounded<'p>(
    parameters: &'p Value,
    name: &str,
    value: &str,
    max: usize,
) -> Result<Option<&'p str>, Refusal> {
    let list = parameters.get("parameter").and_then(Value::as_array);
    let mut of = list
        .into_iter()
        .flatten()
        .filter(|one| one.get("name").and_then(Value::as_str) == Some(name));
    let (Some(one), more) = (of.next(), of.next()) else {
        return Ok(None);
    };
    let text = one.pointer(value).and_then(Value::as_str);
    match text.filter(|text| !text.trim().is_empty() && text.len() <= max) {
        Some(text) if more.is_none() => Ok(Some(text)),
        _ => Err(wrong_parameter(name, value, max)),
    }
}

fn wrong_parameter(name: &str, value: &str, max: usize) -> Refusal {
    let why = format!(
        "once, with {} of 1 to {max} bytes",
        value.trim_start_matches('/')
    );
    Refusal::invalid("required", why).at(format!("Parameters.parameter:{name}"))
}

/// A resource as it may be filed; `asked` is the id in the address, `id` the one to file under.
pub(super) fn checked(
    mut resource: Value,
    kind: &str,
    asked: Option<&str>,
    id: &str,
) -> Result<Value, Refusal> {
    if resource.get("resourceType").and_then(Value::as_str) != Some(kind) {
        let why = format!("the body is not of the type {kind}");
        return Err(Refusal::invalid("invalid", why).at("resourceType"));
    }
    let wrong_id = match kind {
        "Patient" => SubjectRef::new(id).err().map(|error| error.to_string()),
        _ => (!shape::is_id(id)).then(|| "1 to 64 letters, digits, - and .".to_owned()),
    };
    if let Some(why) = wrong_id {
        return Err(Refusal::invalid("value", why).at(format!("{kind}.id")));
    }
    let stated = resource.get("id").and_then(Value::as_str);
    if asked.is_some() && stated != asked {
        let why = "the id in the body is not the one in the address";
        return Err(Refusal::invalid("invalid", why).at(format!("{kind}.id")));
    }
    shape::check(&resource).map_err(|error| {
        Refusal::invalid("structure", error.expected.clone()).at(error.expression)
    })?;
    let fictitious = check_identifiers(kind, &resource)?;
    let Some(map) = resource.as_object_mut() else {
        return Err(Refusal::invalid("structure", "the body is not an object"));
    };
    map.insert("id".to_owned(), json!(id));
    let meta = map.entry("meta").or_insert_with(|| json!({}));
    let Some(meta) = meta.as_object_mut() else {
        let place = format!("{kind}.meta");
        return Err(Refusal::invalid("structure", "meta is not an object").at(place));
    };
    meta.remove("versionId");
    meta.remove("lastUpdated");
    if fictitious {
        label_as_test(meta)?;
    }
    if meta.is_empty() {
        map.remove("meta");
    }
    Ok(resource)
}

/// Checks every identifier; answers whether one belongs to a system for tests.
fn check_identifiers(kind: &str, resource: &Value) -> Result<bool, Refusal> {
    let identifiers = resource.get("identifier").and_then(Value::as_array);
    let identifiers = identifiers.map(Vec::as_slice).unwrap_or_default();
    if identifiers.len() > IDENTIFIERS_MAX {
        let place = format!("{kind}.identifier");
        return Err(Refusal::invalid("too-long", "too many identifiers").at(place));
    }
    let mut fictitious = false;
    for (position, identifier) in identifiers.iter().enumerate() {
        let place = format!("{kind}.identifier[{position}]");
        let text = |name: &str| {
            identifier
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (system, value) = (text("system"), text("value"));
        if system == RPPS && !(value.len() == 11 && value.bytes().all(|b| b.is_ascii_digit())) {
            let why = "an RPPS number has eleven digits";
            return Err(Refusal::invalid("value", why).at(place));
        }
        let Some(register) = INS_KINDS
            .into_iter()
            .find(|register| register.system() == system)
        else {
            continue;
        };
        if kind != "Patient" {
            let why = "the number of a patient cannot stand here";
            return Err(Refusal::invalid("value", why).at(place));
        }
        Ins::new(register, value)
            .map_err(|error| Refusal::invalid("value", error.to_string()).at(place))?;
        fictitious |= register.is_fictitious();
    }
    Ok(fictitious)
}

fn label_as_test(meta: &mut Map<String, Value>) -> Result<(), Refusal> {
    let labels = meta.entry("security").or_insert_with(|| json!([]));
    let Some(labels) = labels.as_array_mut() else {
        return Err(
            Refusal::invalid("structure", "security is not a list").at("Patient.meta.security")
        );
    };
    let labelled = labels
        .iter()
        .any(|label| label.get("code").and_then(Value::as_str) == Some("HTEST"));
    if !labelled {
        labels.push(json!({"system": ACT_REASON, "code": "HTEST"}));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{checked, parsed};
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const TEST_SYSTEM: &str = "urn:oid:1.2.250.1.213.1.4.10";

    fn patient(system: &str, value: &str) -> Value {
        json!({
            "resourceType": "Patient", "id": "p1", "gender": "unknown", "birthDate": "1974-12-25",
            "identifier": [{"system": system, "value": value}],
        })
    }

    fn check(value: &Value) -> Result<Value, StatusCode> {
        checked(value.clone(), "Patient", Some("p1"), "p1")
            .map_err(|refusal| refusal.into_response().status())
    }

    #[test]
    fn a_test_identity_is_labelled_as_such() {
        let filed = check(&patient(TEST_SYSTEM, "123456789012212")).unwrap();
        assert_eq!(filed["meta"]["security"][0]["code"], "HTEST");
    }

    #[test]
    fn a_wrong_key_a_wrong_element_and_a_wrong_id_are_refused() {
        assert!(check(&patient(TEST_SYSTEM, "123456789012244")).is_err());
        let mut odd = patient(TEST_SYSTEM, "123456789012212");
        odd["shoeSize"] = json!(43);
        assert!(check(&odd).is_err());
        let mut other = patient(TEST_SYSTEM, "123456789012212");
        other["id"] = json!("p2");
        assert!(check(&other).is_err());
        let mut gender = patient(TEST_SYSTEM, "123456789012212");
        gender["gender"] = json!("m");
        assert!(check(&gender).is_err());
    }

    #[test]
    fn a_professional_has_a_number_of_eleven_digits_and_never_that_of_a_patient() {
        let of = |system: &str, value: &str| {
            let body = json!({"resourceType": "Practitioner", "identifier": [{"system": system, "value": value}]});
            checked(body, "Practitioner", None, "n1").is_ok()
        };
        assert!(of(super::RPPS, "10101010101"));
        assert!(!of(super::RPPS, "1010101010"));
        assert!(!of(TEST_SYSTEM, "123456789012212"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_patient_or_a_refusal(bytes: Vec<u8>, text: String) {
            for body in [bytes.as_slice(), text.as_bytes()] {
                let _ = parsed(body).and_then(|body| checked(body, "Patient", None, "p1"));
            }
        }
    }
}
