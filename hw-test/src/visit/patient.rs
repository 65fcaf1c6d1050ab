//! The fictitious patient of a visit, under the identity system for tests.

use serde_json::{Value, json};

/// Base of the French core profiles.
const FR_CORE: &str = "https://hl7.fr/ig/fhir/core";

/// A patient in the form of the French profile for national identities, whose identity number
/// belongs to the system for tests (`urn:oid:1.2.250.1.213.1.4.10`), labelled as made for tests.
pub(crate) fn fictitious(id: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "id": id,
        "meta": {
            "profile": [format!("{FR_CORE}/StructureDefinition/fr-core-patient-ins")],
            "security": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                "code": "HTEST",
            }],
        },
        "extension": [
            {
                "url": format!("{FR_CORE}/StructureDefinition/fr-core-identity-reliability"),
                "extension": [{
                    "url": "identityStatus",
                    "valueCoding": {
                        "system": format!("{FR_CORE}/CodeSystem/fr-core-cs-v2-0445"),
                        "code": "VALI",
                    },
                }],
            },
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                "valueAddress": {
                    "extension": [{
                        "url": format!("{FR_CORE}/StructureDefinition/fr-core-address-insee-code"),
                        "valueCoding": {
                            "system": "https://mos.esante.gouv.fr/NOS/TRE_R13-Commune/FHIR/TRE-R13-Commune",
                            "code": "01006",
                        },
                    }],
                    "city": "Ambléon",
                },
            },
        ],
        "identifier": [
            identifier("official", &format!("{FR_CORE}/CodeSystem/fr-core-cs-v2-0203"), "INS-NIR-TEST", "urn:oid:1.2.250.1.213.1.4.10", "123456789012212"),
            identifier("usual", "http://terminology.hl7.org/CodeSystem/v2-0203", "PI", "https://ess-cardio.example/fhir/sid/ipp", "ESS-000123"),
        ],
        "active": true,
        "name": [{
            "extension": [{
                "url": format!("{FR_CORE}/StructureDefinition/fr-core-patient-birth-list-given-name"),
                "valueString": "VISITE",
            }],
            "use": "official",
            "family": "ESSAI",
            "given": ["VISITE"],
        }],
        "gender": "unknown",
        "birthDate": "1974-12-25",
    })
}

fn identifier(usage: &str, types: &str, code: &str, system: &str, value: &str) -> Value {
    json!({
        "use": usage,
        "type": {"coding": [{"system": types, "code": code}]},
        "system": system,
        "value": value,
    })
}
