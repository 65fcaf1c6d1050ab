//! Fetching all recordings: set the clock, list, one log after another, list again, clear.
//!
//! - A log comes as one stream of pieces. Where pieces are missing it is sent again, and what
//!   is there is kept, also over a lost link.
//! - The list ends after four logs. What lies behind them is asked for by the next number,
//!   until the sensor has none.
//! - The sensor can only forget all logs at once. It is told to after everything that it
//!   lists was stored, and is asked once more before, so that no log is forgotten unread.
//! - A sensor that records is left alone: it gives nothing away, and its recording goes on.

use std::collections::{BTreeMap, VecDeque};

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading};

use crate::decoder::Aside;
use crate::gatt::sig_hrs::ask_common;
use crate::gatt::{GattAction, Uuid};
use crate::kept::{
    Kept, KeptError, KeptLabel, KeptProgress, KeptSession, KeptState, Overdue, Question,
    RECORDINGS_MAX, SIZE_MAX,
};
use crate::session::SessionTiming;
use crate::smp_records::asides;

use super::{
    COMMAND, Command, DATA, Identity, LOGBOOK_PATH, LogEntry, LogFetch, LogPiece, Notice, logbook,
};

/// How often a log is sent without a new byte before it is given up.
const IDLE_PASSES_MAX: u32 = 5;
const STATUS_MORE: u16 = 100;
const STATUS_NONE: u16 = 404;
const STATUS_BUSY: u16 = 409;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Hello,
    Time { micros: u64 },
    List,
    Log,
    Clear,
}

impl Ask {
    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Time { .. } => "set-time",
            Self::List => "list",
            Self::Log => "fetch-log",
            Self::Clear => "clear-logbook",
        }
    }
}

/// A log of the list; one behind the end of the list has no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    id: u32,
    stated: Option<(u32, u64)>,
}

impl From<LogEntry> for Listed {
    fn from(entry: LogEntry) -> Self {
        Self {
            id: entry.id,
            stated: Some((entry.modified, entry.size)),
        }
    }
}

/// The log that is offered, read or held.
#[derive(Debug)]
struct Current {
    log: Listed,
    fetch: LogFetch,
    /// Where the last piece ended, for the rest of it.
    reached: u32,
    /// What was there when the log was asked for last.
    held: u64,
    idle_passes: u32,
}

impl Current {
    const fn of(log: Listed) -> Self {
        Self {
            log,
            fetch: LogFetch::new(SIZE_MAX),
            reached: 0,
            held: 0,
            idle_passes: 0,
        }
    }
}

/// What became of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Stored(Listed),
    Left(Listed),
    /// There is none of this number.
    None,
}

/// The box's side of a Movesense sensor's logbook.
#[derive(Debug)]
pub struct MovesenseRecordings {
    state: KeptState,
    question: Question,
    asked: Option<Ask>,
    reference: u8,
    /// Wall time to set the sensor's clock to, if the box knows it.
    time_us: Option<u64>,
    unit: String,
    queue: VecDeque<Listed>,
    current: Option<Current>,
    settled: BTreeMap<u32, Settled>,
    given_up: Option<KeptError>,
}

impl MovesenseRecordings {
    /// A session that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            state: KeptState::Idle,
            question: Question::new(timing),
            asked: None,
            reference: 0,
            time_us: None,
            unit: String::new(),
            queue: VecDeque::new(),
            current: None,
            settled: BTreeMap::new(),
            given_up: None,
        }
    }

    fn ask(&mut self, ask: Ask, now: BoxInstant) -> Vec<GattAction> {
        if self.asked != Some(ask) {
            self.question.answered();
        }
        self.question.asked(now);
        self.asked = Some(ask);
        self.state = KeptState::Running;
        // Never zero, and never that of a command whose answer may still come.
        self.reference = self.reference % 250 + 1;
        let command = match ask {
            Ask::Hello => Command::Hello,
            Ask::Time { micros } => Command::SetTime(micros),
            Ask::List => Command::Get(LOGBOOK_PATH.to_owned()),
            Ask::Clear => Command::ClearLogbook,
            Ask::Log => {
                let Some(current) = &mut self.current else {
                    return Vec::new();
                };
                current.fetch.again();
                current.held = current.fetch.held();
                Command::FetchLog(current.log.id)
            }
        };
        vec![GattAction::Write {
            to: COMMAND,
            value: command.encode(self.reference),
            with_response: true,
        }]
    }

    fn answered(&mut self) {
        self.asked = None;
        self.question.answered();
    }

    fn fail(&mut self, why: KeptError) -> Vec<GattAction> {
        self.answered();
        self.state = KeptState::Failed(why);
        Vec::new()
    }

    fn on_answer(&mut self, status: u16, data: &[u8], now: BoxInstant) -> Vec<GattAction> {
        let Some(ask) = self.asked else {
            return Vec::new();
        };
        let is_good = (200..=299).contains(&status);
        match ask {
            // an old sensor without a clock to set is one whose recordings have no date
            Ask::Hello | Ask::Time { .. } => {
                self.answered();
                self.ask(Ask::List, now)
            }
            Ask::List if is_good || status == STATUS_MORE => {
                self.answered();
                self.on_list(status == STATUS_MORE, data, now)
            }
            Ask::Log if is_good => {
                self.question.goes_on(now);
                Vec::new()
            }
            Ask::Log if status == STATUS_NONE => {
                self.answered();
                self.settle(|_| Settled::None, now)
            }
            Ask::Clear if is_good => {
                self.answered();
                self.settled.clear();
                self.state = KeptState::Done;
                Vec::new()
            }
            _ if status == STATUS_BUSY => self.fail(KeptError::Recording),
            _ => self.fail(KeptError::Refused {
                command: ask.name(),
                status: status.into(),
            }),
        }
    }

    /// What is new in the list is fetched; when nothing is, everything was read.
    fn on_list(&mut self, has_more: bool, data: &[u8], now: BoxInstant) -> Vec<GattAction> {
        let Ok(entries) = logbook(data) else {
            return self.fail(KeptError::Refused {
                command: Ask::List.name(),
                status: STATUS_MORE.into(),
            });
        };
        let mut listed: Vec<Listed> = entries.into_iter().map(Listed::from).collect();
        let last = listed.iter().map(|log| log.id).max();
        if let Some(mut next) = last.filter(|_| has_more) {
            // those behind the list that are settled already, and the first that is not
            while let Some(Settled::Stored(_) | Settled::Left(_)) = self.settled.get(&next) {
                next = next.saturating_add(1);
            }
            let next = next.max(last.unwrap_or(0).saturating_add(1));
            listed.push(Listed {
                id: next,
                stated: None,
            });
        }
        if self.settled.len().saturating_add(listed.len()) > RECORDINGS_MAX {
            return self.fail(KeptError::Endless);
        }
        self.queue = listed.into_iter().filter(|log| self.is_new(log)).collect();
        let begun = self.current.as_ref().map(|current| current.log);
        if let Some(place) = self.queue.iter().position(|log| Some(*log) == begun)
            && let Some(log) = self.queue.remove(place)
        {
            self.queue.push_front(log);
        }
        if !self.queue.is_empty() {
            return self.offer(now);
        }
        self.current = None;
        let stored = self
            .settled
            .values()
            .any(|one| matches!(one, Settled::Stored(_)));
        let left = self
            .settled
            .values()
            .any(|one| matches!(one, Settled::Left(_)));
        if stored && !left {
            return self.ask(Ask::Clear, now);
        }
        self.state = KeptState::Done;
        Vec::new()
    }

    fn is_new(&self, log: &Listed) -> bool {
        match self.settled.get(&log.id) {
            None => true,
            Some(Settled::None) => log.stated.is_some(),
            Some(Settled::Stored(known) | Settled::Left(known)) => {
                log.stated.is_some() && known.stated.is_some() && known.stated != log.stated
            }
        }
    }

    /// Offers the next log, or lists once more.
    fn offer(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let Some(log) = self.queue.pop_front() else {
            return self.ask(Ask::List, now);
        };
        let begun = self.current.take().filter(|current| current.log == log);
        self.current = Some(begun.unwrap_or(Current::of(log)));
        self.state = KeptState::Offering(self.label(log));
        Vec::new()
    }

    /// Numbers begin again after the logbook was cleared, and with them everything that the
    /// list says may be said of another log.
    fn label(&self, log: Listed) -> KeptLabel {
        let (modified, size) = log.stated.unzip();
        KeptLabel {
            unit: self.unit.clone(),
            name: format!("log {} of {}", log.id, modified.unwrap_or(0)),
            size,
            is_unique: false,
        }
    }

    fn settle(&mut self, how: impl Fn(Listed) -> Settled, now: BoxInstant) -> Vec<GattAction> {
        let Some(current) = self.current.take() else {
            return Vec::new();
        };
        let log = current.log;
        self.settled.insert(log.id, how(log));
        self.offer(now)
    }

    fn on_piece(&mut self, piece: &LogPiece, now: BoxInstant) -> Vec<GattAction> {
        let Some(current) = self
            .current
            .as_mut()
            .filter(|_| self.asked == Some(Ask::Log))
        else {
            return Vec::new();
        };
        self.question.goes_on(now);
        let len = u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX);
        current.reached = piece.offset.saturating_add(len);
        current.fetch.push(piece);
        if !current.fetch.is_ended() {
            return Vec::new();
        }
        if current.fetch.is_whole() {
            let log = current.log;
            self.answered();
            self.state = KeptState::Holding(self.label(log));
            return Vec::new();
        }
        self.send_again(now)
    }

    /// A hole is not sent by itself: the log is asked for once more.
    fn send_again(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let Some(current) = &mut self.current else {
            return Vec::new();
        };
        let is_idle = current.fetch.held() <= current.held;
        current.idle_passes = if is_idle {
            current.idle_passes.saturating_add(1)
        } else {
            0
        };
        if current.idle_passes < IDLE_PASSES_MAX {
            return self.ask(Ask::Log, now);
        }
        let name = format!("log {}", current.log.id);
        let reads = current.idle_passes;
        self.given_up = Some(KeptError::Checksum { name, reads });
        self.answered();
        self.settle(Settled::Left, now)
    }
}

impl KeptSession for MovesenseRecordings {
    fn start(&mut self, now: ClockReading) -> Vec<GattAction> {
        self.answered();
        self.queue.clear();
        self.time_us = match now.quality {
            ClockQuality::Unsynchronised => None,
            ClockQuality::Synchronised { .. } => u64::try_from(now.utc.0).ok(),
        };
        let mut actions = vec![GattAction::Subscribe(DATA)];
        actions.extend(ask_common());
        actions.extend(self.ask(Ask::Hello, now.box_instant));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<Aside>,
    ) -> Vec<GattAction> {
        if from != DATA {
            asides(from, value, out);
            return Vec::new();
        }
        if self.asked == Some(Ask::Hello) {
            let Ok((reference, identity)) = Identity::decode(value) else {
                return Vec::new();
            };
            if reference != self.reference {
                return Vec::new();
            }
            for (field, text) in [
                ("serial", &identity.serial),
                ("firmware", &identity.version),
            ] {
                let text = text.clone();
                out.extend((!text.is_empty()).then_some(Aside::Identity { field, text }));
            }
            self.unit = identity.serial;
            self.answered();
            return match self.time_us {
                Some(micros) => self.ask(Ask::Time { micros }, now),
                None => self.ask(Ask::List, now),
            };
        }
        match Notice::decode(value) {
            Ok((reference, notice)) if reference == self.reference => match notice {
                Notice::Answer { status, data } => self.on_answer(status, &data, now),
                Notice::Data(body) => match LogPiece::decode(&body) {
                    Ok(piece) => self.on_piece(&piece, now),
                    Err(_) => Vec::new(),
                },
                Notice::More(bytes) if !bytes.is_empty() => {
                    let offset = self.current.as_ref().map_or(0, |current| current.reached);
                    self.on_piece(&LogPiece { offset, bytes }, now)
                }
                Notice::More(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let Some(ask) = self.asked else {
            return Vec::new();
        };
        match self.question.overdue(now) {
            Overdue::No => Vec::new(),
            Overdue::AskAgain if ask == Ask::Log => self.send_again(now),
            Overdue::AskAgain => self.ask(ask, now),
            Overdue::GiveUp { tries } => self.fail(KeptError::NoAnswer {
                command: ask.name(),
                tries,
            }),
        }
    }

    fn state(&self) -> &KeptState {
        &self.state
    }

    fn want(&mut self, now: BoxInstant) -> Vec<GattAction> {
        match self.state {
            KeptState::Offering(_) => self.ask(Ask::Log, now),
            _ => Vec::new(),
        }
    }

    fn take(&mut self) -> Option<Kept> {
        let held = matches!(self.state, KeptState::Holding(_));
        let current = self.current.as_mut().filter(|_| held)?;
        Some(Kept {
            file_name: format!("log-{}.sbem", current.log.id),
            bytes: current.fetch.finish().filter(|bytes| !bytes.is_empty())?,
        })
    }

    fn stored(&mut self, now: BoxInstant) -> Vec<GattAction> {
        match self.state {
            KeptState::Offering(_) | KeptState::Holding(_) => self.settle(Settled::Stored, now),
            _ => Vec::new(),
        }
    }

    fn leave(&mut self, now: BoxInstant) -> Vec<GattAction> {
        match self.state {
            KeptState::Offering(_) | KeptState::Holding(_) => self.settle(Settled::Left, now),
            _ => Vec::new(),
        }
    }

    fn progress(&self) -> KeptProgress {
        self.current
            .as_ref()
            .map_or_else(KeptProgress::default, |current| KeptProgress {
                have: current.fetch.held(),
                of: current.log.stated.map(|(_, size)| size),
            })
    }

    fn given_up(&mut self) -> Option<KeptError> {
        self.given_up.take()
    }
}

#[cfg(test)]
mod tests;
