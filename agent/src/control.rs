//! The local socket over which `status` asks the running agent.
//!
//! One question per connection: a line with a word; one answer: a JSON document. The socket
//! is in the state directory, for its owner only. Deliberately absent: commands that change
//! anything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_store::Outbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::status::{Board, Status, StoreStatus};
use crate::uplink::shelf::ask;

/// Name of the socket in the state directory.
pub const SOCKET: &str = "agent.sock";

const QUESTION: &[u8] = b"status\n";
const QUESTION_LIMIT: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Questions answered at the same time; more have to wait.
const AT_ONCE: usize = 8;
/// Largest answer that is read.
const ANSWER_MAX_BYTES: u64 = 4 << 20;

/// Why the running agent was not heard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody listens.
    #[error("no agent is running with the state directory {}", state.display())]
    NotRunning {
        /// The directory.
        state: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot {act} the control socket {}", path.display())]
    Socket {
        /// What was tried.
        act: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What came is no status.
    #[error("the agent's answer is no status that this version knows")]
    Answer {
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl ControlError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "control.not_running",
            Self::Socket { .. } => "control.socket",
            Self::Answer { .. } => "control.answer",
        }
    }
}

/// Asks the agent that runs with the state directory `state`.
///
/// # Errors
/// [`ControlError`]; [`ControlError::NotRunning`] when nobody listens.
pub fn ask_status(state: &Path) -> Result<Status, ControlError> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    let path = state.join(SOCKET);
    let failed = |act| {
        let path = path.clone();
        move |source| ControlError::Socket { act, path, source }
    };
    let mut stream = UnixStream::connect(&path).map_err(|err| match err.kind() {
        NotFound | ConnectionRefused => ControlError::NotRunning {
            state: state.to_owned(),
        },
        _ => failed("open")(err),
    })?;
    stream
        .set_read_timeout(Some(ANSWER_LIMIT))
        .and_then(|()| stream.write_all(QUESTION))
        .map_err(failed("ask at"))?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_MAX_BYTES)
        .read_to_end(&mut answer)
        .map_err(failed("read from"))?;
    serde_json::from_slice(&answer).map_err(|source| ControlError::Answer { source })
}

/// Opens the socket. The caller holds the outbox, so a socket that is already there was left
/// by an agent that is gone.
///
/// # Errors
/// [`ControlError::Socket`].
pub fn listen(state: &Path) -> Result<UnixListener, ControlError> {
    let path = state.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|source| ControlError::Socket {
        act: "open",
        path,
        source,
    })
}

/// Answers questions until dropped.
pub async fn serve(
    listener: UnixListener,
    board: Arc<Board>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
) {
    let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((mut stream, _)) = listener.accept().await else {
            // out of descriptors: those who are served now must go first
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (board, outbox, clock) = (Arc::clone(&board), outbox.clone(), Arc::clone(&clock));
        tokio::spawn(async move {
            let _place = place;
            let mut question = [0; QUESTION.len()];
            let asked =
                tokio::time::timeout(QUESTION_LIMIT, stream.read_exact(&mut question)).await;
            if matches!(asked, Ok(Ok(_))) && question == QUESTION {
                let answer = answer(&board, &outbox, &*clock).await;
                // whoever asked may have gone
                let _ = tokio::time::timeout(ANSWER_LIMIT, stream.write_all(&answer)).await;
            }
        });
    }
}

async fn answer(board: &Board, outbox: &Outbox, clock: &dyn Clock) -> Vec<u8> {
    look_at_store(board, outbox).await;
    let document = board.document(&clock.read());
    serde_json::to_vec(&document).unwrap_or_default()
}

/// Writes the outbox's line on the board.
pub(crate) async fn look_at_store(board: &Board, outbox: &Outbox) {
    match ask(outbox, Outbox::summary).await {
        Ok(summary) => {
            let sum = |count: fn(&cardio_store::LaneSummary) -> u64| {
                summary.lanes.iter().map(count).fold(0, u64::saturating_add)
            };
            let oldest = summary
                .lanes
                .iter()
                .filter_map(|lane| lane.oldest_waiting_age_us)
                .max();
            let mut lines = board.lines();
            lines.store = StoreStatus {
                stored: sum(|lane| lane.stored),
                filed: sum(|lane| lane.acked),
                waiting: sum(|lane| lane.waiting),
                refused: sum(|lane| lane.refused),
                oldest_waiting_age_s: oldest.map(|us| Duration::from_micros(us).as_secs_f64()),
                bytes: summary.space.used_bytes,
                cap_bytes: summary.space.cap_bytes,
                free_bytes: summary.space.free_bytes(),
                level: summary.space.level().name().to_owned(),
                autonomy: summary.autonomy.into(),
                aside: summary.aside.into(),
                code: lines.store.code.take(),
            };
        }
        Err(err) => board.lines().store.code = Some(err.code().to_owned()),
    }
}
