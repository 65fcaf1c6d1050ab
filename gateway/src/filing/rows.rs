//! Rows of opened records, cursors and quarantine.

use std::collections::HashMap;

use cardio_core::acquisition::Acquisition;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::index::SampleIndex;
use cardio_wire::intake::ChainKey;
use cardio_wire::lane::FrameIdentity;
use cardio_wire::record::Record;
use serde::Serialize;

use super::exam::Exam;
use super::open::{Opened, OpenedRecord};
use super::{extents, originals};
use crate::db::{Connection, DbError, Row, values};
use crate::inbox::{LaneRow, lane_ending_with};

/// Numbers of the record for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// Records filed.
    pub records: u64,
    /// Acquisitions known.
    pub acquisitions: u64,
    /// Acquisitions without a patient.
    pub unassigned: u64,
    /// Resources.
    pub resources: u64,
    /// Frames in quarantine.
    pub quarantined: u64,
    /// Alerts whose condition goes on.
    pub alerts_open: u64,
    /// Acquisitions of which resources are still to be written: their report does not name yet
    /// all that is filed of them.
    pub reports_due: u64,
}

/// An acquisition, as `records find` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Its id.
    pub acquisition: String,
    /// The patient's logical id, or `None` while unassigned.
    pub subject: Option<String>,
    /// The box.
    pub box_id: String,
    /// The sensor as the box calls it.
    pub source: String,
    /// When it started, by the box's clock.
    pub started: String,
    /// When it ended, if it did.
    pub ended: Option<String>,
    /// Why it ended.
    pub ended_why: Option<String>,
    /// Records filed of it.
    pub records: u64,
    /// The logical id of its report.
    pub report: String,
    /// The logical id of the ServiceRequest that it was made for; `None` for an orphan.
    pub request: Option<String>,
}

/// A frame that could not be filed.
#[derive(Clone, Debug, Serialize)]
pub struct Quarantined {
    /// Which frame: box, lane, chain, number.
    pub frame: String,
    /// Why, as a stable word.
    pub code: String,
    /// Why, in words.
    pub why: String,
    /// The version of the program that tried last.
    pub program: String,
    /// When it did, in RFC 3339.
    pub noticed: String,
}

/// How far every lane is filed.
pub(crate) fn cursors(connection: &Connection) -> Result<HashMap<ChainKey, u64>, DbError> {
    let rows = connection.rows(
        "read how far the lanes are filed",
        "SELECT box, lane, chain, filed FROM cursors",
        values![],
    )?;
    rows.into_iter().map(read_cursor).collect()
}

fn read_cursor(mut row: Row) -> Result<(ChainKey, u64), DbError> {
    Ok((row.take_chain()?, row.take(3)?))
}

/// How far a lane is filed.
pub(crate) fn cursor(connection: &Connection, key: ChainKey) -> Result<u64, DbError> {
    let filed = connection.cell(
        "read how far a lane is filed",
        "SELECT filed FROM cursors WHERE box = ?1 AND lane = ?2 AND chain = ?3",
        values![key.device, key.lane, key.chain],
    )?;
    Ok(filed.unwrap_or(0))
}

/// Notes that a lane is filed up to a frame; never back.
pub(crate) fn advance(connection: &Connection, upto: &FrameIdentity) -> Result<(), DbError> {
    connection
        .execute(
            "note how far a lane is filed",
            "INSERT INTO cursors (box, lane, chain, filed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (box, lane, chain) DO UPDATE SET filed =
               CASE WHEN cursors.filed < excluded.filed THEN excluded.filed ELSE cursors.filed END",
            values![upto.device, upto.lane, upto.chain, upto.seq],
        )
        .map(|_| ())
}

/// Acquisition, first sample and length of a record, as far as it has them.
pub(crate) fn place(record: &Record) -> (Option<AcquisitionId>, Option<(SampleIndex, u64)>) {
    match record {
        Record::AcquisitionStarted(started) => (Some(started.acquisition.id), None),
        Record::Segment(s) => (
            Some(s.segment.acquisition),
            Some((s.segment.first(), s.segment.block.count().0)),
        ),
        Record::HeartRates(one) => (
            Some(one.stretch.acquisition),
            Some((one.stretch.first, one.stretch.len.0)),
        ),
        Record::DeviceStatus(status) => (Some(status.acquisition), None),
        Record::Gap(gap) => (Some(gap.acquisition), Some((gap.gap.from, gap.gap.len.0))),
        Record::Assessment(a) => (
            Some(a.acquisition),
            Some((a.quality.first, a.quality.len.0)),
        ),
        Record::AcquisitionEnded(ended) => (Some(ended.acquisition), Some((ended.end, 0))),
        _ => (None, None),
    }
}

/// Files a record; answers whether it was not filed before.
pub(crate) fn insert(
    connection: &Connection,
    frame: &Opened,
    opened: &OpenedRecord,
) -> Result<bool, DbError> {
    let id = frame.identity;
    let (acquisition, span) = place(&opened.record);
    let new = connection.execute(
        "file a record",
        "INSERT INTO records
           (id, kind, acquisition, first, len, box, lane, chain, seq, fingerprint,
            received_us, carried, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT DO NOTHING",
        values![
            opened.record.head().id.0,
            opened.record.kind_name(),
            acquisition,
            span.map(|(first, _)| first.0),
            span.map(|(_, len)| len),
            id.device,
            id.lane,
            id.chain,
            id.seq,
            frame.fingerprint,
            frame.received,
            frame.carried,
            opened.bytes.as_slice()
        ],
    )?;
    if let (true, Some(acquisition), Some((first, len))) = (new > 0, acquisition, span) {
        let kind = opened.record.kind_name();
        extents::note(connection, acquisition, id.device, kind, (first.0, len))?;
    }
    match &opened.record {
        Record::AcquisitionStarted(started) => {
            connection.execute(
                "note an acquisition",
                "INSERT INTO acquisitions (id, box, subject, source, started_us)
             VALUES (?1, ?2,
               coalesce((SELECT survivor FROM merges WHERE merged = CAST(?3 AS TEXT)), ?3), ?4, ?5)
             ON CONFLICT DO NOTHING",
                values![
                    started.acquisition.id,
                    id.device,
                    started.acquisition.subject.as_ref().map(|s| s.as_str()),
                    started.acquisition.source.as_str(),
                    started.head.at.utc
                ],
            )?;
            if new > 0 {
                link(connection, &started.acquisition)?;
            }
            0
        }
        Record::AcquisitionEnded(ended) => connection.execute(
            "note the end of an acquisition",
            "UPDATE acquisitions SET ended_us = ?2, ended_why = ?3 WHERE id = ?1 AND box = ?4",
            values![
                ended.acquisition,
                ended.head.at.utc,
                ended.reason.name(),
                id.device
            ],
        )?,
        Record::OriginalPart(part) => {
            originals::note(connection, frame, part)?;
            0
        }
        _ => 0,
    };
    Ok(new > 0)
}

/// Notes the request that a person chose at the box, if it is one of the patient's. Otherwise the
/// exam is filed as one without a request, for a person to look at.
fn link(connection: &Connection, acquisition: &Acquisition) -> Result<(), DbError> {
    let Some(request) = &acquisition.request else {
        return Ok(());
    };
    let linked = connection.execute(
        "note the request of an exam",
        "INSERT INTO exam_requests (acquisition, request)
         SELECT a.id, r.id FROM acquisitions a, index_references r
         WHERE a.id = ?1 AND r.kind = 'ServiceRequest' AND r.id = ?2 AND r.param = 'subject'
           AND r.target = 'Patient/' || a.subject
           AND NOT EXISTS (SELECT 1 FROM index_tokens t WHERE t.kind = r.kind AND t.id = r.id
                           AND t.param = 'status' AND t.code = 'entered-in-error')
         ON CONFLICT DO NOTHING",
        values![acquisition.id, request.as_str()],
    )?;
    if linked == 0 {
        tracing::warn!(event = "ExamRequestUnknown", acquisition = %acquisition.id);
    }
    Ok(())
}

pub(crate) fn quarantine(
    connection: &Connection,
    frame: &Opened,
    code: &str,
    why: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    tracing::error!(event = "RecordQuarantined", code, frame = %frame.identity, "{why}");
    put_aside(connection, &frame.identity, code, why, now)
}

/// Sets an acquisition aside whose stored records cannot be made into resources.
pub(crate) fn quarantine_exam(
    connection: &Connection,
    exam: &Exam,
    code: &str,
    why: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    tracing::error!(event = "RecordQuarantined", code, acquisition = %exam.id(), "{why}");
    put_aside(connection, &exam.origin, code, why, now)
}

pub(super) fn put_aside(
    connection: &Connection,
    id: &FrameIdentity,
    code: &str,
    why: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    connection
        .execute(
            "put a frame into quarantine",
            "INSERT INTO quarantine (box, lane, chain, seq, code, why, program, noticed_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (box, lane, chain, seq) DO UPDATE
             SET code = excluded.code, why = excluded.why, program = excluded.program,
                 noticed_us = excluded.noticed_us",
            values![
                id.device,
                id.lane,
                id.chain,
                id.seq,
                code,
                why,
                env!("CARGO_PKG_VERSION"),
                now
            ],
        )
        .map(|_| ())
}

/// The acquisitions of a patient.
pub(crate) fn acquisitions_of(
    connection: &Connection,
    subject: &str,
) -> Result<Vec<AcquisitionId>, DbError> {
    connection.cells(
        "list the acquisitions of a patient",
        "SELECT id FROM acquisitions WHERE subject = ?1 ORDER BY started_us",
        values![subject],
    )
}

/// The boxes that recorded a patient.
pub(crate) fn boxes_of(connection: &Connection, subject: &str) -> Result<Vec<BoxId>, DbError> {
    connection.cells(
        "list the boxes that recorded a patient",
        "SELECT DISTINCT box FROM acquisitions WHERE subject = ?1",
        values![subject],
    )
}

/// The next frames in quarantine behind a frame, each as the lane that ends with it.
pub(crate) fn quarantined_after(
    connection: &Connection,
    frame: &FrameIdentity,
) -> Result<Vec<LaneRow>, DbError> {
    let rows = connection.rows(
        "list what was set aside",
        "SELECT box, lane, chain, seq FROM quarantine
         WHERE (box, lane, chain, seq) > (?1, ?2, ?3, ?4)
         ORDER BY box, lane, chain, seq LIMIT 1000",
        values![frame.device, frame.lane, frame.chain, frame.seq],
    )?;
    rows.into_iter().map(lane_ending_with).collect()
}

/// The first frame of every chain that is in quarantine: retention stops before it.
pub(crate) fn first_quarantined(
    connection: &Connection,
) -> Result<HashMap<ChainKey, u64>, DbError> {
    let rows = connection.rows(
        "find the first frames in quarantine",
        "SELECT box, lane, chain, min(seq) FROM quarantine GROUP BY box, lane, chain",
        values![],
    )?;
    rows.into_iter().map(read_cursor).collect()
}

/// Takes frames out of quarantine.
pub(crate) fn release(connection: &Connection, group: &[Opened]) -> Result<(), DbError> {
    for frame in group {
        let id = frame.identity;
        connection.execute(
            "take a frame out of quarantine",
            "DELETE FROM quarantine WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4",
            values![id.device, id.lane, id.chain, id.seq],
        )?;
    }
    Ok(())
}

/// Numbers for `status`.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn counts(connection: &Connection) -> Result<RecordCounts, DbError> {
    let act = "count the record";
    let row = connection.row(
        act,
        "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM acquisitions),
                (SELECT count(*) FROM acquisitions WHERE subject IS NULL),
                (SELECT count(*) FROM resources), (SELECT count(*) FROM quarantine),
                (SELECT count(*) FROM alerts WHERE ended_us IS NULL),
                (SELECT count(*) FROM (SELECT acquisition FROM reports_due
                   UNION SELECT acquisition FROM unwritten) AS due)",
        values![],
    )?;
    let mut row = row.ok_or(DbError::Damaged { what: act })?;
    Ok(RecordCounts {
        records: row.take(0)?,
        acquisitions: row.take(1)?,
        unassigned: row.take(2)?,
        resources: row.take(3)?,
        quarantined: row.take(4)?,
        alerts_open: row.take(5)?,
        reports_due: row.take(6)?,
    })
}

/// Acquisitions, newest first, of one patient when `subject` is given.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn find(connection: &Connection, subject: Option<&str>) -> Result<Vec<Found>, DbError> {
    let rows = connection.rows(
        "find acquisitions",
        "SELECT a.id, a.subject, a.box, a.source, a.started_us, a.ended_us, a.ended_why,
                (SELECT count(*) FROM records r WHERE r.acquisition = a.id), q.request
         FROM acquisitions a LEFT JOIN exam_requests q ON q.acquisition = a.id
         WHERE CAST(?1 AS TEXT) IS NULL OR a.subject = ?1
         ORDER BY a.started_us DESC, a.id LIMIT 1000",
        values![subject],
    )?;
    found(rows)
}

/// Acquisitions that were made for no request, newest first; at most a thousand.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn orphans(connection: &Connection) -> Result<Vec<Found>, DbError> {
    let rows = connection.rows(
        "find acquisitions without a request",
        "SELECT a.id, a.subject, a.box, a.source, a.started_us, a.ended_us, a.ended_why,
                (SELECT count(*) FROM records r WHERE r.acquisition = a.id), q.request
         FROM acquisitions a LEFT JOIN exam_requests q ON q.acquisition = a.id
         WHERE q.request IS NULL
         ORDER BY a.started_us DESC, a.id LIMIT 1000",
        values![],
    )?;
    found(rows)
}

fn found(rows: Vec<Row>) -> Result<Vec<Found>, DbError> {
    rows.into_iter()
        .map(|mut row| {
            let acquisition: AcquisitionId = row.take(0)?;
            let device: BoxId = row.take(2)?;
            let ended: Option<UtcMicros> = row.take(5)?;
            Ok(Found {
                acquisition: acquisition.to_string(),
                subject: row.take(1)?,
                box_id: device.to_string(),
                source: row.take(3)?,
                started: crate::clock::rfc3339(row.take(4)?),
                ended: ended.map(crate::clock::rfc3339),
                ended_why: row.take(6)?,
                records: row.take(7)?,
                report: cardio_fhir::ids::report(acquisition),
                request: row.take(8)?,
            })
        })
        .collect()
}

/// What is in quarantine, at most a hundred.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn quarantined(connection: &Connection, most: u64) -> Result<Vec<Quarantined>, DbError> {
    let rows = connection.rows(
        "list the quarantine",
        "SELECT box, lane, chain, seq, code, why, program, noticed_us
         FROM quarantine ORDER BY noticed_us DESC LIMIT ?1",
        values![most],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let frame = FrameIdentity {
                device: row.take(0)?,
                lane: row.take(1)?,
                chain: row.take(2)?,
                seq: row.take(3)?,
            };
            Ok(Quarantined {
                frame: frame.to_string(),
                code: row.take(4)?,
                why: row.take(5)?,
                program: row.take(6)?,
                noticed: crate::clock::rfc3339(row.take(7)?),
            })
        })
        .collect()
}
