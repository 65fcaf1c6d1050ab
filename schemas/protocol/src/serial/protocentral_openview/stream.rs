//! Packets in a stream, and the conversation: the device streams by itself.
//!
//! The markers can occur inside a payload, so a packet counts only with marker, known kind,
//! the kind's own length and trailer together.

use cardio_core::clock::BoxInstant;

use crate::decoder::{
    Aside, DecodeError, Decoder, DecoderEvent, Encoder, Frame, FrameRows, FrameSeq,
};
use crate::serial::framing::{Grammar, Scanner, Step};
use crate::session::{Peripheral, Session, SessionError, SessionState, SessionTiming, has_passed};

use super::packet::{EcgPacket, LONGEST, Packet, START, payload_len};

/// Reads what the device sends.
#[derive(Debug, Default)]
pub struct OpenViewDecoder {
    scanner: Scanner<OpenViewGrammar>,
}

impl Decoder for OpenViewDecoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>) {
        self.scanner.push(bytes, out);
    }
}

#[derive(Debug, Default)]
struct OpenViewGrammar {
    heart_rate: u8,
}

impl Grammar for OpenViewGrammar {
    const HORIZON: usize = LONGEST;

    fn step(&mut self, input: &[u8], offset: u64, out: &mut Vec<DecoderEvent>) -> Step {
        let (rest, packet) = match Packet::parse(input) {
            Ok(parsed) => parsed,
            Err(nom::Err::Incomplete(_)) => return Step::NeedMore,
            Err(_) => return Step::Reject(refusal(input, offset)),
        };
        if let Packet::Ecg(packet) = packet {
            out.push(DecoderEvent::Frame(Frame {
                seq: None,
                ticks: None,
                asked: None,
                rows: FrameRows::planar(packet.ecg.len(), &packet.ecg),
            }));
            if packet.heart_rate != self.heart_rate {
                self.heart_rate = packet.heart_rate;
                let bpm = u16::from(packet.heart_rate);
                out.push(DecoderEvent::Aside(Aside::HeartRate { bpm }));
            }
        }
        Step::Frame(input.len().saturating_sub(rest.len()))
    }

    fn next_candidate(&self, input: &[u8]) -> usize {
        input
            .iter()
            .position(|byte| START.first() == Some(byte))
            .unwrap_or(input.len())
    }
}

fn refusal(input: &[u8], offset: u64) -> DecodeError {
    let no_start = DecodeError::NoStart {
        offset,
        found: input.first().copied().unwrap_or_default(),
    };
    let Some([low, high, kind]) = input.strip_prefix(&START).and_then(|r| r.first_chunk()) else {
        return no_start;
    };
    let found = u16::from_le_bytes([*low, *high]);
    match payload_len(*kind) {
        None => DecodeError::Kind {
            offset,
            found: *kind,
        },
        Some(want) if want != found => DecodeError::Length {
            offset,
            found: u64::from(found),
        },
        Some(want) => DecodeError::Trailer {
            offset,
            field: "stop marker",
            found: input
                .get(5 + usize::from(want))
                .copied()
                .unwrap_or_default(),
        },
    }
}

/// Writes what the device sends.
#[derive(Clone, Debug, Default)]
pub struct OpenViewEncoder {
    _no_counter: (),
}

impl Encoder for OpenViewEncoder {
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<u8>) {
        let mut ecg = [0; 8];
        for (slot, count) in ecg.iter_mut().zip(rows.samples()) {
            *slot = (*count).clamp(-131_072, 131_071);
        }
        Packet::Ecg(EcgPacket {
            ecg,
            bioimpedance: [0; 4],
            heart_rate: 0,
            respiration_rate: 0,
        })
        .write(out);
    }

    fn next_seq(&self) -> Option<FrameSeq> {
        None
    }

    fn skip(&mut self, _frames: u64) {}

    fn reset(&mut self) {}
}

/// The box's side: nothing to send, only the first packet to wait for.
#[derive(Debug)]
pub struct OpenViewSession {
    timing: SessionTiming,
    state: SessionState,
    since: Option<BoxInstant>,
}

impl OpenViewSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: SessionState::Idle,
            since: None,
        }
    }
}

impl Session for OpenViewSession {
    fn start(&mut self, now: BoxInstant) -> Vec<u8> {
        self.state = SessionState::Starting;
        self.since = Some(now);
        Vec::new()
    }

    fn on_event(&mut self, event: &DecoderEvent, _now: BoxInstant) -> Vec<u8> {
        if matches!(event, DecoderEvent::Frame(_)) && self.state == SessionState::Starting {
            self.state = SessionState::Streaming;
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<u8> {
        let limit = self
            .timing
            .first_frame
            .saturating_mul(self.timing.tries.max(1));
        let waited = self
            .since
            .is_some_and(|since| has_passed(since, now, limit));
        if self.state == SessionState::Starting && waited {
            self.state = SessionState::Failed(SessionError::NoStream {
                command: "being opened",
                tries: 1,
            });
        }
        Vec::new()
    }

    fn stop(&mut self) -> Vec<u8> {
        self.state = SessionState::Idle;
        Vec::new()
    }

    fn state(&self) -> SessionState {
        self.state
    }
}

/// The device's side: it streams from power-on and listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenViewPeripheral;

impl Peripheral for OpenViewPeripheral {
    fn on_bytes(&mut self, _: &[u8], _: &mut Vec<u8>, _: &mut Vec<&'static str>) {}

    fn is_streaming(&self) -> bool {
        true
    }

    fn power_cycle(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::{OpenViewDecoder, OpenViewEncoder, OpenViewSession};
    use crate::decoder::{Decoder, DecoderEvent, Encoder, FrameRows};
    use crate::serial::framing::test_support::{frames, split_feed, with_noise};
    use crate::session::{Session, SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;
    use proptest::prelude::*;

    fn stream(rows: &[[i32; 8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in rows {
            OpenViewEncoder::default().frame(&FrameRows::planar(8, row), &mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<DecoderEvent> {
        let mut out = Vec::new();
        OpenViewDecoder::default().push(bytes, &mut out);
        out
    }

    #[test]
    fn markers_inside_samples_do_not_mislead_when_the_start_is_missing() {
        let tricky = i32::from_le_bytes([0x0A, 0xFA, 0x00, 0x00]);
        let rows = [[tricky; 8]; 20];
        for cut in 1..57 {
            let events = decode(&stream(&rows)[cut..]);
            assert_eq!(frames(&events).len(), 19, "cut {cut}");
        }
    }

    #[test]
    fn a_lost_byte_costs_one_packet() {
        let mut bytes = stream(&[[1; 8], [2; 8], [3; 8]]);
        bytes.remove(57 + 20);
        let events = decode(&bytes);
        let first: Vec<i32> = frames(&events)
            .iter()
            .map(|f| f.rows.samples()[0])
            .collect();
        assert_eq!(first, [1, 3]);
    }

    #[test]
    fn a_device_that_says_nothing_is_given_up_after_its_time() {
        let at = |millis: u64| BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        };
        let mut session = OpenViewSession::new(SessionTiming::default());
        assert_eq!(session.start(at(0)), b"");
        session.on_tick(at(5999));
        assert_eq!(session.state(), SessionState::Starting);
        session.on_tick(at(6000));
        assert!(matches!(session.state(), SessionState::Failed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_and_every_byte_is_accounted_for(bytes in proptest::collection::vec(any::<u8>(), 0..2000), cuts in proptest::collection::vec(0_usize..2000, 0..8)) {
            let events = split_feed(&mut OpenViewDecoder::default(), &bytes, &cuts);
            let counted: usize = events.iter().map(|event| match event {
                DecoderEvent::Skipped { bytes, .. } => *bytes,
                DecoderEvent::Text(text) => text.len(),
                _ => 0,
            }).sum();
            prop_assert!(counted <= bytes.len());
            prop_assert!(bytes.len() - counted <= 57 + 256);
        }

        #[test]
        fn garbage_costs_no_packet_and_splitting_changes_nothing(rows in proptest::collection::vec(any::<[i16; 8]>(), 0..40), garbage in proptest::collection::vec((0_usize..40, proptest::collection::vec(0x0B_u8..=0xFF, 1..60)), 0..4), cuts in proptest::collection::vec(0_usize..3000, 0..8)) {
            let rows: Vec<[i32; 8]> = rows.iter().map(|row| row.map(i32::from)).collect();
            let bytes = with_noise(&stream(&rows), 57, &garbage);
            let events = decode(&bytes);
            let found: Vec<Vec<i32>> = frames(&events).iter().map(|f| f.rows.samples().to_vec()).collect();
            let want: Vec<Vec<i32>> = rows.iter().map(|row| row.to_vec()).collect();
            prop_assert_eq!(found, want);
            prop_assert_eq!(split_feed(&mut OpenViewDecoder::default(), &bytes, &cuts), decode(&bytes));
        }
    }
}
