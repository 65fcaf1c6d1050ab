//! The two ends of an uplink for its tests: an outbox of frames without content, and the gateway's end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardio_core::clock::{Clock as _, ManualClock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, AckRefusal, OutFrame, OutboxError, Resent};
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::{Ack, Hello, LaneState};
use cardio_wire::topic::Topic;
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
pub(super) const CHAIN: ChainId = ChainId([1; 8]);

/// An outbox that holds frames without content.
#[derive(Clone, Default)]
pub(super) struct Frames(
    Arc<Mutex<Vec<LaneState>>>,
    pub(super) Arc<Mutex<Option<RecipientPublicKey>>>,
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

    pub(super) fn acked_upto(&self, lane: Lane) -> u64 {
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

pub(super) fn keys_of(control: &SigningKey, next: &SigningKey) -> TrustedKeys {
    TrustedKeys {
        recipient: RecipientPublicKey([4; 32]),
        control: control.verifying_key(),
        control_next: next.verifying_key(),
    }
}

pub(super) struct Rig {
    pub(super) frames: Frames,
    pub(super) clock: Arc<ManualClock>,
    pub(super) control: SigningKey,
    box_key: SigningKey,
    pub(super) stored: Arc<Notify>,
    pub(super) board: Arc<Board>,
    pub(super) gateways: mpsc::UnboundedReceiver<Gateway>,
    pub(super) facts: watch::Receiver<UplinkFacts>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) worklist: Arc<Worklist>,
}

/// Longest wait for something that must happen.
const SOON: Duration = Duration::from_secs(20);

pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
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

    pub(super) fn ack_of(&self, lane: Lane, upto: u64) -> Ack {
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
    pub(super) async fn frame(&mut self) -> (Lane, u64) {
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
