//! Numbers of acknowledgements and commands: for each box strictly rising for ever.
//!
//! * One program on its own database: numbers follow the wall clock, above the last one and
//!   below what is reserved on disk, so that a number costs nothing.
//! * Several programs on one database: every transaction that changes what a box is told
//!   draws a number for that box, above all that were drawn before, by the server's clock.
//!   What is told because of that transaction carries that number or one just above it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;

use crate::db::{Connection, DbError, values};

/// How far ahead of the last number the reservation on disk stands when it is raised.
const AHEAD: u64 = 60_000_000;
/// Numbers that one program may give between two that it draws.
const STRIDE: u64 = 1_000;

/// Gives numbers.
#[derive(Debug)]
pub enum AckCounter {
    /// For the only program on a database.
    Alone(Reserved),
    /// For one of several programs on a database.
    Shared(Mutex<HashMap<BoxId, u64>>),
}

/// Numbers of the only program on a database.
#[derive(Debug)]
pub struct Reserved {
    last: AtomicU64,
    upto: AtomicU64,
}

impl AckCounter {
    /// Reads the reservation of the last run and raises it for this one.
    pub(super) fn open(
        connection: &Connection,
        shared: bool,
        now: UtcMicros,
    ) -> Result<Self, DbError> {
        if shared {
            return Ok(Self::Shared(Mutex::default()));
        }
        let act = "read the acknowledgement counter";
        let from: u64 = connection
            .cell(act, "SELECT reserved FROM ack_counter", values![])?
            .unwrap_or(0);
        let upto = from.max(unsigned(now)).saturating_add(AHEAD);
        raise(connection, upto)?;
        Ok(Self::Alone(Reserved {
            last: AtomicU64::new(from),
            upto: AtomicU64::new(upto),
        }))
    }

    /// Makes sure that numbers for a box may be given. Called inside the transaction that
    /// precedes every acknowledgement.
    pub(super) fn reserve(
        &self,
        connection: &Connection,
        device: BoxId,
        now: UtcMicros,
    ) -> Result<(), DbError> {
        match self {
            Self::Alone(reserved) => reserved.reserve(connection, now),
            Self::Shared(given) => {
                let drawn = draw(connection, device)?;
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                let last = given.entry(device).or_default();
                *last = drawn.saturating_sub(1).max(*last);
                Ok(())
            }
        }
    }

    /// The next number for a box.
    pub fn next(&self, device: BoxId, now: UtcMicros) -> u64 {
        match self {
            Self::Alone(reserved) => reserved.next(now),
            Self::Shared(given) => {
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                let last = given.entry(device).or_default();
                *last = last.saturating_add(1);
                *last
            }
        }
    }
}

/// Draws a number for a box, whose key this transaction holds.
fn draw(connection: &Connection, device: BoxId) -> Result<u64, DbError> {
    let act = "draw the number of an acknowledgement";
    let drawn: Option<u64> = connection.cell(
        act,
        "UPDATE boxes SET number = GREATEST(
           number + ?2, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))
         WHERE id = ?1 RETURNING number",
        values![device, STRIDE],
    )?;
    drawn.ok_or(DbError::Damaged { what: act })
}

fn raise(connection: &Connection, upto: u64) -> Result<(), DbError> {
    let act = "raise the acknowledgement counter";
    connection
        .execute(act, "UPDATE ack_counter SET reserved = ?1", values![upto])
        .map(|_| ())
}

fn unsigned(now: UtcMicros) -> u64 {
    u64::try_from(now.0).unwrap_or(0)
}

impl Reserved {
    fn reserve(&self, connection: &Connection, now: UtcMicros) -> Result<(), DbError> {
        let wanted = self.last.load(Ordering::Acquire).max(unsigned(now));
        if wanted.saturating_add(AHEAD / 2) > self.upto.load(Ordering::Acquire) {
            let upto = wanted.saturating_add(AHEAD);
            raise(connection, upto)?;
            self.upto.fetch_max(upto, Ordering::AcqRel);
        }
        Ok(())
    }

    fn next(&self, now: UtcMicros) -> u64 {
        let wall = unsigned(now).min(self.upto.load(Ordering::Acquire));
        let step = |last: u64| Some(last.saturating_add(1).max(wall));
        match self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
        {
            Ok(before) | Err(before) => before.saturating_add(1).max(wall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AtomicU64, Reserved, UtcMicros};

    fn reserved() -> Reserved {
        Reserved {
            last: AtomicU64::new(10),
            upto: AtomicU64::new(1_000),
        }
    }

    #[test]
    fn numbers_rise_although_the_clock_goes_back() {
        let counter = reserved();
        assert_eq!(counter.next(UtcMicros(500)), 500);
        assert_eq!(counter.next(UtcMicros(20)), 501);
    }

    #[test]
    fn a_clock_far_ahead_does_not_pass_the_reservation() {
        assert_eq!(reserved().next(UtcMicros(9_000_000)), 1_000);
    }
}
