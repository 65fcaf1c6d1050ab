//! The sealed outbox of the box: SQLite, hash-chained lanes.
//!
//! Whoever captured something appends it here as a record and waits for the commit; whoever
//! has a network takes frames from here and gives acknowledgements back. Deliberately absent:
//! the network, tokio, and any key that opens what is stored.
//!
//! | module | holds |
//! | --- | --- |
//! | [`outbox`] | the handle, and the rules that the outbox is reviewed against |
//! | [`space`] | what is refused and deleted as the space runs out |
//! | [`autonomy`] | how long the space lasts at the present rate |
//! | [`bookkeeping`] | which acquisitions are running, for a restart |
//! | [`show`] | reading an outbox without opening it for writing |
//! | [`error`] | what can go wrong |

mod ahead;
mod aside;
pub mod autonomy;
pub mod bookkeeping;
mod carry;
mod database;
pub mod error;
mod fork;
mod intact;
mod lanes;
mod migrate;
pub mod outbox;
mod recover;
mod sealing;
pub mod show;
pub mod space;
mod store;
mod store_sending;
#[cfg(feature = "unsealed")]
mod unsealed;
mod writer;

pub use autonomy::Autonomy;
pub use bookkeeping::{OpenAcquisition, SubjectMark};
pub use carry::AsideSummary;
pub use error::OutboxError;
pub use fork::ForkSign;
pub use outbox::{
    AckOutcome, AckRefusal, KeyRing, LaneSummary, OutFrame, Outbox, OutboxConfig, OutboxSummary,
    Pending, Resent, Stored,
};
pub use sealing::EncodedRecord;
pub use show::{LaneProof, OutboxRow, aside_read_only, rows_read_only, verify_read_only};
pub use space::{Space, SpaceLevel};
