//! The times of acquisitions: what records tell of a box's boots, and how each acquisition
//! was dated.
//!
//! * An acquisition is dated once per boot that it spans, and keeps that reckoning: all its
//!   resources agree to the microsecond, whatever is learnt meanwhile.
//! * It is dated anew when what is known by now makes the time known at all, contradicts it,
//!   or halves an error of more than a second. Its resources are then written again under
//!   their ids, as new versions.
//!
//! Deliberately absent: the reckoning itself, [`crate::clock::boots`].

use std::collections::{BTreeMap, BTreeSet};

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BootId, BoxId};
use cardio_wire::lane::{ChainId, Lane};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::exam::Exam;
use super::open::Opened;
use crate::clock::boots::{BoxTimes, Sighting, VOUCHED_MAX_US, claimed};
use crate::clock::tie::{BootTie, Fact};
use crate::db::{DbError, during, fixed, from_sql, to_sql};
use crate::inbox::BoxLore;

/// An acquisition dated this well is not dated anew for the sake of a smaller error.
const DATED_WELL_US: u64 = 1_000_000;
/// Boots of a box that are looked at to date its records.
const SIGHTINGS_RECENT: u32 = 256;

/// How the times of one boot of an acquisition are reckoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reckoning {
    /// A moment of the boot.
    pub(crate) micros: u64,
    /// Its instant.
    pub(crate) at: UtcMicros,
    /// How far that may be wrong; `None`: not known well enough to be filed as a time.
    pub(crate) error_us: Option<u64>,
}

impl Reckoning {
    /// Whether what is known by now dates a boot that was not dated, contradicts how it was
    /// dated, or halves an error of more than a second.
    pub(super) fn is_outdone(&self, times: &BoxTimes, boot: BootId) -> bool {
        let known = times.bounds_at(boot, self.micros).middle();
        let Some((at, error)) = known.filter(|(_, error)| *error <= VOUCHED_MAX_US) else {
            return false;
        };
        self.error_us.is_none_or(|stated| {
            let apart = at.0.abs_diff(self.at.0) > stated.saturating_add(error);
            apart || (stated > DATED_WELL_US && error < stated / 2)
        })
    }
}

/// Notes what records tell of the boots they were made in; answers the boxes of which more
/// is known now than before.
pub(super) fn note(connection: &Connection, group: &[Opened]) -> Result<BTreeSet<BoxId>, DbError> {
    let mut news = BTreeSet::new();
    let mut known: BTreeMap<(BoxId, BootId, Lane, ChainId), Seen> = BTreeMap::new();
    for frame in group {
        let Ok(opened) = &frame.outcome else { continue };
        let (id, at) = (frame.identity, opened.record.head().at);
        let key = (id.device, at.box_instant.boot, id.lane, id.chain);
        let seen = match known.remove(&key) {
            Some(seen) => seen,
            None => read_seen(connection, &key)?,
        };
        let micros = at.box_instant.micros;
        let mut after = seen.clone();
        after.first_seq = seen.first_seq.min(id.seq);
        after.last_micros = seen.last_micros.max(micros);
        after.tie.learn(Fact {
            micros,
            earliest: None,
            latest: Some(frame.received),
        });
        if let Some(claim) = claimed(&at) {
            after.tie.narrow(Fact {
                micros,
                earliest: claim.earliest,
                latest: claim.latest,
            });
        }
        if seen.first_seq == u64::MAX || claims(&seen.tie).ne(claims(&after.tie)) {
            news.insert(id.device);
        }
        known.insert(key, after);
    }
    for (key, seen) in &known {
        write_seen(connection, key, seen)?;
    }
    Ok(news)
}

/// A boot in a chain, as it is kept.
#[derive(Clone, Debug)]
struct Seen {
    first_seq: u64,
    last_micros: u64,
    tie: BootTie,
}

fn claims(tie: &BootTie) -> impl Iterator<Item = UtcMicros> {
    tie.facts().iter().filter_map(|fact| fact.earliest)
}

fn read_seen(
    connection: &Connection,
    (device, boot, lane, chain): &(BoxId, BootId, Lane, ChainId),
) -> Result<Seen, DbError> {
    let row: Option<(i64, i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT first_seq, last_us, facts FROM sightings
             WHERE box = ?1 AND boot = ?2 AND lane = ?3 AND chain = ?4",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![device.0, boot.0, lane.number(), chain.0], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(during("read where a boot was seen"))?;
    row.map_or_else(
        || {
            Ok(Seen {
                first_seq: u64::MAX,
                last_micros: 0,
                tie: BootTie::default(),
            })
        },
        |(first_seq, last_us, facts)| {
            Ok(Seen {
                first_seq: from_sql(first_seq),
                last_micros: from_sql(last_us),
                tie: read_tie(&facts)?,
            })
        },
    )
}

fn write_seen(
    connection: &Connection,
    (device, boot, lane, chain): &(BoxId, BootId, Lane, ChainId),
    seen: &Seen,
) -> Result<(), DbError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO sightings (box, boot, lane, chain, first_seq, last_us, facts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                device.0,
                boot.0,
                lane.number(),
                chain.0,
                to_sql(seen.first_seq),
                to_sql(seen.last_micros),
                seen.tie.to_bytes()
            ])
        })
        .map(|_| ())
        .map_err(during("note where a boot was seen"))
}

fn read_tie(facts: &[u8]) -> Result<BootTie, DbError> {
    BootTie::from_bytes(facts).ok_or(DbError::Damaged { what: "boot" })
}

/// What is known of the boots of a box.
pub(super) fn times(
    connection: &Connection,
    lore: &BoxLore,
    device: BoxId,
) -> Result<BoxTimes, DbError> {
    let act = "read where the boots of a box were seen";
    let mut statement = connection
        .prepare_cached(
            "SELECT boot, lane, chain, first_seq, last_us, facts FROM sightings WHERE box = ?1
             ORDER BY first_seq DESC LIMIT ?2",
        )
        .map_err(during(act))?;
    let mut rows = statement
        .query(params![device.0, SIGHTINGS_RECENT])
        .map_err(during(act))?;
    let (mut sightings, mut recorded) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().map_err(during(act))? {
        let bytes = |column: usize| row.get::<_, Vec<u8>>(column).map_err(during(act));
        let number = |column: usize| row.get::<_, i64>(column).map_err(during(act));
        let boot = BootId(fixed(&bytes(0)?, "boot id")?);
        let lane = row.get(1).map_err(during(act))?;
        sightings.push(Sighting {
            boot,
            lane: Lane::from_number(lane).ok_or(DbError::Damaged { what: "lane" })?,
            chain: ChainId(fixed(&bytes(2)?, "chain")?),
            first_seq: from_sql(number(3)?),
            last_micros: from_sql(number(4)?),
        });
        recorded.push((boot, read_tie(&bytes(5)?)?));
    }
    let exchanged = lore.ties.get(&device).cloned().unwrap_or_default();
    Ok(BoxTimes::of(exchanged, recorded, &sightings))
}

/// How an acquisition was dated.
pub(super) fn reckonings(
    connection: &Connection,
    acquisition: AcquisitionId,
) -> Result<BTreeMap<BootId, Reckoning>, DbError> {
    let act = "read how an acquisition was dated";
    let mut statement = connection
        .prepare_cached("SELECT boot, micros, utc_us, error_us FROM dated WHERE acquisition = ?1")
        .map_err(during(act))?;
    let mut rows = statement.query([acquisition.0]).map_err(during(act))?;
    let mut found = BTreeMap::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let (boot, reckoning) = read_reckoning(row)?;
        found.insert(boot, reckoning);
    }
    Ok(found)
}

/// Keeps how an acquisition was dated, and when it began and ended by that.
pub(super) fn keep(connection: &Connection, exam: &Exam) -> Result<(), DbError> {
    let act = "note how an acquisition was dated";
    let started = exam.wall(&exam.started.head.at).at;
    let ended = exam
        .ended
        .as_ref()
        .map(|ended| exam.wall(&ended.head.at).at.0);
    let Some(reckonings) = exam.new_reckonings() else {
        return Ok(());
    };
    let id = exam.id().0;
    connection
        .prepare_cached("DELETE FROM dated WHERE acquisition = ?1")
        .and_then(|mut statement| statement.execute([id]))
        .map_err(during(act))?;
    for (boot, reckoning) in reckonings {
        connection
            .prepare_cached(
                "INSERT INTO dated (acquisition, boot, box, micros, utc_us, error_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    id,
                    boot.0,
                    exam.device.0,
                    to_sql(reckoning.micros),
                    reckoning.at.0,
                    reckoning.error_us.map(to_sql)
                ])
            })
            .map_err(during(act))?;
    }
    connection
        .prepare_cached("UPDATE acquisitions SET started_us = ?2, ended_us = ?3 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![id, started.0, ended]))
        .map(|_| ())
        .map_err(during(act))
}

/// The acquisitions of a box of whose times more is known by now.
pub(super) fn outdated(
    connection: &Connection,
    lore: &BoxLore,
    device: BoxId,
) -> Result<BTreeSet<AcquisitionId>, DbError> {
    let act = "look for acquisitions to date anew";
    let times = times(connection, lore, device)?;
    let mut statement = connection
        .prepare_cached(
            "SELECT boot, micros, utc_us, error_us, acquisition FROM dated WHERE box = ?1",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([device.0]).map_err(during(act))?;
    let mut outdated = BTreeSet::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let (boot, was) = read_reckoning(row)?;
        if was.is_outdone(&times, boot) {
            let id: Vec<u8> = row.get(4).map_err(during(act))?;
            outdated.insert(AcquisitionId(fixed(&id, "acquisition id")?));
        }
    }
    Ok(outdated)
}

fn read_reckoning(row: &rusqlite::Row<'_>) -> Result<(BootId, Reckoning), DbError> {
    let act = "read how an acquisition was dated";
    let boot: Vec<u8> = row.get(0).map_err(during(act))?;
    let micros = row.get(1).map_err(during(act))?;
    let at = row.get(2).map_err(during(act))?;
    let error: Option<i64> = row.get(3).map_err(during(act))?;
    let reckoning = Reckoning {
        micros: from_sql(micros),
        at: UtcMicros(at),
        error_us: error.map(from_sql),
    };
    Ok((BootId(fixed(&boot, "boot id")?), reckoning))
}

/// Up to where the inbox's news of clocks has been taken in.
pub(super) fn mark(connection: &Connection) -> Result<i64, DbError> {
    connection
        .query_row("SELECT mark FROM clock_mark", [], |row| row.get(0))
        .map_err(during("read how far news of clocks is taken in"))
}

/// Moves the mark.
pub(super) fn set_mark(connection: &Connection, mark: i64) -> Result<(), DbError> {
    connection
        .execute("UPDATE clock_mark SET mark = ?1", [mark])
        .map(|_| ())
        .map_err(during("note how far news of clocks is taken in"))
}
