//! The visits of the day, as the gateway tells them, and the one that a person has chosen.
//!
//! - All of it lives in memory. The key that a list is sealed to is made when the program starts
//!   and is never written: what is on the box's disk, or went over the network before, opens with
//!   nothing that a thief can have. After a restart the next hello names a new key, and the
//!   gateway sends the list again.
//! - A list replaces the one before it as a whole. What is not on it any more (cancelled, done,
//!   moved to another day) is gone from memory, and so is a choice of it.
//! - At the end of its day a list is dropped, whatever the wall clock says: what was left of the
//!   day when it came is measured on the box's own clock.
//! - Dropping a list never cuts a running exam; only a person does.
//!
//! Deliberately absent: the numbers, signatures and lifetimes of what carries a list
//! ([`crate::uplink`]), and exams without a visit, which need nothing of this.

mod shown;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_core::request::RequestRef;
use cardio_core::subject::SubjectRef;
use cardio_wire::keys::{KeyError, RecipientPublicKey, RecipientSecretKey};
use cardio_wire::visits::{SealedVisits, VisitList, VisitsError};
use ring::rand::SystemRandom;
use tokio::sync::watch;

pub use shown::{ShownVisit, VisitsDocument, VisitsState, as_text};

/// How often it is looked whether the day is over.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whose an exam is, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The patient, as an opaque reference.
    pub subject: SubjectRef,
    /// The request.
    pub request: RequestRef,
}

/// What holds for exams of attended sensors from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The chosen visit; `None` for none.
    pub assigned: Option<Assigned>,
    /// Whether a person said so: then a running exam that is not of this visit ends.
    pub at_once: bool,
}

/// What a new list changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many visits are on it.
    pub visits: usize,
    /// How many of the list before it are not.
    pub withdrawn: usize,
}

/// Why a list is not taken, or a visit cannot be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorklistError {
    /// The list cannot be opened or read.
    #[error("the list of visits is refused")]
    Refused(#[source] VisitsError),
    /// Its day is over.
    #[error("the list of visits is of a day that is over")]
    Over,
    /// There is no list to choose from.
    #[error("no list of visits is there to choose from")]
    NoList,
    /// No visit of the list is for that request.
    #[error("no visit of the list is for the request {request}")]
    Unknown {
        /// What was asked for.
        request: String,
    },
}

impl WorklistError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Over => "worklist.over",
            Self::NoList => "worklist.none",
            Self::Unknown { .. } => "worklist.unknown",
        }
    }
}

/// The visits of the day of one box.
pub struct Worklist {
    device: BoxId,
    secret: RecipientSecretKey,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    choice: watch::Sender<Choice>,
}

/// What is known now.
#[derive(Default)]
struct Held {
    list: Option<Kept>,
    /// Visits that were taken off the list while this program ran.
    withdrawn: usize,
    chosen: Option<RequestRef>,
}

struct Kept {
    list: VisitList,
    received_us: u64,
    /// End of its day on the box's own clock.
    until_us: u64,
}

impl std::fmt::Debug for Worklist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worklist")
            .field("key", &self.secret.key_id())
            .finish_non_exhaustive()
    }
}

impl Worklist {
    /// No visits yet, and a new key to be told them with.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn new(device: BoxId, clock: Arc<dyn Clock>) -> Result<Self, KeyError> {
        Ok(Self {
            device,
            secret: RecipientSecretKey::generate(&SystemRandom::new())?,
            clock,
            held: Mutex::default(),
            choice: watch::channel(Choice::default()).0,
        })
    }

    /// The key that lists are to be sealed to.
    pub fn key(&self) -> RecipientPublicKey {
        self.secret.public()
    }

    /// Follows what is chosen.
    pub fn choice(&self) -> watch::Receiver<Choice> {
        self.choice.subscribe()
    }

    /// Takes a list in place of the one before it. `gateway_now` is the gateway's time, as far as
    /// the box knows it; without it the time since the list was made counts as nothing.
    ///
    /// # Errors
    /// [`WorklistError`]; the list before it stays.
    pub fn take(
        &self,
        sealed: &SealedVisits,
        gateway_now: Option<UtcMicros>,
    ) -> Result<Taken, WorklistError> {
        let list = sealed
            .open(self.device, &self.secret)
            .map_err(WorklistError::Refused)?;
        let now = gateway_now.map_or(list.issued, |now| now.max(list.issued));
        let left = u64::try_from(list.until.0.saturating_sub(now.0)).unwrap_or(0);
        if left == 0 {
            return Err(WorklistError::Over);
        }
        let received_us = self.clock.read().box_instant.micros;
        let kept = Kept {
            list,
            received_us,
            until_us: received_us.saturating_add(left),
        };
        self.drop_what_is_over();
        let mut held = self.held();
        let stays = |request: &RequestRef| kept.list.visits.iter().any(|v| v.request == *request);
        let before = held.list.as_ref().map(|kept| kept.list.visits.as_slice());
        let withdrawn = before.unwrap_or_default().iter();
        let withdrawn = withdrawn.filter(|visit| !stays(&visit.request)).count();
        let taken = Taken {
            visits: kept.list.visits.len(),
            withdrawn,
        };
        held.withdrawn = held.withdrawn.saturating_add(withdrawn);
        held.list = Some(kept);
        let assigned = held.chosen.as_ref().and_then(|chosen| held.visit(chosen));
        if assigned.is_none() {
            held.chosen = None;
        }
        drop(held);
        self.say(assigned, false);
        Ok(taken)
    }

    /// A person says which visit they are at.
    ///
    /// # Errors
    /// [`WorklistError::NoList`], [`WorklistError::Unknown`].
    pub fn choose(&self, request: &str) -> Result<(), WorklistError> {
        self.drop_what_is_over();
        let mut held = self.held();
        if held.list.is_none() {
            return Err(WorklistError::NoList);
        }
        let unknown = || WorklistError::Unknown {
            request: request.to_owned(),
        };
        let asked = RequestRef::new(request).map_err(|_| unknown())?;
        let assigned = held.visit(&asked).ok_or_else(unknown)?;
        held.chosen = Some(asked);
        drop(held);
        self.say(Some(assigned), true);
        Ok(())
    }

    /// A person says that the visit is over.
    pub fn done(&self) {
        self.held().chosen = None;
        self.say(None, true);
    }

    /// Drops a list whose day is over.
    fn drop_what_is_over(&self) {
        let now_us = self.clock.read().box_instant.micros;
        let mut held = self.held();
        if held
            .list
            .as_ref()
            .is_some_and(|kept| kept.until_us <= now_us)
        {
            *held = Held::default();
            drop(held);
            self.say(None, false);
            tracing::info!(event = "VisitsDropped", why = "the day is over");
        }
    }

    /// Drops each list at the end of its day, until told to stop.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            let stopped = stop.wait_for(|stop| *stop);
            if tokio::time::timeout(LOOK_EVERY, stopped).await.is_ok() {
                return;
            }
            self.drop_what_is_over();
        }
    }

    fn say(&self, assigned: Option<Assigned>, at_once: bool) {
        let choice = Choice { assigned, at_once };
        self.choice.send_if_modified(|said| {
            let changes = at_once || said.assigned != choice.assigned;
            if changes {
                *said = choice;
            }
            changes
        });
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn visit(&self, request: &RequestRef) -> Option<Assigned> {
        let visits = self.list.as_ref()?.list.visits.iter();
        let mut visits = visits.filter(|visit| visit.request == *request);
        visits.next().map(|visit| Assigned {
            subject: visit.subject.clone(),
            request: visit.request.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
