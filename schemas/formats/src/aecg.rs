//! HL7 annotated ECG (aECG, PORT_MT020001).
//!
//! Rows are the sequences of the rhythm series; sequences of a derived series (a
//! representative beat) become rows that are no ECG leads. Deliberately absent: annotations of a
//! derived series, and the trial's administrative data.

mod marks;
pub(crate) mod write;

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
const FILE_LIMIT: u64 = 256 << 20;
/// What begins the code of a lead.
const LEAD_PREFIX: &str = "MDC_ECG_LEAD_";

/// Opens a document; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Aecg, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::Aecg, recording)))
}

/// Reads a document.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::Aecg, options.strict);
    let root = xml::parse(&xml::text_of(bytes), FormatId::Aecg)?;
    if root.name != "AnnotatedECG" {
        return Err(invalid("root element", &root.name, "AnnotatedECG"));
    }
    let mut recording = describe(&root, name);
    for component in root.all("component") {
        let Some(series) = component.child("series") else {
            continue;
        };
        device(series, &mut recording);
        rows(series, None, &mut recording, &mut warnings)?;
        marks::read(series, &mut recording);
        for derivation in series.all("derivation") {
            if let Some(derived) = derivation.child("derivedSeries") {
                let code = derived
                    .child("code")
                    .and_then(|code| code.attribute("code"));
                let code = code.unwrap_or("derived");
                rows(derived, Some(code), &mut recording, &mut warnings)?;
            }
        }
    }
    if recording.waveforms.is_empty() {
        let why = "the document holds no sequence of samples".to_owned();
        warnings.tell("sequence", 0, why)?;
    }
    recording.warnings = warnings.take();
    Ok(recording)
}

/// Patient and time.
fn describe(root: &Element, name: &str) -> Recording {
    let mut recording = Recording {
        format: FormatId::Aecg.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    if let Some(subject) = root.find("trialSubject") {
        let id = subject.child("id");
        recording.patient.id = id
            .and_then(|id| id.attribute("extension").or_else(|| id.attribute("root")))
            .filter(|text| !text.is_empty())
            .map(str::to_owned);
        if let Some(person) = subject.child("subjectDemographicPerson") {
            recording.patient.name = person.child("name").map(all_text).filter(|t| !t.is_empty());
            let code = |name| person.child(name)?.attribute("code");
            recording.patient.sex = code("administrativeGenderCode").map(str::to_owned);
            let birth = person
                .child("birthTime")
                .and_then(|birth| birth.attribute("value"));
            recording.patient.birth_date = birth.map(iso_time);
        }
    }
    let time = root.child("effectiveTime").and_then(|time| {
        let place = ["center", "low"]
            .into_iter()
            .find_map(|name| time.child(name));
        place.unwrap_or(time).attribute("value")
    });
    recording.start = time.map(|value| StatedStart {
        local: iso_time(value),
        utc_offset_minutes: None,
    });
    let id = root.child("id").and_then(|id| id.attribute("root"));
    if let Some(id) = id {
        recording
            .remarks
            .push(("document".to_owned(), id.to_owned()));
    }
    recording
}

/// The text of an element and of all below it, joined by blanks.
fn all_text(element: &Element) -> String {
    let own = element.text.split_whitespace().map(str::to_owned);
    let below = element.children.iter().map(all_text);
    let words: Vec<String> = own.chain(below).filter(|text| !text.is_empty()).collect();
    words.join(" ")
}

fn device(series: &Element, recording: &mut Recording) {
    let Some(author) = series.find("seriesAuthor") else {
        return;
    };
    let device = author.child("manufacturedSeriesDevice");
    let field = |name| device.and_then(|device| device.text_at(&[name]));
    recording.device.model = field("manufacturerModelName");
    recording.device.firmware = field("softwareName");
    recording.device.maker = author.text_at(&["manufacturerOrganization", "name"]);
    recording.device.serial = device
        .and_then(|device| device.child("id")?.attribute("extension"))
        .map(str::to_owned);
}

/// Adds the sequences of a series.
fn rows(
    series: &Element,
    derived: Option<&str>,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    for component in series.all("component") {
        let Some(set) = component.child("sequenceSet") else {
            continue;
        };
        let sequences: Vec<&Element> = set
            .all("component")
            .filter_map(|component| component.child("sequence"))
            .collect();
        let rate = rate_of(&sequences)?;
        for sequence in sequences {
            let code = sequence
                .child("code")
                .and_then(|code| code.attribute("code"));
            let code = code.unwrap_or_default();
            if code.starts_with("TIME_") {
                continue;
            }
            let row = row(sequence, code, derived, rate, warnings)?;
            recording.waveforms.extend(row);
        }
    }
    Ok(())
}

/// The rate of a set, by the increment of its sequence of times.
fn rate_of(sequences: &[&Element]) -> Result<SamplingRate, FormatError> {
    let increment = sequences.iter().find_map(|sequence| {
        let code = sequence.child("code")?.attribute("code")?;
        let increment = sequence.at(&["value", "increment"])?;
        code.starts_with("TIME_").then_some(increment)
    });
    let increment = increment.ok_or_else(|| invalid("increment", "absent", "a time step"))?;
    let value = increment.attribute("value").unwrap_or_default();
    let per_second = match increment.attribute("unit") {
        Some("s") => 1.0,
        Some("ms") => 1e3,
        Some("us") => 1e6,
        unit => {
            let found = unit.unwrap_or("absent");
            return Err(invalid("increment unit", found, "s, ms or us"));
        }
    };
    let step: f64 = value.trim().parse().unwrap_or(0.0);
    SamplingRate::from_hz((per_second / step * 1e6).round() / 1e6)
        .map_err(|_| invalid("increment", value, "a time step above zero"))
}

/// One row; `None` when the sequence holds no samples at all.
fn row(
    sequence: &Element,
    code: &str,
    derived: Option<&str>,
    rate: SamplingRate,
    warnings: &mut Warnings,
) -> Result<Option<Waveform>, FormatError> {
    let Some(value) = sequence.child("value") else {
        return Ok(None);
    };
    let quantity = |name: &str| -> Result<(f64, String), FormatError> {
        let element = value.child(name);
        let text = element.and_then(|element| element.attribute("value"));
        let number = text.and_then(|text| text.trim().parse::<f64>().ok());
        let unit = element.and_then(|element| element.attribute("unit"));
        number
            .filter(|number| number.is_finite())
            .map(|number| (number, unit.unwrap_or_default().to_owned()))
            .ok_or_else(|| invalid("scale", text.unwrap_or("absent"), "a number with a unit"))
    };
    let (scale, unit) = quantity("scale")?;
    let (origin, origin_unit) = quantity("origin").unwrap_or((0.0, unit.clone()));
    if origin != 0.0 && origin_unit != unit {
        return Err(invalid("origin", &origin_unit, "the unit of the scale"));
    }
    let label = code.strip_prefix(LEAD_PREFIX).unwrap_or(code);
    let label = match label {
        "AVR" => "aVR",
        "AVL" => "aVL",
        "AVF" => "aVF",
        other => other,
    };
    let calibration = calibration(1.0 / scale, -origin / scale, &unit)
        .map_err(|_| invalid("scale", &scale.to_string(), "a number other than zero"))?;
    let digits = value
        .child("digits")
        .map_or("", |digits| digits.text.as_str());
    let samples = samples(digits, label, warnings)?;
    let kind = match derived {
        Some(series) => WaveformKind::Other(format!("{label}, {series}")),
        None => kind_of(label, calibration.unit()),
    };
    Ok(Some(Waveform {
        label: label.to_owned(),
        kind,
        rate,
        calibration,
        runs: vec![Run {
            first: SampleIndex(0),
            samples: samples.into(),
        }],
    }))
}

/// The numbers of a list; the first word that is none ends it.
fn samples(digits: &str, label: &str, warnings: &mut Warnings) -> Result<Vec<i32>, FormatError> {
    let mut samples = Vec::with_capacity(digits.len() / 4);
    for word in digits.split_ascii_whitespace() {
        match word.parse() {
            Ok(sample) => samples.push(sample),
            Err(_) => {
                let shown: String = word.chars().take(20).collect();
                let why = format!("{shown:?} ends the samples of {label} at {}", samples.len());
                warnings.tell("digits", crate::fields::len64(samples.len()), why)?;
                break;
            }
        }
    }
    Ok(samples)
}

/// `YYYYMMDDHHMMSS.fff` to ISO 8601.
fn iso_time(value: &str) -> String {
    let part = |range: std::ops::Range<usize>| value.get(range);
    let Some((year, month, day)) = part(0..4)
        .zip(part(4..6))
        .zip(part(6..8))
        .map(|((year, month), day)| (year, month, day))
    else {
        return value.to_owned();
    };
    let date = format!("{year}-{month}-{day}");
    match (part(8..10), part(10..12), value.get(12..)) {
        (Some(hour), Some(minute), Some(second)) if !second.is_empty() => {
            format!("{date}T{hour}:{minute}:{second}")
        }
        _ => date,
    }
}

/// The reader of the document gives no offsets for its elements, so the offset is 0.
fn invalid(field: &'static str, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Aecg,
        field,
        offset: 0,
        found: format!("{found:?}"),
        want,
    }
}
