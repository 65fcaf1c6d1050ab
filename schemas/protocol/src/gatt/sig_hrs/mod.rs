//! Heart Rate, Battery and Device Information services of the Bluetooth SIG.
//!
//! Any heart-rate strap: beats per minute and RR intervals about once a second, without a
//! time stamp or counter. Its signal has no rows: a frame for the simulated strap is a second of
//! beats, a count that is not zero where one stands. Deliberately absent: waveforms; energy is read
//! and not used.
//!
//! Source: Bluetooth SIG, *Heart Rate Service* 1.0 ("HRS"), *Battery Service* 1.0,
//! *Device Information Service* 1.1 ("DIS").

mod information;
mod measurement;
mod peripheral;
mod session;

use cardio_core::device::IntegrityClass;
use cardio_core::heart_rate::RR_UNITS_PER_S;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec, Uuid};

pub use information::{PnpId, system_id_of, text_of};
pub use measurement::HeartRateMeasurement;
pub use peripheral::HrsPeripheral;
pub(crate) use peripheral::read_information;
pub use session::HrsSession;
pub(crate) use session::{ask_common, on_common_value};

/// Heart Rate service.
pub const SERVICE: Uuid = Uuid::short(0x180D);
/// Heart Rate Measurement (HRS 3.1).
pub const MEASUREMENT: Uuid = Uuid::short(0x2A37);
/// Battery Level.
pub const BATTERY_LEVEL: Uuid = Uuid::short(0x2A19);
/// Texts of the Device Information service: characteristic and stable name of the field.
pub const INFORMATION: [(Uuid, &str); 6] = [
    (Uuid::short(0x2A29), "maker"),
    (Uuid::short(0x2A24), "model"),
    (Uuid::short(0x2A25), "serial"),
    (Uuid::short(0x2A27), "hardware"),
    (Uuid::short(0x2A26), "firmware"),
    (Uuid::short(0x2A28), "software"),
];
/// System ID: an EUI-64, least significant byte first.
pub const SYSTEM_ID: Uuid = Uuid::short(0x2A23);

/// Any strap with the standard service.
pub static PROFILE: GattProfile = GattProfile {
    name: "sig-hrs",
    maker: "",
    model: "heart rate sensor",
    signal: Some(SignalSpec {
        rate_hz: RR_UNITS_PER_S,
        rates_hz: &[],
        samples_per_frame: 1024,
        integrity: IntegrityClass::Uncounted,
        modulus: None,
        gain_adu_per_mv: None,
        rails: (0, 1),
        absent_adu: None,
        waves: &[],
    }),
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[CharacteristicSpec {
            uuid: MEASUREMENT,
            properties: &[Property::Notify],
        }],
    }],
    min_mtu: 23,
    matches: |advertisement| advertisement.services.contains(&SERVICE),
    session: Some(|timing| Box::new(HrsSession::new(timing))),
    kept: None,
    peripheral: || Box::new(HrsPeripheral::default()),
};
