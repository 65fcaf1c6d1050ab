//! A gateway in this process, and a box that speaks to it over real TLS on loopback.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod fhir;
pub(crate) mod other;
mod server;
pub(crate) mod tls;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_gateway::clock::SystemClock;
use cardio_gateway::config::Config;
use cardio_gateway::gateway::Gateway;
use cardio_wire::envelope::{FrameHeader, SUITE_X25519_CHACHA, fingerprint, seal};
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys, VerifyingKey};
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::{Ack, Hello, LaneState};
use cardio_wire::record::Record;
use cardio_wire::topic::Topic;
pub(crate) use fhir::Fhir;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{
    Connect, ConnectAuth, Packet, PubAck, PubAckReason, Publish, Subscribe, SubscribeFilter,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
pub(crate) use server::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Nothing on loopback takes this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A gateway and its state directory.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) gateway: Gateway,
    server: Option<Server>,
    /// What its configuration says besides.
    more: String,
}

fn config(dir: &tempfile::TempDir, server: Option<&Server>, more: &str) -> Config {
    let text = format!(
        "state = \"{}\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\nack_wait = \"50ms\"\n\
         [https]\nlisten = \"127.0.0.1:0\"\n[enrol]\nlisten = \"127.0.0.1:0\"\n{}{more}",
        dir.path().join("state").display(),
        server.map_or_else(String::new, Server::config)
    );
    Config::from_toml(&text, "test").unwrap()
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_at(Arc::new(SystemClock::new())).await
    }

    /// As [`Bench::start`], by a clock of the test's own.
    pub(crate) async fn start_at(clock: Arc<dyn Clock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, String::new(), clock).await
    }

    /// As [`Bench::start_at`], in a folder of the test's, with more in the configuration.
    pub(crate) async fn start_in(
        dir: tempfile::TempDir,
        more: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::open(dir, Server::fresh(), more, clock).await
    }

    async fn open(
        dir: tempfile::TempDir,
        server: Option<Server>,
        more: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let config = config(&dir, server.as_ref(), &more);
        let gateway = Gateway::start(config, clock).await.unwrap();
        Self {
            dir,
            gateway,
            server,
            more,
        }
    }

    pub(crate) async fn restart(self) -> Self {
        self.restart_at(Arc::new(SystemClock::new())).await
    }

    /// As [`Bench::restart`], by a clock of the test's own.
    pub(crate) async fn restart_at(self, clock: Arc<dyn Clock>) -> Self {
        let Self {
            dir,
            gateway,
            server,
            more,
        } = self;
        gateway.stop().await;
        Self::open(dir, server, more, clock).await
    }

    /// Stops it, lets the files of its folder be changed behind its back, and starts it again.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&std::path::Path)) -> Self {
        let Self {
            dir,
            gateway,
            server,
            more,
        } = self;
        gateway.stop().await;
        change(dir.path());
        Self::open(dir, server, more, Arc::new(SystemClock::new())).await
    }

    pub(crate) async fn asked(&self, request: Value) -> Value {
        let control = self.gateway.control.clone();
        tokio::task::spawn_blocking(move || {
            let stream = UnixStream::connect(control).unwrap();
            (&stream)
                .write_all(format!("{request}\n").as_bytes())
                .unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        })
        .await
        .unwrap()
    }

    pub(crate) async fn enrol(&self, name: &str) -> TestBox {
        let answer = self
            .asked(serde_json::json!({"verb": "boxes-add", "name": name, "endpoint": null}))
            .await;
        TestBox::from_file(answer["ok"]["file"].as_str().expect("an enrolment file"))
    }

    /// Whether its databases are on a server, not in files of the state directory.
    pub(crate) const fn is_on_a_server(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn fhir(&self) -> Fhir {
        Fhir::new(self)
    }
}

/// Waits until `ready` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ready: impl FnMut() -> F,
) -> T {
    let waiting = async {
        loop {
            if let Some(found) = ready().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A box with its keys and chains.
pub(crate) struct TestBox {
    pub(crate) id: BoxId,
    pub(crate) signer: SigningKey,
    pub(crate) recipient: RecipientPublicKey,
    pub(crate) control: VerifyingKey,
    pub(crate) control_next: VerifyingKey,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) chain: ChainId,
    /// Named in its hello, if it listens for visits.
    pub(crate) visits_key: Option<RecipientPublicKey>,
    heads: Vec<(Lane, u64, [u8; 32])>,
}

impl TestBox {
    pub(crate) fn from_file(text: &str) -> Self {
        let file: toml::Value = toml::from_str(text).unwrap();
        let of = |part: &str, key: &str| file[part][key].as_str().unwrap().to_owned();
        let raw = |part: &str, key: &str| STANDARD.decode(of(part, key)).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let ca = of("gateway", "ca_certificate");
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let certificate =
            CertificateDer::from_pem_slice(of("keys", "tls_certificate").as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(of("keys", "tls_key").as_bytes()).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
        Self {
            id: of("box", "id").parse().unwrap(),
            signer: SigningKey::from_pkcs8(&raw("keys", "frame_key")).unwrap(),
            recipient: RecipientPublicKey::from_bytes(&raw("gateway", "recipient_key")).unwrap(),
            control: VerifyingKey::from_bytes(&raw("gateway", "control_key")).unwrap(),
            control_next: VerifyingKey::from_bytes(&raw("gateway", "next_control_key")).unwrap(),
            tls: Arc::new(tls),
            chain: ChainId([7; 8]),
            visits_key: None,
            heads: Lane::ALL.into_iter().map(|l| (l, 0, [0; 32])).collect(),
        }
    }

    /// Seals a record as the next frame of a lane.
    pub(crate) fn frame(&mut self, lane: Lane, record: &Record) -> Vec<u8> {
        let (_, seq, prev) = self.heads[usize::from(lane.number())];
        let frame = self.frame_at(lane, seq + 1, prev, record);
        self.heads[usize::from(lane.number())] = (lane, seq + 1, fingerprint(&frame));
        frame
    }

    pub(crate) fn frame_at(
        &self,
        lane: Lane,
        seq: u64,
        prev: [u8; 32],
        record: &Record,
    ) -> Vec<u8> {
        let header = FrameHeader {
            suite: SUITE_X25519_CHACHA,
            recipient: self.recipient.key_id(),
            device: self.id,
            lane,
            chain: self.chain,
            seq,
            prev,
        };
        seal(&record.encode(), &header, &self.recipient, &self.signer).unwrap()
    }

    /// The gateway's keys, as the box has them.
    pub(crate) const fn trusted(&self) -> TrustedKeys {
        TrustedKeys {
            recipient: self.recipient,
            control: self.control,
            control_next: self.control_next,
        }
    }

    pub(crate) fn head(&self, lane: Lane) -> (u64, [u8; 32]) {
        let (_, seq, head) = self.heads[usize::from(lane.number())];
        (seq, head)
    }

    pub(crate) fn hello(
        &self,
        at: cardio_core::clock::ClockReading,
        oldest: u64,
        acked: u64,
    ) -> Vec<u8> {
        let lanes = self
            .heads
            .iter()
            .map(|(lane, seq, head)| LaneState {
                lane: *lane,
                chain: self.chain,
                oldest: oldest.min(seq + 1),
                next: seq + 1,
                head: *head,
                acked: acked.min(*seq),
            })
            .collect();
        Hello {
            device: self.id,
            lanes,
            agent_version: "0.1.0".to_owned(),
            at,
            free_bytes: 1 << 30,
            keys: self.trusted().ids(),
            certificate_until: UtcMicros(i64::MAX),
            heard: None,
            visits_key: self.visits_key,
        }
        .sign(&self.signer)
    }
}

/// A connection of a box.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    packet_id: u16,
}

impl Client {
    /// TLS only.
    pub(crate) async fn tls(bench: &Bench, of: &TestBox) -> std::io::Result<Self> {
        Self::tls_at(bench.gateway.mqtt.unwrap(), of).await
    }

    pub(crate) async fn tls_at(
        address: std::net::SocketAddr,
        of: &TestBox,
    ) -> std::io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&of.tls))
            .connect(name, tcp)
            .await?;
        Ok(Self {
            stream,
            buffer: BytesMut::new(),
            packet_id: 0,
        })
    }

    /// Whether the peer answers CONNECT; one that does not know the box closes instead.
    pub(crate) async fn hears(mut self) -> Option<()> {
        self.send(&connect(30)).await;
        matches!(self.next().await, Some(Packet::ConnAck(_))).then_some(())
    }

    /// TLS, CONNECT, SUBSCRIBE.
    pub(crate) async fn connect(bench: &Bench, of: &TestBox) -> Self {
        Self::connect_at(bench.gateway.mqtt.unwrap(), of).await
    }

    pub(crate) async fn connect_at(address: std::net::SocketAddr, of: &TestBox) -> Self {
        let mut client = Self::tls_at(address, of).await.unwrap();
        client.send(&connect(30)).await;
        match client.next().await {
            Some(Packet::ConnAck(ack)) => {
                assert_eq!(ack.code, rumqttc::mqttbytes::v5::ConnectReturnCode::Success);
            }
            other => panic!("no CONNACK but {other:?}"),
        }
        let filter = SubscribeFilter::new(Topic::DownAck(of.id).to_string(), QoS::AtLeastOnce);
        client.subscribe(filter).await;
        let commands = Topic::DownCommand(of.id).to_string();
        client
            .subscribe(SubscribeFilter::new(commands, QoS::AtLeastOnce))
            .await;
        client
    }

    pub(crate) async fn subscribe(
        &mut self,
        filter: SubscribeFilter,
    ) -> Vec<rumqttc::mqttbytes::v5::SubscribeReasonCode> {
        let mut subscribe = Subscribe::new(filter, None);
        subscribe.pkid = 9_000;
        self.send(&Packet::Subscribe(subscribe)).await;
        loop {
            match self.next().await {
                Some(Packet::SubAck(ack)) => return ack.return_codes,
                Some(Packet::Publish(_)) => {}
                other => panic!("no SUBACK but {other:?}"),
            }
        }
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The peer may have closed already; what it said last is read by the test.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next packet; `None` when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        let reading = async {
            loop {
                match Packet::read(&mut self.buffer, None) {
                    Ok(packet) => return Some(packet),
                    Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {}
                    Err(error) => panic!("the gateway sent no MQTT: {error}"),
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(1..) => {}
                    _ => return None,
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading)
            .await
            .expect("the gateway answers or closes")
    }

    /// Publishes at QoS 1 and gives the packet id.
    pub(crate) async fn publish(&mut self, topic: &str, payload: Vec<u8>) -> u16 {
        self.packet_id += 1;
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload, None);
        publish.pkid = self.packet_id;
        self.send(&Packet::Publish(publish)).await;
        self.packet_id
    }

    pub(crate) async fn publish_frame(&mut self, of: &TestBox, lane: Lane, frame: Vec<u8>) -> u16 {
        self.publish(&Topic::UpLane(of.id, lane).to_string(), frame)
            .await
    }

    /// Sends records one after the other on a lane, each taken; gives their frames.
    pub(crate) async fn send_all(
        &mut self,
        of: &mut TestBox,
        lane: Lane,
        records: &[Record],
    ) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for record in records {
            let frame = of.frame(lane, record);
            let packet = self.publish_frame(of, lane, frame.clone()).await;
            assert_eq!(self.puback(packet).await.reason, PubAckReason::Success);
            frames.push(frame);
        }
        frames
    }

    /// Waits for the PUBACK of a packet id; acknowledgements that come before are answered.
    pub(crate) async fn puback(&mut self, packet_id: u16) -> PubAck {
        loop {
            match self.next().await {
                Some(Packet::PubAck(ack)) if ack.pkid == packet_id => return ack,
                Some(Packet::PubAck(_)) => {}
                Some(Packet::Publish(publish)) => self.answer(&publish).await,
                other => panic!("no PUBACK of {packet_id} but {other:?}"),
            }
        }
    }

    /// Waits for an acknowledgement of a lane that reaches `upto`.
    pub(crate) async fn acked(&mut self, of: &TestBox, lane: Lane, upto: u64) -> Ack {
        loop {
            match self.next().await {
                Some(Packet::Publish(publish)) => {
                    self.answer(&publish).await;
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    if topic != Topic::DownAck(of.id).to_string() {
                        continue;
                    }
                    let ack = Ack::verify(&publish.payload, &of.control).unwrap();
                    assert_eq!(ack.device, of.id);
                    if ack.lane == lane && ack.upto >= upto {
                        return ack;
                    }
                }
                Some(Packet::PubAck(_)) => {}
                other => panic!("no acknowledgement of {lane} up to {upto} but {other:?}"),
            }
        }
    }

    pub(crate) async fn answer(&mut self, publish: &Publish) {
        self.send(&Packet::PubAck(PubAck::new(publish.pkid, None)))
            .await;
    }
}

pub(crate) fn connect(keep_alive: u16) -> Packet {
    Packet::Connect(
        Connect {
            keep_alive,
            client_id: "test".to_owned(),
            clean_start: true,
            properties: None,
        },
        None,
        ConnectAuth::None,
    )
}
