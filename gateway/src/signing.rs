//! The doctor's word on an exam: what was concluded, of which state of the report, by whom, when.
//!
//! * A signature holds for the patient whom the exam was of when it was given, and for what the
//!   report then said. What is filed later makes the report one that was completed after it was
//!   signed; another patient makes it one that nobody has read.
//! * Signing again leaves the earlier signature where it is, and both versions in the history.
//!
//! Deliberately absent: who may sign (see [`crate::access`]), and how a report is worded.

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_fhir::ids;
use cardio_fhir::report::{Reading, ReportStatus, attestation};
use serde_json::Value;

use crate::db::{Connection, DbError, Writer, values};
use crate::filing::{self, Content, Exam};
use crate::inbox::{BoxLore, Inbox, lore_within};
use crate::record::{self, Versioned, is_version};

/// Why a report was not signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// No exam has this report.
    #[error("no exam has the report {id}")]
    NoReport {
        /// Its logical id.
        id: String,
    },
    /// Somebody else's version, or a newer one, is the current one.
    #[error("the report has changed since it was read: read version {current} and sign that one")]
    Version {
        /// The current version.
        current: u64,
    },
    /// More will come.
    #[error("the recording goes on: a report is signed when it is complete")]
    GoesOn,
    /// Nobody knows whose it is.
    #[error("the exam belongs to no patient yet: assign it first (`records assign`)")]
    NoPatient,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
}

/// What a doctor signs.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Logical id of the report.
    pub(crate) report: String,
    /// The version that was read, as `If-Match` has it.
    pub(crate) version: String,
    /// The doctor, as a reference such as `Practitioner/d1`.
    pub(crate) who: String,
    /// The conclusion.
    pub(crate) conclusion: String,
}

/// A signature that holds.
#[derive(Debug)]
pub(crate) struct Signature {
    /// When it was given.
    pub(crate) signed: UtcMicros,
    who: String,
    conclusion: String,
    is_first: bool,
    content: Content,
}

impl Signature {
    /// How far a report of this content is under this signature.
    pub(crate) fn status(&self, content: &Content) -> ReportStatus {
        match (*content == self.content, self.is_first) {
            (false, _) => ReportStatus::Appended,
            (true, true) => ReportStatus::Final,
            (true, false) => ReportStatus::Amended,
        }
    }

    /// What was concluded.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading {
            who: &self.who,
            conclusion: &self.conclusion,
            signed: self.signed,
        }
    }
}

/// The signature that holds for an exam as it is, if one does.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn newest(connection: &Connection, exam: &Exam) -> Result<Option<Signature>, DbError> {
    let row = connection.row(
        "read the signature of a report",
        "SELECT number, who, conclusion, signed_us, content FROM report_signatures
         WHERE acquisition = ?1 AND subject = ?2 ORDER BY number DESC LIMIT 1",
        values![exam.id(), exam.subject()],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let number: u64 = row.take(0)?;
    let earlier: Option<u64> = connection.cell(
        "look for an earlier signature",
        "SELECT number FROM report_signatures
         WHERE acquisition = ?1 AND subject = ?2 AND number < ?3 LIMIT 1",
        values![exam.id(), exam.subject(), number],
    )?;
    Ok(Some(Signature {
        who: row.take(1)?,
        conclusion: row.take(2)?,
        signed: row.take(3)?,
        content: Content(row.take(4)?),
        is_first: earlier.is_none(),
    }))
}

/// Signs a report; answers it as it is then.
///
/// # Errors
/// [`SignError`]; then nothing was changed.
pub(crate) async fn sign(
    (writer, inbox): (&Writer, &Inbox),
    clock: &dyn Clock,
    wanted: Wanted,
) -> Result<Versioned, SignError> {
    let id = wanted.report.clone();
    let exam = writer
        .readers()
        .read_async(move |c| exam_of(c, &id))
        .await?;
    let Some((acquisition, device)) = exam else {
        return Err(SignError::NoReport { id: wanted.report });
    };
    let lore = inbox.lore_async(vec![device]).await?;
    let now = clock.read().utc;
    let signing = writer.write(move |tx| {
        let lore = lore_within(tx, &[device], lore)?;
        note(tx, acquisition, &wanted, (&lore, now))
    });
    let signed = signing.await??;
    tracing::info!(event = "ReportSigned", acquisition = %acquisition, version = signed.version);
    Ok(signed)
}

/// The exam that a report is of, and its box.
fn exam_of(
    connection: &Connection,
    report: &str,
) -> Result<Option<(AcquisitionId, BoxId)>, DbError> {
    let Some(found) = record::read(connection, "DiagnosticReport", report)? else {
        return Ok(None);
    };
    let exam = found.resource.pointer("/identifier/0/value");
    let exam: Option<AcquisitionId> = exam.and_then(Value::as_str).and_then(|id| id.parse().ok());
    let Some(exam) = exam else {
        return Ok(None);
    };
    let device: Option<BoxId> = connection.cell(
        "find the box of an acquisition",
        "SELECT box FROM acquisitions WHERE id = ?1",
        values![exam],
    )?;
    Ok(device.map(|device| (exam, device)))
}

fn note(
    tx: &Connection,
    acquisition: AcquisitionId,
    wanted: &Wanted,
    (lore, now): (&BoxLore, UtcMicros),
) -> Result<Result<Versioned, SignError>, DbError> {
    let none = || SignError::NoReport {
        id: wanted.report.clone(),
    };
    let Some(current) = record::read(tx, "DiagnosticReport", &wanted.report)? else {
        return Ok(Err(none()));
    };
    let Some(exam) = filing::load_exam(tx, acquisition, lore)? else {
        return Ok(Err(none()));
    };
    if !is_version(&wanted.version, current.version) {
        let current = current.version;
        return Ok(Err(SignError::Version { current }));
    }
    if exam.ended.is_none() {
        return Ok(Err(SignError::GoesOn));
    }
    if exam.acquisition().subject.is_none() {
        return Ok(Err(SignError::NoPatient));
    }
    tx.execute(
        "note the signature of a report",
        "INSERT INTO report_signatures
           (acquisition, number, subject, who, conclusion, signed_us, content)
         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4, ?5, ?6
         FROM report_signatures WHERE acquisition = ?1",
        values![
            acquisition,
            exam.subject(),
            wanted.who,
            wanted.conclusion,
            now,
            filing::content(tx, &exam)?.0
        ],
    )?;
    filing::put_report(tx, &exam, now)?;
    let Some(signed) = record::read(tx, "DiagnosticReport", &wanted.report)? else {
        return Ok(Err(none()));
    };
    put_attestation(tx, &exam, (wanted, signed.version), now)?;
    Ok(Ok(signed))
}

fn put_attestation(
    tx: &Connection,
    exam: &Exam,
    (wanted, version): (&Wanted, u64),
    now: UtcMicros,
) -> Result<(), DbError> {
    let reading = Reading {
        who: &wanted.who,
        conclusion: &wanted.conclusion,
        signed: now,
    };
    let report = &wanted.report;
    let of = format!("DiagnosticReport/{report}/_history/{version}");
    let id = ids::attestation(exam.id(), version);
    let provenance = attestation(&id, &of, &reading, exam.context.simulated);
    record::put(tx, &provenance, now).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filed_after_a_signature_is_told_from_what_was_read() {
        let of = |is_first| Signature {
            signed: UtcMicros(1),
            who: "Practitioner/a".to_owned(),
            conclusion: "Rythme sinusal.".to_owned(),
            is_first,
            content: Content([1; 32]),
        };
        assert_eq!(of(true).status(&Content([1; 32])), ReportStatus::Final);
        assert_eq!(of(false).status(&Content([1; 32])), ReportStatus::Amended);
        for is_first in [true, false] {
            let status = of(is_first).status(&Content([2; 32]));
            assert_eq!(status, ReportStatus::Appended);
        }
    }
}
