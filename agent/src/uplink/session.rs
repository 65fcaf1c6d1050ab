//! The task that keeps the gateway up to date: connects, carries out what the scheduler of
//! `cardio_wire::link` decides, listens, and starts again when the connection is lost.
//!
//! A decision is taken only when the transport has room for it, so that an alert that was
//! stored meanwhile goes first. Deliberately absent: the decisions themselves.

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, ClockReading, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, OutboxError, Resent};
use cardio_wire::keys::SigningKey;
use cardio_wire::lane::{FrameIdentity, Lane};
use cardio_wire::link::{LaneScheduler, Step};
use cardio_wire::message::{Ack, CommandAction, HeardClock, Hello, LaneState};
use cardio_wire::topic::Topic;
use cardio_wire::visits::SealedVisits;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::commands::Trust;
use super::gateway_time::GatewayTime;
use super::shelf::Shelf;
use super::{Link, LinkEvent, Outgoing, Uplink, UplinkError};
use crate::backoff::Backoff;
use crate::status::Board;
use crate::worklist::Worklist;

/// How long nothing may be heard of what was published: longer than the largest frame takes at
/// 30 kbit/s. The client's own keep-alive starts anew with everything that is sent, so a dead
/// connection that is sent to again and again would never be noticed by it.
const SILENT_LIMIT: Duration = Duration::from_secs(75);
/// How long after an acknowledgement, and how often, hello is said again so that the gateway
/// knows the box's clock: between two of them it drifts by less than half a second.
const CLOCK_FIRST_US: u64 = 10_000_000;
const CLOCK_EVERY_US: u64 = 900_000_000;
/// How often the scheduler's time-outs are looked at.
const TICK: Duration = Duration::from_millis(250);

/// What the uplink is told once.
#[derive(Clone, Debug)]
pub struct UplinkPlan {
    /// This box.
    pub device: BoxId,
    /// Signs hello.
    pub signer: SigningKey,
    /// Checks acknowledgements and commands.
    pub trust: Trust,
    /// Version of this program.
    pub agent_version: String,
    /// Wait before the second try.
    pub retry_first: Duration,
    /// Longest wait between tries.
    pub retry_last: Duration,
    /// What the gateway tells of the day's visits.
    pub worklist: Arc<Worklist>,
    /// Without progress for this long, everything unacknowledged is sent again.
    pub stalled_after: Duration,
}

/// What the rest of the box is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkFacts {
    /// Everything stored is acknowledged.
    pub drained: bool,
    /// The gateway no longer trusts this box.
    pub revoked: bool,
}

/// The task.
pub struct UplinkTask<U, S> {
    /// How to connect.
    pub uplink: U,
    /// Where the frames are.
    pub shelf: S,
    /// What it is told.
    pub plan: UplinkPlan,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The board.
    pub board: Arc<Board>,
    /// Rings when something was stored.
    pub stored: Arc<Notify>,
    /// Becomes true when the task must end.
    pub stop: watch::Receiver<bool>,
    /// Tells whether everything is acknowledged.
    pub facts: watch::Sender<UplinkFacts>,
}

/// Why a connection is over.
enum Over {
    Stopped,
    Revoked,
    Lost(UplinkError),
    Shelf(OutboxError),
}

/// One connection.
struct Talk<'a, S> {
    shelf: &'a S,
    plan: &'a UplinkPlan,
    clock: &'a dyn Clock,
    board: &'a Board,
    facts: &'a watch::Sender<UplinkFacts>,
    trust: &'a mut Trust,
    certificate_until: UtcMicros,
    backoff: &'a mut Backoff,
    scheduler: &'a mut LaneScheduler,
    /// What the outbox held when it was last asked.
    lanes: Vec<LaneState>,
    paused: bool,
    /// What time it is for the gateway.
    gateway_time: GatewayTime,
    /// When the first thing was published of which nothing was heard yet.
    unheard_us: Option<u64>,
    /// The gateway's clock, as last heard on this connection or one before: what was heard
    /// holds while this boot of the box lasts.
    heard: &'a mut Option<HeardClock>,
    /// When hello is due for the clock's sake; `None` until it is heard on this connection.
    clock_due_us: Option<u64>,
}

impl<U: Uplink, S: Shelf> UplinkTask<U, S> {
    /// Runs until told to stop.
    pub async fn run(mut self) {
        let seed = self.clock.read().box_instant.micros;
        let mut backoff = Backoff::new(self.plan.retry_first, self.plan.retry_last, seed);
        let mut trust = self.plan.trust.clone();
        let patience = u64::try_from(self.plan.stalled_after.as_micros()).unwrap_or(u64::MAX);
        let mut scheduler = LaneScheduler::with_patience(seed, patience);
        let mut heard = None;
        let mut stop = self.stop.clone();
        loop {
            let over = tokio::select! {
                () = told_to_stop(&mut stop) => Over::Stopped,
                over = self.connect_and_talk(&mut backoff, &mut trust, &mut scheduler, &mut heard) => over,
            };
            scheduler.disconnected();
            self.disconnected(&over);
            if matches!(over, Over::Stopped | Over::Revoked) {
                break;
            }
            let wait = backoff.next_wait();
            let _ = tokio::time::timeout(wait, told_to_stop(&mut stop)).await;
        }
        self.uplink.close().await;
    }

    async fn connect_and_talk(
        &mut self,
        backoff: &mut Backoff,
        trust: &mut Trust,
        scheduler: &mut LaneScheduler,
        heard: &mut Option<HeardClock>,
    ) -> Over {
        let link = match self.uplink.connect().await {
            Ok(link) => link,
            Err(err) => return Over::Lost(err),
        };
        let now_us = self.clock.read().box_instant.micros;
        {
            let mut lines = self.board.lines();
            lines.uplink.connected = true;
            lines.uplink.code = None;
            lines.uplink.connections += 1;
            lines.uplink_since_us = Some(now_us);
        }
        tracing::info!(event = "UplinkConnected");
        scheduler.connected();
        let mut talk = Talk {
            shelf: &self.shelf,
            plan: &self.plan,
            clock: &*self.clock,
            board: &self.board,
            facts: &self.facts,
            trust,
            certificate_until: link.certificate_until,
            backoff,
            scheduler,
            lanes: Vec::new(),
            paused: false,
            gateway_time: GatewayTime::default(),
            unheard_us: None,
            heard,
            clock_due_us: None,
        };
        talk.run(link, &self.stored, self.stop.clone()).await
    }

    fn disconnected(&self, over: &Over) {
        let code = match over {
            Over::Stopped => "uplink.closed",
            Over::Revoked => "uplink.revoked",
            Over::Lost(err) => err.code(),
            Over::Shelf(err) => err.code(),
        };
        let now_us = self.clock.read().box_instant.micros;
        let mut lines = self.board.lines();
        let changed = lines.uplink.connected || lines.uplink.code.as_deref() != Some(code);
        if lines.uplink.connected || lines.uplink_since_us.is_none() {
            lines.uplink_since_us = Some(now_us);
        }
        lines.uplink.connected = false;
        lines.uplink.paused = false;
        lines.uplink.under_way = 0;
        lines.uplink.code = Some(code.to_owned());
        drop(lines);
        if changed {
            match over {
                Over::Lost(err) => tracing::warn!(
                    event = "UplinkLost",
                    code,
                    why = %crate::telemetry::Chain(err)
                ),
                Over::Stopped => tracing::info!(event = "UplinkClosed"),
                Over::Revoked | Over::Shelf(_) => tracing::warn!(event = "UplinkLost", code),
            }
        }
    }
}

impl<S: Shelf> Talk<'_, S> {
    async fn run(&mut self, mut link: Link, stored: &Notify, stop: watch::Receiver<bool>) -> Over {
        match self.talk(&mut link, stored, stop).await {
            Ok(over) => over,
            Err(err) => Over::Shelf(err),
        }
    }

    async fn talk(
        &mut self,
        link: &mut Link,
        stored: &Notify,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Over, OutboxError> {
        let Link {
            publish, events, ..
        } = link;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut room = None;
        self.look().await?;
        loop {
            if let Some(place) = room.take() {
                room = self.step(place).await?;
            }
            tokio::select! {
                biased;
                () = told_to_stop(&mut stop) => return Ok(Over::Stopped),
                event = events.recv() => {
                    self.unheard_us = None;
                    match event {
                    Some(LinkEvent::Message { topic, payload }) => {
                        if let Some(over) = self.hear(&topic, &payload).await? {
                            return Ok(over);
                        }
                    }
                    Some(LinkEvent::Delivered { lane, seq }) => {
                        self.scheduler.confirmed(lane, seq, self.now_us());
                    }
                    Some(LinkEvent::Lost(err)) => return Ok(Over::Lost(err)),
                    None => return Ok(Over::Lost(UplinkError::Closed)),
                }},
                place = publish.reserve(), if room.is_none() => match place {
                    Ok(place) => room = Some(place),
                    Err(_) => return Ok(Over::Lost(UplinkError::Closed)),
                },
                () = stored.notified() => self.look().await?,
                _ = ticks.tick() => {
                    if self.is_silent() {
                        let limit_s = SILENT_LIMIT.as_secs();
                        return Ok(Over::Lost(UplinkError::Silent { limit_s }));
                    }
                    self.look().await?;
                }
            }
        }
    }

    fn now_us(&self) -> u64 {
        self.clock.read().box_instant.micros
    }

    /// Whether the connection is dead and nobody says so.
    fn is_silent(&self) -> bool {
        let still = |since: u64| Duration::from_micros(self.now_us().saturating_sub(since));
        self.unheard_us
            .is_some_and(|since| still(since) > SILENT_LIMIT)
    }

    /// Publishes what the scheduler wants next; gives the room back if that is nothing.
    async fn step<'p>(
        &mut self,
        room: mpsc::Permit<'p, Outgoing>,
    ) -> Result<Option<mpsc::Permit<'p, Outgoing>>, OutboxError> {
        if self.paused {
            return Ok(Some(room));
        }
        let stalls = self.scheduler.stalls();
        let step = match self.scheduler.next(&self.lanes, self.now_us()) {
            None if self.clock_due_us.is_some_and(|due| self.now_us() >= due) => Some(Step::Hello),
            step => step,
        };
        if self.scheduler.stalls() > stalls {
            tracing::warn!(event = "UplinkStalled", code = "uplink.stalled");
        }
        let out = match step {
            Some(Step::Hello) => Some(self.hello().await?),
            Some(Step::Publish { lane, seq }) => self.frame(lane, seq).await?,
            None => None,
        };
        self.board.lines().uplink.under_way = self.scheduler.under_way();
        match out {
            Some(out) => {
                self.unheard_us
                    .get_or_insert(self.clock.read().box_instant.micros);
                room.send(out);
                Ok(None)
            }
            None => Ok(Some(room)),
        }
    }

    async fn hello(&mut self) -> Result<Outgoing, OutboxError> {
        self.look().await?;
        let free_bytes = self.shelf.free_bytes().await?;
        let at = self.clock.read();
        if let Some(due) = &mut self.clock_due_us {
            *due = at.box_instant.micros.saturating_add(CLOCK_EVERY_US);
        }
        let hello = Hello {
            device: self.plan.device,
            lanes: self.lanes.clone(),
            agent_version: self.plan.agent_version.clone(),
            at,
            free_bytes,
            keys: self.trust.keys.ids(),
            certificate_until: self.certificate_until,
            heard: *self.heard,
            visits_key: Some(self.plan.worklist.key()),
        };
        Ok(Outgoing {
            topic: Topic::UpHello(self.plan.device).to_string(),
            payload: hello.sign(&self.plan.signer),
            retain: false,
            frame: None,
        })
    }

    /// The frame at a place; `None` when the outbox has moved on and the scheduler must
    /// decide again.
    async fn frame(&mut self, lane: Lane, seq: u64) -> Result<Option<Outgoing>, OutboxError> {
        let state = self.lanes.iter().find(|state| state.lane == lane);
        let chain = state.map(|state| state.chain);
        let wanted = |found: &FrameIdentity| found.seq == seq && Some(found.chain) == chain;
        let frame = self.shelf.after(lane, seq.saturating_sub(1)).await?;
        let Some(frame) = frame.filter(|frame| wanted(&frame.identity)) else {
            self.look().await?;
            return Ok(None);
        };
        self.scheduler
            .published(lane, seq, frame.bytes.len(), self.now_us());
        self.board.lines().uplink.sent += 1;
        Ok(Some(Outgoing {
            topic: Topic::UpLane(self.plan.device, lane).to_string(),
            payload: frame.bytes,
            retain: false,
            frame: Some((lane, seq)),
        }))
    }

    /// Sees what was stored meanwhile, and tells whether anything waits.
    async fn look(&mut self) -> Result<(), OutboxError> {
        self.lanes = self.shelf.lanes().await?;
        let drained = self.lanes.iter().all(|lane| lane.acked + 1 >= lane.next);
        self.facts
            .send_if_modified(|facts| std::mem::replace(&mut facts.drained, drained) != drained);
        Ok(())
    }

    async fn hear(&mut self, topic: &str, payload: &[u8]) -> Result<Option<Over>, OutboxError> {
        match topic.parse::<Topic>() {
            Ok(Topic::DownAck(device)) if device == self.plan.device => {
                self.hear_ack(payload).await?;
                Ok(None)
            }
            Ok(Topic::DownCommand(device)) if device == self.plan.device => {
                self.hear_command(payload).await
            }
            _ => {
                tracing::warn!(
                    event = "UplinkMessageRefused",
                    code = "uplink.foreign_topic"
                );
                Ok(None)
            }
        }
    }

    async fn hear_ack(&mut self, payload: &[u8]) -> Result<(), OutboxError> {
        let heard_us = self.now_us();
        let refused = match self.trust.ack(payload) {
            Ok(ack) if ack.device == self.plan.device => {
                self.gateway_time.hear(ack.gateway_utc, &self.clock.read());
                self.hear_clock(&ack, heard_us);
                match self.shelf.acked(ack).await? {
                    AckOutcome::Accepted { .. } => {
                        self.progress(&ack);
                        self.look().await?;
                        None
                    }
                    AckOutcome::Refused { why } => Some(why.code()),
                    AckOutcome::Forked { sign } => {
                        let (code, lane) = (sign.code(), ack.lane.name());
                        tracing::error!(event = "UplinkLaneForked", code, lane);
                        // new chains have begun: the scheduler says hello for them
                        self.look().await?;
                        None
                    }
                }
            }
            Ok(_) => Some("ack.foreign"),
            Err(err) => Some(err.code()),
        };
        if let Some(code) = refused {
            self.board.lines().uplink.refused_acks += 1;
            tracing::warn!(event = "UplinkAckRefused", code);
        }
        Ok(())
    }

    fn hear_clock(&mut self, ack: &Ack, micros: u64) {
        self.clock_due_us
            .get_or_insert(micros.saturating_add(CLOCK_FIRST_US));
        *self.heard = Some(HeardClock {
            gateway_utc: ack.gateway_utc,
            micros,
        });
    }

    fn progress(&mut self, ack: &Ack) {
        let now = self.clock.read();
        let delays = self
            .scheduler
            .ack(ack.lane, ack.chain, ack.upto, now.box_instant.micros);
        if !delays.is_empty() {
            self.backoff.succeeded();
        }
        let mut lines = self.board.lines();
        for delay_us in delays {
            lines.sent_to_filed.note(delay_us);
        }
        lines.uplink.under_way = self.scheduler.under_way();
        lines.gateway_ahead_us = Some(ahead(ack, &now));
    }

    async fn hear_command(&mut self, payload: &[u8]) -> Result<Option<Over>, OutboxError> {
        // Not known when: then the rising number alone keeps old commands out.
        let now = self.gateway_time.at(&self.clock.read());
        let now = now.unwrap_or(UtcMicros(i64::MIN));
        match self.trust.accept(payload, now) {
            Ok(CommandAction::Resend {
                lane,
                chain,
                from_seq,
            }) => {
                let resent = self.shelf.resend(lane, chain, from_seq).await?;
                if let Resent::From { seq, .. } = resent {
                    self.scheduler.resend(lane, chain, seq);
                    self.look().await?;
                }
                tracing::info!(event = "UplinkResendAsked", lane = lane.name(), from_seq);
            }
            Ok(CommandAction::Pause) => {
                self.paused = true;
                self.board.lines().uplink.paused = true;
                tracing::info!(event = "UplinkPauseAsked");
            }
            Ok(CommandAction::Revoke) => {
                self.facts.send_modify(|facts| facts.revoked = true);
                return Ok(Some(Over::Revoked));
            }
            Ok(CommandAction::Rotate(keys)) => {
                self.shelf.seal_to(keys.recipient).await?;
                // the next hello tells the gateway that they are known
                self.scheduler.say_hello();
                tracing::info!(event = "UplinkKeysRotated", recipient = %keys.recipient.key_id());
            }
            Ok(CommandAction::Visits(sealed)) => self.hear_visits(&sealed),
            Err(why) => {
                tracing::warn!(event = "UplinkCommandRefused", code = why.code());
            }
        }
        Ok(None)
    }

    fn hear_visits(&self, sealed: &SealedVisits) {
        let gateway_now = self.gateway_time.at(&self.clock.read());
        match self.plan.worklist.take(sealed, gateway_now) {
            Ok(taken) => tracing::info!(
                event = "VisitsTaken",
                visits = taken.visits,
                withdrawn = taken.withdrawn
            ),
            Err(why) => tracing::warn!(event = "VisitsRefused", code = why.code()),
        }
    }
}

/// Waits until the task must end, or nobody is left to say so.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// How far the gateway's clock is ahead, not knowing how long its word was under way.
fn ahead(ack: &Ack, now: &ClockReading) -> i64 {
    ack.gateway_utc.0.saturating_sub(now.utc.0)
}

#[cfg(test)]
mod slow_link;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
