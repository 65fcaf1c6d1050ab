//! Zephyr BioHarness and BioPatch: ECG at 250 Hz over RFCOMM or a serial line.
//!
//! Frame: `02, id, length, payload, CRC-8 of the payload, 03`. The ECG packet carries a
//! counter and the unit's local date and time; 63 samples of ten bits. The maker does not
//! publish what a count means, so counts are recorded without a unit. Deliberately absent:
//! breathing, acceleration, the summary.
//!
//! Source: `jpaalasm/zephyr-bt`, message and protocol modules.

mod packet;
mod stream;
mod talk;

use cardio_core::device::IntegrityClass;

use crate::profile::{Profile, WaveKind};

pub use packet::{EcgPacket, Message, SAMPLES, UnitTime, crc8};
pub use stream::{BioharnessDecoder, BioharnessEncoder};
pub use talk::{BioharnessPeripheral, BioharnessSession};

/// The unit on a chest strap; its two electrodes lie near those of lead I.
pub static PROFILE: Profile = Profile {
    name: "bioharness",
    maker: "Zephyr",
    model: "BioHarness",
    baud: 115_200,
    any_speed: false,
    rate_hz: 250,
    samples_per_frame: SAMPLES,
    integrity: IntegrityClass::Counted,
    modulus: Some(256),
    gain_adu_per_mv: 40.0,
    baseline_adu: 0.0,
    calibrated: false,
    rails: (-512, 511),
    waves: &[WaveKind::EcgOther("chest strap")],
    decoder: || Box::new(BioharnessDecoder::default()),
    encoder: || Box::new(BioharnessEncoder::default()),
    session: |timing| Box::new(BioharnessSession::new(timing)),
    peripheral: || Box::new(BioharnessPeripheral::default()),
};
