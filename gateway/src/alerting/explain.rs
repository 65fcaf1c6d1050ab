//! Why an alert was raised, from stored bytes: each condition with its limit and value, the
//! seconds of signal that were used, rule and algorithms with their versions, and what people
//! did with it.

use cardio_alert::Language;
use cardio_alert::life::Life;
use cardio_core::clock::UtcMicros;
use cardio_fhir::ids;
use serde_json::{Value, json};

use super::again;
use super::rows::{self, StoredAlert};
use super::steps::{Refused, resolve};
use crate::clock::rfc3339;
use crate::db::{Connection, DbError};

/// Explains the alert of an id, or of the beginning of one (`alert-explained/1`).
pub(crate) fn explain(
    connection: &Connection,
    text: &str,
) -> Result<Result<Value, Refused>, DbError> {
    let id = match resolve(connection, text)? {
        Ok(id) => id,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(stored) = rows::read(connection, &id)? else {
        return Ok(Err(Refused::Unknown { id }));
    };
    let steps = rows::steps(connection, &id)?;
    let life = Life::of(&steps);
    let steps: Vec<Value> = steps
        .iter()
        .map(|(at, step)| json!({"at": rfc3339(*at), "step": step}))
        .collect();
    let mut explained = reasons(&stored);
    let recomputed = again::recomputed(connection, &stored)?;
    if let Some(map) = explained.as_object_mut() {
        map.insert("recomputed".to_owned(), recomputed);
        map.insert("stage".to_owned(), json!(life.stage().name()));
        map.insert("life".to_owned(), Value::Array(steps));
    }
    Ok(Ok(explained))
}

fn reasons(stored: &StoredAlert) -> Value {
    let alert = &stored.alert;
    let at = |at: UtcMicros| json!(rfc3339(at));
    json!({
        "schema": "alert-explained/1",
        "id": alert.id,
        "text_fr": alert.text(Language::French),
        "text_en": alert.text(Language::English),
        "priority": alert.priority.name(),
        "condition": alert.kind.name(),
        "conditions": alert.conditions(),
        "rule": alert.rule,
        "rule_version": alert.rule_version,
        "rule_applied": alert.applied,
        "prescription": alert.prescription,
        "subject": stored.patient.as_ref().map(|patient| patient.as_str()),
        "box": stored.device.to_string(),
        "acquisition": alert.acquisition,
        "began": at(alert.began),
        "completed": at(alert.at),
        "raised": at(alert.raised),
        "ended": stored.ended.map(at),
        "evidence": {
            "from_us": alert.evidence.from_us,
            "to_us": alert.evidence.to_us,
            "seconds": alert.evidence.seconds(),
        },
        "algorithms": alert.algorithms,
        "held_back": alert.held_back,
        "resources": {
            "issue": format!("DetectedIssue/{}", ids::detected_issue(&alert.id)),
            "task": format!("Task/{}", ids::task(&alert.id)),
        },
    })
}
