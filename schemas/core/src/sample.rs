//! Samples as the device sent them.

use crate::index::{SampleCount, SampleIndex};

/// Analogue-to-digital units: one count, as the device sent it.
pub type Adu = i32;

/// What one frame carried, placed in time: the same instants of every lead of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleBlock {
    /// The instant of the first sample.
    pub first: SampleIndex,
    /// One row per lead in the source's order; all rows have the same length.
    pub leads: Vec<Vec<Adu>>,
}

/// Why rows of samples are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lead {lead} has {have} sample(s) where the first lead has {want}")]
pub struct RaggedBlock {
    /// Position of the lead that differs.
    pub lead: usize,
    /// Its number of samples.
    pub have: usize,
    /// The number of samples of the first lead.
    pub want: usize,
}

impl SampleBlock {
    /// A block of rows of equal length.
    ///
    /// # Errors
    /// [`RaggedBlock`] names the first row whose length differs.
    pub fn new(first: SampleIndex, leads: Vec<Vec<Adu>>) -> Result<Self, RaggedBlock> {
        let want = leads.first().map_or(0, Vec::len);
        match leads.iter().position(|row| row.len() != want) {
            None => Ok(Self { first, leads }),
            Some(lead) => Err(RaggedBlock {
                lead,
                have: leads.get(lead).map_or(0, Vec::len),
                want,
            }),
        }
    }

    /// Samples per lead.
    pub fn count(&self) -> SampleCount {
        self.leads
            .first()
            .map_or(SampleCount(0), |row| SampleCount::of(row))
    }

    /// The instant just after the last sample.
    pub fn end(&self) -> SampleIndex {
        self.first.after(self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::{SampleBlock, SampleIndex};

    #[test]
    fn rows_of_different_length_are_refused_by_position() {
        let err = SampleBlock::new(SampleIndex(0), vec![vec![1, 2], vec![1]]).unwrap_err();
        assert_eq!((err.lead, err.have, err.want), (1, 1, 2));
    }

    #[test]
    fn a_block_ends_just_after_its_last_sample() {
        let block = SampleBlock::new(SampleIndex(10), vec![vec![1, 2, 3]]).unwrap();
        assert_eq!(block.end(), SampleIndex(13));
    }
}
