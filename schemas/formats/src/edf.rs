//! European Data Format: EDF, EDF+C, EDF+D, and their 24-bit sisters BDF, BDF+.
//!
//! Facts: the specifications at edfplus.info; BioSemi's description of BDF. The records of
//! an EDF+D file stand where their time-keeping annotations say, and what lies between is
//! a gap. Deliberately absent: guessing leads from transducers, and the log files that some
//! recorders write beside.

pub mod header;
pub mod tal;

mod reader;
pub(crate) mod write;

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart, Waveform};

use crate::error::FormatError;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, open_file};
use crate::source::Source;
use crate::warnings::Warnings;
use header::{Header, SignalHeader};

/// The text of the mark behind the last sample when our writer had to fill up the last
/// record; the reader stops there.
const END_MARK: &str = "End of recording; the rest fills the last record";

/// Opens a file of the EDF family.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let file = open_file(source, name)?;
    let reader = reader::EdfReader::open(file, name, options)?;
    Ok(Box::new(reader))
}

/// All that a header says, without samples.
fn describe(
    header: &Header,
    name: &str,
    warnings: &mut Warnings,
) -> Result<Recording, FormatError> {
    let mut recording = Recording {
        format: header.format.name(),
        name: name
            .rsplit_once('.')
            .map_or(name, |(stem, _)| stem)
            .to_owned(),
        start: header.start().map(|local| StatedStart {
            local,
            utc_offset_minutes: None,
        }),
        ..Recording::default()
    };
    header.identify(&mut recording);
    for signal in header
        .signals
        .iter()
        .filter(|signal| !signal.is_annotations)
    {
        recording.waveforms.push(row(header, signal, warnings)?);
        for (what, text) in [
            ("transducer", &signal.transducer),
            ("prefilter", &signal.prefilter),
            ("unit", &signal.unit),
        ] {
            if !text.is_empty() && text != "mV" {
                let key = format!("{what} of {}", signal.label);
                recording.remarks.push((key, text.clone()));
            }
        }
    }
    Ok(recording)
}

fn row(
    header: &Header,
    signal: &SignalHeader,
    warnings: &mut Warnings,
) -> Result<Waveform, FormatError> {
    let rate = header.rate_of(signal)?;
    let (low, high) = signal.digital;
    let (bottom, top) = signal.physical;
    let gain = (f64::from(high) - f64::from(low)) / (top - bottom);
    let exact = calibration(gain, f64::from(low) - bottom * gain, &signal.unit);
    let calibration = match exact {
        Ok(calibration) => calibration,
        Err(error) => {
            let why = format!(
                "digital {low}..{high} for physical {bottom}..{top} is no calibration of {:?}",
                signal.label
            );
            warnings.tell("physical minimum", signal.offset, why)?;
            calibration(1.0, 0.0, "").map_err(|_| header.invalid_calibration(signal, error))?
        }
    };
    Ok(Waveform {
        label: signal.label.clone(),
        kind: kind_of(&signal.label, calibration.unit()),
        rate,
        calibration,
        runs: Vec::new(),
    })
}

/// Ticks per second of the annotations of a file that has no signal.
fn mark_rate(recording: &Recording) -> Option<SamplingRate> {
    match recording.waveforms.first() {
        Some(waveform) => Some(waveform.rate),
        None => SamplingRate::hz(1000).ok(),
    }
}
