//! SCP-ECG (EN 1064): the European 12-lead record.
//!
//! Read: default and own Huffman tables, first and second differences, reference beat
//! subtraction, bimodal compression, all checksums. Bimodal compression keeps averages
//! outside its protected zones; a remark says so. Deliberately absent: measurements and
//! diagnostic statements (sections 7 to 11), and version 3 (ISO 41064) extensions.

pub mod huffman;
pub mod section;

mod decode;
mod demographics;
pub(crate) mod write;

use cardio_core::recording::{Recording, Waveform};

use crate::error::FormatError;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;
use section::{Directory, Leads};

/// The longest file that is read; a lead holds at most 65,535 bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Opens a file; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Scp, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::Scp, recording)))
}

/// Reads a record.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::Scp, options.strict);
    let directory = Directory::read(bytes, &mut warnings)?;
    let leads = Leads::read(directory.require(3)?)?;
    let mut recording = Recording {
        format: FormatId::Scp.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    if let Some(section) = directory.get(1) {
        demographics::read(section, &mut recording, &mut warnings)?;
    }
    let rhythm = decode::rhythm(&directory, &leads, &mut warnings)?;
    recording.remarks.extend(rhythm.remark);
    let mut rows = Rows::new(leads.list.len());
    for (position, (lead, samples)) in leads.list.iter().zip(rhythm.samples).enumerate() {
        let label = section::lead_name(lead.id);
        let gain = if rhythm.nanovolts == 0 {
            1.0
        } else {
            1.0 / f64::from(rhythm.nanovolts)
        };
        let unit = if rhythm.nanovolts == 0 { "" } else { "nV" };
        let calibration = calibration(gain, 0.0, unit).map_err(|error| {
            section::invalid(
                "amplitude value multiplier",
                0,
                &error.gain.to_string(),
                "a number",
            )
        })?;
        recording.waveforms.push(Waveform {
            kind: kind_of(&label, calibration.unit()),
            label,
            rate: rhythm.rate,
            calibration,
            runs: Vec::new(),
        });
        if let Some(row) = rows.row(position) {
            row.place(lead.first(), &samples);
            row.place(lead.end(), &[]);
        }
    }
    for (waveform, runs) in recording.waveforms.iter_mut().zip(rows.take()) {
        waveform.runs = runs;
    }
    recording.warnings = warnings.take();
    Ok(recording)
}
