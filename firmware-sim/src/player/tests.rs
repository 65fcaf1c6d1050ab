use super::{Line, Next, Outgoing, Pacing, Player};
use crate::device::Device;
use crate::faults::FaultPlan;
use crate::ledger::{EndReason, Entry, LossCause};
use crate::scenario::Scenario;
use crate::source::SynthSource;
use cardio_core::clock::BoxInstant;
use cardio_core::device::IntegrityClass;
use cardio_core::ids::BootId;
use cardio_core::index::SampleIndex;
use cardio_core::timeline::{Placement, Timeline};
use cardio_protocol::decoder::DecoderEvent;
use cardio_protocol::profile::{Profile, by_name};

use proptest::prelude::*;

const OPEN: Line = Line {
    heard: true,
    right_speed: true,
};
const TICK_US: u64 = 4_000;

fn player(device: &str, scenario: &str, seconds: u64, seed: u64) -> Player {
    let device = Device::by_name(device).unwrap();
    let scenario = Scenario::from_toml("test", scenario).unwrap();
    let leads = vec![Some(cardio_core::lead::Lead::II); device.waves.len()];
    let source = SynthSource::new(scenario.synth(seed, device.rate()), &leads);
    let pacing = Pacing {
        speed: 1.0,
        clock_ppm: 0.0,
        samples: seconds * u64::from(device.rate_hz),
    };
    let plan = FaultPlan::new(&scenario, &device, seed);
    Player::new(
        device,
        Box::new(source),
        vec![true; leads.len()],
        plan,
        pacing,
    )
}

/// Plays to the end with a host that listens all the time; everything with its instant.
fn run(player: &mut Player) -> (Vec<(u64, Outgoing)>, EndReason) {
    let mut all = Vec::new();
    player.on_bytes(start_command(player), 0, OPEN);
    for tick in 0.. {
        let now = tick * TICK_US;
        let next = player.poll(now, OPEN);
        all.extend(player.take_out().into_iter().map(|out| (now, out)));
        if let Next::Ended(reason) = next {
            return (all, reason);
        }
        assert!(tick < 1_000_000, "the visit ends");
    }
    unreachable!()
}

/// What makes a device stream.
fn start_command(player: &Player) -> &'static [u8] {
    match player.device.name {
        "openbci-cyton" => b"svb",
        "bioharness" => &[0x02, 0x16, 0x01, 0x01, 0x5E, 0x03],
        "bitalino" => &[0x09],
        _ => &[],
    }
}

/// What a box makes of it: runs of rows with the index of their first sample, and gaps.
struct Heard {
    placed: Vec<(u64, Vec<Vec<i32>>)>,
    gaps: Vec<(u64, u64)>,
    repeated: u64,
    late: u64,
}

fn hear(profile: &Profile, sent: &[(u64, Outgoing)]) -> Heard {
    let mut decoder = (profile.decoder)();
    let mut timeline = Timeline::new(
        profile.rate(),
        profile.integrity,
        profile.modulus,
        SampleIndex(0),
    );
    let mut heard = Heard {
        placed: Vec::new(),
        gaps: Vec::new(),
        repeated: 0,
        late: 0,
    };
    for (now, out) in sent {
        let arrival = BoxInstant {
            boot: BootId([1; 16]),
            micros: *now,
        };
        let mut events = Vec::new();
        decoder.push(&out.bytes, &mut events);
        for event in events {
            let DecoderEvent::Frame(frame) = event else {
                continue;
            };
            let seq = frame.seq.map(|seq| seq.0);
            if let Placement::Block { first, gap } =
                timeline.place(seq, frame.rows.per_lead(), arrival)
            {
                heard.gaps.extend(gap.map(|gap| (gap.from.0, gap.len.0)));
                let rows = frame.rows.rows().map(<[i32]>::to_vec).collect();
                heard.placed.push((first.0, rows));
            }
        }
    }
    heard.repeated = timeline.counts().repeated_frames;
    heard.late = timeline.counts().late_frames;
    heard
}

fn frames(sent: &[(u64, Outgoing)]) -> Vec<(u64, Vec<Vec<i32>>)> {
    sent.iter()
        .filter_map(|(_, out)| match &out.entry {
            Some(Entry::Frame { i, rows, .. }) => Some((*i, rows.clone())),
            _ => None,
        })
        .collect()
}

/// Losses between the first and the last frame that was sent, joined where they touch.
fn losses(sent: &[(u64, Outgoing)]) -> Vec<(u64, u64)> {
    let last = frames(sent).last().map_or(0, |(i, _)| *i);
    let lost = sent.iter().filter_map(|(_, out)| match &out.entry {
        Some(Entry::Lost { from, len, .. }) if *from < last => Some((*from, *len)),
        _ => None,
    });
    joined(lost.collect())
}

/// Frames that a Cyton's listener cannot believe: their number has moved on far, and what
/// follows directly is no other frame.
fn unproved(sent: &[(u64, Outgoing)]) -> Vec<u64> {
    let mut all = Vec::new();
    let mut before: Option<u64> = None;
    for (place, (_, out)) in sent.iter().enumerate() {
        let Some(Entry::Frame { i, .. }) = &out.entry else {
            continue;
        };
        let moved = before.map_or(1, |before| (i - before) % 256);
        let mut behind = sent[place + 1..].iter().flat_map(|(_, out)| &out.bytes);
        if !(1..=64).contains(&moved) && behind.next() != Some(&0xA0) {
            all.push(*i);
        } else {
            before = Some(*i);
        }
    }
    all
}

/// Stretches in their order, joined where they touch.
fn joined(mut stretches: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    stretches.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, len) in stretches {
        match joined.last_mut() {
            Some((start, known)) if *start + *known == from => *known += len,
            _ => joined.push((from, len)),
        }
    }
    joined
}

fn causes(sent: &[(u64, Outgoing)]) -> Vec<LossCause> {
    sent.iter()
        .filter_map(|(_, out)| match &out.entry {
            Some(Entry::Lost { cause, .. }) => Some(*cause),
            _ => None,
        })
        .collect()
}

const ROUGH: &str = include_str!("../../scenarios/rough-line.toml");
const DROPOUTS: &str = include_str!("../../scenarios/dropouts.toml");

#[test]
fn a_calm_visit_is_heard_sample_for_sample() {
    for device in cardio_protocol::profile::ALL.map(|profile| profile.name) {
        let (sent, reason) = run(&mut player(device, "", 10, 3));
        assert_eq!(reason, EndReason::Duration);
        let heard = hear(by_name(device).unwrap(), &sent);
        let mut told = frames(&sent);
        // what proves its last frame would come behind it
        if device == "bitalino" {
            told.pop();
        }
        assert_eq!(heard.placed, told, "{device}");
        assert_eq!(heard.gaps, []);
        let values: std::collections::BTreeSet<i32> =
            frames(&sent).iter().map(|(_, rows)| rows[0][0]).collect();
        assert!(values.len() > 10, "{device} shows a heart");
    }
}

#[test]
fn every_fault_of_a_rough_line_is_heard_as_the_ledger_tells_it() {
    let profile = by_name("openbci-cyton").unwrap();
    for (name, scenario) in [("rough-line", ROUGH), ("dropouts", DROPOUTS)] {
        let (sent, _) = run(&mut player("openbci-cyton", scenario, 30, 11));
        let heard = hear(profile, &sent);
        assert_eq!(heard.placed, frames(&sent), "{name}");
        assert_eq!(heard.gaps, losses(&sent), "{name}");
        let repeats = sent
            .iter()
            .filter(|(_, out)| matches!(out.entry, Some(Entry::Repeat { .. })))
            .count();
        assert_eq!(heard.repeated, u64::try_from(repeats).unwrap(), "{name}");
        let swaps = causes(&sent)
            .iter()
            .filter(|cause| **cause == LossCause::Swap)
            .count();
        assert_eq!(heard.late, u64::try_from(swaps).unwrap(), "{name}");
        assert!(!heard.gaps.is_empty(), "{name}");
    }
}

#[test]
fn a_loss_without_a_counter_is_heard_within_its_uncertainty() {
    let profile = by_name("protocentral-openview").unwrap();
    assert_eq!(profile.integrity, IntegrityClass::Uncounted);
    let scenario = "[[fault]]\nkind = \"drop\"\nat = \"10s\"\nframes = 5\n";
    let (sent, _) = run(&mut player("protocentral-openview", scenario, 30, 1));
    let heard = hear(profile, &sent);
    assert_eq!(heard.gaps.len(), 1);
    let (from, len) = heard.gaps[0];
    assert_eq!(len, 40);
    assert!((1280..1280 + 192).contains(&from), "{from}");
}

#[test]
fn an_electrode_that_is_off_holds_its_lead_at_the_rail() {
    let scenario =
        "[[fault]]\nkind = \"electrode-off\"\nelectrode = \"C3\"\nat = \"2s\"\nfor = \"1s\"\n";
    let (sent, _) = run(&mut player("openbci-cyton", scenario, 5, 1));
    for (i, rows) in frames(&sent) {
        assert_eq!(
            rows[4][0] == 8_388_607,
            (500..750).contains(&i),
            "sample {i}"
        );
        assert_ne!(rows[3][0], 8_388_607);
    }
    let told = sent.iter().any(|(_, out)| matches!(&out.entry, Some(Entry::Signal { subject, from: 500, len: 250, .. }) if subject == "C3"));
    assert!(told);
}

#[test]
fn the_heart_goes_on_while_nobody_listens_and_the_board_obeys_its_commands() {
    let mut player = player("openbci-cyton", "", 30, 1);
    assert_eq!(player.poll(0, OPEN), Next::Idle);
    player.on_bytes(b"b", 0, OPEN);
    player.poll(0, OPEN);
    player.poll(1_000_000, OPEN);
    let deaf = Line {
        heard: false,
        right_speed: true,
    };
    player.poll(2_000_000, deaf);
    player.on_bytes(b"s", 2_000_000, OPEN);
    player.poll(3_000_000, OPEN);
    player.on_bytes(b"vb", 3_000_000, OPEN);
    player.poll(4_000_000, OPEN);
    let sent: Vec<(u64, Outgoing)> = player.take_out().into_iter().map(|out| (0, out)).collect();
    assert_eq!(losses(&sent), [(250, 500)]);
    assert_eq!(
        causes(&sent),
        [LossCause::PortClosed, LossCause::NotStreaming]
    );
    let seqs: Vec<u32> = sent
        .iter()
        .filter_map(|(_, out)| match out.entry {
            Some(Entry::Frame {
                i: 0 | 249 | 750,
                seq,
                ..
            }) => seq,
            _ => None,
        })
        .collect();
    assert_eq!(seqs, [0, 249, 0]);
}

#[test]
fn at_another_speed_nothing_can_be_read() {
    let mut player = player("protocentral-openview", "", 5, 1);
    let wrong = Line {
        heard: true,
        right_speed: false,
    };
    player.poll(0, wrong);
    player.poll(5_100_000, wrong);
    let sent: Vec<(u64, Outgoing)> = player.take_out().into_iter().map(|out| (0, out)).collect();
    assert_eq!(frames(&sent), []);
    assert_eq!(causes(&sent), [LossCause::WrongSpeed]);
    let bytes: usize = sent.iter().map(|(_, out)| out.bytes.len()).sum();
    assert_eq!(bytes, 57 * 16 * 5);
}

#[test]
fn an_unplugged_device_is_gone_and_starts_anew() {
    let scenario = "[[fault]]\nkind = \"unplug\"\nat = \"2s\"\nfor = \"1s\"\n";
    let mut player = player("openbci-cyton", scenario, 10, 1);
    player.on_bytes(b"b", 0, OPEN);
    player.poll(0, OPEN);
    player.poll(1_990_000, OPEN);
    assert!(!player.is_unplugged());
    player.poll(2_500_000, OPEN);
    assert!(player.is_unplugged());
    player.poll(3_500_000, OPEN);
    assert!(!player.is_unplugged());
    player.on_bytes(b"b", 3_500_000, OPEN);
    player.poll(4_000_000, OPEN);
    let sent: Vec<(u64, Outgoing)> = player.take_out().into_iter().map(|out| (0, out)).collect();
    assert_eq!(losses(&sent), [(500, 375)]);
    assert_eq!(causes(&sent), [LossCause::Unplug, LossCause::NotStreaming]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    // Losses of less than a turn of the counter, which it proves alone. Whole turns are told by
    // time; a delay just before can hide them for some seconds (the time line's own tests).
    #[test]
    fn any_script_of_faults_is_heard_as_the_ledger_tells_it(
        seed in any::<u64>(),
        drops in proptest::collection::vec((1_u64..18, 1_u64..256), 0..4),
        corrupt in proptest::collection::vec(1_u64..18, 0..3),
        repeats in proptest::collection::vec((1_u64..18, 1_u64..6), 0..3),
        garbage in proptest::collection::vec((1_u64..18, 1_usize..90), 0..3),
        stall in proptest::option::of(1_u64..18),
        per_min in 0_u8..40,
    ) {
        let mut text = format!("[random]\ndrops_per_min = {per_min}\ndrop_frames_max = 20\n");
        for (at, frames) in drops {
            text += &format!("[[fault]]\nkind = \"drop\"\nat = \"{at}s\"\nframes = {frames}\n");
        }
        for at in corrupt {
            text += &format!("[[fault]]\nkind = \"corrupt\"\nat = \"{at}.3s\"\n");
        }
        for (at, frames) in repeats {
            text += &format!("[[fault]]\nkind = \"repeat\"\nat = \"{at}.5s\"\nframes = {frames}\n");
        }
        for (at, bytes) in garbage {
            text += &format!("[[fault]]\nkind = \"garbage\"\nat = \"{at}.7s\"\nbytes = {bytes}\n");
        }
        if let Some(at) = stall {
            text += &format!("[[fault]]\nkind = \"stall\"\nat = \"{at}.9s\"\nfor = \"500ms\"\n");
        }
        let (sent, _) = run(&mut player("openbci-cyton", &text, 20, seed));
        let heard = hear(by_name("openbci-cyton").unwrap(), &sent);
        // A listener counts from the first frame whose successor follows it, which is what
        // proves that it is one: what was lost before is no gap.
        let all = frames(&sent);
        let proved = all.windows(2).find(|pair| pair[0].0 + 1 == pair[1].0);
        let first = proved.map_or(0, |pair| pair[0].0);
        let unproved = unproved(&sent);
        let lost = losses(&sent).into_iter().chain(unproved.iter().map(|i| (*i, 1)));
        let lost = joined(lost.collect());
        // two drops that touch may make a whole turn
        prop_assume!(lost.iter().all(|(_, len)| *len < 256));
        let gaps: Vec<(u64, u64)> = lost
            .into_iter()
            .filter(|(from, _)| *from >= first)
            .map(|(from, len)| (from - first, len))
            .collect();
        let placed: Vec<(u64, Vec<Vec<i32>>)> = all
            .into_iter()
            .filter(|(i, _)| *i >= first && !unproved.contains(i))
            .map(|(i, rows)| (i - first, rows))
            .collect();
        prop_assert_eq!(heard.gaps, gaps, "{}", text);
        prop_assert_eq!(heard.placed, placed, "{}", text);
    }
}
