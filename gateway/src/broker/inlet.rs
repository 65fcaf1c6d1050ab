//! What boxes say through the broker, and what they are told.
//!
//! One task serves all boxes of one connection. It holds a conversation for each box that it
//! hears; the number of boxes on the allow-list bounds them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cardio_core::clock::ClockReading;
use cardio_core::ids::BoxId;
use cardio_wire::topic::Topic;
use rumqttc::ManualAck;
use rumqttc::mqttbytes::v5::{DisconnectReasonCode, PubAckReason, Publish};
use tokio::sync::watch;

use super::Lost;
use super::link::{Broker, Heard, Link, UNDER_WAY_MAX};
use crate::conversation::{Answer, Conversation, Outcome, Shared};

/// How long the broker may take to accept connection and subscriptions.
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);
/// How often acknowledgements that fell due are sent.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// A message that is not answered yet. Answers go in the order of the messages.
struct Pending {
    /// Who said it, if its topic names a box.
    device: Option<BoxId>,
    ack: Option<ManualAck>,
    answer: Answer,
}

/// A box that is heard.
struct Talk {
    conversation: Conversation,
    under_way: usize,
    /// What it last said of its connection.
    state_at: Option<ClockReading>,
    offline: bool,
}

struct Inlet<'a> {
    broker: &'a Broker,
    shared: &'a Shared,
    link: Link,
    talks: HashMap<BoxId, Talk>,
    pending: VecDeque<Pending>,
}

enum Woken {
    Stopped,
    Answered(Outcome),
    Heard(Heard),
    Time,
}

/// Serves one connection. `Ok` when the program stops.
pub(super) async fn serve(
    broker: &Broker,
    shared: &Shared,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Lost> {
    let mut link = broker.connect().await?;
    let mut early = VecDeque::new();
    let accepted = async {
        loop {
            match link.heard.recv().await {
                Some(Heard::Subscribed(answer)) => return link.check(&answer),
                Some(Heard::Message(message)) => early.push_back(message),
                Some(Heard::Lost(lost)) => return Err(lost),
                None => return Err(Lost::Closed),
            }
        }
    };
    tokio::select! {
        accepted = tokio::time::timeout(ACCEPT_LIMIT, accepted) => {
            accepted.map_err(|_| Lost::Slow { limit_s: ACCEPT_LIMIT.as_secs() })??;
        }
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    }
    shared.counters.broker_connections.add_one();
    let standing = broker.standing();
    standing.set_connected(true);
    tracing::info!(event = "BrokerConnected", broker = %standing.address());
    let mut inlet = Inlet {
        broker,
        shared,
        link,
        talks: HashMap::new(),
        pending: VecDeque::new(),
    };
    for message in early {
        inlet.on_message(message).await;
    }
    let ended = inlet.run(&mut stop).await;
    inlet.leave(ended.is_ok()).await;
    ended
}

impl Inlet<'_> {
    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Lost> {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let may_hear = self.pending.len() < usize::from(UNDER_WAY_MAX);
            let woken = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Woken::Stopped,
                outcome = front(&mut self.pending) => Woken::Answered(outcome),
                _ = sweep.tick() => Woken::Time,
                heard = self.link.heard.recv(), if may_hear => {
                    Woken::Heard(heard.unwrap_or(Heard::Lost(Lost::Closed)))
                }
            };
            match woken {
                Woken::Stopped => return Ok(()),
                Woken::Answered(outcome) => self.on_answered(outcome).await?,
                Woken::Heard(Heard::Message(message)) => self.on_message(message).await,
                Woken::Heard(Heard::Lost(lost)) => return Err(lost),
                Woken::Heard(Heard::Subscribed(_)) => {}
                Woken::Time => self.sweep().await?,
            }
        }
    }

    async fn on_message(&mut self, message: Publish) {
        let ack = self.link.ack_of(&message);
        let topic = self.broker.topic(&message.topic);
        let Some(topic) = topic.filter(Topic::is_from_box) else {
            self.shared.counters.topics_foreign.add_one();
            return self.decide(None, ack, PubAckReason::TopicNameInvalid);
        };
        let device = topic.device();
        if let Topic::State(_) = topic {
            let reason = self.on_state(device, &message.payload);
            return self.decide(Some(device), ack, reason);
        }
        let now_us = self.shared.now_us();
        let Some(talk) = self.talk(device) else {
            self.shared.counters.frames_refused.add_one();
            tracing::warn!(event = "BrokerBoxRefused", code = "broker.box", device = %device);
            return self.decide(Some(device), ack, PubAckReason::NotAuthorized);
        };
        if talk.conversation.budget.spent_until(now_us).is_some() {
            // Nobody else's messages can wait for this box's next second; it sends again.
            self.shared.counters.frames_refused.add_one();
            return self.decide(Some(device), ack, PubAckReason::QuotaExceeded);
        }
        talk.under_way += 1;
        let answer = talk.conversation.receive(topic, message.payload).await;
        self.pending.push_back(Pending {
            device: Some(device),
            ack,
            answer,
        });
    }

    fn decide(&mut self, device: Option<BoxId>, ack: Option<ManualAck>, reason: PubAckReason) {
        if let Some(talk) = device.and_then(|device| self.talks.get_mut(&device)) {
            talk.under_way += 1;
        }
        self.pending.push_back(Pending {
            device,
            ack,
            answer: Answer::Decided(reason),
        });
    }

    /// The box, or the broker in its place, says whether it is connected.
    fn on_state(&mut self, device: BoxId, payload: &[u8]) -> PubAckReason {
        let known = self.shared.boxes.known(device);
        let said = known.and_then(|known| known.state(payload));
        let Some(said) = said else {
            return PubAckReason::PayloadFormatInvalid;
        };
        let heard = self.talks.get(&device).and_then(|talk| talk.state_at);
        let is_older = heard.is_some_and(|last| {
            let since = last.box_instant.micros_since(&said.at.box_instant);
            since.is_some_and(|us| us > 0)
        });
        if is_older {
            return PubAckReason::Success;
        }
        if said.online {
            if let Some(talk) = self.talk(device) {
                talk.offline = false;
                talk.state_at = Some(said.at);
            }
        } else if let Some(talk) = self.talks.get_mut(&device) {
            talk.offline = true;
            talk.state_at = Some(said.at);
        }
        PubAckReason::Success
    }

    /// The conversation with a box on the allow-list; begins when there is none.
    fn talk(&mut self, device: BoxId) -> Option<&mut Talk> {
        let ended = self.talks.get(&device).is_some_and(|talk| {
            let why = talk.conversation.presence.ended.borrow();
            why.is_some_and(|why| why != DisconnectReasonCode::ServerShuttingDown)
        });
        if ended {
            self.talks.remove(&device);
        }
        match self.talks.entry(device) {
            std::collections::hash_map::Entry::Occupied(found) => Some(found.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                let known = self.shared.boxes.known(device)?;
                self.shared.counters.sessions_begun.add_one();
                tracing::info!(event = "BoxHeard", box_name = %known.name);
                Some(place.insert(Talk {
                    conversation: Conversation::begin(self.shared, known),
                    under_way: 0,
                    state_at: None,
                    offline: false,
                }))
            }
        }
    }

    /// What became of the oldest message is known.
    async fn on_answered(&mut self, outcome: Outcome) -> Result<(), Lost> {
        let Some(done) = self.pending.pop_front() else {
            return Ok(());
        };
        let talk = done.device.and_then(|device| self.talks.get_mut(&device));
        let reason = match (talk, outcome) {
            (Some(talk), outcome) => {
                talk.under_way = talk.under_way.saturating_sub(1);
                talk.conversation.settle(outcome).map_err(Lost::Store)?
            }
            (None, Outcome::Decided(reason)) => reason,
            // Taken off the allow-list while its frame was on its way to the disk.
            (None, _) => PubAckReason::NotAuthorized,
        };
        self.link.ack(done.ack, reason).await?;
        match done.device {
            Some(device) => self.tell(device).await,
            None => Ok(()),
        }
    }

    /// Sends what falls due for every box, and lets go of those that are gone.
    async fn sweep(&mut self) -> Result<(), Lost> {
        let now_us = self.shared.now_us();
        let due: Vec<BoxId> = self
            .talks
            .iter()
            .filter(|(_, talk)| talk.is_due(now_us) || talk.is_over())
            .map(|(device, _)| *device)
            .collect();
        for device in due {
            self.tell(device).await?;
            if self.talks.get(&device).is_some_and(Talk::is_over)
                && let Some(talk) = self.talks.remove(&device)
            {
                talk.conversation
                    .presence
                    .note_end(self.shared.clock.read().utc);
                tracing::info!(event = "BoxGone", box_name = %talk.conversation.known.name);
            }
        }
        Ok(())
    }

    /// Sends what is due for one box now.
    async fn tell(&mut self, device: BoxId) -> Result<(), Lost> {
        let Some(talk) = self.talks.get_mut(&device) else {
            return Ok(());
        };
        while let Some(ack) = talk.conversation.next_ack() {
            let topic = Topic::DownAck(device);
            self.broker.publish(&self.link, &topic, ack).await?;
        }
        talk.conversation.take_orders().await;
        while let Some(command) = talk.conversation.next_command() {
            let topic = Topic::DownCommand(device);
            self.broker.publish(&self.link, &topic, command).await?;
        }
        Ok(())
    }

    async fn leave(self, in_order: bool) {
        let now = self.shared.clock.read().utc;
        for talk in self.talks.values() {
            talk.conversation.presence.note_end(now);
        }
        if in_order {
            self.link.farewell().await;
        }
    }
}

impl Talk {
    fn is_due(&self, now_us: u64) -> bool {
        let due = self.conversation.next_due();
        due.is_some_and(|due| due <= now_us) || self.conversation.has_orders()
    }

    fn is_over(&self) -> bool {
        let revoked = self.conversation.presence.ended.borrow().is_some();
        let done = self.under_way == 0 && self.conversation.next_due().is_none();
        (self.offline || revoked) && done
    }
}

async fn front(pending: &mut VecDeque<Pending>) -> Outcome {
    match pending.front_mut() {
        Some(first) => first.answer.outcome().await,
        None => std::future::pending().await,
    }
}
