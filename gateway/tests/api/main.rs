//! The FHIR interface as other systems use it: written, searched and followed over real HTTPS.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod access;
mod auditing;
mod events;
mod following;
mod logging_in;
mod odd;
mod openid;
mod pushing;
mod signing;
#[path = "../support/mod.rs"]
mod support;
mod writing;

use serde_json::{Value, json};
use support::Bench;
use support::fhir::{Fhir, Told};

fn patient(id: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "active": true, "gender": "unknown",
        "identifier": [{"system": "urn:team:ipp", "value": number}],
    })
}

fn request(subject: &str, code: &str) -> Value {
    json!({
        "resourceType": "ServiceRequest", "status": "active", "intent": "order",
        "subject": {"reference": subject}, "authoredOn": "2026-03-02T09:00:00Z",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
    })
}

fn is_outcome(told: &Told) -> bool {
    told.body["resourceType"] == "OperationOutcome"
        && told.body["issue"][0]["diagnostics"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
}

async fn created(fhir: &Fhir, resource: &Value) -> Told {
    let kind = resource["resourceType"].as_str().unwrap();
    let told = fhir
        .write("POST", &format!("/fhir/{kind}"), &[], resource)
        .await;
    assert_eq!(told.status, 201, "{}", told.body);
    told
}
