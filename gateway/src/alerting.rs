//! From assessed windows to alerts in the record.
//!
//! Windows are shown to the engine in the order of their ends; what it remembers is stored in
//! the transaction that files them, so a restart neither forgets nor repeats. Deliberately
//! absent: telling anybody. An alert is filed as DetectedIssue, Communication and Task.

use cardio_alert::{
    Alert, AlertEvent, Algorithm, Engine, EngineState, Fact, Family, Language, Priority, Quantity,
    Reading,
};
use cardio_core::acquisition::Attendance;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_core::index::SampleIndex;
use cardio_core::subject::SubjectRef;
use cardio_fhir::alert::{
    AlertFacts, AlertPriority, AlertState, Assignment, Delivery, communication, detected_issue,
    task,
};
use cardio_fhir::ids;
use cardio_wire::record::AssessmentV1;
use serde::Serialize;

use crate::db::{Connection, DbError, values};
use crate::filing::{Exam, decoded_windows};
use crate::record;

/// An alert as `alerts list` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ListedAlert {
    /// Its id.
    pub id: String,
    /// The patient's logical id, if it is about one.
    pub subject: Option<String>,
    /// The box that recorded it.
    pub box_id: String,
    /// The rule.
    pub rule: String,
    /// high, medium, low or information.
    pub priority: String,
    /// Whether it is about the equipment and not the patient.
    pub technical: bool,
    /// When it was raised.
    pub raised: String,
    /// Its age in seconds.
    pub age_s: i64,
    /// When its condition ended, if it did.
    pub ended: Option<String>,
    /// In French.
    pub text_fr: String,
    /// In English.
    pub text_en: String,
}

/// What the engine remembered when it last stopped.
///
/// # Errors
/// [`DbError`] when it cannot be read.
pub fn load(connection: &Connection) -> Result<EngineState, DbError> {
    let state: Option<String> = connection.cell(
        "read the state of the alert rules",
        "SELECT state FROM alert_state",
        values![],
    )?;
    match state {
        None => Ok(EngineState::default()),
        Some(state) => serde_json::from_str(&state).map_err(|_| DbError::Damaged {
            what: "state of the alert rules",
        }),
    }
}

/// Stores what the engine remembers.
pub(crate) fn save(connection: &Connection, state: &EngineState) -> Result<(), DbError> {
    let text = serde_json::to_string(state).map_err(|_| DbError::Damaged {
        what: "state of the alert rules",
    })?;
    connection
        .execute(
            "store the state of the alert rules",
            "INSERT INTO alert_state (\"only\", state) VALUES (1, ?1)
             ON CONFLICT (\"only\") DO UPDATE SET state = excluded.state",
            values![text],
        )
        .map(|_| ())
}

/// What an alert is about.
#[derive(Clone, Debug)]
struct Concern {
    patient: Option<SubjectRef>,
    device: BoxId,
    simulated: bool,
    implicated: Vec<String>,
}

impl Concern {
    fn of_exam(exam: &Exam) -> Self {
        Self {
            patient: exam.acquisition().subject.clone(),
            device: exam.device,
            simulated: exam.context.simulated,
            implicated: vec![format!("DiagnosticReport/{}", ids::report(exam.id()))],
        }
    }

    fn of_box(device: BoxId) -> Self {
        Self {
            patient: None,
            device,
            simulated: false,
            implicated: vec![format!("Device/{}", ids::box_device(device))],
        }
    }
}

/// What is known of a box at one moment, for the technical rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxReading {
    /// The box.
    pub(crate) device: BoxId,
    /// Seconds since it was last connected.
    pub(crate) silent_s: f64,
    /// Frames that do not fit its chains.
    pub(crate) chain_breaks: f64,
}

/// Shows the engine how the boxes are; answers how many alerts it raised.
pub(crate) fn watch(
    connection: &Connection,
    readings: &[BoxReading],
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let mut raised = 0;
    for one in readings {
        let attendance = if records(connection, one.device)? {
            Attendance::Attended
        } else {
            Attendance::Unattended
        };
        let concern = Concern::of_box(one.device);
        for (quantity, value) in [
            (Quantity::BoxSilence, one.silent_s),
            (Quantity::ChainBreaks, one.chain_breaks),
        ] {
            let reading = Reading {
                about: one.device.to_string(),
                quantity,
                at: now,
                value,
                attendance,
            };
            for event in engine.reading(&reading, now) {
                raised += take(connection, &concern, event, recipient, now)?;
            }
        }
    }
    Ok(raised)
}

/// Whether a recording of the box runs, as far as it has said.
fn records(connection: &Connection, device: BoxId) -> Result<bool, DbError> {
    connection
        .row(
            "look for a running recording",
            "SELECT 1 FROM acquisitions WHERE box = ?1 AND ended_us IS NULL LIMIT 1",
            values![device],
        )
        .map(|row| row.is_some())
}

/// Shows the engine every window that it has not seen; answers how many alerts it raised.
pub(crate) fn judge(
    connection: &Connection,
    exam: &Exam,
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let subject = exam.subject();
    let concern = Concern::of_exam(exam);
    let mut raised = 0;
    for window in unjudged(connection, exam)? {
        let fact = fact(exam, &window);
        for event in engine.step(&subject, &fact, now) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    mark_judged(connection, exam)?;
    if let Some(ended) = &exam.ended {
        let at = exam.wall(&ended.head.at).at;
        for event in engine.acquisition_ended(&subject, exam.id(), at) {
            raised += take(connection, &concern, event, recipient, now)?;
        }
    }
    Ok(raised)
}

fn unjudged(connection: &Connection, exam: &Exam) -> Result<Vec<AssessmentV1>, DbError> {
    let rows = connection.cells(
        "read the windows that no rule has seen",
        "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
         AND box = ?2 AND judged = 0 ORDER BY first + len, seq",
        values![exam.id(), exam.device],
    )?;
    decoded_windows(rows)
}

fn mark_judged(connection: &Connection, exam: &Exam) -> Result<(), DbError> {
    connection
        .execute(
            "note which windows the rules have seen",
            "UPDATE records SET judged = 1 WHERE acquisition = ?1 AND kind = 'assessment'
             AND box = ?2 AND judged = 0",
            values![exam.id(), exam.device],
        )
        .map(|_| ())
}

fn fact(exam: &Exam, window: &AssessmentV1) -> Fact {
    let (quality, rate) = (&window.quality, &window.heart_rate);
    let end = quality.first.after(quality.len);
    let at = exam.time_of(end, &window.window_start).at;
    let beats: Vec<SampleIndex> = rate.beats.iter().map(|beat| beat.at).collect();
    let algorithm = |(name, version): &(String, u32)| Algorithm {
        name: name.clone(),
        version: *version,
    };
    Fact {
        acquisition: exam.id(),
        first: quality.first,
        len: quality.len,
        rate: exam.acquisition().rate,
        at,
        attendance: exam.acquisition().attendance,
        verdict: quality.overall.verdict,
        causes: quality.overall.causes.clone(),
        suspect_electrode: window.suspect_electrode,
        bpm: rate.bpm,
        beats: Some(beats),
        af_suspected: None,
        algorithms: vec![algorithm(&quality.algorithm), algorithm(&rate.algorithm)],
    }
}

fn take(
    connection: &Connection,
    concern: &Concern,
    event: AlertEvent,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    match event {
        AlertEvent::Raised(alert) => {
            tracing::warn!(
                event = "AlertRaised",
                alert = %alert.id,
                rule = %alert.rule,
                priority = alert.priority.name()
            );
            insert(connection, concern, &alert)?;
            put_resources(connection, concern, &alert, None, recipient, now)?;
            Ok(1)
        }
        AlertEvent::Ended(ended) => {
            tracing::info!(event = "AlertConditionEnded", alert = %ended.id, rule = %ended.rule);
            let detail: Option<String> = connection.cell(
                "note the end of an alert",
                "UPDATE alerts SET ended_us = ?2 WHERE id = ?1 RETURNING detail",
                values![ended.id, ended.at],
            )?;
            if let Some(detail) = detail {
                let alert: Alert = serde_json::from_str(&detail)
                    .map_err(|_| DbError::Damaged { what: "alert" })?;
                put_resources(connection, concern, &alert, Some(ended.at), recipient, now)?;
            }
            Ok(0)
        }
    }
}

fn insert(connection: &Connection, concern: &Concern, alert: &Alert) -> Result<(), DbError> {
    let detail = serde_json::to_string(alert).map_err(|_| DbError::Damaged { what: "alert" })?;
    connection
        .execute(
            "note an alert",
            "INSERT INTO alerts
               (id, subject, box, rule, priority, technical, raised_us, text_fr, text_en, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
            values![
                alert.id,
                concern.patient.as_ref().map(SubjectRef::as_str),
                concern.device,
                alert.rule,
                alert.priority.name(),
                alert.family() == Family::Technical,
                alert.raised,
                alert.text(Language::French),
                alert.text(Language::English),
                detail
            ],
        )
        .map(|_| ())
}

fn put_resources(
    connection: &Connection,
    concern: &Concern,
    alert: &Alert,
    ended: Option<UtcMicros>,
    recipient: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    let (text_fr, text_en) = (alert.text(Language::French), alert.text(Language::English));
    let box_device = ids::box_device(concern.device);
    let facts = AlertFacts {
        alert: &alert.id,
        code: alert.kind.name(),
        priority: match alert.priority {
            Priority::High => AlertPriority::High,
            Priority::Medium => AlertPriority::Medium,
            Priority::Low => AlertPriority::Low,
            Priority::Information => AlertPriority::Information,
        },
        technical: alert.family() == Family::Technical,
        state: AlertState::Raised,
        text_fr: &text_fr,
        text_en: &text_en,
        patient: concern.patient.as_ref(),
        box_device: &box_device,
        began: alert.began,
        ended,
        raised: alert.raised,
        modified: ended.unwrap_or(alert.raised),
        implicated: &concern.implicated,
        evidence: &[],
        simulated: concern.simulated,
    };
    let delivery = Delivery {
        recipient,
        sent: alert.raised,
        received: None,
    };
    let assignment = Assignment {
        recipient,
        until: None,
    };
    record::put(connection, &detected_issue(&facts), now)?;
    record::put(connection, &communication(&facts, &delivery), now)?;
    record::put(connection, &task(&facts, &assignment), now)?;
    Ok(())
}

/// Alerts, those whose condition goes on first, then newest first; at most a thousand.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn list(connection: &Connection, now: UtcMicros) -> Result<Vec<ListedAlert>, DbError> {
    let rows = connection.rows(
        "list the alerts",
        "SELECT id, subject, box, rule, priority, technical, raised_us, ended_us,
                text_fr, text_en
         FROM alerts ORDER BY ended_us IS NOT NULL, raised_us DESC, id LIMIT 1000",
        values![],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let (device, raised): (BoxId, UtcMicros) = (row.take(2)?, row.take(6)?);
            let ended: Option<UtcMicros> = row.take(7)?;
            Ok(ListedAlert {
                id: row.take(0)?,
                subject: row.take(1)?,
                box_id: device.to_string(),
                rule: row.take(3)?,
                priority: row.take(4)?,
                technical: row.take(5)?,
                raised: crate::clock::rfc3339(raised),
                age_s: now.0.saturating_sub(raised.0) / 1_000_000,
                ended: ended.map(crate::clock::rfc3339),
                text_fr: row.take(8)?,
                text_en: row.take(9)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{BoxReading, list, load, save, watch};
    use cardio_alert::{Engine, RuleSet};
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::BoxId;

    use crate::db::testing::Fresh;

    fn silent(seconds: f64) -> [BoxReading; 1] {
        [BoxReading {
            device: BoxId([4; 16]),
            silent_s: seconds,
            chain_breaks: 0.0,
        }]
    }

    #[test]
    fn a_box_that_is_not_heard_of_is_a_technical_alert_once_and_over_when_it_returns() {
        Fresh::on(crate::record::STEPS, |record| {
            let mut engine = Engine::new(RuleSet::standard().unwrap());
            let at = |seconds: i64| UtcMicros(1_790_000_000_000_000 + seconds * 1_000_000);
            let day = 27.0 * 3_600.0;
            assert_eq!(
                watch(record, &silent(5.0), &mut engine, "Group/duty", at(0)).unwrap(),
                0
            );
            assert_eq!(
                watch(record, &silent(day), &mut engine, "Group/duty", at(15)).unwrap(),
                1
            );
            save(record, engine.state()).unwrap();
            // A restart in between neither forgets nor repeats.
            let mut engine =
                Engine::with_state(RuleSet::standard().unwrap(), load(record).unwrap());
            assert_eq!(
                watch(record, &silent(day), &mut engine, "Group/duty", at(30)).unwrap(),
                0
            );
            let alerts = list(record, at(40)).unwrap();
            assert_eq!(alerts.len(), 1);
            assert!(alerts[0].technical && alerts[0].ended.is_none());
            watch(record, &silent(0.0), &mut engine, "Group/duty", at(600)).unwrap();
            watch(record, &silent(0.0), &mut engine, "Group/duty", at(1_200)).unwrap();
            assert!(list(record, at(1_300)).unwrap()[0].ended.is_some());
        });
    }
}
