//! A record of one segment: all its signal files, side by side.

use cardio_core::recording::Recording;

use super::group::GroupReader;
use super::header::Header;
use crate::error::FormatError;
use crate::read::RecordingReader;
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;

/// Samples that one block holds, about.
const BLOCK_SAMPLES: usize = 1 << 14;

/// The signal files of one header.
pub(crate) struct Groups {
    groups: Vec<GroupReader>,
    frames: Option<u64>,
    block_frames: usize,
    done: bool,
}

impl Groups {
    /// Opens every signal file of a header.
    pub(crate) fn open(
        source: &dyn Source,
        folder: &str,
        header: &Header,
    ) -> Result<Self, FormatError> {
        let mut groups = Vec::new();
        let mut row = 0_usize;
        for specs in header.signals.chunk_by(|a, b| a.file == b.file) {
            groups.push(GroupReader::open(source, folder, specs, row)?);
            row = row.saturating_add(specs.len());
        }
        let widest = groups.iter().map(GroupReader::frame_samples).max();
        let block_frames = (BLOCK_SAMPLES / widest.unwrap_or(1).max(1)).max(1);
        Ok(Self {
            groups,
            frames: header.frames,
            block_frames: block_frames.next_multiple_of(6),
            done: false,
        })
    }

    fn expected(&self) -> Vec<u64> {
        let groups = self.groups.iter();
        groups
            .flat_map(|group| group.expected(self.frames))
            .collect()
    }

    /// Adds the next frames of every signal; `false` when all have been given.
    pub(crate) fn next(
        &mut self,
        rows: &mut Rows,
        warnings: &mut Warnings,
    ) -> Result<bool, FormatError> {
        if self.done {
            return Ok(false);
        }
        for group in &mut self.groups {
            let left = self.frames.map_or(u64::MAX, |frames| {
                frames.saturating_sub(group.frames_done())
            });
            let want = usize::try_from(left).unwrap_or(usize::MAX);
            let want = want.min(self.block_frames);
            if want > 0 {
                group.next(want, rows)?;
            }
        }
        let complete = |group: &GroupReader| {
            group.ended() || self.frames.is_some_and(|all| group.frames_done() >= all)
        };
        if self.groups.iter().all(complete) {
            self.done = true;
            let longest = self.groups.iter().map(GroupReader::frames_done).max();
            let frames = self.frames.or(longest).unwrap_or(0);
            for group in &mut self.groups {
                group.finish(frames, rows, warnings)?;
            }
        }
        Ok(true)
    }
}

/// Reads a record of one segment.
pub(crate) struct SegmentReader {
    recording: Recording,
    groups: Groups,
    warnings: Warnings,
}

impl SegmentReader {
    pub(crate) const fn new(recording: Recording, groups: Groups, warnings: Warnings) -> Self {
        Self {
            recording,
            groups,
            warnings,
        }
    }
}

impl RecordingReader for SegmentReader {
    fn format(&self) -> FormatId {
        FormatId::Wfdb
    }

    fn header(&self) -> &Recording {
        &self.recording
    }

    fn expected(&self) -> Vec<u64> {
        self.groups.expected()
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        self.groups.next(rows, &mut self.warnings)
    }

    fn finish(&mut self, recording: &mut Recording) {
        recording.warnings.extend(self.warnings.take());
    }
}
