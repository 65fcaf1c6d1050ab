//! Every profile against streams that were damaged by chance, seeded and repeatable: no
//! panic, nothing invented in bulk, and a clean stream behind the damage is found again.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what fails in a helper of a test fails the test"
)]

use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_protocol::decoder::{DecoderEvent, FrameRows};
use cardio_protocol::gatt::{self, GattAction, GattPeripheral, GattProfile, GattSession};
use cardio_protocol::profile::{self, Profile};
use cardio_protocol::session::SessionTiming;

/// Scripts of damage per profile.
const SCRIPTS: u64 = 300;

/// A small generator (xorshift64*): the same numbers everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap();
        usize::try_from(self.next() % limit).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

fn at(millis: u64) -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros: millis * 1000,
    }
}

fn rows(leads: usize, per_lead: usize, chance: &mut Chance) -> FrameRows {
    let samples: Vec<i32> = (0..leads * per_lead)
        .map(|_| i32::try_from(chance.below(400)).unwrap() - 200)
        .collect();
    FrameRows::planar(per_lead, &samples)
}

fn stream(profile: &Profile, frames: usize, chance: &mut Chance) -> Vec<u8> {
    let mut encoder = (profile.encoder)();
    let mut bytes = Vec::new();
    for _ in 0..frames {
        let rows = rows(profile.waves.len(), profile.samples_per_frame, chance);
        encoder.frame(&rows, &mut bytes);
    }
    bytes
}

/// Flips, removes, repeats and inserts bytes.
fn damage(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..chance.below(12) {
        let place = chance.below(bytes.len());
        let len = chance.below(40).min(bytes.len() - place);
        match chance.below(4) {
            0 if !bytes.is_empty() => bytes[place] ^= 1 << chance.below(8),
            1 => {
                bytes.drain(place..place + len);
            }
            2 => {
                let again = bytes[place..place + len].to_vec();
                bytes.splice(place..place, again);
            }
            _ => {
                let noise = chance.bytes(len);
                bytes.splice(place..place, noise);
            }
        }
    }
}

fn frames_of(events: &[DecoderEvent]) -> usize {
    let is_frame = |event: &&DecoderEvent| matches!(event, DecoderEvent::Frame(_));
    events.iter().filter(is_frame).count()
}

#[test]
fn a_damaged_stream_is_read_without_panic_and_found_again_behind_the_damage() {
    for profile in profile::ALL {
        for seed in 1..=SCRIPTS {
            let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut bytes = stream(profile, 24, &mut chance);
            damage(&mut bytes, &mut chance);
            let clean = stream(profile, 24, &mut chance);
            let mut decoder = (profile.decoder)();
            let mut events = Vec::new();
            while !bytes.is_empty() {
                let len = 1 + chance.below(bytes.len().min(90));
                decoder.push(&bytes[..len], &mut events);
                bytes.drain(..len);
            }
            events.clear();
            decoder.push(&clean, &mut events);
            let found = frames_of(&events);
            // The frames that the damage may still hold on to, and those that confirm.
            assert!(found >= 16, "{} seed {seed}: {found}", profile.name);
        }
    }
}

#[test]
fn conversations_on_a_serial_line_survive_any_bytes() {
    for profile in profile::ALL {
        for seed in 1..=SCRIPTS {
            let mut chance = Chance(seed);
            let mut session = (profile.session)(SessionTiming::default());
            let mut device = (profile.peripheral)();
            let mut decoder = (profile.decoder)();
            let (mut answer, mut commands) = (session.start(at(0)), Vec::new());
            for step in 0..20 {
                let noise = chance.below(30);
                answer.extend(chance.bytes(noise));
                let mut events = Vec::new();
                decoder.push(&answer, &mut events);
                answer.clear();
                for event in &events {
                    let send = session.on_event(event, at(step * 300));
                    device.on_bytes(&send, &mut answer, &mut commands);
                }
                let send = session.on_tick(at(step * 300));
                device.on_bytes(&send, &mut answer, &mut commands);
                let noise = chance.below(30);
                let noise = chance.bytes(noise);
                device.on_bytes(&noise, &mut answer, &mut commands);
            }
            assert!(answer.len() < 10_000, "{} seed {seed}", profile.name);
        }
    }
}

fn act(
    actions: Vec<GattAction>,
    device: &mut dyn GattPeripheral,
    session: &mut dyn GattSession,
    now: BoxInstant,
    events: &mut Vec<DecoderEvent>,
) -> usize {
    let mut waiting = std::collections::VecDeque::from(actions);
    let mut done = 0;
    while let Some(action) = waiting.pop_front() {
        done += 1;
        assert!(done < 1000, "a conversation without end");
        let mut sent = Vec::new();
        device.obey(action, &mut sent);
        for value in sent {
            waiting.extend(session.on_value(value.from, &value.value, now, events));
        }
    }
    done
}

fn hostile_visit(profile: &GattProfile, chance: &mut Chance) {
    let Some(session) = profile.session else {
        return;
    };
    let mut session = session(SessionTiming::default());
    let mut device = (profile.peripheral)();
    let mut events = Vec::new();
    let actions = session.start(at(0));
    act(actions, &mut *device, &mut *session, at(0), &mut events);
    let characteristics: Vec<_> = profile
        .services
        .iter()
        .flat_map(|service| service.characteristics)
        .map(|characteristic| characteristic.uuid)
        .collect();
    for step in 1..30_u64 {
        let now = at(step * 400);
        let mut sent = Vec::new();
        if let Some(signal) = profile.signal {
            let rows = rows(signal.waves.len(), signal.samples_per_frame, chance);
            device.frame(&rows, &mut sent);
        }
        for mut value in sent {
            match chance.below(6) {
                0 => continue,
                1 => damage(&mut value.value, chance),
                2 => value.value.truncate(chance.below(value.value.len())),
                _ => {}
            }
            let actions = session.on_value(value.from, &value.value, now, &mut events);
            act(actions, &mut *device, &mut *session, now, &mut events);
        }
        let place = characteristics[chance.below(characteristics.len())];
        let len = chance.below(60);
        let noise = chance.bytes(len);
        let actions = session.on_value(place, &noise, now, &mut events);
        act(actions, &mut *device, &mut *session, now, &mut events);
        device.write(place, &noise, &mut Vec::new());
        let actions = session.on_tick(now);
        act(actions, &mut *device, &mut *session, now, &mut events);
    }
    let stop = session.stop();
    act(stop, &mut *device, &mut *session, at(20_000), &mut events);
    assert!(events.len() < 2000, "{}", profile.name);
}

#[test]
fn conversations_over_the_air_survive_lost_damaged_and_invented_values() {
    for profile in gatt::ALL {
        for seed in 1..=SCRIPTS {
            hostile_visit(profile, &mut Chance(seed.wrapping_mul(77)));
        }
    }
}
