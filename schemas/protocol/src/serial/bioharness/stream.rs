//! Messages in a stream. A checksum of eight bits and both ends must agree.

use crate::decoder::{
    DecodeError, Decoder, DecoderEvent, DeviceTicks, Encoder, Frame, FrameRows, FrameSeq,
};
use crate::serial::framing::{Grammar, Scanner, Step};

use super::packet::{EcgPacket, Ending, ID_ECG, LONGEST, Message, SAMPLES, STX, UnitTime, crc8};

/// Text by which the decoder tells the session that a command was accepted or refused.
pub(super) const ACCEPTED: &str = "accepted";
pub(super) const REFUSED: &str = "refused";

/// Milliseconds in a packet: 63 samples at 250 Hz.
const PACKET_MS: u64 = 252;
/// First instant of the simulated unit's calendar.
const EPOCH: UnitTime = UnitTime {
    year: 2000,
    month: 3,
    day: 1,
    ms_of_day: 0,
};
/// What its clock says when it is switched on: 2026-01-01, ten o'clock.
const START_MS: u64 = 9_437 * 86_400_000 + 36_000_000;

/// Reads what the unit sends.
#[derive(Debug, Default)]
pub struct BioharnessDecoder {
    scanner: Scanner<BioharnessGrammar>,
}

impl Decoder for BioharnessDecoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>) {
        self.scanner.push(bytes, out);
    }
}

#[derive(Debug, Default)]
struct BioharnessGrammar;

impl Grammar for BioharnessGrammar {
    const HORIZON: usize = LONGEST;

    fn step(&mut self, input: &[u8], offset: u64, out: &mut Vec<DecoderEvent>) -> Step {
        let (rest, (message, found)) = match Message::parse(input) {
            Ok(parsed) => parsed,
            Err(nom::Err::Incomplete(_)) => return Step::NeedMore,
            Err(_) => return Step::Reject(refusal(input, offset)),
        };
        let want = crc8(&message.payload);
        if want != found {
            return Step::Reject(DecodeError::Checksum {
                offset,
                found: u32::from(found),
                want: u32::from(want),
            });
        }
        match message.ending {
            Ending::Accepted => out.push(DecoderEvent::Text(ACCEPTED.to_owned())),
            Ending::Refused => out.push(DecoderEvent::Text(REFUSED.to_owned())),
            Ending::Text => {}
        }
        if let Some(packet) = (message.id == ID_ECG)
            .then(|| EcgPacket::decode(&message.payload))
            .flatten()
        {
            out.push(DecoderEvent::Frame(frame(&packet)));
        }
        Step::Frame(input.len().saturating_sub(rest.len()))
    }

    fn next_candidate(&self, input: &[u8]) -> usize {
        input
            .iter()
            .position(|byte| *byte == STX)
            .unwrap_or(input.len())
    }
}

fn frame(packet: &EcgPacket) -> Frame {
    // The packet's time is that of its first sample; ticks are of the last.
    let behind = (PACKET_MS - 4) * 1_000_000;
    Frame {
        seq: Some(FrameSeq(u32::from(packet.sequence))),
        ticks: packet.time.nanos().map(|first| DeviceTicks {
            nanos: first.saturating_add(behind),
        }),
        asked: None,
        rows: FrameRows::planar(SAMPLES, &packet.samples),
    }
}

fn refusal(input: &[u8], offset: u64) -> DecodeError {
    match input {
        [STX, _, len, ..] if *len > 128 => DecodeError::Length {
            offset,
            found: u64::from(*len),
        },
        [STX, _, len, rest @ ..] => DecodeError::Trailer {
            offset,
            field: "last byte",
            found: rest.get(usize::from(*len) + 1).copied().unwrap_or_default(),
        },
        _ => DecodeError::NoStart {
            offset,
            found: input.first().copied().unwrap_or_default(),
        },
    }
}

/// Writes what the unit sends.
#[derive(Clone, Debug)]
pub struct BioharnessEncoder {
    sequence: u8,
    /// What the unit's clock says, which has a cell of its own and goes on while the unit is off.
    clock_ms: u64,
}

impl Default for BioharnessEncoder {
    fn default() -> Self {
        Self {
            sequence: 0,
            clock_ms: START_MS,
        }
    }
}

impl Encoder for BioharnessEncoder {
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<u8>) {
        let mut samples = [0; SAMPLES];
        for (slot, count) in samples.iter_mut().zip(rows.samples()) {
            *slot = *count;
        }
        let packet = EcgPacket {
            sequence: self.sequence,
            time: EPOCH.later(self.clock_ms),
            samples,
        };
        Message {
            id: ID_ECG,
            payload: packet.encode(),
            ending: Ending::Text,
        }
        .write(out);
        self.skip(1);
    }

    fn next_seq(&self) -> Option<FrameSeq> {
        Some(FrameSeq(u32::from(self.sequence)))
    }

    fn skip(&mut self, frames: u64) {
        let [low, ..] = frames.to_le_bytes();
        self.sequence = self.sequence.wrapping_add(low);
        let passed = frames.saturating_mul(PACKET_MS);
        self.clock_ms = self.clock_ms.saturating_add(passed);
    }

    fn reset(&mut self) {
        self.sequence = 0;
    }

    fn shift_clock(&mut self, by_ms: i64) {
        self.clock_ms = self.clock_ms.saturating_add_signed(by_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::{BioharnessDecoder, BioharnessEncoder};
    use crate::decoder::{Decoder, DecoderEvent, Encoder, FrameRows};
    use crate::serial::framing::test_support::{frames, split_feed, with_noise};
    use proptest::prelude::*;

    const LEN: usize = 88 + 5;

    fn stream(rows: &[Vec<i32>]) -> Vec<u8> {
        let mut encoder = BioharnessEncoder::default();
        let mut bytes = Vec::new();
        for row in rows {
            encoder.frame(&FrameRows::planar(63, row), &mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<DecoderEvent> {
        let mut out = Vec::new();
        BioharnessDecoder::default().push(bytes, &mut out);
        out
    }

    #[test]
    fn a_frame_carries_counter_and_time_of_its_last_sample() {
        let events = decode(&stream(&[vec![1; 63], vec![2; 63]]));
        let found = frames(&events);
        assert_eq!(found[1].seq.unwrap().0, 1);
        let step = found[1].ticks.unwrap().nanos - found[0].ticks.unwrap().nanos;
        assert_eq!(step, 252_000_000);
    }

    #[test]
    fn a_unit_that_starts_anew_counts_from_zero_and_keeps_its_time() {
        let mut encoder = BioharnessEncoder::default();
        let mut bytes = Vec::new();
        let row = FrameRows::planar(63, &[1; 63]);
        encoder.frame(&row, &mut bytes);
        encoder.reset();
        encoder.frame(&row, &mut bytes);
        encoder.shift_clock(86_400_000);
        encoder.frame(&row, &mut bytes);
        let events = decode(&bytes);
        let found: Vec<(u32, u64)> = frames(&events)
            .iter()
            .map(|frame| (frame.seq.unwrap().0, frame.ticks.unwrap().nanos / 1_000_000))
            .collect();
        let began = 9_437 * 86_400_000 + 36_000_000 + 248;
        let day = 86_400_000;
        assert_eq!(
            found,
            [(0, began), (0, began + 252), (1, began + 504 + day)]
        );
    }

    #[test]
    fn an_answer_to_a_command_is_told() {
        let events = decode(&[0x02, 0x16, 0x00, 0x00, 0x06]);
        assert_eq!(events, [DecoderEvent::Text("accepted".to_owned())]);
    }

    proptest! {
        #[test]
        fn noise_costs_no_packet_and_splitting_changes_nothing(rows in proptest::collection::vec(proptest::collection::vec(-512_i32..=511, 63), 0..8), noise in proptest::collection::vec((0_usize..8, proptest::collection::vec(3_u8..=255, 1..40)), 0..3), cuts in proptest::collection::vec(0_usize..1000, 0..6)) {
            let bytes = with_noise(&stream(&rows), LEN, &noise);
            let events = decode(&bytes);
            let found: Vec<Vec<i32>> = frames(&events).iter().map(|f| f.rows.samples().to_vec()).collect();
            prop_assert_eq!(found, rows);
            prop_assert_eq!(split_feed(&mut BioharnessDecoder::default(), &bytes, &cuts), events);
        }

        #[test]
        fn any_bytes_give_events(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = decode(&bytes);
        }
    }
}
