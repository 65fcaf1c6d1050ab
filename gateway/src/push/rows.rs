//! How far another server has the record, and what it would not take, as it is stored.

use cardio_core::clock::UtcMicros;
use serde::Serialize;

use crate::config::PushConfig;
use crate::db::{Connection, DbError, values};
use crate::record::newest;

/// How long a version that was refused rests before it is tried again: at first, and at most.
const REFUSED_AGAIN_US: (i64, i64) = (60_000_000, 3_600_000_000);
/// How long a server that does not answer is left alone: at first, and at most.
const LATER_US: (i64, i64) = (1_000_000, 300_000_000);

/// Where we stand with a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Stand {
    /// Everything up to this change was taken, or refused.
    pub(super) seq: u64,
    /// Tries that failed one after the other.
    pub(super) tries: u64,
}

/// A version that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Its number.
    pub(super) seq: u64,
    /// How often it was refused.
    pub(super) tries: u64,
}

/// Where we stand with a server, as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standing {
    /// What it is called here.
    pub(crate) name: String,
    /// Its address.
    pub(crate) base: String,
    /// Versions that it does not have yet.
    pub(crate) behind: u64,
    /// Versions that it would not take.
    pub(crate) refused: u64,
    /// Since when it takes nothing, in microseconds since 1970.
    pub(crate) failing_since_us: Option<i64>,
    /// Why.
    pub(crate) failure: Option<String>,
    /// The first of what it would not take.
    pub(crate) refusals: Vec<Refused>,
}

impl Standing {
    /// Whether the server takes what it is sent.
    pub(crate) const fn is_well(&self) -> bool {
        self.refused == 0 && self.failing_since_us.is_none()
    }
}

/// A version that a server would not take, as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Refused {
    /// The resource.
    pub(crate) resource: String,
    /// What the server said.
    pub(crate) why: String,
    /// How often.
    pub(crate) tries: u64,
}

/// Notes a server. One whose address changed is another server: it begins from the start.
pub(super) fn note_target(tx: &Connection, of: &PushConfig) -> Result<(), DbError> {
    let act = "note a server to push to";
    let base: Option<String> = tx.cell(
        act,
        "SELECT base FROM push_targets WHERE name = ?1",
        values![of.name],
    )?;
    if base.is_some_and(|base| base == of.base) {
        return Ok(());
    }
    for sql in [
        "DELETE FROM push_refused WHERE name = ?1",
        "DELETE FROM push_targets WHERE name = ?1",
    ] {
        tx.execute(act, sql, values![of.name])?;
    }
    let sql = "INSERT INTO push_targets (name, base, seq, next_us, tries)
               VALUES (?1, ?2, 0, 0, 0)";
    tx.execute(act, sql, values![of.name, of.base]).map(|_| ())
}

/// Where we stand, if it is our turn to send: something is there, nobody else is at it, and no
/// pause holds.
pub(super) fn due(c: &Connection, name: &str, now: UtcMicros) -> Result<Option<Stand>, DbError> {
    let row = c.row(
        "look whether a server is due",
        "SELECT seq, tries FROM push_targets WHERE name = ?1 AND next_us <= ?2",
        values![name, now],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let stand = Stand {
        seq: row.take(0)?,
        tries: row.take(1)?,
    };
    let some = newest(c)? > stand.seq || again(c, name, now)?.is_some();
    Ok(some.then_some(stand))
}

/// Has a server to ourselves until `until`, if it is due.
pub(super) fn lease(
    tx: &Connection,
    name: &str,
    (now, until): (UtcMicros, UtcMicros),
) -> Result<Option<Stand>, DbError> {
    let Some(stand) = due(tx, name, now)? else {
        return Ok(None);
    };
    let sql = "UPDATE push_targets SET next_us = ?2 WHERE name = ?1";
    tx.execute("lease a server", sql, values![name, until])?;
    Ok(Some(stand))
}

/// A version that was refused and is to be tried again now.
pub(super) fn again(
    c: &Connection,
    name: &str,
    now: UtcMicros,
) -> Result<Option<Refusal>, DbError> {
    let row = c.row(
        "look for what a server refused",
        "SELECT seq, tries FROM push_refused WHERE name = ?1 AND next_us <= ?2
         ORDER BY next_us, seq LIMIT 1",
        values![name, now],
    )?;
    row.map(|mut row| {
        Ok(Refusal {
            seq: row.take(0)?,
            tries: row.take(1)?,
        })
    })
    .transpose()
}

/// How much a server would not take.
pub(super) fn refused_count(c: &Connection, name: &str) -> Result<u64, DbError> {
    let sql = "SELECT count(*) FROM push_refused WHERE name = ?1";
    let count = c.cell("count what a server refused", sql, values![name])?;
    Ok(count.unwrap_or(0))
}

/// A server has taken everything up to `seq`.
pub(super) fn reached(tx: &Connection, name: &str, seq: u64) -> Result<(), DbError> {
    let sql = "UPDATE push_targets SET seq = ?2, next_us = 0, tries = 0, failing_us = NULL,
                 failure = NULL WHERE name = ?1";
    tx.execute("note what a server took", sql, values![name, seq])
        .map(|_| ())
}

/// A server has taken a resource: what it refused of it before needs nobody any more.
pub(super) fn taken(
    tx: &Connection,
    name: &str,
    (kind, id, seq): (&str, &str, u64),
) -> Result<(), DbError> {
    let sql = "DELETE FROM push_refused WHERE name = ?1 AND kind = ?2 AND id = ?3 AND seq <= ?4";
    tx.execute("forget a refusal", sql, values![name, kind, id, seq])
        .map(|_| ())
}

/// A server would not take a version, for the `tries`th time.
pub(super) fn refused(
    tx: &Connection,
    name: &str,
    (kind, id, seq): (&str, &str, u64),
    (why, tries, now): (&str, u64, UtcMicros),
) -> Result<(), DbError> {
    tx.execute(
        "note a refusal",
        "INSERT INTO push_refused (name, seq, kind, id, why, tries, next_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name, seq) DO UPDATE SET why = excluded.why, tries = excluded.tries,
                                               next_us = excluded.next_us",
        values![
            name,
            seq,
            kind,
            id,
            why,
            tries,
            after(now, tries, REFUSED_AGAIN_US)
        ],
    )
    .map(|_| ())
}

/// A server takes nothing for now, for the `tries`th time in a row.
pub(super) fn later(
    tx: &Connection,
    name: &str,
    (why, tries, now): (&str, u64, UtcMicros),
) -> Result<(), DbError> {
    let sql = "UPDATE push_targets SET next_us = ?2, tries = ?3, failure = ?4,
                 failing_us = coalesce(failing_us, ?5) WHERE name = ?1";
    let next = after(now, tries, LATER_US);
    tx.execute(
        "postpone a server",
        sql,
        values![name, next, tries, why, now],
    )
    .map(|_| ())
}

/// No pause holds any more.
pub(super) fn at_once(tx: &Connection, name: &str) -> Result<bool, DbError> {
    let act = "try a server at once";
    let sql = "UPDATE push_refused SET next_us = 0 WHERE name = ?1";
    tx.execute(act, sql, values![name])?;
    let sql = "UPDATE push_targets SET next_us = 0 WHERE name = ?1";
    Ok(tx.execute(act, sql, values![name])? > 0)
}

/// Where we stand with the servers of these names.
pub(crate) fn standings(
    c: &Connection,
    names: &[String],
    shown: u64,
) -> Result<Vec<Standing>, DbError> {
    let newest = newest(c)?;
    let mut all = Vec::new();
    for name in names {
        let row = c.row(
            "read where a server stands",
            "SELECT base, seq, failing_us, failure FROM push_targets WHERE name = ?1",
            values![name],
        )?;
        let Some(mut row) = row else { continue };
        let seq: u64 = row.take(1)?;
        let rows = c.rows(
            "read what a server refused",
            "SELECT kind || '/' || id, why, tries FROM push_refused WHERE name = ?1
             ORDER BY seq LIMIT ?2",
            values![name, shown],
        )?;
        let refusals = rows.into_iter().map(|mut row| {
            Ok(Refused {
                resource: row.take(0)?,
                why: row.take(1)?,
                tries: row.take(2)?,
            })
        });
        all.push(Standing {
            name: name.clone(),
            base: row.take(0)?,
            behind: newest.saturating_sub(seq),
            refused: refused_count(c, name)?,
            failing_since_us: row.take(2)?,
            failure: row.take(3)?,
            refusals: refusals.collect::<Result<_, DbError>>()?,
        });
    }
    Ok(all)
}

/// The instant after a pause that doubles with every try.
fn after(now: UtcMicros, tries: u64, (first, most): (i64, i64)) -> UtcMicros {
    let doubled = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 1_i64.checked_shl(doubled.min(30)).unwrap_or(i64::MAX);
    UtcMicros(now.0.saturating_add(first.saturating_mul(factor).min(most)))
}
