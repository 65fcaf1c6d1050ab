//! What tests of this crate share: a clock that is moved by hand and a pseudo terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, ManualClock, UtcMicros};
use cardio_core::ids::BootId;
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// One second after boot, on a day in 2026.
pub(crate) fn start_of_time() -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([7; 16]),
            micros: 1_000_000,
        },
        utc: UtcMicros(1_790_000_000_000_000),
        quality: ClockQuality::Unsynchronised,
    }
}

pub(crate) fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(start_of_time()))
}

/// A pseudo terminal in raw mode; the test holds the device's end.
pub(crate) struct Pty {
    master: OwnedFd,
    path: PathBuf,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut line = tcgetattr(&master).unwrap();
        line.make_raw();
        tcsetattr(&master, OptionalActions::Now, &line).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        Self {
            master,
            path: PathBuf::from(name.into_string().unwrap()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = rustix::io::write(&self.master, bytes).unwrap();
            bytes = &bytes[written..];
        }
    }

    /// Reads until `count` bytes came.
    pub(crate) fn read(&self, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < count {
            let mut buffer = [0; 64];
            let read = rustix::io::read(&self.master, &mut buffer).unwrap();
            got.extend_from_slice(&buffer[..read]);
        }
        got
    }
}
