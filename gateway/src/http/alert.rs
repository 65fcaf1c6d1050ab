//! `POST /Task/ID/$seen`, `$acknowledge` and `$close`: a person takes a step in the life of the
//! alert whose Task it is. The person is the one whom the account belongs to, never a name that
//! is given.
//!
//! `$close` wants the parameters `reason` (`valueCode`) and, if there is something to say, `note`
//! (`valueString`).

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use cardio_alert::life::{CloseReason, Step};
use serde_json::Value;

use super::fhir::{Answer, check_accept, check_content_type, find, too_large};
use super::respond::{Refusal, versioned};
use super::visit::Visit;
use super::{Web, body};
use crate::alerting;

type Id = Path<String>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn seen(
    State(web): State<Web>,
    visit: Visit,
    id: Id,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    take(&web, &visit, id, |who| Step::Seen { who }).await
}

pub(super) async fn acknowledge(
    State(web): State<Web>,
    visit: Visit,
    id: Id,
    headers: HeaderMap,
) -> Answer {
    check_accept(&headers)?;
    take(&web, &visit, id, |who| Step::Acknowledged { who }).await
}

pub(super) async fn close(
    State(web): State<Web>,
    visit: Visit,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    check_accept(&headers)?;
    check_content_type(&headers, &["application/fhir+json", "application/json"])?;
    let parameters = body::parameters(&body.map_err(too_large)?)?;
    let name = body::parameter(&parameters, "reason", "/valueCode")?;
    let reason = CloseReason::ALL.into_iter().find(|one| one.name() == name);
    let reason = reason.ok_or_else(|| {
        let known = CloseReason::ALL.map(CloseReason::name).join(", ");
        Refusal::invalid("value", format!("one of {known}")).at("Parameters.parameter:reason")
    })?;
    let note = body::parameter_if_given(&parameters, "note", "/valueString")?;
    let note = note.map(str::to_owned);
    take(&web, &visit, id, |who| Step::Closed { who, reason, note }).await
}

/// Whom the account belongs to.
pub(super) fn who(visit: &Visit) -> Result<String, Refusal> {
    visit.caller().practitioner.clone().ok_or_else(|| {
        let why = "this account belongs to nobody who could answer for it: \
                   `accounts add --practitioner` says to whom";
        Refusal::new(StatusCode::FORBIDDEN, "forbidden", why)
    })
}

/// Takes a step in the name of whom the account belongs to; answers the Task as it is then.
async fn take(web: &Web, visit: &Visit, Path(id): Id, step: impl FnOnce(String) -> Step) -> Answer {
    let step = step(who(visit)?);
    let task = find(web, visit, "Task", id.clone()).await?;
    let alert = task.resource.pointer("/identifier/0/value");
    let alert = alert.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (recipient, now) = (web.recipient.clone(), web.clock.read().utc);
    let taking = web
        .writer
        .write(move |tx| alerting::take(tx, &alert, &step, &recipient, now));
    let taken = taking.await?;
    taken.map_err(|refused| Refusal::new(StatusCode::CONFLICT, "conflict", refused.to_string()))?;
    let task = find(web, visit, "Task", id).await?;
    Ok(versioned(StatusCode::OK, &task))
}
