//! Recordings that a device keeps in its own memory, fetched by a conversation without IO.
//!
//! A [`KeptSession`] lists what the device keeps and offers one recording after another. Its
//! caller says whether it wants it, takes it when it is whole, and says when it is durably
//! stored; only then does the device hear that the recording may go, if it can be told at all. What
//! was read of a recording outlives a link: the next one goes on from there. Deliberately
//! absent: what is in a recording, links, and clocks.

use cardio_core::clock::{BoxInstant, ClockReading};

use crate::decoder::Aside;
use crate::gatt::{GattAction, Uuid};
use crate::session::{SessionTiming, has_passed};

/// Largest recording that is fetched: the memory of the largest device.
pub const SIZE_MAX: u64 = 128 << 20;
/// The most recordings of one device that are looked at between two lists.
pub const RECORDINGS_MAX: usize = 1024;

/// What a recording is called by its device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptLabel {
    /// The unit that keeps it, as it calls itself; empty if it does not.
    pub unit: String,
    /// Its name within the unit, with all that tells it from another one.
    pub name: String,
    /// Its bytes, where the device states them.
    pub size: Option<u64>,
    /// Whether no other recording of the unit will ever have this label.
    pub is_unique: bool,
}

/// A whole recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As a file of the device would be called, with an extension that tells its form.
    pub file_name: String,
    /// The bytes of that file.
    pub bytes: Vec<u8>,
}

/// How much of a recording is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptProgress {
    /// Bytes that are there.
    pub have: u64,
    /// Of so many, where that is known.
    pub of: Option<u64>,
}

/// Where the conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptState {
    /// Not started.
    Idle,
    /// Something is under way.
    Running,
    /// A recording could be fetched: [`KeptSession::want`], `stored` or `leave` is next.
    Offering(KeptLabel),
    /// A recording is whole: [`KeptSession::take`], and then `stored` or `leave` is next.
    Holding(KeptLabel),
    /// Nothing is left to fetch.
    Done,
    /// It cannot go on; a new start may.
    Failed(KeptError),
}

/// Why recordings cannot be fetched, or one stays on its device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// No answer.
    #[error("the device did not answer {command} after {tries} tries")]
    NoAnswer {
        /// What was asked.
        command: &'static str,
        /// How often.
        tries: u32,
    },
    /// The device answers with an error.
    #[error("the device refused {command} with {status}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Its number for it.
        status: i32,
    },
    /// The device records right now, and gives nothing away meanwhile.
    #[error("the device is recording and gives nothing away meanwhile")]
    Recording,
    /// The bytes are not those that the device states.
    #[error("{name} does not have the checksum that the device states, after {reads} reads")]
    Checksum {
        /// The recording.
        name: String,
        /// How often it was read.
        reads: u32,
    },
    /// It states a size that no recording of it can have.
    #[error("{name} is stated to have {size} bytes, more than {SIZE_MAX}")]
    Size {
        /// The recording.
        name: String,
        /// As stated.
        size: u64,
    },
    /// The list of recordings does not end.
    #[error("the device lists more than {RECORDINGS_MAX} recordings")]
    Endless,
}

impl KeptError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "kept.no_answer",
            Self::Refused { .. } => "kept.refused",
            Self::Recording => "kept.recording",
            Self::Checksum { .. } => "kept.checksum",
            Self::Size { .. } => "kept.size",
            Self::Endless => "kept.endless",
        }
    }
}

/// The box's side of one device's memory, over as many links as it takes.
pub trait KeptSession: Send {
    /// Begins on a new link: lists anew, and keeps what was read of the recording under way.
    fn start(&mut self, now: ClockReading) -> Vec<GattAction>;

    /// Takes a notified or read value. What the device says of itself goes to `out`.
    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<Aside>,
    ) -> Vec<GattAction>;

    /// Lets time pass.
    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// Where the conversation stands.
    fn state(&self) -> &KeptState;

    /// The recording that is offered shall be fetched.
    fn want(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// Gives the recording that is whole; once.
    fn take(&mut self) -> Option<Kept>;

    /// The recording that is offered or held is durably stored: the device may drop it.
    fn stored(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// The recording that is offered or held stays where it is.
    fn leave(&mut self, now: BoxInstant) -> Vec<GattAction>;

    /// How much of the recording under way is there.
    fn progress(&self) -> KeptProgress;

    /// The last error that made a recording stay on the device, once.
    fn given_up(&mut self) -> Option<KeptError>;
}

/// A question without an answer so far.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    timing: SessionTiming,
    since: Option<BoxInstant>,
    tries: u32,
}

/// What becomes of a question as time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    No,
    AskAgain,
    GiveUp { tries: u32 },
}

impl Question {
    pub(crate) const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            since: None,
            tries: 0,
        }
    }

    /// It was asked, perhaps again.
    pub(crate) const fn asked(&mut self, now: BoxInstant) {
        self.since = Some(now);
        self.tries = self.tries.saturating_add(1);
    }

    /// Something came that belongs to the answer, of which there is more.
    pub(crate) const fn goes_on(&mut self, now: BoxInstant) {
        self.since = Some(now);
        self.tries = 1;
    }

    /// It was answered.
    pub(crate) const fn answered(&mut self) {
        self.since = None;
        self.tries = 0;
    }

    pub(crate) fn overdue(&mut self, now: BoxInstant) -> Overdue {
        let waited = |since| has_passed(since, now, self.timing.answer);
        if !self.since.is_some_and(waited) {
            return Overdue::No;
        }
        if self.tries < self.timing.tries {
            return Overdue::AskAgain;
        }
        let tries = self.tries;
        self.answered();
        Overdue::GiveUp { tries }
    }
}

#[cfg(test)]
pub(crate) mod test_support;
