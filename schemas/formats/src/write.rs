//! A recording to a file of another format.
//!
//! Samples are carried exactly or not at all: a format that cannot hold them refuses with
//! [`FormatError::CannotCarry`]. Facts beside the samples (a remark, a serial number) may be
//! left behind when the caller allows it, and are then listed. Deliberately absent:
//! resampling, requantising, and the disk.

use cardio_core::recording::{Recording, Waveform};
use cardio_core::sample::Adu;
use cardio_core::samples::SampleSlice;

use crate::error::FormatError;
use crate::sniff::FormatId;
use crate::{aecg, csv, dicom, edf, ishne, scp, wav, wfdb};

/// How to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Leave behind facts that the format cannot carry, and list them. Samples are never
    /// left behind.
    pub drop_facts: bool,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The files, by name; the one to open comes first.
    pub files: Vec<(String, Vec<u8>)>,
    /// Facts that were left behind, in words.
    pub dropped: Vec<String>,
}

/// Formats that can be written.
pub const WRITABLE: [FormatId; 8] = [
    FormatId::Wfdb,
    FormatId::Edf,
    FormatId::Csv,
    FormatId::Wav,
    FormatId::Ishne,
    FormatId::Scp,
    FormatId::Aecg,
    FormatId::Dicom,
];

/// Writes a recording under a name without extension.
///
/// # Errors
/// [`FormatError::CannotCarry`] names what the format does not hold.
pub fn write(
    recording: &Recording,
    format: FormatId,
    name: &str,
    options: WriteOptions,
) -> Result<Written, FormatError> {
    let mut facts = Facts {
        format,
        allowed: options.drop_facts,
        dropped: Vec::new(),
    };
    if recording.waveforms.is_empty() {
        return Err(facts.refuse("recording", "it has no waveform".to_owned()));
    }
    let files = match format {
        FormatId::Wfdb => wfdb::write::files(recording, name, &mut facts)?,
        FormatId::Edf => edf::write::files(recording, name, &mut facts)?,
        FormatId::Csv => csv::write::files(recording, name, &mut facts)?,
        FormatId::Wav => wav::write::files(recording, name, &mut facts)?,
        FormatId::Ishne => ishne::write::files(recording, name, &mut facts)?,
        FormatId::Scp => scp::write::files(recording, name, &mut facts)?,
        FormatId::Aecg => aecg::write::files(recording, name, &mut facts)?,
        FormatId::Dicom => dicom::write::files(recording, name, &mut facts)?,
        _ => return Err(facts.refuse("recording", "this format is only read".to_owned())),
    };
    Ok(Written {
        files,
        dropped: facts.dropped,
    })
}

/// Files by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// What a writer leaves behind, and whether it may.
#[derive(Debug)]
pub(crate) struct Facts {
    format: FormatId,
    allowed: bool,
    dropped: Vec<String>,
}

impl Facts {
    /// Refuses: samples or their meaning would be lost.
    pub(crate) const fn refuse(&self, field: &'static str, why: String) -> FormatError {
        FormatError::CannotCarry {
            format: self.format,
            field,
            why,
        }
    }

    /// Leaves one fact behind if the caller allows it and there is something to lose.
    pub(crate) fn lose(&mut self, field: &'static str, what: &str) -> Result<(), FormatError> {
        if what.is_empty() {
            return Ok(());
        }
        if !self.allowed {
            return Err(self.refuse(field, format!("{what} would be lost")));
        }
        self.dropped.push(format!("{field}: {what}"));
        Ok(())
    }

    /// Leaves an optional text behind.
    pub(crate) fn lose_text(
        &mut self,
        field: &'static str,
        what: Option<&String>,
    ) -> Result<(), FormatError> {
        self.lose(field, what.map_or("", String::as_str))
    }

    /// Leaves all remarks behind.
    pub(crate) fn lose_remarks(&mut self, recording: &Recording) -> Result<(), FormatError> {
        for (key, text) in &recording.remarks {
            self.lose("remark", &format!("{key}: {text}"))?;
        }
        Ok(())
    }

    /// Leaves all annotations behind.
    pub(crate) fn lose_annotations(&mut self, recording: &Recording) -> Result<(), FormatError> {
        match recording.annotations.len() {
            0 => Ok(()),
            count => self.lose("annotations", &format!("{count} mark(s)")),
        }
    }

    /// The samples of a row without a gap.
    pub(crate) fn contiguous<'a>(&self, row: &'a Waveform) -> Result<SampleSlice<'a>, FormatError> {
        row.contiguous().ok_or_else(|| {
            let gaps = row.gaps();
            let (count, first) = (gaps.len(), gaps.first().map_or(0, |gap| gap.from.0));
            let why = format!(
                "{} has {count} gap(s), the first at sample {first}",
                row.label
            );
            self.refuse("gap", why)
        })
    }

    /// All rows without gaps, of one rate and one length.
    pub(crate) fn even_rows<'a>(
        &self,
        recording: &'a Recording,
    ) -> Result<Vec<SampleSlice<'a>>, FormatError> {
        let mut rows: Vec<SampleSlice<'_>> = Vec::new();
        let first = recording.waveforms.first();
        for row in &recording.waveforms {
            let samples = self.contiguous(row)?;
            if first.is_some_and(|first| first.rate != row.rate) {
                let why = format!("{} is sampled at {}", row.label, row.rate);
                return Err(self.refuse("several rates", why));
            }
            if rows
                .first()
                .is_some_and(|first| first.len() != samples.len())
            {
                let why = format!("{} has {} sample(s)", row.label, samples.len());
                return Err(self.refuse("rows of different length", why));
            }
            rows.push(samples);
        }
        Ok(rows)
    }

    /// A whole number of hertz.
    pub(crate) fn whole_hz(&self, row: &Waveform) -> Result<u32, FormatError> {
        match row.rate.as_ratio() {
            (hz, 1) => Ok(hz),
            _ => Err(self.refuse("sampling rate", format!("{} is not whole", row.rate))),
        }
    }

    /// Samples of 16 bits.
    pub(crate) fn narrow(&self, row: &Waveform, sample: Adu) -> Result<i16, FormatError> {
        i16::try_from(sample).map_err(|_| {
            let why = format!("sample {sample} of {} needs more than 16 bits", row.label);
            self.refuse("sample", why)
        })
    }

    /// Nanovolts per count, when that is a whole number and zero stands for zero.
    pub(crate) fn nanovolts(&self, row: &Waveform, most: u32) -> Result<u32, FormatError> {
        let calibration = &row.calibration;
        let refuse = |why: String| self.refuse("calibration", format!("{}: {why}", row.label));
        let gain = calibration
            .gain_adu_per_mv()
            .ok_or_else(|| refuse(format!("in {}, not millivolts", calibration.unit().ucum())))?;
        if calibration.baseline_adu() != 0.0 {
            let why = format!("zero lies at count {}", calibration.baseline_adu());
            return Err(refuse(why));
        }
        let step = 1e6 / gain;
        let whole = step.round();
        let fits = whole >= 1.0 && whole <= f64::from(most) && (step - whole).abs() <= 1e-6 * step;
        if !fits {
            let why = format!("{step} nV per count is not a whole number up to {most}");
            return Err(refuse(why));
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, at least 1 and at most a u32: checked above"
        )]
        Ok(whole as u32)
    }
}

/// Date and time parts of a stated start: year, month, day, hour, minute, second, fraction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) date: Option<[u16; 3]>,
    pub(crate) time: Option<[u16; 3]>,
    pub(crate) fraction: String,
}

impl Moment {
    /// The parts of an ISO 8601 text as far as it has them.
    pub(crate) fn of(recording: &Recording) -> Self {
        let text = recording.start.as_ref().map_or("", |start| &start.local);
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time),
            None if text.contains(':') => ("", text),
            None => (text, ""),
        };
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        Self {
            date: triple(date, '-'),
            time: triple(time, ':'),
            fraction: fraction.to_owned(),
        }
    }
}

/// Three numbers with a mark between them.
pub(crate) fn triple(text: &str, mark: char) -> Option<[u16; 3]> {
    let mut parts = text.split(mark).map(|part| part.parse::<u16>().ok());
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}
