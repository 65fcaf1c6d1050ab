//! Numbers of acknowledgements: strictly rising for ever.

use std::sync::atomic::{AtomicU64, Ordering};

use cardio_core::clock::UtcMicros;
use rusqlite::Connection;

use crate::db::{DbError, during, from_sql, to_sql};

/// How far ahead of the last number the reservation on disk stands when it is raised.
const AHEAD: u64 = 60_000_000;

/// Gives numbers that follow the wall clock in microseconds, always above the last one, never
/// above what is reserved on disk.
#[derive(Debug)]
pub struct AckCounter {
    last: AtomicU64,
    reserved: AtomicU64,
}

/// What the file reserves: numbers up to `to`, of which those up to `from` may be in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    from: u64,
    to: u64,
}

/// Reads the reservation of the last run and raises it for this one.
pub(crate) fn open(connection: &Connection, now: UtcMicros) -> Result<Reservation, DbError> {
    let from = connection
        .query_row("SELECT reserved FROM ack_counter", [], |row| row.get(0))
        .map(from_sql)
        .map_err(during("read the acknowledgement counter"))?;
    let to = from.max(from_sql(now.0)).saturating_add(AHEAD);
    raise(connection, to)?;
    Ok(Reservation { from, to })
}

fn raise(connection: &Connection, to: u64) -> Result<(), DbError> {
    connection
        .execute("UPDATE ack_counter SET reserved = ?1", [to_sql(to)])
        .map(|_| ())
        .map_err(during("raise the acknowledgement counter"))
}

impl AckCounter {
    pub(crate) const fn from_reserved(reservation: Reservation) -> Self {
        Self {
            last: AtomicU64::new(reservation.from),
            reserved: AtomicU64::new(reservation.to),
        }
    }

    /// Raises the reservation when it is nearly used up. Called inside the transaction that
    /// precedes every acknowledgement.
    pub(crate) fn reserve(&self, connection: &Connection, now: UtcMicros) -> Result<(), DbError> {
        let wanted = self.last.load(Ordering::Acquire).max(from_sql(now.0));
        if wanted.saturating_add(AHEAD / 2) > self.reserved.load(Ordering::Acquire) {
            let to = wanted.saturating_add(AHEAD);
            raise(connection, to)?;
            self.reserved.fetch_max(to, Ordering::AcqRel);
        }
        Ok(())
    }

    /// The next number.
    pub fn next(&self, now: UtcMicros) -> u64 {
        let ceiling = self.reserved.load(Ordering::Acquire);
        let wall = from_sql(now.0).min(ceiling);
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
    use super::{AckCounter, Reservation, UtcMicros};

    #[test]
    fn numbers_rise_although_the_clock_goes_back() {
        let counter = AckCounter::from_reserved(Reservation {
            from: 10,
            to: 1_000,
        });
        assert_eq!(counter.next(UtcMicros(500)), 500);
        assert_eq!(counter.next(UtcMicros(20)), 501);
    }

    #[test]
    fn a_clock_far_ahead_does_not_pass_the_reservation() {
        let counter = AckCounter::from_reserved(Reservation {
            from: 10,
            to: 1_000,
        });
        assert_eq!(counter.next(UtcMicros(9_000_000)), 1_000);
    }
}
