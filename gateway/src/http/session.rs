//! Logging in and out, at `/session`.
//!
//! Who logs in gets a cookie that no script can read and no other site sends along; only its hash
//! is stored. Deliberately absent: pages.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fhir::{Answer, check_content_type, too_large};
use super::gate::{COOKIE_NAME, check_origin, session_token, too_often};
use super::respond::{Refusal, json as answer};
use super::visit::Visit;
use super::{Peer, Web};
use crate::access::{Begun, Caller, NotLoggedIn, Secret};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    account: String,
    password: Secret,
}

/// Logs in: `{"account": …, "password": …}`.
pub(super) async fn begin(
    State(web): State<Web>,
    axum::Extension(Peer(address)): axum::Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    check_content_type(&headers, &["application/json"])?;
    if headers.contains_key(axum::http::header::ORIGIN) {
        check_origin(&headers)?;
    }
    let given: Credentials = serde_json::from_slice(&body.map_err(too_large)?).map_err(|_| {
        Refusal::invalid(
            "structure",
            "{\"account\": text, \"password\": text} is expected",
        )
    })?;
    let begun = web
        .access
        .log_in(&given.account, given.password, address)
        .await
        .map_err(|error| refusal(&web, &error))?;
    Ok(with_cookie(
        &shown(&begun.caller),
        &session_cookie(&web, &begun),
    ))
}

/// The cookie of a session that has begun.
pub(super) fn session_cookie(web: &Web, begun: &Begun) -> String {
    let (longest, held) = (web.access.longest().as_secs(), begun.token.text());
    format!("{COOKIE_NAME}={held}; Path=/; Max-Age={longest}; Secure; HttpOnly; SameSite=Strict")
}

fn refusal(web: &Web, error: &NotLoggedIn) -> Refusal {
    web.counters.https_unauthorised.add_one();
    tracing::info!(event = "LogInRefused", code = error.code());
    match error {
        NotLoggedIn::Wrong => Refusal::unauthorised(error.to_string()),
        NotLoggedIn::TooMany { wait } => too_often(*wait),
        NotLoggedIn::Failed(cause) => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "exception",
            format!("{error}: {}", cause.code()),
        ),
    }
}

fn shown(caller: &Caller) -> Value {
    json!({
        "schema": "session/1",
        "account": caller.account,
        "practitioner": caller.practitioner,
        "role": caller.role.name(),
    })
}

fn with_cookie(document: &Value, cookie: &str) -> Response {
    let mut response = answer(StatusCode::OK, document);
    let headers = response.headers_mut();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Who is logged in.
pub(super) async fn show(visit: Visit) -> Answer {
    Ok(answer(StatusCode::OK, &shown(visit.caller())))
}

/// Logs out.
pub(super) async fn end(State(web): State<Web>, visit: Visit, headers: HeaderMap) -> Answer {
    if let Some(token) = session_token(&headers) {
        web.access.log_out(token).await?;
    }
    let gone = format!("{COOKIE_NAME}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    Ok(with_cookie(&shown(visit.caller()), &gone))
}
