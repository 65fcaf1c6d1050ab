//! One transaction of filing: the rows of a group of records, and all that follows from them.
//!
//! Deliberately absent: which frames come next, and how they are opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use cardio_alert::{Engine, RuleSet};
use cardio_core::clock::UtcMicros;
use cardio_core::ids::{AcquisitionId, BoxId};
use cardio_wire::intake::ChainKey;
use cardio_wire::record::Record;

use super::open::Opened;
use super::{clocks, exam, exam_report, originals, resources, rows, unwritten};
use crate::alerting;
use crate::db::{Connection, DbError};
use crate::inbox::{BoxLore, lore_within};

/// What one transaction of filing needs.
pub(super) struct How {
    pub(super) lore: BoxLore,
    pub(super) recipient: Arc<str>,
    pub(super) now: UtcMicros,
    /// The rules, when another program may have filed meanwhile.
    pub(super) shared: Option<RuleSet>,
}

impl How {
    /// As the transaction that files may rely on it.
    pub(super) fn within(mut self, tx: &Connection, group: &[Opened]) -> Result<Self, DbError> {
        self.lore = lore_within(tx, &boxes_in(group), self.lore)?;
        Ok(self)
    }
}

/// What one transaction of filing did.
pub(super) struct Done {
    pub(super) engine: Engine,
    pub(super) filed: u64,
    pub(super) quarantined: u64,
    pub(super) raised: u64,
}

/// The boxes that frames came from.
pub(super) fn boxes_in(group: &[Opened]) -> Vec<BoxId> {
    let boxes: BTreeSet<BoxId> = group.iter().map(|frame| frame.identity.device).collect();
    boxes.into_iter().collect()
}

/// Writes the resources of a box's acquisitions again whose times are known better by now.
pub(super) fn refresh_outdated(
    tx: &Connection,
    device: BoxId,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    let everything = exam::Touched::everything();
    for acquisition in clocks::outdated(tx, lore, device)? {
        let Some(exam) = exam::load(tx, acquisition, lore)? else {
            continue;
        };
        exam.forget_outdated();
        tracing::info!(event = "AcquisitionDatedAnew", acquisition = %acquisition);
        let done = resources::refresh(tx, &exam, &everything, now);
        unless_damaged(tx, &exam, done, now)?;
    }
    Ok(())
}

/// Writes the report of an acquisition from all that is filed of it by now.
pub(super) fn report(
    tx: &Connection,
    acquisition: AcquisitionId,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    if let Some(exam) = exam::load(tx, acquisition, lore)? {
        let done = exam_report::put(tx, &exam, now);
        unless_damaged(tx, &exam, done, now)?;
    }
    exam_report::forget_due(tx, acquisition)
}

/// Files what an original turned out to be.
pub(super) fn original(
    tx: &Connection,
    proof: &originals::Proof,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    match exam::load(tx, proof.acquisition, lore)? {
        Some(exam) => {
            let done = originals::settle(tx, &exam, proof, now);
            unless_damaged(tx, &exam, done, now).map(drop)
        }
        None => Ok(()),
    }
}

/// What was done, unless records of the acquisition turn out to be damaged: then it is set aside
/// by name. What is stored stays stored; the acquisition's resources are not all there.
pub(super) fn unless_damaged<T>(
    tx: &Connection,
    exam: &exam::Exam,
    done: Result<T, DbError>,
    now: UtcMicros,
) -> Result<Option<T>, DbError> {
    match done {
        Err(error @ DbError::Damaged { .. }) => {
            rows::quarantine_exam(tx, exam, error.code(), &error.to_string(), now)?;
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// What of a group no other program has filed meanwhile.
pub(super) fn unfiled(tx: &Connection, group: Vec<Opened>) -> Result<Vec<Opened>, DbError> {
    let mut left = Vec::new();
    let mut at: Option<(ChainKey, u64)> = None;
    for frame in group {
        let key = ChainKey::of(&frame.identity);
        let filed = match at {
            Some((of, filed)) if of == key => filed,
            _ => rows::cursor(tx, key)?,
        };
        at = Some((key, filed));
        if frame.identity.seq > filed {
            left.push(frame);
        }
    }
    Ok(left)
}

/// Brings every acquisition of a patient up to date after the patient changed.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn refresh_subject(
    tx: &Connection,
    subject: &str,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    for acquisition in rows::acquisitions_of(tx, subject)? {
        refresh_acquisition(tx, acquisition, lore, now)?;
    }
    Ok(())
}

/// Brings everything of an acquisition up to date after its patient changed.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn refresh_acquisition(
    tx: &Connection,
    acquisition: AcquisitionId,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    match exam::load(tx, acquisition, lore)? {
        Some(exam) => resources::refresh(tx, &exam, &exam::Touched::everything(), now),
        None => Ok(()),
    }
}

/// One transaction: rows, cursors, alerts, and notes of the resources that are to be written.
pub(super) fn file(
    tx: &Connection,
    group: &[Opened],
    how: &How,
    mut engine: Engine,
) -> Result<Done, DbError> {
    if let Some(rules) = &how.shared {
        engine = Engine::with_state(rules.clone(), alerting::load(tx)?);
    }
    let (mut filed, mut quarantined, mut raised) = (0, 0, 0);
    let mut touched: Vec<(AcquisitionId, exam::Touched)> = Vec::new();
    let mut statuses = Vec::new();
    for frame in group {
        match &frame.outcome {
            Ok(record) => {
                let is_new = rows::insert(tx, frame, record)?;
                filed += u64::from(is_new);
                exam::touch(&mut touched, record);
                if let (true, Record::BoxStatus(status)) = (is_new, &record.record) {
                    statuses.push((frame.identity.device, status));
                }
            }
            Err(refused) => {
                rows::quarantine(tx, frame, refused.code, &refused.why, how.now)?;
                quarantined += 1;
            }
        }
    }
    for device in clocks::note(tx, group)? {
        refresh_outdated(tx, device, &how.lore, how.now)?;
    }
    for (acquisition, touched) in touched {
        unwritten::note(tx, acquisition, &touched, how.now)?;
        if !touched.is_for_the_rules() {
            continue;
        }
        let Some(exam) = exam::load(tx, acquisition, &how.lore)? else {
            continue;
        };
        let done = judge(tx, &exam, &mut engine, &how.recipient, how.now);
        match unless_damaged(tx, &exam, done, how.now)? {
            Some(count) => raised += count,
            None => quarantined += 1,
        }
    }
    for (device, status) in statuses {
        let told = alerting::Told {
            device,
            status,
            dated: clocks::times(tx, &how.lore, device)?.date(&status.head.at),
        };
        raised += alerting::tell(tx, &told, &mut engine, &how.recipient, how.now)?;
    }
    alerting::save(tx, engine.state())?;
    Ok(Done {
        engine,
        filed,
        quarantined,
        raised,
    })
}

/// Files records that came in no frame of a box, as far as no other program has; no rule looks
/// at them. Answers how many were new.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn file_quietly(
    tx: &Connection,
    group: Vec<Opened>,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let mut filed = 0;
    let mut touched: Vec<(AcquisitionId, exam::Touched)> = Vec::new();
    for frame in &unfiled(tx, group)? {
        if let Ok(record) = &frame.outcome {
            filed += u64::from(rows::insert(tx, frame, record)?);
            exam::touch(&mut touched, record);
        }
        rows::advance(tx, &frame.identity)?;
    }
    for (acquisition, touched) in touched {
        if let Some(exam) = exam::load(tx, acquisition, &BoxLore::default())? {
            resources::refresh(tx, &exam, &touched, now)?;
        }
    }
    Ok(filed)
}

/// Shows the rules what is new. The acquisition is dated by its start, and stays dated so.
fn judge(
    tx: &Connection,
    exam: &exam::Exam,
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    let _ = exam.wall(&exam.started.head.at);
    let raised = alerting::judge(tx, exam, engine, recipient, now)?;
    clocks::keep(tx, exam)?;
    Ok(raised)
}
