//! One task per sensor: connects it, holds the conversation, feeds the pipeline, and tells
//! the board how the link is. The same for a serial port and for the radio.
//!
//! - A sensor that cannot be connected, or that is lost, is tried again with back-off; the
//!   state and the stable code of the cause are on the board meanwhile.
//! - Nothing waits for the disk here: what comes out of the pipeline goes through a bounded
//!   [`outlet`](self) to the recorder.
//! - An event of the box is recorded when the cause changes, not at each try.
//!
//! What it all means for the recording is decided in [`course`](self), without IO: a capture log,
//! written on a [`Tape`], is played again through the same code ([`Playback`]).
//!
//! Deliberately absent: what the bytes mean (`cardio-protocol`), and records.

mod connection;
mod course;
mod gatt;
mod outlet;
mod playback;
mod reach;
mod report;
mod stream;
mod tape;

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_protocol::capture::CaptureEvent;
use cardio_store::OpenAcquisition;
use cardio_wire::record::EndReason;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::backoff::Backoff;
use crate::ids::Ids;
use crate::pipeline::{Captured, SourcePlan};
use crate::status::Board;
use crate::worklist::Choice;
use connection::Connection;
pub(crate) use connection::Lost;
use course::Course;
use outlet::Outlet;

pub use outlet::WAITING_MAX;
pub use playback::{Playback, PlaybackError};
pub use reach::{BleReach, PortName, Reach, SerialReach};
pub use report::line_of;
pub use tape::{Tape, TapeError};

/// How often a session and the pipeline hear that time passes.
const TICK: Duration = Duration::from_millis(100);
/// While a sensor streams, bytes are read this far apart: several frames at once cost less
/// than one by one, and the last of them is as fresh.
const GATHER: Duration = Duration::from_millis(16);
const REOPEN_FIRST: Duration = Duration::from_millis(100);
const REOPEN_LAST: Duration = Duration::from_secs(3);
/// On a tape: the link was let go of because the session failed.
const SESSION_FAILED: &str = "session.failed";
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
    /// The visit that a person has chosen.
    pub choice: watch::Receiver<Choice>,
    /// What passes is noted on it; [`Tape::off`] for a service.
    pub tape: Tape,
}

/// Waits until capture must stop, or nobody is left to say so.
pub(crate) async fn told_to_stop(stop: &mut watch::Receiver<Option<Stop>>) {
    let _ = stop.wait_for(Option::is_some).await;
}

struct Capture {
    course: Course,
    outlet: Outlet,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<Option<Stop>>,
    choice: watch::Receiver<Choice>,
    backoff: Backoff,
    tape: Tape,
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
            course: Course::new(
                self.board,
                self.place,
                self.plan,
                self.ids,
                self.note,
                self.silent_after,
            ),
            outlet: Outlet::new(self.recorder),
            clock: self.clock,
            stop: self.stop,
            choice: self.choice,
            backoff: Backoff::new(REOPEN_FIRST, REOPEN_LAST, seed),
            tape: self.tape,
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
        self.follow_choice();
        self.course.wait(self.clock.read());
        self.hand_on().await;
        let over = match reach {
            Reach::Serial(serial) => match serial.open(&self.tape) {
                Ok(connection) => self.converse(connection).await,
                Err(lost) => self.unreached(lost),
            },
            Reach::Ble(radio) => {
                let mut stop = self.stop.clone();
                let opened = tokio::select! {
                    () = told_to_stop(&mut stop) => return Over::Stopped,
                    opened = radio.open(&self.tape) => opened,
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

    /// What is heard from here on belongs to the visit that is chosen now.
    fn follow_choice(&mut self) {
        // nobody can choose any more once the other side is gone
        if self.choice.has_changed().unwrap_or(false) {
            let choice = self.choice.borrow_and_update().clone();
            self.course.assign(&choice);
        }
    }

    fn unreached(&mut self, lost: Lost) -> Over {
        self.course.unreached(lost);
        Over::Lost
    }

    async fn converse(&mut self, mut connection: impl Connection) -> Over {
        let over = self.talk(&mut connection).await;
        if let Over::Stopped = over {
            connection.talk().stop();
            // it is let go of, whether it hears this or not
            let quiet = connection.send(&*self.clock);
            let _ = tokio::time::timeout(STOP_LIMIT, quiet).await;
        }
        let _ = tokio::time::timeout(STOP_LIMIT, connection.close()).await;
        over
    }

    async fn talk(&mut self, connection: &mut impl Connection) -> Over {
        let clock = Arc::clone(&self.clock);
        self.course.connected(connection.talk(), clock.read());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            self.follow_choice();
            let sent = tokio::select! {
                () = told_to_stop(&mut stop) => return Over::Stopped,
                sent = connection.send(&*clock) => sent,
            };
            if let Err(lost) = sent {
                return self.lost(lost);
            }
            tokio::select! {
                () = told_to_stop(&mut stop) => return Over::Stopped,
                heard = connection.hear(&*clock) => match heard {
                    Ok(heard) => {
                        if heard.measured_at().is_some() {
                            self.backoff.succeeded();
                        }
                        self.course.take(heard, clock.read(), self.outlet.dropped());
                    }
                    Err(lost) => return self.lost(lost),
                },
                _ = ticks.tick() => {
                    if self.course.tick(connection.talk(), clock.read()).is_err() {
                        let code = SESSION_FAILED.to_owned();
                        self.tape.note(|| CaptureEvent::Closed { code });
                        return Over::Lost;
                    }
                }
            }
            self.hand_on().await;
            if self.course.is_streaming() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn lost(&mut self, lost: Lost) -> Over {
        let at = self.clock.read();
        let code = lost.code.to_owned();
        self.tape.note_at(at, || CaptureEvent::Closed { code });
        self.course.lost(lost, at);
        Over::Lost
    }

    /// Hands on what came out. Only the frame around an acquisition is worth waiting for.
    async fn hand_on(&mut self) {
        for captured in std::mem::take(&mut self.course.out) {
            self.course.show(&captured);
            match captured {
                Captured::Started(_) | Captured::Continued(..) | Captured::Ended { .. } => {
                    self.outlet.insist(captured).await;
                }
                other => self.outlet.offer(other),
            }
        }
    }

    async fn end(mut self) {
        let stop = *self.stop.borrow();
        self.course.end(stop);
        self.hand_on().await;
    }
}
