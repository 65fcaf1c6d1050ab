//! Random actions against the outbox and against a plain model, step by step.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::path::{Path, PathBuf};

use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, Outbox, Resent, Stored};
use cardio_wire::lane::Lane;
use cardio_wire::message::Ack;
use cardio_wire::record::Record;
use proptest::prelude::*;
use support::{Ends, MIB, event};

#[derive(Clone, Debug)]
enum Action {
    /// Records handed over together, by lane.
    Append(Vec<u8>),
    /// An honest acknowledgement of a part of what is there.
    Ack(u8, prop::sample::Index),
    /// The same, with something wrong with it.
    Forge(u8, prop::sample::Index, u8),
    Resend(u8, prop::sample::Index),
    /// Closes and opens again.
    Reopen,
    /// Goes on from a copy of the files as they are at this moment, as after a kill.
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let lane = 0_u8..4;
    let index = any::<prop::sample::Index>;
    prop_oneof![
        5 => prop::collection::vec(lane.clone(), 1..8).prop_map(Action::Append),
        3 => (lane.clone(), index()).prop_map(|(lane, at)| Action::Ack(lane, at)),
        2 => (lane.clone(), index(), 0_u8..4).prop_map(|(l, at, how)| Action::Forge(l, at, how)),
        1 => (lane, index()).prop_map(|(lane, at)| Action::Resend(lane, at)),
        1 => Just(Action::Reopen),
        1 => Just(Action::Crash),
    ]
}

#[derive(Default)]
struct ModelLane {
    records: Vec<Record>,
    stored: Vec<Stored>,
    acked: u64,
}

struct World {
    ends: Ends,
    dir: tempfile::TempDir,
    generation: u32,
    outbox: Option<Outbox>,
    model: [ModelLane; 4],
    counter: u64,
    made: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ends: Ends::new(),
            dir: tempfile::tempdir().unwrap(),
            generation: 0,
            outbox: None,
            model: Default::default(),
            counter: 0,
            made: 0,
        };
        world.open();
        world
    }

    fn path(&self, generation: u32) -> PathBuf {
        self.dir.path().join(format!("{generation}/outbox.db"))
    }

    fn open(&mut self) {
        let path = self.path(self.generation);
        self.outbox = Some(self.ends.open(&path, 64 * MIB).unwrap());
    }

    fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().unwrap()
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Append(lanes) => self.append(&lanes),
            Action::Ack(lane, at) => self.ack(lane, at, None),
            Action::Forge(lane, at, how) => self.ack(lane, at, Some(how)),
            Action::Resend(lane, at) => self.resend(lane, at),
            Action::Reopen => {
                self.outbox = None;
                self.open();
            }
            Action::Crash => {
                let (from, to) = (self.path(self.generation), self.path(self.generation + 1));
                copy_files(&from, &to);
                self.generation += 1;
                self.open();
            }
        }
        self.check_states();
    }

    fn append(&mut self, lanes: &[u8]) {
        let mut pending = Vec::new();
        for &number in lanes {
            let lane = Lane::from_number(number).unwrap();
            let record = event(self.made);
            self.made += 1;
            pending.push((number, self.outbox().append(lane, record.clone()).unwrap()));
            self.model[usize::from(number)].records.push(record);
        }
        for (number, pending) in pending {
            let stored = pending.wait().unwrap();
            let lane = &mut self.model[usize::from(number)];
            lane.stored.push(stored);
            assert_eq!(
                stored.identity.seq,
                u64::try_from(lane.stored.len()).unwrap()
            );
        }
    }

    fn ack(&mut self, number: u8, at: prop::sample::Index, forged: Option<u8>) {
        let lane = &self.model[usize::from(number)];
        if lane.stored.is_empty() {
            return;
        }
        let stored = lane.stored[at.index(lane.stored.len())];
        let good = self.ends.ack(&stored, self.counter + 1);
        let (ack, counts) = match forged {
            None => (good, good.upto >= lane.acked),
            Some(0) => (
                Ack {
                    upto: 0,
                    head: [1; 32],
                    ..good
                },
                false,
            ),
            Some(1) => (Ack { counter: 0, ..good }, false),
            Some(2) => (
                Ack {
                    device: BoxId([0xEE; 16]),
                    ..good
                },
                false,
            ),
            Some(_) => {
                let mut chain = good.chain;
                chain.0[0] ^= 1;
                (Ack { chain, ..good }, false)
            }
        };
        let acked = lane.acked;
        let outcome = self.outbox().acked(&ack).unwrap();
        if counts {
            let (upto, newly) = (good.upto, good.upto - acked);
            assert_eq!(outcome, AckOutcome::Accepted { upto, newly });
            self.counter += 1;
            self.model[usize::from(number)].acked = good.upto;
        } else {
            assert!(matches!(outcome, AckOutcome::Refused { .. }), "{outcome:?}");
        }
    }

    fn resend(&mut self, number: u8, at: prop::sample::Index) {
        let lane = &self.model[usize::from(number)];
        if lane.stored.is_empty() {
            return;
        }
        let identity = lane.stored[at.index(lane.stored.len())].identity;
        let first = identity.seq.min(lane.acked + 1);
        let resent = self
            .outbox()
            .resend(identity.lane, identity.chain, identity.seq)
            .unwrap();
        assert_eq!(
            resent,
            Resent::From {
                seq: first,
                missing: 0
            }
        );
        self.model[usize::from(number)].acked = first - 1;
    }

    fn check_states(&self) {
        let states = self.outbox().lane_states().unwrap();
        let summary = self.outbox().summary().unwrap();
        for ((state, lane), summary) in states.iter().zip(&self.model).zip(&summary.lanes) {
            let waiting = &lane.stored[usize::try_from(lane.acked).unwrap()..];
            let bytes: usize = waiting.iter().map(|stored| stored.bytes).sum();
            assert_eq!(state.next, u64::try_from(lane.stored.len()).unwrap() + 1);
            assert_eq!(state.acked, lane.acked);
            assert_eq!(summary.waiting, u64::try_from(waiting.len()).unwrap());
            assert_eq!(summary.waiting_bytes, u64::try_from(bytes).unwrap());
            if let Some(last) = lane.stored.last() {
                assert_eq!(state.head, last.fingerprint);
            }
        }
    }

    fn check_records(&self) {
        for (lane, model) in Lane::ALL.into_iter().zip(&self.model) {
            assert_eq!(self.ends.records(self.outbox(), lane, 0), model.records);
        }
    }
}

/// What a kill leaves: the database and its log, not the shared memory.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    for name in ["outbox.db", "outbox.db-wal"] {
        let source = from.with_file_name(name);
        if source.exists() {
            std::fs::copy(source, to.with_file_name(name)).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: support::cases(8), ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_a_list_in_memory_does(
        actions in prop::collection::vec(action(), 1..30),
    ) {
        let mut world = World::new();
        for action in actions {
            world.apply(action);
        }
        world.check_records();
    }
}
