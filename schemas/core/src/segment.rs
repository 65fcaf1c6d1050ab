//! Contiguous samples that are sealed, stored and sent as one record.

use crate::clock::TimeAnchor;
use crate::ids::AcquisitionId;
use crate::index::SampleIndex;
use crate::sample::SampleBlock;

/// Contiguous samples of all measured leads of one source: 1 s while a person attends, 5 s
/// for long unattended recordings, shorter before a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The acquisition it belongs to.
    pub acquisition: AcquisitionId,
    /// Its place among the acquisition's segments, from 0, without holes.
    pub ordinal: u64,
    /// The samples, placed on the acquisition's time line.
    pub block: SampleBlock,
    /// When the first sample was taken.
    pub anchor: TimeAnchor,
}

impl Segment {
    /// The instant of the first sample.
    pub const fn first(&self) -> SampleIndex {
        self.block.first
    }

    /// The instant just after the last sample.
    pub fn end(&self) -> SampleIndex {
        self.block.end()
    }
}
