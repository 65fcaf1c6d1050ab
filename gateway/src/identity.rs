//! Corrections of identity: an exam that was filed for the wrong patient, and two records that
//! are of one patient.
//!
//! * Nothing is taken away: each resource gets a new version, the older ones stay in its history,
//!   and a Provenance says what was corrected, when, by whom and why.
//! * A merge holds for ever: what arrives later under the merged id is filed for the patient who
//!   continues the record ([`crate::record::put`] sees to that), and so is what a box sends again.
//! * A correction is one transaction, and nothing of it is done before all of it is allowed.
//!
//! Deliberately absent: undoing a merge. An exam that belongs elsewhere is assigned there.

mod request;

use std::collections::BTreeSet;
use std::sync::Arc;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::subject::SubjectRef;
use cardio_fhir::ids;
use cardio_fhir::patient::{CorrectionFacts, LinkKind, correction, linked};
use serde_json::Value;

use crate::db::{Connection, DbError, Writer, values};
use crate::filing;
use crate::inbox::{BoxLore, Inbox, lore_within};
use crate::record;

/// Resources that the Provenance of one correction names.
const TARGETS_MAX: usize = 500;

/// Who corrects, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The person who answers for it, as the team calls them.
    pub by: String,
    /// Why, in words; no patient's identity.
    pub why: String,
}

/// What a correction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// Exams that belong to the patient now.
    pub acquisitions: u64,
    /// Versions of resources that were written.
    pub versions: u64,
    /// The Provenance that says so; none when nothing was to be done.
    pub provenance: Option<String>,
}

/// Why an identity was not corrected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Nobody of that id is filed.
    #[error("there is no Patient/{id}; write the patient first")]
    NoPatient {
        /// The logical id.
        id: String,
    },
    /// No exam of that id is filed.
    #[error("there is no acquisition {id}; `records find` lists them")]
    NoAcquisition {
        /// The acquisition.
        id: AcquisitionId,
    },
    /// A patient cannot be merged with themselves.
    #[error("both are Patient/{id}: name two patients")]
    Same {
        /// The logical id.
        id: String,
    },
    /// The record of that patient is continued elsewhere already.
    #[error("Patient/{id} is merged into Patient/{survivor}; name that one")]
    Merged {
        /// The logical id.
        id: String,
        /// Who continues the record.
        survivor: String,
    },
    /// No request of that id is filed.
    #[error("there is no ServiceRequest/{id}; write the request first")]
    NoRequest {
        /// The logical id.
        id: String,
    },
    /// Nobody asks for anything with it, or not any more.
    #[error("ServiceRequest/{id} is {status}; an exam is made for one that is active or completed")]
    RequestStatus {
        /// The logical id.
        id: String,
        /// Its status.
        status: String,
    },
    /// It was made for somebody else.
    #[error("ServiceRequest/{id} is not about the patient of the exam; assign the exam first")]
    RequestOfAnother {
        /// The logical id.
        id: String,
    },
    /// A fictitious patient and a real one.
    #[error("one of the two is a test identity and the other is not: they are never one patient")]
    Mixed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] DbError),
}

impl IdentityError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoPatient { .. } => "identity.no-patient",
            Self::NoAcquisition { .. } => "identity.no-acquisition",
            Self::Same { .. } => "identity.same",
            Self::Merged { .. } => "identity.merged",
            Self::NoRequest { .. } => "identity.no-request",
            Self::RequestStatus { .. } => "identity.request-status",
            Self::RequestOfAnother { .. } => "identity.request-of-another",
            Self::Mixed => "identity.mixed",
            Self::Store(error) => error.code(),
        }
    }
}

/// Corrects identities in the record.
#[derive(Clone)]
pub struct Identities {
    /// Writes the record.
    pub writer: Writer,
    /// What is known of the boxes that recorded.
    pub inbox: Inbox,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Identities {
    /// Files an exam for another patient.
    ///
    /// # Errors
    /// [`IdentityError`]; then nothing was changed.
    pub async fn assign(
        &self,
        acquisition: AcquisitionId,
        patient: SubjectRef,
        reason: Reason,
    ) -> Result<Corrected, IdentityError> {
        let device = self
            .writer
            .readers()
            .read_async(move |c| box_of(c, acquisition))
            .await?;
        let device = device.ok_or(IdentityError::NoAcquisition { id: acquisition })?;
        self.correct(vec![device], move |tx, lore, now| {
            assign(tx, acquisition, patient.as_str(), &reason, lore, now)
        })
        .await
    }

    /// Makes one record of two: that of `merged` is continued under `survivor`.
    ///
    /// # Errors
    /// [`IdentityError`]; then nothing was changed.
    pub async fn merge(
        &self,
        merged: SubjectRef,
        survivor: SubjectRef,
        reason: Reason,
    ) -> Result<Corrected, IdentityError> {
        let of = [merged.clone(), survivor.clone()];
        let boxes = self.writer.readers().read_async(move |c| {
            let mut boxes = BTreeSet::new();
            for patient in &of {
                boxes.extend(filing::boxes_of(c, patient.as_str())?);
            }
            Ok(boxes.into_iter().collect())
        });
        self.correct(boxes.await?, move |tx, lore, now| {
            merge(tx, merged.as_str(), survivor.as_str(), &reason, lore, now)
        })
        .await
    }

    async fn correct(
        &self,
        boxes: Vec<BoxId>,
        work: impl FnOnce(&Connection, &BoxLore, UtcMicros) -> Attempt + Send + 'static,
    ) -> Result<Corrected, IdentityError> {
        let lore = self.inbox.lore_async(boxes.clone()).await?;
        let now = self.clock.read().utc;
        let done = self.writer.write(move |tx| {
            let lore = lore_within(tx, &boxes, lore)?;
            work(tx, &lore, now)
        });
        let done = done.await??;
        tracing::info!(
            event = "IdentityCorrected",
            acquisitions = done.acquisitions,
            versions = done.versions
        );
        Ok(done)
    }
}

/// What a piece of work answers: a refusal has written nothing.
type Attempt = Result<Result<Corrected, IdentityError>, DbError>;

fn box_of(connection: &Connection, acquisition: AcquisitionId) -> Result<Option<BoxId>, DbError> {
    connection.cell(
        "find the box of an acquisition",
        "SELECT box FROM acquisitions WHERE id = ?1",
        values![acquisition],
    )
}

/// Why a patient cannot be given anything, if so.
fn standing(tx: &Connection, id: &str) -> Result<Result<Value, IdentityError>, DbError> {
    if let Some(survivor) = record::survivor(tx, id)? {
        let id = id.to_owned();
        return Ok(Err(IdentityError::Merged { id, survivor }));
    }
    Ok(match record::read(tx, "Patient", id)? {
        Some(found) => Ok(record::undressed(found.resource)),
        None => Err(IdentityError::NoPatient { id: id.to_owned() }),
    })
}

fn assign(
    tx: &Connection,
    acquisition: AcquisitionId,
    patient: &str,
    reason: &Reason,
    lore: &BoxLore,
    now: UtcMicros,
) -> Attempt {
    if let Err(refused) = standing(tx, patient)? {
        return Ok(Err(refused));
    }
    let act = "assign an acquisition";
    let before: Option<Option<String>> = tx.cell(
        act,
        "SELECT subject FROM acquisitions WHERE id = ?1",
        values![acquisition],
    )?;
    let Some(before) = before else {
        return Ok(Err(IdentityError::NoAcquisition { id: acquisition }));
    };
    if before.as_deref() == Some(patient) {
        return Ok(Ok(nothing()));
    }
    let begun = record::newest(tx)?;
    tx.execute(
        act,
        "UPDATE acquisitions SET subject = ?2 WHERE id = ?1",
        values![acquisition, patient],
    )?;
    // What was asked for the other patient was not asked for this one.
    tx.execute(
        act,
        "DELETE FROM exam_requests WHERE acquisition = ?1",
        values![acquisition],
    )?;
    filing::refresh_acquisition(tx, acquisition, lore, now)?;
    let report = format!("DiagnosticReport/{}", ids::report(acquisition));
    let mut targets = vec![report.clone()];
    if let Some(before) = &before {
        targets.extend(alerts_of(tx, &report, before, patient, now)?);
    }
    let of = ("Patient", before.as_deref(), patient);
    let provenance = explain(tx, of, &targets, reason, now)?;
    Ok(Ok(Corrected {
        acquisitions: 1,
        versions: record::newest(tx)?.saturating_sub(begun),
        provenance: Some(provenance),
    }))
}

const fn nothing() -> Corrected {
    Corrected {
        acquisitions: 0,
        versions: 0,
        provenance: None,
    }
}

/// Moves the alerts about an exam's report to the other patient, with what tells of them;
/// answers the addresses of what moved. All that is filed of an alert bears its identifier.
fn alerts_of(
    tx: &Connection,
    report: &str,
    before: &str,
    after: &str,
    now: UtcMicros,
) -> Result<Vec<String>, DbError> {
    let act = "move the alerts of an exam";
    let rows = tx.rows(
        act,
        "SELECT DISTINCT o.kind, o.id, o.code FROM index_references r
         JOIN index_tokens d ON d.kind = r.kind AND d.id = r.id AND d.param = 'identifier'
         JOIN index_tokens o ON o.kind IN ('DetectedIssue', 'Communication', 'Task')
           AND o.param = 'identifier' AND o.code = d.code
         WHERE r.kind = 'DetectedIssue' AND r.target = ?1",
        values![report],
    )?;
    let (from, to) = (format!("Patient/{before}"), format!("Patient/{after}"));
    let mut moved = Vec::with_capacity(rows.len());
    for mut row in rows {
        let (kind, id, alert): (String, String, String) =
            (row.take(0)?, row.take(1)?, row.take(2)?);
        record::repoint(tx, (&kind, &id), &from, &to, now)?;
        tx.execute(
            act,
            "UPDATE alerts SET subject = ?2 WHERE id = ?1",
            values![alert, after],
        )?;
        moved.push(format!("{kind}/{id}"));
    }
    Ok(moved)
}

fn merge(
    tx: &Connection,
    merged: &str,
    survivor: &str,
    reason: &Reason,
    lore: &BoxLore,
    now: UtcMicros,
) -> Attempt {
    if merged == survivor {
        let id = merged.to_owned();
        return Ok(Err(IdentityError::Same { id }));
    }
    let new = match standing(tx, survivor)? {
        Ok(patient) => patient,
        Err(refused) => return Ok(Err(refused)),
    };
    if record::survivor(tx, merged)?.as_deref() == Some(survivor) {
        return Ok(Ok(nothing()));
    }
    let old = match standing(tx, merged)? {
        Ok(patient) => patient,
        Err(refused) => return Ok(Err(refused)),
    };
    if is_test(&old) != is_test(&new) {
        return Ok(Err(IdentityError::Mixed));
    }
    let begun = record::newest(tx)?;
    let act = "merge two patients";
    let acquisitions = filing::acquisitions_of(tx, merged)?;
    for sql in [
        "UPDATE merges SET survivor = ?2 WHERE survivor = ?1",
        "UPDATE acquisitions SET subject = ?2 WHERE subject = ?1",
        "UPDATE alerts SET subject = ?2 WHERE subject = ?1",
        "UPDATE files SET subject = ?2 WHERE subject = ?1",
        "UPDATE report_signatures SET subject = ?2 WHERE subject = ?1",
    ] {
        tx.execute(act, sql, values![merged, survivor])?;
    }
    tx.execute(
        act,
        "INSERT INTO merges (merged, survivor, merged_us) VALUES (?1, ?2, ?3)",
        values![merged, survivor, now],
    )?;
    record::put(tx, &linked(old, LinkKind::ReplacedBy, survivor), now)?;
    record::put(tx, &linked(new, LinkKind::Replaces, merged), now)?;
    let mut targets = vec![format!("Patient/{survivor}"), format!("Patient/{merged}")];
    for acquisition in &acquisitions {
        filing::refresh_acquisition(tx, *acquisition, lore, now)?;
        targets.push(format!("DiagnosticReport/{}", ids::report(*acquisition)));
    }
    let (from, to) = (format!("Patient/{merged}"), format!("Patient/{survivor}"));
    for address in record::filed_for(tx, &from)? {
        if let Some((kind, id)) = address.split_once('/') {
            record::repoint(tx, (kind, id), &from, &to, now)?;
        }
    }
    let of = ("Patient", Some(merged), survivor);
    let provenance = explain(tx, of, &targets, reason, now)?;
    Ok(Ok(Corrected {
        acquisitions: u64::try_from(acquisitions.len()).unwrap_or(u64::MAX),
        versions: record::newest(tx)?.saturating_sub(begun),
        provenance: Some(provenance),
    }))
}

fn is_test(patient: &Value) -> bool {
    let labels = patient.pointer("/meta/security").and_then(Value::as_array);
    labels
        .into_iter()
        .flatten()
        .any(|label| label.get("code").and_then(Value::as_str) == Some("HTEST"))
}

/// Files what was corrected, when, by whom and why.
fn explain(
    tx: &Connection,
    (kind, before, after): (&str, Option<&str>, &str),
    targets: &[String],
    reason: &Reason,
    now: UtcMicros,
) -> Result<String, DbError> {
    let id = uuid::Uuid::new_v4().to_string();
    let resource = correction(&CorrectionFacts {
        id: &id,
        kind,
        before,
        after,
        targets: targets.get(..TARGETS_MAX).unwrap_or(targets),
        by: &reason.by,
        why: &reason.why,
        recorded: now,
    });
    record::put(tx, &resource, now)?;
    Ok(id)
}
