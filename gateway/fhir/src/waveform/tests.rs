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
