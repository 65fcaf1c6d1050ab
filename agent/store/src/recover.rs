//! What the store does when something went wrong: open again, set aside, name what is missing.

use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::record::{LaneGapV1, Record, RecordHead, record_id};
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::Connection;

use crate::database;
use crate::error::OutboxError;
use crate::lanes::{LaneRow, Lanes};
use crate::outbox::OutboxConfig;
use crate::space::SpaceLevel;
use crate::store::{Store, create_lanes};

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
        let (path, cap_bytes) = (&self.config.path, self.config.cap_bytes);
        let opened = database::connect(path, cap_bytes).and_then(|conn| {
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

    /// Sets the damaged file aside, begins new chains, and names what is missing.
    pub(crate) fn recover(&mut self, damage: &OutboxError) -> Result<(), OutboxError> {
        self.conn = None;
        if std::mem::replace(&mut self.recovering, true) {
            return Err(damage.clone());
        }
        let known = self.durable;
        let named = begin_again(&self.config, damage).and_then(|(conn, lanes)| {
            self.conn = Some(conn);
            self.lanes = lanes;
            self.durable = lanes;
            self.name_damage(Some(known))
        });
        self.recovering = false;
        named
    }

    /// The first frame of each new chain names what the old chain lost. What the old one
    /// had acknowledged is not lost.
    pub(crate) fn name_damage(&mut self, known: Option<Lanes>) -> Result<(), OutboxError> {
        let gaps: Vec<LaneGap> = match known {
            Some(known) => known.iter().filter_map(LaneGap::of_waiting).collect(),
            None => Lane::ALL.map(LaneGap::of_unknown).into(),
        };
        self.commit(|store, lanes| {
            gaps.iter().try_for_each(|gap| {
                let record = store.gap_record(gap)?;
                store.insert(lanes, gap.lane, &record).map(drop)
            })
        })
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
                    reason: "space.refused",
                };
                lanes.get_mut(lane).refused = 0;
                let record = self.gap_record(&gap)?;
                self.insert(lanes, Lane::Alert, &record)?;
            }
        }
        Ok(())
    }

    pub(crate) fn gap_record(&self, gap: &LaneGap) -> Result<Record, OutboxError> {
        let at = self.clock.read();
        let mut random = [0; 10];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| OutboxError::Randomness { act: "name a gap" })?;
        Ok(Record::LaneGap(LaneGapV1 {
            head: RecordHead {
                id: record_id(at.utc, random),
                at,
            },
            lane: gap.lane,
            chain: gap.chain,
            from_seq: gap.from_seq,
            to_seq: gap.to_seq,
            records: gap.records,
            reason: gap.reason.to_owned(),
        }))
    }
}

/// A stretch of a lane that is missing, before it is a record.
pub(crate) struct LaneGap {
    pub(crate) lane: Lane,
    pub(crate) chain: ChainId,
    pub(crate) from_seq: u64,
    pub(crate) to_seq: u64,
    pub(crate) records: u64,
    pub(crate) reason: &'static str,
}

impl LaneGap {
    /// What a lane still had to send when its file was set aside.
    fn of_waiting(row: &LaneRow) -> Option<Self> {
        (row.waiting() > 0).then(|| Self {
            lane: row.lane,
            chain: row.chain,
            from_seq: row.acked + 1,
            to_seq: row.next - 1,
            records: row.waiting(),
            reason: "outbox.damaged",
        })
    }

    /// A lane of which nothing could be read.
    const fn of_unknown(lane: Lane) -> Self {
        Self {
            lane,
            chain: ChainId([0; 8]),
            from_seq: 1,
            to_seq: u64::MAX,
            records: 0,
            reason: "outbox.damaged",
        }
    }
}

/// Sets a damaged file aside and makes a new one.
pub(crate) fn begin_again(
    config: &OutboxConfig,
    damage: &OutboxError,
) -> Result<(Connection, Lanes), OutboxError> {
    let aside = database::set_aside(&config.path)?;
    tracing::error!(
        code = damage.code(),
        why = %damage,
        aside = %aside.display(),
        "OutboxSetAside"
    );
    let conn = database::connect(&config.path, config.cap_bytes)?;
    let lanes = create_lanes(&conn)?;
    Ok((conn, lanes))
}
