//! The conversation with a BioHarness, from both ends.
//!
//! The ECG packet is switched on by a command, which the unit accepts or refuses. A unit
//! that hears nothing closes the link after half a minute, so the command is repeated every
//! three seconds, the maker's own life-sign period.

use std::time::Duration;

use cardio_core::clock::BoxInstant;

use crate::decoder::DecoderEvent;
use crate::session::{Peripheral, Session, SessionError, SessionState, SessionTiming, has_passed};

use super::packet::{Ending, ID_ENABLE_ECG, Message};
use super::stream::{ACCEPTED, REFUSED};

const COMMAND: &str = "enable ECG (0x16)";
const LIFE_SIGN: Duration = Duration::from_secs(3);

fn enable(on: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message {
        id: ID_ENABLE_ECG,
        payload: vec![u8::from(on)],
        ending: Ending::Text,
    }
    .write(&mut bytes);
    bytes
}

/// The box's side.
#[derive(Debug)]
pub struct BioharnessSession {
    timing: SessionTiming,
    state: SessionState,
    accepted: bool,
    sent: Option<BoxInstant>,
    tries: u32,
}

impl BioharnessSession {
    /// A session that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: SessionState::Idle,
            accepted: false,
            sent: None,
            tries: 0,
        }
    }

    fn send(&mut self, now: BoxInstant) -> Vec<u8> {
        self.sent = Some(now);
        enable(true)
    }
}

impl Session for BioharnessSession {
    fn start(&mut self, now: BoxInstant) -> Vec<u8> {
        self.state = SessionState::Starting;
        self.accepted = false;
        self.tries = 1;
        self.send(now)
    }

    fn on_event(&mut self, event: &DecoderEvent, _now: BoxInstant) -> Vec<u8> {
        match (event, self.state) {
            (DecoderEvent::Text(text), SessionState::Starting) if text == ACCEPTED => {
                self.accepted = true;
            }
            (DecoderEvent::Text(text), SessionState::Starting) if text == REFUSED => {
                self.state = SessionState::Failed(SessionError::Refused {
                    command: COMMAND,
                    status: 0x15,
                });
            }
            (DecoderEvent::Frame(_), SessionState::Starting) => {
                self.state = SessionState::Streaming;
            }
            _ => {}
        }
        Vec::new()
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<u8> {
        let waited = |limit| self.sent.is_some_and(|sent| has_passed(sent, now, limit));
        match self.state {
            SessionState::Streaming if waited(LIFE_SIGN) => self.send(now),
            SessionState::Starting if waited(self.timing.answer) => {
                let (command, tries) = (COMMAND, self.tries);
                if tries < self.timing.tries {
                    self.tries = tries.saturating_add(1);
                    return self.send(now);
                }
                self.state = SessionState::Failed(if self.accepted {
                    SessionError::NoStream { command, tries }
                } else {
                    SessionError::NoAnswer { command, tries }
                });
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn stop(&mut self) -> Vec<u8> {
        self.state = SessionState::Idle;
        enable(false)
    }

    fn state(&self) -> SessionState {
        self.state
    }
}

/// The unit's side.
#[derive(Clone, Debug, Default)]
pub struct BioharnessPeripheral {
    streaming: bool,
    pending: Vec<u8>,
}

impl Peripheral for BioharnessPeripheral {
    fn on_bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>, commands: &mut Vec<&'static str>) {
        self.pending.extend(bytes.iter().take(4096));
        loop {
            match Message::parse(&self.pending) {
                Ok((rest, (message, _))) => {
                    let used = self.pending.len() - rest.len();
                    self.pending.drain(..used);
                    if message.id == ID_ENABLE_ECG {
                        self.streaming = message.payload.first().is_some_and(|on| *on != 0);
                        commands.push(if self.streaming {
                            "enable-ecg"
                        } else {
                            "disable-ecg"
                        });
                        Message {
                            id: message.id,
                            payload: Vec::new(),
                            ending: Ending::Accepted,
                        }
                        .write(out);
                    }
                }
                Err(nom::Err::Incomplete(_)) => return,
                Err(_) => {
                    self.pending.drain(..1);
                }
            }
        }
    }

    fn refuse(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Ok((_, (message, _))) = Message::parse(bytes) {
            let refused = Message {
                payload: Vec::new(),
                ending: Ending::Refused,
                ..message
            };
            refused.write(out);
        }
    }

    fn is_streaming(&self) -> bool {
        self.streaming
    }

    fn power_cycle(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{BioharnessPeripheral, BioharnessSession};
    use crate::decoder::{Decoder, DecoderEvent};
    use crate::serial::bioharness::BioharnessDecoder;
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
    fn the_unit_accepts_and_streams_and_is_kept_awake() {
        let mut session = BioharnessSession::new(SessionTiming::default());
        let mut unit = BioharnessPeripheral::default();
        let (mut answer, mut commands) = (Vec::new(), Vec::new());
        session.start(at(0));
        unit.on_bytes(&[0x55, 0x00], &mut answer, &mut commands);
        assert!(!unit.is_streaming());
        for byte in session.on_tick(at(2000)) {
            unit.on_bytes(&[byte], &mut answer, &mut commands);
        }
        assert!(unit.is_streaming());
        let mut events: Vec<DecoderEvent> = Vec::new();
        BioharnessDecoder::default().push(&answer, &mut events);
        for event in &events {
            session.on_event(event, at(2010));
        }
        assert_eq!(session.state(), SessionState::Starting);
        assert_eq!(commands.last(), Some(&"enable-ecg"));
        unit.on_bytes(&session.stop(), &mut answer, &mut commands);
        assert!(!unit.is_streaming());
    }

    #[test]
    fn a_refusal_is_named() {
        let mut session = BioharnessSession::new(SessionTiming::default());
        session.start(at(0));
        session.on_event(&DecoderEvent::Text("refused".to_owned()), at(10));
        let SessionState::Failed(why) = session.state() else {
            panic!("{:?}", session.state());
        };
        assert_eq!((why.code(), why.is_retryable()), ("session.refused", false));
    }
}
