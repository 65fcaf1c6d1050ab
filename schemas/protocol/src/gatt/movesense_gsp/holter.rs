//! A recording in the sensor's own memory: begun, ended, asked after.
//!
//! - Beginning sets the sensor's clock first, where the box's own is known to be right, because a
//!   log is dated by it; a sensor that records already is left as it is.
//! - Ending lets the sensor start anew, so that the next recording is a log of its own.
//! - Whether it records is known by asking for a log that cannot be: a sensor that records gives
//!   none away and says so.
//!
//! Deliberately absent: fetching ([`super::MovesenseRecordings`]), links, and clocks.

use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading};

use crate::gatt::{GattAction, Uuid};
use crate::kept::{Overdue, Question};
use crate::session::SessionTiming;

use super::{COMMAND, Command, DATA, Identity, LOGBOOK_PATH, LogEntry, Notice, logbook};

/// Samples per second that the sensor has for its ECG.
pub const HOLTER_RATES_HZ: [u32; 7] = [125, 128, 200, 250, 256, 500, 512];
/// Maps the sensor's milliseconds to the time of day; belongs into every recording.
const TIME_PATH: &str = "/Time/Detailed";
/// A number that no log has.
const NO_LOG: u32 = u32::MAX;
const RECORD: u8 = 3;
const HALT: u8 = 2;
const APPLICATION: u8 = 5;

/// What a person wants of the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolterOrder {
    /// Record the ECG from now on, at so many samples per second.
    Start {
        /// One of [`HOLTER_RATES_HZ`].
        rate_hz: u32,
    },
    /// End the recording.
    Stop,
    /// Only say how it stands.
    Status,
}

/// What is known of the sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolterFound {
    /// Who it is.
    pub identity: Identity,
    /// Whether it records; `None` where its answer does not tell.
    pub recording: Option<bool>,
    /// The recordings that it lists; `None` where it gives no list.
    pub logs: Option<Vec<LogEntry>>,
    /// Whether it keeps more than it lists.
    pub has_more: bool,
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolterState {
    /// Something is under way.
    Running,
    /// The order is carried out.
    Done,
    /// It was not.
    Failed(HolterError),
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HolterError {
    /// No answer.
    #[error("the sensor did not answer {command} after {tries} tries")]
    NoAnswer {
        /// What was asked.
        command: &'static str,
        /// How often.
        tries: u32,
    },
    /// It records already.
    #[error("the sensor records already, and goes on")]
    Recording,
    /// It does not have this rate.
    #[error("the sensor cannot record {rate_hz} samples per second")]
    Rate {
        /// As asked for.
        rate_hz: u32,
    },
    /// It cannot measure now.
    #[error("the sensor cannot measure now")]
    NotNow,
    /// It has no room for one more.
    #[error("the sensor has no room for one more resource")]
    NoRoom,
    /// It refuses for another reason.
    #[error("the sensor refused {command} with status {status}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Its status, like that of HTTP.
        status: u16,
    },
}

impl HolterError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer { .. } => "holter.no_answer",
            Self::Recording => "holter.recording",
            Self::Rate { .. } => "holter.rate",
            Self::NotNow => "holter.not_now",
            Self::NoRoom => "holter.no_room",
            Self::Refused { .. } => "holter.refused",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Hello,
    Time,
    Configure { rate_hz: u32 },
    Record,
    Halt,
    Probe,
    List,
    Restart,
}

impl Ask {
    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Time => "set-time",
            Self::Configure { .. } => "configure-logger",
            Self::Record | Self::Halt => "logger-state",
            Self::Probe => "fetch-log",
            Self::List => "list",
            Self::Restart => "system-mode",
        }
    }
}

/// The box's side of one order.
#[derive(Debug)]
pub struct MovesenseHolter {
    order: HolterOrder,
    state: HolterState,
    question: Question,
    asked: Ask,
    reference: u8,
    /// Wall time to set the sensor's clock to, if the box knows it, and when that was.
    time: Option<(u64, BoxInstant)>,
    found: HolterFound,
}

impl MovesenseHolter {
    /// An order that nothing was done about.
    pub fn new(order: HolterOrder, timing: SessionTiming) -> Self {
        Self {
            order,
            state: HolterState::Running,
            question: Question::new(timing),
            asked: Ask::Hello,
            reference: 0,
            time: None,
            found: HolterFound::default(),
        }
    }

    /// Begins on a new link.
    pub fn start(&mut self, now: ClockReading) -> Vec<GattAction> {
        self.state = HolterState::Running;
        let known = match now.quality {
            ClockQuality::Unsynchronised => None,
            ClockQuality::Synchronised { .. } => u64::try_from(now.utc.0).ok(),
        };
        self.time = known.map(|micros| (micros, now.box_instant));
        let mut actions = vec![GattAction::Subscribe(DATA)];
        actions.extend(self.ask(Ask::Hello, now.box_instant));
        actions
    }

    /// Takes a notified value.
    pub fn on_value(&mut self, from: Uuid, value: &[u8], now: BoxInstant) -> Vec<GattAction> {
        if from != DATA || self.state != HolterState::Running {
            return Vec::new();
        }
        if self.asked == Ask::Hello {
            return match Identity::decode(value) {
                Ok((reference, identity)) if reference == self.reference => {
                    self.found.identity = identity;
                    self.greeted(now)
                }
                _ => Vec::new(),
            };
        }
        match Notice::decode(value) {
            Ok((reference, Notice::Answer { status, data })) if reference == self.reference => {
                self.on_answer(status, &data, now)
            }
            _ => Vec::new(),
        }
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        if self.state != HolterState::Running {
            return Vec::new();
        }
        match self.question.overdue(now) {
            Overdue::No => Vec::new(),
            Overdue::AskAgain => self.ask(self.asked, now),
            Overdue::GiveUp { tries } => self.fail(HolterError::NoAnswer {
                command: self.asked.name(),
                tries,
            }),
        }
    }

    /// Where the conversation stands.
    pub const fn state(&self) -> HolterState {
        self.state
    }

    /// What is known of the sensor so far.
    pub const fn found(&self) -> &HolterFound {
        &self.found
    }

    fn ask(&mut self, ask: Ask, now: BoxInstant) -> Vec<GattAction> {
        if self.asked != ask {
            self.question.answered();
        }
        self.question.asked(now);
        self.asked = ask;
        // Never zero, and never that of a command whose answer may still come.
        self.reference = self.reference % 250 + 1;
        let command = match ask {
            Ask::Hello => Command::Hello,
            Ask::Time => Command::SetTime(self.time_at(now)),
            Ask::Configure { rate_hz } => {
                Command::ConfigureLogger(vec![format!("/Meas/ECG/{rate_hz}"), TIME_PATH.to_owned()])
            }
            Ask::Record => Command::LoggerState(RECORD),
            Ask::Halt => Command::LoggerState(HALT),
            Ask::Probe => Command::FetchLog(NO_LOG),
            Ask::List => Command::Get(LOGBOOK_PATH.to_owned()),
            Ask::Restart => Command::SystemMode(APPLICATION),
        };
        vec![GattAction::Write {
            to: COMMAND,
            value: command.encode(self.reference),
            with_response: true,
        }]
    }

    /// The wall time now, microseconds since 1970.
    fn time_at(&self, now: BoxInstant) -> u64 {
        let (micros, then) = self.time.unwrap_or((0, now));
        micros.saturating_add(now.micros_since(&then).unwrap_or(0))
    }

    fn fail(&mut self, why: HolterError) -> Vec<GattAction> {
        self.state = HolterState::Failed(why);
        Vec::new()
    }

    fn done(&mut self) -> Vec<GattAction> {
        self.state = HolterState::Done;
        Vec::new()
    }

    fn greeted(&mut self, now: BoxInstant) -> Vec<GattAction> {
        match self.order {
            HolterOrder::Start { .. } if self.time.is_some() => self.ask(Ask::Time, now),
            HolterOrder::Start { rate_hz } => self.ask(Ask::Configure { rate_hz }, now),
            HolterOrder::Stop => self.ask(Ask::Halt, now),
            HolterOrder::Status => self.ask(Ask::Probe, now),
        }
    }

    fn on_answer(&mut self, status: u16, data: &[u8], now: BoxInstant) -> Vec<GattAction> {
        let is_good = (200..=299).contains(&status);
        match (self.asked, self.order) {
            // firmware without a clock to set makes recordings without a date
            (Ask::Time, HolterOrder::Start { rate_hz }) => {
                self.ask(Ask::Configure { rate_hz }, now)
            }
            (Ask::Configure { .. }, _) if is_good => self.ask(Ask::Record, now),
            (Ask::Record, _) if is_good => {
                self.found.recording = Some(true);
                self.done()
            }
            (Ask::Halt, _) if is_good => {
                self.found.recording = Some(false);
                self.ask(Ask::List, now)
            }
            (Ask::Probe, _) => {
                self.found.recording = match status {
                    409 => Some(true),
                    404 => Some(false),
                    _ => None,
                };
                self.ask(Ask::List, now)
            }
            (Ask::List, order) => {
                if is_good || status == 100 {
                    self.found.logs = logbook(data).ok();
                    self.found.has_more = status == 100;
                }
                match order {
                    HolterOrder::Stop => self.ask(Ask::Restart, now),
                    _ => self.done(),
                }
            }
            // what it answers as it goes down does not matter
            (Ask::Restart, _) => self.done(),
            (ask, _) => self.fail(refusal(ask, status)),
        }
    }

    /// The link ended. A sensor that was told to start anew does that.
    pub fn on_lost(&mut self) {
        if self.asked == Ask::Restart && self.state == HolterState::Running {
            self.state = HolterState::Done;
        }
    }
}

const fn refusal(ask: Ask, status: u16) -> HolterError {
    match (ask, status) {
        (Ask::Configure { .. } | Ask::Record, 409) => HolterError::Recording,
        (Ask::Configure { rate_hz }, 501) => HolterError::Rate { rate_hz },
        (_, 503) => HolterError::NotNow,
        (_, 507) => HolterError::NoRoom,
        _ => HolterError::Refused {
            command: ask.name(),
            status,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{HolterError, HolterOrder, HolterState, MovesenseHolter};
    use crate::decoder::FrameRows;
    use crate::gatt::movesense_gsp::{DATA, MovesensePeripheral};
    use crate::gatt::{GattAction, GattPeripheral};
    use crate::session::SessionTiming;
    use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, UtcMicros};
    use cardio_core::ids::BootId;
    use proptest::prelude::*;

    const START: HolterOrder = HolterOrder::Start { rate_hz: 250 };

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn reading() -> ClockReading {
        ClockReading {
            box_instant: at(0),
            utc: UtcMicros(1_790_000_000_000_000),
            quality: ClockQuality::Synchronised { error_us: 1000 },
        }
    }

    fn carry_out(sensor: &mut MovesensePeripheral, order: HolterOrder) -> MovesenseHolter {
        let mut holter = MovesenseHolter::new(order, SessionTiming::default());
        let mut actions = holter.start(reading());
        while !actions.is_empty() {
            let mut sent = Vec::new();
            for action in std::mem::take(&mut actions) {
                sensor.obey(action, &mut sent);
            }
            for value in sent {
                actions.extend(holter.on_value(value.from, &value.value, at(1)));
            }
        }
        holter
    }

    #[test]
    fn a_recording_is_begun_asked_after_and_ended_and_the_next_is_another_one() {
        let mut sensor = MovesensePeripheral::default();
        for round in 1..=2 {
            let begun = carry_out(&mut sensor, START);
            assert_eq!(begun.state(), HolterState::Done);
            assert_eq!(begun.found().identity.serial, "000000000001");
            assert!(sensor.is_recording());
            for body in 0..20 {
                let samples: Vec<i32> = (body..body + 16).collect();
                sensor.frame(&FrameRows::planar(16, &samples), &mut Vec::new());
            }
            let asked = carry_out(&mut sensor, HolterOrder::Status);
            assert_eq!(asked.found().recording, Some(true));
            let ended = carry_out(&mut sensor, HolterOrder::Stop);
            assert_eq!(ended.state(), HolterState::Done);
            assert!(!sensor.is_recording());
            let logs = ended.found().logs.clone().unwrap();
            assert_eq!(logs.len(), round);
            assert!(logs.iter().all(|log| log.size > 20 * 68));
        }
        let asked = carry_out(&mut sensor, HolterOrder::Status);
        assert_eq!(asked.found().recording, Some(false));
    }

    #[test]
    fn a_sensor_that_records_is_left_as_it_is() {
        let mut sensor = MovesensePeripheral::default();
        carry_out(&mut sensor, START);
        let again = carry_out(&mut sensor, START);
        assert_eq!(again.state(), HolterState::Failed(HolterError::Recording));
        assert!(sensor.is_recording());
    }

    #[test]
    fn each_refusal_of_the_firmware_has_its_own_code() {
        for (status, code) in [
            (400, "holter.refused"),
            (409, "holter.recording"),
            (501, "holter.rate"),
            (503, "holter.not_now"),
            (507, "holter.no_room"),
        ] {
            let mut sensor = MovesensePeripheral::default();
            sensor.refuse_with(status);
            match carry_out(&mut sensor, START).state() {
                HolterState::Failed(why) => assert_eq!(why.code(), code, "{status}"),
                state => panic!("{status}: {state:?}"),
            }
            assert!(!sensor.is_recording());
        }
    }

    #[test]
    fn a_rate_that_the_sensor_does_not_have_is_named() {
        let mut sensor = MovesensePeripheral::default();
        let rate_hz = 333;
        let state = carry_out(&mut sensor, HolterOrder::Start { rate_hz }).state();
        assert_eq!(state, HolterState::Failed(HolterError::Rate { rate_hz }));
    }

    #[test]
    fn an_answer_that_is_lost_is_asked_for_again_and_a_sensor_that_is_silent_is_given_up() {
        let mut holter = MovesenseHolter::new(START, SessionTiming::default());
        let first = holter.start(reading());
        assert_eq!(holter.on_tick(at(1000)), []);
        assert_ne!(first.last(), holter.on_tick(at(2000)).last());
        for millis in (2000..20_000).step_by(100) {
            holter.on_tick(at(millis));
        }
        let why = HolterError::NoAnswer {
            command: "hello",
            tries: 3,
        };
        assert_eq!(holter.state(), HolterState::Failed(why));
    }

    #[test]
    fn a_link_that_ends_because_the_sensor_starts_anew_is_no_failure() {
        let mut sensor = MovesensePeripheral::default();
        let mut holter = MovesenseHolter::new(HolterOrder::Stop, SessionTiming::default());
        holter.on_lost();
        assert_eq!(holter.state(), HolterState::Running);
        let mut actions = holter.start(reading());
        // hello, halt, list; then the sensor goes down without a word
        for _ in 0..3 {
            let mut sent = Vec::new();
            for action in std::mem::take(&mut actions) {
                sensor.obey(action, &mut sent);
            }
            for value in sent {
                actions.extend(holter.on_value(value.from, &value.value, at(1)));
            }
        }
        assert!(matches!(actions[..], [GattAction::Write { .. }]));
        holter.on_lost();
        assert_eq!(holter.state(), HolterState::Done);
    }

    proptest! {
        #[test]
        fn any_bytes_end_no_conversation_with_a_panic(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            for order in [START, HolterOrder::Stop, HolterOrder::Status] {
                let mut holter = MovesenseHolter::new(order, SessionTiming::default());
                holter.start(reading());
                for value in &values {
                    holter.on_value(DATA, value, at(1));
                }
            }
        }
    }
}
