//! The socket of the bus and the threads behind it.
//!
//! One lock holds all state, so that what a call causes is seen by every client in one order.
//! Each client has a thread that reads and one that writes; a client that does not read is cut
//! off by the hub and holds up nobody.

use std::io::{BufReader, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::bluez::Daemon;
use super::bus::{
    BUS, ClientId, Hub, Kind, Message, SERVICE, authenticate, read_message, unique_name,
};

/// Radios of this process, to tell their sockets apart.
static RADIOS: AtomicU64 = AtomicU64::new(1);

/// Why a radio cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RadioError {
    /// The socket cannot be made.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address of the bus.
        address: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl RadioError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "radio.listen",
        }
    }
}

/// Where the bus listens.
#[derive(Clone, Debug)]
pub(super) enum Listening {
    /// A name that is no file.
    Abstract(String),
    /// A file.
    File(PathBuf),
}

impl Listening {
    /// A name that no other radio has.
    pub(super) fn nowhere_else() -> Self {
        let number = RADIOS.fetch_add(1, Ordering::Relaxed);
        Self::Abstract(format!("cardio-radio-{}-{number}", std::process::id()))
    }

    /// A file, whatever folder its clients run in.
    pub(super) fn file(path: &Path) -> Result<Self, RadioError> {
        let absolute = std::path::absolute(path).map_err(|source| RadioError::Listen {
            address: path.display().to_string(),
            source,
        })?;
        Ok(Self::File(absolute))
    }

    /// The address as D-Bus writes it.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Abstract(name) => format!("unix:abstract={name}"),
            Self::File(path) => format!("unix:path={}", path.display()),
        }
    }

    fn bind(&self) -> std::io::Result<UnixListener> {
        match self {
            Self::Abstract(name) => UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?),
            Self::File(path) => {
                // One that nobody listens on is left from a radio that was killed.
                if UnixStream::connect(path).is_err() {
                    let _ = std::fs::remove_file(path);
                }
                UnixListener::bind(path)
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    hub: Hub,
    daemon: Daemon,
    listener: Option<Listener>,
}

/// The open socket, and the thread that takes its connections.
#[derive(Debug)]
struct Listener {
    socket: Arc<UnixListener>,
    thread: JoinHandle<()>,
}

/// What all threads share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    listening: Listening,
}

impl Shared {
    pub(super) fn start(listening: Listening) -> Result<Arc<Self>, RadioError> {
        let shared = Arc::new(Self {
            state: Mutex::default(),
            listening,
        });
        shared.set_daemon(true);
        Self::open(&shared)?;
        Ok(shared)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the socket, unless it is open.
    pub(super) fn open(this: &Arc<Self>) -> Result<(), RadioError> {
        let mut state = this.lock();
        if state.listener.is_some() {
            return Ok(());
        }
        let failed = |source| RadioError::Listen {
            address: this.listening.address(),
            source,
        };
        let socket = Arc::new(this.listening.bind().map_err(failed)?);
        let (taking, shared) = (Arc::clone(&socket), Arc::clone(this));
        let thread = spawn("radio-bus", move || {
            while let Ok((stream, _)) = taking.accept() {
                let shared = Arc::clone(&shared);
                // Without a thread the connection closes, and the client knows.
                let _ = spawn("radio-client", move || shared.attend(stream));
            }
        })
        .map_err(failed)?;
        state.listener = Some(Listener { socket, thread });
        Ok(())
    }

    /// Closes the socket and cuts all connections. The address is free when this returns.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        if let Some(Listener { socket, thread }) = state.listener.take() {
            // Wakes the thread that waits for connections, and ends it.
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
            let _ = thread.join();
            if let Listening::File(path) = &self.listening {
                let _ = std::fs::remove_file(path);
            }
        }
        for client in state.hub.cut_all() {
            state.daemon.client_left(client);
        }
        state.deliver();
    }

    /// Changes the world, and sends what the daemon has to say about it.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Daemon) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.daemon);
        state.deliver();
        result
    }

    /// Ends or starts the daemon.
    pub(super) fn set_daemon(&self, runs: bool) {
        let mut state = self.lock();
        if !runs {
            state.daemon.restart();
        }
        state.hub.set_service(runs);
    }

    pub(super) fn match_rules(&self) -> usize {
        self.lock().hub.rules()
    }

    /// Serves one client to its end.
    fn attend(&self, stream: UnixStream) {
        let guid = format!("{:032x}", std::process::id());
        let (Ok(mut writing), Ok(kept)) = (stream.try_clone(), stream.try_clone()) else {
            return;
        };
        let mut reading = BufReader::new(stream);
        if !authenticate(&mut reading, &mut writing, &guid) {
            return;
        }
        let joined = {
            let mut state = self.lock();
            // A connection that was taken while the bus closed is cut like the others.
            state.listener.is_some().then(|| state.hub.join(kept))
        };
        let Some((id, messages)) = joined else {
            return;
        };
        if spawn("radio-writer", move || pass_out(&messages, writing)).is_ok() {
            while let Some(mut message) = read_message(&mut reading) {
                // The sender is what the bus knows, not what a client says.
                message.sender = unique_name(id);
                self.take(id, &message);
            }
        }
        let mut state = self.lock();
        state.hub.leave(id);
        state.daemon.client_left(id);
        state.deliver();
    }

    fn take(&self, from: ClientId, message: &Message) {
        let mut state = self.lock();
        let is_call = message.kind == Kind::Call;
        match message.destination.as_str() {
            BUS | "" if is_call => state.hub.serve(from, message),
            SERVICE if is_call && state.hub.has_service() => {
                state.daemon.serve(from, message);
                state.deliver();
            }
            _ => state.hub.pass_on(message),
        }
    }
}

impl State {
    /// Sends what the daemon has to say, if it runs.
    fn deliver(&mut self) {
        for message in self.daemon.take_out() {
            if self.hub.has_service() {
                self.hub.send(SERVICE, message);
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work)
}

/// Writes what the hub has for a client, until there is no client or no hub.
fn pass_out(messages: &Receiver<Vec<u8>>, mut to: UnixStream) {
    while let Ok(bytes) = messages.recv() {
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}
