//! Spans of an ECG as Observations with sampled data.
//!
//! The numbers are the integers that the sensor sent; `origin` and `factor` say what they
//! mean, so nothing is rounded. Derived leads follow from I and II through
//! `cardio_core::limb`, in integers under their own calibration. Deliberately absent: gaps
//! (a span never holds one) and the letters E, L and U.

use std::fmt::Write;

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::clock::UtcMicros;
use cardio_core::index::SampleCount;
use cardio_core::lead::Lead;
use cardio_core::limb;
use cardio_core::quality::QualityVerdict;
use cardio_core::rate::SamplingRate;
use cardio_core::sample::{Adu, SampleBlock};
use cardio_core::subject::SubjectRef;
use cardio_core::units::PhysicalUnit;
use serde_json::{Map, Value, json};

use crate::codes::{
    EXT_COINCIDENT_TIME, EXT_GATEWAY_DEVICE, LOINC, MDC, MEASUREMENT_STATUS, OBSERVATION_CATEGORY,
    OBSERVATION_VALUE, PHD_CATEGORY, PROFILE_RTSA, UCUM, own,
};
use crate::device::SensorKey;
use crate::element::{
    coding, concept, decimal, meta, push, record_identifier, reference, reference_to, resource,
    set, shown, test_label,
};
use crate::time::Effective;

/// The potential of an ECG, whole (MDC_ECG_ELEC_POTL).
const MDC_ECG: &str = "131328";

/// Who and what an observation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The patient; `None` while unassigned.
    pub patient: Option<SubjectRef>,
    /// Logical id of the box's Device.
    pub box_device: String,
    /// Logical id of the sensor's Device.
    pub sensor: String,
    /// Who recorded, as a reference such as `PractitionerRole/nurse1`.
    pub performer: Option<String>,
    /// Whether no patient's body made the data.
    pub simulated: bool,
}

/// A stretch of contiguous samples of an acquisition, at most 10 s long.
#[derive(Clone, Debug)]
pub struct SpanFacts<'a> {
    /// Logical id, see [`crate::ids::waveform_span`].
    pub id: String,
    /// Who and what it is about.
    pub context: &'a Context,
    /// The rows.
    pub waveforms: &'a [WaveformSpec],
    /// Samples of every row.
    pub block: &'a SampleBlock,
    /// The rate of every row.
    pub rate: SamplingRate,
    /// When the first sample was taken.
    pub start: UtcMicros,
    /// Whether a synchronised clock vouches for `start`.
    pub time_is_vouched_for: bool,
    /// Verdict over the span, when it was scored.
    pub verdict: Option<QualityVerdict>,
    /// Logical id of the clock observation, if the sensor has a clock.
    pub clock: Option<String>,
    /// Filing key by the sensor's own time, if it has one.
    pub sensor_key: Option<SensorKey>,
}

/// Why a stretch has no form in FHIR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpanError {
    /// No sample, or no row.
    #[error("Observation.component: the span holds no sample")]
    Empty,
    /// Rows and their descriptions differ in number.
    #[error("Observation.component: {rows} row(s) of samples for {waveforms} described")]
    Rows {
        /// Rows of samples.
        rows: usize,
        /// Rows described.
        waveforms: usize,
    },
    /// A row that is no ECG lead in millivolts: it is filed as a document.
    #[error("Observation.component: '{label}' is no ECG in millivolts and is filed as a document")]
    NotAnEcg {
        /// The row's label.
        label: String,
    },
}

impl SpanError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "fhir.span.empty",
            Self::Rows { .. } => "fhir.span.rows",
            Self::NotAnEcg { .. } => "fhir.span.not-an-ecg",
        }
    }
}

/// A span of an ECG in the form that its leads ask for: one Observation with a value for one
/// lead, one with a component per lead for several.
///
/// # Errors
/// [`SpanError`] when the rows have no such form.
pub fn ecg_observation(facts: &SpanFacts<'_>) -> Result<Value, SpanError> {
    if facts.waveforms.len() == 1 {
        single_lead_observation(facts)
    } else {
        ecg12_observation(facts)
    }
}

/// A span of several leads: plain R4 in the shape of point-of-care sample arrays, with the
/// extensions of personal health devices. Derived leads are added when I and II are measured
/// with one calibration.
///
/// # Errors
/// [`SpanError`] when the rows have no such form.
pub fn ecg12_observation(facts: &SpanFacts<'_>) -> Result<Value, SpanError> {
    check(facts)?;
    let mut observation = common(facts, &[]);
    observation.insert(
        "category".to_owned(),
        json!([
            shown(OBSERVATION_CATEGORY, "procedure", "Procedure"),
            concept(PHD_CATEGORY, "phd"),
        ]),
    );
    observation.insert(
        "code".to_owned(),
        json!({"coding": [coding(LOINC, "11524-6", "EKG study"), coding(MDC, MDC_ECG, "MDC_ECG_ELEC_POTL")]}),
    );
    let mut components: Vec<(usize, Value)> = facts
        .waveforms
        .iter()
        .zip(&facts.block.leads)
        .enumerate()
        .map(|(position, (spec, row))| (order(&spec.kind, position), component(facts, spec, row)))
        .collect();
    components.extend(derived(facts));
    components.sort_by_key(|(order, _)| *order);
    let components: Vec<Value> = components.into_iter().map(|(_, part)| part).collect();
    observation.insert("component".to_owned(), Value::Array(components));
    Ok(Value::Object(observation))
}

/// A span of one lead: PhdRtsaObservation, claimed when the patient is known.
///
/// # Errors
/// [`SpanError`] when there is not exactly one row, or it has no such form.
pub fn single_lead_observation(facts: &SpanFacts<'_>) -> Result<Value, SpanError> {
    check(facts)?;
    let ([spec], [row]) = (facts.waveforms, facts.block.leads.as_slice()) else {
        return Err(SpanError::Rows {
            rows: facts.block.leads.len(),
            waveforms: 1,
        });
    };
    let complete = facts.context.patient.is_some() && facts.time_is_vouched_for;
    let profiles: &[&str] = if complete { &[PROFILE_RTSA] } else { &[] };
    let mut observation = common(facts, profiles);
    observation.insert("category".to_owned(), json!([concept(PHD_CATEGORY, "phd")]));
    observation.insert("code".to_owned(), lead_code(&spec.kind));
    let data = sampled_data(&spec.calibration, facts.rate, row.iter().copied());
    observation.insert("valueSampledData".to_owned(), data);
    Ok(Value::Object(observation))
}

fn check(facts: &SpanFacts<'_>) -> Result<(), SpanError> {
    if facts.block.count().is_empty() {
        return Err(SpanError::Empty);
    }
    if facts.block.leads.len() != facts.waveforms.len() {
        return Err(SpanError::Rows {
            rows: facts.block.leads.len(),
            waveforms: facts.waveforms.len(),
        });
    }
    let is_ecg = |spec: &&WaveformSpec| {
        matches!(spec.kind, WaveformKind::Ecg(_) | WaveformKind::EcgOther(_))
            && spec.calibration.unit() == &PhysicalUnit::Millivolt
    };
    match facts.waveforms.iter().find(|spec| !is_ecg(spec)) {
        Some(spec) => Err(SpanError::NotAnEcg {
            label: spec.kind.label().to_owned(),
        }),
        None => Ok(()),
    }
}

fn common(facts: &SpanFacts<'_>, profiles: &[&str]) -> Map<String, Value> {
    let mut observation = resource("Observation", &facts.id);
    let mut labels = test_label(facts.context.simulated);
    labels.extend(reliability(facts.verdict));
    meta(&mut observation, profiles, labels);
    let key = facts
        .sensor_key
        .as_ref()
        .map_or_else(|| record_identifier(&facts.id), SensorKey::identifier);
    push(&mut observation, "identifier", key);
    if let Some(clock) = &facts.clock {
        let tie =
            json!({"url": EXT_COINCIDENT_TIME, "valueReference": reference("Observation", clock)});
        push(&mut observation, "extension", tie);
    }
    observation.insert("status".to_owned(), json!("final"));
    write_context(&mut observation, facts.context);
    effective(facts).write_into(&mut observation);
    if let Some(rate) = inexact_rate(facts.rate) {
        push(&mut observation, "extension", rate);
    }
    set(
        &mut observation,
        "interpretation",
        questionable(facts.verdict).map(|c| json!([c])),
    );
    observation
}

/// Patient, box, sensor and operator, in the places where the device guide wants them.
pub(crate) fn write_context(observation: &mut Map<String, Value>, context: &Context) {
    push(
        observation,
        "extension",
        json!({"url": EXT_GATEWAY_DEVICE, "valueReference": reference("Device", &context.box_device)}),
    );
    set(observation, "subject", subject(context));
    set(
        observation,
        "performer",
        context
            .performer
            .as_ref()
            .map(|who| json!([reference_to(who)])),
    );
    observation.insert("device".to_owned(), reference("Device", &context.sensor));
}

/// The patient, once known.
pub(crate) fn subject(context: &Context) -> Option<Value> {
    let patient = context.patient.as_ref()?;
    Some(reference("Patient", patient.as_str()))
}

fn effective(facts: &SpanFacts<'_>) -> Effective {
    let last = facts
        .block
        .first
        .after(SampleCount(facts.block.count().0.saturating_sub(1)));
    let length = last.since(facts.block.first).map_or(0, |count| {
        facts
            .rate
            .micros_at(cardio_core::index::SampleIndex(count.0))
    });
    let start = facts.start;
    let end = UtcMicros(
        start
            .0
            .saturating_add(i64::try_from(length).unwrap_or(i64::MAX)),
    );
    if facts.time_is_vouched_for {
        Effective::Over { start, end }
    } else {
        Effective::Unvouched { start, end }
    }
}

/// The label of reliability that follows from a verdict.
pub(crate) fn reliability(verdict: Option<QualityVerdict>) -> Option<Value> {
    let code = match verdict? {
        QualityVerdict::Good => "RELIABLE",
        QualityVerdict::Acceptable => "UNCERTREL",
        QualityVerdict::Insufficient => "UNRELIABLE",
    };
    Some(json!({"system": OBSERVATION_VALUE, "code": code}))
}

/// The measurement status that follows from a verdict.
pub(crate) fn questionable(verdict: Option<QualityVerdict>) -> Option<Value> {
    (verdict? == QualityVerdict::Acceptable)
        .then(|| shown(MEASUREMENT_STATUS, "questionable", "Questionable"))
}

fn component(facts: &SpanFacts<'_>, spec: &WaveformSpec, row: &[Adu]) -> Value {
    json!({
        "code": lead_code(&spec.kind),
        "valueSampledData": sampled_data(&spec.calibration, facts.rate, row.iter().copied()),
    })
}

/// Place of a row among the components: the twelve leads as on paper, then the others.
fn order(kind: &WaveformKind, position: usize) -> usize {
    kind.lead()
        .and_then(|lead| Lead::ALL.iter().position(|other| *other == lead))
        .unwrap_or(Lead::ALL.len().saturating_add(position))
}

fn lead_code(kind: &WaveformKind) -> Value {
    match kind.lead() {
        Some(lead) => {
            let name = lead.name();
            let display = format!("MDC_ECG_ELEC_POTL_{}", name.to_uppercase());
            json!({"coding": [coding(MDC, &lead.mdc_code().to_string(), &display)], "text": name})
        }
        None => {
            json!({"coding": [coding(MDC, MDC_ECG, "MDC_ECG_ELEC_POTL")], "text": kind.label()})
        }
    }
}

/// The leads that follow from I and II and were not measured themselves.
fn derived(facts: &SpanFacts<'_>) -> Vec<(usize, Value)> {
    let (Some((one, i)), Some((two, ii))) = (row_of(facts, Lead::I), row_of(facts, Lead::II))
    else {
        return Vec::new();
    };
    if one != two {
        return Vec::new();
    }
    let missing = limb::DERIVED
        .into_iter()
        .filter(|lead| row_of(facts, *lead).is_none());
    missing
        .filter_map(|lead| {
            let calibration = limb::calibration(lead, one).ok()?;
            let row: Option<Vec<Adu>> = i
                .iter()
                .zip(ii)
                .map(|(i, ii)| limb::sample(lead, *i, *ii))
                .collect();
            let kind = WaveformKind::Ecg(lead);
            let part = match row {
                Some(row) => json!({
                    "code": lead_code(&kind),
                    "valueSampledData": sampled_data(&calibration, facts.rate, row.into_iter()),
                }),
                // The sum leaves the range of a count: said, not rounded.
                None => json!({
                    "code": lead_code(&kind),
                    "dataAbsentReason": concept(crate::codes::DATA_ABSENT_REASON, "error"),
                }),
            };
            Some((order(&kind, 0), part))
        })
        .collect()
}

fn row_of<'a>(facts: &'a SpanFacts<'_>, lead: Lead) -> Option<(&'a Calibration, &'a [Adu])> {
    facts
        .waveforms
        .iter()
        .zip(&facts.block.leads)
        .find(|(spec, _)| spec.kind == WaveformKind::Ecg(lead))
        .map(|(spec, row)| (&spec.calibration, row.as_slice()))
}

fn sampled_data(
    calibration: &Calibration,
    rate: SamplingRate,
    row: impl Iterator<Item = Adu>,
) -> Value {
    let mut data = String::new();
    for adu in row {
        if !data.is_empty() {
            data.push(' ');
        }
        // Writing into a String cannot fail.
        let _ = write!(data, "{adu}");
    }
    json!({
        "origin": {"value": decimal(calibration.value(0)), "unit": "mV", "system": UCUM, "code": "mV"},
        "period": decimal(period_ms(rate)),
        "factor": decimal(calibration.gain_adu_per_unit().recip()),
        "dimensions": 1,
        "data": data,
    })
}

fn period_ms(rate: SamplingRate) -> f64 {
    let (samples, seconds) = rate.as_ratio();
    f64::from(seconds) * 1_000.0 / f64::from(samples)
}

/// The exact rate, for a period that no finite decimal holds (360 Hz is 2.777… ms).
fn inexact_rate(rate: SamplingRate) -> Option<Value> {
    let (samples, seconds) = rate.as_ratio();
    let mut rest = samples;
    for prime in [2, 5] {
        while rest % prime == 0 {
            rest /= prime;
        }
    }
    // What is left of the denominator must divide the numerator, 1000 x seconds.
    let exact = (u64::from(seconds) * 1_000).is_multiple_of(u64::from(rest.max(1)));
    (!exact).then(|| {
        json!({
            "url": own::EXT_SAMPLING_RATE,
            "valueRatio": {
                "numerator": {"value": samples, "unit": "samples", "system": UCUM, "code": "1"},
                "denominator": {"value": seconds, "unit": "s", "system": UCUM, "code": "s"},
            },
        })
    })
}

#[cfg(test)]
mod tests;
