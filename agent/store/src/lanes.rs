//! The rows of the four lanes: counters, chain, hash of the newest frame.

use cardio_wire::envelope::NO_PREVIOUS;
use cardio_wire::lane::{ChainId, Lane};
use cardio_wire::message::LaneState;
use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, Row, params};

use crate::error::OutboxError;

/// Frames of a lane have the places from `lane * 2^48 + 1` on.
const PLACE_BITS: u32 = 48;
pub(crate) const MAX_SEQ: u64 = (1 << PLACE_BITS) - 1;

/// What is kept of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneRow {
    pub(crate) lane: Lane,
    pub(crate) chain: ChainId,
    /// The oldest frame that is still kept; `next` when none is.
    pub(crate) oldest: u64,
    pub(crate) next: u64,
    pub(crate) head: [u8; 32],
    pub(crate) acked: u64,
    pub(crate) acked_head: [u8; 32],
    pub(crate) ack_counter: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) waiting_bytes: u64,
    /// Records that were refused since the last gap record.
    pub(crate) refused: u64,
}

impl LaneRow {
    /// The first row of a new chain.
    pub(crate) fn new(lane: Lane) -> Result<Self, OutboxError> {
        let mut chain = [0; 8];
        SystemRandom::new()
            .fill(&mut chain)
            .map_err(|_| OutboxError::Randomness {
                act: "begin a chain",
            })?;
        Ok(Self {
            lane,
            chain: ChainId(chain),
            oldest: 1,
            next: 1,
            head: NO_PREVIOUS,
            acked: 0,
            acked_head: NO_PREVIOUS,
            ack_counter: 0,
            kept_bytes: 0,
            waiting_bytes: 0,
            refused: 0,
        })
    }

    /// The key of a frame of this lane.
    pub(crate) fn place(&self, seq: u64) -> i64 {
        place(self.lane, seq)
    }

    pub(crate) const fn waiting(&self) -> u64 {
        self.next.saturating_sub(1).saturating_sub(self.acked)
    }

    pub(crate) const fn state(&self) -> LaneState {
        LaneState {
            lane: self.lane,
            chain: self.chain,
            oldest: self.oldest,
            next: self.next,
            head: self.head,
            acked: self.acked,
        }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Self)> {
        let number: i64 = row.get(0)?;
        let lane = u8::try_from(number).ok().and_then(Lane::from_number);
        Ok((
            number,
            Self {
                lane: lane.unwrap_or(Lane::Log),
                chain: ChainId(row.get(1)?),
                oldest: unsigned(row.get(2)?),
                next: unsigned(row.get(3)?),
                head: row.get(4)?,
                acked: unsigned(row.get(5)?),
                acked_head: row.get(6)?,
                ack_counter: unsigned(row.get(7)?),
                kept_bytes: unsigned(row.get(8)?),
                waiting_bytes: unsigned(row.get(9)?),
                refused: unsigned(row.get(10)?),
            },
        ))
    }

    /// Writes the row, new or changed.
    pub(crate) fn save(&self, conn: &Connection) -> Result<(), OutboxError> {
        let failed = |source| OutboxError::database("write the lane", source);
        conn.prepare_cached(
            "INSERT OR REPLACE INTO lane VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                i64::from(self.lane.number()),
                self.chain.0,
                signed(self.oldest),
                signed(self.next),
                self.head,
                signed(self.acked),
                self.acked_head,
                signed(self.ack_counter),
                signed(self.kept_bytes),
                signed(self.waiting_bytes),
                signed(self.refused),
            ])
        })
        .map_err(failed)?;
        Ok(())
    }
}

/// The key of a frame; a number that no lane reaches is held to the lane's last key.
pub(crate) fn place(lane: Lane, seq: u64) -> i64 {
    (i64::from(lane.number()) << PLACE_BITS) | signed(seq.min(MAX_SEQ))
}

/// The lane and number of a key.
pub(crate) fn lane_and_seq(place: i64) -> Option<(Lane, u64)> {
    let lane = u8::try_from(place >> PLACE_BITS).ok();
    let seq = u64::try_from(place & ((1 << PLACE_BITS) - 1)).ok()?;
    Some((lane.and_then(Lane::from_number)?, seq))
}

/// A number as SQLite holds it; saturates, and no counter comes near the limit.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as SQLite holds it; what is below zero there was never written by this program.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// All four lanes, in the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes([LaneRow; 4]);

impl Lanes {
    /// Four new chains, written down.
    pub(crate) fn create(conn: &Connection) -> Result<Self, OutboxError> {
        let [a, b, c, d] = Lane::ALL;
        let lanes = Self([
            LaneRow::new(a)?,
            LaneRow::new(b)?,
            LaneRow::new(c)?,
            LaneRow::new(d)?,
        ]);
        lanes.iter().try_for_each(|row| row.save(conn))?;
        Ok(lanes)
    }

    /// The lanes of a file; none when it is new.
    pub(crate) fn load(conn: &Connection) -> Result<Option<Self>, OutboxError> {
        let failed = |source| OutboxError::database("read the lanes", source);
        let mut statement = conn
            .prepare("SELECT * FROM lane ORDER BY lane")
            .map_err(failed)?;
        let rows = statement
            .query_map([], LaneRow::read)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(failed)?;
        if rows.is_empty() {
            return Ok(None);
        }
        let numbers: Vec<i64> = rows.iter().map(|(number, _)| *number).collect();
        let rows: Vec<LaneRow> = rows.into_iter().map(|(_, row)| row).collect();
        match <[LaneRow; 4]>::try_from(rows) {
            Ok(rows) if numbers == [0, 1, 2, 3] => Ok(Some(Self(rows))),
            _ => Err(OutboxError::Damaged {
                what: "there are not exactly four lanes".to_owned(),
            }),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LaneRow> {
        self.0.iter()
    }

    pub(crate) const fn get(&self, lane: Lane) -> &LaneRow {
        lane.of(&self.0)
    }

    pub(crate) const fn get_mut(&mut self, lane: Lane) -> &mut LaneRow {
        lane.of_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, lane_and_seq, place};

    #[test]
    fn a_place_gives_back_lane_and_number() {
        for lane in Lane::ALL {
            for seq in [0, 1, (1 << 48) - 1] {
                assert_eq!(lane_and_seq(place(lane, seq)), Some((lane, seq)));
            }
        }
        assert_eq!(lane_and_seq(-1), None);
        assert_eq!(lane_and_seq(i64::MAX), None);
    }
}
