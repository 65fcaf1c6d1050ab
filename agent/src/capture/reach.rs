//! How the sensor of a source is reached, and the opening of a connection to it.

use std::path::PathBuf;

use cardio_core::ids::SourceId;
use cardio_protocol::gatt::GattProfile;
use cardio_protocol::profile::Profile;

use super::connection::Lost;
use super::gatt::GattConnection;
use super::stream::StreamConnection;
use crate::adapters::ble::{Expected, Radio};
use crate::adapters::serial::Port;
use crate::pairings::Pairings;

/// How a sensor is reached.
#[derive(Debug)]
pub enum Reach {
    /// On a serial port.
    Serial(SerialReach),
    /// On the radio.
    Ble(BleReach),
}

/// A sensor on a serial port.
#[derive(Debug)]
pub struct SerialReach {
    /// The path of the port.
    pub path: PathBuf,
    /// What it speaks.
    pub profile: &'static Profile,
}

/// A sensor on the radio.
#[derive(Debug)]
pub struct BleReach {
    /// The radio.
    pub radio: Radio,
    /// The directory where the pairings are; they are read anew at each try, so that a nurse
    /// can pair a sensor while the agent runs.
    pub state: PathBuf,
    /// The source.
    pub source: SourceId,
    /// What it speaks.
    pub profile: &'static GattProfile,
}

impl SerialReach {
    pub(super) fn open(&self) -> Result<StreamConnection, Lost> {
        let port = Port::open(&self.path, self.profile.baud).map_err(|err| Lost {
            code: err.code(),
            detail: err.to_string(),
        })?;
        Ok(StreamConnection::new(port, self.profile))
    }
}

impl BleReach {
    pub(super) async fn open(&self) -> Result<GattConnection, Lost> {
        let pairings = Pairings::load(&self.state).map_err(|err| Lost {
            code: err.code(),
            detail: err.to_string(),
        })?;
        let of_this_kind = pairings
            .of(self.source.as_str())
            .filter(|paired| paired.device == self.profile.name);
        let Some(paired) = of_this_kind else {
            let name = self.profile.name;
            return Err(Lost {
                code: "ble.unpaired",
                detail: format!("no {name} is paired with {}", self.source.as_str()),
            });
        };
        let expected = Expected {
            address: paired.address,
            profile: self.profile,
            serial: paired.serial.clone(),
            bonded: paired.bonded,
        };
        let link = self.radio.connect(expected).await?;
        Ok(GattConnection::new(link, self.profile))
    }
}
