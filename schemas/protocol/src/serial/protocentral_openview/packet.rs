//! One packet, and back.

use nom::bytes::streaming::{tag, take};
use nom::combinator::verify;
use nom::error::ErrorKind;
use nom::multi::fill;
use nom::number::complete;
use nom::number::streaming::{le_u16, u8};
use nom::{IResult, Parser};

pub(super) const START: [u8; 2] = [0x0A, 0xFA];
const STOP: [u8; 2] = [0x00, 0x0B];
/// Bytes beside the payload: start, length, kind, stop.
const FRAMING_BYTES: usize = 7;

const KIND_VITALS: u8 = 0x02;
const KIND_ECG: u8 = 0x03;
const KIND_PLETH: u8 = 0x04;

/// The longest packet.
pub(super) const LONGEST: usize = FRAMING_BYTES + 50;

/// Payload length of a kind, if it is known.
pub(super) const fn payload_len(kind: u8) -> Option<u16> {
    match kind {
        KIND_VITALS => Some(22),
        KIND_ECG => Some(50),
        KIND_PLETH => Some(19),
        _ => None,
    }
}

/// Kind 0x03: eight samples of ECG, four of bioimpedance, two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcgPacket {
    /// ECG, raw counts, oldest first.
    pub ecg: [i32; 8],
    /// Bioimpedance, raw counts, at half the ECG's rate.
    pub bioimpedance: [i32; 4],
    /// Heart rate as the firmware computes it, per minute; 0 when unknown.
    pub heart_rate: u8,
    /// Respiration rate as the firmware computes it, per minute; 0 when unknown.
    pub respiration_rate: u8,
}

/// One packet of any known kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Kind 0x03.
    Ecg(EcgPacket),
    /// Kind 0x02: one sample of each signal and the vital signs, as sent.
    Vitals([u8; 22]),
    /// Kind 0x04: the plethysmogram, as sent.
    Pleth([u8; 19]),
}

impl EcgPacket {
    fn parse(payload: &[u8]) -> IResult<&[u8], Self> {
        let (mut ecg, mut bioimpedance) = ([0; 8], [0; 4]);
        let (rest, ()) = fill(complete::le_i32, &mut ecg).parse(payload)?;
        let (rest, ()) = fill(complete::le_i32, &mut bioimpedance).parse(rest)?;
        let (rest, heart_rate) = complete::u8(rest)?;
        let (rest, respiration_rate) = complete::u8(rest)?;
        let packet = Self {
            ecg,
            bioimpedance,
            heart_rate,
            respiration_rate,
        };
        Ok((rest, packet))
    }
}

impl Packet {
    /// Reads a packet at the front of the bytes. Incomplete is not an error.
    pub fn parse(input: &[u8]) -> IResult<&[u8], Self> {
        let (rest, _) = tag(&START[..]).parse(input)?;
        let (rest, len) = le_u16(rest)?;
        let (rest, kind) = verify(u8, |kind| payload_len(*kind) == Some(len)).parse(rest)?;
        let (rest, payload) = take(len).parse(rest)?;
        let (rest, _) = tag(&STOP[..]).parse(rest)?;
        let damaged = || nom::Err::Error(nom::error::Error::new(input, ErrorKind::Verify));
        let packet = match kind {
            KIND_ECG => Self::Ecg(EcgPacket::parse(payload)?.1),
            KIND_VITALS => Self::Vitals(payload.try_into().map_err(|_| damaged())?),
            _ => Self::Pleth(payload.try_into().map_err(|_| damaged())?),
        };
        Ok((rest, packet))
    }

    /// Appends the bytes of the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Ecg(_) => KIND_ECG,
            Self::Vitals(_) => KIND_VITALS,
            Self::Pleth(_) => KIND_PLETH,
        };
        out.extend_from_slice(&START);
        out.extend_from_slice(&payload_len(kind).unwrap_or_default().to_le_bytes());
        out.push(kind);
        match self {
            Self::Ecg(packet) => {
                for count in packet.ecg.iter().chain(&packet.bioimpedance) {
                    out.extend_from_slice(&count.to_le_bytes());
                }
                out.extend_from_slice(&[packet.heart_rate, packet.respiration_rate]);
            }
            Self::Vitals(payload) => out.extend_from_slice(payload),
            Self::Pleth(payload) => out.extend_from_slice(payload),
        }
        out.extend_from_slice(&STOP);
    }
}

#[cfg(test)]
mod tests {
    use super::{EcgPacket, Packet};
    use proptest::prelude::*;

    const KNOWN: &[u8] = &[
        0x0A, 0xFA, 0x32, 0x00, 0x03, 0x64, 0, 0, 0, 0x9C, 0xFF, 0xFF, 0xFF, 0xC8, 0, 0, 0, 0x38,
        0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0x0A,
        0, 0, 0, 0x14, 0, 0, 0, 0x1E, 0, 0, 0, 0x28, 0, 0, 0, 0x48, 0x0F, 0x00, 0x0B,
    ];

    #[test]
    fn the_known_packet_is_read_and_written() {
        let packet = Packet::Ecg(EcgPacket {
            ecg: [100, -100, 200, -200, 0, 1, -1, 32767],
            bioimpedance: [10, 20, 30, 40],
            heart_rate: 72,
            respiration_rate: 15,
        });
        assert_eq!(Packet::parse(KNOWN).unwrap(), (&[][..], packet));
        let mut bytes = Vec::new();
        packet.write(&mut bytes);
        assert_eq!(bytes, KNOWN);
    }

    #[test]
    fn a_length_that_the_kind_never_has_is_refused_before_the_payload_comes() {
        assert!(matches!(
            Packet::parse(&[0x0A, 0xFA, 0xFF, 0xFF, 0x03]),
            Err(nom::Err::Error(_))
        ));
    }

    proptest! {
        #[test]
        fn what_decodes_reencodes_to_the_same_bytes(kind in 2_u8..=4, payload in proptest::collection::vec(any::<u8>(), 50)) {
            let len = super::payload_len(kind).unwrap();
            let mut bytes = vec![0x0A, 0xFA];
            bytes.extend_from_slice(&len.to_le_bytes());
            bytes.push(kind);
            bytes.extend_from_slice(&payload[..usize::from(len)]);
            bytes.extend_from_slice(&[0x00, 0x0B]);
            let (rest, packet) = Packet::parse(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            let mut again = Vec::new();
            packet.write(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }
}
