//! Opening the file: directory, lock, schema, check.
//!
//! That everything which can be read of it is on the disk is [`cardio_sqlite`]'s concern.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub(crate) use cardio_sqlite::beside;
use cardio_sqlite::{directory, private_file};
use cardio_wire::envelope;
use rusqlite::{Connection, OptionalExtension};

use crate::aside;
use crate::error::OutboxError;
use crate::lanes::Lanes;
use crate::migrate;

/// Files up to this size are read whole when they are opened; of larger ones the edges of
/// each lane are checked, and every frame again when it is sent.
const WHOLE_CHECK_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Makes the directory if there is none, and takes the lock that keeps others out. The lock
/// ends with the process, however it ends.
pub(crate) fn lock(path: &Path) -> Result<File, OutboxError> {
    let directory = directory(path);
    if !directory.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| OutboxError::file("make the directory", directory, source))?;
    }
    let lock = beside(path, ".lock");
    let file =
        private_file(&lock).map_err(|source| OutboxError::file("make the lock", &lock, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(OutboxError::file("take the lock", &lock, source)),
    }
}

/// Opens or makes the database and brings it to the known schema.
pub(crate) fn connect(path: &Path, max_bytes: u64) -> Result<Connection, OutboxError> {
    aside::finish_setting_aside(path)?;
    let mut conn = cardio_sqlite::open(path).map_err(OutboxError::opening)?;
    conn.pragma_update(None, "trusted_schema", false)
        .and_then(|()| set_cap(&conn, max_bytes))
        .map_err(|source| OutboxError::database("set the pragmas", source))?;
    migrate::migrate(&mut conn, path)?;
    Ok(conn)
}

/// Holds the file to a size; a file that is larger already stays as it is.
pub(crate) fn set_cap(conn: &Connection, max_bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / page.max(1);
    conn.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
}

/// What a frame of so many bytes takes in the file: its row in a page of a table, and whole
/// pages for what does not fit (SQLite, Database File Format, section 1.6, "Cell Payload
/// Overflow Pages", for pages of 4096 bytes).
pub(crate) fn row_bytes(frame_bytes: usize) -> u64 {
    const USABLE: u64 = 4096;
    const IN_PAGE_MAX: u64 = USABLE - 35;
    const IN_PAGE_MIN: u64 = (USABLE - 12) * 32 / 255 - 23;
    /// Place, fingerprint, time and the lengths of all.
    const BESIDE_FRAME: u64 = 64;
    let payload = u64::try_from(frame_bytes)
        .unwrap_or(u64::MAX)
        .saturating_add(BESIDE_FRAME);
    if payload <= IN_PAGE_MAX {
        return payload;
    }
    let fitting = IN_PAGE_MIN + (payload - IN_PAGE_MIN) % (USABLE - 4);
    let in_page = if fitting <= IN_PAGE_MAX {
        fitting
    } else {
        IN_PAGE_MIN
    };
    let pages = (payload - in_page).div_ceil(USABLE - 4);
    in_page.saturating_add(pages.saturating_mul(USABLE))
}

/// Bytes in pages that hold something, and in pages that wait to be used again.
pub(crate) fn used_and_spare_bytes(conn: &Connection) -> rusqlite::Result<(u64, u64)> {
    let pragma = |sql| {
        conn.prepare_cached(sql)?
            .query_row([], |row| row.get::<_, i64>(0))
    };
    let (pages, spare, size) = (
        pragma("PRAGMA page_count")?,
        pragma("PRAGMA freelist_count")?,
        pragma("PRAGMA page_size")?,
    );
    let bytes = |pages: i64| u64::try_from(pages.saturating_mul(size)).unwrap_or(0);
    Ok((bytes(pages - spare), bytes(spare)))
}

/// Reads the lanes and refuses what contradicts itself; `None` when the file is new.
pub(crate) fn checked_lanes(conn: &Connection, path: &Path) -> Result<Option<Lanes>, OutboxError> {
    let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    let whole = bytes <= WHOLE_CHECK_MAX_BYTES;
    if whole {
        let failed = |source| OutboxError::database("check the database", source);
        let said: String = conn
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(failed)?;
        if said != "ok" {
            return Err(OutboxError::Damaged { what: said });
        }
    }
    let lanes = Lanes::load(conn)?;
    if let Some(lanes) = &lanes {
        check_edges(conn, lanes)?;
        if whole {
            check_frames(conn, lanes)?;
        }
    }
    Ok(lanes)
}

/// The counters of each lane against the frames that are there.
pub(crate) fn check_edges(conn: &Connection, lanes: &Lanes) -> Result<(), OutboxError> {
    let failed = |source| OutboxError::database("compare lanes and frames", source);
    for row in lanes.iter() {
        let newest = row.place(row.next - 1);
        let (first, last): (Option<i64>, Option<i64>) = conn
            .query_row(
                "SELECT (SELECT min(place) FROM frame WHERE place BETWEEN ?1 AND ?2),
                 (SELECT max(place) FROM frame WHERE place BETWEEN ?1 AND ?2)",
                [row.place(0), row.place(u64::MAX)],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .map_err(failed)?;
        let kept = row.next - row.oldest;
        let range = (kept > 0).then(|| (row.place(row.oldest), newest));
        let head = fingerprint_at(conn, newest)?;
        let fits = first.zip(last) == range && (kept == 0 || head == Some(row.head));
        if !fits {
            let what = format!(
                "the frames of the {} lane do not fit its counters",
                row.lane
            );
            return Err(OutboxError::Damaged { what });
        }
    }
    Ok(())
}

/// The stored fingerprint of a frame, if the frame is there.
pub(crate) fn fingerprint_at(
    conn: &Connection,
    place: i64,
) -> Result<Option<[u8; 32]>, OutboxError> {
    conn.prepare_cached("SELECT fingerprint FROM frame WHERE place = ?1")
        .and_then(|mut statement| statement.query_row([place], |row| row.get(0)).optional())
        .map_err(|source| OutboxError::database("read a fingerprint", source))
}

/// Every frame against its fingerprint, and that none is missing between the edges.
fn check_frames(conn: &Connection, lanes: &Lanes) -> Result<(), OutboxError> {
    let failed = |source| OutboxError::database("check the frames", source);
    let mut statement = conn
        .prepare("SELECT place, fingerprint, bytes FROM frame ORDER BY place")
        .map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let places = lanes
        .iter()
        .flat_map(|row| (row.oldest..row.next).map(|seq| row.place(seq)));
    for expected in places {
        let Some(row) = rows.next().map_err(failed)? else {
            let what = format!("the frame at place {expected} is missing");
            return Err(OutboxError::Damaged { what });
        };
        let place: i64 = row.get(0).map_err(failed)?;
        let fingerprint: [u8; 32] = row.get(1).map_err(failed)?;
        let bytes = row.get_ref(2).map_err(failed)?;
        let bytes = bytes.as_blob().unwrap_or_default();
        if place != expected || envelope::fingerprint(bytes) != fingerprint {
            let what = format!("the frame at place {expected} is not what was stored");
            return Err(OutboxError::Damaged { what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{connect, row_bytes, used_and_spare_bytes};

    #[test]
    fn a_row_takes_what_the_file_grows_by() {
        for frame_bytes in [700, 2_777, 3_990, 5_000, 6_617, 22_745, 60_889] {
            let folder = tempfile::tempdir().unwrap();
            let conn = connect(&folder.path().join("outbox.sqlite"), 1 << 30).unwrap();
            let (before, _) = used_and_spare_bytes(&conn).unwrap();
            let columns: Vec<String> = conn
                .prepare("SELECT name FROM pragma_table_info('frame')")
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            assert_eq!(
                columns[..4],
                ["place", "fingerprint", "stored_utc", "bytes"]
            );
            conn.execute_batch("BEGIN").unwrap();
            for place in 1..=400_i64 {
                conn.execute(
                    "INSERT INTO frame (place, fingerprint, stored_utc, bytes) VALUES (?1, ?2, ?3, ?4)",
                    (place, [7_u8; 32], 1_700_000_000_000_000_i64, vec![5_u8; frame_bytes]),
                )
                .unwrap();
            }
            conn.execute_batch("COMMIT").unwrap();
            let (after, _) = used_and_spare_bytes(&conn).unwrap();
            let (grown, said) = (after - before, row_bytes(frame_bytes) * 400);
            // Pages are not filled to the last byte.
            assert!(
                said <= grown && grown < said * 3 / 2,
                "{frame_bytes}: {said}, {grown}"
            );
        }
    }
}
