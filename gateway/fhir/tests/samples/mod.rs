//! One of each resource that the gateway files, in its fullest and in its barest form.

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::clock::UtcMicros;
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::electrode::Electrode;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::ids::{AcquisitionId, BoxId, RecordId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::subject::SubjectRef;
use cardio_fhir::alert::{
    AlertFacts, AlertPriority, AlertState, Assignment, Closing, Delivery, communication,
    detected_issue, task,
};
use cardio_fhir::audit::{AuditFacts, Deed, Outcome, audit_event};
use cardio_fhir::device::{
    BoxFacts, ClockFacts, SensorFacts, SensorKey, TimeSync, box_device, clock_observation,
    sensor_device,
};
use cardio_fhir::ids;
use cardio_fhir::indicator::{Figure, Reporting, measure_report};
use cardio_fhir::ins::{Ins, InsKind};
use cardio_fhir::measure::{
    GapFacts, HeartRateFacts, Interpretation, QualityObservationFacts, gap_observation,
    heart_rate_observation, quality_observation,
};
use cardio_fhir::patient::{BirthPlace, Gender, IdentityStatus, PatientFacts, patient};
use cardio_fhir::report::{
    ChainStretch, DocumentFacts, ExamKind, ProvenanceFacts, Reading, ReportFacts, ReportStatus,
    attestation, binary, diagnostic_report, document_reference, provenance,
};
use cardio_fhir::rest::{
    CapabilityFacts, Found, Issue, Searchset, Served, Severity, capability_statement,
    filing_bundle, operation_outcome, searchset_bundle,
};
use cardio_fhir::time::Effective;
use cardio_fhir::told::{BatteryFacts, IntervalFacts, battery_observation, interval_observation};
use cardio_fhir::waveform::{Context, SpanFacts, ecg_observation};
use serde_json::Value;

const START: UtcMicros = UtcMicros(1_772_439_300_000_000);
const BOX: BoxId = BoxId([7; 16]);
const ACQUISITION: AcquisitionId = AcquisitionId([4; 16]);
/// An exam that a doctor has read.
const SIGNED: AcquisitionId = AcquisitionId([0x51; 16]);
const EUI: [u8; 8] = [0xAC, 0xDE, 0x48, 0xFF, 0xFE, 0x23, 0x45, 0x68];

/// Named resources: a name that can be a file name, and the resource.
pub(crate) fn all() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    patients(&mut all);
    devices(&mut all);
    for (name, context) in [("assigned", assigned()), ("unassigned", unassigned())] {
        waveforms(&mut all, name, &context);
        measures(&mut all, name, &context);
        reports(&mut all, name, &context);
        alerts(&mut all, name, &context);
    }
    indicators(&mut all);
    audits(&mut all);
    answers(&mut all);
    all
}

fn assigned() -> Context {
    Context {
        patient: Some(SubjectRef::new("p1").unwrap()),
        box_device: ids::box_device(BOX),
        sensor: ids::sensor_device(BOX, &SourceId::new("ecg12-a").unwrap(), &identity()),
        performer: Some("PractitionerRole/nurse1".to_owned()),
        simulated: true,
    }
}

fn unassigned() -> Context {
    Context {
        patient: None,
        performer: None,
        simulated: false,
        ..assigned()
    }
}

fn identity() -> DeviceIdentity {
    DeviceIdentity {
        maker: Some("Simulated".to_owned()),
        model: Some("firmware-sim ECG12".to_owned()),
        serial: Some("SIM-0001".to_owned()),
        firmware: Some("1.0.0".to_owned()),
        system_id: Some(EUI),
    }
}

fn after(micros: i64) -> UtcMicros {
    UtcMicros(START.0 + micros)
}

fn patients(all: &mut Vec<(String, Value)>) {
    let full = PatientFacts {
        id: SubjectRef::new("p1").unwrap(),
        status: IdentityStatus::Qualified,
        ins: Some(Ins::new(InsKind::Test, "123456789012212").unwrap()),
        local_number: Some("ESS-000123".to_owned()),
        birth_family: Some("TESTPATIENT".to_owned()),
        birth_given: vec!["PREMIER".to_owned(), "SECOND".to_owned()],
        used_name: Some(("TESTPATIENT".to_owned(), "SECOND".to_owned())),
        gender: Gender::Male,
        birth_date: Some("1974-12-25".to_owned()),
        birth_place: Some(BirthPlace {
            insee: "01006".to_owned(),
            city: Some("Ambléon".to_owned()),
        }),
        active: true,
        simulated: true,
    };
    let provisional = PatientFacts {
        id: SubjectRef::new("p2").unwrap(),
        status: IdentityStatus::Provisional,
        ins: None,
        birth_place: None,
        birth_date: None,
        used_name: None,
        gender: Gender::Unknown,
        ..full.clone()
    };
    let recovered = PatientFacts {
        id: SubjectRef::new("p3").unwrap(),
        status: IdentityStatus::Recovered,
        ..provisional.clone()
    };
    for (name, facts) in [
        ("ins", full),
        ("provisional", provisional),
        ("recovered", recovered),
    ] {
        all.push((format!("patient-{name}"), patient(&facts).unwrap()));
    }
}

fn devices(all: &mut Vec<(String, Value)>) {
    let full = BoxFacts {
        id: ids::box_device(BOX),
        device: BOX,
        system_id: Some([0xFE, 0xED, 0xAB, 0xEE, 0xDE, 0xAD, 0x77, 0xC3]),
        ethernet: Some([0xAC, 0xDE, 0x48, 0x23, 0x45, 0x67]),
        label: Some("BOX-0007".to_owned()),
        agent_version: "0.1.0".to_owned(),
        time_sync: TimeSync::Ntp,
        active: true,
        simulated: true,
    };
    let bare = BoxFacts {
        id: "box-bare".to_owned(),
        system_id: None,
        ethernet: None,
        label: None,
        time_sync: TimeSync::None,
        active: false,
        simulated: false,
        ..full.clone()
    };
    all.push(("box".to_owned(), box_device(&full)));
    all.push(("box-bare".to_owned(), box_device(&bare)));
    let context = assigned();
    let full = SensorFacts {
        id: context.sensor.clone(),
        device: BOX,
        source: SourceId::new("ecg12-a").unwrap(),
        identity: identity(),
        bluetooth: Some([0xAC, 0xDE, 0x48, 0x23, 0x45, 0x68]),
        measures_ecg: true,
        simulated: true,
    };
    let bare = SensorFacts {
        id: "sensor-bare".to_owned(),
        identity: DeviceIdentity::default(),
        bluetooth: None,
        measures_ecg: false,
        simulated: false,
        ..full.clone()
    };
    all.push(("sensor".to_owned(), sensor_device(&full)));
    all.push(("sensor-bare".to_owned(), sensor_device(&bare)));
    for (name, ticks_us) in [("clock", Some(12_345_678_000)), ("clock-fault", None)] {
        let facts = ClockFacts {
            id: format!("{name}-1"),
            sensor: context.sensor.clone(),
            box_device: context.box_device.clone(),
            ticks_us,
            at: START,
            time_sync: TimeSync::None,
            simulated: true,
        };
        let observation = clock_observation(&facts, IntegrityClass::TimeStamped).unwrap();
        all.push((name.to_owned(), observation));
    }
}

fn waveforms(all: &mut Vec<(String, Value)>, name: &str, context: &Context) {
    let spec = |lead| WaveformSpec {
        kind: WaveformKind::Ecg(lead),
        calibration: Calibration::millivolts(400.0, 0.0).unwrap(),
    };
    let row = vec![0, 4, 8, 12, 40, 120, -30, 0];
    let eight = Lead::MEASURED_EIGHT.map(spec);
    let block = SampleBlock::new(SampleIndex(0), vec![row.clone(); 8]).unwrap();
    let full = SpanFacts {
        id: ids::waveform_span(ACQUISITION, SampleIndex(0)),
        context,
        waveforms: &eight,
        block: &block,
        rate: SamplingRate::hz(500).unwrap(),
        start: START,
        time_is_vouched_for: true,
        verdict: Some(QualityVerdict::Good),
        clock: Some("clock-1".to_owned()),
        sensor_key: None,
    };
    all.push((format!("ecg12-{name}"), ecg_observation(&full).unwrap()));
    let odd = [
        WaveformSpec {
            kind: WaveformKind::EcgOther("MLII".to_owned()),
            calibration: Calibration::millivolts(200.0, 1024.0).unwrap(),
        },
        spec(Lead::V5),
    ];
    let block = SampleBlock::new(SampleIndex(2500), vec![row.clone(); 2]).unwrap();
    let unvouched = SpanFacts {
        id: ids::waveform_span(ACQUISITION, SampleIndex(2500)),
        waveforms: &odd,
        block: &block,
        rate: SamplingRate::hz(360).unwrap(),
        time_is_vouched_for: false,
        verdict: Some(QualityVerdict::Insufficient),
        clock: None,
        ..full.clone()
    };
    all.push((
        format!("ecg2-unvouched-{name}"),
        ecg_observation(&unvouched).unwrap(),
    ));
    let one = [spec(Lead::II)];
    let block = SampleBlock::new(SampleIndex(5000), vec![row]).unwrap();
    let single = SpanFacts {
        id: ids::waveform_span(ACQUISITION, SampleIndex(5000)),
        waveforms: &one,
        block: &block,
        verdict: Some(QualityVerdict::Acceptable),
        sensor_key: context.patient.as_ref().map(|patient| SensorKey {
            system_id: EUI,
            patient: patient.as_str().to_owned(),
            mdc_code: Lead::II.mdc_code(),
            ticks_us: 12_345_678_000,
            duration_us: Some(14_000),
        }),
        ..full
    };
    all.push((format!("ecg1-{name}"), ecg_observation(&single).unwrap()));
}

fn measures(all: &mut Vec<(String, Value)>, name: &str, context: &Context) {
    let record = RecordId([9; 16]);
    let rate = HeartRateFacts {
        id: ids::heart_rate(record),
        record,
        context,
        effective: Effective::Over {
            start: START,
            end: after(10_000_000),
        },
        bpm: Some(132.04),
        undetermined: None,
        verdict: QualityVerdict::Acceptable,
        algorithm: ("qrs", 1),
        interpretation: Some(Interpretation::CriticallyHigh),
        sensor_key: None,
    };
    all.push((format!("heart-rate-{name}"), heart_rate_observation(&rate)));
    let none = HeartRateFacts {
        id: "heart-rate-none".to_owned(),
        effective: Effective::At(START),
        bpm: None,
        undetermined: Some("too-few-beats"),
        verdict: QualityVerdict::Insufficient,
        ..rate
    };
    all.push((
        format!("heart-rate-none-{name}"),
        heart_rate_observation(&none),
    ));
    let quality = |index, verdict, causes: &[QualityCause]| LeadQuality {
        index: SignalQualityIndex::clamped(index),
        verdict,
        causes: causes.to_vec(),
    };
    let overall = quality(0.1, QualityVerdict::Insufficient, &[QualityCause::LeadOff]);
    let per_lead: Vec<(String, LeadQuality)> = Lead::ALL
        .iter()
        .map(|lead| {
            (
                lead.name().to_owned(),
                quality(0.7, QualityVerdict::Acceptable, &[]),
            )
        })
        .collect();
    let spans = [ids::waveform_span(ACQUISITION, SampleIndex(0))];
    let facts = QualityObservationFacts {
        id: ids::quality(record),
        record,
        context,
        effective: Effective::Over {
            start: START,
            end: after(10_000_000),
        },
        overall: &overall,
        per_lead: &per_lead,
        suspect_electrode: Some(Electrode::C2),
        algorithm: ("sqi-ecg", 1),
        derived_from: &spans,
    };
    all.push((format!("quality-{name}"), quality_observation(&facts)));
    let facts = GapFacts {
        id: ids::gap(ACQUISITION, SampleIndex(1000)),
        record,
        context,
        gap: gap(),
        rate: SamplingRate::hz(250).unwrap(),
        start: context.patient.is_some().then_some(START),
    };
    all.push((format!("gap-{name}"), gap_observation(&facts)));
    let facts = IntervalFacts {
        id: ids::intervals(ACQUISITION, SampleIndex(0)),
        context,
        effective: Effective::Over {
            start: START,
            end: after(9_000_000),
        },
        rr: &[870, 853, 1024],
    };
    all.push((format!("intervals-{name}"), interval_observation(&facts)));
    let facts = BatteryFacts {
        id: ids::battery(record),
        record,
        context,
        at: context.patient.is_some().then_some(START),
        percent: 14,
    };
    all.push((format!("battery-{name}"), battery_observation(&facts)));
}

fn gap() -> Gap {
    Gap {
        from: SampleIndex(1000),
        len: SampleCount(125),
        uncertainty: SampleCount(2),
        cause: GapCause::FewerThanTime,
    }
}

fn reports(all: &mut Vec<(String, Value)>, name: &str, context: &Context) {
    let results = [
        ids::waveform_span(ACQUISITION, SampleIndex(0)),
        ids::quality(RecordId([9; 16])),
    ];
    let known = context.patient.is_some();
    let effective = if known {
        Effective::Over {
            start: START,
            end: after(10_000_000),
        }
    } else {
        Effective::Unvouched {
            start: START,
            end: after(10_000_000),
        }
    };
    let report = ReportFacts {
        id: ids::report(ACQUISITION),
        acquisition: ACQUISITION,
        kind: ExamKind::Ecg12,
        context,
        status: if known {
            ReportStatus::Preliminary
        } else {
            ReportStatus::Partial
        },
        effective,
        issued: after(20_000_000),
        organisation: known.then_some("Organization/ess"),
        request: known.then_some("ServiceRequest/req1"),
        results: &results,
        gaps: &[gap()],
        rate: SamplingRate::hz(250).unwrap(),
        reading: None,
    };
    all.push((format!("report-{name}"), diagnostic_report(&report)));
    signed(all, name, &report);
    let media_type = "application/cbor-seq";
    let document = DocumentFacts {
        id: ids::document(ACQUISITION, media_type),
        binary: ids::binary(ACQUISITION, media_type),
        acquisition: ACQUISITION,
        kind: ExamKind::Ecg12,
        context,
        description: known.then_some("Fichier d'origine / Original file"),
        media_type,
        size: 3,
        sha1: [0x5a; 20],
        created: after(20_000_000),
        period: known.then_some((START, after(10_000_000))),
        organisation: known.then_some("Organization/ess"),
        reports: std::slice::from_ref(&report.id),
    };
    all.push((format!("document-{name}"), document_reference(&document)));
    let bytes = binary(&document.binary, media_type, &document.id, b"\x01\x02\x03");
    all.push((format!("binary-{name}"), bytes));
    let facts = ProvenanceFacts {
        id: ids::provenance(ACQUISITION),
        context,
        targets: &[format!("DiagnosticReport/{}", report.id)],
        period: known.then_some((START, after(10_000_000))),
        recorded: after(20_000_000),
        chain: &[ChainStretch {
            position: format!("{BOX}/1/0a0a0a0a0a0a0a0a/1-23"),
            head: [0x9f; 32],
            carried: false,
        }],
    };
    all.push((format!("provenance-{name}"), provenance(&facts)));
}

/// The report under a doctor's signature, and the signature.
fn signed(all: &mut Vec<(String, Value)>, name: &str, report: &ReportFacts<'_>) {
    let reading = Reading {
        who: "Practitioner/d1",
        conclusion: "Rythme sinusal, pas d'anomalie.",
        signed: after(600_000_000),
    };
    let report = ReportFacts {
        id: ids::report(SIGNED),
        acquisition: SIGNED,
        status: ReportStatus::Final,
        reading: Some(reading),
        ..report.clone()
    };
    all.push((format!("report-signed-{name}"), diagnostic_report(&report)));
    let version = format!("DiagnosticReport/{}/_history/3", report.id);
    let id = ids::attestation(SIGNED, 3);
    let signature = attestation(&id, &version, &reading, report.context.simulated);
    all.push((format!("provenance-signed-{name}"), signature));
}

fn alerts(all: &mut Vec<(String, Value)>, name: &str, context: &Context) {
    let implicated = [format!("DiagnosticReport/{}", ids::report(ACQUISITION))];
    let evidence = [format!("Observation/{}", ids::quality(RecordId([9; 16])))];
    let known = context.patient.is_some();
    let alert = format!("alert-{name}");
    let facts = AlertFacts {
        alert: &alert,
        code: if known {
            "heart-rate-high"
        } else {
            "box-silent"
        },
        priority: if known {
            AlertPriority::High
        } else {
            AlertPriority::Information
        },
        technical: !known,
        state: if known {
            AlertState::Acknowledged
        } else {
            AlertState::Raised
        },
        text_fr: "Fréquence cardiaque 132/min, au-dessus de 120/min depuis 60\u{a0}s.",
        text_en: "Heart rate 132/min, above 120/min for 60 s.",
        patient: context.patient.as_ref(),
        box_device: &context.box_device,
        began: START,
        ended: known.then(|| after(90_000_000)),
        raised: after(60_000_000),
        modified: after(61_000_000),
        implicated: if known { &implicated } else { &[] },
        evidence: if known { &evidence } else { &[] },
        simulated: context.simulated,
    };
    all.push((format!("issue-{name}"), detected_issue(&facts)));
    let recipient = "PractitionerRole/cardio1";
    let delivery = Delivery {
        recipient,
        sent: after(60_000_000),
        received: known.then(|| after(61_000_000)),
        part_of: None,
        lost: None,
    };
    all.push((
        format!("communication-{name}"),
        communication(&facts, &delivery),
    ));
    let to_person = Delivery {
        recipient: "PractitionerRole/cardio2",
        received: None,
        part_of: Some(recipient),
        lost: Some("undeliverable"),
        ..delivery
    };
    all.push((
        format!("communication-lost-{name}"),
        communication(&facts, &to_person),
    ));
    let until = known.then(|| after(660_000_000));
    let mut work = Assignment {
        recipient,
        taken_by: None,
        closing: None,
        until,
    };
    all.push((format!("task-{name}"), task(&facts, &work)));
    work.taken_by = Some("PractitionerRole/cardio2");
    work.closing = Some(Closing {
        by: "PractitionerRole/cardio2",
        at: after(700_000_000),
        reason: "care-given",
        note: known.then_some("vu avec la patiente"),
    });
    let closed = AlertFacts {
        alert: "alert-closed",
        state: AlertState::Closed,
        ..facts
    };
    all.push((format!("issue-closed-{name}"), detected_issue(&closed)));
    all.push((
        format!("communication-closed-{name}"),
        communication(&closed, &delivery),
    ));
    all.push((format!("task-closed-{name}"), task(&closed, &work)));
}

fn indicators(all: &mut Vec<(String, Value)>) {
    let reporting = Reporting {
        id: "indicators",
        reporter: "PractitionerRole/cardio1",
        made: after(90_000_000),
        from: START,
        to: after(60_000_000),
    };
    let figure = |indicator, stratum: &str, numerator, value, unit| Figure {
        indicator,
        stratum: stratum.to_owned(),
        denominator: 4,
        numerator,
        value,
        unit,
    };
    let figures = [
        figure("first-try-acceptable", "ecg-12", Some(3), Some(0.75), "1"),
        figure("first-try-acceptable", "ecg", Some(0), None, "1"),
        figure("time-to-first-good", "ecg-12", None, Some(14.5), "s"),
    ];
    let report = measure_report(&reporting, &figures);
    all.push(("measure-report".to_owned(), report));
    let bare = measure_report(&reporting, &[]);
    all.push(("measure-report-bare".to_owned(), bare));
}

fn answers(all: &mut Vec<(String, Value)>) {
    let outcome = operation_outcome(&[Issue {
        severity: Severity::Error,
        code: "not-found",
        diagnostics: "Observation/x: not in the record".to_owned(),
        expression: None,
    }]);
    all.push(("outcome".to_owned(), outcome));
    let statement = capability_statement(&CapabilityFacts {
        base_url: "https://gateway.example/fhir",
        version: "0.1.0",
        date: START,
        served: &[
            Served {
                kind: "Observation",
                interactions: &["read", "search-type"],
            },
            Served {
                kind: "Binary",
                interactions: &["read"],
            },
        ],
    });
    all.push(("capabilities".to_owned(), statement));
    let one = all
        .iter()
        .find(|(name, _)| name == "patient-ins")
        .unwrap()
        .1
        .clone();
    let answer = searchset_bundle(Searchset {
        self_url: "https://gateway.example/fhir/Patient?_count=1".to_owned(),
        next_url: Some("https://gateway.example/fhir/Patient?_count=1&_page=2".to_owned()),
        total: Some(2),
        found: vec![Found {
            full_url: "https://gateway.example/fhir/Patient/p1".to_owned(),
            resource: one,
            included: false,
        }],
    });
    all.push(("searchset".to_owned(), answer));
    let filed: Vec<Value> = all
        .iter()
        .filter(|(name, _)| name.ends_with("-assigned") && !name.starts_with("binary"))
        .filter(|(name, _)| !name.starts_with("provenance"))
        .map(|(_, resource)| resource.clone())
        .collect();
    all.push(("filing".to_owned(), filing_bundle(filed).unwrap()));
}

fn audits(all: &mut Vec<(String, Value)>) {
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|&t| t.to_owned()).collect() };
    let report = format!("DiagnosticReport/{}", ids::report(ACQUISITION));
    let (targets, patients) = (texts(&[&report, "Task"]), texts(&["p1", "p2"]));
    let params = texts(&["patient", "date"]);
    for deed in Deed::all() {
        let barest = AuditFacts {
            id: "17",
            at: START,
            deed,
            outcome: Outcome::Done,
            account: "operator",
            person: None,
            address: None,
            server: "localhost",
            targets: &[],
            patients: &[],
            params: &[],
        };
        let fullest = AuditFacts {
            outcome: Outcome::Denied,
            person: Some("Practitioner/n1"),
            address: Some("192.0.2.7"),
            targets: &targets,
            patients: &patients,
            params: &params,
            ..barest.clone()
        };
        all.push((format!("audit-{}", deed.name()), audit_event(&barest)));
        all.push((format!("audit-{}-full", deed.name()), audit_event(&fullest)));
    }
}
