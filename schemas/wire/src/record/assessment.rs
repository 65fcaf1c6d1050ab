//! Quality and heart rate of a window, as the box saw them.

use cardio_core::annotation::Beat;
use cardio_core::clock::TimeAnchor;
use cardio_core::electrode::Electrode;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::LeadQuality;
use serde_cbor::Value;

use super::vocabulary as words;
use super::{Body, RecordHead};
use crate::cbor::{CborError, Field, Fields, bytes, map, text};

/// Quality of a window over all leads, by label: derived leads have no place in the order
/// of the measured rows.
#[derive(Clone, Debug, PartialEq)]
pub struct QualityFactsV1 {
    /// The window's first sample.
    pub first: SampleIndex,
    /// The window's length.
    pub len: SampleCount,
    /// All leads together.
    pub overall: LeadQuality,
    /// Each lead under its label, measured ones first.
    pub per_lead: Vec<(String, LeadQuality)>,
    /// Name and version of the algorithm.
    pub algorithm: (String, u32),
}

/// Heart rate of a window, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct HeartRateFactsV1 {
    /// Beats per minute, if it could be determined.
    pub bpm: Option<f64>,
    /// The beats of the window.
    pub beats: Vec<Beat>,
    /// Stable word for why it could not be determined.
    pub undetermined: Option<String>,
    /// Name and version of the algorithm.
    pub algorithm: (String, u32),
}

/// What the box found in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct AssessmentV1 {
    /// What every record starts with.
    pub head: RecordHead,
    /// Where.
    pub acquisition: AcquisitionId,
    /// When the window's first sample was taken.
    pub window_start: TimeAnchor,
    /// How good the signal is.
    pub quality: QualityFactsV1,
    /// How fast the heart beats.
    pub heart_rate: HeartRateFactsV1,
    /// The one contact that explains best what is wrong.
    pub suspect_electrode: Option<Electrode>,
}

impl Body for AssessmentV1 {
    const KIND: u8 = 4;
    const NAME: &'static str = "assessment";

    fn head(&self) -> &RecordHead {
        &self.head
    }

    fn fields(&self) -> Vec<(u8, Option<Value>)> {
        vec![
            (4, Some(bytes(&self.acquisition.0))),
            (5, Some(words::anchor(&self.window_start))),
            (6, Some(quality(&self.quality))),
            (7, Some(heart_rate(&self.heart_rate))),
            (8, self.suspect_electrode.map(words::electrode)),
        ]
    }

    fn take(head: RecordHead, fields: &mut Fields) -> Result<Self, CborError> {
        Ok(Self {
            head,
            acquisition: words::read_acquisition_id(fields.required(4, "acquisition")?)?,
            window_start: words::read_anchor(fields.required(5, "window start")?)?,
            quality: read_quality(fields.required(6, "quality")?)?,
            heart_rate: read_heart_rate(fields.required(7, "heart rate")?)?,
            suspect_electrode: fields
                .optional(8, "suspect electrode")
                .map(words::read_electrode)
                .transpose()?,
        })
    }
}

fn quality(facts: &QualityFactsV1) -> Value {
    let labelled = |(label, quality): &(String, LeadQuality)| {
        let [index, verdict, causes] = words::lead_quality(quality);
        Value::Array(vec![text(label), index, verdict, causes])
    };
    map([
        (1, Some(Value::from(facts.first.0))),
        (2, Some(Value::from(facts.len.0))),
        (
            3,
            Some(Value::Array(words::lead_quality(&facts.overall).into())),
        ),
        (
            4,
            Some(Value::Array(facts.per_lead.iter().map(labelled).collect())),
        ),
        (5, Some(words::algorithm(&facts.algorithm))),
    ])
}

fn read_quality(field: Field) -> Result<QualityFactsV1, CborError> {
    let mut fields = field.fields()?;
    let facts = QualityFactsV1 {
        first: SampleIndex(fields.required(1, "window first")?.u64()?),
        len: SampleCount(fields.required(2, "window length")?.u64()?),
        overall: read_overall(fields.required(3, "overall quality")?)?,
        per_lead: fields
            .required(4, "quality per lead")?
            .items()?
            .map("lead quality", read_labelled)?,
        algorithm: words::read_algorithm(fields.required(5, "quality algorithm")?)?,
    };
    fields.finish()?;
    Ok(facts)
}

fn read_overall(field: Field) -> Result<LeadQuality, CborError> {
    let mut items = field.items()?;
    let (index, verdict) = (items.required("index")?, items.required("verdict")?);
    let quality = words::read_lead_quality(&index, &verdict, items.required("causes")?)?;
    items.finish()?;
    Ok(quality)
}

fn read_labelled(field: Field) -> Result<(String, LeadQuality), CborError> {
    let mut items = field.items()?;
    let label = items.required("lead label")?.text()?;
    let (index, verdict) = (items.required("index")?, items.required("verdict")?);
    let quality = words::read_lead_quality(&index, &verdict, items.required("causes")?)?;
    items.finish()?;
    Ok((label, quality))
}

fn heart_rate(facts: &HeartRateFactsV1) -> Value {
    let finite = facts.bpm.filter(|bpm| bpm.is_finite());
    map([
        (1, finite.map(Value::from)),
        (
            2,
            Some(Value::Array(facts.beats.iter().map(words::beat).collect())),
        ),
        (3, facts.undetermined.as_deref().map(text)),
        (4, Some(words::algorithm(&facts.algorithm))),
    ])
}

fn read_heart_rate(field: Field) -> Result<HeartRateFactsV1, CborError> {
    let mut fields = field.fields()?;
    let facts = HeartRateFactsV1 {
        bpm: fields.optional(1, "bpm").map(|f| f.f64()).transpose()?,
        beats: fields
            .required(2, "beats")?
            .items()?
            .map("beat", words::read_beat)?,
        undetermined: fields
            .optional(3, "undetermined")
            .map(Field::text)
            .transpose()?,
        algorithm: words::read_algorithm(fields.required(4, "heart rate algorithm")?)?,
    };
    fields.finish()?;
    Ok(facts)
}
