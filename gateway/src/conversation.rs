//! What one box and this gateway say to each other, whatever carries it.
//!
//! * A box says frames, a hello and its state; each gets one [`Answer`], which may wait for
//!   the disk. [`Conversation::settle`] turns what became of it into the reason that a PUBACK
//!   carries.
//! * The gateway says acknowledgements and commands, when they are due.
//!
//! Deliberately absent: connections, packet numbers and the order of PUBACKs. The listener
//! ([`crate::mqtt`]) and the inlet from a broker ([`crate::broker`]) hold them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cardio_core::clock::{Clock, UtcMicros};
use cardio_wire::envelope::{self, NO_PREVIOUS};
use cardio_wire::intake::{AckPace, AckPlan, DueAck, Greeting, Receipt, Stored};
use cardio_wire::keys::TrustedKeyIds;
use cardio_wire::lane::Lane;
use cardio_wire::message::{Ack, CommandAction, Hello};
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::PubAckReason;
use tokio::sync::oneshot;

use crate::boxes::{Boxes, KnownBox, Presence};
use crate::config::MqttConfig;
use crate::counters::Counters;
use crate::db::DbError;
use crate::inbox::{Arrived, Inbox};
use crate::keys::GatewayKeys;
use crate::orders;

/// How long the store may take to give the number of an order.
const NUMBER_LIMIT: Duration = Duration::from_secs(5);

/// What every conversation needs.
#[derive(Clone)]
pub struct Shared {
    /// Where frames go.
    pub inbox: Inbox,
    /// Who may connect, and who is connected.
    pub boxes: Arc<Boxes>,
    /// Signs acknowledgements and commands.
    pub keys: Arc<GatewayKeys>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Limits.
    pub config: MqttConfig,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// Microseconds since this machine's boot.
    pub(crate) fn now_us(&self) -> u64 {
        self.clock.read().box_instant.micros
    }
}

/// What decides the answer to something that a box said.
pub(crate) enum Answer {
    /// Its frame is on its way to the disk.
    Storing(oneshot::Receiver<Result<Receipt, DbError>>),
    /// Its hello is being compared with what is stored.
    Comparing(
        Box<Hello>,
        oneshot::Receiver<Result<Vec<Greeting>, DbError>>,
    ),
    /// It is decided.
    Decided(PubAckReason),
}

impl Answer {
    /// Waits for what became of it. May be dropped and called again until it has answered.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        match self {
            Self::Storing(receipt) => {
                Outcome::Stored(receipt.await.unwrap_or(Err(DbError::Closed)))
            }
            Self::Comparing(said, heads) => {
                let heads = heads.await.unwrap_or(Err(DbError::Closed));
                Outcome::Compared(said.clone(), heads)
            }
            Self::Decided(reason) => Outcome::Decided(*reason),
        }
    }
}

/// What became of something that a box said.
pub(crate) enum Outcome {
    /// Of its frame.
    Stored(Result<Receipt, DbError>),
    /// Of its hello.
    Compared(Box<Hello>, Result<Vec<Greeting>, DbError>),
    /// It was decided before.
    Decided(PubAckReason),
}

/// One box that is connected.
pub(crate) struct Conversation {
    shared: Shared,
    /// Who speaks.
    pub(crate) known: Arc<KnownBox>,
    /// Its place among the connected ones.
    pub(crate) presence: Presence,
    /// How much more it may say in this second.
    pub(crate) budget: Budget,
    plan: AckPlan,
    /// Which of this gateway's keys the box has pinned, once it said hello.
    pinned: Option<TrustedKeyIds>,
    commands: VecDeque<Vec<u8>>,
    greeted: Option<UtcMicros>,
}

impl Conversation {
    /// Begins; a conversation of the same box that goes on elsewhere in this program ends.
    pub(crate) fn begin(shared: &Shared, known: Arc<KnownBox>) -> Self {
        let now = shared.clock.read().utc;
        Self {
            presence: shared.boxes.enter(known.id, now),
            known,
            budget: Budget::new(shared.config.frames_per_s),
            plan: AckPlan::new(AckPace {
                wait_us: micros(shared.config.ack_wait.0),
                frames: shared.config.ack_frames,
            }),
            pinned: None,
            commands: VecDeque::new(),
            greeted: None,
            shared: shared.clone(),
        }
    }

    /// Notes that this connection is answered now: what the box reads of its clock from here
    /// on, it reads later than this.
    pub(crate) fn greet(&mut self) {
        self.greeted = Some(self.shared.clock.read().utc);
    }

    /// Takes what the box published below its own topics.
    pub(crate) async fn receive(&mut self, topic: Topic, payload: Bytes) -> Answer {
        self.budget.take(self.shared.now_us());
        match topic {
            Topic::UpLane(_, lane) => self.on_frame(lane, payload).await,
            Topic::UpHello(_) => self.on_hello(&payload).await,
            Topic::State(_) => Answer::Decided(match self.known.state(&payload) {
                Some(_) => PubAckReason::Success,
                None => PubAckReason::PayloadFormatInvalid,
            }),
            Topic::DownAck(_) | Topic::DownCommand(_) => {
                Answer::Decided(PubAckReason::NotAuthorized)
            }
        }
    }

    /// Signature, then store.
    async fn on_frame(&self, lane: Lane, payload: Bytes) -> Answer {
        // A frame of a later version is stored too; filing sets it aside until an upgrade.
        let verified = envelope::verify_to_store(&payload, &self.known.frame_key);
        let (header, fingerprint) = match verified {
            Ok(verified) => verified,
            Err(error) => {
                self.shared.counters.frames_refused.add_one();
                tracing::warn!(
                    event = "InboxFrameRefused",
                    code = error.code(),
                    box_name = %self.known.name,
                    "{error}"
                );
                return Answer::Decided(PubAckReason::PayloadFormatInvalid);
            }
        };
        if header.device != self.known.id || header.lane != lane || header.seq == 0 {
            self.shared.counters.frames_refused.add_one();
            tracing::warn!(event = "InboxFrameRefused", code = "inbox.header", box_name = %self.known.name);
            return Answer::Decided(PubAckReason::NotAuthorized);
        }
        let arrived = Arrived {
            identity: header.identity(),
            prev: header.prev,
            fingerprint,
            bytes: payload,
            at: self.shared.clock.read().utc,
        };
        Answer::Storing(self.shared.inbox.store(arrived).await)
    }

    async fn on_hello(&self, payload: &[u8]) -> Answer {
        let hello = Hello::verify(payload, &self.known.frame_key)
            .ok()
            .filter(|hello| hello.device == self.known.id);
        let Some(hello) = hello else {
            self.shared.counters.hellos_refused.add_one();
            tracing::warn!(event = "BoxHelloRefused", code = "inbox.hello", box_name = %self.known.name);
            return Answer::Decided(PubAckReason::PayloadFormatInvalid);
        };
        let said = Box::new(hello.clone());
        let now = self.shared.clock.read().utc;
        Answer::Comparing(
            said,
            self.shared.inbox.hello(hello, self.greeted, now).await,
        )
    }

    /// What became of something that the box said is known: the reason to answer it with.
    ///
    /// # Errors
    /// [`DbError`] when the store failed: nothing may be answered, the box must come again.
    pub(crate) fn settle(&mut self, outcome: Outcome) -> Result<PubAckReason, DbError> {
        match outcome {
            Outcome::Decided(reason) => Ok(reason),
            Outcome::Stored(Ok(receipt)) => Ok(self.on_stored(&receipt)),
            Outcome::Compared(said, Ok(heads)) => {
                self.on_compared(&said, &heads);
                Ok(PubAckReason::Success)
            }
            Outcome::Stored(Err(error)) => {
                self.shared.counters.frames_not_stored.add_one();
                tracing::error!(
                    event = "InboxFrameStoredError",
                    code = error.code(),
                    "{error}"
                );
                Err(error)
            }
            Outcome::Compared(_, Err(error)) => {
                tracing::error!(event = "BoxHelloError", code = error.code(), "{error}");
                Err(error)
            }
        }
    }

    fn on_stored(&mut self, receipt: &Receipt) -> PubAckReason {
        let counters = &self.shared.counters;
        match receipt.stored {
            Stored::New => counters.frames_stored.add_one(),
            Stored::Duplicate => counters.frames_repeated.add_one(),
            Stored::Conflict => {
                counters.frames_conflicting.add_one();
                tracing::error!(
                    event = "InboxFrameConflicted",
                    code = "inbox.conflict",
                    box_name = %self.known.name,
                    lane = %receipt.head.lane
                );
                // Not acknowledged, and the box is told what is held instead.
                self.plan
                    .note(receipt.head, receipt.other, self.shared.now_us());
                return PubAckReason::ImplementationSpecificError;
            }
            Stored::TooFarAhead | Stored::TooManyChains => {
                counters.frames_refused.add_one();
                tracing::warn!(
                    event = "InboxFrameRefused",
                    code = "inbox.bounds",
                    box_name = %self.known.name,
                    why = ?receipt.stored
                );
                return PubAckReason::QuotaExceeded;
            }
        }
        if let Some(seq) = receipt.head.broken_at.filter(|_| !receipt.head.ended) {
            tracing::error!(
                event = "InboxChainBroken",
                code = "inbox.chain.broken",
                box_name = %self.known.name,
                lane = %receipt.head.lane,
                seq
            );
        }
        self.plan
            .note(receipt.head, receipt.other, self.shared.now_us());
        PubAckReason::Success
    }

    fn on_compared(&mut self, hello: &Hello, greetings: &[Greeting]) {
        self.shared.counters.hellos.add_one();
        self.pinned = Some(hello.keys);
        self.shared.boxes.note_pins(self.known.id, hello.keys);
        let boxes = &self.shared.boxes;
        boxes.note_visits_key(self.known.id, hello.visits_key);
        let now = self.shared.clock.read().utc;
        for action in orders::owed(&self.shared.keys, hello, greetings) {
            let number = self.shared.inbox.counter().next(self.known.id, now);
            self.command(action, number);
        }
        let now_us = self.shared.now_us();
        for greeting in greetings {
            let echo_us = hello.at.box_instant.micros;
            self.plan
                .answer(greeting.head, greeting.other, echo_us, now_us);
            if greeting.forked {
                tracing::error!(
                    event = "InboxChainForked",
                    code = "inbox.chain.forked",
                    box_name = %self.known.name,
                    lane = %greeting.head.lane
                );
            }
        }
    }

    /// Queues a command of this number, signed with a key that the box believes.
    fn command(&mut self, action: CommandAction, number: u64) {
        let now = self.shared.clock.read().utc;
        let pinned = self.pinned.or_else(|| {
            let trusted = self.shared.keys.trusted().ok();
            trusted.map(|keys| keys.ids())
        });
        let signed = pinned.and_then(|pinned| {
            orders::command(
                &self.shared.keys,
                self.known.id,
                &pinned,
                action,
                number,
                now,
            )
        });
        match signed {
            Some(command) => self.commands.push_back(command),
            None => tracing::error!(
                event = "BoxOrderError",
                code = "keys.no-common-key",
                box_name = %self.known.name
            ),
        }
    }

    /// Queues what somebody ordered. The box may have been told of higher numbers by another
    /// program since it last spoke to this one.
    pub(crate) async fn order(&mut self, action: CommandAction) {
        let now = self.shared.clock.read().utc;
        let number = self.shared.inbox.number(self.known.id, now);
        match tokio::time::timeout(NUMBER_LIMIT, number).await {
            Ok(Ok(number)) => self.command(action, number),
            Ok(Err(error)) => tracing::error!(
                event = "BoxOrderError",
                code = error.code(),
                box_name = %self.known.name,
                "{error}"
            ),
            Err(_) => tracing::error!(
                event = "BoxOrderError",
                code = "store.slow",
                box_name = %self.known.name
            ),
        }
    }

    /// Whether something was ordered and not yet taken up.
    pub(crate) fn has_orders(&self) -> bool {
        !self.presence.orders.is_empty()
    }

    /// Queues what was ordered and not yet taken up.
    pub(crate) async fn take_orders(&mut self) {
        while let Ok(action) = self.presence.orders.try_recv() {
            self.order(action).await;
        }
    }

    /// When the next acknowledgement falls due, if any waits, in microseconds since boot.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.plan.next_due()
    }

    /// The next acknowledgement that is due now, signed.
    pub(crate) fn next_ack(&mut self) -> Option<Vec<u8>> {
        loop {
            let now = self.shared.clock.read();
            let due = self.plan.take_due(now.box_instant.micros)?;
            if let Some(bytes) = self.signed(due, now.utc) {
                self.shared.counters.acks_sent.add_one();
                return Some(bytes);
            }
        }
    }

    /// The next command, signed.
    pub(crate) fn next_command(&mut self) -> Option<Vec<u8>> {
        let command = self.commands.pop_front()?;
        self.shared.counters.commands_sent.add_one();
        Some(command)
    }

    /// The signed acknowledgement, or `None` when the hash at that place is not known and
    /// there is nothing else to tell: another history is told without covering anything.
    fn signed(&self, due: DueAck, now: UtcMicros) -> Option<Vec<u8>> {
        let (upto, head) = match (due.head.head, due.other) {
            (Some(head), _) => (due.head.upto, head),
            (None, Some(_)) => (0, NO_PREVIOUS),
            (None, None) => return None,
        };
        let ack = Ack {
            device: self.known.id,
            lane: due.head.lane,
            chain: due.head.chain,
            upto,
            head,
            gateway_utc: now,
            echo_us: due.echo_us,
            counter: self.shared.inbox.counter().next(self.known.id, now),
            other: due.other,
        };
        Some(ack.sign(&self.shared.keys.control().ok()?))
    }
}

/// What one box may say per second.
pub(crate) struct Budget {
    per_s: u64,
    left: u64,
    second: u64,
}

impl Budget {
    fn new(per_s: u32) -> Self {
        Self {
            per_s: u64::from(per_s),
            left: u64::from(per_s),
            second: 0,
        }
    }

    fn take(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        if second != self.second {
            self.second = second;
            self.left = self.per_s;
        }
        self.left = self.left.saturating_sub(1);
    }

    /// When it may speak again; `None` while something is left.
    pub(crate) const fn spent_until(&self, now_us: u64) -> Option<u64> {
        let end = (self.second + 1) * 1_000_000;
        if self.left == 0 && now_us < end {
            Some(end)
        } else {
            None
        }
    }
}

/// A span in microseconds.
pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn a_box_that_has_said_its_fill_waits_for_the_next_second() {
        let mut budget = Budget::new(2);
        budget.take(5_000_001);
        assert_eq!(budget.spent_until(5_000_002), None);
        budget.take(5_000_002);
        assert_eq!(budget.spent_until(5_000_003), Some(6_000_000));
        assert_eq!(budget.spent_until(6_000_000), None);
        budget.take(6_000_000);
        assert_eq!(budget.spent_until(6_000_001), None);
    }
}
