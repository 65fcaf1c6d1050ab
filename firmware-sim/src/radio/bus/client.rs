//! A connection to a bus that somebody else runs, such as the system's.
//!
//! Calls wait for their answers; what comes by itself is handed to one listener, on the thread
//! that reads. Deliberately absent: file descriptors, reconnecting.
//!
//! Source: D-Bus Specification 0.43, "Authentication Protocol" and "Server Addresses".

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hub::BUS;
use super::message::{Kind, MESSAGE_MAX, Message, PREAMBLE};
use super::value::Value;

/// Where the system's bus is, unless the environment says otherwise.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// How long an answer may take: connecting and disconnecting take the longest.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long the bus may take to let a client in.
const LET_IN_WITHIN: Duration = Duration::from_secs(10);
/// Longest line of the bus before the first message.
const LINE_MAX: u64 = 512;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach the bus at {address}")]
    Reach {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the bus does not let this program in: {said}")]
    NotLetIn { said: String },
    #[error("{member} was refused: {text} ({name})")]
    Refused {
        member: String,
        name: String,
        text: String,
    },
    #[error("{member} was not answered within {} s", ANSWER_WITHIN.as_secs())]
    Silent { member: String },
    #[error("the bus is gone")]
    Gone,
}

/// The address of the system's bus.
pub(crate) fn system_bus() -> String {
    let told = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok();
    told.filter(|address| !address.is_empty())
        .unwrap_or_else(|| SYSTEM_BUS.to_owned())
}

#[derive(Debug, Default)]
struct Calls {
    serial: u32,
    /// Who waits for the answer to which call; `None` once nothing comes any more.
    waiting: Option<BTreeMap<u32, Sender<Message>>>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Mutex<UnixStream>,
    calls: Mutex<Calls>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Connects, and lets `listen` have every call and every signal. It must not call in turn:
    /// the answer would be read behind it.
    pub(crate) fn connect(
        address: &str,
        listen: impl FnMut(&Arc<Self>, Message) + Send + 'static,
    ) -> Result<Arc<Self>, ClientError> {
        let unreachable = |source| ClientError::Reach {
            address: address.to_owned(),
            source,
        };
        let stream = open(address).map_err(unreachable)?;
        let mut reading = BufReader::new(stream.try_clone().map_err(unreachable)?);
        let client = Arc::new(Self {
            stream: Mutex::new(stream),
            calls: Mutex::new(Calls {
                serial: 0,
                waiting: Some(BTreeMap::new()),
            }),
        });
        client.introduce(&mut reading)?;
        let (reader, mut listen) = (Arc::downgrade(&client), listen);
        std::thread::Builder::new()
            .name("bus-client".to_owned())
            .spawn(move || {
                while let Some(message) = read_message(&mut reading) {
                    let Some(client) = reader.upgrade() else {
                        return;
                    };
                    if let Some(message) = client.sort(message) {
                        listen(&client, message);
                    }
                }
                if let Some(client) = reader.upgrade() {
                    lock(&client.calls).waiting = None;
                }
            })
            .map_err(unreachable)?;
        client.call(BUS, "/org/freedesktop/DBus", BUS, "Hello", &[])?;
        Ok(client)
    }

    /// Says who this is, as the bus wants it before the first message.
    fn introduce(&self, reading: &mut BufReader<UnixStream>) -> Result<(), ClientError> {
        let user = rustix::process::getuid().as_raw().to_string();
        let digits: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        let mut said = Vec::new();
        let spoken = (|| {
            let mut stream = lock(&self.stream);
            stream.set_read_timeout(Some(LET_IN_WITHIN))?;
            stream.write_all(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes())?;
            reading
                .by_ref()
                .take(LINE_MAX)
                .read_until(b'\n', &mut said)?;
            stream.write_all(b"BEGIN\r\n")?;
            stream.set_read_timeout(None)
        })();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        match spoken {
            Ok(()) if said.starts_with("OK ") => Ok(()),
            Ok(()) => Err(ClientError::NotLetIn { said }),
            Err(_) => Err(ClientError::Gone),
        }
    }

    /// Hands answers to who waits for them; what is left came by itself.
    fn sort(&self, message: Message) -> Option<Message> {
        if !matches!(message.kind, Kind::Return | Kind::Error) {
            return Some(message);
        }
        let mut calls = lock(&self.calls);
        let serial = message.reply_to?;
        if let Some(waiting) = calls.waiting.as_mut().and_then(|all| all.remove(&serial)) {
            // Who no longer waits needs no answer.
            let _ = waiting.send(message);
        }
        None
    }

    /// Calls, and waits for the answer.
    pub(crate) fn call(
        &self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        arguments: &[Value],
    ) -> Result<Vec<Value>, ClientError> {
        let mut message = Message::call(destination, path, interface, member, arguments);
        let (answer, answered) = channel();
        {
            let mut calls = lock(&self.calls);
            calls.serial = calls.serial.wrapping_add(1).max(1);
            message.serial = calls.serial;
            let waiting = calls.waiting.as_mut().ok_or(ClientError::Gone)?;
            waiting.insert(message.serial, answer);
        }
        self.write(&message)?;
        let found = match answered.recv_timeout(ANSWER_WITHIN) {
            Ok(found) => found,
            Err(RecvTimeoutError::Disconnected) => return Err(ClientError::Gone),
            Err(RecvTimeoutError::Timeout) => {
                let mut calls = lock(&self.calls);
                calls
                    .waiting
                    .as_mut()
                    .map(|all| all.remove(&message.serial));
                let member = member.to_owned();
                return Err(ClientError::Silent { member });
            }
        };
        let values = found.values().unwrap_or_default();
        if found.kind == Kind::Return {
            return Ok(values);
        }
        let text = values.first().and_then(Value::as_text).unwrap_or_default();
        Err(ClientError::Refused {
            member: member.to_owned(),
            name: found.error,
            text: text.to_owned(),
        })
    }

    /// Sends an answer or a signal.
    pub(crate) fn send(&self, mut message: Message) -> Result<(), ClientError> {
        {
            let mut calls = lock(&self.calls);
            calls.serial = calls.serial.wrapping_add(1).max(1);
            message.serial = calls.serial;
        }
        self.write(&message)
    }

    fn write(&self, message: &Message) -> Result<(), ClientError> {
        let written = lock(&self.stream).write_all(&message.encode());
        written.map_err(|_| ClientError::Gone)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ends the thread that reads.
        let _ = lock(&self.stream).shutdown(std::net::Shutdown::Both);
    }
}

/// Opens the first socket of an address that can be opened.
fn open(address: &str) -> std::io::Result<UnixStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::InvalidInput);
    for one in address.split(';') {
        let Some(keys) = one.strip_prefix("unix:") else {
            continue;
        };
        let value = |key: &str| {
            let mut all = keys.split(',');
            all.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let opened = match (value("path"), value("abstract")) {
            (Some(path), _) => UnixStream::connect(path),
            (None, Some(name)) => SocketAddr::from_abstract_name(name)
                .and_then(|socket| UnixStream::connect_addr(&socket)),
            (None, None) => continue,
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(err) => last = err,
        }
    }
    Err(last)
}

/// The next message on a stream; `None` at its end, or when what comes is no D-Bus.
pub(crate) fn read_message(from: &mut BufReader<UnixStream>) -> Option<Message> {
    let mut preamble = [0; PREAMBLE];
    from.read_exact(&mut preamble).ok()?;
    let len = Message::length(&preamble).ok()?;
    let rest = len.checked_sub(PREAMBLE).filter(|_| len <= MESSAGE_MAX)?;
    let mut bytes = preamble.to_vec();
    bytes.resize(PREAMBLE.saturating_add(rest), 0);
    from.read_exact(bytes.get_mut(PREAMBLE..)?).ok()?;
    Message::decode(&bytes).ok()
}
