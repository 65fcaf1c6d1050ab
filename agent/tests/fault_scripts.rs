//! Scripts of faults by chance against every device that can be played: the simulator's player and
//! the box's own conversation, decoder, time line and segments, in virtual time. What is recorded
//! and what is named as missing must be what the ledger says, in place, length and cause.
//!
//! `FAULT_SCRIPTS` says how many are played (default 28), `FAULT_SEED` where chance starts; both
//! are printed, and a disagreement prints device, seed and script.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests stop the test that they cannot serve"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cardio_agent::capture::Playback;
use cardio_agent::pipeline::Captured;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::device::IntegrityClass;
use cardio_core::gap::GapCause;
use cardio_core::ids::BootId;
use cardio_core::lead::Lead;
use cardio_firmware_sim::device::{Device, Transport};
use cardio_firmware_sim::faults::FaultPlan;
use cardio_firmware_sim::ledger::Entry;
use cardio_firmware_sim::player::{Line, LinkFault, Next, Outgoing, Pacing, Player};
use cardio_firmware_sim::scenario::Scenario;
use cardio_firmware_sim::source::{SignalSource, SoundSource, SynthSource};
use cardio_protocol::capture::{CaptureEntry, CaptureEvent, CaptureHead};
use cardio_protocol::gatt::{GattAction, Notification};
use cardio_protocol::profile::WaveKind;
use cardio_signal::pcg::synth::SoundSynthConfig;

/// How many there are.
fn count<T>(of: &[T]) -> u64 {
    wide(of.len())
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

const START_US: u64 = 1_000_000;
const TICK_US: u64 = 4_000;
const SECONDS: u64 = 20;
const MTU: u16 = 247;
/// How long the box takes to come back after a link is lost.
const BACK_US: u64 = 500_000;
/// What a box may leave out beside a loss or before its conversation stands, in seconds: a frame
/// is accepted on evidence, and one frame of a strap is half a second.
const BESIDE_US: u64 = 1_200_000;
/// Without a counter a loss is noticed by time, so many seconds behind its place, and no better
/// than this.
const TIMED_US: u64 = 100_000;

/// A small source of chance (SplitMix64, Steele and others 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Up to five faults, three seconds apart.
fn script(device: &Device, chance: &mut Chance) -> String {
    let is_on_air = matches!(device.transport, Transport::Bluetooth(_));
    let mut kinds = vec!["drop", "truncate", "stall", "garbage"];
    if device.name != "bioharness" {
        // which loses its radio line with its power: `unplug`
        kinds.push("reboot");
    }
    match is_on_air {
        true => kinds.extend(["coalesce", "burst", "disconnect", "low-battery", "errors"]),
        false => kinds.extend(["corrupt", "unplug"]),
    }
    if device.integrity != IntegrityClass::Uncounted {
        // nobody can tell a repeated or an exchanged frame from a new one there
        kinds.extend(["repeat", "swap"]);
    }
    let turn = device.modulus.map_or(u64::MAX, u64::from);
    let longest = (device.rate_hz / 2).max(1);
    let longest = u64::from(longest) / device.per_frame();
    let mut text = String::new();
    for at in [2, 5, 8, 11, 14] {
        if chance.below(4) == 0 {
            continue;
        }
        let kind = kinds[usize::try_from(chance.below(count(&kinds))).unwrap()];
        let ms = chance.below(900);
        write!(
            text,
            "[[fault]]\nkind = \"{kind}\"\nat = \"{}ms\"\n",
            at * 1000 + ms
        )
        .unwrap();
        // losses of less than a turn of the counter, which it proves alone
        let frames = 1 + chance.below(longest.clamp(1, 20).min(turn / 2));
        let more = match kind {
            "drop" | "repeat" => format!("frames = {frames}\n"),
            "corrupt" => "frames = 1\n".to_owned(),
            "truncate" => "bytes = 1\n".to_owned(),
            "stall" => "for = \"400ms\"\n".to_owned(),
            "garbage" => format!("bytes = {}\n", 1 + chance.below(60)),
            "coalesce" => format!("frames = {}\n", 2 + chance.below(3)),
            "burst" => "for = \"2s\"\nframes = 3\n".to_owned(),
            "disconnect" | "unplug" => format!("for = \"{}ms\"\n", 300 + chance.below(1500)),
            "low-battery" => "percent = 9\n".to_owned(),
            "errors" => "commands = 2\n".to_owned(),
            _ => String::new(),
        };
        text += &more;
    }
    text
}

/// The box, the device, and what became of both.
struct Visit {
    device: Device,
    player: Player,
    playback: Playback,
    now_us: u64,
    connected: bool,
    connect_at: Option<u64>,
    captured: Vec<Captured>,
    /// By index on the device's time line: what was sent and heard.
    sent: BTreeMap<u64, i32>,
    /// Indexes at which the link was away.
    away: Vec<(u64, u64)>,
}

impl Visit {
    fn new(device: Device, script: &str, seed: u64) -> Self {
        let scenario = Scenario::from_toml("script", script).unwrap();
        let leads = vec![Some(Lead::II); device.waves.len()];
        let source: Box<dyn SignalSource> = match device.waves {
            [WaveKind::HeartSound] => {
                let config = SoundSynthConfig::clean(seed, device.rate());
                Box::new(SoundSource::new(config))
            }
            _ => Box::new(SynthSource::new(
                scenario.synth(seed, device.rate()),
                &leads,
            )),
        };
        let pacing = Pacing {
            speed: 1.0,
            clock_ppm: 0.0,
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
            sent: BTreeMap::new(),
            away: Vec::new(),
        }
    }

    fn play(&mut self) {
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
            Some(LinkFault::Drop | LinkFault::Away(true)) if self.connected => {
                self.lose("ble.disconnected");
                if out.change == Some(LinkFault::Away(true)) {
                    self.connect_at = None;
                }
            }
            Some(LinkFault::Away(false)) => self.connect_at = Some(self.now_us + BACK_US),
            _ => {}
        }
        let is_heard = self.connected;
        if is_heard && !out.bytes.is_empty() {
            let value = out.bytes;
            self.note(match out.from {
                None => CaptureEvent::Heard(value),
                Some(from) => CaptureEvent::Value { from, value },
            });
        }
        match out.entry {
            Some(Entry::Frame { i, rows, .. }) if is_heard => {
                self.sent.extend((i..).zip(rows[0].iter().copied()));
            }
            Some(Entry::Frame { i, rows, .. }) => {
                self.away.push((i, count(&rows[0])));
            }
            Some(Entry::Lost { from, len, cause }) => {
                let cause = serde_json::to_string(&cause).unwrap();
                if !["drop", "corrupt", "truncate", "swap", "coalesce"]
                    .contains(&cause.trim_matches('"'))
                {
                    self.away.push((from, len));
                }
            }
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
    }
}

/// What lies between two gaps.
#[derive(Debug, Default)]
struct Run {
    first: u64,
    values: Vec<i32>,
    /// The gap before it: length, uncertainty, whether its cause is that the source was away.
    gap: Option<(u64, u64, bool)>,
}

fn runs(captured: &[Captured]) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![Run::default()];
    for one in captured {
        match one {
            Captured::Segment(segment) => {
                let run = runs.last_mut().unwrap();
                if run.values.is_empty() {
                    run.first = segment.block.first.0;
                }
                assert_eq!(run.first + count(&run.values), segment.block.first.0);
                run.values.extend(&segment.block.leads[0]);
            }
            Captured::Gap { gap, .. } => {
                let is_away = gap.cause == GapCause::SourceLost;
                let told = (gap.len.0, gap.uncertainty.0, is_away);
                let last = runs.last_mut().unwrap();
                if last.values.is_empty() && last.gap.is_some() {
                    let (len, uncertainty, was_away) = last.gap.unwrap();
                    last.gap = Some((len + told.0, uncertainty + told.1, was_away || is_away));
                } else {
                    runs.push(Run {
                        gap: Some(told),
                        ..Run::default()
                    });
                }
            }
            _ => {}
        }
    }
    runs.retain(|run| !run.values.is_empty());
    runs
}

/// Why record and ledger do not agree, if they do not.
fn disagreement(visit: &Visit) -> Option<String> {
    let runs = runs(&visit.captured);
    if runs.is_empty() {
        return Some("nothing was recorded".to_owned());
    }
    match visit.device.integrity {
        IntegrityClass::Uncounted => in_order(visit, &runs),
        _ => in_place(visit, &runs),
    }
}

fn span(visit: &Visit, micros: u64) -> u64 {
    visit.device.rate().count_in_micros(micros).0
}

/// Each run is what was sent at its place; between two runs something was lost, as much and for the
/// cause that the gap says.
fn in_place(visit: &Visit, runs: &[Run]) -> Option<String> {
    let beside = span(visit, BESIDE_US);
    let is_at = |run: &Run, at: u64| {
        (at..)
            .zip(&run.values)
            .all(|(i, value)| visit.sent.get(&i) == Some(value))
    };
    let mut end: Option<u64> = None;
    for run in runs {
        let (least, most) = match (end, run.gap) {
            (None, _) => (run.first, run.first + beside),
            (Some(end), Some((len, uncertainty, _))) => (
                (end + len).saturating_sub(uncertainty),
                end + len + uncertainty,
            ),
            (Some(_), None) => return Some("a run without a gap".to_owned()),
        };
        let Some(at) = (least..=most).find(|at| is_at(run, *at)) else {
            return Some(format!(
                "{} samples at {} are not what was sent at {least} to {most}",
                run.values.len(),
                run.first
            ));
        };
        if let (Some(end), Some((_, _, says_away))) = (end, run.gap) {
            let left_out = wide(visit.sent.range(end..at).count());
            if left_out == at - end {
                return Some(format!("nothing was lost from {end} to {at}"));
            }
            if left_out > beside {
                return Some(format!(
                    "{left_out} that were heard are not there before {at}"
                ));
            }
            let was_away = |(from, len): &(u64, u64)| *from < at && from + len > end;
            if says_away != visit.away.iter().any(was_away) {
                return Some(format!("the gap from {end} to {at} has another cause"));
            }
        }
        end = Some(at + count(&run.values));
    }
    let left_out = wide(visit.sent.range(end?..).count());
    (left_out > beside).then(|| format!("{left_out} that were heard at the end are not there"))
}

/// All that was sent is there in its order, and the gaps are together as long as what was lost.
fn in_order(visit: &Visit, runs: &[Run]) -> Option<String> {
    let sent: Vec<(u64, i32)> = visit.sent.iter().map(|(i, value)| (*i, *value)).collect();
    let mut at = 0;
    let (mut left_out, mut first) = (0, None);
    for (number, value) in runs.iter().flat_map(|run| &run.values).enumerate() {
        while sent.get(at).is_some_and(|(_, sent)| sent != value) {
            at += 1;
            left_out += u64::from(first.is_some());
        }
        let Some((i, _)) = sent.get(at) else {
            return Some(format!("recorded sample {number} was never sent"));
        };
        first.get_or_insert(*i);
        at += 1;
    }
    let end = sent.get(at.saturating_sub(1))?.0 + 1;
    let lost = end - first? - runs.iter().map(|run| count(&run.values)).sum::<u64>();
    let told: u64 = runs.iter().filter_map(|run| run.gap).map(|gap| gap.0).sum();
    let slack: u64 = runs.iter().filter_map(|run| run.gap).map(|gap| gap.1).sum();
    let slack = slack + span(visit, TIMED_US);
    if left_out > span(visit, BESIDE_US) * 3 {
        return Some(format!("{left_out} that were heard are not there"));
    }
    (told.abs_diff(lost) > slack).then(|| format!("gaps of {told}, but {lost} were lost"))
}

fn given(name: &str, otherwise: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn any_script_on_any_device_is_recorded_as_its_ledger_tells_it() {
    let (count, seed) = (given("FAULT_SCRIPTS", 28), given("FAULT_SEED", 1));
    println!("{count} scripts, FAULT_SEED={seed}");
    // What tells heart rates has no samples to compare: `cardio-rig duts` holds it against its ledger.
    let mut devices = Device::all();
    devices.retain(|device| !device.sees_beats());
    let mut table: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    let mut disagreements = Vec::new();
    for (number, device) in (0..count).zip(devices.iter().cycle()) {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number);
        let script = script(device, &mut Chance(seed));
        let mut visit = Visit::new(device.clone(), &script, seed);
        visit.play();
        let row = table.entry(device.name).or_default();
        row.0 += 1;
        row.1 += wide(script.matches("[[fault]]").count());
        if let Some(why) = disagreement(&visit) {
            row.2 += 1;
            disagreements.push(format!("{} seed {seed}: {why}\n{script}", device.name));
        }
    }
    println!("{:<24} scripts   faults  disagreements", "device");
    for (name, (scripts, faults, wrong)) in &table {
        println!("{name:<24} {scripts:>7} {faults:>8} {wrong:>14}");
    }
    assert!(
        disagreements.is_empty(),
        "{} disagreements, the first:\n{}",
        disagreements.len(),
        disagreements[..disagreements.len().min(3)].join("\n")
    );
}
