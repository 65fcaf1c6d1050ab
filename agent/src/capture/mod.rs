//! One task per sensor: connects it, holds the conversation, feeds the pipeline, and tells
//! the board how the link is. The same for a serial port and for the radio.
//!
//! - A sensor that cannot be connected, or that is lost, is tried again with back-off; the
//!   state and the stable code of the cause are on the board meanwhile.
//! - Nothing waits for the disk here: what comes out of the pipeline goes through a bounded
//!   [`outlet`](self) to the recorder.
//! - An event of the box is recorded when the cause changes, not at each try.
//!
//! Deliberately absent: what the bytes mean (`cardio-protocol`), and records.

mod connection;
mod gatt;
mod outlet;
mod reach;
mod report;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{BoxInstant, Clock, ClockReading};
use cardio_store::OpenAcquisition;
use cardio_wire::record::EndReason;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::backoff::Backoff;
use crate::ids::Ids;
use crate::pipeline::{Captured, SourcePipeline, SourcePlan};
use crate::status::{Board, LinkState};
use connection::{Connection, Heard, Lost};
use outlet::Outlet;
use report::Reporter;

pub use outlet::WAITING_MAX;
pub use reach::{BleReach, PortName, Reach, SerialReach};
pub use report::line_of;

/// How often a session and the pipeline hear that time passes.
const TICK: Duration = Duration::from_millis(100);
/// While a sensor streams, bytes are read this far apart: several frames at once cost less
/// than one by one, and the last of them is as fresh.
const GATHER: Duration = Duration::from_millis(16);
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_LAST: Duration = Duration::from_secs(3);
/// How long the last command to a sensor may take, and letting go of it.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Why capture must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The acquisition is over.
    End(EndReason),
    /// The process is about to be started anew, and goes on with the acquisition then.
    Leave,
}

/// What the task of a sensor is given.
pub struct SourceTask {
    /// Its place on the board.
    pub place: usize,
    /// What it is and whose it is.
    pub plan: SourcePlan,
    /// How it is reached.
    pub reach: Reach,
    /// No byte for this long: it is silent.
    pub silent_after: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Names.
    pub ids: Box<dyn Ids>,
    /// What the last run left unended.
    pub note: Option<OpenAcquisition>,
    /// The board.
    pub board: Arc<Board>,
    /// The way to the recorder.
    pub recorder: mpsc::Sender<Captured>,
    /// Becomes a reason when capture must stop.
    pub stop: watch::Receiver<Option<Stop>>,
}

/// Waits until capture must stop, or nobody is left to say so.
async fn told_to_stop(stop: &mut watch::Receiver<Option<Stop>>) {
    let _ = stop.wait_for(Option::is_some).await;
}

struct Capture {
    pipeline: SourcePipeline,
    outlet: Outlet,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    silent_after: Duration,
    stop: watch::Receiver<Option<Stop>>,
    out: Vec<Captured>,
    backoff: Backoff,
}

/// Why a connection is over.
enum Over {
    /// Capture must stop.
    Stopped,
    /// The link is of no use any more; its cause is reported already.
    Lost,
}

impl SourceTask {
    /// Captures until told to stop, and then ends the acquisition or leaves it.
    pub async fn run(self) {
        let seed = self.clock.read().box_instant.micros;
        let mut capture = Capture {
            reporter: Reporter::new(self.board, self.place, &self.plan),
            pipeline: SourcePipeline::new(self.plan, self.ids, self.note),
            outlet: Outlet::new(self.recorder),
            clock: self.clock,
            silent_after: self.silent_after,
            stop: self.stop,
            out: Vec::new(),
            backoff: Backoff::new(REOPEN_FIRST, REOPEN_LAST, seed),
        };
        while !capture.is_stopped() {
            if let Over::Stopped = capture.connect(&self.reach).await {
                break;
            }
            let mut stop = capture.stop.clone();
            let wait = capture.backoff.next_wait();
            let _ = tokio::time::timeout(wait, told_to_stop(&mut stop)).await;
        }
        capture.end().await;
    }
}

impl Capture {
    fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }

    async fn connect(&mut self, reach: &Reach) -> Over {
        let now = self.clock.read();
        self.pipeline.tick(now, &mut self.out);
        self.hand_on().await;
        let over = match reach {
            Reach::Serial(serial) => match serial.open() {
                Ok(connection) => self.converse(connection).await,
                Err(lost) => self.unreached(lost),
            },
            Reach::Ble(radio) => {
                let mut stop = self.stop.clone();
                let opened = tokio::select! {
                    () = told_to_stop(&mut stop) => return Over::Stopped,
                    opened = radio.open() => opened,
                };
                match opened {
                    Ok(connection) => self.converse(connection).await,
                    Err(lost) => self.unreached(lost),
                }
            }
        };
        self.hand_on().await;
        over
    }

    fn unreached(&mut self, lost: Lost) -> Over {
        let state = self.reporter.state_without_port();
        self.reporter
            .trouble(state, lost.code, lost.detail, &mut self.out);
        Over::Lost
    }

    async fn converse(&mut self, mut connection: impl Connection) -> Over {
        self.reporter.waiting();
        let over = self.talk(&mut connection).await;
        if let Over::Stopped = over {
            let quiet = connection.stop(&*self.clock);
            let _ = tokio::time::timeout(STOP_LIMIT, quiet).await;
        }
        let _ = tokio::time::timeout(STOP_LIMIT, connection.close()).await;
        over
    }

    async fn talk(&mut self, connection: &mut impl Connection) -> Over {
        let clock = Arc::clone(&self.clock);
        let mut heard_at = clock.read().box_instant;
        connection.start(heard_at);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            let sent = tokio::select! {
                () = told_to_stop(&mut stop) => return Over::Stopped,
                sent = connection.send(&*clock) => sent,
            };
            if let Err(lost) = sent {
                return self.lost(lost, clock.read());
            }
            tokio::select! {
                () = told_to_stop(&mut stop) => return Over::Stopped,
                heard = connection.hear(&*clock) => match heard {
                    Ok(heard) => {
                        if let Some((at, _)) = heard.frames.last() {
                            heard_at = at.box_instant;
                            self.backoff.succeeded();
                        }
                        self.take(heard, clock.read());
                    }
                    Err(lost) => return self.lost(lost, clock.read()),
                },
                _ = ticks.tick() => {
                    let now = clock.read();
                    self.pipeline.tick(now, &mut self.out);
                    if let Some(why) = connection.failure() {
                        return self.failed(why.code(), why.to_string(), now);
                    }
                    if self.is_silent(heard_at, now) {
                        heard_at = now.box_instant;
                        self.silent(now);
                        connection.start(now.box_instant);
                    } else {
                        connection.tick(now.box_instant);
                    }
                }
            }
            self.hand_on().await;
            if self.reporter.is_streaming() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn take(&mut self, heard: Heard, now: ClockReading) {
        for aside in &heard.asides {
            self.pipeline.note(aside);
        }
        if let Some(rate) = heard.rate {
            self.pipeline.set_rate(rate, &mut self.out);
        }
        for (at, frames) in &heard.frames {
            self.pipeline.take(frames, *at, &mut self.out);
        }
        if let Some(why) = heard.unrecognised {
            self.pipeline.lost(now, &mut self.out);
            self.reporter.trouble(
                LinkState::NoFrames,
                why.code(),
                why.to_string(),
                &mut self.out,
            );
        } else if let Some((at, _)) = heard.frames.last() {
            self.reporter.streaming(*at, &mut self.out);
        }
        self.reporter.facts(
            &self.pipeline.facts(),
            heard.skipped_bytes,
            self.outlet.dropped(),
            heard.dropped,
        );
    }

    /// Only a stream can fall silent; before its first frame the session keeps the time.
    fn is_silent(&self, heard_at: BoxInstant, now: ClockReading) -> bool {
        self.reporter.is_streaming()
            && now
                .box_instant
                .micros_since(&heard_at)
                .is_some_and(|quiet| u128::from(quiet) > self.silent_after.as_micros())
    }

    fn silent(&mut self, now: ClockReading) {
        self.pipeline.lost(now, &mut self.out);
        let detail = format!("no frame for {} ms", self.silent_after.as_millis());
        self.reporter
            .trouble(LinkState::Silent, "source.silent", detail, &mut self.out);
    }

    /// The session failed. That the bytes are another device's says more than that this one
    /// does not answer.
    fn failed(&mut self, code: &'static str, detail: String, at: ClockReading) -> Over {
        if self.reporter.is_unrecognised() {
            return Over::Lost;
        }
        self.lost(Lost { code, detail }, at)
    }

    fn lost(&mut self, lost: Lost, at: ClockReading) -> Over {
        self.pipeline.lost(at, &mut self.out);
        self.reporter
            .trouble(LinkState::Lost, lost.code, lost.detail, &mut self.out);
        Over::Lost
    }

    /// Hands on what came out. Only the frame around an acquisition is worth waiting for.
    async fn hand_on(&mut self) {
        for captured in std::mem::take(&mut self.out) {
            if let Captured::Assessment(found) = &captured {
                self.reporter.assessed(found);
            }
            match captured {
                Captured::Started(_) | Captured::Continued(..) | Captured::Ended { .. } => {
                    self.outlet.insist(captured).await;
                }
                other => self.outlet.offer(other),
            }
        }
    }

    async fn end(mut self) {
        match *self.stop.borrow() {
            Some(Stop::Leave) => self.pipeline.leave(&mut self.out),
            Some(Stop::End(reason)) => self.pipeline.end(reason, &mut self.out),
            None => self.pipeline.end(EndReason::BoxStopped, &mut self.out),
        }
        self.hand_on().await;
        self.reporter.state(LinkState::Ended);
    }
}
