//! The start and the end of an acquisition.

use cardio_core::acquisition::Acquisition;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes, text};

/// An acquisition began: who, with what, which rows.
#[derive(Clone, Debug, PartialEq)]
pub struct AcquisitionStartedV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// What is known at the start.
    pub acquisition: Acquisition,
}

impl Body for AcquisitionStartedV1 {
    const KIND: u8 = 1;
    const NAME: &'static str = "acquisition-started";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        let started = &self.acquisition;
        let waveforms = started.waveforms.iter().map(words::waveform).collect();
        vec![
            (4, Some(bytes(&started.id.0))),
            (5, started.subject.as_ref().map(|s| text(s.as_str()))),
            (6, Some(text(started.source.as_str()))),
            (7, Some(words::device(&started.device))),
            (8, Some(words::integrity(started.integrity))),
            (9, Some(words::rate(started.rate))),
            (10, Some(Value::Array(waveforms))),
            (11, Some(words::attendance(started.attendance))),
            (12, started.request.as_ref().map(|r| text(r.as_str()))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        let acquisition = Acquisition {
            id: words::read_acquisition_id(fields.required(4, "acquisition")?)?,
            subject: fields
                .optional(5, "subject")
                .map(words::read_subject)
                .transpose()?,
            source: words::read_source(fields.required(6, "source")?)?,
            device: words::read_device(fields.required(7, "device")?)?,
            integrity: words::read_integrity(&fields.required(8, "integrity")?)?,
            rate: words::read_rate(fields.required(9, "rate")?)?,
            waveforms: fields
                .required(10, "waveforms")?
                .items()?
                .map("waveform", words::read_waveform)?,
            attendance: words::read_attendance(&fields.required(11, "attendance")?)?,
            request: fields
                .optional(12, "request")
                .map(words::read_request)
                .transpose()?,
        };
        Ok(Self { head, acquisition })
    }
}

/// Why an acquisition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// It ran as long as it was meant to.
    Completed,
    /// The sensor did not come back.
    SourceLost,
    /// The box stopped, orderly or not.
    BoxStopped,
    /// A person stopped it.
    OperatorStopped,
}

impl EndReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::Completed,
        Self::SourceLost,
        Self::BoxStopped,
        Self::OperatorStopped,
    ];

    /// Stable name on the wire, in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::SourceLost => "source-lost",
            Self::BoxStopped => "box-stopped",
            Self::OperatorStopped => "operator-stopped",
        }
    }

    /// The reason of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// An acquisition ended, with the totals that the gateway compares with what it filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcquisitionEndedV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// Which one.
    pub acquisition: AcquisitionId,
    /// The instant just after the last sample or gap.
    pub end: SampleIndex,
    /// How many segments were made.
    pub segments: u64,
    /// How many samples per row they hold together.
    pub samples: SampleCount,
    /// How many gaps there were.
    pub gaps: u64,
    /// How many samples per row are missing together.
    pub missing: SampleCount,
    /// How many frames of the sensor came again and were left out.
    pub repeated_frames: u64,
    /// Why it ended.
    pub reason: EndReason,
}

impl Body for AcquisitionEndedV1 {
    const KIND: u8 = 5;
    const NAME: &'static str = "acquisition-ended";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(bytes(&self.acquisition.0))),
            (5, Some(Value::from(self.end.0))),
            (6, Some(Value::from(self.segments))),
            (7, Some(Value::from(self.samples.0))),
            (8, Some(Value::from(self.gaps))),
            (9, Some(Value::from(self.missing.0))),
            (10, Some(Value::from(self.repeated_frames))),
            (11, Some(text(self.reason.name()))),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            acquisition: words::read_acquisition_id(fields.required(4, "acquisition")?)?,
            end: SampleIndex(fields.required(5, "end")?.u64()?),
            segments: fields.required(6, "segments")?.u64()?,
            samples: SampleCount(fields.required(7, "samples")?.u64()?),
            gaps: fields.required(8, "gaps")?.u64()?,
            missing: SampleCount(fields.required(9, "missing")?.u64()?),
            repeated_frames: fields.required(10, "repeated frames")?.u64()?,
            reason: read_reason(fields.required(11, "reason")?)?,
        })
    }
}

fn read_reason(field: Field) -> Result<EndReason, CborError> {
    let wrong = field.wrong("the name of a reason");
    EndReason::from_name(&field.text()?).ok_or(wrong)
}
