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
mod tests {
    use super::*;
    use cardio_core::index::SampleIndex;
    use proptest::prelude::*;

    const ROW: [Adu; 8] = [0, 4, 8, 12, 40, 120, -30, 0];

    fn context() -> Context {
        Context {
            patient: Some(SubjectRef::new("p1").unwrap()),
            box_device: "phg".to_owned(),
            sensor: "ecg".to_owned(),
            performer: Some("PractitionerRole/nurse1".to_owned()),
            simulated: false,
        }
    }

    fn spec(lead: Lead, gain: f64, baseline: f64) -> WaveformSpec {
        WaveformSpec {
            kind: WaveformKind::Ecg(lead),
            calibration: Calibration::millivolts(gain, baseline).unwrap(),
        }
    }

    fn facts<'a>(
        context: &'a Context,
        waveforms: &'a [WaveformSpec],
        block: &'a SampleBlock,
    ) -> SpanFacts<'a> {
        SpanFacts {
            id: "span".to_owned(),
            context,
            waveforms,
            block,
            rate: SamplingRate::hz(500).unwrap(),
            start: UtcMicros(1_772_439_300_000_000),
            time_is_vouched_for: true,
            verdict: None,
            clock: Some("coin".to_owned()),
            sensor_key: None,
        }
    }

    fn block(rows: usize) -> SampleBlock {
        SampleBlock::new(SampleIndex(2500), vec![ROW.to_vec(); rows]).unwrap()
    }

    fn sampled() -> Value {
        json!({
            "origin": {"value": 0, "unit": "mV", "system": "http://unitsofmeasure.org", "code": "mV"},
            "period": 2, "factor": 0.0025, "dimensions": 1, "data": "0 4 8 12 40 120 -30 0",
        })
    }

    #[test]
    fn a_span_of_several_leads_has_the_shape_of_the_reference() {
        let (context, block) = (context(), block(2));
        let waveforms = [spec(Lead::V1, 400.0, 0.0), spec(Lead::I, 400.0, 0.0)];
        let got = ecg_observation(&facts(&context, &waveforms, &block)).unwrap();
        let want = json!({
            "resourceType": "Observation",
            "id": "span",
            "status": "final",
            "identifier": [{"system": "https://ess-cardio.example/fhir/sid/record", "value": "span"}],
            "extension": [
                {"url": "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference", "valueReference": {"reference": "Observation/coin"}},
                {"url": "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice", "valueReference": {"reference": "Device/phg"}},
            ],
            "category": [
                {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "procedure", "display": "Procedure"}]},
                {"coding": [{"system": "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories", "code": "phd"}]},
            ],
            "code": {"coding": [{"system": "http://loinc.org", "code": "11524-6", "display": "EKG study"}, {"system": "urn:iso:std:iso:11073:10101", "code": "131328", "display": "MDC_ECG_ELEC_POTL"}]},
            "subject": {"reference": "Patient/p1"},
            "effectivePeriod": {"start": "2026-03-02T08:15:00.000Z", "end": "2026-03-02T08:15:00.014Z"},
            "performer": [{"reference": "PractitionerRole/nurse1"}],
            "device": {"reference": "Device/ecg"},
            "component": [
                {"code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131329", "display": "MDC_ECG_ELEC_POTL_I"}], "text": "I"}, "valueSampledData": sampled()},
                {"code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131331", "display": "MDC_ECG_ELEC_POTL_V1"}], "text": "V1"}, "valueSampledData": sampled()},
            ],
        });
        assert_eq!(got, want);
    }

    #[test]
    fn a_questionable_span_of_one_lead_has_the_shape_of_the_reference() {
        let (context, block) = (context(), block(1));
        let waveforms = [spec(Lead::II, 400.0, 0.0)];
        let mut facts = facts(&context, &waveforms, &block);
        facts.verdict = Some(QualityVerdict::Acceptable);
        facts.sensor_key = Some(SensorKey {
            system_id: [0xAC, 0xDE, 0x48, 0xFF, 0xFE, 0x23, 0x45, 0x68],
            patient: "p1".to_owned(),
            mdc_code: 131_330,
            ticks_us: 12_345_678_000,
            duration_us: Some(14_000),
        });
        let got = ecg_observation(&facts).unwrap();
        assert_eq!(
            got["meta"],
            json!({
                "profile": ["http://hl7.org/fhir/uv/phd/StructureDefinition/PhdRtsaObservation"],
                "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "UNCERTREL"}],
            })
        );
        assert_eq!(
            got["identifier"],
            json!([{"system": "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation", "value": "ACDE48FFFE234568-p1-131330-12345.678-0.014"}])
        );
        assert_eq!(
            got["category"],
            json!([{"coding": [{"system": "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories", "code": "phd"}]}])
        );
        assert_eq!(
            got["interpretation"],
            json!([{"coding": [{"system": "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status", "code": "questionable", "display": "Questionable"}]}])
        );
        assert_eq!(got["valueSampledData"], sampled());
        assert_eq!(got.get("component"), None);
    }

    #[test]
    fn twelve_leads_come_from_eight_in_the_order_of_the_paper() {
        let (context, block) = (context(), block(8));
        let waveforms = Lead::MEASURED_EIGHT.map(|lead| spec(lead, 200.0, 0.0));
        let got = ecg_observation(&facts(&context, &waveforms, &block)).unwrap();
        let texts: Vec<&str> = got["component"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["code"]["text"].as_str().unwrap())
            .collect();
        assert_eq!(texts, Lead::ALL.map(Lead::name));
    }

    #[test]
    fn leads_are_not_derived_across_different_calibrations() {
        let (context, block) = (context(), block(2));
        let waveforms = [spec(Lead::I, 200.0, 0.0), spec(Lead::II, 400.0, 0.0)];
        let got = ecg_observation(&facts(&context, &waveforms, &block)).unwrap();
        assert_eq!(got["component"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_derived_lead_that_no_count_holds_is_absent_with_a_reason() {
        let context = context();
        let block = SampleBlock::new(SampleIndex(0), vec![vec![i32::MAX], vec![i32::MIN]]).unwrap();
        let waveforms = [spec(Lead::I, 200.0, 0.0), spec(Lead::II, 200.0, 0.0)];
        let got = ecg_observation(&facts(&context, &waveforms, &block)).unwrap();
        assert_eq!(
            got["component"][2]["dataAbsentReason"]["coding"][0]["code"],
            json!("error")
        );
        assert_eq!(got["component"][3]["valueSampledData"]["data"], json!("1"));
    }

    #[test]
    fn a_time_that_nothing_vouches_for_is_not_filed_as_a_time() {
        let (context, block) = (context(), block(1));
        let waveforms = [spec(Lead::II, 400.0, 0.0)];
        let mut facts = facts(&context, &waveforms, &block);
        facts.time_is_vouched_for = false;
        let got = ecg_observation(&facts).unwrap();
        assert_eq!(got["effectivePeriod"].get("start"), None);
        assert_eq!(
            got["effectivePeriod"]["extension"][0]["valueCode"],
            json!("unknown")
        );
        assert!(got["extension"].to_string().contains("stated-time"));
        assert_eq!(got["meta"], json!(null));
    }

    #[test]
    fn a_period_without_a_finite_decimal_says_the_exact_rate() {
        assert_eq!(inexact_rate(SamplingRate::hz(250).unwrap()), None);
        assert_eq!(inexact_rate(SamplingRate::hz(500).unwrap()), None);
        assert_eq!(inexact_rate(SamplingRate::ratio(3, 3).unwrap()), None);
        let got = inexact_rate(SamplingRate::hz(360).unwrap()).unwrap();
        assert_eq!(got["valueRatio"]["numerator"]["value"], json!(360));
    }

    #[test]
    fn what_is_no_ecg_is_filed_another_way() {
        let (context, block) = (context(), block(1));
        let waveforms = [WaveformSpec {
            kind: WaveformKind::HeartSound(None),
            calibration: Calibration::new(1.0, 0.0, PhysicalUnit::Dimensionless).unwrap(),
        }];
        let err = ecg_observation(&facts(&context, &waveforms, &block)).unwrap_err();
        assert_eq!(err.code(), "fhir.span.not-an-ecg");
        let err = ecg_observation(&facts(&context, &[], &block)).unwrap_err();
        assert_eq!(err.code(), "fhir.span.rows");
    }

    proptest! {
        #[test]
        fn every_lead_reads_back_as_the_sensor_measured_it(
            i in -8_388_608_i32..8_388_608, ii in -8_388_608_i32..8_388_608,
            gain in 1.0_f64..50_000.0, baseline in -2_000_i32..2_000,
        ) {
            let context = context();
            let block = SampleBlock::new(SampleIndex(0), vec![vec![i], vec![ii]]).unwrap();
            let waveforms = [spec(Lead::I, gain, f64::from(baseline)), spec(Lead::II, gain, f64::from(baseline))];
            let got = ecg_observation(&facts(&context, &waveforms, &block)).unwrap();
            let read = |place: usize| {
                let data = &got["component"][place]["valueSampledData"];
                let adu: f64 = data["data"].as_str().unwrap().parse().unwrap();
                data["origin"]["value"].as_f64().unwrap() + data["factor"].as_f64().unwrap() * adu
            };
            let measured = Calibration::millivolts(gain, f64::from(baseline)).unwrap();
            let (mv_i, mv_ii) = (measured.value(i), measured.value(ii));
            let want = [mv_i, mv_ii, mv_ii - mv_i, -(mv_i + mv_ii) / 2.0, mv_i - mv_ii / 2.0, mv_ii - mv_i / 2.0];
            for (place, want) in want.into_iter().enumerate() {
                prop_assert!((read(place) - want).abs() <= 1e-9 * (1.0 + mv_i.abs() + mv_ii.abs()), "{place}");
            }
            prop_assert_eq!(got["component"][0]["valueSampledData"]["data"].as_str().unwrap(), i.to_string());
        }
    }
}
