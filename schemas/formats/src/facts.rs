//! What a recording says of itself, as a document and in words. A patient's name and number
//! are told to be there, and are not shown.

use cardio_core::index::SampleIndex;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::subject::StatedPatient;

use crate::survey::{Extents, Survey};

/// What a recording says of itself.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RecordFacts {
    /// The file, as the caller names it.
    pub file: String,
    /// Stable name of its format.
    pub format: &'static str,
    /// The record's name in its source.
    pub name: String,
    /// When it began, as stated.
    pub start: Option<String>,
    /// Its length, gaps included.
    pub duration_s: f64,
    /// Its rows.
    pub waveforms: Vec<WaveformFacts>,
    /// How many marks it has.
    pub annotations: usize,
    /// Whether it says anything of the patient.
    pub patient_stated: bool,
    /// Maker, model and firmware of the device.
    pub device: Option<String>,
    /// How many things it says that no other field holds.
    pub remarks: usize,
    /// What is wrong with it although it can be read.
    pub warnings: Vec<String>,
}

/// What a recording says of one row.
#[derive(Clone, Debug, serde::Serialize)]
pub struct WaveformFacts {
    /// The label, as written.
    pub label: String,
    /// The standard lead, if it is one.
    pub lead: Option<&'static str>,
    /// Samples per second.
    pub rate_hz: f64,
    /// Samples that are there.
    pub samples: u64,
    /// Unit of a calibrated sample (UCUM).
    pub unit: String,
    /// Counts per unit.
    pub gain_adu_per_unit: f64,
    /// The count that stands for zero.
    pub baseline_adu: f64,
    /// Absences.
    pub gaps: Vec<GapFacts>,
}

/// An absence.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct GapFacts {
    /// The first missing sample.
    pub from: u64,
    /// How many are missing.
    pub len: u64,
}

/// The document of `inspect --json`.
#[derive(Debug, serde::Serialize)]
pub struct Inspection {
    schema: &'static str,
    #[serde(flatten)]
    record: RecordFacts,
}

impl Inspection {
    /// The document `inspect/1` of a recording that was read from `file`.
    pub fn of(survey: &Survey, file: &str) -> Self {
        Self {
            schema: "inspect/1",
            record: RecordFacts::of(&survey.recording, &survey.rows, file),
        }
    }

    /// The same in words.
    pub fn text(&self) -> String {
        self.record.text()
    }
}

impl RecordFacts {
    /// The facts of a recording that was read from `file` and whose samples lie as `rows`
    /// says.
    pub fn of(recording: &Recording, rows: &[Extents], file: &str) -> Self {
        let device = &recording.device;
        let words: Vec<&str> = [&device.maker, &device.model, &device.firmware]
            .into_iter()
            .filter_map(Option::as_deref)
            .collect();
        let pairs = || recording.waveforms.iter().zip(rows);
        Self {
            file: file.to_owned(),
            format: recording.format,
            name: recording.name.clone(),
            start: recording.start.as_ref().map(|start| start.local.clone()),
            duration_s: pairs()
                .map(|(waveform, extents)| seconds(waveform, extents.end()))
                .fold(0.0, f64::max),
            waveforms: pairs().map(|(row, extents)| facts(row, extents)).collect(),
            annotations: recording.annotations.len(),
            patient_stated: recording.patient != StatedPatient::default(),
            device: (!words.is_empty()).then(|| words.join(" ")),
            remarks: recording.remarks.len(),
            warnings: recording.warnings.clone(),
        }
    }

    fn text(&self) -> String {
        let word = if self.warnings.is_empty() {
            "READ"
        } else {
            "READ WITH WARNINGS"
        };
        let mut text = format!(
            "{word}   {} {}, {:.1} s, {} row(s), {} annotation(s)\n\n",
            self.format,
            self.name,
            self.duration_s,
            self.waveforms.len(),
            self.annotations
        );
        for row in &self.waveforms {
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
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text
    }
}

fn seconds(waveform: &Waveform, end: SampleIndex) -> f64 {
    std::time::Duration::from_micros(waveform.rate.micros_at(end)).as_secs_f64()
}

fn facts(waveform: &Waveform, extents: &Extents) -> WaveformFacts {
    WaveformFacts {
        label: waveform.label.clone(),
        lead: waveform.kind.lead().map(|lead| lead.name()),
        rate_hz: waveform.rate.as_hz(),
        samples: extents.samples().0,
        unit: waveform.calibration.unit().ucum().to_owned(),
        gain_adu_per_unit: waveform.calibration.gain_adu_per_unit(),
        baseline_adu: waveform.calibration.baseline_adu(),
        gaps: extents
            .gaps()
            .into_iter()
            .map(|gap| GapFacts {
                from: gap.from.0,
                len: gap.len.0,
            })
            .collect(),
    }
}
