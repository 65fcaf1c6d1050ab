//! A capture log, read from a file and played, and what was found in it.
//!
//! Deliberately absent: playing itself ([`crate::capture::Playback`]), and any judgement of what
//! was found.

mod found;
mod text;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cardio_protocol::capture::{
    CaptureEntry, CaptureError, CaptureEvent, CaptureHead, CaptureItem, CaptureReader,
};

use crate::capture::{Playback, PlaybackError};
use found::Findings;

pub use found::{
    AcquisitionFound, CaptureFound, CutFound, DeviceFound, EventFound, GapFound, LeadFound,
    LinkFound, QualityFound, ReplayDocument, SCHEMA, Verdicts,
};
pub use text::as_text;

/// Bytes of the file that are read at once.
const PIECE: usize = 64 * 1024;

/// Why a capture cannot be played at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("cannot read the capture {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no capture log, or not even its head is whole.
    #[error("cannot play {}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CaptureError,
    },
    /// It is of a device that is not known here.
    #[error("cannot play {}", path.display())]
    Device {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PlaybackError,
    },
}

impl ReplayError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "replay.read",
            Self::Log { source, .. } => source.code(),
            Self::Device { source, .. } => source.code(),
        }
    }
}

/// Plays the capture at `path`. One that is cut or damaged is played up to there.
///
/// # Errors
/// [`ReplayError`] when nothing of it can be played.
pub fn replay(path: &Path) -> Result<ReplayDocument, ReplayError> {
    let unreadable = |source| ReplayError::Read {
        path: path.to_owned(),
        source,
    };
    let unplayable = |source| ReplayError::Log {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut reader = CaptureReader::new();
    let mut piece = vec![0; PIECE];
    let mut playing: Option<Playing> = None;
    let end = loop {
        match reader.next_item() {
            Ok(Some(CaptureItem::Head(head))) => {
                let begun = Playing::new(head).map_err(|source| ReplayError::Device {
                    path: path.to_owned(),
                    source,
                })?;
                playing = Some(begun);
            }
            Ok(Some(CaptureItem::Entry(entry))) => {
                if let Some(playing) = &mut playing {
                    playing.take(&entry);
                }
            }
            Ok(None) => {
                let count = file.read(&mut piece).map_err(unreadable)?;
                match piece.get(..count) {
                    None | Some([]) => break reader.finish().err(),
                    Some(more) => reader.push(more),
                }
            }
            Err(err) => break Some(err),
        }
    };
    match (playing, end) {
        (Some(playing), end) => Ok(playing.end(reader.offset(), end)),
        (None, end) => Err(unplayable(end.unwrap_or(CaptureError::NotACapture))),
    }
}

struct Playing {
    playback: Playback,
    found: Findings,
    is_ended: bool,
}

impl Playing {
    fn new(head: CaptureHead) -> Result<Self, PlaybackError> {
        Ok(Self {
            playback: Playback::new(&head)?,
            found: Findings::new(head),
            is_ended: false,
        })
    }

    fn take(&mut self, entry: &CaptureEntry) {
        self.is_ended = entry.event == CaptureEvent::Ended;
        self.found.note_entry(entry);
        self.playback.take(entry);
        self.drain();
    }

    fn drain(&mut self) {
        let facts = self.playback.facts();
        for captured in self.playback.drain() {
            self.found.note(captured);
        }
        self.found.note_facts(&facts);
    }

    fn end(mut self, read_bytes: u64, err: Option<CaptureError>) -> ReplayDocument {
        self.playback.end();
        self.drain();
        let after_the_last = CaptureError::Cut { offset: read_bytes };
        let err = err.or((!self.is_ended).then_some(after_the_last));
        self.found.document(&self.playback, err)
    }
}
