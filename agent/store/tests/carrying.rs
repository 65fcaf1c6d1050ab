//! What a card forgot or damaged: the proof of it, the new chains, and what is carried over.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cardio_store::{
    AckOutcome, AsideSummary, ForkSign, Outbox, SpaceLevel, Stored, aside_read_only,
};
use cardio_wire::envelope;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::{Ack, OtherHistory};
use cardio_wire::record::Record;
use rusqlite::Connection;
use support::{Ends, MIB, event, files_of, put, sized_event};

const DAY_US: u64 = 24 * 3600 * 1_000_000;

/// An outbox of 40 routine frames, 5 of them acknowledged, and 2 alerts.
fn filled(ends: &Ends, path: &Path) -> (Outbox, Vec<Stored>) {
    let outbox = ends.open(path, 64 * MIB).unwrap();
    let alerts = (100..102).map(|number| (Lane::Alert, number));
    let routine = (0..40).map(|number| (Lane::Routine, number));
    let stored: Vec<Stored> = alerts
        .chain(routine)
        .map(|(lane, number)| put(&outbox, lane, sized_event(number, 3000)).unwrap())
        .collect();
    outbox.acked(&ends.ack(&stored[6], 1)).unwrap();
    (outbox, stored)
}

fn fork(ends: &Ends, outbox: &Outbox, stored: &Stored) {
    let ahead = Ack {
        upto: 9_999,
        ..ends.ack(stored, 2)
    };
    let sign = ForkSign::Ahead;
    assert_eq!(outbox.acked(&ahead).unwrap(), AckOutcome::Forked { sign });
}

/// Lets one batch be carried.
fn batch(ends: &Ends, outbox: &Outbox) -> AsideSummary {
    ends.clock.advance_micros(1_000_000);
    outbox.summary().unwrap().aside
}

fn carry_all(ends: &Ends, outbox: &Outbox) {
    for _ in 0..50 {
        if !batch(ends, outbox).is_carrying {
            return;
        }
    }
    panic!("not carried: {:?}", outbox.summary().unwrap().aside);
}

/// The records of the frames that a lane carries, in their order.
fn carried(ends: &Ends, outbox: &Outbox, lane: Lane) -> Vec<Record> {
    let records = ends.records(outbox, lane, 0);
    let inner = records.into_iter().filter_map(|record| match record {
        Record::CarriedFrame(carried) => Some(ends.read(&carried.frame)),
        _ => None,
    });
    inner.collect()
}

fn setting() -> (tempfile::TempDir, PathBuf, Ends) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    (dir, path, Ends::new())
}

fn events(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(|number| sized_event(number, 3000)).collect()
}

#[test]
fn a_forked_lane_goes_on_in_a_new_chain_and_carries_what_was_not_acknowledged() {
    let (_dir, path, ends) = setting();
    let (outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[10]);
    let gaps = ends.gaps(&outbox, Lane::Routine);
    let named = (gaps[0].from_seq, gaps[0].to_seq, gaps[0].reason.as_str());
    assert_eq!(named, (6, 40, "outbox.forked"));
    assert!(gaps[0].ends_chain() && gaps[0].chain == stored[10].identity.chain);
    // the most urgent lane first
    assert_eq!(batch(&ends, &outbox).carried, 2);
    assert_eq!(carried(&ends, &outbox, Lane::Alert), events(100..102));
    put(&outbox, Lane::Routine, event(7)).unwrap();
    carry_all(&ends, &outbox);
    assert_eq!(carried(&ends, &outbox, Lane::Routine), events(5..40));
    let aside = outbox.summary().unwrap().aside;
    assert_eq!((aside.files, aside.carried, aside.passed), (1, 37, 0));
}

#[test]
fn what_was_set_aside_is_counted_without_the_box_too() {
    let (_dir, path, ends) = setting();
    let (outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[6]);
    let before = batch(&ends, &outbox);
    assert!(before.files == 1 && before.is_carrying, "{before:?}");
    assert_eq!(aside_read_only(&path).unwrap(), before);
    carry_all(&ends, &outbox);
    let after = outbox.summary().unwrap().aside;
    drop(outbox);
    assert_eq!(aside_read_only(&path).unwrap(), after);
    assert!(
        !after.is_carrying && after.carried > before.carried,
        "{after:?}"
    );
}

#[test]
fn each_sign_of_another_history_is_told_apart() {
    let other = |seq, fingerprint| Some(OtherHistory::Frame { seq, fingerprint });
    let cases: [(u64, Option<OtherHistory>, ForkSign); 4] = [
        (0, other(30, [7; 32]), ForkSign::OtherFrame),
        (0, other(41, [7; 32]), ForkSign::Ahead),
        (0, Some(OtherHistory::Ended), ForkSign::Ended),
        (41, None, ForkSign::Ahead),
    ];
    for (upto, other, sign) in cases {
        let (_dir, path, ends) = setting();
        let (outbox, stored) = filled(&ends, &path);
        let head = envelope::NO_PREVIOUS;
        let ack = Ack {
            upto,
            head,
            other,
            ..ends.ack(&stored[10], 2)
        };
        let stale = Ack { counter: 1, ..ack };
        let refused = outbox.acked(&stale).unwrap();
        assert!(matches!(refused, AckOutcome::Refused { .. }));
        assert_eq!(outbox.acked(&ack).unwrap(), AckOutcome::Forked { sign });
        // the same again is of a chain that has ended here
        let again = outbox.acked(&Ack { counter: 3, ..ack }).unwrap();
        assert!(matches!(again, AckOutcome::Refused { .. }));
    }
}

#[test]
fn a_crash_anywhere_carries_each_frame_once() {
    let (_dir, path, ends) = setting();
    let (mut outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[10]);
    while batch(&ends, &outbox).is_carrying {
        drop(outbox);
        outbox = ends.open(&path, 64 * MIB).unwrap();
    }
    assert_eq!(carried(&ends, &outbox, Lane::Routine), events(5..40));
    assert_eq!(carried(&ends, &outbox, Lane::Alert), events(100..102));
}

#[test]
fn a_file_is_deleted_a_week_after_all_of_it_is_acknowledged_and_not_before() {
    let (_dir, path, ends) = setting();
    let (outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[10]);
    let asides = |what: &str| {
        let files = files_of(&path).into_iter();
        files
            .filter(|file| file.to_str().unwrap().ends_with(what))
            .count()
    };
    batch(&ends, &outbox);
    ends.clock.advance_micros(30 * DAY_US);
    ends.ack_all(&outbox, 1);
    assert_eq!((asides(".forked-1"), asides(".carried")), (1, 0));
    carry_all(&ends, &outbox);
    ends.ack_all(&outbox, 2);
    assert_eq!((asides(".forked-1"), asides(".carried")), (1, 1));
    ends.clock.advance_micros(6 * DAY_US);
    put(&outbox, Lane::Log, event(1)).unwrap();
    drop(outbox);
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    assert_eq!(asides(".forked-1"), 1);
    ends.clock.advance_micros(2 * DAY_US);
    put(&outbox, Lane::Log, event(2)).unwrap();
    assert_eq!(
        asides(".forked-1") + asides(".carried") + asides(".named"),
        0
    );
}

#[test]
fn a_second_set_aside_carries_the_frames_and_not_their_carriers() {
    let (_dir, path, ends) = setting();
    let (outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[10]);
    batch(&ends, &outbox);
    batch(&ends, &outbox);
    let own = put(&outbox, Lane::Routine, event(500)).unwrap();
    fork(&ends, &outbox, &own);
    carry_all(&ends, &outbox);
    let inner = carried(&ends, &outbox, Lane::Routine);
    let events_of: Vec<&Record> = inner
        .iter()
        .filter(|record| matches!(record, Record::BoxEvent(_)))
        .collect();
    let wanted: Vec<Record> = events(5..40).into_iter().chain([event(500)]).collect();
    assert_eq!(events_of, wanted.iter().collect::<Vec<_>>());
    assert!(
        !inner
            .iter()
            .any(|record| matches!(record, Record::CarriedFrame(_)))
    );
    // with the first file gone the carriers themselves are carried
    let chains: BTreeSet<ChainId> = outbox
        .lane_states()
        .unwrap()
        .iter()
        .map(|state| state.chain)
        .collect();
    drop(outbox);
    for file in files_of(&path) {
        let name = file.to_str().unwrap();
        if name.contains(".forked-") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let state = outbox.lane_states().unwrap()[1];
    assert!(chains.contains(&state.chain));
    let ended = Ack {
        lane: Lane::Routine,
        chain: state.chain,
        other: Some(OtherHistory::Ended),
        ..ends.ack(&own, 9)
    };
    let sign = ForkSign::Ended;
    assert_eq!(outbox.acked(&ended).unwrap(), AckOutcome::Forked { sign });
    carry_all(&ends, &outbox);
    let twice = carried(&ends, &outbox, Lane::Routine);
    let twice = twice.into_iter().filter_map(|record| match record {
        Record::CarriedFrame(inner) => Some(ends.read(&inner.frame)),
        _ => None,
    });
    let events_of: Vec<Record> = twice
        .filter(|record| matches!(record, Record::BoxEvent(_)))
        .collect();
    assert_eq!(events_of, wanted);
}

#[test]
fn what_was_carried_and_acknowledged_is_not_carried_again_after_further_damage() {
    let (_dir, path, ends) = setting();
    let (outbox, stored) = filled(&ends, &path);
    fork(&ends, &outbox, &stored[10]);
    // the alert lane, then two batches of 16 of the routine lane
    batch(&ends, &outbox);
    batch(&ends, &outbox);
    ends.ack_all(&outbox, 1);
    batch(&ends, &outbox);
    let own = put(&outbox, Lane::Routine, event(500)).unwrap();
    fork(&ends, &outbox, &own);
    // a file that is set aside before it has carried anything tells nothing
    let own = put(&outbox, Lane::Routine, event(501)).unwrap();
    fork(&ends, &outbox, &own);
    carry_all(&ends, &outbox);
    let again = |lane| -> Vec<Record> {
        let inner = carried(&ends, &outbox, lane).into_iter();
        inner
            .filter(|record| matches!(record, Record::BoxEvent(_)))
            .collect()
    };
    // 16 of them were acknowledged; the second file's own record counts as one more carrier
    let own = [event(500), event(501)];
    let wanted: Vec<Record> = events(20..40).into_iter().chain(own).collect();
    assert_eq!(again(Lane::Routine), wanted);
    assert_eq!(again(Lane::Alert), []);
}

/// Overwrites pages of a database that hold frames of the lane.
fn destroy(path: &Path, pages: std::ops::Range<u64>) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    for page in pages {
        file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
}

#[test]
fn what_is_intact_on_a_file_with_unreadable_pages_is_carried() {
    let mut saved = 0;
    for from in [12_u64, 20, 28] {
        let (_dir, path, ends) = setting();
        drop(filled(&ends, &path));
        let pages = path.metadata().unwrap().len() / 4096;
        assert!(pages > 40, "{pages}");
        destroy(&path, from..from + 3);
        let outbox = ends.open(&path, 64 * MIB).unwrap();
        carry_all(&ends, &outbox);
        let inner = carried(&ends, &outbox, Lane::Routine);
        let all = events(0..40);
        assert!(inner.iter().all(|record| all.contains(record)));
        let aside = outbox.summary().unwrap().aside;
        assert!(
            aside.passed > 0 && inner.len() >= 20,
            "{aside:?} {}",
            inner.len()
        );
        saved += inner.len();
        // what cannot be read does not keep the file for ever
        ends.ack_all(&outbox, 1);
        ends.clock.advance_micros(8 * DAY_US);
        put(&outbox, Lane::Log, event(1)).unwrap();
        assert_eq!(outbox.summary().unwrap().aside.files, 0);
    }
    assert!(saved > 80, "{saved}");
}

#[test]
fn a_frame_that_was_changed_is_not_carried() {
    let (_dir, path, ends) = setting();
    drop(filled(&ends, &path));
    let conn = Connection::open(&path).unwrap();
    let place = (1_i64 << 48) + 20;
    let change = "UPDATE frame SET bytes = zeroblob(3000) WHERE place = ?1";
    conn.execute(change, [place]).unwrap();
    drop(conn);
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    carry_all(&ends, &outbox);
    let mut intact = events(5..40);
    intact.remove(14);
    assert_eq!(carried(&ends, &outbox, Lane::Routine), intact);
    let aside = outbox.summary().unwrap().aside;
    assert_eq!((aside.carried, aside.passed), (36, 1));
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_kept_a_week_and_goes() {
    let (_dir, path, ends) = setting();
    std::fs::write(&path, vec![0x55; 20_000]).unwrap();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    for _ in 0..20 {
        batch(&ends, &outbox);
    }
    assert_eq!(outbox.summary().unwrap().aside.files, 1);
    ends.clock.advance_micros(8 * DAY_US);
    put(&outbox, Lane::Log, event(1)).unwrap();
    assert_eq!(outbox.summary().unwrap().aside.files, 0);
}

#[test]
fn carrying_leaves_room_for_what_is_captured_now_and_goes_on_when_there_is_some() {
    let (_dir, path, ends) = setting();
    let outbox = ends.open(&path, 2 * MIB).unwrap();
    let mut stored = Vec::new();
    while outbox.space().unwrap().used_percent() < 80 {
        stored.push(put(&outbox, Lane::Bulk, sized_event(1, 8000)).unwrap());
    }
    let bulk = stored.last().unwrap();
    fork(&ends, &outbox, bulk);
    let mut own = put(&outbox, Lane::Bulk, sized_event(2, 8000)).unwrap();
    while outbox.space().unwrap().used_percent() < 60 {
        own = put(&outbox, Lane::Bulk, sized_event(2, 8000)).unwrap();
    }
    for _ in 0..200 {
        batch(&ends, &outbox);
    }
    let waiting = outbox.summary().unwrap().aside.waiting;
    assert!(waiting > 0);
    assert!(outbox.space().unwrap().level() <= SpaceLevel::Deleting);
    put(&outbox, Lane::Bulk, sized_event(3, 8000)).unwrap();
    let ack = ends.ack(&own, 1);
    assert!(matches!(
        outbox.acked(&ack).unwrap(),
        AckOutcome::Accepted { .. }
    ));
    for counter in 2..60 {
        batch(&ends, &outbox);
        ends.ack_all(&outbox, counter);
    }
    assert_eq!(outbox.summary().unwrap().aside.waiting, 0);
}
