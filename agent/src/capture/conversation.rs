//! The conversation with one sensor on a byte stream, without IO: decoder, session and the
//! watch over wrong devices, in one place.

use cardio_core::clock::BoxInstant;
use cardio_protocol::decoder::{Decoder, DecoderEvent, Frame};
use cardio_protocol::profile::Profile;
use cardio_protocol::recognise::{Recogniser, Unrecognised};
use cardio_protocol::session::{Session, SessionError, SessionState, SessionTiming};

/// One connection to one sensor.
pub(crate) struct Conversation {
    decoder: Box<dyn Decoder>,
    session: Box<dyn Session>,
    recogniser: Recogniser,
    events: Vec<DecoderEvent>,
    skipped_bytes: u64,
}

/// What one read came to.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Frames of a sensor that streams because it was asked to.
    pub(crate) frames: Vec<Frame>,
    /// Bytes to send now.
    pub(crate) answer: Vec<u8>,
    /// The stream is not what was configured.
    pub(crate) unrecognised: Option<Unrecognised>,
}

impl Conversation {
    /// A conversation that has not begun.
    pub(crate) fn new(profile: &'static Profile) -> Self {
        Self {
            decoder: (profile.decoder)(),
            session: (profile.session)(SessionTiming::default()),
            recogniser: Recogniser::new(profile),
            events: Vec::new(),
            skipped_bytes: 0,
        }
    }

    /// Begins, or begins again; gives the bytes to send.
    pub(crate) fn start(&mut self, now: BoxInstant) -> Vec<u8> {
        self.recogniser.forget();
        self.session.start(now)
    }

    /// Takes what one read gave.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: BoxInstant) -> Heard {
        let mut heard = Heard::default();
        self.events.clear();
        self.decoder.push(bytes, &mut self.events);
        heard.unrecognised = self.recogniser.note(bytes, &self.events, now);
        for event in self.events.drain(..) {
            heard.answer.extend(self.session.on_event(&event, now));
            match event {
                DecoderEvent::Frame(frame) if self.session.state() == SessionState::Streaming => {
                    heard.frames.push(frame);
                }
                DecoderEvent::Skipped { bytes, .. } => {
                    let count = u64::try_from(bytes).unwrap_or(u64::MAX);
                    self.skipped_bytes = self.skipped_bytes.saturating_add(count);
                }
                _ => {}
            }
        }
        heard
    }

    /// Lets time pass; gives the bytes to send.
    pub(crate) fn tick(&mut self, now: BoxInstant) -> Vec<u8> {
        self.session.on_tick(now)
    }

    /// The bytes that make the sensor quiet.
    pub(crate) fn stop(&mut self) -> Vec<u8> {
        self.session.stop()
    }

    /// Why the sensor does not do as it should, if it does not.
    pub(crate) fn failure(&self) -> Option<SessionError> {
        match self.session.state() {
            SessionState::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// The sensor's firmware, once it has named it.
    pub(crate) fn firmware(&self) -> Option<&str> {
        self.session.firmware()
    }

    /// Bytes that belonged to no frame, and begins to count anew.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped_bytes)
    }
}
