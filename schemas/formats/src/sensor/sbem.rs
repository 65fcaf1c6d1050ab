//! SBEM, a Movesense sensor's own recording, read by the descriptors that it carries.
//!
//! ```text
//! "SBEM" and four digits, then chunks: id, length, bytes
//!   id      u8, or FF and u16        length  u8, or FF and u32
//!   id 0    a descriptor: u16 the id it describes, then lines <PTH> <FRM> <MOD> <GRP>
//!   others  data, laid out as their descriptor says
//! ```
//! The file is read twice, chunk by chunk: first for rate and start, then for the samples, in
//! the memory of one chunk. A chunk whose length its descriptor does not explain is left out and
//! told. No chunk states the rate: it is the one of the sensor's rates that the time stamps fit
//! best. Where they step too far, samples are missing. Deliberately absent: motion, temperature, and companion
//! files with descriptors.
//!
//! Source: Movesense documentation; `sensein/movesense-py`.

mod layout;
mod pace;

use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_core::sample::Adu;

use crate::error::FormatError;
use crate::fields::len64;
use crate::read::{ReadOptions, RecordingReader, open_file};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::{ReadSeek, Source};
use crate::warnings::Warnings;
use layout::{Descriptors, Found};
use pace::{Pace, RateSearch};

/// What every recording begins with; four digits follow.
pub(crate) const MAGIC: &[u8] = b"SBEM";
const HEAD_BYTES: u64 = 8;
/// Millivolts of one count of `/Meas/ECG`, where the descriptor does not say: 50 mV over 2^17.
const ECG_MV: f64 = 50.0 / 131_072.0;
/// The same of `/Meas/ECG/.../mV`.
const ECG_MV_MV: f64 = 0.001;
/// Samples that one block holds, about.
const BLOCK_SAMPLES: usize = 1 << 15;

/// Opens a recording.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let mut chunks = Chunks::new(open_file(source, name)?, name)?;
    let mut warnings = Warnings::new(FormatId::Sbem, options.strict);
    let found = look_through(&mut chunks, &mut warnings)?;
    let mut header = super::empty(FormatId::Sbem, name);
    header.start = found.start_us.and_then(super::stated_utc);
    let mv = found.mv_per_count.filter(|mv| *mv != 0.0 && mv.is_finite());
    let stated = mv.unwrap_or(if found.is_mv { ECG_MV_MV } else { ECG_MV });
    let calibration = Calibration::millivolts(1.0 / stated, 0.0).map_err(|_| {
        invalid(
            "<MOD>",
            0,
            stated.to_string(),
            "a factor with a finite inverse",
        )
    })?;
    let rate = SamplingRate::hz(found.rate_hz).expect("invariant: a sensor's rate is above zero");
    let kind = WaveformKind::EcgOther("chest strap".to_owned());
    header.waveforms.push(super::row(kind, rate, calibration));
    Ok(Box::new(SbemReader {
        chunks: Chunks::new(chunks.file.into_inner(), name)?,
        pace: Pace::new(found.rate_hz),
        is_mv: found.is_mv,
        warnings: warnings.take(),
        header,
    }))
}

/// What the first reading tells.
struct Seen {
    rate_hz: u32,
    is_mv: bool,
    mv_per_count: Option<f64>,
    /// When the first sample was taken, in microseconds of UTC.
    start_us: Option<i64>,
}

fn look_through(chunks: &mut Chunks, warnings: &mut Warnings) -> Result<Seen, FormatError> {
    let (mut first, mut clock, mut search) = (None, None, RateSearch::default());
    let (mut unexplained, mut repeated, mut others) = (0_u64, 0_u64, 0_u64);
    loop {
        match chunks.next()? {
            Next::Chunk(Found::Ecg(ecg)) => {
                let known = *first.get_or_insert((ecg.is_mv, ecg.millis, ecg.mv_per_count));
                if ecg.is_mv != known.0 {
                    others += 1;
                } else if !search.note(ecg.millis, ecg.samples.len()) {
                    repeated += 1;
                }
            }
            Next::Chunk(Found::Clock { millis, utc_us }) => {
                clock.get_or_insert((millis, utc_us));
            }
            Next::Chunk(Found::Other) => others += 1,
            Next::Chunk(Found::Unexplained) => unexplained += 1,
            Next::Cut(offset) => {
                warnings.tell("chunk", offset, "the recording ends inside it".to_owned())?;
                break;
            }
            Next::End => break,
        }
    }
    for (count, why) in [
        (unexplained, "chunk(s) that no descriptor explains"),
        (repeated, "chunk(s) whose time does not go on, left out"),
    ] {
        if count > 0 {
            warnings.tell("chunk", 0, format!("{count} {why}"))?;
        }
    }
    let Some((is_mv, millis, mv_per_count)) = first else {
        return Err(invalid(
            "chunk",
            HEAD_BYTES,
            format!("{others} of other data"),
            "an ECG",
        ));
    };
    let Some(rate_hz) = search.rate_hz() else {
        let found = "not told by two time stamps".to_owned();
        return Err(invalid(
            "rate",
            HEAD_BYTES,
            found,
            "one of the sensor's rates",
        ));
    };
    let start_us = clock.and_then(|(at, utc_us): (u32, u64)| {
        let ahead_ms = i64::from(millis) - i64::from(at);
        i64::try_from(utc_us).ok()?.checked_add(ahead_ms * 1000)
    });
    Ok(Seen {
        rate_hz,
        is_mv,
        mv_per_count,
        start_us,
    })
}

enum Next {
    Chunk(Found),
    /// The file ends inside the chunk at this offset.
    Cut(u64),
    End,
}

/// The chunks of a file.
struct Chunks {
    file: BufReader<Box<dyn ReadSeek>>,
    name: String,
    offset: u64,
    descriptors: Descriptors,
    bytes: Vec<u8>,
}

impl Chunks {
    fn new(mut file: Box<dyn ReadSeek>, name: &str) -> Result<Self, FormatError> {
        let read_error = |source| FormatError::Read {
            name: name.to_owned(),
            offset: 0,
            source,
        };
        file.seek(SeekFrom::Start(0)).map_err(read_error)?;
        let mut chunks = Self {
            file: BufReader::new(file),
            name: name.to_owned(),
            offset: 0,
            descriptors: Descriptors::default(),
            bytes: Vec::new(),
        };
        let whole = chunks.fill(HEAD_BYTES)?;
        let digits = chunks.bytes.strip_prefix(MAGIC).unwrap_or_default();
        if !whole || digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
            let found = String::from_utf8_lossy(&chunks.bytes).into_owned();
            return Err(invalid("header", 0, found, "SBEM and four digits"));
        }
        Ok(chunks)
    }

    /// Reads so many bytes; `false` when there are fewer.
    fn fill(&mut self, count: u64) -> Result<bool, FormatError> {
        self.bytes.clear();
        let read = (&mut self.file).take(count).read_to_end(&mut self.bytes);
        let read = read.map_err(|source| FormatError::Read {
            name: self.name.clone(),
            offset: self.offset,
            source,
        })?;
        self.offset = self.offset.saturating_add(len64(read));
        Ok(len64(read) == count)
    }

    /// A number in its short or its long form; `None` where the file ends.
    fn number(&mut self, long: u64) -> Result<Option<u32>, FormatError> {
        if !self.fill(1)? {
            return Ok(None);
        }
        match self.bytes.first().copied() {
            Some(0xFF) if self.fill(long)? => {
                let bytes = self.bytes.iter().rev();
                Ok(Some(
                    bytes.fold(0, |number, byte| number << 8 | u32::from(*byte)),
                ))
            }
            Some(short) if short != 0xFF => Ok(Some(u32::from(short))),
            _ => Ok(None),
        }
    }

    fn next(&mut self) -> Result<Next, FormatError> {
        loop {
            let at = self.offset;
            let Some(id) = self.number(2)? else {
                return Ok(if self.offset == at {
                    Next::End
                } else {
                    Next::Cut(at)
                });
            };
            let Some(len) = self.number(4)? else {
                return Ok(Next::Cut(at));
            };
            if !self.fill(len.into())? {
                return Ok(Next::Cut(at));
            }
            if id != 0 {
                let id = u16::try_from(id).unwrap_or(u16::MAX);
                return Ok(Next::Chunk(self.descriptors.read(id, &self.bytes)));
            }
            self.descriptors.learn(&self.bytes);
        }
    }
}

struct SbemReader {
    header: Recording,
    chunks: Chunks,
    pace: Pace,
    is_mv: bool,
    warnings: Vec<String>,
}

impl RecordingReader for SbemReader {
    fn format(&self) -> FormatId {
        FormatId::Sbem
    }

    fn header(&self) -> &Recording {
        &self.header
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        let mut held = 0_usize;
        while held < BLOCK_SAMPLES {
            let ecg = match self.chunks.next()? {
                Next::Chunk(Found::Ecg(ecg)) if ecg.is_mv == self.is_mv => ecg,
                Next::Chunk(_) => continue,
                Next::Cut(_) | Next::End => return Ok(held > 0),
            };
            let samples: Vec<Adu> = ecg.samples;
            if let (Some(first), Some(row)) =
                (self.pace.place(ecg.millis, samples.len()), rows.row(0))
            {
                row.place(SampleIndex(first), &samples);
            }
            held = held.saturating_add(samples.len()).saturating_add(1);
        }
        Ok(true)
    }

    fn finish(&mut self, recording: &mut Recording) {
        recording.warnings.append(&mut self.warnings);
    }
}

fn invalid(field: &'static str, offset: u64, found: String, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Sbem,
        field,
        offset,
        found,
        want,
    }
}

#[cfg(test)]
mod tests;
