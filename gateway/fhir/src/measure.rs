//! What was measured on a waveform: heart rate, quality, and where signal is missing.
//!
//! A number is filed with the algorithm that made it. A missing number is filed as missing,
//! with the reason. Deliberately absent: a reference from the heart rate to the waveform,
//! which the vital-sign profile refuses.

use cardio_core::clock::UtcMicros;
use cardio_core::electrode::Electrode;
use cardio_core::gap::Gap;
use cardio_core::ids::RecordId;
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityVerdict};
use cardio_core::rate::SamplingRate;
use serde_json::{Map, Value, json};

use crate::codes::{
    DATA_ABSENT_REASON, INTERPRETATION, LOINC, MDC, MEASUREMENT_STATUS, OBSERVATION_CATEGORY,
    PHD_CATEGORY, PROFILE_HEART_RATE, PROFILE_NUMERIC, own,
};
use crate::device::SensorKey;
use crate::element::{
    coding, concept, decimal, meta, push, quantity, record_key, reference, resource, set, shown,
    test_label,
};
use crate::time::{Effective, period};
use crate::waveform::{Context, questionable, reliability, subject, write_context};

/// Clinical interpretation of a number against the limits of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpretation {
    /// Low.
    Low,
    /// Critically low.
    CriticallyLow,
    /// High.
    High,
    /// Critically high.
    CriticallyHigh,
}

impl Interpretation {
    const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::Low => ("L", "Low"),
            Self::CriticallyLow => ("LL", "Critical low"),
            Self::High => ("H", "High"),
            Self::CriticallyHigh => ("HH", "Critical high"),
        }
    }
}

/// A heart rate, or why there is none.
#[derive(Clone, Debug)]
pub struct HeartRateFacts<'a> {
    /// Logical id, see [`crate::ids::heart_rate`].
    pub id: String,
    /// The assessment that holds it.
    pub record: RecordId,
    /// Who and what it is about.
    pub context: &'a Context,
    /// When.
    pub effective: Effective,
    /// Beats per minute.
    pub bpm: Option<f64>,
    /// Why there is no rate, as a stable word.
    pub undetermined: Option<&'a str>,
    /// Quality of the stretch.
    pub verdict: QualityVerdict,
    /// Name and version of the algorithm.
    pub algorithm: (&'a str, u32),
    /// Against the limits of a rule, if one is crossed.
    pub interpretation: Option<Interpretation>,
    /// Filing key by the sensor's own time, if it has one.
    pub sensor_key: Option<SensorKey>,
}

/// A heart rate. The profiles are claimed when the patient and the time are known.
pub fn heart_rate_observation(facts: &HeartRateFacts<'_>) -> Value {
    let mut observation = resource("Observation", &facts.id);
    let complete =
        facts.context.patient.is_some() && !matches!(facts.effective, Effective::Unvouched { .. });
    let profiles: &[&str] = if complete {
        &[PROFILE_NUMERIC, PROFILE_HEART_RATE]
    } else {
        &[]
    };
    let mut labels = test_label(facts.context.simulated);
    labels.extend(reliability(Some(facts.verdict)));
    meta(&mut observation, profiles, labels);
    let key = facts
        .sensor_key
        .as_ref()
        .map_or_else(|| record_key(facts.record), SensorKey::identifier);
    push(&mut observation, "identifier", key);
    observation.insert("status".to_owned(), json!("final"));
    observation.insert(
        "category".to_owned(),
        json!([
            shown(OBSERVATION_CATEGORY, "vital-signs", "Vital Signs"),
            concept(PHD_CATEGORY, "phd"),
        ]),
    );
    observation.insert(
        "code".to_owned(),
        json!({"coding": [coding(LOINC, "8867-4", "Heart rate"), coding(MDC, "147842", "MDC_ECG_HEART_RATE")]}),
    );
    write_context(&mut observation, facts.context);
    write_instant(&mut observation, facts.effective);
    push(&mut observation, "extension", algorithm(facts.algorithm));
    write_rate(&mut observation, facts);
    for part in interpretations(facts) {
        push(&mut observation, "interpretation", part);
    }
    Value::Object(observation)
}

/// A vital sign has an instant (constraint vs-1): the end of its window, which goes beside it.
fn write_instant(observation: &mut Map<String, Value>, effective: Effective) {
    match effective {
        Effective::Over { start, end } => {
            Effective::At(end).write_into(observation);
            let window = json!({"url": own::EXT_WINDOW, "valuePeriod": period(start, end)});
            push(observation, "extension", window);
        }
        other => other.write_into(observation),
    }
}

fn write_rate(observation: &mut Map<String, Value>, facts: &HeartRateFacts<'_>) {
    match facts.bpm.filter(|bpm| bpm.is_finite()) {
        Some(bpm) => {
            // A tenth of a beat: finer digits are no information.
            let value = quantity((bpm * 10.0).round() / 10.0, "beats/minute", "/min");
            observation.insert("valueQuantity".to_owned(), value);
        }
        None => {
            let code = match facts.verdict {
                QualityVerdict::Insufficient => "error",
                QualityVerdict::Acceptable | QualityVerdict::Good => "temp-unknown",
            };
            let mut codings = vec![json!({"system": DATA_ABSENT_REASON, "code": code})];
            codings.extend(
                facts
                    .undetermined
                    .map(|why| json!({"system": own::UNDETERMINED, "code": why})),
            );
            observation.insert("dataAbsentReason".to_owned(), json!({"coding": codings}));
        }
    }
}

fn interpretations(facts: &HeartRateFacts<'_>) -> Vec<Value> {
    let alarm = facts
        .interpretation
        .filter(|_| facts.bpm.is_some())
        .map(|limit| {
            let (code, display) = limit.code();
            json!({"coding": [
                coding(INTERPRETATION, code, display),
                {"system": MEASUREMENT_STATUS, "code": "in-alarm"},
            ]})
        });
    let status = facts.bpm.and_then(|_| questionable(Some(facts.verdict)));
    alarm.into_iter().chain(status).collect()
}

/// The quality of a window.
#[derive(Clone, Debug)]
pub struct QualityObservationFacts<'a> {
    /// Logical id, see [`crate::ids::quality`].
    pub id: String,
    /// The assessment that holds it.
    pub record: RecordId,
    /// Who and what it is about.
    pub context: &'a Context,
    /// The window.
    pub effective: Effective,
    /// All leads together.
    pub overall: &'a LeadQuality,
    /// Each lead by its label, derived leads too.
    pub per_lead: &'a [(String, LeadQuality)],
    /// The one contact that explains what is wrong, if one does.
    pub suspect_electrode: Option<Electrode>,
    /// Name and version of the algorithm.
    pub algorithm: (&'a str, u32),
    /// Logical ids of the waveform observations that were scored.
    pub derived_from: &'a [String],
}

/// The quality of a window: index, verdict, causes, each lead. The box measured it.
pub fn quality_observation(facts: &QualityObservationFacts<'_>) -> Value {
    let mut observation = resource("Observation", &facts.id);
    meta(&mut observation, &[], test_label(facts.context.simulated));
    observation.insert("status".to_owned(), json!("final"));
    push(&mut observation, "identifier", record_key(facts.record));
    let category = concept(own::OBSERVATION_CATEGORY, "signal-quality");
    observation.insert("category".to_owned(), json!([category]));
    observation.insert(
        "code".to_owned(),
        json!({
            "coding": [{"system": own::QUALITY_METRIC, "code": "signal-quality-index"}],
            "text": "Signal quality index",
        }),
    );
    set(&mut observation, "subject", subject(facts.context));
    facts.effective.write_into(&mut observation);
    observation.insert(
        "device".to_owned(),
        reference("Device", &facts.context.box_device),
    );
    let (name, version) = facts.algorithm;
    observation.insert(
        "method".to_owned(),
        json!({"coding": [{"system": own::QUALITY_METHOD, "code": name, "version": version.to_string()}]}),
    );
    observation.insert("valueQuantity".to_owned(), index(facts.overall));
    observation.insert(
        "interpretation".to_owned(),
        json!([class(facts.overall.verdict)]),
    );
    for id in facts.derived_from {
        push(
            &mut observation,
            "derivedFrom",
            reference("Observation", id),
        );
    }
    for part in quality_components(facts) {
        push(&mut observation, "component", part);
    }
    Value::Object(observation)
}

fn quality_components(facts: &QualityObservationFacts<'_>) -> Vec<Value> {
    let causes = facts.overall.causes.iter().map(
        |cause| json!({"code": concept(own::QUALITY_METRIC, cause.name()), "valueBoolean": true}),
    );
    let electrode = facts.suspect_electrode.map(|electrode| {
        let letters = format!("{} ({})", electrode.iec(), electrode.aha());
        json!({
            "code": concept(own::QUALITY_METRIC, "suspect-electrode"),
            "valueCodeableConcept": {
                "coding": [{"system": own::ELECTRODE, "code": electrode.iec()}],
                "text": letters,
            },
        })
    });
    let leads = facts.per_lead.iter().map(lead_component);
    causes.chain(electrode).chain(leads).collect()
}

/// A lead has a metric of its own: a component may not repeat the code of the whole.
fn lead_component((label, quality): &(String, LeadQuality)) -> Value {
    let mut part = Map::new();
    if let Some(lead) = Lead::from_label(label) {
        let coding = json!({"system": MDC, "code": lead.mdc_code().to_string()});
        part.insert(
            "extension".to_owned(),
            json!([{"url": own::EXT_LEAD, "valueCoding": coding}]),
        );
    }
    part.insert(
        "code".to_owned(),
        json!({
            "coding": [{"system": own::QUALITY_METRIC, "code": "lead-signal-quality-index"}],
            "text": label,
        }),
    );
    part.insert("valueQuantity".to_owned(), index(quality));
    let mut reading = vec![class(quality.verdict)];
    reading.extend(
        quality
            .causes
            .iter()
            .map(|cause| concept(own::QUALITY_METRIC, cause.name())),
    );
    part.insert("interpretation".to_owned(), Value::Array(reading));
    Value::Object(part)
}

fn index(quality: &LeadQuality) -> Value {
    quantity((quality.index.get() * 1_000.0).round() / 1_000.0, "1", "1")
}

fn class(verdict: QualityVerdict) -> Value {
    let mut codings = vec![json!({"system": own::QUALITY_CLASS, "code": verdict.name()})];
    if verdict == QualityVerdict::Acceptable {
        codings.push(json!({"system": MEASUREMENT_STATUS, "code": "questionable"}));
    }
    json!({"coding": codings})
}

/// A known absence of signal.
#[derive(Clone, Debug)]
pub struct GapFacts<'a> {
    /// Logical id, see [`crate::ids::gap`].
    pub id: String,
    /// The record that states it.
    pub record: RecordId,
    /// Who and what it is about.
    pub context: &'a Context,
    /// The absence, in samples of the acquisition.
    pub gap: Gap,
    /// The rate of the acquisition.
    pub rate: SamplingRate,
    /// When it began, if a clock vouches for it.
    pub start: Option<UtcMicros>,
}

/// A known absence of signal: where, how long, how sure, and why.
pub fn gap_observation(facts: &GapFacts<'_>) -> Value {
    let mut observation = resource("Observation", &facts.id);
    meta(&mut observation, &[], test_label(facts.context.simulated));
    observation.insert("status".to_owned(), json!("final"));
    push(&mut observation, "identifier", record_key(facts.record));
    let category = concept(own::OBSERVATION_CATEGORY, "recording");
    observation.insert("category".to_owned(), json!([category]));
    observation.insert(
        "code".to_owned(),
        json!({
            "coding": [{"system": own::RECORDING_METRIC, "code": "gap"}],
            "text": "Missing signal",
        }),
    );
    set(&mut observation, "subject", subject(facts.context));
    if let Some(start) = facts.start {
        let length = i64::try_from(gap_micros(facts.gap, facts.rate)).unwrap_or(i64::MAX);
        let end = UtcMicros(start.0.saturating_add(length));
        Effective::Over { start, end }.write_into(&mut observation);
    }
    observation.insert(
        "device".to_owned(),
        reference("Device", &facts.context.sensor),
    );
    observation.insert(
        "valueQuantity".to_owned(),
        gap_seconds(facts.gap, facts.rate),
    );
    let gap = facts.gap;
    let counts = [
        ("gap-first-sample", gap.from.0),
        ("gap-samples", gap.len.0),
        ("gap-uncertainty-samples", gap.uncertainty.0),
    ];
    for (code, count) in counts {
        push(
            &mut observation,
            "component",
            json!({
                "code": concept(own::RECORDING_METRIC, code),
                "valueQuantity": {"value": count, "unit": "samples", "system": crate::codes::UCUM, "code": "1"},
            }),
        );
    }
    push(
        &mut observation,
        "component",
        json!({
            "code": concept(own::RECORDING_METRIC, "gap-cause"),
            "valueCodeableConcept": concept(own::GAP_CAUSE, gap.cause.name()),
        }),
    );
    Value::Object(observation)
}

pub(crate) fn gap_micros(gap: Gap, rate: SamplingRate) -> u64 {
    rate.micros_at(cardio_core::index::SampleIndex(gap.len.0))
}

fn gap_seconds(gap: Gap, rate: SamplingRate) -> Value {
    let (samples, seconds) = rate.as_ratio();
    let length = u32::try_from(gap.len.0).map_or(f64::INFINITY, f64::from);
    let value = length * f64::from(seconds) / f64::from(samples);
    let mut quantity = quantity(0.0, "s", "s");
    if let Some(field) = quantity.get_mut("value") {
        // Longer than a count of 32 bits: whole seconds are exact enough.
        *field = if value.is_finite() {
            decimal(value)
        } else {
            json!(gap_micros(gap, rate) / 1_000_000)
        };
    }
    quantity
}

fn algorithm((name, version): (&str, u32)) -> Value {
    json!({"url": own::EXT_ALGORITHM, "valueString": format!("{name}/{version}")})
}

#[cfg(test)]
mod tests;
