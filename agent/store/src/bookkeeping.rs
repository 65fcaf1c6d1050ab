//! Which acquisitions are running, so that a box that was cut off knows where it was.
//!
//! Written in the same transaction as the records that it follows from, so it never says
//! more or less than what is stored. Holds counters, times and a hash by which the subject is
//! recognised; never a sample, never an identity and not even the subject's opaque reference.

use cardio_core::acquisition::Acquisition;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::gap::Gap;
use cardio_core::ids::{AcquisitionId, BootId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::subject::SubjectRef;
use cardio_wire::record::Record;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rusqlite::{Connection, Row, params};

use crate::error::OutboxError;
use crate::lanes::{signed, unsigned};

/// An acquisition that has begun and not ended, as far as its stored records say.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAcquisition {
    /// Which one.
    pub acquisition: AcquisitionId,
    /// The sensor.
    pub source: SourceId,
    /// By what the patient's opaque reference is recognised, if there is one.
    pub subject: Option<SubjectMark>,
    /// The rate of every row.
    pub rate: SamplingRate,
    /// The instant just after the last stored sample or gap.
    pub next_sample: SampleIndex,
    /// The place of the next segment among the acquisition's segments.
    pub next_ordinal: u64,
    /// How many samples per row are stored.
    pub samples: SampleCount,
    /// How many gaps are stored.
    pub gaps: u64,
    /// How many samples per row these gaps miss.
    pub missing: SampleCount,
    /// The anchor of the last stored segment: its first sample.
    pub last_anchor: Option<TimeAnchor>,
}

/// A subject within one acquisition: enough to tell whether a sensor still belongs to the same
/// patient, not enough to read who that is. The same patient has another mark in another
/// acquisition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectMark([u8; SHA256_OUTPUT_LEN]);

impl SubjectMark {
    /// The mark of `subject` within `acquisition`.
    pub fn of(acquisition: AcquisitionId, subject: &SubjectRef) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(b"ecg/1 subject of acquisition");
        hash.update(&acquisition.0);
        hash.update(subject.as_str().as_bytes());
        let digest = hash.finish();
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// What of a record concerns its acquisition: small, so that the samples need not wait for the
/// disk a second time beside their encoding.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// Nothing.
    Nothing,
    Begun(Box<Acquisition>),
    Stored {
        acquisition: AcquisitionId,
        end: SampleIndex,
        ordinal: u64,
        count: SampleCount,
        anchor: TimeAnchor,
    },
    Missing {
        acquisition: AcquisitionId,
        gap: Gap,
    },
    Ended(AcquisitionId),
}

impl Note {
    pub(crate) fn of(record: &Record) -> Self {
        match record {
            Record::AcquisitionStarted(started) => {
                Self::Begun(Box::new(started.acquisition.clone()))
            }
            Record::Segment(record) => Self::Stored {
                acquisition: record.segment.acquisition,
                end: record.segment.end(),
                ordinal: record.segment.ordinal,
                count: record.segment.block.count(),
                anchor: record.segment.anchor,
            },
            Record::HeartRates(record) => Self::Stored {
                acquisition: record.stretch.acquisition,
                end: record.stretch.end(),
                ordinal: record.stretch.ordinal,
                count: record.stretch.len,
                anchor: record.stretch.anchor,
            },
            Record::Gap(record) => Self::Missing {
                acquisition: record.acquisition,
                gap: record.gap,
            },
            Record::AcquisitionEnded(ended) => Self::Ended(ended.acquisition),
            Record::Assessment(_)
            | Record::LaneGap(_)
            | Record::BoxEvent(_)
            | Record::CarriedFrame(_)
            | Record::BoxStatus(_)
            | Record::DeviceStatus(_)
            | Record::OriginalPart(_) => Self::Nothing,
        }
    }
}

/// Follows one record that is being stored.
pub(crate) fn follow(conn: &Connection, note: &Note) -> Result<(), OutboxError> {
    let changed = match note {
        Note::Nothing => Ok(0),
        Note::Begun(acquisition) => begin(conn, acquisition),
        Note::Stored {
            acquisition,
            end,
            ordinal,
            count,
            anchor,
        } => conn
            .prepare_cached(
                "UPDATE open_acquisition SET next_sample = ?2, next_ordinal = ?3,
                 samples = samples + ?4, anchor_index = ?5, anchor_boot = ?6, anchor_us = ?7,
                 anchor_utc = ?8, anchor_error = ?9, anchor_uncertainty = ?10
                 WHERE acquisition = ?1",
            )
            .and_then(|mut statement| {
                let error = match anchor.at.quality {
                    ClockQuality::Unsynchronised => None,
                    ClockQuality::Synchronised { error_us } => Some(signed(error_us)),
                };
                statement.execute(params![
                    acquisition.0,
                    signed(end.0),
                    signed(ordinal.saturating_add(1)),
                    signed(count.0),
                    signed(anchor.index.0),
                    anchor.at.box_instant.boot.0,
                    signed(anchor.at.box_instant.micros),
                    anchor.at.utc.0,
                    error,
                    signed(anchor.uncertainty_us)
                ])
            }),
        Note::Missing { acquisition, gap } => conn
            .prepare_cached(
                "UPDATE open_acquisition SET next_sample = max(next_sample, ?2),
                 gaps = gaps + 1, missing = missing + ?3 WHERE acquisition = ?1",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    acquisition.0,
                    signed(gap.end().0),
                    signed(gap.len.0)
                ])
            }),
        Note::Ended(acquisition) => conn
            .prepare_cached("DELETE FROM open_acquisition WHERE acquisition = ?1")
            .and_then(|mut statement| statement.execute([acquisition.0])),
    };
    changed
        .map(drop)
        .map_err(|source| OutboxError::database("follow an acquisition", source))
}

fn begin(conn: &Connection, acquisition: &Acquisition) -> rusqlite::Result<usize> {
    let (samples, seconds) = acquisition.rate.as_ratio();
    let subject = acquisition.subject.as_ref();
    let subject = subject.map(|subject| SubjectMark::of(acquisition.id, subject));
    conn.prepare_cached(
        "INSERT OR REPLACE INTO open_acquisition (acquisition, source, subject_mark, rate_samples,
         rate_seconds, next_sample, next_ordinal, samples, gaps, missing)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0, 0)",
    )?
    .execute(params![
        acquisition.id.0,
        acquisition.source.as_str(),
        subject.map(|mark| mark.0),
        samples,
        seconds
    ])
}

/// The step to version 2: files of version 1 held the subject's reference itself.
pub(crate) fn mark_subjects(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(include_str!("schema_2.sql"))?;
    let mut rows = conn
        .prepare("SELECT acquisition, subject FROM open_acquisition WHERE subject IS NOT NULL")?;
    let known = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<([u8; 16], String)>>>()?;
    for (acquisition, subject) in known {
        // A reference that is none marks nobody: the acquisition ends instead of going on.
        let Ok(subject) = SubjectRef::new(&subject) else {
            continue;
        };
        let mark = SubjectMark::of(AcquisitionId(acquisition), &subject);
        conn.execute(
            "UPDATE open_acquisition SET subject_mark = ?2 WHERE acquisition = ?1",
            params![acquisition, mark.0],
        )?;
    }
    conn.execute_batch("ALTER TABLE open_acquisition DROP COLUMN subject")
}

/// All acquisitions that have not ended.
pub(crate) fn open_acquisitions(conn: &Connection) -> Result<Vec<OpenAcquisition>, OutboxError> {
    conn.prepare("SELECT * FROM open_acquisition ORDER BY acquisition")
        .and_then(|mut statement| {
            let rows = statement.query_map([], read)?;
            rows.collect::<Result<Vec<_>, _>>()
        })
        .map_err(|source| OutboxError::database("read the open acquisitions", source))?
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or(OutboxError::Damaged {
            what: "an open acquisition has an impossible source or rate".to_owned(),
        })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<OpenAcquisition>> {
    let number = |column: &str| row.get(column).map(unsigned);
    let source: String = row.get("source")?;
    let subject: Option<[u8; SHA256_OUTPUT_LEN]> = row.get("subject_mark")?;
    let rate = SamplingRate::ratio(row.get("rate_samples")?, row.get("rate_seconds")?);
    let (Ok(source), Ok(rate)) = (SourceId::new(&source), rate) else {
        return Ok(None);
    };
    Ok(Some(OpenAcquisition {
        acquisition: AcquisitionId(row.get("acquisition")?),
        source,
        subject: subject.map(SubjectMark),
        rate,
        next_sample: SampleIndex(number("next_sample")?),
        next_ordinal: number("next_ordinal")?,
        samples: SampleCount(number("samples")?),
        gaps: number("gaps")?,
        missing: SampleCount(number("missing")?),
        last_anchor: read_anchor(row)?,
    }))
}

fn read_anchor(row: &Row<'_>) -> rusqlite::Result<Option<TimeAnchor>> {
    let Some(boot) = row.get::<_, Option<[u8; 16]>>("anchor_boot")? else {
        return Ok(None);
    };
    let error: Option<i64> = row.get("anchor_error")?;
    Ok(Some(TimeAnchor {
        index: SampleIndex(row.get("anchor_index").map(unsigned)?),
        at: ClockReading {
            box_instant: BoxInstant {
                boot: BootId(boot),
                micros: row.get("anchor_us").map(unsigned)?,
            },
            utc: UtcMicros(row.get("anchor_utc")?),
            quality: error.map_or(ClockQuality::Unsynchronised, |error| {
                let error_us = unsigned(error);
                ClockQuality::Synchronised { error_us }
            }),
        },
        uncertainty_us: row.get("anchor_uncertainty").map(unsigned)?,
    }))
}
