//! The thread that writes.

use tokio::sync::{mpsc, oneshot, watch};

use super::{Connection, DbError, GROUP_MAX, Schema};

type Answer = Box<dyn FnOnce(Result<(), DbError>) + Send>;

/// Does its work; says whether to keep it, and how to answer when its fate is known.
type Run = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;

/// Work with the key of what it changes.
struct Piece {
    key: i64,
    run: Run,
}

/// Handle to the writer thread. Clones share it; the thread ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Writer {
    work: mpsc::Sender<Piece>,
    commits: watch::Receiver<u64>,
    key: i64,
}

impl Writer {
    /// Opens or creates the database and starts its writer thread.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be opened, is damaged, or is newer than this program.
    pub fn start(schema: Schema, queue: usize) -> Result<Self, DbError> {
        let connection = Connection::open(&schema)?;
        let (work, inlet) = mpsc::channel(queue.max(1));
        let (committed, commits) = watch::channel(0);
        let (place, part) = (schema.place.clone(), schema.part);
        std::thread::Builder::new()
            .name(part.to_owned())
            .spawn(move || write_until_closed(connection, &schema, inlet, &committed))
            .map_err(|source| DbError::Open {
                place,
                source: Box::new(source),
            })?;
        Ok(Self {
            work,
            commits,
            key: key_of(part.as_bytes()),
        })
    }

    /// Changes after every COMMIT.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Hands over work that changes what belongs to a box or the like, under its key; waits
    /// for a place in the queue, not for the answer. The answer comes when the work is
    /// committed, or undone.
    pub async fn submit<T, F>(&self, of: &[u8], work: F) -> oneshot::Receiver<Result<T, DbError>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(key_of(of), work);
        // When the writer has stopped the piece is dropped, and its answer channel with it.
        let _ = self.work.send(piece).await;
        answer
    }

    /// As [`Writer::submit`], and waits until the work is committed.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub async fn write_of<T, F>(&self, of: &[u8], work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let answer = self.submit(of, work).await;
        answer.await.unwrap_or(Err(DbError::Closed))
    }

    /// Hands over work under the key of the whole part and waits until it is committed.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub async fn write<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(self.key, work);
        let _ = self.work.send(piece).await;
        answer.await.unwrap_or(Err(DbError::Closed))
    }

    /// As [`Writer::write`], for threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub fn write_blocking<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(self.key, work);
        let _ = self.work.blocking_send(piece);
        answer.blocking_recv().unwrap_or(Err(DbError::Closed))
    }

    /// As [`Writer::write_of`], for threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when the work failed or could not be committed.
    pub fn write_of_blocking<T, F>(&self, of: &[u8], work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    {
        let (piece, answer) = wrap(key_of(of), work);
        let _ = self.work.blocking_send(piece);
        answer.blocking_recv().unwrap_or(Err(DbError::Closed))
    }
}

/// The key of a name: the first bytes of its SHA-256.
fn key_of(name: &[u8]) -> i64 {
    let digest = cardio_wire::envelope::fingerprint(name);
    digest
        .first_chunk()
        .map_or(0, |raw| i64::from_be_bytes(*raw))
}

fn wrap<T, F>(key: i64, work: F) -> (Piece, oneshot::Receiver<Result<T, DbError>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let run = Box::new(move |connection: &Connection| {
        let result = work(connection);
        let keep = result.is_ok();
        let answer: Answer = Box::new(move |committed| {
            // Nobody may be waiting any more; the work stands all the same.
            let _ = send.send(committed.and(result));
        });
        (keep, answer)
    });
    (Piece { key, run }, receive)
}

fn write_until_closed(
    mut connection: Connection,
    schema: &Schema,
    mut inlet: mpsc::Receiver<Piece>,
    commits: &watch::Sender<u64>,
) {
    while let Some(first) = inlet.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(next) = inlet.try_recv()
        {
            group.push(next);
        }
        // Pieces of one key stay in their order.
        group.sort_by_key(|piece| piece.key);
        if !connection.is_alive() {
            reopen(&mut connection, schema);
        }
        let mut answers = Vec::with_capacity(group.len());
        let committed = commit_group(&connection, group, &mut answers);
        if let Err(error) = &committed {
            tracing::error!(
                event = "StoreCommitError",
                code = error.code(),
                database = %schema.place,
                "{error}"
            );
            reopen(&mut connection, schema);
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

fn reopen(connection: &mut Connection, schema: &Schema) {
    match Connection::open(schema) {
        Ok(fresh) => *connection = fresh,
        Err(error) => {
            tracing::error!(event = "StoreReopenError", code = error.code(), "{error}");
        }
    }
}

fn commit_group(
    connection: &Connection,
    group: Vec<Piece>,
    answers: &mut Vec<Answer>,
) -> Result<(), DbError> {
    connection.begin()?;
    let mut held = None;
    for piece in group {
        if held != Some(piece.key) {
            connection.lock(piece.key)?;
            held = Some(piece.key);
        }
        connection.batch("set a savepoint", "SAVEPOINT piece")?;
        let (keep, answer) = (piece.run)(connection);
        answers.push(answer);
        if keep {
            connection.batch("keep a piece of work", "RELEASE SAVEPOINT piece")?;
        } else {
            let undo = "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece";
            connection.batch("undo a piece of work", undo)?;
        }
    }
    connection.batch("commit", "COMMIT")
}
