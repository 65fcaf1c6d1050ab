//! Frames and where each lane stands.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::{LaneHead, Receipt, Stored};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::Hello;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::InboxCounts;
use crate::db::{DbError, during, fixed, from_sql, to_sql};

/// How far a frame's number may lie beyond the last acknowledged one.
const AHEAD_MAX: u64 = 65_536;
/// Chains of one lane of a box; a box starts a new one when its database is new.
const CHAINS_MAX: i64 = 64;
/// Frames kept per box that claim the identity of a stored one.
const CONFLICTS_MAX: i64 = 1_000;

/// A frame whose signature was verified.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Which frame it is.
    pub identity: FrameIdentity,
    /// Fingerprint of the frame before it.
    pub prev: [u8; 32],
    /// Its own fingerprint.
    pub fingerprint: [u8; 32],
    /// The whole frame.
    pub bytes: bytes::Bytes,
    /// When it arrived.
    pub at: UtcMicros,
}

/// A lane as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct LaneRow {
    /// The box.
    pub device: BoxId,
    /// Where it stands.
    pub head: LaneHead,
}

/// A stored frame.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its place in the chain.
    pub seq: u64,
    /// When it arrived.
    pub received: UtcMicros,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

pub(crate) fn store(connection: &Connection, frame: &Arrived) -> Result<Receipt, DbError> {
    let id = frame.identity;
    let before = lane(connection, id.device, id.lane, id.chain)?;
    let head = before.unwrap_or_else(|| LaneHead::start(id.lane, id.chain));
    let refused = |stored| Ok(Receipt { stored, head });
    if before.is_none() && chains(connection, id)? >= CHAINS_MAX {
        return refused(Stored::TooManyChains);
    }
    if id.seq > head.upto.saturating_add(AHEAD_MAX) {
        return refused(Stored::TooFarAhead);
    }
    let known: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT fingerprint FROM frames
             WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4",
        )
        .and_then(|mut statement| {
            statement
                .query_row(
                    params![id.device.0, id.lane.number(), id.chain.0, to_sql(id.seq)],
                    |row| row.get(0),
                )
                .optional()
        })
        .map_err(during("look for a frame"))?;
    match known {
        Some(fingerprint) if fingerprint == frame.fingerprint => refused(Stored::Duplicate),
        Some(_) => {
            keep_conflict(connection, frame)?;
            refused(Stored::Conflict)
        }
        None => {
            insert(connection, frame)?;
            let head = advance(connection, id.device, head)?;
            put_lane(connection, id.device, &head)?;
            Ok(Receipt {
                stored: Stored::New,
                head,
            })
        }
    }
}

fn chains(connection: &Connection, id: FrameIdentity) -> Result<i64, DbError> {
    connection
        .query_row(
            "SELECT count(*) FROM lanes WHERE box = ?1 AND lane = ?2",
            params![id.device.0, id.lane.number()],
            |row| row.get(0),
        )
        .map_err(during("count the chains of a lane"))
}

fn insert(connection: &Connection, frame: &Arrived) -> Result<(), DbError> {
    let id = frame.identity;
    connection
        .prepare_cached(
            "INSERT INTO frames (box, lane, chain, seq, prev, fingerprint, received_us, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                id.device.0,
                id.lane.number(),
                id.chain.0,
                to_sql(id.seq),
                frame.prev,
                frame.fingerprint,
                frame.at.0,
                frame.bytes.as_ref()
            ])
        })
        .map(|_| ())
        .map_err(during("store a frame"))
}

fn keep_conflict(connection: &Connection, frame: &Arrived) -> Result<(), DbError> {
    let id = frame.identity;
    let kept: i64 = connection
        .query_row(
            "SELECT count(*) FROM conflicts WHERE box = ?1",
            [id.device.0],
            |row| row.get(0),
        )
        .map_err(during("count the conflicts of a box"))?;
    if kept >= CONFLICTS_MAX {
        return Ok(());
    }
    connection
        .execute(
            "INSERT OR IGNORE INTO conflicts
               (box, lane, chain, seq, fingerprint, received_us, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id.device.0,
                id.lane.number(),
                id.chain.0,
                to_sql(id.seq),
                frame.fingerprint,
                frame.at.0,
                frame.bytes.as_ref()
            ],
        )
        .map(|_| ())
        .map_err(during("keep a conflicting frame"))
}

/// Walks from where the lane stands along matching hashes to the first hole.
fn advance(connection: &Connection, device: BoxId, from: LaneHead) -> Result<LaneHead, DbError> {
    let act = "follow a chain";
    let mut head = from;
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, prev, fingerprint FROM frames
             WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 ORDER BY seq",
        )
        .map_err(during(act))?;
    let mut rows = statement
        .query(params![
            device.0,
            head.lane.number(),
            head.chain.0,
            to_sql(head.upto)
        ])
        .map_err(during(act))?;
    while let Some(row) = rows.next().map_err(during(act))? {
        let seq = from_sql(row.get(0).map_err(during(act))?);
        if seq != head.upto.saturating_add(1) {
            break;
        }
        let prev: Vec<u8> = row.get(1).map_err(during(act))?;
        if head.head.is_some_and(|expected| prev != expected) {
            head.broken_at = Some(seq);
            break;
        }
        let fingerprint: Vec<u8> = row.get(2).map_err(during(act))?;
        head.upto = seq;
        head.head = Some(fixed(&fingerprint, "fingerprint")?);
    }
    Ok(head)
}

/// Compares what a box holds with what is stored; answers every lane that it named.
pub(crate) fn compare(
    connection: &Connection,
    hello: &Hello,
    now: UtcMicros,
) -> Result<Vec<LaneHead>, DbError> {
    let mut heads = Vec::new();
    for said in &hello.lanes {
        let known = lane(connection, hello.device, said.lane, said.chain)?;
        let stands = known.unwrap_or_else(|| LaneHead::start(said.lane, said.chain));
        let lost_to = said
            .oldest
            .saturating_sub(1)
            .min(said.next.saturating_sub(1));
        if lost_to <= stands.upto {
            heads.push(stands);
            continue;
        }
        let id = FrameIdentity {
            device: hello.device,
            lane: said.lane,
            chain: said.chain,
            seq: 0,
        };
        if known.is_none() && chains(connection, id)? >= CHAINS_MAX {
            continue;
        }
        heads.push(skip_lost(connection, hello.device, stands, lost_to, now)?);
    }
    Ok(heads)
}

/// The box no longer has the frames up to `lost_to`: notes those that never arrived and goes
/// on after them.
fn skip_lost(
    connection: &Connection,
    device: BoxId,
    stands: LaneHead,
    lost_to: u64,
    now: UtcMicros,
) -> Result<LaneHead, DbError> {
    connection
        .execute(
            "INSERT OR IGNORE INTO missing (box, lane, chain, from_seq, to_seq, noticed_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                device.0,
                stands.lane.number(),
                stands.chain.0,
                to_sql(stands.upto.saturating_add(1)),
                to_sql(lost_to),
                now.0
            ],
        )
        .map_err(during("note missing frames"))?;
    let after = LaneHead {
        upto: lost_to,
        head: None,
        broken_at: None,
        ..stands
    };
    let head = advance(connection, device, after)?;
    put_lane(connection, device, &head)?;
    Ok(head)
}

fn put_lane(connection: &Connection, device: BoxId, head: &LaneHead) -> Result<(), DbError> {
    connection
        .prepare_cached(
            "INSERT INTO lanes (box, lane, chain, upto, head, broken_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (box, lane, chain)
             DO UPDATE SET upto = ?4, head = ?5, broken_at = ?6",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                device.0,
                head.lane.number(),
                head.chain.0,
                to_sql(head.upto),
                head.head,
                head.broken_at.map(to_sql)
            ])
        })
        .map(|_| ())
        .map_err(during("note where a lane stands"))
}

fn lane(
    connection: &Connection,
    device: BoxId,
    lane: Lane,
    chain: ChainId,
) -> Result<Option<LaneHead>, DbError> {
    let found: Option<(i64, Option<Vec<u8>>, Option<i64>)> = connection
        .prepare_cached(
            "SELECT upto, head, broken_at FROM lanes WHERE box = ?1 AND lane = ?2 AND chain = ?3",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![device.0, lane.number(), chain.0], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()
        })
        .map_err(during("read where a lane stands"))?;
    found
        .map(|(upto, head, broken_at)| {
            Ok(LaneHead {
                lane,
                chain,
                upto: from_sql(upto),
                head: head.map(|h| fixed(&h, "lane head")).transpose()?,
                broken_at: broken_at.map(from_sql),
            })
        })
        .transpose()
}

pub(crate) fn head(
    connection: &Connection,
    device: BoxId,
    in_lane: Lane,
    chain: ChainId,
) -> Result<LaneHead, DbError> {
    Ok(
        lane(connection, device, in_lane, chain)?
            .unwrap_or_else(|| LaneHead::start(in_lane, chain)),
    )
}

/// Every lane that is stored.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn lane_rows(connection: &Connection) -> Result<Vec<LaneRow>, DbError> {
    let act = "list the lanes";
    let mut statement = connection
        .prepare_cached("SELECT box, lane, chain, upto, head, broken_at FROM lanes")
        .map_err(during(act))?;
    let mut rows = statement.query([]).map_err(during(act))?;
    let mut lanes = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let device: Vec<u8> = row.get(0).map_err(during(act))?;
        let chain: Vec<u8> = row.get(2).map_err(during(act))?;
        let head: Option<Vec<u8>> = row.get(4).map_err(during(act))?;
        let broken_at: Option<i64> = row.get(5).map_err(during(act))?;
        let lane = Lane::from_number(row.get(1).map_err(during(act))?)
            .ok_or(DbError::Damaged { what: "lane" })?;
        lanes.push(LaneRow {
            device: BoxId(fixed(&device, "box id")?),
            head: LaneHead {
                lane,
                chain: ChainId(fixed(&chain, "chain")?),
                upto: from_sql(row.get(3).map_err(during(act))?),
                head: head.map(|h| fixed(&h, "lane head")).transpose()?,
                broken_at: broken_at.map(from_sql),
            },
        });
    }
    Ok(lanes)
}

/// Stored frames of a lane after one number and up to another, at most `limit`.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn frames_between(
    connection: &Connection,
    row: &LaneRow,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredFrame>, DbError> {
    let act = "read frames";
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, received_us, bytes FROM frames
             WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 AND seq <= ?5
             ORDER BY seq LIMIT ?6",
        )
        .map_err(during(act))?;
    let rows = statement
        .query_map(
            params![
                row.device.0,
                row.head.lane.number(),
                row.head.chain.0,
                to_sql(after),
                to_sql(row.head.upto),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| {
                Ok(StoredFrame {
                    seq: from_sql(row.get(0)?),
                    received: UtcMicros(row.get(1)?),
                    bytes: row.get(2)?,
                })
            },
        )
        .map_err(during(act))?;
    rows.collect::<Result<_, _>>().map_err(during(act))
}

/// Frames of a box that do not fit its chains.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn chain_breaks(connection: &Connection, device: BoxId) -> Result<u32, DbError> {
    connection
        .prepare_cached(
            "SELECT (SELECT count(*) FROM conflicts WHERE box = ?1)
                  + (SELECT count(*) FROM lanes WHERE box = ?1 AND broken_at IS NOT NULL)",
        )
        .and_then(|mut statement| statement.query_row([device.0], |row| row.get(0)))
        .map_err(during("count what does not fit a chain"))
}

pub(crate) fn counts(connection: &Connection) -> Result<InboxCounts, DbError> {
    connection
        .query_row(
            "SELECT (SELECT count(*) FROM frames), (SELECT count(*) FROM conflicts),
                    (SELECT coalesce(sum(to_seq - from_seq + 1), 0) FROM missing),
                    (SELECT count(*) FROM lanes WHERE broken_at IS NOT NULL)",
            [],
            |row| {
                Ok(InboxCounts {
                    frames: from_sql(row.get(0)?),
                    conflicts: from_sql(row.get(1)?),
                    missing: from_sql(row.get(2)?),
                    broken_lanes: from_sql(row.get(3)?),
                })
            },
        )
        .map_err(during("count the inbox"))
}
