//! What capture needs of one connection to one sensor, whichever link it is on: the conversation,
//! which does no IO, and the link that carries it.
//!
//! Deliberately absent: opening a connection, and trying again.

use std::future::Future;

use cardio_core::clock::{BoxInstant, Clock, ClockReading};
use cardio_core::heart_rate::ToldRate;
use cardio_core::rate::SamplingRate;
use cardio_protocol::decoder::{Aside, Frame};
use cardio_protocol::recognise::Unrecognised;
use cardio_protocol::session::SessionError;

/// A connection is of no use any more, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Stable code of the cause.
    pub(crate) code: &'static str,
    /// For a person to read.
    pub(crate) detail: String,
}

impl Heard {
    /// When the last of what the sensor measures came, if any did.
    pub(crate) fn measured_at(&self) -> Option<ClockReading> {
        let frames = self.frames.last().map(|(at, _)| *at);
        frames.or_else(|| self.rates.last().map(|(at, _)| *at))
    }
}

/// What was heard at one time.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Frames of a sensor that streams because it was asked to, by the time of their arrival.
    pub(crate) frames: Vec<(ClockReading, Vec<Frame>)>,
    /// When the sensor was asked for them, where that proves that none was taken before.
    pub(crate) asked_at: Option<BoxInstant>,
    /// What a heart-rate sensor told, by the time of its arrival.
    pub(crate) rates: Vec<(ClockReading, ToldRate)>,
    /// What the sensor said beside them.
    pub(crate) asides: Vec<Aside>,
    /// The rate that the sensor states, if it differs from its profile's.
    pub(crate) rate: Option<SamplingRate>,
    /// The stream is not what was configured.
    pub(crate) unrecognised: Option<Unrecognised>,
    /// Bytes that belonged to no frame.
    pub(crate) skipped_bytes: u64,
    /// Values that came faster than they were taken.
    pub(crate) dropped: u64,
}

/// A conversation with a sensor, without IO. What it wants sent waits in it.
pub(crate) trait Conversation: Send {
    /// Begins, or begins again.
    fn start(&mut self, now: ClockReading);

    /// Lets time pass.
    fn tick(&mut self, now: BoxInstant);

    /// Ends: the sensor shall be quiet.
    fn stop(&mut self);

    /// Why the sensor does not do as it should, if it does not.
    fn failure(&self) -> Option<SessionError>;
}

/// One connection to one sensor: the link and the conversation on it.
pub(crate) trait Connection: Send {
    /// The conversation.
    fn talk(&mut self) -> &mut dyn Conversation;

    /// Sends what the conversation wants sent.
    fn send(&mut self, clock: &dyn Clock) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Waits for what the sensor says. Dropping the future loses nothing.
    fn hear(&mut self, clock: &dyn Clock) -> impl Future<Output = Result<Heard, Lost>> + Send;

    /// Lets go of the link.
    fn close(self) -> impl Future<Output = ()> + Send;
}
