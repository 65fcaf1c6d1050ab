//! An alert as the patient record shows it: DetectedIssue, Communication and Task, written anew
//! from the stored alert and its life whenever either changes.

use cardio_alert::life::{Life, Stage, Step};
use cardio_alert::{Family, Language, Priority};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use cardio_fhir::alert::{
    AlertFacts, AlertPriority, AlertState, Assignment, Closing, Delivery, communication,
    detected_issue, task,
};
use cardio_fhir::ids;

use super::rows::{self, StoredAlert};
use crate::db::{Connection, DbError};
use crate::record;

/// Writes what the record shows of an alert, if it is stored.
pub(super) fn put(
    connection: &Connection,
    id: &str,
    recipient: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    let Some(stored) = rows::read(connection, id)? else {
        return Ok(());
    };
    let steps = rows::steps(connection, id)?;
    put_all(connection, &stored, &steps, recipient, now)
}

fn put_all(
    connection: &Connection,
    stored: &StoredAlert,
    steps: &[(UtcMicros, Step)],
    recipient: &str,
    now: UtcMicros,
) -> Result<(), DbError> {
    let (alert, life) = (&stored.alert, Life::of(steps));
    let (text_fr, text_en) = (alert.text(Language::French), alert.text(Language::English));
    let (box_device, implicated) = (ids::box_device(stored.device), implicated(stored));
    let moved = stored.ended.unwrap_or(alert.raised);
    let facts = AlertFacts {
        alert: &alert.id,
        code: alert.kind.name(),
        priority: priority(alert.priority),
        technical: alert.family() == Family::Technical,
        state: state(life.stage()),
        text_fr: &text_fr,
        text_en: &text_en,
        patient: stored.patient.as_ref(),
        box_device: &box_device,
        began: alert.began,
        ended: stored.ended,
        raised: alert.raised,
        modified: life.changed().unwrap_or(moved).max(moved),
        implicated: &implicated,
        evidence: &[],
        simulated: stored.simulated,
    };
    record::put(connection, &detected_issue(&facts), now)?;
    let to_duty = Delivery {
        recipient,
        sent: alert.raised,
        received: life.delivered(),
        part_of: None,
        lost: None,
    };
    record::put(connection, &communication(&facts, &to_duty), now)?;
    for (who, stand) in life.people() {
        let Some(sent) = stand.told_at.filter(|_| who != recipient) else {
            continue;
        };
        let to_person = Delivery {
            recipient: who,
            sent,
            received: stand.delivered_at,
            part_of: Some(recipient),
            lost: stand.undeliverable.then_some("undeliverable"),
        };
        record::put(connection, &communication(&facts, &to_person), now)?;
    }
    let taken_by = life.acknowledged().map(|(_, who)| who);
    let told = life.people().any(|(_, stand)| stand.told > 0);
    let work = Assignment {
        recipient,
        taken_by,
        closing: closing(steps),
        // A turn that is still to be looked at has no end yet.
        until: stored.look.filter(|end| told && life.waits() && *end > now),
    };
    record::put(connection, &task(&facts, &work), now)?;
    Ok(())
}

fn closing(steps: &[(UtcMicros, Step)]) -> Option<Closing<'_>> {
    steps.iter().find_map(|(at, step)| match step {
        Step::Closed { who, reason, note } => Some(Closing {
            by: who,
            at: *at,
            reason: reason.name(),
            note: note.as_deref(),
        }),
        _ => None,
    })
}

/// The report of the recording that shows it, or the box that it is about.
fn implicated(stored: &StoredAlert) -> Vec<String> {
    let acquisition = stored.alert.acquisition.as_deref();
    let acquisition = acquisition.and_then(|text| text.parse::<AcquisitionId>().ok());
    vec![match acquisition {
        Some(acquisition) => format!("DiagnosticReport/{}", ids::report(acquisition)),
        None => format!("Device/{}", ids::box_device(stored.device)),
    }]
}

const fn priority(priority: Priority) -> AlertPriority {
    match priority {
        Priority::High => AlertPriority::High,
        Priority::Medium => AlertPriority::Medium,
        Priority::Low => AlertPriority::Low,
        Priority::Information => AlertPriority::Information,
    }
}

const fn state(stage: Stage) -> AlertState {
    match stage {
        Stage::Raised => AlertState::Raised,
        Stage::Delivered => AlertState::Delivered,
        Stage::Seen => AlertState::Seen,
        Stage::Escalated => AlertState::Escalated,
        Stage::Acknowledged => AlertState::Acknowledged,
        Stage::Closed => AlertState::Closed,
    }
}
