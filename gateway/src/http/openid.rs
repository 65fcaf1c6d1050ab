//! Logging in at an OpenID Connect provider: `/session/openid` sends a browser there, and
//! `/session/openid/back` takes it in again.
//!
//! The cookie of a session is never sent along from another site, so the answer to who comes back
//! is a page of this address that leads on, not a redirection. Deliberately absent: what is
//! believed; see [`crate::access::openid`].

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::gate::cookie;
use super::respond::Refusal;
use super::session::session_cookie;
use super::{Peer, Web, pairs};
use crate::access::openid::{OpenId, OpenIdError, ProviderError, Returned};

/// The cookie of an attempt: sent along when the provider sends the browser back, so not strict.
const ATTEMPT: &str = "__Host-cardio-openid";
/// How long a browser may be away, in seconds.
const AWAY_MAX_S: u32 = 600;

/// Sends a browser to the provider.
pub(super) async fn leave(State(web): State<Web>) -> Response {
    let openid = match provider(&web) {
        Ok(openid) => openid,
        Err(refusal) => return axum::response::IntoResponse::into_response(refusal),
    };
    match openid.begin().await {
        Ok(leaving) => {
            let held = leaving.cookie.text();
            let cookie = format!(
                "{ATTEMPT}={held}; Path=/; Max-Age={AWAY_MAX_S}; Secure; HttpOnly; SameSite=Lax"
            );
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SEE_OTHER;
            set(&mut response, LOCATION, &leaving.address);
            set(&mut response, SET_COOKIE, &cookie);
            set(&mut response, CACHE_CONTROL, "no-store");
            response
        }
        Err(error) => refused(&web, &error),
    }
}

/// Takes a browser in that the provider sends back.
pub(super) async fn back(
    State(web): State<Web>,
    axum::Extension(Peer(address)): axum::Extension<Peer>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let openid = match provider(&web) {
        Ok(openid) => openid,
        Err(refusal) => return axum::response::IntoResponse::into_response(refusal),
    };
    let returned = returned(&query.unwrap_or_default());
    let held = cookie(&headers, ATTEMPT);
    let mut response = match openid.complete(held, returned, address).await {
        Ok(begun) => {
            let mut response = page(
                StatusCode::OK,
                ("Vous êtes connecté.", "You are logged in."),
                Some(openid.landing()),
            );
            set(&mut response, SET_COOKIE, &session_cookie(&web, &begun));
            response
        }
        Err(error) => refused(&web, &error),
    };
    let gone = format!("{ATTEMPT}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax");
    if let Ok(gone) = HeaderValue::from_str(&gone) {
        response.headers_mut().append(SET_COOKIE, gone);
    }
    response
}

fn provider(web: &Web) -> Result<&OpenId, Refusal> {
    let openid = web.openid.as_ref();
    openid.ok_or_else(|| {
        Refusal::not_found("no OpenID provider is configured; log in with POST /session")
    })
}

/// What a browser brings; what is said twice is not said.
fn returned(query: &str) -> Returned {
    let pairs = pairs::read(query).unwrap_or_default();
    let only = |name: &str| {
        let mut all = pairs.iter().filter(|(known, _)| known == name);
        let first = all.next().map(|(_, value)| value.clone());
        first.filter(|_| all.next().is_none())
    };
    Returned {
        state: only("state"),
        code: only("code"),
        issuer: only("iss"),
    }
}

fn refused(web: &Web, error: &OpenIdError) -> Response {
    web.counters.https_unauthorised.add_one();
    tracing::info!(event = "LogInRefused", code = error.code(), "{error}");
    let (status, words) = told(error);
    let mut response = page(status, words, None);
    let wait = match error {
        OpenIdError::TooMany { wait } => Some(wait.as_secs().saturating_add(1)),
        OpenIdError::Provider(_) => Some(10),
        _ => None,
    };
    if let Some(wait) = wait {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

/// What a person is told, in French and in English.
const fn told(error: &OpenIdError) -> (StatusCode, (&'static str, &'static str)) {
    match error {
        OpenIdError::TooMany { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            (
                "Trop d'essais. Attendez un peu, puis recommencez.",
                "Too many attempts. Wait a little, then begin again.",
            ),
        ),
        OpenIdError::Elsewhere => (
            StatusCode::BAD_REQUEST,
            (
                "Cette connexion n'a pas été commencée dans ce navigateur, ou il y a trop \
                 longtemps. Recommencez.",
                "This log-in was not begun in this browser, or too long ago. Begin again.",
            ),
        ),
        OpenIdError::Denied => (
            StatusCode::FORBIDDEN,
            (
                "Le service de connexion ne vous a pas connecté.",
                "The log-in service did not log you in.",
            ),
        ),
        OpenIdError::NoGrant | OpenIdError::Shut => (
            StatusCode::FORBIDDEN,
            (
                "Votre compte n'a pas accès ici. Adressez-vous à l'administrateur de l'équipe.",
                "Your account has no access here. Ask the administrator of the team.",
            ),
        ),
        OpenIdError::Provider(ProviderError::Unredeemed { .. }) => (
            StatusCode::FORBIDDEN,
            (
                "Le service de connexion n'a pas confirmé la connexion. Recommencez.",
                "The log-in service did not confirm the log-in. Begin again.",
            ),
        ),
        OpenIdError::Provider(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            (
                "Le service de connexion ne répond pas. Les comptes locaux fonctionnent.",
                "The log-in service does not answer. Local accounts work.",
            ),
        ),
        OpenIdError::Token(_) | OpenIdError::Claims(_) => (
            StatusCode::BAD_GATEWAY,
            (
                "La réponse du service de connexion n'est pas valable.",
                "The answer of the log-in service is not valid.",
            ),
        ),
        OpenIdError::Failed(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            (
                "Personne ne peut se connecter pour le moment.",
                "Nobody can log in just now.",
            ),
        ),
    }
}

/// A page of this address: two sentences, and where it leads.
fn page(status: StatusCode, (fr, en): (&str, &str), leads: Option<&str>) -> Response {
    let leads = leads.map(escaped);
    let onward = leads.map_or_else(
        || "<p><a href=\"/session/openid\">Recommencer · Begin again</a></p>".to_owned(),
        |to| {
            format!(
                "<meta http-equiv=\"refresh\" content=\"0;url={to}\">\
                 <p><a href=\"{to}\">Continuer · Continue</a></p>"
            )
        },
    );
    let text = format!(
        "<!doctype html><html lang=\"fr\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Cardio</title>\
         <p>{}</p><p lang=\"en\">{}</p>{onward}</html>\n",
        escaped(fr),
        escaped(en)
    );
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        // The address holds the code.
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        set(&mut response, name, value);
    }
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::{Returned, returned};

    #[test]
    fn what_is_said_twice_is_not_said() {
        let of = |text: &str| Some(text.to_owned());
        let all = returned("code=a%20b&state=s&iss=https%3A%2F%2Fid.example&session_state=x");
        let (code, state) = (of("a b"), of("s"));
        let issuer = of("https://id.example");
        assert_eq!(
            all,
            Returned {
                state,
                code,
                issuer
            }
        );
        assert_eq!(returned("code=a&code=b&state=s").code, None);
        assert_eq!(returned(""), Returned::default());
        assert_eq!(returned("%"), Returned::default());
    }
}
