//! Schema versions and the steps between them.
//!
//! `PRAGMA user_version` is the number of steps that were taken. A step only adds; the way
//! down is to drain the outbox with the version that made it, then install the older one:
//! frames are the same in every version.

use rusqlite::Connection;

use crate::error::OutboxError;

/// Marks a file as an outbox (`PRAGMA application_id`): "ECGO".
const APPLICATION_ID: i64 = 0x4543_474F;

/// Step n takes a file from version n to version n + 1.
const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// The version that this program works with.
pub(crate) fn known_version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Brings a file to the known version.
pub(crate) fn migrate(conn: &mut Connection, path: &std::path::Path) -> Result<(), OutboxError> {
    let failed = |source| OutboxError::database("bring the schema up to date", source);
    let found: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let known = known_version();
    if found > known {
        let path = path.to_owned();
        return Err(OutboxError::Newer { path, found, known });
    }
    let Ok(done) = usize::try_from(found) else {
        let what = format!("schema version {found}");
        return Err(OutboxError::Damaged { what });
    };
    if done == STEPS.len() {
        return Ok(());
    }
    let tx = conn.transaction().map_err(failed)?;
    for step in STEPS.iter().skip(done) {
        tx.execute_batch(step).map_err(failed)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    tx.pragma_update(None, "user_version", known)
        .map_err(failed)?;
    tx.commit().map_err(failed)
}
