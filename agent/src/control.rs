//! The local socket over which the command line asks the running agent.
//!
//! One question per connection: a line of words; one answer: a JSON document. The socket is in
//! the state directory, for its owner only. What can be changed over it is which visit is chosen;
//! names of patients are answered only to a question that asks for them, and that is logged.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::Clock;
use cardio_store::Outbox;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;

use crate::status::{Board, Status, StoreStatus};
use crate::uplink::shelf::ask;
use crate::worklist::{VisitsDocument, Worklist};

/// Name of the socket in the state directory.
pub const SOCKET: &str = "agent.sock";

/// Longest question, with room for the id of a request.
const QUESTION_MAX_BYTES: u64 = 128;
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
    /// What came is not an answer to what was asked.
    #[error("the agent's answer is none that this version knows")]
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

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How the box is: answered with [`Status`].
    Status,
    /// The visits of the day: answered with a [`VisitsAnswer`].
    Visits {
        /// Whether names are to be shown.
        names: bool,
    },
    /// The visit for this request is where the nurse is now: answered with a [`VisitsAnswer`].
    Choose {
        /// The request.
        request: String,
    },
    /// The chosen visit is over: answered with a [`VisitsAnswer`].
    Done,
}

impl Question {
    fn line(&self) -> String {
        match self {
            Self::Status => "status\n".to_owned(),
            Self::Visits { names: false } => "visits\n".to_owned(),
            Self::Visits { names: true } => "visits names\n".to_owned(),
            Self::Choose { request } => format!("choose {request}\n"),
            Self::Done => "done\n".to_owned(),
        }
    }

    fn of(line: &str) -> Option<Self> {
        Some(match line.strip_suffix('\n')?.split_once(' ') {
            None if line == "status\n" => Self::Status,
            None if line == "visits\n" => Self::Visits { names: false },
            None if line == "done\n" => Self::Done,
            Some(("visits", "names")) => Self::Visits { names: true },
            Some(("choose", request)) => Self::Choose {
                request: request.to_owned(),
            },
            _ => return None,
        })
    }
}

/// The visits, and why a choice was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisitsAnswer {
    /// The visits as they are now.
    pub visits: VisitsDocument,
    /// Stable code of why what was asked was not done.
    pub refused: Option<String>,
}

/// Asks the agent that runs with the state directory `state` how the box is.
///
/// # Errors
/// [`ControlError`]; [`ControlError::NotRunning`] when nobody listens.
pub fn ask_status(state: &Path) -> Result<Status, ControlError> {
    ask_running(state, &Question::Status)
}

/// Asks the agent that runs with the state directory `state` about the visits of the day.
///
/// # Errors
/// [`ControlError`]; [`ControlError::NotRunning`] when nobody listens.
pub fn ask_visits(state: &Path, question: &Question) -> Result<VisitsAnswer, ControlError> {
    ask_running(state, question)
}

fn ask_running<T: DeserializeOwned>(state: &Path, question: &Question) -> Result<T, ControlError> {
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
        .and_then(|()| stream.write_all(question.line().as_bytes()))
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
    worklist: Arc<Worklist>,
    clock: Arc<dyn Clock>,
) {
    let room = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let asked = Arc::new(Asked {
        board,
        outbox,
        worklist,
        clock,
    });
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((mut stream, _)) = listener.accept().await else {
            // out of descriptors: those who are served now must go first
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let asked = Arc::clone(&asked);
        tokio::spawn(async move {
            let _place = place;
            let mut line = String::new();
            let mut bounded = BufReader::new((&mut stream).take(QUESTION_MAX_BYTES));
            let heard = tokio::time::timeout(QUESTION_LIMIT, bounded.read_line(&mut line)).await;
            if let (Ok(Ok(_)), Some(question)) = (heard, Question::of(&line)) {
                let answer = asked.answer(question).await;
                // whoever asked may have gone
                let _ = tokio::time::timeout(ANSWER_LIMIT, stream.write_all(&answer)).await;
            }
        });
    }
}

/// What answers need.
struct Asked {
    board: Arc<Board>,
    outbox: Outbox,
    worklist: Arc<Worklist>,
    clock: Arc<dyn Clock>,
}

impl Asked {
    async fn answer(&self, question: Question) -> Vec<u8> {
        match question {
            Question::Status => {
                look_at_store(&self.board, &self.outbox).await;
                let document = self.board.document(&self.clock.read());
                serde_json::to_vec(&document).unwrap_or_default()
            }
            Question::Visits { names } => {
                if names {
                    tracing::info!(event = "VisitsShownWithNames");
                }
                self.visits(names, None)
            }
            Question::Choose { request } => {
                let chosen = self.worklist.choose(&request);
                if chosen.is_ok() {
                    tracing::info!(event = "VisitChosen", request);
                }
                self.visits(false, chosen.err().map(|why| why.code().to_owned()))
            }
            Question::Done => {
                self.worklist.done();
                tracing::info!(event = "VisitDone");
                self.visits(false, None)
            }
        }
    }

    fn visits(&self, names: bool, refused: Option<String>) -> Vec<u8> {
        let connected = self.board.lines().uplink.connected;
        let visits = self.worklist.document(names, connected);
        serde_json::to_vec(&VisitsAnswer { visits, refused }).unwrap_or_default()
    }
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

#[cfg(test)]
mod tests {
    use super::Question;
    use proptest::prelude::*;

    #[test]
    fn every_question_is_understood_as_it_was_asked() {
        let request = "req-1".to_owned();
        for question in [
            Question::Status,
            Question::Visits { names: false },
            Question::Visits { names: true },
            Question::Choose { request },
            Question::Done,
        ] {
            assert_eq!(Question::of(&question.line()), Some(question));
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_question_or_nothing(line: String) {
            if let Some(question) = Question::of(&line) {
                prop_assert_eq!(question.line(), line);
            }
        }
    }
}
