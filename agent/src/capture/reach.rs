//! How the sensor of a source is reached, and the opening of a connection to it.

use std::path::PathBuf;

use cardio_core::ids::SourceId;
use cardio_protocol::capture::CaptureEvent;
use cardio_protocol::gatt::GattProfile;
use cardio_protocol::profile::Profile;
use cardio_protocol::session::SessionTiming;

use super::connection::Lost;
use super::gatt::GattConnection;
use super::stream::StreamConnection;
use super::tape::Tape;
use crate::adapters::ble::{Address, Expected, Link, Radio};
use crate::adapters::serial::Port;
use crate::adapters::serial::usb::UsbIdentity;
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
    /// Which port it is.
    pub port: PortName,
    /// What it speaks.
    pub profile: &'static Profile,
}

/// How a port is named.
#[derive(Debug)]
pub enum PortName {
    /// By its path.
    Path(PathBuf),
    /// By the USB device behind it.
    Usb {
        /// The device.
        identity: UsbIdentity,
        /// Where `sys` and `dev` lie.
        root: PathBuf,
    },
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
    /// Samples per second that it is asked for, if not the profile's own.
    pub rate_hz: Option<u32>,
}

impl PortName {
    /// Opens the port, and says which file it is now.
    pub(crate) fn open(&self, baud: u32) -> Result<(Port, PathBuf), Lost> {
        let path = match self {
            Self::Path(path) => path.clone(),
            Self::Usb { identity, root } => identity.find(root).map_err(|err| Lost {
                code: err.code(),
                detail: err.to_string(),
            })?,
        };
        let port = Port::open(&path, baud).map_err(|err| Lost {
            code: err.code(),
            detail: err.to_string(),
        })?;
        Ok((port, path))
    }
}

impl SerialReach {
    /// Opens the port. What passes is noted on `tape`.
    pub(super) fn open(&self, tape: &Tape) -> Result<StreamConnection, Lost> {
        let (port, path) = self.port.open(self.profile.baud)?;
        let via = path.display().to_string();
        tape.note(|| CaptureEvent::Connected { via });
        Ok(StreamConnection::new(port, self.profile, tape.clone()))
    }
}

impl BleReach {
    /// Connects the sensor. What passes is noted on `tape`.
    pub(super) async fn open(&self, tape: &Tape) -> Result<GattConnection, Lost> {
        let session = self.profile.session.ok_or_else(|| Lost {
            code: "source.no_stream",
            detail: format!("{} sends no stream", self.profile.name),
        })?;
        let (link, address) = self.connect().await?;
        let via = address.to_string();
        tape.note(|| CaptureEvent::Connected { via });
        let mut session = session(SessionTiming::default());
        if let Some(rate_hz) = self.rate_hz {
            session.ask_for_rate(rate_hz);
        }
        Ok(GattConnection::new(link, session, tape.clone()))
    }

    /// Connects the sensor that is paired with the source.
    pub(crate) async fn connect(&self) -> Result<(Link, Address), Lost> {
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
        Ok((self.radio.connect(expected).await?, paired.address))
    }
}

#[cfg(test)]
mod tests {
    use super::{PortName, SerialReach, Tape};
    use crate::adapters::serial::usb::test_support::{plug_in, pull};
    use crate::testing::Pty;
    use std::path::Path;

    fn device_file(root: &Path, name: &str, pty: &Pty) {
        std::fs::create_dir_all(root.join("dev")).unwrap();
        std::os::unix::fs::symlink(pty.path(), root.join("dev").join(name)).unwrap();
    }

    #[tokio::test]
    async fn a_sensor_is_opened_again_under_the_name_that_its_port_has_now() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let reach = SerialReach {
            port: PortName::Usb {
                identity: "0403:6015:DN01".parse().unwrap(),
                root: root.to_owned(),
            },
            profile: cardio_protocol::profile::by_name("openbci-cyton").unwrap(),
        };
        let code = || reach.open(&Tape::off()).err().map(|lost| lost.code);
        assert_eq!(code(), Some("serial.usb.missing"));
        let (first, second) = (Pty::open(), Pty::open());
        plug_in(root, "ttyUSB0", "1-1", "DN01");
        // the kernel names the port before its file is there
        assert_eq!(code(), Some("serial.open.missing"));
        device_file(root, "ttyUSB0", &first);
        let held = reach.open(&Tape::off()).ok();
        assert!(held.is_some());
        assert_eq!(code(), Some("serial.open.busy"));
        pull(root, "ttyUSB0", "1-1");
        plug_in(root, "ttyUSB1", "1-1", "DN01");
        device_file(root, "ttyUSB1", &second);
        assert_eq!(code(), None);
    }
}
