//! The desk where new boxes are let in: invitations, claims, and an operator's decision.
//!
//! * An operator invites a name; the claim code is shown once and kept only as a derived key.
//! * A box claims the invitation with a request that proves the code and both of its keys for
//!   its TLS session. The request is then pending, the code is spent. The same keys may claim
//!   again while it is pending (the box lost the answer): the words then change. Other keys are
//!   turned away and counted, for the operator to see.
//! * Five wrong claims lock an invitation. Outwards every refusal looks the same.
//! * An operator confirms with the six words that the box shows. Words of a request that has
//!   changed since do not fit, so nothing is confirmed that nobody looked at.
//! * Confirming enrols the box first and notes it here second; a crash between the two is
//!   mended by confirming again.
//!
//! Layout: `enrol.sqlite`, one row per invitation (`schema.sql`), at most [`INVITATIONS_MAX`].
//! Deliberately absent: HTTP ([`super::http`]).

mod rows;

use std::sync::Arc;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::enrol::{Answer, Ask, ClaimCode, Grant, Posted, Session};
use cardio_wire::topic::Topic;
use ring::rand::{SecureRandom as _, SystemRandom};

use self::rows::{Claimed, State};
use super::{Meeting, check_name};
use crate::boxes::{Boxes, KnownBox};
use crate::config::EnrolConfig;
use crate::db::{Connection, DbError, Place, Readers, Schema, Writer};
use crate::inbox::{EnrolError, Inbox, NewBox};
use crate::keys::{GatewayKeys, KeyError, Requested};

/// Invitations that are kept, whatever their state.
pub const INVITATIONS_MAX: i64 = 256;
/// Wrong claims after which an invitation is locked.
pub const WRONG_MAX: i64 = 5;
const STEPS: &[&str] = &[include_str!("schema.sql")];
/// Work of the desk that may wait.
const QUEUE: usize = 64;

/// Why an operator's wish at the desk is not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// The name cannot be used.
    #[error("{name} cannot be invited")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: EnrolError,
    },
    /// The name has an invitation that still holds.
    #[error("{name} is already invited")]
    Invited {
        /// The name.
        name: String,
    },
    /// There are too many invitations.
    #[error("there are {INVITATIONS_MAX} invitations that still hold; no more are made")]
    Crowded,
    /// Nothing of that name waits for a decision.
    #[error("no request of a box named {name} is pending: its invitation is {state}")]
    NotPending {
        /// The name.
        name: String,
        /// What its invitation is.
        state: &'static str,
    },
    /// The words are not those of the request.
    #[error("these are not the six words of the request that is pending for {name}")]
    WordsDiffer {
        /// The name.
        name: String,
    },
    /// A key or certificate cannot be made.
    #[error("the enrolment of {name} cannot be completed")]
    Keys {
        /// The name.
        name: String,
        /// What went wrong.
        source: KeyError,
    },
    /// The box cannot be stored.
    #[error("{name} cannot be enrolled")]
    Enrol {
        /// The name.
        name: String,
        /// Why not.
        source: EnrolError,
    },
    /// The system gave no randomness.
    #[error("the system gives no random bytes for an invitation")]
    NoRandomness,
    /// The desk's own store failed.
    #[error("the desk cannot note it")]
    Store(#[source] DbError),
}

impl DeskError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name { source, .. } | Self::Enrol { source, .. } => source.code(),
            Self::Invited { .. } => "enrol.invited",
            Self::Crowded => "enrol.crowded",
            Self::NotPending { .. } => "enrol.not-pending",
            Self::WordsDiffer { .. } => "enrol.words",
            Self::Keys { source, .. } => source.code(),
            Self::NoRandomness => "enrol.randomness",
            Self::Store(error) => error.code(),
        }
    }
}

/// Why a box is turned away. It is told nothing of this; the log and the operator are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnedAway {
    /// No invitation has the number, or no request the ticket.
    #[error("it knows no invitation of this gateway")]
    Unknown,
    /// The code is wrong.
    #[error("its claim code for the invitation of {name} is wrong")]
    WrongClaim {
        /// Whose invitation.
        name: String,
    },
    /// Too many wrong claims.
    #[error("the invitation of {name} is locked")]
    Locked {
        /// Whose invitation.
        name: String,
    },
    /// The invitation has ended.
    #[error("the invitation of {name} has ended")]
    Expired {
        /// Whose invitation.
        name: String,
    },
    /// The code was used by other keys, or the request was decided on.
    #[error("the code of {name} was used before")]
    Used {
        /// Whose invitation.
        name: String,
    },
    /// A key is not proved.
    #[error("it does not prove the keys that it brings for {name}")]
    Unproved {
        /// Whose invitation.
        name: String,
    },
    /// This side failed.
    #[error("the desk failed")]
    Failed(#[source] DeskError),
}

impl TurnedAway {
    /// Stable identifier for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "enrol.unknown",
            Self::WrongClaim { .. } => "enrol.claim.wrong",
            Self::Locked { .. } => "enrol.locked",
            Self::Expired { .. } => "enrol.expired",
            Self::Used { .. } => "enrol.used",
            Self::Unproved { .. } => "enrol.unproved",
            Self::Failed(error) => error.code(),
        }
    }
}

/// A new invitation, to be shown once.
#[derive(Debug)]
pub struct Invitation {
    /// Whom it is for.
    pub name: String,
    /// The code; kept nowhere.
    pub code: ClaimCode,
    /// Until when it holds.
    pub until: UtcMicros,
}

/// An invitation as an operator sees it.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Whom it is for.
    pub name: String,
    /// open, pending, expired, locked, refused or confirmed.
    pub state: &'static str,
    /// Until when it holds.
    pub until: UtcMicros,
    /// Claims with a wrong code.
    pub wrong: i64,
    /// Claims with the right code and other keys, after it was spent.
    pub again: i64,
    /// The six words of its request, if there is one.
    pub words: Option<String>,
    /// The version of the box's program.
    pub agent_version: Option<String>,
    /// When the request came.
    pub asked: Option<UtcMicros>,
}

/// The desk.
#[derive(Clone)]
pub struct Desk {
    writer: Writer,
    readers: Readers,
    inbox: Inbox,
    boxes: Arc<Boxes>,
    keys: Arc<GatewayKeys>,
    clock: Arc<dyn Clock>,
    invitation_us: i64,
    meeting: Arc<Meeting>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// What the desk works with.
#[derive(Clone)]
pub struct DeskParts {
    /// Stores boxes.
    pub inbox: Inbox,
    /// Lets them connect.
    pub boxes: Arc<Boxes>,
    /// Certifies them.
    pub keys: Arc<GatewayKeys>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where boxes are told to go.
    pub meeting: Meeting,
}

impl Desk {
    /// Opens or creates the desk's store.
    ///
    /// # Errors
    /// [`DbError`] when the file cannot be used.
    pub fn open(place: &Place, config: &EnrolConfig, parts: DeskParts) -> Result<Self, DbError> {
        let schema = Schema {
            place: place.clone(),
            part: "desk",
            steps: STEPS,
        };
        let writer = Writer::start(schema, QUEUE)?;
        Ok(Self {
            readers: writer.readers().clone(),
            writer,
            inbox: parts.inbox,
            boxes: parts.boxes,
            keys: parts.keys,
            clock: parts.clock,
            invitation_us: i64::try_from(config.invitation.0.as_micros()).unwrap_or(i64::MAX),
            meeting: Arc::new(parts.meeting),
        })
    }

    /// Connections that read its invitations.
    pub const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Where boxes are told to go.
    pub fn meeting(&self) -> &Meeting {
        &self.meeting
    }

    /// Invites a box; the code is shown now and never again.
    ///
    /// # Errors
    /// [`DeskError`] when the name is taken or invited, or nothing can be stored.
    pub async fn invite(&self, name: &str) -> Result<Invitation, DeskError> {
        let bad = |source| DeskError::Name {
            name: name.to_owned(),
            source,
        };
        check_name(name).map_err(bad)?;
        let boxes = self.inbox.boxes().map_err(DeskError::Store)?;
        if boxes.iter().any(|row| row.known.name == name) {
            let name = name.to_owned();
            return Err(bad(EnrolError::NameTaken { name }));
        }
        let code =
            ClaimCode::generate(&SystemRandom::new()).map_err(|_| DeskError::NoRandomness)?;
        let now = self.clock.read().utc;
        let until = UtcMicros(now.0.saturating_add(self.invitation_us));
        let (number, claim, invited) = (code.number(), code.key(), name.to_owned());
        self.write(move |tx| rows::invite(tx, &invited, &number, &claim, now, until))
            .await??;
        tracing::info!(event = "BoxInvited", box_name = name);
        Ok(Invitation {
            name: name.to_owned(),
            code,
            until,
        })
    }

    /// A box claims an invitation; answers what it may be told.
    ///
    /// # Errors
    /// [`TurnedAway`]. A wrong claim has been counted.
    pub async fn claim(&self, posted: Posted, session: Session) -> Result<Answer, TurnedAway> {
        let now = self.clock.read().utc;
        let mut ticket = [0; 16];
        let random = SystemRandom::new().fill(&mut ticket);
        random.map_err(|_| TurnedAway::Failed(DeskError::NoRandomness))?;
        let device = BoxId(uuid::Uuid::new_v4().into_bytes());
        let claimed = Claimed {
            posted,
            session,
            ticket,
            device,
            now,
        };
        self.write(move |tx| claimed.enter(tx))
            .await
            .map_err(TurnedAway::Failed)?
    }

    /// A box asks what became of its request.
    ///
    /// # Errors
    /// [`TurnedAway`] when it does not prove to be who made the request.
    pub async fn ask(&self, ask: Ask, session: Session) -> Result<Answer, TurnedAway> {
        let failed = |error| TurnedAway::Failed(DeskError::Store(error));
        let found = self
            .readers
            .read_async(move |c| rows::by_ticket(c, ask.ticket));
        let row = found.await.map_err(failed)?.ok_or(TurnedAway::Unknown)?;
        if !ask.is_signed_with(&session, &row.frame_key) {
            return Err(TurnedAway::Unproved { name: row.name });
        }
        let ended = self.clock.read().utc > row.until;
        match (row.state, row.certificate) {
            (State::Confirmed, Some(certificate)) => self.grant(row.name, row.device, certificate),
            (State::Pending, _) if !ended => Ok(Answer::Pending { ticket: ask.ticket }),
            _ => Ok(Answer::Refused),
        }
    }

    fn grant(
        &self,
        name: String,
        device: BoxId,
        certificate: String,
    ) -> Result<Answer, TurnedAway> {
        let trusted = self.keys.trusted().map_err(|source| {
            let name = name.clone();
            TurnedAway::Failed(DeskError::Keys { name, source })
        })?;
        Ok(Answer::Granted(Box::new(Grant {
            device,
            name,
            certificate,
            endpoint: self.meeting.endpoint.clone(),
            server_name: self.meeting.server_name.clone(),
            authority: self.meeting.ca_pem.clone(),
            renewal: self.meeting.renewal.clone(),
            trusted,
        })))
    }

    /// Every invitation that is kept, newest first.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn visitors(&self) -> Result<Vec<Visitor>, DeskError> {
        let now = self.clock.read().utc;
        let list = self.readers.read_async(move |c| rows::visitors(c, now));
        list.await.map_err(DeskError::Store)
    }

    /// Lets the box in whose request has these six words.
    ///
    /// # Errors
    /// [`DeskError::WordsDiffer`], [`DeskError::NotPending`], or what could not be stored.
    pub async fn confirm(&self, name: &str, words: &str) -> Result<BoxId, DeskError> {
        let now = self.clock.read().utc;
        let wanted = name.to_owned();
        let pending = self
            .readers
            .read_async(move |c| rows::pending(c, &wanted, now));
        let row = pending.await.map_err(DeskError::Store)??;
        let typed: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        if typed.join(" ") != row.words {
            let name = name.to_owned();
            return Err(DeskError::WordsDiffer { name });
        }
        let keys_failed = |source| DeskError::Keys {
            name: name.to_owned(),
            source,
        };
        let requested = Requested::read(&row.csr).ok_or(DeskError::Store(DbError::Damaged {
            what: "certificate request",
        }))?;
        let certificate = self
            .keys
            .certify_box(&requested, &Topic::box_name(row.device), now)
            .map_err(keys_failed)?;
        let known = KnownBox {
            id: row.device,
            name: name.to_owned(),
            frame_key: row.frame_key,
            cert_key_hash: requested.key_hash,
        };
        self.enrol(&known, now).await?;
        let ticket = row.ticket;
        let noted = self.write(move |tx| rows::confirmed(tx, ticket, &certificate));
        noted.await?;
        self.boxes.admit(known);
        tracing::info!(event = "BoxEnrolled", box_name = name);
        Ok(row.device)
    }

    /// Stores the box, unless a crash after storing it is what is being mended.
    async fn enrol(&self, known: &KnownBox, now: UtcMicros) -> Result<(), DeskError> {
        let new = NewBox {
            known: known.clone(),
            at: now,
        };
        let failed = |source| DeskError::Enrol {
            name: known.name.clone(),
            source,
        };
        match self.inbox.enrol(new).await {
            Err(EnrolError::NameTaken { name }) => {
                let boxes = self.inbox.boxes().map_err(DeskError::Store)?;
                let is_this = |id: BoxId| id == known.id;
                if boxes.iter().any(|row| is_this(row.known.id)) {
                    return Ok(());
                }
                Err(failed(EnrolError::NameTaken { name }))
            }
            done => done.map_err(failed),
        }
    }

    /// Refuses a request, or takes an invitation back.
    ///
    /// # Errors
    /// [`DeskError::NotPending`] when there is neither.
    pub async fn refuse(&self, name: &str) -> Result<(), DeskError> {
        let (wanted, now) = (name.to_owned(), self.clock.read().utc);
        self.write(move |tx| rows::refuse(tx, &wanted, now))
            .await??;
        tracing::info!(event = "BoxEnrolmentRefused", box_name = name);
        Ok(())
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DeskError> {
        let done = self.writer.write(move |tx| work(tx)).await;
        done.map_err(DeskError::Store)
    }
}
