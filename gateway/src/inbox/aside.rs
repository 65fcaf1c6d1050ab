//! Frames that conflict with stored ones: another frame claims their place. They are signed by
//! the same box, so they are filed beside what is stored there.

use cardio_core::clock::UtcMicros;
use cardio_wire::intake::ChainKey;
use cardio_wire::lane::FrameIdentity;

use super::frames::StoredFrame;
use crate::db::{Connection, DbError, values};

/// The program, as it is noted with what it tried.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// A frame that conflicts with a stored one.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// Its chain.
    pub key: ChainKey,
    /// The frame.
    pub frame: StoredFrame,
}

/// What filing made of a frame that conflicts with a stored one.
#[derive(Clone, Copy, Debug)]
pub struct TriedConflict {
    /// The place that it claims.
    pub identity: FrameIdentity,
    /// Its fingerprint.
    pub fingerprint: [u8; 32],
    /// Whether it is filed; if not, the next start tries again.
    pub filed: bool,
}

/// Conflicting frames that are not filed and that this program has not tried, at most `limit`.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn conflicts_to_file(connection: &Connection, limit: u64) -> Result<Vec<Conflict>, DbError> {
    let rows = connection.rows(
        "list conflicting frames",
        "SELECT box, lane, chain, seq, received_us, carried, bytes FROM conflicts
         WHERE filed = 0 AND coalesce(tried, '') <> ?1
         ORDER BY lane, box, chain, seq, fingerprint LIMIT ?2",
        values![PROGRAM, limit],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Conflict {
                key: row.take_chain()?,
                frame: StoredFrame {
                    seq: row.take(3)?,
                    received: row.take(4)?,
                    carried: row.take(5)?,
                    bytes: row.take(6)?,
                },
            })
        })
        .collect()
}

/// Lets this start try what no start before could file: its program or its keys may be others.
pub(super) fn try_again(connection: &Connection) -> Result<(), DbError> {
    connection
        .execute(
            "try conflicting frames again",
            "UPDATE conflicts SET tried = NULL WHERE filed = 0",
            values![],
        )
        .map(|_| ())
}

/// Notes what became of one.
pub(super) fn note(connection: &Connection, tried: &TriedConflict) -> Result<(), DbError> {
    let id = tried.identity;
    connection
        .execute(
            "note what became of a conflicting frame",
            "UPDATE conflicts SET filed = ?6, tried = ?7
             WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4 AND fingerprint = ?5",
            values![
                id.device,
                id.lane,
                id.chain,
                id.seq,
                tried.fingerprint,
                tried.filed,
                PROGRAM
            ],
        )
        .map(|_| ())
}

/// Deletes conflicting frames of a chain that are filed and came before `before`.
pub(super) fn delete(
    connection: &Connection,
    key: ChainKey,
    before: UtcMicros,
) -> Result<u64, DbError> {
    connection.execute(
        "delete filed conflicts",
        "DELETE FROM conflicts
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND filed = 1 AND received_us < ?4",
        values![key.device, key.lane, key.chain, before],
    )
}
