//! The gate: every request is somebody's before anything else is done with it.
//!
//! Somebody is known by `Authorization: Bearer` (the token of the key folder, or one of an
//! account, or one that the OpenID provider has signed) or by the cookie of a session. A cookie is sent by browsers on their own accord, so a
//! request that it vouches for must come from a page of this very address if it does more than
//! read.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use cardio_fhir::audit::{Deed, Outcome};

use super::respond::Refusal;
use super::visit::Visit;
use super::{Peer, Web, upload};
use crate::access::Caller;
use crate::access::audit::Event;
use crate::access::openid::OpenIdError;
use crate::db::DbError;

/// The cookie of a session: of this host alone, over TLS alone (RFC 6265bis, 4.1.3.2).
pub(super) const COOKIE_NAME: &str = "__Host-cardio";

/// Who asks first, then the request, within its time.
pub(super) async fn admit(State(web): State<Web>, request: Request, next: Next) -> Response {
    web.counters.https_requests.add_one();
    let (parts, body) = request.into_parts();
    let address = peer(&parts);
    let visit = match recognise(&web, &parts).await {
        Ok(caller) => Visit::new(caller),
        Err(refusal) => return refusal.into_response(),
    };
    let mut request = Request::from_parts(parts, body);
    if !is_text(request.uri().path()) {
        return Refusal::invalid("invalid", "the address is not UTF-8").into_response();
    }
    request.extensions_mut().insert(visit.clone());
    // What is being done is done and written down even if nobody waits for the answer any more.
    let doing = tokio::spawn(async move {
        let response = within_time(&web, request, next).await;
        traced(&web, &visit, address, response).await
    });
    doing.await.unwrap_or_else(|_| {
        let why = "the request stopped halfway";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", why).into_response()
    })
}

async fn within_time(web: &Web, request: Request, next: Next) -> Response {
    let limit = match upload::is_upload(&request) {
        true => web.config.upload_timeout.0,
        false => web.config.timeout.0,
    };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "the answer took too long; ask for less",
        )
        .into_response(),
    }
}

/// The answer, once it is on the disk that it was given; what cannot be traced is not answered.
async fn traced(web: &Web, visit: &Visit, address: IpAddr, response: Response) -> Response {
    let Some((deed, about)) = visit.outcome() else {
        return response;
    };
    let status = response.status();
    let outcome = match status {
        StatusCode::FORBIDDEN => Outcome::Denied,
        _ if status.is_server_error() => Outcome::Denied,
        _ if status.is_client_error() => Outcome::Wrong,
        _ => Outcome::Done,
    };
    let event = Event::of_caller(deed, outcome, visit.caller());
    match web.access.trace(event.from(address).about(about)).await {
        Ok(()) => response,
        Err(error) => Refusal::from_store(&error).into_response(),
    }
}

/// The address that a request comes from.
fn peer(request: &Parts) -> IpAddr {
    let peer = request.extensions.get::<Peer>();
    peer.map_or(IpAddr::from([0, 0, 0, 0]), |Peer(address)| *address)
}

async fn recognise(web: &Web, request: &Parts) -> Result<Caller, Refusal> {
    let headers = &request.headers;
    let address = peer(request);
    let (token, session) = (bearer(headers), session_token(headers));
    let caller = match (token, session) {
        (Some(token), _) => of_bearer(web, token, address).await?,
        (None, Some(session)) => web.access.of_session(session).await?,
        (None, None) => None,
    };
    let Some(caller) = caller else {
        web.counters.https_unauthorised.add_one();
        web.access.refuse(address).map_err(too_often)?;
        let event = Event::of_stranger(Deed::Stranger, None).from(address);
        web.access.trace(event).await?;
        return Err(Refusal::unauthorised(
            "log in at /session, or present a token as `Authorization: Bearer`",
        ));
    };
    web.access.admit(&caller).map_err(too_often)?;
    if token.is_none()
        && !is_safe(&request.method)
        && let Err(refusal) = check_origin(headers)
    {
        let event = Event::of_caller(Deed::Stranger, Outcome::Denied, &caller);
        web.access.trace(event.from(address)).await?;
        return Err(refusal);
    }
    Ok(caller)
}

/// Who presents a token: one of ours, or one that the provider has signed.
async fn of_bearer(web: &Web, token: &str, address: IpAddr) -> Result<Option<Caller>, Refusal> {
    let openid = web.openid.as_ref().filter(|openid| openid.takes(token));
    let Some(openid) = openid else {
        return Ok(web.access.of_token(token).await?);
    };
    let refused = match openid.bearer(token).await {
        Ok(caller) => return Ok(Some(caller)),
        Err(refused) => refused,
    };
    web.counters.https_unauthorised.add_one();
    web.access.refuse(address).map_err(too_often)?;
    let event = Event::of_stranger(Deed::Stranger, refused.account.as_deref());
    web.access.trace(event.from(address)).await?;
    let (error, code) = (&refused.error, refused.error.code());
    tracing::info!(event = "BearerRefused", code, "{error}");
    let why = format!("{error} ({code})");
    Err(match error {
        OpenIdError::NoGrant | OpenIdError::Shut => {
            Refusal::new(StatusCode::FORBIDDEN, "forbidden", why)
        }
        OpenIdError::Provider(_) | OpenIdError::Failed(_) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "transient", why)
        }
        _ => Refusal::unauthorised(why),
    })
}

/// What a request is known by, for who asks again later.
pub(super) enum Presented {
    Token(String),
    Session(String),
}

/// What a request presents, if anything.
pub(super) fn presented(headers: &HeaderMap) -> Option<Presented> {
    let token = bearer(headers).map(|token| Presented::Token(token.to_owned()));
    token.or_else(|| Some(Presented::Session(session_token(headers)?.to_owned())))
}

impl Presented {
    /// Who it is now; a session does not go on for it.
    pub(super) async fn again(&self, web: &Web) -> Result<Option<Caller>, DbError> {
        match self {
            Self::Session(session) => web.access.holds(session).await,
            Self::Token(token) => match &web.openid {
                Some(openid) if openid.takes(token) => Ok(openid.bearer(token).await.ok()),
                _ => web.access.of_token(token).await,
            },
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What the cookie of a session holds.
pub(super) fn session_token(headers: &HeaderMap) -> Option<&str> {
    cookie(headers, COOKIE_NAME)
}

/// What a cookie holds.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, of: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).into_iter();
    let cookies = cookies.filter_map(|value| value.to_str().ok());
    let mut cookies = cookies.flat_map(|text| text.split(';'));
    cookies.find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == of).then_some(value)
    })
}

fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Refuses what a page of another address asks in somebody's name.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let own = match (text(ORIGIN), text(HOST)) {
        (Some(origin), Some(host)) => origin
            .strip_prefix("https://")
            .is_some_and(|origin| origin.eq_ignore_ascii_case(host)),
        _ => false,
    };
    match own {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "with a session, only pages of this very address may ask for more than to read \
             (Origin must be that of this host); programs present a token",
        )),
    }
}

/// Too many requests.
pub(super) fn too_often(wait: Duration) -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        "too many requests; wait as long as Retry-After says",
    )
    .after(wait)
}

/// Whether a path is text once its percent signs are undone.
fn is_text(path: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut rest, mut plain) = (path.as_bytes(), Vec::with_capacity(path.len()));
    while let [first, after @ ..] = rest {
        rest = after;
        let pair = (digit(after.first()), digit(after.get(1)));
        if let (b'%', (Some(high), Some(low))) = (first, pair) {
            plain.push(u8::try_from(high * 16 + low).unwrap_or(u8::MAX));
            rest = after.get(2..).unwrap_or_default();
        } else {
            plain.push(*first);
        }
    }
    std::str::from_utf8(&plain).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{check_origin, session_token};
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            let name = HeaderName::from_static(name);
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_cookie_is_found_among_others_by_its_whole_name() {
        let of = |text: &str| session_token(&headers(&[("cookie", text)])).map(str::to_owned);
        assert_eq!(of("a=b; __Host-cardio=x").as_deref(), Some("x"));
        assert_eq!(of("cardio=x; __Host-cardiology=y"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_page_of_another_address_is_refused_and_so_is_none() {
        let host = ("host", "gateway.example:8443");
        let of = |origin| check_origin(&headers(&[host, ("origin", origin)])).is_ok();
        assert!(of("https://gateway.example:8443"));
        for other in [
            "https://gateway.example",
            "http://gateway.example:8443",
            "null",
            "",
        ] {
            assert!(!of(other), "{other}");
        }
        assert!(check_origin(&headers(&[host])).is_err());
    }
}
