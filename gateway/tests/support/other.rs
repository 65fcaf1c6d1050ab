//! Another FHIR server, of which only what it is told to do matters: it takes updates and
//! transactions, keeps what it took in order, and misbehaves as asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What decides whether a server takes a resource: the status of a refusal.
type Mood = Box<dyn FnMut(&Value) -> Option<u16> + Send>;

/// A server and what it took.
#[derive(Clone)]
pub(crate) struct Other {
    pub(crate) port: u16,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    /// Every version taken, in order.
    taken: Vec<Value>,
    /// Size of each request that was taken.
    groups: Vec<usize>,
    /// Statuses of the next answers, whatever is asked.
    next: VecDeque<u16>,
    mood: Option<Mood>,
    token: Option<String>,
}

impl Other {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = Self {
            port: listener.local_addr().unwrap().port(),
            inside: Arc::default(),
        };
        tokio::spawn(other.clone().listen(listener));
        other
    }

    /// The part of a configuration that names it.
    pub(crate) fn config(&self, more: &str) -> String {
        let base = format!("http://127.0.0.1:{}/r4", self.port);
        format!("[[push]]\nname = \"other\"\nbase = \"{base}\"\nplain = true\n{more}")
    }

    /// It answers its next requests with these statuses.
    pub(crate) fn answers(&self, statuses: &[u16]) {
        self.inside.lock().unwrap().next.extend(statuses);
    }

    /// It refuses what this says.
    pub(crate) fn refuses(&self, mood: impl FnMut(&Value) -> Option<u16> + Send + 'static) {
        self.inside.lock().unwrap().mood = Some(Box::new(mood));
    }

    /// It wants this token.
    pub(crate) fn wants(&self, token: &str) {
        self.inside.lock().unwrap().token = Some(format!("Bearer {token}"));
    }

    /// It wants no token any more.
    pub(crate) fn lets_in(&self) {
        self.inside.lock().unwrap().token = None;
    }

    /// What it took, in order.
    pub(crate) fn taken(&self) -> Vec<Value> {
        self.inside.lock().unwrap().taken.clone()
    }

    /// How many resources came in each request that it took.
    pub(crate) fn groups(&self) -> Vec<usize> {
        self.inside.lock().unwrap().groups.clone()
    }

    async fn listen(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let other = self.clone();
            tokio::spawn(async move {
                let answer = service_fn(|request| {
                    let other = other.clone();
                    async move { Ok::<_, Infallible>(other.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // How a client leaves is its own matter.
                let _ = connection
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(Body::new(body), 64 << 20)
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let path = parts.uri.path().to_owned();
        let token = parts.headers.get("authorization");
        let token = token.map(|token| token.to_str().unwrap().to_owned());
        let status = self.status(parts.method.as_str(), &path, &body, token);
        let outcome = json!({"resourceType": "OperationOutcome", "issue": [
            {"severity": "error", "code": "processing", "diagnostics": "so it was asked to say"}]});
        let mut response = Response::new(Body::from(outcome.to_string()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    fn status(&self, method: &str, path: &str, body: &Value, token: Option<String>) -> u16 {
        let mut inside = self.inside.lock().unwrap();
        if inside.token.is_some() && token != inside.token {
            return 401;
        }
        if let Some(status) = inside.next.pop_front() {
            return status;
        }
        let resources: Vec<Value> = match (method, path) {
            ("POST", "/r4") => {
                assert_eq!(body["type"], "transaction");
                let entries = body["entry"].as_array().unwrap();
                let whole = |entry: &Value| {
                    let resource = &entry["resource"];
                    let url = format!(
                        "{}/{}",
                        resource["resourceType"].as_str().unwrap(),
                        resource["id"].as_str().unwrap()
                    );
                    assert_eq!(entry["request"], json!({"method": "PUT", "url": url}));
                    resource.clone()
                };
                entries.iter().map(whole).collect()
            }
            ("PUT", path) => {
                let kind = body["resourceType"].as_str().unwrap();
                let id = body["id"].as_str().unwrap();
                assert_eq!(path, format!("/r4/{kind}/{id}"));
                vec![body.clone()]
            }
            other => panic!("{other:?}"),
        };
        if let Some(mood) = &mut inside.mood
            && let Some(status) = resources.iter().find_map(mood)
        {
            return status;
        }
        inside.groups.push(resources.len());
        inside.taken.extend(resources);
        200
    }
}
