//! A thousand clients in one thread: each sends its packets when they are due, whatever has been
//! answered by then, and notes when what was answered. Nothing is checked until all is over, so
//! that the clients leave the processors to the receiving end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use cardio_wire::message::Ack;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::{
    Connect, ConnectAuth, ConnectProperties, ConnectReturnCode, Packet, PubAck, PubAckReason,
    Publish, Subscribe, SubscribeFilter,
};
use rumqttc::mqttbytes::{Error as MqttError, QoS};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::client::TlsStream;

use super::fleet::{Fleet, Member};
use super::receiver::Receiver;
use crate::clock::StopWatch;
use crate::usage::processor_s;

/// Handshakes at once.
const HANDSHAKES_MAX: usize = 16;
/// How long one packet may be waited for while connecting.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long answers may take after the last frame.
const TAIL_LIMIT: Duration = Duration::from_secs(30);
const KEEP_ALIVE_S: u16 = 120;
const HELLO_ID: u16 = 1;

/// When frames are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two frames of one box.
    every: Duration,
    /// Between the first frames of two boxes.
    apart: Duration,
}

impl Pace {
    /// So many frames per second over all boxes, evenly.
    pub(crate) fn over(boxes: usize, rate: u32) -> Self {
        let apart = Duration::from_secs(1) / rate.max(1);
        let boxes = u32::try_from(boxes).unwrap_or(u32::MAX);
        Self {
            every: apart * boxes,
            apart,
        }
    }

    fn due(&self, member: usize, frame: usize) -> Duration {
        let times = |span: Duration, count| span * u32::try_from(count).unwrap_or(u32::MAX);
        times(self.apart, member) + times(self.every, frame)
    }
}

/// Everything that was sent and heard.
pub(crate) struct Sent {
    /// From the first frame to the last PUBACK.
    pub(crate) span: Duration,
    /// Processor time that the receiving end used meanwhile.
    pub(crate) processor_s: f64,
    /// From sending to PUBACK, sorted.
    pub(crate) pubacks: Vec<Duration>,
    logs: Vec<Log>,
}

/// What one client saw, by the common stop-watch.
#[derive(Default)]
struct Log {
    sent: Vec<Duration>,
    pubacks: Vec<(u16, Duration)>,
    acks: Vec<(Duration, Bytes)>,
}

impl Sent {
    /// When a box sent a frame (from 0 on), and when its PUBACK came.
    pub(crate) fn of(&self, member: usize, frame: usize) -> Option<(Duration, Duration)> {
        let log = self.logs.get(member)?;
        let number = usize::from(HELLO_ID) + 1 + frame;
        let answered = log
            .pubacks
            .iter()
            .find(|(id, _)| usize::from(*id) == number)?;
        Some((*log.sent.get(frame)?, answered.1))
    }

    /// From sending a frame to the first signed acknowledgement that covers it, sorted. Fails
    /// when an acknowledgement is not what the gateway must sign.
    pub(crate) fn verified(&self, fleet: &Fleet) -> anyhow::Result<Vec<Duration>> {
        let mut all = Vec::new();
        for (member, log) in fleet.members.iter().zip(&self.logs) {
            let mut covered = 0;
            for (at, bytes) in &log.acks {
                let ack = Ack::verify(bytes, &member.control).context("a false acknowledgement")?;
                let upto = usize::try_from(ack.upto).unwrap_or(usize::MAX);
                let newly = log.sent.get(covered..upto).unwrap_or_default();
                all.extend(newly.iter().map(|sent| at.saturating_sub(*sent)));
                covered = covered.max(upto);
            }
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// Connects every box, then sends everything. What was sent and answered when, is by `watch`.
pub(crate) async fn all(
    fleet: &Fleet,
    pace: &Pace,
    receiver: &dyn Receiver,
    watch: StopWatch,
) -> anyhow::Result<Sent> {
    let gate = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let signs = receiver.signs();
    let mut connecting = Vec::new();
    for member in &fleet.members {
        let (address, name) = (receiver.address(), receiver.server_name());
        let tls = config(receiver.roots(), member)?;
        let (id, hello) = (member.id, member.hello());
        let gate = Arc::clone(&gate);
        connecting.push(tokio::spawn(async move {
            let _turn = gate.acquire().await?;
            let mut client = Client::connect(address, name, tls, id).await?;
            if signs {
                client.say_hello(id, hello).await?;
            }
            anyhow::Ok(client)
        }));
    }
    let mut clients = Vec::new();
    for one in connecting {
        clients.push(one.await??);
    }
    let (begun, before_s) = (watch.elapsed(), processor_s(receiver.program())?);
    let mut running = Vec::new();
    for (number, (client, member)) in clients.into_iter().zip(&fleet.members).enumerate() {
        let packets = member.packets.clone();
        let due: Vec<Duration> = (0..packets.len())
            .map(|frame| begun + pace.due(number, frame))
            .collect();
        let control = signs.then_some(member.control);
        running.push(tokio::spawn(client.run(packets, due, watch, control)));
    }
    let mut logs = Vec::new();
    for one in running {
        logs.push(one.await??);
    }
    let used_s = processor_s(receiver.program())? - before_s;
    let last = logs
        .iter()
        .flat_map(|log| log.pubacks.iter().map(|(_, at)| *at))
        .max();
    let mut pubacks: Vec<Duration> = logs
        .iter()
        .flat_map(|log| {
            log.pubacks.iter().filter_map(|(id, at)| {
                let frame = usize::from(id.checked_sub(HELLO_ID + 1)?);
                Some(at.saturating_sub(*log.sent.get(frame)?))
            })
        })
        .collect();
    pubacks.sort_unstable();
    Ok(Sent {
        span: last.unwrap_or(begun).saturating_sub(begun),
        processor_s: used_s,
        pubacks,
        logs,
    })
}

/// TLS as a box does it: its own certificate, no resumption.
pub(crate) fn config(
    roots: Arc<rustls::RootCertStore>,
    member: &Member,
) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![member.certificate.clone()], member.key.clone_key())?;
    Ok(Arc::new(config))
}

/// One connection.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    inbound: BytesMut,
}

impl Client {
    /// TLS, CONNECT, SUBSCRIBE to what the box listens to.
    async fn connect(
        address: SocketAddr,
        name: &'static str,
        tls: Arc<rustls::ClientConfig>,
        id: cardio_core::ids::BoxId,
    ) -> anyhow::Result<Self> {
        let mut client = Self::open(address, name, tls, &id.to_string(), true).await?;
        client.subscribe(&Topic::down_filter(id)).await?;
        Ok(client)
    }

    /// TLS and CONNECT; without a clean start the session stays for ever.
    pub(crate) async fn open(
        address: SocketAddr,
        name: &'static str,
        tls: Arc<rustls::ClientConfig>,
        client_id: &str,
        clean_start: bool,
    ) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address).await.context("no connection")?;
        tcp.set_nodelay(true)?;
        let stream = tokio_rustls::TlsConnector::from(tls)
            .connect(ServerName::try_from(name)?, tcp)
            .await
            .context("no TLS")?;
        let mut client = Self {
            stream,
            inbound: BytesMut::new(),
        };
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(if clean_start { 0 } else { u32::MAX });
        let connect = Connect {
            keep_alive: KEEP_ALIVE_S,
            client_id: client_id.to_owned(),
            clean_start,
            properties: Some(properties),
        };
        client
            .send(&Packet::Connect(connect, None, ConnectAuth::None))
            .await?;
        match client.within_limit().await? {
            Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => Ok(client),
            other => bail!("no connection was granted but {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        let mut subscribe = Subscribe::new(SubscribeFilter::new(filter, QoS::AtLeastOnce), None);
        subscribe.pkid = HELLO_ID;
        self.send(&Packet::Subscribe(subscribe)).await?;
        match self.within_limit().await? {
            Packet::SubAck(_) => Ok(()),
            other => bail!("no subscription was granted but {other:?}"),
        }
    }

    /// Says hello and takes the answers to it.
    async fn say_hello(
        &mut self,
        id: cardio_core::ids::BoxId,
        hello: Vec<u8>,
    ) -> anyhow::Result<()> {
        let topic = Topic::UpHello(id).to_string();
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, hello, None);
        publish.pkid = HELLO_ID;
        self.send(&Packet::Publish(publish)).await?;
        let (mut heard, mut acknowledged) = (false, false);
        while !(heard && acknowledged) {
            match self.within_limit().await? {
                Packet::PubAck(_) => heard = true,
                Packet::Publish(publish) => {
                    acknowledged = true;
                    self.answer(&publish).await?;
                }
                other => bail!("the hello was not answered but {other:?}"),
            }
        }
        Ok(())
    }

    /// Sends every packet when it is due, until all are answered or the time is over.
    async fn run(
        mut self,
        packets: Vec<Bytes>,
        due: Vec<Duration>,
        watch: StopWatch,
        control: Option<cardio_wire::keys::VerifyingKey>,
    ) -> anyhow::Result<Log> {
        let mut log = Log::default();
        let limit = due.last().copied().unwrap_or_default() + TAIL_LIMIT;
        loop {
            let next = due.get(log.sent.len()).copied();
            let wake = next.unwrap_or(limit).saturating_sub(watch.elapsed());
            tokio::select! {
                read = self.stream.read_buf(&mut self.inbound) => {
                    if read.context("the connection broke")? == 0 {
                        bail!("the connection was closed");
                    }
                    self.take_all(&mut log, watch).await?;
                    let all = log.pubacks.len() == packets.len();
                    if all && is_covered(&log, control.as_ref(), packets.len()) {
                        break;
                    }
                }
                () = tokio::time::sleep(wake) => {
                    let Some(packet) = packets.get(log.sent.len()) else {
                        break;
                    };
                    log.sent.push(watch.elapsed());
                    self.stream.write_all(packet).await.context("the connection broke")?;
                    self.stream.flush().await.context("the connection broke")?;
                }
            }
        }
        Ok(log)
    }

    async fn take_all(&mut self, log: &mut Log, watch: StopWatch) -> anyhow::Result<()> {
        while let Some(packet) = self.buffered()? {
            match packet {
                Packet::PubAck(ack)
                    if ack.reason == PubAckReason::Success
                        || ack.reason == PubAckReason::NoMatchingSubscribers =>
                {
                    log.pubacks.push((ack.pkid, watch.elapsed()));
                }
                Packet::Publish(publish) => {
                    self.answer(&publish).await?;
                    log.acks.push((watch.elapsed(), publish.payload));
                }
                other => bail!("unexpected: {other:?}"),
            }
        }
        Ok(())
    }

    /// The next packet, which must come within a limit.
    pub(crate) async fn within_limit(&mut self) -> anyhow::Result<Packet> {
        let reading = async {
            loop {
                if let Some(packet) = self.buffered()? {
                    return Ok(packet);
                }
                if self.stream.read_buf(&mut self.inbound).await? == 0 {
                    bail!("the connection was closed");
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, reading)
            .await
            .context("no answer")?
    }

    fn buffered(&mut self) -> anyhow::Result<Option<Packet>> {
        if self.inbound.is_empty() {
            return Ok(None);
        }
        match Packet::read(&mut self.inbound, None) {
            Ok(packet) => Ok(Some(packet)),
            Err(MqttError::InsufficientBytes(_)) => Ok(None),
            Err(error) => bail!("no MQTT came: {error}"),
        }
    }

    pub(crate) async fn answer(&mut self, publish: &Publish) -> anyhow::Result<()> {
        self.send(&Packet::PubAck(PubAck::new(publish.pkid, None)))
            .await
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, packet: &Packet) -> anyhow::Result<()> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).context("no such packet")?;
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }
}

/// Whether the acknowledgements of all lanes cover everything; always when nobody signs any.
fn is_covered(log: &Log, control: Option<&cardio_wire::keys::VerifyingKey>, frames: usize) -> bool {
    let Some(control) = control else {
        return true;
    };
    let acks = log
        .acks
        .iter()
        .filter_map(|(_, bytes)| Ack::verify(bytes, control).ok());
    let ends: BTreeMap<u8, u64> = acks.map(|ack| (ack.lane.number(), ack.upto)).collect();
    usize::try_from(ends.values().sum::<u64>()).is_ok_and(|upto| upto >= frames)
}
