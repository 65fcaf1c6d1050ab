use super::air::Refused;
use super::{Line, LinkFault, Next, Outgoing, Pacing, Player};
use crate::device::{Device, Transport};
use crate::faults::FaultPlan;
use crate::ledger::{Entry, LinkChange, LossCause};
use crate::play::unsent;
use crate::scenario::Scenario;
use crate::source::{SignalSource, SoundSource, SynthSource};
use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::timeline::{Placement, Timeline};
use cardio_protocol::decoder::{Aside, DecoderEvent};
use cardio_protocol::gatt::{GattAction, GattProfile, GattSession, Notification, Uuid};
use cardio_protocol::profile::WaveKind;
use cardio_protocol::session::{SessionState, SessionTiming};
use cardio_signal::pcg::synth::SoundSynthConfig;
use proptest::prelude::*;

const ALL: [&str; 3] = ["polar-pmd", "movesense-gsp", "ble-audio-packets"];
const ON_AIR: &str = include_str!("../../scenarios/rough-air.toml");
const TICK_US: u64 = 4_000;
const MTU: u16 = 247;

type Rows = Vec<Vec<i32>>;

/// A box that is connected whenever it can be, and what it makes of it.
struct Host {
    profile: &'static GattProfile,
    session: Option<Box<dyn GattSession>>,
    timeline: Timeline,
    mtu: u16,
    connect_at: Option<u64>,
    placed: Vec<(u64, Rows)>,
    gaps: Vec<(u64, u64)>,
    batteries: Vec<u8>,
    skipped: usize,
}

fn at(micros: u64) -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros,
    }
}

impl Host {
    fn new(device: &Device) -> Self {
        let Transport::Bluetooth(profile) = device.transport else {
            panic!("{} is not on Bluetooth", device.name);
        };
        let start = SampleIndex(0);
        Self {
            profile,
            session: None,
            timeline: Timeline::new(device.rate(), device.integrity, device.modulus, start),
            mtu: MTU,
            connect_at: Some(0),
            placed: Vec::new(),
            gaps: Vec::new(),
            batteries: Vec::new(),
            skipped: 0,
        }
    }

    fn connect(&mut self, player: &mut Player, now: u64) {
        player.link(Some(self.mtu), now);
        let mut session = (self.profile.session.unwrap())(SessionTiming::default());
        let actions = session.start(at(now));
        self.session = Some(session);
        self.carry_out(actions, player, now);
    }

    fn carry_out(&mut self, actions: Vec<GattAction>, player: &mut Player, now: u64) {
        for action in actions {
            let answers = match action {
                GattAction::Subscribe(to) => {
                    player.subscribe(to, true);
                    Vec::new()
                }
                GattAction::Read(from) => {
                    let value = player.read(from);
                    value
                        .map(|value| Notification { from, value })
                        .into_iter()
                        .collect()
                }
                GattAction::Write { to, value, .. } => {
                    player.write(to, &value, now).unwrap_or_default()
                }
            };
            for answer in answers {
                self.hear(answer.from, &answer.value, player, now);
            }
        }
    }

    /// Whether the value came through.
    fn hear(&mut self, from: Uuid, value: &[u8], player: &mut Player, now: u64) -> bool {
        let fits = value.len() + 3 <= usize::from(self.mtu);
        let Some(session) = self.session.as_mut().filter(|_| fits) else {
            return false;
        };
        let mut events = Vec::new();
        let actions = session.on_value(from, value, at(now), &mut events);
        self.carry_out(actions, player, now);
        for event in events {
            match event {
                DecoderEvent::Frame(frame) => {
                    let len = frame.rows.per_lead();
                    let placed = match (frame.ticks, frame.asked) {
                        (Some(ticks), _) => self.timeline.place_ticks(ticks.nanos, len, at(now)),
                        (None, Some(asked)) => self.timeline.place_asked(len, asked, at(now)),
                        (None, None) => self.timeline.place(frame.seq.map(|s| s.0), len, at(now)),
                    };
                    if let Placement::Block { first, gap } = placed {
                        self.gaps.extend(gap.map(|gap| (gap.from.0, gap.len.0)));
                        let rows = frame.rows.rows().map(<[i32]>::to_vec).collect();
                        self.placed.push((first.0, rows));
                    }
                }
                DecoderEvent::Aside(Aside::Battery { percent }) => self.batteries.push(percent),
                DecoderEvent::Skipped { .. } => self.skipped += 1,
                _ => {}
            }
        }
        true
    }

    /// Takes what the device sent; what the ledger says of it.
    fn take(&mut self, outgoing: Outgoing, player: &mut Player, now: u64) -> Option<Entry> {
        match outgoing.change {
            Some(LinkFault::Drop | LinkFault::Away(true)) => {
                player.link(None, now);
                self.session = None;
                let is_back = outgoing.change == Some(LinkFault::Drop);
                self.connect_at = is_back.then_some(now + 500_000);
            }
            Some(LinkFault::Away(false)) => self.connect_at = Some(now + 500_000),
            Some(LinkFault::Mtu(mtu)) => self.mtu = mtu,
            None => {}
        }
        let Some(from) = outgoing.from else {
            return outgoing.entry;
        };
        match self.hear(from, &outgoing.bytes, player, now) {
            true => outgoing.entry,
            false if self.session.is_none() => unsent(outgoing.entry, LossCause::NotConnected),
            false => unsent(outgoing.entry, LossCause::Mtu),
        }
    }
}

fn player(device: &Device, scenario: &str, seconds: u64, seed: u64) -> Player {
    let scenario = Scenario::from_toml("test", scenario).unwrap();
    let source: Box<dyn SignalSource> = match device.waves {
        [WaveKind::HeartSound] => Box::new(SoundSource::new(SoundSynthConfig::clean(
            seed,
            device.rate(),
        ))),
        _ => Box::new(SynthSource::new(
            scenario.synth(seed, device.rate()),
            &[Some(Lead::I)],
        )),
    };
    let pacing = Pacing {
        speed: 1.0,
        clock_ppm: 0.0,
        samples: seconds * u64::from(device.rate_hz),
    };
    let plan = FaultPlan::new(&scenario, device, seed);
    Player::new(device.clone(), source, vec![true], plan, pacing)
}

struct Visit {
    host: Host,
    told: Vec<Entry>,
}

/// Plays to the end with a host that connects whenever it can.
fn visit(device: &str, scenario: &str, seconds: u64, seed: u64) -> Visit {
    let device = Device::by_name(device).unwrap();
    let mut player = player(&device, scenario, seconds, seed);
    let mut host = Host::new(&device);
    let mut told = Vec::new();
    for tick in 0..1_000_000 {
        let now = tick * TICK_US;
        if host.connect_at.is_some_and(|due| due <= now) {
            host.connect_at = None;
            host.connect(&mut player, now);
        }
        let line = Line {
            heard: player.is_linked(),
            right_speed: true,
        };
        let next = player.poll(now, line);
        for outgoing in player.take_out() {
            told.extend(host.take(outgoing, &mut player, now));
        }
        let actions = host
            .session
            .as_mut()
            .map(|session| session.on_tick(at(now)));
        host.carry_out(actions.unwrap_or_default(), &mut player, now);
        if matches!(next, Next::Ended(_)) {
            return Visit { host, told };
        }
    }
    panic!("the visit does not end");
}

impl Visit {
    /// Frames with their index from the first one on.
    fn frames(&self) -> Vec<(u64, Rows)> {
        let mut all = self.told.iter().filter_map(|entry| match entry {
            Entry::Frame { i, rows, .. } => Some((*i, rows.clone())),
            _ => None,
        });
        let first = all.next().expect("a frame was sent");
        let origin = first.0;
        [first]
            .into_iter()
            .chain(all)
            .map(|(i, rows)| (i - origin, rows))
            .collect()
    }

    /// Losses between the first and the last frame, joined where they touch.
    fn losses(&self) -> Vec<(u64, u64)> {
        let indexes: Vec<u64> = self
            .told
            .iter()
            .filter_map(|entry| match entry {
                Entry::Frame { i, .. } => Some(*i),
                _ => None,
            })
            .collect();
        let (first, last) = (indexes[0], indexes[indexes.len() - 1]);
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for entry in &self.told {
            let Entry::Lost { from, len, .. } = entry else {
                continue;
            };
            match joined.last_mut() {
                Some((start, known)) if *start + *known + first == *from => *known += len,
                _ if (first..last).contains(from) => joined.push((*from - first, *len)),
                _ => {}
            }
        }
        joined
    }

    fn causes(&self) -> Vec<LossCause> {
        self.told
            .iter()
            .filter_map(|entry| match entry {
                Entry::Lost { cause, .. } => Some(*cause),
                _ => None,
            })
            .collect()
    }

    fn count(&self, wanted: fn(&Entry) -> bool) -> usize {
        self.told.iter().filter(|entry| wanted(entry)).count()
    }
}

#[test]
fn a_calm_visit_over_the_air_is_heard_sample_for_sample() {
    for device in ALL {
        let visit = visit(device, "", 10, 3);
        assert_eq!(visit.host.placed, visit.frames(), "{device}");
        assert_eq!(visit.host.gaps, [], "{device}");
        let values: std::collections::BTreeSet<i32> = visit
            .frames()
            .iter()
            .flat_map(|(_, rows)| rows[0].clone())
            .collect();
        assert!(values.len() > 10, "{device} shows a heart");
    }
}

#[test]
fn every_fault_of_rough_air_is_heard_as_the_ledger_tells_it() {
    for device in ALL {
        let visit = visit(device, ON_AIR, 40, 11);
        assert_eq!(visit.host.gaps, visit.losses(), "{device}");
        assert_eq!(visit.host.placed, visit.frames(), "{device}");
        let counts = visit.host.timeline.counts();
        let repeats = visit.count(|entry| matches!(entry, Entry::Repeat { .. }));
        // A packet that comes again from a stethoscope is dropped before it is a frame.
        let expected = match device {
            "ble-audio-packets" => (0, 1),
            _ => (u64::try_from(repeats).unwrap(), 1),
        };
        assert_eq!(
            (
                repeats,
                visit.count(|entry| matches!(entry, Entry::Garbage { .. }))
            ),
            (3, 1)
        );
        let found = (counts.repeated_frames, counts.late_frames);
        assert_eq!(found, expected, "{device}");
        for cause in [
            LossCause::Drop,
            LossCause::Corrupt,
            LossCause::Truncate,
            LossCause::Swap,
            LossCause::Coalesce,
        ] {
            assert!(visit.causes().contains(&cause), "{device} {cause:?}");
        }
        assert!(visit.count(|entry| matches!(entry, Entry::Stall { .. })) > 2);
    }
}

#[test]
fn a_device_that_was_out_of_reach_is_heard_on_with_a_gap_of_that_length() {
    let scenario = "[[fault]]\nkind = \"disconnect\"\nat = \"5s\"\nfor = \"3s\"\n";
    for device in ["polar-pmd", "movesense-gsp"] {
        let visit = visit(device, scenario, 20, 1);
        assert_eq!(visit.losses().len(), 1, "{device}");
        assert_eq!(visit.host.gaps, visit.losses(), "{device}");
        assert_eq!(visit.host.placed, visit.frames(), "{device}");
        assert!(visit.causes().contains(&LossCause::Disconnect));
        let closed = |entry: &Entry| {
            matches!(
                entry,
                Entry::Link {
                    state: LinkChange::Closed,
                    ..
                }
            )
        };
        assert_eq!(visit.count(closed), 1);
    }
}

#[test]
fn an_mtu_that_shrinks_stops_a_strap_and_splits_the_sound_of_a_stethoscope() {
    let scenario = "[[fault]]\nkind = \"mtu\"\nat = \"5s\"\nmtu = 100\n";
    let strap = visit("polar-pmd", scenario, 10, 1);
    assert!(strap.causes().contains(&LossCause::Mtu));
    let last = strap.frames().last().map(|(i, _)| *i);
    assert!(last < Some(5 * 130));
    for device in ["movesense-gsp", "ble-audio-packets"] {
        let visit = visit(device, &scenario.replace("100", "60"), 10, 1);
        assert_eq!(visit.host.placed, visit.frames(), "{device}");
        assert_eq!(visit.host.gaps, [], "{device}");
    }
}

#[test]
fn a_clock_that_jumps_loses_nothing_and_the_ledger_says_how_far() {
    for (back, by_ms) in [(false, 3_600_000), (true, -3_600_000)] {
        let scenario =
            format!("[[fault]]\nkind = \"clock-jump\"\nat = \"5s\"\nby = \"1h\"\nback = {back}\n");
        let visit = visit("polar-pmd", &scenario, 10, 1);
        let heard: Vec<&Rows> = visit.host.placed.iter().map(|(_, rows)| rows).collect();
        let sent = visit.frames();
        assert_eq!(heard, sent.iter().map(|(_, rows)| rows).collect::<Vec<_>>());
        assert_eq!(visit.host.gaps, [], "an hour is no gap");
        let told: Vec<i64> = visit
            .told
            .iter()
            .filter_map(|entry| match entry {
                Entry::Clock { by_ms, .. } => Some(*by_ms),
                _ => None,
            })
            .collect();
        assert_eq!(told, [by_ms]);
    }
}

#[test]
fn a_battery_that_is_nearly_empty_is_read_and_told() {
    let scenario = "[[fault]]\nkind = \"low-battery\"\nat = \"5s\"\npercent = 4\n\
                    [[fault]]\nkind = \"reboot\"\nat = \"8s\"\n";
    let visit = visit("polar-pmd", scenario, 15, 1);
    // Read when first connected, notified by the fault, read again behind the reboot.
    assert_eq!(visit.host.batteries, [80, 4, 4]);
    assert_eq!(
        visit.count(|entry| matches!(entry, Entry::Battery { percent: 4, .. })),
        1
    );
}

#[test]
fn firmware_that_refuses_commands_is_asked_again_until_it_does_as_it_is_told() {
    let scenario = "[[fault]]\nkind = \"errors\"\nat = \"2s\"\ncommands = 2\n\
                    [[fault]]\nkind = \"reboot\"\nat = \"3s\"\n";
    for device in ["polar-pmd", "movesense-gsp"] {
        let visit = visit(device, scenario, 25, 1);
        assert_eq!(
            visit.count(|entry| matches!(entry, Entry::Refused { .. })),
            2
        );
        let session = visit.host.session.unwrap();
        assert_eq!(session.state(), SessionState::Streaming, "{device}");
    }
}

#[test]
fn a_device_that_starts_anew_is_started_again_and_nothing_heard_is_false() {
    let scenario = "[[fault]]\nkind = \"reboot\"\nat = \"6s\"\n";
    for device in ALL {
        let visit = visit(device, scenario, 20, 1);
        let heard: Vec<&Rows> = visit.host.placed.iter().map(|(_, rows)| rows).collect();
        let sent = visit.frames();
        assert_eq!(
            heard,
            sent.iter().map(|(_, rows)| rows).collect::<Vec<_>>(),
            "{device}"
        );
        assert!(sent.last().unwrap().0 > 15 * u64::from(Device::by_name(device).unwrap().rate_hz));
    }
}

#[test]
fn refusals_end_and_a_serial_device_knows_nothing_of_characteristics() {
    let device = Device::by_name("polar-pmd").unwrap();
    let mut strap = player(&device, "", 1, 1);
    strap.refusals = 1;
    let to = cardio_protocol::gatt::polar_pmd::CONTROL;
    assert_eq!(strap.write(to, &[5], 0), Err(Refused));
    assert!(strap.write(to, &[5], 0).is_ok());
    let device = Device::by_name("bitalino").unwrap();
    let mut board = player(&device, "", 1, 1);
    assert_eq!(board.read(to), None);
}

/// All that was sent and all that was heard, in order, and the visit.
fn asked(scenario: &str, seconds: u64, seed: u64) -> (Vec<i32>, Vec<i32>, Visit) {
    let visit = visit("viatom-er1", scenario, seconds, seed);
    let rows = |all: &[(u64, Rows)]| all.iter().flat_map(|(_, rows)| rows[0].clone()).collect();
    (rows(&visit.frames()), rows(&visit.host.placed), visit)
}

#[test]
fn a_device_that_must_be_asked_tells_of_what_its_answers_carry_and_of_nothing_else() {
    let (sent, heard, calm) = asked("", 20, 3);
    assert_eq!(heard, sent);
    assert_eq!((calm.host.gaps.len(), calm.losses().len()), (0, 0));
    assert!(sent.len() > 19 * 125, "{}", sent.len());
    for (script, cause) in [
        ("kind = \"drop\"\nat = \"5s\"", LossCause::Drop),
        ("kind = \"corrupt\"\nat = \"5s\"", LossCause::Corrupt),
        (
            "kind = \"truncate\"\nat = \"5s\"\nbytes = 1",
            LossCause::Truncate,
        ),
        (
            "kind = \"stall\"\nat = \"5s\"\nfor = \"5s\"",
            LossCause::Overrun,
        ),
        (
            "kind = \"disconnect\"\nat = \"5s\"\nfor = \"3s\"",
            LossCause::Disconnect,
        ),
        ("kind = \"reboot\"\nat = \"5s\"", LossCause::NotStreaming),
    ] {
        let (sent, heard, visit) = asked(&format!("[[fault]]\n{script}\n"), 30, 3);
        assert_eq!(heard, sent, "{script}");
        assert!(
            visit.causes().contains(&cause),
            "{script} {:?}",
            visit.causes()
        );
        let lost: u64 = visit.losses().iter().map(|(_, len)| *len).sum();
        let found: u64 = visit.host.gaps.iter().map(|(_, len)| *len).sum();
        assert!(
            found.abs_diff(lost) <= 8,
            "{script}: {found} of {lost} samples"
        );
    }
}

#[test]
fn a_device_that_must_be_asked_and_does_not_answer_for_a_while_loses_nothing() {
    let script = "[[fault]]\nkind = \"stall\"\nat = \"5s\"\nfor = \"1s\"\n\
                  [[fault]]\nkind = \"errors\"\nat = \"10s\"\ncommands = 2\n\
                  [[fault]]\nkind = \"mtu\"\nat = \"14s\"\nmtu = 23\n\
                  [[fault]]\nkind = \"low-battery\"\nat = \"18s\"\npercent = 4\n";
    let (sent, heard, visit) = asked(script, 30, 3);
    assert_eq!(heard, sent);
    assert_eq!((visit.host.gaps.len(), visit.losses().len()), (0, 0));
    assert!(
        visit.host.batteries.ends_with(&[4]),
        "{:?}",
        visit.host.batteries
    );
    assert_eq!(
        visit.count(|entry| matches!(entry, Entry::Refused { .. })),
        2
    );
}

#[test]
fn the_skin_that_is_lost_is_told_in_the_device_s_own_count() {
    let script =
        "[[fault]]\nkind = \"electrode-off\"\nelectrode = \"R\"\nat = \"5s\"\nfor = \"2s\"\n";
    let (sent, heard, _) = asked(script, 12, 3);
    assert_eq!(heard, sent);
    assert_eq!(sent.iter().filter(|count| **count == 0x7FFF).count(), 250);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_script_over_the_air_is_heard_as_the_ledger_tells_it(
        device in proptest::sample::select(&ALL[..]),
        seed in any::<u64>(),
        drops in proptest::collection::vec((1_u64..18, 1_u64..8), 0..4),
        cuts in proptest::collection::vec(1_u64..18, 0..3),
        repeats in proptest::collection::vec((1_u64..18, 1_u64..4), 0..3),
        coalesced in proptest::collection::vec((1_u64..18, 1_u64..6), 0..3),
        burst in proptest::option::of((1_u64..16, 1_u64..5)),
    ) {
        let mut text = String::new();
        for (at, frames) in drops {
            text += &format!("[[fault]]\nkind = \"drop\"\nat = \"{at}s\"\nframes = {frames}\n");
        }
        for at in cuts {
            text += &format!("[[fault]]\nkind = \"truncate\"\nat = \"{at}.3s\"\nbytes = 1\n");
        }
        for (at, frames) in repeats {
            text += &format!("[[fault]]\nkind = \"repeat\"\nat = \"{at}.5s\"\nframes = {frames}\n");
        }
        for (at, frames) in coalesced {
            text += &format!("[[fault]]\nkind = \"coalesce\"\nat = \"{at}.7s\"\nframes = {frames}\n");
        }
        if let Some((at, frames)) = burst {
            text += &format!("[[fault]]\nkind = \"burst\"\nat = \"{at}.9s\"\nfor = \"2s\"\nframes = {frames}\n");
        }
        let visit = visit(device, &text, 20, seed);
        prop_assert_eq!(&visit.host.gaps, &visit.losses(), "{} {}", device, text);
        prop_assert_eq!(&visit.host.placed, &visit.frames(), "{} {}", device, text);
    }
}
