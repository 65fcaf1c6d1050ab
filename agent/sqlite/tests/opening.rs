//! What opening a database does to its log, and what it refuses. That flushes really fail, and that
//! nothing is lost then, is the power and soak rigs' to show.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program: what is unexpected must stop it"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardio_sqlite::{OpenError, beside, checkpoint, close, open};
use rusqlite::{Connection, OpenFlags};

/// Names the database that this test program, started once more, holds open to read.
const HELD: &str = "CARDIO_TEST_HELD";

struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("a.sqlite")
    }

    fn log(&self) -> PathBuf {
        beside(&self.database(), "-wal")
    }

    fn new_log(&self) -> PathBuf {
        beside(&self.database(), "-wal.new")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// A database of three committed rows, all of them in the log alone.
    fn with_three_rows() -> Self {
        let ground = Self::new();
        let connection = open(&ground.database()).unwrap();
        connection
            .execute_batch("CREATE TABLE t (n INTEGER)")
            .unwrap();
        for n in 1..=3 {
            connection
                .execute("INSERT INTO t VALUES (?1)", [n])
                .unwrap();
        }
        ground
    }
}

fn rows(connection: &Connection) -> Vec<i64> {
    let mut statement = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn pages_in_log(connection: &Connection) -> (i64, i64) {
    connection
        .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })
        .unwrap()
}

#[test]
fn every_commit_is_flushed_and_nothing_moves_the_log_by_itself() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    let number = |sql| {
        connection
            .pragma_query_value(None, sql, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(number("synchronous"), 2);
    assert_eq!(number("wal_autocheckpoint"), 0);
    let mode: String = connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

#[test]
fn the_log_is_written_anew_with_every_committed_row() {
    let ground = Ground::with_three_rows();
    let before = std::fs::metadata(ground.log()).unwrap();
    let bytes = std::fs::read(ground.log()).unwrap();
    let connection = open(&ground.database()).unwrap();
    let after = std::fs::metadata(ground.log()).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(bytes, std::fs::read(ground.log()).unwrap());
    assert_eq!(rows(&connection), [1, 2, 3]);
    assert_eq!(
        (mode(&ground.database()), mode(&ground.log())),
        (0o600, 0o600)
    );
}

#[test]
fn what_a_crash_left_of_a_new_log_means_nothing() {
    let ground = Ground::with_three_rows();
    let whole = std::fs::read(ground.log()).unwrap();
    for left in [&b""[..], b"rubbish", &whole[..whole.len() / 2]] {
        std::fs::write(ground.new_log(), left).unwrap();
        assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 3]);
        assert_eq!(ground.names(), ["a.sqlite", "a.sqlite-shm", "a.sqlite-wal"]);
    }
}

#[test]
fn a_log_that_ends_within_a_commit_keeps_the_commits_before_it() {
    let ground = Ground::with_three_rows();
    let whole = std::fs::read(ground.log()).unwrap();
    std::fs::write(ground.log(), &whole[..whole.len() - 1]).unwrap();
    let connection = open(&ground.database()).unwrap();
    assert_eq!(rows(&connection), [1, 2]);
    connection.execute("INSERT INTO t VALUES (9)", []).unwrap();
    drop(connection);
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 9]);
}

#[test]
fn frames_of_an_earlier_life_of_the_log_do_not_come_back() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
        .unwrap();
    // The log begins again over the frames of the first life.
    connection.execute("DELETE FROM t WHERE n = 2", []).unwrap();
    drop(connection);
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 3]);
}

#[test]
fn without_a_way_to_write_the_log_anew_nothing_is_opened_and_nothing_lost() {
    let ground = Ground::with_three_rows();
    let bytes = std::fs::read(ground.log()).unwrap();
    std::fs::create_dir_all(ground.new_log().join("in-the-way")).unwrap();
    let err = open(&ground.database()).unwrap_err();
    assert!(matches!(err, OpenError::File { .. }), "{err}");
    assert!(err.to_string().contains("a.sqlite-wal.new"), "{err}");
    assert_eq!(bytes, std::fs::read(ground.log()).unwrap());
    std::fs::remove_dir_all(ground.new_log()).unwrap();
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 3]);
}

#[test]
fn dropping_a_connection_leaves_the_log_and_the_database_as_they_are() {
    let ground = Ground::with_three_rows();
    let (database, log) = (
        std::fs::read(ground.database()).unwrap(),
        std::fs::read(ground.log()).unwrap(),
    );
    drop(open(&ground.database()).unwrap());
    assert_eq!(database, std::fs::read(ground.database()).unwrap());
    assert_eq!(log, std::fs::read(ground.log()).unwrap());
}

#[test]
fn an_orderly_end_leaves_an_empty_log() {
    let ground = Ground::with_three_rows();
    close(open(&ground.database()).unwrap());
    assert_eq!(std::fs::metadata(ground.log()).unwrap().len(), 0);
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 3]);
}

#[test]
fn an_orderly_end_does_not_wait_for_a_reader() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    let reader =
        Connection::open_with_flags(ground.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    close(connection);
    assert_eq!(rows(&reader), [1, 2, 3]);
    drop(reader);
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 3]);
}

fn fill_log(connection: &Connection) {
    connection
        .execute_batch(
            "CREATE TABLE big (bytes BLOB);
             INSERT INTO big SELECT randomblob(3000)
             FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1200)
                   SELECT n FROM c)",
        )
        .unwrap();
}

#[test]
fn a_long_log_is_moved_into_the_database_and_a_short_one_is_not() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    checkpoint(&connection).unwrap();
    assert_eq!(pages_in_log(&connection).1, 0);
    fill_log(&connection);
    checkpoint(&connection).unwrap();
    let (pages, moved) = pages_in_log(&connection);
    assert!(pages >= 1000, "{pages}");
    assert_eq!(pages, moved);
}

#[test]
fn a_reader_keeps_the_log_from_moving_and_that_is_no_error() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    let reader =
        Connection::open_with_flags(ground.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    fill_log(&connection);
    checkpoint(&connection).unwrap();
    let (pages, moved) = pages_in_log(&connection);
    assert!(moved < pages, "{moved} of {pages}");
}

#[test]
fn a_checkpoint_that_fails_says_so() {
    let ground = Ground::with_three_rows();
    let connection = open(&ground.database()).unwrap();
    fill_log(&connection);
    // What a device that cannot be read does to SQLite.
    let log = std::fs::File::options()
        .write(true)
        .open(ground.log())
        .unwrap();
    log.set_len(4096).unwrap();
    let err = checkpoint(&connection).unwrap_err();
    assert_eq!(
        err.sqlite_error_code(),
        Some(rusqlite::ErrorCode::SystemIoFailure),
        "{err}"
    );
}

/// Not a test by itself: the other program of the next one.
#[test]
fn another_program_that_reads() {
    let Some(path) = std::env::var_os(HELD) else {
        return;
    };
    let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    assert_eq!(rows(&reader), [1, 2, 3]);
    println!("reading");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn the_log_of_a_database_that_another_program_reads_is_left_alone() {
    let ground = Ground::with_three_rows();
    let before = std::fs::metadata(ground.log()).unwrap().ino();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_program_that_reads", "--nocapture"])
        .env(HELD, ground.database())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("reading")));

    let err = open(&ground.database()).unwrap_err();
    assert!(matches!(err, OpenError::InUse { .. }), "{err}");
    assert_eq!(before, std::fs::metadata(ground.log()).unwrap().ino());

    writeln!(other.stdin.take().unwrap()).unwrap();
    // The reader's words must be read to their end, or it could not end.
    assert_eq!(said.by_ref().filter(Result::is_err).count(), 0);
    assert!(other.wait().unwrap().success());
    assert_eq!(rows(&open(&ground.database()).unwrap()), [1, 2, 3]);
}
