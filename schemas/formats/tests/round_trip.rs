//! What is written, reads back: samples, gaps, rates, calibration and marks.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first thing that is not as expected, and says what it skips"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardio_core::acquisition::WaveformKind;
use cardio_core::annotation::Annotation;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_core::subject::StatedPatient;
use cardio_formats::read::read;
use cardio_formats::source::MemorySource;
use cardio_formats::write::{WRITABLE, WriteOptions, Written, write};
use cardio_formats::{FormatError, FormatId, ReadOptions, read_path};
use proptest::prelude::*;

const DROP: WriteOptions = WriteOptions { drop_facts: true };

fn row(lead: Lead, rate: u32, gain: f64, runs: Vec<Run>) -> Waveform {
    Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate: SamplingRate::hz(rate).unwrap(),
        calibration: Calibration::millivolts(gain, 0.0).unwrap(),
        runs,
    }
}

fn run(first: u64, samples: &[i32]) -> Run {
    Run {
        first: SampleIndex(first),
        samples: samples.into(),
    }
}

fn recording(waveforms: Vec<Waveform>) -> Recording {
    Recording {
        format: "test",
        name: "x".to_owned(),
        start: Some(StatedStart {
            local: "2024-02-28T23:59:55".to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms,
        patient: StatedPatient {
            id: Some("TEST-1".to_owned()),
            sex: Some("F".to_owned()),
            ..StatedPatient::default()
        },
        ..Recording::default()
    }
}

fn back(written: &Written) -> Result<Recording, FormatError> {
    let source = written
        .files
        .iter()
        .fold(MemorySource::new(), |source, (name, bytes)| {
            source.with(name, bytes.clone())
        });
    let strict = ReadOptions {
        strict: true,
        ..ReadOptions::default()
    };
    read(Arc::new(source), &written.files[0].0, strict)
}

/// Runs without the empty one that marks a gap at the end.
fn filled(row: &Waveform) -> Vec<Run> {
    row.runs
        .iter()
        .filter(|run| !run.samples.is_empty())
        .cloned()
        .collect()
}

fn assert_same(before: &Recording, after: &Recording, what: &str) {
    assert_eq!(before.waveforms.len(), after.waveforms.len(), "{what}");
    for (a, b) in before.waveforms.iter().zip(&after.waveforms) {
        assert_eq!(filled(a), filled(b), "{what}: {}", a.label);
        assert_eq!(a.rate, b.rate, "{what}: {}", a.label);
        if a.calibration.unit() == b.calibration.unit() {
            let (old, new) = (
                a.calibration.gain_adu_per_unit(),
                b.calibration.gain_adu_per_unit(),
            );
            assert!(
                (old - new).abs() <= 1e-8 * old.abs(),
                "{what}: gain {old} {new}"
            );
            let (old, new) = (a.calibration.baseline_adu(), b.calibration.baseline_adu());
            assert!((old - new).abs() <= 1e-4, "{what}: baseline {old} {new}");
        }
    }
}

fn wave(count: usize) -> Vec<i32> {
    (0..count)
        .map(|at| {
            let at = i32::try_from(at).unwrap();
            (at * 37) % 1201 - 600
        })
        .collect()
}

#[test]
fn a_twelve_lead_recording_survives_every_writer() {
    let waveforms = Lead::ALL
        .into_iter()
        .map(|lead| row(lead, 500, 200.0, vec![run(0, &wave(5000))]))
        .collect();
    let recording = recording(waveforms);
    for format in WRITABLE {
        let written = write(&recording, format, "x", DROP).unwrap();
        let after = back(&written).unwrap();
        assert_same(&recording, &after, format.name());
        assert_eq!(after.format, format.name());
    }
}

#[test]
fn gaps_survive_where_the_format_has_them_and_are_refused_where_not() {
    let runs = || vec![run(0, &wave(500)), run(1500, &wave(1000))];
    let waveforms = vec![
        row(Lead::I, 250, 200.0, runs()),
        row(Lead::II, 250, 200.0, runs()),
    ];
    let recording = recording(waveforms);
    for format in WRITABLE {
        let written = write(&recording, format, "x", DROP);
        match format {
            FormatId::Wfdb | FormatId::Edf | FormatId::Csv | FormatId::Dicom => {
                let after = back(&written.unwrap()).unwrap();
                assert_same(&recording, &after, format.name());
            }
            _ => {
                let error = written.unwrap_err();
                assert_eq!(error.code(), "format.cannot-carry", "{format}");
                assert_eq!(error.field(), Some("gap"), "{format}");
            }
        }
    }
}

#[test]
fn a_fact_is_only_left_behind_with_leave() {
    let mut recording = recording(vec![row(Lead::I, 250, 200.0, vec![run(0, &wave(250))])]);
    recording
        .remarks
        .push(("kind".to_owned(), "test".to_owned()));
    let error = write(&recording, FormatId::Scp, "x", WriteOptions::default()).unwrap_err();
    assert_eq!(error.field(), Some("remark"));
    let written = write(&recording, FormatId::Scp, "x", DROP).unwrap();
    assert_eq!(written.dropped, ["remark: kind: test"]);
}

#[test]
fn a_sample_that_is_too_wide_is_refused() {
    let recording = recording(vec![row(Lead::I, 250, 200.0, vec![run(0, &[0, 40_000])])]);
    for format in [
        FormatId::Scp,
        FormatId::Ishne,
        FormatId::Edf,
        FormatId::Dicom,
    ] {
        let error = write(&recording, format, "x", DROP).unwrap_err();
        assert_eq!(error.field(), Some("sample"), "{format}");
    }
    let wide = write(&recording, FormatId::Wfdb, "x", DROP).unwrap();
    assert_same(&recording, &back(&wide).unwrap(), "wfdb");
}

#[test]
fn a_resting_record_has_what_it_must_and_is_not_made_without_its_moment() {
    let mut whole = recording(vec![row(Lead::II, 500, 200.0, vec![run(0, &wave(500))])]);
    whole.patient.id = None;
    let written = write(&whole, FormatId::Scp, "x", DROP).unwrap();
    assert_eq!(back(&written).unwrap().patient.id, None);
    // Section 1 lies behind the record's head and section 0; its body has tags up to 255.
    let mut rest = &written.files[0].1[6 + 136 + 16..];
    let mut tags = vec![rest[0]];
    while rest[0] != 255 {
        rest = &rest[3 + usize::from(u16::from_le_bytes([rest[1], rest[2]]))..];
        tags.push(rest[0]);
    }
    assert!(
        [2, 14, 25, 26].iter().all(|tag| tags.contains(tag)),
        "{tags:?}"
    );
    whole.start = None;
    let error = write(&whole, FormatId::Scp, "x", DROP).unwrap_err();
    assert_eq!(
        (error.code(), error.field()),
        ("format.cannot-carry", Some("start"))
    );
}

#[test]
fn an_uneven_end_needs_leave_and_is_marked_in_edf() {
    let recording = recording(vec![row(Lead::I, 360, 200.0, vec![run(0, &wave(650))])]);
    let error = write(&recording, FormatId::Edf, "x", WriteOptions::default()).unwrap_err();
    assert_eq!(error.field(), Some("end of the recording"));
    let written = write(&recording, FormatId::Edf, "x", DROP).unwrap();
    assert_eq!(written.dropped.len(), 1);
    let after = back(&written).unwrap();
    assert_same(&recording, &after, "edf");
    assert!(after.annotations.is_empty());
}

#[test]
fn marks_survive_in_wfdb_ishne_and_edf() {
    let mut recording = recording(vec![row(Lead::I, 250, 200.0, vec![run(0, &wave(250_000))])]);
    let mark = |at, code: &str| Annotation {
        at: SampleIndex(at),
        code: code.to_owned(),
        subtype: 0,
        channel: 0,
        number: 0,
        text: None,
    };
    recording.annotations = vec![mark(5, "N"), mark(2000, "V"), mark(60_000, "N")];
    for format in [FormatId::Wfdb, FormatId::Ishne, FormatId::Edf] {
        let written = write(&recording, format, "x", DROP).unwrap();
        let after = back(&written).unwrap();
        assert_eq!(after.annotations, recording.annotations, "{format}");
    }
}

#[test]
fn rows_of_several_rates_survive_in_wfdb_and_edf() {
    let waveforms = vec![
        row(Lead::I, 500, 200.0, vec![run(0, &wave(5000))]),
        row(Lead::II, 125, 200.0, vec![run(0, &wave(1250))]),
    ];
    let recording = recording(waveforms);
    for format in [FormatId::Wfdb, FormatId::Edf] {
        let written = write(&recording, format, "x", DROP).unwrap();
        assert_same(&recording, &back(&written).unwrap(), format.name());
    }
    let error = write(&recording, FormatId::Csv, "x", DROP).unwrap_err();
    assert_eq!(error.field(), Some("several rates"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_a_writer_accepts_reads_back_equal(
        samples in proptest::collection::vec(-9000_i32..9000, 1..400),
        gap in 0_u64..50,
        cut in 0_usize..400,
        rate in prop_oneof![Just(125_u32), Just(250), Just(500), Just(1000)],
        gain in prop_oneof![Just(200.0), Just(1000.0), Just(400.0)],
    ) {
        let cut = cut.min(samples.len());
        let (before, after) = samples.split_at(cut);
        let second = u64::try_from(cut).unwrap() + gap;
        let mut runs = vec![run(0, before), run(second, after)];
        if gap == 0 || before.is_empty() || after.is_empty() {
            runs = vec![run(0, &samples)];
        }
        let recording = recording(vec![row(Lead::II, rate, gain, runs)]);
        for format in WRITABLE {
            if let Ok(written) = write(&recording, format, "x", DROP) {
                assert_same(&recording, &back(&written).unwrap(), format.name());
            }
        }
    }
}

fn data(parts: &[&str]) -> Option<PathBuf> {
    let root = std::env::var_os("CARDIO_DATA");
    if root.is_none() {
        println!("skipped: CARDIO_DATA not set");
    }
    root.map(|root| {
        parts
            .iter()
            .fold(PathBuf::from(root), |path, part| path.join(part))
    })
}

/// Every writer that accepts a real file gives its samples back.
fn survives(path: &Path, at_least: &[FormatId]) {
    let before = read_path(path, ReadOptions::default()).unwrap();
    for format in WRITABLE {
        match write(&before, format, "x", DROP) {
            Ok(written) => assert_same(&before, &back(&written).unwrap(), format.name()),
            Err(error) => {
                assert_eq!(error.code(), "format.cannot-carry");
                assert!(!at_least.contains(&format), "{format}: {error}");
            }
        }
    }
}

#[test]
fn real_resting_recordings_survive_every_writer_that_takes_them() {
    use FormatId::{Aecg, Csv, Dicom, Edf, Ishne, Scp, Wav, Wfdb};
    let Some(path) = data(&["scp", "Example.scp"]) else {
        return;
    };
    survives(&path, &[Aecg, Csv, Dicom, Edf, Ishne, Scp, Wav, Wfdb]);
    let Some(path) = data(&["wfdb", "cinc2021", "HR06000.hea"]) else {
        return;
    };
    survives(&path, &[Csv, Edf, Ishne, Wav, Wfdb]);
}

#[test]
fn real_long_and_gappy_recordings_survive_the_writers_that_take_them() {
    use FormatId::{Csv, Edf, Ishne, Wav, Wfdb};
    let Some(path) = data(&["edf", "luna_mitdb100s_discontinuous.edf"]) else {
        return;
    };
    survives(&path, &[Wfdb, Csv]);
    let Some(path) = data(&["ishne", "ECG_P28.01.ecg"]) else {
        return;
    };
    survives(&path, &[Csv, Edf, Ishne, Wav, Wfdb]);
    let Some(path) = data(&["wfdb", "formats", "100s.hea"]) else {
        return;
    };
    survives(&path, &[Csv, Edf, Wav, Wfdb]);
}
