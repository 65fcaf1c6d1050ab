//! One task per sensor: opens its port, holds the conversation, feeds the pipeline, and
//! tells the board how the link is.
//!
//! - A port that cannot be opened, or that is lost, is tried again with back-off; the state
//!   and the stable code of the cause are on the board meanwhile.
//! - Nothing waits for the disk here: what comes out of the pipeline goes through a bounded
//!   [`outlet`](self) to the recorder.
//! - An event of the box is recorded when the cause changes, not at each try.
//!
//! Deliberately absent: what the bytes mean (`cardio-protocol`), and records.

mod conversation;
mod outlet;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{BoxInstant, Clock, ClockReading};
use cardio_store::OpenAcquisition;
use cardio_wire::record::EndReason;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::adapters::serial::Port;
use crate::backoff::Backoff;
use crate::ids::Ids;
use crate::pipeline::{Captured, SourcePipeline, SourcePlan};
use crate::status::{Board, LinkState};
use conversation::{Conversation, Heard};
use outlet::Outlet;
use report::Reporter;

pub use outlet::WAITING_MAX;
pub use report::line_of;

/// How often a session and the pipeline hear that time passes.
const TICK: Duration = Duration::from_millis(100);
/// While a sensor streams, bytes are read this far apart: several frames at once cost less
/// than one by one, and the last of them is as fresh.
const GATHER: Duration = Duration::from_millis(16);
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_LAST: Duration = Duration::from_secs(3);
/// How long the last command to a sensor may take.
const STOP_LIMIT: Duration = Duration::from_millis(500);

/// What the task of a sensor is given.
pub struct SourceTask {
    /// Its place on the board.
    pub place: usize,
    /// What it is and whose it is.
    pub plan: SourcePlan,
    /// The path of its port.
    pub path: PathBuf,
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
    /// Becomes a reason when the acquisition must end.
    pub stop: watch::Receiver<Option<EndReason>>,
}

/// Waits until the acquisition must end, or nobody is left to say so.
async fn told_to_stop(stop: &mut watch::Receiver<Option<EndReason>>) {
    let _ = stop.wait_for(Option::is_some).await;
}

struct Capture {
    pipeline: SourcePipeline,
    outlet: Outlet,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    plan: SourcePlan,
    silent_after: Duration,
    stop: watch::Receiver<Option<EndReason>>,
    out: Vec<Captured>,
}

/// Why a connection is over.
enum Over {
    /// The acquisition must end.
    Stopped,
    /// The link is of no use any more; its cause is reported already.
    Lost,
}

impl SourceTask {
    /// Captures until told to stop, and then ends the acquisition.
    pub async fn run(self) {
        let seed = self.clock.read().box_instant.micros;
        let mut backoff = Backoff::new(REOPEN_FIRST, REOPEN_LAST, seed);
        let mut capture = Capture {
            pipeline: SourcePipeline::new(self.plan.clone(), self.ids, self.note),
            outlet: Outlet::new(self.recorder),
            reporter: Reporter::new(self.board, self.place, &self.plan),
            clock: self.clock,
            path: self.path,
            plan: self.plan,
            silent_after: self.silent_after,
            stop: self.stop,
            out: Vec::new(),
        };
        while !capture.is_stopped() {
            if let Over::Stopped = capture.connect(&mut backoff).await {
                break;
            }
            let mut stop = capture.stop.clone();
            let wait = backoff.next_wait();
            let _ = tokio::time::timeout(wait, told_to_stop(&mut stop)).await;
        }
        capture.end().await;
    }
}

impl Capture {
    fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }

    async fn connect(&mut self, backoff: &mut Backoff) -> Over {
        let now = self.clock.read();
        self.pipeline.tick(now, &mut self.out);
        self.hand_on().await;
        let port = match Port::open(&self.path, self.plan.profile.baud) {
            Ok(port) => port,
            Err(err) => {
                let state = self.reporter.state_without_port();
                self.reporter
                    .trouble(state, err.code(), err.to_string(), &mut self.out);
                self.hand_on().await;
                return Over::Lost;
            }
        };
        let over = self.converse(port, backoff).await;
        self.hand_on().await;
        over
    }

    async fn converse(&mut self, mut port: Port, backoff: &mut Backoff) -> Over {
        let mut talk = Conversation::new(self.plan.profile);
        self.reporter.waiting();
        let mut heard_at = self.clock.read().box_instant;
        let mut answer = talk.start(heard_at);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let clock = Arc::clone(&self.clock);
        loop {
            if !answer.is_empty()
                && let Err(lost) = port.write(&answer).await
            {
                return self.lost(lost.code(), lost.to_string(), clock.read());
            }
            answer = tokio::select! {
                () = told_to_stop(&mut stop) => {
                    let quiet = talk.stop();
                    let _ = tokio::time::timeout(STOP_LIMIT, port.write(&quiet)).await;
                    return Over::Stopped;
                }
                read = port.read(&*clock) => match read {
                    Ok(arrival) => {
                        let at = arrival.at;
                        let heard = talk.hear(arrival.bytes, at.box_instant);
                        if !heard.frames.is_empty() {
                            heard_at = at.box_instant;
                            backoff.succeeded();
                        }
                        self.take(&mut talk, heard, at)
                    }
                    Err(lost) => return self.lost(lost.code(), lost.to_string(), clock.read()),
                },
                _ = ticks.tick() => {
                    let now = clock.read();
                    self.pipeline.tick(now, &mut self.out);
                    if let Some(why) = talk.failure() {
                        return self.failed(why.code(), why.to_string(), now);
                    }
                    if self.is_silent(heard_at, now) {
                        heard_at = now.box_instant;
                        self.silent(&mut talk, now)
                    } else {
                        talk.tick(now.box_instant)
                    }
                }
            };
            self.hand_on().await;
            if self.reporter.is_streaming() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn take(&mut self, talk: &mut Conversation, heard: Heard, at: ClockReading) -> Vec<u8> {
        if let Some(version) = talk.firmware() {
            self.pipeline.set_firmware(version);
        }
        self.pipeline.take(&heard.frames, at, &mut self.out);
        if let Some(why) = heard.unrecognised {
            self.pipeline.lost(at, &mut self.out);
            self.reporter.trouble(
                LinkState::NoFrames,
                why.code(),
                why.to_string(),
                &mut self.out,
            );
        } else if !heard.frames.is_empty() {
            self.reporter.streaming(at, &mut self.out);
        }
        self.reporter.facts(
            &self.pipeline.facts(),
            talk.take_skipped(),
            self.outlet.dropped(),
        );
        heard.answer
    }

    /// Only a stream can fall silent; before its first frame the session keeps the time.
    fn is_silent(&self, heard_at: BoxInstant, now: ClockReading) -> bool {
        self.reporter.is_streaming()
            && now
                .box_instant
                .micros_since(&heard_at)
                .is_some_and(|quiet| u128::from(quiet) > self.silent_after.as_micros())
    }

    fn silent(&mut self, talk: &mut Conversation, now: ClockReading) -> Vec<u8> {
        self.pipeline.lost(now, &mut self.out);
        let detail = format!("no frame for {} ms", self.silent_after.as_millis());
        self.reporter
            .trouble(LinkState::Silent, "source.silent", detail, &mut self.out);
        talk.start(now.box_instant)
    }

    /// The session failed. That the bytes are another device's says more than that this one
    /// does not answer.
    fn failed(&mut self, code: &'static str, detail: String, at: ClockReading) -> Over {
        if self.reporter.is_unrecognised() {
            return Over::Lost;
        }
        self.lost(code, detail, at)
    }

    fn lost(&mut self, code: &'static str, detail: String, at: ClockReading) -> Over {
        self.pipeline.lost(at, &mut self.out);
        self.reporter
            .trouble(LinkState::Lost, code, detail, &mut self.out);
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
        let reason = self.stop.borrow().unwrap_or(EndReason::BoxStopped);
        self.pipeline.end(reason, &mut self.out);
        self.hand_on().await;
        self.reporter.state(LinkState::Ended);
    }
}
