//! Frames, and the reading of a byte stream into frames.
//!
//! Deliberately absent: arrival times and placing in time (`cardio_core::timeline`).

use cardio_core::clock::BoxInstant;
use cardio_core::heart_rate::ToldRate;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::sample::{Adu, RaggedBlock, SampleBlock};

/// Samples that a frame can hold without an allocation of its own.
const INLINE: usize = 8;

/// The counter of a frame, as the device sent it. It wraps at the profile's modulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameSeq(pub u32);

/// Time of a frame's last sample on the device's own clock, in nanoseconds since an origin
/// that only the device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceTicks {
    /// Nanoseconds since the device's own origin.
    pub nanos: u64,
}

/// The samples of one frame: as many for every lead, lead after lead.
#[derive(Clone)]
pub struct FrameRows {
    per_lead: usize,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Inline { values: [Adu; INLINE], used: usize },
    Heap(Vec<Adu>),
}

impl FrameRows {
    /// Rows laid out lead after lead, `per_lead` samples each. Samples beyond the last whole
    /// row are not kept; `per_lead` of zero gives no rows.
    pub fn planar(per_lead: usize, samples: &[Adu]) -> Self {
        let whole = samples
            .len()
            .checked_div(per_lead)
            .map_or(0, |rows| rows * per_lead);
        let samples = samples.get(..whole).unwrap_or_default();
        let mut values = [0; INLINE];
        let store = match values.get_mut(..whole) {
            Some(room) => {
                room.copy_from_slice(samples);
                Store::Inline {
                    values,
                    used: whole,
                }
            }
            None => Store::Heap(samples.to_vec()),
        };
        Self { per_lead, store }
    }

    /// One sample of each lead.
    pub fn one_each(samples: &[Adu]) -> Self {
        Self::planar(1, samples)
    }

    /// Number of leads.
    pub fn leads(&self) -> usize {
        self.samples().len().checked_div(self.per_lead).unwrap_or(0)
    }

    /// Samples of each lead.
    pub fn per_lead(&self) -> SampleCount {
        SampleCount(if self.samples().is_empty() {
            0
        } else {
            u64::try_from(self.per_lead).unwrap_or(u64::MAX)
        })
    }

    /// The samples of one lead, if the frame has it.
    pub fn row(&self, lead: usize) -> Option<&[Adu]> {
        self.rows().nth(lead)
    }

    /// The samples, lead by lead.
    pub fn rows(&self) -> impl Iterator<Item = &[Adu]> {
        self.samples().chunks_exact(self.per_lead.max(1))
    }

    /// All samples, lead after lead.
    pub fn samples(&self) -> &[Adu] {
        match &self.store {
            Store::Inline { values, used } => values.get(..*used).unwrap_or_default(),
            Store::Heap(values) => values,
        }
    }

    /// The rows as a block that starts at `first`.
    ///
    /// # Errors
    /// [`RaggedBlock`] never in practice: rows of one frame have one length.
    pub fn block(&self, first: SampleIndex) -> Result<SampleBlock, RaggedBlock> {
        SampleBlock::new(first, self.rows().map(<[Adu]>::to_vec).collect())
    }
}

impl PartialEq for FrameRows {
    fn eq(&self, other: &Self) -> bool {
        self.leads() == other.leads() && self.samples() == other.samples()
    }
}

impl Eq for FrameRows {}

impl std::fmt::Debug for FrameRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.rows()).finish()
    }
}

/// One frame of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The device's counter, if frames have one.
    pub seq: Option<FrameSeq>,
    /// The device's time, if frames have one.
    pub ticks: Option<DeviceTicks>,
    /// When the question went out that this frame answers, for a device that must be asked: it
    /// holds all that was taken since the answer before, up to that question.
    pub asked: Option<BoxInstant>,
    /// The samples.
    pub rows: FrameRows,
}

/// What a device says about itself beside its samples.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aside {
    /// Heart rate as the device computes it, in beats per minute.
    HeartRate {
        /// Beats per minute.
        bpm: u16,
    },
    /// Charge of the battery.
    Battery {
        /// From 0 to 100.
        percent: u8,
    },
    /// Whether the electrodes touch skin, as far as the device can tell.
    Contact {
        /// `true` for contact.
        on: bool,
    },
    /// IEEE EUI-64 of the device, most significant byte first.
    SystemId([u8; 8]),
    /// Identity or version that the device prints: name of the field and text.
    Identity {
        /// Stable name of the field, for instance `firmware`.
        field: &'static str,
        /// The text.
        text: String,
    },
}

/// What came out of a stream of bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DecoderEvent {
    /// Samples.
    Frame(Frame),
    /// Text that the device printed, a line at a time.
    Text(String),
    /// Heart rate and intervals of a device that sends these instead of samples.
    Rate(ToldRate),
    /// A statement beside the samples.
    Aside(Aside),
    /// Bytes that belong to no frame.
    Skipped {
        /// How many.
        bytes: usize,
        /// Why the first of them starts no frame.
        why: DecodeError,
    },
}

/// Why bytes are not a frame. Offsets count from the first byte that the decoder saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No frame starts here.
    #[error("no frame starts with byte {found:#04x} at offset {offset}")]
    NoStart {
        /// Offset of the byte.
        offset: u64,
        /// The byte.
        found: u8,
    },
    /// The last byte or bytes of a frame are not what they must be.
    #[error("the frame at offset {offset} does not end with its {field}: found {found:#04x}")]
    Trailer {
        /// Offset of the frame.
        offset: u64,
        /// The field as the device's description calls it.
        field: &'static str,
        /// What stands there.
        found: u8,
    },
    /// A length that no frame of this kind has.
    #[error("the frame at offset {offset} states a length of {found}, which its kind never has")]
    Length {
        /// Offset of the frame.
        offset: u64,
        /// The length.
        found: u64,
    },
    /// A kind of frame that the profile does not know.
    #[error("the frame at offset {offset} is of unknown kind {found:#04x}")]
    Kind {
        /// Offset of the frame.
        offset: u64,
        /// The kind.
        found: u8,
    },
    /// The checksum does not agree with the bytes.
    #[error("the frame at offset {offset} carries checksum {found:#x}, its bytes give {want:#x}")]
    Checksum {
        /// Offset of the frame.
        offset: u64,
        /// The checksum that was sent.
        found: u32,
        /// The checksum of the bytes.
        want: u32,
    },
    /// It looks like a frame, but neither the counter nor the next frame agrees.
    #[error("what looks like a frame at offset {offset} is confirmed by no neighbour")]
    Unconfirmed {
        /// Offset of the candidate.
        offset: u64,
    },
    /// The value ends inside a field.
    #[error("{field} needs {need} byte(s) at offset {offset}, but {have} remain")]
    Truncated {
        /// The field as the device's description calls it.
        field: &'static str,
        /// Offset of its first byte.
        offset: u64,
        /// Bytes that it needs.
        need: usize,
        /// Bytes that remain.
        have: usize,
    },
    /// Bytes remain after the last field.
    #[error("{extra} byte(s) left over at offset {offset}")]
    Trailing {
        /// Offset of the first of them.
        offset: u64,
        /// How many.
        extra: usize,
    },
    /// A field holds a value that it cannot hold.
    #[error("{field} at offset {offset} cannot be {found}")]
    Value {
        /// The field as the device's description calls it.
        field: &'static str,
        /// Offset of its first byte.
        offset: u64,
        /// The value.
        found: u64,
    },
}

impl DecodeError {
    /// Stable identifier for logs, metrics and `--json`. Never reworded.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoStart { .. } => "frame.no_start",
            Self::Trailer { .. } => "frame.trailer",
            Self::Length { .. } => "frame.length",
            Self::Kind { .. } => "frame.kind",
            Self::Checksum { .. } => "frame.checksum",
            Self::Unconfirmed { .. } => "frame.unconfirmed",
            Self::Truncated { .. } => "frame.truncated",
            Self::Trailing { .. } => "frame.trailing",
            Self::Value { .. } => "frame.value",
        }
    }
}

/// Reads what a device sends. Total: any bytes, split anywhere, give events, never a panic;
/// what is kept between two calls is bounded by the longest frame.
pub trait Decoder: Send {
    /// Takes the next bytes and appends what they complete to `out`.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<DecoderEvent>);
}

/// Writes what a device sends. The counter and clock of the device live in here.
pub trait Encoder: Send {
    /// Appends one frame to `out`. Samples beyond the converter's range are sent at its
    /// limit, as the converter would; leads that are missing are sent as zero.
    fn frame(&mut self, rows: &FrameRows, out: &mut Vec<u8>);

    /// The counter that the next frame will carry, if frames have one.
    fn next_seq(&self) -> Option<FrameSeq>;

    /// Lets frames that were made but never sent count: the device's counter moves on.
    fn skip(&mut self, frames: u64);

    /// Starts counting again, as the device does when it resets.
    fn reset(&mut self);

    /// The device's clock jumps by milliseconds. Nothing to do for a device without one.
    fn shift_clock(&mut self, _by_ms: i64) {}
}

#[cfg(test)]
mod tests {
    use super::FrameRows;
    use cardio_core::index::SampleIndex;

    #[test]
    fn rows_are_given_lead_by_lead_whether_few_or_many() {
        for len in [4_i32, 40] {
            let samples: Vec<i32> = (0..len).collect();
            let rows = FrameRows::planar(2, &samples);
            assert_eq!(rows.leads(), samples.len() / 2);
            assert_eq!(rows.row(1), Some(&[2, 3][..]));
            assert_eq!(rows.row(rows.leads()), None);
            assert_eq!(rows.block(SampleIndex(7)).unwrap().count().0, 2);
        }
    }

    #[test]
    fn an_incomplete_row_is_not_kept() {
        let rows = FrameRows::planar(2, &[1, 2, 3]);
        assert_eq!((rows.leads(), rows.samples()), (1, &[1, 2][..]));
        assert_eq!(FrameRows::planar(0, &[1]).leads(), 0);
    }
}
