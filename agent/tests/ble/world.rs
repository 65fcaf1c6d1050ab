//! A box, a radio that does not exist, and sensors that send a ramp: each sample is the one
//! before it plus one, so that a recording shows by itself what is missing of it.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench for tests"
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cardio_core::device::DeviceIdentity;
use cardio_core::gap::Gap;
use cardio_firmware_sim::radio::{Radio, Sensor, SensorHandle};
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::ble_audio::{AudioPeripheral, Codec};
use cardio_protocol::gatt::movesense_gsp::MovesensePeripheral;
use cardio_protocol::gatt::polar_pmd::PolarPeripheral;
use cardio_protocol::gatt::sig_hrs::HrsPeripheral;
use cardio_protocol::gatt::viatom_er1::ViatomPeripheral;
use cardio_protocol::gatt::{GattPeripheral, GattProfile, by_name};
use cardio_wire::record::Record;
use serde_json::Value;

use crate::common::{Bench, wait_for};

/// Where the ramp begins again.
pub const MODULUS: u64 = 15_000;
pub const STRAP: &str = "C0:00:00:00:00:01";
/// A heart-rate strap beats once in so many 1/1024 s.
pub const BEAT: u64 = 800;
const BELT: &str = "C0:00:00:00:00:06";
const PATCH: &str = "C0:00:00:00:00:02";
const MOVESENSE: &str = "C0:00:00:00:00:04";
const WATCH: &str = "C0:00:00:00:00:05";
const STETHOSCOPE: &str = "C0:00:00:00:00:03";

pub struct World {
    pub bench: Bench,
    pub radio: Radio,
    devices: Vec<&'static str>,
}

/// A sensor in the air that keeps recordings.
pub struct Keeper<P> {
    pub sensor: SensorHandle,
    pub device: Arc<Mutex<P>>,
}

/// A sensor in the air that measures at its own pace.
pub struct Player {
    pub sensor: SensorHandle,
    pub device: Arc<Mutex<dyn GattPeripheral>>,
    stop: Arc<AtomicBool>,
    measured: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// A box with one source per device, called as the device is.
    pub fn new(devices: &[&'static str]) -> Self {
        let mut bench = Bench::new();
        let radio = Radio::start().unwrap();
        bench.bus = radio.address().to_owned();
        let world = Self {
            bench,
            radio,
            devices: devices.to_vec(),
        };
        world.write_config("");
        world
    }

    /// The same, and behind them a serial sensor at the bench's port.
    pub fn with_a_serial_sensor(devices: &[&'static str]) -> Self {
        let world = Self::new(devices);
        world.write_config(
            "[[source]]\nname = \"ecg12-a\"\nkind = \"serial\"\n\
             device = \"openbci-cyton\"\npath = \"port\"\n",
        );
        world
    }

    /// A box that is told which adapters to use.
    pub fn with_adapters(devices: &[&'static str], adapters: &str) -> Self {
        let world = Self::new(devices);
        world.write_config(&format!("[capture]\nadapters = {adapters}\n"));
        world
    }

    /// A box that fetches what these devices keep, again and again.
    pub fn that_fetches(devices: &[&'static str]) -> Self {
        let world = Self::new(devices);
        world.write_config_of(
            "recordings = \"fetch\"\n",
            "[capture]\nrecordings_every = \"200ms\"\n",
        );
        world
    }

    fn write_config(&self, more: &str) {
        self.write_config_of("", more);
    }

    fn write_config_of(&self, of_each: &str, more: &str) {
        let sources: String = self
            .devices
            .iter()
            .map(|device| {
                format!("[[source]]\nname = \"{device}\"\nkind = \"ble\"\ndevice = \"{device}\"\n{of_each}")
            })
            .collect();
        let text = format!(
            "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n[store]\ncap = \"64MiB\"\n\
             {sources}{more}"
        );
        std::fs::write(self.bench.config(), text).unwrap();
    }

    pub fn strap(&self) -> Player {
        let device = PolarPeripheral::default();
        self.play("polar-pmd", STRAP, "Polar H10 0A0B0C0D", device)
    }

    pub fn patch(&self) -> Player {
        let device = ViatomPeripheral::default();
        self.play("viatom-er1", PATCH, "ER1 0001", device)
    }

    pub fn movesense(&self) -> Player {
        let device = MovesensePeripheral::default();
        self.play("movesense-gsp", MOVESENSE, "Movesense 0001", device)
    }

    /// A strap that tells heart rates, of a heart that beats every [`BEAT`].
    pub fn belt(&self) -> Player {
        let device = HrsPeripheral::default();
        self.play("sig-hrs", BELT, "Belt", device)
    }

    pub fn stethoscope(&self) -> Player {
        let device = AudioPeripheral::new(Codec::Pcm16 { rate_hz: 8000 }, 247);
        self.play("ble-audio-packets", STETHOSCOPE, "Stethoscope", device)
    }

    /// A device that calls itself so, with the services of a strap or none of them.
    pub fn stranger(&self, address: &str, name: &str, has_services: bool) -> SensorHandle {
        let mut shown = Sensor::of(by_name("polar-pmd").unwrap(), address, name);
        if !has_services {
            let profile = by_name("polar-pmd").unwrap();
            shown
                .services
                .retain(|service| service.uuid != profile.services[0].uuid);
        }
        self.radio
            .add(shown, Arc::new(Mutex::new(PolarPeripheral::default())))
    }

    fn play<P: GattPeripheral + 'static>(
        &self,
        profile: &str,
        address: &str,
        name: &str,
        device: P,
    ) -> Player {
        let profile = by_name(profile).unwrap();
        let device = Arc::new(Mutex::new(device));
        let shown = Sensor::of(profile, address, name);
        let sensor = self.radio.add(shown, Arc::clone(&device));
        let stop = Arc::new(AtomicBool::new(false));
        let measured = Arc::new(AtomicU64::new(0));
        let shared: Arc<Mutex<dyn GattPeripheral>> = device.clone();
        let thread = std::thread::spawn({
            let (sensor, stop, measured) =
                (sensor.clone(), Arc::clone(&stop), Arc::clone(&measured));
            move || live(profile, &sensor, &device, &stop, &measured)
        });
        Player {
            sensor,
            device: shared,
            stop,
            measured,
            thread: Some(thread),
        }
    }

    /// Puts a sensor into the air that does nothing by itself.
    pub fn keeper<P: GattPeripheral + 'static>(&self, profile: &str, device: P) -> Keeper<P> {
        let device = Arc::new(Mutex::new(device));
        let (address, name) = match profile {
            "viatom-er1" => (PATCH, "ER1 0001"),
            "movesense-gsp" => (MOVESENSE, "Movesense 0001"),
            _ => (WATCH, "healthypi move"),
        };
        let shown = Sensor::of(by_name(profile).unwrap(), address, name);
        let sensor = self.radio.add(shown, Arc::clone(&device));
        Keeper { sensor, device }
    }

    /// Pairs every source with the sensor of its kind.
    pub fn pair_all(&self) {
        for device in &self.devices {
            let address = match *device {
                "polar-pmd" => STRAP,
                "viatom-er1" => PATCH,
                "movesense-gsp" => MOVESENSE,
                "smp-records" => WATCH,
                "sig-hrs" => BELT,
                _ => STETHOSCOPE,
            };
            self.json(&["sources", "pair", "--json", device, address]);
        }
    }

    pub fn change_pairings(&self, from: &str, to: &str) {
        let path = self.bench.dir.path().join("state/pairings.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// The document that a command prints.
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.bench.output(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a command that fails says.
    pub fn refusal(&self, words: &[&str]) -> String {
        let output = self.bench.output(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The line of a source on the board, once it is as wanted.
    pub fn wait_for(&self, place: usize, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || {
                last = self.bench.status()?["sources"][place].clone();
                is_so(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}: {last}\n{}", self.bench.log()))
    }
}

impl Player {
    /// Waits until the sensor has measured so many more frames.
    pub fn measures_unheard(&self, frames: u64) {
        let until = self.measured.load(Ordering::Relaxed) + frames;
        wait_for("the sensor to measure", || {
            (self.measured.load(Ordering::Relaxed) >= until).then_some(())
        });
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sensor's life: a frame whenever it is due, whether anybody listens or not.
fn live<P: GattPeripheral>(
    profile: &GattProfile,
    sensor: &SensorHandle,
    device: &Mutex<P>,
    stop: &AtomicBool,
    measured: &AtomicU64,
) {
    let signal = profile.signal.unwrap();
    let per_frame = u64::try_from(signal.samples_per_frame).unwrap();
    let began = tokio::time::Instant::now();
    let mut frames = 0;
    let mut taken = 0;
    while !stop.load(Ordering::Relaxed) {
        let due_us = frames * per_frame * 1_000_000 / u64::from(signal.rate_hz);
        let ahead = Duration::from_micros(due_us).saturating_sub(began.elapsed());
        if !ahead.is_zero() {
            std::thread::sleep(ahead.min(LOOKS_UP));
            continue;
        }
        frames += 1;
        let mut sent = Vec::new();
        let mut device = device.lock().unwrap();
        if device.is_streaming() {
            let count = |n: u64| match signal.waves.is_empty() {
                true => i32::from(n.is_multiple_of(BEAT)),
                false => i32::try_from(n % MODULUS).unwrap(),
            };
            let rows: Vec<i32> = (taken..taken + per_frame).map(count).collect();
            taken += per_frame;
            device.frame(&FrameRows::planar(rows.len(), &rows), &mut sent);
            measured.fetch_add(1, Ordering::Relaxed);
        }
        drop(device);
        for value in &sent {
            // what nobody hears is lost, as on a real radio
            let _ = sensor.send(value);
        }
    }
}

/// How often a sensor that has nothing to do looks whether its test is over.
const LOOKS_UP: Duration = Duration::from_millis(50);

/// What was recorded of a source.
#[derive(Debug, Default)]
pub struct Story {
    pub acquisitions: usize,
    pub samples: u64,
    pub gaps: Vec<Gap>,
    /// Places where a sample is not what the time line says: the ramp at this index.
    pub breaks: usize,
}

/// The records of one source, in the order of its time line.
pub fn story_of(records: &[Record], source: &str) -> Story {
    let mut story = Story::default();
    for record in records {
        let Record::AcquisitionStarted(started) = record else {
            continue;
        };
        if started.acquisition.source.as_str() != source {
            continue;
        }
        story.acquisitions += 1;
        let id = started.acquisition.id;
        let mut offset = None;
        for record in records {
            match record {
                Record::Segment(one) if one.segment.acquisition == id => {
                    let row = &one.segment.block.leads[0];
                    story.samples += one.segment.block.count().0;
                    for (index, value) in (one.segment.block.first.0..).zip(row) {
                        let value = u64::try_from(*value).unwrap();
                        let found = (value + MODULUS - index % MODULUS) % MODULUS;
                        if *offset.get_or_insert(found) != found {
                            story.breaks += 1;
                            offset = Some(found);
                        }
                    }
                }
                Record::Gap(one) if one.acquisition == id => story.gaps.push(one.gap),
                _ => {}
            }
        }
    }
    story
}

/// Who the sensor of a source said it is.
pub fn device_of(records: &[Record], source: &str) -> DeviceIdentity {
    records
        .iter()
        .find_map(|record| match record {
            Record::AcquisitionStarted(started)
                if started.acquisition.source.as_str() == source =>
            {
                Some(started.acquisition.device.clone())
            }
            _ => None,
        })
        .unwrap()
}
