//! A connection on a byte stream: port, decoder, session, and the watch over wrong devices.

use cardio_core::clock::{BoxInstant, Clock, ClockReading};
use cardio_protocol::capture::CaptureEvent;
use cardio_protocol::decoder::{Aside, Decoder, DecoderEvent};
use cardio_protocol::profile::Profile;
use cardio_protocol::recognise::Recogniser;
use cardio_protocol::session::{Session, SessionError, SessionState, SessionTiming};

use super::connection::{Connection, Conversation, Heard, Lost};
use super::tape::Tape;
use crate::adapters::serial::{LinkLost, Port};

/// A sensor on a serial port.
pub(crate) struct StreamConnection {
    port: Port,
    talk: Talk,
    tape: Tape,
}

/// The conversation, without IO.
pub(super) struct Talk {
    decoder: Box<dyn Decoder>,
    session: Box<dyn Session>,
    recogniser: Recogniser,
    events: Vec<DecoderEvent>,
    /// Bytes to send.
    answer: Vec<u8>,
    tells_firmware: bool,
}

impl From<LinkLost> for Lost {
    fn from(err: LinkLost) -> Self {
        Self {
            code: err.code(),
            detail: err.to_string(),
        }
    }
}

impl StreamConnection {
    /// A conversation on `port` that has not begun.
    pub(crate) fn new(port: Port, profile: &'static Profile, tape: Tape) -> Self {
        Self {
            port,
            talk: Talk::new(profile),
            tape,
        }
    }
}

impl Talk {
    pub(super) fn new(profile: &'static Profile) -> Self {
        Self {
            decoder: (profile.decoder)(),
            session: (profile.session)(SessionTiming::default()),
            recogniser: Recogniser::new(profile),
            events: Vec::new(),
            answer: Vec::new(),
            tells_firmware: false,
        }
    }

    /// What is to be sent now.
    pub(super) fn take_answer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    /// Takes bytes that came at `at`.
    pub(super) fn hear(&mut self, bytes: &[u8], at: ClockReading) -> Heard {
        let now = at.box_instant;
        let (mut heard, mut frames) = (Heard::default(), Vec::new());
        self.events.clear();
        self.decoder.push(bytes, &mut self.events);
        heard.unrecognised = self.recogniser.note(bytes, &self.events, now);
        for event in self.events.drain(..) {
            self.answer.extend(self.session.on_event(&event, now));
            match event {
                DecoderEvent::Frame(frame) if self.session.state() == SessionState::Streaming => {
                    frames.push(frame);
                }
                DecoderEvent::Aside(aside) => heard.asides.push(aside),
                DecoderEvent::Skipped { bytes, .. } => {
                    let count = u64::try_from(bytes).unwrap_or(u64::MAX);
                    heard.skipped_bytes = heard.skipped_bytes.saturating_add(count);
                }
                _ => {}
            }
        }
        if !self.tells_firmware
            && let Some(version) = self.session.firmware()
        {
            self.tells_firmware = true;
            heard.asides.push(Aside::Identity {
                field: "firmware",
                text: version.to_owned(),
            });
        }
        if !frames.is_empty() {
            heard.frames.push((at, frames));
        }
        heard.asked_at = self.session.asked_at();
        heard
    }
}

impl Conversation for Talk {
    fn start(&mut self, now: ClockReading) {
        self.recogniser.forget();
        self.answer = self.session.start(now.box_instant);
    }

    fn tick(&mut self, now: BoxInstant) {
        self.answer.extend(self.session.on_tick(now));
    }

    fn stop(&mut self) {
        self.answer = self.session.stop();
    }

    fn failure(&self) -> Option<SessionError> {
        match self.session.state() {
            SessionState::Failed(why) => Some(why),
            _ => None,
        }
    }
}

impl Connection for StreamConnection {
    fn talk(&mut self) -> &mut dyn Conversation {
        &mut self.talk
    }

    async fn send(&mut self, _clock: &dyn Clock) -> Result<(), Lost> {
        let answer = self.talk.take_answer();
        if !answer.is_empty() {
            self.port.write(&answer).await?;
            self.tape.note(|| CaptureEvent::Said(answer));
        }
        Ok(())
    }

    async fn hear(&mut self, clock: &dyn Clock) -> Result<Heard, Lost> {
        let arrival = self.port.read(clock).await?;
        let heard = || CaptureEvent::Heard(arrival.bytes.to_vec());
        self.tape.note_at(arrival.at, heard);
        Ok(self.talk.hear(arrival.bytes, arrival.at))
    }

    async fn close(self) {}
}
