//! A stethoscope that sends audio packets: number, index within the frame, payload.
//!
//! A frame of sound that does not fit one notification comes in parts; a frame with a
//! missing part is lost as a whole, and the packet number says so. The operator names the
//! auscultation site; the device does not know it. Deliberately absent: Opus, playback.
//!
//! Source: `BasedHardware/omi`, protocol document (packet model); ITU-T G.711 (µ-law);
//! IMA Digital Audio Focus, 1992 (ADPCM), in the form of Nordic Thingy:52.

mod codec;
mod packet;
mod peripheral;
mod session;

use cardio_core::device::IntegrityClass;

use crate::gatt::{CharacteristicSpec, GattProfile, Property, ServiceSpec, SignalSpec, Uuid};
use crate::profile::WaveKind;

pub use codec::{AdpcmState, Codec, adpcm_decode, adpcm_encode, ulaw_decode, ulaw_encode};
pub use packet::{Assembled, Assembler, AudioPacket};
pub use peripheral::AudioPeripheral;
pub use session::AudioSession;

/// Service.
pub const SERVICE: Uuid = Uuid(0x19B1_0000_E8F2_537E_4F6C_D104_768A_1214);
/// Audio: notify.
pub const AUDIO: Uuid = Uuid(0x19B1_0001_E8F2_537E_4F6C_D104_768A_1214);
/// Codec: read.
pub const CODEC: Uuid = Uuid(0x19B1_0002_E8F2_537E_4F6C_D104_768A_1214);

/// Samples of one frame of sound.
pub const FRAME_SAMPLES: usize = 160;

/// The stethoscope at 8 kHz. Another rate follows from the codec that it states.
pub static PROFILE: GattProfile = GattProfile {
    name: "ble-audio-packets",
    maker: "",
    model: "stethoscope",
    signal: Some(SignalSpec {
        rate_hz: 8000,
        rates_hz: &[],
        samples_per_frame: FRAME_SAMPLES,
        integrity: IntegrityClass::Counted,
        modulus: Some(65_536),
        gain_adu_per_mv: None,
        rails: (-32_768, 32_767),
        absent_adu: None,
        waves: &[WaveKind::HeartSound],
    }),
    services: &[ServiceSpec {
        uuid: SERVICE,
        characteristics: &[
            CharacteristicSpec {
                uuid: AUDIO,
                properties: &[Property::Notify],
            },
            CharacteristicSpec {
                uuid: CODEC,
                properties: &[Property::Read],
            },
        ],
    }],
    min_mtu: 23,
    matches: |advertisement| advertisement.services.contains(&SERVICE),
    session: Some(|timing| Box::new(AudioSession::new(timing))),
    kept: None,
    peripheral: || Box::new(AudioPeripheral::default()),
};
