//! What tests of this crate share: a clock that is moved by hand, names that count, a
//! sensor that sends a synthetic heart, and a pseudo terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::device::Device;
use crate::config::rows;
use crate::ids::Ids;
use crate::pipeline::SourcePlan;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, ManualClock, UtcMicros};
use cardio_core::ids::{BootId, SourceId};
use cardio_core::sample::Adu;
use cardio_protocol::capture::CaptureHead;
use cardio_protocol::decoder::{Frame, FrameRows, FrameSeq};
use cardio_protocol::profile;
use cardio_signal::synth::{EcgSynth, SynthConfig, to_adu};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// One second after boot, on a day in 2026.
pub(crate) fn start_of_time() -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([7; 16]),
            micros: 1_000_000,
        },
        utc: UtcMicros(1_790_000_000_000_000),
        quality: ClockQuality::Unsynchronised,
    }
}

pub(crate) fn manual_clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(start_of_time()))
}

/// A pseudo terminal in raw mode; the test holds the device's end.
pub(crate) struct Pty {
    master: OwnedFd,
    path: PathBuf,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut line = tcgetattr(&master).unwrap();
        line.make_raw();
        tcsetattr(&master, OptionalActions::Now, &line).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        Self {
            master,
            path: PathBuf::from(name.into_string().unwrap()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let written = rustix::io::write(&self.master, bytes).unwrap();
            bytes = &bytes[written..];
        }
    }

    /// Reads until `count` bytes came.
    pub(crate) fn read(&self, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < count {
            let mut buffer = [0; 64];
            let read = rustix::io::read(&self.master, &mut buffer).unwrap();
            got.extend_from_slice(&buffer[..read]);
        }
        got
    }
}

/// Names 1, 2, 3 and so on.
#[derive(Debug, Default)]
pub(crate) struct CountingIds(u64);

impl Ids for CountingIds {
    fn random(&mut self) -> [u8; 10] {
        self.0 += 1;
        let [a, b, c, d, e, f, g, h] = self.0.to_be_bytes();
        [0, 0, a, b, c, d, e, f, g, h]
    }
}

/// What a capture log of a device says of itself.
pub(crate) fn capture_head(profile: &str) -> CaptureHead {
    CaptureHead {
        began: start_of_time(),
        profile: profile.to_owned(),
        writer: "test".to_owned(),
        leads: Vec::new(),
        silent_after_ms: 3_000,
        resume_within_ms: 600_000,
        rate_hz: None,
    }
}

/// A 12-lead sensor of an unassigned patient beside whom a person stands.
pub(crate) fn cyton_plan() -> SourcePlan {
    plan_of("openbci-cyton")
}

/// A sensor of an unassigned patient beside whom a person stands.
pub(crate) fn plan_of(device: &str) -> SourcePlan {
    let device = Device::by_name(device).unwrap();
    SourcePlan {
        source: SourceId::new("ecg12-a").unwrap(),
        device,
        signal: device.signal().unwrap(),
        rows: rows::of(device, None).unwrap(),
        subject: None,
        attendance: cardio_core::acquisition::Attendance::Attended,
        resume_within: std::time::Duration::from_secs(600),
    }
}

/// The frames of a Cyton on a synthetic heart, without end.
pub(crate) struct Sensor {
    heart: EcgSynth,
    sent: u32,
}

impl Sensor {
    pub(crate) fn new(config: SynthConfig) -> Self {
        Self {
            heart: EcgSynth::new(config),
            sent: 0,
        }
    }

    pub(crate) fn frame(&mut self) -> Frame {
        let profile = profile::by_name("openbci-cyton").unwrap();
        let calibration = profile.calibration();
        let row = self.heart.next_measured();
        let adu: Vec<Adu> = row
            .iter()
            .map(|mv| to_adu(*mv, &calibration, profile.rails))
            .collect();
        let seq = self.sent % 256;
        self.sent += 1;
        Frame {
            seq: Some(FrameSeq(seq)),
            ticks: None,
            asked: None,
            rows: FrameRows::one_each(&adu),
        }
    }
}
