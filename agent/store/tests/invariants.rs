//! The constraints of the outbox's module head, one by one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::os::unix::fs::PermissionsExt;

use cardio_core::acquisition::{Acquisition, Attendance, WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::clock::{Clock as _, ClockQuality, TimeAnchor, UtcMicros};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::gap::{Gap, GapCause};
use cardio_core::ids::{AcquisitionId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::segment::Segment;
use cardio_core::subject::SubjectRef;
use cardio_store::{AckOutcome, AckRefusal, Resent, SubjectMark, rows_read_only, verify_read_only};
use cardio_wire::envelope::NO_PREVIOUS;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::Ack;
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, EndReason, GapV1, Record, RecordHead, SegmentV1,
};
use support::{Ends, MIB, event, files_of, put, sized_event};

const WEEK_US: u64 = 7 * 24 * 3600 * 1_000_000;

#[test]
fn what_was_stored_is_there_after_a_restart_in_order_and_chained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    for round in 0..3 {
        let outbox = ends.open(&path, 64 * MIB).unwrap();
        for number in 0..10 {
            put(&outbox, Lane::Routine, event(round * 10 + number)).unwrap();
        }
    }
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let expected: Vec<_> = (0..30).map(event).collect();
    assert_eq!(ends.records(&outbox, Lane::Routine, 0), expected);
}

#[test]
fn records_that_wait_together_share_a_commit_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let pending: Vec<_> = (0..200)
        .map(|number| outbox.append(Lane::Bulk, event(number)).unwrap())
        .collect();
    for (number, pending) in (1..).zip(pending) {
        assert_eq!(pending.wait().unwrap().identity.seq, number);
    }
    let expected: Vec<_> = (0..200).map(event).collect();
    assert_eq!(ends.records(&outbox, Lane::Bulk, 0), expected);
}

#[test]
fn dropping_the_last_handle_stores_what_was_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    for number in 0..20 {
        outbox.append_then(Lane::Log, event(number), drop).unwrap();
    }
    drop(outbox);
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    assert_eq!(ends.records(&outbox, Lane::Log, 0).len(), 20);
}

#[test]
fn an_acknowledgement_counts_once_and_frees_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let stored: Vec<_> = (0..5)
        .map(|number| put(&outbox, Lane::Routine, event(number)).unwrap())
        .collect();
    let ack = ends.ack(&stored[2], 7);
    let accepted = AckOutcome::Accepted { upto: 3, newly: 3 };
    assert_eq!(outbox.acked(&ack).unwrap(), accepted);
    let why = AckRefusal::NotNewer;
    assert_eq!(outbox.acked(&ack).unwrap(), AckOutcome::Refused { why });
    let summary = outbox.summary().unwrap().lanes[1];
    assert_eq!((summary.stored, summary.acked, summary.waiting), (5, 3, 2));
    let waiting: usize = stored[3..].iter().map(|stored| stored.bytes).sum();
    assert_eq!(summary.waiting_bytes, u64::try_from(waiting).unwrap());
    assert!(summary.kept_bytes > summary.waiting_bytes);
    // the same place again, newer: nothing new, no harm
    let again = ends.ack(&stored[2], 8);
    let nothing_new = AckOutcome::Accepted { upto: 3, newly: 0 };
    assert_eq!(outbox.acked(&again).unwrap(), nothing_new);
}

#[test]
fn an_acknowledgement_that_does_not_agree_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let stored: Vec<_> = (0..5)
        .map(|number| put(&outbox, Lane::Routine, event(number)).unwrap())
        .collect();
    outbox.acked(&ends.ack(&stored[1], 5)).unwrap();
    let good = ends.ack(&stored[3], 6);
    let refused = |ack: Ack| match outbox.acked(&ack).unwrap() {
        AckOutcome::Refused { why } => why,
        other => panic!("{other:?}: {ack:?}"),
    };
    let device = cardio_core::ids::BoxId([9; 16]);
    assert_eq!(refused(Ack { device, ..good }), AckRefusal::OtherBox);
    let chain = ChainId([9; 8]);
    assert_eq!(refused(Ack { chain, ..good }), AckRefusal::OtherChain);
    assert_eq!(refused(Ack { counter: 5, ..good }), AckRefusal::NotNewer);
    let behind = ends.ack(&stored[0], 6);
    assert_eq!(refused(behind), AckRefusal::Behind);
    let (upto, head) = (0, [9; 32]);
    let nothing = Ack { upto, head, ..good };
    assert_eq!(refused(nothing), AckRefusal::OtherFrame);
    assert_eq!(outbox.summary().unwrap().lanes[1].acked, 2);
    assert_eq!(outbox.lane_states().unwrap()[1].oldest, 1);
}

#[test]
fn acknowledged_frames_are_kept_for_a_week_and_sent_again_when_the_gateway_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let stored: Vec<_> = (0..4)
        .map(|number| put(&outbox, Lane::Routine, event(number)).unwrap())
        .collect();
    let chain = stored[0].identity.chain;
    outbox.acked(&ends.ack(&stored[3], 1)).unwrap();
    let expected = Resent::From { seq: 2, missing: 0 };
    assert_eq!(outbox.resend(Lane::Routine, chain, 2).unwrap(), expected);
    let state = outbox.lane_states().unwrap()[1];
    assert_eq!((state.oldest, state.acked), (1, 1));
    let summary = outbox.summary().unwrap().lanes[1];
    let bytes: usize = stored[1..].iter().map(|stored| stored.bytes).sum();
    assert_eq!(summary.waiting_bytes, u64::try_from(bytes).unwrap());
    // what was taken back is acknowledged again by the same rules
    let ack = ends.ack(&stored[0], 2);
    let nothing_new = AckOutcome::Accepted { upto: 1, newly: 0 };
    assert_eq!(outbox.acked(&ack).unwrap(), nothing_new);
    assert_eq!(
        outbox.resend(Lane::Routine, chain, 0).unwrap(),
        Resent::From { seq: 1, missing: 0 }
    );
    let none = Ack {
        upto: 0,
        head: NO_PREVIOUS,
        ..ends.ack(&stored[0], 3)
    };
    let nothing = AckOutcome::Accepted { upto: 0, newly: 0 };
    assert_eq!(outbox.acked(&none).unwrap(), nothing);
    let other = ChainId([9; 8]);
    assert_eq!(
        outbox.resend(Lane::Routine, other, 1).unwrap(),
        Resent::OtherChain
    );
}

#[test]
fn after_a_week_acknowledged_frames_go_and_a_request_for_them_is_answered_by_a_gap_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let old = put(&outbox, Lane::Routine, event(0)).unwrap();
    outbox.acked(&ends.ack(&old, 1)).unwrap();
    ends.clock.advance_micros(WEEK_US + 1);
    let waiting = put(&outbox, Lane::Routine, event(1)).unwrap();
    assert_eq!(outbox.lane_states().unwrap()[1].oldest, 1);
    outbox.acked(&ends.ack(&waiting, 2)).unwrap();
    assert_eq!(outbox.lane_states().unwrap()[1].oldest, 2);
    assert_eq!(
        outbox.summary().unwrap().lanes[1].kept_bytes,
        u64::try_from(waiting.bytes).unwrap()
    );
    let chain = old.identity.chain;
    let expected = Resent::From { seq: 2, missing: 1 };
    assert_eq!(outbox.resend(Lane::Routine, chain, 1).unwrap(), expected);
    let gaps = ends.gaps(&outbox, Lane::Alert);
    let named = (
        gaps[0].lane,
        gaps[0].from_seq,
        gaps[0].to_seq,
        gaps[0].records,
    );
    assert_eq!((gaps.len(), named), (1, (Lane::Routine, 1, 1, 1)));
    // the fingerprint before the oldest frame is still known
    outbox.acked(&ends.ack(&old, 3)).unwrap();
    assert_eq!(outbox.lane_states().unwrap()[1].acked, 1);
}

#[test]
fn a_wall_clock_that_was_never_set_makes_no_frame_old_and_none_before_it_either() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let now = ends.clock.read().utc;
    put(&outbox, Lane::Routine, event(0)).unwrap();
    ends.clock
        .set_utc(UtcMicros(0), ClockQuality::Unsynchronised);
    put(&outbox, Lane::Routine, event(1)).unwrap();
    ends.clock.set_utc(now, ClockQuality::Unsynchronised);
    let newest = put(&outbox, Lane::Routine, event(2)).unwrap();
    outbox.acked(&ends.ack(&newest, 1)).unwrap();
    assert_eq!(outbox.lane_states().unwrap()[1].oldest, 1);
}

#[test]
fn what_waits_is_never_deleted_however_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let stored: Vec<_> = (0..3)
        .map(|number| put(&outbox, Lane::Bulk, event(number)).unwrap())
        .collect();
    ends.clock.advance_micros(52 * WEEK_US);
    outbox.acked(&ends.ack(&stored[0], 1)).unwrap();
    assert_eq!(ends.records(&outbox, Lane::Bulk, 1), [event(1), event(2)]);
    let age = outbox.summary().unwrap().lanes[2].oldest_waiting_age_us;
    assert_eq!(age, Some(52 * WEEK_US));
}

#[test]
fn frames_come_in_the_number_and_size_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    for number in 0..6 {
        put(&outbox, Lane::Bulk, sized_event(number, 1000)).unwrap();
    }
    let sizes = |after, frames, bytes| {
        let frames = outbox
            .next_to_send(Lane::Bulk, after, frames, bytes)
            .unwrap();
        frames
            .iter()
            .map(|frame| frame.identity.seq)
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(0, 2, usize::MAX), [1, 2]);
    assert_eq!(sizes(4, 10, usize::MAX), [5, 6]);
    assert_eq!(sizes(0, 10, 1), [1]);
    assert_eq!(sizes(0, 10, 3100), [1, 2]);
    assert_eq!(sizes(6, 10, usize::MAX), [0_u64; 0]);
    assert_eq!(sizes(u64::MAX, 10, usize::MAX), [0_u64; 0]);
    assert_eq!(sizes(0, 0, usize::MAX), [0_u64; 0]);
}

#[test]
fn files_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    put(&outbox, Lane::Log, event(0)).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let files = files_of(&path);
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn nothing_that_was_recorded_can_be_read_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let (started, segment, _, _) = visit();
    put(&outbox, Lane::Routine, started).unwrap();
    put(&outbox, Lane::Routine, segment).unwrap();
    put(&outbox, Lane::Log, event(4_711)).unwrap();
    let contains = |needle: &[u8]| {
        files_of(&path).iter().any(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    assert!(!contains(b"test.4711"));
    assert!(!contains(b"sensor-serial"));
    let sample = [0x11, 0x22, 0x33, 0x11, 0x22, 0x33];
    assert!(!contains(&sample));
    assert!(!contains(b"opaque-subject"));
    // the search finds what is there: the sensor of a running acquisition
    assert!(contains(b"ecg12-a"));
}

/// A start, a segment of 250 samples, a gap and an end.
fn visit() -> (Record, Record, Record, Record) {
    let head = RecordHead {
        id: cardio_core::ids::RecordId([1; 16]),
        at: support::reading(5),
    };
    let acquisition = AcquisitionId([7; 16]);
    let anchor = TimeAnchor {
        index: SampleIndex(0),
        at: head.at,
        uncertainty_us: 100,
    };
    let started = Record::AcquisitionStarted(AcquisitionStartedV1 {
        head,
        acquisition: Acquisition {
            id: acquisition,
            subject: Some(SubjectRef::new("opaque-subject").unwrap()),
            request: None,
            source: SourceId::new("ecg12-a").unwrap(),
            device: DeviceIdentity {
                serial: Some("sensor-serial".to_owned()),
                ..DeviceIdentity::default()
            },
            integrity: IntegrityClass::Counted,
            rate: SamplingRate::hz(250).unwrap(),
            waveforms: vec![WaveformSpec {
                kind: WaveformKind::Ecg(Lead::II),
                calibration: Calibration::millivolts(1000.0, 0.0).unwrap(),
            }],
            attendance: Attendance::Attended,
        },
    });
    let segment = Record::Segment(SegmentV1 {
        head,
        segment: Segment {
            acquisition,
            ordinal: 0,
            block: SampleBlock::new(SampleIndex(0), vec![vec![0x0033_2211; 250]]).unwrap(),
            anchor,
        },
    });
    let gap = Record::Gap(GapV1 {
        head,
        acquisition,
        gap: Gap {
            from: SampleIndex(250),
            len: SampleCount(30),
            uncertainty: SampleCount(0),
            cause: GapCause::FramesLost,
        },
        near: Some(anchor),
    });
    let ended = Record::AcquisitionEnded(AcquisitionEndedV1 {
        head,
        acquisition,
        end: SampleIndex(280),
        segments: 1,
        samples: SampleCount(250),
        gaps: 1,
        missing: SampleCount(30),
        repeated_frames: 0,
        reason: EndReason::Completed,
    });
    (started, segment, gap, ended)
}

#[test]
fn a_restart_knows_which_acquisition_was_running_and_how_far_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let (started, segment, gap, ended) = visit();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    assert_eq!(outbox.open_acquisitions().unwrap(), []);
    put(&outbox, Lane::Routine, started).unwrap();
    put(&outbox, Lane::Routine, segment).unwrap();
    put(&outbox, Lane::Routine, gap).unwrap();
    drop(outbox);
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let open = outbox.open_acquisitions().unwrap().remove(0);
    assert_eq!(open.acquisition, AcquisitionId([7; 16]));
    assert_eq!(open.source.as_str(), "ecg12-a");
    let subject = SubjectRef::new("opaque-subject").unwrap();
    assert_eq!(
        open.subject,
        Some(SubjectMark::of(open.acquisition, &subject))
    );
    let elsewhere = AcquisitionId([8; 16]);
    assert_ne!(open.subject, Some(SubjectMark::of(elsewhere, &subject)));
    assert_eq!(open.rate, SamplingRate::hz(250).unwrap());
    assert_eq!((open.next_sample, open.next_ordinal), (SampleIndex(280), 1));
    assert_eq!(
        (open.samples, open.missing),
        (SampleCount(250), SampleCount(30))
    );
    assert_eq!(open.gaps, 1);
    assert_eq!(open.last_anchor.unwrap().at, support::reading(5));
    put(&outbox, Lane::Routine, ended).unwrap();
    assert_eq!(outbox.open_acquisitions().unwrap(), []);
}

#[test]
fn headers_can_be_read_while_the_agent_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let mut stored = Vec::new();
    for number in 0..300 {
        let lane = Lane::ALL[usize::try_from(number % 2).unwrap()];
        stored.push(put(&outbox, lane, event(number)).unwrap());
    }
    outbox.acked(&ends.ack(&stored[1], 1)).unwrap();
    let rows: Vec<_> = rows_read_only(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 300);
    assert_eq!(rows[0].header.identity(), stored[0].identity);
    assert_eq!(rows[0].fingerprint, stored[0].fingerprint);
    let acked: Vec<_> = rows.iter().filter(|row| row.acked).collect();
    assert_eq!(acked.len(), 1);
    assert_eq!(acked[0].header.identity(), stored[1].identity);
}

#[test]
fn the_chain_of_each_lane_can_be_proved_while_the_agent_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let stored: Vec<_> = (0..9)
        .map(|number| put(&outbox, Lane::Bulk, event(number)).unwrap())
        .collect();
    outbox.acked(&ends.ack(&stored[3], 1)).unwrap();
    let key = ends.signer.verifying_key();
    let proofs = verify_read_only(&path, &key).unwrap();
    assert!(
        proofs.iter().all(|proof| proof.fault.is_none()),
        "{proofs:?}"
    );
    let bulk = &proofs[2];
    assert_eq!((bulk.oldest, bulk.next, bulk.acked), (1, 10, 4));
    assert_eq!(
        (bulk.chain, bulk.head, bulk.frames),
        (stored[0].identity.chain, stored[8].fingerprint, 9)
    );
    assert_eq!((proofs[0].oldest, proofs[0].next), (1, 1));

    let other = Ends::new().signer.verifying_key();
    assert_eq!(bulk_fault(&path, &other).0, "chain.frame");

    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute(
        "UPDATE lane SET acked_head = zeroblob(32) WHERE lane = 2",
        [],
    )
    .unwrap();
    let (code, why) = bulk_fault(&path, &key);
    assert_eq!(code, "outbox.damaged");
    assert!(why.contains("frame 4 of the bulk lane"), "{why}");
    let place = (2_i64 << 48) + 9;
    conn.execute(
        "UPDATE lane SET acked_head = (SELECT fingerprint FROM frame WHERE place = ?1 - 5)
         WHERE lane = 2",
        [place],
    )
    .unwrap();
    conn.execute("DELETE FROM frame WHERE place = ?1", [place])
        .unwrap();
    assert_eq!(bulk_fault(&path, &key).0, "outbox.damaged");
    conn.execute("DELETE FROM frame WHERE place = ?1 - 4", [place])
        .unwrap();
    let (code, why) = bulk_fault(&path, &key);
    assert_eq!(code, "chain.place");
    assert_eq!(why, "the chain of the bulk lane is broken at frame 5");
    let proofs = verify_read_only(&path, &key).unwrap();
    assert!(proofs[1].fault.is_none(), "the other lanes are proved");
}

/// Code and words of what is wrong with the bulk lane.
fn bulk_fault(path: &std::path::Path, key: &VerifyingKey) -> (&'static str, String) {
    let proofs = verify_read_only(path, key).unwrap();
    let fault = proofs[2].fault.clone().unwrap();
    (fault.code(), fault.to_string())
}
