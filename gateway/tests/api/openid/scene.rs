//! A gateway, an OpenID provider that it believes, and people on their way between them.

use std::collections::HashMap;
use std::sync::Arc;

use cardio_core::clock::{Clock as _, ManualClock};

use super::super::access::{by_hand, of_team};
use super::super::*;
use super::issuer::{CLIENT, Provider};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const AUDIENCE: &str = "https://gateway.example/fhir";
pub(super) const GRANTS: &str = r#"
[access.openid.bearer]
audience = "https://gateway.example/fhir"
clients = ["dispatch"]
[[access.openid.grant]]
claim = "groups"
value = "nurses of a"
role = "nurse"
teams = ["Organization/team-a"]
[[access.openid.grant]]
claim = "/realm_access/roles"
value = "doctor"
role = "cardiologist"
teams = ["Organization/team-b"]
"#;

/// A gateway, a provider that it believes, and a clock that the test moves.
pub(super) struct Scene {
    pub(super) bench: Bench,
    pub(super) provider: Provider,
    pub(super) clock: Arc<ManualClock>,
    pub(super) page: Fhir,
}

impl Scene {
    pub(super) async fn set() -> Self {
        Self::set_with(GRANTS).await
    }

    pub(super) async fn set_with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = Provider::open(dir.path()).await;
        let clock = by_hand();
        let bench = Bench::start_in(dir, provider.config(more), clock.clone()).await;
        for (id, team) in [("pa", "team-a"), ("pb", "team-b")] {
            let path = format!("/fhir/Patient/{id}");
            let (fhir, one) = (bench.fhir(), of_team(id, team));
            assert_eq!(fhir.write("PUT", &path, &[], &one).await.status, 201);
        }
        let page = bench.fhir().with_token("");
        Self {
            bench,
            provider,
            clock,
            page,
        }
    }

    pub(super) fn now_s(&self) -> i64 {
        self.clock.read().utc.0 / 1_000_000
    }

    /// The claims of an ID token.
    pub(super) fn person(&self, nonce: &str, changes: Value) -> Value {
        let claims = json!({
            "iss": self.provider.address(), "aud": CLIENT, "sub": "s1", "nonce": nonce,
            "iat": self.now_s(), "exp": self.now_s() + 300, "groups": ["x", "nurses of a"],
        });
        changed(claims, changes)
    }

    /// The claims of an access token.
    pub(super) fn program(&self, changes: Value) -> Value {
        let claims = json!({
            "iss": self.provider.address(), "aud": [AUDIENCE, "else"], "sub": "dispatch",
            "client_id": "dispatch", "iat": self.now_s(), "exp": self.now_s() + 300,
            "groups": ["nurses of a"],
        });
        changed(claims, changes)
    }

    pub(super) fn token(&self, changes: Value) -> String {
        let claims = self.program(changes);
        self.provider.sign(&json!({"typ": "at+jwt"}), &claims)
    }

    /// What a request for a patient answers to who presents a token.
    pub(super) async fn presents(&self, token: &str) -> (u16, Value) {
        self.page.with_token(token).get("/fhir/Patient/pa").await
    }

    /// A browser leaves for the provider.
    pub(super) async fn leaves(&self) -> Away {
        let told = self.page.send("GET", "/session/openid", &[], "").await;
        assert_eq!(told.status, 303, "{}", String::from_utf8_lossy(&told.raw));
        let set = told.header("Set-Cookie").to_owned();
        for part in [
            "__Host-cardio-openid=",
            "Path=/",
            "Secure",
            "HttpOnly",
            "SameSite=Lax",
        ] {
            assert!(set.contains(part), "{set}");
        }
        let to = told.header("Location").to_owned();
        assert!(
            to.starts_with(&format!("{}/authorize?kc=1&", self.provider.address())),
            "{to}"
        );
        let uri: axum::http::Uri = to.parse().unwrap();
        let asked = axum::extract::Query::<HashMap<String, String>>::try_from_uri(&uri);
        let asked = asked.unwrap().0;
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("scope", "openid"),
            ("redirect_uri", "https://localhost/session/openid/back"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked[name], value, "{to}");
        }
        Away {
            cookie: set.split(';').next().unwrap().to_owned(),
            state: asked["state"].clone(),
            nonce: asked["nonce"].clone(),
            challenge: asked["code_challenge"].clone(),
        }
    }

    /// The browser comes back with a code.
    pub(super) async fn comes_back(&self, away: &Away, code: &str) -> Told {
        let query = [
            ("code", code),
            ("state", &away.state),
            ("iss", self.provider.address()),
        ];
        self.comes_back_with(&away.cookie, &query).await
    }

    pub(super) async fn comes_back_with(&self, cookie: &str, query: &[(&str, &str)]) -> Told {
        let query = query.iter().map(|(name, value)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        });
        let query = query.collect::<Vec<_>>().join("&");
        let path = format!("/session/openid/back?{query}");
        self.page
            .send("GET", &path, &[("Cookie", cookie)], "")
            .await
    }

    /// A whole log-in; the cookie of the session.
    pub(super) async fn logs_in(&self, changes: Value) -> String {
        let away = self.leaves().await;
        let token = self
            .provider
            .sign(&json!({}), &self.person(&away.nonce, changes));
        let code = self.provider.code(&away.challenge, token);
        let told = self.comes_back(&away, &code).await;
        session(&told).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&told.raw)))
    }

    pub(super) async fn asks(&self, cookie: &str, path: &str) -> Told {
        self.page.send("GET", path, &[("Cookie", cookie)], "").await
    }

    /// Attempts that are written down as denied, with the account that each names.
    pub(super) async fn denied(&self) -> Vec<String> {
        let search = "/fhir/AuditEvent?outcome=8&_sort=date&_count=100";
        let events = self.bench.fhir().all(search).await.into_iter();
        let name = |event: Value| event["agent"][0]["altId"].as_str().unwrap().to_owned();
        events.map(name).collect()
    }
}

/// A browser that is away.
pub(super) struct Away {
    pub(super) cookie: String,
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) challenge: String,
}

pub(super) fn changed(mut claims: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// The cookie of a session that an answer begins.
pub(super) fn session(told: &Told) -> Option<String> {
    let all = told.headers.get_all("Set-Cookie").iter();
    let mut all = all.map(|value| value.to_str().unwrap());
    let whole = all.find(|cookie| cookie.starts_with("__Host-cardio="))?;
    assert!(
        whole.contains("SameSite=Strict") && whole.contains("HttpOnly"),
        "{whole}"
    );
    Some(whole.split(';').next().unwrap().to_owned())
}
