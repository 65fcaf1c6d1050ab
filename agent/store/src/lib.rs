//! The sealed outbox of the box: SQLite, hash-chained lanes.
