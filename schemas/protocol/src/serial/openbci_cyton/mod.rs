//! OpenBCI Cyton: eight 24-bit channels at 250 Hz over a radio dongle at 115 200 baud.
//!
//! Packet of 33 bytes: `A0, u8 sample number, 8 x i24 BE, 6 auxiliary bytes, C0..CF`. There
//! is no checksum. Commands are single letters: `s` stop, `v` reset (prints text that ends
//! with `$$$`), `b` begin. Deliberately absent: channel settings, SD card, accelerometer
//! values (the auxiliary bytes are carried, not read).
//!
//! Source: OpenBCI documentation, *Cyton Data Format* and *Cyton SDK*.

mod packet;
mod stream;
mod talk;

use cardio_core::device::IntegrityClass;
use cardio_core::lead::Lead;

use crate::profile::{Profile, WaveKind};

pub use packet::{PACKET_BYTES, Packet};
pub use stream::{CytonDecoder, CytonEncoder};
pub use talk::{CytonPeripheral, CytonSession, RESET_TEXT};

/// Counts per millivolt: reference 4.5 V, gain 24, full scale 2^23 - 1 counts.
pub const GAIN_ADU_PER_MV: f64 = 24.0 * 8_388_607.0 / 4500.0;

/// The device, with its eight channels wired to I, II and V1 to V6.
pub static PROFILE: Profile = Profile {
    name: "openbci-cyton",
    maker: "OpenBCI",
    model: "Cyton",
    baud: 115_200,
    any_speed: false,
    rate_hz: 250,
    samples_per_frame: 1,
    integrity: IntegrityClass::Counted,
    modulus: Some(256),
    gain_adu_per_mv: GAIN_ADU_PER_MV,
    baseline_adu: 0.0,
    calibrated: true,
    rails: (-8_388_608, 8_388_607),
    waves: &[
        WaveKind::Ecg(Lead::I),
        WaveKind::Ecg(Lead::II),
        WaveKind::Ecg(Lead::V1),
        WaveKind::Ecg(Lead::V2),
        WaveKind::Ecg(Lead::V3),
        WaveKind::Ecg(Lead::V4),
        WaveKind::Ecg(Lead::V5),
        WaveKind::Ecg(Lead::V6),
    ],
    decoder: || Box::new(CytonDecoder::default()),
    encoder: || Box::new(CytonEncoder::default()),
    session: |timing| Box::new(CytonSession::new(timing)),
    peripheral: || Box::new(CytonPeripheral::default()),
};
