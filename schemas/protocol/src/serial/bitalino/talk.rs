//! The conversation with a BITalino, from both ends.
//!
//! Commands are single bytes, 100 ms apart: idle, version (answered by text up to a new
//! line), rate, start with a bit per channel. Stop is a zero byte.

use std::collections::VecDeque;
use std::time::Duration;

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;
use crate::session::{Peripheral, Session, SessionError, SessionState, SessionTiming, has_passed};

/// What the simulated board answers to the version command.
pub const VERSION_TEXT: &str = "BITalino_v5.2\n";

const IDLE: u8 = 0xFF;
const STOP: u8 = 0x00;
const VERSION: u8 = 0x07;
/// Rate code 3 is 1000 Hz: `(code << 6) | 3`.
const RATE_1000: u8 = 0xC3;
/// Start acquisition of the second analogue channel, where the board kit has its ECG.
const START_A2: u8 = 0x01 | 0b10 << 2;
/// Time that the board needs between two commands.
const BETWEEN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Commands are being sent one at a time, then the text is awaited.
    Version,
    /// Rate and start are being sent, then the first frame is awaited.
    Begin,
    Streaming,
    Failed(SessionError),
}

/// The box's side.
#[derive(Debug)]
pub struct BitalinoSession {
    timing: SessionTiming,
    phase: Phase,
    commands: VecDeque<u8>,
    since: Option<BoxInstant>,
    tries: u32,
    /// When start was first sent since the version was told.
    asked_at: Option<BoxInstant>,
    firmware: Option<String>,
}

impl BitalinoSession {
    /// A session that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            phase: Phase::Idle,
            commands: VecDeque::new(),
            since: None,
            tries: 0,
            asked_at: None,
            firmware: None,
        }
    }

    fn enter(&mut self, phase: Phase, commands: &[u8], now: BoxInstant) -> Vec<u8> {
        if self.phase != phase {
            self.tries = 0;
        }
        self.tries = self.tries.saturating_add(1);
        self.phase = phase;
        self.commands = commands.iter().copied().collect();
        self.next_command(now)
    }

    fn next_command(&mut self, now: BoxInstant) -> Vec<u8> {
        self.since = Some(now);
        let command = self.commands.pop_front();
        if self.phase == Phase::Begin && self.commands.is_empty() {
            self.asked_at.get_or_insert(now);
        }
        command.into_iter().collect()
    }

    fn begin(&mut self, now: BoxInstant) -> Vec<u8> {
        self.enter(Phase::Begin, &[RATE_1000, START_A2], now)
    }

    fn give_up(&mut self, why: SessionError) -> Vec<u8> {
        self.phase = Phase::Failed(why);
        Vec::new()
    }
}

impl Session for BitalinoSession {
    fn start(&mut self, now: BoxInstant) -> Vec<u8> {
        self.tries = 0;
        self.phase = Phase::Idle;
        self.asked_at = None;
        self.enter(Phase::Version, &[STOP, IDLE, VERSION], now)
    }

    fn on_event(&mut self, event: &DecoderEvent, now: BoxInstant) -> Vec<u8> {
        match (event, self.phase) {
            (DecoderEvent::Text(text), Phase::Version) if text.contains("BITalino") => {
                self.firmware = Some(text.trim().to_owned());
                self.begin(now)
            }
            (DecoderEvent::Frame(_), Phase::Begin) if self.commands.is_empty() => {
                self.phase = Phase::Streaming;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<u8> {
        let waited = |limit| {
            self.since
                .is_some_and(|since| has_passed(since, now, limit))
        };
        if !matches!(self.phase, Phase::Version | Phase::Begin) {
            return Vec::new();
        }
        if !self.commands.is_empty() {
            return if waited(BETWEEN) {
                self.next_command(now)
            } else {
                Vec::new()
            };
        }
        let tries = self.tries;
        match self.phase {
            Phase::Version if waited(self.timing.answer) => {
                if tries < self.timing.tries {
                    return self.enter(Phase::Version, &[STOP, IDLE, VERSION], now);
                }
                let command = "version (0x07)";
                self.give_up(SessionError::NoAnswer { command, tries })
            }
            Phase::Begin if waited(self.timing.first_frame) => {
                if tries < self.timing.tries {
                    return self.begin(now);
                }
                let command = "start (0x09)";
                self.give_up(SessionError::NoStream { command, tries })
            }
            _ => Vec::new(),
        }
    }

    fn stop(&mut self) -> Vec<u8> {
        self.phase = Phase::Idle;
        self.commands.clear();
        vec![STOP]
    }

    fn state(&self) -> SessionState {
        match self.phase {
            Phase::Idle => SessionState::Idle,
            Phase::Version | Phase::Begin => SessionState::Starting,
            Phase::Streaming => SessionState::Streaming,
            Phase::Failed(why) => SessionState::Failed(why),
        }
    }

    fn asked_at(&self) -> Option<BoxInstant> {
        self.asked_at
    }

    fn firmware(&self) -> Option<&str> {
        self.firmware.as_deref()
    }
}

/// The board's side.
#[derive(Clone, Debug, Default)]
pub struct BitalinoPeripheral {
    streaming: bool,
}

impl Peripheral for BitalinoPeripheral {
    fn on_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>, commands: &mut Vec<&'static str>) {
        for byte in bytes {
            let name = match *byte {
                STOP => {
                    self.streaming = false;
                    "stop"
                }
                IDLE => {
                    self.streaming = false;
                    "idle"
                }
                VERSION if !self.streaming => {
                    out.extend_from_slice(VERSION_TEXT.as_bytes());
                    "version"
                }
                RATE_1000 => "rate",
                START_A2 => {
                    self.streaming = true;
                    "start"
                }
                _ => continue,
            };
            commands.push(name);
        }
    }

    fn is_streaming(&self) -> bool {
        self.streaming
    }

    fn power_cycle(&mut self) {
        self.streaming = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{BitalinoPeripheral, BitalinoSession, VERSION_TEXT};
    use crate::decoder::DecoderEvent;
    use crate::session::{Peripheral, Session, SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    #[test]
    fn commands_go_out_one_at_a_time_and_the_board_streams_at_the_end() {
        let mut session = BitalinoSession::new(SessionTiming::default());
        let mut board = BitalinoPeripheral::default();
        let (mut answer, mut commands) = (Vec::new(), Vec::new());
        board.on_bytes(&session.start(at(0)), &mut answer, &mut commands);
        for millis in (20..1000).step_by(20) {
            let mut send = session.on_tick(at(millis));
            if !answer.is_empty() {
                let text = String::from_utf8(std::mem::take(&mut answer)).unwrap();
                send.extend(session.on_event(&DecoderEvent::Text(text), at(millis)));
            }
            assert!(send.len() <= 1);
            board.on_bytes(&send, &mut answer, &mut commands);
        }
        assert_eq!(commands, ["stop", "idle", "version", "rate", "start"]);
        assert!(board.is_streaming());
        assert_eq!(session.firmware(), Some(VERSION_TEXT.trim()));
    }

    #[test]
    fn a_board_that_is_off_is_given_up_by_name_of_the_command() {
        let mut session = BitalinoSession::new(SessionTiming::default());
        session.start(at(0));
        for millis in (0..10_000).step_by(50) {
            session.on_tick(at(millis));
        }
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!(why.code(), "session.no_answer");
        assert_eq!(session.stop(), [0]);
    }
}
