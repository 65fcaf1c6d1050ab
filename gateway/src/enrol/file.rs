//! Enrolment by file: everything a box needs, made here, kept there.
//!
//! For sites and rigs without a network at that moment. The file holds the box's secrets; the
//! gateway stores public parts only and forgets the rest. Where it can be, a box is enrolled
//! over the network instead ([`super::desk`]): its secrets then never leave it.

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

use super::{Meeting, check_name};
use crate::boxes::KnownBox;
use crate::inbox::{EnrolError, NewBox};
use crate::keys::{GatewayKeys, KeyError, write_private};

/// The form of the file.
pub const SCHEMA: &str = "enrolment/1";

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
    renewal: &'a str,
    ca_certificate: &'a str,
    renewal_ca_certificate: &'a str,
    recipient_key: String,
    control_key: String,
    next_control_key: String,
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
    check_name(name).map_err(FileError::Name)?;
    let id = BoxId(uuid::Uuid::new_v4().into_bytes());
    let keys_failed = |source| FileError::Keys {
        name: name.to_owned(),
        source,
    };
    let trusted = keys.trusted().map_err(keys_failed)?;
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
            renewal: &meeting.renewal,
            ca_certificate: &meeting.ca_pem,
            renewal_ca_certificate: keys.ca_pem(),
            recipient_key: STANDARD.encode(trusted.recipient.0),
            control_key: STANDARD.encode(trusted.control.0),
            next_control_key: STANDARD.encode(trusted.control_next.0),
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

#[cfg(test)]
mod tests {
    use super::{GatewayKeys, Meeting, SCHEMA, make, write};
    use crate::config::Config;
    use cardio_core::clock::UtcMicros;
    use cardio_wire::keys::SigningKey;
    use std::os::unix::fs::PermissionsExt as _;

    const LIFE: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);
    const NOW: UtcMicros = UtcMicros(1_790_000_000_000_000);

    fn here(keys: &GatewayKeys) -> Meeting {
        let config = Config::from_toml("", "test").unwrap();
        let here = "127.0.0.1:8883".parse().unwrap();
        Meeting::of(&config, keys, Some(here), here).unwrap()
    }

    #[test]
    fn the_file_holds_the_secrets_that_fit_the_stored_public_parts() {
        use base64::Engine as _;
        let dir = tempfile::tempdir().unwrap();
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), LIFE, NOW).unwrap();
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
        let keys = GatewayKeys::open_or_create(&dir.path().join("keys"), LIFE, NOW).unwrap();
        for bad in ["", "a/b", "a b", "é"] {
            let err = make(&keys, bad, &here(&keys), NOW).unwrap_err();
            assert_eq!(err.code(), "boxes.name.bad", "{bad}");
        }
    }
}
