//! One SQLite file: one thread that writes, connections that only read.
//!
//! * The writer thread owns the only writing connection. Work is handed over as a closure and
//!   its answer comes back after COMMIT has returned: WAL, `synchronous=FULL`.
//! * Work that waits together is committed together (at most [`GROUP_MAX`] pieces), each piece
//!   behind its own savepoint: a piece that fails undoes itself and nothing else.
//! * After a failed COMMIT the connection is closed and opened again; a failed flush is never
//!   tried again on the same connection.
//! * The schema's version is `user_version`; a file of a newer program is refused untouched.
//!
//! Deliberately absent: what the tables mean. See [`crate::inbox`] and [`crate::record`].

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Savepoint, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

/// Pieces of work that share one COMMIT.
pub const GROUP_MAX: usize = 128;
const IDLE_READERS: usize = 4;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The file cannot be opened or created.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was written by a newer program.
    #[error("the database {} has schema version {found}; this program knows {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("cannot {act}")]
    Statement {
        /// What was tried.
        act: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The disk is full.
    #[error("cannot {act}: the disk is full")]
    Full {
        /// What was tried.
        act: &'static str,
    },
    /// The work was undone because its group could not be committed.
    #[error("cannot commit: {why}")]
    NotCommitted {
        /// What SQLite said.
        why: String,
    },
    /// The writer has stopped.
    #[error("the database is closed: the program is stopping")]
    Closed,
    /// A stored value does not have the form that this program wrote.
    #[error("the stored {what} cannot be read")]
    Damaged {
        /// Which value.
        what: &'static str,
    },
}

impl DbError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "store.open",
            Self::Newer { .. } => "store.newer",
            Self::Statement { .. } => "store.statement",
            Self::Full { .. } => "store.full",
            Self::NotCommitted { .. } => "store.commit",
            Self::Closed => "store.closed",
            Self::Damaged { .. } => "store.damaged",
        }
    }
}

/// Names the act of a failed statement.
pub fn during(act: &'static str) -> impl FnOnce(rusqlite::Error) -> DbError {
    move |source| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => DbError::Full { act },
        _ => DbError::Statement { act, source },
    }
}

/// A file and the statements that bring it to the newest schema, one step per version.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The file.
    pub path: PathBuf,
    /// Statements of each version, from 1.
    pub steps: &'static [&'static str],
}

type Answer = Box<dyn FnOnce(Result<(), DbError>) + Send>;
type Work = Box<dyn FnOnce(&mut Savepoint<'_>) -> (bool, Answer) + Send>;

/// Handle to the writer thread. Clones share it; the thread ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    work: mpsc::Sender<Work>,
    commits: watch::Receiver<u64>,
}

impl Writer {
    /// Opens or creates the file and starts its writer thread.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be opened, is damaged, or is newer than this program.
    pub fn start(schema: Schema, name: &str, queue: usize) -> Result<Self, DbError> {
        let connection = open(&schema)?;
        let (work, inlet) = mpsc::channel(queue.max(1));
        let (committed, commits) = watch::channel(0);
        let path = schema.path.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_until_closed(connection, &schema, inlet, &committed))
            .map_err(|source| DbError::Open {
                path,
                source: Box::new(source),
            })?;
        Ok(Self { work, commits })
    }

    /// Changes after every COMMIT.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Hands work over; waits for a place in the queue, not for the answer. The answer comes
    /// when the work is committed, or undone.
    pub async fn submit<T, F>(&self, work: F) -> oneshot::Receiver<Result<T, DbError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Savepoint<'_>) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(work);
        // When the writer has stopped the piece is dropped, and its answer channel with it.
        let _ = self.work.send(piece).await;
        answer
    }

    /// Hands work over and waits until it is committed.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub async fn write<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Savepoint<'_>) -> Result<T, DbError> + Send + 'static,
    {
        self.submit(work)
            .await
            .await
            .unwrap_or(Err(DbError::Closed))
    }

    /// As [`Writer::write`], for threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub fn write_blocking<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Savepoint<'_>) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(work);
        let _ = self.work.blocking_send(piece);
        answer.blocking_recv().unwrap_or(Err(DbError::Closed))
    }
}

fn wrap<T, F>(work: F) -> (Work, oneshot::Receiver<Result<T, DbError>>)
where
    T: Send + 'static,
    F: FnOnce(&mut Savepoint<'_>) -> Result<T, DbError> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let piece: Work = Box::new(move |savepoint| {
        let result = work(savepoint);
        let keep = result.is_ok();
        let answer: Answer = Box::new(move |committed| {
            // Nobody may be waiting any more; the work stands all the same.
            let _ = send.send(committed.and(result));
        });
        (keep, answer)
    });
    (piece, receive)
}

fn write_until_closed(
    mut connection: Connection,
    schema: &Schema,
    mut inlet: mpsc::Receiver<Work>,
    commits: &watch::Sender<u64>,
) {
    while let Some(first) = inlet.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = inlet.try_recv()
        {
            group.push(next);
        }
        let mut answers = Vec::with_capacity(group.len());
        let committed = commit_group(&mut connection, group, &mut answers);
        if let Err(error) = &committed {
            tracing::error!(
                event = "StoreCommitError",
                code = error.code(),
                file = %schema.path.display(),
                "{error}"
            );
            match open(schema) {
                Ok(fresh) => connection = fresh,
                Err(error) => {
                    tracing::error!(event = "StoreReopenError", code = error.code(), "{error}");
                }
            }
        }
        for answer in answers {
            answer(match &committed {
                Ok(()) => Ok(()),
                Err(error) => Err(DbError::NotCommitted {
                    why: error.to_string(),
                }),
            });
        }
        commits.send_modify(|count| *count = count.wrapping_add(1));
    }
}

fn commit_group(
    connection: &mut Connection,
    group: Vec<Work>,
    answers: &mut Vec<Answer>,
) -> Result<(), DbError> {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let mut transaction = begun.map_err(during("begin a transaction"))?;
    for work in group {
        let mut savepoint = transaction.savepoint().map_err(during("set a savepoint"))?;
        let (keep, answer) = work(&mut savepoint);
        answers.push(answer);
        if keep {
            savepoint.commit().map_err(during("keep a piece of work"))?;
        } else {
            savepoint.finish().map_err(during("undo a piece of work"))?;
        }
    }
    transaction.commit().map_err(during("commit"))
}

fn open(schema: &Schema) -> Result<Connection, DbError> {
    let path = &schema.path;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DbError::Open {
        path: path.clone(),
        source,
    };
    let fresh = !path.exists();
    if fresh {
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|e| failed(Box::new(e)))?;
    }
    let mut connection = Connection::open(path).map_err(|e| failed(Box::new(e)))?;
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;
             PRAGMA cell_size_check=ON; PRAGMA journal_size_limit=8388608;
             PRAGMA temp_store=MEMORY;",
        )
        .and_then(|()| connection.pragma_update(None, "synchronous", synchronous()))
        .and_then(|()| connection.busy_timeout(Duration::from_secs(10)))
        .map_err(|e| failed(Box::new(e)))?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection, schema)?;
    if fresh && let Some(folder) = path.parent() {
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| failed(Box::new(e)))?;
    }
    Ok(connection)
}

/// `FULL`. A debug build can be told otherwise by the power-cut rig, which proves itself by
/// finding what is lost then; a release build cannot.
fn synchronous() -> &'static str {
    #[cfg(debug_assertions)]
    if std::env::var_os("CARDIO_RIG_SYNCHRONOUS").is_some_and(|mode| mode == "normal") {
        tracing::error!(event = "StoreSynchronousNormal", code = "store.unsafe");
        return "normal";
    }
    "full"
}

fn migrate(connection: &mut Connection, schema: &Schema) -> Result<(), DbError> {
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(during("read the schema version"))?;
    let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(DbError::Newer {
            path: schema.path.clone(),
            found,
            known,
        });
    }
    let done = usize::try_from(found).unwrap_or(0);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(during("begin a migration"))?;
    for step in schema.steps.iter().skip(done) {
        transaction
            .execute_batch(step)
            .map_err(during("migrate the schema"))?;
    }
    transaction
        .pragma_update(None, "user_version", known)
        .map_err(during("note the schema version"))?;
    transaction.commit().map_err(during("commit a migration"))
}

/// Connections that only read, opened as they are needed.
#[derive(Clone, Debug)]
pub struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Readers of a file that a [`Writer`] has opened.
    pub fn of(path: &Path) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            idle: Arc::new(Mutex::new(Vec::new())),
        }
    }

    /// Reads on the calling thread.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be opened or `work` fails.
    pub fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let taken = self.lock().pop();
        let connection = match taken {
            Some(connection) => connection,
            None => self.open()?,
        };
        let result = work(&connection);
        let mut idle = self.lock();
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        result
    }

    /// Reads on a thread that may block.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be opened or `work` fails.
    pub async fn read_async<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || readers.read(work))
            .await
            .unwrap_or(Err(DbError::Closed))
    }

    fn open(&self) -> Result<Connection, DbError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(self.path.as_path(), flags)
            .and_then(|connection| {
                connection.busy_timeout(Duration::from_secs(10))?;
                connection.set_prepared_statement_cache_capacity(64);
                Ok(connection)
            })
            .map_err(|source| DbError::Open {
                path: self.path.as_ref().clone(),
                source: Box::new(source),
            })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed-size blob of a row.
///
/// # Errors
/// [`DbError::Damaged`] when it has another size.
pub fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], DbError> {
    bytes.try_into().map_err(|_| DbError::Damaged { what })
}

/// A number that SQLite holds as a signed integer.
pub fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The number of a signed integer that SQLite held; negative ones count as zero.
pub fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{DbError, Readers, Schema, Writer, during};

    const STEPS: &[&str] = &["CREATE TABLE t (n INTEGER NOT NULL UNIQUE) STRICT;"];

    fn insert(writer: &Writer, n: i64) -> Result<(), DbError> {
        writer.write_blocking(move |tx| {
            tx.execute("INSERT INTO t VALUES (?1)", [n])
                .map_err(during("insert"))?;
            if n < 0 {
                return Err(DbError::Damaged { what: "number" });
            }
            Ok(())
        })
    }

    fn all(readers: &Readers) -> Vec<i64> {
        readers
            .read(|c| {
                let mut statement = c
                    .prepare("SELECT n FROM t ORDER BY n")
                    .map_err(during("read"))?;
                let rows = statement
                    .query_map([], |row| row.get(0))
                    .map_err(during("read"))?;
                rows.collect::<Result<_, _>>().map_err(during("read"))
            })
            .unwrap()
    }

    #[test]
    fn a_piece_that_fails_undoes_itself_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        let schema = Schema {
            path: path.clone(),
            steps: STEPS,
        };
        let writer = Writer::start(schema, "test", 8).unwrap();
        insert(&writer, 1).unwrap();
        assert!(insert(&writer, -5).is_err());
        assert!(insert(&writer, 1).is_err());
        insert(&writer, 2).unwrap();
        assert_eq!(all(&Readers::of(&path)), [1, 2]);
    }

    #[test]
    fn what_was_answered_is_there_after_another_opening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        let schema = Schema {
            path: path.clone(),
            steps: STEPS,
        };
        insert(&Writer::start(schema.clone(), "test", 8).unwrap(), 7).unwrap();
        let _second = Writer::start(schema, "test", 8).unwrap();
        assert_eq!(all(&Readers::of(&path)), [7]);
    }

    #[test]
    fn a_file_of_a_newer_program_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        rusqlite::Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let err = Writer::start(Schema { path, steps: STEPS }, "test", 8).unwrap_err();
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
}
