//! Enrolment by file: everything a box needs, made here, kept there.
//!
//! The file holds the box's secrets; the gateway stores public parts only and forgets the
//! rest. Deliberately absent: enrolment over the network with a claim code.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::keys::SigningKey;
use cardio_wire::topic::Topic;
use ring::rand::SystemRandom;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::boxes::KnownBox;
use crate::broker::{self, BrokerError};
use crate::config::Config;
use crate::inbox::{EnrolError, NewBox};
use crate::keys::{GatewayKeys, KeyError, write_private};

/// The form of the file.
pub const SCHEMA: &str = "enrolment/1";
const NAME_MAX_BYTES: usize = 64;

#[derive(Serialize)]
struct File<'a> {
    schema: &'static str,
    r#box: BoxPart<'a>,
    gateway: GatewayPart<'a>,
    keys: KeysPart<'a>,
}

#[derive(Serialize)]
struct BoxPart<'a> {
    id: String,
    name: &'a str,
}

#[derive(Serialize)]
struct GatewayPart<'a> {
    endpoint: &'a str,
    server_name: &'a str,
    ca_certificate: &'a str,
    recipient_key: String,
    control_key: String,
}

#[derive(Serialize)]
struct KeysPart<'a> {
    tls_certificate: &'a str,
    tls_key: &'a str,
    frame_key: &'a str,
}

/// Why an enrolment file could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A key or certificate could not be made, or the file not be written.
    #[error("the enrolment file of {name} cannot be made")]
    Keys {
        /// The box.
        name: String,
        /// What went wrong.
        source: KeyError,
    },
    /// The name cannot be used.
    #[error("the box cannot be named so")]
    Name(#[source] EnrolError),
    /// The parts do not form a file.
    #[error("the enrolment file of {name} cannot be written as TOML")]
    Form {
        /// The box.
        name: String,
        /// What the library said.
        source: toml::ser::Error,
    },
    /// The random generator failed.
    #[error("the system gives no random bytes for the keys of {name}")]
    NoRandomness {
        /// The box.
        name: String,
    },
}

impl FileError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Keys { source, .. } => source.code(),
            Self::Name(error) => error.code(),
            Self::Form { .. } => "enrol.form",
            Self::NoRandomness { .. } => "enrol.randomness",
        }
    }
}

/// A box that was made: what to store, and the text of its file.
#[derive(Debug)]
pub struct Enrolment {
    /// Public parts, to store.
    pub new: NewBox,
    /// The text of the file. Holds secrets.
    pub file: Zeroizing<String>,
}

/// Where boxes connect, and what they trust there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Host and port.
    pub endpoint: String,
    /// The name that the certificate there bears.
    pub server_name: String,
    /// Certificate of the authority that it comes from, PEM.
    pub ca_pem: String,
}

impl Meeting {
    /// At the external broker if there is one; at this gateway, which listens on `listening`,
    /// otherwise.
    ///
    /// # Errors
    /// [`BrokerError`] when the certificate of the broker's authority cannot be read.
    pub fn of(
        config: &Config,
        keys: &GatewayKeys,
        listening: SocketAddr,
    ) -> Result<Self, BrokerError> {
        if let Some(broker) = &config.broker {
            return Ok(Self {
                endpoint: broker.address.to_string(),
                server_name: broker.server_name().to_owned(),
                ca_pem: broker::authority(broker, keys)?,
            });
        }
        let endpoint = config.mqtt.endpoint.clone();
        Ok(Self {
            endpoint: endpoint.unwrap_or_else(|| listening.to_string()),
            server_name: config.names.first().cloned().unwrap_or_default(),
            ca_pem: keys.ca_pem().to_owned(),
        })
    }

    /// At another address, under the same name.
    #[must_use]
    pub fn moved_to(self, endpoint: Option<String>) -> Self {
        Self {
            endpoint: endpoint.unwrap_or(self.endpoint),
            ..self
        }
    }
}

/// Makes a new box named `name` that will connect at `meeting`.
///
/// # Errors
/// [`FileError`] when the name cannot be used or keys cannot be made.
pub fn make(
    keys: &GatewayKeys,
    name: &str,
    meeting: &Meeting,
    now: UtcMicros,
) -> Result<Enrolment, FileError> {
    check_name(name)?;
    let id = BoxId(uuid::Uuid::new_v4().into_bytes());
    let keys_failed = |source| FileError::Keys {
        name: name.to_owned(),
        source,
    };
    let issued = keys
        .issue_box(&Topic::box_name(id), now)
        .map_err(keys_failed)?;
    let (frame_key, pkcs8) =
        SigningKey::generate(&SystemRandom::new()).map_err(|_| FileError::NoRandomness {
            name: name.to_owned(),
        })?;
    let frame_key_text = Zeroizing::new(STANDARD.encode(pkcs8.as_slice()));
    let file = toml::to_string(&File {
        schema: SCHEMA,
        r#box: BoxPart {
            id: id.to_string(),
            name,
        },
        gateway: GatewayPart {
            endpoint: &meeting.endpoint,
            server_name: &meeting.server_name,
            ca_certificate: &meeting.ca_pem,
            recipient_key: STANDARD.encode(keys.recipient.public().0),
            control_key: STANDARD.encode(keys.control.public()),
        },
        keys: KeysPart {
            tls_certificate: &issued.certificate_pem,
            tls_key: &issued.key_pem,
            frame_key: &frame_key_text,
        },
    })
    .map_err(|source| FileError::Form {
        name: name.to_owned(),
        source,
    })?;
    Ok(Enrolment {
        new: NewBox {
            known: KnownBox {
                id,
                name: name.to_owned(),
                frame_key: frame_key.verifying_key(),
                cert_key_hash: issued.key_hash,
            },
            at: now,
        },
        file: Zeroizing::new(file),
    })
}

/// Writes an enrolment file that only its owner may read.
///
/// # Errors
/// [`FileError::Keys`] when the file exists or cannot be written.
pub fn write(path: &Path, name: &str, enrolment: &Enrolment) -> Result<(), FileError> {
    write_private(path, enrolment.file.as_bytes()).map_err(|source| FileError::Keys {
        name: name.to_owned(),
        source,
    })
}

fn check_name(name: &str) -> Result<(), FileError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(allowed) {
        return Err(FileError::Name(EnrolError::BadName {
            name: name.to_owned(),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Config, GatewayKeys, Meeting, SCHEMA, make, write};
    use cardio_core::clock::UtcMicros;
    use cardio_wire::keys::SigningKey;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: UtcMicros = UtcMicros(1_790_000_000_000_000);

    fn meeting(text: &str, keys: &GatewayKeys) -> Meeting {
        let config = Config::from_toml(text, "test").unwrap();
        Meeting::of(&config, keys, "127.0.0.1:8883".parse().unwrap()).unwrap()
    }

    fn here(keys: &GatewayKeys) -> Meeting {
        meeting("", keys)
    }

    #[test]
    fn a_box_is_told_of_the_broker_and_its_authority_when_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), NOW).unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "another authority").unwrap();
        let text = format!(
            "[broker]\naddress = \"10.0.0.5:8884\"\nname = \"b.example\"\nca = \"{}\"",
            ca.display()
        );
        let there = meeting(&text, &keys);
        assert_eq!(
            (there.endpoint.as_str(), there.server_name.as_str()),
            ("10.0.0.5:8884", "b.example")
        );
        assert_eq!(there.ca_pem, "another authority");
        assert_eq!(here(&keys).ca_pem, keys.ca_pem());
        let moved = there.moved_to(Some("c.example:1".to_owned()));
        assert_eq!(moved.endpoint, "c.example:1");
        assert_eq!(moved.server_name, "b.example");
    }

    #[test]
    fn the_file_holds_the_secrets_that_fit_the_stored_public_parts() {
        use base64::Engine as _;
        let dir = tempfile::tempdir().unwrap();
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), NOW).unwrap();
        let made = make(&keys, "FR75-012", &here(&keys), NOW).unwrap();
        let file: toml::Value = toml::from_str(&made.file).unwrap();
        assert_eq!(file["schema"].as_str(), Some(SCHEMA));
        assert_eq!(
            file["box"]["id"].as_str(),
            Some(made.new.known.id.to_string().as_str())
        );
        let pkcs8 = base64::engine::general_purpose::STANDARD
            .decode(file["keys"]["frame_key"].as_str().unwrap())
            .unwrap();
        assert_eq!(
            SigningKey::from_pkcs8(&pkcs8).unwrap().verifying_key().0,
            made.new.known.frame_key.0
        );
        let path = dir.path().join("box.toml");
        write(&path, "FR75-012", &made).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(write(&path, "FR75-012", &made).is_err(), "written over");
    }

    #[test]
    fn a_name_that_could_trip_a_path_or_a_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), NOW).unwrap();
        for bad in ["", "a/b", "a b", "é"] {
            let err = make(&keys, bad, &here(&keys), NOW).unwrap_err();
            assert_eq!(err.code(), "boxes.name.bad", "{bad}");
        }
    }
}
