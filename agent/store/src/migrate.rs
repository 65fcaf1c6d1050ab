//! Schema versions and the steps between them.
//!
//! `PRAGMA user_version` is the number of steps that were taken. A step keeps every frame; the way
//! down is to drain the outbox with the version that made it, then install the older one:
//! frames are the same in every version.

use rusqlite::Connection;

use crate::bookkeeping;
use crate::error::OutboxError;

/// Marks a file as an outbox (`PRAGMA application_id`): "ECGO".
const APPLICATION_ID: i64 = 0x4543_474F;

type Step = fn(&Connection) -> rusqlite::Result<()>;

/// Step n takes a file from version n to version n + 1.
const STEPS: [Step; 3] = [
    |conn| conn.execute_batch(include_str!("schema.sql")),
    bookkeeping::mark_subjects,
    |conn| conn.execute_batch(include_str!("schema_3.sql")),
];

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
    // What a step removes is overwritten, not only forgotten.
    conn.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))
        .map_err(failed)?;
    let tx = conn.transaction().map_err(failed)?;
    for step in STEPS.iter().skip(done) {
        step(&tx).map_err(failed)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    tx.pragma_update(None, "user_version", known)
        .map_err(failed)?;
    tx.commit().map_err(failed)?;
    conn.pragma_update_and_check(None, "secure_delete", false, |_| Ok(()))
        .map_err(failed)
}
