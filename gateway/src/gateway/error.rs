//! Why the program cannot run, with what and where.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::broker::BrokerError;
use crate::config::ConfigError;
use crate::db::DbError;
use crate::delivery::DeliveryError;
use crate::keys::KeyError;
use crate::outgoing::OutgoingError;
use crate::tls::TlsError;

/// Why the program cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("cannot use the state directory {}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another program holds the state directory.
    #[error("another cardio-gateway runs on the state directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A backup was being restored and half of it is in place.
    #[error("restoring a backup into {} was cut short", path.display())]
    HalfRestored {
        /// The directory.
        path: PathBuf,
    },
    /// An address is taken.
    #[error("cannot listen on {address} for {what}: the port is already taken")]
    PortTaken {
        /// What for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {what}")]
    Listen {
        /// What for.
        what: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The keys cannot be used.
    #[error("the keys of this gateway cannot be used")]
    Keys(#[source] KeyError),
    /// TLS cannot be offered.
    #[error("TLS cannot be offered")]
    Tls(#[source] TlsError),
    /// The configuration names what cannot be used.
    #[error("the store cannot be used")]
    Config(#[source] ConfigError),
    /// A database cannot be used.
    #[error("the {what} cannot be used")]
    Store {
        /// Which one.
        what: &'static str,
        /// Why.
        source: DbError,
    },
    /// The broker's settings cannot be used.
    #[error("the broker cannot be used")]
    Broker(#[source] BrokerError),
    /// The alert rules cannot be used.
    #[error("the alert rules{} cannot be used", of(path.as_deref()))]
    Rules {
        /// The file, or `None` for the built-in ones.
        path: Option<PathBuf>,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The duty roster cannot be used.
    #[error("the duty roster {} cannot be used", path.display())]
    Duty {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Alerts cannot be delivered.
    #[error("alerts cannot be delivered")]
    Delivery(#[source] DeliveryError),
    /// Another FHIR server cannot be pushed to.
    #[error("another FHIR server cannot be pushed to")]
    Push(#[source] OutgoingError),
    /// The OpenID provider cannot be used.
    #[error("the OpenID provider cannot be used")]
    OpenId(#[source] OutgoingError),
    /// The ready file cannot be written.
    #[error("cannot write the ready file {}", path.display())]
    Ready {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn of(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!(" of {}", path.display()))
}

impl RunError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::State { .. } => "state.unusable",
            Self::InUse { .. } => "state.in-use",
            Self::HalfRestored { .. } => "state.half-restored",
            Self::PortTaken { .. } => "listen.taken",
            Self::Listen { .. } => "listen.refused",
            Self::Keys(error) => error.code(),
            Self::Tls(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Store { source, .. } => source.code(),
            Self::Broker(error) => error.code(),
            Self::Rules { .. } => "alerts.rules",
            Self::Duty { .. } => "alerts.duty",
            Self::Delivery(error) => error.code(),
            Self::Push(error) | Self::OpenId(error) => error.code(),
            Self::Ready { .. } => "ready.unwritable",
        }
    }
}
