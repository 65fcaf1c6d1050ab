//! The inbox: every frame that a box sent, durably, before anything else happens to it.
//!
//! * Order on arrival: authenticated connection, topic of that box, signature, then
//!   [`Inbox::store`], then PUBACK. `store` answers after COMMIT.
//! * Identity of a frame is (box, lane, chain, number). The same identity with another
//!   fingerprint is kept beside the first, raises an alarm and is never acknowledged.
//! * A lane is acknowledged up to its last frame before the first hole, and only along
//!   matching hashes: a frame whose `prev` is not the fingerprint before it stops the lane.
//! * Numbers of acknowledgements rise for ever, across restarts, restored backups and clocks
//!   that go back: they follow the wall clock but never below what is reserved on disk.
//!
//! Deliberately absent: opening frames. [`crate::filing`] reads what is stored here.

mod counter;
mod enrolled;
mod frames;
mod ties;

use std::path::Path;
use std::sync::Arc;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::{LaneHead, Receipt};
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::Hello;
use tokio::sync::{oneshot, watch};

use crate::db::{DbError, Readers, Schema, Writer};
pub use counter::AckCounter;
pub use enrolled::{BoxLore, BoxRow, EnrolError, NewBox, list as boxes_of};
pub use frames::{Arrived, LaneRow, StoredFrame, chain_breaks, frames_between, lane_rows};
pub use ties::Ties;

const STEPS: &[&str] = &[include_str!("schema.sql"), include_str!("clocks.sql")];

/// Numbers of the inbox for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct InboxCounts {
    /// Frames stored.
    pub frames: u64,
    /// Frames that claim the identity of a stored one.
    pub conflicts: u64,
    /// Frames that boxes lost before sending them.
    pub missing: u64,
    /// Lanes that stopped at a hash that does not match.
    pub broken_lanes: u64,
}

/// Handle to the inbox.
#[derive(Clone, Debug)]
pub struct Inbox {
    writer: Writer,
    readers: Readers,
    counter: Arc<AckCounter>,
}

impl Inbox {
    /// Opens or creates the inbox.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be used.
    pub fn open(path: &Path, queue: usize, now: UtcMicros) -> Result<Self, DbError> {
        let schema = Schema {
            path: path.to_owned(),
            steps: STEPS,
        };
        let writer = Writer::start(schema, "inbox", queue)?;
        let reserved = writer.write_blocking(move |tx| counter::open(tx, now))?;
        Ok(Self {
            writer,
            readers: Readers::of(path),
            counter: Arc::new(AckCounter::from_reserved(reserved)),
        })
    }

    /// The numbers of acknowledgements.
    pub fn counter(&self) -> &AckCounter {
        &self.counter
    }

    /// Changes after every COMMIT: frames may have come.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.writer.commits()
    }

    /// Connections that read the inbox.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Stores a frame whose signature was verified. The answer comes after COMMIT.
    pub async fn store(&self, frame: Arrived) -> oneshot::Receiver<Result<Receipt, DbError>> {
        let counter = Arc::clone(&self.counter);
        self.writer
            .submit(move |tx| {
                counter.reserve(tx, frame.at)?;
                frames::store(tx, &frame)
            })
            .await
    }

    /// Notes what a box says it holds and answers where each of its lanes stands here. The
    /// answer comes after COMMIT. `greeted` is when this connection was answered, if that is
    /// known: the hello was made after it.
    pub async fn hello(
        &self,
        hello: Hello,
        greeted: Option<UtcMicros>,
        now: UtcMicros,
    ) -> oneshot::Receiver<Result<Vec<LaneHead>, DbError>> {
        let counter = Arc::clone(&self.counter);
        self.writer
            .submit(move |tx| {
                counter.reserve(tx, now)?;
                enrolled::heard(tx, &hello, now)?;
                ties::note(tx, &hello, greeted, now)?;
                frames::compare(tx, &hello, now)
            })
            .await
    }

    /// Enrols a box: stores its public parts under a new name.
    ///
    /// # Errors
    /// [`EnrolError::NameTaken`] when the name is in use, or the store's own error.
    pub async fn enrol(&self, new: NewBox) -> Result<(), EnrolError> {
        self.writer
            .write(move |tx| enrolled::enrol(tx, &new))
            .await
            .map_err(EnrolError::Store)?
    }

    /// Revokes a box by its name; answers which one it was.
    ///
    /// # Errors
    /// [`EnrolError::UnknownName`] when no box has the name, or the store's own error.
    pub async fn revoke(&self, name: String, now: UtcMicros) -> Result<BoxId, EnrolError> {
        self.writer
            .write(move |tx| enrolled::revoke(tx, &name, now))
            .await
            .map_err(EnrolError::Store)?
    }

    /// Every box that was ever enrolled, by name.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn boxes(&self) -> Result<Vec<BoxRow>, DbError> {
        self.readers.read(enrolled::list)
    }

    /// What boxes said of themselves.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn lore(&self, devices: &[BoxId]) -> Result<BoxLore, DbError> {
        self.readers
            .read(|connection| enrolled::read_lore(connection, devices))
    }

    /// What boxes said of themselves, read on a thread that may wait.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub async fn lore_async(&self, devices: Vec<BoxId>) -> Result<BoxLore, DbError> {
        self.readers
            .read_async(move |connection| enrolled::read_lore(connection, &devices))
            .await
    }

    /// The boxes of whose clocks something was learnt after `mark`, and the mark for the next
    /// time.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn clock_news(&self, mark: i64) -> Result<(i64, Vec<BoxId>), DbError> {
        self.readers
            .read(|connection| ties::changed_since(connection, mark))
    }

    /// Numbers for `status`.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn counts(&self) -> Result<InboxCounts, DbError> {
        self.readers.read(frames::counts)
    }

    /// Where one lane stands.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn lane_head(
        &self,
        device: BoxId,
        lane: Lane,
        chain: ChainId,
    ) -> Result<LaneHead, DbError> {
        self.readers
            .read(|connection| frames::head(connection, device, lane, chain))
    }
}

#[cfg(test)]
mod tests;
