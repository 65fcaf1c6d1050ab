//! What an operator sets: one TOML file, read once at start.
//!
//! Unknown keys are errors that name the nearest known key. Deliberately absent: secrets;
//! they live in the key folder below the state directory and are never written here.

mod access;
mod broker;
mod delivery;
mod listen;
mod mssante;
mod openid;
mod push;
mod store;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::Deserialize;

use crate::db::Place;

pub use access::AccessConfig;
pub use broker::{Address, AddressError, BrokerConfig};
pub use delivery::{DeliveryConfig, MailConfig, WebhookConfig};
pub use listen::{Listen, ListenError};
pub use mssante::{Code, MssanteConfig};
pub(crate) use openid::is_address;
pub use openid::{BACK, BearerConfig, GrantConfig, OpenIdConfig};
pub use push::PushConfig;
pub use store::{RetentionConfig, StoreConfig};
pub use units::{Size, Span, UnitError};

/// The commented default configuration, as `config default` prints it.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of keys, inbox and record.
    pub state: PathBuf,
    /// Names under which boxes and readers reach this gateway, for its certificate.
    pub names: Vec<String>,
    /// Where inbox and record are kept.
    pub store: StoreConfig,
    /// How long sealed frames stay.
    pub retention: RetentionConfig,
    /// The listener for boxes.
    pub mqtt: MqttConfig,
    /// An external broker that boxes connect to.
    pub broker: Option<BrokerConfig>,
    /// The listener for readers of the record.
    pub https: HttpsConfig,
    /// Streams of what changes.
    pub events: EventsConfig,
    /// Accounts of people and programs.
    pub access: AccessConfig,
    /// Enrolment and renewal of certificates over the network.
    pub enrol: EnrolConfig,
    /// Alert rules.
    pub alerts: AlertsConfig,
    /// How alerts travel to people.
    #[serde(default)]
    pub delivery: DeliveryConfig,
    /// Other FHIR servers that hold the record too.
    #[serde(default)]
    pub push: Vec<PushConfig>,
    /// How reports are sent by secure health mail, if they are.
    pub mssante: Option<MssanteConfig>,
    /// Log output.
    pub log: LogConfig,
}

/// The MQTT listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// Address to listen on; off where all boxes come through a broker.
    pub listen: Listen,
    /// Address that boxes are told, `host:port`; the listening address when absent.
    pub endpoint: Option<String>,
    /// Boxes connected at once.
    pub connections: usize,
    /// Frames that may wait for the disk, over all boxes.
    pub queue: usize,
    /// Frames per second and box above which reading is slowed down.
    pub frames_per_s: u32,
    /// Longest time for TLS and CONNECT together.
    pub handshake: Span,
    /// How long an acknowledgement outside the alert lane may wait for more frames.
    pub ack_wait: Span,
    /// Frames after which such an acknowledgement goes at once.
    pub ack_frames: u64,
}

/// The HTTPS listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpsConfig {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Readers connected at once.
    pub connections: usize,
    /// Longest time for one answer.
    pub timeout: Span,
    /// Largest request body.
    pub body_limit: Size,
    /// Largest recording that is uploaded.
    pub upload_limit: Size,
    /// Longest time for one upload.
    pub upload_timeout: Span,
    /// Uploads at once; each is held in memory.
    pub uploads: usize,
    /// Resources on a page when the reader does not say.
    pub page: u32,
    /// Most resources on a page.
    pub page_max: u32,
}

/// Streams of what changes, for readers of the record.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsConfig {
    /// Streams of one account at once.
    pub streams: usize,
    /// How often a stream says that it is alive.
    pub heartbeat: Span,
}

/// The listener for boxes that enrol or renew their certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolConfig {
    /// Address to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Address that boxes are told, `host:port`; the listening address when absent.
    pub endpoint: Option<String>,
    /// Connections at once.
    pub connections: usize,
    /// Requests to enrol per minute, over all boxes, above which they are turned away.
    pub requests_per_min: u32,
    /// How long an invitation holds, and a request waits to be confirmed.
    pub invitation: Span,
    /// How long the certificate of a box holds. It is renewed after two thirds of that.
    pub certificate: Span,
}

/// Alert rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsConfig {
    /// File of rules; the built-in rules when absent.
    pub rules: Option<PathBuf>,
    /// The duty as a whole, as a FHIR reference.
    pub recipient: String,
    /// File of the duty roster; nobody is told when absent.
    pub duty: Option<PathBuf>,
}

/// Log output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// Least severe level that is written: error, warn, info, debug or trace.
    pub level: String,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON document per line.
    Json,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is not known.
    #[error("the configuration {origin} has an unknown key `{key}`{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Where the text came from.
        origin: String,
        /// The key, with its section.
        key: String,
        /// The known key nearest to it.
        nearest: Option<String>,
    },
    /// A value is missing or of the wrong kind.
    #[error("the configuration {origin} cannot be used{}: {why}", at_key(key))]
    BadValue {
        /// Where the text came from.
        origin: String,
        /// The key, with its section; empty when the text is not TOML.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A value is of the right kind but impossible.
    #[error("the configuration sets `{key}` to {value}, but {why}")]
    Impossible {
        /// The key, with its section.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong.
        why: &'static str,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |known| format!("; did you mean `{known}`?"))
}

fn at_key(key: &str) -> String {
    if key.is_empty() {
        String::new()
    } else {
        format!(" at `{key}`")
    }
}

impl ConfigError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config.unreadable",
            Self::UnknownKey { .. } => "config.key.unknown",
            Self::BadValue { .. } => "config.value.bad",
            Self::Impossible { .. } => "config.value.impossible",
        }
    }
}

impl Config {
    /// Reads a file over the defaults, or the defaults alone.
    ///
    /// # Errors
    /// [`ConfigError`] names the key at fault.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Self::from_toml("", "(built in)");
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text, &path.display().to_string())
    }

    /// Reads a text over the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] names the key at fault.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let config: Self = Figment::new()
            .merge(Toml::string(DEFAULT_TOML))
            .merge(Toml::string(text))
            .extract()
            .map_err(|error| classify(error, origin))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("mqtt.connections", self.mqtt.connections == 0),
            ("mqtt.queue", self.mqtt.queue == 0),
            ("mqtt.frames_per_s", self.mqtt.frames_per_s == 0),
            ("mqtt.ack_frames", self.mqtt.ack_frames == 0),
            ("https.connections", self.https.connections == 0),
            ("events.streams", self.events.streams == 0),
            ("https.page", self.https.page == 0),
            ("https.page_max", self.https.page_max == 0),
            ("access.requests_per_s", self.access.requests_per_s == 0),
            ("enrol.connections", self.enrol.connections == 0),
            ("enrol.requests_per_min", self.enrol.requests_per_min == 0),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Impossible {
                key,
                value: "0".to_owned(),
                why: "at least 1 is needed",
            });
        }
        let broker = self.broker.as_ref().and_then(BrokerConfig::impossible);
        let openid = self.access.openid.as_ref();
        let impossible = broker
            .or_else(|| PushConfig::impossible_together(&self.push))
            .or_else(|| openid.and_then(OpenIdConfig::impossible));
        if let Some((key, value, why)) = impossible {
            return Err(ConfigError::Impossible { key, value, why });
        }
        if self.mqtt.listen == Listen::Off && self.broker.is_none() {
            return Err(ConfigError::Impossible {
                key: "mqtt.listen",
                value: "\"off\"".to_owned(),
                why: "then no box can reach this gateway: listen, or name a broker in [broker]",
            });
        }
        if self.names.is_empty() {
            return Err(ConfigError::Impossible {
                key: "names",
                value: "[]".to_owned(),
                why: "the certificate needs at least one name",
            });
        }
        for (key, span) in [
            ("mqtt.handshake", self.mqtt.handshake),
            ("https.timeout", self.https.timeout),
            ("events.heartbeat", self.events.heartbeat),
        ] {
            if span.0 < Duration::from_millis(100) {
                return Err(ConfigError::Impossible {
                    key,
                    value: format!("{} ms", span.0.as_millis()),
                    why: "nobody can answer that fast; use at least 100ms",
                });
            }
        }
        for (key, span) in [
            ("access.idle", self.access.idle),
            ("access.longest", self.access.longest),
            ("enrol.invitation", self.enrol.invitation),
            ("enrol.certificate", self.enrol.certificate),
        ] {
            if span.0 < Duration::from_secs(10) || span.0 > Duration::from_secs(400 * 86_400) {
                return Err(ConfigError::Impossible {
                    key,
                    value: format!("{} s", span.0.as_secs()),
                    why: "it must lie between 10s and 400d",
                });
            }
        }
        Ok(())
    }

    /// Where the keys are.
    pub fn key_folder(&self) -> PathBuf {
        self.state.join("keys")
    }

    /// Where the inbox is.
    ///
    /// # Errors
    /// [`ConfigError`] when a server is named that cannot be used.
    pub fn inbox_place(&self) -> Result<Place, ConfigError> {
        self.store.place(&self.state.join("inbox.sqlite"))
    }

    /// Where the invitations of boxes are.
    ///
    /// # Errors
    /// [`ConfigError`] when a server is named that cannot be used.
    pub fn desk_place(&self) -> Result<Place, ConfigError> {
        self.store.place(&self.state.join("enrol.sqlite"))
    }

    /// Where accounts and the trace of who did what are.
    ///
    /// # Errors
    /// [`ConfigError`] when a server is named that cannot be used.
    pub fn access_place(&self) -> Result<Place, ConfigError> {
        self.store.place(&self.state.join("access.sqlite"))
    }

    /// Where the patient record is.
    ///
    /// # Errors
    /// [`ConfigError`] when a server is named that cannot be used.
    pub fn record_place(&self) -> Result<Place, ConfigError> {
        self.store.place(&self.state.join("record.sqlite"))
    }

    /// Where the running program listens for its own command line.
    pub fn control_socket(&self) -> PathBuf {
        self.state.join("control.sock")
    }
}

fn classify(error: figment::Error, origin: &str) -> ConfigError {
    let mut path = error.path.clone();
    if let figment::error::Kind::UnknownField(field, known) = &error.kind {
        if path.last() != Some(field) {
            path.push(field.clone());
        }
        return ConfigError::UnknownKey {
            origin: origin.to_owned(),
            key: path.join("."),
            nearest: nearest(field, known),
        };
    }
    ConfigError::BadValue {
        origin: origin.to_owned(),
        key: path.join("."),
        why: error.kind.to_string(),
    }
}

fn nearest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3 + 1)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, LogFormat};

    #[test]
    fn the_printed_default_is_the_default() {
        let config = Config::from_toml("", "test").unwrap();
        assert_eq!(config.log.format, LogFormat::Text);
        assert_eq!(config.mqtt.ack_frames, 32);
        assert_eq!(config.mqtt.ack_wait.0.as_millis(), 200);
    }

    #[test]
    fn a_misspelt_key_is_named_and_the_right_one_suggested() {
        let err = Config::from_toml("[mqtt]\nlistn = \"127.0.0.1:0\"", "a.toml").unwrap_err();
        assert_eq!(err.code(), "config.key.unknown");
        assert_eq!(
            err.to_string(),
            "the configuration a.toml has an unknown key `mqtt.listn`; did you mean `listen`?"
        );
    }

    #[test]
    fn a_wrong_unit_names_the_key_and_the_units() {
        let err = Config::from_toml("[mqtt]\nack_wait = \"3 moons\"", "a.toml").unwrap_err();
        assert!(matches!(&err, ConfigError::BadValue { key, .. } if key == "mqtt.ack_wait"));
        assert!(err.to_string().contains("ms, s, min"), "{err}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let err = Config::load(Some(std::path::Path::new("/no/such/file.toml"))).unwrap_err();
        assert!(err.to_string().contains("/no/such/file.toml"));
    }

    #[test]
    fn an_impossible_value_is_refused() {
        for (text, key) in [
            ("[mqtt]\nconnections = 0", "mqtt.connections"),
            ("[https]\ntimeout = \"1ms\"", "https.timeout"),
            ("names = []", "names"),
        ] {
            let err = Config::from_toml(text, "a.toml").unwrap_err();
            assert!(err.to_string().contains(key), "{err}");
        }
    }
}
