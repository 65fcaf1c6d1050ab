//! Files of recorders become acquisitions: whatever lies complete in the drop folder is
//! read, sealed record by record, and put aside as done or as refused with the reason.
//!
//! - The folder belongs on the recorder's own storage or on a disk that is encrypted: this
//!   program copies no file, it renames, so what lies there in the clear stays there.
//! - A file is taken when the folder has been quiet for a while.
//! - One file is one recording however often it comes: names of acquisitions follow from
//!   its content. A cut at any instant is made good from the outbox's own bookkeeping and
//!   the [`ledger`].
//! - A record that the outbox refuses is offered again later; nothing of a file is skipped.
//! - Rows that differ in rate or in where their gaps lie become acquisitions of their own,
//!   because the samples of one are side by side.
//!
//! Deliberately absent: marks, patient and remarks of the file. They are not sent; the file
//! keeps them.

mod carry;
mod folder;
mod ledger;
mod source;
mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cardio_core::acquisition::Attendance;
use cardio_core::clock::{BoxInstant, Clock, UtcMicros};
use cardio_core::ids::{BoxId, SourceId};
use cardio_core::recording::Recording;
use cardio_core::subject::SubjectRef;
use cardio_formats::parts::{Part, PartError, Told, parts};
use cardio_formats::survey::survey;
use cardio_formats::{FormatError, ReadOptions, read};
use cardio_store::{OpenAcquisition, Outbox, OutboxError};
use cardio_wire::lane::Lane;
use cardio_wire::record::{BoxEventV1, EndReason, Record, RecordHead};
use tokio::sync::Notify;

use crate::ids::Ids;
use carry::Carrier;
use folder::{Candidate, Folder};
use ledger::Ledger;
use source::Noted;
use start::start;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What an import is told.
#[derive(Clone, Debug)]
pub struct ImportPlan {
    /// The drop folder.
    pub folder: PathBuf,
    /// The directory of everything that the agent writes.
    pub state: PathBuf,
    /// How long the folder must be quiet.
    pub quiet_for: Duration,
    /// How long a file that was begun may be away before its acquisition is ended.
    pub resume_within: Duration,
    /// This box.
    pub device: BoxId,
    /// What the acquisitions' source is called.
    pub source: SourceId,
    /// The patient, as an opaque reference.
    pub subject: Option<SubjectRef>,
}

impl ImportPlan {
    /// What every acquisition of a file is told.
    fn told(&self) -> Told {
        Told {
            subject: self.subject.clone(),
            source: self.source.clone(),
            attendance: Attendance::Unattended,
        }
    }
}

/// Where records go, and what was kept of acquisitions that have not ended.
pub trait Keep: Send {
    /// Appends records; they are durable when this returns.
    ///
    /// # Errors
    /// [`OutboxError`]; some of the first are then kept, and nothing behind them.
    fn keep(&self, lane: Lane, records: Vec<Record>) -> Result<(), OutboxError>;

    /// The acquisitions that have not ended.
    ///
    /// # Errors
    /// [`OutboxError`] when the outbox cannot say.
    fn open(&self) -> Result<Vec<OpenAcquisition>, OutboxError>;
}

/// The outbox, and a bell for the uplink.
#[derive(Clone, Debug)]
pub struct OutboxKeep {
    /// The outbox.
    pub outbox: Outbox,
    /// Rings when something was stored.
    pub stored: Arc<Notify>,
}

impl Keep for OutboxKeep {
    fn keep(&self, lane: Lane, records: Vec<Record>) -> Result<(), OutboxError> {
        self.outbox.append_all(lane, records)?;
        self.stored.notify_one();
        Ok(())
    }

    fn open(&self) -> Result<Vec<OpenAcquisition>, OutboxError> {
        self.outbox.open_acquisitions()
    }
}

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It does not become acquisitions.
    #[error(transparent)]
    File(#[from] PartError),
    /// The outbox refused a record.
    #[error("the outbox did not keep a record")]
    Outbox(#[source] OutboxError),
    /// The folder or the ledger cannot be used.
    #[error("cannot {act} {}", path.display())]
    Disk {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The agent is ending.
    #[error("the agent is ending")]
    Stopped,
}

impl ImportError {
    /// Stable identifier for logs and reason files.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(err) => err.code(),
            Self::Outbox(err) => err.code(),
            Self::Disk { .. } => "import.disk",
            Self::Stopped => "import.stopped",
        }
    }
}

/// A file that is being imported.
struct OneFile<'a> {
    name: &'a str,
    files: Arc<Noted>,
    content: [u8; 32],
    recording: &'a Recording,
    start: UtcMicros,
}

/// Imports what lies in a folder until it is told to stop.
pub struct Import<K> {
    plan: ImportPlan,
    keep: K,
    clock: Arc<dyn Clock>,
    ids: Box<dyn Ids>,
    folder: Folder,
    ledger: Ledger,
    /// Since when an acquisition waits for a file that is not there.
    waiting: Option<BoxInstant>,
    /// The code of the last failure, so that each is logged once.
    failing: Option<&'static str>,
}

impl<K: Keep> Import<K> {
    /// Ready to look.
    ///
    /// # Errors
    /// [`ImportError::Disk`] when the ledger cannot be read.
    pub fn new(
        plan: ImportPlan,
        keep: K,
        clock: Arc<dyn Clock>,
        ids: Box<dyn Ids>,
    ) -> Result<Self, ImportError> {
        Ok(Self {
            folder: Folder::new(&plan.folder, plan.quiet_for),
            ledger: Ledger::open(&plan.state)?,
            plan,
            keep,
            clock,
            ids,
            waiting: None,
            failing: None,
        })
    }

    /// Looks again and again until the other end of `stop` is gone.
    pub fn run(mut self, stop: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(LOOK) {
            self.look(&|| !matches!(stop.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)));
        }
    }

    /// Looks once, and imports what is complete. `stopped` is asked between records.
    pub fn look(&mut self, stopped: &dyn Fn() -> bool) {
        let done = self.look_once(stopped);
        match done {
            Ok(()) => self.failing = None,
            Err(ImportError::Stopped) => {}
            Err(err) if self.failing == Some(err.code()) => {}
            Err(err) => {
                self.failing = Some(err.code());
                tracing::warn!(event = "ImportError", code = err.code());
            }
        }
    }

    fn look_once(&mut self, stopped: &dyn Fn() -> bool) -> Result<(), ImportError> {
        let now = self.clock.read().box_instant;
        let Some(candidates) = self.folder.look(now)? else {
            return Ok(());
        };
        let mut taken: Vec<String> = Vec::new();
        let mut later = Ok(());
        for candidate in candidates {
            if taken.contains(&candidate.name) {
                continue;
            }
            match self.take(&candidate, &mut taken, stopped) {
                Ok(()) => {}
                Err(err) if self.is_final(&err, &candidate) => {
                    tracing::warn!(event = "ImportFileRefused", code = err.code());
                    self.tell("import.refused", err.code().to_owned())?;
                    self.folder.refuse(&candidate.name, &err)?;
                }
                Err(err @ ImportError::File(_)) => later = Err(err),
                Err(err) => return Err(err),
            }
        }
        self.give_up_if_away(now)?;
        later
    }

    /// Whether the file itself is to blame, so that trying again is of no use. One that
    /// cannot be opened or read may only have been pulled out, unless it lies there and
    /// names a file that does not.
    fn is_final(&self, err: &ImportError, candidate: &Candidate) -> bool {
        match err {
            ImportError::File(PartError::Format(FormatError::Open { source, .. })) => {
                source.kind() == std::io::ErrorKind::NotFound
                    && self.plan.folder.join(&candidate.name).exists()
            }
            ImportError::File(PartError::Format(FormatError::Read { .. }) | PartError::Changed) => {
                false
            }
            ImportError::File(_) => true,
            _ => false,
        }
    }

    /// Imports one file and what belongs to it. `taken` gets the names of all that it was
    /// read from.
    fn take(
        &mut self,
        candidate: &Candidate,
        taken: &mut Vec<String>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), ImportError> {
        let files = Arc::new(Noted::new(&self.plan.folder));
        let opened = read::open(files.clone(), &candidate.name, ReadOptions::default());
        let found = opened.and_then(|reader| survey(reader, &mut |_| {}));
        taken.push(candidate.name.clone());
        let found = found.map_err(PartError::Format)?;
        let own = files.opened();
        taken.extend(own.iter().cloned());
        let content = files.digest().map_err(|source| ImportError::Disk {
            act: "read",
            path: self.plan.folder.clone(),
            source,
        })?;
        if self.ledger.is_done(&content) {
            tracing::info!(event = "ImportFileRepeated");
            return self.folder.done(&own);
        }
        let parts = parts(&found)?;
        let file = OneFile {
            name: &candidate.name,
            files,
            content,
            recording: &found.recording,
            start: start(&found, candidate.modified_us),
        };
        for (place, part) in parts.iter().enumerate() {
            self.carry(&file, place, part, stopped)?;
        }
        self.ledger.done(&content)?;
        self.waiting = None;
        let samples: u64 = parts.iter().map(Part::samples).sum();
        let detail = format!(
            "{}: {} acquisition(s), {samples} samples, {} mark(s) stay in the file",
            found.recording.format,
            parts.len(),
            found.recording.annotations.len()
        );
        tracing::info!(
            event = "ImportFileDone",
            acquisitions = parts.len(),
            samples
        );
        self.tell("import.done", detail)?;
        self.folder.done(&own)
    }

    fn carry(
        &mut self,
        file: &OneFile<'_>,
        place: usize,
        part: &Part,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), ImportError> {
        let id = self
            .ledger
            .next_name(&self.plan.device, &file.content, place);
        let notes = self.keep.open().map_err(ImportError::Outbox)?;
        let note = notes.into_iter().find(|note| note.acquisition == id);
        if note.is_none() && self.ledger.is_ending(id) {
            return Ok(());
        }
        let reader = read::open(file.files.clone(), file.name, ReadOptions::default());
        Carrier {
            keep: &self.keep,
            clock: &*self.clock,
            ids: &mut *self.ids,
            ledger: &mut self.ledger,
            start: file.start,
            part,
            acquisition: part.acquisition(id, &self.plan.told(), file.recording),
            made: Vec::new(),
        }
        .carry(reader.map_err(PartError::Format)?, note.as_ref(), stopped)
    }

    /// Ends acquisitions whose file has been away for too long.
    fn give_up_if_away(&mut self, now: BoxInstant) -> Result<(), ImportError> {
        let mut notes = self.keep.open().map_err(ImportError::Outbox)?;
        notes.retain(|note| note.source == self.plan.source);
        if notes.is_empty() {
            self.waiting = None;
            return Ok(());
        }
        let since = *self.waiting.get_or_insert(now);
        let away_us = now.micros_since(&since).unwrap_or(0);
        if Duration::from_micros(away_us) <= self.plan.resume_within {
            return Ok(());
        }
        for note in notes {
            self.ledger.lost(note.acquisition)?;
            let ended = carry::ended(&note, self.head(), EndReason::SourceLost);
            self.keep
                .keep(Lane::Bulk, vec![ended])
                .map_err(ImportError::Outbox)?;
        }
        self.waiting = None;
        Ok(())
    }

    fn head(&mut self) -> RecordHead {
        let at = self.clock.read();
        RecordHead {
            id: self.ids.record(at.utc),
            at,
        }
    }

    /// Tells the gateway, without names of files: they may name a patient.
    fn tell(&mut self, code: &'static str, detail: String) -> Result<(), ImportError> {
        let record = Record::BoxEvent(BoxEventV1 {
            head: self.head(),
            code: code.to_owned(),
            source: Some(self.plan.source.clone()),
            detail,
        });
        self.keep
            .keep(Lane::Log, vec![record])
            .map_err(ImportError::Outbox)
    }
}
