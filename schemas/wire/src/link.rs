//! Which frame goes next: lanes, windows, acknowledgements, time-outs, as a state machine
//! without clock, network or storage.
//!
//! - Urgency decides: alert, routine, bulk, log. A lane has a window of frames that the
//!   gateway has not acknowledged: 16, bulk 32 or 256 KiB.
//! - What was handed to the transport and not confirmed by it (PUBACK) stands in the way of
//!   an alert: it cannot be taken back. So all lanes but the alert lane share a credit of such
//!   frames: it starts at one, grows by one with each frame confirmed within 400 ms, shrinks
//!   by one with each that took longer, and falls back to one when a frame takes longer than a
//!   second. To 32 KiB that are under way none is added. On a link that
//!   needs 400 ms for a frame, an alert therefore waits for at most one other frame; on a
//!   quicker one for what the link carries in about that time; and on a quick one that turns
//!   slow, once, for 32 KiB and a frame. While more alerts wait than their window holds, the
//!   credit is one.
//! - After a connection: hello first; a lane opens with the gateway's answer for it, or after
//!   5 s without one, and continues after what is acknowledged.
//! - No progress for 30 s (or as long as it is told) while frames are out: back to what is
//!   acknowledged, another hello, and twice the patience, up to 5 minutes, with jitter.
//!
//! Sending a frame twice is harmless, so every doubt is answered by sending again. Deliberately
//! absent: whether an acknowledgement is true (the outbox checks it first), and what is deleted.
//!
//! ```text
//! loop {
//!     match scheduler.next(&outbox.lane_states()?, now_us) {
//!         Some(Step::Hello) => publish(hello),
//!         Some(Step::Publish { lane, seq }) => { publish(frame); scheduler.published(..) }
//!         None => wait for an event, or until scheduler.wake_at(),
//!     }
//! }
//! ```

use std::collections::VecDeque;

use crate::lane::{ChainId, Lane};
use crate::message::LaneState;

const WINDOW_FRAMES: usize = 16;
const BULK_WINDOW_FRAMES: usize = 32;
const BULK_WINDOW_BYTES: usize = 256 * 1024;
const CREDIT_MAX: usize = 32;
const CREDIT_BYTES: usize = 32 * 1024;
const FAST_US: u64 = 400_000;
const SLOW_US: u64 = 1_000_000;
const HELLO_PATIENCE_US: u64 = 5_000_000;
const PROGRESS_PATIENCE_US: u64 = 30_000_000;
const PATIENCE_MAX_US: u64 = 300_000_000;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Publish a hello with the present states of the lanes.
    Hello,
    /// Publish this frame, then call [`LaneScheduler::published`].
    Publish {
        /// Its lane.
        lane: Lane,
        /// Its place in the lane's present chain.
        seq: u64,
    },
}

/// A frame that was handed to the transport and is not acknowledged.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    seq: u64,
    bytes: usize,
    handed_us: u64,
    confirmed: bool,
}

/// One lane of the connection.
#[derive(Clone, Debug)]
struct LaneLink {
    lane: Lane,
    chain: Option<ChainId>,
    /// Whether the gateway has answered the hello for this lane, or was given up on.
    open: bool,
    acked: u64,
    cursor: u64,
    in_flight: VecDeque<InFlight>,
    progress_us: u64,
    /// How often patience ran out since the last progress.
    attempts: u32,
    patience_us: u64,
}

/// Decides which frame of which lane is published next.
#[derive(Clone, Debug)]
pub struct LaneScheduler {
    connected: bool,
    hello_due: bool,
    hello_us: u64,
    credit: usize,
    lanes: [LaneLink; 4],
    first_patience_us: u64,
    stalls: u64,
    jitter: u64,
}

impl LaneLink {
    const fn new(lane: Lane, patience_us: u64) -> Self {
        Self {
            lane,
            chain: None,
            open: false,
            acked: 0,
            cursor: 1,
            in_flight: VecDeque::new(),
            progress_us: 0,
            attempts: 0,
            patience_us,
        }
    }

    /// Forgets what is out and continues after what is acknowledged.
    fn go_back(&mut self) {
        self.in_flight.clear();
        self.cursor = self.acked.saturating_add(1);
    }

    fn has_room(&self) -> bool {
        let frames = self.in_flight.len();
        if self.lane == Lane::Bulk {
            let bytes: usize = self.in_flight.iter().map(|frame| frame.bytes).sum();
            frames < BULK_WINDOW_FRAMES && bytes < BULK_WINDOW_BYTES
        } else {
            frames < WINDOW_FRAMES
        }
    }

    fn unconfirmed(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter().filter(|frame| !frame.confirmed)
    }

    fn deadline(&self) -> Option<u64> {
        let waits = self.open && !self.in_flight.is_empty();
        waits.then(|| self.progress_us.saturating_add(self.patience_us))
    }
}

impl LaneScheduler {
    /// A scheduler without a connection. The seed spreads the retries of many boxes.
    pub fn new(seed: u64) -> Self {
        Self::with_patience(seed, PROGRESS_PATIENCE_US)
    }

    /// A scheduler that sends again after so many microseconds without progress.
    pub fn with_patience(seed: u64, patience_us: u64) -> Self {
        let first_patience_us = patience_us.max(1);
        Self {
            connected: false,
            hello_due: false,
            hello_us: 0,
            credit: 1,
            lanes: Lane::ALL.map(|lane| LaneLink::new(lane, first_patience_us)),
            first_patience_us,
            stalls: 0,
            jitter: seed | 1,
        }
    }

    /// There is a connection, and the box listens to its acknowledgements.
    pub fn connected(&mut self) {
        self.disconnected();
        self.connected = true;
        self.hello_due = true;
    }

    /// What a hello says has changed: says it again.
    pub fn say_hello(&mut self) {
        self.hello_due = self.connected;
    }

    /// There is no connection any more. What was out counts as not sent.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.hello_due = false;
        self.credit = 1;
        for link in &mut self.lanes {
            link.go_back();
            link.open = false;
            link.attempts = 0;
            link.patience_us = self.first_patience_us;
        }
    }

    /// What to do at `now_us`, given what the outbox holds. `None`: nothing until something
    /// happens or [`LaneScheduler::wake_at`] is reached.
    pub fn next(&mut self, outbox: &[LaneState], now_us: u64) -> Option<Step> {
        if !self.connected {
            return None;
        }
        for state in outbox {
            self.follow(state);
        }
        self.run_timers(now_us);
        if std::mem::take(&mut self.hello_due) {
            self.hello_us = now_us;
            return Some(Step::Hello);
        }
        let blocked = self.is_credit_used(outbox);
        let ready = |link: &&LaneLink| {
            let state = outbox.iter().find(|state| state.lane == link.lane);
            link.open
                && state.is_some_and(|state| link.cursor < state.next)
                && link.has_room()
                && (link.lane == Lane::Alert || !blocked)
        };
        self.lanes.iter().find(ready).map(|link| Step::Publish {
            lane: link.lane,
            seq: link.cursor,
        })
    }

    /// A frame was handed to the transport.
    pub fn published(&mut self, lane: Lane, seq: u64, bytes: usize, now_us: u64) {
        let link = self.link_mut(lane);
        if seq != link.cursor {
            return;
        }
        if link.in_flight.is_empty() {
            link.progress_us = now_us;
        }
        link.cursor = seq.saturating_add(1);
        link.in_flight.push_back(InFlight {
            seq,
            bytes,
            handed_us: now_us,
            confirmed: false,
        });
    }

    /// The transport delivered a frame to the other side (PUBACK). Not an acknowledgement.
    pub fn confirmed(&mut self, lane: Lane, seq: u64, now_us: u64) {
        let link = self.link_mut(lane);
        let frame = link.in_flight.iter_mut().find(|frame| frame.seq == seq);
        let first = frame.filter(|frame| !frame.confirmed).map(|frame| {
            frame.confirmed = true;
            frame.handed_us
        });
        if let Some(handed_us) = first {
            self.learn(now_us.saturating_sub(handed_us));
        }
    }

    /// The outbox accepted an acknowledgement, or one said what it knew already. Gives how
    /// long each frame that it covers was out, in microseconds.
    pub fn ack(&mut self, lane: Lane, chain: ChainId, upto: u64, now_us: u64) -> Vec<u64> {
        let patience_us = self.first_patience_us;
        let link = self.link_mut(lane);
        if link.chain != Some(chain) {
            return Vec::new();
        }
        link.open = true;
        if upto <= link.acked {
            return Vec::new();
        }
        link.acked = upto;
        link.cursor = link.cursor.max(upto.saturating_add(1));
        link.progress_us = now_us;
        link.attempts = 0;
        link.patience_us = patience_us;
        let mut covered = Vec::new();
        while let Some(frame) = link.in_flight.pop_front_if(|frame| frame.seq <= upto) {
            covered.push((now_us.saturating_sub(frame.handed_us), frame.confirmed));
        }
        for (delay, _) in covered.iter().filter(|(_, confirmed)| !confirmed) {
            self.learn(*delay);
        }
        covered.into_iter().map(|(delay, _)| delay).collect()
    }

    /// The gateway asked for frames again and the outbox took back their acknowledgement:
    /// `from_seq` is the first that waits now. That answers a hello too.
    pub fn resend(&mut self, lane: Lane, chain: ChainId, from_seq: u64) {
        let link = self.link_mut(lane);
        if link.chain != Some(chain) {
            return;
        }
        link.open = true;
        if from_seq <= link.acked {
            link.acked = from_seq.saturating_sub(1);
            link.go_back();
        }
    }

    /// Frames that are out on this connection and not acknowledged.
    pub fn under_way(&self) -> usize {
        self.lanes.iter().map(|link| link.in_flight.len()).sum()
    }

    /// How often patience ran out since the beginning.
    pub const fn stalls(&self) -> u64 {
        self.stalls
    }

    /// When to call [`LaneScheduler::next`] again although nothing happened.
    pub fn wake_at(&self) -> Option<u64> {
        if !self.connected {
            return None;
        }
        let all_open = self.lanes.iter().all(|link| link.open);
        let hello = (!all_open).then(|| self.hello_us.saturating_add(HELLO_PATIENCE_US));
        let progress = self.lanes.iter().filter_map(LaneLink::deadline);
        progress.chain(hello).min()
    }

    /// Follows the outbox to the chain that it has now, and forward to what is acknowledged.
    /// Never back: the states may be a moment older than the last acknowledgement.
    fn follow(&mut self, state: &LaneState) {
        let link = self.link_mut(state.lane);
        if link.chain == Some(state.chain) {
            if state.acked >= link.cursor {
                link.acked = state.acked;
                link.go_back();
            }
            return;
        }
        let known = link.chain.replace(state.chain);
        link.acked = state.acked;
        link.go_back();
        if known.is_some() {
            link.open = false;
            self.hello_due = true;
        }
    }

    fn run_timers(&mut self, now_us: u64) {
        let given_up = now_us >= self.hello_us.saturating_add(HELLO_PATIENCE_US);
        for position in 0..self.lanes.len() {
            let jitter = self.next_jitter();
            let hello_pending = self.hello_due;
            let Some(link) = self.lanes.get_mut(position) else {
                continue;
            };
            if !link.open && given_up && !hello_pending {
                link.open = true;
            }
            if link.deadline().is_some_and(|deadline| now_us >= deadline) {
                link.go_back();
                link.attempts = link.attempts.saturating_add(1);
                let doubled = self
                    .first_patience_us
                    .saturating_mul(1 << link.attempts.min(8));
                let patience = doubled.min(PATIENCE_MAX_US.max(self.first_patience_us));
                let quarter = patience / 4;
                link.patience_us = patience - quarter + jitter % quarter.max(1);
                self.stalls += 1;
                self.credit = 1;
                self.hello_due = true;
            }
        }
    }

    /// A quick delivery widens the credit by one, a slow one narrows it by one, and a very
    /// slow one to one.
    fn learn(&mut self, delay_us: u64) {
        let credit = if delay_us <= FAST_US {
            self.credit + 1
        } else if delay_us <= SLOW_US {
            self.credit.saturating_sub(1)
        } else {
            1
        };
        self.credit = credit.clamp(1, CREDIT_MAX);
    }

    /// Whether as much stands in the way of an alert as may: one frame where alerts wait for
    /// the window of their lane.
    fn is_credit_used(&self, outbox: &[LaneState]) -> bool {
        let alert = Lane::Alert.of(&self.lanes);
        let alerts = outbox.iter().find(|state| state.lane == Lane::Alert);
        let credit = match alerts.is_some_and(|alerts| alert.cursor < alerts.next) {
            true => 1,
            false => self.credit,
        };
        let others = self.lanes.iter().filter(|link| link.lane != Lane::Alert);
        let sizes: Vec<usize> = others
            .flat_map(LaneLink::unconfirmed)
            .map(|frame| frame.bytes)
            .collect();
        sizes.len() >= credit || sizes.iter().sum::<usize>() >= CREDIT_BYTES
    }

    /// Xorshift (Marsaglia 2003): spreads retries, decides nothing else.
    const fn next_jitter(&mut self) -> u64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        self.jitter
    }

    const fn link_mut(&mut self, lane: Lane) -> &mut LaneLink {
        lane.of_mut(&mut self.lanes)
    }
}

#[cfg(test)]
mod tests;
