//! The stethoscope's side.

use crate::decoder::FrameRows;
use crate::gatt::sig_hrs::{BATTERY_LEVEL, read_information};
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::{AUDIO, AdpcmState, AudioPacket, CODEC, Codec};

/// Bytes of a notification beside its payload: three of ATT, three of the packet.
const OVERHEAD: usize = 6;

/// A simulated stethoscope.
#[derive(Clone, Debug)]
pub struct AudioPeripheral {
    codec: Codec,
    mtu: usize,
    subscribed: bool,
    number: u16,
    state: AdpcmState,
    parts: u16,
}

impl Default for AudioPeripheral {
    fn default() -> Self {
        Self::new(Codec::MuLaw { rate_hz: 8000 }, 247)
    }
}

impl AudioPeripheral {
    /// A device with a codec, on a link with an MTU.
    pub fn new(codec: Codec, mtu: usize) -> Self {
        Self {
            codec,
            mtu,
            subscribed: false,
            number: 0,
            state: AdpcmState::default(),
            parts: 1,
        }
    }
}

impl GattPeripheral for AudioPeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        match from {
            CODEC => Some(vec![self.codec.number()]),
            BATTERY_LEVEL => Some(vec![70]),
            _ => read_information(from, "Simulated", "Stethoscope"),
        }
    }

    fn write(&mut self, _: Uuid, _: &[u8], _: &mut Vec<Notification>) {}

    fn subscribe(&mut self, to: Uuid, on: bool) {
        if to == AUDIO {
            self.subscribed = on;
        }
    }

    fn is_streaming(&self) -> bool {
        self.subscribed
    }

    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<Notification>) {
        let samples = rows.row(0).unwrap_or_default();
        let bytes = self.codec.encode(samples, &mut self.state);
        let room = self.mtu.saturating_sub(OVERHEAD).max(1);
        let parts = bytes.chunks(room);
        self.parts = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        for (index, payload) in (0_u8..).zip(parts) {
            let packet = AudioPacket {
                number: self.number,
                index,
                payload: payload.to_vec(),
            };
            self.number = self.number.wrapping_add(1);
            if self.subscribed {
                out.push(Notification {
                    from: AUDIO,
                    value: packet.encode(),
                });
            }
        }
    }

    fn skip(&mut self, frames: u64) {
        let packets = frames.wrapping_mul(u64::from(self.parts)) % 65_536;
        let packets = u16::try_from(packets).unwrap_or(0);
        self.number = self.number.wrapping_add(packets);
    }

    fn set_mtu(&mut self, mtu: u16) {
        self.mtu = usize::from(mtu);
    }

    fn disconnect(&mut self) {
        self.subscribed = false;
        self.number = 0;
    }

    fn power_cycle(&mut self) {
        *self = Self::new(self.codec, self.mtu);
    }
}
