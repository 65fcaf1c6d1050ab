//! A box's keys, a clock that is moved by hand, and records to store.
#![allow(dead_code, reason = "each test program uses another part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{BoxInstant, Clock, ClockQuality, ClockReading, ManualClock, UtcMicros};
use cardio_core::ids::{BootId, BoxId};
use cardio_store::{AckOutcome, KeyRing, Outbox, OutboxConfig, OutboxError, Stored};
use cardio_wire::envelope;
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use cardio_wire::lane::Lane;
use cardio_wire::message::Ack;
use cardio_wire::record::{BoxEventV1, LaneGapV1, Record, RecordHead, record_id};
use ring::rand::SystemRandom;

pub(crate) const MIB: u64 = 1024 * 1024;

/// Both ends of a box and its gateway.
pub(crate) struct Ends {
    pub(crate) device: BoxId,
    pub(crate) signer: SigningKey,
    pub(crate) secret: RecipientSecretKey,
    pub(crate) control: SigningKey,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn reading(micros: u64) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([1; 16]),
            micros,
        },
        utc: UtcMicros(1_700_000_000_000_000 + i64::try_from(micros).unwrap()),
        quality: ClockQuality::Unsynchronised,
    }
}

impl Ends {
    pub(crate) fn new() -> Self {
        let rng = SystemRandom::new();
        Self::with_signer(SigningKey::generate(&rng).unwrap().0)
    }

    /// Ends with another secret: what is stored cannot be opened, what is signed is right.
    pub(crate) fn with_signer(signer: SigningKey) -> Self {
        let rng = SystemRandom::new();
        Self {
            device: BoxId([3; 16]),
            signer,
            secret: RecipientSecretKey::generate(&rng).unwrap(),
            control: SigningKey::generate(&rng).unwrap().0,
            clock: Arc::new(ManualClock::at(reading(0))),
        }
    }

    pub(crate) fn keys(&self) -> KeyRing {
        KeyRing {
            device: self.device,
            signer: self.signer.clone(),
            recipient: self.secret.public(),
        }
    }

    pub(crate) fn open(&self, path: &Path, cap_bytes: u64) -> Result<Outbox, OutboxError> {
        let mut config = OutboxConfig::new(path, cap_bytes);
        config.group_wait = Duration::ZERO;
        Outbox::open(config, self.keys(), Arc::<ManualClock>::clone(&self.clock))
    }

    /// The record in a frame, after checking everything that the gateway checks.
    pub(crate) fn read(&self, frame: &[u8]) -> Record {
        let verified = envelope::verify(frame, &self.signer.verifying_key()).unwrap();
        let plaintext = envelope::open(&verified, &self.secret).unwrap();
        Record::decode(&plaintext).unwrap()
    }

    /// Every record of a lane from a place on, with the chain checked from frame to frame.
    pub(crate) fn records(&self, outbox: &Outbox, lane: Lane, after_seq: u64) -> Vec<Record> {
        let mut records = Vec::new();
        let mut expected = after_seq + 1;
        let mut head: Option<[u8; 32]> = None;
        loop {
            let frames = outbox
                .next_to_send(lane, expected - 1, 50, usize::MAX)
                .unwrap();
            if frames.is_empty() {
                return records;
            }
            for frame in frames {
                let header = envelope::peek(&frame.bytes).unwrap();
                assert_eq!(header.identity(), frame.identity);
                assert_eq!(header.seq, expected);
                assert!(head.is_none_or(|head| header.prev == head));
                head = Some(envelope::fingerprint(&frame.bytes));
                expected += 1;
                records.push(self.read(&frame.bytes));
            }
        }
    }

    pub(crate) fn gaps(&self, outbox: &Outbox, lane: Lane) -> Vec<LaneGapV1> {
        let only_gaps = |record| match record {
            Record::LaneGap(gap) => Some(gap),
            _ => None,
        };
        let records = self.records(outbox, lane, 0);
        records.into_iter().filter_map(only_gaps).collect()
    }

    pub(crate) fn ack(&self, stored: &Stored, counter: u64) -> Ack {
        Ack {
            device: self.device,
            lane: stored.identity.lane,
            chain: stored.identity.chain,
            upto: stored.identity.seq,
            head: stored.fingerprint,
            gateway_utc: self.clock.read().utc,
            echo_us: None,
            counter,
            other: None,
        }
    }

    /// Acknowledges everything of every lane.
    pub(crate) fn ack_all(&self, outbox: &Outbox, counter: u64) {
        for state in outbox.lane_states().unwrap() {
            let ack = Ack {
                device: self.device,
                lane: state.lane,
                chain: state.chain,
                upto: state.next - 1,
                head: state.head,
                gateway_utc: self.clock.read().utc,
                echo_us: None,
                counter,
                other: None,
            };
            let outcome = outbox.acked(&ack).unwrap();
            assert!(
                matches!(outcome, AckOutcome::Accepted { .. }),
                "{outcome:?}"
            );
        }
    }
}

/// A record whose text says which one it is.
pub(crate) fn event(number: u64) -> Record {
    sized_event(number, 0)
}

/// A record of about `size` bytes.
pub(crate) fn sized_event(number: u64, size: usize) -> Record {
    let at = reading(number);
    let random = [u8::try_from(number % 251).unwrap(); 10];
    Record::BoxEvent(BoxEventV1 {
        head: RecordHead {
            id: record_id(at.utc, random),
            at,
        },
        code: format!("test.{number}"),
        source: None,
        detail: "x".repeat(size),
    })
}

pub(crate) fn put(outbox: &Outbox, lane: Lane, record: Record) -> Result<Stored, OutboxError> {
    outbox.append(lane, record)?.wait()
}

/// All files that begin with the outbox's name.
pub(crate) fn files_of(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        file.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(name)
    });
    files.sort();
    files
}

/// How many cases of a property that waits for a disk: few, unless `PROPTEST_CASES` says more.
pub(crate) fn cases(few: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(few)
}
