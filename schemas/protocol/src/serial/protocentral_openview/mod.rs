//! ProtoCentral OpenView packets, as HealthyPi 5 sends them over USB: one ECG at 128 Hz.
//!
//! Packet: `0A FA, u16 length, u8 kind, payload, 00 0B`. There is no counter, no checksum
//! and no time, so a loss shows only as fewer samples than time demands; an ECG of the
//! MAX30001, raw. Deliberately absent: the plethysmogram's samples.
//!
//! Source: `Protocentral/protocentral_healthypi5_zephyr`, data module.

mod packet;
mod stream;

use cardio_core::device::IntegrityClass;
use cardio_core::lead::Lead;

use crate::profile::{Profile, WaveKind};

pub use packet::{EcgPacket, Packet};
pub use stream::{OpenViewDecoder, OpenViewEncoder, OpenViewPeripheral, OpenViewSession};

/// Counts per millivolt at the converter's gain of 20 V/V: `2^17 x 20 / 1000`.
pub const GAIN_ADU_PER_MV: f64 = 131_072.0 * 20.0 / 1000.0;

/// The device, with its one lead taken as II.
pub static PROFILE: Profile = Profile {
    name: "protocentral-openview",
    maker: "ProtoCentral",
    model: "HealthyPi 5",
    baud: 115_200,
    any_speed: true,
    rate_hz: 128,
    samples_per_frame: 8,
    integrity: IntegrityClass::Uncounted,
    modulus: None,
    gain_adu_per_mv: GAIN_ADU_PER_MV,
    baseline_adu: 0.0,
    calibrated: true,
    rails: (-131_072, 131_071),
    waves: &[WaveKind::Ecg(Lead::II)],
    decoder: || Box::new(OpenViewDecoder::default()),
    encoder: || Box::new(OpenViewEncoder::default()),
    session: |timing| Box::new(OpenViewSession::new(timing)),
    peripheral: || Box::new(OpenViewPeripheral),
};
