//! `POST /fhir/Binary`: a recording as its own bytes (FHIR R4, Binary, "Serving Binary
//! Resources using the RESTful API"). `X-Security-Context: Patient/<id>` says whose it is.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use cardio_core::subject::SubjectRef;
use cardio_fhir::rest::{Issue, Severity, operation_outcome};
use cardio_formats::FormatError;
use cardio_formats::parts::PartError;

use super::Web;
use super::fhir::{Answer, base, check_accept};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use crate::record::Scope;
use crate::upload::{Taken, UploadError};

const SECURITY_CONTEXT: &str = "x-security-context";
/// When asking again makes sense while other files are being uploaded.
const BUSY_WAIT: Duration = Duration::from_secs(9);
/// Warnings of a file that are repeated in the answer.
const WARNINGS_MAX: usize = 32;

/// What to do about a header that came without the files that it names.
const ALONE: &str = "; a record of several files is sent as one: write it as one with \
    cardio-gateway convert RECORD OUT.edf (or OUT.dcm) and send that";

/// Whether a request, below `/fhir`, brings a file.
pub(super) fn is_upload(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == "/Binary"
}

/// Takes a file.
pub(super) async fn create(
    State(web): State<Web>,
    visit: Visit,
    headers: HeaderMap,
    request: Request,
) -> Response {
    match take(&web, &visit, &headers, request).await {
        Ok(response) => response,
        Err(refusal) => {
            web.counters.uploads_refused.add_one();
            refusal.into_response()
        }
    }
}

async fn take(web: &Web, visit: &Visit, headers: &HeaderMap, request: Request) -> Answer {
    let Ok(_place) = web.upload_places.try_acquire() else {
        let busy = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "throttled",
            "other files are being uploaded; try again in a moment",
        );
        return Err(busy.after(BUSY_WAIT));
    };
    // The whole body first: who is refused while still sending may never read why.
    let limit = web.config.upload_limit.0;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let bytes = to_bytes(request.into_body(), most).await.map_err(|_| {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-long",
            format!("the file is larger than {limit} bytes, or was cut off"),
        )
    })?;
    check_accept(headers)?;
    let (media_type, subject) = (media_type(headers)?, subject(headers)?);
    let scope = visit.scope();
    visit.sees_patients([subject.as_str().to_owned()]);
    check_seen(web, &scope, subject.as_str()).await?;
    let taken = match web.uploads.take(bytes.into(), media_type, subject).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(event = "UploadRefused", code = error.code());
            let hidden = match &error {
                UploadError::OtherPatient { subject } => {
                    !is_seen(web, &scope, subject.clone()).await?
                }
                _ => false,
            };
            return Err(if hidden { elsewhere() } else { refusal(&error) });
        }
    };
    visit.touches("Binary", Some(&taken.binary));
    tracing::info!(event = "UploadTaken", is_new = taken.is_new);
    web.counters.uploads_taken.add_one();
    Ok(told(&base(web, headers), &taken))
}

async fn is_seen(web: &Web, scope: &Scope, patient: String) -> Result<bool, Refusal> {
    let scope = scope.clone();
    let looking = web
        .readers
        .read_async(move |c| scope.holds(c, "Patient", &patient));
    Ok(looking.await?)
}

/// A patient out of scope is not to be told apart from one that does not exist.
async fn check_seen(web: &Web, scope: &Scope, patient: &str) -> Result<(), Refusal> {
    let subject = patient.to_owned();
    match *scope == Scope::Everything || is_seen(web, scope, subject.clone()).await? {
        true => Ok(()),
        false => Err(refusal(&UploadError::NoPatient { subject })),
    }
}

/// The same content was filed for somebody whom the visitor does not see.
fn elsewhere() -> Refusal {
    let why = "this very file cannot be filed for this patient";
    Refusal::new(StatusCode::CONFLICT, "duplicate", why)
}

fn media_type(headers: &HeaderMap) -> Result<String, Refusal> {
    let stated = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("application/octet-stream");
    if stated.contains("fhir+") || stated.starts_with("multipart/") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not-supported",
            "send the bytes of one file as they are, with its own Content-Type",
        ));
    }
    Ok(stated.to_owned())
}

fn subject(headers: &HeaderMap) -> Result<SubjectRef, Refusal> {
    headers
        .get(SECURITY_CONTEXT)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().strip_prefix("Patient/"))
        .and_then(|id| SubjectRef::new(id).ok())
        .ok_or_else(|| {
            let why = "say whose recording it is: X-Security-Context: Patient/<id>";
            Refusal::invalid("required", why)
        })
}

fn refusal(error: &UploadError) -> Refusal {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        UploadError::File(cause) => {
            let why = std::error::Error::source(cause)
                .map_or_else(|| cause.to_string(), ToString::to_string);
            let code = cause.code();
            let next = if let PartError::Format(FormatError::Open { .. }) = cause {
                ALONE
            } else {
                ""
            };
            Refusal::new(unprocessable, "structure", format!("{code}: {why}{next}"))
        }
        UploadError::NoPatient { .. } => {
            Refusal::new(unprocessable, "not-found", error.to_string()).at("X-Security-Context")
        }
        UploadError::OtherPatient { .. } => {
            Refusal::new(StatusCode::CONFLICT, "duplicate", error.to_string())
        }
        UploadError::Store(store) => Refusal::from_store(store),
    }
}

/// Where the file lies now, and what was wrong with it.
fn told(base: &str, taken: &Taken) -> Response {
    let (status, what) = match taken.is_new {
        true => (StatusCode::CREATED, "filed as"),
        false => (StatusCode::OK, "was filed before as"),
    };
    let mut issues = vec![Issue {
        severity: Severity::Information,
        code: "informational",
        diagnostics: format!("{what} DocumentReference/{}", taken.document),
        expression: None,
    }];
    let warnings = taken.warnings.iter().take(WARNINGS_MAX);
    issues.extend(warnings.map(|warning| Issue {
        severity: Severity::Warning,
        code: "structure",
        diagnostics: warning.clone(),
        expression: None,
    }));
    let mut response = answer(status, &operation_outcome(&issues));
    let location = format!("{base}/Binary/{}/_history/1", taken.binary);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
