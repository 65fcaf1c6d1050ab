//! Answers: resources with their version, and refusals as OperationOutcome.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::{IntoResponse, Response};
use cardio_fhir::rest::{Issue, Severity, operation_outcome};
use serde_json::Value;

use crate::db::DbError;
use crate::record::Versioned;

/// The one format of `/fhir`.
const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// A request that was not done, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    issue: Issue,
    wait: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, why: impl Into<String>) -> Self {
        Self {
            status,
            issue: Issue {
                severity: Severity::Error,
                code,
                diagnostics: why.into(),
                expression: None,
            },
            wait: None,
        }
    }

    /// Says when asking again makes sense.
    pub(super) const fn after(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Names the element or parameter at fault.
    pub(super) fn at(mut self, expression: impl Into<String>) -> Self {
        self.issue.expression = Some(expression.into());
        self
    }

    /// Names the part of the request that the fault lies in, before the element.
    pub(super) fn within(mut self, part: &str) -> Self {
        let inner = self.issue.expression.take();
        self.issue.expression = Some(match inner {
            Some(inner) => format!("{part}.{inner}"),
            None => part.to_owned(),
        });
        self
    }

    /// The status of the answer.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, as a resource.
    pub(super) fn outcome(&self) -> Value {
        operation_outcome(std::slice::from_ref(&self.issue))
    }

    pub(super) fn not_found(why: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", why)
    }

    pub(super) fn unauthorised(why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "login", why)
    }

    pub(super) fn invalid(code: &'static str, why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, why)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        Self::from_store(&error)
    }
}

impl Refusal {
    /// The record failed.
    pub(super) fn from_store(error: &DbError) -> Self {
        tracing::error!(event = "RecordReadError", code = error.code(), "{error}");
        let status = match error {
            DbError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            DbError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(
            status,
            "exception",
            format!("the record failed: {}", error.code()),
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.outcome());
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.wait {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

/// A document without a version.
pub(super) fn json(status: StatusCode, document: &Value) -> Response {
    let mut response = HttpResponse::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
    response
}

/// A resource with its version in the headers.
pub(super) fn versioned(status: StatusCode, found: &Versioned) -> Response {
    let mut response = json(status, &found.resource);
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&format!("W/\"{}\"", found.version)) {
        headers.insert(ETAG, tag);
    }
    let modified = jiff::Timestamp::from_microsecond(found.updated.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    if let Ok(modified) = HeaderValue::from_str(&modified) {
        headers.insert(LAST_MODIFIED, modified);
    }
    response
}
