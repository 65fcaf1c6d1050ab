//! The listener for boxes that are not on the allow-list yet, and for renewals: HTTPS.
//!
//! * `POST /enrol/1` claims an invitation, `POST /enrol/1/ask` asks what became of it,
//!   `POST /enrol/1/renew` gives a new certificate to a box that comes with its present one.
//!   Bodies are those of `schemas/cddl/enrol.cddl`.
//! * A certificate is asked for and not required; one that is presented must be on the
//!   allow-list, as at the MQTT listener.
//! * The server sends its authority's certificate along, for a box that knows only its hash.
//! * Bounds: connections, requests to enrol per minute over all of them, 8 KiB per body, 10 s per
//!   handshake and per header, 60 s per connection.
//! * Whoever is turned away learns nothing: every reason looks the same. The log has the code.
//!
//! Deliberately absent: who may enrol ([`super::desk`]).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use cardio_core::clock::Clock;
use cardio_wire::enrol::{Answer, Ask, BINDING_LABEL, MAX_MESSAGE_BYTES, Posted, Session};
use cardio_wire::topic::Topic;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::desk::{Desk, TurnedAway};
use crate::access::limit::Buckets;
use crate::boxes::{Boxes, KnownBox};
use crate::config::EnrolConfig;
use crate::counters::Counters;
use crate::keys::{GatewayKeys, Requested};
use crate::tls::key_hash;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(10);
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const STOP_LIMIT: Duration = Duration::from_secs(3);
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What the listener needs.
#[derive(Clone)]
pub struct Entrance {
    /// Decides on enrolments.
    pub desk: Desk,
    /// The allow-list, for renewals.
    pub boxes: Arc<Boxes>,
    /// Issues renewed certificates.
    pub keys: Arc<GatewayKeys>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// SHA-256 of the authority's certificate.
    pub authority: [u8; 32],
    /// Limits.
    pub config: EnrolConfig,
    /// How many may ask to enrol: one bucket for all, since nobody is known here.
    pub claims: Arc<Buckets<()>>,
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").finish_non_exhaustive()
    }
}

/// One connection, as its requests see it.
#[derive(Clone)]
struct Caller {
    entrance: Entrance,
    session: Session,
    known: Option<Arc<KnownBox>>,
}

/// Accepts callers until `stop` becomes true.
pub async fn listen(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    entrance: Entrance,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(entrance.config.connections));
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
                tracing::warn!(event = "EnrolAcceptError", code = "enrol.accept", "{error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (acceptor, entrance) = (acceptor.clone(), entrance.clone());
        connections.spawn(async move {
            let serving = serve(stream, &acceptor, entrance);
            // whoever takes longer is cut off; nothing depends on it
            let _ = tokio::time::timeout(CONNECTION_LIMIT, serving).await;
            drop(place);
        });
    }
    let ending = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_LIMIT, ending).await;
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, entrance: Entrance) {
    let shaken = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = shaken else {
        entrance.counters.tls_handshakes_failed.add_one();
        return;
    };
    let Some(caller) = caller(&stream, entrance) else {
        return;
    };
    let router = Router::new()
        .route("/enrol/1", post(claim))
        .route("/enrol/1/ask", post(ask))
        .route("/enrol/1/renew", post(renew))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(caller);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(HEADER_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    // How a caller leaves is its own matter.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The session and the box of a connection; `None` when it gives no channel binding.
fn caller(stream: &TlsStream<TcpStream>, entrance: Entrance) -> Option<Caller> {
    let (_, connection) = stream.get_ref();
    let binding = connection.export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
    let known = connection
        .peer_certificates()
        .and_then(|chain| chain.first())
        .and_then(key_hash)
        .and_then(|hash| entrance.boxes.admitted(&hash));
    Some(Caller {
        session: Session {
            authority: entrance.authority,
            binding: binding.ok()?,
        },
        known,
        entrance,
    })
}

async fn claim(State(caller): State<Caller>, body: Bytes) -> Response {
    let entrance = &caller.entrance;
    entrance.counters.enrol_requests.add_one();
    let now_us = entrance.clock.read().box_instant.micros;
    if let Err(wait) = entrance.claims.take(&(), now_us) {
        entrance.counters.enrol_refused.add_one();
        let seconds = wait.as_secs().saturating_add(1).to_string();
        return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)]).into_response();
    }
    match Posted::read(&body) {
        Ok(posted) => {
            let answer = entrance.desk.claim(posted, caller.session).await;
            answered(entrance, answer)
        }
        Err(error) => unreadable(entrance, error.code()),
    }
}

async fn ask(State(caller): State<Caller>, body: Bytes) -> Response {
    let entrance = &caller.entrance;
    match Ask::read(&body) {
        Ok(ask) => answered(entrance, entrance.desk.ask(ask, caller.session).await),
        Err(error) => unreadable(entrance, error.code()),
    }
}

fn answered(entrance: &Entrance, answer: Result<Answer, TurnedAway>) -> Response {
    match answer {
        Ok(answer) => ([(CONTENT_TYPE, "application/cbor")], answer.encode()).into_response(),
        Err(TurnedAway::Failed(error)) => {
            tracing::error!(event = "EnrolError", code = error.code(), "{error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Err(why) => {
            entrance.counters.enrol_refused.add_one();
            tracing::warn!(event = "EnrolTurnedAway", code = why.code(), "{why}");
            StatusCode::FORBIDDEN.into_response()
        }
    }
}

fn unreadable(entrance: &Entrance, code: &str) -> Response {
    entrance.counters.enrol_refused.add_one();
    tracing::warn!(event = "EnrolTurnedAway", code);
    StatusCode::BAD_REQUEST.into_response()
}

/// A new certificate for the key that the box presents now.
async fn renew(State(caller): State<Caller>, body: Bytes) -> Response {
    let entrance = &caller.entrance;
    let known = caller
        .known
        .filter(|known| entrance.boxes.admitted(&known.cert_key_hash).is_some());
    let Some(known) = known else {
        entrance.counters.enrol_refused.add_one();
        return StatusCode::FORBIDDEN.into_response();
    };
    let requested = Requested::read(&body).filter(|key| key.key_hash == known.cert_key_hash);
    let Some(requested) = requested else {
        return unreadable(entrance, "renew.request");
    };
    let now = entrance.clock.read().utc;
    let subject = Topic::box_name(known.id);
    match entrance.keys.certify_box(&requested, &subject, now) {
        Ok(certificate) => {
            entrance.counters.certificates_renewed.add_one();
            tracing::info!(event = "BoxCertificateRenewed", box_name = %known.name);
            certificate.into_response()
        }
        Err(error) => {
            tracing::error!(
                event = "BoxCertificateError",
                code = error.code(),
                "{error}"
            );
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}
