//! Figures of the team over a time, from what is filed and nothing else, so that the same
//! record gives the same figures again at any later time.
//!
//! | module | holds |
//! | --- | --- |
//! | [`gather`] | what the record holds of a time |
//! | [`tally`] | figures of that, pure |
//!
//! Deliberately absent: names of patients and of staff; no figure is about one person.

mod gather;
mod tally;

use cardio_core::clock::UtcMicros;
use cardio_fhir::indicator::Figure;

use crate::db::{Connection, DbError};
use crate::inbox::BoxLore;

pub(crate) use gather::boxes;

/// The figures of `from` to `to`, which no longer belongs to it.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub(crate) fn figures(
    connection: &Connection,
    lore: &BoxLore,
    (from, to): (UtcMicros, UtcMicros),
) -> Result<Vec<Figure>, DbError> {
    let exams = gather::exams(connection, lore, (from, to))?;
    let alerts = gather::alerts(connection, (from, to))?;
    Ok(tally::figures(&exams, &alerts))
}
