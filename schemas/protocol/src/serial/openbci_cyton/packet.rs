//! One packet of 33 bytes, and back.

use nom::bytes::streaming::{tag, take};
use nom::combinator::verify;
use nom::multi::fill;
use nom::number::streaming::{be_i24, u8};
use nom::{IResult, Parser};

/// Length of every packet.
pub const PACKET_BYTES: usize = 33;
/// First byte of every packet.
pub(super) const START: u8 = 0xA0;
/// Lowest and highest last byte of a packet.
const STOP: std::ops::RangeInclusive<u8> = 0xC0..=0xCF;
/// Limits of a 24-bit converter.
const RAILS: std::ops::RangeInclusive<i32> = -8_388_608..=8_388_607;

/// One packet, as the board sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sample number; counts up and wraps from 255 to 0.
    pub number: u8,
    /// One count per channel.
    pub channels: [i32; 8],
    /// Six auxiliary bytes; their meaning follows from the stop byte.
    pub auxiliary: [u8; 6],
    /// Low nibble of the stop byte: 0 accelerometer, 1 raw, 3 to 6 time-stamped.
    pub kind: u8,
}

impl Packet {
    /// Reads a packet at the front of the bytes. Incomplete is not an error.
    pub fn parse(input: &[u8]) -> IResult<&[u8], Self> {
        let (rest, _) = tag(&[START][..]).parse(input)?;
        let (rest, number) = u8(rest)?;
        let mut channels = [0; 8];
        let (rest, ()) = fill(be_i24, &mut channels).parse(rest)?;
        let (rest, raw) = take(6_usize).parse(rest)?;
        let (rest, stop) = verify(u8, |byte| STOP.contains(byte)).parse(rest)?;
        let mut auxiliary = [0; 6];
        auxiliary.copy_from_slice(raw);
        let kind = stop & 0x0F;
        let packet = Self {
            number,
            channels,
            auxiliary,
            kind,
        };
        Ok((rest, packet))
    }

    /// The bytes of the packet. Counts beyond 24 bits are sent at the limit.
    pub fn to_bytes(&self) -> [u8; PACKET_BYTES] {
        let mut bytes = [0; PACKET_BYTES];
        let counts = self.channels.iter().flat_map(|count| {
            let [_, high, middle, low] = (*count).clamp(*RAILS.start(), *RAILS.end()).to_be_bytes();
            [high, middle, low]
        });
        let all = [START, self.number]
            .into_iter()
            .chain(counts)
            .chain(self.auxiliary)
            .chain([STOP.start() | (self.kind & 0x0F)]);
        for (slot, byte) in bytes.iter_mut().zip(all) {
            *slot = byte;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{PACKET_BYTES, Packet};
    use proptest::prelude::*;

    const KNOWN: [u8; PACKET_BYTES] = [
        0xA0, 0x07, 0x00, 0x03, 0xE8, 0xFF, 0xFC, 0x18, 0x00, 0x00, 0x00, 0x7F, 0xFF, 0xFF, 0x80,
        0x00, 0x00, 0x00, 0x00, 0x01, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0xC0,
    ];

    fn known() -> Packet {
        Packet {
            number: 7,
            channels: [1000, -1000, 0, 8_388_607, -8_388_608, 1, -1, 5],
            auxiliary: [0; 6],
            kind: 0,
        }
    }

    #[test]
    fn the_known_packet_is_read_and_written() {
        assert_eq!(Packet::parse(&KNOWN).unwrap(), (&[][..], known()));
        assert_eq!(known().to_bytes(), KNOWN);
    }

    #[test]
    fn a_count_beyond_24_bits_is_sent_at_the_limit() {
        let mut packet = known();
        packet.channels = [i32::MAX, i32::MIN, 0, 0, 0, 0, 0, 0];
        let (_, read) = Packet::parse(&packet.to_bytes())
            .map(|(_, p)| ((), p))
            .unwrap();
        assert_eq!(read.channels[..2], [8_388_607, -8_388_608]);
    }

    #[test]
    fn a_wrong_stop_byte_is_an_error_and_a_missing_one_is_incomplete() {
        let mut wrong = KNOWN;
        wrong[32] = 0xB0;
        assert!(matches!(Packet::parse(&wrong), Err(nom::Err::Error(_))));
        assert!(matches!(
            Packet::parse(&KNOWN[..32]),
            Err(nom::Err::Incomplete(_))
        ));
    }

    proptest! {
        #[test]
        fn what_decodes_reencodes_to_the_same_bytes(mut bytes: [u8; 32], stop in 0xC0_u8..=0xCF) {
            bytes[0] = 0xA0;
            let mut whole = bytes.to_vec();
            whole.push(stop);
            let (rest, packet) = Packet::parse(&whole).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(packet.to_bytes().to_vec(), whole);
        }
    }
}
