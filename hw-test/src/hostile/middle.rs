//! A man in the middle who has the gateway's authority key: box and gateway both trust him, he
//! hears everything, keeps back what he likes, and says what he likes.
//!
//! What he cannot do is sign as box or gateway: that is what the cases are about.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{Connection, ServerConfig, ServerConnection};

use super::wire::{Identity, Packet, packet, publish, take_packet};
use crate::clock::StopWatch;
use crate::visit::Stage;

/// How often he looks when nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// One message that passed.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

/// The man. Dropping him ends what passes through him.
pub(super) struct Middle {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    /// The enrolment of the box, which he has copied.
    enrolment: PathBuf,
    server: Arc<ServerConfig>,
    ended: AtomicBool,
    keeps_acks: AtomicBool,
    heard: Mutex<Vec<Heard>>,
    to_box: Mutex<VecDeque<Vec<u8>>>,
}

impl Middle {
    /// Listens for the box of `stage`, whose gateway runs.
    pub(super) fn start(stage: &Stage) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: stage.gateway_address(),
            enrolment: stage.folder().join("enrolment.toml"),
            server: Arc::new(server(stage)?),
            ended: AtomicBool::new(false),
            keeps_acks: AtomicBool::new(false),
            heard: Mutex::default(),
            to_box: Mutex::default(),
        });
        let door = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if door.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&door);
                // A talk that breaks off is what the programs are to live with.
                std::thread::spawn(move || drop(Talk::begin(client, &shared).and_then(Talk::run)));
            }
        });
        Ok(Self { addr, shared })
    }

    /// From now on acknowledgements do not reach the box, or do again.
    pub(super) fn keep_acks(&self, keeps: bool) {
        self.shared.keeps_acks.store(keeps, Ordering::Relaxed);
    }

    /// Everything that passed so far on topics that end so.
    pub(super) fn heard(&self, leaf: &str) -> Vec<Heard> {
        let heard = lock(&self.shared.heard);
        let on_leaf = |one: &&Heard| one.topic.ends_with(leaf);
        heard.iter().filter(on_leaf).cloned().collect()
    }

    /// Says `payload` on `topic` to the box.
    pub(super) fn say_to_box(&self, topic: &str, payload: &[u8]) {
        lock(&self.shared.to_box).push_back(publish(topic, 0, payload, 0));
    }
}

impl Drop for Middle {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the door; if nobody listens, it is closed.
        let _ = TcpStream::connect(self.addr);
    }
}

/// TLS as the gateway would offer it, with a certificate that its authority signed.
fn server(stage: &Stage) -> anyhow::Result<ServerConfig> {
    let (certificate, key) = super::certify::server(stage)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("no TLS for the man in the middle")
}

/// One end of a talk.
struct End {
    socket: TcpStream,
    tls: Connection,
    inbound: Vec<u8>,
}

impl End {
    fn new(socket: TcpStream, mut tls: Connection) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // What he says at once may be larger than what the library keeps of its own will.
        tls.set_buffer_limit(None);
        Ok(Self {
            socket,
            tls,
            inbound: Vec::new(),
        })
    }

    /// Moves what can be moved; `true` when something came.
    fn turn(&mut self) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => return Err(err),
            }
        }
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(err) => return Err(err),
        }
        let state = self.tls.process_new_packets();
        let state = state.map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))?;
        let mut bytes = vec![0; state.plaintext_bytes_to_read()];
        self.tls.reader().read_exact(&mut bytes)?;
        self.inbound.append(&mut bytes);
        Ok(true)
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)
    }
}

/// One connection of the box, and the one that he makes for it.
struct Talk {
    to_box: End,
    to_gateway: End,
    shared: Arc<Shared>,
}

impl Talk {
    fn begin(client: TcpStream, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        let identity = Identity::read(&shared.enrolment)?;
        let as_gateway = ServerConnection::new(Arc::clone(&shared.server))?;
        let as_box = identity.client(&[&rustls::version::TLS13])?;
        let gateway = TcpStream::connect(shared.upstream)?;
        Ok(Self {
            to_box: End::new(client, as_gateway.into())?,
            to_gateway: End::new(gateway, as_box.into())?,
            shared: Arc::clone(shared),
        })
    }

    fn run(mut self) -> anyhow::Result<()> {
        while !self.shared.ended.load(Ordering::Relaxed) {
            let from_box = self.to_box.turn()?;
            let from_gateway = self.to_gateway.turn()?;
            while let Some(packet) = take_packet(&mut self.to_box.inbound) {
                self.hear(&packet);
                self.to_gateway.say(&packet.bytes())?;
            }
            while let Some(packet) = take_packet(&mut self.to_gateway.inbound) {
                self.hear(&packet);
                match self.is_kept_back(&packet) {
                    // He answers for the box, or the gateway would stop to send.
                    Some(id) => self
                        .to_gateway
                        .say(&self::packet(0x40, &id.to_be_bytes()))?,
                    None => self.to_box.say(&packet.bytes())?,
                }
            }
            let said: Vec<Vec<u8>> = lock(&self.shared.to_box).drain(..).collect();
            for bytes in said {
                self.to_box.say(&bytes)?;
            }
            if !from_box && !from_gateway {
                StopWatch::start().sleep_until(LOOK_EVERY);
            }
        }
        Ok(())
    }

    fn hear(&self, packet: &Packet) {
        if packet.kind() != super::wire::PUBLISH {
            return;
        }
        if let Some((topic, _, payload)) = packet.publish() {
            lock(&self.shared.heard).push(Heard {
                topic,
                payload: payload.to_vec(),
            });
        }
    }

    /// The packet id of an acknowledgement that the box shall not get.
    fn is_kept_back(&self, packet: &Packet) -> Option<u16> {
        let keeps = self.shared.keeps_acks.load(Ordering::Relaxed);
        let is_publish = packet.kind() == super::wire::PUBLISH;
        let (topic, id, _) = packet.publish().filter(|_| keeps && is_publish)?;
        topic.ends_with("/down/ack").then_some(id)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; if it did, the value would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
