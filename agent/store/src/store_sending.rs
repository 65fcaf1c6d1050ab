//! The sending half of the store: frames out, acknowledgements in, and the summary.

use cardio_core::clock::UtcMicros;
use cardio_wire::envelope::{self, NO_PREVIOUS};
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::message::Ack;
use rusqlite::{OptionalExtension, params};

use crate::autonomy::Autonomy;
use crate::carry::AsideSummary;
use crate::database::fingerprint_at;
use crate::error::OutboxError;
use crate::fork::{self, ForkSign};
use crate::lanes::{LaneRow, lane_and_seq};
use crate::recover::LaneGap;
use crate::space::Space;
use crate::store::{Store, bytes_between};

/// How long acknowledged frames are kept, so that a gateway that lost its disk can have
/// them again.
pub(crate) const KEEP_ACKED_US: i64 = 7 * 24 * 3600 * 1_000_000;

/// A frame to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFrame {
    /// Which one.
    pub identity: FrameIdentity,
    /// The frame, as it was made.
    pub bytes: Vec<u8>,
}

/// Why an acknowledgement counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckRefusal {
    /// It is for another box.
    OtherBox,
    /// It is for another chain, for instance from before the database was set aside.
    OtherChain,
    /// One with the same or a higher counter came before.
    NotNewer,
    /// It covers less than an earlier one: the gateway went back in time.
    Behind,
    /// It names a fingerprint where there is no frame.
    OtherFrame,
}

impl AckRefusal {
    /// Stable identifier for logs and `--json`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::OtherBox => "ack.other-box",
            Self::OtherChain => "ack.other-chain",
            Self::NotNewer => "ack.not-newer",
            Self::Behind => "ack.behind",
            Self::OtherFrame => "ack.other-frame",
        }
    }
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckOutcome {
    /// It counts.
    Accepted {
        /// Everything up to here is the gateway's.
        upto: u64,
        /// How many frames that covers for the first time.
        newly: u64,
    },
    /// It counts for nothing.
    Refused {
        /// Why.
        why: AckRefusal,
    },
    /// It proves that the card forgot: the file is set aside, new chains have begun, and what
    /// the file still holds is carried over.
    Forked {
        /// What proves it.
        sign: ForkSign,
    },
}

/// What became of a command to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resent {
    /// Frames wait again from here on.
    From {
        /// The first one.
        seq: u64,
        /// How many earlier ones are asked for and no longer here; a gap record names them.
        missing: u64,
    },
    /// The command is for a chain that this outbox does not have.
    OtherChain,
}

/// One lane, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSummary {
    /// Which lane.
    pub lane: Lane,
    /// The life of its database.
    pub chain: ChainId,
    /// Frames ever made in this chain.
    pub stored: u64,
    /// Frames that the gateway has.
    pub acked: u64,
    /// Frames that wait to be sent or acknowledged.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Bytes of all frames that are kept.
    pub kept_bytes: u64,
    /// Records refused for lack of space and not yet named in a gap record.
    pub refused: u64,
    /// Wall time since the oldest waiting frame was stored.
    pub oldest_waiting_age_us: Option<u64>,
}

/// The whole outbox, for people and for the hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSummary {
    /// Most urgent first.
    pub lanes: Vec<LaneSummary>,
    /// What is used and what is left.
    pub space: Space,
    /// How long that lasts.
    pub autonomy: Autonomy,
    /// Files that were set aside.
    pub aside: AsideSummary,
}

impl Store {
    pub(crate) fn next_to_send(
        &mut self,
        lane: Lane,
        after_seq: u64,
        max_frames: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutFrame>, OutboxError> {
        let read = self.read_frames(lane, after_seq, max_frames, max_bytes);
        if let Err(err) = &read
            && err.is_damage()
        {
            self.recover(err)?;
        }
        read
    }

    fn read_frames(
        &mut self,
        lane: Lane,
        after_seq: u64,
        max_frames: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutFrame>, OutboxError> {
        let failed = |source| OutboxError::database("read frames", source);
        let row = *self.lanes.get(lane);
        let device = self.keys.device;
        let limit = i64::try_from(max_frames).unwrap_or(i64::MAX);
        let mut statement = self
            .conn()?
            .prepare_cached(
                "SELECT place, fingerprint, bytes FROM frame
                 WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3",
            )
            .map_err(failed)?;
        let mut rows = statement
            .query([row.place(after_seq), row.place(row.next - 1), limit])
            .map_err(failed)?;
        let mut frames: Vec<OutFrame> = Vec::new();
        let mut total = 0_usize;
        while let Some(found) = rows.next().map_err(failed)? {
            let fingerprint: [u8; 32] = found.get(1).map_err(failed)?;
            let bytes: Vec<u8> = found.get(2).map_err(failed)?;
            let place: i64 = found.get(0).map_err(failed)?;
            let (_, seq) = lane_and_seq(place).unwrap_or((lane, 0));
            total = total.saturating_add(bytes.len());
            if total > max_bytes && !frames.is_empty() {
                break;
            }
            if envelope::fingerprint(&bytes) != fingerprint {
                let what = format!("frame {seq} of the {lane} lane is not what was stored");
                return Err(OutboxError::Damaged { what });
            }
            let chain = row.chain;
            frames.push(OutFrame {
                identity: FrameIdentity {
                    device,
                    lane,
                    chain,
                    seq,
                },
                bytes,
            });
        }
        Ok(frames)
    }

    pub(crate) fn acked(&mut self, ack: &Ack) -> Result<AckOutcome, OutboxError> {
        self.conn()?;
        if let Some(why) = self.refusal(ack) {
            return Ok(refused(why, ack.lane));
        }
        if let Some(sign) = self.fork(ack)? {
            let lane = ack.lane;
            self.recover(&OutboxError::Forked { lane, sign })?;
            return Ok(AckOutcome::Forked { sign });
        }
        if ack.upto < self.lanes.get(ack.lane).acked {
            return Ok(refused(AckRefusal::Behind, ack.lane));
        }
        let before = UtcMicros(self.clock.read().utc.0.saturating_sub(KEEP_ACKED_US));
        let newly = self.commit(|store, lanes| {
            let row = lanes.get_mut(ack.lane);
            let newly = ack.upto - row.acked;
            let (from, to) = (row.place(row.acked + 1), row.place(ack.upto));
            let bytes = bytes_between(store.conn()?, from, to)?;
            row.waiting_bytes = row.waiting_bytes.saturating_sub(bytes);
            row.acked = ack.upto;
            row.acked_head = ack.head;
            row.ack_counter = ack.counter;
            store.delete_older(row, before)?;
            Ok(newly)
        })?;
        if let Err(err) = self.make_room() {
            tracing::warn!(code = err.code(), "OutboxEvictionError");
        }
        if let Err(err) = self.finish_asides() {
            tracing::warn!(code = err.code(), "OutboxCarryError");
        }
        let upto = ack.upto;
        Ok(AckOutcome::Accepted { upto, newly })
    }

    /// Why an acknowledgement says nothing of the present chains, or nothing new.
    fn refusal(&self, ack: &Ack) -> Option<AckRefusal> {
        let row = self.lanes.get(ack.lane);
        let checks = [
            (ack.device != self.keys.device, AckRefusal::OtherBox),
            (ack.chain != row.chain, AckRefusal::OtherChain),
            (ack.counter <= row.ack_counter, AckRefusal::NotNewer),
            (
                ack.upto == 0 && ack.head != NO_PREVIOUS,
                AckRefusal::OtherFrame,
            ),
        ];
        checks
            .into_iter()
            .find_map(|(wrong, why)| wrong.then_some(why))
    }

    /// What an acknowledgement proves that is not refused.
    fn fork(&mut self, ack: &Ack) -> Result<Option<ForkSign>, OutboxError> {
        let row = *self.lanes.get(ack.lane);
        let conn = self.conn()?;
        fork::shown_by(ack, &row, |seq| fingerprint_at(conn, row.place(seq)))
    }

    pub(crate) fn resend(
        &mut self,
        lane: Lane,
        chain: ChainId,
        from_seq: u64,
    ) -> Result<Resent, OutboxError> {
        let row = *self.lanes.get(lane);
        if row.chain != chain {
            return Ok(Resent::OtherChain);
        }
        let from_seq = from_seq.max(1);
        let first = from_seq.max(row.oldest).min(row.acked + 1);
        let gap = LaneGap {
            lane,
            chain,
            from_seq,
            to_seq: row.oldest - 1,
            records: row.oldest.saturating_sub(from_seq),
            reason: "retention.deleted".to_owned(),
        };
        self.commit(|store, lanes| {
            if gap.records > 0 {
                store.insert_gap(lanes, Lane::Alert, &gap)?;
            }
            store.take_back(lanes.get_mut(lane), first)
        })?;
        Ok(Resent::From {
            seq: first,
            missing: gap.records,
        })
    }

    /// Makes frames from `first` on wait again.
    fn take_back(&mut self, row: &mut LaneRow, first: u64) -> Result<(), OutboxError> {
        if first > row.acked {
            return Ok(());
        }
        let conn = self.conn()?;
        let (from, to) = (row.place(first), row.place(row.acked));
        row.waiting_bytes += bytes_between(conn, from, to)?;
        row.acked_head = match first - 1 {
            0 => NO_PREVIOUS,
            _ => prev_of(conn, from)?,
        };
        row.acked = first - 1;
        Ok(())
    }

    pub(crate) fn summary(&mut self) -> Result<OutboxSummary, OutboxError> {
        let space = self.space()?;
        let autonomy = self.autonomy(&space);
        let now = self.clock.read().utc.0;
        let lanes: Vec<LaneRow> = self.lanes.iter().copied().collect();
        let conn = self.conn()?;
        let lanes = lanes
            .iter()
            .map(|row| {
                let oldest: Option<i64> = conn
                    .prepare_cached("SELECT stored_utc FROM frame WHERE place = ?1")
                    .and_then(|mut statement| {
                        let place = params![row.place(row.acked + 1)];
                        statement.query_row(place, |found| found.get(0)).optional()
                    })
                    .map_err(|source| OutboxError::database("read an age", source))?;
                let age = oldest.map(|utc| u64::try_from(now.saturating_sub(utc)).unwrap_or(0));
                Ok(LaneSummary {
                    lane: row.lane,
                    chain: row.chain,
                    stored: row.next - 1,
                    acked: row.acked,
                    waiting: row.waiting(),
                    waiting_bytes: row.waiting_bytes,
                    kept_bytes: row.kept_bytes,
                    refused: row.refused,
                    oldest_waiting_age_us: age,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(OutboxSummary {
            lanes,
            space,
            autonomy,
            aside: self.asides(),
        })
    }
}

fn refused(why: AckRefusal, lane: Lane) -> AckOutcome {
    let lane = lane.name();
    tracing::warn!(code = why.code(), lane, "OutboxAckRefused");
    AckOutcome::Refused { why }
}

/// The fingerprint that a stored frame names as the one before it.
fn prev_of(conn: &rusqlite::Connection, place: i64) -> Result<[u8; 32], OutboxError> {
    let bytes: Vec<u8> = conn
        .query_row("SELECT bytes FROM frame WHERE place = ?1", [place], |row| {
            row.get(0)
        })
        .map_err(|source| OutboxError::database("read a frame", source))?;
    let header = envelope::peek(&bytes).map_err(|err| OutboxError::Damaged {
        what: format!("the frame at place {place} is none: {}", err.code()),
    })?;
    Ok(header.prev)
}
