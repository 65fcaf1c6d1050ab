//! One device, one box, and what passes between them, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use cardio_agent::capture::Playback;
use cardio_agent::pipeline::Captured;
use cardio_agent::status::LinkState;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_core::lead::Lead;
use cardio_firmware_sim::device::{Device, Transport};
use cardio_firmware_sim::faults::FaultPlan;
use cardio_firmware_sim::ledger::{Entry, LossCause};
use cardio_firmware_sim::player::{Line, LinkFault, Next, Outgoing, Pacing, Player};
use cardio_firmware_sim::scenario::Scenario;
use cardio_firmware_sim::source::{BeatSource, SignalSource, SoundSource, SynthSource};
use cardio_protocol::capture::{CaptureEntry, CaptureEvent, CaptureHead};
use cardio_protocol::gatt::sig_hrs::BATTERY_LEVEL;
use cardio_protocol::gatt::{GattAction, Notification};
use cardio_protocol::profile::WaveKind;
use cardio_signal::pcg::synth::SoundSynthConfig;

use crate::script::MTU;
use crate::wide;

const START_US: u64 = 1_000_000;
const TICK_US: u64 = 4_000;
const SECONDS: u64 = 20;
/// How long the box takes to come back after a link is lost.
const BACK_US: u64 = 500_000;

/// The box, the device, and what became of both.
pub(crate) struct Visit {
    pub(crate) device: Device,
    player: Player,
    pub(crate) playback: Playback,
    now_us: u64,
    connected: bool,
    connect_at: Option<u64>,
    mtu: u16,
    pub(crate) captured: Vec<Captured>,
    /// By index on the device's time line: what was sent and heard, all leads folded into one.
    pub(crate) sent: BTreeMap<u64, i32>,
    /// When each frame was heard, in microseconds, by its first index.
    pub(crate) heard_us: BTreeMap<u64, u64>,
    /// Where the heart beat, whether that was heard or not.
    pub(crate) beats: BTreeSet<u64>,
    /// Where nothing can have been heard, and why.
    pub(crate) deaf: Vec<Deaf>,
    /// What was injected beside losses and reached the box.
    pub(crate) told: Vec<Entry>,
}

/// A stretch in which nothing can have been heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deaf {
    pub(crate) from: u64,
    pub(crate) len: u64,
    /// Whether the source was away; otherwise it was there, and could not be understood.
    pub(crate) is_away: bool,
}

/// One number of all leads of a sample.
pub(crate) fn folded(rows: &[Vec<i32>]) -> Vec<i32> {
    let len = rows.first().map_or(0, Vec::len);
    (0..len)
        .map(|at| {
            rows.iter()
                .fold(0_i32, |all, row| all.wrapping_mul(31).wrapping_add(row[at]))
        })
        .collect()
}

impl Visit {
    pub(crate) fn new(device: Device, script: &str, seed: u64) -> Self {
        let scenario = Scenario::from_toml("script", script).unwrap();
        let leads = vec![Some(Lead::II); device.waves.len()];
        let heart = || SynthSource::new(scenario.synth(seed, device.rate()), &leads);
        let source: Box<dyn SignalSource> = match device.waves {
            [WaveKind::HeartSound] => {
                let config = SoundSynthConfig::clean(seed, device.rate());
                Box::new(SoundSource::new(config))
            }
            _ if device.sees_beats() => Box::new(BeatSource::new(Box::new(heart()))),
            _ => Box::new(heart()),
        };
        let pacing = Pacing {
            speed: 1.0,
            clock_ppm: scenario.device.clock_ppm,
            samples: SECONDS * u64::from(device.rate_hz),
        };
        let plan = FaultPlan::new(&scenario, &device, seed);
        let wired = vec![true; device.waves.len()];
        Self {
            player: Player::new(device.clone(), source, wired, plan, pacing),
            playback: Playback::new(&head(device.name)).unwrap(),
            device,
            now_us: START_US,
            connected: false,
            connect_at: Some(START_US),
            captured: Vec::new(),
            mtu: MTU,
            sent: BTreeMap::new(),
            heard_us: BTreeMap::new(),
            beats: BTreeSet::new(),
            deaf: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(crate) fn play(&mut self) {
        let is_serial = matches!(self.device.transport, Transport::Serial(_));
        for _ in 0..1_000_000 {
            self.now_us += TICK_US;
            if self.connect_at.is_some_and(|due| due <= self.now_us) && !self.player.is_unplugged()
            {
                self.connect_at = None;
                self.connect();
            }
            let line = self.line();
            let next = self.player.poll(self.now_us - START_US, line);
            if is_serial && self.player.is_unplugged() && self.connected {
                self.deliver();
                self.lose("serial.unplugged");
            }
            self.deliver();
            self.note(CaptureEvent::Crowded { values: 0 });
            self.obey();
            // a conversation that failed takes its link with it, and the box connects again
            if self.connected && self.playback.status().state == LinkState::Lost {
                self.lose("session.failed");
            }
            self.captured.extend(self.playback.drain());
            if matches!(next, Next::Ended(_)) {
                self.playback.end();
                self.captured.extend(self.playback.drain());
                return;
            }
        }
        panic!("the visit does not end");
    }

    fn line(&self) -> Line {
        let heard = match self.device.transport {
            Transport::Serial(_) => self.connected,
            Transport::Bluetooth(_) => self.player.is_linked(),
        };
        Line {
            heard,
            right_speed: true,
        }
    }

    fn note(&mut self, event: CaptureEvent) {
        let at_us = self.now_us;
        self.playback.take(&CaptureEntry { at_us, event });
    }

    fn connect(&mut self) {
        self.connected = true;
        self.mtu = MTU;
        self.player.link(Some(MTU), self.now_us - START_US);
        let via = String::new();
        self.note(CaptureEvent::Connected { via });
        self.obey();
    }

    fn lose(&mut self, code: &str) {
        let code = code.to_owned();
        self.connected = false;
        self.connect_at = Some(self.now_us + BACK_US);
        self.player.link(None, self.now_us - START_US);
        self.note(CaptureEvent::Closed { code });
    }

    /// Carries what the box wants to the device, and answers back.
    fn obey(&mut self) {
        for _ in 0..100 {
            let wanted = self.playback.wanted();
            if wanted.is_empty() || !self.connected {
                return;
            }
            for event in wanted {
                self.note(event.clone());
                match event {
                    CaptureEvent::Said(bytes) => {
                        let line = self.line();
                        self.player.on_bytes(&bytes, self.now_us - START_US, line);
                        self.deliver();
                    }
                    CaptureEvent::Asked(action) => self.act(action),
                    _ => {}
                }
            }
        }
        panic!("the box never stops asking");
    }

    fn act(&mut self, action: GattAction) {
        match action {
            GattAction::Subscribe(to) => self.player.subscribe(to, true),
            GattAction::Read(from) => {
                if let Some(value) = self.player.read(from) {
                    if let (BATTERY_LEVEL, [percent]) = (from, &*value) {
                        // what a charge became while nobody was connected is read then
                        let (i, percent) = (0, *percent);
                        self.told.push(Entry::Battery { i, percent });
                    }
                    self.note(CaptureEvent::Answer { from, value });
                }
            }
            GattAction::Write { to, value, .. } => {
                let answer = self.player.write(to, &value, self.now_us - START_US);
                match answer {
                    Ok(sent) => {
                        for Notification { from, value } in sent {
                            self.note(CaptureEvent::Value { from, value });
                        }
                    }
                    // a command that a device refuses ends the link, as in the box's adapter
                    Err(_) => self.lose("ble.failed"),
                }
            }
        }
    }

    fn deliver(&mut self) {
        for out in self.player.take_out() {
            self.deliver_one(out);
        }
    }

    fn deliver_one(&mut self, out: Outgoing) {
        match out.change {
            Some(LinkFault::Drop | LinkFault::Away(true)) => {
                if self.connected {
                    self.lose("ble.disconnected");
                }
                // nobody connects to a device that is out of reach
                if out.change == Some(LinkFault::Away(true)) {
                    self.connect_at = None;
                }
            }
            Some(LinkFault::Away(false)) => self.connect_at = Some(self.now_us + BACK_US),
            Some(LinkFault::Mtu(mtu)) => self.mtu = mtu,
            _ => {}
        }
        let fits = out.from.is_none() || out.bytes.len() + 3 <= usize::from(self.mtu);
        let is_heard = self.connected && fits;
        if is_heard && !out.bytes.is_empty() {
            let value = out.bytes;
            self.note(match out.from {
                None => CaptureEvent::Heard(value),
                Some(from) => CaptureEvent::Value { from, value },
            });
        }
        match out.entry {
            Some(Entry::Frame { i, rows, .. }) if is_heard => {
                self.sent.extend((i..).zip(folded(&rows)));
                self.heard_us.insert(i, self.now_us);
            }
            Some(Entry::Frame { i, rows, .. }) => self.deaf.push(Deaf {
                from: i,
                len: wide(rows[0].len()),
                is_away: fits,
            }),
            Some(Entry::Lost { from, len, cause }) => {
                let is_away = match cause {
                    LossCause::Unplug
                    | LossCause::NotStreaming
                    | LossCause::PortClosed
                    | LossCause::NotConnected
                    | LossCause::Disconnect => true,
                    LossCause::Mtu | LossCause::Overrun | LossCause::WrongSpeed => false,
                    LossCause::Drop
                    | LossCause::Corrupt
                    | LossCause::Truncate
                    | LossCause::Swap
                    | LossCause::Coalesce => return,
                };
                self.deaf.push(Deaf { from, len, is_away });
            }
            Some(entry @ (Entry::Battery { .. } | Entry::Clock { .. } | Entry::Repeat { .. }))
                if is_heard =>
            {
                self.told.push(entry);
            }
            Some(Entry::Mark { i, .. }) => {
                self.beats.insert(i);
            }
            Some(entry @ (Entry::Signal { .. } | Entry::Garbage { .. })) => self.told.push(entry),
            _ => {}
        }
    }
}

fn head(profile: &str) -> CaptureHead {
    CaptureHead {
        began: ClockReading {
            box_instant: BoxInstant {
                boot: BootId([1; 16]),
                micros: START_US,
            },
            utc: UtcMicros(0),
            quality: ClockQuality::Unsynchronised,
        },
        profile: profile.to_owned(),
        writer: "test".to_owned(),
        leads: Vec::new(),
        silent_after_ms: 3_000,
        resume_within_ms: 600_000,
        rate_hz: None,
    }
}
