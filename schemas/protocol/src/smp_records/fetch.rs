//! Fetching every complete recording: list, read in chunks, check, hand over, acknowledge.
//!
//! - A chunk without an answer is asked for again from the last byte that is there.
//! - A recording whose CRC-32 disagrees is read anew from its start, and given up after
//!   three times; it stays on the device.
//! - `ack` goes out only after [`Fetcher::stored`]: the device drops what is acknowledged.

use std::collections::VecDeque;

use cardio_core::clock::BoxInstant;

use crate::session::{SessionTiming, has_passed};

use super::{CHUNK_MAX, CMD_HELLO, CMD_RECORDS, GROUP, Op, SmpMessage, Value};

/// Largest recording that is fetched.
const LEN_MAX: u32 = 64 << 20;
/// How often a recording is read before it is given up.
const READS_MAX: u32 = 3;
/// The device's error number for a recording that it does not have.
const ENOENT: i32 = -2;
const FLAG_COMPLETE: u32 = 1 << 0;
const FLAG_PARTIAL: u32 = 1 << 1;

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
    pub signal: u32,
    /// Form of the samples.
    pub format: u32,
    /// Channels.
    pub channels: u32,
    /// Samples per second.
    pub rate_hz: u32,
    /// Samples of each channel.
    pub samples: u64,
    /// Bytes.
    pub len: u32,
    /// CRC-32 of the bytes.
    pub crc: u32,
    /// Whether it was cut off by the device.
    pub is_partial: bool,
    /// Start, seconds since 1970.
    pub start_utc_s: i64,
}

impl RecordHeader {
    /// Reads an entry of the list; `None` for one that is still being made.
    fn read(entry: &Value) -> Option<Self> {
        let flags: u32 = entry.number("flags")?;
        (flags & (FLAG_COMPLETE | FLAG_PARTIAL) != 0).then_some(())?;
        Some(Self {
            id: entry.number("id")?,
            signal: entry.number("sig")?,
            format: entry.number("fmt")?,
            channels: entry.number("ch")?,
            rate_hz: entry.number("rate")?,
            samples: entry.number("ns")?,
            len: entry.number("len").filter(|len| *len <= LEN_MAX)?,
            crc: entry.number("crc")?,
            is_partial: flags & FLAG_PARTIAL != 0,
            start_utc_s: entry.number("ts")?,
        })
    }
}

/// A recording whose checksum agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What the list says.
    pub header: RecordHeader,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why a recording stays on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes do not have the checksum that the list states.
    #[error("recording {id} has CRC-32 {found:08x} where the list says {want:08x}")]
    Checksum {
        /// The recording.
        id: u32,
        /// Of the bytes.
        found: u32,
        /// Of the list.
        want: u32,
    },
    /// The device answers with an error.
    #[error("the device answered {command} with error {rc}")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Its error number.
        rc: i32,
    },
    /// No answer.
    #[error("the device did not answer {command} after {tries} tries")]
    NoAnswer {
        /// What was asked.
        command: &'static str,
        /// How often.
        tries: u32,
    },
}

impl RecordError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Checksum { .. } => "records.checksum",
            Self::Refused { .. } => "records.refused",
            Self::NoAnswer { .. } => "records.no_answer",
        }
    }
}

/// Where the fetch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchState {
    /// Not started.
    Idle,
    /// Under way.
    Running,
    /// A recording waits for [`Fetcher::take`] and [`Fetcher::stored`].
    Holding(u32),
    /// Nothing is left to fetch.
    Done,
    /// The device no longer answers; a new start goes on.
    Failed(RecordError),
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

/// The box's side.
#[derive(Debug)]
pub struct Fetcher {
    timing: SessionTiming,
    state: FetchState,
    asked: Option<(Ask, BoxInstant)>,
    sequence: u8,
    tries: u32,
    device: Option<String>,
    queue: VecDeque<RecordHeader>,
    /// The recording being read, and how often it was begun.
    current: Option<(RecordHeader, Vec<u8>, u32)>,
    given_up: Vec<RecordError>,
}

impl Fetcher {
    /// A fetch that has not started.
    pub const fn new(timing: SessionTiming) -> Self {
        Self {
            timing,
            state: FetchState::Idle,
            asked: None,
            sequence: 0,
            tries: 0,
            device: None,
            queue: VecDeque::new(),
            current: None,
            given_up: Vec::new(),
        }
    }

    /// Begins, or goes on after a lost link: what was read of a recording is kept.
    pub fn start(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        if matches!(self.state, FetchState::Holding(_)) {
            return Vec::new();
        }
        self.queue.clear();
        self.state = FetchState::Running;
        self.ask(Ask::Hello, now)
    }

    /// Where the fetch stands.
    pub const fn state(&self) -> &FetchState {
        &self.state
    }

    /// The unit's own id, which recordings are to be filed under.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Recordings that stay on the device, and why.
    pub fn given_up(&self) -> &[RecordError] {
        &self.given_up
    }

    /// The recording that is complete.
    pub fn take(&self) -> Option<Fetched> {
        let (header, bytes, _) = self.current.as_ref()?;
        matches!(self.state, FetchState::Holding(_)).then(|| Fetched {
            header: *header,
            bytes: bytes.clone(),
        })
    }

    /// The recording that was taken is durably stored: the device may drop it.
    pub fn stored(&mut self, id: u32, now: BoxInstant) -> Vec<SmpMessage> {
        if self.state != FetchState::Holding(id) {
            return Vec::new();
        }
        self.current = None;
        self.state = FetchState::Running;
        self.ask(Ask::Ack { id }, now)
    }

    /// Bytes of the recording under way that are there.
    pub fn current_len(&self) -> usize {
        self.current.as_ref().map_or(0, |(_, bytes, _)| bytes.len())
    }

    /// Takes an answer.
    pub fn on_message(&mut self, message: &SmpMessage, now: BoxInstant) -> Vec<SmpMessage> {
        let Some((ask, _)) = self.asked.filter(|_| message.sequence == self.sequence) else {
            return Vec::new();
        };
        let Ok(value) = message.value() else {
            return Vec::new();
        };
        self.asked = None;
        self.tries = 0;
        let rc = value.number("rc").unwrap_or(0);
        if rc != 0 {
            return self.on_error(ask, rc, now);
        }
        match ask {
            Ask::Hello => {
                if let Some(Value::Text(unit)) = value.get("uid") {
                    self.device = Some(unit.clone());
                }
                self.ask(Ask::List { from: 0 }, now)
            }
            Ask::List { from } => self.on_list(from, &value, now),
            Ask::Get => self.on_chunk(&value, now),
            Ask::Ack { .. } => self.next_record(now),
        }
    }

    /// Lets time pass.
    pub fn on_tick(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        let Some((ask, since)) = self.asked else {
            return Vec::new();
        };
        if !has_passed(since, now, self.timing.answer) {
            return Vec::new();
        }
        if self.tries < self.timing.tries {
            return self.ask(ask, now);
        }
        self.state = FetchState::Failed(RecordError::NoAnswer {
            command: ask.name(),
            tries: self.tries,
        });
        self.asked = None;
        Vec::new()
    }

    fn ask(&mut self, ask: Ask, now: BoxInstant) -> Vec<SmpMessage> {
        self.sequence = self.sequence.wrapping_add(1);
        self.tries = self.tries.saturating_add(1);
        self.asked = Some((ask, now));
        let number = |number: u32| Value::Integer(i128::from(number));
        let (command, op, value) = match ask {
            Ask::Hello => (CMD_HELLO, Op::Read, Value::Map(Vec::new())),
            Ask::List { from } => {
                let value = Value::map([("op", Value::text("list")), ("from", number(from))]);
                (CMD_RECORDS, Op::Read, value)
            }
            Ask::Get => {
                let (id, have) = self.current.as_ref().map_or((0, 0), |(header, bytes, _)| {
                    (header.id, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
                });
                let chunk = u32::try_from(CHUNK_MAX).unwrap_or(0);
                let value = Value::map([
                    ("op", Value::text("get")),
                    ("id", number(id)),
                    ("off", number(have)),
                    ("len", number(chunk)),
                ]);
                (CMD_RECORDS, Op::Read, value)
            }
            Ask::Ack { id } => {
                let value = Value::map([("op", Value::text("ack")), ("id", number(id))]);
                (CMD_RECORDS, Op::Read, value)
            }
        };
        vec![SmpMessage::new(op, GROUP, command, self.sequence, &value)]
    }

    fn on_error(&mut self, ask: Ask, rc: i32, now: BoxInstant) -> Vec<SmpMessage> {
        let command = ask.name();
        if matches!(ask, Ask::Ack { .. }) && rc == ENOENT {
            // The answer to an earlier ack was lost: the device has dropped it already.
            return self.next_record(now);
        }
        self.given_up.push(RecordError::Refused { command, rc });
        match ask {
            Ask::Get => {
                self.current = None;
                self.next_record(now)
            }
            Ask::Ack { .. } => self.next_record(now),
            Ask::Hello | Ask::List { .. } => {
                self.state = FetchState::Failed(RecordError::Refused { command, rc });
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
        if next > from && next < total {
            return self.ask(Ask::List { from: next }, now);
        }
        self.next_record(now)
    }

    fn next_record(&mut self, now: BoxInstant) -> Vec<SmpMessage> {
        let next = self.queue.pop_front();
        match (next, self.current.take()) {
            (Some(header), Some((known, bytes, reads))) if known == header => {
                self.current = Some((header, bytes, reads));
            }
            (Some(header), _) => self.current = Some((header, Vec::new(), 0)),
            (None, _) => {
                self.state = FetchState::Done;
                return Vec::new();
            }
        }
        self.ask(Ask::Get, now)
    }

    fn on_chunk(&mut self, value: &Value, now: BoxInstant) -> Vec<SmpMessage> {
        let Some((header, bytes, reads)) = &mut self.current else {
            return Vec::new();
        };
        let here = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let fits = value.number("id") == Some(header.id) && value.number("off") == Some(here);
        let wanted = usize::try_from(header.len).unwrap_or(usize::MAX);
        let chunk = value.bytes("data").filter(|_| fits).unwrap_or_default();
        let room = wanted.saturating_sub(bytes.len());
        bytes.extend(chunk.iter().take(room));
        let is_end = matches!(value.get("eof"), Some(Value::Bool(true))) || chunk.is_empty();
        if bytes.len() < wanted && !(is_end && fits) {
            return self.ask(Ask::Get, now);
        }
        let (id, want, found) = (header.id, header.crc, crc32(bytes));
        if found == want && bytes.len() == wanted {
            self.state = FetchState::Holding(id);
            return Vec::new();
        }
        *reads = reads.saturating_add(1);
        bytes.clear();
        if *reads < READS_MAX {
            return self.ask(Ask::Get, now);
        }
        self.given_up
            .push(RecordError::Checksum { id, found, want });
        self.current = None;
        self.next_record(now)
    }
}
