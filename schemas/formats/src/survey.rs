//! What a recording holds, without holding its samples.
//!
//! A day of Holter is surveyed in the memory of one block. Deliberately absent: the samples
//! themselves, and words (see [`crate::facts`]).

use cardio_core::gap::{Gap, GapCause};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::recording::{Recording, Waveform};

use crate::error::FormatError;
use crate::read::{Done, RecordingReader};
use crate::rows::Rows;

/// Where contiguous samples of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The instant of the first one.
    pub first: SampleIndex,
    /// How many there are; a row that ends in a gap ends in an empty extent.
    pub len: SampleCount,
}

impl Extent {
    /// The instant just after the last sample.
    pub const fn end(self) -> SampleIndex {
        self.first.after(self.len)
    }
}

/// The extents of one row, in time order, no two of which touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents(Vec<Extent>);

impl Extents {
    /// The extents of a row whose samples are there.
    pub fn of(waveform: &Waveform) -> Self {
        let mut extents = Self::default();
        for run in &waveform.runs {
            extents.add(run.first, run.len());
        }
        extents
    }

    /// All of them.
    pub fn all(&self) -> &[Extent] {
        &self.0
    }

    /// How many samples there are.
    pub fn samples(&self) -> SampleCount {
        SampleCount(self.0.iter().map(|extent| extent.len.0).sum())
    }

    /// The instant just after the last sample or gap.
    pub fn end(&self) -> SampleIndex {
        self.0.last().map_or(SampleIndex(0), |last| last.end())
    }

    /// The known absences between the extents, and before the first one.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut at = SampleIndex(0);
        let mut gaps = Vec::new();
        for extent in &self.0 {
            if let Some(len) = extent.first.since(at).filter(|len| !len.is_empty()) {
                gaps.push(Gap {
                    from: at,
                    len,
                    uncertainty: SampleCount(0),
                    cause: GapCause::AbsentInSource,
                });
            }
            at = extent.end();
        }
        gaps
    }

    fn add(&mut self, first: SampleIndex, len: SampleCount) {
        match self.0.last_mut() {
            Some(last) if last.end() == first => last.len.0 = last.len.0.saturating_add(len.0),
            Some(last) if last.len.is_empty() => *last = Extent { first, len },
            _ if len.is_empty() && first == SampleIndex(0) => {}
            _ => self.0.push(Extent { first, len }),
        }
    }
}

/// A recording without its samples, and where they lie.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Everything but the samples.
    pub recording: Recording,
    /// Where the samples lie, row by row.
    pub rows: Vec<Extents>,
}

/// Reads all blocks and keeps no sample. `told` hears after each block how far it is.
///
/// # Errors
/// [`FormatError`] as the reader gives it.
pub fn survey(
    mut reader: Box<dyn RecordingReader>,
    told: &mut dyn FnMut(Done),
) -> Result<Survey, FormatError> {
    let mut recording = reader.header().clone();
    let mut extents = vec![Extents::default(); recording.waveforms.len()];
    let mut rows = Rows::new(extents.len());
    let mut done = Done::at_the_start(&*reader);
    while reader.next_block(&mut rows)? {
        rows.drain(|position, first, samples| {
            let len = SampleCount::of(samples);
            done.samples = done.samples.saturating_add(len.0);
            if let Some(extents) = extents.get_mut(position) {
                extents.add(first, len);
            }
        });
        told(done);
    }
    reader.finish(&mut recording);
    Ok(Survey {
        recording,
        rows: extents,
    })
}

#[cfg(test)]
mod tests {
    use super::{Extents, SampleCount, SampleIndex, survey};
    use crate::ReadOptions;
    use crate::read::{open, read};
    use crate::source::MemorySource;
    use std::sync::Arc;

    #[test]
    fn blocks_that_touch_are_one_extent() {
        let mut extents = Extents::default();
        extents.add(SampleIndex(0), SampleCount(5));
        extents.add(SampleIndex(5), SampleCount(5));
        extents.add(SampleIndex(12), SampleCount(1));
        assert_eq!(extents.all().len(), 2);
        assert_eq!(extents.samples(), SampleCount(11));
        assert_eq!(extents.gaps()[0].from, SampleIndex(10));
        assert_eq!(extents.end(), SampleIndex(13));
    }

    #[test]
    fn a_survey_says_of_a_file_what_reading_it_says() {
        let text = "# rate_hz: 250\nI,II\n1,2\n,3\n4,\n";
        let source = Arc::new(MemorySource::new().with("a.csv", text.as_bytes().to_vec()));
        let options = ReadOptions::default();
        let whole = read(source.clone(), "a.csv", options).unwrap();
        let mut last = 0;
        let found = survey(open(source, "a.csv", options).unwrap(), &mut |done| {
            last = done.samples;
        })
        .unwrap();
        assert_eq!(last, 4);
        assert_eq!(found.rows.len(), 2);
        for (waveform, extents) in whole.waveforms.iter().zip(&found.rows) {
            assert_eq!(extents.samples(), waveform.sample_count());
            assert_eq!(extents.gaps(), waveform.gaps());
            assert_eq!(extents.end(), waveform.end());
            assert_eq!(*extents, Extents::of(waveform));
        }
    }
}
