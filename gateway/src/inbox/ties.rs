//! What is known of the clocks of boxes, by boot: the facts of [`crate::clock::tie`], kept.

use std::collections::HashMap;

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{BootId, BoxId};
use cardio_wire::message::Hello;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::tie::{BootTie, Fact, Learnt};
use crate::db::{DbError, during, fixed};

/// Boots of a box that are remembered here.
const BOOTS_MAX: u32 = 512;
/// Boots of a box that are looked at to date its records.
const BOOTS_RECENT: u32 = 64;

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
    let kept: Option<Vec<u8>> = connection
        .prepare_cached("SELECT facts FROM boots WHERE box = ?1 AND boot = ?2")
        .and_then(|mut statement| {
            statement
                .query_row(params![device.0, boot.0], |row| row.get(0))
                .optional()
        })
        .map_err(during("read what is known of a boot"))?;
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
    connection
        .prepare_cached(
            "INSERT INTO boots (box, boot, facts, changed)
             VALUES (?1, ?2, ?3, (SELECT coalesce(max(changed), 0) + 1 FROM boots))
             ON CONFLICT (box, boot) DO UPDATE SET facts = excluded.facts, changed = excluded.changed",
        )
        .and_then(|mut statement| statement.execute(params![device.0, boot.0, tie.to_bytes()]))
        .map_err(during(act))?;
    connection
        .prepare_cached(
            "DELETE FROM boots WHERE box = ?1 AND changed <=
             (SELECT changed FROM boots WHERE box = ?1 ORDER BY changed DESC LIMIT 1 OFFSET ?2)",
        )
        .and_then(|mut statement| statement.execute(params![device.0, BOOTS_MAX]))
        .map(|_| ())
        .map_err(during(act))
}

/// What is known of the newest boots of boxes.
pub(super) fn of(connection: &Connection, devices: &[BoxId]) -> Result<Ties, DbError> {
    let act = "read what is known of the boots of a box";
    let mut ties = Ties::new();
    for device in devices {
        let mut statement = connection
            .prepare_cached(
                "SELECT boot, facts FROM boots WHERE box = ?1 ORDER BY changed DESC LIMIT ?2",
            )
            .map_err(during(act))?;
        let rows: Vec<(Vec<u8>, Vec<u8>)> = statement
            .query_map(params![device.0, BOOTS_RECENT], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .and_then(Iterator::collect)
            .map_err(during(act))?;
        let boots = rows
            .iter()
            .map(|(boot, facts)| Ok((BootId(fixed(boot, "boot id")?), read(facts)?)))
            .collect::<Result<_, DbError>>()?;
        ties.insert(*device, boots);
    }
    Ok(ties)
}

/// The boxes of whose clocks something was learnt after the mark, and the mark for next time.
pub(super) fn changed_since(
    connection: &Connection,
    mark: i64,
) -> Result<(i64, Vec<BoxId>), DbError> {
    let act = "look for news of the clocks of boxes";
    let newest: i64 = connection
        .query_row("SELECT coalesce(max(changed), 0) FROM boots", [], |row| {
            row.get(0)
        })
        .map_err(during(act))?;
    // An inbox restored from a backup counts from an older number: everything may be news.
    let mark = if newest < mark { 0 } else { mark };
    let mut statement = connection
        .prepare_cached("SELECT box, max(changed) FROM boots WHERE changed > ?1 GROUP BY box")
        .map_err(during(act))?;
    let rows: Vec<(Vec<u8>, i64)> = statement
        .query_map([mark], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(during(act))?;
    let mut latest = mark;
    let mut boxes = Vec::new();
    for (device, changed) in rows {
        latest = latest.max(changed);
        boxes.push(BoxId(fixed(&device, "box id")?));
    }
    Ok((latest, boxes))
}
