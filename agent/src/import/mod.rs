//! Files of recorders become acquisitions: whatever lies complete in the drop folder is
//! read, sealed record by record, and put aside as done or as refused with the reason. What
//! sensors kept and gave ([`Delivery`]) goes the same way, out of memory.
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
//! - Behind its records the file itself is sent, byte for byte ([`original`]): what is not read
//!   here, such as marks and remarks, is in there.
//!
//! Deliberately absent: what the file says of the patient. Whose it is says who configured the
//! box, or chose the visit.

mod begin;
mod carry;
mod delivery;
mod folder;
mod ledger;
mod original;
mod source;
mod start;
mod thread;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cardio_core::acquisition::Attendance;
use cardio_core::clock::{BoxInstant, Clock, UtcMicros};
use cardio_core::ids::{AcquisitionId, BoxId, SourceId};
use cardio_core::subject::SubjectRef;
use cardio_formats::parts::{Part, PartError, Told, parts};
use cardio_formats::source::Source;
use cardio_formats::survey::{Survey, survey};
use cardio_formats::{FormatError, ReadOptions, read};
use cardio_store::{OpenAcquisition, Outbox, OutboxError};
use cardio_wire::lane::Lane;
use cardio_wire::record::{BoxEventV1, EndReason, ORIGINAL_MAX_BYTES, Record, RecordHead};
use tokio::sync::{Notify, watch};

use crate::ids::Ids;
use crate::worklist::Choice;
use carry::Carrier;
pub use delivery::{Delivered, Delivery, Mark};
use folder::{Candidate, Folder};
use ledger::Ledger;
use original::{Cut, PartSender};
use source::Noted;
use start::start;
pub use thread::ImportThread;

/// How often the folder is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is told of a file that does not travel as it is.
const ORIGINAL_TOO_LARGE: &str = "import.original-too-large";

/// What an import is told.
#[derive(Clone, Debug)]
pub struct ImportPlan {
    /// The drop folder, if there is one.
    pub folder: Option<PathBuf>,
    /// Sensors whose own recordings are delivered.
    pub sensors: Vec<SourceId>,
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
    /// The patient, as an opaque reference, while no visit is chosen.
    pub subject: Option<SubjectRef>,
    /// The visit that a person has chosen.
    pub choice: watch::Receiver<Choice>,
}

impl ImportPlan {
    /// What every acquisition of a file in the folder is told.
    fn told(&self) -> Told {
        told(&self.source, self.subject.as_ref())
    }

    fn is_ours(&self, source: &SourceId) -> bool {
        *source == self.source || self.sensors.contains(source)
    }
}

fn told(source: &SourceId, subject: Option<&SubjectRef>) -> Told {
    Told {
        subject: subject.cloned(),
        request: None,
        source: source.clone(),
        attendance: Attendance::Unattended,
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
    /// It is larger than what may travel as it is.
    #[error("the file has {size} bytes, more than the {ORIGINAL_MAX_BYTES} that may travel")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
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
            Self::TooLarge { .. } => ORIGINAL_TOO_LARGE,
            Self::Stopped => "import.stopped",
        }
    }
}

/// A file that is being imported.
struct OneFile<'a> {
    name: &'a str,
    files: Arc<dyn Source>,
    /// All that it was read from.
    names: &'a [String],
    content: [u8; 32],
    told: Told,
    found: &'a Survey,
    start: UtcMicros,
}

/// Imports what lies in a folder, and what is delivered, until it is told to stop.
pub struct Import<K> {
    plan: ImportPlan,
    keep: K,
    clock: Arc<dyn Clock>,
    ids: Box<dyn Ids>,
    folder: Option<Folder>,
    ledger: Ledger,
    /// Since when an acquisition of a source waits for a file that is not there.
    waiting: BTreeMap<SourceId, BoxInstant>,
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
            folder: plan
                .folder
                .as_deref()
                .map(|folder| Folder::new(folder, plan.quiet_for)),
            ledger: Ledger::open(&plan.state)?,
            plan,
            keep,
            clock,
            ids,
            waiting: BTreeMap::new(),
            failing: None,
        })
    }

    /// Takes what is delivered and looks again and again, until `stopped` says so or nobody
    /// can deliver any more.
    pub fn run(mut self, deliveries: &Receiver<Delivery>, stopped: &dyn Fn() -> bool) {
        while !stopped() {
            match deliveries.recv_timeout(LOOK) {
                Ok(delivery) => self.deliver(delivery, stopped),
                Err(RecvTimeoutError::Timeout) => self.look(stopped),
                Err(RecvTimeoutError::Disconnected) => return,
            }
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
        let candidates = match &mut self.folder {
            Some(folder) => folder.look(now)?,
            None => Some(Vec::new()),
        };
        let Some(candidates) = candidates else {
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
                    let source = self.plan.source.clone();
                    self.tell("import.refused", &source, err.code().to_owned())?;
                    if let Some(folder) = &mut self.folder {
                        folder.refuse(&candidate.name, &err)?;
                    }
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
                let folder = self.plan.folder.as_deref();
                source.kind() == std::io::ErrorKind::NotFound
                    && folder.is_some_and(|folder| folder.join(&candidate.name).exists())
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
        let Some(folder) = self.plan.folder.clone() else {
            return Ok(());
        };
        let files = Arc::new(Noted::new(&folder));
        let opened = read::open(files.clone(), &candidate.name, ReadOptions::default());
        let found = opened.and_then(|reader| survey(reader, &mut |_| {}));
        taken.push(candidate.name.clone());
        let found = found.map_err(PartError::Format)?;
        let own = files.opened();
        taken.extend(own.iter().cloned());
        let content = files.digest().map_err(|source| ImportError::Disk {
            act: "read",
            path: folder,
            source,
        })?;
        let file = OneFile {
            name: &candidate.name,
            files,
            names: &own,
            content,
            told: self.plan.told(),
            start: start(&found, candidate.modified_us),
            found: &found,
        };
        self.take_in(&file, stopped)?;
        match &mut self.folder {
            Some(folder) => folder.done(&own),
            None => Ok(()),
        }
    }

    /// Makes everything of a file durable in the outbox, once however often it comes, and
    /// says how many samples it has.
    fn take_in(
        &mut self,
        file: &OneFile<'_>,
        stopped: &dyn Fn() -> bool,
    ) -> Result<u64, ImportError> {
        let parts = parts(file.found)?;
        let samples: u64 = parts.iter().map(Part::samples).sum();
        if self.ledger.is_done(&file.content) {
            tracing::info!(event = "ImportFileRepeated");
            return Ok(samples);
        }
        let acquisitions = self.begin(file, &parts)?;
        for (id, part) in acquisitions.iter().zip(&parts) {
            self.carry(file, *id, part, stopped)?;
        }
        for name in file.names {
            self.send_original(file, name, &acquisitions, stopped)?;
        }
        self.ledger.done(&file.content)?;
        self.waiting.remove(&file.told.source);
        let recording = &file.found.recording;
        let detail = format!(
            "{}: {} acquisition(s), {samples} samples, {} mark(s) in the original only",
            recording.format,
            parts.len(),
            recording.annotations.len()
        );
        tracing::info!(
            event = "ImportFileDone",
            acquisitions = parts.len(),
            samples
        );
        self.tell("import.done", &file.told.source, detail)?;
        Ok(samples)
    }

    /// Keeps the samples of one part, from where an earlier try ended.
    fn carry(
        &mut self,
        file: &OneFile<'_>,
        id: AcquisitionId,
        part: &Part,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), ImportError> {
        let notes = self.keep.open().map_err(ImportError::Outbox)?;
        // what has begun and is not open has ended
        let Some(note) = notes.into_iter().find(|note| note.acquisition == id) else {
            return Ok(());
        };
        let reader = read::open(file.files.clone(), file.name, ReadOptions::default());
        Carrier {
            keep: &self.keep,
            clock: &*self.clock,
            ids: &mut *self.ids,
            ledger: &mut self.ledger,
            start: file.start,
            part,
            acquisition: part.acquisition(id, &file.told, &file.found.recording),
            made: Vec::new(),
        }
        .carry(reader.map_err(PartError::Format)?, &note, stopped)
    }

    /// Makes the bytes of a file durable in the outbox, as they are.
    fn send_original(
        &mut self,
        of: &OneFile<'_>,
        name: &str,
        acquisitions: &[AcquisitionId],
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), ImportError> {
        let folder = self.plan.folder.as_deref();
        let path = folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        let cut = Cut::of(&*of.files, name).map_err(|source| ImportError::Disk {
            act: "read",
            path: path.clone(),
            source,
        })?;
        match cut {
            None => Ok(()),
            Some(cut) if cut.is_too_large() => {
                let detail = format!("{} bytes stay where they are", cut.size);
                self.tell(ORIGINAL_TOO_LARGE, &of.told.source, detail)
            }
            Some(cut) => PartSender {
                keep: &self.keep,
                clock: &*self.clock,
                ids: &mut *self.ids,
                ledger: &mut self.ledger,
                acquisitions,
                path,
            }
            .send(&*of.files, name, &cut, stopped),
        }
    }

    /// Ends acquisitions whose file has been away for too long.
    fn give_up_if_away(&mut self, now: BoxInstant) -> Result<(), ImportError> {
        let mut notes = self.keep.open().map_err(ImportError::Outbox)?;
        notes.retain(|note| self.plan.is_ours(&note.source));
        self.waiting
            .retain(|source, _| notes.iter().any(|note| note.source == *source));
        for note in notes {
            let since = *self.waiting.entry(note.source.clone()).or_insert(now);
            let away_us = now.micros_since(&since).unwrap_or(0);
            if Duration::from_micros(away_us) <= self.plan.resume_within {
                continue;
            }
            self.ledger.lost(note.acquisition)?;
            let ended = carry::ended(&note, self.head(), EndReason::SourceLost);
            self.keep
                .keep(Lane::Bulk, vec![ended])
                .map_err(ImportError::Outbox)?;
        }
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
    fn tell(
        &mut self,
        code: &'static str,
        source: &SourceId,
        detail: String,
    ) -> Result<(), ImportError> {
        let record = Record::BoxEvent(BoxEventV1 {
            head: self.head(),
            code: code.to_owned(),
            source: Some(source.clone()),
            detail,
        });
        self.keep
            .keep(Lane::Log, vec![record])
            .map_err(ImportError::Outbox)
    }
}
