//! Decoders of all profiles, in bytes of stream per second. Budget: a thousand times what
//! the device sends (at most 9 kB/s on a serial line, 16 kB/s over the air).

use cardio_core::clock::BoxInstant;
use cardio_core::ids::BootId;
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::gatt;
use cardio_protocol::profile::{ALL, by_name};
use cardio_protocol::session::SessionTiming;

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

/// Values of the devices on Bluetooth Low Energy that send a waveform by themselves.
#[divan::bench(args = ["polar-pmd", "movesense-gsp", "ble-audio-packets"])]
fn values_over_the_air(bencher: divan::Bencher, name: &str) {
    let Some((profile, signal)) =
        gatt::by_name(name).and_then(|profile| Some((profile, profile.signal?)))
    else {
        return;
    };
    let now = BoxInstant {
        boot: BootId([1; 16]),
        micros: 0,
    };
    let Some(session) = profile.session else {
        return;
    };
    let mut session = session(SessionTiming::default());
    let mut device = (profile.peripheral)();
    let mut out = Vec::new();
    let mut actions = std::collections::VecDeque::from(session.start(now));
    while let Some(action) = actions.pop_front() {
        let mut sent = Vec::new();
        device.obey(action, &mut sent);
        for value in sent {
            actions.extend(session.on_value(value.from, &value.value, now, &mut out));
        }
    }
    let samples: Vec<i32> = (0..).take(signal.samples_per_frame).collect();
    let rows = FrameRows::planar(signal.samples_per_frame, &samples);
    let mut values = Vec::new();
    for _ in 0..500 {
        device.frame(&rows, &mut values);
    }
    let bytes: usize = values.iter().map(|value| value.value.len()).sum();
    bencher
        .counter(divan::counter::BytesCount::new(bytes))
        .bench_local(|| {
            for value in &values {
                out.clear();
                session.on_value(value.from, &value.value, now, &mut out);
            }
        });
}
