//! The header of a WFDB record: `header(5)`.
//!
//! Deliberately absent: opening the files that it names.

use cardio_core::rate::SamplingRate;

use super::storage::Storage;
use crate::error::FormatError;
use crate::sniff::FormatId;

/// Gain of a signal whose header states none, in adu per unit (`header(5)`, ADC gain).
pub const DEFAULT_GAIN: f64 = 200.0;
/// Rate of a record whose header states none, in Hz (`header(5)`, sampling frequency).
pub const DEFAULT_RATE_HZ: u32 = 250;
/// The most samples per frame of one signal that are believed.
const SAMPLES_PER_FRAME_MAX: u32 = 1 << 16;
/// The longest skew that is believed, in frames.
const SKEW_MAX: u32 = 1 << 24;

/// A header as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The record's name, as the record line states it.
    pub name: String,
    /// Frames per second.
    pub rate: SamplingRate,
    /// Length in frames, when stated.
    pub frames: Option<u64>,
    /// Time of day of the first frame, as written.
    pub base_time: Option<String>,
    /// Date of the first frame, as written.
    pub base_date: Option<String>,
    /// One per signal; empty for a record of several segments.
    pub signals: Vec<SignalSpec>,
    /// One per segment; empty for a record of one.
    pub segments: Vec<SegmentSpec>,
    /// Number of signals that the record line states.
    pub signal_count: usize,
    /// Comment lines, without their `#`.
    pub comments: Vec<String>,
}

/// A segment of a multi-segment record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSpec {
    /// Name of the segment's record; `~` is a gap.
    pub name: String,
    /// Length in frames.
    pub frames: u64,
    /// Line of the header, counted from 1.
    pub line: u64,
}

/// A signal line.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalSpec {
    /// Line of the header, counted from 1.
    pub line: u64,
    /// The signal file.
    pub file: String,
    /// How samples are stored.
    pub storage: Storage,
    /// Samples of this signal in each frame.
    pub samples_per_frame: usize,
    /// Frames by which the stored signal is late.
    pub skew: u64,
    /// Bytes (samples, in compressed files) before the first sample.
    pub byte_offset: u64,
    /// Counts per unit; [`DEFAULT_GAIN`] when the header states none.
    pub gain: f64,
    /// Whether the header states a gain.
    pub calibrated: bool,
    /// The count that stands for zero; the converter's zero unless stated.
    pub baseline: i32,
    /// The unit, `mV` unless stated.
    pub unit: String,
    /// Resolution of the converter in bits, when stated.
    pub adc_bits: Option<u32>,
    /// What the converter gives for the middle of its range.
    pub adc_zero: i32,
    /// The first sample, or what stands before the first difference.
    pub initial: i32,
    /// Sum of all stored samples, modulo 2^16, when stated.
    pub checksum: Option<i16>,
    /// What the signal is.
    pub description: String,
}

impl Header {
    /// Reads a header. Lines end in LF or CRLF.
    ///
    /// # Errors
    /// [`FormatError`] with the line as its offset.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut comments = Vec::new();
        let mut lines = Vec::new();
        for (number, line) in (1_u64..).zip(text.lines()) {
            let line = line.trim_end_matches(['\r', '\u{1a}']);
            if let Some(comment) = line.trim_start().strip_prefix('#') {
                comments.push(comment.trim().to_owned());
            } else if !line.trim().is_empty() {
                lines.push((number, line));
            }
        }
        let mut lines = lines.into_iter();
        let (number, line) = lines
            .next()
            .ok_or_else(|| invalid("record line", 1, "absent", "a name and a number of signals"))?;
        let (mut header, segments) = record_line(line, number, comments)?;
        let want = segments.unwrap_or(header.signal_count);
        let mut have = 0;
        for (number, line) in lines.take(want) {
            have += 1;
            if segments.is_some() {
                header.segments.push(segment_line(line, number)?);
            } else {
                header.signals.push(signal_line(line, number, have)?);
            }
        }
        if have < want {
            let found = format!("{have} signal or segment line(s)");
            let wanted = "as many as the record line states";
            return Err(invalid("header", number, &found, wanted));
        }
        Ok(header)
    }

    /// When the record began, in ISO 8601 as far as it is stated.
    pub fn start(&self) -> Option<String> {
        let time = self.base_time.as_deref().map(iso_time);
        let date = self.base_date.as_deref().map(iso_date);
        match (date, time) {
            (Some(date), Some(time)) => Some(format!("{date}T{time}")),
            (Some(date), None) => Some(date),
            (None, time) => time,
        }
    }
}

fn invalid(field: &'static str, line: u64, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Wfdb,
        field,
        offset: line,
        found: format!("{found:?}"),
        want,
    }
}

fn number<T: std::str::FromStr>(
    text: &str,
    field: &'static str,
    line: u64,
    want: &'static str,
) -> Result<T, FormatError> {
    text.parse().map_err(|_| invalid(field, line, text, want))
}

/// `name[/segments] signals [rate[/counter[(base)]] [frames [time [date]]]]`
fn record_line(
    text: &str,
    line: u64,
    comments: Vec<String>,
) -> Result<(Header, Option<usize>), FormatError> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let (name, segments) = match name.split_once('/') {
        Some((name, count)) => {
            let count = number(count, "number of segments", line, "a whole number")?;
            (name, Some(count))
        }
        None => (name, None),
    };
    if segments == Some(0) {
        return Err(invalid("number of segments", line, "0", "at least one"));
    }
    let count = words.next().unwrap_or_default();
    let signal_count = number(count, "number of signals", line, "a whole number")?;
    let rate = match words.next() {
        None => SamplingRate::hz(DEFAULT_RATE_HZ),
        Some(word) => {
            let stated = word.split('/').next().unwrap_or_default();
            SamplingRate::from_hz(number(stated, "sampling frequency", line, "hertz")?)
        }
    };
    let rate = rate.map_err(|error| {
        let found = format!("{} Hz", error.hz);
        invalid("sampling frequency", line, &found, "a rate above zero")
    })?;
    let frames = match words.next() {
        None => None,
        Some(word) => Some(number(word, "number of samples", line, "a whole number")?)
            .filter(|frames: &u64| *frames > 0),
    };
    let header = Header {
        name: name.to_owned(),
        rate,
        frames,
        base_time: words.next().map(str::to_owned),
        base_date: words.next().map(str::to_owned),
        signals: Vec::new(),
        segments: Vec::new(),
        signal_count,
        comments,
    };
    Ok((header, segments))
}

/// `name frames`
fn segment_line(text: &str, line: u64) -> Result<SegmentSpec, FormatError> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    let frames = words.next().unwrap_or_default();
    let frames = number(frames, "segment length", line, "a whole number")?;
    Ok(SegmentSpec { name, frames, line })
}

/// `file format[xS][:skew][+offset] [gain[(baseline)][/unit] [bits [zero [initial
/// [checksum [block [description]]]]]]]`
fn signal_line(text: &str, line: u64, position: usize) -> Result<SignalSpec, FormatError> {
    let mut rest = text;
    let mut word = || {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        word
    };
    let file = word().to_owned();
    let how = format_field(word(), line)?;
    let mut spec = SignalSpec {
        line,
        file,
        storage: how.storage,
        samples_per_frame: how.samples_per_frame,
        skew: how.skew,
        byte_offset: how.byte_offset,
        gain: DEFAULT_GAIN,
        calibrated: false,
        baseline: 0,
        unit: "mV".to_owned(),
        adc_bits: None,
        adc_zero: 0,
        initial: 0,
        checksum: None,
        description: String::new(),
    };
    let baseline = gain_field(word(), line, &mut spec)?;
    let mut numbers = [None::<i64>; 5];
    for (slot, name) in numbers.iter_mut().zip([
        "ADC resolution",
        "ADC zero",
        "initial value",
        "checksum",
        "block size",
    ]) {
        match word() {
            "" => break,
            text => *slot = Some(number(text, name, line, "a whole number")?),
        }
    }
    spec.description = rest.trim().to_owned();
    if spec.description.is_empty() {
        spec.description = format!("signal {}", position.saturating_sub(1));
    }
    let [bits, zero, initial, checksum, _] = numbers;
    spec.adc_bits = bits.and_then(|bits| u32::try_from(bits).ok());
    spec.adc_zero = in_i32(zero.unwrap_or(0), "ADC zero", line)?;
    let first = initial.unwrap_or_else(|| i64::from(spec.adc_zero));
    spec.initial = in_i32(first, "initial value", line)?;
    spec.checksum = checksum.map(low_16_bits);
    spec.baseline = baseline.unwrap_or(spec.adc_zero);
    Ok(spec)
}

fn in_i32(value: i64, field: &'static str, line: u64) -> Result<i32, FormatError> {
    i32::try_from(value)
        .map_err(|_| invalid(field, line, &value.to_string(), "a number of 32 bits"))
}

/// Checksums are written signed and unsigned; only their low 16 bits count.
fn low_16_bits(value: i64) -> i16 {
    let [low, high, ..] = value.to_le_bytes();
    i16::from_le_bytes([low, high])
}

struct HowStored {
    storage: Storage,
    samples_per_frame: usize,
    skew: u64,
    byte_offset: u64,
}

/// `format[xS][:skew][+offset]`
fn format_field(text: &str, line: u64) -> Result<HowStored, FormatError> {
    let split = |text: &str| {
        let end = text.find(['x', ':', '+']).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        (digits.to_owned(), rest.to_owned())
    };
    let (code, mut rest) = split(text);
    let storage = number(&code, "format", line, "a number")
        .ok()
        .and_then(Storage::from_code)
        .ok_or_else(|| FormatError::Unsupported {
            format: FormatId::Wfdb,
            field: "format",
            offset: line,
            found: format!("{text:?}"),
        })?;
    let mut how = HowStored {
        storage,
        samples_per_frame: 1,
        skew: 0,
        byte_offset: 0,
    };
    while let Some(mark) = rest.chars().next() {
        let (digits, after) = split(rest.get(1..).unwrap_or_default());
        let whole = "a whole number";
        match mark {
            'x' => {
                let count: u32 = number(&digits, "samples per frame", line, whole)?;
                if count == 0 || count > SAMPLES_PER_FRAME_MAX {
                    return Err(invalid("samples per frame", line, &digits, "1 to 65536"));
                }
                how.samples_per_frame = usize::try_from(count).unwrap_or(1);
            }
            ':' => {
                let skew: u32 = number(&digits, "skew", line, whole)?;
                if skew > SKEW_MAX {
                    return Err(invalid("skew", line, &digits, "at most 16777216 frames"));
                }
                how.skew = u64::from(skew);
            }
            _ => how.byte_offset = number(&digits, "byte offset", line, whole)?,
        }
        rest = after;
    }
    Ok(how)
}

/// `gain[(baseline)][/unit]`; gives the baseline when it is stated.
fn gain_field(text: &str, line: u64, spec: &mut SignalSpec) -> Result<Option<i32>, FormatError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (numbers, unit) = match text.split_once('/') {
        Some((numbers, unit)) => (numbers, Some(unit)),
        None => (text, None),
    };
    let (gain, baseline) = match numbers.split_once('(') {
        Some((gain, rest)) => (gain, Some(rest.trim_end_matches(')'))),
        None => (numbers, None),
    };
    let gain: f64 = number(gain, "ADC gain", line, "counts per unit")?;
    if !gain.is_finite() {
        return Err(invalid("ADC gain", line, text, "a finite number"));
    }
    if gain != 0.0 {
        spec.gain = gain;
        spec.calibrated = true;
    }
    if let Some(unit) = unit.filter(|unit| !unit.is_empty()) {
        spec.unit = unit.to_owned();
    }
    baseline
        .map(|text| number(text, "baseline", line, "a number of 32 bits"))
        .transpose()
}

/// `HH:MM:SS[.fff]`, where hours or minutes may be missing.
fn iso_time(text: &str) -> String {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        [minutes, seconds] => ("0", *minutes, *seconds),
        [seconds] => ("0", "0", *seconds),
        _ => return text.to_owned(),
    };
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{hours:0>2}:{minutes:0>2}:{whole:0>2}{point}{fraction}")
}

/// `DD/MM/YYYY`
fn iso_date(text: &str) -> String {
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [day, month, year] => format!("{year:0>4}-{month:0>2}-{day:0>2}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Header, Storage};

    #[test]
    fn a_full_header_with_crlf_is_read() {
        let text = "3000003_0003 2 125/24000(1) 1028 9:46:25.757 26/10/1994\r\n\
                    a.dat 212x4:3+24 20(-1600)/mmHg 12 5 -242 65135 0 ECG lead II\r\n\
                    a.dat 16\r\n# Age: 78\r\n";
        let header = Header::parse(text).unwrap();
        assert_eq!(header.start().unwrap(), "1994-10-26T09:46:25.757");
        assert_eq!(header.frames, Some(1028));
        let first = &header.signals[0];
        assert_eq!(first.storage, Storage::Packed212);
        assert_eq!(
            (first.samples_per_frame, first.skew, first.byte_offset),
            (4, 3, 24)
        );
        assert_eq!((first.baseline, first.checksum), (-1600, Some(-401)));
        assert_eq!(
            (first.unit.as_str(), first.description.as_str()),
            ("mmHg", "ECG lead II")
        );
        let bare = &header.signals[1];
        assert_eq!(
            (bare.gain, bare.calibrated, bare.baseline),
            (200.0, false, 0)
        );
        assert_eq!(bare.description, "signal 1");
        assert_eq!(header.comments, ["Age: 78"]);
    }

    #[test]
    fn a_baseline_that_is_not_stated_is_the_converter_zero() {
        let header = Header::parse("100 1 360\n100.dat 212 200 11 1024\n").unwrap();
        assert_eq!(header.signals[0].baseline, 1024);
        assert_eq!(header.frames, None);
    }

    #[test]
    fn a_missing_signal_line_is_told() {
        let error = Header::parse("100 2 360\n100.dat 212\n").unwrap_err();
        assert_eq!(error.code(), "format.invalid");
    }

    #[test]
    fn an_unknown_storage_names_its_line() {
        let error = Header::parse("# x\n100 1 360\n100.dat 99\n").unwrap_err();
        assert_eq!(
            (error.code(), error.offset()),
            ("format.unsupported", Some(3))
        );
    }

    #[test]
    fn a_record_of_segments_lists_them() {
        let header = Header::parse("multi/2 2 360 45000\na 21600\n~ 1800\n").unwrap();
        assert_eq!(header.segments.len(), 2);
        assert_eq!(header.segments[1].name, "~");
    }
}
