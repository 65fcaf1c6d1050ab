//! Philips Sierra XML (`restingecgdata` 1.03, 1.04, 1.04.01), with XLI compression.
//!
//! Facts: the public `sierra-ecg-tools`. Limb leads III, aVR, aVL and aVF are stored as the
//! difference from what I and II predict; they are read back to leads. Deliberately absent:
//! representative beats, measurements, interpretations.

mod lzw;

use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};

use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::label::{calibration, kind_of};
use crate::muse::base64;
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;
use crate::xml::{self, Element};

/// The longest file that is read.
const FILE_LIMIT: u64 = 64 << 20;
/// The leads of a standard recording, in the order of the file.
const STANDARD: [&str; 12] = [
    "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
];
/// What a second difference is stored above (XLI).
const XLI_BIAS: i32 = 64;

/// Opens a document; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::PhilipsXml, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::PhilipsXml, recording)))
}

/// Reads a document.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::PhilipsXml, options.strict);
    let root = xml::parse(&xml::text_of(bytes), FormatId::PhilipsXml)?;
    if root.name != "restingecgdata" {
        return Err(invalid("root element", 0, &root.name, "restingecgdata"));
    }
    let mut recording = describe(&root, name);
    let signal = root
        .find("signalcharacteristics")
        .cloned()
        .unwrap_or_default();
    let parsed = root
        .find("parsedwaveforms")
        .ok_or_else(|| invalid("parsedwaveforms", 0, "absent", "the samples"))?;
    let hz = signal.text_at(&["samplingrate"]).unwrap_or_default();
    let rate = hz
        .parse()
        .ok()
        .and_then(|hz| SamplingRate::from_hz(hz).ok());
    let rate = rate.ok_or_else(|| invalid("samplingrate", 0, &hz, "a rate above zero"))?;
    // Microvolts per count.
    let resolution = ["resolution", "signalresolution"]
        .iter()
        .find_map(|field| signal.text_at(&[field]))
        .unwrap_or_default();
    let step: f64 = resolution.parse().unwrap_or(0.0);
    let labels = labels(parsed, &signal);
    let mut leads = leads(parsed, labels.len(), &mut warnings)?;
    if labels.iter().take(6).eq(STANDARD.iter().take(6)) {
        restore_limb_leads(&mut leads);
    }
    for (label, samples) in labels.into_iter().zip(leads) {
        let calibration = calibration(1.0 / step, 0.0, "uV")
            .map_err(|_| invalid("resolution", 0, &resolution, "microvolts above zero"))?;
        recording.waveforms.push(Waveform {
            kind: kind_of(&label, calibration.unit()),
            label,
            rate,
            calibration,
            runs: vec![Run {
                first: SampleIndex(0),
                samples: samples.into(),
            }],
        });
    }
    recording.warnings = warnings.take();
    Ok(recording)
}

/// Patient, device and time.
fn describe(root: &Element, name: &str) -> Recording {
    let mut recording = Recording {
        format: FormatId::PhilipsXml.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    if let Some(patient) = root.find("generalpatientdata") {
        recording.patient.id = patient.text_at(&["patientid"]);
        recording.patient.sex = patient.text_at(&["sex"]);
        recording.patient.birth_date = patient.text_at(&["age", "dateofbirth"]);
        let years = patient.text_at(&["age", "years"]);
        recording.patient.age = years.map(|years| format!("{years} years"));
        let names = ["firstname", "lastname"].map(|part| patient.text_at(&["name", part]));
        let names: Vec<String> = names.into_iter().flatten().collect();
        recording.patient.name = (!names.is_empty()).then(|| names.join(" "));
    }
    let acquisition = root.find("dataacquisition");
    if let Some(machine) = acquisition.and_then(|data| data.child("machine")) {
        recording.device.model = machine
            .attribute("machineid")
            .map(str::to_owned)
            .or_else(|| Some(machine.text.trim().to_owned()))
            .filter(|text| !text.is_empty());
    }
    let moment = acquisition.filter(|data| data.attribute("date").is_some());
    let moment = moment.or_else(|| root.find("reportinfo"));
    let local = moment.and_then(|moment| {
        let date = moment.attribute("date")?;
        Some(match moment.attribute("time") {
            Some(time) => format!("{date}T{time}"),
            None => date.to_owned(),
        })
    });
    recording.start = local.map(|local| StatedStart {
        local,
        utc_offset_minutes: None,
    });
    if let Some(version) = root.text_at(&["documentinfo", "documentversion"]) {
        recording
            .remarks
            .push(("document version".to_owned(), version));
    }
    recording
}

/// Names of the leads: stated since 1.04, by the kind of recording before.
fn labels(parsed: &Element, signal: &Element) -> Vec<String> {
    let stated = parsed.attribute("leadlabels").unwrap_or_default();
    let count = parsed
        .attribute("numberofleads")
        .and_then(|text| text.parse().ok());
    if !stated.trim().is_empty() {
        let names = stated.split_whitespace().map(str::to_owned);
        return names.take(count.unwrap_or(usize::MAX)).collect();
    }
    let count = signal.text_at(&["numberchannelsallocated"]);
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    let kind = signal.text_at(&["acquisitiontype"]).unwrap_or_default();
    let standard = matches!(kind.as_str(), "STD-12" | "10-WIRE");
    (0..count.min(usize::from(u8::MAX)))
        .map(|position| match STANDARD.get(position) {
            Some(name) if standard => (*name).to_owned(),
            _ => format!("channel {}", position.saturating_add(1)),
        })
        .collect()
}

/// The stored numbers of every lead.
fn leads(
    parsed: &Element,
    count: usize,
    warnings: &mut Warnings,
) -> Result<Vec<Vec<i32>>, FormatError> {
    let encoding = parsed.attribute("dataencoding").unwrap_or_default();
    let unsupported = |field: &'static str, found: &str| FormatError::Unsupported {
        format: FormatId::PhilipsXml,
        field,
        offset: 0,
        found: format!("{found:?}"),
    };
    if encoding != "Base64" {
        return Err(unsupported("dataencoding", encoding));
    }
    let bytes = base64(&parsed.text)
        .ok_or_else(|| invalid("parsedwaveforms", 0, "not base64", "base64"))?;
    let method = ["compressmethod", "compression"]
        .iter()
        .find_map(|name| parsed.attribute(name))
        .unwrap_or("Uncompressed");
    let leads = match method {
        "XLI" => chunks(&bytes, count, warnings)?,
        "Uncompressed" => {
            let (words, _) = bytes.as_chunks::<2>();
            let each = words.len().checked_div(count).unwrap_or(0).max(1);
            let value = |word: &[u8; 2]| i32::from(i16::from_le_bytes(*word));
            let lead = |words: &[[u8; 2]]| words.iter().map(value).collect();
            words.chunks_exact(each).take(count).map(lead).collect()
        }
        other => return Err(unsupported("compression", other)),
    };
    if leads.len() < count {
        let why = format!("{count} lead(s) stated, {} there", leads.len());
        warnings.tell("parsedwaveforms", 0, why)?;
    }
    Ok(leads)
}

/// One chunk per lead: its length, a first difference, compressed bytes.
fn chunks(
    bytes: &[u8],
    count: usize,
    warnings: &mut Warnings,
) -> Result<Vec<Vec<i32>>, FormatError> {
    let mut fields = Fields::new(FormatId::PhilipsXml, bytes, 0);
    let mut leads = Vec::new();
    while !fields.rest().is_empty() && leads.len() < count {
        let at = fields.offset();
        let size = usize::try_from(fields.u32("chunk length")?).unwrap_or(usize::MAX);
        fields.u16("chunk code")?;
        let first = fields.i16("first difference")?;
        let have = fields.rest().len();
        if have < size {
            let why = format!("{size} byte(s) stated, {have} remain");
            warnings.tell("chunk length", at, why)?;
        }
        let packed = fields.take("chunk", size.min(have))?;
        let plain = lzw::decode(packed).ok_or(FormatError::TooLarge {
            format: FormatId::PhilipsXml,
            field: "chunk",
            offset: at,
            asked: len64(lzw::OUTPUT_MAX).saturating_add(1),
            limit: len64(lzw::OUTPUT_MAX),
        })?;
        leads.push(integrate(&plain, i32::from(first)));
    }
    Ok(leads)
}

/// High bytes stand before low bytes; the first two numbers are samples, the others second
/// differences, each applied one sample late.
fn integrate(plain: &[u8], first: i32) -> Vec<i32> {
    let count = plain.len().div_ceil(2);
    let (high, low) = plain.split_at(count.min(plain.len()));
    let low = low.iter().copied().chain(std::iter::repeat(0));
    let mut numbers: Vec<i32> = high
        .iter()
        .zip(low)
        .map(|(high, low)| i32::from(i16::from_be_bytes([*high, low])))
        .collect();
    let (mut before, mut last) = match numbers.as_slice() {
        [before, last, ..] => (*before, *last),
        _ => return numbers,
    };
    let mut step = first;
    for number in numbers.iter_mut().skip(2) {
        let sample = last.wrapping_mul(2).wrapping_sub(before).wrapping_sub(step);
        let [a, b, ..] = sample.to_le_bytes();
        step = number.wrapping_sub(XLI_BIAS);
        *number = i32::from(i16::from_le_bytes([a, b]));
        (before, last) = (last, *number);
    }
    numbers
}

/// III, aVR, aVL, aVF from I, II and their stored differences; halves are rounded down.
fn restore_limb_leads(leads: &mut [Vec<i32>]) {
    let [i, ii, iii, avr, avl, avf, ..] = leads else {
        return;
    };
    for (iii, (i, ii)) in iii.iter_mut().zip(i.iter().zip(ii.iter())) {
        *iii = ii.wrapping_sub(*i).wrapping_sub(*iii);
    }
    for (avr, (i, ii)) in avr.iter_mut().zip(i.iter().zip(ii.iter())) {
        *avr = avr.wrapping_neg().wrapping_sub(i.wrapping_add(*ii) >> 1);
    }
    for (avl, (i, iii)) in avl.iter_mut().zip(i.iter().zip(iii.iter())) {
        *avl = (i.wrapping_sub(*iii) >> 1).wrapping_sub(*avl);
    }
    for (avf, (ii, iii)) in avf.iter_mut().zip(ii.iter().zip(iii.iter())) {
        *avf = (ii.wrapping_add(*iii) >> 1).wrapping_sub(*avf);
    }
}

fn invalid(field: &'static str, offset: u64, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::PhilipsXml,
        field,
        offset,
        found: format!("{found:?}"),
        want,
    }
}
