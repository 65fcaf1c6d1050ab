//! What the writer thread does with its connection: seal and insert, acknowledge, delete,
//! send again, recover. One transaction per change; the counters in memory follow a commit,
//! never precede it.

use std::fs::File;
use std::sync::Arc;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_wire::lane::Lane;
use rusqlite::{Connection, params};

use crate::ahead::Ahead;
use crate::autonomy::{Autonomy, Growth};
use crate::bookkeeping;
use crate::carry::Carrying;
use crate::database;
use crate::error::OutboxError;
use crate::lanes::{LaneRow, Lanes};
use crate::outbox::{KeyRing, OutboxConfig, Stored};
use crate::recover::{begin_again, forget_gaps};
use crate::sealing::{EncodedRecord, Entry, Sealed, Sealing, seal};
use crate::space::{Ballast, Space, SpaceLevel, left_on_disk};

/// 2020-01-01. A frame stored by an earlier wall clock was stored by one that nobody had set: its
/// age is not known, and it goes when space is needed.
const CLOCK_SET_UTC: UtcMicros = UtcMicros(1_577_836_800_000_000);

/// What became of a record.
type Answer = Result<Stored, OutboxError>;

/// The outbox as its one thread sees it.
pub(crate) struct Store {
    pub(crate) config: OutboxConfig,
    pub(crate) keys: KeyRing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lanes: Lanes,
    /// The lanes as the file has them; refusals on a full disk are counted in `lanes` first.
    pub(crate) durable: Lanes,
    pub(crate) carrying: Carrying,
    ahead: Ahead,
    pub(crate) ballast: Ballast,
    growth: Growth,
    /// The space as it was last measured, until a group uses it up.
    measured: Option<Space>,
    /// A recovery that meets damage again gives up instead of going round.
    pub(crate) recovering: bool,
    /// None after an error, until the file is opened again.
    pub(crate) conn: Option<Connection>,
    /// Keeps others out as long as it is open.
    _lock: File,
}

impl Store {
    pub(crate) fn open(
        config: OutboxConfig,
        keys: KeyRing,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OutboxError> {
        let lock = database::lock(&config.path)?;
        let mut ballast = Ballast::new(&config.path, config.cap_bytes);
        let opened = connect(&config, &mut ballast).and_then(|conn| {
            let lanes = match database::checked_lanes(&conn, &config.path)? {
                Some(lanes) => lanes,
                None => create_lanes(&conn)?,
            };
            Ok((conn, lanes))
        });
        let opened = match opened {
            Err(err) if err.is_damage() => begin_again(&config, &err)?,
            opened => opened?,
        };
        ballast.hold();
        let mut store = Self {
            config,
            keys,
            clock,
            lanes: opened.1,
            durable: opened.1,
            carrying: Carrying::default(),
            ahead: Ahead::default(),
            ballast,
            growth: Growth::default(),
            measured: None,
            recovering: false,
            conn: Some(opened.0),
            _lock: lock,
        };
        store.name_damage(None)?;
        store.begin_carrying();
        Ok(store)
    }

    /// The connection; opens the file again if an error closed it.
    pub(crate) fn conn(&mut self) -> Result<&Connection, OutboxError> {
        if self.conn.is_none() {
            self.reopen()?;
        }
        self.conn.as_ref().ok_or(OutboxError::Closed)
    }

    pub(crate) fn space(&mut self) -> Result<Space, OutboxError> {
        let cap_bytes = self.config.cap_bytes;
        let (used_bytes, spare_bytes) = database::used_and_spare_bytes(self.conn()?)
            .map_err(|source| OutboxError::database("measure the space", source))?;
        let kept_back = 2 * u64::from(cardio_sqlite::LOG_BYTES)
            + if self.ballast.held {
                0
            } else {
                self.ballast.bytes
            };
        let disk_bytes = left_on_disk(&self.config.path)
            .saturating_sub(kept_back)
            .saturating_add(spare_bytes);
        let space = Space {
            cap_bytes,
            used_bytes,
            disk_bytes,
        };
        self.measured = Some(space);
        Ok(space)
    }

    /// How long the space lasts at the rate of the last hour of capture.
    pub(crate) fn autonomy(&self, space: &Space) -> Autonomy {
        let (kept, waiting) = self.lanes.iter().fold((0, 0), |(kept, waiting), row| {
            (kept + row.kept_bytes, waiting + row.waiting_bytes)
        });
        let in_pages = |bytes: u64| {
            let pages = u128::from(space.used_bytes) * u128::from(bytes) / u128::from(kept.max(1));
            u64::try_from(pages).unwrap_or(u64::MAX)
        };
        let deletable = in_pages(kept.saturating_sub(waiting));
        let usable = space
            .all_bytes()
            .saturating_add(deletable)
            .min(space.cap_bytes);
        let refused_at = usable / 100 * self.growth.refused_at_percent();
        let room = refused_at.saturating_sub(space.used_bytes.saturating_sub(deletable));
        self.growth.autonomy(room, self.clock.read().box_instant)
    }

    /// Stores records in one transaction, in order. One answer per record.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> Vec<Answer> {
        match self.append_once(entries, |_, _| Ok(())) {
            Ok(answers) => answers,
            Err(err) if err.is_full_disk() => self.append_on_full_disk(entries, &err),
            Err(err) => entries.iter().map(|_| Err(err.clone())).collect(),
        }
    }

    /// Stores records of one lane in one transaction; where one is refused, none behind it is
    /// stored. A full lane takes no more in the same transaction; what cannot be sealed undoes
    /// it. A refusal is not counted as a loss: whoever asks for order offers the rest again.
    pub(crate) fn append_in_order(&mut self, entries: &[Entry]) -> Result<(), OutboxError> {
        let settle = |lanes: &mut Lanes, answers: &[Answer]| {
            for answer in answers {
                match answer {
                    Err(OutboxError::Full { lane, .. }) => lanes.get_mut(*lane).refused -= 1,
                    Err(err) => return Err(err.clone()),
                    Ok(_) => {}
                }
            }
            Ok(())
        };
        let answers = self.append_once(entries, settle)?;
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    fn append_once(
        &mut self,
        entries: &[Entry],
        settle: impl Fn(&mut Lanes, &[Answer]) -> Result<(), OutboxError>,
    ) -> Result<Vec<Answer>, OutboxError> {
        self.measured = None;
        if let Err(err) = self.make_room() {
            tracing::warn!(code = err.code(), "OutboxEvictionError");
        }
        let insert = |store: &mut Self, lanes: &mut Lanes| {
            let answers = store.insert_all(lanes, entries)?;
            settle(lanes, &answers).map(|()| answers)
        };
        match self.commit(insert) {
            Err(err) if err.is_damage() => self.commit(insert),
            stored => stored,
        }
    }

    /// Alerts get what the ballast held; everything else is refused, and counted.
    fn append_on_full_disk(&mut self, entries: &[Entry], err: &OutboxError) -> Vec<Answer> {
        let (alerts, others): (Vec<Entry>, Vec<Entry>) = entries
            .iter()
            .cloned()
            .partition(|entry| entry.lane == Lane::Alert);
        for entry in others {
            self.lanes.get_mut(entry.lane).refused += 1;
        }
        let stored = if alerts.is_empty() {
            Vec::new()
        } else {
            let given_up = self.give_up_ballast();
            let stored = given_up
                .and_then(|()| self.commit(|store, lanes| store.insert_all(lanes, &alerts)));
            stored.unwrap_or_else(|err| alerts.iter().map(|_| Err(err.clone())).collect())
        };
        let lost = stored.iter().filter(|answer| answer.is_err()).count();
        self.lanes.get_mut(Lane::Alert).refused += u64::try_from(lost).unwrap_or(u64::MAX);
        let mut stored = stored.into_iter();
        entries
            .iter()
            .map(|entry| match entry.lane {
                Lane::Alert => stored.next().unwrap_or(Err(OutboxError::Closed)),
                _ => Err(err.clone()),
            })
            .collect()
    }

    fn give_up_ballast(&mut self) -> Result<(), OutboxError> {
        if self.ballast.held {
            self.ballast.give_up()?;
            tracing::warn!(code = "outbox.ballast", "OutboxBallastGivenUp");
        }
        let room = self.config.cap_bytes.saturating_add(self.ballast.bytes);
        database::set_cap(self.conn()?, room)
            .map_err(|source| OutboxError::database("use the ballast's space", source))
    }

    fn insert_all(
        &mut self,
        lanes: &mut Lanes,
        entries: &[Entry],
    ) -> Result<Vec<Answer>, OutboxError> {
        let space = match self.measured.take() {
            Some(space) => space,
            None => self.space()?,
        };
        self.name_refusals(lanes, space.level())?;
        let stored_utc = self.clock.read().utc;
        let conn = self.conn.as_ref().ok_or(OutboxError::Closed)?;
        let mut sealing = Sealing {
            keys: &self.keys,
            ahead: &mut self.ahead,
            lanes,
            space,
        };
        let answers = sealing.seal_all(entries, |entry, sealed| {
            insert_frame(conn, &entry.encoded, &sealed, stored_utc)
        })?;
        self.note_growth(entries, &answers);
        Ok(answers)
    }

    fn note_growth(&mut self, entries: &[Entry], answers: &[Answer]) {
        let answered = entries.iter().zip(answers);
        let stored =
            answered.filter_map(|(entry, answer)| Some((entry.lane, answer.as_ref().ok()?)));
        let (lanes, grown): (Vec<Lane>, Vec<u64>) = stored
            .map(|(lane, stored)| (lane, database::row_bytes(stored.bytes)))
            .unzip();
        let now = self.clock.read().box_instant;
        self.growth.note(&lanes, grown.iter().sum(), now);
    }

    /// Seals one record and inserts its frame. Only within [`Store::commit`].
    pub(crate) fn insert(
        &mut self,
        lanes: &mut Lanes,
        lane: Lane,
        record: impl Into<EncodedRecord>,
    ) -> Result<Stored, OutboxError> {
        let encoded = record.into();
        let entry = Entry { lane, encoded };
        let sealed = seal(&self.keys, &mut self.ahead, lanes, &entry)?;
        let stored_utc = self.clock.read().utc;
        let conn = self.conn.as_ref().ok_or(OutboxError::Closed)?;
        insert_frame(conn, &entry.encoded, &sealed, stored_utc)
    }

    /// Runs a change in one transaction. The counters in memory change only with the commit;
    /// after any error the file is opened again, because what a failed commit left behind
    /// is for recovery to say.
    pub(crate) fn commit<T>(
        &mut self,
        change: impl FnOnce(&mut Self, &mut Lanes) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        self.conn()?;
        let mut after = self.lanes;
        let changed = self
            .execute("begin", "BEGIN IMMEDIATE")
            .and_then(|()| change(self, &mut after))
            .and_then(|value| self.save_changed(&after).map(|()| value));
        let value = match changed {
            Ok(value) => value,
            Err(err) => {
                self.after_error(&err)?;
                return Err(err);
            }
        };
        if let Err(err) = self.execute("commit", "COMMIT") {
            self.after_error(&err)?;
            // Perhaps only the answer was lost: what is on the disk is what counts.
            if self.durable != after {
                return Err(err);
            }
        }
        self.lanes = after;
        self.durable = after;
        self.keep_log_short();
        Ok(value)
    }

    /// What is committed stands, whatever becomes of this: a checkpoint that failed closes the
    /// file, and the next opening has the whole log on the disk.
    fn keep_log_short(&mut self) {
        let Some(conn) = &self.conn else { return };
        if let Err(source) = cardio_sqlite::checkpoint(conn) {
            let err = OutboxError::database("move the log into the database", source);
            if let Err(err) = self.after_error(&err) {
                tracing::warn!(code = err.code(), "OutboxReopenError");
            }
        }
    }

    fn save_changed(&mut self, after: &Lanes) -> Result<(), OutboxError> {
        let durable = self.durable;
        let conn = self.conn()?;
        let rows = durable.iter().zip(after.iter());
        rows.filter(|(old, new)| old != new)
            .try_for_each(|(_, new)| new.save(conn))
    }

    fn execute(&mut self, act: &'static str, sql: &str) -> Result<(), OutboxError> {
        self.conn()?
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(|source| OutboxError::database(act, source))
    }

    /// Deletes acknowledged frames while the space is scarce, then names refusals and takes
    /// the ballast back if there is room for them.
    pub(crate) fn make_room(&mut self) -> Result<(), OutboxError> {
        let mut level = self.space()?.level();
        while level >= SpaceLevel::Deleting && self.delete_a_batch()? {
            level = self.space()?.level();
        }
        self.delete_asides(level)?;
        let refused = self
            .lanes
            .iter()
            .any(|row| row.refused > 0 && level.allows(row.lane));
        if refused {
            self.commit(|store, lanes| store.name_refusals(lanes, level))?;
        }
        if level < SpaceLevel::Deleting && self.ballast.is_due(self.clock.read().box_instant) {
            self.ballast.hold();
            let cap_bytes = self.config.cap_bytes;
            database::set_cap(self.conn()?, cap_bytes)
                .map_err(|source| OutboxError::database("set the cap", source))?;
        }
        Ok(())
    }

    /// Deletes the oldest acknowledged frames of the least urgent lane that has some.
    fn delete_a_batch(&mut self) -> Result<bool, OutboxError> {
        const BATCH: u64 = 64;
        const ORDER: [Lane; 4] = [Lane::Bulk, Lane::Log, Lane::Routine, Lane::Alert];
        let deletable = |lane: &Lane| {
            let row = self.lanes.get(*lane);
            row.oldest <= row.acked
        };
        let Some(lane) = ORDER.into_iter().find(deletable) else {
            return Ok(false);
        };
        let row = self.lanes.get(lane);
        let last = row.acked.min(row.oldest + BATCH - 1);
        self.commit(|store, lanes| delete_up_to(store.conn()?, lanes.get_mut(lane), last))?;
        Ok(true)
    }

    /// Deletes acknowledged frames of one lane that were stored before an instant, up to the first
    /// that was not; a bounded number per call. Only within [`Store::commit`].
    pub(crate) fn delete_older(
        &mut self,
        row: &mut LaneRow,
        before: UtcMicros,
    ) -> Result<(), OutboxError> {
        const BATCH: u64 = 256;
        if row.oldest > row.acked {
            return Ok(());
        }
        let last = row.acked.min(row.oldest + BATCH - 1);
        let conn = self.conn()?;
        let old: i64 = conn
            .prepare_cached(
                "SELECT ifnull(min(place), ?2 + 1) - ?1 FROM frame
                 WHERE place BETWEEN ?1 AND ?2 AND NOT (stored_utc >= ?3 AND stored_utc < ?4)",
            )
            .and_then(|mut count| {
                let (from, to) = (row.place(row.oldest), row.place(last));
                count.query_row(params![from, to, CLOCK_SET_UTC.0, before.0], |r| r.get(0))
            })
            .map_err(|source| OutboxError::database("find old frames", source))?;
        match u64::try_from(old) {
            Ok(old) if old > 0 => delete_up_to(conn, row, row.oldest + old - 1),
            _ => Ok(()),
        }
    }
}

fn insert_frame(
    conn: &Connection,
    record: &EncodedRecord,
    sealed: &Sealed,
    stored_utc: UtcMicros,
) -> Result<Stored, OutboxError> {
    let Sealed {
        identity,
        fingerprint,
        bytes,
    } = sealed;
    let place = crate::lanes::place(identity.lane, identity.seq);
    let carries = record.carries.map(|chain| chain.0);
    conn.prepare_cached("INSERT INTO frame VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut insert| {
            insert.execute(params![place, fingerprint, stored_utc.0, bytes, carries])
        })
        .map_err(|source| OutboxError::database("store a frame", source))?;
    #[cfg(feature = "unsealed")]
    crate::unsealed::keep(conn, record)?;
    bookkeeping::follow(conn, &record.note)?;
    Ok(Stored {
        identity: *identity,
        fingerprint: *fingerprint,
        bytes: bytes.len(),
    })
}

/// Opens the file. On a full disk the ballast makes room for the log to be written anew.
pub(crate) fn connect(
    config: &OutboxConfig,
    ballast: &mut Ballast,
) -> Result<Connection, OutboxError> {
    let opened = database::connect(&config.path, config.cap_bytes);
    match opened {
        Err(err) if err.is_full_disk() && ballast.give_up().is_ok() => {
            tracing::warn!(code = "outbox.ballast", "OutboxBallastGivenUp");
            database::connect(&config.path, config.cap_bytes)
        }
        opened => opened,
    }
}

pub(crate) fn create_lanes(conn: &Connection) -> Result<Lanes, OutboxError> {
    let failed = |source| OutboxError::database("begin the lanes", source);
    conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let lanes = Lanes::create(conn)?;
    conn.execute_batch("COMMIT").map_err(failed)?;
    Ok(lanes)
}

/// Bytes of the frames from one place to another, both included.
pub(crate) fn bytes_between(conn: &Connection, from: i64, to: i64) -> Result<u64, OutboxError> {
    conn.prepare_cached(
        "SELECT ifnull(sum(length(bytes)), 0) FROM frame WHERE place BETWEEN ?1 AND ?2",
    )
    .and_then(|mut sum| sum.query_row([from, to], |row| row.get::<_, i64>(0)))
    .map(crate::lanes::unsigned)
    .map_err(|source| OutboxError::database("measure frames", source))
}

/// Deletes the frames of a lane up to a number, which must be acknowledged.
fn delete_up_to(conn: &Connection, row: &mut LaneRow, last: u64) -> Result<(), OutboxError> {
    let (from, to) = (row.place(row.oldest), row.place(last));
    let bytes = bytes_between(conn, from, to)?;
    conn.prepare_cached("DELETE FROM frame WHERE place BETWEEN ?1 AND ?2")
        .and_then(|mut delete| delete.execute([from, to]))
        .map_err(|source| OutboxError::database("delete acknowledged frames", source))?;
    forget_gaps(conn, row.lane, last)?;
    row.kept_bytes = row.kept_bytes.saturating_sub(bytes);
    row.oldest = last + 1;
    Ok(())
}
