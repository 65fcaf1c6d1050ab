//! BITalino (r)evolution: up to six channels at 1 kHz over Bluetooth RFCOMM or a serial line.
//!
//! Frames have no start byte: a counter of four bits and a checksum of four bits are all
//! that tells a frame from chance, so several frames must agree before the stream is
//! trusted. The profile acquires one ECG channel. Deliberately absent: triggers, PWM, the
//! state of the board.
//!
//! Source: `BITalinoWorld/revolution-python-api`; scale from the ECG sensor's data sheet.

mod packet;
mod stream;
mod talk;

use cardio_core::device::IntegrityClass;
use cardio_core::lead::Lead;

use crate::profile::{Profile, WaveKind};

pub use packet::{BitalinoFrame, frame_len};
pub use stream::{BitalinoDecoder, BitalinoEncoder};
pub use talk::{BitalinoPeripheral, BitalinoSession, VERSION_TEXT};

/// Counts per millivolt: 1024 counts over 3.3 V, sensor gain 1100.
pub const GAIN_ADU_PER_MV: f64 = 1024.0 * 1100.0 / 3300.0;

/// The device, with its ECG sensor taken as lead II.
pub static PROFILE: Profile = Profile {
    name: "bitalino",
    maker: "PLUX",
    model: "BITalino (r)evolution",
    baud: 115_200,
    any_speed: false,
    rate_hz: 1000,
    samples_per_frame: 1,
    integrity: IntegrityClass::Counted,
    modulus: Some(16),
    gain_adu_per_mv: GAIN_ADU_PER_MV,
    baseline_adu: 512.0,
    calibrated: true,
    rails: (0, 1023),
    waves: &[WaveKind::Ecg(Lead::II)],
    decoder: || Box::new(BitalinoDecoder::default()),
    encoder: || Box::new(BitalinoEncoder::default()),
    session: |timing| Box::new(BitalinoSession::new(timing)),
    peripheral: || Box::new(BitalinoPeripheral::default()),
};
