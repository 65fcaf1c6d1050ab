//! How long frames stay after they were filed.
//!
//! Only the beginning of a chain is deleted, and only what is filed. The fingerprint of the
//! last deleted frame stays, so that the rest can still be walked from there; a box that sends
//! a deleted frame again is told that it is stored.

use cardio_core::clock::UtcMicros;
use cardio_wire::intake::ChainKey;

use crate::db::{Connection, DbError, values};

/// Frames deleted in one transaction.
const AT_ONCE: u64 = 1_000;

/// Where the beginning of a chain was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last frame that was deleted.
    pub upto: u64,
    /// Its fingerprint.
    pub fingerprint: [u8; 32],
    /// How many frames were deleted.
    pub frames: u64,
}

/// Where the beginning of a chain was deleted, if it was.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn checkpoint(connection: &Connection, key: ChainKey) -> Result<Option<Checkpoint>, DbError> {
    let row = connection.row(
        "read where a chain was cut",
        "SELECT upto, fingerprint, frames FROM checkpoints
         WHERE box = ?1 AND lane = ?2 AND chain = ?3",
        values![key.device, key.lane, key.chain],
    )?;
    row.map(|mut row| {
        Ok(Checkpoint {
            upto: row.take(0)?,
            fingerprint: row.take(1)?,
            frames: row.take(2)?,
        })
    })
    .transpose()
}

/// Deletes from the beginning of a chain what is filed and came before `before`.
pub(super) fn delete(
    connection: &Connection,
    key: ChainKey,
    filed: u64,
    before: UtcMicros,
) -> Result<u64, DbError> {
    super::aside::delete(connection, key, before)?;
    let rows = connection.rows(
        "find frames that may be deleted",
        "SELECT seq, fingerprint, received_us FROM frames
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq <= ?4 ORDER BY seq LIMIT ?5",
        values![key.device, key.lane, key.chain, filed, AT_ONCE],
    )?;
    let waits: Option<u64> = connection
        .cell(
            "look for late frames",
            "SELECT min(seq) FROM late WHERE box = ?1 AND lane = ?2 AND chain = ?3",
            values![key.device, key.lane, key.chain],
        )?
        .flatten();
    let (mut deleted, mut last) = (0_u64, None);
    for mut row in rows {
        let seq: u64 = row.take(0)?;
        let received: UtcMicros = row.take(2)?;
        if received >= before || waits.is_some_and(|waits| waits <= seq) {
            break;
        }
        let fingerprint: [u8; 32] = row.take(1)?;
        last = Some((seq, fingerprint));
        deleted += 1;
    }
    let Some((upto, fingerprint)) = last else {
        return Ok(0);
    };
    connection.execute(
        "note where a chain is cut",
        "INSERT INTO checkpoints (box, lane, chain, upto, fingerprint, frames)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (box, lane, chain) DO UPDATE
         SET upto = excluded.upto, fingerprint = excluded.fingerprint,
             frames = checkpoints.frames + excluded.frames",
        values![key.device, key.lane, key.chain, upto, fingerprint, deleted],
    )?;
    connection.execute(
        "delete filed frames",
        "DELETE FROM frames WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq <= ?4",
        values![key.device, key.lane, key.chain, upto],
    )
}
