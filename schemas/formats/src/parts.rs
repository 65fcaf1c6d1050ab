//! A surveyed recording as acquisitions: rows of one rate whose samples and gaps lie at the
//! same places, cut into segments that are the same at every reading.
//!
//! For whoever turns a file into the records of acquisitions: the box's drop folder and the
//! gateway's upload. Deliberately absent: what the file says of the patient, its marks, and
//! what the local time that it states means.

use std::collections::VecDeque;

use cardio_core::acquisition::{Acquisition, Attendance, WaveformSpec};
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::device::IntegrityClass;
use cardio_core::gap::Gap;
use cardio_core::ids::{AcquisitionId, BootId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_core::request::RequestRef;
use cardio_core::sample::{Adu, SampleBlock};
use cardio_core::subject::SubjectRef;

use crate::error::FormatError;
use crate::read::RecordingReader;
use crate::rows::Rows;
use crate::survey::{Extents, Survey};

/// The most acquisitions that one file may become.
pub const PARTS_MAX: usize = 64;
/// The longest segment, in seconds: what an unattended recording has.
const SEGMENT_S: u64 = 5;
/// The most samples in a segment over all rows, so that its frame stays below the limit
/// whatever the samples are.
const SEGMENT_SAMPLES_MAX: u64 = 48_000;

/// Why a file does not become acquisitions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Format(#[source] FormatError),
    /// There is no sample in it.
    #[error("the recording holds no sample")]
    Empty,
    /// Its rows differ in too many ways.
    #[error("the rows differ in {parts} ways of rate and gaps, more than {PARTS_MAX}")]
    TooMany {
        /// How many.
        parts: usize,
    },
    /// It is not what it was when it was surveyed.
    #[error("the file changed while it was read")]
    Changed,
}

impl PartError {
    /// Stable identifier for logs and reason files.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Format(error) => error.code(),
            Self::Empty => "import.empty",
            Self::TooMany { .. } => "import.too-many-parts",
            Self::Changed => "import.changed",
        }
    }
}

/// Rows that go together.
#[derive(Clone, Debug)]
pub struct Part {
    /// Their places in the recording.
    pub rows: Vec<usize>,
    /// Their rate.
    pub rate: SamplingRate,
    extents: Extents,
}

/// One thing of a part's time line, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Contiguous samples of every row.
    Samples {
        /// The instant of the first one.
        first: SampleIndex,
        /// How many in each row.
        len: SampleCount,
    },
    /// A known absence.
    Gap(Gap),
}

impl Piece {
    /// The instant just after it.
    pub const fn end(self) -> SampleIndex {
        match self {
            Self::Samples { first, len } => first.after(len),
            Self::Gap(gap) => gap.end(),
        }
    }
}

/// What an acquisition of a file is told beside the file.
#[derive(Clone, Debug)]
pub struct Told {
    /// The patient, if known.
    pub subject: Option<SubjectRef>,
    /// The request that the recording was made for, if it is known.
    pub request: Option<RequestRef>,
    /// What the source is called.
    pub source: SourceId,
    /// Whether somebody watched the recording.
    pub attendance: Attendance,
}

/// The parts of a recording; rows without a sample belong to none.
///
/// # Errors
/// [`PartError::Empty`] and [`PartError::TooMany`].
pub fn parts(survey: &Survey) -> Result<Vec<Part>, PartError> {
    let mut parts: Vec<Part> = Vec::new();
    let rows = survey.recording.waveforms.iter().zip(&survey.rows);
    for (place, (waveform, extents)) in rows.enumerate() {
        if extents.samples().is_empty() {
            continue;
        }
        let fits = |part: &&mut Part| part.rate == waveform.rate && part.extents == *extents;
        match parts.iter_mut().find(fits) {
            Some(part) => part.rows.push(place),
            None => parts.push(Part {
                rows: vec![place],
                rate: waveform.rate,
                extents: extents.clone(),
            }),
        }
    }
    match parts.len() {
        0 => Err(PartError::Empty),
        many if many > PARTS_MAX => Err(PartError::TooMany { parts: many }),
        _ => Ok(parts),
    }
}

/// How long a recording lasts, in microseconds, gaps included.
pub fn lasts_us(survey: &Survey) -> u64 {
    let rows = survey.recording.waveforms.iter().zip(&survey.rows);
    rows.map(|(waveform, extents)| waveform.rate.micros_at(extents.end()))
        .max()
        .unwrap_or(0)
}

/// A sample by the file's own clock: a run of a kernel that no other clock knows, so that
/// nothing vouches for the wall time but the file, whose recording began at `start`.
pub fn anchor(acquisition: &Acquisition, start: UtcMicros, index: SampleIndex) -> TimeAnchor {
    let micros = acquisition.rate.micros_at(index);
    let after = i64::try_from(micros).unwrap_or(i64::MAX);
    TimeAnchor {
        index,
        at: ClockReading {
            box_instant: BoxInstant {
                boot: BootId(acquisition.id.0),
                micros,
            },
            utc: UtcMicros(start.0.saturating_add(after)),
            quality: ClockQuality::Unsynchronised,
        },
        uncertainty_us: 0,
    }
}

impl Part {
    /// How many samples there are over all rows.
    pub fn samples(&self) -> u64 {
        let rows = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        self.extents.samples().0.saturating_mul(rows)
    }

    /// The instant just after the last sample or gap.
    pub fn end(&self) -> SampleIndex {
        self.extents.end()
    }

    /// The acquisition that the part becomes.
    pub fn acquisition(
        &self,
        id: AcquisitionId,
        told: &Told,
        recording: &Recording,
    ) -> Acquisition {
        let spec = |place: &usize| {
            let waveform = recording.waveforms.get(*place)?;
            Some(WaveformSpec {
                kind: waveform.kind.clone(),
                calibration: waveform.calibration.clone(),
            })
        };
        Acquisition {
            id,
            subject: told.subject.clone(),
            request: told.request.clone(),
            source: told.source.clone(),
            device: recording.device.clone(),
            integrity: IntegrityClass::File,
            rate: self.rate,
            waveforms: self.rows.iter().filter_map(spec).collect(),
            attendance: told.attendance,
        }
    }

    /// Segments and gaps in order. Segments end on multiples of one span, so that they are
    /// the same at every try.
    pub fn pieces(&self) -> Vec<Piece> {
        let span = self.span();
        let mut gaps = self.extents.gaps().into_iter().peekable();
        let mut pieces = Vec::new();
        for extent in self.extents.all() {
            if let Some(gap) = gaps.next_if(|gap| gap.end() == extent.first) {
                pieces.push(Piece::Gap(gap));
            }
            let mut at = extent.first;
            while at < extent.end() {
                let border = SampleIndex((at.0 / span).saturating_add(1).saturating_mul(span));
                let until = border.min(extent.end());
                let len = until.since(at).unwrap_or_default();
                pieces.push(Piece::Samples { first: at, len });
                at = until;
            }
        }
        pieces
    }

    fn span(&self) -> u64 {
        let rows = u64::try_from(self.rows.len()).unwrap_or(u64::MAX).max(1);
        let five_s = self.rate.count_in_micros(SEGMENT_S * 1_000_000).0;
        five_s.min(SEGMENT_SAMPLES_MAX / rows).max(1)
    }
}

/// Samples of a part's rows, side by side, as far as they are read.
pub struct PartSamples<'a> {
    part: &'a Part,
    reader: Box<dyn RecordingReader>,
    rows: Rows,
    waiting: Vec<VecDeque<Adu>>,
}

impl std::fmt::Debug for PartSamples<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartSamples")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl<'a> PartSamples<'a> {
    /// The samples of a part, by a reader at the beginning of its file.
    pub fn new(part: &'a Part, reader: Box<dyn RecordingReader>) -> Self {
        Self {
            part,
            rows: Rows::new(reader.header().waveforms.len()),
            reader,
            waiting: vec![VecDeque::new(); part.rows.len()],
        }
    }

    /// The next `len` samples of every row; they begin at `first`, as [`Part::pieces`] says.
    ///
    /// # Errors
    /// [`PartError::Format`], or [`PartError::Changed`] when there are fewer.
    pub fn next(&mut self, first: SampleIndex, len: SampleCount) -> Result<SampleBlock, PartError> {
        while self.waiting.iter().any(|row| row.len() < len.len()) {
            if !self
                .reader
                .next_block(&mut self.rows)
                .map_err(PartError::Format)?
            {
                return Err(PartError::Changed);
            }
            let (part, waiting) = (self.part, &mut self.waiting);
            self.rows.drain(|position, _, samples| {
                let mine = part.rows.iter().position(|row| *row == position);
                if let Some(row) = mine.and_then(|mine| waiting.get_mut(mine)) {
                    row.extend(samples);
                }
            });
        }
        let taken = self.waiting.iter_mut();
        let leads = taken.map(|row| row.drain(..len.len()).collect()).collect();
        SampleBlock::new(first, leads).map_err(|_| PartError::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::{PartError, PartSamples, Piece, lasts_us, parts};
    use crate::ReadOptions;
    use crate::read::{RecordingReader, open};
    use crate::source::MemorySource;
    use crate::survey::{Survey, survey};
    use std::sync::Arc;

    fn reader(text: &str) -> Box<dyn RecordingReader> {
        let source = Arc::new(MemorySource::new().with("a.csv", text.as_bytes().to_vec()));
        open(source, "a.csv", ReadOptions::default()).unwrap()
    }

    fn surveyed(text: &str) -> Survey {
        survey(reader(text), &mut |_| {}).unwrap()
    }

    #[test]
    fn rows_with_other_gaps_are_a_part_of_their_own() {
        let found = surveyed("# rate_hz: 1\nI,II,III\n1,2,\n2,3,\n3,4,5\n");
        let parts = parts(&found).unwrap();
        let rows: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2]]);
        assert!(matches!(parts[1].pieces()[0], Piece::Gap(_)));
        assert_eq!(lasts_us(&found), 3_000_000);
    }

    #[test]
    fn pieces_cover_the_time_line_and_end_on_multiples_of_the_span() {
        let rows: String = (0..23).map(|at| format!("{at},0\n")).collect();
        let text = format!("# rate_hz: 2\nI,II\n{rows}");
        let parts = parts(&surveyed(&text)).unwrap();
        let pieces = parts[0].pieces();
        let ends: Vec<u64> = pieces.iter().map(|piece| piece.end().0).collect();
        assert_eq!(ends, [10, 20, 23]);
        let mut samples = PartSamples::new(&parts[0], reader(&text));
        let mut read = Vec::new();
        for piece in pieces {
            let Piece::Samples { first, len } = piece else {
                continue;
            };
            let block = samples.next(first, len).unwrap();
            assert_eq!(block.first, first);
            read.extend_from_slice(&block.leads[0]);
        }
        assert_eq!(read, (0..23).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_became_shorter_is_not_taken_for_what_it_was() {
        let parts = parts(&surveyed("# rate_hz: 1\nI,II\n1,1\n2,2\n3,3\n")).unwrap();
        let mut samples = PartSamples::new(&parts[0], reader("# rate_hz: 1\nI,II\n1,1\n"));
        let Piece::Samples { first, len } = parts[0].pieces()[0] else {
            panic!("no samples");
        };
        assert!(matches!(samples.next(first, len), Err(PartError::Changed)));
    }

    #[test]
    fn a_recording_without_samples_has_no_part() {
        let found = surveyed("# rate_hz: 1\nI,II\n");
        assert!(matches!(parts(&found), Err(PartError::Empty)));
    }
}
