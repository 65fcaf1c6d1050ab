//! The pause between two rounds of a task that looks for work in the record: until something is
//! committed, or for a time.

use std::time::Duration;

use tokio::sync::watch;

use crate::db::{DbError, Writer};

/// Pause after a failure of the store.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When the next round is due.
pub(crate) struct Rounds {
    commits: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    look_every: Duration,
}

impl Rounds {
    /// Rounds over a record until `stop` becomes true; without a commit, one in `look_every`.
    pub(crate) fn over(record: &Writer, stop: watch::Receiver<bool>, look_every: Duration) -> Self {
        Self {
            commits: record.commits(),
            stop,
            look_every,
        }
    }

    /// Begins a round: what is committed from now on ends the pause after it.
    pub(crate) fn begin(&mut self) {
        self.commits.mark_unchanged();
    }

    /// Rests after a round, which says whether more may be due at once; `false` when it is to stop.
    /// A failure is logged as `event`.
    pub(crate) async fn rest(&mut self, more: Result<bool, DbError>, event: &str) -> bool {
        let pause = match more {
            Ok(true) => Some(Duration::ZERO),
            Ok(false) => None,
            Err(error) => {
                tracing::error!(event, code = error.code(), "{error}");
                Some(RETRY_AFTER)
            }
        };
        let wake = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                // Closed only when the record is gone; then `stop` ends the rounds.
                None => drop(tokio::time::timeout(self.look_every, self.commits.changed()).await),
            }
        };
        tokio::select! {
            () = wake => true,
            _ = self.stop.wait_for(|stop| *stop) => false,
        }
    }
}
