//! Decoders take no memory per sample: a short frame holds its samples itself, a long one has them
//! in one piece, and buffers are kept.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests stop the test that they cannot serve"
)]

use std::collections::VecDeque;

use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt;
use cardio_protocol::profile::{self, Profile};
use cardio_protocol::session::SessionTiming;

/// Samples that a frame holds without a piece of memory of its own.
const SHORT: usize = 8;
/// Pieces that a long frame takes, however long: its samples, and what they are put together in.
const PIECES: u64 = 4;
/// Times that buffers grow until they are large enough.
const GROWTHS: u64 = 8;
const FRAMES: u64 = 500;

fn rows(samples_per_frame: usize, leads: usize, frame: i32) -> FrameRows {
    let count = samples_per_frame * leads;
    let samples: Vec<i32> = (0..)
        .map(|at| (frame * 37 + at * 911) % 1_000)
        .take(count)
        .collect();
    FrameRows::planar(samples_per_frame, &samples)
}

/// A clean stream of so many frames.
fn stream(profile: &Profile, frames: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = (profile.encoder)();
    for frame in (0..).take(usize::try_from(frames).unwrap()) {
        let rows = rows(profile.samples_per_frame, profile.waves.len(), frame);
        encoder.frame(&rows, &mut bytes);
    }
    bytes
}

fn allowed(samples: usize, frames: u64) -> u64 {
    let of_frames = if samples > SHORT { PIECES * frames } else { 0 };
    of_frames + GROWTHS
}

#[test]
fn a_serial_decoder_takes_no_memory_per_sample() {
    for profile in profile::ALL {
        let bytes = stream(profile, FRAMES);
        let mut decoder = (profile.decoder)();
        let mut out = Vec::with_capacity(4_096);
        decoder.push(&stream(profile, 50), &mut out);
        let mut read = 0;
        let taken = allocation_counter::measure(|| {
            for part in bytes.chunks(512) {
                out.clear();
                decoder.push(part, &mut out);
                read += out.len();
            }
        });
        let name = profile.name;
        assert!(
            read >= usize::try_from(FRAMES).unwrap() - 1,
            "{name}: {read}"
        );
        let samples = profile.samples_per_frame * profile.waves.len();
        let count = taken.count_total;
        assert!(count <= allowed(samples, FRAMES), "{name}: {count} pieces");
    }
}

#[test]
fn values_over_the_air_take_no_memory_per_sample() {
    let now = BoxInstant {
        boot: BootId([1; 16]),
        micros: 0,
    };
    for name in ["polar-pmd", "movesense-gsp", "ble-audio-packets"] {
        let profile = gatt::by_name(name).unwrap();
        let signal = profile.signal.unwrap();
        let mut session = (profile.session.unwrap())(SessionTiming::default());
        let mut device = (profile.peripheral)();
        let mut out = Vec::with_capacity(4_096);
        let mut actions = VecDeque::from(session.start(now));
        while let Some(action) = actions.pop_front() {
            let mut sent = Vec::new();
            device.obey(action, &mut sent);
            for value in sent {
                actions.extend(session.on_value(value.from, &value.value, now, &mut out));
            }
        }
        let mut values = Vec::new();
        for frame in (0..).take(usize::try_from(FRAMES).unwrap()) {
            device.frame(&rows(signal.samples_per_frame, 1, frame), &mut values);
        }
        let mut read = 0;
        let taken = allocation_counter::measure(|| {
            for value in &values {
                out.clear();
                session.on_value(value.from, &value.value, now, &mut out);
                read += out.len();
            }
        });
        let count = taken.count_total;
        assert!(read > 0, "{name}");
        let frames = u64::try_from(values.len()).unwrap();
        assert!(
            count <= allowed(signal.samples_per_frame, frames),
            "{name}: {count} pieces"
        );
    }
}
