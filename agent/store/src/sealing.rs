//! Records become frames: refused or sealed in order, each naming the one before it.
//!
//! In a group the sealing of a record goes on while the frame before it is inserted, on a
//! thread of the group's own: the signature and the cipher of one frame take as long as its
//! way into the database. Deliberately absent: the database.

use cardio_wire::envelope::{self, FrameHeader, SUITE_X25519_CHACHA};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::record::Record;
use zeroize::Zeroizing;

use crate::ahead::Ahead;
use crate::bookkeeping::Note;
use crate::error::OutboxError;
use crate::lanes::Lanes;
use crate::outbox::KeyRing;
use crate::space::Space;

/// From so many records on a group is worth a thread.
const WORTH_A_THREAD: usize = 4;

/// A record in its one encoding. Encoding packs the samples, and is done by whoever hands the
/// record over. Wiped when it is dropped.
#[derive(Clone)]
pub struct EncodedRecord {
    pub(crate) note: Note,
    /// The chain of the frame that the record carries, if it carries one.
    pub(crate) carries: Option<ChainId>,
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for EncodedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncodedRecord({} bytes)", self.plaintext.len())
    }
}

impl From<Record> for EncodedRecord {
    fn from(record: Record) -> Self {
        Self {
            note: Note::of(&record),
            carries: None,
            plaintext: Zeroizing::new(record.encode()),
        }
    }
}

impl EncodedRecord {
    /// The same, known to carry a frame of that chain.
    pub(crate) const fn carrying(mut self, chain: ChainId) -> Self {
        self.carries = Some(chain);
        self
    }
}

/// One record that waits for its place.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) lane: Lane,
    pub(crate) encoded: EncodedRecord,
}

/// A frame that is not stored yet.
pub(crate) struct Sealed {
    pub(crate) identity: FrameIdentity,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) bytes: Vec<u8>,
}

/// What sealing needs and moves on: the heads of the lanes, and the space as it fills.
pub(crate) struct Sealing<'a> {
    pub(crate) keys: &'a KeyRing,
    pub(crate) ahead: &'a mut Ahead,
    pub(crate) lanes: &'a mut Lanes,
    pub(crate) space: Space,
}

impl Sealing<'_> {
    /// The frame of a record, or why there is none: [`OutboxError::Full`], which is counted,
    /// or [`OutboxError::Seal`].
    pub(crate) fn seal(&mut self, entry: &Entry) -> Result<Sealed, OutboxError> {
        let lane = entry.lane;
        if !self.space.level().allows(lane) {
            self.lanes.get_mut(lane).refused += 1;
            return Err(OutboxError::Full {
                lane,
                used_percent: self.space.used_percent(),
            });
        }
        let sealed = seal(self.keys, self.ahead, self.lanes, entry)?;
        let bytes = u64::try_from(sealed.bytes.len()).unwrap_or(u64::MAX);
        self.space.used_bytes = self.space.used_bytes.saturating_add(bytes);
        self.space.disk_bytes = self.space.disk_bytes.saturating_sub(bytes);
        Ok(sealed)
    }

    /// Seals entries in order and hands each to `store`, which may take its time.
    ///
    /// # Errors
    /// The first that `store` gave; what it did not take is then thrown away.
    pub(crate) fn seal_all<T>(
        &mut self,
        entries: &[Entry],
        mut store: impl FnMut(&Entry, Sealed) -> Result<T, OutboxError>,
    ) -> Result<Vec<Result<T, OutboxError>>, OutboxError> {
        let mut keep = |entry: &Entry, sealed: Result<Sealed, OutboxError>| match sealed {
            Ok(sealed) => store(entry, sealed).map(Ok),
            Err(err) => Ok(Err(err)),
        };
        if entries.len() < WORTH_A_THREAD {
            let each = entries.iter().map(|entry| keep(entry, self.seal(entry)));
            return each.collect();
        }
        std::thread::scope(|scope| {
            let (hand, ready) = std::sync::mpsc::channel();
            scope.spawn(move || {
                // whoever stores has met an error when nobody takes any more
                entries
                    .iter()
                    .all(|entry| hand.send(self.seal(entry)).is_ok())
            });
            let each = entries.iter().map(|entry| {
                let sealed = ready.recv().unwrap_or(Err(OutboxError::Closed));
                keep(entry, sealed)
            });
            each.collect()
        })
    }
}

/// Seals one record whatever the space, and moves its lane on.
pub(crate) fn seal(
    keys: &KeyRing,
    ahead: &mut Ahead,
    lanes: &mut Lanes,
    entry: &Entry,
) -> Result<Sealed, OutboxError> {
    let lane = entry.lane;
    let row = lanes.get_mut(lane);
    let header = FrameHeader {
        suite: SUITE_X25519_CHACHA,
        recipient: keys.recipient.key_id(),
        device: keys.device,
        lane,
        chain: row.chain,
        seq: row.next,
        prev: row.head,
    };
    let bytes = ahead
        .take(&keys.recipient)
        .and_then(|key| {
            let plaintext = &entry.encoded.plaintext;
            match entry.encoded.carries {
                Some(_) => key.seal_carrier(plaintext, &header, &keys.signer),
                None => key.seal(plaintext, &header, &keys.signer),
            }
        })
        .map_err(|source| OutboxError::Seal { lane, source })?;
    let fingerprint = envelope::fingerprint(&bytes);
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    row.next += 1;
    row.head = fingerprint;
    row.kept_bytes += size;
    row.waiting_bytes += size;
    Ok(Sealed {
        identity: header.identity(),
        fingerprint,
        bytes,
    })
}
