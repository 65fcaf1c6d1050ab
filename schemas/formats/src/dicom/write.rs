//! A recording as a DICOM waveform: 12-lead when its limits hold, else general, else
//! ambulatory ECG (PS3.3, A.34.3 to A.34.5).

use cardio_core::acquisition::WaveformKind;
use cardio_core::lead::Lead;
use cardio_core::recording::{Recording, Waveform};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, Tag};

use super::waveform as tags;
use crate::error::FormatError;
use crate::identity::uid;
use crate::write::{Facts, Files, Moment, triple};

/// Explicit VR Little Endian.
const TRANSFER_SYNTAX: &str = "1.2.840.10008.1.2.1";
const TWELVE_LEAD: &str = "1.2.840.10008.5.1.4.1.1.9.1.1";
const GENERAL: &str = "1.2.840.10008.5.1.4.1.1.9.1.2";
const AMBULATORY: &str = "1.2.840.10008.5.1.4.1.1.9.1.3";
/// The most samples of a 12-lead channel (PS3.3, A.34.3.4.5).
const TWELVE_LEAD_SAMPLES_MAX: u64 = 16_384;
/// What stands for absence.
const PADDING: i16 = i16::MIN;

/// One file.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    facts.lose_annotations(recording)?;
    facts.lose_remarks(recording)?;
    let class = class(recording, facts)?;
    let mut data = InMemDicomObject::new_empty();
    identify(recording, class, facts, &mut data)?;
    let group = group(recording, facts)?;
    data.put(sequence(super::WAVEFORM_SEQUENCE, vec![group]));
    let meta = FileMetaTableBuilder::new().transfer_syntax(TRANSFER_SYNTAX);
    let failed = |error: &dyn std::error::Error| facts.refuse("data set", super::chain(error));
    let file = data.with_meta(meta).map_err(|error| failed(&error))?;
    let mut out = Vec::new();
    file.write_all(&mut out).map_err(|error| failed(&error))?;
    Ok(vec![(format!("{name}.dcm"), out)])
}

/// The SOP class whose limits hold.
fn class(recording: &Recording, facts: &Facts) -> Result<&'static str, FormatError> {
    let rows = &recording.waveforms;
    let rate = rows.first().map(|row| row.rate);
    if let Some(odd) = rows.iter().find(|row| Some(row.rate) != rate) {
        let why = format!("{} is sampled at {}", odd.label, odd.rate);
        return Err(facts.refuse("several rates", why));
    }
    let hz = rate.map_or(0.0, |rate| rate.as_hz());
    let longest = rows.iter().map(|row| row.end().0).max().unwrap_or(0);
    let standard = rows.iter().all(|row| row.kind.lead().is_some());
    let diagnostic = (200.0..=1000.0).contains(&hz);
    if standard && rows.len() <= 13 && diagnostic && longest <= TWELVE_LEAD_SAMPLES_MAX {
        return Ok(TWELVE_LEAD);
    }
    if rows.len() <= 24 && diagnostic {
        return Ok(GENERAL);
    }
    if rows.len() <= 12 && (50.0..=1000.0).contains(&hz) {
        return Ok(AMBULATORY);
    }
    let why = format!(
        "{} row(s) at {hz} Hz are outside every ECG object",
        rows.len()
    );
    Err(facts.refuse("recording", why))
}

fn text(tag: Tag, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, vr, PrimitiveValue::from(value))
}

fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// Patient, study, series, equipment and instance.
fn identify(
    recording: &Recording,
    class: &str,
    facts: &mut Facts,
    data: &mut InMemDicomObject,
) -> Result<(), FormatError> {
    let moment = Moment::of(recording);
    let (Some([year, month, day]), Some([hour, minute, second])) = (moment.date, moment.time)
    else {
        return Err(facts.refuse("start", "an object needs a date and a time".to_owned()));
    };
    let date = format!("{year:04}{month:02}{day:02}");
    let fraction: String = moment.fraction.chars().take(6).collect();
    if fraction != moment.fraction {
        facts.lose("fraction of a second", &moment.fraction)?;
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let time = format!("{hour:02}{minute:02}{second:02}{point}{fraction}");
    let zone = recording
        .start
        .as_ref()
        .and_then(|start| start.utc_offset_minutes);
    let zone = zone.map_or_else(String::new, |minutes| {
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, rest) = (minutes.unsigned_abs() / 60, minutes.unsigned_abs() % 60);
        format!("{sign}{hours:02}{rest:02}")
    });
    let patient = &recording.patient;
    facts.lose_text("age", patient.age.as_ref())?;
    let sex = match patient.sex.as_deref() {
        Some("M" | "m" | "Male" | "male" | "MALE") => "M",
        Some("F" | "f" | "Female" | "female" | "FEMALE") => "F",
        other => {
            facts.lose("sex", other.unwrap_or_default())?;
            ""
        }
    };
    let birth = patient.birth_date.as_deref().unwrap_or_default();
    let born = triple(birth, '-').map(|[year, month, day]| format!("{year:04}{month:02}{day:02}"));
    if born.is_none() {
        facts.lose("birth date", birth)?;
    }
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = known(&patient.name);
    let name = match name.rsplit_once(' ') {
        Some((first, last)) => format!("{last}^{first}"),
        None => name,
    };
    let device = &recording.device;
    for (group, element, vr, value) in [
        (0x0008, 0x0005, VR::CS, "ISO_IR 192".to_owned()),
        (0x0008, 0x0016, VR::UI, class.to_owned()),
        (0x0008, 0x0018, VR::UI, uid(recording, "instance")),
        (0x0008, 0x0020, VR::DA, date.clone()),
        (0x0008, 0x0023, VR::DA, date.clone()),
        (0x0008, 0x002A, VR::DT, format!("{date}{time}{zone}")),
        (0x0008, 0x0030, VR::TM, time.clone()),
        (0x0008, 0x0033, VR::TM, time),
        (0x0008, 0x0050, VR::SH, String::new()),
        (0x0008, 0x0060, VR::CS, "ECG".to_owned()),
        (0x0008, 0x0070, VR::LO, known(&device.maker)),
        (0x0008, 0x0090, VR::PN, String::new()),
        (0x0008, 0x1090, VR::LO, known(&device.model)),
        (0x0010, 0x0010, VR::PN, name),
        (0x0010, 0x0020, VR::LO, known(&patient.id)),
        (0x0010, 0x0030, VR::DA, born.unwrap_or_default()),
        (0x0010, 0x0040, VR::CS, sex.to_owned()),
        (0x0018, 0x1000, VR::LO, known(&device.serial)),
        (0x0018, 0x1020, VR::LO, known(&device.firmware)),
        (0x0020, 0x000D, VR::UI, uid(recording, "study")),
        (0x0020, 0x000E, VR::UI, uid(recording, "series")),
        (0x0020, 0x0010, VR::SH, String::new()),
        (0x0020, 0x0011, VR::IS, "1".to_owned()),
        (0x0020, 0x0013, VR::IS, "1".to_owned()),
    ] {
        let most = match vr {
            VR::SH => 16,
            _ => 64,
        };
        if value.chars().count() > most || value.contains('\\') {
            facts.lose("text", &value)?;
            continue;
        }
        data.put(text(Tag(group, element), vr, &value));
    }
    data.put(sequence(Tag(0x0040, 0x0555), Vec::new()));
    Ok(())
}

/// The multiplex group with all rows.
fn group(recording: &Recording, facts: &Facts) -> Result<InMemDicomObject, FormatError> {
    let rows = &recording.waveforms;
    let longest = rows.iter().map(|row| row.end().0).max().unwrap_or(0);
    let samples = u32::try_from(longest)
        .map_err(|_| facts.refuse("samples", "more than 2^32 per channel".to_owned()))?;
    let channels = u16::try_from(rows.len())
        .map_err(|_| facts.refuse("channels", format!("{} of them", rows.len())))?;
    let rate = rows.first().map_or(0.0, |row| row.rate.as_hz());
    let rate = decimal(rate, facts, "sampling rate")?;
    let padded = rows.iter().any(|row| row.sample_count().0 < longest);
    let definitions = rows
        .iter()
        .map(|row| channel(row, facts))
        .collect::<Result<Vec<_>, _>>()?;
    let mut item = InMemDicomObject::new_empty();
    item.put(text(tags::ORIGINALITY, VR::CS, "ORIGINAL"));
    item.put(DataElement::new(
        tags::CHANNELS,
        VR::US,
        PrimitiveValue::from(channels),
    ));
    item.put(DataElement::new(
        tags::SAMPLES,
        VR::UL,
        PrimitiveValue::from(samples),
    ));
    item.put(text(tags::FREQUENCY, VR::DS, &rate));
    item.put(sequence(tags::CHANNEL_DEFINITIONS, definitions));
    item.put(DataElement::new(
        tags::BITS,
        VR::US,
        PrimitiveValue::from(16_u16),
    ));
    item.put(text(tags::INTERPRETATION, VR::CS, "SS"));
    if padded {
        let padding = vec![u16::from_le_bytes(PADDING.to_le_bytes())];
        item.put(words(tags::PADDING, padding));
    }
    item.put(words(
        tags::DATA,
        interleaved(rows, longest, padded, facts)?,
    ));
    Ok(item)
}

fn words(tag: Tag, values: Vec<u16>) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::OW, PrimitiveValue::U16(values.into()))
}

/// All samples, one instant after another; absence is the padding value.
fn interleaved(
    rows: &[Waveform],
    longest: u64,
    padded: bool,
    facts: &Facts,
) -> Result<Vec<u16>, FormatError> {
    let filler = u16::from_le_bytes(PADDING.to_le_bytes());
    let frames = usize::try_from(longest).unwrap_or(usize::MAX);
    let mut out = vec![filler; frames.saturating_mul(rows.len())];
    for (channel, row) in rows.iter().enumerate() {
        for run in &row.runs {
            let from = usize::try_from(run.first.0).unwrap_or(usize::MAX);
            let places = out.iter_mut().skip(channel).step_by(rows.len()).skip(from);
            for (place, sample) in places.zip(&run.samples) {
                let narrow = facts.narrow(row, sample)?;
                if padded && narrow == PADDING {
                    let why = format!("{sample} of {} stands for absence", row.label);
                    return Err(facts.refuse("sample", why));
                }
                *place = u16::from_le_bytes(narrow.to_le_bytes());
            }
        }
    }
    Ok(out)
}

/// A coded concept.
fn code(value: &str, scheme: &str, meaning: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        text(tags::CODE_VALUE, VR::SH, value),
        text(tags::CODE_SCHEME, VR::SH, scheme),
        text(tags::CODE_MEANING, VR::LO, meaning),
    ])
}

/// One channel: its lead, and microvolts per count.
fn channel(row: &Waveform, facts: &Facts) -> Result<InMemDicomObject, FormatError> {
    let Some(gain) = row.calibration.gain_adu_per_mv() else {
        let why = format!("{} is in {}", row.label, row.calibration.unit().ucum());
        return Err(facts.refuse("unit", why));
    };
    if !matches!(row.kind, WaveformKind::Ecg(_) | WaveformKind::EcgOther(_)) {
        return Err(facts.refuse("waveform", format!("{} is no ECG lead", row.label)));
    }
    let step = 1e3 / gain;
    let zero = row.calibration.baseline_adu();
    let baseline = if zero == 0.0 { 0.0 } else { -zero * step };
    let source = match row.kind.lead() {
        Some(lead) => code(&lead_code(lead), "MDC", &format!("Lead {lead}")),
        None => code("2:0", "MDC", "Unspecified lead"),
    };
    if row.label.chars().count() > 16 {
        return Err(facts.refuse("label", format!("{:?} is longer than 16", row.label)));
    }
    Ok(InMemDicomObject::from_element_iter([
        text(tags::CHANNEL_LABEL, VR::SH, &row.label),
        sequence(tags::CHANNEL_SOURCE, vec![source]),
        text(
            tags::SENSITIVITY,
            VR::DS,
            &decimal(step, facts, "calibration")?,
        ),
        sequence(
            tags::SENSITIVITY_UNITS,
            vec![code("uV", "UCUM", "microvolt")],
        ),
        text(tags::CORRECTION, VR::DS, "1"),
        text(
            tags::BASELINE,
            VR::DS,
            &decimal(baseline, facts, "calibration")?,
        ),
        text(tags::SAMPLE_SKEW, VR::DS, "0"),
        DataElement::new(tags::BITS_STORED, VR::US, PrimitiveValue::from(16_u16)),
    ]))
}

/// The lead in the nomenclature: partition 2, the numbers that SCP-ECG uses too.
fn lead_code(lead: Lead) -> String {
    let number = crate::scp::section::lead_id(lead.name()).unwrap_or(0);
    format!("2:{number}")
}

/// A number in the 16 characters of a decimal string.
fn decimal(value: f64, facts: &Facts, field: &'static str) -> Result<String, FormatError> {
    let exact = |text: &String| {
        let back: f64 = text.parse().unwrap_or(f64::NAN);
        text.len() <= 16 && (back - value).abs() <= 1e-9 * value.abs()
    };
    (0..14_usize)
        .map(|places| format!("{value:.places$}"))
        .find(exact)
        .ok_or_else(|| facts.refuse(field, format!("{value} in 16 characters")))
}
