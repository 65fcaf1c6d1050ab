//! The task that keeps the gateway up to date: connects, greets, sends, listens, and starts
//! again when the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, ClockReading};
use cardio_core::ids::BoxId;
use cardio_store::{AckOutcome, OutboxError, Resent};
use cardio_wire::keys::{SigningKey, VerifyingKey};
use cardio_wire::lane::Lane;
use cardio_wire::message::{Ack, CommandAction, Hello};
use cardio_wire::topic::Topic;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::commands::Commands;
use super::scheduler::Scheduler;
use super::shelf::Shelf;
use super::{Link, LinkEvent, Outgoing, Uplink, UplinkError};
use crate::backoff::Backoff;
use crate::status::Board;

/// How long acknowledgements are waited for after hello before sending starts anyway.
const GREETING_LIMIT_US: u64 = 2_000_000;
const TICK: Duration = Duration::from_millis(250);

/// What the uplink is told once.
#[derive(Clone, Debug)]
pub struct UplinkPlan {
    /// This box.
    pub device: BoxId,
    /// Signs hello.
    pub signer: SigningKey,
    /// Checks acknowledgements and commands.
    pub control: VerifyingKey,
    /// Version of this program.
    pub agent_version: String,
    /// Wait before the second try.
    pub retry_first: Duration,
    /// Longest wait between tries.
    pub retry_last: Duration,
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
    commands: &'a mut Commands,
    backoff: &'a mut Backoff,
    scheduler: Scheduler,
    greeted_at_us: Option<u64>,
    /// Lanes whose acknowledgement is awaited after hello.
    greeting: Vec<Lane>,
    paused: bool,
    progress_at_us: u64,
    hold_until_us: u64,
}

impl<U: Uplink, S: Shelf> UplinkTask<U, S> {
    /// Runs until told to stop.
    pub async fn run(mut self) {
        let seed = self.clock.read().box_instant.micros;
        let mut backoff = Backoff::new(self.plan.retry_first, self.plan.retry_last, seed);
        let mut commands = Commands::new(self.plan.device, self.plan.control);
        let mut stop = self.stop.clone();
        loop {
            let over = tokio::select! {
                () = told_to_stop(&mut stop) => Over::Stopped,
                over = self.connect_and_talk(&mut backoff, &mut commands) => over,
            };
            self.disconnected(&over);
            if matches!(over, Over::Stopped | Over::Revoked) {
                break;
            }
            let wait = backoff.next_wait();
            let _ = tokio::time::timeout(wait, told_to_stop(&mut stop)).await;
        }
        self.uplink.close().await;
    }

    async fn connect_and_talk(&mut self, backoff: &mut Backoff, commands: &mut Commands) -> Over {
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
        let mut talk = Talk {
            shelf: &self.shelf,
            plan: &self.plan,
            clock: &*self.clock,
            board: &self.board,
            facts: &self.facts,
            commands,
            backoff,
            scheduler: Scheduler::default(),
            greeted_at_us: None,
            greeting: Vec::new(),
            paused: false,
            progress_at_us: now_us,
            hold_until_us: 0,
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
        if !self.greet(&link.publish).await? {
            return Ok(Over::Lost(UplinkError::Closed));
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let may_send = self.may_send();
            tokio::select! {
                biased;
                () = told_to_stop(&mut stop) => return Ok(Over::Stopped),
                event = link.events.recv() => match event {
                    Some(LinkEvent::Message { topic, payload }) => {
                        if let Some(over) = self.hear(&topic, &payload).await? {
                            return Ok(over);
                        }
                    }
                    Some(LinkEvent::Lost(err)) => return Ok(Over::Lost(err)),
                    None => return Ok(Over::Lost(UplinkError::Closed)),
                },
                permit = link.publish.reserve(), if may_send => match permit {
                    Ok(permit) => {
                        if let Some(frame) = self.next_frame().await? {
                            permit.send(frame);
                        }
                    }
                    Err(_) => return Ok(Over::Lost(UplinkError::Closed)),
                },
                () = stored.notified() => self.look().await?,
                _ = ticks.tick() => {
                    self.look().await?;
                    if self.has_stalled() && !self.greet(&link.publish).await? {
                        return Ok(Over::Lost(UplinkError::Closed));
                    }
                }
            }
        }
    }

    /// Says hello, and takes up every lane after what was acknowledged. `false` when the
    /// connection is gone.
    async fn greet(&mut self, publish: &mpsc::Sender<Outgoing>) -> Result<bool, OutboxError> {
        let lanes = self.shelf.lanes().await?;
        let free_bytes = self.shelf.free_bytes().await?;
        self.scheduler.connected(&lanes);
        self.tell_drained();
        let now = self.clock.read();
        self.greeting = lanes
            .iter()
            .filter(|state| state.acked + 1 < state.next)
            .map(|state| state.lane)
            .collect();
        self.greeted_at_us = Some(now.box_instant.micros);
        self.progress_at_us = now.box_instant.micros;
        let hello = Hello {
            device: self.plan.device,
            lanes,
            agent_version: self.plan.agent_version.clone(),
            at: now,
            free_bytes,
        };
        let said = Outgoing {
            topic: Topic::UpHello(self.plan.device).to_string(),
            payload: hello.sign(&self.plan.signer),
            retain: false,
        };
        Ok(publish.send(said).await.is_ok())
    }

    fn may_send(&self) -> bool {
        let now_us = self.clock.read().box_instant.micros;
        let greeted = self.greeting.is_empty()
            || self
                .greeted_at_us
                .is_some_and(|at| now_us.saturating_sub(at) >= GREETING_LIMIT_US);
        greeted && !self.paused && now_us >= self.hold_until_us && self.scheduler.next().is_some()
    }

    async fn next_frame(&mut self) -> Result<Option<Outgoing>, OutboxError> {
        let Some(next) = self.scheduler.next() else {
            return Ok(None);
        };
        let Some(frame) = self.shelf.after(next.lane, next.after_seq).await? else {
            // the lane has begun a new chain, or lost what it held: look again
            self.look().await?;
            return Ok(None);
        };
        if frame.identity.chain != next.chain {
            self.look().await?;
            return Ok(None);
        }
        let seq = frame.identity.seq;
        self.scheduler.skip_to(next.lane, seq);
        let now_us = self.clock.read().box_instant.micros;
        if !self.scheduler.is_waiting() {
            self.progress_at_us = now_us;
        }
        self.scheduler
            .sent(next.lane, seq, frame.bytes.len(), now_us);
        {
            let mut lines = self.board.lines();
            lines.uplink.sent += 1;
            lines.uplink.under_way = self.scheduler.under_way();
        }
        Ok(Some(Outgoing {
            topic: Topic::UpLane(self.plan.device, next.lane).to_string(),
            payload: frame.bytes,
            retain: false,
        }))
    }

    /// Sees what was stored meanwhile.
    async fn look(&mut self) -> Result<(), OutboxError> {
        let lanes = self.shelf.lanes().await?;
        self.scheduler.stored(&lanes);
        self.tell_drained();
        Ok(())
    }

    fn tell_drained(&self) {
        let drained = self.scheduler.is_drained();
        self.facts
            .send_if_modified(|facts| std::mem::replace(&mut facts.drained, drained) != drained);
    }

    /// Whether frames are under way and nothing was acknowledged for too long. Then the
    /// next try waits, longer each time.
    fn has_stalled(&mut self) -> bool {
        let now_us = self.clock.read().box_instant.micros;
        let still = u128::from(now_us.saturating_sub(self.progress_at_us));
        if !self.scheduler.is_waiting() || still < self.plan.stalled_after.as_micros() {
            return false;
        }
        let wait = u64::try_from(self.backoff.next_wait().as_micros()).unwrap_or(u64::MAX);
        self.hold_until_us = now_us.saturating_add(wait);
        self.scheduler.rewind();
        tracing::warn!(event = "UplinkStalled", code = "uplink.stalled");
        true
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
        let refused = match Ack::verify(payload, &self.plan.control) {
            Ok(ack) if ack.device == self.plan.device => match self.shelf.acked(ack).await? {
                AckOutcome::Accepted { .. } => {
                    self.progress(&ack);
                    None
                }
                AckOutcome::Refused { why } => Some(why.code()),
            },
            Ok(_) => Some("ack.foreign"),
            Err(err) => Some(err.code()),
        };
        if let Some(code) = refused {
            self.board.lines().uplink.refused_acks += 1;
            tracing::warn!(event = "UplinkAckRefused", code);
        }
        Ok(())
    }

    fn progress(&mut self, ack: &Ack) {
        let now = self.clock.read();
        self.greeting.retain(|lane| *lane != ack.lane);
        let confirmed = self.scheduler.acked(ack.lane, ack.upto);
        if !confirmed.is_empty() {
            self.progress_at_us = now.box_instant.micros;
            self.hold_until_us = 0;
            self.backoff.succeeded();
        }
        let mut lines = self.board.lines();
        for sent_us in confirmed {
            let taken = now.box_instant.micros.saturating_sub(sent_us);
            lines.sent_to_filed.note(taken);
        }
        lines.uplink.under_way = self.scheduler.under_way();
        lines.gateway_ahead_us = Some(ahead(ack, &now));
        drop(lines);
        self.tell_drained();
    }

    async fn hear_command(&mut self, payload: &[u8]) -> Result<Option<Over>, OutboxError> {
        match self.commands.accept(payload, self.clock.read().utc) {
            Ok(CommandAction::Resend {
                lane,
                chain,
                from_seq,
            }) => {
                let resent = self.shelf.resend(lane, chain, from_seq).await?;
                if let Resent::From { seq, .. } = resent {
                    self.scheduler.resend(lane, chain, seq);
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
            Ok(CommandAction::Rotate | CommandAction::Config) => {
                // This version has nothing to fetch: keys and configuration come as files.
                tracing::warn!(event = "UplinkCommandRefused", code = "command.unsupported");
            }
            Err(why) => {
                tracing::warn!(event = "UplinkCommandRefused", code = why.code());
            }
        }
        Ok(None)
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
mod tests;
