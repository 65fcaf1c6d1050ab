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

/// A recording being fetched.
#[derive(Clone, Debug)]
pub struct LogFetch {
    size_max: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
    held: u64,
    end: Option<u64>,
    repeated: u64,
}

impl LogFetch {
    /// A fetch of a recording that has at most `size_max` bytes.
    pub const fn new(size_max: u64) -> Self {
        Self {
            size_max,
            pieces: BTreeMap::new(),
            held: 0,
            end: None,
            repeated: 0,
        }
    }

    /// Takes a piece. What lies beyond the largest size is not kept.
    pub fn push(&mut self, piece: LogPiece) {
        let offset = u64::from(piece.offset);
        if piece.bytes.is_empty() {
            self.end = Some(self.end.unwrap_or(0).max(offset));
            return;
        }
        let len = u64::try_from(piece.bytes.len()).unwrap_or(u64::MAX);
        if offset.saturating_add(len) > self.size_max {
            return;
        }
        let known = self.pieces.get(&offset).map_or(0, Vec::len);
        if known >= piece.bytes.len() {
            self.repeated = self.repeated.saturating_add(1);
            return;
        }
        self.pieces.insert(offset, piece.bytes);
        self.held = self
            .pieces
            .values()
            .map(|part| u64::try_from(part.len()).unwrap_or(0))
            .sum();
    }

    /// Pieces that came again.
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Whether the sensor has said that there is no more.
    pub const fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Stretches that are missing: from, length.
    pub fn holes(&self) -> Vec<(u64, u64)> {
        let mut at = 0;
        let mut holes = Vec::new();
        for (from, bytes) in &self.pieces {
            if *from > at {
                holes.push((at, from - at));
            }
            at = at.max(from.saturating_add(u64::try_from(bytes.len()).unwrap_or(0)));
        }
        if let Some(end) = self.end.filter(|end| *end > at) {
            holes.push((at, end - at));
        }
        holes
    }

    /// The whole recording, once it has ended without a hole.
    pub fn finish(&self) -> Option<Vec<u8>> {
        if !self.is_ended() || !self.holes().is_empty() {
            return None;
        }
        let mut whole: Vec<u8> = Vec::new();
        for (from, bytes) in &self.pieces {
            let from = usize::try_from(*from).ok()?;
            // Pieces of a second fetch may be cut elsewhere and overlap.
            let known = whole.len().checked_sub(from)?;
            whole.extend(bytes.iter().skip(known));
        }
        Some(whole)
    }
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
        fetch.push(piece(0, b"ab"));
        fetch.push(piece(4, b"ef"));
        fetch.push(piece(4, b"ef"));
        fetch.push(piece(6, b""));
        assert_eq!((fetch.holes(), fetch.repeated()), (vec![(2, 2)], 1));
        assert_eq!(fetch.finish(), None);
        fetch.push(piece(1, b"bcd"));
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
                fetch.push(LogPiece::decode(&piece.encode()).unwrap());
            }
            prop_assert_eq!(fetch.finish(), Some(bytes));
        }

        #[test]
        fn any_pieces_stay_within_the_largest_size(pieces in proptest::collection::vec((any::<u32>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..50)) {
            let mut fetch = LogFetch::new(1 << 20);
            for (offset, bytes) in pieces {
                fetch.push(LogPiece { offset, bytes });
            }
            let _ = (fetch.holes(), fetch.finish());
        }
    }
}
