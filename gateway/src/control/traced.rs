//! What the operator does, written down. What cannot be written down is not answered.

use cardio_fhir::audit::{Deed, Outcome};
use serde_json::{Value, json};

use super::{Control, Refused, Request};
use crate::access::audit::{About, Broken, Event, Head};

/// What a request is written down as; none for what tells nothing of patients and changes nothing.
/// `by` is the person who answers for it, and the rest what it is about.
struct Noted {
    deed: Deed,
    by: Option<String>,
    about: About,
}

fn noted(deed: Deed, by: Option<&str>, patients: &[&str], targets: &[&str]) -> Option<Noted> {
    let texts = |texts: &[&str]| {
        let texts = texts.iter().filter(|text| !text.is_empty());
        texts.map(|&text| text.to_owned()).collect()
    };
    Some(Noted {
        deed,
        by: by.map(str::to_owned),
        about: About {
            targets: texts(targets),
            patients: texts(patients),
            params: Vec::new(),
        },
    })
}

/// Every verb is listed, so that a new one says how it is written down.
fn noted_as(request: &Request) -> Option<Noted> {
    use Deed::{Configure, Export, OperatorChange, OperatorRead};
    match request {
        Request::Status
        | Request::BoxesList
        | Request::BoxesPending
        | Request::KeysList
        | Request::AccountsList
        | Request::PushList
        | Request::Indicators { .. } => None,
        Request::BoxesAdd { .. }
        | Request::BoxesRevoke { .. }
        | Request::BoxesInvite { .. }
        | Request::BoxesConfirm { .. }
        | Request::BoxesRefuse { .. }
        | Request::BoxesPause { .. } => noted(Configure, None, &[], &["Device"]),
        Request::BoxesTeam { team, .. } => {
            let team = team.as_deref().unwrap_or_default();
            noted(Configure, None, &[], &["Device", team])
        }
        Request::KeysRotate { .. } | Request::KeysRetire { .. } | Request::PushRetry { .. } => {
            noted(Configure, None, &[], &[])
        }
        Request::AccountsAdd { .. }
        | Request::AccountsDisable { .. }
        | Request::AccountsEnable { .. }
        | Request::AccountsPassword { .. }
        | Request::AccountsToken { .. }
        | Request::AccountsRevoke { .. } => noted(Configure, None, &[], &["Practitioner"]),
        Request::AuditVerify { .. } => noted(OperatorRead, None, &[], &["AuditEvent"]),
        Request::AlertsList | Request::AlertsExplain { .. } => {
            noted(OperatorRead, None, &[], &["DetectedIssue"])
        }
        Request::AlertsSeen { by, .. }
        | Request::AlertsAcknowledge { by, .. }
        | Request::AlertsClose { by, .. } => noted(OperatorChange, Some(by), &[], &["Task"]),
        Request::RecordsQuarantine => noted(OperatorRead, None, &[], &["Provenance"]),
        Request::RecordsFind { patient } => {
            let patient = patient.as_deref().unwrap_or_default();
            noted(OperatorRead, None, &[patient], &["DiagnosticReport"])
        }
        Request::RecordsOrphans => noted(OperatorRead, None, &[], &["DiagnosticReport"]),
        Request::RecordsRequest { request, by, .. } => {
            let request = format!("ServiceRequest/{request}");
            let about = ["DiagnosticReport", request.as_str()];
            noted(OperatorChange, Some(by), &[], &about)
        }
        Request::RecordsAssign { patient, by, .. } => {
            noted(OperatorChange, Some(by), &[patient], &["DiagnosticReport"])
        }
        Request::RecordsMerge {
            patient, into, by, ..
        } => noted(OperatorChange, Some(by), &[patient, into], &[]),
        Request::RecordsExport { root } => match root.strip_prefix("Patient/") {
            Some(patient) => noted(Export, None, &[patient], &[]),
            None => noted(Export, None, &[], &[root]),
        },
        Request::Backup { .. } | Request::RecordsBulk { .. } => noted(Export, None, &[], &[]),
    }
}

impl Control {
    /// The answer to a request, once it is on the disk that it was asked.
    pub(super) async fn traced(&self, request: Request) -> Result<Value, Refused> {
        let noted = noted_as(&request);
        let answer = self.answer(request).await;
        if let Some(mut noted) = noted {
            let outcome = match answer {
                Ok(_) => Outcome::Done,
                Err(_) => Outcome::Wrong,
            };
            // An id that is none would make an event that is none.
            let is_id = |id: &String| cardio_fhir::shape::is_id(id);
            noted.about.patients.retain(is_id);
            noted.about.targets.retain(|target| {
                let id = target.split_once('/').map(|(_, id)| id.to_owned());
                id.as_ref().is_none_or(is_id)
            });
            let event = Event::of_operator(noted.deed, outcome, noted.by.as_deref());
            let tracing = self.access.trace(event.about(noted.about)).await;
            tracing.map_err(|error| Refused::of(&error, error.code()))?;
        }
        answer
    }

    pub(super) async fn audit_verify(&self, noted: Option<Head>) -> Result<Value, Refused> {
        let proof = self.access.verify(noted).await;
        let proof = proof.map_err(|error| Refused::of(&error, error.code()))?;
        let broken = proof.broken.as_ref().map(Broken::words);
        Ok(json!({
            "schema": "audit-proof/1",
            "verdict": if broken.is_none() { "WHOLE" } else { "BROKEN" },
            "head": proof.head,
            "key": proof.key,
            "broken": broken,
        }))
    }
}
