//! The listener for readers: FHIR R4 over HTTPS at `/fhir`, and `/health`.
//!
//! A reader presents the token of the key folder; without it the answer is 401 whatever was
//! asked. Every answer under `/fhir` is `application/fhir+json`, errors included. Deliberately
//! absent: pages for people, and writing of what the gateway files itself.

mod body;
mod everything;
mod fhir;
mod gzip;
mod history;
mod merge;
mod paging;
mod pairs;
mod respond;
mod search;
mod upload;
mod write;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use cardio_core::clock::Clock;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ring::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::config::HttpsConfig;
use crate::counters::Counters;
use crate::db::{Readers, Writer};
use crate::identity::Identities;
use crate::inbox::Inbox;
use crate::upload::Uploads;
use respond::Refusal;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end when the program stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// What every request needs.
#[derive(Clone)]
pub struct Web {
    /// Reads the record.
    pub readers: Readers,
    /// Writes the record.
    pub writer: Writer,
    /// Corrects identities.
    pub identities: Identities,
    /// Asked whether it can be read, for `/health`.
    pub inbox: Inbox,
    /// Takes files.
    pub uploads: Uploads,
    /// Places for uploads at once.
    pub upload_places: Arc<Semaphore>,
    /// What a reader must present.
    pub token: Arc<Zeroizing<String>>,
    /// Limits.
    pub config: HttpsConfig,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The address that this server is reached at when a request names none.
    pub authority: Arc<str>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

fn router(web: Web) -> Router {
    let limit = usize::try_from(web.config.body_limit.0).unwrap_or(usize::MAX);
    let admitted = |routes: Router<Web>| {
        routes
            .layer(DefaultBodyLimit::max(limit))
            .layer(middleware::from_fn_with_state(web.clone(), admit))
            .layer(middleware::from_fn(gzip::compress))
    };
    Router::new()
        .nest("/fhir", admitted(fhir::routes()))
        .merge(admitted(fhir::root()))
        .route("/health", get(health))
        .fallback(|| async { Refusal::not_found("no such address; the record is at /fhir") })
        .with_state(web)
}

/// Token first, then the request, within its time.
async fn admit(State(web): State<Web>, request: Request, next: Next) -> Response {
    web.counters.https_requests.add_one();
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    let good =
        presented.is_some_and(|token| hash(token.trim()).as_ref() == hash(&web.token).as_ref());
    if !good {
        web.counters.https_unauthorised.add_one();
        return Refusal::unauthorised().into_response();
    }
    if !is_text(request.uri().path()) {
        return Refusal::invalid("invalid", "the address is not UTF-8").into_response();
    }
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

async fn health(State(web): State<Web>) -> Response {
    let record = web.readers.read_async(crate::filing::counts).await;
    let inbox = web
        .inbox
        .readers()
        .read_async(|c| crate::inbox::lane_rows(c).map(|_| ()))
        .await;
    match (record, inbox) {
        (Ok(_), Ok(())) => (StatusCode::OK, "{\"status\":\"ok\"}\n").into_response(),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "{\"status\":\"failing\"}\n",
        )
            .into_response(),
    }
}

/// Accepts readers until `stop` becomes true.
pub async fn listen(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    web: Web,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(web.config.connections));
    let service = TowerToHyperService::new(router(web));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(event = "HttpsAcceptError", code = "https.accept", "{error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (acceptor, service, mut stop) = (acceptor.clone(), service.clone(), stop.clone());
        connections.spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = shaken else {
                return;
            };
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .max_buf_size(HEADER_BYTES_MAX);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // How a reader leaves is its own matter.
                _ = &mut connection => {}
                () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(Duration::from_secs(2), connection).await;
                }
            }
            drop(place);
        });
    }
    let ending = async { while connections.join_next().await.is_some() {} };
    // Whoever has not said goodbye by then is cut off; what was stored stays stored.
    let _ = tokio::time::timeout(STOP_LIMIT, ending).await;
}
