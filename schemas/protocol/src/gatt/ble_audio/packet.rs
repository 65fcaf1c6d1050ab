//! Packets, and putting the parts of a frame together.

use crate::decoder::DecodeError;
use crate::fields::Fields;

/// Longest frame that is put together.
const FRAME_MAX_BYTES: usize = 4096;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPacket {
    /// Counts notifications; wraps at 65 536.
    pub number: u16,
    /// Place of this part within its frame.
    pub index: u8,
    /// The part.
    pub payload: Vec<u8>,
}

impl AudioPacket {
    /// Reads a notification.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(value);
        Ok(Self {
            number: fields.u16("packet number")?,
            index: fields.u8("index")?,
            payload: fields.rest().to_vec(),
        })
    }

    /// The bytes of the notification.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.number.to_le_bytes().to_vec();
        out.push(self.index);
        out.extend_from_slice(&self.payload);
        out
    }
}

/// What the parts so far have become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembled {
    /// A whole frame, with the number of its first packet.
    Frame {
        /// Number of the first packet.
        number: u16,
        /// How many packets it came in.
        parts: u8,
        /// All parts joined.
        bytes: Vec<u8>,
    },
    /// More parts are needed.
    Part,
    /// The packet came before.
    Repeated,
    /// Parts were given up: a frame is missing one.
    Broken {
        /// Bytes that were given up.
        bytes: usize,
    },
}

/// Puts parts together to frames of a known length.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    parts: Vec<u8>,
    first: u16,
    next_index: u8,
    last: Option<u16>,
}

impl Assembler {
    /// Takes a packet; a frame has `frame_bytes` bytes.
    pub fn push(&mut self, packet: &AudioPacket, frame_bytes: usize) -> Assembled {
        if self.last == Some(packet.number) {
            return Assembled::Repeated;
        }
        let follows = self
            .last
            .is_none_or(|last| last.wrapping_add(1) == packet.number);
        self.last = Some(packet.number);
        let fits = packet.index == self.next_index && (follows || packet.index == 0);
        if !fits {
            let given_up = self.give_up();
            if packet.index != 0 {
                return Assembled::Broken {
                    bytes: given_up.saturating_add(packet.payload.len()),
                };
            }
            if given_up > 0 {
                self.begin(packet);
                return Assembled::Broken { bytes: given_up };
            }
        }
        if packet.index == 0 {
            self.begin(packet);
        } else {
            self.parts.extend_from_slice(&packet.payload);
            self.next_index = self.next_index.saturating_add(1);
        }
        self.complete(frame_bytes)
    }

    /// A frame that became whole with the packet that also ended a broken one.
    pub fn complete(&mut self, frame_bytes: usize) -> Assembled {
        let wanted = frame_bytes.clamp(1, FRAME_MAX_BYTES);
        match self.parts.len() {
            have if have == wanted => Assembled::Frame {
                number: self.first,
                parts: std::mem::take(&mut self.next_index),
                bytes: std::mem::take(&mut self.parts),
            },
            have if have > wanted => Assembled::Broken {
                bytes: self.give_up(),
            },
            _ => Assembled::Part,
        }
    }

    fn begin(&mut self, packet: &AudioPacket) {
        self.parts.clone_from(&packet.payload);
        self.first = packet.number;
        self.next_index = 1;
    }

    fn give_up(&mut self) -> usize {
        self.next_index = 0;
        std::mem::take(&mut self.parts).len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Assembled, Assembler, AudioPacket};
    use proptest::prelude::*;

    fn packet(number: u16, index: u8, payload: &[u8]) -> AudioPacket {
        AudioPacket {
            number,
            index,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn parts_become_a_frame_and_a_repeat_is_seen() {
        let mut assembler = Assembler::default();
        assert_eq!(
            assembler.push(&packet(65_535, 0, &[1, 2]), 3),
            Assembled::Part
        );
        assert_eq!(
            assembler.push(&packet(65_535, 0, &[1, 2]), 3),
            Assembled::Repeated
        );
        assert_eq!(
            assembler.push(&packet(0, 1, &[3]), 3),
            Assembled::Frame {
                number: 65_535,
                parts: 2,
                bytes: vec![1, 2, 3]
            }
        );
    }

    #[test]
    fn a_frame_with_a_missing_part_is_given_up_as_a_whole() {
        let mut assembler = Assembler::default();
        assembler.push(&packet(0, 0, &[1]), 3);
        assert_eq!(
            assembler.push(&packet(2, 2, &[3]), 3),
            Assembled::Broken { bytes: 2 }
        );
        assert_eq!(
            assembler.push(&packet(3, 0, &[1, 2, 3]), 3),
            Assembled::Frame {
                number: 3,
                parts: 1,
                bytes: vec![1, 2, 3]
            }
        );
    }

    #[test]
    fn a_frame_behind_a_broken_one_is_whole() {
        let mut assembler = Assembler::default();
        assembler.push(&packet(0, 0, &[1]), 2);
        assert_eq!(
            assembler.push(&packet(2, 0, &[7, 8]), 2),
            Assembled::Broken { bytes: 1 }
        );
        assert_eq!(
            assembler.complete(2),
            Assembled::Frame {
                number: 2,
                parts: 1,
                bytes: vec![7, 8]
            }
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_any_packets_stay_bounded(packets in proptest::collection::vec((any::<u16>(), 0_u8..4, proptest::collection::vec(any::<u8>(), 0..300)), 0..60), frame_bytes in 0_usize..2000) {
            let mut assembler = Assembler::default();
            for (number, index, payload) in packets {
                let packet = AudioPacket { number, index, payload };
                prop_assert_eq!(&AudioPacket::decode(&packet.encode()).unwrap(), &packet);
                assembler.push(&packet, frame_bytes);
                prop_assert!(assembler.parts.len() <= 300 + frame_bytes.max(1));
            }
        }
    }
}
