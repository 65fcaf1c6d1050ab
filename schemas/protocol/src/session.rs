//! Conversations with a device as state machines that do no IO.
//!
//! The box side is a [`Session`]: it says what to send and when the device streams. The
//! device side is a [`Peripheral`]: it answers commands as the real firmware does. Time is
//! an argument; whoever owns the port calls [`Session::on_tick`] at least every 100 ms.

use std::time::Duration;

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;

/// How long to wait for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTiming {
    /// For an answer to a command.
    pub answer: Duration,
    /// For the first frame after the start command.
    pub first_frame: Duration,
    /// How often a command without an answer is sent before the device is given up.
    pub tries: u32,
}

impl Default for SessionTiming {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(2),
            first_frame: Duration::from_secs(2),
            tries: 3,
        }
    }
}

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing was sent yet, or the device was stopped.
    Idle,
    /// Commands are under way.
    Starting,
    /// Frames arrive.
    Streaming,
    /// The device did not do as it should.
    Failed(SessionError),
}

/// Why a conversation cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No answer to a command.
    #[error("the device did not answer {command} after {tries} tries")]
    NoAnswer {
        /// The command, as the device's description calls it.
        command: &'static str,
        /// How often it was sent.
        tries: u32,
    },
    /// The device answers commands but sends no samples.
    #[error("the device accepted {command} but sent no frame after {tries} tries")]
    NoStream {
        /// The command, as the device's description calls it.
        command: &'static str,
        /// How often it was sent.
        tries: u32,
    },
    /// The device refuses a command.
    #[error("the device refused {command} with status {status}")]
    Refused {
        /// The command, as the device's description calls it.
        command: &'static str,
        /// The status, as the device gives it.
        status: u16,
    },
}

impl SessionError {
    /// Stable identifier for logs, metrics and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "session.no_answer",
            Self::NoStream { .. } => "session.no_stream",
            Self::Refused { .. } => "session.refused",
        }
    }

    /// Whether starting again can help without a person.
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// The box's side of a conversation on a byte stream. Every method returns the bytes to
/// send now, often none.
pub trait Session: Send {
    /// Begins: brings a device of unknown state to streaming.
    fn start(&mut self, now: BoxInstant) -> Vec<u8>;

    /// Takes note of what the decoder saw.
    fn on_event(&mut self, event: &DecoderEvent, now: BoxInstant) -> Vec<u8>;

    /// Lets time pass.
    fn on_tick(&mut self, now: BoxInstant) -> Vec<u8>;

    /// Ends: the device shall be quiet.
    fn stop(&mut self) -> Vec<u8>;

    /// Where the conversation stands.
    fn state(&self) -> SessionState;

    /// When the command went out without which nothing of the present stream would have been
    /// taken. `None` where the device may have streamed before it was asked.
    fn asked_at(&self) -> Option<BoxInstant> {
        None
    }

    /// Firmware version, once the device has named it.
    fn firmware(&self) -> Option<&str> {
        None
    }
}

/// The device's side of a conversation on a byte stream.
pub trait Peripheral: Send {
    /// Takes bytes from the host, appends the answers to `out` and the names of the commands
    /// that were understood to `commands`.
    fn on_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>, commands: &mut Vec<&'static str>);

    /// Takes bytes from the host that the firmware does not obey, and appends its refusals to
    /// `out`. Nothing for a device that has no word for it.
    fn refuse(&mut self, _bytes: &[u8], _out: &mut Vec<u8>) {}

    /// Whether samples are to be sent.
    fn is_streaming(&self) -> bool;

    /// The device is switched off and on.
    fn power_cycle(&mut self);
}

/// Whether `limit` has passed since `since`. Instants of different boots have no distance:
/// then the wait is over.
pub(crate) fn has_passed(since: BoxInstant, now: BoxInstant, limit: Duration) -> bool {
    now.micros_since(&since)
        .is_none_or(|waited| u128::from(waited) >= limit.as_micros())
}
