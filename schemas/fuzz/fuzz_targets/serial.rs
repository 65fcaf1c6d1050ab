//! Sensors on a serial line: any bytes, split anywhere, give the same frames; decoder, session
//! and recogniser keep little.
#![no_main]

use cardio_fuzz::{MIB, NOW, within};
use cardio_protocol::decoder::DecoderEvent;
use cardio_protocol::profile::{self, Profile};
use cardio_protocol::recognise::Recogniser;
use cardio_protocol::session::SessionTiming;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [which, piece, stream @ ..] = bytes else {
        return;
    };
    let profile = profile::ALL[usize::from(*which) % profile::ALL.len()];
    let piece = usize::from(*piece).max(1);
    let at_once = within(128 * stream.len() + MIB, || {
        let mut events = Vec::new();
        (profile.decoder)().push(stream, &mut events);
        frames(&events)
    });
    let in_pieces = within(128 * stream.len() + MIB, || {
        converse(profile, stream, piece)
    });
    assert!(
        at_once == in_pieces,
        "where bytes are split changes a frame"
    );
});

/// Reads a stream as the box does; answers its frames.
fn converse(profile: &'static Profile, stream: &[u8], piece: usize) -> Vec<DecoderEvent> {
    let mut decoder = (profile.decoder)();
    let mut session = (profile.session)(SessionTiming::default());
    let mut recogniser = Recogniser::new(profile);
    let (mut all, mut now) = (Vec::new(), NOW);
    session.start(now);
    for part in stream.chunks(piece) {
        let mut events = Vec::new();
        decoder.push(part, &mut events);
        now = now.plus_micros(50_000);
        recogniser.note(part, &events, now);
        for event in &events {
            session.on_event(event, now);
        }
        session.on_tick(now);
        all.extend(frames(&events));
    }
    session.stop();
    all
}

fn frames(events: &[DecoderEvent]) -> Vec<DecoderEvent> {
    let frames = events.iter();
    let frames = frames.filter(|event| matches!(event, DecoderEvent::Frame(_)));
    frames.cloned().collect()
}
