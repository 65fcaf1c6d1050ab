//! Where one waveform Observation ends and the next begins.
//!
//! Slot *k* is the acquisition's own time from `k * 10 s` up to `(k + 1) * 10 s`. A piece is
//! a run of contiguous samples within one slot; a gap cuts it. Pieces follow from indexes
//! alone, so filing again gives the same ones.

use cardio_core::clock::TimeAnchor;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::sample::{Adu, SampleBlock};
use cardio_wire::record::Record;

use super::exam::Exam;
use crate::db::{Connection, DbError, values};

const SLOT_SECONDS: u128 = 10;

/// The slot that holds a sample.
pub(crate) fn slot_of(rate: SamplingRate, index: u64) -> u64 {
    let (samples, seconds) = rate.as_ratio();
    let slot = u128::from(index) * u128::from(seconds) / (SLOT_SECONDS * u128::from(samples));
    u64::try_from(slot).unwrap_or(u64::MAX)
}

/// The first sample of a slot.
pub(crate) fn slot_start(rate: SamplingRate, slot: u64) -> u64 {
    let (samples, seconds) = rate.as_ratio();
    let scaled = u128::from(slot) * SLOT_SECONDS * u128::from(samples);
    u64::try_from(scaled.div_ceil(u128::from(seconds))).unwrap_or(u64::MAX)
}

/// Contiguous samples within one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The samples.
    pub(crate) block: SampleBlock,
    /// Ties the piece to the clock.
    pub(crate) anchor: TimeAnchor,
    /// Nothing can follow its last sample within the slot.
    pub(crate) complete: bool,
}

impl Piece {
    /// The instant just after the last sample.
    pub(crate) fn end(&self) -> SampleIndex {
        self.block.end()
    }
}

/// The bytes of an exam's records of a kind that reach into a span, in order.
pub(super) fn reaching_into(
    connection: &Connection,
    exam: &Exam,
    kind: &str,
    (from, to): (u64, u64),
) -> Result<Vec<Vec<u8>>, DbError> {
    let earliest = exam.extents.earliest_beyond(kind, from);
    connection.cells(
        "read the records of a span",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = ?6 AND box = ?2
         AND first >= ?5 AND first < ?4 AND first + len > ?3 ORDER BY first, seq",
        values![exam.id(), exam.device, from, to, earliest, kind],
    )
}

/// Contiguous samples within one slot, without the samples: the first, and the instant after
/// the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// The runs of samples of one slot, as far as they are filed: where its pieces lie.
pub(crate) fn runs(connection: &Connection, exam: &Exam, slot: u64) -> Result<Vec<Run>, DbError> {
    let rate = exam.acquisition().rate;
    let (from, to) = (
        slot_start(rate, slot),
        slot_start(rate, slot.saturating_add(1)),
    );
    let earliest = exam.extents.earliest_beyond("segment", from);
    let rows = connection.rows(
        "look for the samples of a span",
        "SELECT first, len FROM records WHERE acquisition = ?1 AND kind = 'segment' AND box = ?2
         AND first >= ?5 AND first < ?4 AND first + len > ?3 ORDER BY first, seq",
        values![exam.id(), exam.device, from, to, earliest],
    )?;
    let mut stretches = Vec::new();
    for mut row in rows {
        let (first, len): (u64, u64) = (row.take(0)?, row.take(1)?);
        stretches.push((first.max(from), first.saturating_add(len).min(to)));
    }
    Ok(joined(&stretches))
}

/// Stretches (first sample, instant after the last) in the order of their first samples, joined
/// where one begins at which another ends; one that begins within another counts for nothing.
fn joined(stretches: &[(u64, u64)]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &(first, end) in stretches {
        match runs.last_mut() {
            Some(last) if last.end == first => last.end = end,
            Some(last) if first < last.end => {}
            _ => runs.push(Run { first, end }),
        }
    }
    runs
}

/// Whether a slot holds a piece to which nothing can be added.
pub(crate) fn has_complete(
    connection: &Connection,
    exam: &Exam,
    slot: u64,
) -> Result<bool, DbError> {
    let to = slot_start(exam.acquisition().rate, slot.saturating_add(1));
    let runs = runs(connection, exam, slot)?;
    Ok(runs.iter().any(|run| is_complete(exam, run.end, to)))
}

/// Whether a slot is filed up to its end: what comes behind it changes nothing in it.
pub(crate) fn is_filled(connection: &Connection, exam: &Exam, slot: u64) -> Result<bool, DbError> {
    let to = slot_start(exam.acquisition().rate, slot.saturating_add(1));
    let runs = runs(connection, exam, slot)?;
    Ok(runs.last().is_some_and(|run| run.end >= to))
}

/// Whether nothing can follow a run that ends at `end` within a slot that ends at `to`.
fn is_complete(exam: &Exam, end: u64, to: u64) -> bool {
    end >= to || exam.extents.reached() > end || exam.ended.is_some()
}

/// The pieces of one slot, as far as they are filed.
pub(crate) fn pieces(
    connection: &Connection,
    exam: &Exam,
    slot: u64,
) -> Result<Vec<Piece>, DbError> {
    let rate = exam.acquisition().rate;
    let (from, to) = (
        slot_start(rate, slot),
        slot_start(rate, slot.saturating_add(1)),
    );
    let mut pieces: Vec<Piece> = Vec::new();
    for bytes in reaching_into(connection, exam, "segment", (from, to))? {
        let Ok(Record::Segment(segment)) = Record::decode(&bytes) else {
            return Err(DbError::Damaged { what: "segment" });
        };
        let Some(block) = clipped(&segment.segment.block, from, to) else {
            continue;
        };
        match pieces.last_mut() {
            Some(last) if last.end() == block.first && rows_fit(&last.block, &block) => {
                for (row, more) in last.block.leads.iter_mut().zip(block.leads) {
                    row.extend(more);
                }
            }
            // Samples that were filed already: a box that repeats itself changes nothing.
            Some(last) if block.first < last.end() => {}
            _ => pieces.push(Piece {
                block,
                anchor: segment.segment.anchor,
                complete: false,
            }),
        }
    }
    for piece in &mut pieces {
        piece.complete = is_complete(exam, piece.end().0, to);
    }
    Ok(pieces)
}

fn rows_fit(a: &SampleBlock, b: &SampleBlock) -> bool {
    a.leads.len() == b.leads.len()
}

/// The part of a block within `from..to`.
fn clipped(block: &SampleBlock, from: u64, to: u64) -> Option<SampleBlock> {
    let (first, end) = (block.first.0.max(from), block.end().0.min(to));
    let skip = usize::try_from(first.checked_sub(block.first.0)?).ok()?;
    let len = usize::try_from(end.checked_sub(first)?).ok()?;
    if len == 0 {
        return None;
    }
    let leads: Vec<Vec<Adu>> = block
        .leads
        .iter()
        .map(|row| row.iter().skip(skip).take(len).copied().collect())
        .collect();
    SampleBlock::new(SampleIndex(first), leads).ok()
}

/// Every slot that holds samples, or rates that a sensor told.
pub(crate) fn slots(connection: &Connection, exam: &Exam) -> Result<Vec<u64>, DbError> {
    let rate = exam.acquisition().rate;
    let rows = connection.rows(
        "list the spans of an acquisition",
        "SELECT first, len FROM records
         WHERE acquisition = ?1 AND kind IN ('segment', 'heart-rates') AND box = ?2 AND len > 0
         ORDER BY first",
        values![exam.id(), exam.device],
    )?;
    let mut slots = Vec::new();
    for mut row in rows {
        let (first, len): (u64, u64) = (row.take(0)?, row.take(1)?);
        let last = first.saturating_add(len.saturating_sub(1));
        for slot in slot_of(rate, first)..=slot_of(rate, last) {
            if slots.last() != Some(&slot) {
                slots.push(slot);
            }
        }
    }
    slots.dedup();
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::{
        Run, SampleBlock, SampleIndex, SamplingRate, clipped, joined, slot_of, slot_start,
    };
    use proptest::prelude::*;

    #[test]
    fn runs_lie_where_pieces_would() {
        let run = |first, end| Run { first, end };
        let all = [(0, 5), (5, 8), (5, 8), (7, 9), (10, 12), (12, 20)];
        assert_eq!(joined(&all), [run(0, 8), run(10, 20)]);
        assert_eq!(joined(&[]), []);
    }

    #[test]
    fn a_block_is_cut_at_both_ends_of_its_slot() {
        let block = SampleBlock::new(SampleIndex(8), vec![vec![8, 9, 10, 11, 12]]).unwrap();
        let middle = clipped(&block, 10, 12).unwrap();
        assert_eq!(
            (middle.first, middle.leads),
            (SampleIndex(10), vec![vec![10, 11]])
        );
        assert!(clipped(&block, 13, 20).is_none());
        assert!(clipped(&block, 0, 8).is_none());
    }

    proptest! {
        #[test]
        fn every_sample_lies_in_exactly_the_slot_that_starts_at_or_before_it(
            samples in 1_u32..5_000, seconds in 1_u32..50, index in 0_u64..1_000_000_000,
        ) {
            let rate = SamplingRate::ratio(samples, seconds).unwrap();
            let slot = slot_of(rate, index);
            prop_assert!(slot_start(rate, slot) <= index);
            prop_assert!(slot_start(rate, slot + 1) > index);
        }
    }
}
