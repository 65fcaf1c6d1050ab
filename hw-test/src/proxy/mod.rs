//! Bad weather between two programs that speak TCP: a proxy on a loopback port that delays,
//! throttles, holds back, loses and falsifies what passes, and cuts connections.
//!
//! - The weather holds for all connections and can change at any time ([`Proxy::set`]).
//! - Each direction is one link: what several connections send shares its rate.
//! - A byte that TCP has lost for good is a hole that nothing can follow: a connection that was
//!   of which something vanished ([`Passage::Lost`]) stays silent for ever, both ways, without
//!   RST and without FIN, as after a power cut at the other end or a forgotten NAT entry.
//! - Bytes of one connection are never reordered, TCP would put them back. What gets out of
//!   order is one connection against another: each has its own jitter, and what was sent on a
//!   stranded connection ([`Proxy::strand`]) arrives when it is released, after what a newer
//!   connection has sent meanwhile.
//! - Chance (jitter, falsified bits) follows from the seed and the number of the connection.
//!
//! Deliberately absent: any knowledge of what passes.

mod pipe;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::chance::Chance;
use crate::clock::StopWatch;
use pipe::{Direction, Pipe};

/// What the kernel may keep of what a sender has sent and the proxy has not read yet: little,
/// so that a slow link is felt at once.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024;

/// Whether anything arrives at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Passage {
    /// What is sent arrives.
    #[default]
    Open,
    /// What is sent is kept back and arrives when the passage is open again.
    Held,
    /// What is sent vanishes; the connections that it was sent on stay silent for ever.
    Lost,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Road {
    /// How long everything takes at least.
    pub(crate) delay: Duration,
    /// How much longer it may take by chance.
    pub(crate) jitter: Duration,
    /// What the link carries, in bits per second; `None` without a limit.
    pub(crate) bit_per_s: Option<NonZeroU64>,
    /// Whether anything arrives.
    pub(crate) passage: Passage,
    /// One of so many pieces (up to 1,460 bytes) has one bit changed.
    pub(crate) flip_one_in: Option<NonZeroU64>,
}

impl Road {
    /// A link of `bit_per_s`, without delay.
    pub(crate) fn slow(bit_per_s: u64) -> Self {
        Self {
            bit_per_s: NonZeroU64::new(bit_per_s),
            ..Self::default()
        }
    }

    /// A link that takes `delay`, and up to `jitter` longer.
    pub(crate) fn far(delay: Duration, jitter: Duration) -> Self {
        Self {
            delay,
            jitter,
            ..Self::default()
        }
    }

    /// A black hole.
    pub(crate) fn lost() -> Self {
        Self {
            passage: Passage::Lost,
            ..Self::default()
        }
    }

    /// A link that keeps everything back for now.
    pub(crate) fn held() -> Self {
        Self {
            passage: Passage::Held,
            ..Self::default()
        }
    }

    /// A link that changes a bit in one of `pieces` pieces.
    pub(crate) fn falsifying(pieces: u64) -> Self {
        Self {
            flip_one_in: NonZeroU64::new(pieces),
            ..Self::default()
        }
    }
}

/// Both directions, and what newcomers meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// From the one who connects.
    pub(crate) up: Road,
    /// To the one who connects.
    pub(crate) down: Road,
    /// New connections are reset at once.
    pub(crate) turn_away: bool,
}

impl Weather {
    /// The same road both ways.
    pub(crate) fn both(road: Road) -> Self {
        Self {
            up: road,
            down: road,
            turn_away: false,
        }
    }

    /// Nobody gets in; what is under way goes on.
    pub(crate) fn closed() -> Self {
        Self {
            turn_away: true,
            ..Self::default()
        }
    }
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Connections let in.
    pub(crate) accepted: u64,
    /// Connections turned away, or without anybody at the other end.
    pub(crate) turned_away: u64,
    /// Connections under way.
    pub(crate) open: u64,
    /// Bytes that arrived upstream.
    pub(crate) up_bytes: u64,
    /// Bytes that arrived at those who connect.
    pub(crate) down_bytes: u64,
    /// Bytes that vanished, both ways.
    pub(crate) lost_bytes: u64,
    /// Bits that were changed, both ways.
    pub(crate) flipped_bits: u64,
}

/// A proxy at work. Dropping it cuts everything that passes through it.
#[derive(Debug)]
pub(crate) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free loopback port for `upstream`, in calm weather.
    pub(crate) fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER_BYTES)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(seed));
        let door = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("proxy-door".to_owned())
            .spawn(move || serve(&listener, upstream, &door))?;
        Ok(Self { addr, shared })
    }

    /// Where to connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes the weather for everything that passes from now on.
    pub(crate) fn set(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    /// Ends every connection with RST at both ends.
    pub(crate) fn cut(&self) {
        for link in self.shared.links() {
            link.cut();
        }
    }

    /// Keeps back what the connections of this moment send, both ways; newer ones pass.
    pub(crate) fn strand(&self) {
        for link in self.shared.links() {
            link.stranded.store(true, Ordering::Relaxed);
        }
    }

    /// Lets what stranded connections had sent arrive, late.
    pub(crate) fn release(&self) {
        for link in self.shared.links() {
            link.stranded.store(false, Ordering::Relaxed);
        }
    }

    /// What has passed so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut traffic = *lock(&self.shared.traffic);
        traffic.open = u64::try_from(self.shared.links().len()).unwrap_or(u64::MAX);
        traffic
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the door, so that it sees that it is closed. If nobody listens, it is closed.
        let _ = TcpStream::connect(self.addr);
    }
}

/// What all threads of a proxy share.
#[derive(Debug)]
struct Shared {
    epoch: StopWatch,
    seed: u64,
    ended: AtomicBool,
    connections: AtomicU64,
    weather: Mutex<Weather>,
    traffic: Mutex<Traffic>,
    /// Their sockets close when the last thread of a connection ends.
    links: Mutex<Vec<Weak<Link>>>,
    /// Until when each direction's link is taken, since the epoch.
    taken: [Mutex<Duration>; 2],
}

impl Shared {
    fn new(seed: u64) -> Self {
        Self {
            epoch: StopWatch::start(),
            seed,
            ended: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            weather: Mutex::default(),
            traffic: Mutex::default(),
            links: Mutex::default(),
            taken: [Mutex::default(), Mutex::default()],
        }
    }

    fn links(&self) -> Vec<Arc<Link>> {
        let mut links = lock(&self.links);
        links.retain(|link| link.strong_count() > 0);
        let links = links.iter().filter_map(Weak::upgrade);
        links.filter(|link| !link.is_over()).collect()
    }

    fn count(&self, note: impl FnOnce(&mut Traffic)) {
        note(&mut lock(&self.traffic));
    }

    /// Takes `direction`'s link for `bytes` at `bit_per_s`; gives when they are through.
    fn take(&self, direction: Direction, bytes: usize, bit_per_s: NonZeroU64) -> Duration {
        let bits = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .saturating_mul(8_000_000);
        let lasts = Duration::from_micros(bits / bit_per_s);
        let [up, down] = &self.taken;
        let mut until = lock(match direction {
            Direction::Up => up,
            Direction::Down => down,
        });
        *until = (*until).max(self.epoch.elapsed()) + lasts;
        *until
    }
}

/// One connection: two sockets.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: TcpStream,
    broken: AtomicBool,
    stranded: AtomicBool,
    /// Something of it has vanished: nothing passes any more, either way.
    silent: AtomicBool,
    /// How many directions have said all.
    finished: AtomicU64,
}

impl Link {
    /// Both threads of both directions see it and go; the sockets close with RST.
    fn cut(&self) {
        for socket in [&self.client, &self.server] {
            // Fails on a socket that has closed already, which is as well.
            let _ = set_socket_linger(socket, Some(Duration::ZERO));
        }
        self.broken.store(true, Ordering::Relaxed);
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.is_broken() || self.finished.load(Ordering::Relaxed) == 2
    }
}

fn serve(listener: &TcpListener, upstream: SocketAddr, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let turn_away = lock(&shared.weather).turn_away;
        match (!turn_away).then(|| TcpStream::connect(upstream)) {
            Some(Ok(server)) => {
                shared.count(|traffic| traffic.accepted += 1);
                // Without threads for it the connection closes here, as any other refusal.
                let _ = carry(client, server, shared);
            }
            None | Some(Err(_)) => {
                shared.count(|traffic| traffic.turned_away += 1);
                let _ = set_socket_linger(&client, Some(Duration::ZERO));
            }
        }
    }
}

fn carry(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(pipe::LOOK_EVERY))?;
        socket.set_write_timeout(Some(pipe::LOOK_EVERY))?;
    }
    set_socket_recv_buffer_size(&server, RECEIVE_BUFFER_BYTES)?;
    let link = Arc::new(Link {
        client,
        server,
        broken: AtomicBool::new(false),
        stranded: AtomicBool::new(false),
        silent: AtomicBool::new(false),
        finished: AtomicU64::new(0),
    });
    lock(&shared.links).push(Arc::downgrade(&link));
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    for direction in [Direction::Up, Direction::Down] {
        let seed = shared.seed ^ (number << 1 | u64::from(direction == Direction::Down));
        Pipe::start(
            Arc::clone(&link),
            Arc::clone(shared),
            direction,
            Chance::new(seed),
        )?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these; if it did, the value would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
