//! Keeps records as they were before they were sealed. Only the rig of the stolen box builds
//! this, to prove that it would find them. Deliberately absent: any way to switch it on in a
//! program that is built without the feature.

#[cfg(not(debug_assertions))]
compile_error!("the feature `unsealed` of cardio-store is for the rig of the stolen box only");

use rusqlite::Connection;

use crate::error::OutboxError;
use crate::sealing::EncodedRecord;

/// Keeps a record unsealed.
pub(crate) fn keep(conn: &Connection, record: &EncodedRecord) -> Result<(), OutboxError> {
    conn.execute_batch("CREATE TABLE IF NOT EXISTS unsealed (bytes BLOB NOT NULL)")
        .and_then(|()| {
            conn.execute(
                "INSERT INTO unsealed (bytes) VALUES (?1)",
                [record.plaintext.as_slice()],
            )
        })
        .map(drop)
        .map_err(|source| OutboxError::database("keep a record unsealed", source))
}
