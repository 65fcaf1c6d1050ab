//! Filing: opens what the inbox holds and writes it into the patient record.
//!
//! * Frames are taken per lane in chain order, alert lane first. A group of them, the cursor
//!   and every resource that changes by them are one transaction: filed exactly once.
//! * Records may come in any order across lanes; resources follow from what is there, so any
//!   order gives the same resources in the end.
//! * A frame that cannot be opened or read goes to quarantine, by name and reason, and the
//!   lane goes on. A newer program tries those again.
//!
//! Deliberately absent: acknowledging. A frame is acknowledged when it is stored, which is
//! before it is filed.

mod clocks;
mod exam;
mod exam_report;
mod open;
mod resources;
mod rows;
mod spans;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cardio_alert::{Engine, EngineState, RuleSet};
use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::{AcquisitionId, BoxId};
use rusqlite::Savepoint;
use tokio::sync::watch;

use crate::alerting::{self, BoxReading};
use crate::boxes::Boxes;
use crate::counters::Counters;
use crate::db::{DbError, Readers, Writer};
use crate::inbox::{BoxLore, Inbox, frames_between, lane_rows};
use crate::keys::GatewayKeys;
use open::Opened;

pub use exam::ORIGINAL_MEDIA_TYPE;
pub(crate) use exam::{Exam, each_record};
pub(crate) use rows::boxes_of;
pub use rows::{Found, Quarantined, RecordCounts, counts, find, quarantined};

/// Frames filed in one transaction.
const GROUP_MAX: usize = 64;
/// How often the rules are shown how the boxes are.
const WATCH_EVERY: Duration = Duration::from_secs(15);
/// Pause after a failure of the store.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What filing needs.
#[derive(Clone)]
pub struct Filer {
    /// Where frames come from.
    pub inbox: Inbox,
    /// Where records and resources go.
    pub record: Writer,
    /// Reads the record.
    pub readers: Readers,
    /// Opens frames.
    pub keys: Arc<GatewayKeys>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The alert rules.
    pub rules: RuleSet,
    /// Who is told of alerts, as a reference.
    pub recipient: Arc<str>,
    /// Which boxes are connected.
    pub boxes: Arc<Boxes>,
    /// When the program started.
    pub started: UtcMicros,
}

impl std::fmt::Debug for Filer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filer").finish_non_exhaustive()
    }
}

/// What one transaction of filing did.
struct Done {
    engine: Engine,
    filed: u64,
    quarantined: u64,
    raised: u64,
}

impl Filer {
    /// Files what arrives until `stop` becomes true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut arrivals = self.inbox.arrivals();
        let mut engine = None;
        let retrying = self.clone();
        match tokio::task::spawn_blocking(move || retrying.retry_quarantine()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(filed)) => tracing::info!(event = "QuarantineReleased", filed),
            Ok(Err(error)) => {
                tracing::error!(
                    event = "QuarantineReleasedError",
                    code = error.code(),
                    "{error}"
                );
            }
            Err(_) => tracing::error!(event = "QuarantineReleasedError", code = "filing.stopped"),
        }
        let mut watch = tokio::time::interval(WATCH_EVERY);
        let mut due = false;
        loop {
            arrivals.mark_unchanged();
            let filer = self.clone();
            let watching = std::mem::take(&mut due);
            let work = tokio::task::spawn_blocking(move || {
                let engine = if watching {
                    Some(filer.watch(engine)?)
                } else {
                    engine
                };
                filer.step(engine)
            });
            let pause = match work.await {
                Ok(Ok((remembered, 0))) => {
                    engine = Some(remembered);
                    None
                }
                Ok(Ok((remembered, _))) => {
                    engine = Some(remembered);
                    if *stop.borrow() {
                        return;
                    }
                    continue;
                }
                Ok(Err(error)) => {
                    tracing::error!(event = "RecordFiledError", code = error.code(), "{error}");
                    engine = None;
                    Some(RETRY_AFTER)
                }
                Err(_) => {
                    tracing::error!(event = "RecordFiledError", code = "filing.stopped");
                    engine = None;
                    Some(RETRY_AFTER)
                }
            };
            let wake = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => {
                        // Closed only when the inbox is gone; then `stop` ends the loop.
                        if arrivals.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                }
            };
            tokio::select! {
                () = wake => {}
                _ = watch.tick() => due = true,
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Files everything that is there now; answers how many frames were taken.
    ///
    /// # Errors
    /// [`DbError`] when a store fails; what was filed before stays filed.
    pub fn file_all(&self) -> Result<u64, DbError> {
        let (mut engine, mut all) = (None, 0);
        loop {
            let (remembered, taken) = self.step(engine)?;
            if taken == 0 {
                return Ok(all);
            }
            engine = Some(remembered);
            all += taken;
        }
    }

    /// Tries again what an older program could not file.
    ///
    /// # Errors
    /// [`DbError`] when a store fails.
    pub fn retry_quarantine(&self) -> Result<u64, DbError> {
        let frames = self.readers.read(rows::quarantined_by_others)?;
        let boxes = self.inbox.boxes()?;
        let mut group = Vec::new();
        for row in frames {
            let key = boxes
                .iter()
                .find(|known| known.known.id == row.device)
                .map(|known| known.known.frame_key);
            let before = row.head.upto.saturating_sub(1);
            let found = self
                .inbox
                .readers()
                .read(|c| frames_between(c, &row, before, 1))?;
            group.extend(
                found
                    .into_iter()
                    .map(|frame| open::open(&row, frame, key.as_ref(), &self.keys))
                    .filter(|opened| opened.outcome.is_ok()),
            );
        }
        if group.is_empty() {
            return Ok(0);
        }
        let (lore, engine) = (self.inbox.lore(&boxes_in(&group))?, self.remembered()?);
        let now = self.clock.read().utc;
        let recipient = Arc::clone(&self.recipient);
        let done = self.record.write_blocking(move |tx| {
            rows::release(tx, &group)?;
            file(tx, &group, &lore, engine, &recipient, now)
        })?;
        self.counters.records_filed.add(done.filed);
        Ok(done.filed)
    }

    /// Files one group.
    fn step(&self, engine: Option<Engine>) -> Result<(Engine, u64), DbError> {
        let engine = match engine {
            Some(engine) => engine,
            None => self.remembered()?,
        };
        self.date_anew()?;
        let group = self.next_group()?;
        let taken = u64::try_from(group.len()).unwrap_or(u64::MAX);
        if group.is_empty() {
            return Ok((engine, 0));
        }
        let lore = self.inbox.lore(&boxes_in(&group))?;
        let now = self.clock.read().utc;
        let recipient = Arc::clone(&self.recipient);
        let done = self
            .record
            .write_blocking(move |tx| file(tx, &group, &lore, engine, &recipient, now))?;
        self.counters.records_filed.add(done.filed);
        self.counters.records_quarantined.add(done.quarantined);
        self.counters.alerts_raised.add(done.raised);
        Ok((done.engine, taken))
    }

    /// Dates anew what the inbox has learnt more about.
    fn date_anew(&self) -> Result<(), DbError> {
        let mark = self.readers.read(clocks::mark)?;
        let (latest, boxes) = self.inbox.clock_news(mark)?;
        if boxes.is_empty() {
            return Ok(());
        }
        let lore = self.inbox.lore(&boxes)?;
        let now = self.clock.read().utc;
        self.record.write_blocking(move |tx| {
            for device in boxes {
                refresh_outdated(tx, device, &lore, now)?;
            }
            clocks::set_mark(tx, latest)
        })
    }

    /// Shows the technical rules how every box is.
    fn watch(&self, engine: Option<Engine>) -> Result<Engine, DbError> {
        let mut engine = match engine {
            Some(engine) => engine,
            None => self.remembered()?,
        };
        let now = self.clock.read().utc;
        let mut readings = Vec::new();
        for row in self.inbox.boxes()? {
            let Some(heard) = row.heard.filter(|_| row.revoked.is_none()) else {
                continue;
            };
            let device = row.known.id;
            let seen = self.boxes.last_connected(device, now);
            // While this program was not running nobody could be heard.
            let last = seen.unwrap_or(heard).max(self.started);
            let silent = now.0.saturating_sub(last.0) / 1_000_000;
            let breaks = self
                .inbox
                .readers()
                .read(|connection| crate::inbox::chain_breaks(connection, device))?;
            readings.push(BoxReading {
                device,
                silent_s: u32::try_from(silent).map_or(0.0, f64::from),
                chain_breaks: f64::from(breaks),
            });
        }
        if readings.is_empty() {
            return Ok(engine);
        }
        let recipient = Arc::clone(&self.recipient);
        let (engine, raised) = self.record.write_blocking(move |tx| {
            let raised = alerting::watch(tx, &readings, &mut engine, &recipient, now)?;
            alerting::save(tx, engine.state())?;
            Ok((engine, raised))
        })?;
        self.counters.alerts_raised.add(raised);
        Ok(engine)
    }

    fn remembered(&self) -> Result<Engine, DbError> {
        let state: EngineState = self.readers.read(alerting::load)?;
        Ok(Engine::with_state(self.rules.clone(), state))
    }

    /// The next frames to file: lane by lane, most urgent lane first, in chain order.
    fn next_group(&self) -> Result<Vec<Opened>, DbError> {
        let mut lanes = self.inbox.readers().read(lane_rows)?;
        lanes.sort_by_key(|row| (row.head.lane, row.device, row.head.chain));
        let boxes = self.inbox.boxes()?;
        let mut group = Vec::new();
        for row in lanes {
            let room = GROUP_MAX.saturating_sub(group.len());
            if room == 0 {
                break;
            }
            let filed = self.readers.read(|c| rows::cursor(c, &row))?;
            if filed >= row.head.upto {
                continue;
            }
            let key = boxes
                .iter()
                .find(|known| known.known.id == row.device)
                .map(|known| known.known.frame_key);
            let frames = self
                .inbox
                .readers()
                .read(|c| frames_between(c, &row, filed, room))?;
            group.extend(
                frames
                    .into_iter()
                    .map(|frame| open::open(&row, frame, key.as_ref(), &self.keys)),
            );
        }
        Ok(group)
    }
}

/// The boxes that frames came from.
fn boxes_in(group: &[Opened]) -> Vec<BoxId> {
    let boxes: BTreeSet<BoxId> = group.iter().map(|frame| frame.identity.device).collect();
    boxes.into_iter().collect()
}

/// Writes the resources of a box's acquisitions again whose times are known better by now.
fn refresh_outdated(
    tx: &mut Savepoint<'_>,
    device: BoxId,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    let everything = exam::Touched {
        all: true,
        ..exam::Touched::default()
    };
    for acquisition in clocks::outdated(tx, lore, device)? {
        let Some(exam) = exam::load(tx, acquisition, lore)? else {
            continue;
        };
        exam.forget_outdated();
        tracing::info!(event = "AcquisitionDatedAnew", acquisition = %acquisition);
        match resources::refresh(tx, &exam, &everything, now) {
            Err(error @ DbError::Damaged { .. }) => {
                rows::quarantine_exam(tx, &exam, error.code(), &error.to_string(), now)?;
            }
            done => done?,
        }
    }
    Ok(())
}

/// Brings every acquisition of a patient up to date after the patient changed.
///
/// # Errors
/// [`DbError`] when the store fails.
pub(crate) fn refresh_subject(
    tx: &mut Savepoint<'_>,
    subject: &str,
    lore: &BoxLore,
    now: UtcMicros,
) -> Result<(), DbError> {
    let everything = exam::Touched {
        all: true,
        ..exam::Touched::default()
    };
    for acquisition in rows::acquisitions_of(tx, subject)? {
        if let Some(exam) = exam::load(tx, acquisition, lore)? {
            resources::refresh(tx, &exam, &everything, now)?;
        }
    }
    Ok(())
}

/// One transaction: rows, cursors, alerts, resources.
fn file(
    tx: &mut Savepoint<'_>,
    group: &[Opened],
    lore: &BoxLore,
    mut engine: Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<Done, DbError> {
    let (mut filed, mut quarantined, mut raised) = (0, 0, 0);
    let mut touched: Vec<(AcquisitionId, exam::Touched)> = Vec::new();
    for frame in group {
        match &frame.outcome {
            Ok(record) => {
                rows::insert(tx, frame, record)?;
                exam::touch(&mut touched, record);
                filed += 1;
            }
            Err(refused) => {
                rows::quarantine(tx, frame, refused.code, &refused.why, now)?;
                quarantined += 1;
            }
        }
        rows::advance(tx, frame)?;
    }
    for device in clocks::note(tx, group)? {
        refresh_outdated(tx, device, lore, now)?;
    }
    for (acquisition, touched) in touched {
        let Some(exam) = exam::load(tx, acquisition, lore)? else {
            continue;
        };
        match refresh(tx, &exam, &touched, &mut engine, recipient, now) {
            Ok(count) => raised += count,
            Err(error @ DbError::Damaged { .. }) => {
                // What is stored stays stored; the acquisition's resources are not all there.
                quarantined += 1;
                rows::quarantine_exam(tx, &exam, error.code(), &error.to_string(), now)?;
            }
            Err(error) => return Err(error),
        }
    }
    alerting::save(tx, engine.state())?;
    Ok(Done {
        engine,
        filed,
        quarantined,
        raised,
    })
}

fn refresh(
    tx: &mut Savepoint<'_>,
    exam: &exam::Exam,
    touched: &exam::Touched,
    engine: &mut Engine,
    recipient: &str,
    now: UtcMicros,
) -> Result<u64, DbError> {
    resources::refresh(tx, exam, touched, now)?;
    alerting::judge(tx, exam, engine, recipient, now)
}
