//! The program itself: its command line, and what a kill leaves.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;
#[path = "support/visit.rs"]
#[allow(dead_code, reason = "other test files use the rest")]
mod visit;

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use cardio_wire::lane::Lane;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::PubAckReason;
use serde_json::Value;
use support::{Client, TestBox, until};
use visit::{RATE, Visit, reading};

fn program(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cardio-gateway"));
    command
        .args(arguments)
        .arg("--config")
        .arg(dir.join("gateway.toml"));
    command
}

fn ran(dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program(dir, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn configured(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("state = \"{}\"\n{text}", dir.path().join("state").display());
    std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
    dir
}

const ANY_PORT: &str = "[mqtt]\nlisten = \"127.0.0.1:0\"\nack_wait = \"20ms\"\n[https]\nlisten = \"127.0.0.1:0\"\n[enrol]\nlisten = \"127.0.0.1:0\"\n";

/// Ends the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(dir: &Path) -> (Running, Value) {
    let ready = dir.join("ready");
    let _ = std::fs::remove_file(&ready);
    let child = program(dir, &["run", "--ready-file", ready.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = until("the gateway to be ready", || async {
        let text = std::fs::read_to_string(&ready).ok()?;
        serde_json::from_str(&text).ok()
    })
    .await;
    (Running(child), said)
}

#[test]
fn what_can_be_asked_without_a_running_gateway_is_answered() {
    let dir = configured("[mqtt]\nlisten = \"127.0.0.1:18883\"\n");
    let (code, out, _) = ran(dir.path(), &["config", "default"]);
    assert_eq!(code, 0);
    assert!(out.contains("[mqtt]") && out.contains("[https]"));
    let (code, out, _) = ran(dir.path(), &["config", "check"]);
    assert!(code == 0 && out.starts_with("OK "), "{out}");

    let (code, _, err) = ran(dir.path(), &["status"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("code:    gateway.not-running"), "{err}");

    let file = dir.path().join("box.toml");
    let add = [
        "boxes",
        "add",
        "--name",
        "FR75-012",
        "--out",
        file.to_str().unwrap(),
    ];
    assert_eq!(ran(dir.path(), &add).0, 0);
    let made = std::fs::read_to_string(&file).unwrap();
    assert!(made.contains("endpoint = \"127.0.0.1:18883\""));
    let (code, _, err) = ran(dir.path(), &add);
    assert!(code == 2 && err.contains("keys.io"), "{err}");
    let (_, out, _) = ran(dir.path(), &["boxes", "list", "--json"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(listed["schema"], "boxes/1");
    assert_eq!(listed["boxes"][0]["name"], "FR75-012");
    let (code, _, err) = ran(dir.path(), &["boxes", "revoke", "--name", "FR75-012"]);
    assert!(code == 64 && err.contains("--yes"), "{err}");
    let revoke = ["boxes", "revoke", "--name", "FR75-012", "--yes"];
    assert_eq!(ran(dir.path(), &revoke).0, 0);
    let (code, _, err) = ran(dir.path(), &["boxes", "revoke", "--name", "X", "--yes"]);
    assert!(code == 2 && err.contains("boxes.name.unknown"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_accounts_and_proves_what_was_done_after_a_kill() {
    let dir = configured(ANY_PORT);
    let (running, _) = start(dir.path()).await;
    let told = |arguments: &[&str], typed: &str| {
        let mut child = program(dir.path(), arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who refuses does not read.
        let _ = stdin.write_all(typed.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let add = [
        "accounts",
        "add",
        "anne",
        "--role",
        "nurse",
        "--team",
        "Organization/a",
    ];
    let (code, _, err) = told(&add, "short\n");
    assert!(code == 2 && err.contains("access.password"), "{err}");
    let (code, _, err) = told(&add, "");
    assert!(code == 64 && err.contains("access.typed"), "{err}");
    let (code, out, err) = told(&add, "a long enough secret\n");
    assert_eq!((code, out.as_str()), (0, "anne added\n"), "{err}");
    let (code, _, err) = told(&["accounts", "add", "b", "--role", "king"], "");
    assert!(code == 64 && err.contains("cardiologist"), "{err}");
    let (_, out, _) = told(&["accounts", "token", "anne", "--label", "viewer"], "");
    assert!(
        out.starts_with("cardio_") && out.lines().count() == 1,
        "{out}"
    );
    let (_, out, _) = told(&["accounts", "list"], "");
    assert!(out.contains("anne     nurse  Organization/a"), "{out}");
    assert!(!out.contains("cardio_") && !out.contains("argon2"), "{out}");
    let (code, out, _) = told(&["audit", "verify", "--json"], "");
    let proof: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, proof["schema"].as_str()), (0, Some("audit-proof/1")));
    let head = &proof["head"];
    let noted = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap());
    drop(running);
    let (_running, _) = start(dir.path()).await;
    let (code, out, _) = told(&["audit", "verify", "--noted", &noted], "");
    assert!(code == 0 && out.starts_with("WHOLE\n"), "{out}");
    let (code, out, _) = told(&["accounts", "disable", "anne"], "");
    assert_eq!((code, out.as_str()), (0, "anne shut\n"));
    let (code, _, err) = told(&["accounts", "token", "anne", "--label", "x"], "");
    assert!(code == 2 && err.contains("access.unknown"), "{err}");
}

#[test]
fn mistakes_are_told_by_what_because_try_and_code() {
    let dir = configured("[mqtt]\nlistn = \"127.0.0.1:0\"\n");
    let (code, _, err) = ran(dir.path(), &["run"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("unknown key `mqtt.listn`; did you mean `listen`?"),
        "{err}"
    );
    assert!(err.contains("  try:     ") && err.contains("  code:    config.key.unknown"));

    let dir = configured("[mqtt]\nack_wait = \"fast\"\n");
    let (_, _, err) = ran(dir.path(), &["config", "check"]);
    assert!(
        err.contains("mqtt.ack_wait") && err.contains("ms, s, min"),
        "{err}"
    );

    let dir = configured("[alerts]\nrules = \"/no/such/rules.toml\"\n");
    let (_, _, err) = ran(dir.path(), &["config", "check"]);
    assert!(
        err.contains("/no/such/rules.toml") && err.contains("alerts.rules"),
        "{err}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = configured(&format!("[mqtt]\nlisten = \"{address}\"\n"));
    let (code, _, err) = ran(dir.path(), &["run"]);
    assert!(code == 2 && err.contains("listen.taken"), "{err}");

    let (code, _, _) = ran(dir.path(), &["frobnicate"]);
    assert_eq!(code, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = configured(ANY_PORT);
    let (running, said) = start(dir.path()).await;
    let file = dir.path().join("box.toml");
    let add = [
        "boxes",
        "add",
        "--name",
        "FR75-012",
        "--out",
        file.to_str().unwrap(),
    ];
    assert_eq!(ran(dir.path(), &add).0, 0);
    let mut of = TestBox::from_file(&std::fs::read_to_string(&file).unwrap());
    let address = |said: &Value| said["mqtt"].as_str().unwrap().parse().unwrap();

    let mut client = Client::connect_at(address(&said), &of).await;
    let mut visit = Visit::new();
    let mut records = vec![visit.started(None)];
    records.extend((0..40).map(|second| visit.segment(second * RATE, RATE)));
    let mut last = 0;
    for record in &records {
        let frame = of.frame(Lane::Routine, record);
        last = client.publish_frame(&of, Lane::Routine, frame).await;
    }
    assert_eq!(client.puback(last).await.reason, PubAckReason::Success);
    // PUBACKs come in order: all frames are durable now. No warning, no clean-up.
    drop(running);

    let (_running, said) = start(dir.path()).await;
    let mut client = Client::connect_at(address(&said), &of).await;
    client
        .publish(
            &Topic::UpHello(of.id).to_string(),
            of.hello(reading(1), 1, 0),
        )
        .await;
    let ack = client.acked(&of, Lane::Routine, 41).await;
    assert_eq!((ack.upto, ack.head), of.head(Lane::Routine));
    let status = until("all of it to be filed", || async {
        let (code, out, _) = ran(dir.path(), &["status", "--json"]);
        let status: Value = serde_json::from_str(&out).ok()?;
        (status["record"]["records"] == 41).then_some((code, status))
    })
    .await;
    assert_eq!(
        (status.0, &status.1["schema"]),
        (0, &Value::from("status/1"))
    );

    let folder = dir.path().join("export");
    let (_, out, _) = ran(dir.path(), &["records", "find", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    let id = found["acquisitions"][0]["acquisition"].as_str().unwrap();
    let export = [
        "records",
        "export",
        "--acquisition",
        id,
        "--out",
        folder.to_str().unwrap(),
    ];
    assert_eq!(ran(dir.path(), &export).0, 0);
    assert!(std::fs::read_dir(&folder).unwrap().count() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_stop_ends_well() {
    let dir = configured(ANY_PORT);
    let (mut running, _) = start(dir.path()).await;
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let code = until("the program to end", || {
        let ended = running.0.try_wait().unwrap();
        async move { ended }
    })
    .await;
    assert_eq!(code.code(), Some(0));
    assert!(!dir.path().join("state/control.sock").exists());
}

#[test]
fn a_file_is_inspected_and_converted_without_a_gateway() {
    let dir = configured("");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (source, target) = (path("two.csv"), path("two.hea"));
    std::fs::write(&source, "# rate_hz: 250\nI,II\n1,2\n3,4\n").unwrap();
    let (code, stdout, stderr) = ran(dir.path(), &["convert", &source, &target, "--drop-facts"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("WRITTEN   csv as wfdb"), "{stdout}");
    let (code, stdout, stderr) = ran(dir.path(), &["inspect", &target, "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["schema"], "inspect/1");
    assert_eq!(document["waveforms"][1]["samples"], 2);
    let (code, _, stderr) = ran(dir.path(), &["convert", &source, &target]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("format.exists") || stderr.contains("format.cannot-carry"),
        "{stderr}"
    );
}

/// A minute at 100 beats per minute, as a WFDB record.
fn recorded(folder: &Path) -> std::path::PathBuf {
    use cardio_core::recording::{Recording, Run, Waveform};
    use cardio_signal::synth::{EcgSynth, SynthConfig, to_adu};
    let rate = cardio_core::rate::SamplingRate::hz(250).unwrap();
    let calibration = cardio_core::calibration::Calibration::millivolts(200.0, 0.0).unwrap();
    let mut synth = EcgSynth::new(SynthConfig {
        heart_rate_bpm: 100.0,
        ..SynthConfig::calm(11, rate)
    });
    let sample = |row: [f64; 8]| to_adu(row[1], &calibration, (-32_768, 32_767));
    let samples: Vec<i32> = (0..15_000).map(|_| sample(synth.next_measured())).collect();
    let recording = Recording {
        waveforms: vec![Waveform {
            label: "II".to_owned(),
            kind: cardio_core::acquisition::WaveformKind::Ecg(cardio_core::lead::Lead::II),
            rate,
            calibration,
            runs: vec![Run {
                first: cardio_core::index::SampleIndex(0),
                samples: samples.into(),
            }],
        }],
        ..Recording::default()
    };
    let format = cardio_formats::sniff::FormatId::Wfdb;
    let options = cardio_formats::write::WriteOptions { drop_facts: true };
    let written = cardio_formats::write::write(&recording, format, "minute", options).unwrap();
    cardio_formats::fsource::save(folder, &written.files, false).unwrap();
    folder.join("minute")
}

#[test]
fn rules_are_tried_on_a_recorded_file_before_they_hold() {
    let dir = configured("");
    let recording = recorded(dir.path());
    let set = |limit: &str| {
        let text = format!(
            "schema = \"rules/1\"\nextends = \"default\"\n[[patient]]\nsubject = \"p1\"\n\
             set_by = \"PractitionerRole/cardio1\"\nversion = 2\n\
             [patient.rule.tachycardia]\nenabled = true\nfor = \"20 s\"\nlimit = \"{limit}\""
        );
        std::fs::write(dir.path().join("rules.toml"), text).unwrap();
    };
    let file = dir.path().join("rules.toml");
    let (file, recording) = (file.to_str().unwrap(), recording.to_str().unwrap());
    let tried = |more: &[&str]| {
        let mut arguments = vec!["rules", "test", recording, "--rules", file];
        arguments.extend(more);
        ran(dir.path(), &arguments)
    };

    set("90/min");
    let (code, said, _) = tried(&["--patient", "p1"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.starts_with("1 alerts would have been raised") && said.contains("above 90 /min"),
        "{said}"
    );
    let (code, said, _) = tried(&["--patient", "p1", "--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["schema"]), (1, &"rules-tested/1".into()));
    let alert = &document["alerts"][0];
    assert_eq!(alert["prescription"]["set_by"], "PractitionerRole/cardio1");
    assert!(
        (alert["value"].as_f64().unwrap() - 100.0).abs() < 5.0,
        "{alert}"
    );

    set("120/min");
    let (code, said, _) = tried(&["--patient", "p1"]);
    assert_eq!(code, 0, "{said}");
    let (code, _, err) = tried(&["--patient", "p9"]);
    assert!(code == 64 && err.contains("rules.patient"), "{err}");

    set("900/min");
    let (code, _, err) = tried(&[]);
    assert!(
        code == 2 && err.contains("not within 60/min and 300/min"),
        "{err}"
    );
}
