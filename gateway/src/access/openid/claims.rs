//! What the claims of a verified token must say (OpenID Connect Core 1.0, 3.1.3.7; RFC 9068, 4).
//!
//! Deliberately absent: signatures, and what somebody may do; see [`super::jws`] and
//! [`super::grant`].

use serde_json::{Map, Value};

/// How far the provider's clock may differ from ours, in seconds.
const SKEW_S: i64 = 60;
/// Longest subject (Core 1.0, 2).
const SUBJECT_MAX: usize = 255;

/// Why the claims of a token do not count here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// A claim is missing or of the wrong kind.
    #[error("its claim `{claim}` is missing or of the wrong kind")]
    Missing {
        /// The claim.
        claim: &'static str,
    },
    /// Another issuer.
    #[error("it is from another issuer (`iss`)")]
    Issuer,
    /// Made for somebody else.
    #[error("it is for somebody else (`aud`)")]
    Audience,
    /// Given to a client that is not known here.
    #[error("it was given to another client (`azp`, `client_id`)")]
    Client,
    /// Over.
    #[error("it has ended (`exp`)")]
    Ended,
    /// Not yet.
    #[error("it does not hold yet (`nbf`, `iat`)")]
    Early,
    /// The answer to another question.
    #[error("it belongs to another log-in (`nonce`)")]
    Nonce,
    /// Bound to a key that its bearer would have to prove.
    #[error("it is bound to a key (`cnf`), which is not checked here")]
    Bound,
}

impl ClaimError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing { .. } => "openid.claim.missing",
            Self::Issuer => "openid.claim.issuer",
            Self::Audience => "openid.claim.audience",
            Self::Client => "openid.claim.client",
            Self::Ended => "openid.claim.ended",
            Self::Early => "openid.claim.early",
            Self::Nonce => "openid.claim.nonce",
            Self::Bound => "openid.claim.bound",
        }
    }
}

/// What a token is measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'e> {
    /// The provider.
    pub(super) issuer: &'e str,
    /// Whom it must be for.
    pub(super) audience: &'e str,
    /// This moment, in seconds since 1970.
    pub(super) now_s: i64,
}

type Claims = Map<String, Value>;

fn text<'c>(claims: &'c Claims, claim: &'static str) -> Result<&'c str, ClaimError> {
    let text = claims.get(claim).and_then(Value::as_str);
    text.ok_or(ClaimError::Missing { claim })
}

/// A claim that may be absent, but not of another kind.
fn text_if<'c>(claims: &'c Claims, claim: &'static str) -> Result<Option<&'c str>, ClaimError> {
    match claims.contains_key(claim) {
        true => text(claims, claim).map(Some),
        false => Ok(None),
    }
}

/// A moment (RFC 7519, 2, NumericDate), in whole seconds.
fn moment(claims: &Claims, claim: &'static str) -> Result<i64, ClaimError> {
    let value = claims.get(claim).ok_or(ClaimError::Missing { claim })?;
    let whole = value.as_i64().or_else(|| {
        // Fractions of a second decide nothing here.
        let text = value.as_f64().filter(|s| s.abs() < 1e15)?.trunc();
        format!("{text:.0}").parse().ok()
    });
    whole.ok_or(ClaimError::Missing { claim })
}

fn moment_if(claims: &Claims, claim: &'static str) -> Result<Option<i64>, ClaimError> {
    match claims.contains_key(claim) {
        true => moment(claims, claim).map(Some),
        false => Ok(None),
    }
}

/// Whom a token is for: one, or a list.
fn audiences(claims: &Claims) -> Result<Vec<&str>, ClaimError> {
    let claim = "aud";
    let missing = ClaimError::Missing { claim };
    match claims.get(claim) {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(all)) => all.iter().map(|one| one.as_str().ok_or(missing)).collect(),
        _ => Err(missing),
    }
}

/// Issuer, audience and times; gives the subject.
fn common<'c>(claims: &'c Claims, expected: Expected<'_>) -> Result<&'c str, ClaimError> {
    if text(claims, "iss")? != expected.issuer {
        return Err(ClaimError::Issuer);
    }
    if !audiences(claims)?.contains(&expected.audience) {
        return Err(ClaimError::Audience);
    }
    if expected.now_s >= moment(claims, "exp")?.saturating_add(SKEW_S) {
        return Err(ClaimError::Ended);
    }
    let latest = expected.now_s.saturating_add(SKEW_S);
    let begins = [moment_if(claims, "nbf")?, moment_if(claims, "iat")?];
    if begins.into_iter().flatten().any(|begin| begin > latest) {
        return Err(ClaimError::Early);
    }
    let subject = text(claims, "sub")?;
    match subject.is_empty() || subject.len() > SUBJECT_MAX {
        true => Err(ClaimError::Missing { claim: "sub" }),
        false => Ok(subject),
    }
}

/// Checks an ID token that was asked for with this nonce; gives its subject.
pub(super) fn of_log_in<'c>(
    claims: &'c Claims,
    expected: Expected<'_>,
    nonce: &str,
) -> Result<&'c str, ClaimError> {
    let subject = common(claims, expected)?;
    moment(claims, "iat")?;
    let client = text_if(claims, "azp")?;
    let is_shared = audiences(claims)?.len() > 1;
    if client.map_or(is_shared, |client| client != expected.audience) {
        return Err(ClaimError::Client);
    }
    match text_if(claims, "nonce")? == Some(nonce) {
        true => Ok(subject),
        false => Err(ClaimError::Nonce),
    }
}

/// Checks an access token that one of these clients presents; gives its subject.
pub(super) fn of_bearer<'c>(
    claims: &'c Claims,
    expected: Expected<'_>,
    clients: &[String],
) -> Result<&'c str, ClaimError> {
    let subject = common(claims, expected)?;
    if claims.contains_key("cnf") {
        return Err(ClaimError::Bound);
    }
    let named = [text_if(claims, "client_id")?, text_if(claims, "azp")?];
    let mut named = named.into_iter().flatten().peekable();
    let is_known =
        named.peek().is_some() && named.all(|client| clients.iter().any(|known| known == client));
    match is_known {
        true => Ok(subject),
        false => Err(ClaimError::Client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EXPECTED: Expected<'_> = Expected {
        issuer: "https://id.example",
        audience: "gateway",
        now_s: 1_000_000,
    };

    fn claims(changes: &[(&str, Value)]) -> Claims {
        let mut claims = json!({
            "iss": "https://id.example", "aud": "gateway", "sub": "s", "nonce": "n",
            "exp": 1_000_300, "iat": 999_990, "client_id": "program",
        });
        for (name, value) in changes {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn every_claim_that_is_wrong_is_named() {
        use ClaimError::{Audience, Early, Ended, Issuer, Missing};
        let missing = |claim| Missing { claim };
        for (name, value, error) in [
            ("iss", json!("https://id.example/"), Issuer),
            ("iss", json!(null), missing("iss")),
            ("aud", json!("other"), Audience),
            ("aud", json!([]), Audience),
            ("aud", json!(["gateway", 1]), missing("aud")),
            ("aud", json!(null), missing("aud")),
            ("exp", json!(999_940), Ended),
            ("exp", json!(-1e300), missing("exp")),
            ("exp", json!("1000300"), missing("exp")),
            ("exp", json!(null), missing("exp")),
            ("nbf", json!(1_000_061), Early),
            ("nbf", json!(true), missing("nbf")),
            ("iat", json!(1_000_061.5), Early),
            ("sub", json!(""), missing("sub")),
            ("sub", json!("s".repeat(256)), missing("sub")),
            ("sub", json!(null), missing("sub")),
        ] {
            let claims = claims(&[(name, value.clone())]);
            assert_eq!(
                of_log_in(&claims, EXPECTED, "n"),
                Err(error),
                "{name} {value}"
            );
            let known = ["program".to_owned()];
            assert_eq!(
                of_bearer(&claims, EXPECTED, &known),
                Err(error),
                "{name} {value}"
            );
        }
        let slow = claims(&[("exp", json!(999_941)), ("iat", json!(1_000_060))]);
        assert_eq!(of_log_in(&slow, EXPECTED, "n"), Ok("s"));
        let fraction = claims(&[("exp", json!(1_000_300.25))]);
        assert_eq!(of_log_in(&fraction, EXPECTED, "n"), Ok("s"));
    }

    #[test]
    fn a_log_in_belongs_to_its_question_and_to_us() {
        use ClaimError::{Client, Missing, Nonce};
        let shared = json!(["gateway", "other"]);
        for (changes, told) in [
            (&[("nonce", json!("m"))][..], Err(Nonce)),
            (&[("nonce", json!(null))], Err(Nonce)),
            (&[("iat", json!(null))], Err(Missing { claim: "iat" })),
            (&[("azp", json!("other"))], Err(Client)),
            (&[("azp", json!(1))], Err(Missing { claim: "azp" })),
            (&[("azp", json!("gateway"))], Ok("s")),
            (&[("aud", shared.clone())], Err(Client)),
            (&[("aud", shared), ("azp", json!("gateway"))], Ok("s")),
        ] {
            assert_eq!(
                of_log_in(&claims(changes), EXPECTED, "n"),
                told,
                "{changes:?}"
            );
        }
    }

    #[test]
    fn a_bearer_is_a_client_that_is_known_and_its_token_bound_to_nothing() {
        use ClaimError::{Bound, Client};
        let known = ["program".to_owned(), "other".to_owned()];
        for (changes, told) in [
            (&[][..], Ok("s")),
            (&[("client_id", json!("x"))], Err(Client)),
            (&[("client_id", json!(null))], Err(Client)),
            (
                &[("client_id", json!(null)), ("azp", json!("other"))],
                Ok("s"),
            ),
            (&[("azp", json!("x"))], Err(Client)),
            (&[("cnf", json!({"jkt": "x"}))], Err(Bound)),
            (&[("nonce", json!(null)), ("iat", json!(null))], Ok("s")),
        ] {
            assert_eq!(
                of_bearer(&claims(changes), EXPECTED, &known),
                told,
                "{changes:?}"
            );
        }
    }
}
