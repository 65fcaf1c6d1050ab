//! Rows of opened records, cursors and quarantine.

use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::index::SampleIndex;
use cardio_wire::intake::LaneHead;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::record::Record;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use super::exam::Exam;
use super::open::{Opened, OpenedRecord};
use crate::db::{DbError, during, fixed, from_sql, to_sql};
use crate::inbox::LaneRow;

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
    /// The program that tried.
    pub program: String,
}

/// How far a lane is filed.
pub(crate) fn cursor(connection: &Connection, row: &LaneRow) -> Result<u64, DbError> {
    connection
        .prepare_cached("SELECT filed FROM cursors WHERE box = ?1 AND lane = ?2 AND chain = ?3")
        .and_then(|mut statement| {
            statement
                .query_row(
                    params![row.device.0, row.head.lane.number(), row.head.chain.0],
                    |row| row.get(0),
                )
                .optional()
        })
        .map(|filed: Option<i64>| filed.map_or(0, from_sql))
        .map_err(during("read how far a lane is filed"))
}

pub(crate) fn advance(connection: &Connection, frame: &Opened) -> Result<(), DbError> {
    let id = frame.identity;
    connection
        .prepare_cached(
            "INSERT INTO cursors (box, lane, chain, filed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (box, lane, chain) DO UPDATE SET filed = max(filed, ?4)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                id.device.0,
                id.lane.number(),
                id.chain.0,
                to_sql(id.seq)
            ])
        })
        .map(|_| ())
        .map_err(during("note how far a lane is filed"))
}

/// Acquisition, first sample and length of a record, as far as it has them.
pub(crate) fn place(record: &Record) -> (Option<AcquisitionId>, Option<(SampleIndex, u64)>) {
    match record {
        Record::AcquisitionStarted(started) => (Some(started.acquisition.id), None),
        Record::Segment(s) => (
            Some(s.segment.acquisition),
            Some((s.segment.first(), s.segment.block.count().0)),
        ),
        Record::Gap(gap) => (Some(gap.acquisition), Some((gap.gap.from, gap.gap.len.0))),
        Record::Assessment(a) => (
            Some(a.acquisition),
            Some((a.quality.first, a.quality.len.0)),
        ),
        Record::AcquisitionEnded(ended) => (Some(ended.acquisition), Some((ended.end, 0))),
        _ => (None, None),
    }
}

pub(crate) fn insert(
    connection: &Connection,
    frame: &Opened,
    opened: &OpenedRecord,
) -> Result<(), DbError> {
    let id = frame.identity;
    let (acquisition, span) = place(&opened.record);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO records
               (id, kind, acquisition, first, len, box, lane, chain, seq, fingerprint,
                received_us, bytes)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                opened.record.head().id.0,
                opened.record.kind_name(),
                acquisition.map(|a| a.0),
                span.map(|(first, _)| to_sql(first.0)),
                span.map(|(_, len)| to_sql(len)),
                id.device.0,
                id.lane.number(),
                id.chain.0,
                to_sql(id.seq),
                frame.fingerprint,
                frame.received.0,
                opened.bytes.as_slice()
            ])
        })
        .map_err(during("file a record"))?;
    match &opened.record {
        Record::AcquisitionStarted(started) => {
            let acquisition = &started.acquisition;
            connection
                .execute(
                    "INSERT OR IGNORE INTO acquisitions (id, box, subject, source, started_us)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        acquisition.id.0,
                        id.device.0,
                        acquisition.subject.as_ref().map(|s| s.as_str()),
                        acquisition.source.as_str(),
                        started.head.at.utc.0
                    ],
                )
                .map(|_| ())
                .map_err(during("note an acquisition"))
        }
        Record::AcquisitionEnded(ended) => connection
            .execute(
                "UPDATE acquisitions SET ended_us = ?2, ended_why = ?3
                 WHERE id = ?1 AND box = ?4",
                params![
                    ended.acquisition.0,
                    ended.head.at.utc.0,
                    ended.reason.name(),
                    id.device.0
                ],
            )
            .map(|_| ())
            .map_err(during("note the end of an acquisition")),
        _ => Ok(()),
    }
}

pub(crate) fn quarantine(
    connection: &Connection,
    frame: &Opened,
    code: &str,
    why: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    tracing::error!(event = "RecordQuarantined", code, frame = %frame.identity, "{why}");
    let id = frame.identity;
    put_aside(
        connection,
        (id.device.0, id.lane.number(), id.chain.0, id.seq),
        code,
        why,
        now,
    )
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
    let frame = exam.origin;
    put_aside(
        connection,
        (
            frame.device.0,
            frame.lane.number(),
            frame.chain.0,
            frame.seq,
        ),
        code,
        why,
        now,
    )
}

fn put_aside(
    connection: &Connection,
    (device, lane, chain, seq): ([u8; 16], u8, [u8; 8], u64),
    code: &str,
    why: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    connection
        .execute(
            "INSERT OR REPLACE INTO quarantine
               (box, lane, chain, seq, code, why, program, noticed_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                device,
                lane,
                chain,
                to_sql(seq),
                code,
                why,
                env!("CARGO_PKG_VERSION"),
                now.0
            ],
        )
        .map(|_| ())
        .map_err(during("put a frame into quarantine"))
}

/// The acquisitions of a patient.
pub(crate) fn acquisitions_of(
    connection: &Connection,
    subject: &str,
) -> Result<Vec<AcquisitionId>, DbError> {
    let act = "list the acquisitions of a patient";
    let mut statement = connection
        .prepare_cached("SELECT id FROM acquisitions WHERE subject = ?1 ORDER BY started_us")
        .map_err(during(act))?;
    let ids: Vec<Vec<u8>> = statement
        .query_map([subject], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(during(act))?;
    ids.iter()
        .map(|id| fixed(id, "acquisition id").map(AcquisitionId))
        .collect()
}

/// The boxes that recorded a patient.
pub(crate) fn boxes_of(connection: &Connection, subject: &str) -> Result<Vec<BoxId>, DbError> {
    let act = "list the boxes that recorded a patient";
    let ids: Vec<Vec<u8>> = connection
        .prepare_cached("SELECT DISTINCT box FROM acquisitions WHERE subject = ?1")
        .and_then(|mut statement| {
            statement
                .query_map([subject], |row| row.get(0))
                .and_then(Iterator::collect)
        })
        .map_err(during(act))?;
    ids.iter()
        .map(|id| fixed(id, "box id").map(BoxId))
        .collect()
}

/// Frames in quarantine that another version of this program could not file, each as the
/// lane that ends with it.
pub(crate) fn quarantined_by_others(connection: &Connection) -> Result<Vec<LaneRow>, DbError> {
    let act = "list what an older program set aside";
    let mut statement = connection
        .prepare_cached(
            "SELECT box, lane, chain, seq FROM quarantine WHERE program <> ?1 LIMIT 1000",
        )
        .map_err(during(act))?;
    let rows: Vec<(Vec<u8>, u8, Vec<u8>, i64)> = statement
        .query_map([env!("CARGO_PKG_VERSION")], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .and_then(Iterator::collect)
        .map_err(during(act))?;
    rows.into_iter()
        .map(|(device, lane, chain, seq)| {
            Ok(LaneRow {
                device: BoxId(fixed(&device, "box id")?),
                head: LaneHead {
                    lane: Lane::from_number(lane).ok_or(DbError::Damaged { what: "lane" })?,
                    chain: ChainId(fixed(&chain, "chain")?),
                    upto: from_sql(seq),
                    head: None,
                    broken_at: None,
                },
            })
        })
        .collect()
}

/// Takes frames out of quarantine.
pub(crate) fn release(connection: &Connection, group: &[Opened]) -> Result<(), DbError> {
    for frame in group {
        let id = frame.identity;
        connection
            .execute(
                "DELETE FROM quarantine WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq = ?4",
                params![id.device.0, id.lane.number(), id.chain.0, to_sql(id.seq)],
            )
            .map_err(during("take a frame out of quarantine"))?;
    }
    Ok(())
}

/// Numbers for `status`.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn counts(connection: &Connection) -> Result<RecordCounts, DbError> {
    connection
        .query_row(
            "SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM acquisitions),
                    (SELECT count(*) FROM acquisitions WHERE subject IS NULL),
                    (SELECT count(*) FROM resources), (SELECT count(*) FROM quarantine),
                    (SELECT count(*) FROM alerts WHERE ended_us IS NULL)",
            [],
            |row| {
                Ok(RecordCounts {
                    records: from_sql(row.get(0)?),
                    acquisitions: from_sql(row.get(1)?),
                    unassigned: from_sql(row.get(2)?),
                    resources: from_sql(row.get(3)?),
                    quarantined: from_sql(row.get(4)?),
                    alerts_open: from_sql(row.get(5)?),
                })
            },
        )
        .map_err(during("count the record"))
}

/// Acquisitions, newest first, of one patient when `subject` is given.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn find(connection: &Connection, subject: Option<&str>) -> Result<Vec<Found>, DbError> {
    let act = "find acquisitions";
    let mut statement = connection
        .prepare_cached(
            "SELECT a.id, a.subject, a.box, a.source, a.started_us, a.ended_us, a.ended_why,
                    (SELECT count(*) FROM records r WHERE r.acquisition = a.id)
             FROM acquisitions a WHERE ?1 IS NULL OR a.subject = ?1
             ORDER BY a.started_us DESC, a.id LIMIT 1000",
        )
        .map_err(during(act))?;
    let mut rows = statement.query([subject]).map_err(during(act))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let id: Vec<u8> = row.get(0).map_err(during(act))?;
        let device: Vec<u8> = row.get(2).map_err(during(act))?;
        let ended: Option<i64> = row.get(5).map_err(during(act))?;
        let acquisition = AcquisitionId(fixed(&id, "acquisition id")?);
        found.push(Found {
            acquisition: acquisition.to_string(),
            subject: row.get(1).map_err(during(act))?,
            box_id: BoxId(fixed(&device, "box id")?).to_string(),
            source: row.get(3).map_err(during(act))?,
            started: crate::clock::rfc3339(UtcMicros(row.get(4).map_err(during(act))?)),
            ended: ended.map(|at| crate::clock::rfc3339(UtcMicros(at))),
            ended_why: row.get(6).map_err(during(act))?,
            records: from_sql(row.get(7).map_err(during(act))?),
            report: cardio_fhir::ids::report(acquisition),
        });
    }
    Ok(found)
}

/// What is in quarantine, at most a hundred.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn quarantined(connection: &Connection) -> Result<Vec<Quarantined>, DbError> {
    let act = "list the quarantine";
    let mut statement = connection
        .prepare_cached(
            "SELECT lower(hex(box)) || '/' || lane || '/' || lower(hex(chain)) || '/' || seq,
                    code, why, program
             FROM quarantine ORDER BY noticed_us DESC LIMIT 100",
        )
        .map_err(during(act))?;
    let rows = statement
        .query_map([], |row| {
            Ok(Quarantined {
                frame: row.get(0)?,
                code: row.get(1)?,
                why: row.get(2)?,
                program: row.get(3)?,
            })
        })
        .map_err(during(act))?;
    rows.collect::<Result<_, _>>().map_err(during(act))
}
