//! WaveForm DataBase records: a text header, signal files, annotation files.
//!
//! Facts: WFDB Applications Guide, `header(5)`, `signal(5)`, `annot(5)`. Deliberately
//! absent: records that live on a server, and signals on standard input (`-`).

pub mod annotation;
pub mod header;

mod flac;
mod group;
mod multi;
mod segment;
mod storage;
pub(crate) mod write;

use std::sync::Arc;

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart, Waveform};
use cardio_core::subject::StatedPatient;

use crate::error::FormatError;
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, read_up_to, read_whole};
use crate::sniff::FormatId;
use crate::source::Source;
use crate::text::lossless;
use crate::warnings::Warnings;
use header::{Header, SignalSpec};

/// The longest header that is read: a variable-layout record of months has some thousand
/// lines.
const HEADER_LIMIT: u64 = 4 << 20;

/// Opens the record whose header is `name`.
pub(crate) fn open(
    source: Arc<dyn Source>,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let header = read_header(source.as_ref(), name)?;
    let mut warnings = Warnings::new(FormatId::Wfdb, options.strict);
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut recording = describe(&header);
    let plan = if header.segments.is_empty() {
        recording.waveforms = waveforms(&header)?;
        None
    } else {
        let plan = multi::Plan::read(source.as_ref(), folder, &header, &mut warnings)?;
        recording.waveforms = plan.waveforms();
        Some(plan)
    };
    marks_beside(
        source.as_ref(),
        name,
        &header,
        &mut recording,
        &mut warnings,
    )?;
    Ok(match plan {
        None => {
            let groups = segment::Groups::open(source.as_ref(), folder, &header)?;
            Box::new(segment::SegmentReader::new(recording, groups, warnings))
        }
        Some(plan) => Box::new(multi::MultiReader::new(
            source, folder, recording, plan, warnings,
        )),
    })
}

fn read_header(source: &dyn Source, name: &str) -> Result<Header, FormatError> {
    let bytes = read_whole(source, name, FormatId::Wfdb, HEADER_LIMIT)?;
    Header::parse(&lossless(&bytes))
}

/// A file of the folder that holds the header.
fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// All that a header says apart from its signals.
fn describe(header: &Header) -> Recording {
    Recording {
        format: FormatId::Wfdb.name(),
        name: header.name.clone(),
        start: header.start().map(|local| StatedStart {
            local,
            utc_offset_minutes: None,
        }),
        patient: StatedPatient {
            age: comment_value(&header.comments, "age"),
            sex: comment_value(&header.comments, "sex"),
            ..StatedPatient::default()
        },
        remarks: header
            .comments
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| ("comment".to_owned(), text.clone()))
            .collect(),
        ..Recording::default()
    }
}

/// The word after `key:` or `<key>:` in a comment.
fn comment_value(comments: &[String], key: &str) -> Option<String> {
    comments.iter().find_map(|comment| {
        let mut words = comment.split_whitespace();
        words.find(|word| {
            let name = word.trim_end_matches(':').trim_matches(['<', '>']);
            word.ends_with(':') && name.eq_ignore_ascii_case(key)
        })?;
        words.next().map(str::to_owned)
    })
}

fn waveforms(header: &Header) -> Result<Vec<Waveform>, FormatError> {
    header
        .signals
        .iter()
        .map(|spec| waveform(spec, header.rate))
        .collect()
}

/// A row without samples for a signal line.
fn waveform(spec: &SignalSpec, frame_rate: SamplingRate) -> Result<Waveform, FormatError> {
    let impossible = |field: &'static str, found: String| FormatError::Invalid {
        format: FormatId::Wfdb,
        field,
        offset: spec.line,
        found,
        want: "a finite number above zero",
    };
    let per_frame = u32::try_from(spec.samples_per_frame).unwrap_or(u32::MAX);
    let (samples, seconds) = frame_rate.as_ratio();
    let rate = samples
        .checked_mul(per_frame)
        .and_then(|samples| SamplingRate::ratio(samples, seconds).ok())
        .ok_or_else(|| impossible("samples per frame", per_frame.to_string()))?;
    let calibration = calibration(spec.gain, f64::from(spec.baseline), &spec.unit)
        .map_err(|error| impossible("ADC gain", error.gain.to_string()))?;
    Ok(Waveform {
        label: spec.description.clone(),
        kind: kind_of(&spec.description, calibration.unit()),
        rate,
        calibration,
        runs: Vec::new(),
    })
}

/// Adds the marks of the reference annotator (`.atr`) when there are some.
fn marks_beside(
    source: &dyn Source,
    name: &str,
    header: &Header,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    let beside = format!("{}.atr", name.strip_suffix(".hea").unwrap_or(name));
    let Ok(file) = source.open(&beside) else {
        return Ok(());
    };
    let bytes = read_up_to(file, &beside, annotation::FILE_LIMIT)?;
    let list = annotation::AnnotationFile::decode(&bytes);
    if let Some(fault) = list.fault {
        warnings.tell(
            "annotations",
            fault.offset().unwrap_or(0),
            fault.to_string(),
        )?;
    }
    let first = recording.waveforms.first().map(|waveform| waveform.rate);
    let ticks = list.ticks_per_second.unwrap_or(header.rate);
    recording.annotations = list
        .marks
        .into_iter()
        .map(|mark| mark.on(ticks, first.unwrap_or(header.rate)))
        .collect();
    Ok(())
}
