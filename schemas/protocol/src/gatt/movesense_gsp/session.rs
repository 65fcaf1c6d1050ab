//! The box's side of the live ECG: hello, subscribe, listen.

use cardio_core::clock::BoxInstant;

use crate::decoder::{Aside, DecoderEvent};
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::ecg::Millis;
use super::{COMMAND, Command, DATA, ECG_PATH, EcgBody, Identity, Notice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Hello,
    Subscribing,
    FirstBody,
    Streaming,
    Failed(SessionError),
}

/// The box's side of a Movesense sensor.
#[derive(Debug)]
pub struct MovesenseSession {
    timing: SessionTiming,
    phase: Phase,
    since: Option<BoxInstant>,
    /// When the subscription whose reference the data bear was sent.
    asked_at: Option<BoxInstant>,
    tries: u32,
    /// Reference of the command under way, later of the subscription.
    reference: u8,
    millis: Millis,
    /// First part of a body that did not fit.
    part: Vec<u8>,
}

impl MovesenseSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            phase: Phase::Idle,
            since: None,
            asked_at: None,
            tries: 0,
            reference: 0,
            millis: Millis::default(),
            part: Vec::new(),
        }
    }

    fn send(&mut self, phase: Phase, now: BoxInstant, command: &Command) -> Vec<GattAction> {
        if self.phase != phase {
            self.tries = 0;
        }
        self.tries = self.tries.saturating_add(1);
        self.phase = phase;
        self.since = Some(now);
        // Never zero, and never that of a command whose answer may still come.
        self.reference = self.reference % 250 + 1;
        vec![write(command.encode(self.reference))]
    }

    fn hello(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.send(Phase::Hello, now, &Command::Hello)
    }

    fn subscribe(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.asked_at = Some(now);
        let command = Command::Subscribe(ECG_PATH.to_owned());
        self.send(Phase::Subscribing, now, &command)
    }

    fn on_hello(
        &mut self,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        let Ok((reference, identity)) = Identity::decode(value) else {
            return Vec::new();
        };
        if reference != self.reference {
            return Vec::new();
        }
        for (field, text) in [("serial", identity.serial), ("firmware", identity.version)] {
            if !text.is_empty() {
                out.push(DecoderEvent::Aside(Aside::Identity { field, text }));
            }
        }
        self.subscribe(now)
    }

    fn on_notice(
        &mut self,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        let (reference, notice) = match Notice::decode(value) {
            Ok(read) => read,
            Err(why) => {
                let bytes = value.len();
                out.push(DecoderEvent::Skipped { bytes, why });
                return Vec::new();
            }
        };
        if reference != self.reference {
            return Vec::new();
        }
        match (self.phase, notice) {
            (Phase::Subscribing, Notice::Answer { status, .. }) => match status {
                200..=299 => {
                    self.phase = Phase::FirstBody;
                    self.since = Some(now);
                }
                status => {
                    let command = "subscription to the ECG";
                    self.phase = Phase::Failed(SessionError::Refused { command, status });
                }
            },
            (_, Notice::Data(body)) if body.len() < EcgBody::BYTES => self.part = body,
            (_, Notice::Data(body)) => self.on_body(&body, out),
            (_, Notice::More(rest)) => {
                let mut body = std::mem::take(&mut self.part);
                body.extend_from_slice(&rest);
                self.on_body(&body, out);
            }
            _ => {}
        }
        Vec::new()
    }

    fn on_body(&mut self, body: &[u8], out: &mut Vec<DecoderEvent>) {
        match EcgBody::decode(body) {
            Ok(body) => {
                // Data prove the subscription even when its answer was lost.
                self.phase = Phase::Streaming;
                let millis = self.millis.extend(body.millis);
                out.push(DecoderEvent::Frame(body.into_frame(millis)));
            }
            Err(why) => {
                let bytes = body.len();
                out.push(DecoderEvent::Skipped { bytes, why });
            }
        }
    }
}

fn write(value: Vec<u8>) -> GattAction {
    GattAction::Write {
        to: COMMAND,
        value,
        with_response: true,
    }
}

impl GattSession for MovesenseSession {
    fn start(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.phase = Phase::Idle;
        self.part.clear();
        let mut actions = vec![GattAction::Subscribe(DATA)];
        actions.extend(ask_common());
        actions.extend(self.hello(now));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<DecoderEvent>,
    ) -> Vec<GattAction> {
        if from != DATA {
            on_common_value(from, value, out);
            return Vec::new();
        }
        match self.phase {
            Phase::Hello => self.on_hello(value, now, out),
            _ => self.on_notice(value, now, out),
        }
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let (limit, command) = match self.phase {
            Phase::Hello => (self.timing.answer, "hello"),
            Phase::Subscribing => (self.timing.answer, "subscription to the ECG"),
            Phase::FirstBody => (self.timing.first_frame, "subscription to the ECG"),
            _ => return Vec::new(),
        };
        if !self
            .since
            .is_some_and(|since| has_passed(since, now, limit))
        {
            return Vec::new();
        }
        let tries = self.tries;
        match self.phase {
            Phase::Hello if tries < self.timing.tries => self.hello(now),
            Phase::Subscribing if tries < self.timing.tries => self.subscribe(now),
            Phase::FirstBody => {
                self.phase = Phase::Failed(SessionError::NoStream { command, tries });
                Vec::new()
            }
            _ => {
                self.phase = Phase::Failed(SessionError::NoAnswer { command, tries });
                Vec::new()
            }
        }
    }

    fn stop(&mut self) -> Vec<GattAction> {
        self.phase = Phase::Idle;
        vec![write(Command::Unsubscribe.encode(self.reference))]
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
    use super::super::MovesensePeripheral;
    use super::MovesenseSession;
    use crate::decoder::{DecoderEvent, FrameRows};
    use crate::gatt::test_support::converse;
    use crate::gatt::{GattPeripheral, GattSession};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn hear(session: &mut MovesenseSession, sensor: &mut MovesensePeripheral) -> Vec<DecoderEvent> {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        let samples: Vec<i32> = (0..16).collect();
        sensor.frame(&FrameRows::planar(16, &samples), &mut sent);
        for value in sent {
            session.on_value(value.from, &value.value, at(9), &mut events);
        }
        events
    }

    #[test]
    fn a_sensor_is_greeted_subscribed_and_heard_at_any_mtu() {
        for mtu in [158, 73, 50] {
            let mut session = MovesenseSession::new(SessionTiming::default());
            let mut sensor = MovesensePeripheral::with_mtu(mtu);
            let actions = session.start(at(0));
            let events = converse(&mut session, &mut sensor, actions, at(1));
            assert_eq!(
                events.len(),
                10,
                "who it is, a battery, then serial and firmware"
            );
            let first = hear(&mut session, &mut sensor);
            let second = hear(&mut session, &mut sensor);
            assert_eq!(session.state(), SessionState::Streaming, "mtu {mtu}");
            let (DecoderEvent::Frame(a), DecoderEvent::Frame(b)) = (&first[0], &second[0]) else {
                panic!("{first:?} {second:?}");
            };
            assert_eq!(b.ticks.unwrap().nanos - a.ticks.unwrap().nanos, 64_000_000);
            let stop = session.stop();
            converse(&mut session, &mut sensor, stop, at(2));
            assert!(!sensor.is_streaming());
        }
    }

    #[test]
    fn a_command_whose_answer_is_lost_is_repeated_under_a_new_reference() {
        let mut session = MovesenseSession::new(SessionTiming::default());
        let mut sensor = MovesensePeripheral::default();
        let lost = session.start(at(0));
        let again = session.on_tick(at(2000));
        assert_ne!(lost.last(), again.last());
        sensor.subscribe(super::DATA, true);
        converse(&mut session, &mut sensor, again, at(2001));
        hear(&mut session, &mut sensor);
        assert_eq!(session.state(), SessionState::Streaming);
    }

    #[test]
    fn a_subscription_that_is_refused_names_its_status() {
        let mut session = MovesenseSession::new(SessionTiming::default());
        let mut sensor = MovesensePeripheral::default();
        sensor.refuse_with(503);
        let actions = session.start(at(0));
        converse(&mut session, &mut sensor, actions, at(1));
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert!(why.to_string().ends_with("status 503"));
    }
}
