//! The tape that an engineer lets run beside a sensor: everything that passes, into a capture
//! log. The service never has one: the log holds the patient's signal in clear.
//!
//! What cannot be written ends the tape, not the capture; [`Tape::end`] says so.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use cardio_core::clock::{Clock, ClockReading};
use cardio_protocol::capture::{CaptureEntry, CaptureError, CaptureEvent, CaptureHead};

/// Why a tape was not written to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapeError {
    /// What passed cannot be put into an entry.
    #[error("the capture cannot hold what passed")]
    Entry(#[source] CaptureError),
    /// The file takes no more.
    #[error("cannot write the capture")]
    Write(#[source] std::io::Error),
}

impl TapeError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Entry(err) => err.code(),
            Self::Write(_) => "capture.write",
        }
    }
}

/// A tape that runs, or none.
#[derive(Clone)]
pub struct Tape(Option<Arc<Running>>);

struct Running {
    clock: Arc<dyn Clock>,
    written: Mutex<Written>,
}

struct Written {
    to: Box<dyn Write + Send>,
    item: Vec<u8>,
    failed: Option<TapeError>,
}

impl Tape {
    /// No tape.
    pub const fn off() -> Self {
        Self(None)
    }

    /// A tape that begins with `head` and is written to `to`.
    ///
    /// # Errors
    /// [`TapeError`] when the head cannot be written.
    pub fn begin(
        to: Box<dyn Write + Send>,
        head: &CaptureHead,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TapeError> {
        let mut item = Vec::new();
        head.encode(&mut item).map_err(TapeError::Entry)?;
        let mut written = Written {
            to,
            item,
            failed: None,
        };
        written.flush_item()?;
        let written = Mutex::new(written);
        Ok(Self(Some(Arc::new(Running { clock, written }))))
    }

    /// Notes what happens now.
    pub(super) fn note(&self, event: impl FnOnce() -> CaptureEvent) {
        if let Some(running) = &self.0 {
            running.write(running.clock.read(), event());
        }
    }

    /// Notes what happened at `at`.
    pub(super) fn note_at(&self, at: ClockReading, event: impl FnOnce() -> CaptureEvent) {
        if let Some(running) = &self.0 {
            running.write(at, event());
        }
    }

    /// Ends the tape: all of it is written.
    ///
    /// # Errors
    /// [`TapeError`] when it was not written to here.
    pub fn end(self) -> Result<(), TapeError> {
        self.note(|| CaptureEvent::Ended);
        let Some(running) = &self.0 else {
            return Ok(());
        };
        let mut written = running.lock();
        match written.failed.take() {
            Some(err) => Err(err),
            None => written.to.flush().map_err(TapeError::Write),
        }
    }
}

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, at: ClockReading, event: CaptureEvent) {
        let at_us = at.box_instant.micros;
        let mut written = self.lock();
        if written.failed.is_some() {
            return;
        }
        let entry = CaptureEntry { at_us, event };
        let encoded = entry.encode(&mut written.item).map_err(TapeError::Entry);
        written.failed = encoded.and_then(|()| written.flush_item()).err();
    }
}

impl Written {
    fn flush_item(&mut self) -> Result<(), TapeError> {
        let done = self.to.write_all(&self.item).map_err(TapeError::Write);
        self.item.clear();
        done
    }
}

#[cfg(test)]
mod tests {
    use super::Tape;
    use crate::testing::{capture_head, manual_clock};
    use std::io::{Error, Write};

    /// Takes so many bytes and then no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or_else(|| Error::from(std::io::ErrorKind::StorageFull))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_not_to_the_sensor() {
        let head = capture_head("openbci-cyton");
        let tape = Tape::begin(Box::new(Full(300)), &head, manual_clock()).unwrap();
        for _ in 0..100 {
            tape.note(|| super::CaptureEvent::Heard(vec![0; 33]));
        }
        assert_eq!(tape.end().unwrap_err().code(), "capture.write");
    }
}
