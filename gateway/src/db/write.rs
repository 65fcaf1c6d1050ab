//! The thread that writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Connection, DbError, GROUP_MAX, Readers, Schema};

type Answer = Box<dyn FnOnce(Result<(), DbError>) + Send>;

/// Does its work; says whether to keep it, and how to answer when its fate is known.
type Run = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;

/// Work with the key of what it changes.
struct Piece {
    key: i64,
    run: Run,
}

/// Handle to the writer thread. Clones share it; when the last is dropped, the thread ends, and
/// the database is closed.
#[derive(Clone, Debug)]
pub struct Writer {
    // Dropped in this order: the thread ends when nobody can send, and is waited for then.
    work: mpsc::Sender<Piece>,
    _thread: Arc<Thread>,
    readers: Readers,
    commits: watch::Receiver<u64>,
    key: i64,
}

/// Waited for when it is dropped.
#[derive(Debug)]
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Drop for Thread {
    fn drop(&mut self) {
        let thread = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A piece of work that holds the last handle is dropped on the thread itself.
        if let Some(thread) = thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Writer {
    /// Opens or creates the database and starts its writer thread.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be opened, is damaged, or is newer than this program.
    pub fn start(schema: Schema, queue: usize) -> Result<Self, DbError> {
        let mut desk = Desk::open(schema)?;
        let (work, inlet) = mpsc::channel(queue.max(1));
        let (committed, commits) = watch::channel(0);
        let (readers, part) = (desk.readers.clone(), desk.schema.part);
        let thread = std::thread::Builder::new()
            .name(part.to_owned())
            .spawn(move || desk.write_until_closed(inlet, &committed))
            .map_err(|source| DbError::Open {
                place: readers.place().clone(),
                source: Box::new(source),
            })?;
        Ok(Self {
            work,
            _thread: Arc::new(Thread(Mutex::new(Some(thread)))),
            readers,
            commits,
            key: key_of(part.as_bytes()),
        })
    }

    /// Connections that read the same database.
    pub fn readers(&self) -> &Readers {
        &self.readers
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

/// What the thread has before it.
struct Desk {
    schema: Schema,
    readers: Readers,
    /// None after an error, until the database can be opened again.
    connection: Option<Connection>,
}

impl Desk {
    fn open(schema: Schema) -> Result<Self, DbError> {
        Ok(Self {
            readers: Readers::of(&schema.place),
            connection: Some(Connection::open(&schema)?),
            schema,
        })
    }

    fn write_until_closed(
        &mut self,
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
            let mut answers = Vec::with_capacity(group.len());
            let committed = self.commit(group, &mut answers);
            for answer in answers {
                answer(match &committed {
                    Ok(()) => Ok(()),
                    Err(error) => Err(DbError::NotCommitted {
                        why: error.to_string(),
                    }),
                });
            }
            commits.send_modify(|count| *count = count.wrapping_add(1));
            self.keep_log_short();
        }
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }

    /// After a failure the connection is closed before anybody is answered, and opened again with
    /// the next group: until then nothing of what failed can be read through it.
    fn commit(&mut self, group: Vec<Piece>, answers: &mut Vec<Answer>) -> Result<(), DbError> {
        let connection = match self.connection.take().filter(Connection::is_alive) {
            Some(connection) => connection,
            None => self.open_again()?,
        };
        let committed = commit_group(&connection, group, answers);
        match &committed {
            Ok(()) => self.connection = Some(connection),
            Err(error) => self.say("StoreCommitError", error),
        }
        committed
    }

    /// The readers are shut out meanwhile: nobody in this program may have the file open.
    fn open_again(&self) -> Result<Connection, DbError> {
        let _alone = (!self.schema.place.is_shared()).then(|| self.readers.shut_out());
        let opened = Connection::open(&self.schema);
        if let Err(error) = &opened {
            self.say("StoreReopenError", error);
        }
        opened
    }

    fn keep_log_short(&mut self) {
        let kept = self.connection.as_ref().map(Connection::checkpoint);
        if let Some(Err(error)) = kept {
            self.say("StoreCheckpointError", &error);
            self.connection = None;
        }
    }

    fn say(&self, event: &'static str, error: &DbError) {
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(
            event,
            code = error.code(),
            database = %self.schema.place,
            source,
            "{error}"
        );
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
