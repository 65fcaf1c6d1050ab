//! What sensors send: streams of serial devices, conversations over radio, recordings fetched.

use cardio_core::clock::{ClockQuality, ClockReading, UtcMicros};
use cardio_fuzz::{NOW, characteristics};
use cardio_protocol::capture::{CaptureEntry, CaptureEvent, CaptureHead};
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::{self, GattAction, GattProfile, Notification, Uuid};
use cardio_protocol::profile;
use cardio_protocol::session::SessionTiming;
use cardio_protocol::kept::KeptState;
use cardio_protocol::smp_records::{Fetcher, RecordsPeripheral, SmpMessage, console_frames};

use crate::{Seed, seed};

/// Seeds of the targets `serial`, `gatt` and `fetch`.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds = serial();
    for (at, profile) in gatt::ALL.into_iter().enumerate() {
        seeds.push(seed("gatt", profile.name, conversation(at, profile)));
    }
    seeds.extend(fetched());
    seeds.extend(captured());
    seeds
}

/// A log with an entry of every kind: as it is written, and as bodies without checksums.
fn captured() -> [Seed; 2] {
    let head = CaptureHead {
        began: ClockReading {
            box_instant: NOW,
            utc: UtcMicros(1),
            quality: ClockQuality::Unsynchronised,
        },
        profile: "openbci-cyton".to_owned(),
        writer: "seed".to_owned(),
        leads: vec!["I".to_owned(), "-".to_owned()],
        silent_after_ms: 3_000,
        resume_within_ms: 600_000,
        rate_hz: None,
    };
    let (uuid, value) = (Uuid::short(0x2A37), vec![0x16, 0x48]);
    let code = "serial.unplugged".to_owned();
    let via = "port".to_owned();
    let from = uuid;
    let asked = [
        GattAction::Subscribe(uuid),
        GattAction::Read(uuid),
        GattAction::Write {
            to: uuid,
            value: value.clone(),
            with_response: true,
        },
    ];
    let mut events = vec![
        CaptureEvent::Connected { via },
        CaptureEvent::Said(b"b".to_vec()),
        CaptureEvent::Heard(vec![0xA0, 1, 0xC0]),
    ];
    events.extend(asked.map(CaptureEvent::Asked));
    let said = value.clone();
    events.extend([
        CaptureEvent::Value { from, value },
        CaptureEvent::Answer { from, value: said },
        CaptureEvent::Crowded { values: 3 },
        CaptureEvent::Closed { code },
        CaptureEvent::Ended,
    ]);
    let (mut log, mut bodies) = (vec![7], vec![0x87]);
    let begun = head.encode(&mut log);
    begun.expect("a short head fits");
    let mut items = vec![log.get(9..).unwrap_or_default().to_vec()];
    for (at_us, event) in (2_000_000..).zip(events) {
        let mut item = Vec::new();
        let entry = CaptureEntry { at_us, event };
        entry.encode(&mut item).expect("a short entry fits");
        log.extend(&item);
        items.push(item);
    }
    for item in items {
        let body = item.get(6..).unwrap_or_default();
        bodies.push(small(body.len()));
        bodies.extend(body);
    }
    [
        seed("capture", "log", log),
        seed("capture", "bodies", bodies),
    ]
}

fn serial() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (at, profile) in profile::ALL.into_iter().enumerate() {
        let (mut commands, mut device) = (Vec::new(), (profile.peripheral)());
        let asked = (profile.session)(SessionTiming::default()).start(NOW);
        let mut bytes = vec![small(at), 7];
        device.on_bytes(&asked, &mut bytes, &mut commands);
        let mut encoder = (profile.encoder)();
        for step in 0..8 {
            encoder.frame(
                &rows(profile.samples_per_frame, profile.waves.len(), step),
                &mut bytes,
            );
        }
        seeds.push(seed("serial", profile.name, bytes));
    }
    seeds
}

fn rows(per_lead: usize, leads: usize, step: i32) -> FrameRows {
    FrameRows::planar(per_lead, &vec![step; per_lead * leads])
}

/// What a device says until box and device are quiet, and a few frames.
fn conversation(at: usize, profile: &GattProfile) -> Vec<u8> {
    let places = characteristics(profile);
    let mut bytes = vec![small(at)];
    let Some(session) = profile.session else {
        return bytes;
    };
    let mut session = session(SessionTiming::default());
    let mut device = (profile.peripheral)();
    let said = |said: &Notification, bytes: &mut Vec<u8>| {
        if let Some(place) = places.iter().position(|uuid: &Uuid| *uuid == said.from) {
            bytes.extend([small(place), small(said.value.len())]);
            bytes.extend(said.value.iter().take(255));
        }
    };
    let mut actions = session.start(NOW);
    while !actions.is_empty() {
        let mut sent = Vec::new();
        for action in std::mem::take(&mut actions) {
            device.obey(action, &mut sent);
        }
        for one in sent {
            said(&one, &mut bytes);
            actions.extend(session.on_value(one.from, &one.value, NOW, &mut Vec::new()));
        }
    }
    if let Some(signal) = profile.signal {
        let mut sent = Vec::new();
        for step in 0..4 {
            device.frame(
                &rows(signal.samples_per_frame, signal.waves.len(), step),
                &mut sent,
            );
        }
        sent.iter().for_each(|one| said(one, &mut bytes));
    }
    bytes
}

/// A device with two recordings is asked for them; its answers by wire, by radio, as bodies.
fn fetched() -> Vec<Seed> {
    let mut device = RecordsPeripheral::default();
    device.keep(1, vec![7; 90]);
    device.keep(2, (0..=255).collect());
    let mut fetcher = Fetcher::new(SessionTiming::default());
    let mut answers: Vec<SmpMessage> = Vec::new();
    let mut asked = fetcher.start(NOW);
    while let Some(question) = asked.pop() {
        let answer = device.answer(&question);
        asked = fetcher.on_message(&answer, NOW);
        match fetcher.state() {
            KeptState::Offering(_) => asked = fetcher.want(NOW),
            KeptState::Holding(_) => asked = fetcher.stored(NOW),
            _ => {}
        }
        if matches!(fetcher.state(), KeptState::Offering(_)) {
            asked = fetcher.want(NOW);
        }
        answers.push(answer);
    }
    let mut seeds = vec![];
    let (mut wire, mut radio, mut bodies) = (vec![0], vec![1], vec![2]);
    for answer in &answers {
        wire.extend(console_frames(answer));
        values(&answer.encode(), &mut radio);
        values(&answer.body, &mut bodies);
        let name = format!("value-{}", seeds.len());
        seeds.push(seed(
            "fetch",
            &name,
            [&[3], answer.body.as_slice()].concat(),
        ));
    }
    seeds.push(seed("fetch", "smp-wire", wire));
    seeds.push(seed("fetch", "smp-radio", radio));
    seeds.push(seed("fetch", "smp-bodies", bodies));
    seeds.push(seed(
        "fetch",
        "pieces",
        b"\x04\x08\0\0\0\0SBEM\x04\x04\0\0\0".to_vec(),
    ));
    seeds.push(seed(
        "fetch",
        "viatom",
        b"\x06\x08\xA5\xF2\x0D\x01\x01\0\0\0".to_vec(),
    ));
    seeds.push(seed(
        "fetch",
        "lists",
        [b"\x07\0".as_slice(), &[1; 32]].concat(),
    ));
    seeds
}

/// Bytes as values of at most 255 bytes, each behind its length.
fn values(bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.chunks(244) {
        out.push(small(part.len()));
        out.extend(part);
    }
}

fn small(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
