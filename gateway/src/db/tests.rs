use super::testing::Fresh;
use super::{DbError, Place, Readers, Schema, Writer, values};

const STEPS: &[&str] = &["CREATE TABLE t (n INTEGER NOT NULL UNIQUE) STRICT;"];

fn schema(place: Place) -> Schema {
    Schema {
        place,
        part: "test",
        steps: STEPS,
    }
}

fn insert(writer: &Writer, n: i64) -> Result<(), DbError> {
    writer.write_blocking(move |tx| {
        tx.execute("insert", "INSERT INTO t (n) VALUES (?1)", values![n])?;
        if n < 0 {
            return Err(DbError::Damaged { what: "number" });
        }
        Ok(())
    })
}

fn all(schema: &Schema) -> Vec<i64> {
    Readers::of(&schema.place)
        .read(|c| c.cells("read", "SELECT n FROM t ORDER BY n", values![]))
        .unwrap()
}

#[test]
fn a_piece_that_fails_undoes_itself_and_nothing_else() {
    let fresh = Fresh::new();
    let writer = Writer::start(schema(fresh.place()), 8).unwrap();
    insert(&writer, 1).unwrap();
    assert!(insert(&writer, -5).is_err());
    assert!(insert(&writer, 1).is_err());
    insert(&writer, 2).unwrap();
    assert_eq!(all(&schema(fresh.place())), [1, 2]);
}

#[test]
fn what_was_answered_is_there_after_another_opening() {
    let fresh = Fresh::new();
    insert(&Writer::start(schema(fresh.place()), 8).unwrap(), 7).unwrap();
    let _second = Writer::start(schema(fresh.place()), 8).unwrap();
    assert_eq!(all(&schema(fresh.place())), [7]);
}

#[test]
fn a_copy_made_while_the_program_writes_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = || Place::Sqlite(dir.path().join("a.sqlite"));
    let writer = Writer::start(schema(file()), 8).unwrap();
    insert(&writer, 3).unwrap();
    let copy = Place::Sqlite(dir.path().join("copy.sqlite"));
    let Place::Sqlite(path) = &copy else { panic!() };
    Readers::of(&file()).copy_to(path).unwrap();
    insert(&writer, 4).unwrap();
    assert_eq!(all(&schema(copy.clone())), [3]);
}

#[test]
fn a_file_of_a_newer_program_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(dir.path().join("a.sqlite"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let err = Writer::start(schema(Place::Sqlite(dir.path().join("a.sqlite"))), 8).unwrap_err();
    assert!(
        matches!(
            err,
            DbError::Newer {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{err}"
    );
}

#[test]
fn a_value_of_another_kind_is_an_error_that_names_the_act() {
    let err = Fresh::on(STEPS, |connection| {
        connection
            .execute("insert", "INSERT INTO t (n) VALUES (?1)", values![5_i64])
            .unwrap();
        connection
            .cell::<String>("read a name", "SELECT n FROM t", values![])
            .unwrap_err()
    });
    assert_eq!(err.code(), "store.damaged");
    assert!(err.to_string().contains("read a name"));
}

#[test]
fn a_lost_connection_is_opened_again_and_nothing_is_assumed() {
    let fresh = Fresh::new();
    let writer = Writer::start(schema(fresh.place()), 8).unwrap();
    insert(&writer, 1).unwrap();
    fresh.cut_connections();
    insert(&writer, 2).unwrap();
    assert_eq!(all(&schema(fresh.place())), [1, 2]);
}

#[test]
fn a_server_that_does_not_flush_what_it_commits_is_refused() {
    let fresh = Fresh::new();
    if fresh.stop_flushing() {
        let err = Writer::start(schema(fresh.place()), 8).unwrap_err();
        let why = std::error::Error::source(&err).unwrap().to_string();
        assert!(why.contains("synchronous_commit = off"), "{why}");
    }
}

fn number_of_readings(writer: &Writer) -> usize {
    let read = || {
        writer
            .readers()
            .read(|c| c.cells::<i64>("read", "SELECT n FROM t", values![]))
    };
    read().unwrap().len()
}

#[test]
fn after_a_commit_that_failed_the_next_one_finds_the_database_open_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Sqlite(dir.path().join("a.sqlite"));
    let writer = Writer::start(schema(place), 8).unwrap();
    insert(&writer, 1).unwrap();
    assert_eq!(number_of_readings(&writer), 1);
    // The piece ends the transaction of its group: the COMMIT that follows finds none.
    let spoilt = writer.write_blocking(|tx| {
        tx.execute("insert", "INSERT INTO t (n) VALUES (2)", values![])?;
        tx.batch("spoil", "ROLLBACK; SAVEPOINT piece")
    });
    assert!(
        matches!(spoilt, Err(DbError::NotCommitted { .. })),
        "{spoilt:?}"
    );
    insert(&writer, 3).unwrap();
    assert_eq!(number_of_readings(&writer), 2);
}

#[test]
fn while_the_database_cannot_be_opened_again_nothing_is_answered_as_stored() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("a.sqlite-wal.new");
    let writer = Writer::start(schema(Place::Sqlite(dir.path().join("a.sqlite"))), 8).unwrap();
    insert(&writer, 1).unwrap();
    let spoil = |tx: &super::Connection| tx.batch("spoil", "ROLLBACK; SAVEPOINT piece");
    assert!(writer.write_blocking(spoil).is_err());
    std::fs::create_dir_all(in_the_way.join("not-empty")).unwrap();
    assert!(insert(&writer, 2).is_err());
    assert!(insert(&writer, 3).is_err());
    assert_eq!(number_of_readings(&writer), 1);
    std::fs::remove_dir_all(&in_the_way).unwrap();
    insert(&writer, 4).unwrap();
    assert_eq!(number_of_readings(&writer), 2);
}
