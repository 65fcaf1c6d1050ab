//! One connection to the broker: TLS with our certificate, subscriptions, packets in and out.
//!
//! One task polls the client and does nothing else. Deliberately absent: what packets mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cardio_core::clock::UtcMicros;
use cardio_wire::topic::{ROOT, Topic};
use rumqttc::mqttbytes::v5::{
    DisconnectReasonCode, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, IncomingPacketSizeLimit, ManualAck,
    MqttOptions, Packet, PublishOptions, QoS, SessionMode, StateError, SubscribeFilter,
    TlsConfiguration, Transport,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Lost;
use crate::config::{Address, BrokerConfig};
use crate::keys::{GatewayKeys, KeyError};
use crate::mqtt::PACKET_MAX_BYTES;

/// What boxes sent that may wait here for the disk.
pub(super) const UNDER_WAY_MAX: u16 = 256;
/// Acknowledgements and commands that may be under way to the broker.
const DOWN_MAX: u16 = 64;
/// Requests that may wait inside the client.
const CLIENT_ROOM: usize = 64;
const KEEP_ALIVE_S: u16 = 15;

/// Why the settings of the broker cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no PEM of the right kind.
    #[error("{origin} holds no usable {what}")]
    Pem {
        /// Where it came from.
        origin: String,
        /// What it should hold.
        what: &'static str,
    },
    /// Our certificate at the broker cannot be issued.
    #[error("cannot issue the certificate that the broker asks for")]
    Issue(#[source] KeyError),
    /// The TLS library refuses certificate or key.
    #[error("the certificates for the broker cannot be used")]
    Refused(#[source] rustls::Error),
}

impl BrokerError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "broker.io",
            Self::Pem { .. } => "broker.pem",
            Self::Issue(source) => source.code(),
            Self::Refused(_) => "broker.tls",
        }
    }
}

/// A broker, and who we are there.
pub struct Broker {
    pub(super) config: BrokerConfig,
    tls: Arc<rustls::ClientConfig>,
    standing: Standing,
}

/// How we stand with a broker. Clones share it.
#[derive(Clone, Debug)]
pub struct Standing {
    address: Address,
    user: String,
    connected: Arc<AtomicBool>,
}

impl Standing {
    /// Where it listens.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Who we are there.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether it lets us listen now.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("address", &self.config.address)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Reads or issues the certificates.
    ///
    /// # Errors
    /// [`BrokerError`] names the file at fault.
    pub fn new(
        config: BrokerConfig,
        keys: &GatewayKeys,
        now: UtcMicros,
    ) -> Result<Self, BrokerError> {
        let tls = Arc::new(client_config(&config, keys, now)?);
        let standing = Standing {
            address: config.address.clone(),
            user: config.user.clone(),
            connected: Arc::default(),
        };
        Ok(Self {
            config,
            tls,
            standing,
        })
    }

    /// How we stand with it.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// What boxes publish, divided among the gateways of the share.
    fn shared_filter(&self) -> String {
        format!("$share/{}/{}/+/up/#", self.config.share, self.config.root)
    }

    /// Which boxes are connected; every gateway hears it.
    fn state_filter(&self) -> String {
        format!("{}/+/state", self.config.root)
    }

    /// Our topic of a topic of the broker.
    pub(super) fn topic(&self, bytes: &[u8]) -> Option<Topic> {
        let text = std::str::from_utf8(bytes).ok()?;
        let below = text.strip_prefix(&self.config.root)?;
        format!("{ROOT}{below}").parse().ok()
    }

    fn foreign(&self, topic: &Topic) -> String {
        let text = topic.to_string();
        let below = text.strip_prefix(ROOT).unwrap_or(&text);
        format!("{}{below}", self.config.root)
    }

    fn options(&self) -> MqttOptions {
        let name = self.config.server_name().to_owned();
        // A connection of ours that has died unnoticed is taken over by the next.
        let client_id = &self.config.user;
        let mut options = MqttOptions::new(client_id, (name, self.config.address.port));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::clone(&self.tls),
            )))
            .set_session_mode(SessionMode::Clean)
            .set_ack_mode(AckMode::Manual)
            .set_keep_alive(KEEP_ALIVE_S)
            .set_outgoing_inflight_upper_limit(DOWN_MAX)
            .set_max_packet_size(Some(PACKET_MAX_BYTES))
            .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(PACKET_MAX_BYTES))
            .set_receive_maximum(Some(UNDER_WAY_MAX))
            .set_topic_alias_max(Some(0));
        let address = self.config.address.to_string();
        // The name is for the certificate; the address is where the broker is.
        options.set_socket_connector(move |_, network| {
            let address = address.clone();
            async move { rumqttc::default_socket_connect(address, network).await }
        });
        options
    }

    /// Begins to connect; what comes of it is told.
    pub(super) async fn connect(&self) -> Result<Link, Lost> {
        let (client, events) = AsyncClient::builder(self.options())
            .capacity(CLIENT_ROOM)
            .try_build()
            .map_err(|_| Lost::Closed)?;
        let filters = [self.shared_filter(), self.state_filter()];
        client
            .subscribe_many(
                filters
                    .iter()
                    .map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce)),
            )
            .await
            .map_err(|_| Lost::Closed)?;
        // Whatever the broker may send without our PUBACK has a place, and the states beside.
        let (told, heard) = mpsc::channel(usize::from(UNDER_WAY_MAX) * 2);
        let poller = tokio::spawn(poll(events, told, self.config.user.clone()));
        Ok(Link {
            client,
            heard,
            poller,
            filters,
        })
    }

    /// Publishes what a box listens to.
    pub(super) async fn publish(
        &self,
        link: &Link,
        topic: &Topic,
        payload: Vec<u8>,
    ) -> Result<(), Lost> {
        link.client
            .publish(
                self.foreign(topic),
                payload,
                PublishOptions::at_least_once(),
            )
            .await
            .map_err(|_| Lost::Closed)
    }
}

/// What the poller tells.
pub(super) enum Heard {
    /// A message.
    Message(Publish),
    /// The answer to our subscriptions.
    Subscribed(SubAck),
    /// The connection is gone.
    Lost(Lost),
}

/// One connection. Dropping it closes the connection.
pub(super) struct Link {
    client: AsyncClient,
    /// What the broker says.
    pub(super) heard: mpsc::Receiver<Heard>,
    poller: JoinHandle<()>,
    filters: [String; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

impl Link {
    /// Fails when the broker does not let us listen.
    pub(super) fn check(&self, answer: &SubAck) -> Result<(), Lost> {
        for (filter, code) in self.filters.iter().zip(&answer.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(_)) {
                return Err(Lost::Forbidden {
                    filter: filter.clone(),
                    reason: format!("{code:?}"),
                });
            }
        }
        Ok(())
    }

    /// The PUBACK of a message, if it asks for one.
    pub(super) fn ack_of(&self, message: &Publish) -> Option<ManualAck> {
        self.client.prepare_ack(message)
    }

    /// Sends a PUBACK.
    pub(super) async fn ack(
        &self,
        mut ack: Option<ManualAck>,
        reason: PubAckReason,
    ) -> Result<(), Lost> {
        if let Some(ManualAck::PubAck(ack)) = &mut ack {
            ack.reason = reason;
        }
        match ack {
            Some(ack) => self.client.manual_ack(ack).await.map_err(|_| Lost::Closed),
            None => Ok(()),
        }
    }

    /// Says goodbye, so that the broker gives our share to others at once.
    pub(super) async fn farewell(mut self) {
        // A connection that is gone already needs none.
        if self.client.disconnect().await.is_ok() {
            let ending = async { while self.heard.recv().await.is_some() {} };
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), ending).await;
        }
    }
}

/// Why the client says that the connection is gone.
fn why(source: ConnectionError, user: &str) -> Lost {
    match source {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => Lost::TakenOver {
            user: user.to_owned(),
        },
        source => Lost::Connection(Box::new(source)),
    }
}

/// Polls the client until the connection or the listener to it is gone. It never waits for the
/// listener: whoever waits for it would wait for the client in turn.
async fn poll(mut events: EventLoop, told: mpsc::Sender<Heard>, user: String) {
    loop {
        let heard = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => Heard::Message(message),
            Ok(Event::Incoming(Packet::SubAck(answer))) => Heard::Subscribed(answer),
            Ok(_) => continue,
            Err(source) => Heard::Lost(why(source, &user)),
        };
        let ends = matches!(heard, Heard::Lost(_));
        match told.try_send(heard) {
            Ok(()) if !ends => {}
            // Without PUBACK nothing is promised: such a message is dropped when there is no room.
            Err(mpsc::error::TrySendError::Full(Heard::Message(message)))
                if message.qos == QoS::AtMostOnce => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                let _ = told.send(Heard::Lost(Lost::Flooded)).await;
                return;
            }
            _ => return,
        }
    }
}

/// Certificate of the authority that the broker's certificate comes from, PEM.
///
/// # Errors
/// [`BrokerError::Io`] when its file cannot be read.
pub(crate) fn authority(config: &BrokerConfig, keys: &GatewayKeys) -> Result<String, BrokerError> {
    match &config.ca {
        Some(path) => read(path),
        None => Ok(keys.ca_pem().to_owned()),
    }
}

fn client_config(
    config: &BrokerConfig,
    keys: &GatewayKeys,
    now: UtcMicros,
) -> Result<rustls::ClientConfig, BrokerError> {
    let pem = |origin: &str, what| BrokerError::Pem {
        origin: origin.to_owned(),
        what,
    };
    let mut roots = rustls::RootCertStore::empty();
    let ca = authority(config, keys)?;
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|_| {
        let origin = config.ca.as_ref().map(|path| path.display().to_string());
        pem(&origin.unwrap_or_default(), "certificate of an authority")
    })?;
    roots.add(ca).map_err(BrokerError::Refused)?;
    let (origin, certificate, key) = match (&config.certificate, &config.key) {
        (Some(certificate), Some(key)) => (
            certificate.display().to_string(),
            read(certificate)?,
            zeroize::Zeroizing::new(read(key)?),
        ),
        _ => {
            let own = keys
                .issue_box(&config.user, now)
                .map_err(BrokerError::Issue)?;
            (
                "our own authority".to_owned(),
                own.certificate_pem,
                own.key_pem,
            )
        }
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| pem(&origin, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| pem(&origin, "key"))?;
    rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(BrokerError::Refused)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(BrokerError::Refused)
}

fn read(path: &Path) -> Result<String, BrokerError> {
    std::fs::read_to_string(path).map_err(|source| BrokerError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::{ConnectionError, DisconnectReasonCode, StateError, why};

    #[test]
    fn a_broker_that_says_why_it_threw_us_off_is_understood() {
        let said = |reason_code| {
            let source = StateError::ServerDisconnect {
                reason_code,
                reason_string: None,
            };
            why(ConnectionError::MqttState(source), "cardio-gateway")
        };
        let lost = said(DisconnectReasonCode::SessionTakenOver);
        assert_eq!(lost.code(), "broker.taken-over");
        assert!(lost.to_string().contains("broker.user"), "{lost}");
        let lost = said(DisconnectReasonCode::ServerBusy);
        assert_eq!(lost.code(), "broker.connection");
    }
}
