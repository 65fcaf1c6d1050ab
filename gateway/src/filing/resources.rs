//! From an acquisition's records to its FHIR resources.

use std::collections::BTreeSet;

use cardio_core::acquisition::WaveformKind;
use cardio_core::clock::{TimeAnchor, UtcMicros};
use cardio_core::index::SampleIndex;
use cardio_core::quality::QualityVerdict;
use cardio_fhir::device::{BoxFacts, SensorFacts, TimeSync, box_device, sensor_device};
use cardio_fhir::ids;
use cardio_fhir::measure::{
    GapFacts, HeartRateFacts, QualityObservationFacts, gap_observation, heart_rate_observation,
    quality_observation,
};
use cardio_fhir::time::Effective;
use cardio_fhir::waveform::{SpanError, SpanFacts, ecg_observation};
use cardio_wire::record::{AssessmentV1, GapV1, Record};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::exam::{Exam, Touched};
use super::spans::{Piece, pieces, reached, slot_of, slot_start, slots};
use crate::db::{DbError, during, to_sql};
use crate::record;

/// Brings every resource that `touched` may have changed up to date.
pub(crate) fn refresh(
    connection: &Connection,
    exam: &Exam,
    touched: &Touched,
    now: UtcMicros,
) -> Result<(), DbError> {
    let rate = exam.acquisition().rate;
    if touched.all {
        put_devices(connection, exam, now)?;
    }
    let mut slots: BTreeSet<u64> = if touched.all {
        slots(connection, exam)?.into_iter().collect()
    } else {
        touched.around.iter().map(|at| slot_of(rate, *at)).collect()
    };
    if touched.ended {
        let last = reached(connection, exam)?.saturating_sub(1);
        slots.insert(slot_of(rate, last));
    }
    for slot in slots {
        for piece in pieces(connection, exam, slot)? {
            if piece.complete {
                put_span(connection, exam, &piece, now)?;
            }
        }
    }
    for gap in gaps(connection, exam)? {
        if touched.all || touched.gaps.contains(&gap.gap.from.0) {
            put_gap(connection, exam, &gap, now)?;
        }
    }
    put_assessments(connection, exam, touched, now)?;
    if touched.all || exam.ended.is_some() {
        super::exam_report::put(connection, exam, now)?;
    }
    Ok(())
}

/// Writes an observation and notes it as a result of its acquisition.
fn put_result(
    connection: &Connection,
    exam: &Exam,
    first: SampleIndex,
    observation: &Value,
    now: UtcMicros,
) -> Result<(), DbError> {
    record::put(connection, observation, now)?;
    let id = observation.get("id").and_then(Value::as_str);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO results (acquisition, id, first) VALUES (?1, ?2, ?3)",
        )
        .and_then(|mut statement| statement.execute(params![exam.id().0, id, to_sql(first.0)]))
        .map(|_| ())
        .map_err(during("note a result"))
}

fn put_devices(connection: &Connection, exam: &Exam, now: UtcMicros) -> Result<(), DbError> {
    let context = &exam.context;
    record::put(
        connection,
        &box_device(&BoxFacts {
            id: context.box_device.clone(),
            device: exam.device,
            system_id: None,
            ethernet: None,
            label: None,
            agent_version: exam.agent_version.clone(),
            time_sync: TimeSync::None,
            active: true,
            simulated: context.simulated,
        }),
        now,
    )?;
    let acquisition = exam.acquisition();
    let is_ecg =
        |kind: &WaveformKind| matches!(kind, WaveformKind::Ecg(_) | WaveformKind::EcgOther(_));
    record::put(
        connection,
        &sensor_device(&SensorFacts {
            id: context.sensor.clone(),
            device: exam.device,
            source: acquisition.source.clone(),
            identity: acquisition.device.clone(),
            bluetooth: None,
            measures_ecg: acquisition.waveforms.iter().any(|row| is_ecg(&row.kind)),
            simulated: context.simulated,
        }),
        now,
    )?;
    Ok(())
}

fn put_span(
    connection: &Connection,
    exam: &Exam,
    piece: &Piece,
    now: UtcMicros,
) -> Result<(), DbError> {
    let acquisition = exam.acquisition();
    let (start, vouched) = exam.time_of(piece.block.first, &piece.anchor);
    let observation = ecg_observation(&SpanFacts {
        id: ids::waveform_span(exam.id(), piece.block.first),
        context: &exam.context,
        waveforms: &acquisition.waveforms,
        block: &piece.block,
        rate: acquisition.rate,
        start,
        time_is_vouched_for: vouched,
        verdict: verdict_of(connection, exam, piece)?,
        clock: None,
        sensor_key: None,
    });
    match observation {
        Ok(observation) => put_result(connection, exam, piece.block.first, &observation, now),
        // Other signals have no form as sampled data here; they are in the original document.
        Err(SpanError::NotAnEcg { .. } | SpanError::Empty) => Ok(()),
        Err(_) => Err(DbError::Damaged { what: "span" }),
    }
}

/// The verdict over a piece: of the last window that ends within it, or just after it.
fn verdict_of(
    connection: &Connection,
    exam: &Exam,
    piece: &Piece,
) -> Result<Option<QualityVerdict>, DbError> {
    let second = exam.acquisition().rate.count_in_micros(1_000_000);
    let latest = piece.end().after(second).0;
    let windows = assessments(connection, exam, Some((piece.block.first.0, latest)))?;
    Ok(windows
        .into_iter()
        .max_by_key(|window| window.quality.first.after(window.quality.len))
        .map(|window| window.quality.overall.verdict))
}

fn put_gap(
    connection: &Connection,
    exam: &Exam,
    gap: &GapV1,
    now: UtcMicros,
) -> Result<(), DbError> {
    let start = gap.near.as_ref().and_then(|anchor| {
        let (at, vouched) = exam.time_of(gap.gap.from, anchor);
        vouched.then_some(at)
    });
    let observation = gap_observation(&GapFacts {
        id: ids::gap(exam.id(), gap.gap.from),
        record: gap.head.id,
        context: &exam.context,
        gap: gap.gap,
        rate: exam.acquisition().rate,
        start,
    });
    put_result(connection, exam, gap.gap.from, &observation, now)
}

/// Writes heart rate and quality of the windows that are kept: in each slot the first that
/// ends in it, and the last of all.
fn put_assessments(
    connection: &Connection,
    exam: &Exam,
    touched: &Touched,
    now: UtcMicros,
) -> Result<(), DbError> {
    let all = touched.all.then_some((0, u64::MAX));
    let some = match (touched.windows.first(), touched.windows.last()) {
        (Some(first), Some(last)) => Some((first.saturating_sub(1), *last)),
        _ => None,
    };
    let last = match exam.ended {
        Some(_) => last_window(connection, exam)?,
        None => None,
    };
    let at_end = last
        .filter(|_| touched.ended)
        .map(|end| (end.saturating_sub(1), end));
    let range = match (all.or(some), at_end) {
        (Some((from, to)), Some((last_from, last_to))) => (from.min(last_from), to.max(last_to)),
        (Some(range), None) | (None, Some(range)) => range,
        (None, None) => return Ok(()),
    };
    for window in assessments(connection, exam, Some(range))? {
        let end = window.quality.first.after(window.quality.len);
        if is_kept(exam, end.0) || last == Some(end.0) {
            put_window(connection, exam, &window, now)?;
        }
    }
    Ok(())
}

/// Whether a window that ends at `end` is the first to end in its slot: windows come every
/// second, so it is the one that ends within the slot's first second.
fn is_kept(exam: &Exam, end: u64) -> bool {
    let rate = exam.acquisition().rate;
    let slot = slot_of(rate, end);
    slot > 0
        && end.saturating_sub(slot_start(rate, slot)) < rate.count_in_micros(1_000_000).0.max(1)
}

fn put_window(
    connection: &Connection,
    exam: &Exam,
    window: &AssessmentV1,
    now: UtcMicros,
) -> Result<(), DbError> {
    let quality = &window.quality;
    let end = quality.first.after(quality.len);
    let over = exam.effective(quality.first, end, &window.window_start);
    let at = match over {
        Effective::Over { end, .. } => Effective::At(end),
        other => other,
    };
    let rate = &window.heart_rate;
    let heart_rate = heart_rate_observation(&HeartRateFacts {
        id: ids::heart_rate(window.head.id),
        record: window.head.id,
        context: &exam.context,
        effective: at,
        bpm: rate.bpm,
        undetermined: rate.undetermined.as_deref(),
        verdict: quality.overall.verdict,
        algorithm: (&rate.algorithm.0, rate.algorithm.1),
        interpretation: None,
        sensor_key: None,
    });
    put_result(connection, exam, end, &heart_rate, now)?;
    let derived_from = spans_of(connection, exam, window)?;
    let observation = quality_observation(&QualityObservationFacts {
        id: ids::quality(window.head.id),
        record: window.head.id,
        context: &exam.context,
        effective: over,
        overall: &quality.overall,
        per_lead: &quality.per_lead,
        suspect_electrode: window.suspect_electrode,
        algorithm: (&quality.algorithm.0, quality.algorithm.1),
        derived_from: &derived_from,
    });
    put_result(connection, exam, end, &observation, now)
}

/// The waveform Observations that a window looks at.
fn spans_of(
    connection: &Connection,
    exam: &Exam,
    window: &AssessmentV1,
) -> Result<Vec<String>, DbError> {
    let rate = exam.acquisition().rate;
    let (first, end) = (
        window.quality.first.0,
        window.quality.first.after(window.quality.len).0,
    );
    let mut spans = Vec::new();
    for slot in slot_of(rate, first)..=slot_of(rate, end.saturating_sub(1)) {
        for piece in pieces(connection, exam, slot)? {
            if piece.block.first.0 < end && piece.end().0 > first {
                spans.push(ids::waveform_span(exam.id(), piece.block.first));
            }
        }
    }
    Ok(spans)
}

/// Assessed windows whose end lies after the first and up to the second sample given.
pub(crate) fn assessments(
    connection: &Connection,
    exam: &Exam,
    ends: Option<(u64, u64)>,
) -> Result<Vec<AssessmentV1>, DbError> {
    let act = "read the assessments of an acquisition";
    let (after, upto) = ends.unwrap_or((0, u64::MAX));
    let mut statement = connection
        .prepare_cached(
            "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
             AND box = ?2 AND first + len > ?3 AND first + len <= ?4 ORDER BY first + len, seq",
        )
        .map_err(during(act))?;
    let mut rows = statement
        .query(params![
            exam.id().0,
            exam.device.0,
            to_sql(after),
            to_sql(upto)
        ])
        .map_err(during(act))?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let bytes: Vec<u8> = row.get(0).map_err(during(act))?;
        match Record::decode(&bytes) {
            Ok(Record::Assessment(window)) => windows.push(window),
            _ => return Err(DbError::Damaged { what: "assessment" }),
        }
    }
    Ok(windows)
}

fn last_window(connection: &Connection, exam: &Exam) -> Result<Option<u64>, DbError> {
    connection
        .prepare_cached(
            "SELECT max(first + len) FROM records
             WHERE acquisition = ?1 AND kind = 'assessment' AND box = ?2",
        )
        .and_then(|mut statement| {
            statement.query_row(params![exam.id().0, exam.device.0], |row| row.get(0))
        })
        .map(|end: Option<i64>| end.map(crate::db::from_sql))
        .map_err(during("find the last assessment"))
}

/// The gaps of an acquisition, in order.
pub(crate) fn gaps(connection: &Connection, exam: &Exam) -> Result<Vec<GapV1>, DbError> {
    let act = "read the gaps of an acquisition";
    let mut statement = connection
        .prepare_cached(
            "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'gap' AND box = ?2
             ORDER BY first, seq",
        )
        .map_err(during(act))?;
    let mut rows = statement
        .query(params![exam.id().0, exam.device.0])
        .map_err(during(act))?;
    let mut gaps = Vec::new();
    while let Some(row) = rows.next().map_err(during(act))? {
        let bytes: Vec<u8> = row.get(0).map_err(during(act))?;
        match Record::decode(&bytes) {
            Ok(Record::Gap(gap)) => gaps.push(gap),
            _ => return Err(DbError::Damaged { what: "gap" }),
        }
    }
    Ok(gaps)
}

/// Anchors of the first and the last segment.
pub(crate) fn anchors(
    connection: &Connection,
    exam: &Exam,
) -> Result<Option<(TimeAnchor, SampleIndex, TimeAnchor, SampleIndex)>, DbError> {
    let end_of =
        |order: &'static str| -> Result<Option<(TimeAnchor, SampleIndex, SampleIndex)>, DbError> {
            use rusqlite::OptionalExtension as _;
            let bytes: Option<Vec<u8>> = connection
                .prepare_cached(&format!(
                    "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'segment'
                 AND box = ?2 AND len > 0 ORDER BY first {order} LIMIT 1"
                ))
                .and_then(|mut statement| {
                    statement
                        .query_row(params![exam.id().0, exam.device.0], |row| row.get(0))
                        .optional()
                })
                .map_err(during("read the ends of an acquisition"))?;
            match bytes.map(|bytes| Record::decode(&bytes)) {
                None => Ok(None),
                Some(Ok(Record::Segment(s))) => {
                    let last = SampleIndex(s.segment.end().0.saturating_sub(1));
                    Ok(Some((s.segment.anchor, s.segment.first(), last)))
                }
                Some(_) => Err(DbError::Damaged { what: "segment" }),
            }
        };
    let (Some((start, first, _)), Some((end, _, last))) = (end_of("ASC")?, end_of("DESC")?) else {
        return Ok(None);
    };
    Ok(Some((start, first, end, last)))
}
