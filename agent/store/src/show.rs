//! Reading an outbox without opening it for writing: for `outbox show`, also while the agent
//! runs, and for `outbox verify`. Headers only; nothing here can open a frame.

use std::path::Path;

use cardio_core::clock::UtcMicros;
use cardio_wire::chain::ChainWalk;
use cardio_wire::envelope::{self, FrameHeader};
use cardio_wire::keys::VerifyingKey;
use cardio_wire::lane::{ChainId, Lane};
use rusqlite::{Connection, OpenFlags};

use crate::carry::{AsideSummary, Carrying};
use crate::error::OutboxError;
use crate::lanes::{LaneRow, Lanes, lane_and_seq};
use crate::migrate::known_version;

/// How many rows are read at a time.
const PAGE: i64 = 256;

/// One stored frame, as far as it can be read without a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// What the frame says in the clear.
    pub header: FrameHeader,
    /// SHA-256 of the frame.
    pub fingerprint: [u8; 32],
    /// Its size.
    pub bytes: usize,
    /// The box's wall clock when it was stored.
    pub stored_utc: UtcMicros,
    /// Whether the gateway acknowledged it.
    pub acked: bool,
}

/// Rows of an outbox, lane by lane in order.
pub struct OutboxRows {
    conn: Connection,
    lanes: Option<Lanes>,
    page: std::vec::IntoIter<OutboxRow>,
    last: i64,
    done: bool,
}

/// Opens an outbox for reading.
///
/// # Errors
/// [`OutboxError`] when it is not there, is no outbox, or a later version made it.
pub fn rows_read_only(path: &Path) -> Result<OutboxRows, OutboxError> {
    let (conn, lanes) = open_read_only(path)?;
    Ok(OutboxRows {
        conn,
        lanes,
        page: Vec::new().into_iter(),
        last: i64::MIN,
        done: false,
    })
}

/// What became of the files beside an outbox that were set aside.
///
/// # Errors
/// As [`rows_read_only`], and when the directory cannot be read.
pub fn aside_read_only(path: &Path) -> Result<AsideSummary, OutboxError> {
    let (conn, _) = open_read_only(path)?;
    Carrying::load(&conn, path).map(|carrying| carrying.summary())
}

fn open_read_only(path: &Path) -> Result<(Connection, Option<Lanes>), OutboxError> {
    let failed = |source| OutboxError::database("open for reading", source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    let found: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let known = known_version();
    if found > known {
        let path = path.to_owned();
        return Err(OutboxError::Newer { path, found, known });
    }
    let lanes = Lanes::load(&conn)?;
    Ok((conn, lanes))
}

/// What a walk through one lane showed. Without a fault: every frame that is kept is signed by
/// this box, stands in its place, names the one before it and has the fingerprint that is
/// stored with it; the last one, and the last acknowledged one, are those that the lane's
/// counters name.
#[derive(Clone, Debug)]
pub struct LaneProof {
    /// Which lane.
    pub lane: Lane,
    /// The life of its database.
    pub chain: ChainId,
    /// The oldest frame that is kept; `next` when none is.
    pub oldest: u64,
    /// The place of the next frame to be made.
    pub next: u64,
    /// Fingerprint of the newest frame ever made in the chain; 32 zero bytes for none.
    pub head: [u8; 32],
    /// Everything up to here is acknowledged.
    pub acked: u64,
    /// How many frames were found in order.
    pub frames: u64,
    /// Where the walk ended early, and why.
    pub fault: Option<OutboxError>,
}

/// Walks every lane of an outbox and checks every frame that is kept. One damaged lane does
/// not hide the others.
///
/// # Errors
/// As [`rows_read_only`]. What is wrong with a lane is its [`LaneProof::fault`].
pub fn verify_read_only(path: &Path, key: &VerifyingKey) -> Result<Vec<LaneProof>, OutboxError> {
    let (mut conn, _) = open_read_only(path)?;
    // one snapshot, so that an agent that goes on storing does not move the counters
    let snapshot = conn.transaction().map_err(unreadable)?;
    let lanes = Lanes::load(&snapshot)?;
    let rows = lanes.iter().flat_map(Lanes::iter);
    Ok(rows.map(|row| proof(&snapshot, row, key)).collect())
}

fn unreadable(source: rusqlite::Error) -> OutboxError {
    OutboxError::database("read the frames", source)
}

fn proof(conn: &Connection, row: &LaneRow, key: &VerifyingKey) -> LaneProof {
    let mut walk = ChainWalk::new(*key);
    let fault = walk_lane(conn, row, &mut walk).err();
    LaneProof {
        lane: row.lane,
        chain: row.chain,
        oldest: row.oldest,
        next: row.next,
        head: row.head,
        acked: row.acked,
        frames: walk.frames(),
        fault,
    }
}

fn walk_lane(conn: &Connection, row: &LaneRow, walk: &mut ChainWalk) -> Result<(), OutboxError> {
    let lane = row.lane;
    let misfit = |what: String| OutboxError::Damaged { what };
    let mut frames = conn
        .prepare_cached(
            "SELECT fingerprint, bytes FROM frame WHERE place BETWEEN ?1 AND ?2 ORDER BY place",
        )
        .map_err(unreadable)?;
    let mut found = frames
        .query([row.place(0), row.place(u64::MAX)])
        .map_err(unreadable)?;
    while let Some(frame) = found.next().map_err(unreadable)? {
        let seq = row.oldest.saturating_add(walk.frames());
        let fingerprint: [u8; 32] = frame.get(0).map_err(unreadable)?;
        let bytes = frame.get_ref(1).map_err(unreadable)?;
        let header = walk
            .step(bytes.as_blob().unwrap_or_default())
            .map_err(|source| OutboxError::Chain { lane, seq, source })?;
        let head = walk.last().map(|(_, head)| *head);
        if (header.lane, header.chain, header.seq) != (lane, row.chain, seq) {
            let found = header.identity();
            return Err(misfit(format!(
                "{found} stands at place {seq} of the {lane} lane"
            )));
        }
        if head != Some(fingerprint) || (seq == row.acked && head != Some(row.acked_head)) {
            let what =
                format!("frame {seq} of the {lane} lane has another fingerprint than stored");
            return Err(misfit(what));
        }
    }
    let kept = walk.frames() == row.next.saturating_sub(row.oldest);
    let ends = walk.last().is_none_or(|(_, head)| *head == row.head);
    if kept && ends {
        Ok(())
    } else {
        let (frames, next) = (walk.frames(), row.next);
        Err(misfit(format!(
            "the {lane} lane has {frames} frame(s) from {} on, and its counters say that frame \
             {next} comes next",
            row.oldest
        )))
    }
}

impl OutboxRows {
    fn next_page(&self) -> Result<(Vec<OutboxRow>, i64), OutboxError> {
        let failed = |source| OutboxError::database("read the frames", source);
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT place, fingerprint, stored_utc, bytes FROM frame
                 WHERE place > ?1 ORDER BY place LIMIT ?2",
            )
            .map_err(failed)?;
        let mut rows = statement.query([self.last, PAGE]).map_err(failed)?;
        let (mut page, mut last) = (Vec::new(), self.last);
        while let Some(row) = rows.next().map_err(failed)? {
            last = row.get(0).map_err(failed)?;
            let bytes: Vec<u8> = row.get(3).map_err(failed)?;
            let header = envelope::peek(&bytes).map_err(|err| OutboxError::Damaged {
                what: format!("the frame at place {last} is none: {}", err.code()),
            })?;
            let acked = self
                .lanes
                .as_ref()
                .zip(lane_and_seq(last))
                .is_some_and(|(lanes, (lane, seq))| seq <= lanes.get(lane).acked);
            page.push(OutboxRow {
                header,
                fingerprint: row.get(1).map_err(failed)?,
                bytes: bytes.len(),
                stored_utc: UtcMicros(row.get(2).map_err(failed)?),
                acked,
            });
        }
        Ok((page, last))
    }
}

impl Iterator for OutboxRows {
    type Item = Result<OutboxRow, OutboxError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(Ok(row));
            }
            if self.done {
                return None;
            }
            match self.next_page() {
                Ok((page, last)) => {
                    self.done = page.is_empty();
                    self.last = last;
                    self.page = page.into_iter();
                }
                Err(err) => {
                    self.done = true;
                    return Some(Err(err));
                }
            }
        }
    }
}
