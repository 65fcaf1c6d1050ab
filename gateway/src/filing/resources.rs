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
use cardio_fhir::time::{self, Effective};
use cardio_fhir::waveform::{SpanError, SpanFacts, ecg_observation};
use cardio_wire::record::{AssessmentV1, GapV1, Record};
use serde_json::{Value, json};

use super::exam::{Exam, Touched};
use super::exam_report;
use super::spans::{Piece, has_complete, is_filled, pieces, runs, slot_of, slot_start, slots};
use super::told;
use crate::clock::boots::Dated;
use crate::db::{Connection, DbError, values};
use crate::record;

/// The longest window that is scored.
const WINDOW_MAX_US: u64 = 10_000_000;

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
    let mut windows = touched_windows(exam, touched);
    for slot in touched_slots(connection, exam, touched)? {
        if has_complete(connection, exam, slot)? {
            for piece in pieces(connection, exam, slot)? {
                if piece.complete {
                    put_span(connection, exam, &piece, now)?;
                    // Windows that look at the span name it as their origin.
                    let reach = rate.count_in_micros(WINDOW_MAX_US).0;
                    windows.push((piece.block.first.0, piece.end().0.saturating_add(reach)));
                }
            }
        }
        if exam.tells_rates() {
            told::put_intervals(connection, exam, slot, now)?;
        }
    }
    for gap in touched_gaps(connection, exam, touched)? {
        put_gap(connection, exam, &gap, now)?;
    }
    put_assessments(connection, exam, &windows, now)?;
    if touched.all || touched.status {
        told::put_statuses(connection, exam, now)?;
    }
    if touched.all || touched.ended {
        exam_report::put(connection, exam, now)?;
    } else if exam.ended.is_some() {
        exam_report::put_later(connection, exam)?;
    }
    super::clocks::keep(connection, exam)
}

/// The slots whose pieces `touched` may have changed.
fn touched_slots(
    connection: &Connection,
    exam: &Exam,
    touched: &Touched,
) -> Result<BTreeSet<u64>, DbError> {
    let rate = exam.acquisition().rate;
    if touched.all {
        return Ok(slots(connection, exam)?.into_iter().collect());
    }
    let mut slots: BTreeSet<u64> = touched.around.iter().map(|at| slot_of(rate, *at)).collect();
    for before in &touched.before {
        let slot = slot_of(rate, *before);
        if !slots.contains(&slot) && !is_filled(connection, exam, slot)? {
            slots.insert(slot);
        }
    }
    // A window that ends just after a piece may bear the verdict over it.
    let second = one_second(exam);
    let over = touched.windows.iter().map(|end| end.saturating_sub(second));
    slots.extend(over.map(|at| slot_of(rate, at.saturating_sub(1))));
    if touched.ended {
        let last = exam.extents.reached().saturating_sub(1);
        slots.insert(slot_of(rate, last));
    }
    Ok(slots)
}

/// Writes an observation and notes it as a result of its acquisition.
pub(super) fn put_result(
    connection: &Connection,
    exam: &Exam,
    first: SampleIndex,
    dated: Option<&Dated>,
    observation: Value,
    now: UtcMicros,
) -> Result<(), DbError> {
    let observation = named(with_error(observation, dated));
    record::put(connection, &observation, now)?;
    let id = observation.get("id").and_then(Value::as_str);
    connection
        .execute(
            "note a result",
            "INSERT INTO results (acquisition, id, first) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
            values![exam.id(), id, first.0],
        )
        .map(|_| ())
}

/// Says how well the time of a resource is known: its error when it is filed as a time, what
/// is known of it when it is filed as unknown.
pub(crate) fn with_error(mut resource: Value, dated: Option<&Dated>) -> Value {
    match dated {
        Some(dated) if dated.is_vouched_for() => {
            time::state_error(&mut resource, dated.error_us.unwrap_or(u64::MAX));
        }
        Some(Dated { bounds, .. }) => {
            time::state_bounds(&mut resource, bounds.earliest, bounds.latest);
        }
        None => {}
    }
    resource
}

/// Says in words that a resource belongs to no patient yet, where it names none.
pub(crate) fn named(mut resource: Value) -> Value {
    if let Some(map) = resource.as_object_mut() {
        map.entry("subject")
            .or_insert_with(|| json!({"display": "NON ATTRIBUÉ / UNASSIGNED"}));
    }
    resource
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
    let dated = exam.time_of(piece.block.first, &piece.anchor);
    let observation = ecg_observation(&SpanFacts {
        id: ids::waveform_span(exam.id(), piece.block.first),
        context: &exam.context,
        waveforms: &acquisition.waveforms,
        block: &piece.block,
        rate: acquisition.rate,
        start: dated.at,
        time_is_vouched_for: dated.is_vouched_for(),
        verdict: verdict_of(connection, exam, piece)?,
        clock: None,
        sensor_key: None,
    });
    match observation {
        Ok(observation) => put_result(
            connection,
            exam,
            piece.block.first,
            Some(&dated),
            observation,
            now,
        ),
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
    let windows = assessments(connection, exam, (piece.block.first.0, latest))?;
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
    let near = gap.near.as_ref();
    let dated = near.map(|anchor| exam.time_of(gap.gap.from, anchor));
    let observation = gap_observation(&GapFacts {
        id: ids::gap(exam.id(), gap.gap.from),
        record: gap.head.id,
        context: &exam.context,
        gap: gap.gap,
        rate: exam.acquisition().rate,
        start: dated.filter(Dated::is_vouched_for).map(|dated| dated.at),
    });
    let (from, dated) = (gap.gap.from, dated.as_ref());
    put_result(connection, exam, from, dated, observation, now)
}

/// Ends of the windows that `touched` asks to look at, as ranges: after the first, up to the
/// second sample.
fn touched_windows(exam: &Exam, touched: &Touched) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    if touched.all {
        ranges.push((0, u64::MAX));
    }
    if let (Some(first), Some(last)) = (touched.windows.first(), touched.windows.last()) {
        ranges.push((first.saturating_sub(1), *last));
    }
    if let Some(ended) = exam.ended.as_ref().filter(|_| touched.ended) {
        let second = one_second(exam);
        ranges.push((ended.end.0.saturating_sub(second), ended.end.0));
    }
    ranges
}

/// Writes heart rate and quality of the windows that are kept: in each slot the first that
/// ends in it, and the one that ends with the acquisition.
fn put_assessments(
    connection: &Connection,
    exam: &Exam,
    ranges: &[(u64, u64)],
    now: UtcMicros,
) -> Result<(), DbError> {
    let mut done = BTreeSet::new();
    for range in ranges {
        for window in assessments(connection, exam, *range)? {
            let end = window.quality.first.after(window.quality.len).0;
            let kept = is_first_of_slot(exam, end) || is_last(exam, end);
            if kept && done.insert(window.head.id) {
                put_window(connection, exam, &window, now)?;
            }
        }
    }
    Ok(())
}

fn one_second(exam: &Exam) -> u64 {
    exam.acquisition().rate.count_in_micros(1_000_000).0.max(1)
}

/// Whether a window that ends at `end` is the first to end in its slot: windows come every
/// second, so it is the one that ends within the slot's first second.
fn is_first_of_slot(exam: &Exam, end: u64) -> bool {
    let rate = exam.acquisition().rate;
    let slot = slot_of(rate, end);
    slot > 0 && end.saturating_sub(slot_start(rate, slot)) < one_second(exam)
}

/// Whether a window ends within the acquisition's last second.
fn is_last(exam: &Exam, end: u64) -> bool {
    exam.ended.as_ref().is_some_and(|ended| {
        end <= ended.end.0 && ended.end.0.saturating_sub(end) < one_second(exam)
    })
}

fn put_window(
    connection: &Connection,
    exam: &Exam,
    window: &AssessmentV1,
    now: UtcMicros,
) -> Result<(), DbError> {
    let quality = &window.quality;
    let end = quality.first.after(quality.len);
    let (over, dated) = exam.effective(quality.first, end, &window.window_start);
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
    put_result(connection, exam, end, Some(&dated), heart_rate, now)?;
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
    put_result(connection, exam, end, Some(&dated), observation, now)
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
        for run in runs(connection, exam, slot)? {
            if run.first < end && run.end > first {
                spans.push(ids::waveform_span(exam.id(), SampleIndex(run.first)));
            }
        }
    }
    Ok(spans)
}

/// Assessed windows whose end lies after the first and up to the second sample given.
fn assessments(
    connection: &Connection,
    exam: &Exam,
    (after, upto): (u64, u64),
) -> Result<Vec<AssessmentV1>, DbError> {
    let earliest = exam.extents.earliest_beyond("assessment", after);
    let rows = connection.cells(
        "read the assessments of an acquisition",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
         AND box = ?2 AND first >= ?5 AND first <= ?4
         AND first + len > ?3 AND first + len <= ?4 ORDER BY first + len, seq",
        values![exam.id(), exam.device, after, upto, earliest],
    )?;
    decoded_windows(rows)
}

/// Assessments as they are stored.
fn decoded_windows(rows: Vec<Vec<u8>>) -> Result<Vec<AssessmentV1>, DbError> {
    rows.iter().map(|bytes| decoded_window(bytes)).collect()
}

/// An assessment as it is stored.
pub(crate) fn decoded_window(bytes: &[u8]) -> Result<AssessmentV1, DbError> {
    match Record::decode(bytes) {
        Ok(Record::Assessment(window)) => Ok(window),
        _ => Err(DbError::Damaged { what: "assessment" }),
    }
}

fn touched_gaps(
    connection: &Connection,
    exam: &Exam,
    touched: &Touched,
) -> Result<Vec<GapV1>, DbError> {
    let (from, to) = match (touched.all, touched.gaps.first(), touched.gaps.last()) {
        (true, _, _) => (0, u64::MAX),
        (false, Some(first), Some(last)) => (*first, *last),
        _ => return Ok(Vec::new()),
    };
    let mut gaps = gaps(connection, exam, (from, to))?;
    gaps.retain(|gap| touched.all || touched.gaps.contains(&gap.gap.from.0));
    Ok(gaps)
}

/// The gaps of an acquisition, in order: those that begin from the first up to the second
/// sample given.
pub(crate) fn gaps(
    connection: &Connection,
    exam: &Exam,
    (from, upto): (u64, u64),
) -> Result<Vec<GapV1>, DbError> {
    let rows: Vec<Vec<u8>> = connection.cells(
        "read the gaps of an acquisition",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'gap' AND box = ?2
         AND first >= ?3 AND first <= ?4 ORDER BY first, seq",
        values![exam.id(), exam.device, from, upto],
    )?;
    rows.iter()
        .map(|bytes| match Record::decode(bytes) {
            Ok(Record::Gap(gap)) => Ok(gap),
            _ => Err(DbError::Damaged { what: "gap" }),
        })
        .collect()
}

/// Anchors of the first and the last segment, or stretch of rates.
pub(crate) fn anchors(
    connection: &Connection,
    exam: &Exam,
) -> Result<Option<(TimeAnchor, SampleIndex, TimeAnchor, SampleIndex)>, DbError> {
    let end_of =
        |order: &'static str| -> Result<Option<(TimeAnchor, SampleIndex, SampleIndex)>, DbError> {
            let bytes: Option<Vec<u8>> = connection.cell(
                "read the ends of an acquisition",
                &format!(
                    "SELECT bytes FROM records WHERE acquisition = ?1 AND kind IN ('segment', 'heart-rates')
                     AND box = ?2 AND len > 0 ORDER BY first {order} LIMIT 1"
                ),
                values![exam.id(), exam.device],
            )?;
            match bytes.map(|bytes| Record::decode(&bytes)) {
                None => Ok(None),
                Some(Ok(Record::Segment(s))) => {
                    let last = SampleIndex(s.segment.end().0.saturating_sub(1));
                    Ok(Some((s.segment.anchor, s.segment.first(), last)))
                }
                Some(Ok(Record::HeartRates(one))) => {
                    let stretch = one.stretch;
                    let last = SampleIndex(stretch.end().0.saturating_sub(1));
                    Ok(Some((stretch.anchor, stretch.first, last)))
                }
                Some(_) => Err(DbError::Damaged { what: "segment" }),
            }
        };
    let (Some((start, first, _)), Some((end, _, last))) = (end_of("ASC")?, end_of("DESC")?) else {
        return Ok(None);
    };
    Ok(Some((start, first, end, last)))
}
