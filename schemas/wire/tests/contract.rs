//! Every record and message has an example under `schemas/cddl/examples`, as hexadecimal
//! digits: the contract with other implementations. A change of any byte fails here;
//! `UPDATE_EXPECT=1` rewrites the files, and a person reads the difference.
//!
//! The examples are valid by `schemas/cddl/*.cddl` (its README says how to check that).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

use std::path::Path;

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind, WaveformSpec};
use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::calibration::Calibration;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::electrode::Electrode;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::{RateStretch, SkinContact, ToldRate};
use cardio_core::ids::{AcquisitionId, BootId, BoxId, RecordId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::request::RequestRef;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_core::site::AuscultationSite;
use cardio_core::subject::SubjectRef;
use cardio_core::units::PhysicalUnit;
use cardio_wire::keys::{RecipientPublicKey, SigningKey, TrustedKeys, VerifyingKey};
use cardio_wire::lane::{ChainId, KeyId, Lane};
use cardio_wire::message::{
    Ack, Command, CommandAction, HeardClock, Hello, LaneState, OtherHistory, State,
};
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, AssessmentV1, BoxEventV1, BoxStatusV1,
    CarriedFrameV1, DeviceStatusV1, EndReason, GapV1, HeartRateFactsV1, HeartRatesV1, LaneGapV1,
    ORIGINAL_PART_BYTES, OriginalPartV1, QualityFactsV1, Record, RecordHead, SegmentV1,
    SourceStatusV1,
};
use cardio_wire::visits::{SealedVisits, Visit, VisitList};
use coset::TaggedCborSerializable;
use ring::rand::SystemRandom;

fn check(name: &str, bytes: &[u8]) {
    let file = format!("{}/../cddl/examples/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
        std::fs::write(&file, format!("{digits}\n")).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(digits, expected.trim(), "{file}");
}

fn check_record(name: &str, record: &Record) {
    let bytes = record.encode();
    check(name, &bytes);
    assert_eq!(&Record::decode(&bytes).unwrap(), record);
}

const ACQUISITION: AcquisitionId = AcquisitionId([0xAC; 16]);

fn at(quality: ClockQuality) -> ClockReading {
    ClockReading {
        box_instant: BoxInstant {
            boot: BootId([0xB0; 16]),
            micros: 5_000_000,
        },
        utc: UtcMicros(1_767_225_600_000_000),
        quality,
    }
}

fn head() -> RecordHead {
    RecordHead {
        id: RecordId([0x1D; 16]),
        at: at(ClockQuality::Synchronised { error_us: 250 }),
    }
}

fn anchor() -> TimeAnchor {
    TimeAnchor {
        index: SampleIndex(250),
        at: at(ClockQuality::Unsynchronised),
        uncertainty_us: 4_000,
    }
}

#[test]
fn acquisitions() {
    let spec = |kind, unit| WaveformSpec {
        kind,
        calibration: Calibration::new(1000.5, -2.0, unit).unwrap(),
    };
    let full = Acquisition {
        id: ACQUISITION,
        subject: Some(SubjectRef::new("p-1").unwrap()),
        request: None,
        source: SourceId::new("ecg12-a").unwrap(),
        device: DeviceIdentity {
            maker: Some("Maker".to_owned()),
            model: Some("Model".to_owned()),
            serial: Some("0001".to_owned()),
            firmware: Some("3.1".to_owned()),
            system_id: Some([0x51; 8]),
        },
        integrity: IntegrityClass::Counted,
        rate: SamplingRate::ratio(2441, 10).unwrap(),
        waveforms: vec![
            spec(WaveformKind::Ecg(Lead::Avr), PhysicalUnit::Millivolt),
            spec(
                WaveformKind::EcgOther("MLII".to_owned()),
                PhysicalUnit::Other("uV".to_owned()),
            ),
            spec(
                WaveformKind::HeartSound(Some(AuscultationSite::Mitral)),
                PhysicalUnit::Dimensionless,
            ),
            spec(WaveformKind::HeartSound(None), PhysicalUnit::Dimensionless),
            spec(
                WaveformKind::Other("RESP".to_owned()),
                PhysicalUnit::Dimensionless,
            ),
        ],
        attendance: Attendance::Attended,
    };
    let bare = Acquisition {
        subject: None,
        device: DeviceIdentity::default(),
        waveforms: Vec::new(),
        attendance: Attendance::Unattended,
        ..full.clone()
    };
    let requested = Acquisition {
        request: Some(RequestRef::new("req-1").unwrap()),
        ..bare.clone()
    };
    let all = [("full", full), ("bare", bare), ("requested", requested)];
    for (name, acquisition) in all {
        let record = Record::AcquisitionStarted(AcquisitionStartedV1 {
            head: head(),
            acquisition,
        });
        check_record(&format!("acquisition-started-{name}"), &record);
    }
    let ended = Record::AcquisitionEnded(AcquisitionEndedV1 {
        head: head(),
        acquisition: ACQUISITION,
        end: SampleIndex(7_500),
        segments: 29,
        samples: SampleCount(7_250),
        gaps: 1,
        missing: SampleCount(250),
        repeated_frames: 2,
        reason: EndReason::OperatorStopped,
    });
    check_record("acquisition-ended", &ended);
}

#[test]
fn segments_in_each_encoding() {
    let narrow = vec![vec![1, -1, 8_388_607], vec![0, 2, -8_388_608]];
    let wide = vec![vec![i32::MIN, 7, i32::MAX], vec![i32::MAX, 2, i32::MIN]];
    let line = |step: i32| (0..300).map(|at| (at * step).abs() - 200).collect();
    let packed = vec![line(1), line(-7), vec![0; 300]];
    let each = [
        ("narrow", narrow),
        ("wide", wide),
        ("packed", packed),
        ("empty", Vec::new()),
    ];
    for (name, leads) in each {
        let record = Record::Segment(SegmentV1 {
            head: head(),
            segment: Segment {
                acquisition: ACQUISITION,
                ordinal: 3,
                block: SampleBlock::new(SampleIndex(250), leads).unwrap(),
                anchor: anchor(),
            },
        });
        check_record(&format!("segment-{name}"), &record);
    }
}

#[test]
fn gaps() {
    for cause in GapCause::ALL {
        let near = (cause == GapCause::FramesLost).then(anchor);
        let record = Record::Gap(GapV1 {
            head: head(),
            acquisition: ACQUISITION,
            gap: Gap {
                from: SampleIndex(500),
                len: SampleCount(30),
                uncertainty: SampleCount(1),
                cause,
            },
            near,
        });
        check_record(&format!("gap-{}", cause.name()), &record);
    }
    let lane_gap = Record::LaneGap(LaneGapV1 {
        head: head(),
        lane: Lane::Bulk,
        chain: ChainId([0xC4; 8]),
        from_seq: 5,
        to_seq: 9,
        records: 5,
        reason: LaneGapV1::DAMAGED.to_owned(),
    });
    check_record("lane-gap", &lane_gap);
    let carried = Record::CarriedFrame(CarriedFrameV1 {
        head: head(),
        frame: vec![0xD2, 0x84],
    });
    check_record("carried-frame", &carried);
}

#[test]
fn assessments() {
    let quality = |index, verdict, causes| LeadQuality {
        index: SignalQualityIndex::clamped(index),
        verdict,
        causes,
    };
    let good = quality(1.0, QualityVerdict::Good, Vec::new());
    let bad = quality(
        0.25,
        QualityVerdict::Insufficient,
        QualityCause::ALL.to_vec(),
    );
    let beat = |at, class| Beat {
        at: SampleIndex(at),
        class,
    };
    let full = AssessmentV1 {
        head: head(),
        acquisition: ACQUISITION,
        window_start: anchor(),
        quality: QualityFactsV1 {
            first: SampleIndex(250),
            len: SampleCount(2_500),
            overall: bad.clone(),
            per_lead: vec![("I".to_owned(), good.clone()), ("aVR".to_owned(), bad)],
            algorithm: ("sqi-ecg".to_owned(), 1),
        },
        heart_rate: HeartRateFactsV1 {
            bpm: Some(72.5),
            beats: vec![beat(300, Some(BeatClass::Normal)), beat(510, None)],
            undetermined: None,
            algorithm: ("rr".to_owned(), 2),
        },
        suspect_electrode: Some(Electrode::LeftLeg),
    };
    let undetermined = AssessmentV1 {
        quality: QualityFactsV1 {
            overall: good,
            per_lead: Vec::new(),
            ..full.quality.clone()
        },
        heart_rate: HeartRateFactsV1 {
            bpm: None,
            beats: Vec::new(),
            undetermined: Some("too-few-beats".to_owned()),
            algorithm: ("rr".to_owned(), 2),
        },
        suspect_electrode: None,
        ..full.clone()
    };
    check_record("assessment-full", &Record::Assessment(full));
    check_record("assessment-undetermined", &Record::Assessment(undetermined));
}

#[test]
fn told_rates() {
    let told = |at, bpm, contact, rr: &[u16]| {
        let rr = rr.to_vec();
        (SampleCount(at), ToldRate { bpm, contact, rr })
    };
    let record = Record::HeartRates(HeartRatesV1 {
        head: head(),
        stretch: RateStretch {
            acquisition: ACQUISITION,
            ordinal: 3,
            first: SampleIndex(4096),
            len: SampleCount(3072),
            anchor: anchor(),
            told: vec![
                told(1024, 72, SkinContact::On, &[870, 853]),
                told(2050, 300, SkinContact::Unknown, &[]),
                told(3072, 0, SkinContact::Off, &[65535]),
            ],
        },
    });
    check_record("heart-rates", &record);
}

#[test]
fn device_statuses() {
    let record = Record::DeviceStatus(DeviceStatusV1 {
        head: head(),
        source: SourceId::new("strap").unwrap(),
        acquisition: ACQUISITION,
        battery_percent: 14,
    });
    check_record("device-status", &record);
}

#[test]
fn the_last_part_of_an_original() {
    let record = Record::OriginalPart(OriginalPartV1 {
        head: head(),
        file: [0xF1; 32],
        size: ORIGINAL_PART_BYTES + 4,
        from: ORIGINAL_PART_BYTES,
        part: b"SBEM".to_vec(),
        acquisitions: vec![ACQUISITION, AcquisitionId([0xAD; 16])],
        media_type: "application/octet-stream".to_owned(),
    });
    check_record("original-part", &record);
}

#[test]
fn box_events() {
    for (name, source) in [("source", Some("ecg12-a")), ("own", None)] {
        let record = Record::BoxEvent(BoxEventV1 {
            head: head(),
            code: "source.lost".to_owned(),
            source: source.map(|name| SourceId::new(name).unwrap()),
            detail: "unplugged".to_owned(),
        });
        check_record(&format!("box-event-{name}"), &record);
    }
}

#[test]
fn statuses_of_boxes() {
    let of = |acquisition, silent_s, battery_percent| SourceStatusV1 {
        source: SourceId::new("ecg12-a").unwrap(),
        acquisition,
        silent_s,
        battery_percent,
    };
    let bare = BoxStatusV1 {
        head: head(),
        autonomy_s: None,
        battery_percent: None,
        sources: Vec::new(),
    };
    let full = BoxStatusV1 {
        autonomy_s: Some(90_000),
        battery_percent: Some(64),
        sources: vec![
            of(Some(AcquisitionId([0xA1; 16])), Some(12), Some(14)),
            of(None, None, None),
        ],
        ..bare.clone()
    };
    check_record("box-status-bare", &Record::BoxStatus(bare));
    check_record("box-status-full", &Record::BoxStatus(full));
}

#[test]
fn messages() {
    let key = SigningKey::generate(&SystemRandom::new()).unwrap().0;
    let payload = |signed: Vec<u8>| {
        let sign1 = coset::CoseSign1::from_tagged_slice(&signed).unwrap();
        sign1.payload.unwrap()
    };
    let device = BoxId([0xDE; 16]);
    let chain = ChainId([0xC4; 8]);
    let state = LaneState {
        lane: Lane::Routine,
        chain,
        oldest: 3,
        next: 12,
        head: [0x4E; 32],
        acked: 9,
    };
    let trusted = TrustedKeys {
        recipient: RecipientPublicKey([0x11; 32]),
        control: VerifyingKey([0x22; 32]),
        control_next: VerifyingKey([0x33; 32]),
    };
    let hello = Hello {
        device,
        lanes: vec![state],
        agent_version: "0.1.0".to_owned(),
        at: at(ClockQuality::Unsynchronised),
        free_bytes: 1 << 30,
        keys: trusted.ids(),
        certificate_until: UtcMicros(1_767_225_600_000_000),
        heard: None,
        visits_key: None,
    };
    check("hello", &payload(hello.sign(&key)));
    let heard = HeardClock {
        gateway_utc: UtcMicros(1_767_225_599_000_000),
        micros: 4_000_000,
    };
    let again = Hello {
        heard: Some(heard),
        ..hello
    };
    check("hello-heard", &payload(again.sign(&key)));
    let listening = Hello {
        visits_key: Some(RecipientPublicKey([0x44; 32])),
        ..again
    };
    check("hello-visits", &payload(listening.sign(&key)));
    let another = OtherHistory::Frame {
        seq: 7,
        fingerprint: [0x07; 32],
    };
    for (name, echo_us, other) in [
        ("echo", Some(5_000_000), None),
        ("plain", None, None),
        ("other-frame", None, Some(another)),
        ("ended", None, Some(OtherHistory::Ended)),
    ] {
        let ack = Ack {
            device,
            lane: Lane::Routine,
            chain,
            upto: 9,
            head: [0x4E; 32],
            gateway_utc: UtcMicros(-1),
            echo_us,
            counter: 4,
            other,
        };
        check(&format!("ack-{name}"), &payload(ack.sign(&key)));
    }
    let resend = CommandAction::Resend {
        lane: Lane::Bulk,
        chain,
        from_seq: 2,
    };
    let sealed = SealedVisits {
        recipient: KeyId([0x45; 8]),
        enc: [0x46; 32],
        ct: vec![0x47; 16],
    };
    for (name, action) in [
        ("resend", resend),
        ("rotate", CommandAction::Rotate(trusted)),
        ("revoke", CommandAction::Revoke),
        ("visits", CommandAction::Visits(sealed)),
    ] {
        let command = Command {
            device,
            number: 1,
            expires: UtcMicros(1_767_225_600_000_000),
            action,
        };
        check(&format!("command-{name}"), &payload(command.sign(&key)));
    }
    let online = State {
        device,
        online: true,
        at: at(ClockQuality::Unsynchronised),
    };
    check("state", &payload(online.sign(&key)));
}

#[test]
fn visits() {
    let visit = Visit {
        request: RequestRef::new("req-1").unwrap(),
        subject: SubjectRef::new("p-1").unwrap(),
        name: "ESSAI Visite".to_owned().into(),
        born: Some("1950-01-31".to_owned().into()),
        what: Some("ECG 12 dérivations".to_owned().into()),
        from: Some(UtcMicros(1_767_254_400_000_000)),
        until: Some(UtcMicros(1_767_258_000_000_000)),
    };
    let bare = Visit {
        request: RequestRef::new("req-2").unwrap(),
        born: None,
        what: None,
        from: None,
        until: None,
        ..visit.clone()
    };
    let list = VisitList {
        day: "2026-01-01".to_owned(),
        issued: UtcMicros(1_767_225_600_000_000),
        until: UtcMicros(1_767_308_400_000_000),
        visits: vec![visit, bare],
        left_out: 3,
    };
    let bytes = list.encode();
    check("visits-of-a-day", &bytes);
    assert_eq!(VisitList::decode(&bytes).unwrap(), list);
}

/// The stored frame of the envelope's own tests, without its signature.
#[test]
fn frames() {
    let stored = include_str!("vectors/frame-v1.hex");
    let digits: String = stored.split_whitespace().collect();
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let sign1 = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
    check("frame", &sign1.payload.unwrap());
}
