//! Recordings kept by the sensor: the list, and fetching one.
//!
//! Pieces carry their offset; they may come out of order or twice, and one without bytes
//! ends the recording. A hole is not sent again: the recording is fetched anew, and what is
//! there already is kept.

use std::collections::BTreeMap;

use crate::decoder::DecodeError;
use crate::fields::Fields;

/// Bytes before the entries of the answer to `/Mem/Logbook/entries`.
const LIST_HEAD: usize = 1;

/// One recording in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its id.
    pub id: u32,
    /// When it was changed last, in seconds on the sensor's clock.
    pub modified: u32,
    /// Bytes.
    pub size: u64,
}

/// Reads the data of the answer to `/Mem/Logbook/entries`: one byte, then the entries.
///
/// # Errors
/// [`DecodeError`] names field and offset.
pub fn logbook(data: &[u8]) -> Result<Vec<LogEntry>, DecodeError> {
    let mut fields = Fields::new(data);
    fields.take("list head", LIST_HEAD)?;
    let mut entries = Vec::new();
    while fields.left() > 0 {
        entries.push(LogEntry {
            id: fields.u32("log id")?,
            modified: fields.u32("modified")?,
            size: fields.u64("size")?,
        });
    }
    Ok(entries)
}

/// One piece of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// Where it belongs.
    pub offset: u32,
    /// Its bytes; none at the end of the recording.
    pub bytes: Vec<u8>,
}

impl LogPiece {
    /// Reads the body of a data notification.
    ///
    /// # Errors
    /// [`DecodeError`] names field and offset.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(body);
        Ok(Self {
            offset: fields.u32("offset")?,
            bytes: fields.rest().to_vec(),
        })
    }

    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        [&self.offset.to_le_bytes()[..], &self.bytes].concat()
    }
}

/// Stretches apart from each other that are kept, at most.
const RUNS_MAX: usize = 4096;

/// A recording being fetched.
#[derive(Clone, Debug)]
pub struct LogFetch {
    size_max: u64,
    /// Stretches without a hole, by their offset; no two touch.
    runs: BTreeMap<u64, Vec<u8>>,
    end: Option<u64>,
    repeated: u64,
}

impl LogFetch {
    /// A fetch of a recording that has at most `size_max` bytes.
    pub const fn new(size_max: u64) -> Self {
        Self {
            size_max,
            runs: BTreeMap::new(),
            end: None,
            repeated: 0,
        }
    }

    /// It is sent once more: its end is not known, its bytes are.
    pub const fn again(&mut self) {
        self.end = None;
    }

    /// Takes a piece. What lies beyond the largest size, or after too many holes, is not kept.
    pub fn push(&mut self, piece: &LogPiece) {
        let offset = u64::from(piece.offset);
        if piece.bytes.is_empty() {
            self.end = Some(self.end.unwrap_or(0).max(offset));
            return;
        }
        let end = offset.saturating_add(len64(&piece.bytes));
        if end > self.size_max {
            return;
        }
        let before = self.runs.range(..=offset).next_back();
        let before = before.map(|(from, run)| (*from, from.saturating_add(len64(run))));
        let first = match before.filter(|(_, held)| *held >= offset) {
            Some((from, held)) => {
                let known = usize::try_from(held.saturating_sub(offset)).unwrap_or(usize::MAX);
                let news = piece.bytes.get(known..).unwrap_or_default();
                if news.is_empty() {
                    self.repeated = self.repeated.saturating_add(1);
                    return;
                }
                self.runs.entry(from).or_default().extend_from_slice(news);
                from
            }
            None if self.runs.len() < RUNS_MAX => {
                self.runs.insert(offset, piece.bytes.clone());
                offset
            }
            None => return,
        };
        self.join(first);
    }

    /// Joins a stretch with those behind it that it has reached.
    fn join(&mut self, first: u64) {
        let Some(mut run) = self.runs.remove(&first) else {
            return;
        };
        while let Some(from) = self.runs.range(first..).next().map(|(from, _)| *from) {
            let end = first.saturating_add(len64(&run));
            if from > end {
                break;
            }
            let next = self.runs.remove(&from).unwrap_or_default();
            let known = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
            run.extend_from_slice(next.get(known..).unwrap_or_default());
        }
        self.runs.insert(first, run);
    }

    /// Pieces that came again.
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Bytes that are there.
    pub fn held(&self) -> u64 {
        self.runs.values().map(|run| len64(run)).sum()
    }

    /// Whether the sensor has said that there is no more.
    pub const fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Stretches that are missing: from, length.
    pub fn holes(&self) -> Vec<(u64, u64)> {
        let mut at = 0;
        let mut holes = Vec::new();
        for (from, run) in &self.runs {
            if *from > at {
                holes.push((at, from - at));
            }
            at = from.saturating_add(len64(run));
        }
        if let Some(end) = self.end.filter(|end| *end > at) {
            holes.push((at, end - at));
        }
        holes
    }

    /// Whether it has ended without a hole.
    pub fn is_whole(&self) -> bool {
        self.is_ended() && self.holes().is_empty()
    }

    /// The whole recording, once it has ended without a hole.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        self.is_whole()
            .then(|| self.runs.remove(&0).unwrap_or_default())
    }
}

fn len64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{LogFetch, LogPiece, logbook};
    use proptest::prelude::*;

    fn piece(offset: u32, bytes: &[u8]) -> LogPiece {
        LogPiece {
            offset,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_list_has_one_byte_before_its_entries() {
        let mut data = vec![0];
        data.extend_from_slice(&3_u32.to_le_bytes());
        data.extend_from_slice(&9_u32.to_le_bytes());
        data.extend_from_slice(&1000_u64.to_le_bytes());
        let entries = logbook(&data).unwrap();
        assert_eq!(
            (entries[0].id, entries[0].modified, entries[0].size),
            (3, 9, 1000)
        );
        assert_eq!(logbook(&data[..10]).unwrap_err().code(), "frame.truncated");
    }

    #[test]
    fn a_hole_is_named_and_closed_by_the_next_fetch() {
        let mut fetch = LogFetch::new(100);
        fetch.push(&piece(0, b"ab"));
        fetch.push(&piece(4, b"ef"));
        fetch.push(&piece(4, b"ef"));
        fetch.push(&piece(6, b""));
        assert_eq!((fetch.holes(), fetch.repeated()), (vec![(2, 2)], 1));
        assert_eq!(fetch.finish(), None);
        fetch.push(&piece(1, b"bcd"));
        assert_eq!(fetch.finish().as_deref(), Some(&b"abcdef"[..]));
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_make_the_recording(bytes in proptest::collection::vec(any::<u8>(), 1..300), size in 1_usize..40, order in any::<u64>()) {
            let mut pieces: Vec<LogPiece> = bytes.chunks(size).enumerate().map(|(at, part)| piece(u32::try_from(at * size).unwrap(), part)).collect();
            pieces.push(piece(u32::try_from(bytes.len()).unwrap(), b""));
            let count = u64::try_from(pieces.len()).unwrap();
            pieces.rotate_left(usize::try_from(order % count).unwrap());
            let mut fetch = LogFetch::new(1000);
            for piece in pieces {
                fetch.push(&LogPiece::decode(&piece.encode()).unwrap());
            }
            prop_assert_eq!(fetch.finish(), Some(bytes));
        }

        #[test]
        fn any_pieces_stay_within_the_largest_size(pieces in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..50)) {
            let mut fetch = LogFetch::new(1 << 20);
            for (offset, bytes) in pieces {
                fetch.push(&LogPiece { offset, bytes });
            }
            let _ = (fetch.holes(), fetch.finish());
        }
    }
}
