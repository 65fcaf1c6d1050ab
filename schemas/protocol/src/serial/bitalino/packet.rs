//! One frame, and back. Bits are laid out from the end of the frame towards its start.

/// Most channels of a board.
const CHANNELS_MAX: usize = 6;

/// One frame of `n` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitalinoFrame {
    /// Counter, 0 to 15.
    pub sequence: u8,
    /// Digital lines I1, I2, O1, O2 from the highest bit of a nibble.
    pub digital: u8,
    /// Counts: 10 bits for the first four channels, 6 for the others; the rest is zero.
    pub analog: [u16; CHANNELS_MAX],
    /// Number of channels, 1 to 6.
    pub channels: usize,
}

/// Bytes of a frame of `channels` channels, 1 to 6.
pub const fn frame_len(channels: usize) -> usize {
    let bits = if channels <= 4 {
        12 + 10 * channels
    } else {
        52 + 6 * (channels - 4)
    };
    bits.div_ceil(8)
}

/// Checksum x^4 + x + 1 over all bits, with the checksum's own nibble taken as zero.
pub(super) fn crc4(bytes: &[u8]) -> u8 {
    let mut crc = 0_u8;
    let last = bytes.len().saturating_sub(1);
    for (place, byte) in bytes.iter().enumerate() {
        let byte = if place == last { byte & 0xF0 } else { *byte };
        for bit in (0..8).rev() {
            crc <<= 1;
            if crc & 0x10 != 0 {
                crc ^= 0x13;
            }
            crc ^= byte >> bit & 1;
        }
    }
    crc & 0x0F
}

/// Whether the bytes carry their own checksum.
fn crc_agrees(bytes: &[u8]) -> bool {
    bytes.last().is_some_and(|last| last & 0x0F == crc4(bytes))
}

impl BitalinoFrame {
    /// Reads a frame of `channels` channels whose checksum agrees.
    pub fn decode(bytes: &[u8], channels: usize) -> Option<Self> {
        let fits = (1..=CHANNELS_MAX).contains(&channels) && bytes.len() == frame_len(channels);
        if !fits || !crc_agrees(bytes) {
            return None;
        }
        let back = |from_end: usize| {
            let place = bytes.len().checked_sub(from_end);
            let byte = place.and_then(|place| bytes.get(place));
            u16::from(byte.copied().unwrap_or(0))
        };
        let all = [
            (back(2) & 0x0F) << 6 | back(3) >> 2,
            (back(3) & 0x03) << 8 | back(4),
            back(5) << 2 | back(6) >> 6,
            (back(6) & 0x3F) << 4 | back(7) >> 4,
            (back(7) & 0x0F) << 2 | back(8) >> 6,
            back(8) & 0x3F,
        ];
        let mut analog = [0; CHANNELS_MAX];
        for (slot, value) in analog.iter_mut().zip(all).take(channels) {
            *slot = value;
        }
        let [_, sequence] = (back(1) >> 4).to_be_bytes();
        let [_, digital] = (back(2) >> 4).to_be_bytes();
        Some(Self {
            sequence,
            digital,
            analog,
            channels,
        })
    }

    /// Appends the bytes of the frame. Counts beyond their bits are sent at the limit.
    pub fn write(&self, out: &mut Vec<u8>) {
        let channels = self.channels.clamp(1, CHANNELS_MAX);
        let value = |channel: usize| {
            let used = channel < channels;
            let count = self.analog.get(channel).copied().filter(|_| used);
            count.unwrap_or(0).min(if channel < 4 { 1023 } else { 63 })
        };
        let low = |value: u16| value.to_le_bytes()[0];
        let from_end = [
            self.sequence << 4,
            (self.digital & 0x0F) << 4 | low(value(0) >> 6),
            low(value(0) << 2 & 0xFC) | low(value(1) >> 8),
            low(value(1)),
            low(value(2) >> 2),
            low(value(2) << 6 & 0xC0) | low(value(3) >> 4),
            low(value(3) << 4 & 0xF0) | low(value(4) >> 2),
            low(value(4) << 6 & 0xC0) | low(value(5)),
        ];
        let start = out.len();
        let bytes = from_end.iter().take(frame_len(channels)).rev();
        out.extend(bytes);
        let crc = crc4(out.get(start..).unwrap_or_default());
        if let Some(last) = out.last_mut() {
            *last |= crc;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BitalinoFrame, frame_len};
    use proptest::prelude::*;

    #[test]
    fn the_known_frame_is_read_and_written() {
        let frame = BitalinoFrame {
            sequence: 5,
            digital: 0,
            analog: [512, 0, 0, 0, 0, 0],
            channels: 1,
        };
        assert_eq!(BitalinoFrame::decode(&[0x00, 0x08, 0x51], 1), Some(frame));
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        assert_eq!(bytes, [0x00, 0x08, 0x51]);
    }

    #[test]
    fn lengths_are_those_of_the_boards_documentation() {
        let lengths: Vec<usize> = (1..=6).map(frame_len).collect();
        assert_eq!(lengths, [3, 4, 6, 7, 8, 8]);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        for bit in 0..24 {
            let mut bytes = [0x00, 0x08, 0x51];
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BitalinoFrame::decode(&bytes, 1), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(sequence in 0_u8..16, digital in 0_u8..16, ten in any::<[u16; 4]>(), six in any::<[u16; 2]>(), channels in 1_usize..=6) {
            let mut analog = [0; 6];
            for (slot, value) in analog.iter_mut().zip(ten.map(|v| v % 1024).into_iter().chain(six.map(|v| v % 64))).take(channels) {
                *slot = value;
            }
            let frame = BitalinoFrame { sequence, digital, analog, channels };
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            prop_assert_eq!(bytes.len(), frame_len(channels));
            prop_assert_eq!(BitalinoFrame::decode(&bytes, channels), Some(frame));
        }

        #[test]
        fn any_bytes_are_a_frame_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..10), channels in 0_usize..9) {
            if let Some(frame) = BitalinoFrame::decode(&bytes, channels) {
                prop_assert_eq!(frame.channels, channels);
            }
        }
    }
}
