//! A serial port by the identity of the USB device behind it, whatever its name is today.
//!
//! Read from `/sys`, where the kernel keeps it; no library and no daemon is asked.
//! Deliberately absent: waiting for a device.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// How many folders a port lies below its USB device, at most.
const DEPTH_MAX: usize = 6;

/// A USB device: vendor, product, and the serial number where several are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbIdentity {
    /// Vendor.
    pub vendor: u16,
    /// Product.
    pub product: u16,
    /// Serial number; any, if absent.
    pub serial: Option<String>,
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no USB device: VENDOR:PRODUCT or VENDOR:PRODUCT:SERIAL is expected, as in 0403:6015:DN01ABCD"
)]
pub struct UsbIdentityError {
    /// What was written.
    pub text: String,
}

/// Why a port was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsbError {
    /// No such device is plugged in.
    #[error("the USB device {identity} is not plugged in")]
    Missing {
        /// What was looked for.
        identity: UsbIdentity,
    },
    /// Several are, and which one is meant is not said.
    #[error("several USB devices are {identity}: {}; add the serial number", ports.join(", "))]
    Ambiguous {
        /// What was looked for.
        identity: UsbIdentity,
        /// Their ports.
        ports: Vec<String>,
    },
}

impl UsbIdentityError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        "serial.usb.identity"
    }
}

impl UsbError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "serial.usb.missing",
            Self::Ambiguous { .. } => "serial.usb.ambiguous",
        }
    }
}

impl fmt::Display for UsbIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)?;
        match &self.serial {
            Some(serial) => write!(f, ":{serial}"),
            None => Ok(()),
        }
    }
}

impl FromStr for UsbIdentity {
    type Err = UsbIdentityError;

    fn from_str(text: &str) -> Result<Self, UsbIdentityError> {
        let bad = || UsbIdentityError {
            text: text.to_owned(),
        };
        let number = |part: Option<&str>| {
            let digits =
                part.filter(|part| part.len() == 4 && part.chars().all(|c| c.is_ascii_hexdigit()));
            u16::from_str_radix(digits.ok_or_else(bad)?, 16).map_err(|_| bad())
        };
        let mut parts = text.splitn(3, ':');
        let (vendor, product) = (number(parts.next())?, number(parts.next())?);
        let serial = parts.next().map(str::to_owned);
        if serial.as_ref().is_some_and(String::is_empty) {
            return Err(bad());
        }
        Ok(Self {
            vendor,
            product,
            serial,
        })
    }
}

impl serde::Serialize for UsbIdentity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for UsbIdentity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl UsbIdentity {
    /// The port of the device that is plugged in now. `root` is where `sys` and `dev` lie.
    ///
    /// # Errors
    /// [`UsbError`] when there is none, or more than one.
    pub fn find(&self, root: &Path) -> Result<PathBuf, UsbError> {
        let ports = std::fs::read_dir(root.join("sys/class/tty"));
        let mut found: Vec<String> = ports
            .into_iter()
            .flatten()
            .flatten()
            .filter(|port| Self::behind(&port.path()).is_some_and(|there| self.is(&there)))
            .filter_map(|port| port.file_name().into_string().ok())
            .collect();
        found.sort_unstable();
        let identity = || self.clone();
        match found.as_slice() {
            [] => Err(UsbError::Missing {
                identity: identity(),
            }),
            [one] => Ok(root.join("dev").join(one)),
            _ => Err(UsbError::Ambiguous {
                identity: identity(),
                ports: found,
            }),
        }
    }

    /// The USB device behind a port, if it is one: the first folder above the port's that
    /// holds the numbers.
    fn behind(port: &Path) -> Option<Self> {
        let device = std::fs::canonicalize(port.join("device")).ok()?;
        device.ancestors().take(DEPTH_MAX).find_map(Self::of_folder)
    }

    fn of_folder(folder: &Path) -> Option<Self> {
        let text = |name: &str| {
            let text = std::fs::read_to_string(folder.join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        let number = |name: &str| u16::from_str_radix(&text(name)?, 16).ok();
        Some(Self {
            vendor: number("idVendor")?,
            product: number("idProduct")?,
            serial: text("serial"),
        })
    }

    fn is(&self, there: &Self) -> bool {
        let is_meant = self.serial.is_none() || self.serial == there.serial;
        self.vendor == there.vendor && self.product == there.product && is_meant
    }
}

#[cfg(test)]
pub(crate) mod test_support {
    use std::path::Path;

    /// Plugs a USB device in: what the kernel would show of it, with its port called `name`.
    pub(crate) fn plug_in(root: &Path, name: &str, bus: &str, serial: &str) {
        let device = root.join("sys/devices/usb1").join(bus);
        let port = device.join(format!("{bus}:1.0")).join(name);
        std::fs::create_dir_all(&port).unwrap();
        for (file, text) in [
            ("idVendor", "0403"),
            ("idProduct", "6015"),
            ("serial", serial),
        ] {
            std::fs::write(device.join(file), format!("{text}\n")).unwrap();
        }
        let class = root.join("sys/class/tty").join(name);
        std::fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&port, class.join("device")).unwrap();
    }

    /// Pulls it.
    pub(crate) fn pull(root: &Path, name: &str, bus: &str) {
        std::fs::remove_dir_all(root.join("sys/devices/usb1").join(bus)).unwrap();
        std::fs::remove_dir_all(root.join("sys/class/tty").join(name)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::test_support::{plug_in, pull};
    use super::{UsbError, UsbIdentity};
    use proptest::prelude::*;

    fn identity(text: &str) -> UsbIdentity {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_found_again_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let ours = identity("0403:6015:DN01");
        assert_eq!(ours.find(root).unwrap_err().code(), "serial.usb.missing");
        plug_in(root, "ttyUSB0", "1-1", "DN01");
        assert_eq!(ours.find(root).unwrap(), root.join("dev/ttyUSB0"));
        pull(root, "ttyUSB0", "1-1");
        plug_in(root, "ttyUSB0", "1-2", "DN02");
        plug_in(root, "ttyUSB1", "1-1", "DN01");
        assert_eq!(ours.find(root).unwrap(), root.join("dev/ttyUSB1"));
    }

    #[test]
    fn two_devices_that_are_alike_are_not_chosen_from() {
        let dir = tempfile::tempdir().unwrap();
        plug_in(dir.path(), "ttyUSB0", "1-1", "DN01");
        plug_in(dir.path(), "ttyUSB1", "1-2", "DN02");
        let err = identity("0403:6015").find(dir.path()).unwrap_err();
        assert!(matches!(&err, UsbError::Ambiguous { ports, .. } if ports.len() == 2));
        assert!(err.to_string().contains("ttyUSB0, ttyUSB1"), "{err}");
        let other = identity("0403:6001").find(dir.path()).unwrap_err();
        assert_eq!(other.code(), "serial.usb.missing");
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for bad in [
            "",
            "0403",
            "0403:601",
            "0403:6015:",
            "+403:6015",
            "/dev/ttyUSB0",
        ] {
            let err = bad.parse::<UsbIdentity>().unwrap_err();
            assert_eq!(err.code(), "serial.usb.identity", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_any_text_is_read_or_refused(vendor: u16, product: u16, serial in proptest::option::of("[^\n]{1,20}"), text: String) {
            let written = UsbIdentity { vendor, product, serial };
            prop_assert_eq!(written.to_string().parse::<UsbIdentity>().unwrap(), written);
            let _ = text.parse::<UsbIdentity>();
        }
    }
}
