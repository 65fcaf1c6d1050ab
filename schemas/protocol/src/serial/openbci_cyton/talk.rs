//! The conversation with a Cyton, from both ends.
//!
//! The board does not reset when the port opens, so its state is unknown: `s` stops it, `v`
//! resets it and makes it print who it is, up to `$$$`; `b` begins.

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;
use crate::session::{Peripheral, Session, SessionError, SessionState, SessionTiming, has_passed};

/// What the simulated board prints after a reset, in the shape that the real one uses.
pub const RESET_TEXT: &str = "OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\n\
LIS3DH Device ID: 0x33\r\nFirmware: v3.1.2\r\n$$$";

/// The end of everything that the board prints.
const END_OF_TEXT: &str = "$$$";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// `s` and `v` were sent; the text is awaited.
    Reset,
    /// `b` was sent; the first packet is awaited.
    Begin,
    Streaming,
    Failed(SessionError),
}

/// The box's side: stop, reset, begin.
#[derive(Debug)]
pub struct CytonSession {
    timing: SessionTiming,
    phase: Phase,
    since: Option<BoxInstant>,
    tries: u32,
    /// When `b` was first sent after the reset.
    asked_at: Option<BoxInstant>,
    firmware: Option<String>,
}

impl CytonSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            phase: Phase::Idle,
            since: None,
            tries: 0,
            asked_at: None,
            firmware: None,
        }
    }

    fn enter(&mut self, phase: Phase, now: BoxInstant, send: &[u8]) -> Vec<u8> {
        if self.phase != phase {
            self.tries = 0;
        }
        self.phase = phase;
        self.since = Some(now);
        self.tries = self.tries.saturating_add(1);
        send.to_vec()
    }

    fn on_text(&mut self, text: &str, now: BoxInstant) -> Vec<u8> {
        if let Some((_, version)) = text.split_once("Firmware:") {
            self.firmware = Some(
                version
                    .trim()
                    .trim_end_matches(END_OF_TEXT)
                    .trim()
                    .to_owned(),
            );
        }
        if self.phase == Phase::Reset && text.contains(END_OF_TEXT) {
            self.asked_at = Some(now);
            return self.enter(Phase::Begin, now, b"b");
        }
        Vec::new()
    }
}

impl Session for CytonSession {
    fn start(&mut self, now: BoxInstant) -> Vec<u8> {
        self.tries = 0;
        self.enter(Phase::Reset, now, b"sv")
    }

    fn on_event(&mut self, event: &DecoderEvent, now: BoxInstant) -> Vec<u8> {
        match (event, self.phase) {
            (DecoderEvent::Text(text), _) => self.on_text(text, now),
            (DecoderEvent::Frame(_), Phase::Begin) => {
                self.phase = Phase::Streaming;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<u8> {
        let (limit, command) = match self.phase {
            Phase::Reset => (self.timing.answer, "reset (v)"),
            Phase::Begin => (self.timing.first_frame, "begin (b)"),
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
            Phase::Reset if tries < self.timing.tries => self.enter(Phase::Reset, now, b"sv"),
            Phase::Begin if tries < self.timing.tries => self.enter(Phase::Begin, now, b"b"),
            Phase::Reset => {
                self.phase = Phase::Failed(SessionError::NoAnswer { command, tries });
                Vec::new()
            }
            _ => {
                self.phase = Phase::Failed(SessionError::NoStream { command, tries });
                Vec::new()
            }
        }
    }

    fn stop(&mut self) -> Vec<u8> {
        self.phase = Phase::Idle;
        b"s".to_vec()
    }

    fn state(&self) -> SessionState {
        match self.phase {
            Phase::Idle => SessionState::Idle,
            Phase::Reset | Phase::Begin => SessionState::Starting,
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

/// The board's side. It keeps streaming when the host goes away, as the real one does.
#[derive(Clone, Debug, Default)]
pub struct CytonPeripheral {
    streaming: bool,
}

impl Peripheral for CytonPeripheral {
    fn on_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>, commands: &mut Vec<&'static str>) {
        for byte in bytes {
            match byte {
                b's' => {
                    self.streaming = false;
                    commands.push("stop");
                }
                b'v' => {
                    self.streaming = false;
                    out.extend_from_slice(RESET_TEXT.as_bytes());
                    commands.push("reset");
                }
                b'b' => {
                    self.streaming = true;
                    commands.push("begin");
                }
                _ => {}
            }
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
    use super::{CytonPeripheral, CytonSession};
    use crate::decoder::{Decoder, DecoderEvent};
    use crate::serial::openbci_cyton::CytonDecoder;
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
    fn a_board_of_unknown_state_is_stopped_reset_and_begun() {
        let mut session = CytonSession::new(SessionTiming::default());
        let mut board = CytonPeripheral::default();
        let (mut answer, mut commands) = (Vec::new(), Vec::new());
        board.on_bytes(&session.start(at(0)), &mut answer, &mut commands);
        let mut events = Vec::new();
        CytonDecoder::default().push(&answer, &mut events);
        let mut send = Vec::new();
        for event in &events {
            send.extend(session.on_event(event, at(10)));
        }
        assert_eq!(send, b"b");
        assert_eq!(session.firmware(), Some("v3.1.2"));
        board.on_bytes(&send, &mut answer, &mut commands);
        assert!(board.is_streaming());
        assert_eq!(commands, ["stop", "reset", "begin"]);
        assert_eq!(session.state(), SessionState::Starting);
    }

    #[test]
    fn a_board_that_never_answers_is_asked_three_times_and_given_up() {
        let mut session = CytonSession::new(SessionTiming::default());
        assert_eq!(session.start(at(0)), b"sv");
        assert_eq!(session.on_tick(at(1999)), b"");
        assert_eq!(session.on_tick(at(2000)), b"sv");
        assert_eq!(session.on_tick(at(4000)), b"sv");
        assert_eq!(session.on_tick(at(6000)), b"");
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!(why.code(), "session.no_answer");
        assert_eq!(session.start(at(7000)), b"sv");
        assert_eq!(session.state(), SessionState::Starting);
    }

    #[test]
    fn a_board_that_answers_but_does_not_stream_is_named_as_such() {
        let mut session = CytonSession::new(SessionTiming::default());
        session.start(at(0));
        let text = DecoderEvent::Text("$$$".to_owned());
        assert_eq!(session.on_event(&text, at(1)), b"b");
        assert_eq!(session.on_tick(at(2001)), b"b");
        assert_eq!(session.on_tick(at(4001)), b"b");
        session.on_tick(at(6001));
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!(why.code(), "session.no_stream");
    }
}
