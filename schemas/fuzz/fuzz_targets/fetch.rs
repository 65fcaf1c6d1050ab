//! Recordings and lists that a sensor gives away: over SMP by wire and by radio, and the files of
//! Viatom and Movesense. The first byte chooses the reader.
#![no_main]

use cardio_fuzz::{MIB, NOW, within};
use cardio_protocol::gatt::movesense_gsp::{Sbem, logbook};
use cardio_protocol::gatt::viatom_er1::{FileFetch, ViatomFrame, file_names};
use cardio_protocol::gatt::{movesense_gsp, viatom_er1};
use cardio_protocol::session::SessionTiming;
use cardio_protocol::smp_records::{
    Assembler, ConsoleReader, FetchState, Fetcher, SmpMessage, Value,
};
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
        4 => {
            if let Ok(log) = Sbem::decode(bytes) {
                let _ = (log.ecg(), log.times());
            }
        }
        5 => pieces(bytes),
        6 => viatom(bytes),
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
        if let FetchState::Holding(id) = *fetcher.state() {
            let fetched = fetcher
                .take()
                .expect("a recording that is held can be taken");
            assert_eq!(fetched.header.id, id);
            asked = fetcher.stored(id, NOW);
        }
    }
}

fn pieces(bytes: &[u8]) {
    let mut log = movesense_gsp::LogFetch::new(1 << 16);
    for value in values(bytes) {
        if let Ok(piece) = movesense_gsp::LogPiece::decode(value) {
            log.push(piece);
        }
        let _ = log.holes();
    }
    if let Some(whole) = log.finish() {
        let _ = Sbem::decode(&whole);
    }
}

fn viatom(bytes: &[u8]) {
    let mut frames: Vec<ViatomFrame> = Vec::new();
    let mut joined = viatom_er1::Assembler::default();
    let mut file = FileFetch::new("a", Vec::new());
    file.open();
    for value in values(bytes) {
        joined.push(value, &mut frames);
        for frame in frames.drain(..) {
            let _ = file.on_frame(&frame);
        }
    }
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
