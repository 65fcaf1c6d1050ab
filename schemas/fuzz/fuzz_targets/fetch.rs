//! Recordings and lists that a sensor gives away: over SMP by wire and by radio, and the files of
//! Viatom and Movesense. The first byte chooses the reader.
#![no_main]

use cardio_fuzz::{MIB, NOW, within};
use cardio_core::clock::{ClockQuality, ClockReading, UtcMicros};
use cardio_protocol::gatt::movesense_gsp::logbook;
use cardio_protocol::gatt::viatom_er1::file_names;
use cardio_protocol::gatt::{self, GattAction, GattProfile, movesense_gsp};
use cardio_protocol::kept::KeptState;
use cardio_protocol::session::SessionTiming;
use cardio_protocol::smp_records::{Assembler, ConsoleReader, Fetcher, SmpMessage, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((reader, bytes)) = input.split_first() else {
        return;
    };
    within(128 * bytes.len() + MIB, || match reader % 8 {
        0 => by_wire(bytes),
        1 => by_radio(bytes),
        2 => messages(bytes),
        3 => {
            if let Ok(value) = Value::decode(bytes) {
                let mut again = Vec::new();
                value.write(&mut again);
                assert_eq!(Value::decode(&again), Ok(value));
            }
        }
        4 => pieces(bytes),
        place @ (5 | 6) => {
            let keeping: Vec<&GattProfile> = gatt::ALL.into_iter().filter(|one| one.kept.is_some()).collect();
            keep(keeping[usize::from(place) % keeping.len()], bytes);
        }
        _ => {
            let _ = (logbook(bytes), file_names(bytes));
        }
    });
});

fn by_wire(bytes: &[u8]) {
    let (mut reader, mut found) = (ConsoleReader::default(), Vec::new());
    reader.push(bytes, &mut found);
    fetch(found);
}

fn by_radio(bytes: &[u8]) {
    let mut joined = Assembler::default();
    fetch(values(bytes).filter_map(|value| joined.push(value)));
}

/// Bodies alone, so that no header need be guessed.
fn messages(bytes: &[u8]) {
    let template = SmpMessage::new(
        cardio_protocol::smp_records::Op::ReadAnswer,
        0x1000,
        4,
        0,
        &Value::Map(Vec::new()),
    );
    fetch(values(bytes).map(|body| SmpMessage {
        body: body.to_vec(),
        ..template.clone()
    }));
}

/// Answers a fetch that takes every message as the answer to its last question.
fn fetch(messages: impl IntoIterator<Item = SmpMessage>) {
    let mut fetcher = Fetcher::new(SessionTiming::default());
    let mut asked = fetcher.start(NOW);
    for mut message in messages {
        if let Some(question) = asked.last() {
            message.sequence = question.sequence;
        }
        asked = fetcher.on_message(&message, NOW);
        match fetcher.state() {
            KeptState::Offering(_) => asked = fetcher.want(NOW),
            KeptState::Holding(_) => {
                let fetched = fetcher.take();
                assert!(fetched.is_some(), "a recording that is held can be taken");
                asked = fetcher.stored(NOW);
            }
            _ => {}
        }
    }
}

fn pieces(bytes: &[u8]) {
    let mut log = movesense_gsp::LogFetch::new(1 << 16);
    for value in values(bytes) {
        if let Ok(piece) = movesense_gsp::LogPiece::decode(value) {
            log.push(&piece);
        }
        let _ = log.holes();
    }
    let _ = log.finish();
}

/// A device that keeps recordings says anything; the numbers of its answers are those that
/// the box waits for, where they stand at their usual place.
fn keep(profile: &GattProfile, bytes: &[u8]) {
    let Some(session) = profile.kept else {
        return;
    };
    let (mut session, mut asides) = (session(SessionTiming::default()), Vec::new());
    let own = profile.services.iter().flat_map(|service| service.characteristics);
    let Some(from) = own.last().map(|characteristic| characteristic.uuid) else {
        return;
    };
    let now = ClockReading {
        box_instant: NOW,
        utc: UtcMicros(0),
        quality: ClockQuality::Unsynchronised,
    };
    let mut number = number_of(&session.start(now));
    for value in values(bytes) {
        let mut value = value.to_vec();
        for (place, number) in [(1, number), (4, number)] {
            if value.first() == Some(&(if place == 1 { 2 } else { 0xA5 }))
                && let Some(slot) = value.get_mut(place)
            {
                *slot = number;
            }
        }
        let mut next = session.on_value(from, &value, NOW, &mut asides);
        match session.state() {
            KeptState::Offering(_) => next.extend(session.want(NOW)),
            KeptState::Holding(_) => {
                let _ = session.take();
                next.extend(session.leave(NOW));
            }
            _ => {}
        }
        if !next.is_empty() {
            number = number_of(&next);
        }
        asides.clear();
    }
}

/// The second byte of the last thing written: Movesense's reference; Viatom's stands fifth.
fn number_of(actions: &[GattAction]) -> u8 {
    let written = actions.iter().rev().find_map(|action| match action {
        GattAction::Write { value, .. } => Some(value),
        _ => None,
    });
    let Some(value) = written else { return 0 };
    let place = if value.first() == Some(&0xA5) { 4 } else { 1 };
    value.get(place).copied().unwrap_or(0)
}

/// The input as values: a length byte before each.
fn values(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first()?;
        let (value, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bytes = rest;
        Some(value)
    })
}
