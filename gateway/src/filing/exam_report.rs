//! The exam as a whole: its report, its original, its origin.

use cardio_core::clock::UtcMicros;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_fhir::ids;
use cardio_fhir::report::{
    ChainStretch, DocumentFacts, ProvenanceFacts, ReportFacts, ReportStatus, diagnostic_report,
    document_reference, provenance,
};
use cardio_fhir::time::Effective;
use cardio_wire::lane::{ChainId, Lane};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde_json::{Value, json};

use super::exam::{Exam, ORIGINAL_MEDIA_TYPE, each_record};
use super::originals;
use super::resources::{anchors, gaps, named, with_error};
use crate::clock::boots::Dated;
use crate::db::{Connection, DbError, values};
use crate::signing::{self, Signature};
use crate::{record, upload};

/// Writes the report and the files that came beside the exam; and the original and its origin: of
/// an uploaded file at once, else at the end of the acquisition.
pub(crate) fn put(connection: &Connection, exam: &Exam, now: UtcMicros) -> Result<(), DbError> {
    let outcome = Outcome::of(connection, exam)?;
    let (effective, newest) = (outcome.effective, newest(connection, exam)?);
    write_report(connection, exam, &outcome, newest, now)?;
    originals::put(connection, exam, effective, now)?;
    if exam.ended.is_some() || exam.device == upload::DESK {
        let document = put_original(connection, exam, effective, newest, now)?;
        put_origin(connection, exam, effective, &document, newest, now)?;
    }
    forget_due(connection, exam.id())
}

/// Notes that records came after the report was written. It is written anew from everything
/// there is: once when nothing else is to be filed, and not after every group of records.
pub(crate) fn put_later(connection: &Connection, exam: &Exam) -> Result<(), DbError> {
    connection
        .execute(
            "note that a report is due",
            "INSERT INTO reports_due (acquisition, box) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            values![exam.id(), exam.device],
        )
        .map(|_| ())
}

/// An acquisition whose report is due, and its box.
pub(super) fn due(connection: &Connection) -> Result<Option<(AcquisitionId, BoxId)>, DbError> {
    let row = connection.row(
        "look for a report that is due",
        "SELECT acquisition, box FROM reports_due LIMIT 1",
        values![],
    )?;
    row.map(|mut row| Ok((row.take(0)?, row.take(1)?)))
        .transpose()
}

/// Notes that a report is written.
pub(super) fn forget_due(
    connection: &Connection,
    acquisition: AcquisitionId,
) -> Result<(), DbError> {
    connection
        .execute(
            "note that a report is written",
            "DELETE FROM reports_due WHERE acquisition = ?1",
            values![acquisition],
        )
        .map(|_| ())
}

/// When the newest record of an acquisition was received.
fn newest(connection: &Connection, exam: &Exam) -> Result<UtcMicros, DbError> {
    let at: Option<Option<UtcMicros>> = connection.cell(
        "find the newest record of an acquisition",
        "SELECT max(received_us) FROM records WHERE acquisition = ?1 AND box = ?2",
        values![exam.id(), exam.device],
    )?;
    Ok(at.flatten().unwrap_or(UtcMicros(0)))
}

pub(super) fn covered(connection: &Connection, exam: &Exam) -> Result<(Effective, Dated), DbError> {
    let Some((start_anchor, first, end_anchor, last)) = anchors(connection, exam)? else {
        let dated = exam.wall(&exam.started.head.at);
        let (start, end) = (dated.at, dated.at);
        let effective = if dated.is_vouched_for() {
            Effective::At(start)
        } else {
            Effective::Unvouched { start, end }
        };
        return Ok((effective, dated));
    };
    let dated = exam.time_of(first, &start_anchor);
    let ended = exam.time_of(last, &end_anchor);
    let (start, end) = (dated.at, ended.at);
    let vouched = dated.is_vouched_for() && ended.is_vouched_for() && start <= end;
    let effective = if vouched {
        Effective::Over { start, end }
    } else {
        Effective::Unvouched { start, end }
    };
    Ok((effective, dated))
}

pub(super) const fn period(effective: Effective) -> Option<(UtcMicros, UtcMicros)> {
    match effective {
        Effective::Over { start, end } => Some((start, end)),
        _ => None,
    }
}

/// What came of an exam and what is missing, as its report has it.
struct Outcome {
    effective: Effective,
    dated: Dated,
    results: Vec<String>,
    gaps: Vec<Gap>,
}

impl Outcome {
    fn of(connection: &Connection, exam: &Exam) -> Result<Self, DbError> {
        let (effective, dated) = covered(connection, exam)?;
        let results = connection.cells(
            "list the results of an acquisition",
            "SELECT id FROM results WHERE acquisition = ?1 ORDER BY first, id",
            values![exam.id()],
        )?;
        let filed = gaps(connection, exam, (0, u64::MAX))?;
        let mut gaps: Vec<Gap> = filed.iter().map(|g| g.gap).collect();
        gaps.extend(holes(connection, exam)?);
        gaps.sort_by_key(|gap| gap.from);
        Ok(Self {
            effective,
            dated,
            results,
            gaps,
        })
    }

    fn content(&self) -> Content {
        let (start, end) = match self.effective {
            Effective::At(at) => (at, at),
            Effective::Over { start, end } | Effective::Unvouched { start, end } => (start, end),
        };
        let gap = |gap: &Gap| json!([gap.from.0, gap.len.0, gap.uncertainty.0]);
        let gaps: Vec<Value> = self.gaps.iter().map(gap).collect();
        let read = json!([start.0, end.0, self.results, gaps]);
        let hash = digest(&SHA256, read.to_string().as_bytes());
        let hash = hash.as_ref().first_chunk().copied();
        Content(hash.expect("invariant: SHA-256 has 32 bytes"))
    }
}

/// SHA-256 of what came of an exam: when it was, its results, its gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content(pub(crate) [u8; 32]);

/// What a report that is read now speaks of.
pub(crate) fn content(connection: &Connection, exam: &Exam) -> Result<Content, DbError> {
    Outcome::of(connection, exam).map(|outcome| outcome.content())
}

/// Writes the report alone.
pub(crate) fn put_report(
    connection: &Connection,
    exam: &Exam,
    now: UtcMicros,
) -> Result<(), DbError> {
    let outcome = Outcome::of(connection, exam)?;
    write_report(connection, exam, &outcome, newest(connection, exam)?, now)
}

fn write_report(
    connection: &Connection,
    exam: &Exam,
    outcome: &Outcome,
    newest: UtcMicros,
    now: UtcMicros,
) -> Result<(), DbError> {
    let (status, issued) = match exam.ended {
        Some(_) => (ReportStatus::Preliminary, newest),
        None => (ReportStatus::Partial, exam.received),
    };
    let signature = signing::newest(connection, exam)?;
    let (status, issued) = match &signature {
        Some(of) => (of.status(&outcome.content()), of.signed.max(issued)),
        None => (status, issued),
    };
    let request: Option<String> = connection.cell(
        "find the request of an exam",
        "SELECT request FROM exam_requests WHERE acquisition = ?1",
        values![exam.id()],
    )?;
    let request = request.map(|id| format!("ServiceRequest/{id}"));
    let report = diagnostic_report(&ReportFacts {
        id: ids::report(exam.id()),
        acquisition: exam.id(),
        kind: exam.kind(),
        context: &exam.context,
        status,
        reading: signature.as_ref().map(Signature::reading),
        effective: outcome.effective,
        issued,
        organisation: None,
        request: request.as_deref(),
        results: &outcome.results,
        gaps: &outcome.gaps,
        rate: exam.acquisition().rate,
    });
    let report = named(with_error(report, Some(&outcome.dated)));
    record::put(connection, &report, now).map(|_| ())
}

/// The original: the file that was uploaded, or exactly what the box sealed, record after
/// record, in chain order. Answers the document's logical id.
fn put_original(
    connection: &Connection,
    exam: &Exam,
    effective: Effective,
    newest: UtcMicros,
    now: UtcMicros,
) -> Result<String, DbError> {
    if let Some(file) = upload::document(connection, exam.id())? {
        // The acquisitions of one file share its document; the first of them writes it.
        if file.acquisitions.first() == Some(&exam.id()) {
            put_file(connection, exam, &file, effective, now)?;
        }
        return Ok(file.id);
    }
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let mut size = 0_u64;
    each_record(connection, &exam.id().0, |bytes| {
        sha1.update(bytes);
        size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    })?;
    let sha1 = sha1.finish().as_ref().first_chunk().copied();
    let file = upload::Document {
        id: ids::document(exam.id(), ORIGINAL_MEDIA_TYPE),
        binary: ids::binary(exam.id(), ORIGINAL_MEDIA_TYPE),
        description: None,
        media_type: ORIGINAL_MEDIA_TYPE.to_owned(),
        sha1: sha1.expect("invariant: SHA-1 has 20 bytes"),
        size,
        accepted: newest,
        acquisitions: vec![exam.id()],
    };
    put_file(connection, exam, &file, effective, now)?;
    // Its bytes are read from the records when somebody asks.
    connection.execute(
        "note what a document is made of",
        "INSERT INTO binaries (id, acquisition) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        values![file.binary.as_str(), exam.id()],
    )?;
    Ok(file.id)
}

pub(super) fn put_file(
    connection: &Connection,
    exam: &Exam,
    file: &upload::Document,
    effective: Effective,
    now: UtcMicros,
) -> Result<(), DbError> {
    let reports: Vec<String> = file.acquisitions.iter().copied().map(ids::report).collect();
    let reference = document_reference(&DocumentFacts {
        id: file.id.clone(),
        binary: file.binary.clone(),
        acquisition: exam.id(),
        kind: exam.kind(),
        context: &exam.context,
        description: file.description,
        media_type: &file.media_type,
        size: file.size,
        sha1: file.sha1,
        created: file.accepted,
        period: period(effective),
        organisation: None,
        reports: &reports,
    });
    record::put(connection, &named(reference), now)?;
    let head: Value = json!({
        "resourceType": "Binary",
        "id": file.binary,
        "contentType": file.media_type,
        "securityContext": cardio_fhir::reference("DocumentReference", &file.id),
    });
    record::put(connection, &head, now).map(|_| ())
}

fn put_origin(
    connection: &Connection,
    exam: &Exam,
    effective: Effective,
    document: &str,
    newest: UtcMicros,
    now: UtcMicros,
) -> Result<(), DbError> {
    let chain = stretches(connection, exam)?;
    let targets = [
        format!("DiagnosticReport/{}", ids::report(exam.id())),
        format!("DocumentReference/{document}"),
    ];
    let origin = provenance(&ProvenanceFacts {
        id: ids::provenance(exam.id()),
        context: &exam.context,
        targets: &targets,
        period: period(effective),
        recorded: newest,
        chain: &chain,
    });
    record::put(connection, &origin, now).map(|_| ())
}

/// Stretches that no segment and no gap record covers: their frames never came, or cannot be
/// read. Frames of an acquisition are filed in order, so what comes later does not fill them;
/// if it does after all, they are gone with the next report.
fn holes(connection: &Connection, exam: &Exam) -> Result<Vec<Gap>, DbError> {
    let rows = connection.rows(
        "look for samples that never came",
        "SELECT first, len FROM records WHERE acquisition = ?1 AND box = ?2
         AND kind IN ('segment', 'heart-rates', 'gap') ORDER BY first, len",
        values![exam.id(), exam.device],
    )?;
    let mut stretches = Vec::new();
    for mut row in rows {
        stretches.push((row.take(0)?, row.take(1)?));
    }
    if let Some(ended) = &exam.ended {
        stretches.push((ended.end.0, 0));
    }
    Ok(uncovered(&stretches))
}

/// What lies between stretches (first sample, length) in the order of their first samples.
fn uncovered(stretches: &[(u64, u64)]) -> Vec<Gap> {
    let mut reached = stretches.first().map_or(0, |(first, _)| *first);
    let mut holes = Vec::new();
    for &(first, len) in stretches {
        if first > reached {
            holes.push(Gap {
                from: SampleIndex(reached),
                len: SampleCount(first - reached),
                uncertainty: SampleCount(0),
                cause: GapCause::NotStored,
            });
        }
        reached = reached.max(first.saturating_add(len));
    }
    holes
}

/// Where in the box's chains the acquisition's records stand.
fn stretches(connection: &Connection, exam: &Exam) -> Result<Vec<ChainStretch>, DbError> {
    let act = "find the chains of an acquisition";
    let rows = connection.rows(
        act,
        "SELECT lane, chain, min(seq), max(seq), max(carried) FROM records
         WHERE acquisition = ?1 AND box = ?2 GROUP BY lane, chain ORDER BY lane, chain",
        values![exam.id(), exam.device],
    )?;
    let mut stretches = Vec::new();
    for mut row in rows {
        let (lane, chain): (Lane, ChainId) = (row.take(0)?, row.take(1)?);
        let (from, to): (u64, u64) = (row.take(2)?, row.take(3)?);
        let carried = row.take(4)?;
        let head = connection.cell(
            act,
            "SELECT fingerprint FROM records
             WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4 AND acquisition = ?5
             LIMIT 1",
            values![exam.device, lane, chain, to, exam.id()],
        )?;
        stretches.push(ChainStretch {
            position: format!("{}/{}/{chain}/{from}-{to}", exam.device, lane.number()),
            head: head.ok_or(DbError::Damaged { what: act })?,
            carried,
        });
    }
    Ok(stretches)
}

#[cfg(test)]
mod tests {
    use super::uncovered;

    #[test]
    fn what_no_record_covers_is_a_gap_of_the_report() {
        let holes = uncovered(&[(5, 10), (12, 3), (15, 5), (30, 10), (50, 0)]);
        let found: Vec<_> = holes.iter().map(|gap| (gap.from.0, gap.len.0)).collect();
        assert_eq!(found, [(20, 10), (40, 10)]);
        assert!(uncovered(&[]).is_empty());
    }
}
