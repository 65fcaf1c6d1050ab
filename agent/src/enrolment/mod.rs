//! Who this box is, where its gateway is, and the keys of both: one file, mode 0600.
//!
//! - The file is made by the gateway (`cardio-gateway boxes add`) or by the box itself
//!   (`cardio-agent enrol`, [`request`]).
//! - It holds the box's secrets, and no key that opens a stored record.
//! - What changes in a box's life is changed here and nowhere else: the gateway's keys, the
//!   number of its last command, the box's certificate. A change replaces the file as a
//!   whole ([`file`]): after a power cut it is the old one or the new one.
//!
//! Deliberately absent: who decides on a change ([`crate::uplink`], [`crate::renewal`]).

pub mod file;
pub mod gate;
pub mod request;

use std::path::PathBuf;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::{KeyError, SigningKey, TrustedKeys};
use zeroize::Zeroizing;

pub use file::EnrolmentFile;

/// What the file says, its keys read.
#[derive(Debug)]
pub struct Enrolment {
    /// The box.
    pub id: BoxId,
    /// What people call it.
    pub name: String,
    /// Host and port of the gateway.
    pub endpoint: Endpoint,
    /// The name that the gateway's certificate must bear.
    pub server_name: String,
    /// Where certificates are renewed, if anywhere.
    pub renewal: Option<Endpoint>,
    /// Certificate of the authority that the gateway has there, PEM.
    pub renewal_ca: String,
    /// Certificate of the authority that the gateway's certificate must come from, PEM.
    pub ca_certificate: String,
    /// Our certificate for TLS, PEM.
    pub client_certificate: String,
    /// From when to when it holds.
    pub certificate_life: (UtcMicros, UtcMicros),
    /// Its key, PEM.
    pub client_key: Zeroizing<String>,
    /// Signs frames and hello.
    pub signer: SigningKey,
    /// The gateway's keys.
    pub trusted: TrustedKeys,
    /// The number of the last command that was carried out.
    pub last_command: u64,
}

/// Where the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError)?;
        match (host, port.parse()) {
            ("", _) | (_, Err(_)) => Err(EndpointError),
            (host, Ok(port)) => Ok(Self {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

/// A text is no address of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address is HOST:PORT")]
pub struct EndpointError;

/// Why the enrolment cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The file cannot be read.
    #[error("cannot read the enrolment {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be replaced.
    #[error("cannot replace the enrolment {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("the enrolment {} may be read by others: its mode is {mode:o}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not an enrolment.
    #[error("{} is not an enrolment of a box: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong. Never the text itself.
        why: String,
    },
    /// A key in it is none.
    #[error("the enrolment {} holds no usable {what}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Which key.
        what: &'static str,
        /// What is wrong with it, if it could be decoded at all.
        source: Option<KeyError>,
    },
}

impl EnrolmentError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "enrolment.unreadable",
            Self::Unwritable { .. } => "enrolment.unwritable",
            Self::Exposed { .. } => "enrolment.exposed",
            Self::Form { .. } => "enrolment.form",
            Self::Key { .. } => "enrolment.key",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let endpoint: Endpoint = "gateway.example:8883".parse().unwrap();
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port),
            ("gateway.example", 8883)
        );
        for wrong in ["gateway.example", ":8883", "gateway:port", "gateway:70000"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
