//! What the store does when something went wrong: open again, set aside, name what is missing.

use std::path::Path;

use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::record::{LaneGapV1, Record, RecordHead, record_id};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, Row, params};

use crate::aside;
use crate::database;
use crate::error::OutboxError;
use crate::intact;
use crate::lanes::{LaneRow, Lanes, signed, unsigned};
use crate::outbox::OutboxConfig;
use crate::space::SpaceLevel;
use crate::store::{Store, connect, create_lanes};

impl Store {
    pub(crate) fn after_error(&mut self, err: &OutboxError) -> Result<(), OutboxError> {
        tracing::warn!(code = err.code(), "OutboxTransactionError");
        if err.is_damage() {
            self.recover(err)
        } else {
            self.reopen()
        }
    }

    /// Opens the file again after an error and believes what it says. Refusals that could
    /// not be written down are carried over.
    pub(crate) fn reopen(&mut self) -> Result<(), OutboxError> {
        self.conn = None;
        let opened = connect(&self.config, &mut self.ballast).and_then(|conn| {
            let lanes = Lanes::load(&conn)?.ok_or_else(|| OutboxError::Damaged {
                what: "the lanes are gone".to_owned(),
            })?;
            database::check_edges(&conn, &lanes)?;
            Ok((conn, lanes))
        });
        match opened {
            Ok((conn, mut lanes)) => {
                self.durable = lanes;
                for old in self.lanes.iter() {
                    let row = lanes.get_mut(old.lane);
                    row.refused = row.refused.max(old.refused);
                }
                self.lanes = lanes;
                self.conn = Some(conn);
                Ok(())
            }
            Err(err) if err.is_damage() => self.recover(&err),
            Err(err) => Err(err),
        }
    }

    /// Sets the file aside, begins new chains, names what is missing, and begins to carry over
    /// what is intact.
    pub(crate) fn recover(&mut self, why: &OutboxError) -> Result<(), OutboxError> {
        self.conn = None;
        if std::mem::replace(&mut self.recovering, true) {
            return Err(why.clone());
        }
        let known = self.durable;
        let named = begin_again(&self.config, why).and_then(|(conn, lanes)| {
            self.conn = Some(conn);
            self.lanes = lanes;
            self.durable = lanes;
            self.name_damage(Some(known))?;
            self.begin_carrying();
            Ok(())
        });
        self.recovering = false;
        named
    }

    /// Names what every file that was set aside still had to send, unless that was done: a
    /// marker beside the file says so, made after the commit. The first frames of each new
    /// chain are these names.
    pub(crate) fn name_damage(&mut self, known: Option<Lanes>) -> Result<(), OutboxError> {
        for aside in aside::list(&self.config.path)? {
            if aside.is_named() {
                continue;
            }
            let left = LeftBehind::read(&aside.path);
            let lanes = known.or(left.lanes);
            let why = aside.cause.reason();
            let ended: Vec<LaneGap> = match &lanes {
                Some(lanes) => {
                    let ended = lanes.iter();
                    ended
                        .filter_map(|row| LaneGap::of_ended(row, why))
                        .collect()
                }
                None => Lane::ALL.map(|lane| LaneGap::of_unknown(lane, why)).into(),
            };
            self.commit(|store, new| {
                for gap in left.unsent.iter().chain(&ended) {
                    store.insert_gap(new, gap.lane, gap)?;
                }
                for old in lanes.iter().flat_map(Lanes::iter) {
                    new.get_mut(old.lane).refused += old.refused;
                }
                Ok(())
            })?;
            aside.mark_named()?;
        }
        Ok(())
    }

    /// Names on the alert lane what other lanes had to refuse, once they may store again.
    pub(crate) fn name_refusals(
        &mut self,
        lanes: &mut Lanes,
        level: SpaceLevel,
    ) -> Result<(), OutboxError> {
        for lane in Lane::ALL {
            let row = *lanes.get(lane);
            if row.refused > 0 && level.allows(lane) {
                let gap = LaneGap {
                    lane,
                    chain: row.chain,
                    from_seq: row.next,
                    to_seq: row.next - 1,
                    records: row.refused,
                    reason: "space.refused".to_owned(),
                };
                lanes.get_mut(lane).refused = 0;
                self.insert_gap(lanes, Lane::Alert, &gap)?;
            }
        }
        Ok(())
    }

    /// Seals a gap record on a lane, and remembers the gap until it is acknowledged. Only
    /// within [`Store::commit`].
    pub(crate) fn insert_gap(
        &mut self,
        lanes: &mut Lanes,
        on: Lane,
        gap: &LaneGap,
    ) -> Result<(), OutboxError> {
        let record = Record::LaneGap(LaneGapV1 {
            head: self.record_head("name a gap")?,
            lane: gap.lane,
            chain: gap.chain,
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            records: gap.records,
            reason: gap.reason.clone(),
        });
        let stored = self.insert(lanes, on, record)?;
        gap.remember(self.conn()?, stored.identity.lane, stored.identity.seq)
            .map_err(|source| OutboxError::database("remember a gap", source))
    }

    /// What a record of the outbox's own starts with.
    pub(crate) fn record_head(&self, act: &'static str) -> Result<RecordHead, OutboxError> {
        let at = self.clock.read();
        let mut random = [0; 10];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| OutboxError::Randomness { act })?;
        let id = record_id(at.utc, random);
        Ok(RecordHead { id, at })
    }
}

/// A stretch of a lane that is missing, before it is a record.
pub(crate) struct LaneGap {
    pub(crate) lane: Lane,
    pub(crate) chain: ChainId,
    pub(crate) from_seq: u64,
    pub(crate) to_seq: u64,
    pub(crate) records: u64,
    pub(crate) reason: String,
}

impl LaneGap {
    /// What a lane still had to send when its file was set aside. A lane that had sent
    /// everything leaves an empty stretch: it says that the chain has ended there.
    fn of_ended(row: &LaneRow, why: &str) -> Option<Self> {
        (row.next > 1).then(|| Self {
            lane: row.lane,
            chain: row.chain,
            from_seq: row.acked + 1,
            to_seq: row.next - 1,
            records: row.waiting(),
            reason: why.to_owned(),
        })
    }

    /// A lane of which nothing could be read.
    fn of_unknown(lane: Lane, why: &str) -> Self {
        Self {
            lane,
            chain: ChainId([0; 8]),
            from_seq: 1,
            to_seq: u64::MAX,
            records: 0,
            reason: why.to_owned(),
        }
    }

    fn remember(&self, conn: &Connection, on: Lane, seq: u64) -> rusqlite::Result<()> {
        let to_seq = (self.to_seq != u64::MAX).then(|| signed(self.to_seq));
        conn.prepare_cached("INSERT INTO unsent_gap VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![
                on.number(),
                signed(seq),
                self.lane.number(),
                self.chain.0,
                signed(self.from_seq),
                to_seq,
                signed(self.records),
                self.reason
            ])
            .map(drop)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let lane = Lane::from_number(row.get("lane")?).unwrap_or(Lane::Log);
        Ok(Self {
            lane,
            chain: ChainId(row.get("chain")?),
            from_seq: row.get("from_seq").map(unsigned)?,
            to_seq: row
                .get::<_, Option<i64>>("to_seq")?
                .map_or(u64::MAX, unsigned),
            records: row.get("records").map(unsigned)?,
            reason: row.get("reason")?,
        })
    }
}

/// Forgets gaps whose records are deleted. Not before: a gateway that lost its disk needs them
/// again, and would not be told if this file were set aside meanwhile.
pub(crate) fn forget_gaps(conn: &Connection, on: Lane, upto: u64) -> Result<(), OutboxError> {
    conn.prepare_cached("DELETE FROM unsent_gap WHERE named_lane = ?1 AND named_seq <= ?2")
        .and_then(|mut delete| delete.execute(params![on.number(), signed(upto)]))
        .map(drop)
        .map_err(|source| OutboxError::database("forget gaps", source))
}

/// What can still be read of what a file that was set aside says of itself.
struct LeftBehind {
    lanes: Option<Lanes>,
    unsent: Vec<LaneGap>,
}

impl LeftBehind {
    fn read(aside: &Path) -> Self {
        let conn = intact::open(aside).ok();
        let lanes = conn.as_ref().and_then(intact::lanes);
        let unsent = conn.as_ref().and_then(|conn| {
            let mut statement = conn.prepare("SELECT * FROM unsent_gap").ok()?;
            let rows = statement.query_map([], LaneGap::read).ok()?;
            Some(rows.filter_map(Result::ok).collect())
        });
        Self {
            lanes,
            unsent: unsent.unwrap_or_default(),
        }
    }
}

/// Sets a file aside and makes a new one.
pub(crate) fn begin_again(
    config: &OutboxConfig,
    why: &OutboxError,
) -> Result<(Connection, Lanes), OutboxError> {
    let aside = aside::set_aside(&config.path, why.into())?;
    tracing::error!(
        code = why.code(),
        why = %why,
        aside = %aside.display(),
        "OutboxSetAside"
    );
    let conn = database::connect(&config.path, config.cap_bytes)?;
    let lanes = create_lanes(&conn)?;
    Ok((conn, lanes))
}
