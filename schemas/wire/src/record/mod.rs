//! Records: what a box tells the gateway, as plaintext before sealing.
//!
//! One record is one canonical CBOR map with integer keys: 0 kind, 1 version, 2 id, 3 time of
//! writing, and the fields of its kind from 4 on (`schemas/cddl/record.cddl`). A later version
//! of a kind is a new number under key 1; a reader that does not know it keeps the bytes and
//! reads them after its upgrade. Deliberately absent: sealing (see [`crate::envelope`]) and
//! the meaning of what is told.

mod acquisition;
mod assessment;
mod device_status;
mod heart_rates;
mod notice;
mod original;
mod packed;
mod samples;
mod segment;
mod standing;
mod vocabulary;

use cardio_core::clock::{ClockReading, UtcMicros};
use cardio_core::ids::RecordId;
use serde_cbor::Value;

pub use acquisition::{AcquisitionEndedV1, AcquisitionStartedV1, EndReason};
pub use assessment::{AssessmentV1, HeartRateFactsV1, QualityFactsV1};
pub use device_status::DeviceStatusV1;
pub use heart_rates::HeartRatesV1;
pub(crate) use notice::read_lane;
pub use notice::{BoxEventV1, CarriedFrameV1, LaneGapV1};
pub use original::{
    ORIGINAL_ACQUISITIONS_MAX, ORIGINAL_MAX_BYTES, ORIGINAL_PART_BYTES, OriginalPartV1,
};
pub use segment::{GapV1, SegmentV1};
pub use standing::{BoxStatusV1, SourceStatusV1};
pub(crate) use vocabulary::{clock_reading, read_clock_reading, read_request, read_subject};

use crate::cbor::{self, CborError, Field, Fields};

/// What every record starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The record's name for ever: a UUID of version 7 that the box made.
    pub id: RecordId,
    /// When the box wrote it.
    pub at: ClockReading,
}

/// A UUID of version 7 (RFC 9562, section 5.7) from wall time and random bytes. The wall
/// time is a hint for people who look at lists; only the random part makes it unique.
pub fn record_id(at: UtcMicros, random: [u8; 10]) -> RecordId {
    let millis = u64::try_from(at.0.div_euclid(1000)).unwrap_or(0);
    let [_, _, t0, t1, t2, t3, t4, t5] = millis.to_be_bytes();
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
    let version = 0x70 | (r0 & 0x0F);
    let variant = 0x80 | (r2 & 0x3F);
    RecordId([
        t0, t1, t2, t3, t4, t5, version, r1, variant, r3, r4, r5, r6, r7, r8, r9,
    ])
}

/// One record of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// An acquisition began.
    AcquisitionStarted(AcquisitionStartedV1),
    /// Contiguous samples.
    Segment(SegmentV1),
    /// A known absence of samples.
    Gap(GapV1),
    /// Quality and heart rate of a window.
    Assessment(AssessmentV1),
    /// An acquisition ended.
    AcquisitionEnded(AcquisitionEndedV1),
    /// Frames that the box could not keep.
    LaneGap(LaneGapV1),
    /// Something happened to the box.
    BoxEvent(BoxEventV1),
    /// A frame of a chain that has ended.
    CarriedFrame(CarriedFrameV1),
    /// How the box and its sensors are.
    BoxStatus(BoxStatusV1),
    /// What a heart-rate sensor told.
    HeartRates(HeartRatesV1),
    /// How a sensor is.
    DeviceStatus(DeviceStatusV1),
    /// A part of a file as a recorder or a sensor made it.
    OriginalPart(OriginalPartV1),
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are not one canonical CBOR map with a kind and a version.
    #[error("cannot read the record")]
    Unreadable(#[source] CborError),
    /// A field of a known kind is wrong.
    #[error("cannot read a field of the {kind} record")]
    Field {
        /// The kind's stable name.
        kind: &'static str,
        /// Which field, and what is wrong with it.
        source: CborError,
    },
    /// This program does not know this kind of record; a later one may.
    #[error("the record is of kind {kind}, which this version does not know")]
    UnknownKind {
        /// The number under key 0.
        kind: u64,
    },
    /// This program does not know this version of the kind; a later one may.
    #[error("the {kind} record has version {version}, which this version does not know")]
    UnknownVersion {
        /// The kind's stable name.
        kind: &'static str,
        /// The number under key 1.
        version: u64,
    },
}

impl RecordError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "record.unreadable",
            Self::Field { .. } => "record.field",
            Self::UnknownKind { .. } => "record.unknown-kind",
            Self::UnknownVersion { .. } => "record.unknown-version",
        }
    }

    /// Whether a later version of this program may read the same bytes.
    pub const fn is_for_a_later_version(&self) -> bool {
        matches!(self, Self::UnknownKind { .. } | Self::UnknownVersion { .. })
    }
}

/// How one kind of record becomes fields and back.
trait Body: Sized {
    /// Number under key 0; never reused.
    const KIND: u8;
    /// Stable name in logs and JSON.
    const NAME: &'static str;

    /// What every record starts with.
    fn head(&self) -> &RecordHead;
    /// The fields from key 4 on.
    fn fields(&self) -> Vec<(u8, Option<Value>)>;
    /// Takes its fields out of the map.
    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError>;

    fn encode(&self) -> Vec<u8> {
        let head = self.head();
        let shared = [
            (0, Some(Value::from(Self::KIND))),
            (1, Some(Value::from(1_u8))),
            (2, Some(cbor::bytes(&head.id.0))),
            (3, Some(vocabulary::clock_reading(&head.at))),
        ];
        cbor::encode(&cbor::map(shared.into_iter().chain(self.fields())))
    }

    fn decode(mut fields: Fields) -> Result<Self, RecordError> {
        let at = |source| RecordError::Field {
            kind: Self::NAME,
            source,
        };
        let version = fields
            .required(1, "version")
            .and_then(|field| field.u64())
            .map_err(at)?;
        if version != 1 {
            return Err(RecordError::UnknownVersion {
                kind: Self::NAME,
                version,
            });
        }
        let mut read = || {
            let head = RecordHead {
                id: RecordId(fields.required(2, "id")?.array("a UUID of 16 bytes")?),
                at: vocabulary::read_clock_reading(fields.required(3, "at")?)?,
            };
            Self::take(head, &mut fields)
        };
        let body = read().map_err(at)?;
        fields.finish().map_err(at)?;
        Ok(body)
    }
}

macro_rules! for_each_kind {
    ($record:expr, $body:ident => $result:expr) => {
        match $record {
            Record::AcquisitionStarted($body) => $result,
            Record::Segment($body) => $result,
            Record::Gap($body) => $result,
            Record::Assessment($body) => $result,
            Record::AcquisitionEnded($body) => $result,
            Record::LaneGap($body) => $result,
            Record::BoxEvent($body) => $result,
            Record::CarriedFrame($body) => $result,
            Record::BoxStatus($body) => $result,
            Record::HeartRates($body) => $result,
            Record::DeviceStatus($body) => $result,
            Record::OriginalPart($body) => $result,
        }
    };
}

impl Record {
    /// What every record starts with.
    pub fn head(&self) -> &RecordHead {
        for_each_kind!(self, body => body.head())
    }

    /// Stable name of the kind, in logs and JSON.
    pub fn kind_name(&self) -> &'static str {
        fn name<B: Body>(_: &B) -> &'static str {
            B::NAME
        }
        for_each_kind!(self, body => name(body))
    }

    /// The record's one encoding. A heart rate that is not a finite number is written as
    /// undetermined; rows of unequal length, which a `SampleBlock` must not have, make bytes
    /// that no reader accepts.
    pub fn encode(&self) -> Vec<u8> {
        for_each_kind!(self, body => body.encode())
    }

    /// Reads one record. Total: every input gives a record or a [`RecordError`].
    ///
    /// # Errors
    /// [`RecordError`] says which field, and whether a later version may understand it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let value = cbor::decode(bytes).map_err(RecordError::Unreadable)?;
        let mut fields = Field::new("record", value)
            .fields()
            .map_err(RecordError::Unreadable)?;
        let kind = fields
            .required(0, "kind")
            .and_then(|field| field.u64())
            .map_err(RecordError::Unreadable)?;
        match u8::try_from(kind).unwrap_or(u8::MAX) {
            AcquisitionStartedV1::KIND => Body::decode(fields).map(Self::AcquisitionStarted),
            SegmentV1::KIND => Body::decode(fields).map(Self::Segment),
            GapV1::KIND => Body::decode(fields).map(Self::Gap),
            AssessmentV1::KIND => Body::decode(fields).map(Self::Assessment),
            AcquisitionEndedV1::KIND => Body::decode(fields).map(Self::AcquisitionEnded),
            LaneGapV1::KIND => Body::decode(fields).map(Self::LaneGap),
            BoxEventV1::KIND => Body::decode(fields).map(Self::BoxEvent),
            CarriedFrameV1::KIND => Body::decode(fields).map(Self::CarriedFrame),
            BoxStatusV1::KIND => Body::decode(fields).map(Self::BoxStatus),
            HeartRatesV1::KIND => Body::decode(fields).map(Self::HeartRates),
            DeviceStatusV1::KIND => Body::decode(fields).map(Self::DeviceStatus),
            OriginalPartV1::KIND => Body::decode(fields).map(Self::OriginalPart),
            _ => Err(RecordError::UnknownKind { kind }),
        }
    }
}

#[cfg(test)]
mod tests;
