//! A day of four sensors in minutes: the frames that they would send, through the box's own
//! conversations, decoders, time lines, segments and scores in virtual time, and what that takes of
//! memory and processor.
//!
//! `cargo run --release -p cardio-agent --example a_day -- [HOURS]`

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be made fails as a whole"
)]

use std::io::Write as _;
use std::time::Duration;

use cardio_agent::capture::Playback;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_core::rate::SamplingRate;
use cardio_protocol::capture::{CaptureEntry, CaptureEvent, CaptureHead};
use cardio_protocol::decoder::{Encoder, FrameRows};
use cardio_protocol::gatt::{self, GattAction, GattPeripheral};
use cardio_protocol::profile;
use cardio_protocol::session::Peripheral;
use cardio_signal::synth::{EcgSynth, SynthConfig};

/// Each with the rate that it is asked for, if not its own.
const DEVICES: [(&str, Option<u32>); 4] = [
    ("polar-pmd", None),
    ("movesense-gsp", Some(500)),
    ("ble-audio-packets", None),
    ("openbci-cyton", None),
];
const SECOND_US: u64 = 1_000_000;
/// Largest growth of memory after the first hour.
const GROWTH_MAX_KIB: u64 = 1024;

enum Device {
    Serial(Box<dyn Peripheral>, Box<dyn Encoder>),
    Ble(Box<dyn GattPeripheral>),
}

struct Sensor {
    name: &'static str,
    playback: Playback,
    device: Device,
    rate: u64,
    per_frame: u64,
    rows: usize,
    /// A minute of a heart, again and again.
    heart: Vec<i32>,
    sent: u64,
    stored: u64,
    gaps: u64,
    cpu: Duration,
}

fn main() {
    let hours: u64 = std::env::args()
        .nth(1)
        .map_or(24, |text| text.parse().unwrap());
    let mut sensors = DEVICES.map(Sensor::new);
    let mut after_first = 0;
    for hour in 1..=hours {
        for second in (hour - 1) * 3600..hour * 3600 {
            sensors.iter_mut().for_each(|sensor| sensor.live(second));
        }
        let resident = resident_kib();
        if hour == 1 {
            after_first = resident;
        }
        say(&format!("hour {hour:>2}: {resident} KiB resident"));
    }
    for sensor in &sensors {
        let percent =
            100.0 * sensor.cpu.as_secs_f64() / Duration::from_secs(3600 * hours).as_secs_f64();
        say(&format!(
            "{:<18} {:>4} Hz {:>11} samples sent, {:>11} in segments, {} gap(s), {percent:.2} % of one core",
            sensor.name, sensor.rate, sensor.sent, sensor.stored, sensor.gaps
        ));
        assert_eq!(sensor.gaps, 0, "{}", sensor.name);
    }
    let grown = resident_kib().saturating_sub(after_first);
    say(&format!("grown by {grown} KiB after the first hour"));
    assert!(grown <= GROWTH_MAX_KIB, "memory grows");
}

impl Sensor {
    fn new((name, asked): (&'static str, Option<u32>)) -> Self {
        let (device, rate, per_frame, rows) = match profile::by_name(name) {
            Some(profile) => (
                Device::Serial((profile.peripheral)(), (profile.encoder)()),
                profile.rate_hz,
                profile.samples_per_frame,
                profile.waves.len(),
            ),
            None => {
                let profile = gatt::by_name(name).unwrap();
                let signal = profile.signal.unwrap();
                let mut peripheral = (profile.peripheral)();
                let rate_hz = asked.unwrap_or(signal.rate_hz);
                peripheral.set_rate(rate_hz);
                (
                    Device::Ble(peripheral),
                    rate_hz,
                    signal.samples_per_frame,
                    signal.waves.len(),
                )
            }
        };
        let mut playback = Playback::new(&head(name, asked)).unwrap();
        let via = String::new();
        playback.take(&entry(SECOND_US, CaptureEvent::Connected { via }));
        Self {
            name,
            playback,
            device,
            rate: rate.into(),
            per_frame: u64::try_from(per_frame).unwrap(),
            rows,
            heart: heart(rate),
            sent: 0,
            stored: 0,
            gaps: 0,
            cpu: Duration::ZERO,
        }
    }

    /// Lives one second, from what the box wants to what the sensor sends.
    fn live(&mut self, second: u64) {
        let began = processor();
        let from_us = (second + 1) * SECOND_US;
        self.obey(from_us);
        let frames_until = (second + 1) * self.rate / self.per_frame;
        while self.sent / self.per_frame < frames_until && self.is_streaming() {
            self.sent += self.per_frame;
            let at_us = SECOND_US + self.sent * SECOND_US / self.rate;
            self.send(at_us);
        }
        for captured in self.playback.drain() {
            match captured {
                cardio_agent::pipeline::Captured::Segment(segment) => {
                    self.stored += segment.block.count().0;
                }
                cardio_agent::pipeline::Captured::Gap { .. } => self.gaps += 1,
                _ => {}
            }
        }
        self.cpu += processor().saturating_sub(began);
    }

    fn is_streaming(&self) -> bool {
        match &self.device {
            Device::Serial(device, _) => device.is_streaming(),
            Device::Ble(device) => device.is_streaming(),
        }
    }

    /// Carries what the box wants sent to the sensor, and its answers back, until both are quiet.
    fn obey(&mut self, at_us: u64) {
        loop {
            let wanted = self.playback.wanted();
            if wanted.is_empty() {
                return;
            }
            for event in wanted {
                self.playback.take(&entry(at_us, event.clone()));
                match (&mut self.device, event) {
                    (Device::Serial(device, _), CaptureEvent::Said(bytes)) => {
                        let mut answer = Vec::new();
                        device.on_bytes(&bytes, &mut answer, &mut Vec::new());
                        if !answer.is_empty() {
                            let heard = CaptureEvent::Heard(answer);
                            self.playback.take(&entry(at_us, heard));
                        }
                    }
                    (Device::Ble(device), CaptureEvent::Asked(action)) => {
                        let is_read = matches!(action, GattAction::Read(_));
                        let mut sent = Vec::new();
                        device.obey(action, &mut sent);
                        for said in sent {
                            let (from, value) = (said.from, said.value);
                            let event = match is_read {
                                true => CaptureEvent::Answer { from, value },
                                false => CaptureEvent::Value { from, value },
                            };
                            self.playback.take(&entry(at_us, event));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, at_us: u64) {
        let first = usize::try_from(self.sent - self.per_frame).unwrap();
        let per_frame = usize::try_from(self.per_frame).unwrap();
        let row = self.heart.iter().cycle().skip(first % self.heart.len());
        let row: Vec<i32> = row.take(per_frame).copied().collect();
        let rows = FrameRows::planar(per_frame, &row.repeat(self.rows));
        match &mut self.device {
            Device::Serial(_, encoder) => {
                let mut bytes = Vec::new();
                encoder.frame(&rows, &mut bytes);
                self.playback
                    .take(&entry(at_us, CaptureEvent::Heard(bytes)));
            }
            Device::Ble(device) => {
                let mut sent = Vec::new();
                device.frame(&rows, &mut sent);
                for said in sent {
                    let (from, value) = (said.from, said.value);
                    let event = CaptureEvent::Value { from, value };
                    self.playback.take(&entry(at_us, event));
                }
            }
        }
    }
}

fn entry(at_us: u64, event: CaptureEvent) -> CaptureEntry {
    CaptureEntry { at_us, event }
}

fn head(profile: &str, rate_hz: Option<u32>) -> CaptureHead {
    CaptureHead {
        began: ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: SECOND_US,
            },
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        },
        profile: profile.to_owned(),
        writer: "a_day".to_owned(),
        leads: Vec::new(),
        silent_after_ms: 3_000,
        resume_within_ms: 600_000,
        rate_hz,
    }
}

/// Lead II in microvolts, small enough for every converter.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a heart has few millivolts"
)]
fn heart(rate: u32) -> Vec<i32> {
    let rate = SamplingRate::hz(rate).unwrap();
    let mut synth = EcgSynth::new(SynthConfig::calm(7, rate));
    let samples = rate.count_in_micros(60 * SECOND_US).0;
    (0..samples)
        .map(|_| (synth.next_measured().get(1).copied().unwrap() * 1000.0) as i32)
        .collect()
}

fn processor() -> Duration {
    let spec = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(spec.tv_sec).unwrap(),
        u32::try_from(spec.tv_nsec).unwrap(),
    )
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}
