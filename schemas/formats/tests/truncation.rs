//! Every truncation of a small file of every format that is written: its samples as far as they
//! go or an error that says where, and never a sample that the file does not hold.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

mod support;

use std::sync::Arc;

use cardio_core::acquisition::WaveformKind;
use cardio_core::annotation::Annotation;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_formats::read::read;
use cardio_formats::source::MemorySource;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use cardio_formats::{FormatError, FormatId, ReadOptions};
use support::{assert_explained, assert_nothing_invented};

type Files = Vec<(String, Vec<u8>)>;

fn small(rate_hz: u32, annotated: bool) -> Recording {
    let waveform = |(at, lead): (i32, Lead)| Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate: SamplingRate::hz(rate_hz).unwrap(),
        calibration: Calibration::millivolts(200.0, 0.0).unwrap(),
        runs: vec![Run {
            first: SampleIndex(0),
            samples: (0..100).map(|step| (step * 37 + at) % 301 - 150).collect(),
        }],
    };
    let mark = |at: u64| Annotation {
        at: SampleIndex(at),
        code: "N".to_owned(),
        subtype: 0,
        channel: 0,
        number: 0,
        text: None,
    };
    Recording {
        name: "r".to_owned(),
        start: Some(StatedStart {
            local: "2024-02-28T23:59:55".to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms: (0..)
            .zip([Lead::I, Lead::II, Lead::V1])
            .map(waveform)
            .collect(),
        annotations: if annotated {
            vec![mark(3), mark(77)]
        } else {
            vec![]
        },
        ..Recording::default()
    }
}

fn attempt(files: &Files, strict: bool) -> Result<Recording, FormatError> {
    let source = files
        .iter()
        .fold(MemorySource::new(), |source, (name, bytes)| {
            source.with(name, bytes.clone())
        });
    let options = ReadOptions {
        strict,
        ..ReadOptions::default()
    };
    read(Arc::new(source), &files[0].0, options)
}

/// What is the same whether or not a file is whole.
fn samples(recording: &Recording) -> Vec<&Vec<Run>> {
    recording.waveforms.iter().map(|row| &row.runs).collect()
}

/// Every truncation of every file of a recording.
fn cut_everywhere(format: FormatId, files: &Files) {
    let whole = attempt(files, true).unwrap();
    for part in 0..files.len() {
        let (name, bytes) = files[part].clone();
        let mut cut = files.clone();
        for keep in 0..bytes.len() {
            let what = format!("{name} cut to {keep} of {} bytes", bytes.len());
            cut[part].1 = bytes[..keep].to_vec();
            match attempt(&cut, false) {
                Ok(recording) => assert_nothing_invented(&whole, &recording, &what),
                Err(error) => assert_explained(&error, &what),
            }
            match attempt(&cut, true) {
                // A list of marks has no length; a table is whole at the end of any line.
                Ok(_) if name.ends_with(".atr") || name.ends_with(".ann") => {}
                Ok(_) if format == FormatId::Csv && bytes[keep - 1] == b'\n' => {}
                Ok(recording) => assert_eq!(samples(&recording), samples(&whole), "{what}"),
                Err(error) => assert_explained(&error, &what),
            }
        }
    }
}

#[test]
fn every_truncation_of_every_written_format_is_told_and_nothing_is_invented() {
    for format in WRITABLE {
        let rate_hz = if format == FormatId::Wav { 8000 } else { 500 };
        let annotated = matches!(format, FormatId::Wfdb | FormatId::Ishne | FormatId::Edf);
        let options = WriteOptions { drop_facts: true };
        let written = write(&small(rate_hz, annotated), format, "r", options).unwrap();
        cut_everywhere(format, &written.files);
    }
}

#[test]
fn every_truncation_of_a_discontinuous_file_is_told_and_nothing_is_invented() {
    let mut recording = small(500, true);
    for row in &mut recording.waveforms {
        let late = Run {
            first: SampleIndex(300),
            samples: row.runs[0].samples.clone(),
        };
        row.runs.push(late);
    }
    for format in [FormatId::Edf, FormatId::Wfdb, FormatId::Csv] {
        let written = write(&recording, format, "r", WriteOptions { drop_facts: true }).unwrap();
        cut_everywhere(format, &written.files);
    }
}
