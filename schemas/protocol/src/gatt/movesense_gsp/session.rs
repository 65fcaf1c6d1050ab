//! The box's side of the live ECG: hello, set the clock, subscribe, listen.
//!
//! The sensor's clock is set where the box's own is known to be right, because what the sensor
//! records by itself is dated by it. One that cannot be set streams all the same.

use std::time::Duration;

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading};

use crate::decoder::{Aside, DecoderEvent};
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, GattSession, Uuid};
use crate::session::{SessionError, SessionState, SessionTiming, has_passed};

use super::ecg::Millis;
use super::{COMMAND, Command, DATA, EcgBody, Identity, Notice, RATE_HZ, ecg_path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Hello,
    SettingTime,
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
    /// Samples per second that are asked for.
    rate_hz: u32,
    /// The time of day, if it is known to be right.
    time: Option<ClockReading>,
    /// When the sensor said who it is.
    greeted_at: Option<BoxInstant>,
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
            rate_hz: RATE_HZ,
            time: None,
            greeted_at: None,
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

    /// Sets the sensor's clock, if the box's own is right; then asks for the ECG.
    fn set_time(&mut self, now: BoxInstant) -> Vec<GattAction> {
        // what is repeated follows from what was said before, so that a replay says the same
        let waited = if self.phase == Phase::SettingTime {
            self.timing.answer.saturating_mul(self.tries)
        } else {
            self.greeted_at = Some(now);
            Duration::ZERO
        };
        let micros = self.time.and_then(|time| {
            let passed = self.greeted_at?.micros_since(&time.box_instant)?;
            let waited = u64::try_from(waited.as_micros()).ok()?;
            let begun = u64::try_from(time.utc.0).ok()?;
            begun.checked_add(passed)?.checked_add(waited)
        });
        match micros {
            Some(micros) => self.send(Phase::SettingTime, now, &Command::SetTime(micros)),
            None => self.subscribe(now),
        }
    }

    fn subscribe(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.asked_at = Some(now);
        let command = Command::Subscribe(ecg_path(self.rate_hz));
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
        self.set_time(now)
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
            (Phase::SettingTime, Notice::Answer { .. }) => return self.subscribe(now),
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
    fn ask_for_rate(&mut self, rate_hz: u32) {
        self.rate_hz = rate_hz;
    }

    fn tell_time(&mut self, now: ClockReading) {
        let is_right = matches!(now.quality, ClockQuality::Synchronised { .. });
        self.time = is_right.then_some(now);
    }

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
            Phase::SettingTime => (self.timing.answer, "the time of day"),
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
            Phase::SettingTime if tries < self.timing.tries => self.set_time(now),
            // early firmware does not know the command, and may say nothing
            Phase::SettingTime => self.subscribe(now),
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
    use super::super::{HOLTER_RATES_HZ, MovesensePeripheral};
    use super::MovesenseSession;
    use crate::decoder::{DecoderEvent, FrameRows};
    use crate::gatt::test_support::converse;
    use crate::gatt::{GattAction, GattPeripheral, GattSession};
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
    use cardio_core::device::IntegrityClass;
    use cardio_core::ids::BootId;
    use cardio_core::index::{SampleCount, SampleIndex};
    use cardio_core::rate::SamplingRate;
    use cardio_core::timeline::{Placement, Timeline};

    /// What is written to the sensor, in its order.
    fn written(actions: &[GattAction]) -> Vec<Vec<u8>> {
        let value = |action: &GattAction| match action {
            GattAction::Write { value, .. } => Some(value.clone()),
            _ => None,
        };
        actions.iter().filter_map(value).collect()
    }

    fn synchronised(quality: ClockQuality) -> ClockReading {
        ClockReading {
            box_instant: at(0),
            utc: UtcMicros(1_790_000_000_000_000),
            quality,
        }
    }

    /// The answer to the hello of that reference.
    fn greeted(session: &mut MovesenseSession, reference: u8, now: BoxInstant) -> Vec<Vec<u8>> {
        let mut hello = vec![1, reference, 1];
        hello.extend(b"1\x00M\x002\x00A\x002.3\x00");
        let actions = session.on_value(super::DATA, &hello, now, &mut Vec::new());
        written(&actions)
    }

    #[test]
    fn the_clock_is_set_before_an_ecg_of_500_hz_is_asked_for_in_these_bytes() {
        let mut session = MovesenseSession::new(SessionTiming::default());
        session.ask_for_rate(500);
        session.tell_time(synchronised(ClockQuality::Synchronised { error_us: 9 }));
        let actions = session.start(at(0));
        assert_eq!(written(&actions), [[0, 1]], "hello");
        // 1 790 000 000 s and 250 ms since 1970, in microseconds
        let time = 1_790_000_000_250_000_u64.to_le_bytes();
        let put_utctime = [&[8, 2][..], &time].concat();
        assert_eq!(greeted(&mut session, 1, at(250)), [put_utctime]);
        let answer = [1, 2, 200, 0];
        let actions = session.on_value(super::DATA, &answer, at(260), &mut Vec::new());
        let subscribe = [&[1, 3][..], b"/Meas/ECG/500"].concat();
        assert_eq!(written(&actions), [subscribe]);
    }

    #[test]
    fn a_clock_that_nobody_vouches_for_is_not_handed_on() {
        let mut session = MovesenseSession::new(SessionTiming::default());
        session.tell_time(synchronised(ClockQuality::Unsynchronised));
        session.start(at(0));
        let subscribe = [&[1, 2][..], b"/Meas/ECG/250"].concat();
        assert_eq!(greeted(&mut session, 1, at(5)), [subscribe]);
    }

    #[test]
    fn a_sensor_that_does_not_know_the_time_command_streams_all_the_same() {
        let mut session = MovesenseSession::new(SessionTiming::default());
        session.tell_time(synchronised(ClockQuality::Synchronised { error_us: 9 }));
        session.start(at(0));
        greeted(&mut session, 1, at(5));
        let refused = [1, 2, 0x94, 1];
        let actions = session.on_value(super::DATA, &refused, at(9), &mut Vec::new());
        assert_eq!(written(&actions)[0][0], 1, "subscribe after status 404");
        let mut silent = MovesenseSession::new(SessionTiming::default());
        silent.tell_time(synchronised(ClockQuality::Synchronised { error_us: 9 }));
        silent.start(at(0));
        greeted(&mut silent, 1, at(5));
        let mut said = Vec::new();
        for second in (0..60).step_by(2) {
            said.extend(written(&silent.on_tick(at(10_000 + second * 1000))));
            if said.iter().any(|command| command[0] == 1) {
                break;
            }
        }
        assert!(said.len() > 1, "it is asked again before that: {said:?}");
        assert_eq!(said.last().unwrap()[0], 1, "then the ECG is asked for");
    }

    #[test]
    fn every_rate_of_the_sensor_is_heard_as_that_rate_without_a_gap() {
        for rate_hz in HOLTER_RATES_HZ {
            let mut session = MovesenseSession::new(SessionTiming::default());
            let mut sensor = MovesensePeripheral::default();
            session.ask_for_rate(rate_hz);
            sensor.set_rate(rate_hz);
            let actions = session.start(at(0));
            converse(&mut session, &mut sensor, actions, at(1));
            let rate = SamplingRate::hz(rate_hz).unwrap();
            let time_stamped = IntegrityClass::TimeStamped;
            let mut timeline = Timeline::new(rate, time_stamped, None, SampleIndex(0));
            let mut next = 0;
            // a minute and more: steps of milliseconds that are not whole must not add up
            for _ in 0..4 * rate_hz {
                let heard = hear(&mut session, &mut sensor);
                let [DecoderEvent::Frame(frame)] = &heard[..] else {
                    panic!("{heard:?}");
                };
                let arrival = BoxInstant {
                    micros: 1_000_000 + rate.micros_at(SampleIndex(next + 16)),
                    ..at(0)
                };
                let nanos = frame.ticks.unwrap().nanos;
                let placed = timeline.place_ticks(nanos, SampleCount(16), arrival);
                let want = Placement::Block {
                    first: SampleIndex(next),
                    gap: None,
                };
                assert_eq!(placed, want, "{rate_hz} Hz");
                next += 16;
            }
            assert_eq!(session.state(), SessionState::Streaming, "{rate_hz} Hz");
        }
    }

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
