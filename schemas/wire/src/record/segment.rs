//! Samples, and their known absence.

use cardio_core::clock::TimeAnchor;
use cardio_core::gap::Gap;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::SampleIndex;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead, samples};
use crate::cbor::{CborError, Fields, bytes, count};

/// Contiguous samples of all measured rows of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// The samples, placed in time.
    pub segment: Segment,
}

impl Body for SegmentV1 {
    const KIND: u8 = 2;
    const NAME: &'static str = "segment";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let segment = &self.segment;
        let (encoding, data) = samples::encode(&segment.block.leads);
        vec![
            (4, Some(bytes(&segment.acquisition.0))),
            (5, Some(Value::from(segment.ordinal))),
            (6, Some(Value::from(segment.first().0))),
            (7, Some(words::anchor(&segment.anchor))),
            (8, Some(count(segment.block.leads.len()))),
            (9, Some(Value::from(segment.block.count().0))),
            (10, Some(Value::from(encoding))),
            (11, Some(Value::Bytes(data))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        let acquisition = words::read_acquisition_id(fields.required(4, "acquisition")?)?;
        let ordinal = fields.required(5, "ordinal")?.u64()?;
        let first = SampleIndex(fields.required(6, "first")?.u64()?);
        let anchor = words::read_anchor(fields.required(7, "anchor")?)?;
        let rows = fields.required(8, "rows")?.u64()?;
        let per_row = fields.required(9, "samples per row")?.u64()?;
        let encoding = fields.required(10, "encoding")?.u8()?;
        let data = fields.required(11, "samples")?;
        let wrong = data.wrong("samples in the stated encoding, rows and number");
        let leads = samples::decode(encoding, rows, per_row, &data.bytes()?).ok_or(wrong)?;
        Ok(Self {
            head,
            segment: Segment {
                acquisition,
                ordinal,
                block: SampleBlock { first, leads },
                anchor,
            },
        })
    }
}

/// A known absence of samples in an acquisition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// Where.
    pub acquisition: AcquisitionId,
    /// From when, how long, why.
    pub gap: Gap,
    /// The last sample whose time is known before the gap, or the first one after it.
    pub near: Option<TimeAnchor>,
}

impl Body for GapV1 {
    const KIND: u8 = 3;
    const NAME: &'static str = "gap";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(bytes(&self.acquisition.0))),
            (5, Some(words::gap(&self.gap))),
            (6, self.near.as_ref().map(words::anchor)),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            acquisition: words::read_acquisition_id(fields.required(4, "acquisition")?)?,
            gap: words::read_gap(fields.required(5, "gap")?)?,
            near: fields
                .optional(6, "near")
                .map(words::read_anchor)
                .transpose()?,
        })
    }
}
