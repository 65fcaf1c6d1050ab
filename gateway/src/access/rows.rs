//! Accounts, tokens and sessions as they are stored.
//!
//! Deliberately absent: time and chance; they are arguments.

use cardio_core::clock::UtcMicros;
use serde::Serialize;

use super::role::Role;
use super::{AccessError, Account, NewAccount, NewToken};
use crate::clock::rfc3339;
use crate::db::{Connection, DbError, Row, values};

/// Sessions that one account may have at once; the oldest makes room.
const SESSIONS_MAX: i64 = 16;
/// Tokens that one account may have at once.
const TOKENS_MAX: i64 = 64;

const DAMAGED: DbError = DbError::Damaged {
    what: "read an account",
};

/// What a piece of work answers: a refusal has written nothing.
type Attempt<T> = Result<Result<T, AccessError>, DbError>;

/// An account as `accounts list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: String,
    /// Whom it belongs to, as a reference, if that is known.
    pub practitioner: Option<String>,
    /// Whether it sees every patient.
    pub all_patients: bool,
    /// The organizations whose patients it sees.
    pub teams: Vec<String>,
    /// Whether a person can log in with a password.
    pub password: bool,
    /// When it was made.
    pub made: String,
    /// When it was shut, if it was.
    pub disabled: Option<String>,
    /// Its tokens.
    pub tokens: Vec<ListedToken>,
}

/// A token as `accounts list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ListedToken {
    /// Its name.
    pub label: String,
    /// What it may do at most.
    pub role: String,
    /// When it ends.
    pub ends: String,
}

pub(super) fn add(tx: &Connection, new: &NewAccount, now: UtcMicros) -> Attempt<()> {
    if exists(tx, &new.name)? {
        let name = new.name.clone();
        return Ok(Err(AccessError::Taken { name }));
    }
    tx.execute(
        "add an account",
        "INSERT INTO accounts (name, role, practitioner, everything, password, made_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        values![
            new.name,
            new.role.name(),
            new.practitioner,
            new.all_patients,
            new.password,
            now
        ],
    )?;
    put_teams(tx, new)?;
    Ok(Ok(()))
}

/// Adds the teams of an account to those that it has.
pub(super) fn put_teams(tx: &Connection, new: &NewAccount) -> Result<(), DbError> {
    for team in &new.teams {
        tx.execute(
            "add a team to an account",
            "INSERT INTO account_teams (account, team) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            values![new.name, team],
        )?;
    }
    Ok(())
}

fn exists(tx: &Connection, name: &str) -> Result<bool, DbError> {
    let found: Option<i64> = tx.cell(
        "look for an account",
        "SELECT 1 FROM accounts WHERE name = ?1",
        values![name],
    )?;
    Ok(found.is_some())
}

/// Shuts an account, with its sessions; its tokens hold no longer. Or opens it again.
pub(super) fn shut(tx: &Connection, name: &str, at: Option<UtcMicros>) -> Attempt<()> {
    if !exists(tx, name)? {
        let name = name.to_owned();
        return Ok(Err(AccessError::Unknown { name }));
    }
    tx.execute(
        "shut an account",
        "UPDATE accounts SET disabled_us = ?2 WHERE name = ?1",
        values![name, at],
    )?;
    end_sessions(tx, name)?;
    Ok(Ok(()))
}

/// Sets a password; whoever is logged in has to do so again.
pub(super) fn set_password(tx: &Connection, name: &str, hash: &str) -> Attempt<()> {
    if !exists(tx, name)? {
        let name = name.to_owned();
        return Ok(Err(AccessError::Unknown { name }));
    }
    hash_anew(tx, name, hash)?;
    end_sessions(tx, name)?;
    Ok(Ok(()))
}

/// Keeps another hash of the same password.
pub(super) fn hash_anew(tx: &Connection, name: &str, hash: &str) -> Result<(), DbError> {
    tx.execute(
        "keep a password",
        "UPDATE accounts SET password = ?2 WHERE name = ?1",
        values![name, hash],
    )
    .map(|_| ())
}

fn end_sessions(tx: &Connection, name: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM sessions WHERE account = ?1";
    tx.execute("end the sessions of an account", sql, values![name])
        .map(|_| ())
}

pub(super) fn add_token(
    tx: &Connection,
    new: &NewToken,
    hash: &[u8; 32],
    now: UtcMicros,
) -> Attempt<()> {
    let Some(account) = account(tx, &new.account)? else {
        let name = new.account.clone();
        return Ok(Err(AccessError::Unknown { name }));
    };
    let role = new.role.unwrap_or(account.role);
    if !role.is_within(account.role) {
        return Ok(Err(AccessError::RoleAbove {
            role: role.name(),
            of: account.role.name(),
        }));
    }
    let gone = "DELETE FROM tokens WHERE account = ?1 AND (ends_us <= ?2 OR label = ?3)";
    tx.execute("clear tokens", gone, values![new.account, now, new.label])?;
    let held: Option<i64> = tx.cell(
        "count tokens",
        "SELECT count(*) FROM tokens WHERE account = ?1",
        values![new.account],
    )?;
    if held.unwrap_or(0) >= TOKENS_MAX {
        return Ok(Err(AccessError::Crowded));
    }
    tx.execute(
        "add a token",
        "INSERT INTO tokens (hash, account, label, role, made_us, ends_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        values![*hash, new.account, new.label, role.name(), now, new.ends],
    )?;
    Ok(Ok(()))
}

pub(super) fn revoke_token(tx: &Connection, account: &str, label: &str) -> Attempt<()> {
    let gone = tx.execute(
        "revoke a token",
        "DELETE FROM tokens WHERE account = ?1 AND label = ?2",
        values![account, label],
    )?;
    Ok(match gone {
        0 => Err(AccessError::NoToken {
            label: label.to_owned(),
        }),
        _ => Ok(()),
    })
}

/// An account that is not shut, with the hash of its password.
pub(super) fn with_password(
    c: &Connection,
    name: &str,
) -> Result<Option<(Account, Option<String>)>, DbError> {
    let Some(account) = account(c, name)? else {
        return Ok(None);
    };
    let hash: Option<Option<String>> = c.cell(
        "read the password of an account",
        "SELECT password FROM accounts WHERE name = ?1",
        values![name],
    )?;
    Ok(Some((account, hash.flatten())))
}

/// An account that is not shut.
pub(super) fn account(c: &Connection, name: &str) -> Result<Option<Account>, DbError> {
    let row = c.row(
        "read an account",
        "SELECT name, role, practitioner, everything FROM accounts
         WHERE name = ?1 AND disabled_us IS NULL",
        values![name],
    )?;
    row.map(|row| read(c, row)).transpose()
}

fn read(c: &Connection, mut row: Row) -> Result<Account, DbError> {
    let name: String = row.take(0)?;
    let role: String = row.take(1)?;
    Ok(Account {
        role: Role::from_name(&role).ok_or(DAMAGED)?,
        practitioner: row.take(2)?,
        all_patients: row.take(3)?,
        teams: teams(c, &name)?,
        name,
    })
}

fn teams(c: &Connection, name: &str) -> Result<Vec<String>, DbError> {
    c.cells(
        "read the teams of an account",
        "SELECT team FROM account_teams WHERE account = ?1 ORDER BY team",
        values![name],
    )
}

/// The account that a token is of, with the role of the token.
pub(super) fn of_token(
    c: &Connection,
    hash: &[u8; 32],
    now: UtcMicros,
) -> Result<Option<(Account, Role)>, DbError> {
    let row = c.row(
        "look for a token",
        "SELECT account, role FROM tokens WHERE hash = ?1 AND ends_us > ?2",
        values![*hash, now],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let (name, role): (String, String) = (row.take(0)?, row.take(1)?);
    let role = Role::from_name(&role).ok_or(DAMAGED)?;
    Ok(account(c, &name)?.map(|account| (account, role)))
}

pub(super) fn list(c: &Connection) -> Result<Vec<Listed>, DbError> {
    let rows = c.rows(
        "list the accounts",
        "SELECT name, role, practitioner, everything, password, made_us, disabled_us
         FROM accounts ORDER BY name",
        values![],
    )?;
    let mut listed = Vec::with_capacity(rows.len());
    for mut row in rows {
        let name: String = row.take(0)?;
        let password: Option<String> = row.take(4)?;
        let disabled: Option<UtcMicros> = row.take(6)?;
        listed.push(Listed {
            role: row.take(1)?,
            practitioner: row.take(2)?,
            all_patients: row.take(3)?,
            password: password.is_some(),
            made: rfc3339(row.take(5)?),
            disabled: disabled.map(rfc3339),
            teams: teams(c, &name)?,
            tokens: tokens(c, &name)?,
            name,
        });
    }
    Ok(listed)
}

fn tokens(c: &Connection, name: &str) -> Result<Vec<ListedToken>, DbError> {
    let rows = c.rows(
        "list the tokens of an account",
        "SELECT label, role, ends_us FROM tokens WHERE account = ?1 ORDER BY label",
        values![name],
    )?;
    let listed = rows.into_iter().map(|mut row| {
        Ok(ListedToken {
            label: row.take(0)?,
            role: row.take(1)?,
            ends: rfc3339(row.take(2)?),
        })
    });
    listed.collect()
}

/// Begins a session; those that have ended are cleared, and of one account the oldest.
pub(super) fn begin_session(
    tx: &Connection,
    name: &str,
    hash: &[u8; 32],
    (now, ended): (UtcMicros, (UtcMicros, UtcMicros)),
) -> Result<(), DbError> {
    tx.execute(
        "clear sessions",
        "DELETE FROM sessions WHERE seen_us < ?1 OR made_us < ?2",
        values![ended.0, ended.1],
    )?;
    tx.execute(
        "clear sessions",
        "DELETE FROM sessions WHERE account = ?1 AND hash NOT IN (
           SELECT hash FROM sessions WHERE account = ?1 ORDER BY made_us DESC, hash LIMIT ?2)",
        values![name, SESSIONS_MAX - 1],
    )?;
    tx.execute(
        "begin a session",
        "INSERT INTO sessions (hash, account, made_us, seen_us) VALUES (?1, ?2, ?3, ?3)",
        values![*hash, name, now],
    )
    .map(|_| ())
}

/// The account of a session that goes on, and when it was last seen.
pub(super) fn of_session(
    c: &Connection,
    hash: &[u8; 32],
    (seen_after, made_after): (UtcMicros, UtcMicros),
) -> Result<Option<(Account, UtcMicros)>, DbError> {
    let row = c.row(
        "look for a session",
        "SELECT account, seen_us FROM sessions
         WHERE hash = ?1 AND seen_us >= ?2 AND made_us >= ?3",
        values![*hash, seen_after, made_after],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let (name, seen): (String, UtcMicros) = (row.take(0)?, row.take(1)?);
    Ok(account(c, &name)?.map(|account| (account, seen)))
}

pub(super) fn see_session(tx: &Connection, hash: &[u8; 32], now: UtcMicros) -> Result<(), DbError> {
    let sql = "UPDATE sessions SET seen_us = ?2 WHERE hash = ?1 AND seen_us < ?2";
    tx.execute("note that a session goes on", sql, values![*hash, now])
        .map(|_| ())
}

pub(super) fn end_session(tx: &Connection, hash: &[u8; 32]) -> Result<(), DbError> {
    let sql = "DELETE FROM sessions WHERE hash = ?1";
    tx.execute("end a session", sql, values![*hash]).map(|_| ())
}
