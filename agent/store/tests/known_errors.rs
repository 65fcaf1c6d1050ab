//! What can happen to an outbox from outside: damage, a second opener, a full disk.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::path::{Path, PathBuf};

use cardio_store::{AckOutcome, OutboxError, SpaceLevel};
use cardio_wire::lane::Lane;
use cardio_wire::record::Record;
use rusqlite::Connection;
use support::{Ends, MIB, event, files_of, put, sized_event};

/// An outbox of 20 routine frames, 5 of them acknowledged, and one alert; closed.
fn filled(ends: &Ends, dir: &Path) -> PathBuf {
    let path = dir.join("outbox.db");
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    put(&outbox, Lane::Alert, event(0)).unwrap();
    for number in 0..20 {
        let stored = put(&outbox, Lane::Routine, sized_event(number, 3000)).unwrap();
        if number == 4 {
            outbox.acked(&ends.ack(&stored, 1)).unwrap();
        }
    }
    path
}

#[test]
fn an_interrupted_setting_aside_is_finished_and_loses_nothing_that_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let beside = |suffix: &str| dir.path().join(format!("outbox.db{suffix}"));
    let running = ends.open(&path, 64 * MIB).unwrap();
    put(&running, Lane::Routine, event(21)).unwrap();
    let log = std::fs::read(beside("-wal")).unwrap();
    let database = std::fs::read(&path).unwrap();
    drop(running);
    // The program was killed after the database was renamed and before its log was.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(beside(".damaged-1"), database).unwrap();
    std::fs::write(beside("-wal"), &log).unwrap();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    assert_eq!(log, std::fs::read(beside(".damaged-1-wal")).unwrap());
    let gaps = ends.gaps(&outbox, Lane::Routine);
    assert_eq!((gaps[0].from_seq, gaps[0].to_seq), (6, 21));
}

/// Opens a damaged outbox and checks that it works again and names what is missing.
fn starts_again(ends: &Ends, path: &Path) {
    let outbox = ends.open(path, 64 * MIB).unwrap();
    let aside: Vec<_> = files_of(path)
        .into_iter()
        .filter(|file| file.to_str().unwrap().ends_with(".damaged-1"))
        .collect();
    assert_eq!(aside.len(), 1, "the damaged file is kept");
    let gaps = ends.gaps(&outbox, Lane::Routine);
    let named = (gaps[0].from_seq, gaps[0].to_seq, gaps[0].records);
    assert_eq!((gaps.len(), named), (1, (6, 20, 15)));
    assert_eq!(gaps[0].reason, "outbox.damaged");
    assert_eq!(ends.gaps(&outbox, Lane::Alert).len(), 1);
    assert_eq!(ends.gaps(&outbox, Lane::Bulk).len(), 0);
    let stored = put(&outbox, Lane::Routine, event(99)).unwrap();
    assert_eq!(stored.identity.seq, 2);
    assert_ne!(stored.identity.chain, gaps[0].chain);
}

#[test]
fn a_second_opener_is_told_which_outbox_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let first = ends.open(&path, 64 * MIB).unwrap();
    let err = ends.open(&path, 64 * MIB).unwrap_err();
    assert_eq!(err.code(), "outbox.in-use");
    assert!(err.to_string().contains(path.to_str().unwrap()));
    put(&first, Lane::Log, event(1)).unwrap();
    drop(first);
    assert!(ends.open(&path, 64 * MIB).is_ok());
}

#[test]
fn a_bit_flipped_in_a_frame_is_found_when_the_outbox_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let frame = frame_of(&path, 12);
    let at = bytes
        .windows(64)
        .position(|w| w == &frame[frame.len() - 64..]);
    bytes[at.unwrap()] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
    starts_again(&ends, &path);
}

/// The bytes of one routine frame.
fn frame_of(path: &Path, seq: i64) -> Vec<u8> {
    let conn = Connection::open(path).unwrap();
    let sql = "SELECT bytes FROM frame WHERE place = ?1";
    conn.query_row(sql, [(1_i64 << 48) + seq], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_frame_that_is_missing_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let conn = Connection::open(&path).unwrap();
    let place = (1_i64 << 48) + 12;
    conn.execute("DELETE FROM frame WHERE place = ?1", [place])
        .unwrap();
    drop(conn);
    starts_again(&ends, &path);
}

#[test]
fn a_database_from_before_its_last_frames_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let conn = Connection::open(&path).unwrap();
    let place = (1_i64 << 48) + 20;
    conn.execute("DELETE FROM frame WHERE place = ?1", [place])
        .unwrap();
    drop(conn);
    starts_again(&ends, &path);
}

#[test]
fn a_file_that_is_no_database_leaves_all_lanes_with_an_unknown_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    std::fs::write(&path, vec![0x55; 20_000]).unwrap();
    starts_again_knowing_nothing(&Ends::new(), &path);
}

#[test]
fn a_file_cut_short_leaves_all_lanes_with_an_unknown_gap() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    starts_again_knowing_nothing(&ends, &path);
}

fn starts_again_knowing_nothing(ends: &Ends, path: &Path) {
    let size = path.metadata().unwrap().len();
    let outbox = ends.open(path, 64 * MIB).unwrap();
    let aside = path.with_file_name("outbox.db.damaged-1");
    assert_eq!(aside.metadata().unwrap().len(), size);
    for lane in Lane::ALL {
        let gaps = ends.gaps(&outbox, lane);
        let named = (gaps[0].from_seq, gaps[0].to_seq, gaps[0].records);
        assert_eq!(named, (1, u64::MAX, 0));
    }
}

#[test]
fn damage_that_happens_while_it_runs_is_found_when_the_frame_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let conn = Connection::open(&path).unwrap();
    let place = (1_i64 << 48) + 12;
    conn.execute(
        "UPDATE frame SET bytes = zeroblob(3000) WHERE place = ?1",
        [place],
    )
    .unwrap();
    drop(conn);
    let err = outbox
        .next_to_send(Lane::Routine, 5, 20, usize::MAX)
        .unwrap_err();
    assert_eq!(err.code(), "outbox.damaged");
    assert!(err.to_string().contains("frame 12"), "{err}");
    let gaps = ends.gaps(&outbox, Lane::Routine);
    assert_eq!((gaps[0].from_seq, gaps[0].to_seq), (6, 20));
    put(&outbox, Lane::Routine, event(1)).unwrap();
    drop(outbox);
    starts_again_once_only(&ends, &path);
}

fn starts_again_once_only(ends: &Ends, path: &Path) {
    let outbox = ends.open(path, 64 * MIB).unwrap();
    assert_eq!(ends.records(&outbox, Lane::Routine, 0).len(), 2);
    let aside = files_of(path).into_iter();
    assert_eq!(
        aside
            .filter(|f| f.to_str().unwrap().contains("damaged-2"))
            .count(),
        0
    );
}

#[test]
fn an_outbox_of_a_later_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = filled(&ends, dir.path());
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 77).unwrap();
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    let err = ends.open(&path, 64 * MIB).unwrap_err();
    assert_eq!(err.code(), "outbox.newer");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let shown = cardio_store::rows_read_only(&path).err().unwrap();
    assert_eq!(shown.code(), "outbox.newer");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a-file");
    std::fs::write(&file, b"").unwrap();
    let err = Ends::new()
        .open(&file.join("x/outbox.db"), MIB)
        .unwrap_err();
    assert_eq!(err.code(), "outbox.file");
    assert!(err.to_string().contains("a-file/x"), "{err}");
}

/// Stores until the lane is refused; how many were stored, and the refusal.
fn fill(
    ends: &Ends,
    outbox: &cardio_store::Outbox,
    lane: Lane,
) -> (Vec<cardio_store::Stored>, OutboxError) {
    let mut stored = Vec::new();
    loop {
        match put(outbox, lane, sized_event(1, 8000)) {
            Ok(one) => stored.push(one),
            Err(err) => return (stored, err),
        }
        ends.clock.advance_micros(1000);
        assert!(stored.len() < 2000, "the cap does not hold");
    }
}

#[test]
fn as_the_space_runs_out_lanes_are_refused_by_urgency_and_later_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 2 * MIB).unwrap();

    let (bulk, err) = fill(&ends, &outbox, Lane::Bulk);
    assert_eq!(err.code(), "outbox.full");
    assert!(err.is_retryable());
    assert_eq!(outbox.space().unwrap().level(), SpaceLevel::RefusingBulk);
    assert!(put(&outbox, Lane::Bulk, event(1)).is_err());

    let (_, err) = fill(&ends, &outbox, Lane::Routine);
    assert_eq!(err.code(), "outbox.full");
    assert_eq!(outbox.space().unwrap().level(), SpaceLevel::AlertsOnly);
    assert!(put(&outbox, Lane::Log, event(1)).is_err());

    // alerts go on, into the ballast's space, until there is nothing left at all
    let (alerts, err) = fill(&ends, &outbox, Lane::Alert);
    assert_eq!(err.code(), "outbox.disk-full");
    assert!(alerts.len() > 10);
    let ballast = |path: &Path| path.with_file_name("outbox.db.ballast").exists();
    assert!(!ballast(&path));
    drop(outbox);

    // what was stored is all there, and an acknowledgement makes room
    let outbox = ends.open(&path, 2 * MIB).unwrap();
    assert_eq!(ends.records(&outbox, Lane::Bulk, 0).len(), bulk.len());
    assert_eq!(ends.records(&outbox, Lane::Alert, 0).len(), alerts.len());
    let outcome = outbox.acked(&ends.ack(bulk.last().unwrap(), 1)).unwrap();
    assert!(matches!(outcome, AckOutcome::Accepted { .. }));
    assert!(outbox.space().unwrap().level() < SpaceLevel::Deleting);
    assert!(outbox.lane_states().unwrap()[2].oldest > 1);
    put(&outbox, Lane::Bulk, event(2)).unwrap();
    let gaps = ends.gaps(&outbox, Lane::Alert);
    let named: Vec<_> = gaps
        .iter()
        .map(|gap| (gap.lane, gap.records, gap.reason.as_str()))
        .collect();
    let reason = "space.refused";
    let expected = [
        (Lane::Routine, 1, reason),
        (Lane::Bulk, 2, reason),
        (Lane::Log, 1, reason),
    ];
    assert_eq!(named[..3], expected);
    assert!(ballast(&path), "the ballast is taken again");
}

#[test]
fn acknowledged_frames_are_deleted_before_anything_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 2 * MIB).unwrap();
    for counter in 1..600 {
        let stored = put(&outbox, Lane::Bulk, sized_event(counter, 8000)).unwrap();
        outbox.acked(&ends.ack(&stored, counter)).unwrap();
    }
    let state = outbox.lane_states().unwrap()[2];
    assert!(state.oldest > 1 && state.oldest < 599, "{state:?}");
    assert!(path.metadata().unwrap().len() <= 2 * MIB);
}

#[test]
fn a_record_too_large_for_a_frame_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let records: [Record; 3] = [event(0), sized_event(1, 300_000), event(2)];
    let pending = records.map(|record| outbox.append(Lane::Bulk, record).unwrap());
    let answers = pending.map(|pending| pending.wait().map_err(|err| err.code()));
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(answers[1].unwrap_err(), "seal.too-large");
    assert_eq!(ends.records(&outbox, Lane::Bulk, 0), [event(0), event(2)]);
}

#[test]
fn nothing_behind_a_refused_record_of_one_source_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let path = dir.path().join("outbox.db");
    let outbox = ends.open(&path, 4 * MIB).unwrap();
    // what no frame can hold undoes the whole transaction
    let sizes = [3_000, 3_000_000, 3_000];
    let records = (0..)
        .zip(sizes)
        .map(|(number, size)| sized_event(number, size));
    let err = outbox.append_all(Lane::Bulk, records).unwrap_err();
    assert!(matches!(err, OutboxError::Seal { .. }), "{err}");
    assert_eq!(ends.records(&outbox, Lane::Bulk, 0), []);
    // a lane that becomes full takes the first of them, however often it is asked
    let numbers: Vec<u64> = (0..200).collect();
    let mut refusals = 0;
    for some in numbers.chunks(32) {
        let records = some.iter().map(|number| sized_event(*number, 40_000));
        match outbox.append_all(Lane::Bulk, records) {
            Ok(()) => assert_eq!(refusals, 0, "stored behind what was refused"),
            Err(OutboxError::Full { .. }) => refusals += 1,
            Err(err) => panic!("{err}"),
        }
    }
    assert!(refusals > 1);
    let stored = ends.records(&outbox, Lane::Bulk, 0);
    let first = (0..).map(|number| sized_event(number, 40_000));
    assert_eq!(stored, first.take(stored.len()).collect::<Vec<_>>());
    assert!(stored.len() > 32, "{}", stored.len());
    // it is offered again, so nobody is told that it was lost
    ends.ack_all(&outbox, 1);
    put(&outbox, Lane::Bulk, event(2)).unwrap();
    assert!(ends.gaps(&outbox, Lane::Alert).is_empty());
}
