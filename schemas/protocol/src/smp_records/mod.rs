//! Recordings kept by a HealthyPi Move, fetched over SMP (MCUmgr), group 0x1000.
//!
//! The same messages travel over a BLE characteristic and over a serial console. A recording
//! is read in chunks, checked by CRC-32, and acknowledged, which lets the device drop it,
//! only once the caller says that it is durably stored. Deliberately absent: vital-sign
//! history, calibration, and everything else that SMP can do to a device.
//!
//! Source: Zephyr documentation, *SMP Protocol* and *SMP Transport Specification*;
//! `Protocentral/healthypi-move-fw`, Health Store API.

mod cbor;
mod console;
mod fetch;
mod message;
mod peripheral;
mod session;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, Uuid};

pub use cbor::{CborError, Value};
pub use console::{ConsoleReader, console_frames, crc16};
pub use fetch::{Fetcher, RecordHeader, crc32};
pub use message::{Assembler, Op, SmpMessage};
pub use peripheral::RecordsPeripheral;
pub use session::RecordsSession;
pub(crate) use session::asides;

/// SMP service.
pub const SERVICE: Uuid = Uuid(0x8D53_DC1D_1DB7_4CD3_868B_8A52_7460_AA84);
/// Requests without response, answers as notifications.
pub const CHARACTERISTIC: Uuid = Uuid(0xDA2E_7828_FBCE_4E01_AE9E_2611_7499_7C48);

/// The group of the health store.
pub const GROUP: u16 = 0x1000;
/// Who are you.
pub(crate) const CMD_HELLO: u8 = 0;
/// Recordings: list, get, ack.
pub(crate) const CMD_RECORDS: u8 = 4;
/// Most bytes of a recording in one answer.
pub(crate) const CHUNK_MAX: usize = 512;

/// The watch with its recordings.
pub static PROFILE: GattProfile = GattProfile {
    name: "smp-records",
    maker: "ProtoCentral",
    model: "HealthyPi Move",
    signal: None,
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[CharacteristicSpec {
            uuid: CHARACTERISTIC,
            properties: &[Property::WriteWithoutResponse, Property::Notify],
        }],
    }],
    min_mtu: 128,
    matches: |advertisement| {
        let name = advertisement.name.unwrap_or_default();
        name.to_ascii_lowercase().starts_with("healthypi move")
    },
    session: None,
    kept: Some(|timing| Box::new(RecordsSession::new(timing))),
    peripheral: || Box::new(RecordsPeripheral::default()),
};
