//! What goes wrong on the radio, in our words.

use bluez_async::BluetoothError;

use super::Address;

/// Why a sensor is not connected, or no longer is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BleError {
    /// The system bus cannot be reached.
    #[error("the system bus cannot be reached: {why}")]
    NoBus {
        /// What the library said.
        why: String,
    },
    /// The connection to the bus is gone for good.
    #[error("the connection to the system bus is lost")]
    BusLost,
    /// Nobody answers to `org.bluez`.
    #[error("the Bluetooth daemon does not run")]
    NoDaemon,
    /// The daemon knows no adapter.
    #[error("there is no Bluetooth adapter")]
    NoAdapter,
    /// The sensor does not advertise itself.
    #[error("the sensor {address} is not heard")]
    NotHeard {
        /// Its address.
        address: Address,
    },
    /// The device lacks what its profile has.
    #[error("{address} does not have the services of {profile}: it is another device")]
    NotTheDevice {
        /// Its address.
        address: Address,
        /// The profile that was expected.
        profile: &'static str,
    },
    /// The device has the address of the paired one and another serial number.
    #[error("{address} is not the device that was paired: it states another serial number")]
    Impostor {
        /// Its address.
        address: Address,
    },
    /// The device was bonded when it was paired, and is not any more.
    #[error(
        "{address} is not the device that was paired, or it forgot this box: the bond is missing"
    )]
    BondMissing {
        /// Its address.
        address: Address,
    },
    /// The device wants to be bonded before it talks.
    #[error("the sensor refuses {act} to a box that it is not bonded with")]
    NeedsBond {
        /// What was tried.
        act: &'static str,
    },
    /// The link is down.
    #[error("the link to the sensor is down")]
    Disconnected,
    /// The device or its adapter is gone.
    #[error("the sensor or the Bluetooth adapter is gone")]
    Gone,
    /// No answer in time.
    #[error("no answer while {act}")]
    NoAnswer {
        /// What was tried.
        act: &'static str,
    },
    /// The device has no such characteristic.
    #[error("the sensor lacks the characteristic {uuid}")]
    Lacks {
        /// Which one.
        uuid: cardio_protocol::gatt::Uuid,
    },
    /// Something else.
    #[error("failed while {act}: {why}")]
    Failed {
        /// What was tried.
        act: &'static str,
        /// What the library said.
        why: String,
    },
}

impl BleError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoBus { .. } => "ble.no_bus",
            Self::BusLost => "ble.bus_lost",
            Self::NoDaemon => "ble.no_daemon",
            Self::NoAdapter => "ble.no_adapter",
            Self::NotHeard { .. } => "ble.not_heard",
            Self::NotTheDevice { .. } => "ble.not_the_device",
            Self::Impostor { .. } => "ble.impostor",
            Self::BondMissing { .. } => "ble.bond_missing",
            Self::NeedsBond { .. } => "ble.needs_bond",
            Self::Disconnected => "ble.disconnected",
            Self::Gone => "ble.gone",
            Self::NoAnswer { .. } => "ble.no_answer",
            Self::Lacks { .. } => "ble.lacks",
            Self::Failed { .. } => "ble.failed",
        }
    }

    /// Whether the same again may succeed at once: the radio was busy.
    pub(super) const fn is_transient(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::NoAnswer { .. })
    }

    /// What btleplug said while `act`.
    pub(super) fn of(act: &'static str, err: &btleplug::Error) -> Self {
        match err {
            btleplug::Error::Other(inner) => match inner.downcast_ref::<BluetoothError>() {
                Some(err) => Self::of_bluez(act, err),
                None => Self::failed(act, err),
            },
            btleplug::Error::DeviceNotFound => Self::Gone,
            btleplug::Error::NotConnected => Self::Disconnected,
            btleplug::Error::TimedOut(_) => Self::NoAnswer { act },
            btleplug::Error::PermissionDenied => Self::NeedsBond { act },
            _ => Self::failed(act, err),
        }
    }

    /// What bluez-async said while `act`.
    pub(super) fn of_bluez(act: &'static str, err: &BluetoothError) -> Self {
        match err {
            BluetoothError::NoBluetoothAdapters => Self::NoAdapter,
            BluetoothError::ServiceDiscoveryTimedOut => Self::NoAnswer { act },
            BluetoothError::DbusError(err) => {
                let words = err.message().unwrap_or_default();
                of_bus(act, err.name().unwrap_or_default(), words)
            }
            _ => Self::failed(act, err),
        }
    }

    fn failed(act: &'static str, err: &dyn std::error::Error) -> Self {
        Self::Failed {
            act,
            why: err.to_string(),
        }
    }
}

/// What an error of the bus means, by its name and its words.
fn of_bus(act: &'static str, name: &str, words: &str) -> BleError {
    let kind = name
        .strip_prefix("org.freedesktop.DBus.Error.")
        .or_else(|| name.strip_prefix("org.bluez.Error."))
        .unwrap_or_default();
    match kind {
        "ServiceUnknown" | "NameHasNoOwner" => BleError::NoDaemon,
        kind if kind.starts_with("Spawn.") => BleError::NoDaemon,
        // the daemon went away while it owed the answer
        "NoReply" if words.contains("disconnected") => BleError::NoDaemon,
        "NoReply" | "Timeout" | "TimedOut" => BleError::NoAnswer { act },
        "Disconnected" => BleError::BusLost,
        "UnknownObject" | "UnknownMethod" | "UnknownInterface" | "DoesNotExist" => BleError::Gone,
        "NotConnected" => BleError::Disconnected,
        "Failed" if words == "Not connected" => BleError::Disconnected,
        "NotAuthorized" | "NotPermitted" | "AuthenticationFailed" => BleError::NeedsBond { act },
        // the codes of insufficient authentication, authorization and encryption
        "Failed"
            if ["0x05", "0x08", "0x0f"]
                .iter()
                .any(|code| words.ends_with(code)) =>
        {
            BleError::NeedsBond { act }
        }
        _ => BleError::Failed {
            act,
            why: format!("{name}: {words}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::of_bus;

    #[test]
    fn errors_of_the_bus_are_told_apart_by_name_and_words() {
        let code = |name: &str, words: &str| of_bus("connecting", name, words).code();
        let cases = [
            (
                "org.freedesktop.DBus.Error.ServiceUnknown",
                "",
                "ble.no_daemon",
            ),
            (
                "org.freedesktop.DBus.Error.NoReply",
                "Message recipient disconnected from message bus without replying",
                "ble.no_daemon",
            ),
            (
                "org.freedesktop.DBus.Error.NoReply",
                "Did not receive a reply",
                "ble.no_answer",
            ),
            (
                "org.freedesktop.DBus.Error.Disconnected",
                "",
                "ble.bus_lost",
            ),
            ("org.freedesktop.DBus.Error.UnknownObject", "", "ble.gone"),
            (
                "org.bluez.Error.Failed",
                "Not connected",
                "ble.disconnected",
            ),
            (
                "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x05",
                "ble.needs_bond",
            ),
            (
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                "ble.failed",
            ),
        ];
        for (name, words, expected) in cases {
            assert_eq!(code(name, words), expected, "{name} {words}");
        }
        assert!(
            of_bus(
                "connecting",
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local"
            )
            .is_transient()
        );
    }
}
