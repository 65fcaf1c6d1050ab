//! The inbox: every frame that a box sent, durably, before anything else happens to it.
//!
//! * Order on arrival: authenticated connection, topic of that box, signature, then
//!   [`Inbox::store`], then PUBACK. `store` answers after COMMIT.
//! * What becomes of a frame, how far a lane is acknowledged and what a hello changes is
//!   decided in [`cardio_wire::intake`]; here is what it decides over.
//! * Numbers of acknowledgements rise for ever, across restarts, restored backups, clocks that
//!   go back and, on a database that several programs share, across programs.
//!
//! Deliberately absent: opening frames. [`crate::filing`] reads what is stored here.

mod aside;
mod counter;
mod enrolled;
mod frames;
mod held;
mod retention;
mod ties;

use std::sync::Arc;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::{ChainKey, Greeting, LaneHead, Receipt};
use cardio_wire::lane::FrameIdentity;
use cardio_wire::message::Hello;
use tokio::sync::{oneshot, watch};

use crate::db::{DbError, Place, Readers, Schema, Writer};
pub use aside::{Conflict, TriedConflict, conflicts_to_file};
pub use counter::AckCounter;
pub(crate) use enrolled::lore_within;
pub use enrolled::{BoxLore, BoxRow, EnrolError, NewBox, list as boxes_of};
pub use frames::{
    Arrived, LaneRow, StoredFrame, ToldGap, chain_breaks, frames_between, lane_rows, late_frames,
};
pub(crate) use frames::{arrived_after, lane_ending_with};
pub use retention::{Checkpoint, checkpoint};
pub use ties::Ties;

const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("clocks.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// Numbers of the inbox for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct InboxCounts {
    /// Frames stored.
    pub frames: u64,
    /// Frames that conflict with stored ones and are not filed.
    pub conflicts: u64,
    /// Frames that conflict with stored ones and are filed beside them.
    pub conflicts_filed: u64,
    /// Frames that came in a frame of a newer chain.
    pub carried: u64,
    /// Frames that never came and will not come.
    pub missing: u64,
    /// How many of those a signed gap record names.
    pub named_in_gaps: u64,
    /// Records that boxes say they refused before they were frames.
    pub refused: u64,
    /// Lanes that stand at a hash that does not match.
    pub broken_lanes: u64,
    /// Lanes of which box and gateway hold different frames.
    pub forked_lanes: u64,
    /// Chains with either of both that have ended since: their lanes go on in newer ones.
    pub forks_ended: u64,
    /// Frames that retention has deleted after they were filed.
    pub deleted: u64,
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
    /// [`DbError`] when the database cannot be used.
    pub fn open(place: &Place, queue: usize, now: UtcMicros) -> Result<Self, DbError> {
        let schema = Schema {
            place: place.clone(),
            part: "inbox",
            steps: STEPS,
        };
        let shared = place.is_shared();
        let writer = Writer::start(schema, queue)?;
        let counter = writer.write_blocking(move |tx| {
            aside::try_again(tx)?;
            AckCounter::open(tx, shared, now)
        })?;
        Ok(Self {
            readers: writer.readers().clone(),
            writer,
            counter: Arc::new(counter),
        })
    }

    /// The numbers of acknowledgements and commands.
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
        let device = frame.identity.device;
        self.writer
            .submit(&device.0, move |tx| {
                counter.reserve(tx, device, frame.at)?;
                frames::store(tx, &frame)
            })
            .await
    }

    /// Notes what a box says it holds and answers for each of its lanes, after COMMIT.
    /// `greeted` is when this connection was answered, if that is known: the hello was made
    /// after it.
    pub async fn hello(
        &self,
        hello: Hello,
        greeted: Option<UtcMicros>,
        now: UtcMicros,
    ) -> oneshot::Receiver<Result<Vec<Greeting>, DbError>> {
        let counter = Arc::clone(&self.counter);
        let device = hello.device;
        self.writer
            .submit(&device.0, move |tx| {
                counter.reserve(tx, device, now)?;
                enrolled::heard(tx, &hello, now)?;
                ties::note(tx, &hello, greeted, now)?;
                frames::compare(tx, &hello, now)
            })
            .await
    }

    /// A number for something that is said to a box without its having said anything. Other
    /// programs on the same database may have given higher ones meanwhile.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be drawn.
    pub async fn number(&self, device: BoxId, now: UtcMicros) -> Result<u64, DbError> {
        let counter = Arc::clone(&self.counter);
        let drawn = self.writer.write_of(&device.0, move |tx| {
            counter.reserve(tx, device, now)?;
            Ok(counter.next(device, now))
        });
        drawn.await
    }

    /// Tells other programs on the same database which boxes are connected to this one. For
    /// threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be stored.
    pub fn note_connected(&self, boxes: Vec<BoxId>, now: UtcMicros) -> Result<(), DbError> {
        for device in boxes {
            self.writer
                .write_of_blocking(&device.0, move |tx| enrolled::connected(tx, device, now))?;
        }
        Ok(())
    }

    /// Takes signed gap records at their word. For threads outside the runtime; doing it
    /// again changes nothing.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be stored.
    pub fn name_gaps(&self, told: Vec<ToldGap>, now: UtcMicros) -> Result<(), DbError> {
        for told in told {
            let device = told.told_by.device;
            self.writer
                .write_of_blocking(&device.0, move |tx| frames::name_gap(tx, &told, now))?;
        }
        Ok(())
    }

    /// Stores frames that were carried in frames of newer chains, as if they had come
    /// themselves; answers for each. For threads outside the runtime; doing it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`DbError`] when they cannot be stored.
    pub fn take_carried(&self, frames: Vec<Arrived>) -> Result<Vec<Receipt>, DbError> {
        let mut receipts = Vec::new();
        for frame in frames {
            let device = frame.identity.device;
            receipts.push(
                self.writer
                    .write_of_blocking(&device.0, move |tx| frames::store_carried(tx, &frame))?,
            );
        }
        Ok(receipts)
    }

    /// Notes what became of frames that conflict with stored ones: which of them are filed.
    /// For threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be stored.
    pub fn tried_conflicts(&self, tried: Vec<TriedConflict>) -> Result<(), DbError> {
        self.writer
            .write_blocking(move |tx| tried.iter().try_for_each(|one| aside::note(tx, one)))
    }

    /// Forgets that frames came late: they are filed. For threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be stored.
    pub fn filed_late(&self, frames: Vec<FrameIdentity>) -> Result<(), DbError> {
        self.writer.write_blocking(move |tx| {
            frames
                .iter()
                .try_for_each(|frame| frames::no_longer_late(tx, frame))
        })
    }

    /// Deletes frames of a lane that were filed and came before `before`; answers how many.
    /// For threads outside the runtime.
    ///
    /// # Errors
    /// [`DbError`] when it cannot be done.
    pub fn delete_filed(
        &self,
        key: ChainKey,
        filed: u64,
        before: UtcMicros,
    ) -> Result<u64, DbError> {
        self.writer.write_of_blocking(&key.device.0, move |tx| {
            retention::delete(tx, key, filed, before)
        })
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

    /// Notes which team carries a box, or that none does; answers which box it is.
    ///
    /// # Errors
    /// [`EnrolError::UnknownName`] when no box has the name, or the store's own error.
    pub async fn set_team(&self, name: String, team: Option<String>) -> Result<BoxId, EnrolError> {
        self.writer
            .write(move |tx| enrolled::set_team(tx, &name, team.as_deref()))
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

    /// The boxes of whose clocks something is known, each with a number that is another one
    /// when more was learnt.
    ///
    /// # Errors
    /// [`DbError`] when the inbox cannot be read.
    pub fn clock_news(&self) -> Result<Vec<(BoxId, i64)>, DbError> {
        self.readers.read(ties::news)
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
    pub fn lane_head(&self, key: ChainKey) -> Result<LaneHead, DbError> {
        self.readers
            .read(|connection| frames::head(connection, key))
    }
}

#[cfg(test)]
fn chain_breaks_of(inbox: &Inbox, device: BoxId) -> u32 {
    let breaks = inbox.readers.read(|c| chain_breaks(c, device));
    breaks.unwrap()
}

#[cfg(test)]
mod tests;
