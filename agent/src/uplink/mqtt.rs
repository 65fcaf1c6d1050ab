//! MQTT 5 over TLS with the box's certificate: the only module that knows the client.
//!
//! - Clean start, and a new client for each connection: nothing of an old session is
//!   trusted, the outbox knows what the gateway has.
//! - One task polls the client and does nothing else; another hands it what is published,
//!   and a third tells when the other side has taken a frame over. MQTT answers publishes in
//!   their order, so it waits for one after the other.
//! - Packets of at most 256 KiB both ways; keep-alive 30 s.
//! - Each connection uses the certificate that the enrolment holds then, so that a renewed
//!   one is taken up by the next connection.
//! - Certificates are checked at the latest of: the box's clock, the time at which the
//!   enrolment was written, and the time at which this program was built.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::MAX_FRAME_BYTES;
use cardio_wire::keys::SigningKey;
use cardio_wire::lane::Lane;
use cardio_wire::message::State;
use cardio_wire::topic::Topic;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, IncomingPacketSizeLimit,
    LastWill, MqttOptions, Packet, PublishNotice, PublishNoticeError, PublishOptions, QoS,
    SessionMode, StateError, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::{Link, LinkEvent, Outgoing, Uplink, UplinkError};
use crate::enrolment::{Endpoint, Enrolment, EnrolmentFile};
use crate::tls::{self, TlsError};

const KEEP_ALIVE_S: u16 = 30;
/// How long the gateway may take to accept a connection and a subscription.
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);
/// How long a farewell may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
/// Room for the headers of a packet around the largest frame.
const PACKET_HEADERS: u32 = 1024;
/// Things to publish that may wait for the client.
const PUBLISH_ROOM: usize = 1;
/// Things that the gateway said that may wait for us.
const EVENT_ROOM: usize = 64;
/// Requests that may wait inside the client.
const CLIENT_ROOM: usize = 2;
/// Frames that may be under way without the listener's own answer: all windows together.
const UNDER_WAY_MAX: u16 = 96;

/// Connects to one gateway as one box.
pub struct Mqtt {
    device: BoxId,
    signer: SigningKey,
    endpoint: Endpoint,
    server_name: String,
    file: Arc<EnrolmentFile>,
    clock: Arc<dyn Clock>,
    /// Ends once the last link has said farewell.
    farewell: Option<JoinHandle<()>>,
    /// The tasks of the last link, which may be stuck in a dead connection.
    tasks: Vec<AbortHandle>,
}

impl Mqtt {
    /// Makes ready to connect.
    ///
    /// # Errors
    /// [`TlsError`] when the enrolment's certificates cannot be used.
    pub fn new(
        enrolment: &Enrolment,
        file: Arc<EnrolmentFile>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        tls::as_box(enrolment, &file, &clock)?;
        Ok(Self {
            device: enrolment.id,
            signer: enrolment.signer.clone(),
            endpoint: enrolment.endpoint.clone(),
            server_name: enrolment.server_name.clone(),
            file,
            clock,
            farewell: None,
            tasks: Vec::new(),
        })
    }

    fn options(&self, tls: rustls::ClientConfig) -> MqttOptions {
        let limit = u32::try_from(MAX_FRAME_BYTES)
            .unwrap_or(u32::MAX)
            .saturating_add(PACKET_HEADERS);
        let broker = (self.server_name.clone(), self.endpoint.port);
        let mut options = MqttOptions::new(self.device.to_string(), broker);
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
                Arc::new(tls),
            )))
            .set_session_mode(SessionMode::Clean)
            .set_keep_alive(KEEP_ALIVE_S)
            // the client makes room for all of them at once, 16 MB for its default of 65535
            .set_outgoing_inflight_upper_limit(UNDER_WAY_MAX)
            .set_max_packet_size(Some(limit))
            .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(limit))
            .set_last_will(LastWill::new(
                Topic::State(self.device).to_string(),
                self.state(false),
                QoS::AtLeastOnce,
                true,
                None,
            ));
        let address = (self.endpoint.host.clone(), self.endpoint.port);
        // The name is for the certificate; the address is where the gateway is.
        options.set_socket_connector(move |_, network| {
            let (host, port) = address.clone();
            async move { rumqttc::default_socket_connect(format!("{host}:{port}"), network).await }
        });
        options
    }

    /// TLS with the present certificate, and when that ends.
    fn tls(&self) -> Result<(rustls::ClientConfig, UtcMicros), Box<dyn Error + Send + Sync>> {
        let enrolment = self.file.enrolment()?;
        let config = tls::as_box(&enrolment, &self.file, &self.clock)?;
        Ok((config, enrolment.certificate_life.1))
    }

    fn state(&self, online: bool) -> Vec<u8> {
        let state = State {
            device: self.device,
            online,
            at: self.clock.read(),
        };
        state.sign(&self.signer)
    }

    fn unreachable(&self, source: ConnectionError) -> UplinkError {
        let endpoint = self.endpoint.to_string();
        match source {
            ConnectionError::ConnectionRefused(code) => UplinkError::Refused {
                endpoint,
                reason: format!("{code:?}"),
            },
            // With TLS 1.3 the gateway's refusal of our certificate may come after our handshake.
            other if is_tls(&other) => UplinkError::Untrusted {
                endpoint,
                source: Box::new(other),
            },
            other => UplinkError::Unreachable {
                endpoint,
                source: Box::new(other),
            },
        }
    }

    /// Waits until the gateway has accepted the connection and the subscription.
    async fn accepted(&self, events: &mut EventLoop) -> Result<(), UplinkError> {
        loop {
            match events.poll().await.map_err(|err| self.unreachable(err))? {
                Event::Incoming(Packet::ConnAck(answer))
                    if answer.code != ConnectReturnCode::Success =>
                {
                    return Err(UplinkError::Refused {
                        endpoint: self.endpoint.to_string(),
                        reason: format!("{:?}", answer.code),
                    });
                }
                Event::Incoming(Packet::SubAck(_)) => return Ok(()),
                _ => {}
            }
        }
    }
}

impl Uplink for Mqtt {
    async fn connect(&mut self) -> Result<Link, UplinkError> {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let (tls, certificate_until) = self.tls().map_err(|source| UplinkError::Untrusted {
            endpoint: self.endpoint.to_string(),
            source,
        })?;
        let (client, mut events) = AsyncClient::builder(self.options(tls))
            .capacity(CLIENT_ROOM)
            .build();
        let ended = |source| UplinkError::Ended {
            source: Box::new(source),
        };
        client
            .subscribe(Topic::down_filter(self.device), QoS::AtLeastOnce)
            .await
            .map_err(ended)?;
        match tokio::time::timeout(ACCEPT_LIMIT, self.accepted(&mut events)).await {
            Ok(accepted) => accepted?,
            Err(_) => {
                return Err(UplinkError::Slow {
                    endpoint: self.endpoint.to_string(),
                    limit_s: ACCEPT_LIMIT.as_secs(),
                });
            }
        }
        let (publish, to_publish) = mpsc::channel(PUBLISH_ROOM);
        let (told, link_events) = mpsc::channel(EVENT_ROOM);
        let (handed, to_answer) = mpsc::channel(UNDER_WAY_MAX.into());
        tokio::spawn(tell_delivered(to_answer, told.clone()));
        let poller = tokio::spawn(poll(events, told));
        self.tasks.push(poller.abort_handle());
        let farewell = tokio::spawn(hand_over(client, to_publish, handed, poller));
        self.tasks.push(farewell.abort_handle());
        self.farewell = Some(farewell);
        let online = Outgoing {
            topic: Topic::State(self.device).to_string(),
            payload: self.state(true),
            retain: true,
            frame: None,
        };
        publish
            .send(online)
            .await
            .map_err(|_| UplinkError::Closed)?;
        Ok(Link {
            publish,
            events: link_events,
            certificate_until,
        })
    }

    async fn close(&mut self) {
        if let Some(farewell) = self.farewell.take() {
            // a task that panicked has said what it could, and a dead connection hears nothing
            let _ = tokio::time::timeout(FAREWELL_LIMIT, farewell).await;
        }
    }
}

/// Polls the client until the connection or the listener to it is gone.
async fn poll(mut events: EventLoop, told: mpsc::Sender<LinkEvent>) {
    loop {
        let event = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(message))) => LinkEvent::Message {
                topic: String::from_utf8_lossy(&message.topic).into_owned(),
                payload: message.payload.to_vec(),
            },
            Ok(_) => continue,
            Err(source) => {
                let lost = UplinkError::Ended {
                    source: Box::new(source),
                };
                // whoever listens may have gone first
                let _ = told.send(LinkEvent::Lost(lost)).await;
                return;
            }
        };
        if told.send(event).await.is_err() {
            return;
        }
    }
}

/// A frame that was handed to the client, and what will tell that it was taken over.
type Handed = ((Lane, u64), PublishNotice);

/// Tells which frames the other side has taken over, whatever it says of them: they are no
/// longer under way.
async fn tell_delivered(mut handed: mpsc::Receiver<Handed>, told: mpsc::Sender<LinkEvent>) {
    while let Some(((lane, seq), notice)) = handed.recv().await {
        match notice.wait_async().await {
            Ok(_) | Err(PublishNoticeError::V5PubAck(_)) => {}
            // the client is gone, and with it the connection
            Err(_) => return,
        }
        if told.send(LinkEvent::Delivered { lane, seq }).await.is_err() {
            return;
        }
    }
}

/// Hands what is published to the client until nobody publishes any more; then the
/// connection is closed in order.
async fn hand_over(
    client: AsyncClient,
    mut to_publish: mpsc::Receiver<Outgoing>,
    handed: mpsc::Sender<Handed>,
    poller: JoinHandle<()>,
) {
    while let Some(out) = to_publish.recv().await {
        let options = PublishOptions::at_least_once().retain(out.retain);
        let published = client
            .publish_tracked(out.topic, out.payload, options)
            .await;
        let Ok(notice) = published else {
            break;
        };
        if let Some(frame) = out.frame
            && handed.send((frame, notice)).await.is_err()
        {
            break;
        }
    }
    // A connection that is already gone needs no farewell.
    let _ = client.disconnect().await;
    let mut poller = poller;
    if tokio::time::timeout(Duration::from_secs(1), &mut poller)
        .await
        .is_err()
    {
        poller.abort();
    }
}

/// Whether TLS itself failed, wherever in the chain of causes it says so. A connection that broke
/// during the handshake is no such failure.
fn is_tls(err: &ConnectionError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(match err {
        // The client shows this cause in its words only, and does not name it as its source.
        ConnectionError::MqttState(StateError::Deserialization(cause)) => cause,
        other => other,
    });
    while let Some(cause) = next {
        let wrapped = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        if cause.is::<rustls::Error>() || wrapped.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_tls;
    use rumqttc::{ConnectionError, StateError, mqttbytes};
    use std::io;

    /// The same failure during the handshake and at the first packet after it.
    fn at_both_times(err: impl Fn() -> io::Error) -> [ConnectionError; 2] {
        let packet = mqttbytes::Error::Io(err());
        [
            ConnectionError::Io(err()),
            ConnectionError::MqttState(StateError::Deserialization(packet)),
        ]
    }

    #[test]
    fn a_refused_certificate_is_told_from_a_broken_connection() {
        let ended = rustls::AlertDescription::CertificateExpired;
        let refused = || io::Error::other(rustls::Error::AlertReceived(ended));
        assert!(at_both_times(refused).iter().all(is_tls));
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(!at_both_times(broken).iter().any(is_tls));
    }
}
