//! Single rules by example; all of them together against a hostile network in a model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000;

fn chain(number: u8) -> ChainId {
    ChainId([number; 8])
}

fn state(lane: Lane, next: u64, acked: u64) -> LaneState {
    LaneState {
        lane,
        chain: chain(1),
        oldest: 1,
        next,
        head: [0; 32],
        acked,
    }
}

/// Four lanes with so many frames each.
fn holding(frames: u64) -> Vec<LaneState> {
    Lane::ALL.map(|lane| state(lane, frames + 1, 0)).into()
}

/// A connection whose hello was answered.
fn open(outbox: &[LaneState]) -> LaneScheduler {
    let mut scheduler = LaneScheduler::new(1);
    scheduler.connected();
    assert_eq!(scheduler.next(outbox, 0), Some(Step::Hello));
    for lane in Lane::ALL {
        scheduler.ack(lane, chain(1), 0, 0);
    }
    scheduler
}

/// Publishes while the scheduler wants to, and confirms at once if asked to.
fn publish_all(
    scheduler: &mut LaneScheduler,
    outbox: &[LaneState],
    now: u64,
    confirm: bool,
) -> Vec<(Lane, u64)> {
    let mut published = Vec::new();
    while let Some(step) = scheduler.next(outbox, now) {
        let Step::Publish { lane, seq } = step else {
            panic!("{step:?} in the middle");
        };
        scheduler.published(lane, seq, 10_000, now);
        if confirm {
            scheduler.confirmed(lane, seq, now);
        }
        published.push((lane, seq));
    }
    published
}

#[test]
fn nothing_is_published_before_the_gateway_answered_the_hello() {
    let outbox = holding(3);
    let mut scheduler = LaneScheduler::new(1);
    assert_eq!(scheduler.next(&outbox, 0), None);
    scheduler.connected();
    assert_eq!(scheduler.next(&outbox, 0), Some(Step::Hello));
    assert_eq!(scheduler.next(&outbox, 1), None);
    scheduler.ack(Lane::Bulk, chain(1), 2, 2);
    let (lane, seq) = (Lane::Bulk, 3);
    assert_eq!(
        scheduler.next(&outbox, 3),
        Some(Step::Publish { lane, seq })
    );
}

#[test]
fn a_gateway_that_does_not_answer_is_given_five_seconds() {
    let outbox = holding(1);
    let mut scheduler = LaneScheduler::new(1);
    scheduler.connected();
    assert_eq!(scheduler.next(&outbox, 7), Some(Step::Hello));
    assert_eq!(scheduler.wake_at(), Some(7 + 5 * SECOND));
    assert_eq!(scheduler.next(&outbox, 6 + 5 * SECOND), None);
    let (lane, seq) = (Lane::Alert, 1);
    let step = scheduler.next(&outbox, 7 + 5 * SECOND);
    assert_eq!(step, Some(Step::Publish { lane, seq }));
}

#[test]
fn alerts_go_first_and_windows_hold_the_rest() {
    let outbox = holding(40);
    let mut scheduler = open(&outbox);
    let published = publish_all(&mut scheduler, &outbox, 0, true);
    let of = |lane| published.iter().filter(|(l, _)| *l == lane).count();
    assert_eq!(Lane::ALL.map(of), [16, 16, 27, 16]);
    let mut lanes: Vec<_> = published.iter().map(|(lane, _)| *lane).collect();
    lanes.dedup();
    assert_eq!(lanes, Lane::ALL);
}

#[test]
fn on_a_slow_link_an_alert_waits_for_one_other_frame_at_most() {
    let mut outbox = holding(0);
    outbox[2].next = 1000;
    let mut scheduler = open(&outbox);
    let mut now = 0;
    for seq in 1..20 {
        let published = publish_all(&mut scheduler, &outbox, now, false);
        assert_eq!(published, [(Lane::Bulk, seq)]);
        now += 3 * SECOND;
        scheduler.confirmed(Lane::Bulk, seq, now);
        scheduler.ack(Lane::Bulk, chain(1), seq, now);
    }
    publish_all(&mut scheduler, &outbox, now, false);
    outbox[0].next = 2;
    let published = publish_all(&mut scheduler, &outbox, now, false);
    assert_eq!(published, [(Lane::Alert, 1)]);
}

#[test]
fn while_alerts_wait_for_their_window_one_other_frame_is_in_the_way() {
    let mut outbox = holding(0);
    outbox[2].next = 1000;
    let mut scheduler = open(&outbox);
    // a quick link has widened the credit
    let quick = publish_all(&mut scheduler, &outbox, 0, true);
    let last = quick.last().unwrap().1;
    scheduler.ack(Lane::Bulk, chain(1), last, 1);
    outbox[0].next = 41;
    let published = publish_all(&mut scheduler, &outbox, 2, false);
    let of = |lane| published.iter().filter(|(l, _)| *l == lane).count();
    assert_eq!(Lane::ALL.map(of), [16, 0, 1, 0]);
    scheduler.ack(Lane::Alert, chain(1), 16, 3);
    let published = publish_all(&mut scheduler, &outbox, 4, false);
    assert_eq!(published.len(), 16);
    scheduler.ack(Lane::Alert, chain(1), 32, 5);
    let published = publish_all(&mut scheduler, &outbox, 6, false);
    let of = |lane| published.iter().filter(|(l, _)| *l == lane).count();
    assert_eq!(Lane::ALL.map(of), [8, 0, 3, 0], "the last alert is out");
}

#[test]
fn on_a_fast_link_the_credit_grows_until_the_window_is_full() {
    let mut outbox = holding(0);
    outbox[2].next = 1000;
    let mut scheduler = open(&outbox);
    let mut most = 0;
    let mut seq = 0;
    for round in 0..12_u64 {
        let now = round * 50_000;
        let published = publish_all(&mut scheduler, &outbox, now, false);
        most = most.max(published.len());
        seq += u64::try_from(published.len()).unwrap();
        scheduler.ack(Lane::Bulk, chain(1), seq, now + 40_000);
    }
    assert_eq!(most, 4, "32 KiB and a frame, in frames of 10 kB");
}

#[test]
fn a_link_that_turns_slow_has_one_frame_in_the_way_again_after_a_slow_delivery() {
    let mut outbox = holding(0);
    outbox[2].next = 1000;
    let mut scheduler = open(&outbox);
    let mut seq = 0;
    for round in 0..4_u64 {
        let now = round * 50_000;
        let published = publish_all(&mut scheduler, &outbox, now, false);
        seq += u64::try_from(published.len()).unwrap();
        scheduler.ack(Lane::Bulk, chain(1), seq, now + 40_000);
    }
    let out = publish_all(&mut scheduler, &outbox, SECOND, false);
    assert!(out.len() > 1);
    let last = out.last().unwrap().1;
    scheduler.ack(Lane::Bulk, chain(1), last, 9 * SECOND);
    let out = publish_all(&mut scheduler, &outbox, 9 * SECOND, false);
    assert_eq!(out, [(Lane::Bulk, last + 1)]);
}

#[test]
fn an_acknowledgement_tells_how_long_each_frame_was_out() {
    let outbox = holding(2);
    let mut scheduler = open(&outbox);
    scheduler.published(Lane::Alert, 1, 100, 5);
    scheduler.published(Lane::Alert, 2, 100, 9);
    assert_eq!(scheduler.under_way(), 2);
    assert_eq!(scheduler.ack(Lane::Alert, chain(1), 2, 20), [15, 11]);
    assert_eq!(scheduler.ack(Lane::Alert, chain(1), 2, 21), []);
    assert_eq!(scheduler.under_way(), 0);
}

#[test]
fn the_first_patience_is_what_it_was_told() {
    let mut outbox = holding(0);
    outbox[1].next = 2;
    let mut scheduler = LaneScheduler::with_patience(1, 4 * SECOND);
    scheduler.connected();
    assert_eq!(scheduler.next(&outbox, 0), Some(Step::Hello));
    for lane in Lane::ALL {
        scheduler.ack(lane, chain(1), 0, 0);
    }
    publish_all(&mut scheduler, &outbox, 0, true);
    assert_eq!(scheduler.wake_at(), Some(4 * SECOND));
    assert_eq!(scheduler.stalls(), 0);
    assert_eq!(scheduler.next(&outbox, 4 * SECOND), Some(Step::Hello));
    assert_eq!(scheduler.stalls(), 1);
}

#[test]
fn without_progress_it_goes_back_and_waits_longer_each_time() {
    let mut outbox = holding(0);
    outbox[1].next = 2;
    let mut scheduler = open(&outbox);
    let mut now = 0;
    let mut patience = Vec::new();
    for _ in 0..8 {
        let published = publish_all(&mut scheduler, &outbox, now, true);
        assert_eq!(published, [(Lane::Routine, 1)]);
        let wake = scheduler.wake_at().unwrap();
        patience.push((wake - now) / SECOND);
        now = wake;
        assert_eq!(scheduler.next(&outbox, now), Some(Step::Hello));
    }
    assert_eq!(patience[0], 30);
    assert!(
        patience.iter().all(|s| (30..=300).contains(s)),
        "{patience:?}"
    );
    assert!(patience[4..].iter().all(|s| *s >= 225), "{patience:?}");
    // progress brings the first patience back
    publish_all(&mut scheduler, &outbox, now, true);
    scheduler.ack(Lane::Routine, chain(1), 1, now);
    outbox[1].next = 3;
    publish_all(&mut scheduler, &outbox, now, true);
    assert_eq!(scheduler.wake_at(), Some(now + 30 * SECOND));
}

#[test]
fn a_new_chain_is_announced_before_it_is_sent() {
    let mut outbox = holding(5);
    let mut scheduler = open(&outbox);
    publish_all(&mut scheduler, &outbox, 0, true);
    outbox[1] = LaneState {
        chain: chain(2),
        ..state(Lane::Routine, 2, 0)
    };
    assert_eq!(scheduler.next(&outbox, 1), Some(Step::Hello));
    scheduler.ack(Lane::Routine, chain(1), 5, 2);
    assert_eq!(scheduler.next(&outbox, 2), None);
    scheduler.ack(Lane::Routine, chain(2), 0, 3);
    let (lane, seq) = (Lane::Routine, 1);
    assert_eq!(
        scheduler.next(&outbox, 3),
        Some(Step::Publish { lane, seq })
    );
}

#[test]
fn a_request_to_send_again_goes_back() {
    let outbox = holding(5);
    let mut scheduler = open(&outbox);
    publish_all(&mut scheduler, &outbox, 0, true);
    scheduler.ack(Lane::Alert, chain(1), 5, 1);
    scheduler.resend(Lane::Alert, chain(1), 2);
    let (lane, seq) = (Lane::Alert, 2);
    assert_eq!(
        scheduler.next(&outbox, 2),
        Some(Step::Publish { lane, seq })
    );
}

/// What may happen between box and gateway.
#[derive(Clone, Copy, Debug)]
enum Event {
    Produce(u8),
    Publish,
    Deliver { keep: bool, twice: bool, pick: u8 },
    Ack(u8),
    Disconnect,
    BoxCrash,
    GatewayCrash,
    GatewayFromBackup,
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u8..4).prop_map(Event::Produce),
        10 => Just(Event::Publish),
        10 => (any::<(bool, bool, u8)>())
            .prop_map(|(keep, twice, pick)| Event::Deliver { keep, twice, pick }),
        6 => (0_u8..4).prop_map(Event::Ack),
        1 => Just(Event::Disconnect),
        1 => Just(Event::BoxCrash),
        1 => Just(Event::GatewayCrash),
        1 => Just(Event::GatewayFromBackup),
        2 => (0_u32..40_000_000).prop_map(Event::Pass),
    ]
}

/// A gateway keeps what it committed. What it acknowledged is among it.
#[derive(Clone, Default)]
struct Gateway {
    committed: [BTreeSet<u64>; 4],
}

impl Gateway {
    fn contiguous(&self, lane: usize) -> u64 {
        let mut upto = 0;
        while self.committed[lane].contains(&(upto + 1)) {
            upto += 1;
        }
        upto
    }
}

struct World {
    now: u64,
    outbox: Vec<LaneState>,
    scheduler: LaneScheduler,
    network: Vec<(usize, u64)>,
    gateway: Gateway,
    backup: Gateway,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            now: 0,
            outbox: holding(0),
            scheduler: LaneScheduler::new(7),
            network: Vec::new(),
            gateway: Gateway::default(),
            backup: Gateway::default(),
        };
        world.scheduler.connected();
        world
    }

    fn reconnect(&mut self) {
        self.network.clear();
        self.scheduler.disconnected();
        assert_eq!(self.scheduler.next(&self.outbox, self.now), None);
        self.scheduler.connected();
    }

    /// One step; the answers of a hello come at once.
    fn publish(&mut self) -> bool {
        match self.scheduler.next(&self.outbox, self.now) {
            None => false,
            Some(Step::Hello) => {
                (0..4).for_each(|lane| self.ack(lane));
                true
            }
            Some(Step::Publish { lane, seq }) => {
                let state = &self.outbox[usize::from(lane.number())];
                assert!(seq > state.acked && seq < state.next, "{lane} {seq}");
                self.scheduler.published(lane, seq, 9_000, self.now);
                self.network.push((usize::from(lane.number()), seq));
                self.check_credit();
                true
            }
        }
    }

    fn check_credit(&self) {
        let others = &self.scheduler.lanes[1..];
        let sizes = others
            .iter()
            .flat_map(LaneLink::unconfirmed)
            .map(|f| f.bytes);
        let sizes: Vec<usize> = sizes.collect();
        assert!(sizes.len() <= CREDIT_MAX);
        assert!(sizes.iter().skip(1).sum::<usize>() < CREDIT_BYTES);
        for link in &self.scheduler.lanes {
            assert!(link.in_flight.len() <= BULK_WINDOW_FRAMES);
        }
    }

    fn deliver(&mut self, pick: usize, keep: bool, twice: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = pick % self.network.len();
        let (lane, seq) = if twice {
            self.network[at]
        } else {
            self.network.remove(at)
        };
        if keep {
            self.gateway.committed[lane].insert(seq);
            self.scheduler.confirmed(Lane::ALL[lane], seq, self.now);
        }
    }

    /// The gateway acknowledges what it has; a gateway that went back asks for the rest.
    fn ack(&mut self, lane: usize) {
        let upto = self.gateway.contiguous(lane);
        let state = &mut self.outbox[lane];
        if upto < state.acked {
            state.acked = upto;
            self.scheduler.resend(Lane::ALL[lane], chain(1), upto + 1);
        }
        state.acked = upto;
        self.scheduler
            .ack(Lane::ALL[lane], chain(1), upto, self.now);
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Produce(lane) => self.outbox[usize::from(lane)].next += 1,
            Event::Publish => drop(self.publish()),
            Event::Deliver { keep, twice, pick } => self.deliver(usize::from(pick), keep, twice),
            Event::Ack(lane) => self.ack(usize::from(lane)),
            Event::Disconnect => self.reconnect(),
            Event::BoxCrash => {
                self.scheduler = LaneScheduler::new(9);
                self.reconnect();
            }
            Event::GatewayCrash => {
                self.backup = self.gateway.clone();
                self.reconnect();
            }
            Event::GatewayFromBackup => {
                self.gateway = self.backup.clone();
                self.reconnect();
            }
            Event::Pass(micros) => self.now += u64::from(micros),
        }
    }

    /// From now on the network is kind: everything must arrive.
    fn drain(&mut self) {
        self.reconnect();
        for _ in 0..10_000 {
            while self.publish() {}
            while !self.network.is_empty() {
                self.deliver(0, true, false);
            }
            (0..4).for_each(|lane| self.ack(lane));
            if self
                .outbox
                .iter()
                .all(|state| state.acked + 1 == state.next)
            {
                return;
            }
            self.now += SECOND;
        }
        panic!("did not drain: {:?}", self.outbox);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_everything_that_was_stored_arrives(
        events in prop::collection::vec(event(), 1..200),
    ) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.drain();
        for (lane, state) in world.outbox.iter().enumerate() {
            prop_assert_eq!(world.gateway.contiguous(lane) + 1, state.next);
        }
    }

    #[test]
    fn an_alert_is_always_the_next_frame_while_its_window_has_room(
        events in prop::collection::vec(event(), 1..100),
    ) {
        let mut world = World::new();
        for event in events {
            world.apply(event);
        }
        world.reconnect();
        while world.scheduler.next(&world.outbox, world.now) == Some(Step::Hello) {
            (0..4).for_each(|lane| world.ack(lane));
        }
        world.apply(Event::Produce(0));
        let step = world.scheduler.next(&world.outbox, world.now);
        prop_assert!(matches!(step, Some(Step::Publish { lane: Lane::Alert, .. })), "{step:?}");
    }
}
