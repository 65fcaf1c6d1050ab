//! Finding frames in a byte stream, for any device with a [`Grammar`].
//!
//! The scanner keeps at most one frame and one line of text. Bytes that belong to no frame
//! are given as text when they are printable, and as skipped with a reason otherwise; none
//! goes unmentioned. Deliberately absent: anything about one device.

use crate::decoder::{DecodeError, Decoder, DecoderEvent};

/// Bytes outside frames that are kept before they are given out.
const LOOSE_MAX: usize = 256;
/// Input taken at a time, so that what is kept stays bounded however much comes at once.
const TAKE: usize = 4096;
/// Shortest printable end of a binary run that is worth being called text.
const TEXT_MIN: usize = 4;

/// What stands at the front of the bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A frame of this many bytes. Its events were appended.
    Frame(usize),
    /// Perhaps a frame; more bytes are needed to tell.
    NeedMore,
    /// No frame starts at the first byte.
    Reject(DecodeError),
}

/// How frames of one device look.
pub trait Grammar: Send {
    /// Bytes at which [`Step::NeedMore`] is never answered: the longest frame with what
    /// must be seen behind it.
    const HORIZON: usize;

    /// Looks at the front of `input`, whose first byte has the stream offset `offset`. A
    /// frame's events go to `out`.
    fn step(&mut self, input: &[u8], offset: u64, out: &mut Vec<DecoderEvent>) -> Step;

    /// A byte was skipped: the next frame does not directly follow the last one.
    fn lost_lock(&mut self) {}

    /// Where the next frame can start at the earliest in `input`, not counting its first
    /// byte. A hint for speed only.
    fn next_candidate(&self, input: &[u8]) -> usize;
}

/// A [`Decoder`] for any [`Grammar`].
#[derive(Debug, Default)]
pub struct Scanner<G> {
    grammar: G,
    pending: Vec<u8>,
    offset: u64,
    loose: Vec<u8>,
    loose_why: Option<DecodeError>,
}

impl<G: Grammar> Scanner<G> {
    /// A scanner at the start of a stream.
    pub fn new(grammar: G) -> Self {
        Self {
            grammar,
            pending: Vec::new(),
            offset: 0,
            loose: Vec::new(),
            loose_why: None,
        }
    }

    fn scan(&mut self, out: &mut Vec<DecoderEvent>) {
        let mut at = 0;
        while let Some(input) = self.pending.get(at..).filter(|rest| !rest.is_empty()) {
            let known = out.len();
            match self.grammar.step(input, self.offset, out) {
                Step::Frame(len) => {
                    let len = len.clamp(1, input.len());
                    at += len;
                    self.offset = self
                        .offset
                        .saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
                    if !self.loose.is_empty() {
                        let events = out.split_off(known);
                        self.flush(out);
                        out.extend(events);
                    }
                }
                Step::NeedMore if input.len() < G::HORIZON => break,
                step => {
                    let why = match step {
                        Step::Reject(why) => why,
                        _ => DecodeError::Unconfirmed {
                            offset: self.offset,
                        },
                    };
                    let len = 1 + self
                        .grammar
                        .next_candidate(input.get(1..).unwrap_or_default());
                    let len = len.min(input.len());
                    self.grammar.lost_lock();
                    self.set_aside(at..at + len, why, out);
                    at += len;
                }
            }
        }
        self.pending.drain(..at);
    }

    fn set_aside(
        &mut self,
        range: std::ops::Range<usize>,
        why: DecodeError,
        out: &mut Vec<DecoderEvent>,
    ) {
        self.loose_why.get_or_insert(why);
        for position in range {
            let Some(found) = self.pending.get(position).copied() else {
                break;
            };
            let offset = self.offset;
            self.loose_why
                .get_or_insert(DecodeError::NoStart { offset, found });
            self.offset = offset.saturating_add(1);
            self.loose.push(found);
            let byte = found;
            if byte == b'\n' || self.loose.ends_with(b"$$$") || self.loose.len() >= LOOSE_MAX {
                self.flush(out);
            }
        }
    }

    /// Gives out the bytes outside frames: a printable end as text, the rest as skipped.
    fn flush(&mut self, out: &mut Vec<DecoderEvent>) {
        let binary = self
            .loose
            .iter()
            .rposition(|byte| !is_text(*byte))
            .map_or(0, |last| last + 1);
        let text_len = self.loose.len() - binary;
        let binary = if binary > 0 && text_len < TEXT_MIN {
            self.loose.len()
        } else {
            binary
        };
        let (skipped, text) = self.loose.split_at(binary);
        if let (false, Some(why)) = (skipped.is_empty(), self.loose_why) {
            let bytes = skipped.len();
            out.push(DecoderEvent::Skipped { bytes, why });
        }
        if !text.is_empty() {
            let text = String::from_utf8_lossy(text).into_owned();
            out.push(DecoderEvent::Text(text));
        }
        self.loose.clear();
        self.loose_why = None;
    }
}

impl<G: Grammar> Decoder for Scanner<G> {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>) {
        for part in bytes.chunks(TAKE) {
            self.pending.extend_from_slice(part);
            self.scan(out);
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
pub(crate) mod test_support {
    use crate::decoder::{Decoder, DecoderEvent, Frame};

    /// The frames among the events.
    pub(crate) fn frames(events: &[DecoderEvent]) -> Vec<&Frame> {
        events
            .iter()
            .filter_map(|event| match event {
                DecoderEvent::Frame(frame) => Some(frame),
                _ => None,
            })
            .collect()
    }

    /// `frames` of `len` bytes each, with noise before some of them.
    pub(crate) fn with_noise(bytes: &[u8], len: usize, noise: &[(usize, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, frame) in bytes.chunks(len).enumerate() {
            for (_, bytes) in noise.iter().filter(|(before, _)| *before == at) {
                out.extend_from_slice(bytes);
            }
            out.extend_from_slice(frame);
        }
        out
    }

    /// Feeds `bytes` in parts that end at the cuts.
    pub(crate) fn split_feed(
        decoder: &mut dyn Decoder,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Vec<DecoderEvent> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut out = Vec::new();
        let mut from = 0;
        for to in cuts {
            decoder.push(&bytes[from..to], &mut out);
            from = to;
        }
        out
    }
}
