//! Fetching all recordings: list, then one file after another, from the byte where a lost
//! link or a reboot left it.
//!
//! The recorder is told nothing when a recording is stored: it has no command that erases one of
//! them, and those that erase all are never sent. It makes room by itself. A CRC-8 is all that
//! guards an answer: where a radio loses one part of it and repeats another, one in 256 such
//! answers passes.

use std::collections::VecDeque;

use cardio_core::clock::{BoxInstant, ClockReading};

use crate::decoder::Aside;
use crate::gatt::sig_hrs::ask_common;
use crate::gatt::{GattAction, Uuid};
use crate::kept::{
    Kept, KeptError, KeptLabel, KeptProgress, KeptSession, KeptState, Overdue, Question,
};
use crate::session::SessionTiming;
use crate::smp_records::asides;

use super::file::{FileError, FileFetch, FileStep, file_names};
use super::frame::{Assembler, Command, ViatomFrame};
use super::{NOTIFY, WRITE};

/// The recording that is offered, read or held.
#[derive(Debug)]
struct Current {
    name: String,
    file: FileFetch,
}

/// The box's side of an ER1's memory.
#[derive(Debug)]
pub struct ViatomRecordings {
    state: KeptState,
    assembler: Assembler,
    question: Question,
    /// Number of the question for the list, while that is open.
    listing: Option<u8>,
    sequence: u8,
    queue: VecDeque<String>,
    current: Option<Current>,
    given_up: Option<KeptError>,
}

impl ViatomRecordings {
    /// A session that has not started.
    pub fn new(timing: SessionTiming) -> Self {
        Self {
            state: KeptState::Idle,
            assembler: Assembler::default(),
            question: Question::new(timing),
            listing: None,
            sequence: 0,
            queue: VecDeque::new(),
            current: None,
            given_up: None,
        }
    }

    fn write(&mut self, frame: &ViatomFrame, now: BoxInstant) -> Vec<GattAction> {
        self.question.asked(now);
        // what is left of an answer that was given up is none to the next question
        self.assembler.forget();
        vec![GattAction::Write {
            to: WRITE,
            value: frame.encode(),
            with_response: false,
        }]
    }

    fn list(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.sequence = self.sequence.wrapping_add(1);
        self.listing = Some(self.sequence);
        let frame = ViatomFrame::request(Command::ListFiles, self.sequence, Vec::new());
        self.write(&frame, now)
    }

    fn step(&mut self, step: FileStep, now: BoxInstant) -> Vec<GattAction> {
        match (step, &self.current) {
            (FileStep::Send(frame), _) => self.write(&frame, now),
            (FileStep::Done, Some(current)) => {
                self.state = KeptState::Holding(label(current));
                Vec::new()
            }
            (FileStep::Done, None) => Vec::new(),
        }
    }

    fn next_file(&mut self) {
        let begun = self.current.take();
        self.state = match self.queue.pop_front() {
            None => KeptState::Done,
            Some(name) => {
                let known = begun.filter(|current| current.name == name);
                let current = known.unwrap_or_else(|| Current {
                    file: FileFetch::new(&name, Vec::new()),
                    name,
                });
                let offered = KeptState::Offering(label(&current));
                self.current = Some(current);
                offered
            }
        };
    }

    fn give_up(&mut self, err: FileError) {
        let name = self.current.take().map(|current| current.name);
        self.given_up = Some(match err {
            FileError::Refused { command, kind } => KeptError::Refused {
                command: command_name(command),
                status: kind.into(),
            },
            FileError::Size { size } => KeptError::Size {
                name: name.unwrap_or_default(),
                size: size.into(),
            },
            FileError::Short { command } => KeptError::Refused {
                command: command_name(command),
                status: 0,
            },
        });
        self.next_file();
    }

    fn on_frame(&mut self, frame: &ViatomFrame, now: BoxInstant) -> Vec<GattAction> {
        if let Some(sequence) = self.listing {
            let is_it = frame.sequence == sequence && frame.command == Command::ListFiles.byte();
            if is_it {
                self.on_list(frame);
            }
            return Vec::new();
        }
        let Some(current) = self
            .current
            .as_mut()
            .filter(|_| self.state == KeptState::Running)
        else {
            return Vec::new();
        };
        match current.file.on_frame(frame) {
            Ok(None) => Vec::new(),
            Ok(Some(step)) => {
                self.question.answered();
                self.step(step, now)
            }
            Err(err) => {
                self.question.answered();
                self.give_up(err);
                Vec::new()
            }
        }
    }

    fn on_list(&mut self, frame: &ViatomFrame) {
        self.listing = None;
        self.question.answered();
        if frame.kind != 1 {
            let command = command_name(frame.command);
            let status = frame.kind.into();
            self.state = KeptState::Failed(KeptError::Refused { command, status });
            return;
        }
        self.queue = file_names(&frame.data).into();
        // what is under way comes first, so that nothing pushes it out
        let begun = self.current.as_ref().map(|current| current.name.clone());
        if let Some(name) = begun.filter(|name| self.queue.contains(name)) {
            self.queue.retain(|other| *other != name);
            self.queue.push_front(name);
        }
        self.next_file();
    }
}

/// Names are moments to the second; two recordings never begin in the same one.
fn label(current: &Current) -> KeptLabel {
    KeptLabel {
        unit: String::new(),
        name: current.name.clone(),
        size: None,
        is_unique: true,
    }
}

const fn command_name(command: u8) -> &'static str {
    match Command::from_byte(command) {
        Some(Command::ListFiles) => "list",
        Some(Command::OpenFile) => "open",
        Some(Command::ReadFile) => "read",
        Some(Command::CloseFile) => "close",
        _ => "a command",
    }
}

impl KeptSession for ViatomRecordings {
    fn start(&mut self, now: ClockReading) -> Vec<GattAction> {
        self.state = KeptState::Running;
        self.question.answered();
        self.queue.clear();
        let mut actions = vec![GattAction::Subscribe(NOTIFY)];
        actions.extend(ask_common());
        actions.extend(self.list(now.box_instant));
        actions
    }

    fn on_value(
        &mut self,
        from: Uuid,
        value: &[u8],
        now: BoxInstant,
        out: &mut Vec<Aside>,
    ) -> Vec<GattAction> {
        if from != NOTIFY {
            asides(from, value, out);
            return Vec::new();
        }
        let mut frames = Vec::new();
        self.assembler.push(value, &mut frames);
        let mut actions = Vec::new();
        for frame in &frames {
            actions.extend(self.on_frame(frame, now));
        }
        actions
    }

    fn on_tick(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let command = match (self.listing, &self.current) {
            (None, Some(current)) if current.file.size().is_none() => "open",
            (None, Some(_)) => "read",
            _ => "list",
        };
        match self.question.overdue(now) {
            Overdue::No => Vec::new(),
            Overdue::AskAgain if self.listing.is_some() => self.list(now),
            Overdue::AskAgain => match self.current.as_mut().map(|current| current.file.again()) {
                Some(step) => self.step(step, now),
                None => Vec::new(),
            },
            Overdue::GiveUp { tries } => {
                self.listing = None;
                self.state = KeptState::Failed(KeptError::NoAnswer { command, tries });
                Vec::new()
            }
        }
    }

    fn state(&self) -> &KeptState {
        &self.state
    }

    fn want(&mut self, now: BoxInstant) -> Vec<GattAction> {
        let offered = matches!(self.state, KeptState::Offering(_));
        let Some(current) = self.current.as_mut().filter(|_| offered) else {
            return Vec::new();
        };
        self.state = KeptState::Running;
        let step = current.file.open();
        self.step(step, now)
    }

    fn take(&mut self) -> Option<Kept> {
        let held = matches!(self.state, KeptState::Holding(_));
        let current = self.current.take().filter(|_| held)?;
        Some(Kept {
            file_name: current.name,
            bytes: current.file.into_bytes(),
        })
    }

    fn stored(&mut self, now: BoxInstant) -> Vec<GattAction> {
        self.leave(now)
    }

    fn leave(&mut self, _: BoxInstant) -> Vec<GattAction> {
        if matches!(self.state, KeptState::Offering(_) | KeptState::Holding(_)) {
            self.current = None;
            self.next_file();
        }
        Vec::new()
    }

    fn progress(&self) -> KeptProgress {
        self.current
            .as_ref()
            .map_or_else(KeptProgress::default, |current| KeptProgress {
                have: u64::try_from(current.file.bytes().len()).unwrap_or(u64::MAX),
                of: current.file.size().map(u64::from),
            })
    }

    fn given_up(&mut self) -> Option<KeptError> {
        self.given_up.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ViatomPeripheral;
    use super::ViatomRecordings;
    use crate::gatt::GattPeripheral;
    use crate::gatt::viatom_er1::{NOTIFY, SAMPLE_ABSENT, recording};
    use crate::kept::test_support::{Fate, Fetching, reading};
    use crate::kept::{KeptError, KeptSession, KeptState};
    use crate::session::SessionTiming;
    use proptest::prelude::*;

    const NAMES: [&str; 3] = ["R20260101080000", "R20260101090000", "R20260102080000"];

    fn bytes(place: usize) -> Vec<u8> {
        let first = i16::try_from(place).unwrap();
        let samples: Vec<i16> = (first..first + 700).map(|n| n * 31).collect();
        recording(&[&samples[..], &[SAMPLE_ABSENT]].concat())
    }

    fn recorder() -> ViatomPeripheral {
        let mut recorder = ViatomPeripheral::default();
        for (place, name) in NAMES.iter().enumerate() {
            recorder.keep_file(name, bytes(place));
        }
        recorder
    }

    fn session() -> ViatomRecordings {
        ViatomRecordings::new(SessionTiming::default())
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Arrives),
            1 => Just(Fate::Lost),
            1 => Just(Fate::Twice),
            1 => Just(Fate::Break),
            1 => Just(Fate::Reboot),
        ]
    }

    #[test]
    fn a_recorder_that_refuses_a_file_keeps_it_and_the_others_are_fetched() {
        let (mut session, mut device) = (session(), recorder());
        device.refuse_file(NAMES[1]);
        let mut fetching = Fetching::new(&mut session, &mut device);
        fetching.run(|_| Fate::Arrives, 1);
        assert_eq!(fetching.stored.len(), 2);
        assert!(matches!(
            fetching.given_up[..],
            [KeptError::Refused {
                command: "open",
                ..
            }]
        ));
    }

    #[test]
    fn a_size_that_lies_is_given_up_or_asked_about_again() {
        let (mut session, mut device) = (session(), recorder());
        device.state_size(u32::MAX);
        let mut fetching = Fetching::new(&mut session, &mut device);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(matches!(fetching.given_up[0], KeptError::Size { .. }));
        let (mut session, mut device) = (self::session(), recorder());
        device.state_size(100_000);
        let mut fetching = Fetching::new(&mut session, &mut device);
        fetching.run(|_| Fate::Arrives, 1);
        assert!(fetching.stored.is_empty(), "no byte is invented");
    }

    #[test]
    fn one_that_no_longer_answers_is_given_up() {
        let mut session = session();
        session.start(reading(0));
        for millis in (0..10_000).step_by(100) {
            session.on_tick(reading(millis * 1000).box_instant);
        }
        let failed = matches!(
            session.state(),
            KeptState::Failed(KeptError::NoAnswer { .. })
        );
        assert!(failed, "{:?}", session.state());
    }

    proptest! {
        // An answer is one value here: of several, one that is lost and another that comes
        // twice may have the right CRC-8 by chance.
        #[test]
        fn whatever_happens_on_the_way_every_recording_arrives_once_and_whole(fates in proptest::collection::vec(fate(), 0..60), mtu in 220_u16..300) {
            let (mut session, mut device) = (session(), recorder());
            device.set_mtu(mtu);
            let mut fetching = Fetching::new(&mut session, &mut device);
            fetching.run(|place| fates.get(place).copied().unwrap_or(Fate::Arrives), 50);
            prop_assert_eq!(fetching.stored.len(), NAMES.len());
            for (place, name) in NAMES.iter().enumerate() {
                let kept = fetching.stored.iter().find(|kept| kept.file_name == *name);
                prop_assert!(kept.unwrap().bytes == bytes(place));
            }
        }

        #[test]
        fn a_fetch_ends_however_answers_are_cut_up_and_damaged(damage in proptest::collection::vec((any::<bool>(), 0_usize..300), 0..60), mtu in 23_u16..300) {
            let (mut session, mut device) = (session(), recorder());
            device.set_mtu(mtu);
            let fate = |place: usize| match damage.get(place) {
                Some((true, at)) => Fate::Damaged(*at),
                _ => Fate::Arrives,
            };
            Fetching::new(&mut session, &mut device).run(fate, 50);
            prop_assert_eq!(session.state(), &KeptState::Done);
        }

        #[test]
        fn any_values_leave_the_session_in_order(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..30)) {
            let mut session = session();
            session.start(reading(0));
            for value in values {
                session.on_value(NOTIFY, &value, reading(0).box_instant, &mut Vec::new());
            }
        }
    }
}
