//! What the record holds of a time: its exams and its alerts.

use std::collections::BTreeMap;

use cardio_alert::life::Step;
use cardio_core::acquisition::{Attendance, WaveformKind};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_core::index::SampleIndex;
use cardio_core::quality::QualityVerdict;
use cardio_fhir::report::ExamKind;
use cardio_wire::record::{AssessmentV1, Record};

use super::tally::{AlertFacts, ContactFacts, ExamFacts};
use crate::db::{Connection, DbError, values};
use crate::filing::{Exam, each_record, load_exam};
use crate::inbox::BoxLore;
use crate::upload::DESK;

/// Length of a window that no longer grows, in microseconds, less what rounding may take.
const WHOLE_WINDOW_US: u64 = 9_900_000;

/// The boxes whose exams began within a time.
pub(crate) fn boxes(
    connection: &Connection,
    (from, to): (UtcMicros, UtcMicros),
) -> Result<Vec<BoxId>, DbError> {
    connection.cells(
        "list the boxes of a time",
        "SELECT DISTINCT box FROM acquisitions WHERE started_us >= ?1 AND started_us < ?2",
        values![from, to],
    )
}

/// The exams that began within a time, by the clocks of their boxes.
pub(super) fn exams(
    connection: &Connection,
    lore: &BoxLore,
    (from, to): (UtcMicros, UtcMicros),
) -> Result<Vec<ExamFacts>, DbError> {
    let ids: Vec<AcquisitionId> = connection.cells(
        "list the exams of a time",
        "SELECT id FROM acquisitions WHERE started_us >= ?1 AND started_us < ?2
         ORDER BY started_us, id",
        values![from, to],
    )?;
    let mut exams = Vec::new();
    for id in ids {
        if let Some(exam) = load_exam(connection, id, lore)? {
            exams.push(facts(connection, &exam)?);
        }
    }
    Ok(exams)
}

fn facts(connection: &Connection, exam: &Exam) -> Result<ExamFacts, DbError> {
    let start = exam.wall(&exam.started.head.at).at;
    let ended = exam.ended.as_ref();
    let subject = exam.acquisition().subject.as_ref();
    let mut facts = ExamFacts {
        kind: kind(exam),
        subject: subject.map(|subject| subject.as_str().to_owned()),
        attended: exam.acquisition().attendance == Attendance::Attended && exam.device != DESK,
        start_us: start.0,
        end_us: ended.map_or(start, |ended| exam.wall(&ended.head.at).at).0,
        ..ExamFacts::default()
    };
    let mut damaged = false;
    each_record(connection, &exam.id().0, |bytes| {
        match Record::decode(bytes) {
            Ok(Record::Assessment(window)) => assess(&mut facts, exam, &window),
            Ok(_) => {}
            Err(_) => damaged = true,
        }
    })?;
    if damaged {
        return Err(DbError::Damaged {
            what: "read a record",
        });
    }
    if exam.device != DESK {
        facts.delays_us = delays(connection, exam)?;
    }
    Ok(facts)
}

fn kind(exam: &Exam) -> &'static str {
    let mut waveforms = exam.acquisition().waveforms.iter();
    if exam.device == DESK {
        "file"
    } else if waveforms.any(|one| matches!(one.kind, WaveformKind::HeartSound(_))) {
        "auscultation"
    } else {
        match exam.kind() {
            ExamKind::Ecg12 => "ecg-12",
            ExamKind::Holter => "holter",
            ExamKind::Ecg => "ecg",
            ExamKind::HeartRate => "heart-rate",
        }
    }
}

fn assess(facts: &mut ExamFacts, exam: &Exam, window: &AssessmentV1) {
    let quality = &window.quality;
    let rate = exam.acquisition().rate;
    let whole = rate.micros_at(SampleIndex(quality.len.0)) >= WHOLE_WINDOW_US;
    if whole && quality.overall.verdict != QualityVerdict::Insufficient {
        let end = exam.time_of(quality.first.after(quality.len), &window.window_start);
        let good = facts.good_us.get_or_insert(end.at.0);
        *good = (*good).min(end.at.0);
    }
    let device = &exam.acquisition().device;
    let model = device.model.as_deref().unwrap_or("unknown");
    for (lead, quality) in &quality.per_lead {
        let contact: &mut ContactFacts =
            facts.contacts.entry(format!("{model} {lead}")).or_default();
        contact.windows += 1;
        if quality.verdict == QualityVerdict::Insufficient {
            for cause in &quality.causes {
                *contact.causes.entry(cause.name()).or_default() += 1;
            }
        }
    }
}

/// From the making of each segment to its receipt, where the time of making is vouched for.
fn delays(connection: &Connection, exam: &Exam) -> Result<Vec<i64>, DbError> {
    let rows = connection.rows(
        "read when the segments of an exam were received",
        "SELECT bytes, received_us FROM records
         WHERE acquisition = ?1 AND box = ?2 AND kind IN ('segment', 'heart-rates')",
        values![exam.id(), exam.device],
    )?;
    let mut delays = Vec::new();
    for mut row in rows {
        let (bytes, received): (Vec<u8>, UtcMicros) = (row.take(0)?, row.take(1)?);
        let record = Record::decode(&bytes).map_err(|_| DbError::Damaged {
            what: "read a record",
        })?;
        let made = exam.wall(&record.head().at);
        if made.is_vouched_for() {
            delays.push(received.0.saturating_sub(made.at.0));
        }
    }
    Ok(delays)
}

/// The alerts that were raised within a time.
pub(super) fn alerts(
    connection: &Connection,
    (from, to): (UtcMicros, UtcMicros),
) -> Result<Vec<AlertFacts>, DbError> {
    let mut taken: BTreeMap<String, UtcMicros> = BTreeMap::new();
    let steps = connection.rows(
        "read who took the alerts of a time",
        "SELECT s.alert, s.at_us, s.step FROM alert_steps s JOIN alerts a ON a.id = s.alert
         WHERE a.raised_us >= ?1 AND a.raised_us < ?2 ORDER BY s.alert, s.number",
        values![from, to],
    )?;
    for mut row in steps {
        let (alert, at, step): (String, UtcMicros, String) =
            (row.take(0)?, row.take(1)?, row.take(2)?);
        if let Ok(Step::Acknowledged { .. }) = serde_json::from_str(&step) {
            taken.entry(alert).or_insert(at);
        }
    }
    let rows = connection.rows(
        "read the alerts of a time",
        "SELECT id, priority, raised_us FROM alerts
         WHERE raised_us >= ?1 AND raised_us < ?2 ORDER BY id",
        values![from, to],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let (id, raised): (String, UtcMicros) = (row.take(0)?, row.take(2)?);
            let at = taken.get(&id).copied();
            Ok(AlertFacts {
                priority: row.take(1)?,
                taken_us: at.map(|at| at.0.saturating_sub(raised.0)),
            })
        })
        .collect()
}
