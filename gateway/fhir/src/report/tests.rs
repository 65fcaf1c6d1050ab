use super::*;
use cardio_core::gap::GapCause;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::subject::SubjectRef;

fn context() -> Context {
    Context {
        patient: Some(SubjectRef::new("p1").unwrap()),
        box_device: "phg".to_owned(),
        sensor: "ecg".to_owned(),
        performer: Some("PractitionerRole/nurse1".to_owned()),
        simulated: false,
    }
}

fn report<'a>(context: &'a Context, results: &'a [String], gaps: &'a [Gap]) -> ReportFacts<'a> {
    ReportFacts {
        id: "ecg".to_owned(),
        acquisition: AcquisitionId([4; 16]),
        kind: ExamKind::Ecg,
        context,
        status: ReportStatus::Preliminary,
        reading: None,
        effective: Effective::At(UtcMicros(1_772_439_300_000_000)),
        issued: UtcMicros(1_772_439_360_000_000),
        organisation: Some("Organization/ess"),
        request: Some("ServiceRequest/req1"),
        results,
        gaps,
        rate: SamplingRate::hz(250).unwrap(),
    }
}

#[test]
fn a_report_that_nobody_read_has_the_shape_of_the_reference() {
    let context = context();
    let results = ["ecg12".to_owned(), "quality".to_owned()];
    let want = json!({
        "resourceType": "DiagnosticReport",
        "id": "ecg",
        "identifier": [{"system": "https://ess-cardio.example/fhir/sid/exam", "value": "04040404-0404-0404-0404-040404040404"}],
        "status": "preliminary",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "EC", "display": "Electrocardiac (e.g., EKG,  EEC, Holter)"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "11524-6", "display": "EKG study"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-03-02T08:15:00.000Z",
        "issued": "2026-03-02T08:16:00.000Z",
        "performer": [{"reference": "Organization/ess"}],
        "basedOn": [{"reference": "ServiceRequest/req1"}],
        "result": [{"reference": "Observation/ecg12"}, {"reference": "Observation/quality"}],
        "conclusion": "Aucune interruption du tracé. Non validé par un médecin. / No gap in the recording. Not confirmed by a physician.",
    });
    assert_eq!(diagnostic_report(&report(&context, &results, &[])), want);
}

#[test]
fn what_is_missing_is_said_in_both_languages() {
    let context = context();
    let gap = |len| Gap {
        from: SampleIndex(0),
        len: SampleCount(len),
        uncertainty: SampleCount(0),
        cause: GapCause::FramesLost,
    };
    let got = diagnostic_report(&report(&context, &[], &[gap(125), gap(500)]));
    let text = got["conclusion"].as_str().unwrap();
    assert!(
        text.contains("2 interruptions du tracé, 2,5\u{a0}s au total."),
        "{text}"
    );
    assert!(
        text.contains("2 gaps in the recording, 2.5 s in all."),
        "{text}"
    );
    let got = diagnostic_report(&report(&context, &[], &[gap(250)]));
    let text = got["conclusion"].as_str().unwrap();
    assert!(text.contains("1 gap in the recording, 1 s."), "{text}");
}

#[test]
fn a_signed_report_says_first_what_the_doctor_concluded() {
    let context = context();
    let reading = Reading {
        who: "Practitioner/d1",
        conclusion: "Rythme sinusal.",
        signed: UtcMicros(1_772_439_960_000_000),
    };
    let signed = |status| {
        diagnostic_report(&ReportFacts {
            status,
            reading: Some(reading),
            ..report(&context, &[], &[])
        })
    };
    let got = signed(ReportStatus::Final);
    assert_eq!(got["status"], "final");
    let who = json!([{"reference": "Practitioner/d1"}]);
    assert_eq!(got["resultsInterpreter"], who);
    assert_eq!(
        got["conclusion"],
        "Rythme sinusal.\n\nAucune interruption du tracé. / No gap in the recording."
    );
    let got = signed(ReportStatus::Appended);
    let text = got["conclusion"].as_str().unwrap();
    assert!(text.starts_with("Rythme sinusal.\n\n") && text.contains("après la signature"));
    let origin = attestation("a", "DiagnosticReport/ecg/_history/3", &reading, true);
    assert_eq!(
        origin["target"][0]["reference"],
        "DiagnosticReport/ecg/_history/3"
    );
    assert_eq!(origin["agent"][0]["who"], who[0]);
}

#[test]
fn an_original_file_has_the_shape_of_the_reference() {
    let context = context();
    let got = document_reference(&DocumentFacts {
        id: "0190b3a2-7d3f-7c11-8d52-2f3a5b6c7d90".to_owned(),
        binary: "ecg-1".to_owned(),
        acquisition: AcquisitionId([4; 16]),
        kind: ExamKind::Ecg12,
        context: &context,
        description: None,
        media_type: "application/cbor-seq",
        size: 12,
        sha1: [0; 20],
        created: UtcMicros(1_772_439_630_000_000),
        period: Some((
            UtcMicros(1_772_439_600_000_000),
            UtcMicros(1_772_439_620_000_000),
        )),
        organisation: Some("Organization/ess"),
        reports: &["ecg".to_owned()],
    });
    let want = json!({
        "resourceType": "DocumentReference",
        "id": "0190b3a2-7d3f-7c11-8d52-2f3a5b6c7d90",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0190b3a2-7d3f-7c11-8d52-2f3a5b6c7d90"},
        "identifier": [{"system": "https://ess-cardio.example/fhir/sid/exam", "value": "04040404-0404-0404-0404-040404040404"}],
        "status": "current",
        "docStatus": "preliminary",
        "type": {"coding": [{"system": "https://ess-cardio.example/fhir/CodeSystem/document-type", "code": "ecg-recording"}], "text": "ECG 12 dérivations / 12-lead ECG"},
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "EC", "display": "Electrocardiac (e.g., EKG,  EEC, Holter)"}]}],
        "subject": {"reference": "Patient/p1"},
        "date": "2026-03-02T08:20:30.000Z",
        "author": [{"reference": "Device/phg"}, {"reference": "PractitionerRole/nurse1"}],
        "custodian": {"reference": "Organization/ess"},
        "securityLabel": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N", "display": "normal"}]}],
        "content": [{"attachment": {"contentType": "application/cbor-seq", "language": "fr-FR", "url": "Binary/ecg-1", "size": 12, "hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "title": "ECG 12 dérivations / 12-lead ECG", "creation": "2026-03-02T08:20:30.000Z"}}],
        "context": {"period": {"start": "2026-03-02T08:20:00.000Z", "end": "2026-03-02T08:20:20.000Z"}, "sourcePatientInfo": {"reference": "Patient/p1"}, "related": [{"reference": "DiagnosticReport/ecg"}]},
    });
    assert_eq!(got, want);
}

#[test]
fn provenance_names_the_chain_that_proves_the_origin() {
    let context = context();
    let got = provenance(&ProvenanceFacts {
        id: "pr1".to_owned(),
        context: &context,
        targets: &["DiagnosticReport/ecg".to_owned()],
        period: None,
        recorded: UtcMicros(1_772_439_360_000_000),
        chain: &[ChainStretch {
            position: "box-0007/1/0a/1-23".to_owned(),
            head: [0x9f; 32],
            carried: false,
        }],
    });
    assert_eq!(
        got["agent"],
        json!([
            {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "assembler", "display": "Assembler"}]}, "who": {"reference": "Device/phg"}},
            {"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "performer", "display": "Performer"}]}, "who": {"reference": "PractitionerRole/nurse1"}},
        ])
    );
    let value = got["entity"][0]["what"]["identifier"]["value"]
        .as_str()
        .unwrap();
    assert!(
        value.starts_with("box-0007/1/0a/1-23:sha256:9f9f"),
        "{value}"
    );
    assert_eq!(got["activity"]["coding"][0]["code"], json!("CREATE"));
}

#[test]
fn a_file_travels_as_base64_when_it_travels_as_a_resource() {
    let got = binary("b1", "application/cbor-seq", "d1", b"\x01\x02\x03");
    assert_eq!(got["data"], json!("AQID"));
    assert_eq!(
        got["securityContext"]["reference"],
        json!("DocumentReference/d1")
    );
}
