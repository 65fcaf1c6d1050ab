//! The recorder's side.

use std::collections::BTreeMap;

use crate::decoder::FrameRows;
use crate::gatt::sig_hrs::{BATTERY_LEVEL, read_information};
use crate::gatt::{GattPeripheral, Notification, Uuid};

use super::frame::{Assembler, Command, ViatomFrame};
use super::{LiveBody, NOTIFY, WRITE, recording};

/// Samples that wait for the next question, at most: four seconds.
const WAITING_MAX: usize = 500;
/// Samples per second.
const RATE_HZ: u64 = 125;
/// The kind of an answer that says no.
const REFUSED: u8 = 0xE1;
/// Bytes of a recording in one answer.
const READ_BYTES: usize = 200;

/// A simulated ER1.
#[derive(Clone, Debug)]
pub struct ViatomPeripheral {
    mtu: usize,
    notify: bool,
    asked: bool,
    assembler: Assembler,
    waiting: Vec<i16>,
    /// Samples taken since it was switched on.
    taken: u64,
    contact: bool,
    battery: u8,
    files: BTreeMap<Vec<u8>, Vec<u8>>,
    open: Option<Vec<u8>>,
    /// A file that cannot be opened.
    refused: Option<Vec<u8>>,
    /// The size that is stated of every file, if it is not the true one.
    stated: Option<u32>,
}

impl Default for ViatomPeripheral {
    fn default() -> Self {
        Self {
            mtu: 247,
            notify: false,
            asked: false,
            assembler: Assembler::default(),
            waiting: Vec::new(),
            taken: 0,
            contact: true,
            battery: 60,
            files: BTreeMap::new(),
            open: None,
            refused: None,
            stated: None,
        }
    }
}

/// A name as it stands in a list.
fn padded(name: &str) -> Vec<u8> {
    let mut padded = name.as_bytes().to_vec();
    padded.resize(16, 0);
    padded
}

/// A count as the recorder's sixteen bits hold it.
fn held(count: i32) -> i16 {
    let rails = (i32::from(i16::MIN), i32::from(i16::MAX));
    i16::try_from(count.clamp(rails.0, rails.1)).unwrap_or(0)
}

impl ViatomPeripheral {
    /// Puts a recording into memory.
    pub fn keep_file(&mut self, name: &str, bytes: Vec<u8>) {
        self.files.insert(padded(name), bytes);
    }

    /// Does not open this recording any more.
    pub fn refuse_file(&mut self, name: &str) {
        self.refused = Some(padded(name));
    }

    /// States this size of every recording.
    pub const fn state_size(&mut self, size: u32) {
        self.stated = Some(size);
    }

    fn answer(&mut self, request: &ViatomFrame) -> (u8, Vec<u8>) {
        match Command::from_byte(request.command) {
            Some(Command::Live) => {
                self.asked = true;
                let body = LiveBody {
                    bpm: 0,
                    flags: 0,
                    battery: self.battery,
                    seconds: u32::try_from(self.taken / RATE_HZ).unwrap_or(u32::MAX),
                    run: if self.contact { 2 } else { 7 },
                    samples: std::mem::take(&mut self.waiting),
                };
                (1, body.encode())
            }
            Some(Command::ListFiles) => {
                let count = u8::try_from(self.files.len()).unwrap_or(u8::MAX);
                let mut data = vec![count];
                data.extend(self.files.keys().flatten());
                (1, data)
            }
            Some(Command::OpenFile) => self.open_file(&request.data),
            Some(Command::ReadFile) => self.read_file(&request.data),
            Some(Command::CloseFile) => {
                self.open = None;
                (1, Vec::new())
            }
            Some(Command::Information) => (1, vec![0; 60]),
            None => (0xE0, Vec::new()),
        }
    }

    /// The requests that are whole with this value.
    fn requests(&mut self, to: Uuid, value: &[u8]) -> Vec<ViatomFrame> {
        let mut requests = Vec::new();
        if to == WRITE {
            self.assembler.push(value, &mut requests);
        }
        requests
    }

    /// Sends an answer, in as many values as the link makes of it.
    fn send(&self, request: &ViatomFrame, kind: u8, data: Vec<u8>, out: &mut Vec<Notification>) {
        if !self.notify {
            return;
        }
        let frame = ViatomFrame {
            command: request.command,
            kind,
            sequence: request.sequence,
            data,
        };
        let room = self.mtu.saturating_sub(3).max(1);
        out.extend(frame.encode().chunks(room).map(|part| Notification {
            from: NOTIFY,
            value: part.to_vec(),
        }));
    }

    fn open_file(&mut self, data: &[u8]) -> (u8, Vec<u8>) {
        let found = data
            .get(..16)
            .filter(|name| self.refused.as_deref() != Some(*name))
            .and_then(|name| self.files.get_key_value(name))
            .map(|(name, bytes)| (name.clone(), u32::try_from(bytes.len()).unwrap_or(0)));
        match found {
            Some((name, size)) => {
                self.open = Some(name);
                (1, self.stated.unwrap_or(size).to_le_bytes().to_vec())
            }
            None => (REFUSED, Vec::new()),
        }
    }

    fn read_file(&self, data: &[u8]) -> (u8, Vec<u8>) {
        let offset = data.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let offset = offset.and_then(|offset| usize::try_from(offset).ok());
        let file = self.open.as_ref().and_then(|name| self.files.get(name));
        match file.zip(offset) {
            Some((bytes, offset)) => {
                let part = bytes.iter().skip(offset).take(READ_BYTES).copied();
                (1, part.collect())
            }
            None => (REFUSED, Vec::new()),
        }
    }
}

impl GattPeripheral for ViatomPeripheral {
    fn read(&mut self, from: Uuid) -> Option<Vec<u8>> {
        if from == BATTERY_LEVEL {
            return Some(vec![self.battery]);
        }
        read_information(from, "Viatom", "ER1")
    }

    fn write(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>) {
        for request in self.requests(to, value) {
            let (kind, data) = self.answer(&request);
            self.send(&request, kind, data, out);
        }
    }

    fn refuse(&mut self, to: Uuid, value: &[u8], out: &mut Vec<Notification>) -> bool {
        for request in self.requests(to, value) {
            self.send(&request, REFUSED, Vec::new(), out);
        }
        true
    }

    fn waiting(&self) -> Option<usize> {
        Some(self.waiting.len())
    }

    fn set_contact(&mut self, on: bool) {
        self.contact = on;
    }

    fn set_battery(&mut self, percent: u8) {
        self.battery = percent;
    }

    fn keep(&mut self, counts: &[i32]) -> Option<String> {
        let samples: Vec<i16> = counts.iter().map(|count| held(*count)).collect();
        // names are moments: one recording a day
        let name = format!("R202601{:02}080000", self.files.len().saturating_add(1));
        self.keep_file(&name, recording(&samples));
        Some(name)
    }

    fn subscribe(&mut self, to: Uuid, on: bool) {
        if to == NOTIFY {
            self.notify = on;
        }
    }

    fn is_streaming(&self) -> bool {
        self.asked && self.notify
    }

    fn frame(&mut self, rows: &FrameRows, _: &mut Vec<Notification>) {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        let counts = rows.row(0).unwrap_or_default().iter().take(room);
        self.waiting.extend(counts.map(|count| held(*count)));
        let measured = rows.per_lead().0;
        self.taken = self.taken.saturating_add(measured);
    }

    fn skip(&mut self, _: u64) {}

    fn set_mtu(&mut self, mtu: u16) {
        self.mtu = usize::from(mtu);
    }

    fn disconnect(&mut self) {
        self.notify = false;
        self.asked = false;
        self.waiting.clear();
        self.open = None;
        self.assembler.forget();
    }

    fn power_cycle(&mut self) {
        // What it recorded stays, and nobody has charged it.
        *self = Self {
            files: std::mem::take(&mut self.files),
            battery: self.battery,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::file_names;
    use super::super::{FileFetch, FileStep, ViatomSession};
    use super::{
        Assembler, Command, GattPeripheral, NOTIFY, Notification, ViatomFrame, ViatomPeripheral,
        WRITE,
    };
    use crate::decoder::{DecoderEvent, FrameRows};
    use crate::gatt::GattSession;
    use crate::gatt::test_support::converse;
    use crate::session::{SessionState, SessionTiming};
    use cardio_core::clock::BoxInstant;
    use cardio_core::ids::BootId;

    fn at(millis: u64) -> BoxInstant {
        BoxInstant {
            boot: BootId([1; 16]),
            micros: millis * 1000,
        }
    }

    fn ask(recorder: &mut ViatomPeripheral, frame: &ViatomFrame) -> ViatomFrame {
        let mut sent: Vec<Notification> = Vec::new();
        recorder.write(WRITE, &frame.encode(), &mut sent);
        let (mut assembler, mut frames) = (Assembler::default(), Vec::new());
        for part in &sent {
            assembler.push(&part.value, &mut frames);
        }
        frames.remove(0)
    }

    #[test]
    fn switching_it_off_and_on_charges_nothing() {
        let mut recorder = ViatomPeripheral::default();
        recorder.set_battery(4);
        recorder.keep(&[1, 2, 3]);
        recorder.power_cycle();
        assert_eq!(recorder.read(super::BATTERY_LEVEL), Some(vec![4]));
        assert_eq!(recorder.files.len(), 1);
    }

    #[test]
    fn live_samples_are_asked_for_again_and_again_and_none_is_lost() {
        let mut session = ViatomSession::new(SessionTiming::default());
        let mut recorder = ViatomPeripheral::default();
        let actions = session.start(at(0));
        let mut events = converse(&mut session, &mut recorder, actions, at(1));
        let mut sent = Vec::new();
        for step in 1..=20_u64 {
            let from = i32::try_from(step).unwrap() * 62;
            let samples: Vec<i32> = (from..from + 62).collect();
            recorder.frame(&FrameRows::planar(62, &samples), &mut Vec::new());
            sent.extend(samples);
            let actions = session.on_tick(at(step * 500 + 10));
            events.extend(converse(
                &mut session,
                &mut recorder,
                actions,
                at(step * 500 + 11),
            ));
        }
        let heard: Vec<i32> = events
            .iter()
            .filter_map(|event| match event {
                DecoderEvent::Frame(frame) => Some(frame.rows.samples().to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(heard, sent);
        assert_eq!(session.state(), SessionState::Streaming);
    }

    #[test]
    fn a_recorder_that_no_longer_answers_is_given_up() {
        let mut session = ViatomSession::new(SessionTiming::default());
        session.start(at(0));
        for millis in (0..10_000).step_by(100) {
            session.on_tick(at(millis));
        }
        assert!(matches!(session.state(), SessionState::Failed(_)));
    }

    #[test]
    fn a_recording_is_fetched_and_goes_on_where_the_link_was_lost() {
        let mut recorder = ViatomPeripheral::default();
        recorder.subscribe(NOTIFY, true);
        let file: Vec<u8> = (0..1000_u32).map(|n| n.to_le_bytes()[0]).collect();
        recorder.keep_file("R20260101", file.clone());
        let list = ask(
            &mut recorder,
            &ViatomFrame::request(Command::ListFiles, 1, Vec::new()),
        );
        assert_eq!(file_names(&list.data), ["R20260101"]);
        let mut fetch = FileFetch::new("R20260101", Vec::new());
        let mut step = fetch.open();
        for _ in 0..3 {
            let FileStep::Send(frame) = &step else {
                panic!("{step:?}")
            };
            step = fetch.on_frame(&ask(&mut recorder, frame)).unwrap().unwrap();
        }
        assert_eq!(fetch.bytes().len(), 400);
        recorder.disconnect();
        recorder.subscribe(NOTIFY, true);
        let mut fetch = FileFetch::new("R20260101", fetch.bytes().to_vec());
        let mut step = fetch.open();
        while let FileStep::Send(frame) = &step {
            step = fetch.on_frame(&ask(&mut recorder, frame)).unwrap().unwrap();
        }
        assert_eq!(fetch.bytes(), file);
    }

    #[test]
    fn a_recording_that_is_not_there_is_refused() {
        let mut recorder = ViatomPeripheral::default();
        recorder.subscribe(NOTIFY, true);
        let mut fetch = FileFetch::new("none", Vec::new());
        let FileStep::Send(frame) = fetch.open() else {
            panic!()
        };
        let err = fetch.on_frame(&ask(&mut recorder, &frame)).unwrap_err();
        assert_eq!(err.code(), "viatom.refused");
    }
}
