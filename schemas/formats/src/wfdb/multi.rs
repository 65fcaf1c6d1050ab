//! A record of several segments, of fixed or variable layout (`header(5)`, multi-segment
//! records).
//!
//! A signal whose calibration changes between segments becomes one row per calibration, so
//! that every count keeps its meaning.

use std::sync::Arc;

use cardio_core::index::SampleIndex;
use cardio_core::recording::{Recording, Waveform};

use super::header::{Header, SegmentSpec};
use super::segment::Groups;
use super::storage::Storage;
use crate::error::FormatError;
use crate::fields::len64;
use crate::read::RecordingReader;
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;

/// One row of the whole record.
struct PlannedRow {
    /// Position in a fixed layout, label in a variable one.
    key: String,
    per_frame: usize,
    waveform: Waveform,
}

/// One segment with signals.
struct Step {
    header: Header,
    first_frame: u64,
    /// Row of each signal; a null signal has none.
    rows: Vec<Option<usize>>,
}

/// What will be read, known before the first sample.
pub(crate) struct Plan {
    rows: Vec<PlannedRow>,
    steps: Vec<Step>,
    frames: u64,
}

impl Plan {
    /// Reads the header of every segment. A segment that is absent is an error.
    pub(crate) fn read(
        source: &dyn Source,
        folder: &str,
        record: &Header,
        warnings: &mut Warnings,
    ) -> Result<Self, FormatError> {
        let mut plan = Self {
            rows: Vec::new(),
            steps: Vec::new(),
            frames: 0,
        };
        let variable = record
            .segments
            .first()
            .is_some_and(|first| first.frames == 0);
        for segment in &record.segments {
            if segment.name == "~" {
                plan.frames = plan.frames.saturating_add(segment.frames);
                continue;
            }
            let header = segment_header(source, folder, record, segment)?;
            plan.add(header, segment, variable, warnings)?;
        }
        if let Some(stated) = record.frames.filter(|stated| *stated != plan.frames) {
            let sum = plan.frames;
            warnings.tell(
                "number of samples",
                1,
                format!("{stated} stated, the segments sum to {sum}"),
            )?;
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        mut header: Header,
        segment: &SegmentSpec,
        variable: bool,
        warnings: &mut Warnings,
    ) -> Result<(), FormatError> {
        if let Some(own) = header
            .frames
            .filter(|own| *own != segment.frames && segment.frames > 0)
        {
            let why = format!("{} stated, {own} in its own header", segment.frames);
            warnings.tell("segment length", segment.line, why)?;
        }
        let mut rows = Vec::new();
        for (position, spec) in header.signals.iter().enumerate() {
            let key = if variable {
                spec.description.clone()
            } else {
                position.to_string()
            };
            let waveform = super::waveform(spec, header.rate)?;
            let has_samples = spec.storage != Storage::Null;
            rows.push(has_samples.then(|| self.row(key, spec.samples_per_frame, waveform)));
        }
        if segment.frames > 0 {
            header.frames = Some(segment.frames);
            self.steps.push(Step {
                header,
                first_frame: self.frames,
                rows,
            });
        }
        self.frames = self.frames.saturating_add(segment.frames);
        Ok(())
    }

    /// The row with this key and calibration, made when it is new.
    fn row(&mut self, key: String, per_frame: usize, waveform: Waveform) -> usize {
        let known = self.rows.iter().position(|row| {
            row.key == key
                && row.per_frame == per_frame
                && row.waveform.calibration == waveform.calibration
        });
        known.unwrap_or_else(|| {
            self.rows.push(PlannedRow {
                key,
                per_frame,
                waveform,
            });
            self.rows.len().saturating_sub(1)
        })
    }

    /// The rows, without samples.
    pub(crate) fn waveforms(&self) -> Vec<Waveform> {
        self.rows.iter().map(|row| row.waveform.clone()).collect()
    }
}

fn segment_header(
    source: &dyn Source,
    folder: &str,
    record: &Header,
    segment: &SegmentSpec,
) -> Result<Header, FormatError> {
    let name = super::join(folder, &format!("{}.hea", segment.name));
    let header = super::read_header(source, &name)?;
    let refuse = |field: &'static str, found: String| FormatError::Unsupported {
        format: FormatId::Wfdb,
        field,
        offset: segment.line,
        found,
    };
    if !header.segments.is_empty() {
        return Err(refuse("segment", format!("{name} has segments of its own")));
    }
    if header.rate != record.rate {
        let found = format!("{} in {name}, {} in the record", header.rate, record.rate);
        return Err(refuse("sampling frequency", found));
    }
    Ok(header)
}

/// Reads a record segment after segment.
pub(crate) struct MultiReader {
    source: Arc<dyn Source>,
    folder: String,
    recording: Recording,
    plan: Plan,
    next_step: usize,
    open: Option<(Groups, Rows)>,
    done: bool,
    warnings: Warnings,
}

impl MultiReader {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        folder: &str,
        recording: Recording,
        plan: Plan,
        warnings: Warnings,
    ) -> Self {
        Self {
            source,
            folder: folder.to_owned(),
            recording,
            plan,
            next_step: 0,
            open: None,
            done: false,
            warnings,
        }
    }

    /// Ends every row where the record ends.
    fn end(&mut self, rows: &mut Rows) {
        self.done = true;
        for (position, planned) in self.plan.rows.iter().enumerate() {
            let end = self.plan.frames.saturating_mul(len64(planned.per_frame));
            if let Some(row) = rows.row(position) {
                row.place(SampleIndex(end), &[]);
            }
        }
    }
}

impl RecordingReader for MultiReader {
    fn format(&self) -> FormatId {
        FormatId::Wfdb
    }

    fn header(&self) -> &Recording {
        &self.recording
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        if self.done {
            return Ok(false);
        }
        let Some(step) = self.plan.steps.get(self.next_step) else {
            self.end(rows);
            return Ok(true);
        };
        if self.open.is_none() {
            let groups = Groups::open(self.source.as_ref(), &self.folder, &step.header)?;
            self.open = Some((groups, Rows::new(step.rows.len())));
        }
        let Some((groups, part)) = &mut self.open else {
            return Ok(false);
        };
        if !groups.next(part, &mut self.warnings)? {
            self.open = None;
            self.next_step = self.next_step.saturating_add(1);
            return Ok(true);
        }
        part.drain(|own, first, samples| {
            let Some(position) = step.rows.get(own).copied().flatten() else {
                return;
            };
            let planned = self.plan.rows.get(position);
            let per_frame = planned.map_or(1, |planned| planned.per_frame);
            let start = step.first_frame.saturating_mul(len64(per_frame));
            if let Some(row) = rows.row(position).filter(|_| !samples.is_empty()) {
                row.place(SampleIndex(start.saturating_add(first.0)), samples);
            }
        });
        Ok(true)
    }

    fn finish(&mut self, recording: &mut Recording) {
        recording.warnings.extend(self.warnings.take());
    }
}
