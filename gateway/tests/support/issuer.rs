//! An OpenID provider of the test's own, over real TLS on loopback: it vouches for whom it is
//! told to, signs as it is told to, and misbehaves as asked.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::tls::certified;

pub(crate) const CLIENT: &str = "gateway";
pub(crate) const SECRET: &str = "a secret: 100% ours";

/// A key that signs.
pub(crate) enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Pair {
    pub(crate) fn ed25519() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
    }

    pub(crate) fn p256() -> Self {
        let (way, chance) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let made = EcdsaKeyPair::generate_pkcs8(way, &chance).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(way, made.as_ref(), &chance).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    fn public(&self, kid: &str) -> Value {
        let text = |raw: &[u8]| URL_SAFE_NO_PAD.encode(raw);
        match self {
            Self::Ed25519(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig",
                "x": text(pair.public_key().as_ref()),
            }),
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
                    "x": text(&point[1..33]), "y": text(&point[33..]),
                })
            }
        }
    }

    /// Signs claims under a header to which these members are added, or from which they are gone.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let mut whole = json!({"alg": self.algorithm()});
        for (name, value) in header.as_object().unwrap() {
            whole[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&whole), part(claims));
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), signed.as_bytes());
                signature.unwrap().as_ref().to_vec()
            }
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A code that can be redeemed once, by who knows what the challenge was made of.
struct Code {
    challenge: String,
    token: String,
}

struct Inside {
    kid: String,
    pair: Pair,
    /// What it says of its keys.
    published: Vec<Value>,
    codes: HashMap<String, Code>,
    given: usize,
    asked: BTreeMap<String, usize>,
    /// What it answers, whatever is asked.
    status: Option<u16>,
    /// Members of its description that are not as they should be.
    odd: Value,
    /// Its description, instead of JSON.
    instead: Option<String>,
}

/// A provider.
#[derive(Clone)]
pub(crate) struct Provider {
    address: String,
    ca: PathBuf,
    inside: Arc<Mutex<Inside>>,
}

impl Provider {
    /// Listens, and writes its authority's certificate and the client's secret to a folder.
    pub(crate) async fn open(dir: &Path) -> Self {
        let ca = dir.join("issuer-ca.pem");
        let acceptor = certified(&ca);
        std::fs::write(dir.join("issuer.secret"), format!("{SECRET}\n")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pair = Pair::p256();
        let provider = Self {
            address: format!("https://{}/realm", listener.local_addr().unwrap()),
            ca,
            inside: Arc::new(Mutex::new(Inside {
                kid: "k1".to_owned(),
                published: vec![pair.public("k1")],
                pair,
                codes: HashMap::new(),
                given: 0,
                asked: BTreeMap::new(),
                status: None,
                odd: json!({}),
                instead: None,
            })),
        };
        let own = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, own) = (acceptor.clone(), own.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let answer = service_fn(|request| {
                        let own = own.clone();
                        async move { Ok::<_, Infallible>(own.answer(request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    // How a client leaves is its own matter.
                    let _ = connection
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        provider
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The part of a configuration that names it.
    pub(crate) fn config(&self, more: &str) -> String {
        let secret = self.ca.with_file_name("issuer.secret");
        format!(
            "[access.openid]\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nca = \"{}\"\n\
             client_secret_file = \"{}\"\npractitioner_claim = \"person\"\n\
             redirect = \"https://localhost/session/openid/back\"\nlanding = \"/fhir/metadata\"\n\
             {more}",
            self.address,
            self.ca.display(),
            secret.display()
        )
    }

    fn inside(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// Signs claims with the key of now.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let inside = self.inside();
        let mut whole = json!({"kid": inside.kid});
        for (name, value) in header.as_object().unwrap() {
            whole[name] = value.clone();
        }
        inside.pair.sign(&whole, claims)
    }

    /// It signs with another key from now on; the ones before stay published if they are `kept`.
    pub(crate) fn signs_with(&self, kid: &str, pair: Pair, kept: bool) {
        let mut inside = self.inside();
        if !kept {
            inside.published.clear();
        }
        inside.published.push(pair.public(kid));
        (inside.kid, inside.pair) = (kid.to_owned(), pair);
    }

    /// It answers everything with a status, or as it should.
    pub(crate) fn answers(&self, status: Option<u16>) {
        self.inside().status = status;
    }

    /// It says something else of itself.
    pub(crate) fn says(&self, odd: Value, instead: Option<String>) {
        let mut inside = self.inside();
        (inside.odd, inside.instead) = (odd, instead);
    }

    /// How often an address was asked.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.inside().asked.get(path).copied().unwrap_or(0)
    }

    /// A code for a browser that was sent here, which gives this ID token.
    pub(crate) fn code(&self, challenge: &str, token: String) -> String {
        let mut inside = self.inside();
        inside.given += 1;
        let code = format!("code {}", inside.given);
        let challenge = challenge.to_owned();
        inside.codes.insert(code.clone(), Code { challenge, token });
        code
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), 65_536).await.unwrap();
        let path = parts.uri.path().strip_prefix("/realm").unwrap_or_default();
        let authorization = parts.headers.get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let (status, text) = self.said(path, authorization.as_deref(), &body);
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    fn said(&self, path: &str, authorization: Option<&str>, body: &[u8]) -> (u16, String) {
        let mut inside = self.inside();
        *inside.asked.entry(path.to_owned()).or_default() += 1;
        if let Some(status) = inside.status {
            return (status, "away".to_owned());
        }
        match path {
            "/.well-known/openid-configuration" => {
                if let Some(instead) = &inside.instead {
                    return (200, instead.clone());
                }
                let at = |path: &str| format!("{}/{path}", self.address);
                let mut said = json!({
                    "issuer": self.address, "authorization_endpoint": at("authorize?kc=1"),
                    "token_endpoint": at("token"), "jwks_uri": at("keys"),
                    "code_challenge_methods_supported": ["plain", "S256"],
                    "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
                    "authorization_response_iss_parameter_supported": true,
                });
                for (name, value) in inside.odd.as_object().unwrap() {
                    said[name] = value.clone();
                }
                (200, said.to_string())
            }
            "/keys" => (200, json!({"keys": inside.published}).to_string()),
            "/token" => inside.redeem(authorization, body),
            _ => (404, String::new()),
        }
    }
}

impl Inside {
    fn redeem(&mut self, authorization: Option<&str>, body: &[u8]) -> (u16, String) {
        use base64::engine::general_purpose::STANDARD;
        let uri: axum::http::Uri = format!("/?{}", str::from_utf8(body).unwrap())
            .parse()
            .unwrap();
        let form = axum::extract::Query::<HashMap<String, String>>::try_from_uri(&uri);
        let form = form.unwrap().0;
        // RFC 6749, 2.3.1.
        let basic = STANDARD.encode(format!("{CLIENT}:a%20secret%3A%20100%25%20ours"));
        if authorization != Some(format!("Basic {basic}").as_str()) {
            return (401, json!({"error": "invalid_client"}).to_string());
        }
        assert_eq!(form["grant_type"], "authorization_code");
        assert_eq!(
            form["redirect_uri"],
            "https://localhost/session/openid/back"
        );
        let code = self.codes.remove(&form["code"]);
        let made = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
        match code.filter(|code| code.challenge == made) {
            Some(code) => {
                let said = json!({
                    "access_token": "opaque", "token_type": "Bearer", "expires_in": 300,
                    "id_token": code.token,
                });
                (200, said.to_string())
            }
            None => (400, json!({"error": "invalid_grant"}).to_string()),
        }
    }
}
