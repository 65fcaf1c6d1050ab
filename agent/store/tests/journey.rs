//! A real outbox, the real scheduler, and a gateway in memory, under everything that can
//! happen between them.
//!
//! Holds: what was committed is filed exactly once, or named in a signed gap record; an
//! identity never has two frames; forged and old acknowledgements count for nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cardio_store::{AckOutcome, AckRefusal, Outbox, Resent};
use cardio_wire::chain::ChainWalk;
use cardio_wire::envelope::{self, NO_PREVIOUS};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::link::{LaneScheduler, Step};
use cardio_wire::message::{Ack, LaneState};
use cardio_wire::record::Record;
use proptest::prelude::*;
use support::{Ends, MIB, put, sized_event};

#[derive(Clone, Debug)]
enum Event {
    Produce(u8),
    Publish(u8),
    /// A message arrives, or is lost, or arrives and will arrive again.
    Deliver {
        pick: u8,
        lost: bool,
        again: bool,
    },
    Ack(u8),
    Forge(u8),
    Replay,
    Disconnect,
    BoxCrash,
    GatewayBackup,
    GatewayRestored,
    Damage(u8, u8),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let lane = 0_u8..4;
    prop_oneof![
        8 => lane.clone().prop_map(Event::Produce),
        8 => (1_u8..20).prop_map(Event::Publish),
        8 => (any::<u8>(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(pick, lost, again)| Event::Deliver { pick, lost, again }),
        6 => lane.clone().prop_map(Event::Ack),
        1 => lane.clone().prop_map(Event::Forge),
        1 => Just(Event::Replay),
        1 => Just(Event::Disconnect),
        1 => Just(Event::BoxCrash),
        1 => Just(Event::GatewayBackup),
        1 => Just(Event::GatewayRestored),
        1 => (lane, any::<u8>()).prop_map(|(lane, at)| Event::Damage(lane, at)),
        2 => (0_u32..40_000_000).prop_map(Event::Pass),
    ]
}

/// What the gateway has committed: frames by identity. The first bytes of an identity stay.
#[derive(Clone, Default)]
struct Gateway {
    inbox: BTreeMap<FrameIdentity, Vec<u8>>,
}

impl Gateway {
    /// The last frame of a chain without holes before it, and its fingerprint.
    fn contiguous(&self, first: FrameIdentity) -> (u64, [u8; 32]) {
        let mut last = (0, NO_PREVIOUS);
        loop {
            let seq = last.0 + 1;
            match self.inbox.get(&FrameIdentity { seq, ..first }) {
                Some(bytes) => last = (seq, envelope::fingerprint(bytes)),
                None => return last,
            }
        }
    }
}

struct World {
    ends: Ends,
    dir: tempfile::TempDir,
    generation: u32,
    outbox: Option<Outbox>,
    scheduler: LaneScheduler,
    now: u64,
    network: Vec<(FrameIdentity, Vec<u8>)>,
    gateway: Gateway,
    backup: Gateway,
    /// Every acknowledgement that was ever made.
    acks: Vec<Ack>,
    counter: u64,
    made: u64,
    committed: Vec<(FrameIdentity, Record)>,
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
            gateway: Gateway::default(),
            backup: Gateway::default(),
            acks: Vec::new(),
            counter: 0,
            made: 0,
            committed: Vec::new(),
        };
        world.outbox = Some(world.ends.open(&world.path(), 64 * MIB).unwrap());
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

    fn apply(&mut self, event: Event) {
        match event {
            Event::Produce(lane) => self.produce(Lane::from_number(lane).unwrap()),
            Event::Publish(steps) => drop((0..steps).all(|_| self.publish())),
            Event::Deliver { pick, lost, again } => self.deliver(usize::from(pick), lost, again),
            Event::Ack(lane) => self.ack(usize::from(lane)),
            Event::Forge(lane) => self.forge(usize::from(lane)),
            Event::Replay => self.replay(),
            Event::Disconnect => self.reconnect(),
            Event::BoxCrash => self.crash_box(),
            Event::GatewayBackup => self.backup = self.gateway.clone(),
            Event::GatewayRestored => {
                self.gateway = self.backup.clone();
                self.reconnect();
            }
            Event::Damage(lane, at) => self.damage(lane, at),
            Event::Pass(micros) => self.now += u64::from(micros),
        }
    }

    fn produce(&mut self, lane: Lane) {
        self.made += 1;
        let record = sized_event(self.made, 100);
        let stored = put(self.outbox(), lane, record.clone()).unwrap();
        self.committed.push((stored.identity, record));
    }

    /// One step of the uplink. A frame that turns out to be damaged makes the outbox begin
    /// new chains, which the next step announces.
    fn publish(&mut self) -> bool {
        match self.scheduler.next(&self.states(), self.now) {
            None => false,
            Some(Step::Hello) => {
                (0..4).for_each(|lane| self.ack(lane));
                true
            }
            Some(Step::Publish { lane, seq }) => {
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

    fn deliver(&mut self, pick: usize, lost: bool, again: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = pick % self.network.len();
        let (identity, bytes) = if again {
            self.network[at].clone()
        } else {
            self.network.remove(at)
        };
        if !lost {
            let key = self.ends.signer.verifying_key();
            assert!(envelope::verify(&bytes, &key).is_ok());
            let kept = self.gateway.inbox.entry(identity).or_insert(bytes.clone());
            assert_eq!(*kept, bytes, "one identity, two frames");
            self.scheduler
                .confirmed(identity.lane, identity.seq, self.now);
        }
    }

    /// The gateway says how far it is; one that went back asks for what it lost.
    fn ack(&mut self, lane: usize) {
        let state = self.states()[lane];
        let (upto, head) = self.gateway.contiguous(self.first_of(&state));
        if upto < state.acked {
            let resent = self
                .outbox()
                .resend(state.lane, state.chain, upto + 1)
                .unwrap();
            let Resent::From { seq, missing: 0 } = resent else {
                panic!("{resent:?}");
            };
            self.scheduler.resend(state.lane, state.chain, seq);
        }
        self.counter += 1;
        let ack = self.make_ack(&state, upto, head);
        self.acks.push(ack);
        let outcome = self.outbox().acked(&ack).unwrap();
        assert!(
            matches!(outcome, AckOutcome::Accepted { .. }),
            "{outcome:?}"
        );
        self.scheduler.ack(state.lane, state.chain, upto, self.now);
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
        }
    }

    fn first_of(&self, state: &LaneState) -> FrameIdentity {
        FrameIdentity {
            device: self.ends.device,
            lane: state.lane,
            chain: state.chain,
            seq: 1,
        }
    }

    /// Claims everything, with the head of another history.
    fn forge(&mut self, lane: usize) {
        let state = self.states()[lane];
        let ack = self.make_ack(&state, state.next - 1, [0xEE; 32]);
        let ack = Ack {
            counter: self.counter + 1,
            ..ack
        };
        let why = AckRefusal::OtherFrame;
        assert_eq!(
            self.outbox().acked(&ack).unwrap(),
            AckOutcome::Refused { why }
        );
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

    fn reconnect(&mut self) {
        self.network.clear();
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
        self.outbox = Some(self.ends.open(&to, 64 * MIB).unwrap());
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
            (0..4).for_each(|lane| self.ack(lane));
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
        for (identity, bytes) in &self.gateway.inbox {
            let walk = chains
                .entry((identity.lane, identity.chain))
                .or_insert(ChainWalk::new(self.ends.signer.verifying_key()));
            if identity.seq == walk.last().map_or(1, |(last, _)| last.seq + 1) {
                walk.step(bytes).unwrap();
            }
        }
        let frames = self.gateway.inbox.values();
        frames.map(|bytes| self.ends.read(bytes)).collect()
    }

    fn check(&self) {
        let filed = self.filed();
        let gaps: Vec<_> = filed
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
                (gap.lane, gap.chain) == (identity.lane, identity.chain)
                    && identity.seq <= gap.to_seq
            });
            assert!(times <= 1, "{identity} is filed {times} times");
            assert!(times == 1 || named, "{identity} is lost");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: support::cases(8), ..ProptestConfig::default() })]

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
