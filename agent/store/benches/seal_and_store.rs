//! Sealing and storing against what it costs to store alone: plain rusqlite that inserts
//! frames of the same size with the same pragmas and the same number of rows per commit.
//!
//! Budget: at least 0.7 of the plain rate at one record per commit, where no record waits for
//! others. After the table of divan, one line per case with both rates, their ratio, the
//! processor time and the bytes that went to the disk per record. In large groups the disk is
//! shared out and the seal itself (two X25519, one Ed25519) is what remains.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench: it measures time, prints, and stops at what is unexpected"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardio_core::clock::{
    BoxInstant, ClockQuality, ClockReading, ManualClock, TimeAnchor, UtcMicros,
};
use cardio_core::ids::{AcquisitionId, BootId, BoxId, RecordId};
use cardio_core::index::SampleIndex;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_store::{KeyRing, Outbox, OutboxConfig};
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use cardio_wire::lane::Lane;
use cardio_wire::record::{Record, RecordHead, SegmentV1};
use divan::Bencher;
use ring::rand::SystemRandom;
use rusqlite::Connection;

const CAP: u64 = 4 << 30;

fn at() -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([1; 16]),
            micros: 0,
        },
        utc: UtcMicros(0),
        quality: ClockQuality::Unsynchronised,
    }
}

/// `seconds` of eight leads at 250 Hz: a wandering line with noise in the low bits.
fn segment(seconds: u64) -> Record {
    let mut state = 0x9E37_79B9_u32;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::try_from(state >> 20).unwrap() - 2048
    };
    let leads = (0..8)
        .map(|_| (0..seconds * 250).map(|_| sample()).collect())
        .collect();
    Record::Segment(SegmentV1 {
        head: RecordHead {
            id: RecordId([2; 16]),
            at: at(),
        },
        segment: Segment {
            acquisition: AcquisitionId([3; 16]),
            ordinal: 0,
            block: SampleBlock::new(SampleIndex(0), leads).unwrap(),
            anchor: TimeAnchor {
                index: SampleIndex(0),
                at: at(),
                uncertainty_us: 0,
            },
        },
    })
}

fn outbox(dir: &Path, group: usize) -> Outbox {
    let rng = SystemRandom::new();
    let keys = KeyRing {
        device: BoxId([4; 16]),
        signer: SigningKey::generate(&rng).unwrap().0,
        recipient: RecipientSecretKey::generate(&rng).unwrap().public(),
        control: SigningKey::generate(&rng).unwrap().0.verifying_key(),
    };
    let mut config = OutboxConfig::new(&dir.join("outbox.db"), CAP);
    if group == 1 {
        config.group_wait = Duration::ZERO;
    }
    Outbox::open(config, keys, Arc::new(ManualClock::at(at()))).unwrap()
}

fn plain(dir: &Path) -> Connection {
    let conn = Connection::open(dir.join("plain.db")).unwrap();
    conn.pragma_update(None, "cell_size_check", true).unwrap();
    let pragmas = [("journal_mode", "wal"), ("journal_size_limit", "8388608")];
    for (name, value) in pragmas {
        conn.pragma_update_and_check(None, name, value, |_| Ok(()))
            .unwrap();
    }
    conn.pragma_update(None, "synchronous", "full").unwrap();
    conn.execute_batch("CREATE TABLE frame (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")
        .unwrap();
    conn
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Hands over a group and waits for all of it.
fn store_group(outbox: &Outbox, record: &Record, group: usize) -> usize {
    let pending: Vec<_> = (0..group)
        .map(|_| outbox.append(Lane::Bulk, record.clone()).unwrap())
        .collect();
    let stored = pending.into_iter().map(|pending| pending.wait().unwrap());
    stored.map(|stored| stored.bytes).last().unwrap_or(0)
}

fn insert_group(conn: &mut Connection, frame: &[u8], group: usize) {
    let tx = conn.transaction().unwrap();
    for _ in 0..group {
        tx.prepare_cached("INSERT INTO frame (bytes) VALUES (?1)")
            .unwrap()
            .execute([frame])
            .unwrap();
    }
    tx.commit().unwrap();
}

#[divan::bench(args = [1, 64])]
fn sealed(bencher: Bencher<'_, '_>, group: usize) {
    let dir = scratch();
    let outbox = outbox(dir.path(), group);
    let record = segment(1);
    bencher
        .counter(divan::counter::ItemsCount::new(group))
        .bench_local(|| store_group(&outbox, &record, group));
}

#[divan::bench(args = [1, 64])]
fn plain_rusqlite(bencher: Bencher<'_, '_>, group: usize) {
    let dir = scratch();
    let mut conn = plain(dir.path());
    let frame = vec![0x5A; 6_500];
    bencher
        .counter(divan::counter::ItemsCount::new(group))
        .bench_local(|| insert_group(&mut conn, &frame, group));
}

/// Bytes that this process sent to storage so far, if the system says so.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What storing so many records took.
struct Cost {
    per_second: f64,
    cpu_us: u64,
    bytes: u64,
}

fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap()
}

fn cost(records: u32, store: impl FnOnce()) -> Cost {
    let (bytes, cpu, start) = (written(), cpu_us(), Instant::now());
    store();
    Cost {
        per_second: f64::from(records) / start.elapsed().as_secs_f64(),
        cpu_us: (cpu_us() - cpu) / u64::from(records),
        bytes: (written() - bytes) / u64::from(records),
    }
}

fn compare(seconds: u64, group: usize, records: u32) {
    let record = segment(seconds);
    let groups = usize::try_from(records).unwrap() / group;

    let dir = scratch();
    let outbox = outbox(dir.path(), group);
    let frame_bytes = store_group(&outbox, &record, 1);
    let sealed = cost(records, || {
        for _ in 0..groups {
            store_group(&outbox, &record, group);
        }
    });
    drop(outbox);

    let dir = scratch();
    let mut conn = plain(dir.path());
    let frame = vec![0x5A; frame_bytes];
    let plain = cost(records, || {
        for _ in 0..groups {
            insert_group(&mut conn, &frame, group);
        }
    });

    println!(
        "{seconds:2} s of signal, frame {frame_bytes} B, {group:2} per commit: \
         sealed {:.0}/s, plain {:.0}/s, ratio {:.2}; processor {} µs, plain {} µs; \
         to disk {} B, plain {} B per record",
        sealed.per_second,
        plain.per_second,
        sealed.per_second / plain.per_second,
        sealed.cpu_us,
        plain.cpu_us,
        sealed.bytes,
        plain.bytes
    );
}

fn main() {
    divan::main();
    let measured = std::env::args().any(|arg| arg == "--bench");
    if measured {
        for (seconds, group, records) in [(1, 1, 512), (1, 64, 4096), (10, 1, 256), (10, 64, 1024)]
        {
            compare(seconds, group, records);
        }
    }
}
