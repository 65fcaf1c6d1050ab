//! Decoders of all profiles, in bytes of stream per second. Budget: a thousand times what
//! the device sends (at most 9 kB/s on a serial line, 16 kB/s over the air).

use std::collections::VecDeque;

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_core::index::SampleIndex;
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt::movesense_gsp::MovesensePeripheral;
use cardio_protocol::gatt::viatom_er1::{ViatomPeripheral, recording};
use cardio_protocol::gatt::{self, GattPeripheral, GattProfile, Notification, SignalSpec};
use cardio_protocol::kept::{KeptSession, KeptState};
use cardio_protocol::profile::{ALL, by_name};
use cardio_protocol::session::SessionTiming;
use cardio_protocol::smp_records::RecordsPeripheral;

fn main() {
    divan::main();
}

fn stream(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Some(profile) = by_name(name) else {
        return bytes;
    };
    let mut encoder = (profile.encoder)();
    let leads = profile.waves.len();
    for frame in 0..2000_i32 {
        let samples: Vec<i32> = (0..leads * profile.samples_per_frame)
            .zip(0_i32..)
            .map(|(_, at)| (frame * 37 + at * 911) % 70_000 - 35_000)
            .collect();
        encoder.frame(
            &FrameRows::planar(profile.samples_per_frame, &samples),
            &mut bytes,
        );
    }
    bytes
}

#[divan::bench(args = ALL.map(|profile| profile.name))]
fn clean_stream(bencher: divan::Bencher, name: &str) {
    let bytes = stream(name);
    let decoder = by_name(name).map(|profile| profile.decoder);
    bencher
        .counter(divan::counter::BytesCount::new(bytes.len()))
        .with_inputs(|| (decoder.map(|make| make()), Vec::with_capacity(4096)))
        .bench_local_refs(|(decoder, out)| {
            for part in bytes.chunks(512) {
                out.clear();
                if let Some(decoder) = decoder {
                    decoder.push(part, out);
                }
            }
        });
}

#[divan::bench(args = ALL.map(|profile| profile.name))]
fn garbage(bencher: divan::Bencher, name: &str) {
    let bytes: Vec<u8> = (0..100_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let decoder = by_name(name).map(|profile| profile.decoder);
    bencher
        .counter(divan::counter::BytesCount::new(bytes.len()))
        .with_inputs(|| (decoder.map(|make| make()), Vec::with_capacity(4096)))
        .bench_local_refs(|(decoder, out)| {
            for part in bytes.chunks(512) {
                out.clear();
                if let Some(decoder) = decoder {
                    decoder.push(part, out);
                }
            }
        });
}

/// What a box's side of a conversation was called with.
enum Call {
    Value(Notification, BoxInstant),
    Tick(BoxInstant),
}

fn at(micros: u64) -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros,
    }
}

fn size(calls: &[Call]) -> usize {
    let of = |call: &Call| match call {
        Call::Value(value, _) => value.value.len(),
        Call::Tick(_) => 0,
    };
    calls.iter().map(of).sum()
}

/// Half a minute with a device that streams, or answers when it is asked: what its session hears,
/// to be played to others.
fn conversation(profile: &GattProfile, signal: &SignalSpec) -> Vec<Call> {
    const TICK_US: u64 = 10_000;
    let mut calls = Vec::new();
    let Some(session) = profile.session else {
        return calls;
    };
    let mut session = session(SessionTiming::default());
    let mut device = (profile.peripheral)();
    let tells_beats = signal.waves.is_empty();
    let samples: Vec<i32> = (0..)
        // who tells beats sees one in the middle
        .map(|at| {
            if tells_beats {
                i32::from(at == 500)
            } else {
                at
            }
        })
        .take(signal.samples_per_frame)
        .collect();
    let rows = FrameRows::planar(signal.samples_per_frame, &samples);
    let frame_us = signal.rate().micros_at(SampleIndex(rows.per_lead().0));
    let (mut out, mut framed_us) = (Vec::new(), 0);
    let mut actions = VecDeque::from(session.start(at(0)));
    for now in (1..3_000).map(|tick| at(tick * TICK_US)) {
        let mut sent = Vec::new();
        while framed_us + frame_us <= now.micros {
            framed_us += frame_us;
            device.frame(&rows, &mut sent);
        }
        actions.extend(session.on_tick(now));
        calls.push(Call::Tick(now));
        loop {
            for value in sent.drain(..) {
                actions.extend(session.on_value(value.from, &value.value, now, &mut out));
                calls.push(Call::Value(value, now));
            }
            let Some(action) = actions.pop_front() else {
                break;
            };
            device.obey(action, &mut sent);
        }
    }
    calls
}

/// Whole conversations with the devices on Bluetooth Low Energy that stream.
#[divan::bench(args = ["polar-pmd", "movesense-gsp", "ble-audio-packets", "viatom-er1", "sig-hrs"])]
fn values_over_the_air(bencher: divan::Bencher, name: &str) {
    let Some(profile) = gatt::by_name(name) else {
        return;
    };
    let Some((signal, session)) = profile.signal.zip(profile.session) else {
        return;
    };
    let calls = conversation(profile, &signal);
    bencher
        .counter(divan::counter::BytesCount::new(size(&calls)))
        .with_inputs(|| {
            let mut session = session(SessionTiming::default());
            session.start(at(0));
            (session, Vec::with_capacity(4096))
        })
        .bench_local_refs(|(session, out)| {
            for call in &calls {
                out.clear();
                match call {
                    Call::Value(value, now) => {
                        session.on_value(value.from, &value.value, *now, out);
                    }
                    Call::Tick(now) => {
                        session.on_tick(*now);
                    }
                }
            }
        });
}

/// The downloads of a recording of 64 kB: what the session hears.
fn download(session: &mut dyn KeptSession, device: &mut dyn GattPeripheral) -> Vec<Notification> {
    let (mut heard, mut out) = (Vec::new(), Vec::new());
    let mut actions = VecDeque::from(session.start(reading()));
    loop {
        while let Some(action) = actions.pop_front() {
            let mut sent = Vec::new();
            device.obey(action, &mut sent);
            for value in sent {
                actions.extend(session.on_value(value.from, &value.value, at(1), &mut out));
                heard.push(value);
            }
        }
        match session.state() {
            KeptState::Offering(_) => actions.extend(session.want(at(1))),
            _ => return heard,
        }
    }
}

fn reading() -> ClockReading {
    ClockReading {
        box_instant: at(1),
        utc: UtcMicros(0),
        quality: ClockQuality::Unsynchronised,
    }
}

/// The device with a recording in its memory.
fn keeper(name: &str) -> Box<dyn GattPeripheral> {
    let bytes: Vec<u8> = (0..64_000_u32).map(|n| n.to_be_bytes()[3]).collect();
    match name {
        "viatom-er1" => {
            let mut patch = ViatomPeripheral::default();
            let counts: Vec<i16> = bytes.iter().map(|byte| i16::from(*byte)).collect();
            patch.keep_file("R20260101080000", recording(&counts));
            Box::new(patch)
        }
        "movesense-gsp" => {
            let mut strap = MovesensePeripheral::default();
            strap.keep_log(1, bytes);
            Box::new(strap)
        }
        _ => {
            let mut watch = RecordsPeripheral::default();
            watch.keep(1, bytes);
            Box::new(watch)
        }
    }
}

/// What sensors keep, from the list to the last byte.
#[divan::bench(args = ["viatom-er1", "movesense-gsp", "smp-records"])]
fn downloads(bencher: divan::Bencher, name: &str) {
    let Some(kept) = gatt::by_name(name).and_then(|profile| profile.kept) else {
        return;
    };
    let heard = download(&mut *kept(SessionTiming::default()), &mut *keeper(name));
    let bytes: usize = heard.iter().map(|value| value.value.len()).sum();
    bencher
        .counter(divan::counter::BytesCount::new(bytes))
        .with_inputs(|| {
            let mut session = kept(SessionTiming::default());
            session.start(reading());
            (session, Vec::with_capacity(16))
        })
        .bench_local_refs(|(session, out)| {
            for value in &heard {
                session.on_value(value.from, &value.value, at(1), out);
                if matches!(session.state(), KeptState::Offering(_)) {
                    session.want(at(1));
                }
            }
        });
}
