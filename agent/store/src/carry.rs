//! Carrying over: what is intact of the files that were set aside, and was never acknowledged,
//! goes to the gateway in frames of the present chains.
//!
//! - A frame of a file that was set aside is put whole into a record of the same lane; nothing
//!   here can open it. A batch of them and how far the file is carried are one transaction.
//! - The most urgent lane first, of the oldest file first; a batch at a time between whatever
//!   else is to be done; and only while nothing has to be deleted for space, but alerts.
//! - A frame that carries another is not put into a third while the file is there that the
//!   other stands in: it is carried from there again.
//! - A file goes 7 days after all that can be read of it is acknowledged; first when the space
//!   is scarce, or when there are more than 16 of them.
//!
//! - When the file that carried is set aside too, carrying goes on from the last frame whose
//!   carrier was certainly acknowledged.
//!
//! A frame that is carried twice is filed once, so every doubt is answered by carrying again.

use cardio_core::clock::{BoxInstant, UtcMicros};
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::record::{CarriedFrameV1, Record};
use rusqlite::{Connection, params};

use crate::aside::{self, Aside};
use crate::error::OutboxError;
use crate::intact::{self, Intact, Piece, Wanted};
use crate::lanes::{LaneRow, Lanes, MAX_SEQ, signed, unsigned};
use crate::sealing::EncodedRecord;
use crate::space::SpaceLevel;
use crate::store::Store;
use crate::store_sending::KEEP_ACKED_US;

/// Files of which everything is acknowledged that are kept at most.
const FINISHED_MAX: usize = 16;
/// Batches without an intact frame that are looked at in one go: the ends of four lanes, or
/// some two thousand damaged frames.
const EMPTY_MAX: u32 = 8;
/// How long to wait where there is no room, or after an error.
const AGAIN_US: u64 = 1_000_000;
/// How often what may pass is waited for, before it counts as damage.
const TRIES_MAX: u32 = 5;

/// How far files that were set aside are carried.
#[derive(Default)]
pub(crate) struct Carrying {
    sources: Vec<Source>,
    finished: Vec<(Aside, UtcMicros)>,
    /// When the last batch was tried, and how long to wait after it in microseconds.
    rest: Option<(BoxInstant, u64)>,
}

/// A file whose frames are carried, and its lanes in the order of urgency.
struct Source {
    aside: Aside,
    lanes: [LaneSource; 4],
    tries: u32,
}

/// One lane of such a file.
#[derive(Clone, Copy)]
struct LaneSource {
    chain: Option<ChainId>,
    end: u64,
    progress: Progress,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    upto: u64,
    waiting: u64,
    carried: u64,
    passed: u64,
    last: u64,
    done: bool,
}

/// Files that were set aside, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsideSummary {
    /// How many there are.
    pub files: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// Frames that wait to be carried, as far as they could be counted.
    pub waiting: u64,
    /// Frames that were carried.
    pub carried: u64,
    /// Frames that are not intact: gap records name them.
    pub passed: u64,
    /// Whether something is left to be looked at.
    pub is_carrying: bool,
}

impl Carrying {
    /// What is to be carried of the files that are there now.
    pub(crate) fn load(conn: &Connection, outbox: &std::path::Path) -> Result<Self, OutboxError> {
        let mut carrying = Self::default();
        let asides = aside::list(outbox)?;
        for (at, aside) in asides.iter().enumerate() {
            let later = asides.get(at + 1..).unwrap_or_default();
            match aside.carried_at() {
                Some(at) => carrying.finished.push((aside.clone(), at)),
                None => {
                    let source = Source::of(conn, aside.clone(), later)?;
                    carrying.sources.push(source);
                }
            }
        }
        Ok(carrying)
    }

    /// Whether something is left to carry.
    pub(crate) fn is_due(&self) -> bool {
        self.next().is_some()
    }

    fn next(&self) -> Option<(usize, Lane)> {
        let lanes = Lane::ALL.into_iter();
        lanes
            .flat_map(|lane| (0..self.sources.len()).map(move |at| (at, lane)))
            .find(|(at, lane)| {
                let source = self.sources.get(*at);
                source.is_some_and(|source| !source.lane(*lane).progress.done)
            })
    }

    /// Chains of the other files whose frames are carried from where they stand.
    fn elsewhere(&self, but: usize) -> Vec<ChainId> {
        let others = self.sources.iter().enumerate().filter(|(at, _)| *at != but);
        others
            .flat_map(|(_, source)| source.lanes.iter().filter_map(|lane| lane.chain))
            .collect()
    }

    pub(crate) fn summary(&self) -> AsideSummary {
        let finished = self.finished.iter().map(|(aside, _)| aside);
        let files = self
            .sources
            .iter()
            .map(|source| &source.aside)
            .chain(finished);
        let mut all = AsideSummary::default();
        for aside in files {
            all.files += 1;
            all.bytes = all.bytes.saturating_add(aside.bytes());
        }
        for lane in self.sources.iter().flat_map(|source| &source.lanes) {
            all.waiting += lane.progress.waiting;
            all.carried += lane.progress.carried;
            all.passed += lane.progress.passed;
        }
        all.is_carrying = self.is_due();
        all
    }
}

impl Source {
    /// `later` are the files that were set aside after it, and may have carried it.
    fn of(own: &Connection, aside: Aside, later: &[Aside]) -> Result<Self, OutboxError> {
        let conn = intact::open(&aside.path).ok();
        let known = conn.as_ref().and_then(intact::lanes);
        let begin = |lane: Lane| {
            let row = known.as_ref().map(|lanes| *lanes.get(lane));
            let upto = row.map_or(0, |row| row.acked);
            let end = row.map_or(MAX_SEQ, |row| row.next.saturating_sub(1));
            let begun = match Progress::load(own, &aside, lane)? {
                Some(own) => Some(own),
                None => Progress::inherited(later, &aside, lane)
                    .filter(|heir| (upto..=end).contains(&heir.upto)),
            };
            let progress = begun.unwrap_or_else(|| {
                let counted = conn
                    .as_ref()
                    .and_then(|conn| intact::count(conn, lane, upto));
                Progress {
                    upto,
                    waiting: counted.or(row.map(|row| row.waiting())).unwrap_or(0),
                    ..Progress::default()
                }
            });
            Ok(LaneSource {
                chain: row.map(|row| row.chain),
                end,
                progress,
            })
        };
        let [alert, routine, bulk, log] = Lane::ALL.map(begin);
        let lanes = [alert?, routine?, bulk?, log?];
        Ok(Self {
            aside,
            lanes,
            tries: 0,
        })
    }

    const fn lane(&self, lane: Lane) -> &LaneSource {
        lane.of(&self.lanes)
    }

    const fn lane_mut(&mut self, lane: Lane) -> &mut LaneSource {
        lane.of_mut(&mut self.lanes)
    }

    /// Whether all that could be read is acknowledged.
    fn is_finished(&self, own: &Lanes) -> bool {
        Lane::ALL.into_iter().all(|lane| {
            let progress = self.lane(lane).progress;
            progress.done && progress.last <= own.get(lane).acked
        })
    }

    /// Reads the next frames of a lane. What may pass is tried again some times; then it is
    /// damage, and stepped over.
    fn read(&mut self, wanted: &Wanted<'_>, after: u64) -> Result<Piece, OutboxError> {
        let patient = self.tries < TRIES_MAX;
        let read = match intact::open(&self.aside.path) {
            Ok(conn) => intact::read(&conn, wanted, after, patient),
            Err(err) if patient => Err(err),
            Err(_) => Ok(Piece::nothing_after(after)),
        };
        self.tries = match &read {
            Ok(_) => 0,
            Err(_) => self.tries + 1,
        };
        read
    }
}

impl Progress {
    fn load(conn: &Connection, aside: &Aside, lane: Lane) -> Result<Option<Self>, OutboxError> {
        use rusqlite::OptionalExtension as _;
        conn.prepare_cached(
            "SELECT upto, waiting, carried, passed, last, done FROM carrying
             WHERE aside = ?1 AND lane = ?2",
        )
        .and_then(|mut found| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Self {
                    upto: row.get(0).map(unsigned)?,
                    waiting: row.get(1).map(unsigned)?,
                    carried: row.get(2).map(unsigned)?,
                    passed: row.get(3).map(unsigned)?,
                    last: row.get(4).map(unsigned)?,
                    done: row.get(5)?,
                })
            };
            found
                .query_row(params![aside.name(), lane.number()], read)
                .optional()
        })
        .map_err(|source| OutboxError::database("read how far a file is carried", source))
    }

    /// How far a file was certainly carried by those that were set aside after it. The latest
    /// of them that tells counts.
    fn inherited(later: &[Aside], aside: &Aside, lane: Lane) -> Option<Self> {
        later.iter().rev().find_map(|heir| {
            let conn = intact::open(&heir.path).ok()?;
            let told = Self::load(&conn, aside, lane).ok()??;
            told.as_acknowledged(intact::lanes(&conn)?.get(lane))
        })
    }

    /// What of this progress is acknowledged, by the lane in which the carriers stand. At most
    /// all that waits there were carriers, and they stand in the order of what they carry.
    /// `None` when the two contradict each other.
    fn as_acknowledged(self, carriers: &LaneRow) -> Option<Self> {
        if self.last >= carriers.next {
            return None;
        }
        if self.last <= carriers.acked {
            return Some(Self { last: 0, ..self });
        }
        let waiting = (carriers.next - 1).saturating_sub(carriers.acked);
        let back = waiting.saturating_add(self.passed).min(self.upto);
        Some(Self {
            upto: self.upto - back,
            waiting: self.waiting.saturating_add(back),
            carried: self.carried.saturating_sub(waiting),
            passed: 0,
            last: 0,
            done: false,
        })
    }

    fn save(&self, conn: &Connection, aside: &Aside, lane: Lane) -> Result<(), OutboxError> {
        conn.prepare_cached("INSERT OR REPLACE INTO carrying VALUES (?1,?2,?3,?4,?5,?6,?7,?8)")
            .and_then(|mut insert| {
                insert.execute(params![
                    aside.name(),
                    lane.number(),
                    signed(self.upto),
                    signed(self.waiting),
                    signed(self.carried),
                    signed(self.passed),
                    signed(self.last),
                    self.done
                ])
            })
            .map(drop)
            .map_err(|source| OutboxError::database("note how far a file is carried", source))
    }
}

impl Store {
    /// Begins to carry what the files that were set aside still hold. What fails here is tried
    /// again when the outbox is opened again; nothing is deleted before.
    pub(crate) fn begin_carrying(&mut self) {
        let outbox = self.config.path.clone();
        let loaded = self.conn().and_then(|conn| Carrying::load(conn, &outbox));
        self.carrying = loaded.unwrap_or_else(|err| {
            tracing::warn!(code = err.code(), "OutboxCarryError");
            Carrying::default()
        });
        let pause = self.carry_pause_us();
        self.carrying.rest = Some((self.clock.read().box_instant, pause));
    }

    fn carry_pause_us(&self) -> u64 {
        u64::try_from(self.config.carry_pause.as_micros()).unwrap_or(u64::MAX)
    }

    /// Carries the next frames, if there are some, it is time, and there is room for them.
    pub(crate) fn carry(&mut self) {
        let now = self.clock.read().box_instant;
        let pause = self.carry_pause_us();
        let rests = self
            .carrying
            .rest
            .is_some_and(|(last, wait)| now.micros_since(&last).is_some_and(|us| us < wait));
        if rests || !self.carrying.is_due() {
            return;
        }
        let done = self.carry_some();
        if let Err(err) = &done {
            tracing::warn!(code = err.code(), "OutboxCarryError");
        }
        let wait = match done {
            Ok(true) => pause,
            Ok(false) | Err(_) => pause.max(AGAIN_US),
        };
        self.carrying.rest = Some((now, wait));
    }

    /// Carries a batch, from the first lane that has one; answers whether something was done.
    fn carry_some(&mut self) -> Result<bool, OutboxError> {
        for tried in 0..EMPTY_MAX {
            match self.carry_a_batch()? {
                // nothing intact there, or the end of a lane
                Some(0) => {}
                Some(_) => return Ok(true),
                None => return Ok(tried > 0),
            }
        }
        Ok(true)
    }

    /// Carries the next frames of one lane; answers how many, `None` when there is nothing to
    /// do or no room.
    fn carry_a_batch(&mut self) -> Result<Option<usize>, OutboxError> {
        let Some((at, lane)) = self.carrying.next() else {
            return Ok(None);
        };
        self.make_room()?;
        let level = self.space()?.level();
        let may = level < SpaceLevel::Deleting || (lane == Lane::Alert && level.allows(lane));
        let elsewhere = self.carrying.elsewhere(at);
        let (device, key) = (self.keys.device, self.keys.signer.verifying_key());
        let Some(source) = self.carrying.sources.get_mut(at).filter(|_| may) else {
            return Ok(None);
        };
        let LaneSource {
            chain,
            end,
            mut progress,
        } = *source.lane(lane);
        let wanted = Wanted {
            device,
            key,
            lane,
            chain,
            end,
            elsewhere: &elsewhere,
        };
        let piece = source.read(&wanted, progress.upto)?;
        let aside = source.aside.clone();
        let frames = piece.frames;
        let count = frames.len();
        progress.upto = piece.upto;
        progress.passed += piece.passed;
        progress.done = piece.done;
        progress.waiting = match piece.done {
            true => 0,
            false => progress.waiting.saturating_sub(piece.looked_at),
        };
        let after = self.commit(|store, lanes| {
            for frame in frames {
                match store.carry_one(lanes, lane, frame) {
                    Ok(last) => (progress.last, progress.carried) = (last, progress.carried + 1),
                    // too often carried already
                    Err(OutboxError::Seal { .. }) => progress.passed += 1,
                    Err(err) => return Err(err),
                }
            }
            progress.save(store.conn()?, &aside, lane)?;
            Ok(progress)
        })?;
        if let Some(source) = self.carrying.sources.get_mut(at) {
            source.lane_mut(lane).progress = after;
        }
        self.finish_asides()?;
        Ok(Some(count))
    }

    /// Puts one frame into a frame of the present chain; gives the place of that.
    fn carry_one(
        &mut self,
        lanes: &mut Lanes,
        lane: Lane,
        frame: Intact,
    ) -> Result<u64, OutboxError> {
        let head = self.record_head("carry a frame")?;
        let record = Record::CarriedFrame(CarriedFrameV1 {
            head,
            frame: frame.bytes,
        });
        let encoded = EncodedRecord::from(record).carrying(frame.chain);
        let stored = self.insert(lanes, lane, encoded)?;
        Ok(stored.identity.seq)
    }

    /// Marks the files of which everything is acknowledged.
    pub(crate) fn finish_asides(&mut self) -> Result<(), OutboxError> {
        let lanes = self.lanes;
        while let Some(at) = self
            .carrying
            .sources
            .iter()
            .position(|source| source.is_finished(&lanes))
        {
            let now = self.clock.read().utc;
            let source = self.carrying.sources.remove(at);
            source.aside.mark_carried(now)?;
            let sum = |of: fn(&Progress) -> u64| -> u64 {
                source.lanes.iter().map(|lane| of(&lane.progress)).sum()
            };
            tracing::info!(
                aside = %source.aside.name(),
                carried = sum(|progress| progress.carried),
                passed = sum(|progress| progress.passed),
                "OutboxAsideCarried"
            );
            self.carrying.finished.push((source.aside, now));
        }
        Ok(())
    }

    /// Deletes files of which everything is acknowledged and that are no longer kept.
    pub(crate) fn delete_asides(&mut self, level: SpaceLevel) -> Result<(), OutboxError> {
        let before = self.clock.read().utc.0.saturating_sub(KEEP_ACKED_US);
        while let Some((aside, at)) = self.carrying.finished.first() {
            let many = self.carrying.finished.len() > FINISHED_MAX;
            if level < SpaceLevel::Deleting && at.0 >= before && !many {
                break;
            }
            let aside = aside.clone();
            let forgotten = self
                .conn()?
                .execute("DELETE FROM carrying WHERE aside = ?1", [aside.name()]);
            forgotten.map_err(|source| OutboxError::database("forget a file", source))?;
            aside.delete()?;
            tracing::info!(aside = %aside.name(), "OutboxAsideDeleted");
            self.carrying.finished.remove(0);
        }
        Ok(())
    }

    pub(crate) fn asides(&self) -> AsideSummary {
        self.carrying.summary()
    }
}
