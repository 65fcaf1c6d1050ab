//! A visit with faults, recorded by the real program from a simulated sensor and replayed: what is
//! found is what the sensor's ledger says was lost.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardio_core::lead::Lead;
use cardio_firmware_sim::device::{Device, Transport};
use cardio_firmware_sim::faults::FaultPlan;
use cardio_firmware_sim::ledger::{Header, SCHEMA, SourceFacts};
use cardio_firmware_sim::on_air::{self, OnAir, sensor_of};
use cardio_firmware_sim::play::{PlayOptions, play};
use cardio_firmware_sim::player::{Pacing, Player};
use cardio_firmware_sim::radio::Radio;
use cardio_firmware_sim::scenario::Scenario;
use cardio_firmware_sim::source::SynthSource;
use cardio_protocol::profile::WaveKind;
use common::Bench;
use serde_json::Value;

const SEED: u64 = 7;
const ADDRESS: &str = "C0:DE:CA:FE:00:01";

/// A device with its faults, and the first line of its ledger.
fn player(device: &str, scenario: &str) -> (Transport, Player, Header) {
    let device = Device::by_name(device).unwrap();
    let scenario = Scenario::from_toml("test", scenario).unwrap();
    let lead = |wave: &WaveKind| match wave {
        WaveKind::Ecg(lead) => Some(*lead),
        _ => Some(Lead::I),
    };
    let leads: Vec<Option<Lead>> = device.waves.iter().map(lead).collect();
    let config = scenario.synth(SEED, device.rate());
    let facts = SourceFacts::Synth {
        heart_rate_bpm: config.heart_rate_bpm,
    };
    let pacing = Pacing {
        speed: 1.0,
        clock_ppm: 0.0,
        samples: u64::from(device.rate_hz) * 60,
    };
    let header = Header {
        schema: SCHEMA,
        device: device.name,
        maker: device.maker,
        model: device.model,
        rate_hz: device.rate_hz,
        samples_per_frame: device.samples_per_frame,
        modulus: device.modulus,
        gain_adu_per_mv: device.gain_adu_per_mv(),
        rails: device.rails,
        leads: device.labels(),
        wiring: device.labels().into_iter().map(Some).collect(),
        source: facts,
        resampling: None,
        scenario: "test".to_owned(),
        seed: SEED,
        speed: 1.0,
        clock_ppm: 0.0,
    };
    let plan = FaultPlan::new(&scenario, &device, SEED);
    let source = Box::new(SynthSource::new(config, &leads));
    let wired = vec![true; device.waves.len()];
    let transport = device.transport;
    (
        transport,
        Player::new(device, source, wired, plan, pacing),
        header,
    )
}

/// What was lost before `end`, as `(from, len)`, neighbours together.
fn lost(ledger: &Path, end: u64) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(ledger).unwrap();
    let (whole, _) = text.rsplit_once('\n').unwrap();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["event"] != "lost" {
            continue;
        }
        let (from, len) = (
            line["from"].as_u64().unwrap(),
            line["len"].as_u64().unwrap(),
        );
        match runs.last_mut() {
            Some((first, count)) if *first + *count == from => *count += len,
            _ => runs.push((from, len)),
        }
    }
    // a run that the end of the capture cuts is a gap that nobody can see the end of
    runs.retain(|(from, len)| from + len < end);
    runs
}

fn holds_the_losses_of(found: &Value, ledger: &Path) {
    let acquisition = &found["acquisitions"][0];
    let samples = acquisition["samples"].as_u64().unwrap();
    let missing = acquisition["missing"].as_u64().unwrap();
    let gaps = acquisition["gaps"].as_array().unwrap();
    let lost = lost(ledger, samples + missing);
    assert_eq!(gaps.len(), lost.len(), "{gaps:?} beside {lost:?}");
    for (gap, (from, len)) in gaps.iter().zip(lost) {
        let of = |key: &str| gap[key].as_u64().unwrap();
        assert_eq!(of("from"), from, "{gap}");
        assert!(of("len").abs_diff(len) <= of("uncertainty"), "{gap}: {len}");
    }
}

/// Records for so long, replays, and gives what was found.
fn recorded(bench: &Bench, source: &str, span: &str) -> (Value, PathBuf) {
    let file = bench.dir.path().join("capture");
    let path = file.to_str().unwrap();
    let output = bench.output(&["sources", "record", source, path, "--for", span, "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("in clear"), "{told}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "sources-record/1");
    let replayed = replayed(&file, 0);
    assert_eq!(replayed, document["found"]);
    (replayed, file)
}

fn replayed(file: &Path, exit: i32) -> Value {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cardio-agent"))
        .args(["replay", file.to_str().unwrap(), "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(exit));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "replay/1");
    document
}

#[test]
fn a_serial_visit_with_faults_is_replayed_with_the_gaps_of_its_ledger() {
    let bench = Bench::new();
    let ledger = bench.dir.path().join("ledger.jsonl");
    let (transport, player, header) = player(
        "openbci-cyton",
        "[[fault]]\nkind = \"corrupt\"\nat = \"1s\"\nframes = 2\n\
         [[fault]]\nkind = \"drop\"\nat = \"2s\"\nframes = 7\n\
         [[fault]]\nkind = \"repeat\"\nat = \"3s\"\nframes = 3\n\
         [[fault]]\nkind = \"unplug\"\nat = \"4s\"\nfor = \"1s\"\n",
    );
    let Transport::Serial(profile) = transport else {
        unreachable!("a Cyton is on a serial line");
    };
    let options = PlayOptions {
        link: Some(bench.port()),
        baud: None,
        ledger: Some(ledger.clone()),
        linger: Duration::from_secs(1),
    };
    let (tell, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        play(profile, player, header, options, |_| {
            let _ = tell.send(());
        })
    });
    ready.recv().unwrap();
    let (found, file) = recorded(&bench, "ecg12-a", "7s");
    assert_eq!(found["capture"]["cut"], Value::Null);
    assert_eq!(found["device"]["firmware"], "v3.1.2");
    assert_eq!(found["link"]["connections"], 2);
    assert_eq!(found["link"]["losses"][0], "serial.unplugged");
    assert_eq!(found["link"]["differs_at_s"], Value::Null);
    assert_eq!(found["acquisitions"][0]["repeated_frames"], 3);
    assert_eq!(found["acquisitions"][0]["gap_count"], 3);
    holds_the_losses_of(&found, &ledger);
    let again = bench.output(&["sources", "record", "ecg12-a", file.to_str().unwrap()]);
    let told = String::from_utf8(again.stderr).unwrap();
    assert!(told.contains("capture.create"), "{told}");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let half = replayed(&file, 1);
    assert_eq!(half["capture"]["cut"]["code"], "capture.cut");
    let samples = |found: &Value| found["acquisitions"][0]["samples"].as_u64().unwrap();
    assert!(samples(&half) > 0 && samples(&half) < samples(&found));
}

#[test]
fn a_radio_visit_with_faults_is_replayed_with_the_gaps_of_its_ledger() {
    let mut bench = Bench::new();
    let radio = Radio::start().unwrap();
    bench.bus = radio.address().to_owned();
    let config = "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n\
                  [[source]]\nname = \"strap\"\nkind = \"ble\"\ndevice = \"polar-pmd\"\n";
    std::fs::write(bench.config(), config).unwrap();
    let ledger = bench.dir.path().join("ledger.jsonl");
    let (transport, player, header) = player(
        "polar-pmd",
        "[[fault]]\nkind = \"drop\"\nat = \"2s\"\nframes = 2\n\
         [[fault]]\nkind = \"coalesce\"\nat = \"5s\"\nframes = 3\n\
         [[fault]]\nkind = \"disconnect\"\nat = \"8s\"\nfor = \"1500ms\"\n",
    );
    let Transport::Bluetooth(profile) = transport else {
        unreachable!("a strap is on the radio");
    };
    let part = on_air::Part {
        player,
        header,
        ledger: Some(ledger.clone()),
        linger: Duration::from_secs(1),
    };
    let on_air = OnAir::begin(&radio, sensor_of(profile, 1), part).unwrap();
    std::thread::spawn(move || on_air.play());
    let paired = bench.output(&["sources", "pair", "strap", ADDRESS]);
    assert_eq!(paired.status.code(), Some(0));
    let (found, _) = recorded(&bench, "strap", "14s");
    assert!(found["device"]["serial"].is_string(), "{found}");
    assert!(found["device"]["system_id"].is_string(), "{found}");
    assert!(found["device"]["battery_percent"].is_number(), "{found}");
    assert_eq!(found["link"]["connections"], 2, "{found}");
    assert_eq!(found["link"]["differs_at_s"], Value::Null, "{found}");
    assert_eq!(found["acquisitions"][0]["integrity"], "time-stamped");
    assert_eq!(found["acquisitions"][0]["gap_count"], 3, "{found}");
    holds_the_losses_of(&found, &ledger);
}

#[test]
fn a_sensor_that_is_asked_for_500_hz_gives_them_and_is_replayed_so() {
    let mut bench = Bench::new();
    let radio = Radio::start().unwrap();
    bench.bus = radio.address().to_owned();
    let config = "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n\
                  [[source]]\nname = \"strap\"\nkind = \"ble\"\ndevice = \"movesense-gsp\"\n\
                  rate_hz = 500\n";
    std::fs::write(bench.config(), config).unwrap();
    let ledger = bench.dir.path().join("ledger.jsonl");
    let fault = "[[fault]]\nkind = \"drop\"\nat = \"2s\"\nframes = 2\n";
    let (transport, player, header) = player("movesense-gsp@500", fault);
    let Transport::Bluetooth(profile) = transport else {
        unreachable!("the sensor is on the radio");
    };
    let part = on_air::Part {
        player,
        header,
        ledger: Some(ledger.clone()),
        linger: Duration::from_secs(1),
    };
    let on_air = OnAir::begin(&radio, sensor_of(profile, 1), part).unwrap();
    std::thread::spawn(move || on_air.play());
    let paired = bench.output(&["sources", "pair", "strap", ADDRESS]);
    assert_eq!(paired.status.code(), Some(0));
    let (found, _) = recorded(&bench, "strap", "6s");
    assert_eq!(found["link"]["differs_at_s"], Value::Null, "{found}");
    assert_eq!(found["acquisitions"][0]["rate_hz"], 500.0, "{found}");
    assert_eq!(found["acquisitions"][0]["gap_count"], 1, "{found}");
    holds_the_losses_of(&found, &ledger);
}

#[test]
fn what_the_running_service_captures_is_not_recorded_beside_it() {
    let bench = Bench::new();
    let _sensor = common::Sensor::plug_in(&bench.port());
    let _agent = bench.start(&[]);
    bench.wait_for_source("the stream", |source| source["state"] == "streaming");
    let file = bench.dir.path().join("capture");
    let output = bench.output(&["sources", "record", "ecg12-a", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("sources.in_use"), "{told}");
    assert!(!file.exists());
}
