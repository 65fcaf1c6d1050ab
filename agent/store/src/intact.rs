//! Reading what is intact of a file that was set aside.
//!
//! A frame is intact when its own signature says so and it stands in its place. Pages that the
//! database cannot read are stepped over: the next place that can be read is searched for.
//! Changes nothing.

use std::path::Path;

use cardio_core::ids::BoxId;
use cardio_wire::envelope;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::lane::{ChainId, Lane};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

use crate::error::OutboxError;
use crate::lanes::{Lanes, lane_and_seq, place};

/// Frames, and bytes of frames, that are read at once.
const FRAMES_AT_ONCE: usize = 16;
const BYTES_AT_ONCE: usize = 256 * 1024;
/// Rows that are looked at at once, intact or not.
const ROWS_AT_ONCE: usize = 256;

/// Whose frames are wanted, and of which chain.
pub(crate) struct Wanted<'a> {
    pub(crate) device: BoxId,
    pub(crate) key: VerifyingKey,
    pub(crate) lane: Lane,
    /// The file's chain of the lane, if it could be read.
    pub(crate) chain: Option<ChainId>,
    /// The last place of the lane.
    pub(crate) end: u64,
    /// Chains whose files are there still: what a frame carries of them is carried from there.
    pub(crate) elsewhere: &'a [ChainId],
}

/// One intact frame.
#[derive(Debug)]
pub(crate) struct Intact {
    pub(crate) chain: ChainId,
    pub(crate) bytes: Vec<u8>,
}

/// What was read of a lane from a place on.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) frames: Vec<Intact>,
    /// Frames that are not intact.
    pub(crate) passed: u64,
    /// Frames that were found, intact or not.
    pub(crate) looked_at: u64,
    /// The last place that was looked at.
    pub(crate) upto: u64,
    /// Nothing is left behind it.
    pub(crate) done: bool,
}

impl Piece {
    /// Nothing can be read after a place.
    pub(crate) fn nothing_after(upto: u64) -> Self {
        Self {
            upto,
            done: true,
            ..Self::default()
        }
    }
}

/// Opens a file for reading.
pub(crate) fn open(file: &Path) -> Result<Connection, OutboxError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags).map_err(failed)
}

fn failed(source: rusqlite::Error) -> OutboxError {
    OutboxError::database("read a file that was set aside", source)
}

/// The lanes of a file, if they can be read.
pub(crate) fn lanes(conn: &Connection) -> Option<Lanes> {
    Lanes::load(conn).ok().flatten()
}

/// How many frames a lane has after a place, if that can be counted.
pub(crate) fn count(conn: &Connection, lane: Lane, after: u64) -> Option<u64> {
    let sql = "SELECT count(*) FROM frame WHERE place > ?1 AND place <= ?2";
    let range = [place(lane, after), place(lane, u64::MAX)];
    let count = conn.query_row(sql, range, |row| row.get::<_, i64>(0));
    count.ok().and_then(|count| u64::try_from(count).ok())
}

/// Reads the next frames of a lane after a place. What the database says is damage is stepped
/// over; without patience so is everything else that it says.
///
/// # Errors
/// What the database says that may pass.
pub(crate) fn read(
    conn: &Connection,
    wanted: &Wanted<'_>,
    after: u64,
    patient: bool,
) -> Result<Piece, OutboxError> {
    let mut piece = Piece {
        upto: after,
        ..Piece::default()
    };
    let mut bytes = 0;
    for _ in 0..ROWS_AT_ONCE {
        if piece.frames.len() >= FRAMES_AT_ONCE || bytes >= BYTES_AT_ONCE {
            return Ok(piece);
        }
        let Some((seq, found)) = next(conn, wanted, piece.upto, patient)? else {
            piece.done = true;
            if wanted.chain.is_some() {
                piece.passed += wanted.end.saturating_sub(piece.upto);
            }
            return Ok(piece);
        };
        piece.looked_at += 1;
        // of a lane whose counters are known no number is left out
        if wanted.chain.is_some() {
            piece.passed += seq.saturating_sub(piece.upto).saturating_sub(1);
        }
        piece.upto = seq;
        match found {
            Found::Intact(frame) => {
                bytes += frame.bytes.len();
                piece.frames.push(frame);
            }
            Found::Elsewhere => {}
            Found::Damaged => piece.passed += 1,
        }
    }
    Ok(piece)
}

/// What stands at a place.
enum Found {
    Intact(Intact),
    /// It carries a frame that is carried from where that stands itself.
    Elsewhere,
    Damaged,
}

impl Found {
    fn of(row: &Row<'_>, wanted: &Wanted<'_>, seq: u64) -> Self {
        let Ok(bytes) = row.get::<_, Vec<u8>>("bytes") else {
            return Self::Damaged;
        };
        // a file that an older version made has no such column
        let carries = row.get::<_, Option<[u8; 8]>>("carries").ok().flatten();
        if carries.is_some_and(|chain| wanted.elsewhere.contains(&ChainId(chain))) {
            return Self::Elsewhere;
        }
        let Ok(verified) = envelope::verify(&bytes, &wanted.key) else {
            return Self::Damaged;
        };
        let header = verified.header;
        let stands = (header.device, header.lane, header.seq) == (wanted.device, wanted.lane, seq)
            && wanted.chain.is_none_or(|chain| chain == header.chain);
        match stands {
            true => Self::Intact(Intact {
                chain: header.chain,
                bytes,
            }),
            false => Self::Damaged,
        }
    }
}

/// What stands at the next place after one that can be read, and which place that is.
fn next(
    conn: &Connection,
    wanted: &Wanted<'_>,
    after: u64,
    patient: bool,
) -> Result<Option<(u64, Found)>, OutboxError> {
    let found = conn
        .prepare_cached(
            "SELECT * FROM frame WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT 1",
        )
        .and_then(|mut rows| {
            let range = [place(wanted.lane, after), place(wanted.lane, wanted.end)];
            let read = |row: &Row<'_>| {
                let seq = lane_and_seq(row.get("place")?).map_or(after + 1, |(_, seq)| seq);
                Ok((seq, Found::of(row, wanted, seq)))
            };
            rows.query_row(range, read).optional()
        });
    match found {
        Ok(found) => Ok(found),
        Err(err) if !patient || !may_pass(&err) => {
            let readable = next_readable(conn, wanted, after);
            // the place before it is the last that cannot be read
            let last = readable
                .map(|seq| seq.saturating_sub(1))
                .filter(|seq| *seq > after);
            Ok(last.map(|seq| (seq, Found::Damaged)))
        }
        Err(err) => Err(failed(err)),
    }
}

/// The first place after an unreadable one from which something can be read again.
fn next_readable(conn: &Connection, wanted: &Wanted<'_>, after: u64) -> Option<u64> {
    let probe = |seq: u64| -> Option<Option<u64>> {
        let sql = "SELECT place FROM frame WHERE place >= ?1 AND place <= ?2
                   AND length(bytes) > 0 ORDER BY place LIMIT 1";
        let range = [place(wanted.lane, seq), place(wanted.lane, wanted.end)];
        let found = conn.query_row(sql, range, |row| row.get(0)).optional();
        found
            .ok()
            .map(|found| found.and_then(lane_and_seq).map(|(_, seq)| seq))
    };
    let (mut bad, mut step) = (after.saturating_add(1), 1_u64);
    let (mut good, mut found) = loop {
        let seq = after.saturating_add(step).saturating_add(1);
        if seq > wanted.end {
            return None;
        }
        match probe(seq) {
            Some(None) => return None,
            Some(Some(found)) => break (seq, found),
            None => (bad, step) = (seq, step.saturating_mul(2)),
        }
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        match probe(middle) {
            Some(Some(nearer)) => (good, found) = (middle, nearer),
            Some(None) | None => bad = middle,
        }
    }
    Some(found)
}

/// Whether the same may be read later.
fn may_pass(err: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, OutOfMemory, SystemIoFailure,
    };
    matches!(
        err.sqlite_error_code(),
        Some(CannotOpen | DatabaseBusy | DatabaseLocked | OutOfMemory | SystemIoFailure)
    )
}
