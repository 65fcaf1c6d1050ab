//! Filing: opens what the inbox holds and writes it into the patient record.
//!
//! * Frames are taken per lane in chain order, alert lane first. A group of them, the cursor,
//!   the alerts that they raise and a note of every resource that changes by them are one
//!   transaction: filed exactly once. What was noted is written next, a few acquisitions at a
//!   time, so that an alert waits for nobody's resources.
//! * Records may come in any order across lanes; resources follow from what is there, so any
//!   order gives the same resources in the end.
//! * A frame that cannot be opened or read goes to quarantine, by name and reason, and the
//!   lane goes on. Every start tries those again.
//!
//! * A signed gap record is taken at its word before it is filed: what it names and what never
//!   came is missing, and the lane goes on behind it. A missing frame that comes after all is
//!   filed when it comes.
//! * What a frame carries of a chain that has ended is given to the inbox first, and then filed
//!   from there; that it was carried is filed too. So is what conflicts with a stored frame:
//!   another frame of the box claims the same place, and both are its word. A record has one id,
//!   so it is filed once, whichever way it comes and however often.
//! * Resources of single stretches and windows follow so. The report of an acquisition that
//!   has ended, made of all of it, follows when nothing waits to be filed; so does a file as its
//!   recorder made it, once all of its parts are there.
//! * Where several programs share the databases, one files at a time: what it remembers is
//!   read again in the transaction that files, and what another has filed is passed over.
//!
//! Deliberately absent: acknowledging. A frame is acknowledged when it is stored, which is
//! before it is filed.

mod carried;
mod clocks;
mod exam;
mod exam_report;
mod extents;
mod next;
mod open;
mod originals;
mod presence;
mod resources;
mod rows;
mod spans;
mod told;
mod transaction;
mod unwritten;

use std::sync::Arc;
use std::time::Duration;

use cardio_alert::{Engine, EngineState, RuleSet};
use cardio_core::clock::{Clock, UtcMicros};
use cardio_core::ids::BoxId;
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::record::Record;
use tokio::sync::watch;

use crate::alerting;
use crate::boxes::Boxes;
use crate::counters::Counters;
use crate::db::{DbError, Readers, Writer};
use crate::inbox::{Inbox, LaneRow, ToldGap, lore_within};
use crate::keys::GatewayKeys;
pub use exam::ORIGINAL_MEDIA_TYPE;
pub(crate) use exam::{Exam, each_record, load as load_exam, said_at_start};
pub(crate) use exam_report::{Content, content, put_report};
use next::{Source, tried};
pub(crate) use open::{Opened, OpenedRecord};
pub(crate) use originals::bytes_of as original_bytes;
pub(crate) use resources::decoded_window;
pub use rows::{Found, Quarantined, RecordCounts, counts, find, orphans, quarantined};
pub(crate) use rows::{acquisitions_of, boxes_of, cursor};
use transaction::{How, boxes_in, file, refresh_outdated, unfiled};
pub(crate) use transaction::{file_quietly, refresh_acquisition, refresh_subject};

/// How often frames are looked for that another program stored.
const LOOK_EVERY: Duration = Duration::from_millis(500);
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
    /// How long frames stay after they came, if not for ever.
    pub keep_frames: Option<Duration>,
}

impl std::fmt::Debug for Filer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filer").finish_non_exhaustive()
    }
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
                    filer.delete_old()?;
                    filer.write_due()?;
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
            let shared = self.is_shared();
            let wake = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None if shared => tokio::time::sleep(LOOK_EVERY).await,
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

    /// Tries again what no start before could file: the program, its keys or what else is filed
    /// may be others now.
    ///
    /// # Errors
    /// [`DbError`] when a store fails.
    pub fn retry_quarantine(&self) -> Result<u64, DbError> {
        // No frame has this place; every frame comes behind it.
        let mut after = FrameIdentity {
            device: BoxId([0; 16]),
            lane: Lane::Alert,
            chain: ChainId([0; 8]),
            seq: 0,
        };
        let mut filed = 0_u64;
        loop {
            let frames = self
                .readers
                .read(|connection| rows::quarantined_after(connection, &after))?;
            let Some(last) = frames.last() else {
                return Ok(filed);
            };
            after = last.last_frame();
            filed = filed.saturating_add(self.try_again(&frames)?);
        }
    }

    fn try_again(&self, frames: &[LaneRow]) -> Result<u64, DbError> {
        let mut group = self.opened(frames)?;
        group.retain(|opened| opened.outcome.is_ok());
        self.prepare(&mut group)?;
        group.retain(|opened| opened.outcome.is_ok());
        if group.is_empty() {
            return Ok(0);
        }
        let (how, engine) = (self.how(&group)?, self.remembered()?);
        let done = self.record.write_blocking(move |tx| {
            rows::release(tx, &group)?;
            file(tx, &group, &how.within(tx, &group)?, engine)
        })?;
        self.counters.records_filed.add(done.filed);
        Ok(done.filed)
    }

    fn is_shared(&self) -> bool {
        self.readers.place().is_shared()
    }

    /// Files one group and writes some of what was noted, or one report that is due where there
    /// is none of either.
    fn step(&self, engine: Option<Engine>) -> Result<(Engine, u64), DbError> {
        let engine = match engine {
            Some(engine) => engine,
            None => self.remembered()?,
        };
        self.date_anew()?;
        let Some((mut group, source)) = self.next_group()? else {
            let written = match self.write_some()? {
                0 => self.write_due()?,
                written => written,
            };
            return Ok((engine, written));
        };
        let taken = u64::try_from(group.len()).unwrap_or(u64::MAX).max(1);
        self.prepare(&mut group)?;
        let tried = match &source {
            Source::Conflicts => tried(&mut group),
            Source::Lanes(_) | Source::Late(_) => Vec::new(),
        };
        let how = self.how(&group)?;
        let (done, source) = self.record.write_blocking(move |tx| {
            let how = how.within(tx, &group)?;
            let done = match &source {
                Source::Lanes(ends) => {
                    let group = unfiled(tx, group)?;
                    let done = file(tx, &group, &how, engine)?;
                    let filed = group.iter().map(|frame| &frame.identity);
                    filed.chain(ends).try_for_each(|id| rows::advance(tx, id))?;
                    done
                }
                Source::Late(_) | Source::Conflicts => file(tx, &group, &how, engine)?,
            };
            Ok((done, source))
        })?;
        match source {
            Source::Late(frames) => self.inbox.filed_late(frames)?,
            Source::Conflicts => self.inbox.tried_conflicts(tried)?,
            Source::Lanes(_) => {}
        }
        self.counters.records_filed.add(done.filed);
        self.counters.records_quarantined.add(done.quarantined);
        self.counters.alerts_raised.add(done.raised);
        // While filing does not end, resources have their turn in between.
        self.write_some()?;
        Ok((done.engine, taken))
    }

    /// Writes one report that is due, or else files one original; answers how many there were.
    fn write_due(&self) -> Result<u64, DbError> {
        match self.write_due_report()? {
            0 => self.file_due_original(),
            written => Ok(written),
        }
    }

    /// Proves and files one original that is whole; answers how many there were.
    fn file_due_original(&self) -> Result<u64, DbError> {
        let Some(proof) = self.readers.read(originals::next_proof)? else {
            return Ok(0);
        };
        let boxes = [proof.device()];
        let (lore, now) = (self.inbox.lore(&boxes)?, self.clock.read().utc);
        self.record.write_blocking(move |tx| {
            let lore = lore_within(tx, &boxes, lore)?;
            transaction::original(tx, &proof, &lore, now)
        })?;
        Ok(1)
    }

    /// Writes one report that is due; answers how many there were. Reports are made of whole
    /// acquisitions, so this comes after filing, and now and then while filing does not end.
    fn write_due_report(&self) -> Result<u64, DbError> {
        let Some((acquisition, device)) = self.readers.read(exam_report::due)? else {
            return Ok(0);
        };
        let (lore, now) = (self.inbox.lore(&[device])?, self.clock.read().utc);
        self.record.write_blocking(move |tx| {
            let lore = lore_within(tx, &[device], lore)?;
            transaction::report(tx, acquisition, &lore, now)
        })?;
        Ok(1)
    }

    /// Gives the inbox what the frames of a group tell of other frames, before they are filed.
    fn prepare(&self, group: &mut [Opened]) -> Result<(), DbError> {
        self.name_gaps(group)?;
        self.take_carried(group)
    }

    /// Dates anew what the inbox has learnt more about.
    fn date_anew(&self) -> Result<(), DbError> {
        let marks = self.readers.read(clocks::marks)?;
        let mut news = self.inbox.clock_news()?;
        news.retain(|(device, number)| marks.get(device) != Some(number));
        if news.is_empty() {
            return Ok(());
        }
        let boxes: Vec<BoxId> = news.iter().map(|(device, _)| *device).collect();
        let lore = self.inbox.lore(&boxes)?;
        let now = self.clock.read().utc;
        self.record.write_blocking(move |tx| {
            let lore = lore_within(tx, &boxes, lore)?;
            for (device, number) in news {
                refresh_outdated(tx, device, &lore, now)?;
                clocks::set_mark(tx, device, number)?;
            }
            Ok(())
        })
    }

    fn how(&self, group: &[Opened]) -> Result<How, DbError> {
        Ok(How {
            lore: self.inbox.lore(&boxes_in(group))?,
            recipient: Arc::clone(&self.recipient),
            now: self.clock.read().utc,
            shared: self.is_shared().then(|| self.rules.clone()),
        })
    }

    /// Takes the signed gap records of a group at their word, before they are filed.
    fn name_gaps(&self, group: &[Opened]) -> Result<(), DbError> {
        let told = group.iter().filter_map(|frame| match &frame.outcome {
            Ok(opened) => match &opened.record {
                Record::LaneGap(gap) => Some(ToldGap {
                    told_by: frame.identity,
                    gap: gap.clone(),
                }),
                _ => None,
            },
            Err(_) => None,
        });
        let told: Vec<ToldGap> = told.collect();
        match told.is_empty() {
            true => Ok(()),
            false => self.inbox.name_gaps(told, self.clock.read().utc),
        }
    }

    /// Deletes frames that were filed and are older than they need to be; answers how many.
    fn delete_old(&self) -> Result<u64, DbError> {
        let Some(keep) = self.keep_frames else {
            return Ok(0);
        };
        let keep_us = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let before = UtcMicros(self.clock.read().utc.0.saturating_sub(keep_us));
        let filed = self.readers.read(rows::cursors)?;
        let aside = self.readers.read(rows::first_quarantined)?;
        let mut deleted = 0;
        for (key, filed) in filed {
            let limit = aside
                .get(&key)
                .map_or(filed, |seq| filed.min(seq.saturating_sub(1)));
            loop {
                let some = self.inbox.delete_filed(key, limit, before)?;
                deleted += some;
                if some == 0 {
                    break;
                }
            }
        }
        if deleted > 0 {
            tracing::info!(event = "FramesDeleted", deleted);
        }
        Ok(deleted)
    }

    fn remembered(&self) -> Result<Engine, DbError> {
        let state: EngineState = self.readers.read(alerting::load)?;
        Ok(Engine::with_state(self.rules.clone(), state))
    }
}
