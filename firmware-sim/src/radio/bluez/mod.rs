//! The daemon of BlueZ, as a client sees it: adapters, devices and their characteristics.
//!
//! State and rules only; messages in, messages out. Deliberately absent: sockets, and all of
//! BlueZ that no client of a sensor calls (profiles, media, mesh, advertising of its own).
//!
//! Source: BlueZ 5.66 `doc/*-api.txt`; `src/{adapter,device,gatt-client}.c` for behaviour.

mod calls;
mod gatt;
mod known;
pub(super) mod objects;
mod world;

pub use gatt::Sent;
pub(crate) use world::{Daemon, SensorId};

/// Interface of an adapter.
pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
/// Interface of a device.
pub(super) const DEVICE: &str = "org.bluez.Device1";
/// Interface of a service.
pub(super) const GATT_SERVICE: &str = "org.bluez.GattService1";
/// Interface of a characteristic.
pub(super) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
/// Interface of a descriptor.
const DESCRIPTOR: &str = "org.bluez.GattDescriptor1";
/// Interface for pairing agents.
const AGENTS: &str = "org.bluez.AgentManager1";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(super) const OBJECTS: &str = "org.freedesktop.DBus.ObjectManager";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";

/// A refusal of the daemon: the name of the error and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl Refusal {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
        }
    }

    fn failed(text: impl Into<String>) -> Self {
        Self::new("org.bluez.Error.Failed", text)
    }

    fn not_connected() -> Self {
        Self::failed("Not connected")
    }

    pub(super) fn not_supported() -> Self {
        Self::new("org.bluez.Error.NotSupported", "Operation is not supported")
    }

    pub(super) fn unknown_object() -> Self {
        let name = "org.freedesktop.DBus.Error.UnknownObject";
        Self::new(name, "there is no such object")
    }
}
