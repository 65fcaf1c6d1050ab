//! Alerts and the steps of their lives, as they are stored.

use cardio_alert::life::{Life, Step};
use cardio_alert::{Alert, Family, Language};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::BoxId;
use cardio_core::subject::SubjectRef;
use serde::Serialize;

use crate::db::{Connection, DbError, values};

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
    /// How far it has come: raised, delivered, seen, escalated, acknowledged or closed.
    pub stage: String,
    /// In French.
    pub text_fr: String,
    /// In English.
    pub text_en: String,
}

/// An alert with what is stored beside it.
#[derive(Clone, Debug)]
pub(super) struct StoredAlert {
    /// The alert, as it was raised.
    pub(super) alert: Alert,
    /// The patient, if it is about one.
    pub(super) patient: Option<SubjectRef>,
    /// The box that it came from.
    pub(super) device: BoxId,
    /// Whether no patient's body made the data.
    pub(super) simulated: bool,
    /// When its condition ended, if it did.
    pub(super) ended: Option<UtcMicros>,
    /// When whose turn it is must be looked at, if ever.
    pub(super) look: Option<UtcMicros>,
}

/// What an alert is about, beside what it says itself.
#[derive(Clone, Debug)]
pub(super) struct Concern {
    pub(super) patient: Option<SubjectRef>,
    pub(super) device: BoxId,
    pub(super) simulated: bool,
}

const DAMAGED: DbError = DbError::Damaged {
    what: "read an alert",
};

/// Stores a new alert; it is looked at at once.
pub(super) fn insert(
    connection: &Connection,
    concern: &Concern,
    alert: &Alert,
) -> Result<(), DbError> {
    let detail = serde_json::to_string(alert).map_err(|_| DAMAGED)?;
    connection
        .execute(
            "note an alert",
            "INSERT INTO alerts
               (id, subject, box, rule, priority, technical, raised_us, text_fr, text_en, detail,
                simulated, look_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?7) ON CONFLICT DO NOTHING",
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
                detail,
                concern.simulated,
            ],
        )
        .map(|_| ())
}

/// Notes that the condition of an alert is over; answers whether it is stored.
pub(super) fn end(connection: &Connection, id: &str, at: UtcMicros) -> Result<bool, DbError> {
    let act = "note the end of an alert";
    let sql = "UPDATE alerts SET ended_us = ?2 WHERE id = ?1";
    Ok(connection.execute(act, sql, values![id, at])? > 0)
}

/// The ids of the alerts whose id begins with a text; at most two.
pub(super) fn beginning_with(connection: &Connection, text: &str) -> Result<Vec<String>, DbError> {
    let known = |c: char| c.is_ascii_hexdigit() || c == '-';
    if text.is_empty() || !text.chars().all(known) {
        return Ok(Vec::new());
    }
    connection.cells(
        "look for an alert",
        "SELECT id FROM alerts WHERE id LIKE ?1 ORDER BY id LIMIT 2",
        values![format!("{}%", text.to_ascii_lowercase())],
    )
}

/// One alert.
pub(super) fn read(connection: &Connection, id: &str) -> Result<Option<StoredAlert>, DbError> {
    let row = connection.row(
        "read an alert",
        "SELECT detail, subject, box, simulated, ended_us, look_us FROM alerts WHERE id = ?1",
        values![id],
    )?;
    let Some(mut row) = row else {
        return Ok(None);
    };
    let (detail, subject): (String, Option<String>) = (row.take(0)?, row.take(1)?);
    let patient = subject.as_deref().map(SubjectRef::new).transpose();
    Ok(Some(StoredAlert {
        alert: serde_json::from_str(&detail).map_err(|_| DAMAGED)?,
        patient: patient.map_err(|_| DAMAGED)?,
        device: row.take(2)?,
        simulated: row.take(3)?,
        ended: row.take(4)?,
        look: row.take(5)?,
    }))
}

/// The steps of an alert, in their order.
pub(super) fn steps(connection: &Connection, id: &str) -> Result<Vec<(UtcMicros, Step)>, DbError> {
    let rows = connection.rows(
        "read the life of an alert",
        "SELECT at_us, step FROM alert_steps WHERE alert = ?1 ORDER BY number",
        values![id],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let (at, step): (UtcMicros, String) = (row.take(0)?, row.take(1)?);
            Ok((at, serde_json::from_str(&step).map_err(|_| DAMAGED)?))
        })
        .collect()
}

/// Adds a step to an alert whose life has become `life` by it.
pub(super) fn add_step(
    connection: &Connection,
    id: &str,
    at: UtcMicros,
    step: &Step,
    life: &Life,
) -> Result<(), DbError> {
    let text = serde_json::to_string(step).map_err(|_| DAMAGED)?;
    connection.execute(
        "add to the life of an alert",
        "INSERT INTO alert_steps (alert, number, at_us, step)
         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM alert_steps WHERE alert = ?1",
        values![id, at, text],
    )?;
    let told = life.people().filter_map(|(_, stand)| stand.told_at).min();
    // Who has it in hand knows of it, whether or not a message arrived.
    let taken = life.acknowledged().map(|(at, _)| at);
    let closed = life.closed().map(|(at, _, _)| at);
    connection
        .execute(
            "note how far an alert has come",
            "UPDATE alerts SET stage = ?2, told_us = ?3, arrived_us = ?4 WHERE id = ?1",
            values![
                id,
                life.stage().name(),
                told,
                life.delivered().or(taken).or(closed)
            ],
        )
        .map(|_| ())
}

/// Since when somebody knows of an alert that has arrived with nobody yet.
pub(super) fn told_and_not_arrived(
    connection: &Connection,
    id: &str,
) -> Result<Option<UtcMicros>, DbError> {
    connection.cell(
        "look whether an alert has arrived",
        "SELECT told_us FROM alerts WHERE id = ?1 AND told_us IS NOT NULL AND arrived_us IS NULL",
        values![id],
    )
}

/// Says when whose turn it is must be looked at next, if ever.
pub(super) fn look_at(
    connection: &Connection,
    id: &str,
    at: Option<UtcMicros>,
) -> Result<(), DbError> {
    let sql = "UPDATE alerts SET look_us = ?2 WHERE id = ?1";
    connection
        .execute("note when to look at an alert", sql, values![id, at])
        .map(|_| ())
}

/// Alerts, those whose condition goes on first, then newest first; at most a thousand.
///
/// # Errors
/// [`DbError`] when the record cannot be read.
pub fn list(connection: &Connection, now: UtcMicros) -> Result<Vec<ListedAlert>, DbError> {
    let rows = connection.rows(
        "list the alerts",
        "SELECT id, subject, box, rule, priority, technical, raised_us, ended_us,
                text_fr, text_en, stage
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
                stage: row.take(10)?,
                text_fr: row.take(8)?,
                text_en: row.take(9)?,
            })
        })
        .collect()
}
