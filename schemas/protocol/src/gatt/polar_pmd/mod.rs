//! Polar Measurement Data: the ECG of a Polar H10 at 130 Hz, with nanosecond time stamps.
//!
//! Each frame carries the time of its last sample on the strap's clock, which starts in
//! 2019 whenever the strap has been off. There is no counter and no lead-off. Deliberately
//! absent: other measurements, offline recordings, SDK mode.
//!
//! Source: `polarofficial/polar-ble-sdk`, online measurement document and PMD client.

mod control;
mod frame;
mod peripheral;
mod session;

use cardio_core::device::IntegrityClass;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec, Uuid};
use crate::profile::WaveKind;

pub use control::{ControlMessage, Features, Response, Setting, Status};
pub use frame::{EcgFrame, POLAR_EPOCH_UNIX_S};
pub use peripheral::PolarPeripheral;
pub use session::PolarSession;

/// Service.
pub const SERVICE: Uuid = Uuid(0xFB00_5C80_02E7_F387_1CAD_8ACD_2D8D_F0C8);
/// Control point: read, write, indicate.
pub const CONTROL: Uuid = Uuid(0xFB00_5C81_02E7_F387_1CAD_8ACD_2D8D_F0C8);
/// Data: notify.
pub const DATA: Uuid = Uuid(0xFB00_5C82_02E7_F387_1CAD_8ACD_2D8D_F0C8);

/// Measurement type of the ECG.
pub(crate) const ECG: u8 = 0;

/// The strap: two electrodes on the chest, samples in microvolts.
pub static PROFILE: GattProfile = GattProfile {
    name: "polar-pmd",
    maker: "Polar Electro",
    model: "H10",
    signal: Some(SignalSpec {
        rate_hz: 130,
        rates_hz: &[],
        samples_per_frame: 73,
        integrity: IntegrityClass::TimeStamped,
        modulus: None,
        gain_adu_per_mv: Some(1000.0),
        rails: (-20_000, 20_000),
        absent_adu: None,
        waves: &[WaveKind::EcgOther("chest strap")],
    }),
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[
            CharacteristicSpec {
                uuid: CONTROL,
                properties: &[Property::Read, Property::Write, Property::Indicate],
            },
            CharacteristicSpec {
                uuid: DATA,
                properties: &[Property::Notify],
            },
        ],
    }],
    min_mtu: 232,
    matches: |advertisement| {
        advertisement
            .name
            .is_some_and(|name| name.starts_with("Polar H10"))
    },
    session: Some(|timing| Box::new(PolarSession::new(timing))),
    kept: None,
    peripheral: || Box::new(PolarPeripheral::default()),
};
