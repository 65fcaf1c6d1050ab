//! GE MUSE XML (`RestingECG`).
//!
//! Rows are the leads of the rhythm waveform, eight as stored: III, aVR, aVL and aVF follow
//! from I and II and are not in the file. The median waveform becomes rows that are no ECG
//! leads. Deliberately absent: measurements, diagnoses, orders.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardio_core::acquisition::WaveformKind;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};

use crate::error::FormatError;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;
use crate::xml::{self, Element};

/// The longest file that is read.
const FILE_LIMIT: u64 = 64 << 20;

/// Opens a document; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::MuseXml, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::MuseXml, recording)))
}

/// Reads a document.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::MuseXml, options.strict);
    let root = xml::parse(&xml::text_of(bytes), FormatId::MuseXml)?;
    if root.name != "RestingECG" {
        return Err(invalid("root element", &root.name, "RestingECG"));
    }
    let mut recording = describe(&root, name);
    for waveform in root.all("Waveform") {
        rows(waveform, &mut recording, &mut warnings)?;
    }
    // The rhythm comes first, whatever the order in the file.
    recording
        .waveforms
        .sort_by_key(|row| matches!(row.kind, WaveformKind::Other(_)));
    if recording.waveforms.is_empty() {
        let why = "the document holds no waveform".to_owned();
        warnings.tell("Waveform", 0, why)?;
    }
    recording.warnings = warnings.take();
    Ok(recording)
}

/// Patient, device and time.
fn describe(root: &Element, name: &str) -> Recording {
    let patient = |field| root.text_at(&["PatientDemographics", field]);
    let test = |field| root.text_at(&["TestDemographics", field]);
    let mut recording = Recording {
        format: FormatId::MuseXml.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    recording.patient.id = patient("PatientID");
    let names = [patient("PatientFirstName"), patient("PatientLastName")];
    let names: Vec<String> = names.into_iter().flatten().collect();
    recording.patient.name = (!names.is_empty()).then(|| names.join(" "));
    recording.patient.sex = patient("Gender");
    recording.patient.birth_date = patient("DateofBirth").map(|date| iso_date(&date));
    recording.patient.age = patient("PatientAge").map(|age| {
        let unit = patient("AgeUnits").unwrap_or_default().to_ascii_lowercase();
        format!("{age} {unit}").trim().to_owned()
    });
    recording.device.model = test("AcquisitionDevice");
    recording.device.firmware = test("AcquisitionSoftwareVersion");
    let date = test("AcquisitionDate").map(|date| iso_date(&date));
    let time = test("AcquisitionTime");
    let local = match (date, time) {
        (Some(date), Some(time)) => Some(format!("{date}T{time}")),
        (date, time) => date.or(time),
    };
    recording.start = local.map(|local| StatedStart {
        local,
        utc_offset_minutes: None,
    });
    for (key, field) in [
        ("institution", "SiteName"),
        ("location", "LocationName"),
        ("test reason", "TestReason"),
        ("status", "Status"),
    ] {
        if let Some(text) = test(field) {
            recording.remarks.push((key.to_owned(), text));
        }
    }
    recording
}

/// `MM-DD-YYYY` to ISO 8601.
fn iso_date(date: &str) -> String {
    match date.split('-').collect::<Vec<_>>().as_slice() {
        [month, day, year] if year.len() == 4 => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}

/// Adds the leads of one waveform.
fn rows(
    waveform: &Element,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    let kind = waveform.text_at(&["WaveformType"]).unwrap_or_default();
    let rhythm = kind.eq_ignore_ascii_case("Rhythm");
    let base = number(waveform, "SampleBase")?;
    let exponent = waveform.text_at(&["SampleExponent"]);
    let exponent = exponent.and_then(|text| text.parse().ok()).unwrap_or(0_i32);
    let hz = base * 10_f64.powi(exponent.clamp(-9, 9));
    let rate = SamplingRate::from_hz(hz)
        .map_err(|_| invalid("SampleBase", &hz.to_string(), "a rate above zero"))?;
    for lead in waveform.all("LeadData") {
        let label = lead
            .text_at(&["LeadID"])
            .unwrap_or_else(|| "unnamed".to_owned());
        let per_bit = number(lead, "LeadAmplitudeUnitsPerBit")?;
        let unit = match lead.text_at(&["LeadAmplitudeUnits"]).as_deref() {
            None | Some("MICROVOLTS") => "uV".to_owned(),
            Some("MILLIVOLTS") => "mV".to_owned(),
            Some(other) => other.to_owned(),
        };
        let calibration = calibration(1.0 / per_bit, 0.0, &unit).map_err(|_| {
            let field = "LeadAmplitudeUnitsPerBit";
            invalid(field, &per_bit.to_string(), "a number other than zero")
        })?;
        let samples = samples(lead, &label, warnings)?;
        recording.waveforms.push(Waveform {
            kind: if rhythm {
                kind_of(&label, calibration.unit())
            } else {
                WaveformKind::Other(format!("{label}, {kind}"))
            },
            label,
            rate,
            calibration,
            runs: vec![Run {
                first: SampleIndex(0),
                samples: samples.into(),
            }],
        });
    }
    Ok(())
}

fn number(element: &Element, field: &'static str) -> Result<f64, FormatError> {
    let text = element.text_at(&[field]).unwrap_or_default();
    text.parse().map_err(|_| invalid(field, &text, "a number"))
}

/// Samples of a lead: 16 bits, low byte first, in base64.
fn samples(lead: &Element, label: &str, warnings: &mut Warnings) -> Result<Vec<i32>, FormatError> {
    let size = lead.text_at(&["LeadSampleSize"]);
    if size.as_deref().is_some_and(|size| size != "2") {
        return Err(FormatError::Unsupported {
            format: FormatId::MuseXml,
            field: "LeadSampleSize",
            offset: 0,
            found: size.unwrap_or_default(),
        });
    }
    let coded = lead
        .child("WaveFormData")
        .map_or("", |data| data.text.as_str());
    let bytes = base64(coded).ok_or_else(|| invalid("WaveFormData", label, "base64"))?;
    let (pairs, _) = bytes.as_chunks::<2>();
    let stated = lead
        .text_at(&["LeadSampleCountTotal"])
        .and_then(|text| text.parse().ok());
    if stated.is_some_and(|stated: usize| stated != pairs.len()) {
        let stated = stated.unwrap_or(0);
        let why = format!(
            "{stated} sample(s) of {label} stated, {} there",
            pairs.len()
        );
        warnings.tell("LeadSampleCountTotal", 0, why)?;
    }
    Ok(pairs
        .iter()
        .map(|pair| i32::from(i16::from_le_bytes(*pair)))
        .collect())
}

/// Base64 with blanks and line ends anywhere.
pub(crate) fn base64(coded: &str) -> Option<Vec<u8>> {
    let packed: String = coded.split_ascii_whitespace().collect();
    STANDARD.decode(packed).ok()
}

/// The reader of the document gives no offsets for its elements, so the offset is 0.
fn invalid(field: &'static str, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::MuseXml,
        field,
        offset: 0,
        found: format!("{found:?}"),
        want,
    }
}
