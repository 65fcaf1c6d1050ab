//! The real program on a real pseudo-terminal, heard by the decoder and timeline of the box.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails in a helper of a test fails the test"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_core::index::SampleIndex;
use cardio_core::timeline::{Placement, Timeline};
use cardio_protocol::decoder::DecoderEvent;
use cardio_protocol::profile::by_name;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;

fn sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardio-sim"));
    command.args(args);
    command
}

fn run(args: &[&str]) -> Output {
    sim(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Starts the program and waits until its port can be opened.
fn start(folder: &Path, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let link = folder.join("port");
    let ledger = folder.join("ledger.jsonl");
    let mut child = sim(&["play", "--link", link.to_str().unwrap()])
        .args(["--ledger", ledger.to_str().unwrap()])
        .args(more)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), format!("ready {}", link.display()));
    (child, out)
}

/// Opens the port as a box does, at a speed.
fn open(folder: &Path, baud: u32) -> File {
    let port = File::options()
        .read(true)
        .write(true)
        .open(folder.join("port"))
        .unwrap();
    let mut modes = tcgetattr(&port).unwrap();
    modes.make_raw();
    modes.set_speed(baud).unwrap();
    tcsetattr(&port, OptionalActions::Now, &modes).unwrap();
    port
}

fn read_to_end(port: &mut File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    // A pulled plug is an end or an input/output error.
    while let Ok(len @ 1..) = port.read(&mut part) {
        all.extend_from_slice(&part[..len]);
    }
    all
}

fn ledger(folder: &Path) -> Vec<Value> {
    std::fs::read_to_string(folder.join("ledger.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind<'l>(ledger: &'l [Value], event: &str) -> Vec<&'l Value> {
    ledger
        .iter()
        .filter(|line| line["event"] == event)
        .collect()
}

/// Rows of every frame that the box places, with the index of its first sample.
fn placed(device: &str, bytes: &[u8]) -> Vec<(u64, Value)> {
    let profile = by_name(device).unwrap();
    let mut timeline = Timeline::new(
        profile.rate(),
        profile.integrity,
        profile.modulus,
        SampleIndex(0),
    );
    let mut events = Vec::new();
    (profile.decoder)().push(bytes, &mut events);
    let mut placed = Vec::new();
    for event in events {
        let DecoderEvent::Frame(frame) = event else {
            continue;
        };
        let now = BoxInstant {
            boot: BootId([1; 16]),
            micros: profile.rate().micros_at(timeline.next()),
        };
        let seq = frame.seq.map(|seq| seq.0);
        if let Placement::Block { first, .. } = timeline.place(seq, frame.rows.per_lead(), now) {
            let rows: Vec<&[i32]> = frame.rows.rows().collect();
            placed.push((first.0, serde_json::json!(rows)));
        }
    }
    placed
}

fn sent(ledger: &[Value]) -> Vec<(u64, Value)> {
    of_kind(ledger, "frame")
        .into_iter()
        .map(|line| (line["i"].as_u64().unwrap(), line["rows"].clone()))
        .collect()
}

#[test]
fn what_the_ledger_says_was_sent_is_what_a_box_reads() {
    for device in ["openbci-cyton", "protocentral-openview"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, _out) = start(
            folder.path(),
            &[
                "--device",
                device,
                "--duration",
                "8s",
                "--speed",
                "8",
                "--linger",
                "400ms",
            ],
        );
        let mut port = open(folder.path(), 115_200);
        port.write_all(b"svb").unwrap();
        let bytes = read_to_end(&mut port);
        assert!(child.wait().unwrap().success());
        let ledger = ledger(folder.path());
        assert_eq!(ledger[0]["schema"], "sim-ledger/1");
        let sent = sent(&ledger);
        assert!(!sent.is_empty());
        assert_eq!(placed(device, &bytes), sent, "{device}");
        let end = ledger.last().unwrap();
        assert_eq!(
            (end["event"].as_str(), end["reason"].as_str()),
            (Some("end"), Some("duration"))
        );
        assert_eq!(end["i"], 8 * by_name(device).unwrap().rate_hz);
    }
}

#[test]
fn at_a_wrong_speed_a_board_sends_nothing_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _out) = start(
        folder.path(),
        &[
            "--device",
            "openbci-cyton",
            "--duration",
            "2s",
            "--speed",
            "10",
            "--linger",
            "100ms",
        ],
    );
    let mut port = open(folder.path(), 115_200);
    port.write_all(b"b").unwrap();
    let mut first = [0; 33];
    port.read_exact(&mut first).unwrap();
    let mut modes = tcgetattr(&port).unwrap();
    modes.set_speed(9_600).unwrap();
    tcsetattr(&port, OptionalActions::Now, &modes).unwrap();
    read_to_end(&mut port);
    assert!(child.wait().unwrap().success());
    let ledger = ledger(folder.path());
    let wrong: Vec<_> = of_kind(&ledger, "lost")
        .into_iter()
        .filter(|line| line["cause"] == "wrong-speed")
        .collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}

#[test]
fn a_pulled_plug_comes_back_under_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _out) = start(
        folder.path(),
        &[
            "--device",
            "openbci-cyton",
            "--scenario",
            "unplugged",
            "--duration",
            "20s",
        ],
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, _out) = start(
        folder.path(),
        &[
            "--device",
            "openbci-cyton",
            "--scenario",
            "unplugged",
            "--duration",
            "20s",
            "--speed",
            "10",
            "--linger",
            "200ms",
        ],
    );
    let mut port = open(folder.path(), 115_200);
    port.write_all(b"b").unwrap();
    let before = read_to_end(&mut port);
    drop(port);
    let mut port = loop {
        // The path is gone while the plug is out.
        match std::fs::metadata(folder.path().join("port")) {
            Ok(_) => break open(folder.path(), 115_200),
            Err(_) => std::thread::yield_now(),
        }
    };
    port.write_all(b"b").unwrap();
    let after = read_to_end(&mut port);
    assert!(child.wait().unwrap().success());
    let ledger = ledger(folder.path());
    let mut frames = sent(&ledger);
    let behind = frames.split_off(placed("openbci-cyton", &before).len());
    assert_eq!(frames, placed("openbci-cyton", &before));
    assert_eq!(behind.len(), placed("openbci-cyton", &after).len());
    assert_eq!(frames.last().unwrap().0, 2499);
    assert!(behind[0].0 >= 3750, "{}", behind[0].0);
}

#[test]
fn the_same_seed_gives_the_same_samples() {
    let samples = |seed: &str| {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, _out) = start(
            folder.path(),
            &[
                "--device",
                "protocentral-openview",
                "--duration",
                "4s",
                "--speed",
                "20",
                "--seed",
                seed,
                "--linger",
                "100ms",
            ],
        );
        let mut port = open(folder.path(), 115_200);
        read_to_end(&mut port);
        child.wait().unwrap();
        sent(&ledger(folder.path()))
    };
    let first = samples("5");
    assert!(!first.is_empty());
    assert_eq!(first, samples("5"));
    assert_ne!(first, samples("6"));
}

#[test]
fn a_real_recording_is_played_at_the_rate_of_the_device() {
    let Some(data) = std::env::var_os("CARDIO_DATA") else {
        eprintln!("skipped: CARDIO_DATA not set");
        return;
    };
    let record = Path::new(&data).join("wfdb/mitdb/100");
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _out) = start(
        folder.path(),
        &[
            "--device",
            "openbci-cyton",
            "--recording",
            record.to_str().unwrap(),
            "--duration",
            "5s",
            "--speed",
            "10",
            "--linger",
            "300ms",
        ],
    );
    let mut port = open(folder.path(), 115_200);
    port.write_all(b"svb").unwrap();
    let bytes = read_to_end(&mut port);
    assert!(child.wait().unwrap().success());
    let ledger = ledger(folder.path());
    assert_eq!(placed("openbci-cyton", &bytes), sent(&ledger));
    assert_eq!(ledger[0]["resampling"]["from_hz"], 360.0);
    assert_eq!(
        ledger[0]["wiring"],
        serde_json::json!([null, "MLII", null, null, null, null, "V5", null])
    );
    // The record's first beats, at 77, 370 and 662 of 360 Hz.
    let beats: Vec<u64> = of_kind(&ledger, "mark")
        .into_iter()
        .filter(|mark| mark["code"] == "N")
        .map(|mark| mark["i"].as_u64().unwrap())
        .take(3)
        .collect();
    assert_eq!(beats, [53, 257, 460]);
}

#[test]
fn the_devices_are_listed_for_people_and_for_programs() {
    let plain = text(&run(&["devices"]).stdout);
    assert!(plain.contains("openbci-cyton") && plain.contains("electrode-off"));
    let json: Value = serde_json::from_slice(&run(&["devices", "--json"]).stdout).unwrap();
    assert_eq!(json["schema"], "devices/1");
    assert_eq!(json["devices"][0]["rate_hz"], 250);
}

#[test]
fn errors_say_what_because_try_and_code() {
    let cases: [(&[&str], i32, &str); 5] = [
        (&["play", "--device", "cyton"], 64, "sim.device"),
        (
            &["play", "--device", "openbci-cyton", "--scenario", "storm"],
            64,
            "sim.scenario",
        ),
        (
            &[
                "play",
                "--device",
                "openbci-cyton",
                "--recording",
                "/nonexistent/100",
            ],
            2,
            "format.open",
        ),
        (
            &[
                "play",
                "--device",
                "openbci-cyton",
                "--ledger",
                "/nonexistent/l.jsonl",
            ],
            2,
            "ledger.create",
        ),
        (
            &[
                "play",
                "--device",
                "openbci-cyton",
                "--link",
                "/nonexistent/port",
            ],
            2,
            "pty.link",
        ),
    ];
    for (args, status, code) in cases {
        let output = run(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert!(error.starts_with("error: "), "{error}");
        assert!(
            error.contains("  because: ") && error.contains("  try:     "),
            "{error}"
        );
        assert!(error.contains(&format!("  code:    {code}")), "{error}");
    }
    let output = run(&["play", "--device", "openbci-cyton", "--speed", "0"]);
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn a_board_whose_line_runs_at_another_speed_is_noise_at_the_usual_one() {
    let folder = tempfile::tempdir().unwrap();
    let device = "protocentral-openview";
    let (mut child, _out) = start(
        folder.path(),
        &[
            "--device",
            device,
            "--scenario",
            "wrong-baud",
            "--duration",
            "1s",
        ],
    );
    let mut port = open(folder.path(), by_name(device).unwrap().baud);
    let bytes = read_to_end(&mut port);
    drop(port);
    assert!(child.wait().unwrap().success());
    let ledger = ledger(folder.path());
    assert_eq!(of_kind(&ledger, "lost")[0]["cause"], "wrong-speed");
    assert!(sent(&ledger).is_empty() && placed(device, &bytes).is_empty());
    assert!(bytes.len() > 500, "{} bytes of noise", bytes.len());
}
