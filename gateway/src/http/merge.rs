//! `POST /Patient/$merge`: two records that are of one patient. The parameters are those of the
//! operation that FHIR R5 defines: `source-patient` is continued by `target-patient`.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use cardio_core::subject::SubjectRef;
use cardio_fhir::rest::{Issue, Severity, operation_outcome};
use serde_json::Value;

use super::fhir::{Answer, check_accept, check_content_type, too_large};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Web, body};
use crate::identity::{IdentityError, Reason};

pub(super) async fn merge(
    State(web): State<Web>,
    visit: Visit,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_accept(&headers)?;
    check_content_type(&headers, &["application/fhir+json", "application/json"])?;
    let parameters = body::parameters(&body.map_err(too_large)?)?;
    let (source, target) = (
        patient(&parameters, "source-patient")?,
        patient(&parameters, "target-patient")?,
    );
    visit.sees_patients([source.as_str().to_owned(), target.as_str().to_owned()]);
    let reason = Reason {
        by: text(&parameters, "by")?,
        why: text(&parameters, "why")?,
    };
    let done = web.identities.merge(source, target, reason).await;
    let done = done.map_err(|error| refusal(&error))?;
    let said = match &done.provenance {
        Some(id) => format!(
            "{} exams moved, {} versions written: Provenance/{id}",
            done.acquisitions, done.versions
        ),
        None => "they were merged before; nothing was changed".to_owned(),
    };
    let outcome = operation_outcome(&[Issue {
        severity: Severity::Information,
        code: "informational",
        diagnostics: said,
        expression: None,
    }]);
    Ok(answer(StatusCode::OK, &outcome))
}

fn patient(parameters: &Value, name: &str) -> Result<SubjectRef, Refusal> {
    let text = body::parameter(parameters, name, "/valueReference/reference")?;
    let id = text.strip_prefix("Patient/").unwrap_or_default();
    SubjectRef::new(id).map_err(|_| {
        Refusal::invalid("value", "Patient/id").at(format!("Parameters.parameter:{name}"))
    })
}

fn text(parameters: &Value, name: &str) -> Result<String, Refusal> {
    body::parameter(parameters, name, "/valueString").map(str::to_owned)
}

fn refusal(error: &IdentityError) -> Refusal {
    let why = error.to_string();
    match error {
        IdentityError::NoPatient { .. }
        | IdentityError::NoAcquisition { .. }
        | IdentityError::NoRequest { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "not-found", why)
        }
        IdentityError::Same { .. }
        | IdentityError::Mixed
        | IdentityError::RequestStatus { .. }
        | IdentityError::RequestOfAnother { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "business-rule", why)
        }
        IdentityError::Merged { .. } => Refusal::new(StatusCode::CONFLICT, "conflict", why),
        IdentityError::Store(store) => Refusal::from_store(store),
    }
}
