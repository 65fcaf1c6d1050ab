//! The way to the gateway: frames go up until the gateway's signed acknowledgement says that
//! they are durably stored.
//!
//! - On each connection: hello, wait for acknowledgements, go on after the last one.
//! - `cardio_wire::link` decides what is sent next; [`session`] carries it out.
//! - Only a verified acknowledgement that the outbox accepts counts as filed. What the broker
//!   or listener says of its own (PUBACK) deletes nothing: it tells that a frame is no longer
//!   in the way of an alert.
//!
//! [`Uplink`] hides the MQTT client; only [`mqtt`] knows it.

pub mod commands;
mod gateway_time;
pub mod mqtt;
pub mod session;
pub mod shelf;

use std::future::Future;

use cardio_core::clock::UtcMicros;
use cardio_wire::lane::Lane;
use tokio::sync::mpsc;

/// A way to connect to the gateway.
pub trait Uplink: Send {
    /// Connects, and subscribes to what the gateway says to this box.
    ///
    /// # Errors
    /// [`UplinkError`] when the gateway cannot be reached or does not accept this box.
    fn connect(&mut self) -> impl Future<Output = Result<Link, UplinkError>> + Send;

    /// Says farewell on the last link, which was dropped.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// An open connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Link {
    /// Takes what is to be published; has room for few, so that the order stays ours.
    pub publish: mpsc::Sender<Outgoing>,
    /// Tells what happens.
    pub events: mpsc::Receiver<LinkEvent>,
    /// When the certificate that it was opened with ends.
    pub certificate_until: UtcMicros,
}

/// Something to publish at QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
    /// The frame that it is: its delivery is told as [`LinkEvent::Delivered`].
    pub frame: Option<(Lane, u64)>,
}

/// What happens on a connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// The gateway said something to this box.
    Message {
        /// Where it was published.
        topic: String,
        /// What was said.
        payload: Vec<u8>,
    },
    /// The other side has taken a frame over (PUBACK). Not an acknowledgement.
    Delivered {
        /// Its lane.
        lane: Lane,
        /// Its place in the lane's chain.
        seq: u64,
    },
    /// The connection is over.
    Lost(UplinkError),
}

/// Why the gateway is not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// The address does not answer.
    #[error("the gateway at {endpoint} does not answer")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The gateway's certificate, or ours, is not accepted.
    #[error("no trusted connection to the gateway at {endpoint}")]
    Untrusted {
        /// Where it should be.
        endpoint: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The gateway refuses this box.
    #[error("the gateway at {endpoint} refuses this box: {reason}")]
    Refused {
        /// Where it is.
        endpoint: String,
        /// What it gave as a reason.
        reason: String,
    },
    /// The gateway did not accept within the time limit.
    #[error("the gateway at {endpoint} did not accept within {limit_s} s")]
    Slow {
        /// Where it is.
        endpoint: String,
        /// The limit.
        limit_s: u64,
    },
    /// Nothing was heard although the gateway had much to answer.
    #[error("nothing was heard from the gateway for {limit_s} s")]
    Silent {
        /// The limit.
        limit_s: u64,
    },
    /// The connection ended.
    #[error("the connection to the gateway ended")]
    Ended {
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection was closed from this side.
    #[error("the connection to the gateway was closed")]
    Closed,
}

impl UplinkError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "uplink.unreachable",
            Self::Untrusted { .. } => "uplink.untrusted",
            Self::Refused { .. } => "uplink.refused",
            Self::Slow { .. } => "uplink.slow",
            Self::Silent { .. } => "uplink.silent",
            Self::Ended { .. } => "uplink.ended",
            Self::Closed => "uplink.closed",
        }
    }
}
