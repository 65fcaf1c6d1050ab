//! Recordings that come as files, from recorders and older systems that no box knows.
//!
//! - A file is surveyed before it is taken; what cannot be read is refused with the reason.
//! - Taken means stored: file, document and the beginnings of its reports are one transaction,
//!   and only then is the upload answered. Its samples are filed after that, a few at a time so
//!   that the writing of alerts never waits long, and go on after any stop where they ended.
//! - One file is one recording however often it comes: all names follow from its content. The
//!   same content for another patient is refused.
//!
//! Deliberately absent: HTTP, assessment and alerts. What was recorded elsewhere calls nobody.

mod files;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::subject::SubjectRef;
use cardio_fhir::ids;
use cardio_formats::parts::PartError;
use cardio_wire::record::Record;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use crate::db::{Connection, DbError, Readers, Writer};
use crate::filing::{self, Opened, OpenedRecord};
use crate::record;
use plan::{File, Plan};

pub(crate) use files::{DESK, Document, document};

/// Records of a file that are filed in one transaction: well under a second of writing.
const GROUP: usize = 16;
/// How often files are looked for that another program took.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pause after a failure of the store.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// It is no recording that can be read.
    #[error("the file is no recording that can be filed")]
    File(#[source] PartError),
    /// There is no such patient.
    #[error("there is no Patient/{subject}; write the patient first")]
    NoPatient {
        /// The logical id.
        subject: String,
    },
    /// The same content was filed for somebody else.
    #[error("this very file is filed for Patient/{subject} already")]
    OtherPatient {
        /// The logical id.
        subject: String,
    },
    /// The record failed.
    #[error("the record failed")]
    Store(#[from] DbError),
}

impl UploadError {
    /// Stable identifier for logs and answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::NoPatient { .. } => "upload.no-patient",
            Self::OtherPatient { .. } => "upload.other-patient",
            Self::Store(error) => error.code(),
        }
    }
}

/// A file that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Logical id of the Binary.
    pub binary: String,
    /// Logical id of the DocumentReference.
    pub document: String,
    /// Whether it came for the first time.
    pub is_new: bool,
    /// What was wrong with it although it could be read.
    pub warnings: Vec<String>,
}

/// Takes files and files them. Clones share one bell.
#[derive(Clone)]
pub struct Uploads {
    record: Writer,
    readers: Readers,
    clock: Arc<dyn Clock>,
    taken: Arc<Notify>,
}

impl std::fmt::Debug for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploads").finish_non_exhaustive()
    }
}

impl Uploads {
    /// Uploads into a record.
    pub fn new(record: Writer, readers: Readers, clock: Arc<dyn Clock>) -> Self {
        Self {
            record,
            readers,
            clock,
            taken: Arc::default(),
        }
    }

    /// Takes a file for a patient; it is durable when this returns.
    ///
    /// # Errors
    /// [`UploadError`]; nothing of the file is then kept.
    pub async fn take(
        &self,
        bytes: Vec<u8>,
        media_type: String,
        subject: SubjectRef,
    ) -> Result<Taken, UploadError> {
        let accepted = self.clock.read().utc;
        let of = subject.clone();
        let surveying = tokio::task::spawn_blocking(move || {
            let file = File::new(bytes, &media_type);
            let plan = plan::plan(&file, &of, accepted, None);
            plan.map(|plan| (file, plan))
        });
        let surveyed = surveying.await.map_err(|_| DbError::Closed)?;
        let (file, plan) = surveyed.map_err(UploadError::File)?;
        let warnings = plan.warnings.clone();
        let kept = self
            .record
            .write(move |tx| keep(tx, &file, &plan, &subject, accepted));
        let kept = kept.await?;
        self.taken.notify_one();
        kept.map(|taken| Taken { warnings, ..taken })
    }

    /// Files what was taken until `stop` becomes true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let (uploads, stopping) = (self.clone(), stop.clone());
            let work = tokio::task::spawn_blocking(move || uploads.file_all(&stopping));
            let wait = match work.await {
                Ok(Ok(())) => LOOK_EVERY,
                Ok(Err(error)) => {
                    tracing::error!(event = "UploadFiledError", code = error.code(), "{error}");
                    RETRY_AFTER
                }
                Err(_) => {
                    tracing::error!(event = "UploadFiledError", code = "upload.stopped");
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = self.taken.notified() => {}
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Files all that is left of every file.
    fn file_all(&self, stop: &watch::Receiver<bool>) -> Result<(), DbError> {
        for left in self.readers.read(files::unfinished)? {
            if *stop.borrow() {
                break;
            }
            self.file_one(&left, stop)?;
        }
        Ok(())
    }

    fn file_one(
        &self,
        left: &files::Unfinished,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), DbError> {
        let hash = left.hash;
        let (bytes, filed) = self
            .readers
            .read(move |c| Ok((files::bytes(c, &hash)?, files::filed(c, &hash)?)))?;
        let file = File::new(bytes, &left.media_type);
        let mut group = Vec::with_capacity(GROUP);
        let mut failed = None;
        let mut each = |number, record| {
            group.push(opened(&hash, number, record, left.accepted));
            if group.len() >= GROUP {
                failed = self.write(std::mem::take(&mut group)).err();
            }
            failed.is_none() && !*stop.borrow()
        };
        let done = plan::plan(&file, &left.subject, left.accepted, Some(left.start))
            .and_then(|plan| plan.records_after(&file, filed, &mut each));
        if let Some(error) = failed {
            return Err(error);
        }
        if let Err(error) = done {
            // A file is taken only when it can be read: this program reads it otherwise.
            tracing::error!(event = "UploadReadError", code = error.code(), "{error}");
            return Ok(());
        }
        self.write(group)?;
        tracing::info!(event = "UploadFiled", records = left.records);
        Ok(())
    }

    /// Files a group, unless another program was faster.
    fn write(&self, group: Vec<Opened>) -> Result<(), DbError> {
        let now = self.clock.read().utc;
        self.record
            .write_blocking(move |tx| filing::file_quietly(tx, group, now).map(|_| ()))
    }
}

/// A file's record as those of boxes are filed; its fingerprint is the file's.
fn opened(hash: &[u8; 32], number: u64, record: Record, received: UtcMicros) -> Opened {
    let bytes = Zeroizing::new(record.encode());
    Opened {
        identity: files::identity(hash, number),
        fingerprint: *hash,
        received,
        outcome: Ok(OpenedRecord { record, bytes }),
        carried: false,
    }
}

fn keep(
    tx: &Connection,
    file: &File,
    plan: &Plan,
    subject: &SubjectRef,
    accepted: UtcMicros,
) -> Result<Result<Taken, UploadError>, DbError> {
    let taken = |known: &files::Known, is_new| Taken {
        binary: known.binary.clone(),
        document: known.document.clone(),
        is_new,
        warnings: Vec::new(),
    };
    if let Some(known) = files::known(tx, &file.hash)? {
        return Ok(match known.subject == subject.as_str() {
            true => Ok(taken(&known, false)),
            false => Err(UploadError::OtherPatient {
                subject: known.subject,
            }),
        });
    }
    if record::read(tx, "Patient", subject.as_str())?.is_none() {
        let subject = subject.as_str().to_owned();
        return Ok(Err(UploadError::NoPatient { subject }));
    }
    let Some(first) = plan.acquisitions().next() else {
        return Ok(Err(UploadError::File(PartError::Empty)));
    };
    let media_type = file.media_type();
    let known = files::Known {
        binary: ids::binary(first.id, media_type),
        document: ids::document(first.id, media_type),
        subject: subject.as_str().to_owned(),
    };
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &file.bytes);
    let new = files::NewFile {
        file,
        known: &known,
        sha1: sha1.as_ref().first_chunk().copied().unwrap_or_default(),
        accepted,
        plan,
    };
    files::insert(tx, &new)?;
    let starts = plan.acquisitions().count();
    let mut group = Vec::with_capacity(starts);
    let mut each = |number, record| {
        group.push(opened(&file.hash, number, record, accepted));
        group.len() < starts
    };
    match plan.records_after(file, 0, &mut each) {
        Err(error) => Err(DbError::Damaged { what: error.code() }),
        Ok(()) => {
            filing::file_quietly(tx, group, accepted)?;
            Ok(Ok(taken(&known, true)))
        }
    }
}
