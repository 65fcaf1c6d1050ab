//! A reader and writer of the record over HTTPS.

use serde_json::Value;

use super::{Bench, DEADLINE};

/// Reads and writes the record over HTTPS.
#[derive(Clone)]
pub(crate) struct Fhir {
    agent: ureq::Agent,
    base: String,
    token: String,
}

impl Fhir {
    pub(super) fn new(bench: &Bench) -> Self {
        let pem = std::fs::read(bench.gateway.keys().ca_file()).unwrap();
        let root = ureq::tls::Certificate::from_pem(&pem).unwrap();
        let tls = ureq::tls::TlsConfig::builder()
            .root_certs(ureq::tls::RootCerts::new_with_certs(&[root]))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE))
            .build();
        Self {
            agent: config.into(),
            base: format!("https://localhost:{}", bench.gateway.https.port()),
            token: std::fs::read_to_string(bench.gateway.keys().api_token_file()).unwrap(),
        }
    }

    /// The same server, asked with another token; with none when it is empty.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The token that it presents.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.get_with(path, "application/fhir+json", true).await
    }

    pub(crate) async fn get_with(
        &self,
        path: &str,
        accept: &str,
        authorised: bool,
    ) -> (u16, Value) {
        let (one, accept) = (self.clone(), accept.to_owned());
        let url = if path.starts_with("https:") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        tokio::task::spawn_blocking(move || {
            let mut request = one.agent.get(&url).header("Accept", accept);
            if authorised {
                request = request.header("Authorization", format!("Bearer {}", one.token));
            }
            let mut response = request.call().unwrap();
            let text = response
                .body_mut()
                .with_config()
                .limit(100_000_000)
                .read_to_string()
                .unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (response.status().as_u16(), body)
        })
        .await
        .unwrap()
    }

    pub(crate) async fn bytes(&self, path: &str, accept: &str) -> Vec<u8> {
        let (one, accept, url) = (
            self.clone(),
            accept.to_owned(),
            format!("{}{path}", self.base),
        );
        tokio::task::spawn_blocking(move || {
            let mut response = one
                .agent
                .get(&url)
                .header("Accept", accept)
                .header("Authorization", format!("Bearer {}", one.token))
                .call()
                .unwrap();
            response.body_mut().read_to_vec().unwrap()
        })
        .await
        .unwrap()
    }

    /// Any request; the answer with its headers.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Told {
        let url = match path.starts_with("https:") {
            true => path.to_owned(),
            false => format!("{}{path}", self.base),
        };
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent = self.agent.clone();
        let body = body.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut response = match method_has_body(request.method_ref()) {
                true => agent.run(request.body(body).unwrap()).unwrap(),
                false => agent.run(request.body(()).unwrap()).unwrap(),
            };
            let raw = response
                .body_mut()
                .with_config()
                .limit(100_000_000)
                .read_to_vec()
                .unwrap();
            Told {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: serde_json::from_slice(&raw).unwrap_or(Value::Null),
                raw,
            }
        })
        .await
        .unwrap()
    }

    /// Sends a resource.
    pub(crate) async fn write(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Told {
        let mut all = vec![("Content-Type", "application/fhir+json")];
        all.extend(headers);
        self.send(method, path, &all, &body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, content_type: &str, body: &Value) -> (u16, Value) {
        let (one, content_type, body) = (self.clone(), content_type.to_owned(), body.to_string());
        let url = format!("{}{path}", self.base);
        tokio::task::spawn_blocking(move || {
            let mut response = one
                .agent
                .put(&url)
                .header("Authorization", format!("Bearer {}", one.token))
                .header("Content-Type", content_type)
                .send(body)
                .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            (response.status().as_u16(), body)
        })
        .await
        .unwrap()
    }

    /// Uploads a file; the answer with its `Location`.
    pub(crate) async fn upload(
        &self,
        media_type: &str,
        subject: Option<&str>,
        file: &[u8],
    ) -> (u16, Value, Option<String>) {
        let (one, media_type, file) = (self.clone(), media_type.to_owned(), file.to_vec());
        let (url, subject) = (
            format!("{}/fhir/Binary", self.base),
            subject.map(str::to_owned),
        );
        tokio::task::spawn_blocking(move || {
            let mut request = one
                .agent
                .post(&url)
                .header("Authorization", format!("Bearer {}", one.token))
                .header("Content-Type", media_type);
            if let Some(subject) = subject {
                request = request.header("X-Security-Context", subject);
            }
            let mut response = request.send(&file[..]).unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            let place = response.headers().get("Location");
            let place = place.map(|place| place.to_str().unwrap().to_owned());
            (
                response.status().as_u16(),
                serde_json::from_str(&text).unwrap_or(Value::String(text)),
                place,
            )
        })
        .await
        .unwrap()
    }

    /// Whether a body of `bytes` bytes is refused; the server may hang up before it is sent.
    pub(crate) async fn refuses_body_of(&self, path: &str, bytes: usize) -> bool {
        let (one, url) = (self.clone(), format!("{}{path}", self.base));
        tokio::task::spawn_blocking(move || {
            let answer = one
                .agent
                .put(&url)
                .header("Authorization", format!("Bearer {}", one.token))
                .header("Content-Type", "application/fhir+json")
                .send(" ".repeat(bytes));
            answer.map_or(true, |response| response.status().as_u16() == 413)
        })
        .await
        .unwrap()
    }

    /// All resources of a search, page after page.
    pub(crate) async fn all(&self, search: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut next = Some(search.to_owned());
        while let Some(path) = next {
            let (status, bundle) = self.get(&path).await;
            assert_eq!(status, 200, "{bundle}");
            for entry in bundle["entry"].as_array().into_iter().flatten() {
                found.push(entry["resource"].clone());
            }
            next = bundle["link"]
                .as_array()
                .unwrap()
                .iter()
                .find(|link| link["relation"] == "next")
                .map(|link| link["url"].as_str().unwrap().to_owned());
        }
        found
    }
}

fn method_has_body(method: Option<&ureq::http::Method>) -> bool {
    method.is_some_and(|method| *method == "POST" || *method == "PUT" || *method == "PATCH")
}

/// An answer.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Value,
    pub(crate) raw: Vec<u8>,
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Where a bundle says that something else can be read.
    pub(crate) fn link(&self, relation: &str) -> Option<String> {
        let links = self.body["link"].as_array()?.iter();
        let mut of = links.filter(|link| link["relation"] == relation);
        Some(of.next()?["url"].as_str().unwrap().to_owned())
    }

    /// The addresses `Type/id` of a bundle's entries.
    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = self.body["entry"].as_array().into_iter().flatten();
        entries
            .map(|entry| {
                let text = |name: &str| entry["resource"][name].as_str().unwrap().to_owned();
                format!("{}/{}", text("resourceType"), text("id"))
            })
            .collect()
    }
}
