//! Blocks become segments: contiguous samples of a fixed span, cut at gaps.
//!
//! A segment ends on a multiple of its span on the acquisition's time line, so that after a
//! gap the borders are where they would have been without it.

use cardio_core::clock::{BoxInstant, TimeAnchor};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::sample::{Adu, SampleBlock};

use super::ClosedSegment;
use super::align::Tie;

/// Collects the samples of one segment at a time.
#[derive(Debug)]
pub(crate) struct Segmenter {
    span: SampleCount,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    anchor: TimeAnchor,
    rows: Vec<Vec<Adu>>,
    next: SampleIndex,
    last_arrival: BoxInstant,
}

impl Segmenter {
    /// Segments of at most `span` samples.
    pub(crate) fn new(span: SampleCount) -> Self {
        Self {
            span: SampleCount(span.0.max(1)),
            open: None,
        }
    }

    /// Takes a block and appends the segments that it completes to `out`. A block that does
    /// not follow the one before begins a new segment.
    pub(crate) fn push(
        &mut self,
        block: &SampleBlock,
        tie: &Tie,
        arrival: BoxInstant,
        out: &mut Vec<ClosedSegment>,
    ) {
        let follows = |open: &Open| open.next == block.first;
        if !self.open.as_ref().is_none_or(follows) {
            out.extend(self.cut());
        }
        let end = block.end();
        let mut at = block.first;
        while at < end {
            let border = at.after(SampleCount(self.span.0 - at.0 % self.span.0));
            let until = border.min(end);
            self.take(block, at, until, tie, arrival);
            if until == border {
                out.extend(self.cut());
            }
            at = until;
        }
    }

    /// Ends the segment here, if it holds anything.
    pub(crate) fn cut(&mut self) -> Option<ClosedSegment> {
        let open = self.open.take()?;
        let block = SampleBlock::new(open.anchor.index, open.rows).ok()?;
        Some(ClosedSegment {
            block,
            anchor: open.anchor,
            closed_at: open.last_arrival,
        })
    }

    fn take(
        &mut self,
        block: &SampleBlock,
        from: SampleIndex,
        until: SampleIndex,
        tie: &Tie,
        arrival: BoxInstant,
    ) {
        let span = self.span.len();
        let open = self.open.get_or_insert_with(|| Open {
            anchor: tie.anchor(from),
            rows: vec![Vec::with_capacity(span); block.leads.len()],
            next: from,
            last_arrival: arrival,
        });
        let offset = |index: SampleIndex| index.since(block.first).unwrap_or_default().len();
        for (kept, row) in open.rows.iter_mut().zip(&block.leads) {
            kept.extend_from_slice(row.get(offset(from)..offset(until)).unwrap_or_default());
        }
        open.next = until;
        open.last_arrival = arrival;
    }
}

#[cfg(test)]
mod tests {
    use super::{SampleBlock, SampleCount, SampleIndex, Segmenter, Tie};
    use crate::testing::start_of_time;
    use cardio_core::rate::SamplingRate;
    use proptest::prelude::*;

    fn tie() -> Tie {
        Tie::new(
            SampleIndex(0),
            start_of_time(),
            20_000,
            SamplingRate::hz(250).unwrap(),
        )
    }

    fn block(first: u64, len: usize) -> SampleBlock {
        let row: Vec<i32> = (0..i32::try_from(len).unwrap()).collect();
        SampleBlock::new(SampleIndex(first), vec![row.clone(), row]).unwrap()
    }

    fn push(segmenter: &mut Segmenter, blocks: &[SampleBlock]) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        for block in blocks {
            segmenter.push(block, &tie(), start_of_time().box_instant, &mut out);
        }
        out.extend(segmenter.cut());
        out.iter()
            .map(|segment| (segment.block.first.0, segment.block.count().0))
            .collect()
    }

    #[test]
    fn a_segment_ends_on_a_multiple_of_its_span() {
        let mut segmenter = Segmenter::new(SampleCount(250));
        let got = push(&mut segmenter, &[block(0, 100), block(100, 700)]);
        assert_eq!(got, [(0, 250), (250, 250), (500, 250), (750, 50)]);
    }

    #[test]
    fn a_gap_ends_a_segment_and_the_borders_stay() {
        let mut segmenter = Segmenter::new(SampleCount(250));
        let got = push(&mut segmenter, &[block(0, 100), block(130, 200)]);
        assert_eq!(got, [(0, 100), (130, 120), (250, 80)]);
    }

    #[test]
    fn a_segment_is_tied_to_the_instant_of_its_first_sample() {
        let mut out = Vec::new();
        Segmenter::new(SampleCount(250)).push(
            &block(0, 500),
            &tie(),
            start_of_time().box_instant,
            &mut out,
        );
        let [first, second] = &out[..] else {
            panic!("two whole segments")
        };
        let between = second
            .anchor
            .at
            .box_instant
            .micros_since(&first.anchor.at.box_instant);
        assert_eq!(between, Some(1_000_000));
        assert_eq!(second.anchor.index, second.block.first);
    }

    proptest! {
        #[test]
        fn every_sample_comes_out_once_and_in_place(lens in prop::collection::vec((1_usize..600, 0_u64..300), 1..12)) {
            let mut segmenter = Segmenter::new(SampleCount(250));
            let (mut at, mut blocks) = (0, Vec::new());
            for (len, gap) in &lens {
                blocks.push(block(at, *len));
                at += u64::try_from(*len).unwrap() + gap;
            }
            let mut want: Vec<u64> = blocks.iter().flat_map(|b| b.first.0..b.end().0).collect();
            let mut got: Vec<u64> = push(&mut segmenter, &blocks)
                .iter()
                .flat_map(|(first, len)| *first..first + len)
                .collect();
            want.sort_unstable();
            got.dedup();
            prop_assert_eq!(got, want);
        }
    }
}
