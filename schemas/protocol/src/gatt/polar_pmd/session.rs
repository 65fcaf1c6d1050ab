//! The box's side: ask what the strap can, start the ECG, recover from a stream left over.

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::control::{GET_STATUS, START, STOP, start_ecg};
use super::{CONTROL, ControlMessage, DATA, ECG, EcgFrame, Features, Response, Status};

/// Bits of a measurement's state in the answer to the status command.
const RUNNING_BITS: u8 = 0xC0;
const TYPE_BITS: u8 = 0x3F;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The feature list is awaited.
    Features,
    /// The answer to start is awaited.
    Starting,
    /// A stream was left over: the answer to stop is awaited.
    Stopping,
    /// The answer to status is awaited: the old stream must be over.
    Settling,
    /// The first frame is awaited.
    FirstFrame,
    Streaming,
    Failed(SessionError),
}

/// The box's side of a Polar H10.
#[derive(Debug)]
pub struct PolarSession {
    timing: SessionTiming,
    phase: Phase,
    since: Option<BoxInstant>,
    /// When start was last sent to a strap that does not stream.
    asked_at: Option<BoxInstant>,
    tries: u32,
    /// Parts of an answer that comes in several indications.
    parts: Vec<u8>,
}

fn write(value: Vec<u8>) -> GattAction {
    GattAction::Write {
        to: CONTROL,
        value,
        with_response: true,
    }
}

impl PolarSession {
    /// A session that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            phase: Phase::Idle,
            since: None,
            asked_at: None,
            tries: 0,
            parts: Vec::new(),
        }
    }

    fn enter(&mut self, phase: Phase, now: BoxInstant) -> Vec<GattAction> {
        self.phase = phase;
        self.since = Some(now);
        match phase {
            Phase::Features => vec![GattAction::Read(CONTROL)],
            Phase::Starting => {
                self.asked_at = Some(now);
                vec![write(start_ecg())]
            }
            Phase::Stopping => vec![write(vec![STOP, ECG])],
            Phase::Settling => vec![write(vec![GET_STATUS])],
            _ => Vec::new(),
        }
    }

    fn fail(&mut self, why: SessionError) -> Vec<GattAction> {
        self.phase = Phase::Failed(why);
        Vec::new()
    }

    fn on_control(&mut self, value: &[u8], now: BoxInstant) -> Vec<GattAction> {
        if self.phase == Phase::Features {
            return match Features::decode(value) {
                Ok(features) if features.has_ecg() => self.enter(Phase::Starting, now),
                Ok(_) => self.fail(SessionError::Refused {
                    command: "the ECG, which this firmware does not have",
                    status: 3,
                }),
                Err(_) => Vec::new(),
            };
        }
        match ControlMessage::decode(value) {
            Ok(ControlMessage::Response(answer)) if answer.more => {
                self.parts.extend_from_slice(&answer.parameters);
                Vec::new()
            }
            Ok(ControlMessage::Response(mut answer)) => {
                let mut whole = std::mem::take(&mut self.parts);
                whole.append(&mut answer.parameters);
                answer.parameters = whole;
                self.on_response(&answer, now)
            }
            Ok(ControlMessage::Stopped(types)) => self.on_stopped(&types, now),
            Err(_) => Vec::new(),
        }
    }

    fn on_response(&mut self, answer: &Response, now: BoxInstant) -> Vec<GattAction> {
        match (self.phase, answer.op, answer.status) {
            (Phase::Starting, START, Status::OK) => self.enter(Phase::FirstFrame, now),
            (Phase::Starting, START, Status::ALREADY) => self.enter(Phase::Stopping, now),
            (Phase::Starting, START, status) => self.fail(SessionError::Refused {
                command: "start of the ECG",
                status: u16::from(status.0),
            }),
            (Phase::Stopping, STOP, _) => self.enter(Phase::Settling, now),
            (Phase::Settling, GET_STATUS, _) => {
                let runs = answer
                    .parameters
                    .iter()
                    .chain(
                        [&answer.measurement]
                            .into_iter()
                            .filter(|_| answer.parameters.is_empty()),
                    )
                    .any(|state| state & TYPE_BITS == ECG && state & RUNNING_BITS != 0);
                // While it still runs, time brings the next question.
                if runs {
                    Vec::new()
                } else {
                    self.enter(Phase::Starting, now)
                }
            }
            _ => Vec::new(),
        }
    }

    fn on_stopped(&mut self, types: &[u8], now: BoxInstant) -> Vec<GattAction> {
        let ours = types.iter().any(|kind| kind & TYPE_BITS == ECG);
        if ours && matches!(self.phase, Phase::Streaming | Phase::FirstFrame) {
            self.tries = 1;
            return self.enter(Phase::Starting, now);
        }
        Vec::new()
    }

    fn on_data(&mut self, value: &[u8], out: &mut Vec<DecoderEvent>) {
        match EcgFrame::decode(value) {
            Ok(frame) => {
                if self.phase == Phase::FirstFrame {
                    self.phase = Phase::Streaming;
                }
                out.push(DecoderEvent::Frame(frame.into_frame()));
            }
            Err(why) => {
                let bytes = value.len();
                out.push(DecoderEvent::Skipped { bytes, why });
            }
        }
    }
}

impl GattSession for PolarSession {
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.tries = 1;
        self.parts.clear();
        let mut actions = vec![GattAction::Subscribe(CONTROL), GattAction::Subscribe(DATA)];
        actions.extend(ask_common());
        actions.extend(self.enter(Phase::Features, now));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        if from == CONTROL {
            return self.on_control(value, now);
        }
        if from == DATA {
            self.on_data(value, out);
        } else {
            on_common_value(from, value, out);
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let (limit, command) = match self.phase {
            Phase::Features => (self.timing.answer, "reading the features"),
            Phase::Starting => (self.timing.answer, "start of the ECG"),
            Phase::Stopping => (self.timing.answer, "stop of an old stream"),
            Phase::Settling => (self.timing.answer, "asking for the status"),
            Phase::FirstFrame => (self.timing.first_frame, "start of the ECG"),
            _ => return Vec::new(),
        };
        if !self
            .since
            .is_some_and(|since| has_passed(since, now, limit))
        {
            return Vec::new();
        }
        let tries = self.tries;
        if tries < self.timing.tries {
            self.tries = tries.saturating_add(1);
            let again = match self.phase {
                Phase::FirstFrame => Phase::Stopping,
                other => other,
            };
            return self.enter(again, now);
        }
        self.fail(if self.phase == Phase::FirstFrame {
            SessionError::NoStream { command, tries }
        } else {
            SessionError::NoAnswer { command, tries }
        })
    }

    fn stop(&mut self) -> Vec<GattAction> {
        self.phase = Phase::Idle;
        // A stream that is not stopped keeps the strap on until its battery is empty.
        vec![write(vec![STOP, ECG])]
    }

    fn asked_at(&self) -> Option<BoxInstant> {
        self.asked_at
    }

    fn state(&self) -> SessionState {
        match self.phase {
            Phase::Idle => SessionState::Idle,
            Phase::Streaming => SessionState::Streaming,
            Phase::Failed(why) => SessionState::Failed(why),
            _ => SessionState::Starting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PolarPeripheral;
    use super::{CONTROL, PolarSession};
    use crate::decoder::{DecoderEvent, FrameRows};
    use crate::gatt::test_support::converse;
    use crate::gatt::{GattPeripheral, GattSession, Notification};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn frame(strap: &mut PolarPeripheral) -> Vec<Notification> {
        let mut sent = Vec::new();
        let samples: Vec<i32> = (0..73).collect();
        strap.frame(&FrameRows::planar(73, &samples), &mut sent);
        sent
    }

    fn hear(session: &mut PolarSession, sent: &[Notification]) -> Vec<DecoderEvent> {
        let mut events = Vec::new();
        for value in sent {
            session.on_value(value.from, &value.value, at(9), &mut events);
        }
        events
    }

    #[test]
    fn a_strap_is_asked_started_and_heard() {
        let mut session = PolarSession::new(SessionTiming::default());
        let mut strap = PolarPeripheral::default();
        let actions = session.start(at(0));
        converse(&mut session, &mut strap, actions, at(1));
        assert!(strap.is_streaming());
        assert_eq!(session.state(), SessionState::Starting);
        let events = hear(&mut session, &frame(&mut strap));
        assert_eq!(events.len(), 1);
        assert_eq!(session.state(), SessionState::Streaming);
        let stop = session.stop();
        converse(&mut session, &mut strap, stop, at(2));
        assert!(!strap.is_streaming());
    }

    #[test]
    fn a_stream_left_over_is_stopped_and_started_again() {
        let mut strap = PolarPeripheral::default();
        let mut first = PolarSession::new(SessionTiming::default());
        let actions = first.start(at(0));
        converse(&mut first, &mut strap, actions, at(1));
        strap.disconnect();
        assert!(strap.is_streaming(), "the strap goes on without a listener");
        let mut second = PolarSession::new(SessionTiming::default());
        let actions = second.start(at(0));
        converse(&mut second, &mut strap, actions, at(1));
        hear(&mut second, &frame(&mut strap));
        assert_eq!(second.state(), SessionState::Streaming);
    }

    #[test]
    fn a_strap_that_stops_by_itself_is_started_again() {
        let mut session = PolarSession::new(SessionTiming::default());
        let mut strap = PolarPeripheral::default();
        let actions = session.start(at(0));
        converse(&mut session, &mut strap, actions, at(1));
        hear(&mut session, &frame(&mut strap));
        let mut sent = Vec::new();
        strap.stop_by_itself(&mut sent);
        assert!(!strap.is_streaming());
        let mut events = Vec::new();
        let actions = session.on_value(CONTROL, &sent[0].value, at(2), &mut events);
        converse(&mut session, &mut strap, actions, at(3));
        assert!(strap.is_streaming());
    }

    #[test]
    fn a_strap_without_ecg_and_a_silent_one_are_told_apart() {
        let mut session = PolarSession::new(SessionTiming::default());
        session.start(at(0));
        let mut events = Vec::new();
        session.on_value(CONTROL, &[0x0F, 0x04, 0x00], at(1), &mut events);
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!(why.code(), "session.refused");
        session.start(at(0));
        for millis in (0..10_000).step_by(100) {
            session.on_tick(at(millis));
        }
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!(why.code(), "session.no_answer");
    }
}
