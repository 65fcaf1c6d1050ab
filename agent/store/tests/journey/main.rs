//! A real outbox, the real scheduler, and the gateway's own decisions (`cardio_wire::intake`)
//! over memory, under everything that can happen between them: frames lost, repeated and out
//! of order; acknowledgements forged, replayed, older, of other chains and boxes; crashes of
//! both ends; a gateway restored from an old copy; frames deleted for space; a full outbox;
//! damage; a card that goes back to an older state of itself while frames are under way.
//!
//! Holds:
//! - what was committed is filed exactly once, or named in a signed gap record, and what was
//!   refused is counted in one;
//! - what is intact in a file that was set aside, and was never acknowledged, is filed;
//! - what a card forgot is filed if the gateway got it;
//! - new chains for the sake of another history begin only when a card went back;
//! - what was deleted had been acknowledged, out of a durable state;
//! - each lane is filed in its order, and an identity never has two frames;
//! - no other frame is published while an alert could be.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

mod check;
mod event;
mod gateway;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cardio_store::{OutFrame, Outbox};
use cardio_wire::envelope;
use cardio_wire::intake::{ChainKey, MemoryHoldings};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::link::{LaneScheduler, Step};
use cardio_wire::message::{Ack, LaneState, OtherHistory};
use cardio_wire::record::{LaneGapV1, Record};
use event::{Event, event};
use proptest::prelude::*;
use support::{Ends, files_of, put, sized_event};

/// So small that a few dozen records fill it.
const CAP_BYTES: u64 = 512 * 1024;
const RECORD_BYTES: usize = 4000;

struct World {
    ends: Ends,
    dir: tempfile::TempDir,
    generation: u32,
    outbox: Option<Outbox>,
    scheduler: LaneScheduler,
    now: u64,
    network: Vec<(FrameIdentity, Vec<u8>)>,
    /// Frames that the gateway has and has not committed.
    arrived: Vec<(FrameIdentity, Vec<u8>)>,
    gateway: MemoryHoldings,
    backup: MemoryHoldings,
    /// Every acknowledgement that was ever made.
    acks: Vec<Ack>,
    counter: u64,
    made: u64,
    committed: Vec<(FrameIdentity, Record)>,
    refused: u64,
    /// The furthest place of each chain that an accepted acknowledgement covered.
    covered: BTreeMap<ChainId, u64>,
    /// A copy of the card, and how many records were committed then.
    copy: Option<(PathBuf, usize)>,
    /// The card went back, and the box may not know it yet.
    may_fork: bool,
    went_back: bool,
    /// What a card that went back had committed since.
    forgotten: Vec<(FrameIdentity, Record)>,
    damaged: BTreeSet<FrameIdentity>,
    /// What each published frame tells of another one.
    carriers: BTreeMap<FrameIdentity, FrameIdentity>,
    gaps: BTreeMap<FrameIdentity, LaneGapV1>,
    /// What the gateway holds that does not fit, and has not said yet.
    others: BTreeMap<ChainId, OtherHistory>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ends: Ends::new(),
            dir: tempfile::tempdir().unwrap(),
            generation: 0,
            outbox: None,
            scheduler: LaneScheduler::new(3),
            now: 0,
            network: Vec::new(),
            arrived: Vec::new(),
            gateway: MemoryHoldings::default(),
            backup: MemoryHoldings::default(),
            acks: Vec::new(),
            counter: 0,
            made: 0,
            committed: Vec::new(),
            refused: 0,
            covered: BTreeMap::new(),
            copy: None,
            may_fork: false,
            went_back: false,
            forgotten: Vec::new(),
            damaged: BTreeSet::new(),
            carriers: BTreeMap::new(),
            gaps: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        world.outbox = Some(world.ends.open(&world.path(), CAP_BYTES).unwrap());
        world.scheduler.connected();
        world
    }

    fn path(&self) -> PathBuf {
        self.dir
            .path()
            .join(format!("{}/outbox.db", self.generation))
    }

    fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().unwrap()
    }

    fn states(&self) -> Vec<LaneState> {
        self.outbox().lane_states().unwrap()
    }

    fn key(&self, state: &LaneState) -> ChainKey {
        ChainKey {
            device: self.ends.device,
            lane: state.lane,
            chain: state.chain,
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Produce { lane, records } => {
                let lane = Lane::from_number(lane).unwrap();
                (0..records).for_each(|_| self.produce(lane));
            }
            Event::Publish(steps) => drop((0..steps).all(|_| self.publish())),
            Event::Deliver { pick, lost, again } => self.deliver(usize::from(pick), lost, again),
            Event::Commit => self.commit(),
            Event::Ack(lane) => self.ack(usize::from(lane)),
            Event::Forge(lane) => self.forge(usize::from(lane)),
            Event::Replay => self.replay(),
            Event::Disconnect => self.reconnect(),
            Event::BoxCrash => self.crash_box(),
            Event::GatewayCrash => self.reconnect(),
            Event::GatewayBackup => self.backup = self.gateway.clone(),
            Event::GatewayRestored => {
                self.gateway = self.backup.clone();
                self.reconnect();
            }
            Event::Damage(lane, at) => self.damage(lane, at),
            Event::CardCopied => {
                let to = self.dir.path().join(format!("copy-{}", self.made));
                let _ = std::fs::remove_dir_all(&to);
                let copied = copy_card(&self.path(), &to);
                self.copy = Some((copied, self.committed.len()));
            }
            Event::CardGoesBack => self.go_back(),
            Event::Pass(micros) => self.pass(u64::from(micros)),
        }
        self.check_deletions();
    }

    fn produce(&mut self, lane: Lane) {
        self.made += 1;
        let record = sized_event(self.made, RECORD_BYTES);
        match put(self.outbox(), lane, record.clone()) {
            Ok(stored) => self.committed.push((stored.identity, record)),
            Err(err) => {
                assert!(["outbox.full", "outbox.disk-full"].contains(&err.code()));
                self.refused += 1;
            }
        }
    }

    /// What is gone from the outbox had been acknowledged.
    fn check_deletions(&self) {
        for state in self.states() {
            let covered = self.covered.get(&state.chain).copied().unwrap_or(0);
            assert!(state.oldest <= covered + 1, "{state:?} {covered}");
            assert!(state.acked <= covered, "{state:?} {covered}");
        }
    }

    /// One step of the uplink. A frame that turns out to be damaged makes the outbox begin
    /// new chains, which the next step announces.
    fn publish(&mut self) -> bool {
        let states = self.states();
        match self.scheduler.next(&states, self.now) {
            None => false,
            Some(Step::Hello) => {
                self.hello();
                true
            }
            Some(Step::Publish { lane, seq }) => {
                self.check_urgency(&states, lane);
                match self.outbox().next_to_send(lane, seq - 1, 1, usize::MAX) {
                    Ok(mut frames) => {
                        let frame = frames.remove(0);
                        assert_eq!(frame.identity.seq, seq);
                        self.note(&frame);
                        let bytes = frame.bytes.len();
                        self.scheduler.published(lane, seq, bytes, self.now);
                        self.network.push((frame.identity, frame.bytes));
                    }
                    Err(err) => assert_eq!(err.code(), "outbox.damaged"),
                }
                true
            }
        }
    }

    /// Another lane goes only when none of the alert lane could.
    fn check_urgency(&self, states: &[LaneState], lane: Lane) {
        let only_alerts: Vec<LaneState> = states
            .iter()
            .map(|state| match state.lane {
                Lane::Alert => *state,
                _ => LaneState {
                    next: state.acked + 1,
                    ..*state
                },
            })
            .collect();
        let could = self.scheduler.clone().next(&only_alerts, self.now);
        assert!(
            lane == Lane::Alert || could.is_none(),
            "{lane} before {could:?}"
        );
    }

    /// What a frame tells of others, for the comparison at the end.
    fn note(&mut self, frame: &OutFrame) {
        match self.ends.read(&frame.bytes) {
            Record::CarriedFrame(carried) => {
                let inner = envelope::peek(&carried.frame).unwrap().identity();
                self.carriers.insert(frame.identity, inner);
            }
            Record::LaneGap(gap) => drop(self.gaps.insert(frame.identity, gap)),
            _ => {}
        }
    }

    fn deliver(&mut self, pick: usize, lost: bool, again: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = pick % self.network.len();
        let message = if again {
            self.network[at].clone()
        } else {
            self.network.remove(at)
        };
        if !lost {
            self.arrived.push(message);
        }
    }

    /// The connection is new: what was under way is lost, and so is what the gateway had not
    /// committed.
    fn reconnect(&mut self) {
        self.network.clear();
        self.arrived.clear();
        self.scheduler.disconnected();
        self.scheduler.connected();
    }

    /// The box goes on from the files as they are at this moment.
    fn crash_box(&mut self) {
        let from = self.path();
        self.restart_from(&from);
        self.reconnect();
    }

    fn restart_from(&mut self, from: &Path) {
        self.generation += 1;
        let to = self.path();
        copy_card(from, to.parent().unwrap());
        self.outbox = Some(self.ends.open(&to, CAP_BYTES).unwrap());
        self.scheduler = LaneScheduler::new(5);
        self.scheduler.connected();
    }

    /// The box goes on from the copy of its card. What was under way still is: a broker keeps
    /// it.
    fn go_back(&mut self) {
        let Some((copy, committed)) = self.copy.clone() else {
            return;
        };
        self.restart_from(&copy);
        self.forgotten.extend(self.committed.drain(committed..));
        (self.may_fork, self.went_back) = (true, true);
    }

    fn pass(&mut self, micros: u64) {
        self.now += micros;
        self.ends.clock.advance_micros(micros);
        // what is due is done before the answer, so nothing goes on behind the model's back
        drop(self.states());
    }

    /// A frame that waits is overwritten behind the outbox's back.
    fn damage(&mut self, lane: u8, at: u8) {
        let state = self.states()[usize::from(lane)];
        let waiting = state.next - 1 - state.acked;
        if waiting > 0 {
            let seq = state.acked + 1 + u64::from(at) % waiting;
            let place = (i64::from(lane) << 48) + i64::try_from(seq).unwrap();
            self.damaged.insert(self.key(&state).frame(seq));
            let conn = rusqlite::Connection::open(self.path()).unwrap();
            conn.execute(
                "UPDATE frame SET bytes = zeroblob(9) WHERE place = ?1",
                [place],
            )
            .unwrap();
        }
    }

    /// From now on everything arrives.
    fn drain(&mut self) {
        self.reconnect();
        for _ in 0..2_000 {
            while self.publish() {}
            while !self.network.is_empty() {
                self.deliver(0, false, false);
            }
            self.commit();
            (0..4).for_each(|lane| self.ack(lane));
            self.check_deletions();
            let waits = |state: &LaneState| state.acked + 1 != state.next;
            let carries = self.outbox().summary().unwrap().aside.is_carrying;
            if !carries && !self.states().iter().any(waits) {
                return;
            }
            self.pass(1_000_000);
        }
        panic!("did not drain: {:?}", self.states());
    }
}

/// What a power cut would leave of an outbox and of what was set aside of it.
fn copy_card(outbox: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for file in files_of(outbox) {
        let name = file.file_name().unwrap();
        let text = name.to_str().unwrap();
        if !text.ends_with(".lock") && !text.ends_with("-shm") {
            std::fs::copy(&file, to.join(name)).unwrap();
        }
    }
    to.join(outbox.file_name().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: support::cases(12), ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_filed_exactly_once_or_named_in_a_gap(
        events in prop::collection::vec(event(), 10..80),
    ) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.drain();
        world.check();
    }
}

/// The gateway has a gap record and loses it with its disk; before it can ask again, the file
/// that holds the record is damaged too.
#[test]
fn a_gap_that_the_gateway_forgot_is_named_again_after_further_damage() {
    let mut world = World::new();
    let produce = |lane| Event::Produce { lane, records: 1 };
    world.apply(produce(3));
    world.apply(Event::Damage(3, 0));
    world.apply(Event::Publish(9));
    world.apply(Event::Deliver {
        pick: 0,
        lost: false,
        again: false,
    });
    world.apply(Event::Commit);
    world.apply(Event::Ack(3));
    assert_eq!(world.states()[3].acked, 1);
    world.apply(produce(1));
    world.apply(Event::Damage(1, 0));
    world.apply(Event::GatewayRestored);
    world.apply(Event::BoxCrash);
    world.drain();
    world.check();
}
