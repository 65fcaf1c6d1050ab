//! An alert made again from the bytes that are stored: the windows that the rules were shown,
//! under the rule that the alert keeps. What holds today has no part in it, so the answer is the
//! same a year later.
//!
//! Deliberately absent: scoring the signal again. Windows are the box's signed word, with the
//! names and versions of its algorithms; another version would be another word.

use cardio_alert::engine::Again;
use cardio_alert::{Alert, Fact};
use cardio_core::acquisition::Acquisition;
use cardio_core::ids::{AcquisitionId, BoxId};
use ring::digest;
use serde_json::{Value, json};

use super::judge::fact;
use super::rhythm::Windows;
use super::rows::StoredAlert;
use crate::db::{Connection, DbError, values};
use crate::filing::{decoded_window, said_at_start};

/// Windows that are read at once.
const PAGE: u64 = 512;

/// What the stored bytes say of an alert, beside what was said when it was raised.
pub(super) fn recomputed(connection: &Connection, stored: &StoredAlert) -> Result<Value, DbError> {
    let alert = &stored.alert;
    let cannot = |why: &str| Ok(json!({"same": null, "why": why}));
    let Some(acquisition) = alert.acquisition.as_deref() else {
        return cannot("it rests on readings of the equipment, which only the alert itself keeps");
    };
    let Some(rule) = &alert.applied else {
        return cannot("it was raised by a version that did not keep the rule");
    };
    let acquisition: Option<AcquisitionId> = acquisition.parse().ok();
    let started = acquisition.map(|id| said_at_start(connection, id));
    let Some((acquisition, device)) = started.transpose()?.flatten() else {
        return cannot("the recording is not stored any more");
    };
    let mut again = Again::new(rule, &alert.subject, alert.raised);
    let mut used = Used::new();
    let until_us = alert.evidence.to_us;
    let mut rhythm = rule.kind.rests_on_rhythm().then(Windows::default);
    let whole = each_judged(connection, &acquisition, device, |bytes, fact| {
        if let Some(rhythm) = &mut rhythm {
            fact.rhythm = rhythm.push(fact);
        }
        let within = fact.end_us() <= until_us;
        if within {
            used.take(bytes, fact, alert);
            again.push(fact);
        }
        within
    })?;
    if !whole {
        return cannot("a window that it rests on is stored, and damaged: chain verify says more");
    }
    let differences = match again.end() {
        Some(made) => differences(alert, &made),
        None => vec![json!({"what": "alert", "then": "raised", "now": "not raised"})],
    };
    Ok(json!({
        "same": differences.is_empty(),
        "differences": differences,
        "windows": used.windows,
        "windows_of_evidence": used.of_evidence,
        "sha256": used.digest(),
    }))
}

/// Which bytes were used.
struct Used {
    windows: u64,
    of_evidence: u64,
    hash: digest::Context,
}

impl Used {
    fn new() -> Self {
        Self {
            windows: 0,
            of_evidence: 0,
            hash: digest::Context::new(&digest::SHA256),
        }
    }

    fn take(&mut self, bytes: &[u8], fact: &Fact, alert: &Alert) {
        self.windows += 1;
        self.of_evidence += u64::from(fact.end_us() > alert.evidence.from_us);
        self.hash.update(bytes);
    }

    /// Fingerprint of all of them, one after the other.
    fn digest(self) -> String {
        let digest = self.hash.finish();
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

/// Every window of an acquisition that the rules have taken, in their order, until `told`
/// answers that it has enough. Answers whether all of them could be read.
fn each_judged(
    connection: &Connection,
    acquisition: &Acquisition,
    device: BoxId,
    mut told: impl FnMut(&[u8], &mut Fact) -> bool,
) -> Result<bool, DbError> {
    let mut after = 0_u64;
    loop {
        let page: Vec<Vec<u8>> = connection.cells(
            "read the windows that the rules have seen",
            "SELECT bytes FROM records WHERE acquisition = ?1 AND kind = 'assessment'
             AND box = ?2 AND judged = 1 AND first + len > ?3
             ORDER BY first + len, seq LIMIT ?4",
            values![acquisition.id, device, after, PAGE],
        )?;
        if page.is_empty() {
            return Ok(true);
        }
        for bytes in page {
            let Ok(window) = decoded_window(&bytes) else {
                return Ok(false);
            };
            let mut fact = fact(acquisition, &window, window.window_start.at.utc);
            after = window.quality.first.after(window.quality.len).0;
            if !told(&bytes, &mut fact) {
                return Ok(true);
            }
        }
    }
}

/// What is not as it was said when the alert was raised. Wall times are not compared: what is
/// learnt of a box's clock corrects them.
fn differences(then: &Alert, now: &Alert) -> Vec<Value> {
    let told = |alert: &Alert| {
        [
            ("id", json!(alert.id)),
            ("condition", json!(alert.kind.name())),
            ("value", json!(alert.value)),
            ("limit", json!(alert.limit)),
            ("held_s", json!(alert.held_s)),
            ("needed_s", json!(alert.needed_s)),
            ("quality", json!(alert.quality)),
            ("minimum_quality", json!(alert.minimum_quality)),
            ("electrode", json!(alert.electrode)),
            ("priority", json!(alert.priority.name())),
            ("rule_version", json!(alert.rule_version)),
            ("from_us", json!(alert.evidence.from_us)),
            ("to_us", json!(alert.evidence.to_us)),
            ("algorithms", json!(alert.algorithms)),
        ]
    };
    let pairs = told(then).into_iter().zip(told(now));
    pairs
        .filter(|(then, now)| then != now)
        .map(|((what, then), (_, now))| json!({"what": what, "then": then, "now": now}))
        .collect()
}
