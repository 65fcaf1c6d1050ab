//! One task per sensor whose own recordings are fetched: connects it, takes one recording
//! after another, has it stored, and only then tells the sensor that it may go.
//!
//! - What was read of a recording stays in memory, and there only: a link that ends or a
//!   sensor that starts anew costs no byte, and a box that is stolen holds nothing in the
//!   clear. After a cut of the box's own power the sensor is asked again: it keeps what it
//!   was not told to drop.
//! - A recording goes the way of every file ([`crate::import`]). It counts as stored when all
//!   of its records are durable in the outbox.
//! - What the box cannot read stays on its sensor, and is not fetched again by this process.
//! - A sensor that is not within reach is nothing to worry about: it is at the patient's.
//!
//! Deliberately absent: starting and stopping a recording; a person does that. A sensor that
//! records is left alone.

mod link;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, ClockReading};
use cardio_core::device::DeviceIdentity;
use cardio_core::ids::SourceId;
use cardio_core::subject::SubjectRef;
use cardio_protocol::decoder::Aside;
use cardio_protocol::gatt::GattAction;
use cardio_protocol::kept::{KeptError, KeptLabel, KeptSession, KeptState};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::backoff::Backoff;
use crate::capture::{Lost, Stop, told_to_stop};
use crate::import::{Delivered, Delivery, Mark};
use crate::pipeline::{Captured, note_identity};
use crate::status::{Board, LinkState, RecordingsStatus};
use link::FetchLink;

pub use link::FetchReach;

/// How often a session hears that time passes, and the board how far it is.
const TICK: Duration = Duration::from_millis(100);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How long a full outbox is left alone.
const STORE_AGAIN: Duration = Duration::from_secs(10);
/// How long letting go of a sensor may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// What the radio says of a sensor that is elsewhere.
const ELSEWHERE: &str = "ble.not_heard";

/// What the task of a sensor is given.
pub struct FetchTask {
    /// Its place on the board.
    pub place: usize,
    /// What the source is called.
    pub source: SourceId,
    /// The patient, as an opaque reference.
    pub subject: Option<SubjectRef>,
    /// Who it is, as far as its profile knows.
    pub identity: DeviceIdentity,
    /// How it is reached.
    pub reach: FetchReach,
    /// The conversation.
    pub session: Box<dyn KeptSession>,
    /// How long it is left alone when nothing is left to fetch.
    pub every: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The board.
    pub board: Arc<Board>,
    /// Recordings that are in the outbox already.
    pub fetched: BTreeSet<Mark>,
    /// The way to the import.
    pub import: std::sync::mpsc::Sender<Delivery>,
    /// The way to the recorder, for events.
    pub recorder: mpsc::Sender<Captured>,
    /// Becomes a reason when the task must stop.
    pub stop: watch::Receiver<Option<Stop>>,
}

/// A recording that is whole and not yet known to be stored.
struct Pending {
    label: KeptLabel,
    name: String,
    bytes: Arc<[u8]>,
    /// `None` while the import is left alone.
    answer: Option<oneshot::Receiver<Delivered>>,
    /// When the import was tried last, in microseconds of the box's clock.
    tried_us: u64,
}

/// What a recording that was decided on is to its sensor from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    Left,
}

struct Fetching {
    task: FetchTask,
    /// What was decided by this process.
    decided: BTreeMap<KeptLabel, Fate>,
    pending: Option<Pending>,
    identity: DeviceIdentity,
    /// What tells the sensor from another one of its kind.
    peer: String,
    status: RecordingsStatus,
    code: Option<&'static str>,
}

/// Why a visit is over.
enum Over {
    Stopped,
    /// Nothing is left to fetch.
    Done,
    /// It shall be tried again soon.
    Lost,
}

impl FetchTask {
    /// Fetches until told to stop.
    pub async fn run(self) {
        let seed = self.clock.read().box_instant.micros;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST, seed);
        let (mut stop, every) = (self.stop.clone(), self.every);
        let mut fetching = Fetching {
            identity: self.identity.clone(),
            task: self,
            decided: BTreeMap::new(),
            pending: None,
            peer: String::new(),
            status: RecordingsStatus::default(),
            code: None,
        };
        fetching.show(LinkState::Opening);
        loop {
            let wait = match fetching.visit().await {
                Over::Stopped => break,
                Over::Done => {
                    backoff.succeeded();
                    every
                }
                Over::Lost => backoff.next_wait(),
            };
            if tokio::time::timeout(wait, told_to_stop(&mut stop))
                .await
                .is_ok()
            {
                break;
            }
        }
        fetching.show(LinkState::Ended);
    }
}

impl Fetching {
    async fn visit(&mut self) -> Over {
        let mut stop = self.task.stop.clone();
        let opened = tokio::select! {
            () = told_to_stop(&mut stop) => return Over::Stopped,
            opened = self.task.reach.open() => opened,
        };
        let (mut link, peer) = match opened {
            Ok(opened) => opened,
            Err(lost) if lost.code == ELSEWHERE => {
                self.well(LinkState::Opening);
                return Over::Lost;
            }
            Err(lost) => return self.lost(LinkState::Opening, lost),
        };
        self.peer = peer;
        let over = tokio::select! {
            () = told_to_stop(&mut stop) => Over::Stopped,
            over = self.converse(&mut link) => over,
        };
        let _ = tokio::time::timeout(CLOSE_LIMIT, link.close()).await;
        over
    }

    async fn converse(&mut self, link: &mut FetchLink) -> Over {
        let clock = Arc::clone(&self.task.clock);
        // what was whole when the last link ended is decided first, so that it is not fetched again
        while self.pending.is_some() {
            tokio::select! {
                () = self.decide() => {}
                () = tokio::time::sleep(TICK) => self.deliver_again(),
            }
        }
        self.identity = self.task.identity.clone();
        let mut actions: VecDeque<GattAction> = self.task.session.start(clock.read()).into();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.well(LinkState::Waiting);
        loop {
            while let Some(action) = actions.pop_front() {
                match link.carry_out(action, &*clock).await {
                    Ok(Some(said)) => actions.extend(self.hear(said)),
                    Ok(None) => {}
                    Err(lost) => return self.lost(LinkState::Lost, lost),
                }
            }
            if let Some(over) = self.follow(&mut actions, clock.read()) {
                return over;
            }
            if !actions.is_empty() {
                continue;
            }
            tokio::select! {
                said = link.read(&*clock) => match said {
                    Ok(said) => {
                        for one in said {
                            actions.extend(self.hear(one));
                        }
                    }
                    Err(lost) => return self.lost(LinkState::Lost, lost),
                },
                () = self.decide(), if self.pending.is_some() => {}
                _ = ticks.tick() => {
                    let now = clock.read().box_instant;
                    actions.extend(self.task.session.on_tick(now));
                    self.deliver_again();
                    self.show_progress();
                }
            }
        }
    }

    fn hear(&mut self, said: link::Said) -> Vec<GattAction> {
        let mut asides = Vec::new();
        let now = said.at.box_instant;
        let next = self
            .task
            .session
            .on_value(said.from, &said.value, now, &mut asides);
        for aside in asides {
            match aside {
                Aside::Battery { percent } => {
                    self.task.board.source(self.task.place, |line| {
                        line.status.battery_percent = Some(percent);
                    });
                }
                other => note_identity(&mut self.identity, &other),
            }
        }
        next
    }

    /// Does what the state of the conversation asks for, until that waits for the sensor or
    /// for the outbox.
    fn follow(&mut self, actions: &mut VecDeque<GattAction>, now: ClockReading) -> Option<Over> {
        let now = now.box_instant;
        if let Some(why) = self.task.session.given_up() {
            self.status.left = self.status.left.saturating_add(1);
            self.trouble(LinkState::Fetching, why.code(), why.to_string());
        }
        match self.task.session.state().clone() {
            KeptState::Idle | KeptState::Running => None,
            KeptState::Offering(label) => {
                actions.extend(match self.fate(&label) {
                    Some(Fate::Stored) => self.task.session.stored(now),
                    Some(Fate::Left) => self.task.session.leave(now),
                    None => {
                        self.well(LinkState::Fetching);
                        self.task.session.want(now)
                    }
                });
                None
            }
            KeptState::Holding(label) => {
                if let Some(fate) = self.decided.get(&label).copied() {
                    actions.extend(match fate {
                        Fate::Stored => self.task.session.stored(now),
                        Fate::Left => self.task.session.leave(now),
                    });
                } else if self.pending.is_none() {
                    match self.task.session.take() {
                        Some(kept) => {
                            self.pending = Some(Pending {
                                label,
                                name: kept.file_name,
                                bytes: kept.bytes.into(),
                                answer: None,
                                tried_us: 0,
                            });
                            self.deliver();
                        }
                        // one of no bytes: nothing to keep, and nothing to drop it for
                        None => actions.extend(self.task.session.leave(now)),
                    }
                }
                None
            }
            KeptState::Done => {
                self.well(LinkState::Waiting);
                Some(Over::Done)
            }
            KeptState::Failed(KeptError::Recording) => {
                let why = KeptError::Recording;
                self.trouble(LinkState::Waiting, why.code(), why.to_string());
                Some(Over::Done)
            }
            KeptState::Failed(why) => {
                let (code, detail) = (why.code(), why.to_string());
                Some(self.lost(LinkState::Lost, Lost { code, detail }))
            }
        }
    }

    fn fate(&self, label: &KeptLabel) -> Option<Fate> {
        let known = || label.is_unique && self.task.fetched.contains(&self.mark(label));
        let decided = self.decided.get(label).copied();
        decided.or_else(|| known().then_some(Fate::Stored))
    }

    fn mark(&self, label: &KeptLabel) -> Mark {
        let size = label.size.map_or(String::new(), |size| size.to_string());
        let source = self.task.source.as_str();
        Mark::of([source, &self.peer, &label.unit, &label.name, &size])
    }

    /// Hands the recording that is whole to the import.
    fn deliver(&mut self) {
        let Some(pending) = &self.pending else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        let delivery = Delivery {
            name: pending.name.clone(),
            bytes: Arc::clone(&pending.bytes),
            source: self.task.source.clone(),
            subject: self.task.subject.clone(),
            device: self.identity.clone(),
            mark: pending.label.is_unique.then(|| self.mark(&pending.label)),
            answer,
        };
        let sent = self.task.import.send(delivery).is_ok();
        let tried_us = self.now_us();
        if let Some(pending) = &mut self.pending {
            pending.answer = sent.then_some(answered);
            pending.tried_us = tried_us;
        }
        self.status.storing = true;
        self.show_progress();
    }

    /// Tries once more what could not be stored, after a while.
    fn deliver_again(&mut self) {
        let since = self.pending.as_ref().filter(|one| one.answer.is_none());
        let Some(tried_us) = since.map(|one| one.tried_us) else {
            return;
        };
        let waited = Duration::from_micros(self.now_us().saturating_sub(tried_us));
        if waited >= STORE_AGAIN {
            self.deliver();
        }
    }

    fn now_us(&self) -> u64 {
        self.task.clock.read().box_instant.micros
    }

    /// Waits until it is known what became of the recording that is whole. Dropping the
    /// future loses nothing.
    async fn decide(&mut self) {
        let waiting = self.pending.as_mut().and_then(|one| one.answer.as_mut());
        let told = match waiting {
            Some(answer) => answer.await.ok(),
            None => std::future::pending().await,
        };
        let fate = match told {
            Some(Delivered::Stored { samples }) => {
                self.status.fetched = self.status.fetched.saturating_add(1);
                tracing::info!(
                    event = "RecordingFetched",
                    samples,
                    source = self.task.place
                );
                Fate::Stored
            }
            Some(Delivered::Refused { code }) => {
                self.status.left = self.status.left.saturating_add(1);
                let detail = "it stays on the sensor".to_owned();
                self.trouble(LinkState::Fetching, code, detail);
                Fate::Left
            }
            Some(Delivered::NotNow { .. }) | None => {
                if let Some(pending) = &mut self.pending {
                    pending.answer = None;
                }
                return;
            }
        };
        if let Some(pending) = self.pending.take() {
            self.decided.insert(pending.label, fate);
        }
        self.status.storing = false;
        self.show_progress();
    }

    fn lost(&mut self, state: LinkState, lost: Lost) -> Over {
        self.trouble(state, lost.code, lost.detail);
        Over::Lost
    }

    /// Something is wrong. It is an event when it was not wrong before.
    fn trouble(&mut self, state: LinkState, code: &'static str, detail: String) {
        self.show(state);
        if self.code == Some(code) {
            return;
        }
        self.code = Some(code);
        self.task.board.source(self.task.place, |line| {
            line.status.code = Some(code.to_owned());
        });
        let place = self.task.place;
        tracing::warn!(
            event = "SourceTroubleReported",
            code,
            source = place,
            detail
        );
        // an event that finds no room is on the board and in the log
        let _ = self
            .task
            .recorder
            .try_send(Captured::Event { code, detail });
    }

    /// Nothing is wrong.
    fn well(&mut self, state: LinkState) {
        self.code = None;
        self.task
            .board
            .source(self.task.place, |line| line.status.code = None);
        self.show(state);
    }

    fn show(&self, state: LinkState) {
        self.task
            .board
            .source(self.task.place, |line| line.status.state = state);
        self.show_progress();
    }

    fn show_progress(&self) {
        let progress = self.task.session.progress();
        let now = self.now_us();
        self.task.board.source(self.task.place, |line| {
            let before = line.status.recordings.as_ref().map(|told| told.have_bytes);
            if before.is_some_and(|before| before < progress.have) {
                line.last_frame_us = Some(now);
            }
            line.status.recordings = Some(RecordingsStatus {
                have_bytes: progress.have,
                of_bytes: progress.of,
                ..self.status.clone()
            });
        });
    }
}
