//! Frames in a stream without start bytes.
//!
//! A frame has four bits of checksum and four of count, which noise has by chance once in 256. So
//! it is accepted when its checksum agrees and
//! - it follows the last one with the next number or the same, and the next one counts on from it, or
//!   two of the three behind it do, or all three count among themselves; or
//! - anywhere else, four frames in a row agree in checksum and count. Behind noise their first is
//!   given up: once in 256 it is the noise that ends so.
//!
//! What was sent last waits therefore for what comes behind it, and is given up when that is noise.

use crate::decoder::{DecodeError, Decoder, DecoderEvent, Encoder, Frame, FrameRows, FrameSeq};
use crate::serial::framing::{Grammar, Scanner, Step};

use super::packet::{BitalinoFrame, crc4, frame_len};

const CHANNELS: usize = 1;
const LEN: usize = frame_len(CHANNELS);
/// Frames in a row that find the stream anew.
const AGREEING: usize = 4;

/// Reads what a board with one channel sends.
#[derive(Debug, Default)]
pub struct BitalinoDecoder {
    scanner: Scanner<BitalinoGrammar>,
}

impl Decoder for BitalinoDecoder {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>) {
        self.scanner.push(bytes, out);
    }
}

#[derive(Debug, Default)]
struct BitalinoGrammar {
    last: Option<u8>,
    /// Bytes that were skipped since the last frame.
    skipped: usize,
    /// Count and place, in skipped bytes, of what was given up as the first of those that agree.
    given_up: Option<(u8, usize)>,
}

/// The count of a frame so many frames further, if its checksum agrees; nothing when it is not there
/// yet.
fn count_at(input: &[u8], place: usize) -> Option<Option<u8>> {
    let bytes = input.get(place * LEN..(place + 1) * LEN)?;
    Some(BitalinoFrame::decode(bytes, CHANNELS).map(|frame| frame.sequence))
}

const fn after(count: u8, frames: u8) -> u8 {
    count.wrapping_add(frames) % 16
}

/// Whether frames from a place on agree in checksum and count; nothing when they are not all there
/// and those that are agree.
fn agree(input: &[u8], places: std::ops::Range<usize>) -> Option<bool> {
    let mut expected = None;
    for place in places {
        match count_at(input, place)? {
            Some(count) if expected.is_none_or(|expected| expected == count) => {
                expected = Some(after(count, 1));
            }
            _ => return Some(false),
        }
    }
    Some(true)
}

impl BitalinoGrammar {
    fn judge(&mut self, input: &[u8], frame: &BitalinoFrame) -> Verdict {
        let ahead = self.last.map(|last| after(frame.sequence, 16 - last));
        // the next one, or the same once more
        let follows = self.skipped == 0 && ahead.is_some_and(|ahead| ahead <= 1);
        let verdict = if follows {
            goes_on(input, frame.sequence)
        } else {
            agree(input, 0..AGREEING)
        };
        match verdict {
            Some(true) if self.is_behind_noise(frame.sequence) => {
                self.given_up = Some((frame.sequence, self.skipped));
                Verdict::Refuse
            }
            Some(true) => Verdict::Accept,
            Some(false) => Verdict::Refuse,
            None => Verdict::Wait,
        }
    }
}

impl BitalinoGrammar {
    /// Whether more was skipped than the rest of a frame or a few that were damaged, and this is the
    /// first behind it.
    fn is_behind_noise(&self, count: u8) -> bool {
        let frames = self.skipped / LEN;
        let expected = u8::try_from(frames).ok().zip(self.last);
        let are_damaged = frames < AGREEING
            && self.skipped.is_multiple_of(LEN)
            && expected.is_some_and(|(frames, last)| after(last, frames + 1) == count);
        let is_second = self.given_up.is_some_and(|(first, place)| {
            after(first, 1) == count && place.saturating_add(LEN) == self.skipped
        });
        frames > 0 && !are_damaged && !is_second
    }
}

/// Whether what is behind a frame makes it one: frames that go on counting, be it that one is
/// damaged or comes again between. One that comes again behind a damaged one does not: it is the
/// true one then, and this is noise.
fn goes_on(input: &[u8], count: u8) -> Option<bool> {
    let (mut going_on, mut is_again) = (0, true);
    for place in 1..AGREEING {
        let ahead = count_at(input, place)?.map(|found| usize::from(after(found, 16 - count)));
        let is_due = |ahead| ahead < AGREEING && (ahead + 1 >= place || is_again);
        going_on += u8::from(ahead.is_some_and(is_due));
        if going_on == 2 || (place == 1 && ahead == Some(1)) {
            return Some(true);
        }
        is_again &= ahead == Some(0);
    }
    agree(input, 1..AGREEING)
}

enum Verdict {
    Accept,
    Wait,
    Refuse,
}

impl Grammar for BitalinoGrammar {
    const HORIZON: usize = LEN * AGREEING;

    fn step(&mut self, input: &[u8], offset: u64, out: &mut Vec<DecoderEvent>) -> Step {
        let Some(bytes) = input.get(..LEN) else {
            return Step::NeedMore;
        };
        let Some(frame) = BitalinoFrame::decode(bytes, CHANNELS) else {
            return Step::Reject(DecodeError::Checksum {
                offset,
                found: u32::from(bytes.last().copied().unwrap_or(0) & 0x0F),
                want: u32::from(crc4(bytes)),
            });
        };
        match self.judge(input, &frame) {
            Verdict::Wait => Step::NeedMore,
            Verdict::Refuse => Step::Reject(DecodeError::Unconfirmed { offset }),
            Verdict::Accept => {
                self.last = Some(frame.sequence);
                self.skipped = 0;
                self.given_up = None;
                let [count, ..] = frame.analog;
                out.push(DecoderEvent::Frame(Frame {
                    seq: Some(FrameSeq(u32::from(frame.sequence))),
                    ticks: None,
                    asked: None,
                    rows: FrameRows::one_each(&[i32::from(count)]),
                }));
                Step::Frame(LEN)
            }
        }
    }

    fn lost_lock(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    fn next_candidate(&self, _: &[u8]) -> usize {
        0
    }
}

/// Writes what a board with one channel sends.
#[derive(Clone, Debug, Default)]
pub struct BitalinoEncoder {
    sequence: u8,
}

impl Encoder for BitalinoEncoder {
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<u8>) {
        let mut analog = [0; 6];
        for (slot, row) in analog.iter_mut().zip(rows.rows()).take(CHANNELS) {
            let count = row.first().copied().unwrap_or_default().clamp(0, 1023);
            *slot = u16::try_from(count).unwrap_or(0);
        }
        BitalinoFrame {
            sequence: self.sequence,
            digital: 0,
            analog,
            channels: CHANNELS,
        }
        .write(out);
        self.skip(1);
    }

    fn next_seq(&self) -> Option<FrameSeq> {
        Some(FrameSeq(u32::from(self.sequence)))
    }

    fn skip(&mut self, frames: u64) {
        let [low, ..] = frames.to_le_bytes();
        self.sequence = self.sequence.wrapping_add(low) % 16;
    }

    fn reset(&mut self) {
        self.sequence = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{BitalinoDecoder, BitalinoEncoder, BitalinoFrame};
    use crate::decoder::{Decoder, DecoderEvent, Encoder, FrameRows};
    use crate::serial::framing::test_support::{frames, split_feed};
    use proptest::prelude::*;

    fn stream(counts: &[i32]) -> Vec<u8> {
        let mut encoder = BitalinoEncoder::default();
        let mut bytes = Vec::new();
        for count in counts {
            encoder.frame(&FrameRows::one_each(&[*count]), &mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Vec<i32> {
        let mut out = Vec::new();
        BitalinoDecoder::default().push(bytes, &mut out);
        frames(&out).iter().map(|f| f.rows.samples()[0]).collect()
    }

    #[test]
    fn the_middle_of_a_stream_is_found() {
        let counts: Vec<i32> = (0..500).map(|n| n * 37 % 1024).collect();
        let bytes = stream(&counts);
        for cut in 1..60 {
            let found = decode(&bytes[cut..]);
            assert!(counts[..499].ends_with(&found), "cut {cut}");
            assert!(
                found.len() >= counts.len() - cut / 3 - 2,
                "cut {cut}: {}",
                found.len()
            );
        }
    }

    #[test]
    fn a_damaged_frame_costs_itself_alone() {
        let counts: Vec<i32> = (0..200).map(|n| n * 37 % 1024).collect();
        let mut bytes = stream(&counts);
        bytes[3 * 50 + 2] = !bytes[3 * 50 + 2];
        let want: Vec<i32> = (0..199)
            .filter(|n| *n != 50)
            .map(|n| n * 37 % 1024)
            .collect();
        assert_eq!(decode(&bytes), want);
    }

    #[test]
    fn noise_that_has_the_next_count_by_chance_is_no_frame() {
        let bytes = stream(&[505; 20]);
        let noise = [109, 205, 146, 38, 226, 71];
        // the last byte of each three holds the count and the checksum: this one says 9
        assert_eq!(BitalinoFrame::decode(&noise[..3], 1).unwrap().sequence, 9);
        let (before, behind) = bytes.split_at(3 * 9);
        let found = decode(&[before, &noise, behind].concat());
        assert!(found.len() >= 15, "{found:?}");
        assert!(found.iter().all(|count| *count == 505), "{found:?}");
    }

    #[test]
    fn lost_and_repeated_frames_do_not_lose_the_ones_behind() {
        let counts: Vec<i32> = (0..200).map(|n| n * 37 % 1024).collect();
        let mut bytes = stream(&counts);
        bytes.drain(3 * 100..3 * 107);
        let repeated = bytes[3 * 20..3 * 21].to_vec();
        bytes.splice(3 * 20..3 * 20, repeated);
        assert_eq!(decode(&bytes).len(), 200 - 7 + 1 - 1);
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_and_splitting_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..800), cuts in proptest::collection::vec(0_usize..800, 0..8)) {
            let mut whole = Vec::new();
            BitalinoDecoder::default().push(&bytes, &mut whole);
            let split = split_feed(&mut BitalinoDecoder::default(), &bytes, &cuts);
            prop_assert_eq!(whole, split);
        }

        #[test]
        fn a_clean_stream_is_read_as_written(counts in proptest::collection::vec(0_i32..1024, 4..300)) {
            let found = decode(&stream(&counts));
            prop_assert_eq!(&found[..], &counts[..counts.len() - 1]);
        }

        #[test]
        fn noise_of_chance_is_hardly_ever_taken_for_frames(seed in any::<u64>()) {
            let mut state = seed | 1;
            let mut bytes = stream(&[512; 20]);
            bytes.extend((0..3000).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            }));
            let mut out: Vec<DecoderEvent> = Vec::new();
            BitalinoDecoder::default().push(&bytes, &mut out);
            prop_assert!((19..=21).contains(&frames(&out).len()));
        }
    }
}
