//! Invitations as they are stored: one row each, every change in one transaction.
//!
//! Deliberately absent: time, chance and keys of the gateway; they are arguments.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::enrol::{Answer, ClaimKey, Posted, Session};
use cardio_wire::keys::VerifyingKey;

use super::{DeskError, INVITATIONS_MAX, TurnedAway, Visitor, WRONG_MAX};
use crate::db::{Connection, DbError, Row, values};
use crate::keys::Requested;

struct Found {
    name: String,
    claim: ClaimKey,
    state: State,
    until: UtcMicros,
    keys: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Pending,
    Locked,
    Refused,
    Confirmed,
}

impl State {
    fn of(text: &str) -> Result<Self, DbError> {
        Ok(match text {
            "open" => Self::Open,
            "pending" => Self::Pending,
            "locked" => Self::Locked,
            "refused" => Self::Refused,
            "confirmed" => Self::Confirmed,
            _ => {
                return Err(DbError::Damaged {
                    what: "state of an invitation",
                });
            }
        })
    }

    /// The word for an operator.
    const fn word(self, has_ended: bool) -> &'static str {
        match self {
            Self::Open | Self::Pending if has_ended => "expired",
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Locked => "locked",
            Self::Refused => "refused",
            Self::Confirmed => "confirmed",
        }
    }
}

pub(super) fn invite(
    connection: &Connection,
    name: &str,
    number: &str,
    claim: &ClaimKey,
    now: UtcMicros,
    until: UtcMicros,
) -> Result<Result<(), DeskError>, DbError> {
    let act = "note an invitation";
    let holds: Option<bool> = connection.cell(
        act,
        "SELECT state IN ('open', 'pending') AND until_us >= ?2 FROM invitations WHERE name = ?1",
        values![name, now],
    )?;
    if holds == Some(true) {
        let name = name.to_owned();
        return Ok(Err(DeskError::Invited { name }));
    }
    let kept: Option<i64> = connection.cell(
        act,
        "SELECT count(*) FROM invitations
         WHERE state IN ('open', 'pending') AND until_us >= ?1",
        values![now],
    )?;
    let kept = kept.unwrap_or(0);
    if kept >= INVITATIONS_MAX {
        return Ok(Err(DeskError::Crowded));
    }
    connection.execute(
        act,
        "DELETE FROM invitations WHERE name = ?1",
        values![name],
    )?;
    connection.execute(
        act,
        "INSERT INTO invitations (name, number, claim, made_us, until_us, state)
         VALUES (?1, ?2, ?3, ?4, ?5, 'open')",
        values![name, number, claim.0, now, until],
    )?;
    // the oldest that are over make room
    connection.execute(
        act,
        "DELETE FROM invitations WHERE name IN (
           SELECT name FROM invitations
           WHERE state NOT IN ('open', 'pending') OR until_us < ?1
           ORDER BY made_us DESC LIMIT 1000000 OFFSET ?2)",
        values![now, INVITATIONS_MAX - 1 - kept],
    )?;
    Ok(Ok(()))
}

/// A claim on its way into the store.
pub(super) struct Claimed {
    pub(super) posted: Posted,
    pub(super) session: Session,
    pub(super) ticket: [u8; 16],
    pub(super) device: BoxId,
    pub(super) now: UtcMicros,
}

impl Claimed {
    pub(super) fn enter(
        &self,
        connection: &Connection,
    ) -> Result<Result<Answer, TurnedAway>, DbError> {
        let Some(found) = self.find(connection)? else {
            return Ok(Err(TurnedAway::Unknown));
        };
        let name = found.name.clone();
        if self.now > found.until {
            return Ok(Err(TurnedAway::Expired { name }));
        }
        if found.state == State::Locked {
            return Ok(Err(TurnedAway::Locked { name }));
        }
        if !self.posted.is_claimed_with(&self.session, &found.claim) {
            self.count_wrong(connection, &name)?;
            return Ok(Err(TurnedAway::WrongClaim { name }));
        }
        let request = &self.posted.request;
        let requested = Requested::read(&request.csr).filter(|requested| {
            self.posted
                .is_signed_with_both(&self.session, &requested.point)
        });
        let Some(requested) = requested else {
            return Ok(Err(TurnedAway::Unproved { name }));
        };
        let same_keys = found.keys.as_ref().is_some_and(|(frame, hash)| {
            *frame == request.frame_key.0 && *hash == requested.key_hash
        });
        match found.state {
            State::Open => {}
            State::Pending if same_keys => {}
            _ => {
                self.count_again(connection, &name)?;
                return Ok(Err(TurnedAway::Used { name }));
            }
        }
        self.note(connection, &name, &requested)?;
        tracing::info!(event = "BoxClaimed", box_name = name);
        Ok(Ok(Answer::Pending {
            ticket: self.ticket,
        }))
    }

    fn find(&self, connection: &Connection) -> Result<Option<Found>, DbError> {
        let row = connection.row(
            "look for an invitation",
            "SELECT name, claim, state, until_us, frame_key, key_hash FROM invitations
             WHERE number = ?1",
            values![self.posted.request.invitation],
        )?;
        let Some(mut row) = row else {
            return Ok(None);
        };
        let state: String = row.take(2)?;
        let (frame_key, key_hash): (Option<Vec<u8>>, _) = (row.take(4)?, row.take(5)?);
        Ok(Some(Found {
            name: row.take(0)?,
            claim: ClaimKey(row.take(1)?),
            state: State::of(&state)?,
            until: row.take(3)?,
            keys: frame_key.zip(key_hash),
        }))
    }

    fn count_wrong(&self, connection: &Connection, name: &str) -> Result<(), DbError> {
        connection
            .execute(
                "count a wrong claim",
                "UPDATE invitations SET wrong = wrong + 1,
                   state = CASE WHEN state = 'open' AND wrong + 1 >= ?2 THEN 'locked' ELSE state END
                 WHERE name = ?1",
                values![name, WRONG_MAX],
            )
            .map(|_| ())
    }

    fn count_again(&self, connection: &Connection, name: &str) -> Result<(), DbError> {
        connection
            .execute(
                "count a second claim",
                "UPDATE invitations SET again = again + 1 WHERE name = ?1",
                values![name],
            )
            .map(|_| ())
    }

    fn note(
        &self,
        connection: &Connection,
        name: &str,
        requested: &Requested,
    ) -> Result<(), DbError> {
        let request = &self.posted.request;
        connection
            .execute(
                "note a request",
                "UPDATE invitations SET state = 'pending', box = coalesce(box, ?2), ticket = ?3, frame_key = ?4,
                   csr = ?5, key_hash = ?6, agent_version = ?7, words = ?8, asked_us = ?9
                 WHERE name = ?1",
                values![
                    name,
                    self.device,
                    self.ticket,
                    request.frame_key.0,
                    request.csr,
                    requested.key_hash,
                    request.agent_version,
                    self.posted.transcript(&self.session).words(),
                    self.now
                ],
            )
            .map(|_| ())
    }
}

pub(super) struct ByTicket {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) until: UtcMicros,
    pub(super) frame_key: VerifyingKey,
    pub(super) device: BoxId,
    pub(super) certificate: Option<String>,
}

pub(super) fn by_ticket(
    connection: &Connection,
    ticket: [u8; 16],
) -> Result<Option<ByTicket>, DbError> {
    let row = connection.row(
        "look for a request",
        "SELECT name, state, until_us, frame_key, box, certificate FROM invitations
         WHERE ticket = ?1",
        values![ticket],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let state: String = row.take(1)?;
    Ok(Some(ByTicket {
        name: row.take(0)?,
        state: State::of(&state)?,
        until: row.take(2)?,
        frame_key: VerifyingKey(row.take(3)?),
        device: row.take(4)?,
        certificate: row.take(5)?,
    }))
}

pub(super) struct Pending {
    pub(super) device: BoxId,
    pub(super) ticket: [u8; 16],
    pub(super) frame_key: VerifyingKey,
    pub(super) csr: Vec<u8>,
    pub(super) words: String,
}

pub(super) fn pending(
    connection: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Result<Pending, DeskError>, DbError> {
    let not_pending = |state| {
        let name = name.to_owned();
        Ok(Err(DeskError::NotPending { name, state }))
    };
    let row = connection.row(
        "look for a request",
        "SELECT state, until_us, box, ticket, frame_key, csr, words FROM invitations
         WHERE name = ?1",
        values![name],
    )?;
    let Some(mut row) = row else {
        return not_pending("not made");
    };
    let (state, until): (String, i64) = (row.take(0)?, row.take(1)?);
    match State::of(&state)?.word(until < now.0) {
        "pending" => {}
        word => return not_pending(word),
    }
    Ok(Ok(Pending {
        device: row.take(2)?,
        ticket: row.take(3)?,
        frame_key: VerifyingKey(row.take(4)?),
        csr: row.take(5)?,
        words: row.take(6)?,
    }))
}

pub(super) fn confirmed(
    connection: &Connection,
    ticket: [u8; 16],
    certificate: &str,
) -> Result<(), DbError> {
    connection
        .execute(
            "confirm a request",
            "UPDATE invitations SET state = 'confirmed', certificate = ?2 WHERE ticket = ?1",
            values![ticket, certificate],
        )
        .map(|_| ())
}

pub(super) fn refuse(
    connection: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Result<(), DeskError>, DbError> {
    let refused = connection.execute(
        "refuse a request",
        "UPDATE invitations SET state = 'refused'
         WHERE name = ?1 AND state IN ('open', 'pending', 'locked') AND until_us >= ?2",
        values![name, now],
    )?;
    if refused == 1 {
        return Ok(Ok(()));
    }
    // what it is instead
    Ok(pending(connection, name, now)?.map(|_| ()))
}

pub(super) fn visitors(connection: &Connection, now: UtcMicros) -> Result<Vec<Visitor>, DbError> {
    let rows = connection.rows(
        "list the invitations",
        "SELECT name, state, until_us, wrong, again, words, agent_version, asked_us
         FROM invitations ORDER BY made_us DESC, name",
        values![],
    )?;
    rows.into_iter().map(|row| visitor(row, now)).collect()
}

fn visitor(mut row: Row, now: UtcMicros) -> Result<Visitor, DbError> {
    let (state, until): (String, UtcMicros) = (row.take(1)?, row.take(2)?);
    Ok(Visitor {
        name: row.take(0)?,
        state: State::of(&state)?.word(until < now),
        until,
        wrong: row.take(3)?,
        again: row.take(4)?,
        words: row.take(5)?,
        agent_version: row.take(6)?,
        asked: row.take(7)?,
    })
}
