//! The simulator's clock: microseconds since it was made. The only place that reads one.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    start: Duration,
}

impl Stopwatch {
    /// A stopwatch that starts now.
    pub fn start() -> Self {
        Self { start: read() }
    }

    /// Microseconds since the start.
    pub fn micros(&self) -> u64 {
        u64::try_from(read().saturating_sub(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

fn read() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
