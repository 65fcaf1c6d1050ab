//! What the box says of itself: frames that it could not keep, frames that it carries over,
//! and events.

use cardio_core::ids::SourceId;
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes, text};
use crate::lane::{ChainId, Lane};

/// Frames of a lane that the box could not keep, or could not make.
///
/// The frames `from_seq` to `to_seq`, both included, are missing. Records that were refused
/// before they had a place in the chain leave an empty range: `to_seq` is then the last frame
/// before them and `from_seq` the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneGapV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// The lane that has the gap; the record itself may travel on another.
    pub lane: Lane,
    /// The chain that has the gap.
    pub chain: ChainId,
    /// The first frame that is missing.
    pub from_seq: u64,
    /// The last frame that is missing; the greatest number when the box does not know it.
    pub to_seq: u64,
    /// How many records are missing; 0 when the box does not know it.
    pub records: u64,
    /// Stable word for the cause, for instance [`LaneGapV1::DAMAGED`].
    pub reason: String,
}

impl LaneGapV1 {
    /// The cause of a gap whose chain has ended: the file that held it was damaged.
    pub const DAMAGED: &str = "outbox.damaged";
    /// The cause of a gap whose chain has ended: the gateway holds another history of it, so
    /// the file had lost what it once held.
    pub const FORKED: &str = "outbox.forked";

    /// Whether no frame of the chain will be made any more.
    pub fn ends_chain(&self) -> bool {
        [Self::DAMAGED, Self::FORKED].contains(&self.reason.as_str())
    }
}

impl Body for LaneGapV1 {
    const KIND: u8 = 6;
    const NAME: &'static str = "lane-gap";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(Value::from(self.lane.number()))),
            (5, Some(bytes(&self.chain.0))),
            (6, Some(Value::from(self.from_seq))),
            (7, Some(Value::from(self.to_seq))),
            (8, Some(Value::from(self.records))),
            (9, Some(text(&self.reason))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            lane: read_lane(&fields.required(4, "lane")?)?,
            chain: ChainId(fields.required(5, "chain")?.array("a chain of 8 bytes")?),
            from_seq: fields.required(6, "from seq")?.u64()?,
            to_seq: fields.required(7, "to seq")?.u64()?,
            records: fields.required(8, "records")?.u64()?,
            reason: fields.required(9, "reason")?.text()?,
        })
    }
}

pub(crate) fn read_lane(field: &Field) -> Result<Lane, CborError> {
    Lane::from_number(field.u8()?).ok_or(field.wrong("a lane from 0 to 3"))
}

/// An earlier frame of the same box and lane, as it was made, out of a chain that has ended.
///
/// The box cannot open its own frames, so it cannot make their records again; it can bring the
/// frames. Their own signature and seal stay what they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedFrameV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// The whole frame; it may carry another one in turn.
    pub frame: Vec<u8>,
}

impl Body for CarriedFrameV1 {
    const KIND: u8 = 8;
    const NAME: &'static str = "carried-frame";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![(4, Some(bytes(&self.frame)))]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            frame: fields.required(4, "frame")?.bytes()?,
        })
    }
}

/// Something happened to the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxEventV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// Stable word, for instance `source.lost`.
    pub code: String,
    /// The sensor that it concerns.
    pub source: Option<SourceId>,
    /// For a person to read; holds no identity.
    pub detail: String,
}

impl Body for BoxEventV1 {
    const KIND: u8 = 7;
    const NAME: &'static str = "box-event";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(text(&self.code))),
            (5, self.source.as_ref().map(|s| text(s.as_str()))),
            (6, Some(text(&self.detail))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            code: fields.required(4, "code")?.text()?,
            source: fields
                .optional(5, "source")
                .map(words::read_source)
                .transpose()?,
            detail: fields.required(6, "detail")?.text()?,
        })
    }
}
