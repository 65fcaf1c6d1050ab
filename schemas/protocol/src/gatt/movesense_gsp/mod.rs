//! Movesense GATT SensorData Protocol: live ECG, and recordings kept by the sensor.
//!
//! Commands carry a reference that the host chooses; answers and data carry it back. The
//! live ECG comes in bodies of 16 samples with the sensor's milliseconds. Answers are plain
//! notifications and can be lost, so every command has a time-out and is repeated under a
//! new reference. Deliberately absent: motion, temperature, firmware update.
//!
//! Source: Movesense GATT SensorData Protocol specification; `sensein/movesense-py`.

mod command;
mod ecg;
mod holter;
mod log;
mod notification;
mod peripheral;
mod recordings;
mod sbem;
mod session;

use cardio_core::device::IntegrityClass;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec, Uuid};
use crate::profile::WaveKind;

pub use command::Command;
pub use ecg::{BODY_SAMPLES, EcgBody};
pub use holter::{
    HOLTER_RATES_HZ, HolterError, HolterFound, HolterOrder, HolterState, MovesenseHolter,
};
pub use log::{LogEntry, LogFetch, LogPiece, logbook};
pub use notification::{Identity, Notice};
pub use peripheral::MovesensePeripheral;
pub use recordings::MovesenseRecordings;
pub use session::MovesenseSession;

/// Service that is advertised by newer firmware.
pub const ADVERTISED: Uuid = Uuid::short(0xFDF3);
/// Service.
pub const SERVICE: Uuid = Uuid(0x3480_2252_7185_4D5D_B431_630E_7050_E8F0);
/// Commands: write.
pub const COMMAND: Uuid = Uuid(0x3480_0001_7185_4D5D_B431_630E_7050_E8F0);
/// Answers and data: notify.
pub const DATA: Uuid = Uuid(0x3480_0002_7185_4D5D_B431_630E_7050_E8F0);

/// Rate of the live ECG, unless another of [`HOLTER_RATES_HZ`] is asked for.
pub const RATE_HZ: u32 = 250;

/// Resource of the live ECG at a rate.
pub fn ecg_path(rate_hz: u32) -> String {
    format!("{ECG_PATH}{rate_hz}")
}

/// What the resources of the ECG begin with; the rate follows.
const ECG_PATH: &str = "/Meas/ECG/";

/// Resource of the list of recordings.
pub const LOGBOOK_PATH: &str = "/Mem/Logbook/entries";

/// The sensor on a strap.
pub static PROFILE: GattProfile = GattProfile {
    name: "movesense-gsp",
    maker: "Movesense",
    model: "Movesense",
    signal: Some(SignalSpec {
        rate_hz: RATE_HZ,
        rates_hz: &HOLTER_RATES_HZ,
        samples_per_frame: BODY_SAMPLES,
        integrity: IntegrityClass::TimeStamped,
        modulus: None,
        // One count is 0.000381469726563 mV: 50 mV over 2^17 counts.
        gain_adu_per_mv: Some(131_072.0 / 50.0),
        rails: (-131_072, 131_071),
        absent_adu: None,
        waves: &[WaveKind::EcgOther("chest strap")],
    }),
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[
            CharacteristicSpec {
                uuid: COMMAND,
                properties: &[Property::Write],
            },
            CharacteristicSpec {
                uuid: DATA,
                properties: &[Property::Notify],
            },
        ],
    }],
    min_mtu: 73,
    matches: |advertisement| {
        advertisement.services.contains(&ADVERTISED)
            || advertisement
                .name
                .is_some_and(|name| name.starts_with("Movesense "))
    },
    session: Some(|timing| Box::new(MovesenseSession::new(timing))),
    kept: Some(|timing| Box::new(MovesenseRecordings::new(timing))),
    peripheral: || Box::new(MovesensePeripheral::default()),
};
