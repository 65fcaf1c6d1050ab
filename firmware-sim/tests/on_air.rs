//! The real program with several sensors on its radio, heard by unmodified btleplug and the
//! sessions of the box.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use btleplug::api::{Peripheral as _, WriteType};
use btleplug::platform::{Adapter, Peripheral};
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_protocol::decoder::DecoderEvent;
use cardio_protocol::gatt::viatom_er1::recording;
use cardio_protocol::gatt::{GattAction, GattSession, Uuid, by_name};
use cardio_protocol::kept::{Kept, KeptSession, KeptState};
use cardio_protocol::session::SessionTiming;
use futures_util::StreamExt as _;
use serde_json::Value;
use support::{Values, adapter, alone_with_bus, characteristic, connect, find, soon};

/// The program; it ends with the test, however that ends.
struct Sim(Child);

impl Drop for Sim {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program on a bus; returns once sensors can be found.
fn start(socket: &Path, args: &[&str]) -> Sim {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cardio-sim"))
        .args(["play", "--bus", socket.to_str().unwrap()])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let sim = Sim(child);
    out.read_line(&mut line).unwrap();
    assert_eq!(
        line.trim_end(),
        format!("ready unix:path={}", socket.display())
    );
    // Read to its end, so that the program can write its last line.
    std::thread::spawn(move || out.lines().count());
    sim
}

fn now() -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros: 0,
    }
}

async fn carry_out(found: &Peripheral, actions: Vec<GattAction>) {
    for action in actions {
        match action {
            GattAction::Subscribe(to) => {
                found.subscribe(&characteristic(found, to)).await.unwrap();
            }
            // What is read shows as a notification too, and is taken from there.
            GattAction::Read(from) => {
                found.read(&characteristic(found, from)).await.unwrap();
            }
            GattAction::Write { to, value, .. } => {
                let to = characteristic(found, to);
                found
                    .write(&to, &value, WriteType::WithResponse)
                    .await
                    .unwrap();
            }
        }
    }
}

/// A sensor that is connected.
struct Linked {
    found: Peripheral,
    values: Values,
    session: Box<dyn GattSession>,
}

impl Linked {
    async fn to(adapter: &Adapter, name: &str, profile: &str) -> Self {
        let found = find(adapter, name).await;
        connect(&found).await;
        Self {
            values: found.notifications().await.unwrap(),
            session: (by_name(profile).unwrap().session.unwrap())(SessionTiming::default()),
            found,
        }
    }

    /// The intervals between beats that it tells, at least as many as asked for.
    async fn hear_intervals(&mut self, count: usize) -> Vec<u64> {
        let actions = self.session.start(now());
        carry_out(&self.found, actions).await;
        let mut intervals = Vec::new();
        while intervals.len() < count {
            let value = soon("a value", self.values.next()).await.unwrap();
            let mut events = Vec::new();
            let from = Uuid(value.uuid.as_u128());
            self.session
                .on_value(from, &value.value, now(), &mut events);
            for event in events {
                if let DecoderEvent::Rate(told) = event {
                    intervals.extend(told.rr.iter().copied().map(u64::from));
                }
            }
        }
        intervals
    }

    /// The rows that it sends, as many frames as asked for.
    async fn hear(&mut self, frames: usize) -> Vec<Value> {
        let actions = self.session.start(now());
        carry_out(&self.found, actions).await;
        let mut rows = Vec::new();
        while rows.len() < frames {
            let value = soon("a value", self.values.next()).await.unwrap();
            let mut events = Vec::new();
            let from = Uuid(value.uuid.as_u128());
            let actions = self
                .session
                .on_value(from, &value.value, now(), &mut events);
            carry_out(&self.found, actions).await;
            for event in events {
                if let DecoderEvent::Frame(frame) = event {
                    let heard: Vec<&[i32]> = frame.rows.rows().collect();
                    rows.push(serde_json::json!(heard));
                }
            }
        }
        rows
    }
}

fn sent(ledger: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(ledger).unwrap();
    // The program was killed: its last line may not be whole.
    let (whole, _) = text.rsplit_once('\n').unwrap();
    whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "frame")
        .map(|line| line["rows"].clone())
        .collect()
}

#[test]
fn three_sensors_at_once_are_heard_sample_for_sample() {
    alone_with_bus(
        "three_sensors_at_once_are_heard_sample_for_sample",
        |socket| async move {
            let folder = tempfile::tempdir().unwrap();
            let devices = [
                ("polar-pmd", "Polar H10 00000001", 5),
                ("movesense-gsp", "Movesense 000000000002", 40),
                ("ble-audio-packets", "Stethoscope 3", 120),
            ];
            let ledgers = devices.map(|(device, ..)| folder.path().join(device));
            let mut args = vec!["--duration", "60s", "--linger", "0s"];
            for ((device, ..), ledger) in devices.iter().zip(&ledgers) {
                args.extend(["--device", device, "--ledger", ledger.to_str().unwrap()]);
            }
            let sim = start(&socket, &args);
            let (_manager, adapter) = adapter().await;
            let [strap, sensor, stethoscope] = devices;
            let mut first = Linked::to(&adapter, strap.1, strap.0).await;
            let mut second = Linked::to(&adapter, sensor.1, sensor.0).await;
            let mut third = Linked::to(&adapter, stethoscope.1, stethoscope.0).await;
            let heard = tokio::join!(
                first.hear(strap.2),
                second.hear(sensor.2),
                third.hear(stethoscope.2),
            );
            for (heard, ledger) in [heard.0, heard.1, heard.2].iter().zip(&ledgers) {
                // A line of the ledger is written behind the value that it tells of.
                let told = async {
                    loop {
                        let told = sent(ledger);
                        if told.len() >= heard.len() {
                            return told;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                let told = soon("the ledger to hold what was heard", told).await;
                assert!(told.starts_with(heard), "{}", ledger.display());
            }
            drop(sim);
        },
    );
}

#[test]
fn a_sensor_that_leaves_by_its_scenario_is_seen_to_leave_and_the_visit_ends() {
    alone_with_bus(
        "a_sensor_that_leaves_by_its_scenario_is_seen_to_leave_and_the_visit_ends",
        |socket| async move {
            let folder = tempfile::tempdir().unwrap();
            let (scenario, ledger) = (folder.path().join("away.toml"), folder.path().join("l"));
            let text = "[[fault]]\nkind = \"disconnect\"\nat = \"3s\"\nfor = \"1s\"\n";
            std::fs::write(&scenario, text).unwrap();
            let mut sim = start(
                &socket,
                &[
                    "--device",
                    "movesense-gsp",
                    "--scenario",
                    scenario.to_str().unwrap(),
                    "--ledger",
                    ledger.to_str().unwrap(),
                    "--duration",
                    "6s",
                    "--linger",
                    "0s",
                ],
            );
            let (_manager, adapter) = adapter().await;
            let mut sensor = Linked::to(&adapter, "Movesense 000000000001", "movesense-gsp").await;
            sensor.hear(10).await;
            let left = async {
                while sensor.found.is_connected().await.unwrap() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            soon("the end of the link", left).await;
            let ended = tokio::task::spawn_blocking(move || sim.0.wait().unwrap());
            assert!(soon("the end of the visit", ended).await.unwrap().success());
            let text = std::fs::read_to_string(&ledger).unwrap();
            for told in [
                r#""cause":"disconnect""#,
                r#""state":"closed""#,
                r#""event":"end""#,
            ] {
                assert!(text.contains(told), "{told} in {text}");
            }
        },
    );
}

/// The intervals between the beats that the ledger says were sent.
fn intervals_of(ledger: &Path) -> Vec<u64> {
    let rows = sent(ledger);
    let counts = rows.iter().flat_map(|row| row[0].as_array().unwrap());
    let beats: Vec<u64> = (0..)
        .zip(counts)
        .filter(|(_, count)| **count != 0)
        .map(|(at, _)| at)
        .collect();
    beats.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_heart_rate_strap_is_heard_with_the_intervals_of_its_ledger() {
    alone_with_bus(
        "a_heart_rate_strap_is_heard_with_the_intervals_of_its_ledger",
        |socket| async move {
            let folder = tempfile::tempdir().unwrap();
            let ledger = folder.path().join("l");
            let path = ledger.to_str().unwrap();
            let sim = start(
                &socket,
                &["--device", "sig-hrs", "--ledger", path, "--duration", "60s"],
            );
            let (_manager, adapter) = adapter().await;
            let mut belt = Linked::to(&adapter, "Belt 1", "sig-hrs").await;
            let heard = belt.hear_intervals(6).await;
            let told = async {
                loop {
                    let told = intervals_of(&ledger);
                    if told.len() >= heard.len() {
                        return told;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let told = soon("the ledger to hold what was heard", told).await;
            drop(sim);
            assert!(told.starts_with(&heard), "{heard:?} of {told:?}");
        },
    );
}

impl Linked {
    /// The samples that it gives when it is asked again and again, at least so many.
    async fn ask(&mut self, count: usize) -> Vec<Value> {
        let began = tokio::time::Instant::now();
        let at = || BoxInstant {
            micros: u64::try_from(began.elapsed().as_micros()).unwrap(),
            ..now()
        };
        let actions = self.session.start(at());
        carry_out(&self.found, actions).await;
        let mut samples = Vec::new();
        let asking = async {
            while samples.len() < count {
                tokio::select! {
                    value = self.values.next() => {
                        let value = value.unwrap();
                        let mut events = Vec::new();
                        let from = Uuid(value.uuid.as_u128());
                        self.session.on_value(from, &value.value, at(), &mut events);
                        for event in events {
                            if let DecoderEvent::Frame(frame) = event {
                                samples.extend(frame.rows.samples().iter().map(|one| Value::from(*one)));
                            }
                        }
                    }
                    () = tokio::time::sleep(Duration::from_millis(50)) => {
                        let actions = self.session.on_tick(at());
                        carry_out(&self.found, actions).await;
                    }
                }
            }
        };
        soon("samples that were asked for", asking).await;
        samples
    }
}

#[test]
fn a_recorder_that_must_be_asked_is_heard_sample_for_sample() {
    alone_with_bus(
        "a_recorder_that_must_be_asked_is_heard_sample_for_sample",
        |socket| async move {
            let folder = tempfile::tempdir().unwrap();
            let ledger = folder.path().join("l");
            let path = ledger.to_str().unwrap();
            let args = ["--device", "viatom-er1", "--ledger", path];
            let sim = start(&socket, &[&args[..], &["--duration", "600s"]].concat());
            let (_manager, adapter) = adapter().await;
            let mut recorder = Linked::to(&adapter, "ER1 0001", "viatom-er1").await;
            let heard = recorder.ask(300).await;
            // A line of the ledger is written when the answer is on its way.
            let told = async {
                loop {
                    let told: Vec<Value> = sent(&ledger)
                        .iter()
                        .flat_map(|rows| rows[0].as_array().unwrap().clone())
                        .collect();
                    if told.len() >= heard.len() {
                        return told;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let told = soon("the ledger to hold what was heard", told).await;
            drop(sim);
            assert!(told.starts_with(&heard));
        },
    );
}

/// A conversation about recordings, over as many links as it takes.
struct Download {
    session: Box<dyn KeptSession>,
    whole: Vec<Kept>,
}

impl Download {
    /// Goes on over a new link until everything is here, or the recording under way has so many
    /// bytes; then the link is let go of.
    async fn go_on(&mut self, adapter: &Adapter, until: u64) {
        let found = find(adapter, "ER1 0001").await;
        connect(&found).await;
        let mut values = found.notifications().await.unwrap();
        let reading = ClockReading {
            box_instant: now(),
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        };
        let actions = self.session.start(reading);
        carry_out(&found, actions).await;
        while self.session.progress().have < until {
            let actions = match self.session.state() {
                KeptState::Done => break,
                KeptState::Offering(_) => self.session.want(now()),
                KeptState::Holding(_) => {
                    self.whole.extend(self.session.take());
                    self.session.stored(now())
                }
                KeptState::Running => {
                    let value = soon("a value", values.next()).await.unwrap();
                    let from = Uuid(value.uuid.as_u128());
                    self.session
                        .on_value(from, &value.value, now(), &mut Vec::new())
                }
                other => panic!("{other:?}"),
            };
            carry_out(&found, actions).await;
        }
        found.disconnect().await.unwrap();
    }
}

#[test]
fn recordings_of_a_recorder_are_fetched_over_a_link_that_breaks_in_the_middle() {
    alone_with_bus(
        "recordings_of_a_recorder_are_fetched_over_a_link_that_breaks_in_the_middle",
        |socket| async move {
            let folder = tempfile::tempdir().unwrap();
            let ledger = folder.path().join("l");
            let path = ledger.to_str().unwrap();
            let args = ["--device", "viatom-er1", "--ledger", path];
            let keeps = ["--keep", "30s", "--keep", "20s", "--duration", "600s"];
            let sim = start(&socket, &[&args[..], &keeps].concat());
            let (_manager, adapter) = adapter().await;
            let profile = by_name("viatom-er1").unwrap();
            let mut download = Download {
                session: (profile.kept.unwrap())(SessionTiming::default()),
                whole: Vec::new(),
            };
            download.go_on(&adapter, 2000).await;
            let half = download.session.progress().have;
            assert!(half >= 2000 && download.whole.is_empty());
            download.go_on(&adapter, u64::MAX).await;
            drop(sim);
            let text = std::fs::read_to_string(&ledger).unwrap();
            let (whole, _) = text.rsplit_once('\n').unwrap();
            let lines = whole
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            let kept: Vec<(String, Vec<u8>)> = lines
                .filter(|line| line["event"] == "kept")
                .map(|line| {
                    let row = line["row"].as_array().unwrap().iter();
                    let row: Vec<i16> = row
                        .map(|one| i16::try_from(one.as_i64().unwrap()).unwrap())
                        .collect();
                    (line["name"].as_str().unwrap().to_owned(), recording(&row))
                })
                .collect();
            let fetched: Vec<(String, Vec<u8>)> = download
                .whole
                .into_iter()
                .map(|one| (one.file_name, one.bytes))
                .collect();
            assert_eq!(kept.len(), 2);
            assert_eq!(fetched, kept);
        },
    );
}
