//! Why the agent cannot run, or no longer runs.

use std::path::PathBuf;

use cardio_store::OutboxError;
use cardio_wire::keys::KeyError;

use crate::clock::ClockError;
use crate::control::ControlError;
use crate::enrolment::EnrolmentError;
use crate::import::ImportError;
use crate::tls::TlsError;

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The clock.
    #[error("cannot use the system's clock")]
    Clock(#[source] ClockError),
    /// The enrolment.
    #[error("this box is not enrolled")]
    Enrolment(#[source] EnrolmentError),
    /// The certificates in it.
    #[error("the enrolment cannot be used to connect")]
    Tls(#[source] TlsError),
    /// The outbox.
    #[error("cannot open the outbox")]
    Outbox(#[source] OutboxError),
    /// The control socket.
    #[error("cannot be asked for status")]
    Control(#[source] ControlError),
    /// The state directory.
    #[error("cannot make the state directory {}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Threads or signals of the process.
    #[error("cannot {act}")]
    Process {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The import of files.
    #[error("cannot import files")]
    Import(#[source] ImportError),
    /// No key for the visits of the day could be made.
    #[error("cannot make the key that visits are sealed to")]
    Visits(#[source] KeyError),
    /// The gateway no longer trusts this box.
    #[error("the gateway has revoked this box")]
    Revoked,
    /// The radio cannot be had again by this process; the next one goes on with what runs.
    #[error("the connection to the system bus is lost, and with it the radio")]
    BusLost,
}

impl RunError {
    /// Stable identifier for logs and `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Clock(err) => err.code(),
            Self::Enrolment(err) => err.code(),
            Self::Tls(err) => err.code(),
            Self::Outbox(err) => err.code(),
            Self::Control(err) => err.code(),
            Self::State { .. } => "state.directory",
            Self::Process { .. } => "process",
            Self::Import(err) => err.code(),
            Self::Visits(err) => err.code(),
            Self::Revoked => "uplink.revoked",
            Self::BusLost => "ble.bus_lost",
        }
    }
}

pub(super) fn process(act: &'static str) -> impl Fn(std::io::Error) -> RunError {
    move |source| RunError::Process { act, source }
}
