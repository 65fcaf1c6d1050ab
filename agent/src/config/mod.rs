//! What the box is told: one TOML file, checked whole before anything starts.
//!
//! Deliberately absent: secrets (they stay in the enrolment file that this one names), and
//! anything about a patient but an opaque reference.
//!
//! Unknown keys are errors with the nearest known one; numbers carry their unit.

mod check;
pub mod device;
mod error;
pub mod rows;
mod suggest;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::adapters::serial::usb::UsbIdentity;
use cardio_core::acquisition::Attendance;
use figment::Figment;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Serialize};

use error::named;

pub use error::ConfigError;
pub use value::{Size, Span, UnitError};

/// The commented default, as `config default` prints it.
pub const DEFAULT_TEXT: &str = include_str!("default.toml");

/// Where the configuration lies when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/cardio-agent/config.toml";

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The box itself.
    #[serde(rename = "box", default)]
    pub site: BoxConfig,
    /// How signal is captured.
    #[serde(default)]
    pub capture: CaptureConfig,
    /// The outbox.
    #[serde(default)]
    pub store: StoreConfig,
    /// The way to the gateway.
    #[serde(default)]
    pub uplink: UplinkConfig,
    /// Files of recorders.
    #[serde(default)]
    pub import: ImportConfig,
    /// The sensors.
    #[serde(rename = "source", default)]
    pub sources: Vec<SourceConfig>,
}

/// The box itself: `[box]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BoxConfig {
    /// The file that holds the box's enrolment; see [`BoxConfig::enrolment_file`].
    pub enrolment: Option<PathBuf>,
    /// The directory of everything that the agent writes.
    #[serde(default = "default_state")]
    pub state: PathBuf,
}

/// How signal is captured: `[capture]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptureConfig {
    /// Longest absence after which the same acquisition continues.
    pub resume_within: Span,
    /// No byte for this long: the source is silent.
    pub silent_after: Span,
    /// The Bluetooth adapters to use, such as `hci0`; all without any.
    pub adapters: Vec<String>,
    /// How long a sensor whose recordings were fetched is left alone.
    pub recordings_every: Span,
}

/// The outbox: `[store]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Largest size of the outbox.
    pub cap: Size,
}

/// The way to the gateway: `[uplink]`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UplinkConfig {
    /// Wait before the second try.
    pub retry_first: Span,
    /// Longest wait between tries.
    pub retry_last: Span,
    /// Time without acknowledged progress after which frames are sent again.
    pub stalled_after: Span,
}

/// Files of recorders: `[import]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportConfig {
    /// The drop folder; without one nothing is imported.
    pub folder: Option<PathBuf>,
    /// What the source of these recordings is called.
    pub name: String,
    /// The patient, as an opaque reference; absent while unassigned.
    pub subject: Option<String>,
    /// How long the folder must be quiet before a file in it is taken.
    pub quiet_for: Span,
}

/// One sensor: `[[source]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its name on this box.
    pub name: String,
    /// How it is reached.
    pub kind: SourceKind,
    /// The profile of `cardio-protocol` that it speaks.
    pub device: String,
    /// Path of its port, for a serial source. Which radio sensor a source is, `cardio-agent
    /// sources pair` says.
    pub path: Option<PathBuf>,
    /// The USB device behind its port, instead of a path: the port is then found under any
    /// name.
    pub usb: Option<UsbIdentity>,
    /// What its rows show, in the device's order; "-" for one that is not connected. Absent:
    /// as the device is usually wired. For a stethoscope the auscultation site.
    pub leads: Option<Vec<String>>,
    /// Samples per second that the device is asked for, where it has several rates. Absent: its
    /// usual one.
    pub rate_hz: Option<u32>,
    /// The patient, as an opaque reference; absent while unassigned.
    pub subject: Option<String>,
    /// Whether a person stands beside the patient.
    #[serde(default)]
    pub attendance: AttendanceName,
    /// What becomes of the recordings that it keeps in its own memory.
    #[serde(default)]
    pub recordings: RecordingsName,
}

/// What a box does with the recordings that a sensor keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingsName {
    /// It leaves them where they are, and captures what the sensor streams.
    #[default]
    Leave,
    /// It fetches them, and captures no stream.
    Fetch,
}

/// How a source is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A serial port.
    Serial,
    /// Bluetooth Low Energy.
    Ble,
}

impl SourceKind {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Ble => "ble",
        }
    }
}

/// The configuration's words for [`Attendance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttendanceName {
    /// A person stands beside the patient.
    #[default]
    Attended,
    /// A long recording without a person.
    Unattended,
}

impl From<AttendanceName> for Attendance {
    fn from(name: AttendanceName) -> Self {
        match name {
            AttendanceName::Attended => Self::Attended,
            AttendanceName::Unattended => Self::Unattended,
        }
    }
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/cardio-agent")
}

impl BoxConfig {
    /// Where the enrolment lies: the file that is named, or one in the state directory.
    pub fn enrolment_file(&self) -> PathBuf {
        let beside_the_outbox = || self.state.join("enrolment.toml");
        self.enrolment.clone().unwrap_or_else(beside_the_outbox)
    }
}

impl Default for BoxConfig {
    fn default() -> Self {
        Self {
            enrolment: None,
            state: default_state(),
        }
    }
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            resume_within: Span(Duration::from_secs(600)),
            silent_after: Span(Duration::from_secs(3)),
            adapters: Vec::new(),
            recordings_every: Span(Duration::from_secs(60)),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { cap: Size(8 << 30) }
    }
}

impl Default for ImportConfig {
    fn default() -> Self {
        Self {
            folder: None,
            name: "import".to_owned(),
            subject: None,
            quiet_for: Span(Duration::from_secs(5)),
        }
    }
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            retry_first: Span(Duration::from_millis(200)),
            retry_last: Span(Duration::from_secs(300)),
            stalled_after: Span(Duration::from_secs(30)),
        }
    }
}

/// Smallest outbox that can do its work: the ballast, the tables and a few minutes of signal.
pub const STORE_CAP_MIN: Size = Size(32 << 20);

impl Config {
    /// Reads and checks the file at `path`. Relative paths inside it become relative to it.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong, with its key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&text, path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.site.state = base.join(&config.site.state);
        config.site.enrolment = config.site.enrolment.map(|file| base.join(file));
        config.import.folder = config.import.folder.map(|folder| base.join(folder));
        for source in &mut config.sources {
            source.path = source.path.take().map(|path| base.join(path));
        }
        Ok(config)
    }

    /// Reads and checks a text; `path` is only what errors call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = Figment::from(Toml::string(text))
            .extract()
            .map_err(|err| named(&err, path))?;
        config.check(path)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
