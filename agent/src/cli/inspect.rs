//! `inspect FILE`: what a recording says of itself. A patient's name and number are told to
//! be there, and are not shown.

use std::path::PathBuf;

use cardio_core::recording::{Recording, Waveform};
use cardio_core::subject::StatedPatient;
use cardio_formats::{ReadOptions, read_path};

use super::{Failure, out};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The recording; a WFDB record with or without `.hea`.
    file: PathBuf,
    /// One JSON document, `inspect/1`.
    #[arg(long)]
    json: bool,
    /// Refuse what would otherwise be read with warnings.
    #[arg(long)]
    strict: bool,
}

/// What a recording says of itself.
#[derive(serde::Serialize)]
pub(crate) struct RecordFacts {
    pub(crate) file: String,
    pub(crate) format: &'static str,
    pub(crate) name: String,
    pub(crate) start: Option<String>,
    pub(crate) duration_s: f64,
    pub(crate) waveforms: Vec<WaveformFacts>,
    pub(crate) annotations: usize,
    pub(crate) patient_stated: bool,
    pub(crate) device: Option<String>,
    pub(crate) remarks: usize,
    pub(crate) warnings: Vec<String>,
}

/// What it says of one row.
#[derive(serde::Serialize)]
pub(crate) struct WaveformFacts {
    label: String,
    lead: Option<&'static str>,
    rate_hz: f64,
    samples: u64,
    unit: String,
    gain_adu_per_unit: f64,
    baseline_adu: f64,
    gaps: Vec<GapFacts>,
}

#[derive(serde::Serialize)]
struct GapFacts {
    from: u64,
    len: u64,
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    #[serde(flatten)]
    record: RecordFacts,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let options = ReadOptions {
        strict: args.strict,
        ..ReadOptions::default()
    };
    let recording = read_path(&args.file, options)?;
    let record = facts(&recording, &args.file);
    if args.json {
        out::json(&Document {
            schema: "inspect/1",
            record,
        })?;
    } else {
        out::text(&text(&record))?;
    }
    Ok(0)
}

/// The facts of a recording that was read from `file`.
pub(crate) fn facts(recording: &Recording, file: &std::path::Path) -> RecordFacts {
    let device = &recording.device;
    let words: Vec<&str> = [&device.maker, &device.model, &device.firmware]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    RecordFacts {
        file: file.display().to_string(),
        format: recording.format,
        name: recording.name.clone(),
        start: recording.start.as_ref().map(|start| start.local.clone()),
        duration_s: recording
            .waveforms
            .iter()
            .map(duration_s)
            .fold(0.0, f64::max),
        waveforms: recording.waveforms.iter().map(waveform).collect(),
        annotations: recording.annotations.len(),
        patient_stated: recording.patient != StatedPatient::default(),
        device: (!words.is_empty()).then(|| words.join(" ")),
        remarks: recording.remarks.len(),
        warnings: recording.warnings.clone(),
    }
}

fn duration_s(waveform: &Waveform) -> f64 {
    let micros = waveform.rate.micros_at(waveform.end());
    std::time::Duration::from_micros(micros).as_secs_f64()
}

fn waveform(waveform: &Waveform) -> WaveformFacts {
    WaveformFacts {
        label: waveform.label.clone(),
        lead: waveform.kind.lead().map(|lead| lead.name()),
        rate_hz: waveform.rate.as_hz(),
        samples: waveform.sample_count().0,
        unit: waveform.calibration.unit().ucum().to_owned(),
        gain_adu_per_unit: waveform.calibration.gain_adu_per_unit(),
        baseline_adu: waveform.calibration.baseline_adu(),
        gaps: waveform
            .gaps()
            .into_iter()
            .map(|gap| GapFacts {
                from: gap.from.0,
                len: gap.len.0,
            })
            .collect(),
    }
}

fn text(record: &RecordFacts) -> String {
    let word = if record.warnings.is_empty() {
        "READ"
    } else {
        "READ WITH WARNINGS"
    };
    let mut text = format!(
        "{word}   {} {}, {:.1} s, {} row(s), {} annotation(s)\n\n",
        record.format,
        record.name,
        record.duration_s,
        record.waveforms.len(),
        record.annotations
    );
    for row in &record.waveforms {
        text += &format!(
            "{:<16} {:>8} Hz  {:>10} samples  {} adu/{}, zero at {}  {} gap(s)\n",
            row.label,
            row.rate_hz,
            row.samples,
            row.gain_adu_per_unit,
            row.unit,
            row.baseline_adu,
            row.gaps.len()
        );
    }
    for warning in &record.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}
