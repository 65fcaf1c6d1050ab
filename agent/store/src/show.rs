//! Reading an outbox without opening it for writing: for `outbox show`, also while the agent
//! runs. Headers only; nothing here can open a frame.

use std::path::Path;

use cardio_core::clock::UtcMicros;
use cardio_wire::envelope::{self, FrameHeader};
use rusqlite::{Connection, OpenFlags};

use crate::error::OutboxError;
use crate::lanes::{Lanes, lane_and_seq};
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
    Ok(OutboxRows {
        conn,
        lanes,
        page: Vec::new().into_iter(),
        last: i64::MIN,
        done: false,
    })
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
