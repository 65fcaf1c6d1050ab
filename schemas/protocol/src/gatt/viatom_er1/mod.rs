//! Viatom and Wellue recorders of the ER1 family: ECG at 125 Hz, live and from memory.
//!
//! Frames of a command protocol travel over two characteristics and may be split over
//! notifications. Live samples must be asked for, again and again; they carry no time and
//! no counter of their own. Deliberately absent: the commands that erase or reset the
//! recorder, and leads of the multi-lead models.
//!
//! Source: `viatomEcho/LepuBle`, the maker's published code.

mod file;
mod frame;
mod live;
mod peripheral;
mod recordings;
mod session;

use cardio_core::device::IntegrityClass;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec, Uuid};
use crate::profile::WaveKind;

pub use file::{FileError, FileFetch, FileStep, file_names, recording};
pub use frame::{Assembler, Command, ViatomFrame, crc8};
pub use live::{LiveBody, RunState, SAMPLE_ABSENT};
pub use peripheral::ViatomPeripheral;
pub use recordings::ViatomRecordings;
pub use session::ViatomSession;

/// Service.
pub const SERVICE: Uuid = Uuid(0x1483_9AC4_7D7E_415C_9A42_1673_40CF_2339);
/// Commands: write.
pub const WRITE: Uuid = Uuid(0x8B00_ACE7_EB0B_49B0_BBE9_9AEE_0A26_E1A3);
/// Answers: notify.
pub const NOTIFY: Uuid = Uuid(0x0734_594A_A8E7_4B1A_A6B1_CD52_4305_9A57);

/// The recorder with its one lead.
pub static PROFILE: GattProfile = GattProfile {
    name: "viatom-er1",
    maker: "Viatom",
    model: "ER1",
    signal: Some(SignalSpec {
        rate_hz: 125,
        rates_hz: &[],
        samples_per_frame: 62,
        integrity: IntegrityClass::Uncounted,
        modulus: None,
        // One count is 0.00246722 mV.
        gain_adu_per_mv: Some(1.0 / 0.002_467_22),
        rails: (-32_768, 32_766),
        absent_adu: Some(32_767),
        waves: &[WaveKind::EcgOther("chest patch")],
    }),
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[
            CharacteristicSpec {
                uuid: WRITE,
                properties: &[Property::Write, Property::WriteWithoutResponse],
            },
            CharacteristicSpec {
                uuid: NOTIFY,
                properties: &[Property::Notify],
            },
        ],
    }],
    min_mtu: 23,
    matches: |advertisement| {
        let names = ["ER1", "ER2", "DuoEK", "VBeat"];
        advertisement
            .name
            .is_some_and(|name| names.iter().any(|known| name.starts_with(known)))
    },
    session: Some(|timing| Box::new(ViatomSession::new(timing))),
    kept: Some(|timing| Box::new(ViatomRecordings::new(timing))),
    peripheral: || Box::new(ViatomPeripheral::default()),
};
