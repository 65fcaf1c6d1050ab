//! The file that the gateway wrote for this box: who it is, where the gateway is, and the
//! keys of both.
//!
//! It holds the box's secrets, so it must belong to nobody else: mode 0600. It holds no key
//! that opens a stored record. Deliberately absent: making it (`cardio-gateway boxes add`).

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cardio_core::ids::BoxId;
use cardio_wire::keys::{KeyError, RecipientPublicKey, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

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
    /// Certificate of the authority that the gateway's certificate must come from, PEM.
    pub ca_certificate: String,
    /// Our certificate for TLS, PEM.
    pub client_certificate: String,
    /// Its key, PEM.
    pub client_key: Zeroizing<String>,
    /// Signs frames and hello.
    pub signer: SigningKey,
    /// Records are sealed to it.
    pub recipient: RecipientPublicKey,
    /// Checks acknowledgements and commands.
    pub control: VerifyingKey,
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

/// Why the enrolment cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolmentError {
    /// The configuration names no file.
    #[error("the configuration names no enrolment file")]
    NotNamed,
    /// The file cannot be read.
    #[error("cannot read the enrolment {}", path.display())]
    Unreadable {
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
    /// The file is not what the gateway writes.
    #[error("the enrolment {} is not a file that the gateway wrote: {why}", path.display())]
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
            Self::NotNamed => "enrolment.not_named",
            Self::Unreadable { .. } => "enrolment.unreadable",
            Self::Exposed { .. } => "enrolment.exposed",
            Self::Form { .. } => "enrolment.form",
            Self::Key { .. } => "enrolment.key",
        }
    }
}

/// The form of the file that this version reads.
const SCHEMA: &str = "enrolment/1";

/// The file, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    #[serde(rename = "box")]
    site: BoxPart,
    gateway: GatewayPart,
    keys: KeysPart,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoxPart {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayPart {
    endpoint: String,
    server_name: String,
    ca_certificate: String,
    recipient_key: String,
    control_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysPart {
    tls_certificate: String,
    #[serde(deserialize_with = "secret")]
    tls_key: Zeroizing<String>,
    #[serde(deserialize_with = "secret")]
    frame_key: Zeroizing<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl Enrolment {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`EnrolmentError`] says what is wrong, without repeating a secret.
    pub fn load(path: Option<&Path>) -> Result<Self, EnrolmentError> {
        let path = path.ok_or(EnrolmentError::NotNamed)?;
        let unreadable = |source| EnrolmentError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mode = std::fs::metadata(path)
            .map_err(unreadable)?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(EnrolmentError::Exposed { path, mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, EnrolmentError> {
        let form = |why: String| EnrolmentError::Form {
            path: path.to_owned(),
            why,
        };
        // the parser's own words may repeat a line of the file, so only its place is told
        let file: File = toml::from_str(text).map_err(|err| {
            let at = err.span().map_or(0, |span| span.start);
            let line = text.get(..at).map_or(0, |head| head.lines().count());
            form(format!("line {line} is not as expected"))
        })?;
        if file.schema != SCHEMA {
            return Err(form(format!("its schema is not {SCHEMA}")));
        }
        let key = |what| {
            move |source| EnrolmentError::Key {
                path: path.to_owned(),
                what,
                source,
            }
        };
        let decode = |text: &str, what| {
            BASE64
                .decode(text.trim())
                .map(Zeroizing::new)
                .map_err(|_| key(what)(None))
        };
        let frame_key = decode(&file.keys.frame_key, "frame key")?;
        let recipient = decode(&file.gateway.recipient_key, "recipient key")?;
        let control = decode(&file.gateway.control_key, "control key")?;
        Ok(Self {
            id: file
                .site
                .id
                .parse()
                .map_err(|_| form("the box id is not a UUID".to_owned()))?,
            name: file.site.name,
            endpoint: endpoint(&file.gateway.endpoint)
                .ok_or_else(|| form("the endpoint is not host:port".to_owned()))?,
            server_name: file.gateway.server_name,
            ca_certificate: file.gateway.ca_certificate,
            client_certificate: file.keys.tls_certificate,
            client_key: file.keys.tls_key,
            signer: SigningKey::from_pkcs8(&frame_key)
                .map_err(|err| key("frame key")(Some(err)))?,
            recipient: RecipientPublicKey::from_bytes(&recipient)
                .map_err(|err| key("recipient key")(Some(err)))?,
            control: VerifyingKey::from_bytes(&control)
                .map_err(|err| key("control key")(Some(err)))?,
        })
    }
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    Some(Endpoint {
        host: (!host.is_empty()).then(|| host.to_owned())?,
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{BASE64, Engine, Enrolment, EnrolmentError, Path};
    use cardio_wire::keys::SigningKey;
    use std::os::unix::fs::PermissionsExt;

    fn text() -> String {
        let rng = ring::rand::SystemRandom::new();
        let (_, pkcs8) = SigningKey::generate(&rng).unwrap();
        let key = BASE64.encode([9; 32]);
        format!(
            "schema = \"enrolment/1\"\n\
             [box]\nid = \"0198c0de-0000-7000-8000-000000000001\"\nname = \"FR75-012\"\n\
             [gateway]\nendpoint = \"127.0.0.1:8883\"\nserver_name = \"localhost\"\n\
             ca_certificate = \"ca\"\nrecipient_key = \"{key}\"\ncontrol_key = \"{key}\"\n\
             [keys]\ntls_certificate = \"cert\"\ntls_key = \"secret-of-tls\"\nframe_key = \"{}\"\n",
            BASE64.encode(pkcs8.as_slice())
        )
    }

    fn load(text: &str, mode: u32) -> Result<Enrolment, EnrolmentError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("enrolment.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Enrolment::load(Some(&path))
    }

    #[test]
    fn what_the_gateway_wrote_is_read() {
        let enrolment = load(&text(), 0o600).unwrap();
        assert_eq!(enrolment.name, "FR75-012");
        assert_eq!(enrolment.endpoint.to_string(), "127.0.0.1:8883");
        assert_eq!(enrolment.control.0, [9; 32]);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let err = load(&text(), 0o644).unwrap_err();
        assert_eq!(err.code(), "enrolment.exposed");
        assert!(err.to_string().contains("644"), "{err}");
    }

    #[test]
    fn an_error_never_repeats_a_secret() {
        let broken = text().replace("tls_key =", "tls_kee =");
        let err = load(&broken, 0o600).unwrap_err();
        assert_eq!(err.code(), "enrolment.form");
        assert!(!format!("{err} {err:?}").contains("secret-of-tls"));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let broken = text().replace(&BASE64.encode([9; 32]), "AAAA");
        let err = load(&broken, 0o600).unwrap_err();
        assert!(err.to_string().contains("recipient key"), "{err}");
    }

    #[test]
    fn a_missing_file_and_a_missing_name_are_told_apart() {
        let err = Enrolment::load(Some(Path::new("/nowhere/box.toml"))).unwrap_err();
        assert_eq!(err.code(), "enrolment.unreadable");
        assert_eq!(
            Enrolment::load(None).unwrap_err().code(),
            "enrolment.not_named"
        );
    }
}
