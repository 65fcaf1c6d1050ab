//! Every kind of record: there and back, and against hostile bytes.

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind, WaveformSpec};
use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::calibration::Calibration;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::electrode::Electrode;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::heart_rate::{RateStretch, SkinContact, ToldRate};
use cardio_core::ids::{AcquisitionId, BootId, RecordId, SourceId};
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
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::lane::{ChainId, Lane};

fn reading() -> impl Strategy<Value = ClockReading> {
    (
        any::<[u8; 16]>(),
        any::<u64>(),
        any::<i64>(),
        any::<Option<u64>>(),
    )
        .prop_map(|(boot, micros, utc, error)| ClockReading {
            box_instant: BoxInstant {
                boot: BootId(boot),
                micros,
            },
            utc: UtcMicros(utc),
            quality: error.map_or(ClockQuality::Unsynchronised, |error_us| {
                ClockQuality::Synchronised { error_us }
            }),
        })
}

fn anchor() -> impl Strategy<Value = TimeAnchor> {
    (any::<u64>(), reading(), any::<u64>()).prop_map(|(index, at, uncertainty_us)| TimeAnchor {
        index: SampleIndex(index),
        at,
        uncertainty_us,
    })
}

fn head() -> impl Strategy<Value = RecordHead> {
    (any::<[u8; 16]>(), reading()).prop_map(|(id, at)| RecordHead {
        id: RecordId(id),
        at,
    })
}

fn acquisition_id() -> impl Strategy<Value = AcquisitionId> {
    any::<[u8; 16]>().prop_map(AcquisitionId)
}

fn source() -> impl Strategy<Value = SourceId> {
    "[a-z0-9._-]{1,64}".prop_map(|name| SourceId::new(&name).unwrap())
}

fn waveform() -> impl Strategy<Value = WaveformSpec> {
    let kind = prop_oneof![
        select(&Lead::ALL[..]).prop_map(WaveformKind::Ecg),
        any::<String>().prop_map(WaveformKind::EcgOther),
        option::of(select(&AuscultationSite::ALL[..])).prop_map(WaveformKind::HeartSound),
        any::<String>().prop_map(WaveformKind::Other),
    ];
    let unit = prop_oneof![
        Just(PhysicalUnit::Millivolt),
        Just(PhysicalUnit::Dimensionless),
        any::<String>().prop_map(PhysicalUnit::Other),
    ];
    let gain = any::<f64>().prop_filter("a gain", |gain| gain.is_finite() && *gain != 0.0);
    let baseline = any::<f64>().prop_filter("a baseline", |baseline| baseline.is_finite());
    (kind, gain, baseline, unit).prop_map(|(kind, gain, baseline, unit)| WaveformSpec {
        kind,
        calibration: Calibration::new(gain, baseline, unit).unwrap(),
    })
}

fn acquisition() -> impl Strategy<Value = Acquisition> {
    let text = || any::<Option<String>>();
    let device = (text(), text(), text(), text(), any::<Option<[u8; 8]>>()).prop_map(
        |(maker, model, serial, firmware, system_id)| DeviceIdentity {
            maker,
            model,
            serial,
            firmware,
            system_id,
        },
    );
    let integrity = select(vec![
        IntegrityClass::TimeStamped,
        IntegrityClass::Counted,
        IntegrityClass::Uncounted,
        IntegrityClass::File,
    ]);
    let attendance = select(vec![Attendance::Attended, Attendance::Unattended]);
    let rate = (1_u32.., 1_u32..).prop_map(|(a, b)| SamplingRate::ratio(a, b).unwrap());
    (
        acquisition_id(),
        option::of("[A-Za-z0-9.-]{1,64}"),
        source(),
        device,
        integrity,
        rate,
        vec(waveform(), 0..13),
        (attendance, option::of("[A-Za-z0-9.-]{1,64}")),
    )
        .prop_map(
            |(id, subject, source, device, integrity, rate, waveforms, (attendance, request))| {
                Acquisition {
                    id,
                    subject: subject.map(|text| SubjectRef::new(&text).unwrap()),
                    request: request.map(|text| RequestRef::new(&text).unwrap()),
                    source,
                    device,
                    integrity,
                    rate,
                    waveforms,
                    attendance,
                }
            },
        )
}

fn rows() -> impl Strategy<Value = Vec<Vec<i32>>> {
    let narrow = -(1 << 23)..(1 << 23);
    (0_usize..13, 0_usize..600, any::<bool>()).prop_flat_map(move |(rows, len, wide)| {
        let sample = if wide {
            any::<i32>().boxed()
        } else {
            narrow.clone().boxed()
        };
        vec(vec(sample, len), rows)
    })
}

fn lead_quality() -> impl Strategy<Value = LeadQuality> {
    let verdict = select(vec![
        QualityVerdict::Insufficient,
        QualityVerdict::Acceptable,
        QualityVerdict::Good,
    ]);
    let causes = vec(select(&QualityCause::ALL[..]), 0..5);
    (0.0..=1.0, verdict, causes).prop_map(|(index, verdict, causes)| LeadQuality {
        index: SignalQualityIndex::clamped(index),
        verdict,
        causes,
    })
}

fn assessment() -> impl Strategy<Value = Record> {
    let algorithm = || (any::<String>(), any::<u32>());
    let quality = (
        any::<(u64, u64)>(),
        lead_quality(),
        vec((any::<String>(), lead_quality()), 0..13),
        algorithm(),
    )
        .prop_map(
            |((first, len), overall, per_lead, algorithm)| QualityFactsV1 {
                first: SampleIndex(first),
                len: SampleCount(len),
                overall,
                per_lead,
                algorithm,
            },
        );
    let class = select(vec![
        BeatClass::Normal,
        BeatClass::Supraventricular,
        BeatClass::Ventricular,
        BeatClass::Fusion,
        BeatClass::Unknown,
    ]);
    let beat = (any::<u64>(), option::of(class)).prop_map(|(at, class)| Beat {
        at: SampleIndex(at),
        class,
    });
    let heart_rate = (
        option::of(0.0..400.0),
        vec(beat, 0..30),
        any::<Option<String>>(),
        algorithm(),
    )
        .prop_map(|(bpm, beats, undetermined, algorithm)| HeartRateFactsV1 {
            bpm,
            beats,
            undetermined,
            algorithm,
        });
    let electrode = option::of(select(&Electrode::ALL[..]));
    (
        head(),
        acquisition_id(),
        anchor(),
        quality,
        heart_rate,
        electrode,
    )
        .prop_map(
            |(head, acquisition, window_start, quality, heart_rate, suspect_electrode)| {
                Record::Assessment(AssessmentV1 {
                    head,
                    acquisition,
                    window_start,
                    quality,
                    heart_rate,
                    suspect_electrode,
                })
            },
        )
}

fn segment() -> impl Strategy<Value = Record> {
    (
        head(),
        acquisition_id(),
        any::<(u64, u64)>(),
        rows(),
        anchor(),
    )
        .prop_map(|(head, acquisition, (ordinal, first), leads, anchor)| {
            let block = SampleBlock::new(SampleIndex(first), leads).unwrap();
            Record::Segment(SegmentV1 {
                head,
                segment: Segment {
                    acquisition,
                    ordinal,
                    block,
                    anchor,
                },
            })
        })
}

fn gap() -> impl Strategy<Value = Record> {
    let cause = select(&GapCause::ALL[..]);
    let gap = (any::<(u64, u64, u64)>(), cause).prop_map(|((from, len, uncertainty), cause)| Gap {
        from: SampleIndex(from),
        len: SampleCount(len),
        uncertainty: SampleCount(uncertainty),
        cause,
    });
    (head(), acquisition_id(), gap, option::of(anchor())).prop_map(
        |(head, acquisition, gap, near)| {
            Record::Gap(GapV1 {
                head,
                acquisition,
                gap,
                near,
            })
        },
    )
}

fn ended() -> impl Strategy<Value = Record> {
    let numbers = any::<(u64, u64, u64, u64, u64, u64)>();
    let reason = select(&EndReason::ALL[..]);
    (head(), acquisition_id(), numbers, reason).prop_map(
        |(head, acquisition, (end, segments, samples, gaps, missing, repeated_frames), reason)| {
            Record::AcquisitionEnded(AcquisitionEndedV1 {
                head,
                acquisition,
                end: SampleIndex(end),
                segments,
                samples: SampleCount(samples),
                gaps,
                missing: SampleCount(missing),
                repeated_frames,
                reason,
            })
        },
    )
}

fn told_rate() -> impl Strategy<Value = ToldRate> {
    let contact = select(vec![
        SkinContact::Unknown,
        SkinContact::Off,
        SkinContact::On,
    ]);
    (any::<u16>(), contact, vec(any::<u16>(), 0..12)).prop_map(|(bpm, contact, rr)| ToldRate {
        bpm,
        contact,
        rr,
    })
}

fn heart_rates() -> impl Strategy<Value = Record> {
    let told = vec((0_u64..6_000, told_rate()), 0..8);
    let place = (any::<u64>(), any::<u64>(), 6_000_u64..10_000);
    (head(), acquisition_id(), place, anchor(), told).prop_map(
        |(head, acquisition, (ordinal, first, len), anchor, mut told)| {
            told.sort_by_key(|(at, _)| *at);
            let told = told.into_iter();
            Record::HeartRates(HeartRatesV1 {
                head,
                stretch: RateStretch {
                    acquisition,
                    ordinal,
                    first: SampleIndex(first),
                    len: SampleCount(len),
                    anchor,
                    told: told.map(|(at, rate)| (SampleCount(at), rate)).collect(),
                },
            })
        },
    )
}

fn device_status() -> impl Strategy<Value = Record> {
    (head(), acquisition_id(), source(), 0_u8..=100).prop_map(
        |(head, acquisition, source, battery_percent)| {
            Record::DeviceStatus(DeviceStatusV1 {
                head,
                source,
                acquisition,
                battery_percent,
            })
        },
    )
}

fn original_part() -> impl Strategy<Value = Record> {
    let place = (1_u64..5 * ORIGINAL_PART_BYTES)
        .prop_flat_map(|size| (Just(size), 0..OriginalPartV1::parts_of(size)));
    let media_type = "[a-z]{1,12}/[A-Za-z0-9.+-]{1,30}";
    let acquisitions = vec(acquisition_id(), 1..4);
    (
        head(),
        any::<([u8; 32], u8)>(),
        place,
        acquisitions,
        media_type,
    )
        .prop_map(
            |(head, (file, byte), (size, part), acquisitions, media_type)| {
                let from = part * ORIGINAL_PART_BYTES;
                let len = usize::try_from(OriginalPartV1::len_at(size, from)).unwrap();
                Record::OriginalPart(OriginalPartV1 {
                    head,
                    file,
                    size,
                    from,
                    part: vec![byte; len],
                    acquisitions,
                    media_type,
                })
            },
        )
}

fn record() -> impl Strategy<Value = Record> {
    let lane_gap = (
        head(),
        select(&Lane::ALL[..]),
        any::<([u8; 8], u64, u64, u64, String)>(),
    )
        .prop_map(|(head, lane, (chain, from_seq, to_seq, records, reason))| {
            Record::LaneGap(LaneGapV1 {
                head,
                lane,
                chain: ChainId(chain),
                from_seq,
                to_seq,
                records,
                reason,
            })
        });
    let event = (head(), any::<(String, String)>(), option::of(source())).prop_map(
        |(head, (code, detail), source)| {
            Record::BoxEvent(BoxEventV1 {
                head,
                code,
                source,
                detail,
            })
        },
    );
    let carried = (head(), vec(any::<u8>(), 0..600))
        .prop_map(|(head, frame)| Record::CarriedFrame(CarriedFrameV1 { head, frame }));
    let of_source = (
        source(),
        option::of(any::<[u8; 16]>()),
        any::<Option<u64>>(),
        option::of(0..=100_u8),
    )
        .prop_map(
            |(source, acquisition, silent_s, battery_percent)| SourceStatusV1 {
                source,
                acquisition: acquisition.map(AcquisitionId),
                silent_s,
                battery_percent,
            },
        );
    let status = (
        head(),
        any::<Option<u64>>(),
        option::of(0..=100_u8),
        vec(of_source, 0..5),
    )
        .prop_map(|(head, autonomy_s, battery_percent, sources)| {
            Record::BoxStatus(BoxStatusV1 {
                head,
                autonomy_s,
                battery_percent,
                sources,
            })
        });
    let started = (head(), acquisition()).prop_map(|(head, acquisition)| {
        Record::AcquisitionStarted(AcquisitionStartedV1 { head, acquisition })
    });
    prop_oneof![
        heart_rates(),
        device_status(),
        original_part(),
        started,
        segment(),
        gap(),
        assessment(),
        ended(),
        lane_gap,
        event,
        carried,
        status
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_encodes_decodes_to_the_same_record(record in record()) {
        let bytes = record.encode();
        prop_assert_eq!(Record::decode(&bytes).unwrap(), record);
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>) {
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(record.encode(), bytes);
        }
    }

    #[test]
    fn a_damaged_record_is_another_record_or_an_error(
        record in record(), at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let mut bytes = record.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Record::decode(&bytes) {
            prop_assert_eq!(&other.encode(), &bytes);
            // As values zero and minus zero are equal; what they say of themselves differs.
            prop_assert_ne!(format!("{other:?}"), format!("{record:?}"));
        }
    }

    #[test]
    fn a_cut_record_is_an_error(record in record(), at: prop::sample::Index) {
        let bytes = record.encode();
        prop_assert!(Record::decode(&bytes[..at.index(bytes.len())]).is_err());
    }
}

fn event() -> BoxEventV1 {
    BoxEventV1 {
        head: RecordHead {
            id: RecordId([7; 16]),
            at: ClockReading {
                box_instant: BoxInstant {
                    boot: BootId([1; 16]),
                    micros: 5,
                },
                utc: UtcMicros(-1),
                quality: ClockQuality::Unsynchronised,
            },
        },
        code: "source.lost".to_owned(),
        source: None,
        detail: String::new(),
    }
}

#[test]
fn an_event_has_exactly_these_bytes() {
    let mut expected = vec![0xA6, 0x00, 0x07, 0x01, 0x01, 0x02, 0x50];
    expected.extend([7; 16]);
    expected.extend([0x03, 0x84, 0x50]);
    expected.extend([1; 16]);
    expected.extend([0x05, 0x20, 0xF6, 0x04, 0x6B]);
    expected.extend(b"source.lost");
    expected.extend([0x06, 0x60]);
    assert_eq!(Record::BoxEvent(event()).encode(), expected);
}

#[test]
fn a_later_kind_or_version_is_told_apart_from_damage() {
    let bytes = Record::BoxEvent(event()).encode();
    let mut later = bytes.clone();
    later[4] = 2;
    let err = Record::decode(&later).unwrap_err();
    assert_eq!(err.code(), "record.unknown-version");
    assert!(err.is_for_a_later_version());
    let mut kind = bytes;
    kind[2] = 0x17;
    let err = Record::decode(&kind).unwrap_err();
    assert_eq!(err, RecordError::UnknownKind { kind: 23 });
    assert!(err.is_for_a_later_version());
}

#[test]
fn rates_out_of_order_or_beyond_their_stretch_are_refused() {
    let told = |at: &[u64]| {
        let rate = ToldRate {
            bpm: 60,
            contact: SkinContact::On,
            rr: vec![1024],
        };
        let each = at.iter().map(|at| (SampleCount(*at), rate.clone()));
        let head = event().head;
        let record = Record::HeartRates(HeartRatesV1 {
            head,
            stretch: RateStretch {
                acquisition: AcquisitionId([3; 16]),
                ordinal: 0,
                first: SampleIndex(0),
                len: SampleCount(2048),
                anchor: TimeAnchor {
                    index: SampleIndex(0),
                    at: head.at,
                    uncertainty_us: 0,
                },
                told: each.collect(),
            },
        });
        Record::decode(&record.encode()).map_err(|err| err.code())
    };
    assert!(told(&[1024, 1024, 2048]).is_ok());
    assert_eq!(told(&[1024, 1000]), Err("record.field"));
    assert_eq!(told(&[1024, 2049]), Err("record.field"));
}

#[test]
fn a_charge_above_a_hundred_is_refused() {
    let record = Record::DeviceStatus(DeviceStatusV1 {
        head: event().head,
        source: SourceId::new("strap").unwrap(),
        acquisition: AcquisitionId([3; 16]),
        battery_percent: 101,
    });
    let refused = Record::decode(&record.encode()).unwrap_err();
    assert_eq!(refused.code(), "record.field");
}

#[test]
fn a_wrong_field_is_named() {
    let mut bytes = Record::BoxEvent(event()).encode();
    let last = bytes.len() - 1;
    bytes[last] = 0x00;
    let err = Record::decode(&bytes).unwrap_err();
    assert_eq!(
        err.to_string(),
        "cannot read a field of the box-event record"
    );
    let source = std::error::Error::source(&err).unwrap();
    assert_eq!(source.to_string(), "detail is not a text");
}

#[test]
fn an_extra_field_is_refused() {
    let mut bytes = Record::BoxEvent(event()).encode();
    bytes[0] = 0xA7;
    bytes.extend([0x17, 0x00]);
    assert_eq!(Record::decode(&bytes).unwrap_err().code(), "record.field");
}

#[test]
fn a_heart_rate_that_is_no_number_is_written_as_undetermined() {
    let facts = HeartRateFactsV1 {
        bpm: Some(f64::NAN),
        beats: Vec::new(),
        undetermined: None,
        algorithm: ("rr".to_owned(), 1),
    };
    let quality = LeadQuality {
        index: SignalQualityIndex::clamped(1.0),
        verdict: QualityVerdict::Good,
        causes: Vec::new(),
    };
    let head = event().head;
    let record = Record::Assessment(AssessmentV1 {
        head,
        acquisition: AcquisitionId([3; 16]),
        window_start: TimeAnchor {
            index: SampleIndex(0),
            at: head.at,
            uncertainty_us: 0,
        },
        quality: QualityFactsV1 {
            first: SampleIndex(0),
            len: SampleCount(2500),
            overall: quality,
            per_lead: Vec::new(),
            algorithm: ("sqi".to_owned(), 1),
        },
        heart_rate: facts,
        suspect_electrode: None,
    });
    let Record::Assessment(read) = Record::decode(&record.encode()).unwrap() else {
        panic!("another kind");
    };
    assert_eq!(read.heart_rate.bpm, None);
}

#[test]
fn a_record_id_is_a_uuid_of_version_7_with_its_time() {
    let id = record_id(UtcMicros(0x0123_4567_89AB * 1000), [0xFF; 10]);
    assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
    let before_1970 = record_id(UtcMicros(-5), [0; 10]);
    assert_eq!(
        before_1970.to_string(),
        "00000000-0000-7000-8000-000000000000"
    );
}
