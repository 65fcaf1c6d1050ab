//! Frames, where each lane stands, and what is missing.

use std::collections::BTreeMap;

use bytes::Bytes;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_wire::intake::{
    self, Arrival, ChainKey, Greeting, Holdings as _, LaneHead, NamedGap, Receipt,
};
use cardio_wire::lane::FrameIdentity;
use cardio_wire::message::{Hello, LaneState};
use cardio_wire::record::LaneGapV1;

use super::InboxCounts;
use super::held::Held;
use crate::db::{Connection, DbError, Row, values};

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
    pub bytes: Bytes,
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

impl LaneRow {
    /// Its chain.
    pub const fn key(&self) -> ChainKey {
        ChainKey {
            device: self.device,
            lane: self.head.lane,
            chain: self.head.chain,
        }
    }

    /// The last frame before the first hole.
    pub const fn last_frame(&self) -> FrameIdentity {
        self.key().frame(self.head.upto)
    }
}

/// A stored frame.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its place in the chain.
    pub seq: u64,
    /// When it arrived.
    pub received: UtcMicros,
    /// Whether it came in a frame of a newer chain.
    pub carried: bool,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// A gap record that was opened, and the frame that held it.
#[derive(Clone, Debug)]
pub struct ToldGap {
    /// The frame that held it.
    pub told_by: FrameIdentity,
    /// What it says.
    pub gap: LaneGapV1,
}

impl Arrived {
    fn arrival(&self) -> Arrival<'_> {
        Arrival {
            identity: self.identity,
            prev: self.prev,
            fingerprint: self.fingerprint,
            frame: &self.bytes,
        }
    }
}

pub(super) fn store(connection: &Connection, frame: &Arrived) -> Result<Receipt, DbError> {
    let mut held = Held::new(connection, frame.at);
    intake::take(&mut held, &frame.arrival())
}

/// Stores a frame that came in a frame of a newer chain.
pub(super) fn store_carried(connection: &Connection, frame: &Arrived) -> Result<Receipt, DbError> {
    let mut held = Held {
        carried: true,
        ..Held::new(connection, frame.at)
    };
    intake::take_carried(&mut held, &frame.arrival())
}

/// Compares what a box holds with what is stored; answers for every lane that it named.
pub(super) fn compare(
    connection: &Connection,
    hello: &Hello,
    at: UtcMicros,
) -> Result<Vec<Greeting>, DbError> {
    let mut greetings = Vec::new();
    for said in &hello.lanes {
        let mut held = Held::new(connection, at);
        let Some(greeting) = intake::greet(&mut held, hello.device, said)? else {
            continue;
        };
        if greeting.forked {
            connection.execute(
                "note a forked chain",
                "INSERT INTO forks (box, lane, chain, noticed_us) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
                values![hello.device, said.lane, said.chain, at],
            )?;
        }
        greetings.push((said, greeting));
    }
    let unnamed = unnamed(connection, Some(hello.device))?;
    let ask = |(said, greeting): (&LaneState, Greeting)| Greeting {
        resend_from: ask_from(hello.device, said, &greeting, &unnamed),
        ..greeting
    };
    Ok(greetings.into_iter().map(ask).collect())
}

/// From where a box must send again: also what it no longer has and what no signed gap record
/// names, so that it names it. Asked at every hello until it has.
fn ask_from(
    device: BoxId,
    said: &LaneState,
    greeting: &Greeting,
    unnamed: &Stretches,
) -> Option<u64> {
    let key = ChainKey {
        device,
        lane: said.lane,
        chain: said.chain,
    };
    let first = unnamed.get(&key).and_then(|stretches| stretches.first());
    let gone = first
        .map(|(from, _)| *from)
        .filter(|from| *from < said.oldest && !greeting.head.ended);
    greeting.resend_from.into_iter().chain(gone).min()
}

/// Takes a signed gap record at its word. Doing it again changes nothing.
pub(super) fn name_gap(
    connection: &Connection,
    told: &ToldGap,
    at: UtcMicros,
) -> Result<(), DbError> {
    let (by, gap) = (&told.told_by, &told.gap);
    connection.execute(
        "note a gap record",
        "INSERT INTO gaps (box, told_lane, told_chain, told_seq, lane, chain, from_seq, to_seq,
                           records, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        values![
            by.device,
            by.lane,
            by.chain,
            by.seq,
            gap.lane,
            gap.chain,
            gap.from_seq,
            gap.to_seq,
            gap.records.min(intake::SEQ_MAX),
            gap.reason
        ],
    )?;
    let key = ChainKey {
        device: by.device,
        lane: gap.lane,
        chain: gap.chain,
    };
    let mut held = Held::new(connection, at);
    let named = NamedGap {
        from_seq: gap.from_seq,
        to_seq: gap.to_seq,
        ends_chain: gap.ends_chain(),
    };
    // Of a chain that nobody has heard of only its own frames can be told to be missing.
    if held.head(key)?.is_none() && (gap.to_seq < gap.from_seq || gap.to_seq > intake::SEQ_MAX) {
        return Ok(());
    }
    intake::name_gap(&mut held, key, &named)
}

pub(super) fn head(connection: &Connection, key: ChainKey) -> Result<LaneHead, DbError> {
    let head = Held::new(connection, UtcMicros(0)).head(key)?;
    Ok(head.unwrap_or_else(|| LaneHead::start(key.lane, key.chain)))
}

/// Every lane that is stored.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn lane_rows(connection: &Connection) -> Result<Vec<LaneRow>, DbError> {
    let rows = connection.rows(
        "list the lanes",
        "SELECT box, lane, chain, upto, head, broken_at, ended FROM lanes
         ORDER BY lane, box, chain",
        values![],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(LaneRow {
                device: row.take(0)?,
                head: LaneHead {
                    lane: row.take(1)?,
                    chain: row.take(2)?,
                    upto: row.take(3)?,
                    head: row.take(4)?,
                    broken_at: row.take(5)?,
                    ended: row.take(6)?,
                },
            })
        })
        .collect()
}

/// Stored frames of a lane after one number and up to where the lane stands, at most `limit`.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn frames_between(
    connection: &Connection,
    row: &LaneRow,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredFrame>, DbError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let rows = connection.rows(
        "read frames",
        "SELECT seq, received_us, carried, bytes FROM frames
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 AND seq <= ?5
         ORDER BY seq LIMIT ?6",
        values![
            row.device,
            row.head.lane,
            row.head.chain,
            after,
            row.head.upto,
            limit
        ],
    )?;
    rows.into_iter().map(read_frame).collect()
}

/// When the next stored frame of a lane after a number arrived, if there is one.
pub(crate) fn arrived_after(
    connection: &Connection,
    row: &LaneRow,
    after: u64,
) -> Result<Option<UtcMicros>, DbError> {
    connection.cell(
        "look how long frames wait",
        "SELECT received_us FROM frames
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 AND seq <= ?5
         ORDER BY seq LIMIT 1",
        values![
            row.device,
            row.head.lane,
            row.head.chain,
            after,
            row.head.upto
        ],
    )
}

fn read_frame(mut row: Row) -> Result<StoredFrame, DbError> {
    Ok(StoredFrame {
        seq: row.take(0)?,
        received: row.take(1)?,
        carried: row.take(2)?,
        bytes: row.take(3)?,
    })
}

/// Frames that came late and may not be filed yet, each as the lane that ends with it.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn late_frames(connection: &Connection, limit: u64) -> Result<Vec<LaneRow>, DbError> {
    let rows = connection.rows(
        "list late frames",
        "SELECT box, lane, chain, seq FROM late ORDER BY lane, box, chain, seq LIMIT ?1",
        values![limit],
    )?;
    rows.into_iter().map(lane_ending_with).collect()
}

/// A frame as the lane that ends with it, from a row of box, lane, chain and number.
pub(crate) fn lane_ending_with(mut row: Row) -> Result<LaneRow, DbError> {
    Ok(LaneRow {
        device: row.take(0)?,
        head: LaneHead {
            lane: row.take(1)?,
            chain: row.take(2)?,
            upto: row.take(3)?,
            head: None,
            broken_at: None,
            ended: false,
        },
    })
}

/// Forgets that a frame came late: it is filed.
pub(super) fn no_longer_late(connection: &Connection, id: &FrameIdentity) -> Result<(), DbError> {
    connection
        .execute(
            "forget a late frame",
            "DELETE FROM late WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4",
            values![id.device, id.lane, id.chain, id.seq],
        )
        .map(|_| ())
}

/// How much does not fit the chains of a box and waits to be mended: frames missing that no
/// signed gap record names, conflicts that are not filed, and chains that are broken or forked
/// and have not ended.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn chain_breaks(connection: &Connection, device: BoxId) -> Result<u32, DbError> {
    let breaks: Option<u32> = connection.cell(
        "count what does not fit a chain",
        "SELECT (SELECT count(*) FROM conflicts WHERE box = ?1 AND filed = 0)
              + (SELECT count(*) FROM forks f JOIN lanes l
                   ON l.box = f.box AND l.lane = f.lane AND l.chain = f.chain
                 WHERE f.box = ?1 AND l.ended = 0)
              + (SELECT count(*) FROM lanes
                 WHERE box = ?1 AND broken_at IS NOT NULL AND ended = 0)",
        values![device],
    )?;
    let unnamed = frames_in(&unnamed(connection, Some(device))?);
    let unnamed = u32::try_from(unnamed).unwrap_or(u32::MAX);
    Ok(breaks.unwrap_or(0).saturating_add(unnamed))
}

/// First and last frame of each stretch, by chain.
type Stretches = BTreeMap<ChainKey, Vec<(u64, u64)>>;

/// Missing frames that no signed gap record names, of one box or of all.
fn unnamed(connection: &Connection, device: Option<BoxId>) -> Result<Stretches, DbError> {
    let act = "compare what is missing with what is named";
    let read = |table: &str| -> Result<Stretches, DbError> {
        let sql = format!(
            "SELECT box, lane, chain, from_seq, to_seq FROM {table}
             WHERE CAST(?1 AS INTEGER) = 1 OR box = ?2"
        );
        let all = device.is_none();
        let mut stretches = Stretches::new();
        for mut row in connection.rows(act, &sql, values![all, device.unwrap_or(BoxId([0; 16]))])? {
            let (key, stretch) = read_stretch(&mut row)?;
            stretches.entry(key).or_default().push(stretch);
        }
        Ok(stretches)
    };
    let (missing, named) = (read("missing")?, read("gaps")?);
    let none = Vec::new();
    let left = missing.into_iter().map(|(key, missing)| {
        let named = named.get(&key).unwrap_or(&none);
        (key, intake::unnamed(&missing, named))
    });
    Ok(left.collect())
}

fn frames_in(stretches: &Stretches) -> u64 {
    let of = |(from, to): &(u64, u64)| to.saturating_sub(*from).saturating_add(1);
    let all = stretches.values().flatten();
    all.map(of).fold(0, u64::saturating_add)
}

fn read_stretch(row: &mut Row) -> Result<(ChainKey, (u64, u64)), DbError> {
    Ok((row.take_chain()?, (row.take(3)?, row.take(4)?)))
}

pub(super) fn counts(connection: &Connection) -> Result<InboxCounts, DbError> {
    let act = "count the inbox";
    let row = connection.row(
        act,
        "SELECT (SELECT count(*) FROM frames),
                (SELECT count(*) FROM conflicts WHERE filed = 0),
                (SELECT CAST(coalesce(sum(to_seq - from_seq + 1), 0) AS BIGINT) FROM missing),
                (SELECT count(*) FROM lanes WHERE broken_at IS NOT NULL AND ended = 0),
                (SELECT count(*) FROM forks f JOIN lanes l
                   ON l.box = f.box AND l.lane = f.lane AND l.chain = f.chain WHERE l.ended = 0),
                (SELECT CAST(coalesce(sum(records), 0) AS BIGINT) FROM gaps
                 WHERE to_seq < from_seq),
                (SELECT CAST(coalesce(sum(frames), 0) AS BIGINT) FROM checkpoints),
                (SELECT count(*) FROM conflicts WHERE filed = 1),
                (SELECT count(*) FROM frames WHERE carried = 1)
                + (SELECT count(*) FROM conflicts WHERE carried = 1),
                (SELECT count(*) FROM lanes l WHERE ended = 1 AND (broken_at IS NOT NULL
                   OR EXISTS (SELECT 1 FROM forks f
                     WHERE l.box = f.box AND l.lane = f.lane AND l.chain = f.chain)))",
        values![],
    )?;
    let mut row = row.ok_or(DbError::Damaged { what: act })?;
    let missing: u64 = row.take(2)?;
    let unnamed = frames_in(&unnamed(connection, None)?);
    Ok(InboxCounts {
        frames: row.take(0)?,
        conflicts: row.take(1)?,
        missing,
        named_in_gaps: missing.saturating_sub(unnamed),
        refused: row.take(5)?,
        broken_lanes: row.take(3)?,
        forked_lanes: row.take(4)?,
        deleted: row.take(6)?,
        conflicts_filed: row.take(7)?,
        carried: row.take(8)?,
        forks_ended: row.take(9)?,
    })
}
