//! The box's side of live data: ask, and ask again as soon as the answer is there.

use std::time::Duration;

use cardio_core::clock::BoxInstant;

use crate::decoder::{Aside, DecoderEvent, Frame, FrameRows};
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::frame::{Assembler, Command, ViatomFrame};
use super::{LiveBody, NOTIFY, WRITE};

/// Time between two questions: half a second of signal each.
const BETWEEN: Duration = Duration::from_millis(500);
/// The rate of the live data, as the question states it.
const RATE: u8 = 0x7D;
/// What the question is called in an error.
const LIVE: &str = "the question for live data";

/// The box's side of an ER1.
#[derive(Debug)]
pub struct ViatomSession {
    timing: SessionTiming,
    state: SessionState,
    assembler: Assembler,
    asked: Option<BoxInstant>,
    waiting: bool,
    /// Questions without an answer, oldest first: their numbers, and when they went out.
    open: Vec<(u8, BoxInstant)>,
    tries: u32,
    sequence: u8,
    battery: Option<u8>,
    contact: Option<bool>,
}

impl ViatomSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: SessionState::Idle,
            assembler: Assembler::default(),
            asked: None,
            waiting: false,
            open: Vec::new(),
            tries: 0,
            sequence: 0,
            battery: None,
            contact: None,
        }
    }

    fn ask(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.sequence = self.sequence.wrapping_add(1);
        self.asked = Some(now);
        self.waiting = true;
        self.open.push((self.sequence, now));
        self.tries = self.tries.saturating_add(1);
        vec![GattAction::Write {
            to: WRITE,
            value: ViatomFrame::request(Command::Live, self.sequence, vec![RATE]).encode(),
            with_response: false,
        }]
    }

    /// It is asked again, a few times.
    fn refused(&mut self, kind: u8) {
        if self.tries > self.timing.tries {
            self.state = SessionState::Failed(SessionError::Refused {
                command: LIVE,
                status: kind.into(),
            });
        }
    }

    fn on_live(&mut self, frame: &ViatomFrame, out: &mut Vec<DecoderEvent>) {
        let numbers = || self.open.iter().map(|(number, _)| *number);
        let Some(place) = numbers().position(|number| number == frame.sequence) else {
            // It was answered before: its samples would come twice.
            return;
        };
        // Each answer holds what was measured since the one before, so one that comes late counts.
        let asked = self.open.drain(..=place).next_back().map(|(_, at)| at);
        self.waiting = !self.open.is_empty();
        if frame.kind != 1 {
            self.refused(frame.kind);
            return;
        }
        self.tries = 0;
        let body = match LiveBody::decode(&frame.data) {
            Ok(body) => body,
            Err(why) => {
                let bytes = frame.data.len();
                out.push(DecoderEvent::Skipped { bytes, why });
                return;
            }
        };
        self.state = SessionState::Streaming;
        if self.battery.replace(body.battery) != Some(body.battery) {
            let percent = body.battery.min(100);
            out.push(DecoderEvent::Aside(Aside::Battery { percent }));
        }
        let on = body.run_state().has_contact();
        if self.contact.replace(on) != Some(on) {
            out.push(DecoderEvent::Aside(Aside::Contact { on }));
        }
        if !body.samples.is_empty() {
            let counts: Vec<i32> = body.samples.iter().map(|count| i32::from(*count)).collect();
            out.push(DecoderEvent::Frame(Frame {
                seq: None,
                ticks: None,
                asked,
                rows: FrameRows::planar(counts.len(), &counts),
            }));
        }
    }
}

impl GattSession for ViatomSession {
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.state = SessionState::Starting;
        self.assembler.forget();
        self.open.clear();
        self.tries = 0;
        (self.battery, self.contact) = (None, None);
        let mut actions = vec![GattAction::Subscribe(NOTIFY)];
        actions.extend(ask_common());
        actions.extend(self.ask(now));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        _now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        if from != NOTIFY {
            on_common_value(from, value, out);
            return Vec::new();
        }
        let mut frames = Vec::new();
        self.assembler.push(value, &mut frames);
        for frame in &frames {
            if frame.command == Command::Live.byte() {
                self.on_live(frame, out);
            }
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        if !matches!(self.state, SessionState::Starting | SessionState::Streaming) {
            return Vec::new();
        }
        let limit = if self.waiting {
            self.timing.answer
        } else {
            BETWEEN
        };
        if !self
            .asked
            .is_some_and(|asked| has_passed(asked, now, limit))
        {
            return Vec::new();
        }
        if self.waiting && self.tries >= self.timing.tries {
            self.state = SessionState::Failed(SessionError::NoAnswer {
                command: LIVE,
                tries: self.tries,
            });
            return Vec::new();
        }
        self.assembler.forget();
        self.ask(now)
    }

    fn stop(&mut self) -> Vec<GattAction> {
        self.state = SessionState::Idle;
        self.waiting = false;
        Vec::new()
    }

    fn state(&self) -> SessionState {
        self.state
    }
}
