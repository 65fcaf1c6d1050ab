//! The fetch as a conversation over a characteristic. On a serial console the same messages
//! travel as lines: what is written goes through [`super::console_frames`], and what
//! [`super::ConsoleReader`] finds comes back as values.

use cardio_core::clock::{BoxInstant, ClockReading};

use crate::decoder::{Aside, DecoderEvent};
use crate::gatt::sig_hrs::{ask_common, on_common_value};
use crate::gatt::{GattAction, Uuid};
use crate::kept::{Kept, KeptError, KeptProgress, KeptSession, KeptState};
use crate::session::SessionTiming;

use super::{Assembler, CHARACTERISTIC, Fetcher, SmpMessage};

/// The box's side of a HealthyPi Move's memory.
#[derive(Debug)]
pub struct RecordsSession {
    fetcher: Fetcher,
    assembler: Assembler,
}

impl RecordsSession {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            fetcher: Fetcher::new(timing),
            assembler: Assembler::default(),
        }
    }

    fn write(&mut self, messages: Vec<SmpMessage>) -> Vec<GattAction> {
        if !messages.is_empty() {
            // what is left of an answer that was given up is none to the next question
            self.assembler.forget();
        }
        messages
            .iter()
            .map(|message| GattAction::Write {
                to: CHARACTERISTIC,
                value: message.encode(),
                with_response: false,
            })
            .collect()
    }
}

impl KeptSession for RecordsSession {
    fn start(&mut self, now: ClockReading) -> Vec<GattAction> {
        let mut actions = vec![GattAction::Subscribe(CHARACTERISTIC)];
        actions.extend(ask_common());
        let hello = self.fetcher.start(now.box_instant);
        actions.extend(self.write(hello));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<Aside>,
    ) -> Vec<GattAction> {
        if from != CHARACTERISTIC {
            asides(from, value, out);
            return Vec::new();
        }
        let Some(message) = self.assembler.push(value) else {
            return Vec::new();
        };
        let next = self.fetcher.on_message(&message, now);
        self.write(next)
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let again = self.fetcher.on_tick(now);
        self.write(again)
    }

    fn state(&self) -> &KeptState {
        self.fetcher.state()
    }

    fn want(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let next = self.fetcher.want(now);
        self.write(next)
    }

    fn take(&mut self) -> Option<Kept> {
        self.fetcher.take()
    }

    fn stored(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let next = self.fetcher.stored(now);
        self.write(next)
    }

    fn leave(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let next = self.fetcher.leave(now);
        self.write(next)
    }

    fn progress(&self) -> KeptProgress {
        self.fetcher.progress()
    }

    fn given_up(&mut self) -> Option<KeptError> {
        self.fetcher.given_up()
    }
}

/// What a value of the common services says.
pub(crate) fn asides(from: Uuid, value: &[u8], out: &mut Vec<Aside>) {
    let mut events = Vec::new();
    on_common_value(from, value, &mut events);
    out.extend(events.into_iter().filter_map(|event| match event {
        DecoderEvent::Aside(aside) => Some(aside),
        _ => None,
    }));
}
