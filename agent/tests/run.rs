//! The real program with a sensor on a pseudo terminal and a gateway that is not there.

mod common;

use cardio_store::rows_read_only;
use cardio_wire::lane::Lane;
use common::{Bench, Sensor, plug_in_noise, wait_for};
use rustix::process::Signal;

fn is(state: &'static str) -> impl Fn(&serde_json::Value) -> bool {
    move |source| source["state"] == state
}

#[test]
fn a_sensor_is_captured_scored_and_stored_without_a_gateway() {
    let bench = Bench::new();
    let _sensor = Sensor::plug_in(&bench.port());
    let mut agent = bench.start(&[]);
    let source = bench.wait_for_source("a scored stream", |source| {
        source["segments"].as_u64() >= Some(3) && !source["quality"].is_null()
    });
    assert_eq!(source["state"], "streaming");
    assert_eq!(source["stream"], "ECG 12 leads");
    assert_eq!(source["assigned"], true);
    let status = bench.status().unwrap();
    assert_eq!(status["schema"], "status/1");
    assert_eq!(status["uplink"]["connected"], false);
    assert_eq!(status["uplink"]["code"], "uplink.unreachable");
    assert!(status["latency"]["captured_to_stored"]["median_ms"].is_number());
    // half a minute of capture says how long the space lasts
    let autonomy = &status["store"]["autonomy"]["state"];
    assert!(autonomy == "measuring" || autonomy == "lasts", "{status}");
    let text = String::from_utf8(bench.output(&["status"]).stdout).unwrap();
    assert!(
        text.starts_with("CAPTURING   box FR75-012 · patient assigned"),
        "{text}"
    );
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let rows: Vec<_> = rows_read_only(&bench.outbox())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let of = |lane| rows.iter().filter(|row| row.header.lane == lane).count();
    assert!(of(Lane::Routine) >= 5 && of(Lane::Alert) >= 1 && of(Lane::Log) >= 1);
    assert!(!bench.log().contains("p-0001"), "{}", bench.log());
    assert_eq!(bench.output(&["status"]).status.code(), Some(3));
}

#[test]
fn an_unplugged_sensor_is_lost_in_words_and_goes_on_when_it_returns() {
    let bench = Bench::new();
    let sensor = Sensor::plug_in(&bench.port());
    let _agent = bench.start(&[]);
    let before = bench.wait_for_source("a stream", |source| source["segments"].as_u64() >= Some(1));
    drop(sensor);
    bench.wait_for_source("the loss", is("lost"));
    let text = String::from_utf8(bench.output(&["status"]).stdout).unwrap();
    assert!(text.starts_with("DEGRADED"), "{text}");
    let _again = Sensor::plug_in(&bench.port());
    let after = bench.wait_for_source("its return", |source| {
        source["state"] == "streaming" && source["gaps"].as_u64() >= Some(1)
    });
    assert_eq!(after["acquisition"], before["acquisition"]);
    assert!(after["code"].is_null(), "{after}");
}

#[test]
fn a_killed_agent_continues_the_acquisition_with_a_named_gap() {
    let bench = Bench::new();
    let _sensor = Sensor::plug_in(&bench.port());
    let mut agent = bench.start(&[]);
    let before = bench.wait_for_source("two segments", |source| {
        source["segments"].as_u64() >= Some(2)
    });
    agent.signal(Signal::KILL);
    agent.exit_code();
    let mut agent = bench.start(&[]);
    let after = bench.wait_for_source("the stream again", |source| {
        source["state"] == "streaming" && source["gaps"].as_u64() >= Some(1)
    });
    assert_eq!(after["acquisition"], before["acquisition"]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_run_of_a_given_length_ends_by_itself() {
    let bench = Bench::new();
    bench.write_config("[uplink]\nretry_last = \"500ms\"\n");
    let _sensor = Sensor::plug_in(&bench.port());
    let mut agent = bench.start(&["--for", "2s"]);
    assert_eq!(agent.exit_code(), Some(0));
    assert!(bench.log().contains("AgentStopped"), "{}", bench.log());
}

#[test]
fn a_port_that_is_not_there_is_a_visible_state_with_its_code() {
    let bench = Bench::new();
    let _agent = bench.start(&[]);
    let source = bench.wait_for_source("the state", |source| !source["code"].is_null());
    assert_eq!(source["code"], "serial.open.missing");
    assert_eq!(source["state"], "opening");
}

#[test]
fn bytes_of_no_sensor_are_said_to_be_the_wrong_device_or_speed() {
    let bench = Bench::new();
    let _noise = plug_in_noise(&bench.port());
    let _agent = bench.start(&[]);
    let source = bench.wait_for_source("the state", is("no-frames"));
    assert_eq!(source["code"], "serial.no_frames");
    assert_eq!(source["segments"], 0);
}

#[test]
fn a_second_agent_on_the_same_outbox_is_refused_and_the_first_goes_on() {
    let bench = Bench::new();
    let _sensor = Sensor::plug_in(&bench.port());
    let _agent = bench.start(&[]);
    bench.wait_for_source("a stream", is("streaming"));
    let second = bench.output(&["run"]);
    assert_eq!(second.status.code(), Some(2));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(
        text.contains("outbox.in-use") && text.contains("try:"),
        "{text}"
    );
    let status = wait_for("the first to answer", || bench.status());
    assert_eq!(status["sources"][0]["state"], "streaming");
}

#[test]
fn the_outbox_is_shown_sealed_while_the_agent_runs() {
    let bench = Bench::new();
    let _sensor = Sensor::plug_in(&bench.port());
    let _agent = bench.start(&[]);
    bench.wait_for_source("a segment", |source| source["segments"].as_u64() >= Some(1));
    let shown = bench.output(&["outbox", "show", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(document["schema"], "outbox/1");
    let lanes = document["lanes"].as_array().unwrap();
    assert!(
        lanes.iter().any(|lane| lane["lane"] == "routine"),
        "{document}"
    );
}

#[test]
fn the_outbox_proves_itself_and_names_the_frame_that_was_changed() {
    let bench = Bench::new();
    let _sensor = Sensor::plug_in(&bench.port());
    let mut agent = bench.start(&[]);
    bench.wait_for_source("a segment", |source| source["segments"].as_u64() >= Some(2));
    let (code, running) = proof(&bench);
    assert_eq!((code, &running["verdict"]), (Some(0), &"whole".into()));
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let (code, whole) = proof(&bench);
    assert_eq!((code, &whole["verdict"]), (Some(0), &"whole".into()));
    assert_eq!(whole["schema"], "outbox-proof/1");
    assert!(whole["lanes"][1]["frames"].as_u64() >= running["lanes"][1]["frames"].as_u64());

    let mut bytes = std::fs::read(bench.outbox()).unwrap();
    // a tagged COSE_Sign1 with its protected header: how every frame begins
    let frame = [0xD2, 0x84, 0x50, 0xA3, 0x01, 0x27, 0x03, 0x18, 0x3C];
    let at = bytes.windows(frame.len()).rposition(|found| found == frame);
    bytes[at.unwrap() + 40] ^= 1;
    std::fs::write(bench.outbox(), bytes).unwrap();
    let (code, broken) = proof(&bench);
    assert_eq!((code, &broken["verdict"]), (Some(2), &"broken".into()));
    let lanes = broken["lanes"].as_array().unwrap();
    let faults: Vec<_> = lanes
        .iter()
        .filter(|lane| !lane["fault"].is_null())
        .collect();
    assert_eq!(faults.len(), 1, "{broken}");
    assert_eq!(faults[0]["fault"]["code"], "chain.frame");
    let words = String::from_utf8(bench.output(&["outbox", "verify"]).stdout).unwrap();
    assert!(words.starts_with("BROKEN"), "{words}");
    assert!(words.contains("is broken at frame"), "{words}");
}

/// How `outbox verify` ends, and its document.
fn proof(bench: &Bench) -> (Option<i32>, serde_json::Value) {
    let output = bench.output(&["outbox", "verify", "--json"]);
    let document = serde_json::from_slice(&output.stdout).expect("one JSON document");
    (output.status.code(), document)
}
