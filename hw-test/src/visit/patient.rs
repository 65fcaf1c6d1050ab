//! The fictitious patient of a visit, under the identity system for tests.

use serde_json::{Value, json};

/// A patient whose identity number belongs to the system for tests
/// (`urn:oid:1.2.250.1.213.1.4.10`), labelled as made for tests.
pub(crate) fn fictitious(id: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "id": id,
        "meta": {"security": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
            "code": "HTEST",
        }]},
        "identifier": [
            {
                "use": "official",
                "type": {"coding": [{
                    "system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203",
                    "code": "INS-NIR-TEST",
                }]},
                "system": "urn:oid:1.2.250.1.213.1.4.10",
                "value": "123456789012212",
            },
        ],
        "active": true,
        "name": [{"use": "official", "family": "ESSAI", "given": ["VISITE"]}],
        "gender": "unknown",
        "birthDate": "1974-12-25",
    })
}
