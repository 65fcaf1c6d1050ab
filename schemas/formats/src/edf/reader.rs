//! Data records of an EDF or BDF file, in blocks.

use std::io::{Read, SeekFrom};

use cardio_core::annotation::Annotation;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;

use super::header::{FIXED_BYTES, Header, Layout, SIGNAL_BYTES, invalid};
use super::tal::{self, Tal};
use crate::error::FormatError;
use crate::fields::len64;
use crate::read::{ReadOptions, RecordingReader, Refill};
use crate::rows::{Row, Rows};
use crate::sniff::FormatId;
use crate::source::ReadSeek;
use crate::warnings::Warnings;

/// Bytes that one block holds, about.
const BLOCK_BYTES: usize = 1 << 17;
/// The most annotations that are kept.
const MARKS_MAX: usize = 4 << 20;
const NANOS: i128 = 1_000_000_000;

/// Reads a file of the EDF family.
pub(crate) struct EdfReader {
    name: String,
    file: Box<dyn ReadSeek>,
    header: Header,
    recording: Recording,
    record_bytes: usize,
    raw: Refill,
    at: u64,
    size: u64,
    records_done: u64,
    /// Fraction of a second by which the first record begins after the stated start.
    origin_nanos: Option<i128>,
    /// What the first record states.
    first_nanos: Option<i128>,
    /// Where the recording ends inside its last record, as our own writer marks it.
    end_nanos: Option<i128>,
    marks: Vec<Annotation>,
    mark_rate: Option<SamplingRate>,
    done: bool,
    warnings: Warnings,
}

impl EdfReader {
    pub(crate) fn open(
        mut file: Box<dyn ReadSeek>,
        name: &str,
        options: ReadOptions,
    ) -> Result<Self, FormatError> {
        let mut bytes = Vec::new();
        read_more(&mut file, name, &mut bytes, FIXED_BYTES)?;
        let more = Header::signal_count(&bytes)?.saturating_mul(SIGNAL_BYTES);
        read_more(&mut file, name, &mut bytes, more)?;
        let size = size_of(&mut file, name)?;
        let format = FormatId::of_edf(&bytes);
        let mut warnings = Warnings::new(format, options.strict);
        let header = Header::parse(&bytes, &mut warnings)?;
        let recording = super::describe(&header, name, &mut warnings)?;
        let record_bytes = header.record_bytes().filter(|bytes| *bytes > 0);
        let record_bytes = record_bytes.or(header.signals.is_empty().then_some(0));
        let record_bytes = record_bytes.ok_or_else(|| {
            let field = "nr of samples in each data record";
            invalid(format, field, 0, "none or too many", "at least one sample")
        })?;
        Ok(Self {
            name: name.to_owned(),
            file,
            mark_rate: super::mark_rate(&recording),
            done: header.signals.is_empty(),
            header,
            recording,
            record_bytes,
            raw: Refill::default(),
            at: len64(bytes.len()),
            size,
            records_done: 0,
            origin_nanos: None,
            first_nanos: None,
            end_nanos: None,
            marks: Vec::new(),
            warnings,
        })
    }

    /// Places one record; the bytes are exactly one record long.
    fn record(&mut self, bytes: &[u8], rows: &mut Rows, at: u64) -> Result<(), FormatError> {
        let start = self.annotations(bytes, at)?;
        let width = self.header.sample_bytes();
        let mut rest = bytes;
        let mut position = 0_usize;
        for signal in &self.header.signals {
            let len = signal.per_record.saturating_mul(width);
            let (mine, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = after;
            if signal.is_annotations {
                continue;
            }
            let Some(row) = rows.row(position) else {
                continue;
            };
            position = position.saturating_add(1);
            if let Some(start) = start {
                let index = index_at(start, signal.per_record, self.header.record_nanos);
                if row.at() > index {
                    let early = row.at().since(index).map_or(0, |count| count.0);
                    let why = format!("the record begins {early} sample(s) before the last ends");
                    self.warnings.tell("onset", at, why)?;
                }
                row.place(index.max(row.at()), &[]);
            }
            let mut keep = signal.per_record;
            if let Some(end) = self.end_nanos {
                let end = index_at(end, signal.per_record, self.header.record_nanos);
                let left = end.since(row.at()).map_or(0, |left| left.len());
                keep = keep.min(left);
            }
            let mine = mine.get(..keep.saturating_mul(width)).unwrap_or(mine);
            samples(width, mine, row);
        }
        Ok(())
    }

    /// Reads the annotation signals of a record; gives the record's time when the file is
    /// discontinuous, in nanoseconds after the first sample's instant.
    fn annotations(&mut self, bytes: &[u8], at: u64) -> Result<Option<i128>, FormatError> {
        let mut own = None;
        let mut from = 0_usize;
        let width = self.header.sample_bytes();
        for signal in &self.header.signals {
            let len = signal.per_record.saturating_mul(width);
            let mine = bytes
                .get(from..from.saturating_add(len))
                .unwrap_or_default();
            let offset = at.saturating_add(len64(from));
            from = from.saturating_add(len);
            if !signal.is_annotations {
                continue;
            }
            let (lists, fault) = tal::decode(mine);
            if let Some(fault) = fault {
                let why = "no annotation list".to_owned();
                self.warnings
                    .tell("annotation", offset.saturating_add(len64(fault)), why)?;
            }
            for list in lists {
                if own.is_none() && list.texts.first().is_some_and(String::is_empty) {
                    own = Some(list.onset_nanos);
                }
                let origin = *self
                    .origin_nanos
                    .get_or_insert_with(|| own.map_or(0, |own| own.rem_euclid(NANOS)));
                let ends = list.texts.iter().any(|text| text == super::END_MARK);
                let last = self.header.records == self.records_done.checked_add(1);
                if ends && last && self.end_nanos.is_none() {
                    self.end_nanos = Some(list.onset_nanos.saturating_sub(origin));
                    continue;
                }
                if let Some(rate) = self.mark_rate {
                    keep_marks(&mut self.marks, &list, origin, rate);
                }
            }
        }
        self.time_of_record(own, at)
    }

    fn time_of_record(&mut self, own: Option<i128>, at: u64) -> Result<Option<i128>, FormatError> {
        let before = i128::from(self.records_done).saturating_mul(self.header.record_nanos);
        let first = *self.first_nanos.get_or_insert(own.unwrap_or(0));
        let since_first = own.map_or(0, |own| own.saturating_sub(first).saturating_sub(before));
        let since_origin = own.map(|own| own.saturating_sub(self.origin_nanos.unwrap_or(0)));
        match (self.header.layout, since_origin) {
            (Layout::Plain, _) => Ok(None),
            (Layout::Continuous, _) => {
                let apart = since_first.abs();
                if own.is_some() && apart.saturating_mul(2) > self.header.record_nanos.max(2) {
                    let why = format!("a record of a continuous file is {apart} ns off its place");
                    self.warnings.tell("onset", at, why)?;
                }
                Ok(None)
            }
            (Layout::Discontinuous, Some(stated)) => Ok(Some(stated.max(0))),
            (Layout::Discontinuous, None) => {
                let why = "a record of a discontinuous file states no time".to_owned();
                self.warnings.tell("onset", at, why)?;
                Ok(None)
            }
        }
    }

    /// What stands after the last record.
    fn end(&mut self, left_over: usize) -> Result<(), FormatError> {
        self.done = true;
        if left_over > 0 {
            let why = format!("{left_over} byte(s) of a record that is cut are left out");
            self.warnings.tell("data record", self.at, why)?;
        }
        if let Some(stated) = self.header.records.filter(|n| *n != self.records_done) {
            let why = format!("{stated} stated, {} found", self.records_done);
            self.warnings.tell("number of data records", 236, why)?;
        }
        self.marks.sort_by_key(|mark| mark.at);
        Ok(())
    }
}

impl RecordingReader for EdfReader {
    fn format(&self) -> FormatId {
        self.header.format
    }

    fn header(&self) -> &Recording {
        &self.recording
    }

    fn expected(&self) -> Vec<u64> {
        let there = self.size.saturating_sub(self.at) / len64(self.record_bytes.max(1));
        let records = self
            .header
            .records
            .map_or(there, |stated| stated.min(there));
        let signals = self.header.signals.iter();
        signals
            .filter(|signal| !signal.is_annotations)
            .map(|signal| records.saturating_mul(len64(signal.per_record)))
            .collect()
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        if self.done {
            return Ok(false);
        }
        let many = (BLOCK_BYTES / self.record_bytes.max(1)).max(1);
        let left = self
            .header
            .records
            .map_or(u64::MAX, |all| all.saturating_sub(self.records_done));
        let many = usize::try_from(left).map_or(many, |left| left.min(many));
        let mut raw = std::mem::take(&mut self.raw);
        let want = many.saturating_mul(self.record_bytes);
        let bytes = raw.next(&mut *self.file, want);
        let bytes = bytes.map_err(|source| FormatError::Read {
            name: self.name.clone(),
            offset: self.at,
            source,
        })?;
        let records = bytes.chunks_exact(self.record_bytes.max(1));
        let left_over = records.remainder().len();
        let short = bytes.len() < want || many == 0;
        let signals = self
            .header
            .signals
            .iter()
            .filter(|signal| !signal.is_annotations);
        for (position, signal) in signals.enumerate() {
            if let Some(row) = rows.row(position) {
                row.reserve(records.len().saturating_mul(signal.per_record));
            }
        }
        for bytes in records {
            self.record(bytes, rows, self.at)?;
            self.at = self.at.saturating_add(len64(bytes.len()));
            self.records_done = self.records_done.saturating_add(1);
        }
        self.raw = raw;
        if short || self.header.records == Some(self.records_done) {
            self.end(left_over)?;
        }
        Ok(true)
    }

    fn finish(&mut self, recording: &mut Recording) {
        recording.annotations.append(&mut self.marks);
        recording.warnings.extend(self.warnings.take());
        if let (Some(fraction), Some(start)) = (
            self.origin_nanos.filter(|nanos| *nanos > 0),
            &mut recording.start,
        ) {
            let digits = format!("{fraction:09}");
            start.local.push('.');
            start.local.push_str(digits.trim_end_matches('0'));
        }
    }
}

/// Index of an instant, nearest sample.
fn index_at(nanos: i128, per_record: usize, record_nanos: i128) -> SampleIndex {
    let per_record = i128::try_from(per_record).unwrap_or(i128::MAX);
    let above = nanos.saturating_mul(per_record).saturating_mul(2);
    let below = record_nanos.max(1).saturating_mul(2);
    let index = above.saturating_add(record_nanos.max(1)).div_euclid(below);
    SampleIndex(u64::try_from(index).unwrap_or(0))
}

/// Appends the samples of one signal in one record.
fn samples(width: usize, bytes: &[u8], row: &mut Row) {
    if width == 3 {
        let (whole, _) = bytes.as_chunks::<3>();
        row.extend(
            whole
                .iter()
                .map(|[a, b, c]| i32::from_le_bytes([0, *a, *b, *c]) >> 8),
        );
    } else {
        let (whole, _) = bytes.as_chunks::<2>();
        row.extend(
            whole
                .iter()
                .map(|pair| i32::from(i16::from_le_bytes(*pair))),
        );
    }
}

/// Adds the texts of a list as marks. What a sample index cannot say of onset and duration
/// is kept as text.
fn keep_marks(marks: &mut Vec<Annotation>, list: &Tal, origin: i128, rate: SamplingRate) {
    let (samples, seconds) = rate.as_ratio();
    let since = list.onset_nanos.saturating_sub(origin);
    let unit = i128::from(seconds).saturating_mul(NANOS);
    let exact = since.saturating_mul(i128::from(samples)) % unit == 0 && since >= 0;
    let samples = usize::try_from(samples).unwrap_or(usize::MAX);
    let at = index_at(since.max(0), samples, unit);
    for text in list.texts.iter().filter(|text| !text.is_empty()) {
        if marks.len() >= MARKS_MAX {
            return;
        }
        let onset = (!exact).then(|| format!("onset_s={}", list.onset));
        let lasting = list
            .duration
            .as_ref()
            .map(|text| format!("duration_s={text}"));
        let words: Vec<String> = onset.into_iter().chain(lasting).collect();
        marks.push(Annotation {
            at,
            code: text.clone(),
            subtype: 0,
            channel: 0,
            number: 0,
            text: (!words.is_empty()).then(|| words.join(" ")),
        });
    }
}

/// Length of the file; reading goes on where it was.
fn size_of(file: &mut Box<dyn ReadSeek>, name: &str) -> Result<u64, FormatError> {
    let size = file.stream_position().and_then(|at| {
        let size = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(at))?;
        Ok(size)
    });
    size.map_err(|source| FormatError::Read {
        name: name.to_owned(),
        offset: 0,
        source,
    })
}

/// Appends `count` bytes of the file; [`FormatError::Truncated`] leaves what there is.
fn read_more(
    file: &mut Box<dyn ReadSeek>,
    name: &str,
    bytes: &mut Vec<u8>,
    count: usize,
) -> Result<(), FormatError> {
    let before = bytes.len();
    file.by_ref()
        .take(len64(count))
        .read_to_end(bytes)
        .map_err(|source| FormatError::Read {
            name: name.to_owned(),
            offset: len64(before),
            source,
        })?;
    let have = bytes.len().saturating_sub(before);
    if have < count {
        return Err(FormatError::Truncated {
            format: FormatId::of_edf(bytes),
            field: "header",
            offset: len64(before),
            need: len64(count),
            have: len64(have),
        });
    }
    Ok(())
}
