//! Invitations as they are stored: one row each, every change in one transaction.
//!
//! Deliberately absent: time, chance and keys of the gateway; they are arguments.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::enrol::{Answer, ClaimKey, Posted, Session};
use cardio_wire::keys::VerifyingKey;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{DeskError, INVITATIONS_MAX, TurnedAway, Visitor, WRONG_MAX};
use crate::db::{DbError, during, fixed};
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
    let holds: Option<bool> = connection
        .query_row(
            "SELECT state IN ('open', 'pending') AND until_us >= ?2 FROM invitations
             WHERE name = ?1",
            params![name, now.0],
            |row| row.get(0),
        )
        .optional()
        .map_err(during(act))?;
    if holds == Some(true) {
        let name = name.to_owned();
        return Ok(Err(DeskError::Invited { name }));
    }
    let kept: i64 = connection
        .query_row(
            "SELECT count(*) FROM invitations
             WHERE state IN ('open', 'pending') AND until_us >= ?1",
            [now.0],
            |row| row.get(0),
        )
        .map_err(during(act))?;
    if kept >= INVITATIONS_MAX {
        return Ok(Err(DeskError::Crowded));
    }
    connection
        .execute("DELETE FROM invitations WHERE name = ?1", [name])
        .map_err(during(act))?;
    connection
        .execute(
            "INSERT INTO invitations (name, number, claim, made_us, until_us, state)
             VALUES (?1, ?2, ?3, ?4, ?5, 'open')",
            params![name, number, claim.0, now.0, until.0],
        )
        .map_err(during(act))?;
    // the oldest that are over make room
    connection
        .execute(
            "DELETE FROM invitations WHERE name IN (
               SELECT name FROM invitations
               WHERE state NOT IN ('open', 'pending') OR until_us < ?1
               ORDER BY made_us DESC LIMIT -1 OFFSET ?2)",
            params![now.0, INVITATIONS_MAX - 1 - kept],
        )
        .map_err(during(act))?;
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
        let act = "look for an invitation";
        let mut statement = connection
            .prepare_cached(
                "SELECT name, claim, state, until_us, frame_key, key_hash FROM invitations
                 WHERE number = ?1",
            )
            .map_err(during(act))?;
        let mut rows = statement
            .query([&self.posted.request.invitation])
            .map_err(during(act))?;
        let Some(row) = rows.next().map_err(during(act))? else {
            return Ok(None);
        };
        let claim: Vec<u8> = row.get(1).map_err(during(act))?;
        let state: String = row.get(2).map_err(during(act))?;
        let frame_key: Option<Vec<u8>> = row.get(4).map_err(during(act))?;
        let key_hash: Option<Vec<u8>> = row.get(5).map_err(during(act))?;
        Ok(Some(Found {
            name: row.get(0).map_err(during(act))?,
            claim: ClaimKey(fixed(&claim, "claim")?),
            state: State::of(&state)?,
            until: UtcMicros(row.get(3).map_err(during(act))?),
            keys: frame_key.zip(key_hash),
        }))
    }

    fn count_wrong(&self, connection: &Connection, name: &str) -> Result<(), DbError> {
        connection
            .execute(
                "UPDATE invitations SET wrong = wrong + 1,
                   state = CASE WHEN state = 'open' AND wrong + 1 >= ?2 THEN 'locked' ELSE state END
                 WHERE name = ?1",
                params![name, WRONG_MAX],
            )
            .map(|_| ())
            .map_err(during("count a wrong claim"))
    }

    fn count_again(&self, connection: &Connection, name: &str) -> Result<(), DbError> {
        connection
            .execute(
                "UPDATE invitations SET again = again + 1 WHERE name = ?1",
                [name],
            )
            .map(|_| ())
            .map_err(during("count a second claim"))
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
                "UPDATE invitations SET state = 'pending', box = coalesce(box, ?2), ticket = ?3, frame_key = ?4,
                   csr = ?5, key_hash = ?6, agent_version = ?7, words = ?8, asked_us = ?9
                 WHERE name = ?1",
                params![
                    name,
                    self.device.0,
                    self.ticket,
                    request.frame_key.0,
                    request.csr,
                    requested.key_hash,
                    request.agent_version,
                    self.posted.transcript(&self.session).words(),
                    self.now.0
                ],
            )
            .map(|_| ())
            .map_err(during("note a request"))
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
    let act = "look for a request";
    let mut statement = connection
        .prepare_cached(
            "SELECT name, state, until_us, frame_key, box, certificate FROM invitations
             WHERE ticket = ?1",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([ticket]).map_err(during(act))?;
    let Some(row) = rows.next().map_err(during(act))? else {
        return Ok(None);
    };
    let state: String = row.get(1).map_err(during(act))?;
    let frame_key: Vec<u8> = row.get(3).map_err(during(act))?;
    let device: Vec<u8> = row.get(4).map_err(during(act))?;
    Ok(Some(ByTicket {
        name: row.get(0).map_err(during(act))?,
        state: State::of(&state)?,
        until: UtcMicros(row.get(2).map_err(during(act))?),
        frame_key: VerifyingKey(fixed(&frame_key, "frame key")?),
        device: BoxId(fixed(&device, "box id")?),
        certificate: row.get(5).map_err(during(act))?,
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
    let act = "look for a request";
    let not_pending = |state| {
        let name = name.to_owned();
        Ok(Err(DeskError::NotPending { name, state }))
    };
    let mut statement = connection
        .prepare_cached(
            "SELECT state, until_us, box, ticket, frame_key, csr, words FROM invitations
             WHERE name = ?1",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([name]).map_err(during(act))?;
    let Some(row) = rows.next().map_err(during(act))? else {
        return not_pending("not made");
    };
    let state: String = row.get(0).map_err(during(act))?;
    let until: i64 = row.get(1).map_err(during(act))?;
    match State::of(&state)?.word(until < now.0) {
        "pending" => {}
        word => return not_pending(word),
    }
    let bytes = |column: usize| row.get::<_, Vec<u8>>(column).map_err(during(act));
    Ok(Ok(Pending {
        device: BoxId(fixed(&bytes(2)?, "box id")?),
        ticket: fixed(&bytes(3)?, "ticket")?,
        frame_key: VerifyingKey(fixed(&bytes(4)?, "frame key")?),
        csr: bytes(5)?,
        words: row.get(6).map_err(during(act))?,
    }))
}

pub(super) fn confirmed(
    connection: &Connection,
    ticket: [u8; 16],
    certificate: &str,
) -> Result<(), DbError> {
    connection
        .execute(
            "UPDATE invitations SET state = 'confirmed', certificate = ?2 WHERE ticket = ?1",
            params![ticket, certificate],
        )
        .map(|_| ())
        .map_err(during("confirm a request"))
}

pub(super) fn refuse(
    connection: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Result<(), DeskError>, DbError> {
    let act = "refuse a request";
    let refused = connection
        .execute(
            "UPDATE invitations SET state = 'refused'
             WHERE name = ?1 AND state IN ('open', 'pending', 'locked') AND until_us >= ?2",
            params![name, now.0],
        )
        .map_err(during(act))?;
    if refused == 1 {
        return Ok(Ok(()));
    }
    // what it is instead
    Ok(pending(connection, name, now)?.map(|_| ()))
}

pub(super) fn visitors(connection: &Connection, now: UtcMicros) -> Result<Vec<Visitor>, DbError> {
    let act = "list the invitations";
    let mut statement = connection
        .prepare_cached(
            "SELECT name, state, until_us, wrong, again, words, agent_version, asked_us
             FROM invitations ORDER BY made_us DESC, name",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([]).map_err(during(act))?;
    let mut list = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        list.push(visitor(row, now)?);
    }
    Ok(list)
}

fn visitor(row: &Row<'_>, now: UtcMicros) -> Result<Visitor, DbError> {
    let act = "read an invitation";
    let state: String = row.get(1).map_err(during(act))?;
    let until: i64 = row.get(2).map_err(during(act))?;
    let asked: Option<i64> = row.get(7).map_err(during(act))?;
    Ok(Visitor {
        name: row.get(0).map_err(during(act))?,
        state: State::of(&state)?.word(until < now.0),
        until: UtcMicros(until),
        wrong: row.get(3).map_err(during(act))?,
        again: row.get(4).map_err(during(act))?,
        words: row.get(5).map_err(during(act))?,
        agent_version: row.get(6).map_err(during(act))?,
        asked: asked.map(UtcMicros),
    })
}
