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

use super::exam::Exam;
use super::open::Opened;
use crate::clock::boots::{BoxTimes, Sighting, VOUCHED_MAX_US, claimed};
use crate::clock::tie::{BootTie, Fact};
use crate::db::{Connection, DbError, Row, values};
use crate::inbox::BoxLore;

/// An acquisition dated this well is not dated anew for the sake of a smaller error.
const DATED_WELL_US: u64 = 1_000_000;
/// Boots of a box that are looked at to date its records.
const SIGHTINGS_RECENT: u64 = 256;

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
    let row = connection.row(
        "read where a boot was seen",
        "SELECT first_seq, last_us, facts FROM sightings
         WHERE box = ?1 AND boot = ?2 AND lane = ?3 AND chain = ?4",
        values![device, boot, lane, chain],
    )?;
    let Some(mut row) = row else {
        return Ok(Seen {
            first_seq: u64::MAX,
            last_micros: 0,
            tie: BootTie::default(),
        });
    };
    Ok(Seen {
        first_seq: row.take(0)?,
        last_micros: row.take(1)?,
        tie: read_tie(&row.take::<Vec<u8>>(2)?)?,
    })
}

fn write_seen(
    connection: &Connection,
    (device, boot, lane, chain): &(BoxId, BootId, Lane, ChainId),
    seen: &Seen,
) -> Result<(), DbError> {
    connection
        .execute(
            "note where a boot was seen",
            "INSERT INTO sightings (box, boot, lane, chain, first_seq, last_us, facts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (box, boot, lane, chain) DO UPDATE SET
             first_seq = excluded.first_seq, last_us = excluded.last_us, facts = excluded.facts",
            values![
                device,
                boot,
                lane,
                chain,
                seen.first_seq,
                seen.last_micros,
                seen.tie.to_bytes()
            ],
        )
        .map(|_| ())
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
    let rows = connection.rows(
        "read where the boots of a box were seen",
        "SELECT boot, lane, chain, first_seq, last_us, facts FROM sightings WHERE box = ?1
         ORDER BY first_seq DESC LIMIT ?2",
        values![device, SIGHTINGS_RECENT],
    )?;
    let (mut sightings, mut recorded) = (Vec::new(), Vec::new());
    for mut row in rows {
        let boot = row.take(0)?;
        sightings.push(Sighting {
            boot,
            lane: row.take(1)?,
            chain: row.take(2)?,
            first_seq: row.take(3)?,
            last_micros: row.take(4)?,
        });
        recorded.push((boot, read_tie(&row.take::<Vec<u8>>(5)?)?));
    }
    let exchanged = lore.ties.get(&device).cloned().unwrap_or_default();
    Ok(BoxTimes::of(exchanged, recorded, &sightings))
}

/// How an acquisition was dated.
pub(super) fn reckonings(
    connection: &Connection,
    acquisition: AcquisitionId,
) -> Result<BTreeMap<BootId, Reckoning>, DbError> {
    let rows = connection.rows(
        "read how an acquisition was dated",
        "SELECT boot, micros, utc_us, error_us FROM dated WHERE acquisition = ?1",
        values![acquisition],
    )?;
    rows.into_iter()
        .map(|mut row| read_reckoning(&mut row))
        .collect()
}

/// Keeps how an acquisition was dated, and when it began and ended by that.
pub(super) fn keep(connection: &Connection, exam: &Exam) -> Result<(), DbError> {
    let act = "note how an acquisition was dated";
    let started = exam.wall(&exam.started.head.at).at;
    let ended = exam
        .ended
        .as_ref()
        .map(|ended| exam.wall(&ended.head.at).at);
    let Some(reckonings) = exam.new_reckonings() else {
        return Ok(());
    };
    let id = exam.id();
    connection.execute(act, "DELETE FROM dated WHERE acquisition = ?1", values![id])?;
    for (boot, reckoning) in reckonings {
        connection.execute(
            act,
            "INSERT INTO dated (acquisition, boot, box, micros, utc_us, error_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values![
                id,
                boot,
                exam.device,
                reckoning.micros,
                reckoning.at,
                reckoning.error_us
            ],
        )?;
    }
    connection
        .execute(
            act,
            "UPDATE acquisitions SET started_us = ?2, ended_us = ?3 WHERE id = ?1",
            values![id, started, ended],
        )
        .map(|_| ())
}

/// The acquisitions of a box of whose times more is known by now.
pub(super) fn outdated(
    connection: &Connection,
    lore: &BoxLore,
    device: BoxId,
) -> Result<BTreeSet<AcquisitionId>, DbError> {
    let times = times(connection, lore, device)?;
    let rows = connection.rows(
        "look for acquisitions to date anew",
        "SELECT boot, micros, utc_us, error_us, acquisition FROM dated WHERE box = ?1",
        values![device],
    )?;
    let mut outdated = BTreeSet::new();
    for mut row in rows {
        let (boot, was) = read_reckoning(&mut row)?;
        if was.is_outdone(&times, boot) {
            outdated.insert(row.take(4)?);
        }
    }
    Ok(outdated)
}

fn read_reckoning(row: &mut Row) -> Result<(BootId, Reckoning), DbError> {
    let reckoning = Reckoning {
        micros: row.take(1)?,
        at: row.take(2)?,
        error_us: row.take(3)?,
    };
    Ok((row.take(0)?, reckoning))
}

/// Up to where the inbox's news of the clock of each box has been taken in.
pub(super) fn marks(connection: &Connection) -> Result<BTreeMap<BoxId, i64>, DbError> {
    let rows = connection.rows(
        "read how far news of clocks is taken in",
        "SELECT box, mark FROM clock_marks",
        values![],
    )?;
    rows.into_iter()
        .map(|mut row| Ok((row.take(0)?, row.take(1)?)))
        .collect()
}

/// Moves the mark of a box.
pub(super) fn set_mark(connection: &Connection, device: BoxId, mark: i64) -> Result<(), DbError> {
    connection
        .execute(
            "note how far news of clocks is taken in",
            "INSERT INTO clock_marks (box, mark) VALUES (?1, ?2)
             ON CONFLICT (box) DO UPDATE SET mark = excluded.mark",
            values![device, mark],
        )
        .map(|_| ())
}
