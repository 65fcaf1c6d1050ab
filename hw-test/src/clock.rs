//! Real time for the rigs: deadlines and pauses while watching programs from outside.
//!
//! The only place here that reads a clock. Nothing sleeps for a guess: everything waits for a
//! condition, with a deadline that fails loudly.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A stop-watch that starts when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopWatch(Instant);

impl StopWatch {
    /// Starts now.
    pub(crate) fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "rigs watch real programs in real time; this is their clock adapter"
        )]
        Self(Instant::now())
    }

    /// Time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Waits until `at` after the start; returns at once when that has passed.
    pub(crate) fn sleep_until(self, at: Duration) {
        if let Some(rest) = at.checked_sub(self.elapsed()) {
            std::thread::sleep(rest);
        }
    }
}

/// This machine's wall clock: time since 1970.
pub(crate) fn since_1970() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "rigs date certificates and judge filed times; this is their clock adapter"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Looks at `condition` until it gives a value or `limit` has passed.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let watch = StopWatch::start();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if watch.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
