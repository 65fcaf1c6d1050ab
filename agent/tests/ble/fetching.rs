//! Recordings that sensors keep, fetched by the real program and filed to the last sample.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench for tests"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cardio_core::device::IntegrityClass;
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::GattPeripheral;
use cardio_protocol::gatt::movesense_gsp::{COMMAND, Command, MovesensePeripheral};
use cardio_protocol::gatt::viatom_er1::{ViatomPeripheral, recording};
use cardio_protocol::smp_records::RecordsPeripheral;
use cardio_wire::record::{EndReason, Record};
use rustix::process::Signal;
use serde_json::Value;

use crate::common;
use crate::world::{Keeper, World, device_of};

const FILES: [&str; 2] = ["R20260101080000", "R20260102093000"];

/// Samples that no other recording has.
fn samples(from: i32, count: i32) -> Vec<i32> {
    (from..from + count)
        .map(|n| (n * 13) % 2000 - 900)
        .collect()
}

fn short(from: i32, count: i32) -> Vec<i16> {
    let counts = samples(from, count).into_iter();
    counts.map(|count| i16::try_from(count).unwrap()).collect()
}

fn patch() -> ViatomPeripheral {
    let mut patch = ViatomPeripheral::default();
    for (place, name) in (0..).zip(FILES) {
        patch.keep_file(name, recording(&short(place * 5000, 1250)));
    }
    patch
}

/// A sensor that has recorded so many bodies of sixteen samples, twice.
fn movesense(bodies: i32) -> MovesensePeripheral {
    let mut sensor = MovesensePeripheral::default();
    let order = |sensor: &mut MovesensePeripheral, state| {
        let command = Command::LoggerState(state);
        sensor.write(COMMAND, &command.encode(1), &mut Vec::new());
    };
    for log in 0..2 {
        order(&mut sensor, 3);
        for body in samples(log * 7000, bodies * 16).chunks(16) {
            sensor.frame(&FrameRows::planar(16, body), &mut Vec::new());
        }
        order(&mut sensor, 2);
    }
    sensor
}

fn watch(recordings: i32, count: i32) -> RecordsPeripheral {
    let mut watch = RecordsPeripheral::default();
    for place in 0..recordings {
        let counts = samples(place * 9000, count);
        let bytes = counts
            .iter()
            .flat_map(|count| count.to_le_bytes())
            .collect();
        watch.keep(u32::try_from(place).unwrap() + 1, bytes);
    }
    watch
}

/// What was filed of a source: the samples of each acquisition that has an end.
fn filed(records: &[Record], source: &str) -> Vec<Vec<i32>> {
    let started = records.iter().filter_map(|record| match record {
        Record::AcquisitionStarted(one) if one.acquisition.source.as_str() == source => {
            assert_eq!(one.acquisition.integrity, IntegrityClass::File);
            Some(one.acquisition.id)
        }
        _ => None,
    });
    let mut all: Vec<Vec<i32>> = started
        .filter(|id| {
            records.iter().any(|record| {
                matches!(record, Record::AcquisitionEnded(end)
                    if end.acquisition == *id && end.reason == EndReason::Completed)
            })
        })
        .map(|id| {
            let of_it = records.iter().filter_map(|record| match record {
                Record::Segment(one) if one.segment.acquisition == id => Some(&one.segment.block),
                _ => None,
            });
            of_it.flat_map(|block| block.leads[0].clone()).collect()
        })
        .collect();
    all.sort();
    all
}

/// The files that came as they were, put together from their parts.
fn originals(records: &[Record]) -> Vec<Vec<u8>> {
    let mut files: BTreeMap<[u8; 32], BTreeMap<u64, Vec<u8>>> = BTreeMap::new();
    for record in records {
        if let Record::OriginalPart(part) = record {
            let parts = files.entry(part.file).or_default();
            parts.insert(part.from, part.part.clone());
        }
    }
    let whole = |(file, parts): ([u8; 32], BTreeMap<u64, Vec<u8>>)| {
        let bytes = parts.into_values().collect::<Vec<_>>().concat();
        let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
        assert_eq!(hash.as_ref(), file, "every part is there");
        bytes
    };
    files.into_iter().map(whole).collect()
}

fn sorted(mut all: Vec<Vec<i32>>) -> Vec<Vec<i32>> {
    all.sort();
    all
}

fn has_fetched(count: u64) -> impl Fn(&Value) -> bool {
    move |source| source["recordings"]["fetched"].as_u64() >= Some(count)
}

#[test]
fn what_three_kinds_of_sensors_keep_is_filed_to_the_last_sample_and_only_then_dropped() {
    let devices = ["viatom-er1", "movesense-gsp", "smp-records"];
    let world = World::that_fetches(&devices);
    let patch = world.keeper("viatom-er1", patch());
    let strap = world.keeper("movesense-gsp", movesense(60));
    let watch = world.keeper("smp-records", watch(7, 900));
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    for (place, count) in [(0, 2), (1, 2), (2, 7)] {
        let source = world.wait_for(place, "all recordings", has_fetched(count));
        assert_eq!(source["stream"], "recordings");
        assert!(source["battery_percent"].is_number(), "{source}");
    }
    common::wait_for("the sensors to drop them", || {
        let strap = strap.device.lock().unwrap().kept();
        let watch = watch.device.lock().unwrap().kept();
        (strap.is_empty() && watch.is_empty()).then_some(())
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let records = world.bench.records();
    let want = |from: i32, count| (0_i32..).map(move |n| samples(n * from, count));
    assert_eq!(
        filed(&records, "viatom-er1"),
        sorted(want(5000, 1250).take(2).collect())
    );
    assert_eq!(
        filed(&records, "movesense-gsp"),
        sorted(want(7000, 960).take(2).collect())
    );
    assert_eq!(
        filed(&records, "smp-records"),
        sorted(want(9000, 900).take(7).collect())
    );
    let kept = originals(&records);
    assert_eq!(kept.len(), 2 + 2 + 7, "what each sensor kept, as it was");
    for place in 0..2 {
        let file = recording(&short(place * 5000, 1250));
        assert!(kept.contains(&file), "recording {place} of the patch");
    }
    let logs = kept.iter().filter(|file| file.starts_with(b"SBEM"));
    assert_eq!(logs.count(), 2);
    for device in devices {
        let identity = device_of(&records, device);
        assert!(
            identity.serial.is_some() && identity.firmware.is_some(),
            "{device}"
        );
    }

    // the patch has no way to drop anything: the next process knows what it has
    let before = records.len();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "the patch again", |source| {
        source["state"] == "waiting" && source["battery_percent"].is_number()
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    assert_eq!(world.bench.records().len(), before);
    drop(patch);
}

/// Pulls the link whenever the download has made progress.
fn break_links<P: GattPeripheral>(world: &World, keeper: &Keeper<P>, times: u32, reboot: bool) {
    let mut reached = 0;
    for _ in 0..times {
        let source = world.wait_for(0, "progress", |source| {
            source["recordings"]["have_bytes"].as_u64() > Some(reached) || has_fetched(1)(source)
        });
        reached = source["recordings"]["have_bytes"].as_u64().unwrap();
        if reboot {
            keeper.device.lock().unwrap().power_cycle();
        }
        keeper.sensor.disconnect();
    }
}

#[test]
fn a_sensor_that_reboots_and_links_that_break_in_the_middle_cost_no_sample() {
    for reboot in [false, true] {
        let world = World::that_fetches(&["smp-records"]);
        let watch = world.keeper("smp-records", watch(1, 40_000));
        world.pair_all();
        let mut agent = world.bench.start(&[]);
        break_links(&world, &watch, 3, reboot);
        world.wait_for(0, "the recording", has_fetched(1));
        common::wait_for("the watch to drop it", || {
            watch.device.lock().unwrap().kept().is_empty().then_some(())
        });
        agent.signal(Signal::TERM);
        assert_eq!(agent.exit_code(), Some(0));
        let records = world.bench.records();
        assert_eq!(filed(&records, "smp-records"), [samples(0, 40_000)]);
    }
}

#[test]
fn a_box_that_is_killed_in_the_middle_fetches_again_and_files_once() {
    let world = World::that_fetches(&["smp-records"]);
    let watch = world.keeper("smp-records", watch(2, 40_000));
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "the middle of a download", |source| {
        source["recordings"]["have_bytes"].as_u64() >= Some(10_000)
    });
    agent.signal(Signal::KILL);
    agent.exit_code();
    assert_eq!(watch.device.lock().unwrap().kept().len(), 2);
    let needle = samples(0, 64)
        .iter()
        .flat_map(|count| count.to_le_bytes())
        .collect::<Vec<u8>>();
    for file in std::fs::read_dir(world.bench.dir.path().join("state")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        let is_there = bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!is_there, "{} holds samples in the clear", path.display());
    }
    watch.sensor.disconnect();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "both recordings", has_fetched(2));
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let records = world.bench.records();
    let want = sorted(vec![samples(0, 40_000), samples(9000, 40_000)]);
    assert_eq!(filed(&records, "smp-records"), want);
    assert_eq!(originals(&records).len(), 2);
}

#[test]
fn a_sensor_that_records_is_left_alone_until_a_person_stops_it() {
    let world = World::that_fetches(&["movesense-gsp"]);
    let strap = world.keeper("movesense-gsp", movesense(20));
    let order = |state| {
        let command = Command::LoggerState(state).encode(7);
        let mut strap = strap.device.lock().unwrap();
        strap.write(COMMAND, &command, &mut Vec::new());
    };
    order(3);
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "that it records", |source| {
        source["code"] == "kept.recording"
    });
    assert!(strap.device.lock().unwrap().is_recording());
    {
        let mut strap = strap.device.lock().unwrap();
        for body in samples(14_000, 320).chunks(16) {
            strap.frame(&FrameRows::planar(16, body), &mut Vec::new());
        }
    }
    order(2);
    let source = world.wait_for(0, "the recordings", has_fetched(3));
    assert!(source["code"].is_null(), "{source}");
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let want = (0..3).map(|n| samples(n * 7000, 320)).collect();
    assert_eq!(filed(&world.bench.records(), "movesense-gsp"), sorted(want));
}

#[test]
fn what_the_box_cannot_read_stays_on_its_sensor() {
    let world = World::that_fetches(&["viatom-er1"]);
    let mut device = patch();
    device.keep_file("R20260103070000", vec![7; 900]);
    let _patch = world.keeper("viatom-er1", device);
    world.pair_all();
    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "the two that it reads", |source| {
        has_fetched(2)(source) && source["recordings"]["left"] == 1
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    assert_eq!(filed(&world.bench.records(), "viatom-er1").len(), 2);
}

#[test]
fn a_watch_on_its_cradle_gives_its_recordings_over_the_console_although_it_is_pulled_out() {
    let bench = common::Bench::new();
    let text = "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n[store]\ncap = \"64MiB\"\n\
                [capture]\nrecordings_every = \"200ms\"\n\
                [[source]]\nname = \"watch\"\nkind = \"serial\"\ndevice = \"smp-console\"\n\
                path = \"port\"\nrecordings = \"fetch\"\n";
    std::fs::write(bench.config(), text).unwrap();
    let watch = Arc::new(Mutex::new(watch(2, 30_000)));
    // A third of the first recording.
    let cradle = common::plug_in_watch(&bench.port(), Arc::clone(&watch), 20_000);
    let mut agent = bench.start(&[]);
    common::wait_for("the middle of a download", || {
        (cradle.sent() >= 20_000).then_some(())
    });
    drop(cradle);
    bench.wait_for_source("the loss", |source| !source["code"].is_null());
    let _again = common::plug_in_watch(&bench.port(), Arc::clone(&watch), u64::MAX);
    bench.wait_for_source("both recordings", has_fetched(2));
    common::wait_for("the watch to drop them", || {
        watch.lock().unwrap().kept().is_empty().then_some(())
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let want = sorted(vec![samples(0, 30_000), samples(9000, 30_000)]);
    assert_eq!(filed(&bench.records(), "watch"), want);
}

#[test]
fn a_person_lets_a_sensor_record_ends_that_and_the_service_fetches_what_it_recorded() {
    let world = World::that_fetches(&["movesense-gsp"]);
    let strap = world.keeper("movesense-gsp", MovesensePeripheral::default());
    world.pair_all();
    let holter = |verb: &'static str| ["sources", "holter", verb, "--json", "movesense-gsp"];
    let begun = world.json(&holter("start"));
    assert_eq!(begun["schema"], "sources-holter/1");
    assert_eq!(
        (&begun["recording"], &begun["serial"]),
        (&true.into(), &"000000000001".into())
    );
    assert!(strap.device.lock().unwrap().is_recording());
    for body in samples(0, 480).chunks(16) {
        let mut strap = strap.device.lock().unwrap();
        strap.frame(&FrameRows::planar(16, body), &mut Vec::new());
    }
    let again = world.refusal(&holter("start"));
    assert!(again.contains("holter.recording"), "{again}");
    assert!(again.contains("holter stop"), "it says what to do: {again}");
    let asked = world.json(&holter("status"));
    assert_eq!(asked["recording"], true);
    let ended = world.json(&holter("stop"));
    assert_eq!(ended["recording"], false);
    assert_eq!(
        ended["recordings"].as_array().map(Vec::len),
        Some(1),
        "{ended}"
    );
    assert!(!strap.device.lock().unwrap().is_recording());
    let other = world.refusal(&[
        "sources",
        "holter",
        "start",
        "--rate",
        "500",
        "movesense-gsp",
    ]);
    assert!(other.contains("holter.rate"), "{other}");

    let mut agent = world.bench.start(&[]);
    world.wait_for(0, "the recording", has_fetched(1));
    let in_use = world.refusal(&holter("status"));
    assert!(in_use.contains("sources.in_use"), "{in_use}");
    agent.signal(Signal::TERM);
    assert_eq!(agent.exit_code(), Some(0));
    let filed = filed(&world.bench.records(), "movesense-gsp");
    assert_eq!(filed, [samples(0, 480)]);
}
