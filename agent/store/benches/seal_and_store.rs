//! Sealing and storing against what it costs to store alone: plain rusqlite that inserts
//! frames of the same size with the same pragmas and the same number of rows per commit.
//!
//! Budget: at least 0.7 of the plain rate. A box stores `one at a time`, where every source has
//! a record each second or each ten, and in `bursts` when the records of many sources end
//! together. `Without pause` is what it never does: groups follow each other at once, and the
//! processor is all that counts. Where the budget stands: the figures in the crate's README.
//!
//! The two take turns, and every turn gives one ratio: the median and the lowest are printed,
//! with both rates, the processor time and what one record put on the disk. That is what the
//! system counts for this process (`write_bytes` of `/proc/self/io`): the log, the checkpoints
//! and the pages that are written again. Records are encoded before; that time is printed too.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
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
use cardio_store::{EncodedRecord, KeyRing, Outbox, OutboxConfig};
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use cardio_wire::lane::Lane;
use cardio_wire::record::{Record, RecordHead, SegmentV1};
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

/// `seconds` of twelve leads: a slow wave with noise of about four bits.
fn segment(seconds: i32, rate_hz: i32) -> Record {
    let mut state = 0x9E37_79B9_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::try_from(state >> 28).unwrap()
    };
    let mut row = |lead: i32| -> Vec<i32> {
        (0..seconds * rate_hz)
            .map(|at| {
                let phase = at % rate_hz * 250 / rate_hz - 125;
                phase * phase * lead / 8 + noise()
            })
            .collect()
    };
    let leads = (1..13).map(&mut row).collect();
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
    conn.pragma_update(None, "temp_store", "memory").unwrap();
    conn.pragma_update_and_check(
        None,
        "max_page_count",
        i64::try_from(CAP / 4096).unwrap(),
        |_| Ok(()),
    )
    .unwrap();
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
fn store_group(outbox: &Outbox, group: Vec<EncodedRecord>) -> usize {
    let pending: Vec<_> = group
        .into_iter()
        .map(|record| outbox.append(Lane::Bulk, record).unwrap())
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

/// Bytes that this process sent to storage so far, if the system says so.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn cpu_us() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap()
}

/// What storing some records took, turn by turn.
#[derive(Default)]
struct Turns {
    took_s: Vec<f64>,
    cpu_us: u64,
    bytes: u64,
}

impl Turns {
    fn take(&mut self, store: impl FnOnce()) {
        let (bytes, cpu, start) = (written(), cpu_us(), Instant::now());
        store();
        self.took_s.push(start.elapsed().as_secs_f64());
        self.cpu_us += cpu_us() - cpu;
        self.bytes += written() - bytes;
    }

    fn rate(&self, records: u32) -> f64 {
        let mut took = self.took_s.clone();
        f64::from(records) / median(&mut took)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How records come.
#[derive(Clone, Copy)]
struct Pace {
    name: &'static str,
    /// Records per commit.
    group: usize,
    /// Commits of one turn.
    groups: usize,
    /// What a box waits before the next turn.
    rest: Duration,
    turns: u32,
}

const PACES: [Pace; 3] = [
    Pace {
        name: "one at a time",
        group: 1,
        groups: 1,
        rest: Duration::from_millis(2),
        turns: 301,
    },
    Pace {
        name: "bursts of 64",
        group: 64,
        groups: 1,
        rest: Duration::from_millis(30),
        turns: 31,
    },
    Pace {
        name: "64 without pause",
        group: 64,
        groups: 4,
        rest: Duration::ZERO,
        turns: 15,
    },
];

fn compare(seconds: i32, rate_hz: i32, pace: Pace) {
    let record = segment(seconds, rate_hz);
    let start = Instant::now();
    let encoded = EncodedRecord::from(record);
    let encode_us = start.elapsed().as_micros();
    let group = || vec![encoded.clone(); pace.group];
    let (sealed_dir, plain_dir) = (scratch(), scratch());
    let outbox = outbox(sealed_dir.path(), pace.group);
    let mut conn = plain(plain_dir.path());
    let frame = vec![0x5A; store_group(&outbox, vec![encoded.clone()])];
    let (mut sealed, mut plain) = (Turns::default(), Turns::default());
    for _ in 0..pace.turns {
        std::thread::sleep(pace.rest);
        let groups: Vec<_> = (0..pace.groups).map(|_| group()).collect();
        sealed.take(|| {
            for group in groups {
                store_group(&outbox, group);
            }
        });
        std::thread::sleep(pace.rest);
        plain.take(|| {
            for _ in 0..pace.groups {
                insert_group(&mut conn, &frame, pace.group);
            }
        });
    }
    let turns = sealed.took_s.iter().zip(&plain.took_s);
    let mut ratios: Vec<f64> = turns.map(|(sealed, plain)| plain / sealed).collect();
    let (middle, lowest) = (median(&mut ratios), ratios[0]);
    let records = u32::try_from(pace.group * pace.groups).unwrap();
    let all = u64::from(pace.turns * records);
    println!(
        "{:16} {seconds:2} s of 12 leads at {rate_hz} Hz, {:5} B: ratio {middle:.2} (lowest \
         {lowest:.2}); sealed {:.0}/s, plain {:.0}/s; processor {} µs, plain {} µs (encoding \
         {encode_us} µs before); to disk {} B, plain {} B",
        pace.name,
        frame.len(),
        sealed.rate(records),
        plain.rate(records),
        sealed.cpu_us / all,
        plain.cpu_us / all,
        sealed.bytes / all,
        plain.bytes / all
    );
}

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    for pace in PACES {
        for (seconds, rate_hz) in [(1, 250), (1, 500), (10, 250), (10, 500)] {
            compare(seconds, rate_hz, pace);
        }
    }
}
