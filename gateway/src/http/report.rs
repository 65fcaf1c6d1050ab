//! What a doctor does with a report.
//!
//! `POST /DiagnosticReport/ID/$sign`: concludes, and signs the version that was read. It wants the version as `If-Match`, and the parameter `conclusion` (`valueString`). The doctor is
//! the one whom the account belongs to, never a name that is given.
//!
//! `POST /DiagnosticReport/ID/$mssante`: gives the signed report as a message of secure health mail
//! to the address in the parameter `to` (`valueString`), ready to be sent (`message/rfc822`).

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::alert::who;
use super::fhir::{Answer, check_accept, check_content_type, find, too_large};
use super::respond::{Refusal, versioned};
use super::visit::Visit;
use super::{Web, body};
use crate::mssante::{self, MssanteError};
use crate::signing::{self, SignError, Wanted};

/// Longest conclusion, in bytes.
const CONCLUSION_MAX: usize = 16 * 1024;

pub(super) async fn sign(
    State(web): State<Web>,
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_accept(&headers)?;
    check_content_type(&headers, &["application/fhir+json", "application/json"])?;
    let parameters = body::parameters(&body.map_err(too_large)?)?;
    let text = body::parameter_up_to(&parameters, "conclusion", "/valueString", CONCLUSION_MAX)?;
    let conclusion = text.trim().to_owned();
    let version = headers.get(IF_MATCH).and_then(|tag| tag.to_str().ok());
    let version = version.filter(|tag| !tag.contains('*')).ok_or_else(|| {
        let why =
            "say as If-Match which version of the report was read: it is the one that is signed";
        Refusal::new(StatusCode::PRECONDITION_REQUIRED, "required", why)
    })?;
    let wanted = Wanted {
        report: id.clone(),
        version: version.to_owned(),
        who: who(&visit)?,
        conclusion,
    };
    // Whoever may not see it hears that there is none.
    find(&web, &visit, "DiagnosticReport", id).await?;
    let signing = signing::sign((&web.writer, &web.inbox), &*web.clock, wanted);
    let signed = signing.await.map_err(refusal)?;
    Ok(versioned(StatusCode::OK, &signed))
}

fn refusal(error: SignError) -> Refusal {
    let why = error.to_string();
    match error {
        SignError::NoReport { .. } => Refusal::not_found(why),
        SignError::Version { .. } => Refusal::new(StatusCode::PRECONDITION_FAILED, "conflict", why),
        SignError::GoesOn | SignError::NoPatient => {
            Refusal::new(StatusCode::CONFLICT, "conflict", why)
        }
        SignError::Store(error) => Refusal::from_store(&error),
    }
}

pub(super) async fn message(
    State(web): State<Web>,
    visit: Visit,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_content_type(&headers, &["application/fhir+json", "application/json"])?;
    let parameters = body::parameters(&body.map_err(too_large)?)?;
    let to = body::parameter(&parameters, "to", "/valueString")?;
    find(&web, &visit, "DiagnosticReport", id.clone()).await?;
    let Some(config) = &web.mssante else {
        let why = "secure health mail is not set up here: [mssante] in the configuration says how";
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "not-supported",
            why,
        ));
    };
    let gathering = web.readers.read_async(move |c| mssante::gather(c, &id));
    let gathered = gathering.await?.map_err(unwritten)?;
    let message = mssante::write(&gathered, to, config).map_err(unwritten)?;
    let mut response = Response::new(Body::from(message.bytes));
    let kind = HeaderValue::from_static("message/rfc822");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn unwritten(error: MssanteError) -> Refusal {
    let why = error.to_string();
    match error {
        MssanteError::NotSigned { .. } => Refusal::new(StatusCode::CONFLICT, "conflict", why),
        MssanteError::Missing { .. } => {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "required", why)
        }
        MssanteError::Address { .. } => {
            Refusal::invalid("value", why).at("Parameters.parameter:to")
        }
        MssanteError::Unwritable(_) => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", why)
        }
    }
}
