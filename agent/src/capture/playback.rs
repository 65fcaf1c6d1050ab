//! A capture log played again: its entries are told to the same conversation, decoder and
//! [`course`](super) that a live sensor is told to, at the times that stand in it.
//!
//! - Time passes in steps of 100 ms between two entries, as it does for a live sensor; not in the
//!   same phase, which the log does not hold.
//! - What the conversation wants sent goes nowhere; it is compared with what the box sent then.
//!
//! Deliberately absent: files, and a summary of what comes out ([`crate::replay`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cardio_core::acquisition::Attendance;
use cardio_core::clock::{ClockReading, UtcMicros};
use cardio_core::ids::SourceId;
use cardio_protocol::capture::{CaptureEntry, CaptureEvent, CaptureHead};
use cardio_protocol::gatt::{GattAction, Uuid};
use cardio_protocol::session::SessionTiming;
use cardio_wire::record::EndReason;

use super::connection::{Conversation, Heard, Lost};
use super::course::Course;
use super::report::line_of;
use super::{SESSION_FAILED, Stop, TICK, gatt, stream};
use crate::adapters::ble::Value;
use crate::config::device::Device;
use crate::config::rows::{self, RowsError};
use crate::ids::RandomIds;
use crate::pipeline::{Captured, SourceFacts, SourcePlan};
use crate::status::{Board, SourceStatus};

/// Steps of time between two entries, at most: ten minutes. What is left passes at once.
const STEPS_MAX: u64 = 6_000;
/// Things that the conversation wants sent and that wait to be compared, at most.
const WISHES_MAX: usize = 64 * 1024;

/// The causes for which a link ends, by their stable codes.
const CAUSES: [&str; 12] = [
    "serial.unplugged",
    "serial.failed",
    "ble.bus_lost",
    "ble.no_bus",
    "ble.no_daemon",
    "ble.no_adapter",
    "ble.not_heard",
    "ble.disconnected",
    "ble.gone",
    "ble.no_answer",
    "ble.lacks",
    "ble.failed",
];

/// Why a log cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaybackError {
    /// Nobody knows the device.
    #[error("the capture is of a device {profile}, which is not known here")]
    UnknownDevice {
        /// The profile's name in the log.
        profile: String,
    },
    /// The leads do not fit the device.
    #[error("the leads of the capture do not fit its device")]
    Leads(#[source] RowsError),
}

impl PlaybackError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownDevice { .. } => "replay.device",
            Self::Leads(_) => "replay.leads",
        }
    }
}

/// A log that is being played.
pub struct Playback {
    course: Course,
    board: Arc<Board>,
    device: Device,
    talk: Option<Talk>,
    /// Samples per second that the sensor is asked for, if not its own.
    rate_hz: Option<u32>,
    began: ClockReading,
    now_us: u64,
    next_step_us: u64,
    wishes: Wishes,
    /// Entries that no link of this device has.
    misplaced: u64,
}

/// A conversation whose link is the log.
enum Talk {
    Stream(stream::Talk),
    Gatt(gatt::Talk),
}

impl Playback {
    /// Ready to play the log that begins with `head`.
    ///
    /// # Errors
    /// [`PlaybackError`] when it is of a device that is not known here.
    pub fn new(head: &CaptureHead) -> Result<Self, PlaybackError> {
        let plan = plan_of(head)?;
        let device = plan.device;
        let board = Arc::new(Board::default());
        board.lines().sources.push(line_of(&plan));
        let silent_after = Duration::from_millis(head.silent_after_ms.into());
        let ids = Box::new(RandomIds::new());
        let course = Course::new(Arc::clone(&board), 0, plan, ids, None, silent_after);
        Ok(Self {
            course,
            board,
            device,
            talk: None,
            rate_hz: head.rate_hz,
            began: head.began,
            now_us: head.began.box_instant.micros,
            next_step_us: head.began.box_instant.micros,
            wishes: Wishes::default(),
            misplaced: 0,
        })
    }

    /// Plays one entry.
    pub fn take(&mut self, entry: &CaptureEntry) {
        self.pass_time(entry.at_us);
        let at = self.now();
        match &entry.event {
            CaptureEvent::Connected { .. } => self.connect(at),
            CaptureEvent::Closed { code } => self.close(code, at),
            CaptureEvent::Heard(bytes) => match &mut self.talk {
                Some(Talk::Stream(talk)) => {
                    let heard = talk.hear(bytes, at);
                    self.course.take(heard, at, 0);
                }
                _ => self.misplaced(),
            },
            CaptureEvent::Value { from, value } | CaptureEvent::Answer { from, value } => {
                self.value(*from, value.clone(), at);
            }
            CaptureEvent::Said(bytes) => {
                let said = bytes.iter().map(|byte| Wish::Byte(*byte));
                self.wishes.then.extend(said);
            }
            CaptureEvent::Asked(action) => self.wishes.then.push_back(Wish::Act(action.clone())),
            CaptureEvent::Clock(told) => match &mut self.talk {
                Some(Talk::Gatt(talk)) => talk.tell_time(*told),
                _ => self.misplaced(),
            },
            CaptureEvent::Crowded { values } => {
                let heard = Heard {
                    dropped: *values,
                    ..Heard::default()
                };
                self.course.take(heard, at, 0);
            }
            CaptureEvent::Ended => {
                if let Some(talk) = &mut self.talk {
                    talk.conversation().stop();
                }
            }
        }
        self.compare();
    }

    /// The log is over, at its end or at a cut.
    pub fn end(&mut self) {
        let reason = EndReason::Completed;
        self.course.end(Some(Stop::End(reason)));
    }

    /// What came of it since this was asked last.
    pub fn drain(&mut self) -> Vec<Captured> {
        let out = std::mem::take(&mut self.course.out);
        for captured in &out {
            self.course.show(captured);
        }
        out
    }

    /// Where the running acquisition stands.
    pub fn facts(&self) -> SourceFacts {
        self.course.facts()
    }

    /// What the box's board would say of the sensor.
    pub fn status(&self) -> SourceStatus {
        let lines = self.board.lines();
        let first = lines.sources.first();
        first.map(|line| line.status.clone()).unwrap_or_default()
    }

    /// What the conversation wants sent and the log has not said yet: whoever plays a sensor's part
    /// carries it there, and says so.
    pub fn wanted(&self) -> Vec<CaptureEvent> {
        let mut wanted = Vec::new();
        for wish in &self.wishes.now {
            match (wish, wanted.last_mut()) {
                (Wish::Byte(byte), Some(CaptureEvent::Said(bytes))) => bytes.push(*byte),
                (Wish::Byte(byte), _) => wanted.push(CaptureEvent::Said(vec![*byte])),
                (Wish::Act(action), _) => wanted.push(CaptureEvent::Asked(action.clone())),
            }
        }
        wanted
    }

    /// When the conversation first wanted something else sent than the box sent then, in
    /// microseconds of the box's clock.
    pub const fn differs_at_us(&self) -> Option<u64> {
        self.wishes.differs_at_us
    }

    /// Entries that cannot be of this device's link, or came without one.
    pub const fn misplaced_entries(&self) -> u64 {
        self.misplaced
    }

    fn now(&self) -> ClockReading {
        self.reading(self.now_us)
    }

    fn reading(&self, at_us: u64) -> ClockReading {
        let passed = at_us.saturating_sub(self.began.box_instant.micros);
        let utc = i64::try_from(passed).unwrap_or(i64::MAX);
        ClockReading {
            box_instant: self.began.box_instant.plus_micros(passed),
            utc: UtcMicros(self.began.utc.0.saturating_add(utc)),
            quality: self.began.quality,
        }
    }

    /// Lets time pass up to `until_us`. Entries of a link are written by several hands, so one may
    /// be a little older than the one before; time does not go back for it.
    fn pass_time(&mut self, until_us: u64) {
        let step_us = u64::try_from(TICK.as_micros()).unwrap_or(u64::MAX);
        let until_us = until_us.max(self.now_us);
        for _ in 0..STEPS_MAX {
            if self.next_step_us > until_us {
                break;
            }
            self.step(self.next_step_us);
            self.next_step_us = self.next_step_us.saturating_add(step_us);
        }
        if self.next_step_us < until_us {
            self.step(until_us);
            self.next_step_us = until_us.saturating_add(step_us);
        }
        self.now_us = until_us;
    }

    fn step(&mut self, at_us: u64) {
        let at = self.reading(at_us);
        match &mut self.talk {
            Some(talk) => {
                if self.course.tick(talk.conversation(), at).is_err() {
                    self.talk = None;
                }
                self.compare();
            }
            None => self.course.wait(at),
        }
    }

    fn connect(&mut self, at: ClockReading) {
        let talk = match self.device {
            Device::Serial(profile) => Some(Talk::Stream(stream::Talk::new(profile))),
            Device::Ble(profile) => profile.session.map(|session| {
                let mut session = session(SessionTiming::default());
                if let Some(rate_hz) = self.rate_hz {
                    session.ask_for_rate(rate_hz);
                }
                Talk::Gatt(gatt::Talk::new(session))
            }),
            Device::Console(_) => None,
        };
        let Some(mut talk) = talk else {
            self.misplaced();
            return;
        };
        self.wishes.forget();
        self.course.wait(at);
        self.course.connected(talk.conversation(), at);
        self.talk = Some(talk);
        self.next_step_us = at.box_instant.micros;
    }

    fn close(&mut self, code: &str, at: ClockReading) {
        let Some(mut talk) = self.talk.take() else {
            return;
        };
        if code != SESSION_FAILED || self.course.tick(talk.conversation(), at).is_ok() {
            let known = CAUSES.into_iter().find(|known| *known == code);
            let lost = Lost {
                code: known.unwrap_or("source.lost"),
                detail: String::new(),
            };
            self.course.lost(lost, at);
        }
    }

    fn value(&mut self, from: Uuid, value: Vec<u8>, at: ClockReading) {
        let Some(Talk::Gatt(talk)) = &mut self.talk else {
            self.misplaced();
            return;
        };
        talk.hear(&Value { from, value, at });
        let heard = talk.take_heard();
        self.course.take(heard, at, 0);
    }

    const fn misplaced(&mut self) {
        self.misplaced = self.misplaced.saturating_add(1);
    }

    fn compare(&mut self) {
        match &mut self.talk {
            Some(Talk::Stream(talk)) => {
                let wanted = talk.take_answer().into_iter().map(Wish::Byte);
                self.wishes.now.extend(wanted);
            }
            Some(Talk::Gatt(talk)) => {
                while let Some(action) = talk.take_action() {
                    self.wishes.now.push_back(Wish::Act(action));
                }
            }
            None => {}
        }
        self.wishes.settle(self.now_us);
    }
}

impl Talk {
    fn conversation(&mut self) -> &mut dyn Conversation {
        match self {
            Self::Stream(talk) => talk,
            Self::Gatt(talk) => talk,
        }
    }
}

/// What is sent to a sensor.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Byte(u8),
    Act(GattAction),
}

/// What the box sent then, beside what it would send now.
#[derive(Debug, Default)]
struct Wishes {
    then: VecDeque<Wish>,
    now: VecDeque<Wish>,
    differs_at_us: Option<u64>,
}

impl Wishes {
    /// Another conversation begins.
    fn forget(&mut self) {
        self.then.clear();
        self.now.clear();
    }

    /// Compares as far as both are known.
    fn settle(&mut self, now_us: u64) {
        while self.differs_at_us.is_none() && !self.then.is_empty() && !self.now.is_empty() {
            if self.then.pop_front() != self.now.pop_front() {
                self.differs_at_us = Some(now_us);
            }
        }
        let waits = self.then.len().max(self.now.len());
        if waits > WISHES_MAX {
            self.differs_at_us.get_or_insert(now_us);
        }
        if self.differs_at_us.is_some() {
            self.forget();
        }
    }
}

fn plan_of(head: &CaptureHead) -> Result<SourcePlan, PlaybackError> {
    let unknown = || PlaybackError::UnknownDevice {
        profile: head.profile.clone(),
    };
    let device = Device::by_name(&head.profile).ok_or_else(unknown)?;
    let leads = Some(head.leads.as_slice()).filter(|leads| !leads.is_empty());
    Ok(SourcePlan {
        source: SourceId::new("capture").map_err(|_| unknown())?,
        device,
        signal: device.signal_at(head.rate_hz).ok_or_else(unknown)?,
        rows: rows::of(device, leads).map_err(PlaybackError::Leads)?,
        subject: None,
        attendance: Attendance::Attended,
        resume_within: Duration::from_millis(head.resume_within_ms.into()),
    })
}

#[cfg(test)]
mod tests;
