//! A connection over Bluetooth Low Energy: link and session.

use std::collections::VecDeque;

use cardio_core::clock::{BoxInstant, Clock, ClockReading};
use cardio_protocol::capture::CaptureEvent;
use cardio_protocol::decoder::DecoderEvent;
use cardio_protocol::gatt::{GattAction, GattSession};
use cardio_protocol::session::{SessionError, SessionState};

use super::connection::{Connection, Conversation, Heard, Lost};
use super::tape::Tape;
use crate::adapters::ble::{BleError, Link, Value};

/// A sensor on the radio.
pub(crate) struct GattConnection {
    link: Link,
    talk: Talk,
    tape: Tape,
}

/// The conversation, without IO.
pub(super) struct Talk {
    session: Box<dyn GattSession>,
    /// What the session was told of the time and nobody noted yet.
    told: Option<ClockReading>,
    pending: VecDeque<GattAction>,
    events: Vec<DecoderEvent>,
    heard: Heard,
    /// Whether anything was heard that is not handed on yet.
    has_news: bool,
}

impl From<BleError> for Lost {
    fn from(err: BleError) -> Self {
        Self {
            code: err.code(),
            detail: err.to_string(),
        }
    }
}

impl GattConnection {
    /// A conversation on `link` that has not begun.
    pub(crate) fn new(link: Link, session: Box<dyn GattSession>, tape: Tape) -> Self {
        Self {
            link,
            talk: Talk::new(session),
            tape,
        }
    }
}

impl Talk {
    pub(super) fn new(session: Box<dyn GattSession>) -> Self {
        Self {
            session,
            told: None,
            pending: VecDeque::new(),
            events: Vec::new(),
            heard: Heard::default(),
            has_news: false,
        }
    }

    /// Tells the time of day, which the session may hand on to its sensor.
    pub(super) fn tell_time(&mut self, now: ClockReading) {
        self.session.tell_time(now);
    }

    /// The next thing to be done.
    pub(super) fn take_action(&mut self) -> Option<GattAction> {
        self.pending.pop_front()
    }

    /// What was heard since this was asked last.
    pub(super) fn take_heard(&mut self) -> Heard {
        self.has_news = false;
        std::mem::take(&mut self.heard)
    }

    /// Takes a value that came.
    pub(super) fn hear(&mut self, value: &Value) {
        let now = value.at.box_instant;
        let actions = self
            .session
            .on_value(value.from, &value.value, now, &mut self.events);
        self.pending.extend(actions);
        let mut frames = Vec::new();
        for event in self.events.drain(..) {
            match event {
                DecoderEvent::Frame(frame) if self.session.state() == SessionState::Streaming => {
                    frames.push(frame);
                }
                DecoderEvent::Rate(told) => self.heard.rates.push((value.at, told)),
                DecoderEvent::Aside(aside) => self.heard.asides.push(aside),
                DecoderEvent::Skipped { bytes, .. } => {
                    let count = u64::try_from(bytes).unwrap_or(u64::MAX);
                    self.heard.skipped_bytes = self.heard.skipped_bytes.saturating_add(count);
                }
                _ => {}
            }
        }
        if !frames.is_empty() {
            self.heard.frames.push((value.at, frames));
        }
        self.heard.rate = self.session.rate();
        self.heard.asked_at = self.session.asked_at();
        self.has_news = true;
    }
}

impl Conversation for Talk {
    fn start(&mut self, now: ClockReading) {
        self.tell_time(now);
        self.told = Some(now);
        self.pending = self.session.start(now.box_instant).into();
    }

    fn tick(&mut self, now: BoxInstant) {
        self.pending.extend(self.session.on_tick(now));
    }

    fn stop(&mut self) {
        self.pending = self.session.stop().into();
    }

    fn failure(&self) -> Option<SessionError> {
        match self.session.state() {
            SessionState::Failed(why) => Some(why),
            _ => None,
        }
    }
}

impl Connection for GattConnection {
    fn talk(&mut self) -> &mut dyn Conversation {
        &mut self.talk
    }

    async fn send(&mut self, clock: &dyn Clock) -> Result<(), Lost> {
        if let Some(told) = self.talk.told.take() {
            self.tape.note_at(told, || CaptureEvent::Clock(told));
        }
        while let Some(action) = self.talk.take_action() {
            self.tape.note(|| CaptureEvent::Asked(action.clone()));
            if let Some(answer) = self.link.carry_out(action, clock).await? {
                self.tape.note_at(answer.at, || {
                    let Value { from, value, .. } = answer.clone();
                    CaptureEvent::Answer { from, value }
                });
                self.talk.hear(&answer);
            }
        }
        Ok(())
    }

    async fn hear(&mut self, _clock: &dyn Clock) -> Result<Heard, Lost> {
        if !self.talk.has_news {
            for told in self.link.read().await? {
                self.tape.note_at(told.at, || {
                    let Value { from, value, .. } = told.clone();
                    CaptureEvent::Value { from, value }
                });
                self.talk.hear(&told);
            }
        }
        let mut heard = self.talk.take_heard();
        heard.dropped = self.link.take_dropped();
        if heard.dropped > 0 {
            let values = heard.dropped;
            self.tape.note(|| CaptureEvent::Crowded { values });
        }
        Ok(heard)
    }

    async fn close(self) {
        self.link.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Talk, Value};
    use crate::testing::start_of_time;
    use cardio_protocol::decoder::{Aside, FrameRows};
    use cardio_protocol::gatt::{GattPeripheral, Notification, by_name};
    use cardio_protocol::session::SessionTiming;

    /// Carries actions and values to and fro until both sides are quiet.
    fn converse(talk: &mut Talk, device: &mut dyn GattPeripheral) {
        while let Some(action) = talk.pending.pop_front() {
            let mut sent = Vec::new();
            device.obey(action, &mut sent);
            hear(talk, sent);
        }
    }

    fn hear(talk: &mut Talk, sent: Vec<Notification>) {
        for Notification { from, value } in sent {
            let at = start_of_time();
            talk.hear(&Value { from, value, at });
        }
    }

    #[test]
    fn a_strap_says_who_it_is_before_its_first_frame() {
        let profile = by_name("polar-pmd").unwrap();
        let mut talk = Talk::new(profile.session.unwrap()(SessionTiming::default()));
        let mut strap = (profile.peripheral)();
        talk.pending = talk.session.start(start_of_time().box_instant).into();
        converse(&mut talk, &mut *strap);
        assert!(talk.heard.frames.is_empty());
        let names_serial = |aside: &Aside| {
            matches!(
                aside,
                Aside::Identity {
                    field: "serial",
                    ..
                }
            )
        };
        assert!(talk.heard.asides.iter().any(names_serial));
        assert!(
            talk.heard
                .asides
                .iter()
                .any(|aside| matches!(aside, Aside::Battery { .. }))
        );
        let mut sent = Vec::new();
        strap.frame(&FrameRows::planar(3, &[1, 2, 3]), &mut sent);
        hear(&mut talk, sent);
        assert_eq!(talk.heard.frames[0].1[0].rows.samples(), [1, 2, 3]);
    }
}
