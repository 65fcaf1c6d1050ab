//! The capture log: what passed between the box and one sensor, byte for byte, with the box's
//! time, so that a defect met in the field can be played again.
//!
//! ```text
//! log   = magic "cardcap" | version u8 = 2 | head | entry*
//! item  = len u16 | crc u32 | body[len]             (the head and every entry are items)
//! body  = kind u8 | at u64, box time in µs | what the kind holds
//! text  = len u8 | UTF-8                             numbers are little-endian
//! ```
//!
//! - `crc` is CRC-32 (IEEE 802.3) over `len` and `body`.
//! - An item holds at most [`BODY_MAX`] bytes; nothing else has a length.
//! - The last entry of a log that was ended on purpose is [`CaptureEvent::Ended`]. A log that was
//!   cut gives everything up to the cut, and says where it is.
//! - Version 1 has no rate in its head and no [`CaptureEvent::Clock`]; it is still read.
//! - The log holds a patient's signal in clear. Who the patient is does not stand in it.
//!
//! Deliberately absent: files, and what the bytes mean (the profile's decoder and session).

mod read;
mod write;

use cardio_core::clock::ClockReading;

use crate::gatt::{GattAction, Uuid};

pub use read::CaptureReader;

/// What a log begins with; the last byte is the version.
pub const MAGIC: [u8; 8] = *b"cardcap\x02";
/// The version before it.
const VERSION_1: u8 = 1;
/// Bytes of the longest body of an item: more than one read of any link gives.
pub const BODY_MAX: usize = 32 * 1024;
/// Bytes before the body of an item.
const FRAMING: usize = 6;

// Kinds of items.
const HEAD: u8 = 0;
const CONNECTED: u8 = 1;
const CLOSED: u8 = 2;
const HEARD: u8 = 3;
const SAID: u8 = 4;
const VALUE: u8 = 5;
const ANSWER: u8 = 6;
const ASKED_SUBSCRIBE: u8 = 7;
const ASKED_READ: u8 = 8;
const ASKED_WRITE: u8 = 9;
const CROWDED: u8 = 10;
const ENDED: u8 = 11;
const CLOCK: u8 = 12;

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureHead {
    /// When it begins.
    pub began: ClockReading,
    /// Stable name of the device's profile.
    pub profile: String,
    /// Which program wrote it, and its version.
    pub writer: String,
    /// What the rows show, as the source's configuration names them; empty: as usually wired.
    pub leads: Vec<String>,
    /// No frame for so many milliseconds: the box starts the sensor again.
    pub silent_after_ms: u32,
    /// Longest absence, in milliseconds, after which the same acquisition continues.
    pub resume_within_ms: u32,
    /// Samples per second that the source's configuration asks for; `None`: the profile's own.
    pub rate_hz: Option<u32>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureEntry {
    /// When, in microseconds of the box's own clock.
    pub at_us: u64,
    /// What.
    pub event: CaptureEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureEvent {
    /// The link stands.
    Connected {
        /// The port, or the address.
        via: String,
    },
    /// The link is of no use any more.
    Closed {
        /// Stable code of the cause.
        code: String,
    },
    /// What the conversation that begins was told of the time of day.
    Clock(ClockReading),
    /// One read of a serial line gave these bytes.
    Heard(Vec<u8>),
    /// The box wrote these bytes to a serial line.
    Said(Vec<u8>),
    /// The sensor sent a value by itself.
    Value {
        /// The characteristic.
        from: Uuid,
        /// The value.
        value: Vec<u8>,
    },
    /// The answer to a read.
    Answer {
        /// The characteristic.
        from: Uuid,
        /// The value.
        value: Vec<u8>,
    },
    /// The box subscribed, read or wrote.
    Asked(GattAction),
    /// So many values came faster than the box took them, and are not in the log.
    Crowded {
        /// How many.
        values: u64,
    },
    /// The log was ended on purpose.
    Ended,
}

/// What a log holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureItem {
    /// What it says of itself: the first item, and only the first.
    Head(CaptureHead),
    /// One thing that happened.
    Entry(CaptureEntry),
}

/// Why a log cannot be read further, or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// It does not begin as a log does.
    #[error("this is no capture log: it does not begin with the word `cardcap`")]
    NotACapture,
    /// A later program wrote it.
    #[error("the capture log has version {found}, and only versions 1 and 2 are known")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It ends where it should go on.
    #[error("the capture log is cut at byte {offset}")]
    Cut {
        /// The first byte of the item that is not whole.
        offset: u64,
    },
    /// The checksum of an item is another.
    #[error("the capture log is damaged in the item at byte {offset}")]
    Damaged {
        /// The item's first byte.
        offset: u64,
    },
    /// An item that is whole, and that no program of this version writes.
    #[error("the item at byte {offset} of the capture log has no valid {field}")]
    Malformed {
        /// The item's first byte.
        offset: u64,
        /// What is wrong with it.
        field: &'static str,
    },
    /// More than an item can hold.
    #[error("{field} has {len} bytes, and at most {max} fit into an item of a capture log")]
    TooLong {
        /// What is too long.
        field: &'static str,
        /// Its bytes.
        len: usize,
        /// As many would fit.
        max: usize,
    },
}

impl CaptureError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotACapture => "capture.not_a_capture",
            Self::Version { .. } => "capture.version",
            Self::Cut { .. } => "capture.cut",
            Self::Damaged { .. } => "capture.damaged",
            Self::Malformed { .. } => "capture.malformed",
            Self::TooLong { .. } => "capture.too_long",
        }
    }

    /// Whether what was read before it is good and only the rest is missing.
    pub const fn is_cut(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. } | Self::Damaged { .. } | Self::Malformed { .. }
        )
    }
}

#[cfg(test)]
mod tests;
