//! Packets in a stream.
//!
//! `A0` occurs in samples too, and nothing but the stop byte protects a packet. What looks
//! like a packet is therefore accepted only when a neighbour agrees:
//! - it directly follows an accepted packet, with the same stop byte and the next number; or
//! - it directly follows an accepted packet, with the same stop byte, and its number has moved
//!   on little: the last packet of a stream has nothing behind it; or
//! - it directly follows an accepted packet, and another start byte follows it; or
//! - behind a few stray bytes, its number is the next one with the same stop byte; or
//! - after a loss of lock, the next number follows it, or one that has moved on little, as it has
//!   itself with the same stop byte.
//!
//! So noise passes for a packet once in about 2^28 bytes, nine hours of it.

use crate::decoder::{DecodeError, Decoder, DecoderEvent, Encoder, Frame, FrameRows, FrameSeq};
use crate::serial::framing::{Grammar, Scanner, Step};

use super::packet::{PACKET_BYTES, Packet, START};

/// How far a number may have moved on over a loss to be likely one of the same stream.
const NEAR: u8 = 64;
/// Strays behind which the next number alone is no proof any more: some hundreds of bytes of noise.
const STRAY_MAX: usize = 2;

/// Reads what a Cyton sends.
#[derive(Debug, Default)]
pub struct CytonDecoder {
    scanner: Scanner<CytonGrammar>,
}

impl Decoder for CytonDecoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>) {
        self.scanner.push(bytes, out);
    }
}

#[derive(Debug, Default)]
struct CytonGrammar {
    last: Option<(u8, u8)>,
    locked: bool,
    /// What could have been a packet since the last one and is none: start bytes, and whatever else
    /// stands right behind it.
    strays: usize,
}

enum Verdict {
    Accept,
    Wait,
    Refuse,
}

impl CytonGrammar {
    fn judge(&self, packet: &Packet, behind: &[u8]) -> Verdict {
        let steps = self
            .last
            .map(|(number, _)| packet.number.wrapping_sub(number));
        let same_kind = self.last.is_some_and(|(_, kind)| kind == packet.kind);
        if steps == Some(1) && same_kind && self.strays <= STRAY_MAX {
            return Verdict::Accept;
        }
        let near = steps.is_some_and(|n| (1..=NEAR).contains(&n));
        match (behind, self.locked) {
            ([], true) if near && same_kind => Verdict::Accept,
            ([], _) => Verdict::Wait,
            ([START, ..], true) => Verdict::Accept,
            ([START], false) => Verdict::Wait,
            ([START, number, ..], false) => match number.wrapping_sub(packet.number) {
                1 => Verdict::Accept,
                0..=NEAR if near && same_kind => Verdict::Accept,
                _ => Verdict::Refuse,
            },
            _ => Verdict::Refuse,
        }
    }
}

impl Grammar for CytonGrammar {
    const HORIZON: usize = PACKET_BYTES + 2;

    fn step(&mut self, input: &[u8], offset: u64, out: &mut Vec<DecoderEvent>) -> Step {
        let (behind, packet) = match Packet::parse(input) {
            Ok(parsed) => parsed,
            Err(nom::Err::Incomplete(_)) => return Step::NeedMore,
            Err(_) => {
                // Not where bytes are skipped: that depends on where the stream was cut.
                let is_stray = self.locked || input.first() == Some(&START);
                self.strays = self.strays.saturating_add(usize::from(is_stray));
                return Step::Reject(refusal(input, offset));
            }
        };
        match self.judge(&packet, behind) {
            Verdict::Wait => Step::NeedMore,
            Verdict::Refuse => {
                self.strays = self.strays.saturating_add(1);
                Step::Reject(DecodeError::Unconfirmed { offset })
            }
            Verdict::Accept => {
                self.last = Some((packet.number, packet.kind));
                self.locked = true;
                self.strays = 0;
                out.push(DecoderEvent::Frame(Frame {
                    seq: Some(FrameSeq(u32::from(packet.number))),
                    ticks: None,
                    asked: None,
                    rows: FrameRows::one_each(&packet.channels),
                }));
                Step::Frame(PACKET_BYTES)
            }
        }
    }

    fn lost_lock(&mut self) {
        self.locked = false;
    }

    fn next_candidate(&self, input: &[u8]) -> usize {
        input
            .iter()
            .position(|byte| *byte == START)
            .unwrap_or(input.len())
    }
}

fn refusal(input: &[u8], offset: u64) -> DecodeError {
    match (input.first(), input.get(PACKET_BYTES - 1)) {
        (Some(&START), Some(&found)) => DecodeError::Trailer {
            offset,
            field: "stop byte",
            found,
        },
        (first, _) => DecodeError::NoStart {
            offset,
            found: first.copied().unwrap_or_default(),
        },
    }
}

/// Writes what a Cyton sends.
#[derive(Clone, Debug, Default)]
pub struct CytonEncoder {
    number: u8,
}

impl Encoder for CytonEncoder {
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<u8>) {
        let mut channels = [0; 8];
        for (channel, row) in channels.iter_mut().zip(rows.rows()) {
            *channel = row.first().copied().unwrap_or_default();
        }
        let packet = Packet {
            number: self.number,
            channels,
            auxiliary: [0; 6],
            kind: 0,
        };
        out.extend_from_slice(&packet.to_bytes());
        self.number = self.number.wrapping_add(1);
    }

    fn next_seq(&self) -> Option<FrameSeq> {
        Some(FrameSeq(u32::from(self.number)))
    }

    fn skip(&mut self, frames: u64) {
        let [low, ..] = frames.to_le_bytes();
        self.number = self.number.wrapping_add(low);
    }

    fn reset(&mut self) {
        self.number = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{CytonDecoder, CytonEncoder};
    use crate::decoder::{Decoder, DecoderEvent, Encoder, FrameRows};
    use crate::serial::framing::test_support::{frames, split_feed, with_noise};
    use proptest::prelude::*;

    fn stream(rows: &[[i32; 8]]) -> Vec<u8> {
        let mut encoder = CytonEncoder::default();
        let mut bytes = Vec::new();
        for row in rows {
            encoder.frame(&FrameRows::one_each(row), &mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<DecoderEvent> {
        let mut out = Vec::new();
        CytonDecoder::default().push(bytes, &mut out);
        out
    }

    fn ramp(len: i32) -> Vec<[i32; 8]> {
        (0..len).map(|n| [n, -n, 1, 2, 3, 4, 5, 6]).collect()
    }

    #[test]
    fn start_bytes_inside_samples_do_not_mislead() {
        // A channel that reads as `A0 xx` and one that reads as `xx C0`, on every packet,
        // with the stream cut into at its first byte.
        let rows: Vec<[i32; 8]> = (0..40)
            .map(|_| [0xA0_A0A0 - 0x100_0000, -0x40, 0xC0C0, 0xA0A0, 0, 0, 0, 0])
            .collect();
        for cut in 1..33 {
            let events = decode(&stream(&rows)[cut..]);
            let found = frames(&events);
            assert_eq!(found.len(), 39, "cut {cut}");
            assert!(
                found.iter().all(|frame| frame.rows.samples() == rows[0]),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn a_lost_byte_costs_one_packet_and_no_false_one() {
        let rows = ramp(60);
        let mut bytes = stream(&rows);
        bytes.remove(33 * 20 + 9);
        let events = decode(&bytes);
        let numbers: Vec<u32> = frames(&events).iter().map(|f| f.seq.unwrap().0).collect();
        let want: Vec<u32> = (0..60).filter(|n| *n != 20).collect();
        assert_eq!(numbers, want);
        let skipped: usize = events
            .iter()
            .map(|event| match event {
                DecoderEvent::Skipped { bytes, .. } => *bytes,
                _ => 0,
            })
            .sum();
        assert_eq!(skipped, 32);
    }

    #[test]
    fn the_reset_text_is_text_and_ends_with_its_marker() {
        let events = decode(super::super::RESET_TEXT.as_bytes());
        let text: String = events
            .iter()
            .map(|event| match event {
                DecoderEvent::Text(text) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(text, super::super::RESET_TEXT);
    }

    #[test]
    fn the_last_packet_is_given_at_once() {
        let rows = ramp(3);
        assert_eq!(frames(&decode(&stream(&rows))).len(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_and_every_byte_is_accounted_for(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cuts in proptest::collection::vec(0_usize..2000, 0..8)) {
            let events = split_feed(&mut CytonDecoder::default(), &bytes, &cuts);
            let counted: usize = events.iter().map(|event| match event {
                DecoderEvent::Skipped { bytes, .. } => *bytes,
                DecoderEvent::Text(text) => text.len(),
                DecoderEvent::Frame(_) => 33,
                _ => 0,
            }).sum();
            prop_assert!(counted <= bytes.len());
            prop_assert!(bytes.len() - counted <= 35 + 256);
        }

        #[test]
        fn splitting_the_stream_changes_nothing(rows in proptest::collection::vec(any::<[i16; 8]>(), 0..60), cuts in proptest::collection::vec(0_usize..2000, 0..8)) {
            let rows: Vec<[i32; 8]> = rows.iter().map(|row| row.map(i32::from)).collect();
            let bytes = stream(&rows);
            prop_assert_eq!(split_feed(&mut CytonDecoder::default(), &bytes, &cuts), decode(&bytes));
        }

        #[test]
        fn splitting_a_noisy_stream_changes_nothing(
            rows in proptest::collection::vec(any::<[i16; 8]>(), 8..40),
            garbage in proptest::collection::vec((1_usize..8, proptest::collection::vec(any::<u8>(), 1..600)), 0..4),
            cuts in proptest::collection::vec(0_usize..3000, 0..400),
        ) {
            let rows: Vec<[i32; 8]> = rows.iter().map(|row| row.map(i32::from)).collect();
            let bytes = with_noise(&stream(&rows), 33, &garbage);
            prop_assert_eq!(split_feed(&mut CytonDecoder::default(), &bytes, &cuts), decode(&bytes));
        }

        #[test]
        fn garbage_between_packets_costs_no_packet(rows in proptest::collection::vec(any::<[i16; 8]>(), 8..40), garbage in proptest::collection::vec((2_usize..8, proptest::collection::vec(0_u8..0xA0, 1..40)), 0..4)) {
            let rows: Vec<[i32; 8]> = rows.iter().map(|row| row.map(i32::from)).collect();
            let bytes = with_noise(&stream(&rows), 33, &garbage);
            let events = decode(&bytes);
            let found: Vec<Vec<i32>> = frames(&events).iter().map(|f| f.rows.samples().to_vec()).collect();
            let want: Vec<Vec<i32>> = rows.iter().map(|row| row.to_vec()).collect();
            prop_assert_eq!(found, want);
        }
    }
}
