//! Files of every version that this program has had come up to the present one with all that
//! they hold, and continue their chains.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test program: what is unexpected must stop it"
)]

mod support;

use std::path::Path;

use cardio_core::ids::AcquisitionId;
use cardio_core::subject::SubjectRef;
use cardio_store::{SubjectMark, verify_read_only};
use cardio_wire::envelope::{FrameHeader, NO_PREVIOUS, SUITE_X25519_CHACHA, fingerprint, seal};
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::record::Record;
use rusqlite::{Connection, params};
use support::{Ends, MIB, event, put};

/// The statements of each version, from the first on.
const VERSIONS: [&str; 3] = [
    include_str!("versions/v1.sql"),
    include_str!("versions/v2.sql"),
    include_str!("versions/v3.sql"),
];

const CHAIN: ChainId = ChainId([5; 8]);

/// A file as that version left it: three routine frames, the first acknowledged.
fn file_of_version(version: usize, ends: &Ends, path: &Path) -> Vec<Record> {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(VERSIONS[version - 1]).unwrap();
    conn.pragma_update(None, "application_id", 0x4543_474F)
        .unwrap();
    conn.pragma_update(None, "user_version", i64::try_from(version).unwrap())
        .unwrap();
    let records: Vec<Record> = (1..=3).map(event).collect();
    let (mut prev, mut heads) = (NO_PREVIOUS, Vec::new());
    for (record, seq) in records.iter().zip(1..) {
        let header = FrameHeader {
            suite: SUITE_X25519_CHACHA,
            recipient: ends.secret.key_id(),
            device: ends.device,
            lane: Lane::Routine,
            chain: CHAIN,
            seq,
            prev,
        };
        let frame = seal(
            &record.encode(),
            &header,
            &ends.secret.public(),
            &ends.signer,
        )
        .unwrap();
        prev = fingerprint(&frame);
        heads.push(prev);
        let place = (1_i64 << 48) + i64::try_from(seq).unwrap();
        conn.execute(
            "INSERT INTO frame (place, fingerprint, stored_utc, bytes) VALUES (?1, ?2, ?3, ?4)",
            params![place, prev, 1_700_000_000_000_000_i64, frame],
        )
        .unwrap();
    }
    let insert = "INSERT INTO lane VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, 0, 0, 0)";
    for lane in [0_u8, 2, 3] {
        let none = NO_PREVIOUS;
        conn.execute(insert, params![lane, [lane; 8], 1, none, 0, none, 0])
            .unwrap();
    }
    conn.execute(insert, params![1, CHAIN.0, 4, heads[2], 1, heads[0], 9])
        .unwrap();
    records
}

/// The open acquisition of a file of version 1, of which nothing but the subject matters.
fn begin_acquisition(path: &Path, subject: &str) {
    let conn = Connection::open(path).unwrap();
    let insert = "INSERT INTO open_acquisition (acquisition, source, subject, rate_samples,
        rate_seconds, next_sample, next_ordinal, samples, gaps, missing)
        VALUES (?1, 'ecg12-a', ?2, 250, 1, 500, 2, 500, 0, 0)";
    conn.execute(insert, params![[7_u8; 16], subject]).unwrap();
}

#[test]
fn a_subject_that_version_1_named_is_recognised_and_no_longer_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    let ends = Ends::new();
    file_of_version(1, &ends, &path);
    begin_acquisition(&path, "opaque-subject");
    let outbox = ends.open(&path, 64 * MIB).unwrap();
    let open = outbox.open_acquisitions().unwrap().remove(0);
    let subject = SubjectRef::new("opaque-subject").unwrap();
    let mark = SubjectMark::of(AcquisitionId([7; 16]), &subject);
    assert_eq!((open.subject, open.next_ordinal), (Some(mark), 2));
    drop(outbox);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let word = b"opaque-subject";
        assert!(!bytes.windows(word.len()).any(|part| part == word));
    }
}

fn schema(path: &Path) -> Vec<(String, String)> {
    let conn = Connection::open(path).unwrap();
    let mut statement = conn
        .prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_file_of_every_version_comes_up_with_its_frames_and_goes_on_in_its_chains() {
    for version in 1..=VERSIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox.db");
        let ends = Ends::new();
        let mut records = file_of_version(version, &ends, &path);
        let outbox = ends.open(&path, 64 * MIB).unwrap();
        let state = outbox.lane_states().unwrap()[1];
        assert_eq!(
            (state.chain, state.next, state.acked),
            (CHAIN, 4, 1),
            "version {version}"
        );
        let stored = put(&outbox, Lane::Routine, event(4)).unwrap();
        assert_eq!((stored.identity.chain, stored.identity.seq), (CHAIN, 4));
        records.push(event(4));
        assert_eq!(ends.records(&outbox, Lane::Routine, 0), records);
        drop(outbox);
        let proofs = verify_read_only(&path, &ends.signer.verifying_key()).unwrap();
        assert!(proofs.iter().all(|proof| proof.fault.is_none()));
    }
}

#[test]
fn a_file_that_came_up_has_the_schema_of_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let ends = Ends::new();
    let new = dir.path().join("new.db");
    drop(ends.open(&new, 64 * MIB).unwrap());
    for version in 1..=VERSIONS.len() {
        let old = dir.path().join(format!("v{version}.db"));
        file_of_version(version, &ends, &old);
        drop(ends.open(&old, 64 * MIB).unwrap());
        assert_eq!(schema(&old), schema(&new), "version {version}");
    }
}

#[test]
fn every_version_has_its_statements_here() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox.db");
    drop(Ends::new().open(&path, 64 * MIB).unwrap());
    let conn = Connection::open(&path).unwrap();
    let known: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(known, i64::try_from(VERSIONS.len()).unwrap());
}
