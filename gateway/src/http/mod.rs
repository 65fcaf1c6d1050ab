//! The listener for readers: FHIR R4 over HTTPS at `/fhir`, `/events`, `/session`, and `/health`.
//!
//! Every request is somebody's ([`gate`]); without a token or session the answer is 401 whatever
//! was asked. Each address says what it asks of whoever uses it ([`doors`]), and every reading is
//! within the caller's scope. Every answer under `/fhir` is `application/fhir+json`, errors
//! included. Deliberately absent: pages for people, and writing of what the gateway files itself.

mod alert;
mod audit;
mod body;
mod doors;
mod events;
mod everything;
mod fhir;
mod gate;
mod gzip;
mod history;
mod merge;
mod openid;
mod paging;
mod pairs;
mod report;
mod respond;
mod search;
mod session;
mod upload;
mod visit;
mod write;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::MethodFilter;
use cardio_core::clock::Clock;
use cardio_fhir::audit::Deed;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::access::openid::OpenId;
use crate::access::{Access, Permission};
use crate::config::{BACK, EventsConfig, HttpsConfig, MssanteConfig};
use crate::counters::Counters;
use crate::db::{Readers, Writer};
use crate::identity::Identities;
use crate::inbox::Inbox;
use crate::upload::Uploads;
use doors::Doors;
pub(crate) use events::Places;
use respond::Refusal;
use visit::Needs;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const HEADER_LIMIT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end when the program stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const LOG_IN_BYTES_MAX: usize = 4 * 1024;
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// What every request needs.
#[derive(Clone)]
pub struct Web {
    /// Reads the record.
    pub readers: Readers,
    /// Writes the record.
    pub writer: Writer,
    /// The duty as a whole, as a reference.
    pub recipient: Arc<str>,
    /// Corrects identities.
    pub identities: Identities,
    /// Asked whether it can be read, for `/health`.
    pub inbox: Inbox,
    /// Takes files.
    pub uploads: Uploads,
    /// Places for uploads at once.
    pub upload_places: Arc<Semaphore>,
    /// Who may ask, and for what.
    pub access: Access,
    /// The provider that vouches for others, if there is one.
    pub openid: Option<OpenId>,
    /// Limits of streams.
    pub events: EventsConfig,
    /// Places for streams.
    pub(crate) streams: Arc<Places>,
    /// Whether the program stops.
    pub(crate) stopped: watch::Receiver<bool>,
    /// Limits.
    pub config: HttpsConfig,
    /// How reports are sent by secure health mail, if they are.
    pub mssante: Option<Arc<MssanteConfig>>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The address that this server is reached at when a request names none.
    pub authority: Arc<str>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

fn router(web: Web) -> Router {
    let limit = usize::try_from(web.config.body_limit.0).unwrap_or(usize::MAX);
    let admitted = |doors: Doors| {
        doors
            .into_router()
            .layer(DefaultBodyLimit::max(limit))
            .layer(middleware::from_fn_with_state(web.clone(), gate::admit))
            .layer(middleware::from_fn(gzip::compress))
    };
    let open = Router::new().layer(DefaultBodyLimit::max(LOG_IN_BYTES_MAX));
    let open = doors::public(open, MethodFilter::POST, "/session", session::begin);
    let open = doors::public(open, MethodFilter::GET, "/session/openid", openid::leave);
    let open = doors::public(open, MethodFilter::GET, BACK, openid::back);
    let open = doors::public(open, MethodFilter::GET, "/health", health);
    let known = |deed| (Needs::This(Permission::ReadDirectory), deed);
    let sessions = Doors::new()
        .door(MethodFilter::GET, "/session", known(None), session::show)
        .door(
            MethodFilter::DELETE,
            "/session",
            known(Some(Deed::LogOut)),
            session::end,
        );
    let following = (
        Needs::This(Permission::ReadRecord),
        Some(Deed::HistoryOfAll),
    );
    let events = Doors::new().door(MethodFilter::GET, "/events", following, events::follow);
    Router::new()
        .nest("/fhir", fhir::with_fallbacks(admitted(fhir::routes())))
        .merge(admitted(fhir::root()))
        .merge(admitted(sessions))
        .merge(admitted(events))
        .merge(open)
        .fallback(|| async { Refusal::not_found("no such address; the record is at /fhir") })
        .with_state(web)
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
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
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
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(Peer(peer.ip()));
                service.call(request)
            });
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
