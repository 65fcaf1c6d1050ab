//! A sensor in the air: what it says of itself, and what its services hold.
//!
//! Deliberately absent: what the daemon remembers of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cardio_protocol::gatt::{GattPeripheral, GattProfile, Notification, Property, Uuid};

/// A refusal of the Attribute Protocol (Core Specification 5.4, vol 3 part F, 3.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sensor refused with ATT error {:#04x}", .0)]
pub struct AttError(pub u8);

impl AttError {
    /// There is nothing under this handle.
    pub const INVALID_HANDLE: Self = Self(0x01);
    /// The value cannot be read.
    pub const READ_NOT_PERMITTED: Self = Self(0x02);
    /// The host must pair first.
    pub const INSUFFICIENT_AUTHENTICATION: Self = Self(0x05);
    /// The first of the errors that an application defines.
    pub const APPLICATION: Self = Self(0x80);

    /// Stable identifier for logs and tests.
    pub const fn code(&self) -> &'static str {
        "att.refused"
    }
}

/// What a sensor does while a host is connected. Called with the radio locked: it must not
/// call the radio back, and returns what it sends.
pub trait GattServer: Send {
    /// The value of a characteristic.
    ///
    /// # Errors
    /// [`AttError`] when the sensor refuses.
    fn read(&mut self, from: Uuid) -> Result<Vec<u8>, AttError>;

    /// Takes a written value; what it sends in answer.
    ///
    /// # Errors
    /// [`AttError`] when the sensor refuses.
    fn write(&mut self, to: Uuid, value: &[u8]) -> Result<Vec<Notification>, AttError>;

    /// A host subscribed, or no longer does.
    fn subscribe(&mut self, to: Uuid, on: bool);

    /// A host connected with this MTU, or the link is lost.
    fn link(&mut self, mtu: Option<u16>);
}

impl<P: GattPeripheral> GattServer for Arc<Mutex<P>> {
    fn read(&mut self, from: Uuid) -> Result<Vec<u8>, AttError> {
        let mut device = self.lock().unwrap_or_else(PoisonError::into_inner);
        device.read(from).ok_or(AttError::READ_NOT_PERMITTED)
    }

    fn write(&mut self, to: Uuid, value: &[u8]) -> Result<Vec<Notification>, AttError> {
        let mut device = self.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sent = Vec::new();
        device.write(to, value, &mut sent);
        Ok(sent)
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        let mut device = self.lock().unwrap_or_else(PoisonError::into_inner);
        device.subscribe(to, on);
    }

    fn link(&mut self, mtu: Option<u16>) {
        let mut device = self.lock().unwrap_or_else(PoisonError::into_inner);
        match mtu {
            Some(mtu) => device.set_mtu(mtu),
            None => device.disconnect(),
        }
    }
}

/// A characteristic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Characteristic {
    /// Its identifier.
    pub uuid: Uuid,
    /// What can be done with it.
    pub properties: Vec<Property>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its identifier.
    pub uuid: Uuid,
    /// Its characteristics, in order.
    pub characteristics: Vec<Characteristic>,
}

/// A sensor as it shows itself in the air.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Six pairs of hexadecimal digits with colons.
    pub address: String,
    /// Whether the address is a random one.
    pub random_address: bool,
    /// Local name.
    pub name: String,
    /// Services that the advertisement names.
    pub advertised: Vec<Uuid>,
    /// Data by company.
    pub manufacturer_data: BTreeMap<u16, Vec<u8>>,
    /// Signal strength in dBm.
    pub rssi_dbm: i16,
    /// Size of a value plus three, once connected.
    pub mtu: u16,
    /// Whether characteristics can be used only after pairing.
    pub needs_pairing: bool,
    /// Services, in order.
    pub services: Vec<Service>,
}

const DEVICE_INFORMATION: Uuid = Uuid::short(0x180A);
const BATTERY: Uuid = Uuid::short(0x180F);

impl Sensor {
    /// A sensor of a profile: its services, with Battery and Device Information beside them.
    pub fn of(profile: &GattProfile, address: &str, name: &str) -> Self {
        let mut services: Vec<Service> = profile
            .services
            .iter()
            .map(|service| Service {
                uuid: service.uuid,
                characteristics: service
                    .characteristics
                    .iter()
                    .map(|found| Characteristic {
                        uuid: found.uuid,
                        properties: found.properties.to_vec(),
                    })
                    .collect(),
            })
            .collect();
        let advertised = services.iter().map(|service| service.uuid).collect();
        services.extend(standard_services());
        Self {
            address: address.to_owned(),
            random_address: true,
            name: name.to_owned(),
            advertised,
            manufacturer_data: BTreeMap::new(),
            rssi_dbm: -60,
            mtu: 247,
            needs_pairing: false,
            services,
        }
    }
}

fn standard_services() -> [Service; 2] {
    let readable = |number: u16| Characteristic {
        uuid: Uuid::short(number),
        properties: vec![Property::Read],
    };
    [
        Service {
            uuid: BATTERY,
            characteristics: vec![Characteristic {
                uuid: Uuid::short(0x2A19),
                properties: vec![Property::Read, Property::Notify],
            }],
        },
        Service {
            uuid: DEVICE_INFORMATION,
            characteristics: [0x2A23, 0x2A29, 0x2A24, 0x2A25, 0x2A27, 0x2A26, 0x2A28]
                .map(readable)
                .to_vec(),
        },
    ]
}
