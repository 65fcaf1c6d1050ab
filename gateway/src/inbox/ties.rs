//! What is known of the clocks of boxes, by boot: the facts of [`crate::clock::tie`], kept.

use std::collections::HashMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{BootId, BoxId};
use cardio_wire::message::Hello;

use crate::clock::tie::{BootTie, Fact, Learnt};
use crate::db::{Connection, DbError, values};

/// Boots of a box that are remembered here.
const BOOTS_MAX: u64 = 512;
/// Boots of a box that are looked at to date its records.
const BOOTS_RECENT: u64 = 64;

/// The ties of each box that was asked for.
pub type Ties = HashMap<BoxId, Vec<(BootId, BootTie)>>;

/// Notes what a hello tells of a box's clock. It was said after `greeted`, when the
/// connection was answered, and before `now`.
pub(super) fn note(
    connection: &Connection,
    hello: &Hello,
    greeted: Option<UtcMicros>,
    now: UtcMicros,
) -> Result<(), DbError> {
    let (device, at) = (hello.device, hello.at.box_instant);
    let mut tie = of_boot(connection, device, at.boot)?;
    let heard = hello
        .heard
        .filter(|heard| heard.micros <= at.micros && heard.gateway_utc <= now)
        .map(|heard| Fact {
            micros: heard.micros,
            earliest: Some(heard.gateway_utc),
            latest: None,
        });
    let said = Fact {
        micros: at.micros,
        earliest: greeted.filter(|greeted| *greeted <= now),
        latest: Some(now),
    };
    let mut news = false;
    for fact in heard.into_iter().chain([said]) {
        let learnt = tie.learn(fact);
        news |= learnt != Learnt::Nothing;
        if learnt == Learnt::Contradiction {
            tracing::warn!(event = "BoxClockContradicted", code = "clock.contradiction", box_id = %device);
        }
    }
    if news {
        keep(connection, device, at.boot, &tie)
    } else {
        Ok(())
    }
}

fn of_boot(connection: &Connection, device: BoxId, boot: BootId) -> Result<BootTie, DbError> {
    let kept: Option<Vec<u8>> = connection.cell(
        "read what is known of a boot",
        "SELECT facts FROM boots WHERE box = ?1 AND boot = ?2",
        values![device, boot],
    )?;
    kept.map_or_else(|| Ok(BootTie::default()), |kept| read(&kept))
}

fn read(kept: &[u8]) -> Result<BootTie, DbError> {
    BootTie::from_bytes(kept).ok_or(DbError::Damaged { what: "boot" })
}

fn keep(
    connection: &Connection,
    device: BoxId,
    boot: BootId,
    tie: &BootTie,
) -> Result<(), DbError> {
    let act = "note what is known of a boot";
    connection.execute(
        act,
        "INSERT INTO boots (box, boot, facts, changed)
         VALUES (?1, ?2, ?3, (SELECT coalesce(max(changed), 0) + 1 FROM boots WHERE box = ?1))
         ON CONFLICT (box, boot) DO UPDATE SET facts = excluded.facts, changed = excluded.changed",
        values![device, boot, tie.to_bytes()],
    )?;
    connection.execute(
        act,
        "DELETE FROM boots WHERE box = ?1 AND changed <=
         (SELECT changed FROM boots WHERE box = ?1 ORDER BY changed DESC LIMIT 1 OFFSET ?2)",
        values![device, BOOTS_MAX],
    )?;
    connection
        .execute(
            act,
            "UPDATE boxes SET clock_news = (SELECT max(changed) FROM boots WHERE box = ?1)
             WHERE id = ?1",
            values![device],
        )
        .map(|_| ())
}

/// What is known of the newest boots of boxes.
pub(super) fn of(connection: &Connection, devices: &[BoxId]) -> Result<Ties, DbError> {
    let mut ties = Ties::new();
    for device in devices {
        let rows = connection.rows(
            "read what is known of the boots of a box",
            "SELECT boot, facts FROM boots WHERE box = ?1 ORDER BY changed DESC LIMIT ?2",
            values![device, BOOTS_RECENT],
        )?;
        let boots = rows
            .into_iter()
            .map(|mut row| Ok((row.take(0)?, read(&row.take::<Vec<u8>>(1)?)?)))
            .collect::<Result<_, DbError>>()?;
        ties.insert(*device, boots);
    }
    Ok(ties)
}

/// The boxes of whose clocks something is known, each with a number that is another one when
/// more was learnt. The numbers of one box follow on each other, whichever program drew them;
/// those of different boxes have nothing to do with each other.
pub(super) fn news(connection: &Connection) -> Result<Vec<(BoxId, i64)>, DbError> {
    let rows = connection.rows(
        "look for news of the clocks of boxes",
        "SELECT id, clock_news FROM boxes WHERE clock_news > 0",
        values![],
    )?;
    rows.into_iter()
        .map(|mut row| Ok((row.take(0)?, row.take(1)?)))
        .collect()
}
