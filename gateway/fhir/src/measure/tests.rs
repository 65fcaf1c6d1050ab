use super::*;
use cardio_core::gap::GapCause;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, SignalQualityIndex};
use cardio_core::subject::SubjectRef;

fn context() -> Context {
    Context {
        patient: Some(SubjectRef::new("p1").unwrap()),
        box_device: "phg".to_owned(),
        sensor: "ecg".to_owned(),
        performer: None,
        simulated: false,
    }
}

fn rate(context: &Context) -> HeartRateFacts<'_> {
    HeartRateFacts {
        id: "hr".to_owned(),
        record: RecordId([1; 16]),
        context,
        effective: Effective::At(UtcMicros(1_772_439_310_000_000)),
        bpm: Some(132.0),
        undetermined: None,
        verdict: QualityVerdict::Good,
        algorithm: ("qrs-test", 3),
        interpretation: Some(Interpretation::CriticallyHigh),
        sensor_key: None,
    }
}

#[test]
fn a_heart_rate_in_alarm_has_the_shape_of_the_reference() {
    let context = context();
    let want = json!({
        "resourceType": "Observation",
        "id": "hr",
        "meta": {
            "profile": ["http://hl7.org/fhir/uv/phd/StructureDefinition/PhdNumericObservation", "http://hl7.org/fhir/StructureDefinition/heartrate"],
            "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "RELIABLE"}],
        },
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice", "valueReference": {"reference": "Device/phg"}},
            {"url": "https://ess-cardio.example/fhir/StructureDefinition/algorithm", "valueString": "qrs-test/3"},
        ],
        "identifier": [{"system": "https://ess-cardio.example/fhir/sid/record", "value": "01010101-0101-0101-0101-010101010101"}],
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs", "display": "Vital Signs"}]},
            {"coding": [{"system": "http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories", "code": "phd"}]},
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}, {"system": "urn:iso:std:iso:11073:10101", "code": "147842", "display": "MDC_ECG_HEART_RATE"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-03-02T08:15:10.000Z",
        "valueQuantity": {"value": 132, "unit": "beats/minute", "system": "http://unitsofmeasure.org", "code": "/min"},
        "interpretation": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "code": "HH", "display": "Critical high"}, {"system": "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status", "code": "in-alarm"}]}],
        "device": {"reference": "Device/ecg"},
    });
    assert_eq!(heart_rate_observation(&rate(&context)), want);
}

#[test]
fn the_rate_of_a_window_stands_at_its_end_with_the_window_beside_it() {
    let context = context();
    let got = heart_rate_observation(&HeartRateFacts {
        effective: Effective::Over {
            start: UtcMicros(1_772_439_300_000_000),
            end: UtcMicros(1_772_439_310_000_000),
        },
        ..rate(&context)
    });
    assert_eq!(got["effectiveDateTime"], json!("2026-03-02T08:15:10.000Z"));
    assert_eq!(got.get("effectivePeriod"), None);
    assert_eq!(
        got["extension"][1],
        json!({"url": "https://ess-cardio.example/fhir/StructureDefinition/window", "valuePeriod": {"start": "2026-03-02T08:15:00.000Z", "end": "2026-03-02T08:15:10.000Z"}})
    );
}

#[test]
fn a_missing_rate_has_a_reason_and_no_value() {
    let context = context();
    let got = heart_rate_observation(&HeartRateFacts {
        bpm: None,
        undetermined: Some("too-few-beats"),
        verdict: QualityVerdict::Insufficient,
        ..rate(&context)
    });
    assert_eq!(got.get("valueQuantity"), None);
    assert_eq!(got.get("interpretation"), None);
    assert_eq!(
        got["dataAbsentReason"]["coding"],
        json!([
            {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "error"},
            {"system": "https://ess-cardio.example/fhir/CodeSystem/undetermined", "code": "too-few-beats"},
        ])
    );
    assert_eq!(got["meta"]["security"][0]["code"], json!("UNRELIABLE"));
    let not_a_number = heart_rate_observation(&HeartRateFacts {
        bpm: Some(f64::NAN),
        ..rate(&context)
    });
    assert!(not_a_number.get("dataAbsentReason").is_some());
}

#[test]
fn the_rate_of_an_unassigned_recording_claims_no_profile() {
    let unassigned = Context {
        patient: None,
        ..context()
    };
    let got = heart_rate_observation(&rate(&unassigned));
    assert_eq!(got["meta"].get("profile"), None);
    assert_eq!(got.get("subject"), None);
}

#[test]
fn a_quality_has_the_shape_of_the_reference() {
    let context = context();
    let quality = |index, verdict, causes: &[QualityCause]| LeadQuality {
        index: SignalQualityIndex::clamped(index),
        verdict,
        causes: causes.to_vec(),
    };
    let overall = quality(0.62, QualityVerdict::Acceptable, &[QualityCause::Baseline]);
    let lead = quality(0.1, QualityVerdict::Insufficient, &[QualityCause::LeadOff]);
    let got = quality_observation(&QualityObservationFacts {
        id: "quality".to_owned(),
        record: RecordId([2; 16]),
        context: &context,
        effective: Effective::Over {
            start: UtcMicros(1_772_439_300_000_000),
            end: UtcMicros(1_772_439_300_014_000),
        },
        overall: &overall,
        per_lead: &[("V2".to_owned(), lead)],
        suspect_electrode: Some(Electrode::C2),
        algorithm: ("sqi-ecg", 1),
        derived_from: &["ecg12".to_owned()],
    });
    let want = json!({
        "resourceType": "Observation",
        "id": "quality",
        "status": "final",
        "identifier": [{"system": "https://ess-cardio.example/fhir/sid/record", "value": "02020202-0202-0202-0202-020202020202"}],
        "category": [{"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/observation-category", "code": "signal-quality"}]}],
        "code": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-metric", "code": "signal-quality-index"}], "text": "Signal quality index"},
        "subject": {"reference": "Patient/p1"},
        "effectivePeriod": {"start": "2026-03-02T08:15:00.000Z", "end": "2026-03-02T08:15:00.014Z"},
        "device": {"reference": "Device/phg"},
        "method": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-method", "code": "sqi-ecg", "version": "1"}]},
        "valueQuantity": {"value": 0.62, "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"},
        "interpretation": [{"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-class", "code": "acceptable"}, {"system": "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status", "code": "questionable"}]}],
        "derivedFrom": [{"reference": "Observation/ecg12"}],
        "component": [
            {"code": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-metric", "code": "baseline"}]}, "valueBoolean": true},
            {"code": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-metric", "code": "suspect-electrode"}]}, "valueCodeableConcept": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/electrode", "code": "C2"}], "text": "C2 (V2)"}},
            {
                "extension": [{"url": "https://ess-cardio.example/fhir/StructureDefinition/lead", "valueCoding": {"system": "urn:iso:std:iso:11073:10101", "code": "131332"}}],
                "code": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-metric", "code": "lead-signal-quality-index"}], "text": "V2"},
                "valueQuantity": {"value": 0.1, "unit": "1", "system": "http://unitsofmeasure.org", "code": "1"},
                "interpretation": [
                    {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-class", "code": "insufficient"}]},
                    {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/quality-metric", "code": "lead-off"}]},
                ],
            },
        ],
    });
    assert_eq!(got, want);
}

#[test]
fn a_gap_says_where_how_long_how_sure_and_why() {
    let context = context();
    let got = gap_observation(&GapFacts {
        id: "gap".to_owned(),
        record: RecordId([3; 16]),
        context: &context,
        gap: Gap {
            from: SampleIndex(1000),
            len: SampleCount(125),
            uncertainty: SampleCount(0),
            cause: GapCause::FramesLost,
        },
        rate: SamplingRate::hz(250).unwrap(),
        start: Some(UtcMicros(1_772_439_304_000_000)),
    });
    assert_eq!(got["valueQuantity"]["value"], json!(0.5));
    assert_eq!(
        got["effectivePeriod"]["end"],
        json!("2026-03-02T08:15:04.500Z")
    );
    let values: Vec<_> = got["component"].as_array().unwrap()[..3]
        .iter()
        .map(|part| part["valueQuantity"]["value"].clone())
        .collect();
    assert_eq!(values, [json!(1000), json!(125), json!(0)]);
    assert_eq!(
        got["component"][3]["valueCodeableConcept"]["coding"][0]["code"],
        json!("frames-lost")
    );
}
