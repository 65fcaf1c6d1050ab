//! A recording of any readable format can be what a device sees; one without an ECG is refused.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_formats::FormatId;
use cardio_formats::fsource::save;
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use serde_json::Value;

/// A device of one lead, which takes the first ECG that there is; it sends unasked.
const DEVICE: &str = "protocentral-openview";

fn sim(folder: &Path, recording: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardio-sim"));
    command.args(["play", "--device", DEVICE, "--duration", "1s"]);
    command.args(["--speed", "50", "--linger", "0s"]);
    command.arg("--recording").arg(recording);
    command.arg("--link").arg(folder.join("port"));
    command.arg("--ledger").arg(folder.join("ledger.jsonl"));
    command
}

/// Plays a second of a recording; gives the ledger.
fn played(recording: &Path) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let mut child = sim(folder.path(), recording)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{}", recording.display());
    // A second of this device fits into what the port holds: nobody needs to read it.
    let path = folder.path().join("port");
    let held = File::options().read(true).write(true).open(path).unwrap();
    assert!(child.wait().unwrap().success(), "{}", recording.display());
    drop(held);
    std::fs::read_to_string(folder.path().join("ledger.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn plays_as(recording: &Path, format: &str) {
    let ledger = played(recording);
    let what = recording.display();
    assert_eq!(ledger[0]["source"]["format"], format, "{what}");
    let frames = ledger.iter().filter(|line| line["event"] == "frame");
    assert_eq!(frames.count(), 16, "{what}");
}

fn is_refused(recording: &Path, code: &str) {
    let folder = tempfile::tempdir().unwrap();
    let done = sim(folder.path(), recording).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success(), "{}", recording.display());
    assert!(said.contains(code), "{said}");
}

fn twelve_leads() -> Recording {
    let waveform = |lead: Lead| Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate: SamplingRate::hz(500).unwrap(),
        calibration: Calibration::millivolts(200.0, 0.0).unwrap(),
        runs: vec![Run {
            first: SampleIndex(0),
            samples: (0..1000).map(|at| (at * 37) % 301 - 150).collect(),
        }],
    };
    Recording {
        name: "r".to_owned(),
        start: Some(StatedStart {
            local: "2024-02-28T23:59:55".to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms: Lead::ALL.into_iter().map(waveform).collect(),
        ..Recording::default()
    }
}

#[test]
fn every_format_that_is_written_is_played_unless_it_holds_no_ecg() {
    for format in WRITABLE {
        let folder = tempfile::tempdir().unwrap();
        let options = WriteOptions { drop_facts: true };
        let written = write(&twelve_leads(), format, "r", options).unwrap();
        save(folder.path(), &written.files, false).unwrap();
        let file = folder.path().join(&written.files[0].0);
        match format {
            // Sound has no leads.
            FormatId::Wav => is_refused(&file, "source.nothing-to-show"),
            _ => plays_as(&file, format.name()),
        }
    }
}

#[test]
fn recordings_of_others_are_played_unless_they_hold_no_ecg() {
    let Some(root) = std::env::var_os("CARDIO_DATA").map(PathBuf::from) else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    for (path, format) in [
        ("wfdb/mitdb/100.hea", "wfdb"),
        ("wfdb/formats/multi-segment/041s/041s.hea", "wfdb"),
        ("edf/contec_0000050.ECG.edf", "edf"),
        ("edf/luna_mitdb100s_discontinuous.edf", "edf"),
        ("scp/Example.scp", "scp"),
        ("dicom/waveform_ecg.dcm", "dicom"),
        ("ishne/ECG_P28.01.ecg", "ishne"),
        ("aecg/Example.xml", "aecg"),
        ("musexml/braveheart_example1.xml", "muse-xml"),
        ("philipsxml/3191723_1_04.xml", "philips-xml"),
        ("mfer/test-file.MWF", "mfer"),
    ] {
        plays_as(&root.join(path), format);
    }
    for (path, code) in [
        ("edf/SC4001EC-Hypnogram.bdf", "source.nothing-to-show"),
        ("pcg/cinc2016/b0102.wav", "source.nothing-to-show"),
        ("ishne/ECG_P28.01.ann", "source.nothing-to-show"),
        ("dicom/test-SR.dcm", "format.unsupported"),
        ("wfdb/formats/1003.hea", "format.open"),
        ("README.md", "format.unrecognised"),
    ] {
        is_refused(&root.join(path), code);
    }
}
