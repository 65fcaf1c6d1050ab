//! Whether a body is a patient that may be filed.
//!
//! Basics only: elements that FHIR R4 knows, identifiers by the French rules, and test
//! identities labelled as such. Deliberately absent: full validation against the profiles.

use cardio_core::subject::SubjectRef;
use cardio_fhir::codes::ACT_REASON;
use cardio_fhir::ins::{Ins, InsKind};
use serde_json::{Value, json};

use super::respond::Refusal;

/// Elements of Patient (R4), and those of every resource.
const ELEMENTS: [&str; 27] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
    "identifier",
    "active",
    "name",
    "telecom",
    "gender",
    "birthDate",
    "deceasedBoolean",
    "deceasedDateTime",
    "address",
    "maritalStatus",
    "multipleBirthBoolean",
    "multipleBirthInteger",
    "photo",
    "contact",
    "communication",
    "generalPractitioner",
    "managingOrganization",
    "link",
];
const INS_KINDS: [InsKind; 4] = [InsKind::Nir, InsKind::Nia, InsKind::Test, InsKind::Demo];
const GENDERS: [&str; 4] = ["male", "female", "other", "unknown"];
const IDENTIFIERS_MAX: usize = 32;

/// Reads a patient; `asked` is the id in the address, `id` the one to file under.
pub(super) fn checked(body: &[u8], asked: Option<&str>, id: &str) -> Result<Value, Refusal> {
    let mut patient: Value = serde_json::from_slice(body).map_err(|error| {
        Refusal::invalid(
            "structure",
            format!(
                "not JSON at line {}, column {}",
                error.line(),
                error.column()
            ),
        )
    })?;
    if patient.get("resourceType").and_then(Value::as_str) != Some("Patient") {
        return Err(Refusal::invalid("invalid", "the body is not a Patient").at("resourceType"));
    }
    SubjectRef::new(id)
        .map_err(|error| Refusal::invalid("value", error.to_string()).at("Patient.id"))?;
    let stated = patient.get("id").and_then(Value::as_str);
    if asked.is_some() && stated != asked {
        return Err(Refusal::invalid(
            "invalid",
            "the id in the body is not the one in the address",
        )
        .at("Patient.id"));
    }
    check_elements(&patient)?;
    let fictitious = check_identifiers(&patient)?;
    let Some(map) = patient.as_object_mut() else {
        return Err(Refusal::invalid("structure", "the body is not an object"));
    };
    map.insert("id".to_owned(), json!(id));
    let meta = map.entry("meta").or_insert_with(|| json!({}));
    let Some(meta) = meta.as_object_mut() else {
        return Err(Refusal::invalid("structure", "meta is not an object").at("Patient.meta"));
    };
    meta.remove("versionId");
    meta.remove("lastUpdated");
    if fictitious {
        label_as_test(meta)?;
    }
    if meta.is_empty() {
        map.remove("meta");
    }
    Ok(patient)
}

fn check_elements(patient: &Value) -> Result<(), Refusal> {
    for (name, value) in patient.as_object().into_iter().flatten() {
        let plain = name.strip_prefix('_').unwrap_or(name);
        if !ELEMENTS.contains(&plain) {
            let shown: String = plain.chars().take(64).collect();
            return Err(Refusal::invalid("structure", "Patient has no such element")
                .at(format!("Patient.{shown}")));
        }
        let known = match plain {
            "gender" => value.as_str().is_some_and(|code| GENDERS.contains(&code)),
            "birthDate" => value
                .as_str()
                .is_some_and(|date| date.len() <= 10 && cardio_fhir::time::covered(date).is_some()),
            "active" => value.is_boolean(),
            "name" | "identifier" | "telecom" | "address" | "contact" => {
                value.as_array().is_some_and(|list| !list.is_empty())
            }
            _ => true,
        };
        if !known && !name.starts_with('_') {
            return Err(Refusal::invalid("value", "the value has the wrong form")
                .at(format!("Patient.{plain}")));
        }
    }
    Ok(())
}

/// Checks every identifier; answers whether one belongs to a system for tests.
fn check_identifiers(patient: &Value) -> Result<bool, Refusal> {
    let none = Vec::new();
    let identifiers = patient
        .get("identifier")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    if identifiers.len() > IDENTIFIERS_MAX {
        return Err(Refusal::invalid("too-long", "too many identifiers").at("Patient.identifier"));
    }
    let mut fictitious = false;
    for (position, identifier) in identifiers.iter().enumerate() {
        let place = format!("Patient.identifier[{position}]");
        let text = |name: &str| identifier.get(name).and_then(Value::as_str);
        let (Some(system), Some(value)) = (text("system"), text("value")) else {
            return Err(
                Refusal::invalid("required", "an identifier needs a system and a value").at(place),
            );
        };
        let Some(kind) = INS_KINDS.into_iter().find(|kind| kind.system() == system) else {
            continue;
        };
        Ins::new(kind, value)
            .map_err(|error| Refusal::invalid("value", error.to_string()).at(place))?;
        fictitious |= kind.is_fictitious();
    }
    Ok(fictitious)
}

fn label_as_test(meta: &mut serde_json::Map<String, Value>) -> Result<(), Refusal> {
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
    use super::checked;
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

    fn check(value: &Value) -> Result<Value, axum::http::StatusCode> {
        checked(value.to_string().as_bytes(), Some("p1"), "p1")
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

    proptest! {
        #[test]
        fn any_bytes_are_a_patient_or_a_refusal(bytes: Vec<u8>) {
            let _ = checked(&bytes, None, "p1");
        }
    }
}
