//! Accepts connections, shakes hands, and hands each one to its session.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::session;
use crate::boxes::KnownBox;
use crate::conversation::Shared;
use crate::tls::key_hash;

/// TLS handshakes at once; more wait.
const HANDSHAKES_MAX: usize = 64;
/// Pause after the system refused a connection, so that a full table is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end when the program stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// Accepts boxes until `stop` becomes true; answers when every session has ended.
pub async fn listen(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shared: Shared,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(shared.config.connections));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(event = "MqttAcceptError", code = "mqtt.accept", "{error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        shared.counters.mqtt_connections.add_one();
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.counters.mqtt_connections_refused.add_one();
            continue;
        };
        let (acceptor, handshakes, shared) =
            (acceptor.clone(), Arc::clone(&handshakes), shared.clone());
        sessions.spawn(async move {
            if let Some((stream, known)) = admit(stream, &acceptor, &handshakes, &shared).await {
                session::run(stream, known, shared).await;
            }
            drop(place);
        });
    }
    let ending = async { while sessions.join_next().await.is_some() {} };
    // Whoever has not said goodbye by then is cut off; what was stored stays stored.
    let _ = tokio::time::timeout(STOP_LIMIT, ending).await;
}

async fn admit(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    handshakes: &Semaphore,
    shared: &Shared,
) -> Option<(TlsStream<TcpStream>, Arc<KnownBox>)> {
    // Small packets are answered at once; where the option is refused they are only later.
    let _ = stream.set_nodelay(true);
    let shake = async {
        let _turn = handshakes.acquire().await.ok()?;
        match acceptor.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tracing::info!(
                    event = "TlsHandshakeError",
                    code = "tls.handshake",
                    "{error}"
                );
                None
            }
        }
    };
    let shaken = tokio::time::timeout(shared.config.handshake.0, shake).await;
    let Ok(Some(stream)) = shaken else {
        shared.counters.tls_handshakes_failed.add_one();
        return None;
    };
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates()?.first()?;
    let known = key_hash(certificate).and_then(|hash| shared.boxes.admitted(&hash))?;
    Some((stream, known))
}
