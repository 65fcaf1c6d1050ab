//! DICOM waveforms: 12-lead, general and ambulatory ECG, and basic voice audio (PS3.3, A.34).
//!
//! The data set itself is read by `dicom-object`; this module gives its waveforms meaning.
//! A multiplex group that is derived (a median beat) becomes rows that are no ECG leads, so
//! that nothing takes them for rhythm. Deliberately absent: images, structured reports, and
//! compressed and big-endian transfer syntaxes, which are refused by name.

mod guard;
mod waveform;
pub(crate) mod write;

use std::io::Cursor;

use cardio_core::recording::{Recording, StatedStart};
use dicom_object::{InMemDicomObject, OpenFileOptions, Tag};

use crate::error::FormatError;
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;

/// The longest file that is read; a day of ambulatory ECG is some hundred megabytes.
const FILE_LIMIT: u64 = 1 << 30;
/// Where the four letters that begin a file stand.
pub const MAGIC_AT: usize = 128;
/// The four letters.
pub const MAGIC: &[u8; 4] = b"DICM";

/// Waveform Sequence.
const WAVEFORM_SEQUENCE: Tag = Tag(0x5400, 0x0100);

/// Opens a file; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Dicom, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::Dicom, recording)))
}

/// Reads a file.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    guard::check(bytes)?;
    let file = OpenFileOptions::new()
        .from_reader(Cursor::new(bytes))
        .map_err(|error| invalid("data set", &chain(&error), "a sound data set"))?;
    let mut warnings = Warnings::new(FormatId::Dicom, options.strict);
    let data: &InMemDicomObject = &file;
    let groups = data
        .get(WAVEFORM_SEQUENCE)
        .and_then(|element| element.items());
    let Some(groups) = groups.filter(|groups| !groups.is_empty()) else {
        let class = text(data, Tag(0x0008, 0x0016)).unwrap_or_default();
        return Err(FormatError::Unsupported {
            format: FormatId::Dicom,
            field: "SOP Class UID",
            offset: 0,
            found: format!("{class}, without a Waveform Sequence"),
        });
    };
    let mut recording = describe(data, name);
    for group in groups {
        waveform::read(group, &mut recording, &mut warnings)?;
    }
    waveform::annotations(data, &mut recording);
    recording.warnings = warnings.take();
    Ok(recording)
}

/// Patient, device and time.
fn describe(data: &InMemDicomObject, name: &str) -> Recording {
    let field = |group, element| text(data, Tag(group, element));
    let mut recording = Recording {
        format: FormatId::Dicom.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    recording.patient.name = field(0x0010, 0x0010).map(|name| name.replace('^', " "));
    recording.patient.id = field(0x0010, 0x0020);
    recording.patient.birth_date = field(0x0010, 0x0030).map(|date| iso_date(&date));
    recording.patient.sex = field(0x0010, 0x0040);
    recording.patient.age = field(0x0010, 0x1010);
    recording.device.maker = field(0x0008, 0x0070);
    recording.device.model = field(0x0008, 0x1090);
    recording.device.serial = field(0x0018, 0x1000);
    recording.device.firmware = field(0x0018, 0x1020);
    recording.start = field(0x0008, 0x002A).map(|stated| start(&stated));
    for (group, element, key) in [
        (0x0008, 0x0016, "SOP class"),
        (0x0008, 0x0018, "SOP instance"),
        (0x0020, 0x000D, "study instance"),
        (0x0020, 0x000E, "series instance"),
        (0x0008, 0x0050, "accession number"),
        (0x0008, 0x0080, "institution"),
        (0x0008, 0x1030, "study description"),
    ] {
        if let Some(text) = field(group, element) {
            recording.remarks.push((key.to_owned(), text));
        }
    }
    recording
}

/// A text element, trimmed; `None` when it is absent or empty.
fn text(data: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = data.get(tag)?.to_str().ok()?;
    let value = value.trim_matches([' ', '\0']);
    (!value.is_empty()).then(|| value.to_owned())
}

fn iso_date(date: &str) -> String {
    match (date.get(..4), date.get(4..6), date.get(6..8)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => date.to_owned(),
    }
}

/// `YYYYMMDDHHMMSS.FFFFFF&ZZXX` to ISO 8601.
fn start(stated: &str) -> StatedStart {
    let (local, zone) = match stated.rfind(['+', '-']) {
        Some(at) if at >= 4 => stated.split_at(at),
        _ => (stated, ""),
    };
    let minutes = || {
        let hours: i32 = zone.get(1..3)?.parse().ok()?;
        let minutes: i32 = zone.get(3..5)?.parse().ok()?;
        let total = hours * 60 + minutes;
        Some(if zone.starts_with('-') { -total } else { total })
    };
    let time = (local.get(8..10), local.get(10..12), local.get(12..));
    let written = match time {
        (Some(hour), Some(minute), Some(second)) if !second.is_empty() => {
            format!("{}T{hour}:{minute}:{second}", iso_date(local))
        }
        _ => iso_date(local),
    };
    StatedStart {
        local: written,
        utc_offset_minutes: minutes(),
    }
}

/// An error with all that it stands on, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        text.push_str(": ");
        text.push_str(&source.to_string());
        inner = source.source();
    }
    text
}

/// The library that reads the data set gives no offsets, so the offset is 0 here.
fn invalid(field: &'static str, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Dicom,
        field,
        offset: 0,
        found: found.to_owned(),
        want,
    }
}
