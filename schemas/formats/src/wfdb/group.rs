//! One signal file: the signals of a record that share it, frame by frame.

use std::io::SeekFrom;

use cardio_core::index::SampleCount;

use super::flac::FlacColumns;
use super::header::SignalSpec;
use super::storage::Storage;
use crate::error::FormatError;
use crate::fields::len64;
use crate::read::{Refill, open_file};
use crate::rows::Rows;
use crate::source::{ReadSeek, Source};
use crate::warnings::Warnings;

/// Where the samples of a group come from.
enum Samples {
    /// No file: a null signal.
    Null,
    /// Interleaved frames.
    Frames {
        file: Box<dyn ReadSeek>,
        storage: Storage,
        raw: Refill,
        mixed: Vec<i32>,
        at: u64,
        size: u64,
    },
    /// A FLAC stream.
    Flac(Box<FlacColumns>),
}

/// One signal of the group.
struct Signal {
    row: usize,
    per_frame: usize,
    skew_left: u64,
    missing: Option<i32>,
    difference_from: Option<i32>,
    sum: i16,
    checksum: Option<i16>,
    line: u64,
}

/// The signals that share one file.
pub(crate) struct GroupReader {
    name: String,
    signals: Vec<Signal>,
    frame_samples: usize,
    samples: Samples,
    columns: Vec<Vec<i32>>,
    frames_done: u64,
    ended: bool,
}

impl GroupReader {
    /// Opens the file of consecutive signals; `first_row` is the row of the first one.
    pub(crate) fn open(
        source: &dyn Source,
        folder: &str,
        specs: &[SignalSpec],
        first_row: usize,
    ) -> Result<Self, FormatError> {
        let signals: Vec<Signal> = specs
            .iter()
            .enumerate()
            .map(|(position, spec)| Signal::new(spec, first_row.saturating_add(position)))
            .collect();
        let name = specs.first().map(|spec| spec.file.clone());
        let name = name.unwrap_or_default();
        let samples = Self::open_samples(source, folder, &name, specs)?;
        let frame_samples = signals
            .iter()
            .fold(0_usize, |sum, s| sum.saturating_add(s.per_frame));
        Ok(Self {
            columns: vec![Vec::new(); signals.len()],
            name,
            signals,
            frame_samples,
            samples,
            frames_done: 0,
            ended: false,
        })
    }

    fn open_samples(
        source: &dyn Source,
        folder: &str,
        name: &str,
        specs: &[SignalSpec],
    ) -> Result<Samples, FormatError> {
        let Some(first) = specs.first() else {
            return Ok(Samples::Null);
        };
        if let Some(odd) = specs.iter().find(|spec| {
            spec.storage != first.storage
                || (spec.storage.is_flac() && spec.samples_per_frame != first.samples_per_frame)
        }) {
            return Err(FormatError::Invalid {
                format: crate::sniff::FormatId::Wfdb,
                field: "format",
                offset: odd.line,
                found: format!("another than on line {}", first.line),
                want: "one format for all signals of a file",
            });
        }
        if first.storage == Storage::Null || name == "~" {
            return Ok(Samples::Null);
        }
        let path = super::join(folder, name);
        let mut file = open_file(source, &path)?;
        if first.storage.is_flac() {
            let mut columns = FlacColumns::open(file, name, specs.len())?;
            columns.skip(first.byte_offset)?;
            return Ok(Samples::Flac(Box::new(columns)));
        }
        let size = file.seek(SeekFrom::End(0)).and_then(|size| {
            file.seek(SeekFrom::Start(first.byte_offset))?;
            Ok(size)
        });
        let size = size.map_err(|source| FormatError::Read {
            name: path,
            offset: first.byte_offset,
            source,
        })?;
        Ok(Samples::Frames {
            file,
            storage: first.storage,
            raw: Refill::default(),
            mixed: Vec::new(),
            at: first.byte_offset,
            size,
        })
    }

    /// Samples in one frame, over the signals of the group.
    pub(crate) const fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    /// Samples that each signal will have, if the record has so many frames and the file
    /// bears it out.
    pub(crate) fn expected(&self, frames: Option<u64>) -> impl Iterator<Item = u64> {
        let there = match &self.samples {
            Samples::Frames {
                storage, at, size, ..
            } => storage.samples_in(size.saturating_sub(*at)) / len64(self.frame_samples.max(1)),
            Samples::Null | Samples::Flac(_) => 0,
        };
        let frames = frames.map_or(there, |stated| stated.min(there));
        let signals = self.signals.iter();
        signals.map(move |signal| frames.saturating_mul(len64(signal.per_frame)))
    }

    /// Frames read so far.
    pub(crate) const fn frames_done(&self) -> u64 {
        self.frames_done
    }

    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// Whether there is no file behind the group.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.samples, Samples::Null)
    }

    /// Reads up to `frames` frames into the rows. `frames` is a multiple of six, or the
    /// last block, so that packed samples never straddle two blocks.
    pub(crate) fn next(&mut self, frames: usize, rows: &mut Rows) -> Result<(), FormatError> {
        if self.ended {
            return Ok(());
        }
        self.columns.iter_mut().for_each(Vec::clear);
        let got = match &mut self.samples {
            Samples::Null => 0,
            Samples::Flac(flac) => {
                let per_frame = self.signals.first().map_or(1, |s| s.per_frame);
                let want = frames.saturating_mul(per_frame);
                flac.next(want, &mut self.columns)? / per_frame.max(1)
            }
            Samples::Frames {
                file,
                storage,
                raw,
                mixed,
                at,
                ..
            } => {
                let samples = frames.saturating_mul(self.frame_samples);
                let need = storage.bytes_for(samples).unwrap_or(usize::MAX);
                mixed.clear();
                let raw = raw.next(&mut **file, need);
                let raw = raw.map_err(|source| FormatError::Read {
                    name: self.name.clone(),
                    offset: *at,
                    source,
                })?;
                *at = at.saturating_add(len64(raw.len()));
                storage.decode(raw, mixed);
                mixed.truncate(samples);
                part(mixed, &self.signals, self.frame_samples, &mut self.columns)
            }
        };
        self.frames_done = self.frames_done.saturating_add(len64(got));
        self.ended = got < frames;
        for (signal, column) in self.signals.iter_mut().zip(&mut self.columns) {
            column.truncate(got.saturating_mul(signal.per_frame));
            signal.give(column, rows);
        }
        Ok(())
    }

    /// Fills the rows up to `frames` with absence and checks the sums.
    pub(crate) fn finish(
        &mut self,
        frames: u64,
        rows: &mut Rows,
        warnings: &mut Warnings,
    ) -> Result<(), FormatError> {
        let short = frames.saturating_sub(self.frames_done);
        let first_line = self.signals.first().map_or(0, |signal| signal.line);
        if short > 0 && !self.is_null() {
            warnings.tell(
                "signal file",
                first_line,
                format!(
                    "{} ends {short} frame(s) before the stated {frames}",
                    self.name
                ),
            )?;
        }
        for signal in &self.signals {
            let end = frames.saturating_mul(len64(signal.per_frame));
            if let Some(row) = rows.row(signal.row) {
                row.skip(SampleCount(end.saturating_sub(row.at().0)));
            }
            let stated = signal.checksum.filter(|_| short == 0 && !self.is_null());
            if let Some(stated) = stated.filter(|stated| *stated != signal.sum) {
                warnings.tell(
                    "checksum",
                    signal.line,
                    format!(
                        "the header states {stated}, the samples give {}",
                        signal.sum
                    ),
                )?;
            }
        }
        self.ended = true;
        Ok(())
    }
}

/// Distributes interleaved frames over the columns; gives the number of whole frames.
fn part(
    mixed: &[i32],
    signals: &[Signal],
    frame_samples: usize,
    columns: &mut [Vec<i32>],
) -> usize {
    if frame_samples == 0 {
        return 0;
    }
    let whole = mixed.len() / frame_samples;
    match signals.len() {
        2 if frame_samples == 2 => {
            part_evenly::<2>(mixed, columns);
            return whole;
        }
        12 if frame_samples == 12 => {
            part_evenly::<12>(mixed, columns);
            return whole;
        }
        _ => {}
    }
    let mut from = 0_usize;
    for (signal, column) in signals.iter().zip(columns) {
        let rest = mixed.get(from..).unwrap_or_default();
        if signal.per_frame == 1 {
            let frames = mixed.chunks_exact(frame_samples);
            column.extend(frames.map(move |frame| frame.get(from).copied().unwrap_or(0)));
        } else {
            for frame in rest.chunks(frame_samples).take(whole) {
                column.extend_from_slice(frame.get(..signal.per_frame).unwrap_or_default());
            }
        }
        from = from.saturating_add(signal.per_frame);
    }
    whole
}

/// The commonest shapes, one sample per frame and signal, with the width known to the
/// compiler.
fn part_evenly<const WIDTH: usize>(mixed: &[i32], columns: &mut [Vec<i32>]) {
    let (frames, _) = mixed.as_chunks::<WIDTH>();
    for (from, column) in columns.iter_mut().enumerate().take(WIDTH) {
        column.extend(
            frames
                .iter()
                .map(move |frame| frame.get(from).copied().unwrap_or(0)),
        );
    }
}

impl Signal {
    fn new(spec: &SignalSpec, row: usize) -> Self {
        let differences = spec.storage == Storage::Difference8;
        Self {
            row,
            per_frame: spec.samples_per_frame,
            skew_left: spec.skew.saturating_mul(len64(spec.samples_per_frame)),
            missing: spec.storage.missing(),
            difference_from: differences.then_some(spec.initial),
            sum: 0,
            checksum: spec.checksum,
            line: spec.line,
        }
    }

    /// Sums, undoes differences and skew, and adds the column to its row.
    fn give(&mut self, column: &mut [i32], rows: &mut Rows) {
        if let Some(last) = &mut self.difference_from {
            for sample in column.iter_mut() {
                *last = last.wrapping_add(*sample);
                *sample = *last;
            }
        }
        let sum = column.iter().fold(0_i32, |sum, v| sum.wrapping_add(*v));
        let [low, high, ..] = sum.to_le_bytes();
        self.sum = self.sum.wrapping_add(i16::from_le_bytes([low, high]));
        let late = usize::try_from(self.skew_left).unwrap_or(usize::MAX);
        let late = late.min(column.len());
        self.skew_left = self.skew_left.saturating_sub(len64(late));
        if let Some(row) = rows.row(self.row) {
            let on_time = column.get(late..).unwrap_or_default();
            row.push_with_missing(on_time, self.missing);
        }
    }
}
