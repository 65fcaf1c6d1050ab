//! A step in the life of an alert, taken by a person or by a message.

use cardio_alert::life::{Life, LifeError, Step};
use cardio_core::clock::UtcMicros;

use super::{filed, rows};
use crate::db::{Connection, DbError, values};

/// Why a step was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refused {
    /// There is no such alert.
    #[error("there is no alert {id}; `alerts list` shows them")]
    Unknown {
        /// The id, or its beginning.
        id: String,
    },
    /// More than one alert has an id that begins like this.
    #[error("more than one alert has an id that begins with {id}: give more of it")]
    Ambiguous {
        /// The beginning.
        id: String,
    },
    /// Its life does not allow it.
    #[error(transparent)]
    Life(#[from] LifeError),
}

impl Refused {
    /// Stable identifier for logs and `--json`.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "alert.unknown",
            Self::Ambiguous { .. } => "alert.ambiguous",
            Self::Life(error) => error.code(),
        }
    }
}

/// The alert of an id, or of the beginning of one.
pub(super) fn resolve(
    connection: &Connection,
    text: &str,
) -> Result<Result<String, Refused>, DbError> {
    let id = text.to_owned();
    let mut found = rows::beginning_with(connection, text)?.into_iter();
    Ok(match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Refused::Ambiguous { id }),
        (None, _) => Err(Refused::Unknown { id }),
    })
}

/// Takes a step for the alert of an id, or of the beginning of one; answers its id.
pub(crate) fn take(
    connection: &Connection,
    text: &str,
    step: &Step,
    recipient: &str,
    now: UtcMicros,
) -> Result<Result<String, Refused>, DbError> {
    let id = match resolve(connection, text)? {
        Ok(id) => id,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut life = Life::of(&rows::steps(connection, &id)?);
    match life.take(now, step) {
        Err(error) => Ok(Err(error.into())),
        Ok(false) => Ok(Ok(id)),
        Ok(true) => {
            rows::add_step(connection, &id, now, step, &life)?;
            if life.waits() {
                rows::look_at(connection, &id, Some(now))?;
            } else {
                rows::look_at(connection, &id, None)?;
                drop_messages(connection, &id)?;
            }
            filed::put(connection, &id, recipient, now)?;
            Ok(Ok(id))
        }
    }
}

/// Forgets messages that nobody needs any more.
fn drop_messages(connection: &Connection, id: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM alert_messages WHERE alert = ?1";
    connection
        .execute("forget the messages of an alert", sql, values![id])
        .map(|_| ())
}
