//! What is on its way to one reader: a few pieces, and none that it does not take in time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::Chunk;

/// Pieces that may wait for a reader, beside what the connection holds.
const WAITING: usize = 2;

/// Why a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The reader left.
    Gone,
    /// The reader did not take what was said in time.
    Slow,
    /// Session or token have ended, or allow it no more.
    Revoked,
    /// The record, or the trace of who did what, failed.
    Failed,
    /// The program stops.
    Stopped,
}

impl Ended {
    /// Stable identifier for logs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Gone => "events.gone",
            Self::Slow => "events.slow",
            Self::Revoked => "events.revoked",
            Self::Failed => "events.failed",
            Self::Stopped => "events.stopped",
        }
    }
}

/// The end that is spoken into.
pub(super) struct Pipe {
    to: mpsc::Sender<Chunk>,
    limit: Duration,
}

/// The end that a connection reads.
pub(super) struct Spoken(mpsc::Receiver<Chunk>);

/// A pipe whose reader takes each piece within that time.
pub(super) fn pipe(limit: Duration) -> (Pipe, Spoken) {
    let (to, from) = mpsc::channel(WAITING);
    (Pipe { to, limit }, Spoken(from))
}

impl Pipe {
    /// Says something.
    ///
    /// # Errors
    /// [`Ended`] when the reader is gone, or does not take it in time.
    pub(super) async fn say(&self, text: String) -> Result<(), Ended> {
        let saying = tokio::time::timeout(self.limit, self.to.send(Chunk::from(text)));
        match saying.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::Slow),
        }
    }

    /// Waits until the reader is gone.
    pub(super) async fn closed(&self) {
        self.to.closed().await;
    }
}

impl Body for Spoken {
    type Data = Chunk;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, Self::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, WAITING, pipe};
    use std::time::Duration;

    #[tokio::test]
    async fn what_nobody_takes_is_not_kept() {
        let (pipe, _reader) = pipe(Duration::from_millis(1));
        for _ in 0..WAITING {
            assert_eq!(pipe.say("x".to_owned()).await, Ok(()));
        }
        assert_eq!(pipe.say("x".to_owned()).await, Err(Ended::Slow));
    }

    #[tokio::test]
    async fn a_reader_that_left_is_noticed() {
        let (pipe, reader) = pipe(Duration::from_secs(600));
        drop(reader);
        pipe.closed().await;
        assert_eq!(pipe.say("x".to_owned()).await, Err(Ended::Gone));
    }
}
