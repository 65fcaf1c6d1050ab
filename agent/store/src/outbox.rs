//! The outbox: every record of the box, sealed, from its commit until the gateway's signed
//! acknowledgement, and some time longer.
//!
//! Constraints
//! - A record whose append was answered with [`Stored`] is on the disk: the answer follows
//!   `COMMIT` in WAL mode with `synchronous=FULL`.
//! - One process has an outbox open (a lock file), and one thread of it has the connection.
//! - Per lane the numbers of the frames are gapless from 1 and every frame names the
//!   fingerprint of the one before. A chain never continues in another file.
//! - A frame is deleted only when an acknowledgement covered it that is signed, newer than
//!   the last, and names the fingerprint that this outbox has at that place.
//! - What is refused or lost is named in a signed gap record (`LaneGapV1`).
//! - No key that opens a frame is here, and no plaintext is written. In the clear are
//!   counters, times, and the opaque reference of a subject while an acquisition runs.
//! - The file keeps to its cap; see [`crate::space`].
//!
//! Layout (`schema.sql`, version in `PRAGMA user_version`)
//! - `frame { place = lane * 2^48 + seq, fingerprint, stored_utc, bytes, carries }`
//! - `lane { chain, oldest, next, head, acked, acked_head, ack_counter, kept_bytes,
//!   waiting_bytes, refused }`: frames `oldest..next` are there, up to `acked` they are the
//!   gateway's too.
//! - `unsent_gap`: the gap records that are kept, as facts.
//! - `open_acquisition`: see [`crate::bookkeeping`].
//! - `carrying`: how far files that were set aside are carried over.
//! - Beside it: `.lock`, `.ballast`, SQLite's `-wal` and `-shm`, `-wal.new` for a moment, and
//!   `.damaged-<n>` and `.forked-<n>` files that were set aside, each with a marker `.named` once gap records name
//!   what it lost, and `.carried` once all that can be read of it is acknowledged.
//!   Files are 0600, a directory that is made here is 0700.
//!
//! Writes: up to 64 records or 20 ms make one transaction with the counters of their lanes; in
//! it, a record is sealed while the frame before it is inserted.
//! After any error the file is closed and opened again, and what it says then is believed,
//! because all of it is on the disk (see [`cardio_sqlite`]).
//!
//! Reads: frames in order from any place; each is compared with its fingerprint.
//!
//! Deletes: acknowledged frames after 7 days, or oldest first from 85 % on; files that were set
//! aside likewise, once what could be read of them is acknowledged.
//!
//! Recovers: SQLite rolls back what was not committed. A file that contradicts itself, or of
//! whose chain the gateway provably holds another history, is set aside whole, new chains
//! begin, and their first frames name what the old ones still had to send. What is intact of
//! that is then carried over: each frame whole, in a frame of the new chain of its lane.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_core::ids::BoxId;
use cardio_wire::keys::{RecipientPublicKey, SigningKey};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::{Ack, LaneState};

use crate::bookkeeping::{self, OpenAcquisition};
use crate::error::OutboxError;
use crate::sealing::{EncodedRecord, Entry};
use crate::space::Space;
use crate::store::Store;
use crate::writer::{self, Job, Reply};

pub use crate::store_sending::{
    AckOutcome, AckRefusal, LaneSummary, OutFrame, OutboxSummary, Resent,
};

/// How many records may wait for the disk before whoever appends has to wait too.
const QUEUE: usize = 1024;

/// Where the outbox is, and how large it may become.
#[derive(Clone, Debug)]
pub struct OutboxConfig {
    /// The database file.
    pub path: PathBuf,
    /// The cap of the file.
    pub cap_bytes: u64,
    /// The most records in one transaction.
    pub group_max: usize,
    /// The longest time that a record waits for others.
    pub group_wait: Duration,
    /// The time between two batches of frames that are carried over.
    pub carry_pause: Duration,
}

impl OutboxConfig {
    /// Groups of 64 records or 20 ms.
    pub fn new(path: &Path, cap_bytes: u64) -> Self {
        Self {
            path: path.to_owned(),
            cap_bytes,
            group_max: 64,
            group_wait: Duration::from_millis(20),
            carry_pause: Duration::from_millis(20),
        }
    }
}

/// The keys that the outbox needs. None of them opens a frame.
#[derive(Clone, Debug)]
pub struct KeyRing {
    /// This box.
    pub device: BoxId,
    /// Signs frames.
    pub signer: SigningKey,
    /// Records are sealed to it.
    pub recipient: RecipientPublicKey,
}

/// A record is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub identity: FrameIdentity,
    /// SHA-256 of its frame.
    pub fingerprint: [u8; 32],
    /// Size of its frame.
    pub bytes: usize,
}

/// An answer that is still to come.
#[derive(Debug)]
pub struct Pending(Receiver<Result<Stored, OutboxError>>);

impl Pending {
    /// Waits for the commit.
    ///
    /// # Errors
    /// [`OutboxError`]; the record is then not stored.
    pub fn wait(self) -> Result<Stored, OutboxError> {
        self.0.recv().unwrap_or(Err(OutboxError::Closed))
    }
}

/// A handle of the outbox; clones share it. Calls wait for the disk, so in an async program
/// they belong on a thread that may wait; [`Outbox::append_then`] only hands over.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    /// Lets the thread finish what waits. A callback that drops the last handle is on that
    /// thread itself, and does not wait.
    fn drop(&mut self) {
        drop(lock(&self.jobs).take());
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbox")
    }
}

impl Outbox {
    /// Opens the outbox, or makes it. A damaged one is set aside and named in gap records.
    ///
    /// # Errors
    /// [`OutboxError::InUse`] when another program has it open, [`OutboxError::Newer`] when
    /// a later version made it, and what the file system or the database said.
    pub fn open(
        config: OutboxConfig,
        keys: KeyRing,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboxError> {
        let path = config.path.clone();
        let store = Store::open(config, keys, clock)?;
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || writer::run(store, &queue))
            .map_err(|source| OutboxError::file("start the thread of", &path, source))?;
        Ok(Self {
            shared: Arc::new(Shared {
                jobs: Mutex::new(Some(jobs)),
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Hands a record over, encoded here unless it is already; the answer comes after the
    /// commit.
    ///
    /// # Errors
    /// [`OutboxError::Closed`].
    pub fn append(
        &self,
        lane: Lane,
        record: impl Into<EncodedRecord>,
    ) -> Result<Pending, OutboxError> {
        let (sender, answer) = sync_channel(1);
        let reply = move |result| {
            // Whoever stopped waiting does not hear it; the record is stored all the same.
            let _ = sender.send(result);
        };
        self.append_then(lane, record, reply)?;
        Ok(Pending(answer))
    }

    /// Hands a record over; `reply` is called on the outbox's thread after the commit, and
    /// must not wait for anything.
    ///
    /// # Errors
    /// [`OutboxError::Closed`]; `reply` is then not called.
    pub fn append_then(
        &self,
        lane: Lane,
        record: impl Into<EncodedRecord>,
        reply: impl FnOnce(Result<Stored, OutboxError>) + Send + 'static,
    ) -> Result<(), OutboxError> {
        let reply: Reply = Box::new(reply);
        let encoded = record.into();
        self.send(Job::Append(Entry { lane, encoded }, reply))
    }

    /// Stores records of a lane in one transaction, and waits for it. Where one is refused, none
    /// behind it is stored, and none counts as lost: they are to be offered again.
    ///
    /// # Errors
    /// [`OutboxError`], of the first that is not stored.
    pub fn append_all(
        &self,
        lane: Lane,
        records: impl IntoIterator<Item = impl Into<EncodedRecord>>,
    ) -> Result<(), OutboxError> {
        let records = records.into_iter().map(Into::into);
        let entries: Vec<Entry> = records.map(|encoded| Entry { lane, encoded }).collect();
        self.call(move |store| store.append_in_order(&entries))
    }

    /// Frames of a lane in order, from the one after `after_seq` on: at most `max_frames`,
    /// and at most `max_bytes` unless the first one alone is larger.
    ///
    /// # Errors
    /// [`OutboxError`]; after [`OutboxError::Damaged`] the lane has a new chain.
    pub fn next_to_send(
        &self,
        lane: Lane,
        after_seq: u64,
        max_frames: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutFrame>, OutboxError> {
        self.call(move |store| store.next_to_send(lane, after_seq, max_frames, max_bytes))
    }

    /// Takes an acknowledgement whose signature was checked.
    ///
    /// # Errors
    /// [`OutboxError`] when it could not be written down; it then counts for nothing.
    pub fn acked(&self, ack: &Ack) -> Result<AckOutcome, OutboxError> {
        let ack = *ack;
        self.call(move |store| store.acked(&ack))
    }

    /// Seals every record that is stored from now on to another key of the gateway.
    ///
    /// # Errors
    /// [`OutboxError::Closed`].
    pub fn seal_to(&self, recipient: RecipientPublicKey) -> Result<(), OutboxError> {
        self.call(move |store| {
            store.keys.recipient = recipient;
            Ok(())
        })
    }

    /// Takes back acknowledgements from a place on, because the gateway lost the frames.
    ///
    /// # Errors
    /// [`OutboxError`] when it could not be written down.
    pub fn resend(&self, lane: Lane, chain: ChainId, from_seq: u64) -> Result<Resent, OutboxError> {
        self.call(move |store| store.resend(lane, chain, from_seq))
    }

    /// What a hello says of the lanes.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn lane_states(&self) -> Result<Vec<LaneState>, OutboxError> {
        self.call(|store| {
            store.conn()?;
            Ok(store.lanes.iter().map(|row| row.state()).collect())
        })
    }

    /// Counts and space, for people and for the hello.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn summary(&self) -> Result<OutboxSummary, OutboxError> {
        self.call(Store::summary)
    }

    /// The space alone.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn space(&self) -> Result<Space, OutboxError> {
        self.call(Store::space)
    }

    /// Acquisitions whose start is stored and whose end is not.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn open_acquisitions(&self) -> Result<Vec<OpenAcquisition>, OutboxError> {
        self.call(|store| bookkeeping::open_acquisitions(store.conn()?))
    }

    fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Store) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let (sender, answer) = sync_channel(1);
        self.send(Job::Call(Box::new(move |store| {
            let _ = sender.send(question(store));
        })))?;
        answer.recv().unwrap_or(Err(OutboxError::Closed))
    }

    fn send(&self, job: Job) -> Result<(), OutboxError> {
        let jobs = lock(&self.shared.jobs).clone().ok_or(OutboxError::Closed)?;
        jobs.send(job).map_err(|_| OutboxError::Closed)
    }
}
