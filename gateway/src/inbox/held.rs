//! What the inbox holds, as the decisions of [`cardio_wire::intake`] read and write it.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::{Arrival, ChainKey, Holdings, LaneHead, Link};
use cardio_wire::lane::Lane;

use crate::db::{Connection, DbError, Row, values};

/// Frames kept per box that conflict with stored ones.
const CONFLICTS_MAX: u64 = 1_000;

/// The inbox within one transaction.
pub(super) struct Held<'c> {
    /// The transaction.
    pub(super) connection: &'c Connection,
    /// When what is written now came.
    pub(super) at: UtcMicros,
    /// Whether what is written now came in a frame of a newer chain.
    pub(super) carried: bool,
}

impl<'c> Held<'c> {
    /// What comes itself.
    pub(super) const fn new(connection: &'c Connection, at: UtcMicros) -> Self {
        Self {
            connection,
            at,
            carried: false,
        }
    }
}

fn read_link(mut row: Row) -> Result<Link, DbError> {
    Ok(Link {
        seq: row.take(0)?,
        prev: row.take(1)?,
        fingerprint: row.take(2)?,
    })
}

impl Holdings for Held<'_> {
    type Error = DbError;

    fn head(&mut self, key: ChainKey) -> Result<Option<LaneHead>, DbError> {
        let row = self.connection.row(
            "read where a lane stands",
            "SELECT upto, head, broken_at, ended FROM lanes
             WHERE box = ?1 AND lane = ?2 AND chain = ?3",
            values![key.device, key.lane, key.chain],
        )?;
        row.map(|mut row| {
            Ok(LaneHead {
                lane: key.lane,
                chain: key.chain,
                upto: row.take(0)?,
                head: row.take(1)?,
                broken_at: row.take(2)?,
                ended: row.take(3)?,
            })
        })
        .transpose()
    }

    fn set_head(&mut self, device: BoxId, head: &LaneHead) -> Result<(), DbError> {
        self.connection
            .execute(
                "note where a lane stands",
                "INSERT INTO lanes (box, lane, chain, upto, head, broken_at, ended)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (box, lane, chain) DO UPDATE
                 SET upto = excluded.upto, head = excluded.head, broken_at = excluded.broken_at,
                     ended = excluded.ended",
                values![
                    device,
                    head.lane,
                    head.chain,
                    head.upto,
                    head.head,
                    head.broken_at,
                    head.ended
                ],
            )
            .map(|_| ())
    }

    fn chains(&mut self, device: BoxId, lane: Lane) -> Result<u64, DbError> {
        let count = self.connection.cell(
            "count the chains of a lane",
            "SELECT count(*) FROM lanes WHERE box = ?1 AND lane = ?2 AND ended = 0",
            values![device, lane],
        )?;
        Ok(count.unwrap_or(0))
    }

    fn link(&mut self, key: ChainKey, seq: u64) -> Result<Option<Link>, DbError> {
        self.connection
            .row(
                "look for a frame",
                "SELECT seq, prev, fingerprint FROM frames
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4",
                values![key.device, key.lane, key.chain, seq],
            )?
            .map(read_link)
            .transpose()
    }

    fn links_after(
        &mut self,
        key: ChainKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Link>, DbError> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        self.connection
            .rows(
                "follow a chain",
                "SELECT seq, prev, fingerprint FROM frames
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 ORDER BY seq LIMIT ?5",
                values![key.device, key.lane, key.chain, after, limit],
            )?
            .into_iter()
            .map(read_link)
            .collect()
    }

    fn keep(&mut self, frame: &Arrival<'_>, late: bool) -> Result<(), DbError> {
        let id = frame.identity;
        self.connection.execute(
            "store a frame",
            "INSERT INTO frames
               (box, lane, chain, seq, prev, fingerprint, received_us, carried, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            values![
                id.device,
                id.lane,
                id.chain,
                id.seq,
                frame.prev,
                frame.fingerprint,
                self.at,
                self.carried,
                frame.frame
            ],
        )?;
        if late {
            self.connection.execute(
                "note a late frame",
                "INSERT INTO late (box, lane, chain, seq) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
                values![id.device, id.lane, id.chain, id.seq],
            )?;
        }
        Ok(())
    }

    fn keep_conflict(&mut self, frame: &Arrival<'_>) -> Result<(), DbError> {
        let id = frame.identity;
        let kept: Option<u64> = self.connection.cell(
            "count the conflicts of a box",
            "SELECT count(*) FROM conflicts WHERE box = ?1 AND carried = 0",
            values![id.device],
        )?;
        // What was carried came in a frame that is acknowledged: it must be kept.
        if !self.carried && kept.is_some_and(|kept| kept >= CONFLICTS_MAX) {
            return Ok(());
        }
        self.connection
            .execute(
                "keep a conflicting frame",
                "INSERT INTO conflicts
                   (box, lane, chain, seq, fingerprint, received_us, carried, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
                values![
                    id.device,
                    id.lane,
                    id.chain,
                    id.seq,
                    frame.fingerprint,
                    self.at,
                    self.carried,
                    frame.frame
                ],
            )
            .map(|_| ())
    }

    fn missing_from(&mut self, key: ChainKey, seq: u64) -> Result<Option<(u64, u64)>, DbError> {
        self.connection
            .row(
                "look for missing frames",
                "SELECT from_seq, to_seq FROM missing
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND to_seq >= ?4
                 ORDER BY from_seq LIMIT 1",
                values![key.device, key.lane, key.chain, seq],
            )?
            .map(|mut row| Ok((row.take(0)?, row.take(1)?)))
            .transpose()
    }

    fn add_missing(&mut self, key: ChainKey, from: u64, to: u64) -> Result<(), DbError> {
        self.connection
            .execute(
                "note missing frames",
                "INSERT INTO missing (box, lane, chain, from_seq, to_seq, noticed_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                values![key.device, key.lane, key.chain, from, to, self.at],
            )
            .map(|_| ())
    }

    fn remove_missing(&mut self, key: ChainKey, from: u64) -> Result<(), DbError> {
        self.connection
            .execute(
                "forget missing frames",
                "DELETE FROM missing
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND from_seq = ?4",
                values![key.device, key.lane, key.chain, from],
            )
            .map(|_| ())
    }
}
