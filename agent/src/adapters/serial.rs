//! A serial port, real or pseudo terminal, as bytes with the time of their arrival.
//!
//! - The port is opened raw, 8N1, and locked: a second opener is told that it is busy.
//! - Modem lines are left alone: pseudo terminals and some adapters do not have them.
//! - A read of no bytes means that the other end is gone. The caller must drop the port at
//!   once: while the descriptor is held, an adapter that returns gets another number.
//!
//! Deliberately absent: framing, retries. [`usb`] finds a port by the device behind it.

pub mod usb;

use std::path::{Path, PathBuf};

use cardio_core::clock::{Clock, ClockReading};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{ErrorKind, SerialPortBuilderExt, SerialStream};

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such file.
    #[error("there is no serial port {}", path.display())]
    Missing {
        /// The path that was tried.
        path: PathBuf,
    },
    /// The system does not let this user open it.
    #[error("cannot open the serial port {}: permission denied; its user must be in the group that owns it, mostly `dialout`", path.display())]
    Denied {
        /// The path that was tried.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("the serial port {} is held by another process", path.display())]
    Busy {
        /// The path that was tried.
        path: PathBuf,
    },
    /// It is there, but it is no serial port, or it refuses the settings.
    #[error("cannot open {} as a serial port at {baud} baud", path.display())]
    Unusable {
        /// The path that was tried.
        path: PathBuf,
        /// The speed that was asked for.
        baud: u32,
        /// What the system said.
        source: tokio_serial::Error,
    },
}

impl OpenError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "serial.open.missing",
            Self::Denied { .. } => "serial.open.denied",
            Self::Busy { .. } => "serial.open.busy",
            Self::Unusable { .. } => "serial.open.unusable",
        }
    }
}

/// Why an open port is of no use any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkLost {
    /// The other end closed: unplugged, or the simulator ended.
    #[error("the serial port was unplugged")]
    Unplugged,
    /// Reading or writing failed.
    #[error("the serial port failed while {during}")]
    Failed {
        /// What was being done.
        during: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LinkLost {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unplugged => "serial.unplugged",
            Self::Failed { .. } => "serial.failed",
        }
    }
}

/// An open port.
#[derive(Debug)]
pub struct Port {
    stream: SerialStream,
    buffer: Box<[u8]>,
}

/// Bytes that one read gave, and when it returned.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// When the read returned.
    pub at: ClockReading,
    /// What came.
    pub bytes: &'a [u8],
}

/// Bytes taken in one read: more than a stalled second of any profile.
const READ_BYTES: usize = 16 * 1024;

impl Port {
    /// Opens and locks the port at `path`.
    ///
    /// # Errors
    /// [`OpenError`] says which of the usual causes it is.
    pub fn open(path: &Path, baud: u32) -> Result<Self, OpenError> {
        let stream = tokio_serial::new(path.to_string_lossy(), baud)
            .open_native_async()
            .map_err(|source| named(path, baud, source))?;
        Ok(Self {
            stream,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Waits for bytes. Dropping the future loses none.
    ///
    /// # Errors
    /// [`LinkLost`] when the port is of no use any more.
    pub async fn read(&mut self, clock: &dyn Clock) -> Result<Arrival<'_>, LinkLost> {
        let read = AsyncReadExt::read(&mut self.stream, &mut self.buffer).await;
        let at = clock.read();
        let taken = read.map_err(|source| LinkLost::Failed {
            during: "reading",
            source,
        })?;
        match self.buffer.get(..taken) {
            None | Some([]) => Err(LinkLost::Unplugged),
            Some(bytes) => Ok(Arrival { at, bytes }),
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`LinkLost`] when the port is of no use any more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkLost> {
        AsyncWriteExt::write_all(&mut self.stream, bytes)
            .await
            .map_err(|source| LinkLost::Failed {
                during: "writing",
                source,
            })
    }
}

fn named(path: &Path, baud: u32, source: tokio_serial::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind {
        ErrorKind::Io(std::io::ErrorKind::NotFound) => OpenError::Missing { path },
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => OpenError::Denied { path },
        // serialport's own kind for a port that TIOCEXCL or flock found taken
        ErrorKind::NoDevice => OpenError::Busy { path },
        _ => OpenError::Unusable { path, baud, source },
    }
}

#[cfg(test)]
mod tests {
    use super::{LinkLost, OpenError, Port};
    use crate::testing::{Pty, manual_clock};
    use std::path::Path;

    #[tokio::test]
    async fn bytes_arrive_with_the_time_of_the_read() {
        let pty = Pty::open();
        let clock = manual_clock();
        let mut port = Port::open(pty.path(), 115_200).unwrap();
        pty.write(&[0xA0, 1, 2]);
        clock.advance_micros(40);
        let arrival = port.read(&*clock).await.unwrap();
        assert_eq!(arrival.bytes, [0xA0, 1, 2]);
        assert_eq!(arrival.at.box_instant.micros, 1_000_040);
        port.write(b"v").await.unwrap();
        assert_eq!(pty.read(1), b"v");
    }

    #[tokio::test]
    async fn a_closed_master_is_an_unplugged_port() {
        let pty = Pty::open();
        let clock = manual_clock();
        let mut port = Port::open(pty.path(), 115_200).unwrap();
        drop(pty);
        assert!(matches!(
            port.read(&*clock).await,
            Err(LinkLost::Unplugged | LinkLost::Failed { .. })
        ));
    }

    #[tokio::test]
    async fn a_port_that_is_held_is_busy() {
        let pty = Pty::open();
        let _held = Port::open(pty.path(), 115_200).unwrap();
        let err = Port::open(pty.path(), 115_200).unwrap_err();
        assert_eq!(err.code(), "serial.open.busy");
    }

    #[tokio::test]
    async fn a_port_that_is_not_there_and_a_file_that_is_no_port_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Port::open(&dir.path().join("ttyUSB0"), 115_200).unwrap_err();
        assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let unusable = Port::open(&file, 115_200).unwrap_err();
        assert_eq!(unusable.code(), "serial.open.unusable");
        assert!(Port::open(Path::new("/"), 115_200).is_err());
    }
}
