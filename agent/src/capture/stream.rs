//! A connection on a byte stream: port, decoder, session, and the watch over wrong devices.

use cardio_core::clock::{BoxInstant, Clock};
use cardio_protocol::decoder::{Aside, Decoder, DecoderEvent};
use cardio_protocol::profile::Profile;
use cardio_protocol::recognise::Recogniser;
use cardio_protocol::session::{Session, SessionError, SessionState, SessionTiming};

use super::connection::{Connection, Heard, Lost};
use crate::adapters::serial::{Arrival, LinkLost, Port};

/// A sensor on a serial port.
pub(crate) struct StreamConnection {
    port: Port,
    talk: Talk,
}

/// The conversation, without IO.
struct Talk {
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
    pub(crate) fn new(port: Port, profile: &'static Profile) -> Self {
        Self {
            port,
            talk: Talk {
                decoder: (profile.decoder)(),
                session: (profile.session)(SessionTiming::default()),
                recogniser: Recogniser::new(profile),
                events: Vec::new(),
                answer: Vec::new(),
                tells_firmware: false,
            },
        }
    }
}

impl Talk {
    fn hear(&mut self, arrival: &Arrival<'_>) -> Heard {
        let now = arrival.at.box_instant;
        let (mut heard, mut frames) = (Heard::default(), Vec::new());
        self.events.clear();
        self.decoder.push(arrival.bytes, &mut self.events);
        heard.unrecognised = self.recogniser.note(arrival.bytes, &self.events, now);
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
            heard.frames.push((arrival.at, frames));
        }
        heard
    }
}

impl Connection for StreamConnection {
    fn start(&mut self, now: BoxInstant) {
        self.talk.recogniser.forget();
        self.talk.answer = self.talk.session.start(now);
    }

    async fn send(&mut self, _clock: &dyn Clock) -> Result<(), Lost> {
        let answer = std::mem::take(&mut self.talk.answer);
        if !answer.is_empty() {
            self.port.write(&answer).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, clock: &dyn Clock) -> Result<Heard, Lost> {
        let arrival = self.port.read(clock).await?;
        Ok(self.talk.hear(&arrival))
    }

    fn tick(&mut self, now: BoxInstant) {
        self.talk.answer.extend(self.talk.session.on_tick(now));
    }

    fn failure(&self) -> Option<SessionError> {
        match self.talk.session.state() {
            SessionState::Failed(why) => Some(why),
            _ => None,
        }
    }

    async fn stop(&mut self, clock: &dyn Clock) {
        self.talk.answer = self.talk.session.stop();
        // it is going away, whether it hears this or not
        let _ = self.send(clock).await;
    }

    async fn close(self) {}
}
