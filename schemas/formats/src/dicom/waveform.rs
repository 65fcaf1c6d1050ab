//! Multiplex groups of a waveform object: channels, calibration, samples (PS3.3, C.10.9).

use cardio_core::acquisition::WaveformKind;
use cardio_core::annotation::Annotation;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};
use dicom_object::{InMemDicomObject, Tag};

use super::{invalid, text};
use crate::error::FormatError;
use crate::fields::len64;
use crate::label::{calibration, kind_of};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::warnings::Warnings;

pub(super) const BITS_STORED: Tag = Tag(0x003A, 0x021A);
const GROUP_TIME_OFFSET: Tag = Tag(0x0018, 0x1068);
pub(super) const ORIGINALITY: Tag = Tag(0x003A, 0x0004);
pub(super) const CHANNELS: Tag = Tag(0x003A, 0x0005);
pub(super) const SAMPLES: Tag = Tag(0x003A, 0x0010);
pub(super) const FREQUENCY: Tag = Tag(0x003A, 0x001A);
const GROUP_LABEL: Tag = Tag(0x003A, 0x0020);
pub(super) const CHANNEL_DEFINITIONS: Tag = Tag(0x003A, 0x0200);
pub(super) const CHANNEL_LABEL: Tag = Tag(0x003A, 0x0203);
pub(super) const CHANNEL_SOURCE: Tag = Tag(0x003A, 0x0208);
pub(super) const SENSITIVITY: Tag = Tag(0x003A, 0x0210);
pub(super) const SENSITIVITY_UNITS: Tag = Tag(0x003A, 0x0211);
pub(super) const CORRECTION: Tag = Tag(0x003A, 0x0212);
pub(super) const BASELINE: Tag = Tag(0x003A, 0x0213);
pub(super) const SAMPLE_SKEW: Tag = Tag(0x003A, 0x0215);
pub(super) const BITS: Tag = Tag(0x5400, 0x1004);
pub(super) const INTERPRETATION: Tag = Tag(0x5400, 0x1006);
pub(super) const PADDING: Tag = Tag(0x5400, 0x100A);
pub(super) const DATA: Tag = Tag(0x5400, 0x1010);
pub(super) const CODE_VALUE: Tag = Tag(0x0008, 0x0100);
pub(super) const CODE_SCHEME: Tag = Tag(0x0008, 0x0102);
pub(super) const CODE_MEANING: Tag = Tag(0x0008, 0x0104);
const ANNOTATIONS: Tag = Tag(0x0040, 0xB020);
const CONCEPT_NAME: Tag = Tag(0x0040, 0xA043);
const CONCEPT_CODE: Tag = Tag(0x0040, 0xA168);
const NUMERIC: Tag = Tag(0x0040, 0xA30A);
const UNITS: Tag = Tag(0x0040, 0x08EA);
const POSITIONS: Tag = Tag(0x0040, 0xA132);
const FREE_TEXT: Tag = Tag(0x0070, 0x0006);

/// How a stored sample is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Signed8,
    Unsigned8,
    Signed16,
    Unsigned16,
    Signed32,
    /// Eight bits of the law, of which the count of sixteen bits that they stand for is kept.
    MuLaw8,
    /// The same.
    ALaw8,
}

impl Stored {
    fn of(group: &InMemDicomObject) -> Result<Self, FormatError> {
        let bits = integer(group, BITS).unwrap_or(0);
        let interpretation = text(group, INTERPRETATION).unwrap_or_default();
        match (bits, interpretation.as_str()) {
            (8, "SB") => Ok(Self::Signed8),
            (8, "UB") => Ok(Self::Unsigned8),
            (16, "SS") => Ok(Self::Signed16),
            (16, "US") => Ok(Self::Unsigned16),
            (32, "SL") => Ok(Self::Signed32),
            (8, "MB") => Ok(Self::MuLaw8),
            (8, "AB") => Ok(Self::ALaw8),
            _ => Err(FormatError::Unsupported {
                format: FormatId::Dicom,
                field: "Waveform Sample Interpretation",
                offset: 0,
                found: format!("{interpretation:?} of {bits} bits"),
            }),
        }
    }

    const fn bytes(self) -> usize {
        match self {
            Self::Signed8 | Self::Unsigned8 | Self::MuLaw8 | Self::ALaw8 => 1,
            Self::Signed16 | Self::Unsigned16 => 2,
            Self::Signed32 => 4,
        }
    }

    fn value(self, bytes: &[u8]) -> i32 {
        match (self, bytes) {
            (Self::Signed8, [a]) => i32::from(i8::from_le_bytes([*a])),
            (Self::Unsigned8, [a]) => i32::from(*a),
            (Self::Signed16, [a, b]) => i32::from(i16::from_le_bytes([*a, *b])),
            (Self::Unsigned16, [a, b]) => i32::from(u16::from_le_bytes([*a, *b])),
            (Self::Signed32, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]),
            (Self::MuLaw8, [a]) => mu_law(*a),
            (Self::ALaw8, [a]) => a_law(*a),
            _ => 0,
        }
    }
}

/// What an octet of the mu-law stands for (ITU-T G.711, table 2), in steps of a sixteen-bit count:
/// the decoder's output value times four.
fn mu_law(octet: u8) -> i32 {
    let octet = !octet;
    let step = (i32::from(octet & 0x0F) << 3) + 0x84;
    let size = (step << ((octet >> 4) & 7)) - 0x84;
    if octet & 0x80 == 0 { size } else { -size }
}

/// What an octet of the A-law stands for (ITU-T G.711, table 1), in steps of a sixteen-bit count:
/// the decoder's output value times eight.
fn a_law(octet: u8) -> i32 {
    let octet = octet ^ 0x55;
    let step = (i32::from(octet & 0x0F) << 4) + 8;
    let size = match (octet >> 4) & 7 {
        0 => step,
        segment => (step + 0x100) << (segment - 1),
    };
    if octet & 0x80 == 0 { -size } else { size }
}

fn integer(data: &InMemDicomObject, tag: Tag) -> Option<u32> {
    data.get(tag)?.to_int().ok()
}

fn number(data: &InMemDicomObject, tag: Tag) -> Option<f64> {
    let text = text(data, tag)?;
    let first = text.split('\\').next()?;
    first
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

fn item(data: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    data.get(tag)?.items()?.first()
}

/// Adds the rows of one multiplex group.
pub(super) fn read(
    group: &InMemDicomObject,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    let stored = Stored::of(group)?;
    let hz = number(group, FREQUENCY).unwrap_or(0.0);
    let rate = SamplingRate::from_hz(hz)
        .map_err(|_| invalid("Sampling Frequency", &hz.to_string(), "a rate above zero"))?;
    let definitions = group
        .get(CHANNEL_DEFINITIONS)
        .and_then(|element| element.items());
    let definitions = definitions.unwrap_or_default();
    let channels = integer(group, CHANNELS).unwrap_or(0);
    if channels == 0 || usize::try_from(channels) != Ok(definitions.len()) {
        let found = format!("{channels}, with {} definition(s)", definitions.len());
        let want = "at least one, each with its definition";
        return Err(invalid("Number of Waveform Channels", &found, want));
    }
    let group_label = text(group, GROUP_LABEL);
    let derived = text(group, ORIGINALITY).is_some_and(|text| text == "DERIVED");
    let before = recording.waveforms.len();
    for definition in definitions {
        let row = channel(definition, group_label.as_deref(), derived, rate)?;
        if let Some(skew) = number(definition, SAMPLE_SKEW).filter(|skew| *skew != 0.0) {
            let remark = (format!("sample skew of {}", row.label), skew.to_string());
            recording.remarks.push(remark);
        }
        recording.waveforms.push(row);
    }
    let mut rows = Rows::new(definitions.len());
    let offset_ms = number(group, GROUP_TIME_OFFSET).unwrap_or(0.0);
    let late = late_samples(offset_ms, rate);
    samples(group, stored, late, &mut rows, warnings)?;
    for (waveform, runs) in recording.waveforms.iter_mut().skip(before).zip(rows.take()) {
        waveform.runs = runs;
    }
    Ok(())
}

/// Samples by which a group begins after the first one.
fn late_samples(offset_ms: f64, rate: SamplingRate) -> SampleCount {
    let micros = (offset_ms * 1e3).round();
    if micros > 0.0 && micros < 1e15 {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and between 0 and 10^15: checked on the line above"
        )]
        return rate.count_in_micros(micros as u64);
    }
    SampleCount(0)
}

/// One row without samples.
fn channel(
    definition: &InMemDicomObject,
    group: Option<&str>,
    derived: bool,
    rate: SamplingRate,
) -> Result<Waveform, FormatError> {
    let label = channel_name(definition);
    let sensitivity = number(definition, SENSITIVITY);
    let correction = number(definition, CORRECTION).unwrap_or(1.0);
    let unit = item(definition, SENSITIVITY_UNITS).and_then(|unit| text(unit, CODE_VALUE));
    let per_count = sensitivity.unwrap_or(1.0) * correction;
    let unit = match sensitivity {
        Some(_) => unit.unwrap_or_default(),
        None => String::new(),
    };
    let baseline = number(definition, BASELINE).unwrap_or(0.0);
    let calibration = calibration(1.0 / per_count, -baseline / per_count, &unit)
        .map_err(|_| invalid("Channel Sensitivity", &per_count.to_string(), "not zero"))?;
    let kind = if derived {
        WaveformKind::Other(format!("{label}, {}", group.unwrap_or("derived")))
    } else {
        kind_of(&label, calibration.unit())
    };
    Ok(Waveform {
        label,
        kind,
        rate,
        calibration,
        runs: Vec::new(),
    })
}

/// The lead by its code, else the channel's label, else the code's meaning.
fn channel_name(definition: &InMemDicomObject) -> String {
    let source = item(definition, CHANNEL_SOURCE);
    let code = source.and_then(|source| text(source, CODE_VALUE));
    let scheme = source.and_then(|source| text(source, CODE_SCHEME));
    let coded = match scheme.as_deref() {
        // `2:61` in the nomenclature, `5.6.3-9-61` in SCP-ECG: the same last number.
        Some("MDC" | "SCPECG") => code.and_then(|code| {
            let number = code.rsplit([':', '-']).next()?.parse().ok()?;
            Some(crate::scp::section::lead_name(number))
        }),
        _ => None,
    };
    coded
        .filter(|name| !name.starts_with("lead "))
        .or_else(|| text(definition, CHANNEL_LABEL))
        .or_else(|| source.and_then(|source| text(source, CODE_MEANING)))
        .unwrap_or_else(|| "unnamed".to_owned())
}

/// Puts the interleaved samples into their rows.
fn samples(
    group: &InMemDicomObject,
    stored: Stored,
    late: SampleCount,
    rows: &mut Rows,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    let bytes = group
        .get(DATA)
        .and_then(|element| element.to_bytes().ok())
        .ok_or_else(|| invalid("Waveform Data", "absent", "samples"))?;
    let count = u64::from(integer(group, SAMPLES).unwrap_or(0));
    let missing = group.get(PADDING).and_then(|element| {
        let padding = element.to_bytes().ok()?;
        Some(stored.value(padding.get(..stored.bytes())?))
    });
    let channels = rows.len();
    let frame = channels.saturating_mul(stored.bytes()).max(1);
    let there = len64(bytes.len() / frame);
    if there < count {
        let why = format!("{count} sample(s) per channel stated, {there} there");
        warnings.tell("Waveform Data", 0, why)?;
    }
    let take = usize::try_from(count).unwrap_or(usize::MAX);
    for position in 0..channels {
        let column: Vec<i32> = bytes
            .chunks_exact(stored.bytes())
            .skip(position)
            .step_by(channels)
            .take(take)
            .map(|sample| stored.value(sample))
            .collect();
        if let Some(row) = rows.row(position) {
            row.skip(late);
            row.push_with_missing(&column, missing);
            let have = SampleCount::of(&column).0;
            row.skip(SampleCount(count.saturating_sub(have)));
        }
    }
    Ok(())
}

/// Marks with a place become annotations; measurements and statements become remarks.
pub(super) fn annotations(data: &InMemDicomObject, recording: &mut Recording) {
    let items = data.get(ANNOTATIONS).and_then(|element| element.items());
    for mark in items.unwrap_or_default() {
        let meaning = |tag| item(mark, tag).and_then(|code| text(code, CODE_MEANING));
        let name = meaning(CONCEPT_NAME).unwrap_or_else(|| "statement".to_owned());
        let unit = item(mark, UNITS).and_then(|unit| text(unit, CODE_VALUE));
        let value = text(mark, NUMERIC)
            .map(|value| {
                format!("{value} {}", unit.unwrap_or_default())
                    .trim()
                    .to_owned()
            })
            .or_else(|| text(mark, FREE_TEXT))
            .or_else(|| meaning(CONCEPT_CODE));
        let positions: Vec<u32> = mark
            .get(POSITIONS)
            .and_then(|element| element.to_multi_int().ok())
            .unwrap_or_default();
        if positions.is_empty() {
            if let Some(value) = value {
                recording.remarks.push((name, value));
            }
            continue;
        }
        for position in positions {
            // Sample positions count from 1 (PS3.3, C.10.10).
            let at = SampleIndex(u64::from(position.saturating_sub(1)));
            recording.annotations.push(Annotation {
                at,
                code: name.clone(),
                subtype: 0,
                channel: 0,
                number: 0,
                text: value.clone(),
            });
        }
    }
    recording.annotations.sort_by_key(|mark| mark.at);
}

#[cfg(test)]
mod tests {
    use super::{a_law, mu_law};

    #[test]
    fn both_laws_are_odd_and_reach_their_ends() {
        // G.711 counts silence twice in the mu-law, and never in the A-law.
        assert_eq!((mu_law(0xFF), mu_law(0x7F)), (0, 0));
        assert_eq!((mu_law(0x80), mu_law(0x00)), (32_124, -32_124));
        assert_eq!((a_law(0xD5), a_law(0x55)), (8, -8));
        assert_eq!((a_law(0xAA), a_law(0x2A)), (32_256, -32_256));
        assert_eq!((mu_law(0x35), a_law(0x35)), (-3260, -8448));
        for octet in 0..=127 {
            assert_eq!(mu_law(octet), -mu_law(octet | 0x80));
            assert_eq!(a_law(octet), -a_law(octet | 0x80));
        }
    }

    #[test]
    fn a_louder_octet_stands_for_a_larger_count() {
        let mu: Vec<i32> = (0x80..=0xFF).map(mu_law).collect();
        assert!(mu.is_sorted_by(|a, b| a > b));
        let a: Vec<i32> = (0x80..=0xFF_u8).map(|octet| a_law(octet ^ 0x55)).collect();
        assert!(a.is_sorted_by(|a, b| a < b));
    }
}
