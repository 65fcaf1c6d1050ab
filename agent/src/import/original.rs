//! The bytes of a file as it is, in parts, behind the records that were made of it.
//!
//! A file that changes while it is read gives no part of another file: each part is compared
//! with what was read when the file was hashed. After a cut sending goes on near where it ended;
//! the gateway keeps a part that comes twice once.

use std::io::{Error, Read as _, Result};
use std::path::{Path, PathBuf};

use cardio_core::clock::Clock;
use cardio_core::ids::AcquisitionId;
use cardio_formats::parts::PartError;
use cardio_formats::sniff;
use cardio_formats::sniff::{FormatId, HEAD_BYTES, OCTETS};
use cardio_formats::source::Source;
use cardio_wire::lane::Lane;
use cardio_wire::record::{
    ORIGINAL_MAX_BYTES, ORIGINAL_PART_BYTES, OriginalPartV1, Record, RecordHead,
};
use ring::digest::{Context, SHA256, digest};

use super::carry::BATCH;
use super::ledger::Ledger;
use super::{ImportError, Keep};
use crate::ids::Ids;

/// After so many parts, 4 MiB, it is written down how far a file is sent.
const PARTS_PER_LINE: u64 = 512;

type Hash = [u8; 32];

/// How a file is cut.
#[derive(Debug)]
pub(super) struct Cut {
    /// SHA-256 of the whole file.
    file: Hash,
    /// Size in bytes.
    pub(super) size: u64,
    /// SHA-256 of each part.
    parts: Vec<Hash>,
    media_type: &'static str,
}

impl Cut {
    /// Reads a file once; `None` for an empty one.
    pub(super) fn of(files: &dyn Source, name: &str) -> Result<Option<Self>> {
        let mut file = files.open(name)?;
        let mut whole = Context::new(&SHA256);
        let (mut size, mut parts) = (0_u64, Vec::new());
        let mut head = Vec::new();
        loop {
            let mut part = Vec::new();
            let count = (&mut file)
                .take(ORIGINAL_PART_BYTES)
                .read_to_end(&mut part)?;
            if count == 0 {
                break;
            }
            if parts.is_empty() {
                head = part
                    .get(..HEAD_BYTES.min(count))
                    .unwrap_or_default()
                    .to_vec();
            }
            whole.update(&part);
            size = size.saturating_add(u64::try_from(count).map_err(Error::other)?);
            if size <= ORIGINAL_MAX_BYTES {
                parts.push(hash_of(&part));
            }
        }
        let format = sniff(&head, Path::new(name));
        Ok((size > 0).then(|| Self {
            file: first_32(whole.finish().as_ref()),
            size,
            parts,
            media_type: format.map_or(OCTETS, FormatId::media_type),
        }))
    }

    /// Whether it is more than may travel.
    pub(super) const fn is_too_large(&self) -> bool {
        self.size > ORIGINAL_MAX_BYTES
    }
}

fn hash_of(bytes: &[u8]) -> Hash {
    first_32(digest(&SHA256, bytes).as_ref())
}

fn first_32(digest: &[u8]) -> Hash {
    digest
        .first_chunk()
        .copied()
        .expect("invariant: SHA-256 has 32 bytes")
}

/// Makes and keeps the parts of one file.
pub(super) struct PartSender<'a, K> {
    pub(super) keep: &'a K,
    pub(super) clock: &'a dyn Clock,
    pub(super) ids: &'a mut dyn Ids,
    pub(super) ledger: &'a mut Ledger,
    /// What the file became, in its own order.
    pub(super) acquisitions: &'a [AcquisitionId],
    /// What it is called when it cannot be read.
    pub(super) path: PathBuf,
}

impl<K: Keep> PartSender<'_, K> {
    /// Keeps every part that is not known to be kept already; all are durable when this returns.
    pub(super) fn send(
        &mut self,
        files: &dyn Source,
        name: &str,
        cut: &Cut,
        stopped: &dyn Fn() -> bool,
    ) -> std::result::Result<(), ImportError> {
        let path = self.path.clone();
        let unreadable = |source| ImportError::Disk {
            act: "read",
            path: path.clone(),
            source,
        };
        let mut file = files.open(name).map_err(unreadable)?;
        let kept = self.ledger.parts_kept(&cut.file);
        let mut made = Vec::new();
        for (number, want) in (0_u64..).zip(&cut.parts) {
            if stopped() {
                return Err(ImportError::Stopped);
            }
            let from = number.saturating_mul(ORIGINAL_PART_BYTES);
            let mut part = Vec::new();
            let mut rest = (&mut file).take(OriginalPartV1::len_at(cut.size, from));
            rest.read_to_end(&mut part).map_err(unreadable)?;
            if number < kept {
                continue;
            }
            if hash_of(&part) != *want {
                return Err(ImportError::File(PartError::Changed));
            }
            made.push(self.record(cut, from, part));
            let upto = number.saturating_add(1);
            if made.len() >= BATCH {
                self.keep(&mut made)?;
                if upto.is_multiple_of(PARTS_PER_LINE) {
                    self.ledger.keep_parts(&cut.file, upto)?;
                }
            }
        }
        self.keep(&mut made)
    }

    fn record(&mut self, cut: &Cut, from: u64, part: Vec<u8>) -> Record {
        let at = self.clock.read();
        Record::OriginalPart(OriginalPartV1 {
            head: RecordHead {
                id: self.ids.record(at.utc),
                at,
            },
            file: cut.file,
            size: cut.size,
            from,
            part,
            acquisitions: self.acquisitions.to_vec(),
            media_type: cut.media_type.to_owned(),
        })
    }

    fn keep(&self, made: &mut Vec<Record>) -> std::result::Result<(), ImportError> {
        self.keep
            .keep(Lane::Bulk, std::mem::take(made))
            .map_err(ImportError::Outbox)
    }
}
