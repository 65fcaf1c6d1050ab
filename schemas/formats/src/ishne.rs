//! ISHNE Holter Standard Output File Format, and its annotation file.
//!
//! Facts: Badilini, *The ISHNE Holter Standard Output File Format* (1998). Whether the
//! stated number of samples counts one lead or all of them is decided by the size of the
//! file, because writers differ. Deliberately absent: PhysioNet's `.ecg` files, which are
//! WFDB annotations under the same name.

pub mod header;

mod marks;
mod reader;
pub(crate) mod write;

use std::io::SeekFrom;

use cardio_core::recording::{Recording, Waveform};

use crate::error::FormatError;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, open_file, read_up_to};
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;
use header::Header;

/// The longest annotation file that is read.
const MARKS_LIMIT: u64 = 64 << 20;

/// Opens a Holter file; an annotation file beside it is read too.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let mut file = open_file(source, name)?;
    let failed = |offset: u64| {
        move |source: std::io::Error| FormatError::Read {
            name: name.to_owned(),
            offset,
            source,
        }
    };
    let size = file.seek(SeekFrom::End(0)).map_err(failed(0))?;
    file.seek(SeekFrom::Start(0)).map_err(failed(0))?;
    let mut warnings = Warnings::new(FormatId::Ishne, options.strict);
    let mut reader = reader::IshneReader::open(file, name, size, &mut warnings)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    if let Ok(file) = source.open(&format!("{stem}.ann")) {
        let bytes = read_up_to(file, name, MARKS_LIMIT)?;
        if bytes.starts_with(header::MARKS_MAGIC) {
            reader.recording.annotations = marks::decode(&bytes, &mut warnings)?;
        }
    }
    reader.warnings = warnings;
    Ok(Box::new(reader))
}

/// Opens an annotation file on its own: marks without samples.
pub(crate) fn open_marks(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_up_to(open_file(source, name)?, name, MARKS_LIMIT)?;
    let mut warnings = Warnings::new(FormatId::IshneAnnotations, options.strict);
    let header = Header::parse(&bytes, FormatId::IshneAnnotations)?;
    let mut recording = describe(&header, name)?;
    recording.format = FormatId::IshneAnnotations.name();
    recording.annotations = marks::decode(&bytes, &mut warnings)?;
    recording.warnings = warnings.take();
    let whole = crate::read::Whole::new(FormatId::IshneAnnotations, recording);
    Ok(Box::new(whole))
}

/// All that a header says, without samples.
fn describe(header: &Header, name: &str) -> Result<Recording, FormatError> {
    let mut recording = Recording {
        format: FormatId::Ishne.name(),
        name: name
            .rsplit_once('.')
            .map_or(name, |(stem, _)| stem)
            .to_owned(),
        ..Recording::default()
    };
    header.identify(&mut recording);
    for lead in &header.leads {
        let unstated = lead.nanovolts <= 0;
        let gain = if unstated {
            1.0
        } else {
            1.0 / f64::from(lead.nanovolts)
        };
        let unit = if unstated { "" } else { "nV" };
        let calibration = calibration(gain, 0.0, unit).map_err(|_| {
            let found = lead.nanovolts.to_string();
            header::invalid("resolution", header::RESOLUTION_AT, &found, "nanovolts")
        })?;
        let label = header::lead_name(lead.code);
        recording.waveforms.push(Waveform {
            kind: kind_of(&label, calibration.unit()),
            label,
            rate: header.rate,
            calibration,
            runs: Vec::new(),
        });
    }
    Ok(recording)
}
