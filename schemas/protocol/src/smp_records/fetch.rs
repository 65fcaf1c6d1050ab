//! Fetching every complete recording: list, read in chunks, check, hand over, acknowledge.
//!
//! - A chunk without an answer is asked for again from the last byte that is there, also after
//!   a lost link.
//! - A recording whose CRC-32 disagrees is read anew from its start, and given up after
//!   three times; it stays on the device.
//! - `ack` goes out only after [`Fetcher::stored`]: the device drops what is acknowledged.

use std::collections::VecDeque;

use cardio_core::clock::BoxInstant;

use crate::kept::{
    Kept, KeptError, KeptLabel, KeptProgress, KeptState, Overdue, Question, RECORDINGS_MAX,
};
use crate::session::SessionTiming;

use super::{CHUNK_MAX, CMD_HELLO, CMD_RECORDS, GROUP, Op, SmpMessage, Value};

/// Largest recording that is fetched: what the watch has memory for, and more.
const LEN_MAX: u32 = 64 << 20;
/// How often a recording is read before it is given up.
const READS_MAX: u32 = 3;
/// Chunks in a row that may bring nothing.
const EMPTY_MAX: u32 = 3;
/// The device's error number for a recording that it does not have.
const ENOENT: i32 = -2;
const FLAG_COMPLETE: u8 = 1 << 0;
const FLAG_PARTIAL: u8 = 1 << 1;

/// CRC-32 (IEEE 802.3).
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 0 {
                crc >> 1
            } else {
                crc >> 1 ^ 0xEDB8_8320
            }
        })
    })
}

/// What the list says of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its id.
    pub id: u32,
    /// Kind of signal.
    pub signal: u8,
    /// Form of the samples.
    pub form: u8,
    /// Channels.
    pub channels: u8,
    /// Whether it is complete, or was cut off by the device.
    pub flags: u8,
    /// Samples per second.
    pub rate_hz: u16,
    /// Samples of each channel.
    pub samples: u32,
    /// Bytes.
    pub len: u32,
    /// CRC-32 of the bytes.
    pub crc: u32,
    /// Start, seconds since 1970.
    pub start_utc_s: i64,
}

impl RecordHeader {
    /// Reads an entry of the list; `None` for one that is still being made.
    fn read(entry: &Value) -> Option<Self> {
        let flags: u8 = entry.number("flags")?;
        (flags & (FLAG_COMPLETE | FLAG_PARTIAL) != 0).then_some(())?;
        Some(Self {
            id: entry.number("id")?,
            signal: entry.number("sig")?,
            form: entry.number("fmt")?,
            channels: entry.number("ch")?,
            rate_hz: entry.number("rate")?,
            samples: entry.number("ns")?,
            len: entry.number("len").filter(|len| *len <= LEN_MAX)?,
            crc: entry.number("crc")?,
            flags,
            start_utc_s: entry.number("ts")?,
        })
    }

    /// The header as it lies before the samples in the device's own storage.
    fn bytes(&self) -> Vec<u8> {
        let mut out = self.id.to_le_bytes().to_vec();
        out.extend(self.start_utc_s.to_le_bytes());
        out.extend([self.signal, self.form, self.channels, self.flags]);
        out.extend(self.rate_hz.to_le_bytes());
        out.extend(self.samples.to_le_bytes());
        out.extend(self.len.to_le_bytes());
        out.extend(self.crc.to_le_bytes());
        out
    }

    fn name(&self) -> String {
        let Self {
            id,
            start_utc_s,
            crc,
            ..
        } = self;
        format!("r{id:06} of {start_utc_s} with {crc:08x}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Hello,
    List { from: u32 },
    Get,
    Ack { id: u32 },
}

impl Ask {
    const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::List { .. } => "list",
            Self::Get => "get",
            Self::Ack { .. } => "ack",
        }
    }
}

/// The recording that is being read.
#[derive(Debug)]
struct Current {
    header: RecordHeader,
    bytes: Vec<u8>,
    /// How often it was begun anew.
    reads: u32,
    /// Answers in a row that brought nothing.
    empty: u32,
}

impl Current {
    const fn of(header: RecordHeader) -> Self {
        Self {
            header,
            bytes: Vec::new(),
            reads: 0,
            empty: 0,
        }
    }
}

/// The box's side.
#[derive(Debug)]
pub struct Fetcher {
    state: KeptState,
    asked: Option<Ask>,
    question: Question,
    sequence: u8,
    unit: String,
    queue: VecDeque<RecordHeader>,
    current: Option<Current>,
    given_up: Option<KeptError>,
}

impl Fetcher {
    /// A fetch that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            state: KeptState::Idle,
            asked: None,
            question: Question::new(timing),
            sequence: 0,
            unit: String::new(),
            queue: VecDeque::new(),
            current: None,
            given_up: None,
        }
    }

    /// Begins, or goes on after a lost link: what was read of a recording is kept.
    pub fn start(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        self.queue.clear();
        self.question.answered();
        self.run(Ask::Hello, now)
    }

    /// Where the fetch stands.
    pub const fn state(&self) -> &KeptState {
        &self.state
    }

    /// The error that made the last recording stay on the device, once.
    pub const fn given_up(&mut self) -> Option<KeptError> {
        self.given_up.take()
    }

    /// The recording that is offered shall be fetched.
    pub fn want(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        match self.state {
            KeptState::Offering(_) => self.run(Ask::Get, now),
            _ => Vec::new(),
        }
    }

    /// The recording that is complete, as the device's own storage holds it.
    pub fn take(&mut self) -> Option<Kept> {
        let current = self.current.as_mut()?;
        let held = matches!(self.state, KeptState::Holding(_)) && !current.bytes.is_empty();
        held.then(|| {
            let mut bytes = current.header.bytes();
            bytes.append(&mut current.bytes);
            Kept {
                file_name: format!("r{:06}.hpi", current.header.id),
                bytes,
            }
        })
    }

    /// The recording that is offered or held is durably stored: the device may drop it.
    pub fn stored(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        match (&self.state, self.current.take()) {
            (KeptState::Offering(_) | KeptState::Holding(_), Some(current)) => {
                let id = current.header.id;
                self.run(Ask::Ack { id }, now)
            }
            (_, current) => {
                self.current = current;
                Vec::new()
            }
        }
    }

    /// The recording that is offered or held stays where it is.
    pub fn leave(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        match self.state {
            KeptState::Offering(_) | KeptState::Holding(_) => self.next_record(now),
            _ => Vec::new(),
        }
    }

    /// How much of the recording under way is there.
    pub fn progress(&self) -> KeptProgress {
        self.current
            .as_ref()
            .map_or_else(KeptProgress::default, |current| KeptProgress {
                have: u64::try_from(current.bytes.len()).unwrap_or(u64::MAX),
                of: Some(current.header.len.into()),
            })
    }

    /// Takes an answer.
    pub fn on_message(&mut self, message: &SmpMessage, now: BoxInstant) -> Vec<SmpMessage> {
        let Some(ask) = self.asked.filter(|_| message.sequence == self.sequence) else {
            return Vec::new();
        };
        let Ok(value) = message.value() else {
            return Vec::new();
        };
        self.asked = None;
        self.question.answered();
        let rc = value.number("rc").unwrap_or(0);
        if rc != 0 {
            return self.on_error(ask, rc, now);
        }
        match ask {
            Ask::Hello => {
                if let Some(Value::Text(unit)) = value.get("uid") {
                    self.unit.clone_from(unit);
                }
                self.run(Ask::List { from: 0 }, now)
            }
            Ask::List { from } => self.on_list(from, &value, now),
            Ask::Get => self.on_chunk(&value, now),
            Ask::Ack { .. } => self.next_record(now),
        }
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        let Some(ask) = self.asked else {
            return Vec::new();
        };
        match self.question.overdue(now) {
            Overdue::No => Vec::new(),
            Overdue::AskAgain => self.ask(ask, now),
            Overdue::GiveUp { tries } => {
                let command = ask.name();
                self.asked = None;
                self.state = KeptState::Failed(KeptError::NoAnswer { command, tries });
                Vec::new()
            }
        }
    }

    fn run(&mut self, ask: Ask, now: BoxInstant) -> Vec<SmpMessage> {
        self.state = KeptState::Running;
        self.ask(ask, now)
    }

    fn ask(&mut self, ask: Ask, now: BoxInstant) -> Vec<SmpMessage> {
        self.sequence = self.sequence.wrapping_add(1);
        self.question.asked(now);
        self.asked = Some(ask);
        let number = |number: u32| Value::Integer(i128::from(number));
        let (command, value) = match ask {
            Ask::Hello => (CMD_HELLO, Value::Map(Vec::new())),
            Ask::List { from } => {
                let value = Value::map([("op", Value::text("list")), ("from", number(from))]);
                (CMD_RECORDS, value)
            }
            Ask::Get => {
                let (id, have) = self.current.as_ref().map_or((0, 0), |current| {
                    let have = u32::try_from(current.bytes.len()).unwrap_or(u32::MAX);
                    (current.header.id, have)
                });
                let chunk = u32::try_from(CHUNK_MAX).unwrap_or(0);
                let value = Value::map([
                    ("op", Value::text("get")),
                    ("id", number(id)),
                    ("off", number(have)),
                    ("len", number(chunk)),
                ]);
                (CMD_RECORDS, value)
            }
            Ask::Ack { id } => {
                let value = Value::map([("op", Value::text("ack")), ("id", number(id))]);
                (CMD_RECORDS, value)
            }
        };
        vec![SmpMessage::new(
            Op::Read,
            GROUP,
            command,
            self.sequence,
            &value,
        )]
    }

    fn on_error(&mut self, ask: Ask, status: i32, now: BoxInstant) -> Vec<SmpMessage> {
        let command = ask.name();
        let why = KeptError::Refused { command, status };
        match ask {
            // The answer to an earlier ack was lost: the device has dropped it already.
            Ask::Ack { .. } if status == ENOENT => self.next_record(now),
            Ask::Get | Ask::Ack { .. } => {
                self.given_up = Some(why);
                self.next_record(now)
            }
            Ask::Hello | Ask::List { .. } => {
                self.state = KeptState::Failed(why);
                Vec::new()
            }
        }
    }

    fn on_list(&mut self, from: u32, value: &Value, now: BoxInstant) -> Vec<SmpMessage> {
        if let Some(Value::Array(entries)) = value.get("recs") {
            self.queue
                .extend(entries.iter().filter_map(RecordHeader::read));
        }
        let next: u32 = value.number("next").unwrap_or(from);
        let total: u32 = value.number("total").unwrap_or(next);
        let most = u32::try_from(RECORDINGS_MAX).unwrap_or(u32::MAX);
        if self.queue.len() > RECORDINGS_MAX || next > most {
            self.queue.clear();
            self.state = KeptState::Failed(KeptError::Endless);
            return Vec::new();
        }
        if next > from && next < total {
            return self.run(Ask::List { from: next }, now);
        }
        // what is under way comes first, so that nothing pushes it out
        let begun = self.current.as_ref().map(|current| current.header);
        if let Some(place) = self.queue.iter().position(|one| Some(*one) == begun)
            && let Some(header) = self.queue.remove(place)
        {
            self.queue.push_front(header);
        }
        self.next_record(now)
    }

    fn next_record(&mut self, _now: BoxInstant) -> Vec<SmpMessage> {
        let known = self.current.take();
        self.state = match self.queue.pop_front() {
            None => KeptState::Done,
            Some(header) => {
                let label = KeptLabel {
                    unit: self.unit.clone(),
                    name: header.name(),
                    size: Some(header.len.into()),
                    is_unique: true,
                };
                let begun = known.filter(|current| current.header == header);
                self.current = Some(begun.unwrap_or(Current::of(header)));
                KeptState::Offering(label)
            }
        };
        Vec::new()
    }

    fn on_chunk(&mut self, value: &Value, now: BoxInstant) -> Vec<SmpMessage> {
        let Some(current) = &mut self.current else {
            return Vec::new();
        };
        let header = current.header;
        let here = u32::try_from(current.bytes.len()).unwrap_or(u32::MAX);
        let fits = value.number("id") == Some(header.id) && value.number("off") == Some(here);
        let wanted = usize::try_from(header.len).unwrap_or(usize::MAX);
        let chunk = value.bytes("data").filter(|_| fits).unwrap_or_default();
        let room = wanted.saturating_sub(current.bytes.len());
        current.bytes.extend(chunk.iter().take(room));
        current.empty = match chunk.is_empty() {
            true => current.empty.saturating_add(1),
            false => 0,
        };
        let ends = matches!(value.get("eof"), Some(Value::Bool(true))) && fits;
        if current.bytes.len() < wanted && !ends && current.empty < EMPTY_MAX {
            return self.run(Ask::Get, now);
        }
        let agrees = current.bytes.len() == wanted && crc32(&current.bytes) == header.crc;
        if agrees && wanted > 0 {
            let label = KeptLabel {
                unit: self.unit.clone(),
                name: header.name(),
                size: Some(header.len.into()),
                is_unique: true,
            };
            self.state = KeptState::Holding(label);
            return Vec::new();
        }
        let reads = current.reads.saturating_add(1);
        if reads < READS_MAX {
            let anew = Current::of(header);
            *current = Current { reads, ..anew };
            return self.run(Ask::Get, now);
        }
        let name = header.name();
        self.given_up = Some(KeptError::Checksum { name, reads });
        self.current = None;
        self.next_record(now)
    }
}
