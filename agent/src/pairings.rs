//! Which radio sensor belongs to which source: a file beside the outbox.
//!
//! A sensor is bound by its address, because a person said so; what it stated of itself then
//! is kept to notice another device under the same address. Nothing about a patient stands
//! here. Deliberately absent: the radio.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::adapters::ble::Address;

/// Name of the file in the state directory.
pub const FILE: &str = "pairings.toml";

/// One sensor that is bound to a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// The source, as the configuration calls it.
    pub source: String,
    /// The profile that the sensor speaks.
    pub device: String,
    /// The address of the sensor.
    pub address: Address,
    /// What it called itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The serial number that it stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Whether it was bonded with this box.
    #[serde(default)]
    pub bonded: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairings {
    #[serde(rename = "sensor", default)]
    sensors: Vec<Pairing>,
}

/// Why pairings cannot be read, or not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairingsError {
    /// The file cannot be read or written.
    #[error("cannot {act} the pairings {}", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file does not hold pairings.
    #[error("{} does not hold pairings: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The sensor belongs to another source.
    #[error("the sensor {address} is paired with {source_name} already")]
    Taken {
        /// Its address.
        address: Address,
        /// The source that it belongs to.
        source_name: String,
    },
}

impl PairingsError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "pairings.file",
            Self::Form { .. } => "pairings.form",
            Self::Taken { .. } => "pairings.taken",
        }
    }
}

impl Pairings {
    /// Reads the file in the state directory; none there holds no pairing.
    ///
    /// # Errors
    /// [`PairingsError`] when it cannot be read or holds something else.
    pub fn load(state: &Path) -> Result<Self, PairingsError> {
        let path = state.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|err| PairingsError::Form {
                path,
                why: err.message().to_owned(),
            }),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(PairingsError::File {
                act: "read",
                path,
                source,
            }),
        }
    }

    /// Replaces the file as a whole; after an interruption the old or the new one is there.
    ///
    /// # Errors
    /// [`PairingsError::File`].
    pub fn save(&self, state: &Path) -> Result<(), PairingsError> {
        let path = state.join(FILE);
        let failed = |source| PairingsError::File {
            act: "write",
            path: path.clone(),
            source,
        };
        let text = toml::to_string(self).map_err(|err| PairingsError::Form {
            path: path.clone(),
            why: err.to_string(),
        })?;
        let fresh = state.join("pairings.new");
        let written = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)?;
            std::fs::File::open(state)?.sync_all()
        };
        written().map_err(failed)
    }

    /// All sensors, in the order in which they were paired.
    pub fn all(&self) -> &[Pairing] {
        &self.sensors
    }

    /// The sensor of a source.
    pub fn of(&self, source: &str) -> Option<&Pairing> {
        self.sensors.iter().find(|one| one.source == source)
    }

    /// Binds a sensor to its source, instead of the one that was bound to it before.
    ///
    /// # Errors
    /// [`PairingsError::Taken`] when the sensor belongs to another source.
    pub fn bind(&mut self, pairing: Pairing) -> Result<(), PairingsError> {
        let takes = |one: &&Pairing| one.address == pairing.address && one.source != pairing.source;
        if let Some(other) = self.sensors.iter().find(takes) {
            return Err(PairingsError::Taken {
                address: pairing.address,
                source_name: other.source.clone(),
            });
        }
        self.forget(&pairing.source);
        self.sensors.push(pairing);
        Ok(())
    }

    /// Unbinds the sensor of a source and gives it.
    pub fn forget(&mut self, source: &str) -> Option<Pairing> {
        let place = self.sensors.iter().position(|one| one.source == source)?;
        Some(self.sensors.remove(place))
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Pairing, Pairings};

    fn pairing(source: &str, last: u8) -> Pairing {
        Pairing {
            source: source.to_owned(),
            device: "polar-pmd".to_owned(),
            address: Address([0xA0, 0x9E, 0x1A, 0, 0, last]),
            name: Some("Polar H10 00000001".to_owned()),
            serial: None,
            bonded: false,
        }
    }

    #[test]
    fn what_is_bound_is_read_back_and_what_is_forgotten_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Pairings::load(dir.path()).unwrap(), Pairings::default());
        let mut pairings = Pairings::default();
        pairings.bind(pairing("ecg-a", 1)).unwrap();
        pairings.bind(pairing("ecg-b", 2)).unwrap();
        pairings.bind(pairing("ecg-a", 3)).unwrap();
        pairings.save(dir.path()).unwrap();
        let mut read = Pairings::load(dir.path()).unwrap();
        assert_eq!(read, pairings);
        assert_eq!(read.of("ecg-a"), Some(&pairing("ecg-a", 3)));
        assert_eq!(read.forget("ecg-a"), Some(pairing("ecg-a", 3)));
        assert_eq!(read.of("ecg-a"), None);
        assert_eq!(read.forget("ecg-a"), None);
    }

    #[test]
    fn one_sensor_belongs_to_one_source() {
        let mut pairings = Pairings::default();
        pairings.bind(pairing("ecg-a", 1)).unwrap();
        let err = pairings.bind(pairing("ecg-b", 1)).unwrap_err();
        assert_eq!(err.code(), "pairings.taken");
        assert!(err.to_string().contains("ecg-a"), "{err}");
        assert_eq!(pairings.all().len(), 1);
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(super::FILE), "[[sensor]]\naddress = 7\n").unwrap();
        assert_eq!(
            Pairings::load(dir.path()).unwrap_err().code(),
            "pairings.form"
        );
    }
}
