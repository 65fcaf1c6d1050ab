//! The request that an exam was made for, as a person says.
//!
//! Deliberately absent: guessing it. Two requests of one day look alike, and a wrong link would
//! close the wrong one.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use cardio_fhir::ids;
use serde_json::Value;

use super::{Attempt, Corrected, Identities, IdentityError, Reason, box_of, explain, nothing};
use crate::db::{Connection, DbError, values};
use crate::filing;
use crate::inbox::BoxLore;
use crate::record;

impl Identities {
    /// Says which request an exam was made for; its report names it from then on.
    ///
    /// # Errors
    /// [`IdentityError`]; then nothing was changed.
    pub async fn request(
        &self,
        acquisition: AcquisitionId,
        request: String,
        reason: Reason,
    ) -> Result<Corrected, IdentityError> {
        let of = self.writer.readers();
        let device = of.read_async(move |c| box_of(c, acquisition)).await?;
        let device = device.ok_or(IdentityError::NoAcquisition { id: acquisition })?;
        self.correct(vec![device], move |tx, lore, now| {
            link(tx, acquisition, &request, &reason, lore, now)
        })
        .await
    }
}

fn link(
    tx: &Connection,
    acquisition: AcquisitionId,
    request: &str,
    reason: &Reason,
    lore: &BoxLore,
    now: UtcMicros,
) -> Attempt {
    if let Err(refused) = allowed(tx, acquisition, request)? {
        return Ok(Err(refused));
    }
    let act = "note the request of an exam";
    let before: Option<String> = tx.cell(
        act,
        "SELECT request FROM exam_requests WHERE acquisition = ?1",
        values![acquisition],
    )?;
    if before.as_deref() == Some(request) {
        return Ok(Ok(nothing()));
    }
    let begun = record::newest(tx)?;
    tx.execute(
        act,
        "INSERT INTO exam_requests (acquisition, request) VALUES (?1, ?2)
         ON CONFLICT (acquisition) DO UPDATE SET request = excluded.request",
        values![acquisition, request],
    )?;
    filing::refresh_acquisition(tx, acquisition, lore, now)?;
    let targets = [format!("DiagnosticReport/{}", ids::report(acquisition))];
    let of = ("ServiceRequest", before.as_deref(), request);
    let provenance = explain(tx, of, &targets, reason, now)?;
    Ok(Ok(Corrected {
        acquisitions: 1,
        versions: record::newest(tx)?.saturating_sub(begun),
        provenance: Some(provenance),
    }))
}

/// Whether an exam may be made for a request: both are of one patient, and it was asked for.
fn allowed(
    tx: &Connection,
    acquisition: AcquisitionId,
    request: &str,
) -> Result<Result<(), IdentityError>, DbError> {
    let id = request.to_owned();
    let Some(found) = record::read(tx, "ServiceRequest", request)? else {
        return Ok(Err(IdentityError::NoRequest { id }));
    };
    let text = |at: &str| found.resource.pointer(at).and_then(Value::as_str);
    let status = text("/status").unwrap_or("without a status");
    if !["active", "completed"].contains(&status) {
        let status = status.to_owned();
        return Ok(Err(IdentityError::RequestStatus { id, status }));
    }
    let subject: Option<Option<String>> = tx.cell(
        "find the patient of an acquisition",
        "SELECT subject FROM acquisitions WHERE id = ?1",
        values![acquisition],
    )?;
    let Some(subject) = subject else {
        return Ok(Err(IdentityError::NoAcquisition { id: acquisition }));
    };
    let patient = subject.map(|subject| format!("Patient/{subject}"));
    Ok(
        match text("/subject/reference") == patient.as_deref() && patient.is_some() {
            true => Ok(()),
            false => Err(IdentityError::RequestOfAnother { id }),
        },
    )
}
