//! A real outbox, the real scheduler, and the gateway's own decisions (`cardio_wire::intake`)
//! over memory, under everything that can happen between them: frames lost, repeated and out
//! of order; acknowledgements forged, replayed, older, of other chains and boxes; crashes of
//! both ends; a gateway restored from an old copy; frames deleted for space; a full outbox;
//! damage.
//!
//! Holds:
//! - what was committed is filed exactly once, or named in a signed gap record, and what was
//!   refused is counted in one;
//! - what was deleted had been acknowledged, out of a durable state;
//! - each lane is filed in its order, and an identity never has two frames;
//! - no other frame is published while an alert could be.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, AckRefusal, Outbox, Resent};
use cardio_wire::chain::ChainWalk;
use cardio_wire::envelope;
use cardio_wire::intake::{self, Arrival, ChainKey, Holdings, MemoryHoldings, NamedGap, Stored};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::link::{LaneScheduler, Step};
use cardio_wire::message::{Ack, LaneState};
use cardio_wire::record::{LaneGapV1, Record};
use proptest::prelude::*;
use support::{Ends, put, sized_event};

/// So small that a few dozen records fill it.
const CAP_BYTES: u64 = 512 * 1024;
const RECORD_BYTES: usize = 4000;

#[derive(Clone, Debug)]
enum Event {
    Produce {
        lane: u8,
        records: u8,
    },
    Publish(u8),
    /// A message arrives, or is lost, or arrives and will arrive again.
    Deliver {
        pick: u8,
        lost: bool,
        again: bool,
    },
    /// The gateway commits what has arrived.
    Commit,
    Ack(u8),
    Forge(u8),
    Replay,
    Disconnect,
    BoxCrash,
    GatewayCrash,
    GatewayBackup,
    GatewayRestored,
    Damage(u8, u8),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let lane = 0_u8..4;
    prop_oneof![
        8 => (lane.clone(), 1_u8..8).prop_map(|(lane, records)| Event::Produce { lane, records }),
        8 => (1_u8..20).prop_map(Event::Publish),
        8 => (any::<u8>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(pick, lost, again)| Event::Deliver { pick, lost, again }),
        5 => Just(Event::Commit),
        6 => lane.clone().prop_map(Event::Ack),
        1 => lane.clone().prop_map(Event::Forge),
        1 => Just(Event::Replay),
        1 => Just(Event::Disconnect),
        1 => Just(Event::BoxCrash),
        1 => Just(Event::GatewayCrash),
        1 => Just(Event::GatewayBackup),
        1 => Just(Event::GatewayRestored),
        1 => (lane, any::<u8>()).prop_map(|(lane, at)| Event::Damage(lane, at)),
        2 => (0_u32..40_000_000).prop_map(Event::Pass),
    ]
}

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
            Event::Pass(micros) => self.now += u64::from(micros),
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

    /// The gateway answers a hello lane by lane; one that went back asks for what it lost.
    fn hello(&mut self) {
        for state in self.states() {
            let device = self.ends.device;
            let Some(greeting) = intake::greet(&mut self.gateway, device, &state).unwrap() else {
                panic!("{state:?} is not answered");
            };
            if let Some(from) = greeting.resend_from {
                let resent = self.outbox().resend(state.lane, state.chain, from).unwrap();
                let Resent::From { seq, .. } = resent else {
                    panic!("{resent:?}");
                };
                self.scheduler.resend(state.lane, state.chain, seq);
            }
            self.ack(usize::from(state.lane.number()));
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

    /// Everything that has arrived becomes durable; then the transport says so.
    fn commit(&mut self) {
        for (identity, frame) in std::mem::take(&mut self.arrived) {
            let key = self.ends.signer.verifying_key();
            let verified = envelope::verify(&frame, &key).unwrap();
            let arrival = Arrival {
                identity,
                prev: verified.header.prev,
                fingerprint: verified.fingerprint,
                frame: &frame,
            };
            let receipt = intake::take(&mut self.gateway, &arrival).unwrap();
            assert!(
                matches!(receipt.stored, Stored::New | Stored::Duplicate),
                "{identity}: {receipt:?}"
            );
            assert_eq!(receipt.head.broken_at, None, "{identity}");
            if let Record::LaneGap(gap) = self.ends.read(&frame) {
                self.name(&gap);
            }
            self.scheduler
                .confirmed(identity.lane, identity.seq, self.now);
        }
    }

    fn name(&mut self, gap: &LaneGapV1) {
        let key = ChainKey {
            device: self.ends.device,
            lane: gap.lane,
            chain: gap.chain,
        };
        let named = NamedGap {
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            ends_chain: gap.reason == "outbox.damaged",
        };
        intake::name_gap(&mut self.gateway, key, &named).unwrap();
    }

    /// The gateway says how far it is, out of what is durable.
    fn ack(&mut self, lane: usize) {
        let state = self.states()[lane];
        let head = self.gateway.head(self.key(&state)).unwrap();
        let (upto, head) = head.map_or((0, Some([0; 32])), |head| (head.upto, head.head));
        let Some(head) = head else {
            return;
        };
        self.counter += 1;
        let ack = self.make_ack(&state, upto, head);
        self.acks.push(ack);
        match self.outbox().acked(&ack).unwrap() {
            AckOutcome::Accepted { .. } => {
                let covered = self.covered.entry(state.chain).or_default();
                *covered = upto.max(*covered);
                self.scheduler.ack(state.lane, state.chain, upto, self.now);
            }
            // it was restored, and has not asked yet: that comes with the next hello
            AckOutcome::Refused { why } => assert_eq!(
                (why, upto < state.acked),
                (AckRefusal::Behind, true),
                "{state:?} {upto}"
            ),
        }
    }

    fn make_ack(&self, state: &LaneState, upto: u64, head: [u8; 32]) -> Ack {
        Ack {
            device: self.ends.device,
            lane: state.lane,
            chain: state.chain,
            upto,
            head,
            gateway_utc: cardio_core::clock::UtcMicros(0),
            echo_us: None,
            counter: self.counter,
            other: None,
        }
    }

    /// Claims everything: with the head of another history, for another chain, another box,
    /// and more than there is.
    fn forge(&mut self, lane: usize) {
        let state = self.states()[lane];
        let ack = Ack {
            counter: self.counter + 1,
            ..self.make_ack(&state, state.next - 1, [0xEE; 32])
        };
        let forged = [
            (ack, AckRefusal::OtherFrame),
            (
                Ack {
                    chain: ChainId([0xEE; 8]),
                    head: state.head,
                    ..ack
                },
                AckRefusal::OtherChain,
            ),
            (
                Ack {
                    device: BoxId([0xEE; 16]),
                    head: state.head,
                    ..ack
                },
                AckRefusal::OtherBox,
            ),
            (
                Ack {
                    upto: state.next,
                    ..ack
                },
                AckRefusal::Ahead,
            ),
        ];
        for (ack, why) in forged {
            let outcome = self.outbox().acked(&ack).unwrap();
            assert_eq!(outcome, AckOutcome::Refused { why });
        }
    }

    /// An old acknowledgement comes again, after everything that happened since.
    fn replay(&mut self) {
        let Some(old) = self.acks.first() else {
            return;
        };
        let newer = self.acks.iter().rev().find(|ack| ack.lane == old.lane);
        if newer.is_some_and(|ack| ack.counter > old.counter) {
            let outcome = self.outbox().acked(old).unwrap();
            assert!(matches!(outcome, AckOutcome::Refused { .. }), "{outcome:?}");
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
        self.generation += 1;
        let to = self.path();
        std::fs::create_dir(to.parent().unwrap()).unwrap();
        for name in ["outbox.db", "outbox.db-wal"] {
            let source = from.with_file_name(name);
            if source.exists() {
                std::fs::copy(source, to.with_file_name(name)).unwrap();
            }
        }
        self.outbox = Some(self.ends.open(&to, CAP_BYTES).unwrap());
        self.scheduler = LaneScheduler::new(5);
        self.reconnect();
    }

    /// A frame that waits is overwritten behind the outbox's back.
    fn damage(&mut self, lane: u8, at: u8) {
        let state = self.states()[usize::from(lane)];
        let waiting = state.next - 1 - state.acked;
        if waiting > 0 {
            let seq = state.acked + 1 + u64::from(at) % waiting;
            let place = (i64::from(lane) << 48) + i64::try_from(seq).unwrap();
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
            if self
                .states()
                .iter()
                .all(|state| state.acked + 1 == state.next)
            {
                return;
            }
            self.now += 1_000_000;
        }
        panic!("did not drain: {:?}", self.states());
    }

    /// Everything that the gateway can open. Each chain is walked as far as it goes.
    fn filed(&self) -> Vec<Record> {
        let mut chains: BTreeMap<(Lane, ChainId), ChainWalk> = BTreeMap::new();
        for (identity, bytes) in self.gateway.frames() {
            let walk = chains
                .entry((identity.lane, identity.chain))
                .or_insert(ChainWalk::new(self.ends.signer.verifying_key()));
            if identity.seq == walk.last().map_or(1, |(last, _)| last.seq + 1) {
                walk.step(bytes).unwrap();
            }
        }
        let frames = self.gateway.frames();
        frames.map(|(_, bytes)| self.ends.read(bytes)).collect()
    }

    fn check(&self) {
        assert_eq!(self.gateway.conflicts().count(), 0);
        let filed = self.filed();
        let gaps: Vec<&LaneGapV1> = filed
            .iter()
            .filter_map(|record| match record {
                Record::LaneGap(gap) => Some(gap),
                _ => None,
            })
            .collect();
        for (identity, record) in &self.committed {
            let times = filed.iter().filter(|other| *other == record).count();
            // a chain that has ended is named to its end: what the gateway once had before
            // the gap, and lost with its disk, is missing too
            let named = gaps.iter().any(|gap| {
                let ended = gap.reason == "outbox.damaged";
                (gap.lane, gap.chain) == (identity.lane, identity.chain)
                    && (ended || gap.from_seq <= identity.seq)
                    && identity.seq <= gap.to_seq
            });
            assert!(times <= 1, "{identity} is filed {times} times");
            assert!(times == 1 || named, "{identity} is lost");
        }
        let summary = self.outbox().summary().unwrap();
        let unnamed: u64 = summary.lanes.iter().map(|lane| lane.refused).sum();
        let named: u64 = gaps
            .iter()
            .filter(|gap| gap.reason == "space.refused")
            .map(|gap| gap.records)
            .sum();
        assert!(
            unnamed + named >= self.refused,
            "{} were refused, {named} are named, {unnamed} will be",
            self.refused
        );
    }
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
