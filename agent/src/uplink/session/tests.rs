use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardio_core::clock::{Clock, ManualClock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, AckRefusal, OutFrame, OutboxError, Resent};
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::{Ack, Command, CommandAction, Hello, LaneState};
use cardio_wire::topic::Topic;
use cardio_wire::visits::VisitList;
use tokio::sync::{Notify, mpsc, watch};

use super::{UplinkFacts, UplinkPlan, UplinkTask};
use crate::enrolment::EnrolmentError;
use crate::status::Board;
use crate::testing::manual_clock;
use crate::uplink::commands::{CommandLog, Trust};
use crate::uplink::shelf::Shelf;
use crate::uplink::{Link, LinkEvent, Outgoing, Uplink, UplinkError};
use crate::worklist::Worklist;

pub(super) const DEVICE: BoxId = BoxId([3; 16]);
const CHAIN: ChainId = ChainId([1; 8]);

/// An outbox that holds frames without content.
#[derive(Clone, Default)]
pub(super) struct Frames(
    Arc<Mutex<Vec<LaneState>>>,
    Arc<Mutex<Option<RecipientPublicKey>>>,
);

/// Bytes of a frame, which differ from one to the next: 2 to 6 kB.
fn size_of(seq: u64) -> usize {
    2000 + usize::try_from(seq * 1371 % 4000).unwrap()
}

impl Frames {
    pub(super) fn hold(&self, lane: Lane, count: u64) {
        let mut lanes = self.0.lock().unwrap();
        match lanes.iter_mut().find(|state| state.lane == lane) {
            Some(state) => state.next += count,
            None => lanes.push(LaneState {
                lane,
                chain: CHAIN,
                oldest: 1,
                next: count + 1,
                head: [0; 32],
                acked: 0,
            }),
        }
    }

    fn acked_upto(&self, lane: Lane) -> u64 {
        let lanes = self.0.lock().unwrap();
        lanes.iter().find(|state| state.lane == lane).unwrap().acked
    }
}

impl Shelf for Frames {
    async fn lanes(&self) -> Result<Vec<LaneState>, OutboxError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn after(&self, lane: Lane, seq: u64) -> Result<Option<OutFrame>, OutboxError> {
        let lanes = self.0.lock().unwrap();
        let state = lanes.iter().find(|state| state.lane == lane).unwrap();
        Ok((seq + 1 < state.next).then(|| OutFrame {
            identity: FrameIdentity {
                device: DEVICE,
                lane,
                chain: CHAIN,
                seq: seq + 1,
            },
            bytes: {
                let mut bytes = (seq + 1).to_be_bytes().to_vec();
                bytes.resize(size_of(seq + 1), 0);
                bytes
            },
        }))
    }

    async fn acked(&self, ack: Ack) -> Result<AckOutcome, OutboxError> {
        let mut lanes = self.0.lock().unwrap();
        let state = lanes
            .iter_mut()
            .find(|state| state.lane == ack.lane)
            .unwrap();
        if ack.upto >= state.next {
            return Ok(AckOutcome::Refused {
                why: AckRefusal::OtherFrame,
            });
        }
        let newly = ack.upto - state.acked;
        state.acked = ack.upto;
        Ok(AckOutcome::Accepted {
            upto: ack.upto,
            newly,
        })
    }

    async fn resend(
        &self,
        lane: Lane,
        _chain: ChainId,
        from_seq: u64,
    ) -> Result<Resent, OutboxError> {
        let mut lanes = self.0.lock().unwrap();
        let state = lanes.iter_mut().find(|state| state.lane == lane).unwrap();
        state.acked = from_seq - 1;
        Ok(Resent::From {
            seq: from_seq,
            missing: 0,
        })
    }

    async fn seal_to(&self, recipient: RecipientPublicKey) -> Result<(), OutboxError> {
        *self.1.lock().unwrap() = Some(recipient);
        Ok(())
    }

    async fn free_bytes(&self) -> Result<u64, OutboxError> {
        Ok(1 << 20)
    }
}

/// The gateway's end of one connection.
pub(super) struct Gateway {
    pub(super) published: mpsc::Receiver<Outgoing>,
    pub(super) say: mpsc::Sender<LinkEvent>,
}

/// Hands the gateway's ends to the test.
struct Wire(mpsc::UnboundedSender<Gateway>);

impl Uplink for Wire {
    async fn connect(&mut self) -> Result<Link, UplinkError> {
        let (publish, published) = mpsc::channel(1);
        let (say, events) = mpsc::channel(8);
        self.0
            .send(Gateway { published, say })
            .map_err(|_| UplinkError::Closed)?;
        Ok(Link {
            publish,
            events,
            certificate_until: UtcMicros(5),
        })
    }

    async fn close(&mut self) {}
}

/// Writes nothing down.
struct Forgetful;

impl CommandLog for Forgetful {
    fn note(&self, _: u64, _: &TrustedKeys) -> Result<(), EnrolmentError> {
        Ok(())
    }
}

fn keys_of(control: &SigningKey, next: &SigningKey) -> TrustedKeys {
    TrustedKeys {
        recipient: RecipientPublicKey([4; 32]),
        control: control.verifying_key(),
        control_next: next.verifying_key(),
    }
}

pub(super) struct Rig {
    pub(super) frames: Frames,
    pub(super) clock: Arc<ManualClock>,
    control: SigningKey,
    box_key: SigningKey,
    pub(super) stored: Arc<Notify>,
    board: Arc<Board>,
    gateways: mpsc::UnboundedReceiver<Gateway>,
    facts: watch::Receiver<UplinkFacts>,
    stop: watch::Sender<bool>,
    pub(super) worklist: Arc<Worklist>,
}

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.unwrap()
}

impl Rig {
    pub(super) fn start(frames: Frames) -> Self {
        let rng = ring::rand::SystemRandom::new();
        let (control, _) = SigningKey::generate(&rng).unwrap();
        let (box_key, _) = SigningKey::generate(&rng).unwrap();
        let clock = manual_clock();
        let (to_test, gateways) = mpsc::unbounded_channel();
        let (stop, stops) = watch::channel(false);
        let (tell_facts, facts) = watch::channel(UplinkFacts::default());
        let rig = Self {
            frames: frames.clone(),
            clock: Arc::clone(&clock),
            stored: Arc::new(Notify::new()),
            board: Arc::new(Board::default()),
            gateways,
            facts,
            stop,
            control: control.clone(),
            box_key: box_key.clone(),
            worklist: Arc::new(Worklist::new(DEVICE, clock.clone()).unwrap()),
        };
        let task = UplinkTask {
            uplink: Wire(to_test),
            shelf: frames,
            plan: UplinkPlan {
                device: DEVICE,
                signer: box_key,
                trust: Trust {
                    device: DEVICE,
                    keys: keys_of(&control, &control),
                    last_command: 0,
                    log: Arc::new(Forgetful),
                },
                agent_version: "0".to_owned(),
                worklist: Arc::clone(&rig.worklist),
                retry_first: Duration::from_millis(1),
                retry_last: Duration::from_millis(2),
                stalled_after: Duration::from_secs(30),
            },
            clock,
            board: Arc::clone(&rig.board),
            stored: Arc::clone(&rig.stored),
            stop: stops,
            facts: tell_facts,
        };
        tokio::spawn(task.run());
        rig
    }

    pub(super) async fn gateway(&mut self) -> Gateway {
        soon(self.gateways.recv()).await.unwrap()
    }

    pub(super) fn ack(&self, lane: Lane, upto: u64) -> Vec<u8> {
        self.ack_of(lane, upto).sign(&self.control)
    }

    fn ack_of(&self, lane: Lane, upto: u64) -> Ack {
        Ack {
            device: DEVICE,
            lane,
            chain: CHAIN,
            upto,
            head: [0; 32],
            gateway_utc: self.clock.read().utc,
            echo_us: None,
            counter: upto + 1,
            other: None,
        }
    }
}

impl Gateway {
    pub(super) async fn hello(&mut self, rig: &Rig) -> Hello {
        let out = soon(self.published.recv()).await.unwrap();
        assert_eq!(out.topic, Topic::UpHello(DEVICE).to_string());
        Hello::verify(&out.payload, &rig.box_key.verifying_key()).unwrap()
    }

    /// The next frame, which is taken over at once.
    async fn frame(&mut self) -> (Lane, u64) {
        let out = soon(self.published.recv()).await.unwrap();
        let (lane, seq) = out.frame.unwrap();
        assert_eq!(out.topic, Topic::UpLane(DEVICE, lane).to_string());
        assert_eq!(out.payload[..8], seq.to_be_bytes());
        self.say
            .send(LinkEvent::Delivered { lane, seq })
            .await
            .unwrap();
        (lane, seq)
    }

    pub(super) async fn say(&self, topic: Topic, payload: Vec<u8>) {
        let topic = topic.to_string();
        self.say
            .send(LinkEvent::Message { topic, payload })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn after_hello_and_an_acknowledgement_the_box_goes_on_behind_it() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 4);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    assert_eq!(gateway.hello(&rig).await.lanes[0].next, 5);
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 2))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 3));
    assert_eq!(gateway.frame().await, (Lane::Routine, 4));
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 4))
        .await;
    soon(rig.facts.wait_for(|facts| facts.drained))
        .await
        .unwrap();
    assert_eq!(rig.frames.acked_upto(Lane::Routine), 4);
}

#[tokio::test]
async fn a_gateway_that_says_nothing_after_hello_is_sent_to_after_a_while() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    rig.clock.advance_micros(5_000_000);
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
}

#[tokio::test]
async fn a_forged_acknowledgement_moves_nothing() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 2);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    let (forger, _) = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let forged = rig.ack_of(Lane::Routine, 2).sign(&forger);
    gateway.say(Topic::DownAck(DEVICE), forged).await;
    let foreign = Ack {
        device: BoxId([4; 16]),
        ..rig.ack_of(Lane::Routine, 2)
    };
    gateway
        .say(Topic::DownAck(DEVICE), foreign.sign(&rig.control))
        .await;
    let ahead = rig.ack(Lane::Routine, 9);
    gateway.say(Topic::DownAck(DEVICE), ahead).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    assert_eq!(rig.frames.acked_upto(Lane::Routine), 1);
    assert_eq!(rig.board.lines().uplink.refused_acks, 3);
}

#[tokio::test]
async fn after_a_lost_connection_what_was_not_acknowledged_is_sent_again() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 3);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    gateway
        .say
        .send(LinkEvent::Lost(UplinkError::Closed))
        .await
        .unwrap();
    let mut again = rig.gateway().await;
    assert_eq!(again.hello(&rig).await.lanes[0].acked, 1);
    again
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 1))
        .await;
    assert_eq!(again.frame().await, (Lane::Routine, 2));
    assert!(rig.board.lines().uplink.connections >= 2);
}

#[tokio::test]
async fn without_progress_for_the_limit_everything_goes_again_after_a_new_hello() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 2);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 0))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    rig.clock.advance_micros(30_000_000);
    gateway.hello(&rig).await;
    rig.clock.advance_micros(5_000_000);
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
}

#[tokio::test]
async fn an_alert_that_is_stored_while_bulk_is_sent_goes_next() {
    let frames = Frames::default();
    frames.hold(Lane::Bulk, 20);
    frames.hold(Lane::Alert, 0);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    for lane in [Lane::Alert, Lane::Bulk] {
        gateway.say(Topic::DownAck(DEVICE), rig.ack(lane, 0)).await;
    }
    let first = soon(gateway.published.recv()).await.unwrap();
    assert_eq!(first.frame, Some((Lane::Bulk, 1)));
    rig.frames.hold(Lane::Alert, 1);
    rig.stored.notify_one();
    // the frame before it is not taken over yet, and nothing else comes between
    assert_eq!(gateway.frame().await, (Lane::Alert, 1));
}

#[tokio::test]
async fn a_command_to_send_again_goes_back_and_a_revocation_ends_everything() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 3);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    gateway
        .say(Topic::DownAck(DEVICE), rig.ack(Lane::Routine, 3))
        .await;
    soon(rig.facts.wait_for(|facts| facts.drained))
        .await
        .unwrap();
    let command = |number, action| Command {
        device: DEVICE,
        number,
        expires: UtcMicros(i64::MAX),
        action,
    };
    let resend = CommandAction::Resend {
        lane: Lane::Routine,
        chain: CHAIN,
        from_seq: 2,
    };
    gateway
        .say(
            Topic::DownCommand(DEVICE),
            command(1, resend).sign(&rig.control),
        )
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 2));
    let revoke = command(2, CommandAction::Revoke).sign(&rig.control);
    gateway.say(Topic::DownCommand(DEVICE), revoke).await;
    soon(rig.facts.wait_for(|facts| facts.revoked))
        .await
        .unwrap();
    assert!(soon(rig.gateways.recv()).await.is_none());
}

#[tokio::test]
async fn a_command_ends_by_the_gateways_clock_and_not_by_a_wall_clock_that_runs_ahead() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    let hour_us = 3_600_000_000;
    let gateway_utc = UtcMicros(rig.clock.read().utc.0 - 2 * hour_us);
    let ack = Ack {
        gateway_utc,
        ..rig.ack_of(Lane::Routine, 0)
    };
    let command = Command {
        device: DEVICE,
        number: 8,
        expires: UtcMicros(gateway_utc.0 + hour_us),
        action: CommandAction::Pause,
    };
    gateway
        .say(Topic::DownAck(DEVICE), ack.sign(&rig.control))
        .await;
    gateway
        .say(Topic::DownCommand(DEVICE), command.sign(&rig.control))
        .await;
    soon(async {
        while !rig.board.lines().uplink.paused {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn rotated_keys_hold_at_once_and_the_next_hello_says_so() {
    let frames = Frames::default();
    let mut rig = Rig::start(frames.clone());
    let mut gateway = rig.gateway().await;
    let first = gateway.hello(&rig).await;
    assert_eq!(first.keys, keys_of(&rig.control, &rig.control).ids());
    assert_eq!(first.certificate_until, UtcMicros(5));
    let rng = ring::rand::SystemRandom::new();
    let (next, _) = SigningKey::generate(&rng).unwrap();
    let keys = TrustedKeys {
        recipient: RecipientPublicKey([5; 32]),
        ..keys_of(&next, &next)
    };
    let rotate = Command {
        device: DEVICE,
        number: 1,
        expires: UtcMicros(i64::MAX),
        action: CommandAction::Rotate(keys),
    };
    let rotate = rotate.sign(&rig.control);
    gateway.say(Topic::DownCommand(DEVICE), rotate).await;
    assert_eq!(gateway.hello(&rig).await.keys, keys.ids());
    assert_eq!(*frames.1.lock().unwrap(), Some(keys.recipient));
}

#[tokio::test]
async fn the_box_says_what_it_heard_of_the_gateways_clock_and_when() {
    let mut rig = Rig::start(Frames::default());
    rig.frames.hold(Lane::Routine, 1);
    let mut gateway = rig.gateway().await;
    assert_eq!(gateway.hello(&rig).await.heard, None);
    let ack = rig.ack_of(Lane::Routine, 0);
    let heard_at = rig.clock.read().box_instant;
    gateway
        .say(Topic::DownAck(DEVICE), ack.sign(&rig.control))
        .await;
    assert_eq!(gateway.frame().await, (Lane::Routine, 1));
    rig.clock.advance_micros(10_000_000);
    rig.stored.notify_one();
    let hello = gateway.hello(&rig).await;
    let heard = hello.heard.unwrap();
    assert_eq!(heard.gateway_utc, ack.gateway_utc);
    assert_eq!(heard.micros, heard_at.micros);
    assert!(hello.at.box_instant.micros >= heard.micros + 10_000_000);
}

#[tokio::test]
async fn visits_are_taken_from_whom_the_box_believes_once_and_in_order() {
    let mut rig = Rig::start(Frames::default());
    let mut gateway = rig.gateway().await;
    let key = gateway.hello(&rig).await.visits_key.unwrap();
    assert_eq!(key, rig.worklist.key());
    let list = |left_out| VisitList {
        day: "2026-01-31".to_owned(),
        issued: UtcMicros(0),
        until: UtcMicros(i64::MAX),
        visits: Vec::new(),
        left_out,
    };
    let signed = |number, left_out, by: &SigningKey| {
        let sealed = list(left_out).seal(DEVICE, &key).unwrap();
        let command = Command {
            device: DEVICE,
            number,
            expires: UtcMicros(i64::MAX),
            action: CommandAction::Visits(sealed),
        };
        command.sign(by)
    };
    let (forger, _) = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    let told = [
        signed(9, 7, &forger),
        signed(2, 1, &rig.control),
        // what is older than the last one, or the last one again
        signed(1, 2, &rig.control),
        signed(2, 3, &rig.control),
        signed(3, 4, &rig.control),
    ];
    for command in told {
        gateway.say(Topic::DownCommand(DEVICE), command).await;
    }
    let mut seen = vec![0];
    soon(async {
        while seen.last() != Some(&4) {
            let left_out = rig.worklist.document(true, true).left_out;
            if seen.last() != Some(&left_out) {
                seen.push(left_out);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(
        seen.iter().all(|left_out| [0, 1, 4].contains(left_out)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn told_to_stop_it_stops() {
    let mut rig = Rig::start(Frames::default());
    rig.gateway().await;
    rig.stop.send_replace(true);
    assert!(soon(rig.gateways.recv()).await.is_none());
}

#[tokio::test]
async fn a_connection_on_which_nothing_more_is_heard_is_given_up_for_another() {
    let frames = Frames::default();
    frames.hold(Lane::Routine, 1);
    let mut rig = Rig::start(frames);
    let mut dead = rig.gateway().await;
    dead.hello(&rig).await;
    // The room for what is published may be full as well: nothing is taken from here on.
    rig.clock.advance_micros(76_000_000);
    let mut gateway = rig.gateway().await;
    gateway.hello(&rig).await;
    drop(dead);
}
