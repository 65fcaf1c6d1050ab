//! One part of a file, record by record, from where an earlier try ended.
//!
//! Some records wait for one commit, so that a day is sealed in minutes; a cut makes the next
//! try begin with the first that did not get there.

use cardio_core::acquisition::Acquisition;
use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::index::SampleIndex;
use cardio_core::segment::Segment;
use cardio_formats::RecordingReader;
use cardio_formats::parts::{Part, PartSamples, Piece, anchor};
use cardio_store::OpenAcquisition;
use cardio_wire::lane::Lane;
use cardio_wire::record::{AcquisitionEndedV1, EndReason, GapV1, Record, RecordHead, SegmentV1};

use super::ledger::Ledger;
use super::{ImportError, Keep};
use crate::ids::Ids;
use crate::recorder::Tally;

/// Records of one commit: what an alert may have to wait for on a slow card.
pub(super) const BATCH: usize = 32;

/// Makes and keeps the records of one part.
pub(super) struct Carrier<'a, K> {
    pub(super) keep: &'a K,
    pub(super) clock: &'a dyn Clock,
    pub(super) ids: &'a mut dyn Ids,
    pub(super) ledger: &'a mut Ledger,
    pub(super) start: UtcMicros,
    pub(super) part: &'a Part,
    pub(super) acquisition: Acquisition,
    /// Made and not kept yet.
    pub(super) made: Vec<Record>,
}

impl<K: Keep> Carrier<'_, K> {
    /// Keeps everything of a part that has begun and of which `note` says how far it is kept.
    pub(super) fn carry(
        mut self,
        reader: Box<dyn RecordingReader>,
        note: &OpenAcquisition,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), ImportError> {
        let mut tally = Tally::of(note);
        let from = note.next_sample;
        let mut samples = PartSamples::new(self.part, reader);
        for piece in self.part.pieces() {
            if stopped() {
                return Err(ImportError::Stopped);
            }
            let block = match piece {
                Piece::Samples { first, len } => Some(samples.next(first, len)?),
                Piece::Gap(_) => None,
            };
            if piece.end() <= from {
                continue;
            }
            match (piece, block) {
                (Piece::Gap(gap), _) => {
                    let record = GapV1 {
                        head: self.head(),
                        acquisition: self.acquisition.id,
                        gap,
                        near: Some(anchor(&self.acquisition, self.start, gap.end())),
                    };
                    self.append(Record::Gap(record))?;
                    tally.gaps = tally.gaps.saturating_add(1);
                    tally.missing.0 = tally.missing.0.saturating_add(gap.len.0);
                }
                (Piece::Samples { first, len }, Some(block)) => {
                    let segment = Segment {
                        acquisition: self.acquisition.id,
                        ordinal: tally.segments,
                        anchor: anchor(&self.acquisition, self.start, first),
                        block,
                    };
                    let head = self.head();
                    self.append(Record::Segment(SegmentV1 { head, segment }))?;
                    tally.segments = tally.segments.saturating_add(1);
                    tally.samples.0 = tally.samples.0.saturating_add(len.0);
                }
                (Piece::Samples { .. }, None) => {}
            }
        }
        self.end(tally)
    }

    fn end(&mut self, tally: Tally) -> Result<(), ImportError> {
        self.keep_made()?;
        self.ledger.ending(self.acquisition.id)?;
        let head = self.head();
        let facts = Ended {
            reason: EndReason::Completed,
            end: self.part.end(),
            tally,
        };
        self.append(record_of_end(head, self.acquisition.id, facts))?;
        self.keep_made()
    }

    fn append(&mut self, record: Record) -> Result<(), ImportError> {
        self.made.push(record);
        match self.made.len() < BATCH {
            true => Ok(()),
            false => self.keep_made(),
        }
    }

    fn keep_made(&mut self) -> Result<(), ImportError> {
        self.keep
            .keep(Lane::Bulk, std::mem::take(&mut self.made))
            .map_err(ImportError::Outbox)
    }

    fn head(&mut self) -> RecordHead {
        let at = self.clock.read();
        RecordHead {
            id: self.ids.record(at.utc),
            at,
        }
    }
}

struct Ended {
    reason: EndReason,
    end: SampleIndex,
    tally: Tally,
}

/// The last record of an acquisition whose file did not come back.
pub(super) fn ended(note: &OpenAcquisition, head: RecordHead, reason: EndReason) -> Record {
    let facts = Ended {
        reason,
        end: note.next_sample,
        tally: Tally::of(note),
    };
    record_of_end(head, note.acquisition, facts)
}

fn record_of_end(
    head: RecordHead,
    acquisition: cardio_core::ids::AcquisitionId,
    facts: Ended,
) -> Record {
    Record::AcquisitionEnded(AcquisitionEndedV1 {
        head,
        acquisition,
        end: facts.end,
        segments: facts.tally.segments,
        samples: facts.tally.samples,
        gaps: facts.tally.gaps,
        missing: facts.tally.missing,
        repeated_frames: 0,
        reason: facts.reason,
    })
}
