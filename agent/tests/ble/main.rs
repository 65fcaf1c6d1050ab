//! The real program with sensors on a radio that does not exist, through unmodified btleplug.

#[path = "../common/mod.rs"]
mod common;
mod fetching;
mod world;

use cardio_core::gap::GapCause;
use cardio_core::heart_rate::{SkinContact, ToldRate};
use cardio_core::index::SampleIndex;
use cardio_wire::record::Record;
use rustix::process::Signal;
use serde_json::Value;
use world::{BEAT, MODULUS, STRAP, World, device_of, story_of};

fn streams(source: &Value) -> bool {
    source["state"] == "streaming"
}

#[test]
fn four_radio_sensors_and_a_serial_one_are_captured_together_to_the_last_sample() {
    let devices = [
        "polar-pmd",
        "movesense-gsp",
        "viatom-er1",
        "ble-audio-packets",
    ];
    let world = World::with_a_serial_sensor(&devices);
    let players = [
        world.strap(),
        world.movesense(),
        world.patch(),
        world.stethoscope(),
    ];
    let _serial = common::Sensor::plug_in(&world.bench.port());
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(4, "the serial sensor", |source| {
        streams(source) && source["segments"].as_u64() >= Some(3)
    });
    for place in 0..4 {
        let source = world.wait_for(place, "three segments", |source| {
            streams(source) && source["segments"].as_u64() >= Some(3)
        });
        assert_eq!(source["link"], "ble");
        assert!(source["battery_percent"].is_number(), "{source}");
        assert_eq!(source["crowded_out"], 0, "{source}");
    }
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    drop(players);
    let records = world.bench.records();
    for device in devices {
        let identity = device_of(&records, device);
        assert!(identity.serial.is_some(), "{device}");
        assert!(identity.firmware.is_some(), "{device}");
        assert!(identity.system_id.is_some(), "{device}");
        let story = story_of(&records, device);
        assert!(story.samples > 0, "{device}");
        assert_eq!(story.gaps, [], "{device}");
        assert_eq!(story.breaks, 0, "{device}: a sample is not the next one");
    }
}

#[test]
fn a_strap_that_was_out_of_reach_comes_back_and_its_clock_proves_what_was_missed() {
    let world = World::new(&["polar-pmd"]);
    let strap = world.strap();
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    let before = world.wait_for(0, "two segments", |source| {
        source["segments"].as_u64() >= Some(2)
    });
    strap.sensor.set_in_range(false);
    let lost = world.wait_for(0, "the loss", |source| source["state"] == "lost");
    assert!(lost["code"].as_str().unwrap().starts_with("ble."), "{lost}");
    strap.measures_unheard(6);
    strap.sensor.refuse_connections(1);
    strap.sensor.set_in_range(true);
    let after = world.wait_for(0, "its return", |source| {
        streams(source) && source["gaps"].as_u64() >= Some(1) && source["code"].is_null()
    });
    assert_eq!(after["acquisition"], before["acquisition"]);
    let segments = after["segments"].as_u64().unwrap() + 2;
    world.wait_for(0, "more of it", |source| {
        source["segments"].as_u64() >= Some(segments)
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let story = story_of(&world.bench.records(), "polar-pmd");
    assert_eq!(story.gaps.len(), 1, "{:?}", story.gaps);
    assert_eq!(story.gaps[0].cause, GapCause::SourceLost);
    // the ramp goes on where the gap ends, to the sample
    assert_eq!(story.breaks, 0, "{story:?} of {MODULUS}");
}

#[test]
fn a_daemon_that_restarts_and_an_adapter_that_is_replugged_cost_a_named_gap() {
    let world = World::new(&["polar-pmd"]);
    let strap = world.strap();
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    let before = world.wait_for(0, "a segment", |source| {
        source["segments"].as_u64() >= Some(1)
    });
    world.radio.stop_daemon();
    world.wait_for(0, "the daemon missed", |source| {
        source["code"] == "ble.no_daemon"
    });
    strap.measures_unheard(2);
    world.radio.start_daemon();
    let back =
        |gaps| move |source: &Value| streams(source) && source["gaps"].as_u64() >= Some(gaps);
    world.wait_for(0, "the stream after the daemon", back(1));
    world.radio.unplug_adapter("hci0");
    world.wait_for(0, "the adapter missed", |source| {
        source["code"] == "ble.no_adapter"
    });
    strap.measures_unheard(2);
    world.radio.plug_adapter("hci0");
    let after = world.wait_for(0, "the stream after the adapter", back(2));
    assert_eq!(after["acquisition"], before["acquisition"]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let story = story_of(&world.bench.records(), "polar-pmd");
    assert_eq!((story.gaps.len(), story.breaks), (2, 0), "{story:?}");
}

#[test]
fn a_box_uses_the_adapters_that_it_is_told_to_use_and_no_other() {
    let world = World::with_adapters(&["polar-pmd"], r#"["hci1"]"#);
    let _strap = world.strap();
    let refusal = world.refusal(&["sources", "scan", "--for", "200ms"]);
    assert!(refusal.contains("ble.no_adapter"), "{refusal}");
    world.radio.plug_adapter("hci1");
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "a segment", |source| {
        source["segments"].as_u64() >= Some(1)
    });
    // The adapter that is not its own is of no use to it.
    world.radio.unplug_adapter("hci1");
    world.wait_for(0, "the adapter missed", |source| {
        source["code"] == "ble.no_adapter"
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
}

#[test]
fn a_lost_bus_ends_the_process_with_its_code_and_the_next_one_goes_on() {
    let world = World::new(&["polar-pmd"]);
    let _strap = world.strap();
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    let before = world.wait_for(0, "two segments", |source| {
        source["segments"].as_u64() >= Some(2)
    });
    world.radio.lose_bus();
    assert_eq!(agent.exit_code(), Some(2));
    assert!(
        world.bench.log().contains("ble.bus_lost"),
        "{}",
        world.bench.log()
    );
    world.radio.restore_bus().unwrap();
    let mut agent = world.bench.start(&[]);
    let after = world.wait_for(0, "the stream again", |source| {
        streams(source) && source["segments"].as_u64() >= Some(4)
    });
    assert_eq!(after["acquisition"], before["acquisition"]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let story = story_of(&world.bench.records(), "polar-pmd");
    let causes: Vec<GapCause> = story.gaps.iter().map(|gap| gap.cause).collect();
    assert_eq!(causes, [GapCause::BoxStopped]);
    assert_eq!(story.acquisitions, 1);
}

#[test]
fn sensors_are_scanned_paired_listed_and_forgotten_by_address() {
    let world = World::new(&["polar-pmd"]);
    let _strap = world.strap();
    let _other = world.stranger("C0:00:00:00:00:77", "Polar H10 0A0B0C0D", true);
    let scan = world.json(&["sources", "scan", "--for", "1s", "--json"]);
    assert_eq!(scan["schema"], "sources-scan/1");
    let sensors = scan["sensors"].as_array().unwrap();
    assert_eq!(sensors.len(), 2, "{scan}");
    assert!(sensors.iter().all(|one| one["same_name"] == true), "{scan}");
    assert_eq!(sensors[0]["address"], STRAP);
    assert_eq!(sensors[0]["device"], "polar-pmd");
    let by_name = [
        "sources",
        "pair",
        "--for",
        "1s",
        "polar-pmd",
        "Polar H10 0A0B0C0D",
    ];
    assert!(world.refusal(&by_name).contains("sources.ambiguous"));
    let paired = world.json(&["sources", "pair", "--json", "polar-pmd", STRAP]);
    assert_eq!(paired["serial"], "SIM00001");
    let list = world.json(&["sources", "list", "--json"]);
    assert_eq!(list["sources"][0]["sensor"]["address"], STRAP);
    assert_eq!(
        world
            .bench
            .output(&["sources", "forget", "polar-pmd"])
            .status
            .code(),
        Some(0)
    );
    let again = world.refusal(&["sources", "forget", "polar-pmd"]);
    assert!(again.contains("sources.not_paired"), "{again}");
}

#[test]
fn a_source_without_a_sensor_says_so_and_begins_when_one_is_paired() {
    let world = World::new(&["polar-pmd"]);
    let _strap = world.strap();
    let _agent = world.bench.start(&[]);
    world.wait_for(0, "what is missing", |source| {
        source["code"] == "ble.unpaired"
    });
    world.pair_all();
    world.wait_for(0, "the stream", streams);
}

#[test]
fn a_squatter_is_not_paired_and_an_impostor_is_not_captured() {
    let world = World::new(&["polar-pmd"]);
    let _squatter = world.stranger("C0:00:00:00:00:78", "Polar H10 FFFFFFFF", false);
    let refusal = world.refusal(&["sources", "pair", "polar-pmd", "C0:00:00:00:00:78"]);
    assert!(refusal.contains("ble.not_the_device"), "{refusal}");
    let _strap = world.strap();
    world.pair_all();
    world.change_pairings("SIM00001", "SIM00002");
    let _agent = world.bench.start(&[]);
    world.wait_for(0, "the refusal", |source| source["code"] == "ble.impostor");
    world.change_pairings("SIM00002", "SIM00001");
    world.change_pairings("bonded = false", "bonded = true");
    world.wait_for(0, "the other refusal", |source| {
        source["code"] == "ble.bond_missing"
    });
    world.change_pairings("bonded = true", "bonded = false");
    world.wait_for(0, "the stream", streams);
}

#[test]
fn the_sensor_next_door_is_not_captured_however_strong_and_alike_it_is() {
    let world = World::new(&["polar-pmd"]);
    let strap = world.strap();
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "the stream", streams);
    let neighbour = world.stranger("C0:00:00:00:00:79", "Polar H10 0A0B0C0D", true);
    neighbour.change(|shown| shown.rssi_dbm = -20);
    strap.sensor.change(|shown| shown.rssi_dbm = -90);
    strap.sensor.set_in_range(false);
    world.wait_for(0, "the loss", |source| {
        source["code"] == "ble.not_heard" && source["state"] == "lost"
    });
    strap.sensor.set_in_range(true);
    world.wait_for(0, "the patient's own", |source| {
        streams(source) && source["gaps"].as_u64() >= Some(1)
    });
    assert!(!neighbour.is_connected());
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    // the neighbour's would not go on with the ramp
    assert_eq!(story_of(&world.bench.records(), "polar-pmd").breaks, 0);
}

#[test]
fn a_sensor_that_talks_only_to_friends_is_captured_once_a_bond_is_made() {
    let world = World::new(&["polar-pmd"]);
    let strap = world.strap();
    strap.sensor.change(|shown| shown.needs_pairing = true);
    let refusal = world.refusal(&["sources", "pair", "polar-pmd", STRAP]);
    assert!(refusal.contains("ble.needs_bond"), "{refusal}");
    let paired = world.json(&["sources", "pair", "--bond", "--json", "polar-pmd", STRAP]);
    assert_eq!(paired["bonded"], true);
    let _agent = world.bench.start(&[]);
    world.wait_for(0, "the stream", streams);
}

#[test]
fn a_heart_rate_strap_is_recorded_as_it_tells_and_without_contact_nothing_is_claimed() {
    let world = World::new(&["sig-hrs"]);
    let belt = world.belt();
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    let line = world.wait_for(0, "a rate", |source| {
        streams(source) && source["heart_rate_bpm"] == 77.0
    });
    assert_eq!(line["stream"], "heart rate");
    assert_eq!(line["battery_percent"], 90);
    assert_eq!(line["quality"]["verdict"], "acceptable");
    belt.device.lock().unwrap().set_contact(false);
    let off = world.wait_for(0, "the lost contact", |source| {
        source["quality"]["verdict"] == "insufficient"
    });
    assert_eq!(off["quality"]["causes"][0], "lead-off");
    assert!(off["heart_rate_bpm"].is_null());
    belt.device.lock().unwrap().set_contact(true);
    world.wait_for(0, "contact", |source| source["heart_rate_bpm"] == 77.0);
    belt.sensor.set_in_range(false);
    world.wait_for(0, "the loss", |source| source["state"] == "lost");
    belt.sensor.set_in_range(true);
    world.wait_for(0, "its return", |source| {
        streams(source) && source["gaps"].as_u64() >= Some(1)
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let records = world.bench.records();
    let told = rates_to_the_end(&records);
    assert!(told.iter().any(|one| one.contact == SkinContact::Off));
    let beat = u16::try_from(BEAT).unwrap();
    assert!(told.iter().flat_map(|one| &one.rr).all(|rr| *rr == beat));
    let charges = records.iter().filter_map(|record| match record {
        Record::DeviceStatus(status) => Some(status.battery_percent),
        _ => None,
    });
    assert_eq!(charges.collect::<Vec<_>>(), [90]);
}

/// What was told, of stretches and gaps that cover the time line without a hole.
fn rates_to_the_end(records: &[Record]) -> Vec<ToldRate> {
    let (mut next, mut told, mut causes) = (SampleIndex(0), Vec::new(), Vec::new());
    for record in records {
        match record {
            Record::HeartRates(one) => {
                assert_eq!(one.stretch.first, next);
                next = one.stretch.end();
                told.extend(one.stretch.told.iter().map(|(_, rate)| rate.clone()));
            }
            Record::Gap(one) => {
                assert_eq!(one.gap.from, next);
                next = one.gap.end();
                causes.push(one.gap.cause);
            }
            Record::AcquisitionEnded(ended) => assert_eq!(ended.end, next),
            _ => {}
        }
    }
    assert!(causes.contains(&GapCause::SourceLost), "{causes:?}");
    told
}
