//! The header of an EDF or BDF file.

use cardio_core::calibration::CalibrationError;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;

use super::tal::nanos;
use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::sniff::FormatId;
use crate::text::lossless;
use crate::warnings::Warnings;

/// Length of the part that every file has (EDF, header record).
pub const FIXED_BYTES: usize = 256;
/// Length of the part that each signal adds (EDF, header record).
pub const SIGNAL_BYTES: usize = 256;

/// How the records of a file follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Plain EDF or BDF: without gaps, without annotations.
    Plain,
    /// EDF+C, BDF+C: without gaps.
    Continuous,
    /// EDF+D, BDF+D: each record states its time.
    Discontinuous,
}

/// A header as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// EDF or BDF.
    pub format: FormatId,
    /// How the records follow each other.
    pub layout: Layout,
    /// `local patient identification`.
    pub patient: String,
    /// `local recording identification`.
    pub recording: String,
    /// `startdate`, `dd.mm.yy`.
    pub date: String,
    /// `starttime`, `hh.mm.ss`.
    pub time: String,
    /// The reserved field of the fixed part.
    pub reserved: String,
    /// Number of data records; `None` while it is still -1.
    pub records: Option<u64>,
    /// Duration of a record in nanoseconds.
    pub record_nanos: i128,
    /// The signals.
    pub signals: Vec<SignalHeader>,
}

/// What the header says of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalHeader {
    /// `label`.
    pub label: String,
    /// Whether the signal holds annotations.
    pub is_annotations: bool,
    /// `transducer type`.
    pub transducer: String,
    /// `physical dimension`.
    pub unit: String,
    /// `physical minimum` and `maximum`.
    pub physical: (f64, f64),
    /// `digital minimum` and `maximum`.
    pub digital: (i32, i32),
    /// `prefiltering`.
    pub prefilter: String,
    /// `nr of samples in each data record`.
    pub per_record: usize,
    /// Offset of the physical minimum in the file.
    pub offset: u64,
}

impl Header {
    /// Bytes of one sample.
    pub const fn sample_bytes(&self) -> usize {
        match self.format {
            FormatId::Bdf => 3,
            _ => 2,
        }
    }

    /// Bytes of the whole header.
    pub fn byte_len(&self) -> usize {
        FIXED_BYTES.saturating_add(self.signals.len().saturating_mul(SIGNAL_BYTES))
    }

    /// Bytes of one data record; `None` when that is beyond any memory.
    pub fn record_bytes(&self) -> Option<usize> {
        self.signals.iter().try_fold(0_usize, |sum, signal| {
            sum.checked_add(signal.per_record.checked_mul(self.sample_bytes())?)
        })
    }

    /// The number of signals that the fixed part states.
    ///
    /// # Errors
    /// [`FormatError`] when the part is cut or states no number.
    pub fn signal_count(fixed: &[u8]) -> Result<usize, FormatError> {
        let format = FormatId::of_edf(fixed);
        let mut fields = Fields::new(format, fixed, 0);
        fields.take("header", FIXED_BYTES - 4)?;
        let at = fields.offset();
        let text = lossless(fields.take("number of signals", 4)?);
        text.trim()
            .parse()
            .map_err(|_| invalid(format, "number of signals", at, &text, "a whole number"))
    }

    /// Reads a whole header.
    ///
    /// # Errors
    /// [`FormatError`] with field and offset.
    pub(crate) fn parse(bytes: &[u8], warnings: &mut Warnings) -> Result<Self, FormatError> {
        let format = FormatId::of_edf(bytes);
        let count = Self::signal_count(bytes)?;
        let mut fields = Fields::new(format, bytes, 0);
        fields.take("version", 8)?;
        let mut text = |field, len| -> Result<(String, u64), FormatError> {
            let at = fields.offset();
            let bytes = fields.take(field, len)?;
            Ok((lossless(bytes).trim_matches([' ', '\0']).to_owned(), at))
        };
        let (patient, _) = text("local patient identification", 80)?;
        let (recording, _) = text("local recording identification", 80)?;
        let (date, _) = text("startdate", 8)?;
        let (time, _) = text("starttime", 8)?;
        let (stated_bytes, bytes_at) = text("number of bytes in header record", 8)?;
        let (reserved, _) = text("reserved", 44)?;
        let (records, at) = text("number of data records", 8)?;
        let records: i64 = records
            .parse()
            .map_err(|_| invalid(format, "number of data records", at, &records, "a number"))?;
        let (duration, at) = text("duration of a data record", 8)?;
        let record_nanos = nanos(&duration)
            .filter(|nanos| *nanos >= 0)
            .ok_or_else(|| {
                let want = "seconds, not negative";
                invalid(format, "duration of a data record", at, &duration, want)
            })?;
        text("number of signals", 4)?;
        let signals = signals(format, &mut fields, count)?;
        let header = Self {
            format,
            layout: layout(&reserved),
            patient,
            recording,
            date,
            time,
            reserved,
            records: u64::try_from(records).ok(),
            record_nanos,
            signals,
        };
        let length = len64(header.byte_len());
        if stated_bytes.parse() != Ok(length) {
            let why = format!("{stated_bytes:?} stated, {length} needed by {count} signal(s)");
            warnings.tell("number of bytes in header record", bytes_at, why)?;
        }
        if records < -1 {
            let why = format!("{records} stated");
            warnings.tell("number of data records", 236, why)?;
        }
        Ok(header)
    }

    /// Samples per second of a signal.
    ///
    /// # Errors
    /// [`FormatError`] when the signal has none.
    pub fn rate_of(&self, signal: &SignalHeader) -> Result<SamplingRate, FormatError> {
        let samples = i128::try_from(signal.per_record).unwrap_or(i128::MAX);
        let above = samples.saturating_mul(1_000_000_000);
        let divisor = gcd(above, self.record_nanos).max(1);
        let exact = u32::try_from(above / divisor)
            .ok()
            .zip(u32::try_from(self.record_nanos / divisor).ok())
            .and_then(|(samples, seconds)| SamplingRate::ratio(samples, seconds).ok());
        exact.ok_or_else(|| {
            let found = format!("{} in {} ns", signal.per_record, self.record_nanos);
            let field = "nr of samples in each data record";
            invalid(
                self.format,
                field,
                signal.offset,
                &found,
                "a rate above zero",
            )
        })
    }

    pub(crate) fn invalid_calibration(
        &self,
        signal: &SignalHeader,
        error: CalibrationError,
    ) -> FormatError {
        let found = error.gain.to_string();
        invalid(
            self.format,
            "physical minimum",
            signal.offset,
            &found,
            "a calibration",
        )
    }

    /// When the first record began, in ISO 8601, to the second.
    pub fn start(&self) -> Option<String> {
        let date: Vec<&str> = self.date.split('.').collect();
        let time: Vec<&str> = self.time.split(['.', ':']).collect();
        let ([day, month, year], [hour, minute, second]) = (date.as_slice(), time.as_slice())
        else {
            return None;
        };
        let year: u32 = year.parse().ok()?;
        let stated =
            self.recording.split_whitespace().nth(1).filter(|_| {
                self.layout != Layout::Plain && self.recording.starts_with("Startdate ")
            });
        // Two digits stand for 1985 to 2084 (EDF+, additional specification 2).
        let century = if year >= 85 { 1900 } else { 2000 };
        let short = format!("{:04}-{month:0>2}-{day:0>2}", year + century);
        let date = stated.and_then(iso_date).unwrap_or(short);
        Some(format!("{date}T{hour:0>2}:{minute:0>2}:{second:0>2}"))
    }

    /// Writes what the two identification fields say into the recording.
    pub(crate) fn identify(&self, recording: &mut Recording) {
        let mut remark = |key: &str, text: &str| {
            if !text.is_empty() && text != "X" {
                recording.remarks.push((key.to_owned(), text.to_owned()));
            }
        };
        remark("reserved", &self.reserved);
        let known = |text: &str| (text != "X" && !text.is_empty()).then(|| text.replace('_', " "));
        if self.layout == Layout::Plain {
            remark("local recording identification", &self.recording);
            recording.patient.id = known(&self.patient);
            return;
        }
        let mut words = self.patient.split_whitespace();
        recording.patient.id = words.next().and_then(known);
        recording.patient.sex = words.next().and_then(known);
        let birth = words.next().unwrap_or("X");
        recording.patient.birth_date = iso_date(birth).or_else(|| known(birth));
        recording.patient.name = words.next().and_then(known);
        let rest: Vec<&str> = words.collect();
        remark("patient", &rest.join(" "));
        let mut words = self.recording.split_whitespace().peekable();
        let dated = words.next() == Some("Startdate")
            && words
                .next_if(|word| *word == "X" || iso_date(word).is_some())
                .is_some();
        if !dated {
            remark("local recording identification", &self.recording);
            return;
        }
        remark(
            "hospital administration code",
            words.next().unwrap_or_default(),
        );
        remark("technician", words.next().unwrap_or_default());
        let equipment = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        remark("recording", &rest.join(" "));
        recording.device.model = known(equipment);
    }
}

fn layout(reserved: &str) -> Layout {
    match reserved.get(..5) {
        Some("EDF+C" | "BDF+C") => Layout::Continuous,
        Some("EDF+D" | "BDF+D") => Layout::Discontinuous,
        _ => Layout::Plain,
    }
}

/// Reads the second part, which holds one field of all signals after the other.
fn signals(
    format: FormatId,
    fields: &mut Fields<'_>,
    count: usize,
) -> Result<Vec<SignalHeader>, FormatError> {
    let mut column = |field, len| -> Result<Vec<(String, u64)>, FormatError> {
        (0..count)
            .map(|_| {
                let at = fields.offset();
                let bytes = fields.take(field, len)?;
                Ok((lossless(bytes).trim_matches([' ', '\0']).to_owned(), at))
            })
            .collect()
    };
    let labels = column("label", 16)?;
    let transducers = column("transducer type", 80)?;
    let units = column("physical dimension", 8)?;
    let bottoms = column("physical minimum", 8)?;
    let tops = column("physical maximum", 8)?;
    let lows = column("digital minimum", 8)?;
    let highs = column("digital maximum", 8)?;
    let filters = column("prefiltering", 80)?;
    let counts = column("nr of samples in each data record", 8)?;
    column("reserved", 32)?;
    let mut limits = bottoms.iter().zip(&tops).zip(lows.iter().zip(&highs));
    let mut texts = labels
        .iter()
        .zip(&transducers)
        .zip(units.iter().zip(&filters));
    counts
        .iter()
        .map(|per_record| {
            let (((bottom, at), (top, _)), ((low, _), (high, _))) = limits.next()?;
            let (((label, _), (transducer, _)), ((unit, _), (prefilter, _))) = texts.next()?;
            Some(SignalHeader {
                label: label.clone(),
                is_annotations: label == "EDF Annotations" || label == "BDF Annotations",
                transducer: transducer.clone(),
                unit: unit.clone(),
                physical: (number(bottom), number(top)),
                digital: (whole(low), whole(high)),
                prefilter: prefilter.clone(),
                per_record: per_record.0.parse().ok()?,
                offset: *at,
            })
        })
        .zip(&counts)
        .map(|(signal, (text, at))| {
            let field = "nr of samples in each data record";
            signal.ok_or_else(|| invalid(format, field, *at, text, "a whole number"))
        })
        .collect()
}

/// A limit; one that cannot be read makes the calibration impossible, which is told.
fn number(text: &str) -> f64 {
    text.replace(',', ".").parse().unwrap_or(f64::NAN)
}

fn whole(text: &str) -> i32 {
    text.parse().unwrap_or(0)
}

/// `dd-MMM-yyyy` to ISO 8601.
fn iso_date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ];
    let mut parts = text.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))?
        + 1;
    let fits = day
        .bytes()
        .chain(year.bytes())
        .all(|byte| byte.is_ascii_digit());
    fits.then(|| format!("{year:0>4}-{month:02}-{day:0>2}"))
}

pub(crate) fn invalid(
    format: FormatId,
    field: &'static str,
    offset: u64,
    found: &str,
    want: &'static str,
) -> FormatError {
    FormatError::Invalid {
        format,
        field,
        offset,
        found: format!("{found:?}"),
        want,
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
