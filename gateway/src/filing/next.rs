//! Which frames are filed next, read from the inbox and opened.
//!
//! Late ones first, then conflicting ones, then those of the lanes: the most urgent lanes first,
//! among lanes of the same urgency the one whose next frame waits longest, each in chain order.
//! Of each urgency every lane that waits has its share of a group, so no box holds up another.
//!
//! Deliberately absent: what becomes of them ([`super::transaction`]).

use std::collections::HashMap;

use cardio_core::ids::BoxId;
use cardio_wire::intake::ChainKey;
use cardio_wire::keys::VerifyingKey;
use cardio_wire::lane::FrameIdentity;

use super::open::{self, Opened};
use super::{Filer, rows};
use crate::db::DbError;
use crate::inbox::{
    LaneRow, StoredFrame, TriedConflict, arrived_after, conflicts_to_file, frames_between,
    lane_rows, late_frames,
};

/// Frames filed in one transaction.
const GROUP_MAX: usize = 64;
/// Late frames, and conflicting ones, filed in one transaction.
const LATE_MAX: u64 = 64;

/// Where a group of frames comes from.
pub(super) enum Source {
    /// From the lanes in their order; these lanes are filed to their end.
    Lanes(Vec<FrameIdentity>),
    /// After their lanes had gone on without them.
    Late(Vec<FrameIdentity>),
    /// From beside the lanes: other frames are stored in their places.
    Conflicts,
}

/// Checks the frames of the boxes that are enrolled.
type FrameKeys = HashMap<BoxId, VerifyingKey>;

impl Filer {
    /// The next frames to file.
    pub(super) fn next_group(&self) -> Result<Option<(Vec<Opened>, Source)>, DbError> {
        let inbox = self.inbox.readers();
        let late = inbox.read(|connection| late_frames(connection, LATE_MAX))?;
        if !late.is_empty() {
            let frames = late.iter().map(LaneRow::last_frame).collect();
            return Ok(Some((self.opened(&late)?, Source::Late(frames))));
        }
        let conflicts = inbox.read(|connection| conflicts_to_file(connection, LATE_MAX))?;
        if !conflicts.is_empty() {
            let frames = conflicts.into_iter().map(|one| (one.key, one.frame));
            let keys = self.frame_keys()?;
            let group = frames.map(|(of, frame)| self.open(&keys, of, frame));
            return Ok(Some((group.collect(), Source::Conflicts)));
        }
        let (group, ends) = self.next_of_lanes()?;
        let nothing = group.is_empty() && ends.is_empty();
        Ok((!nothing).then_some((group, Source::Lanes(ends))))
    }

    /// The next frames of the lanes; and how far lanes are filed of which no frame is left.
    fn next_of_lanes(&self) -> Result<(Vec<Opened>, Vec<FrameIdentity>), DbError> {
        let waiting = self.waiting()?;
        let (mut group, mut ends) = (Vec::new(), Vec::new());
        if waiting.is_empty() {
            return Ok((group, ends));
        }
        let keys = self.frame_keys()?;
        for (row, filed) in &waiting {
            let is_peer = |(other, _): &&(LaneRow, u64)| other.head.lane == row.head.lane;
            let share = GROUP_MAX.div_ceil(waiting.iter().filter(is_peer).count().max(1));
            let room = share.min(GROUP_MAX.saturating_sub(group.len()));
            if room == 0 {
                break;
            }
            let frames = self.read_group(&keys, row, *filed, room)?;
            if frames.len() < room {
                ends.push(row.last_frame());
            }
            group.extend(frames);
        }
        Ok((group, ends))
    }

    /// The lanes with frames that are not filed, in the order in which it is their turn, and how
    /// far each is filed.
    fn waiting(&self) -> Result<Vec<(LaneRow, u64)>, DbError> {
        let lanes = self.inbox.readers().read(lane_rows)?;
        let filed = self.readers.read(rows::cursors)?;
        let filed = |row: &LaneRow| filed.get(&row.key()).copied().unwrap_or(0);
        let waits = |row: LaneRow| (filed(&row) < row.head.upto).then_some((row, filed(&row)));
        let waiting: Vec<(LaneRow, u64)> = lanes.into_iter().filter_map(waits).collect();
        if waiting.len() < 2 {
            return Ok(waiting);
        }
        let mut since = self.inbox.readers().read(|connection| {
            let with_time = |(row, filed): (LaneRow, u64)| {
                Ok((arrived_after(connection, &row, filed)?, row, filed))
            };
            waiting
                .into_iter()
                .map(with_time)
                .collect::<Result<Vec<_>, DbError>>()
        })?;
        since.sort_by_key(|(at, row, _)| (row.head.lane.number(), *at));
        Ok(since
            .into_iter()
            .map(|(_, row, filed)| (row, filed))
            .collect())
    }

    /// Single frames, each given as the lane that ends with it.
    pub(super) fn opened(&self, frames: &[LaneRow]) -> Result<Vec<Opened>, DbError> {
        let keys = self.frame_keys()?;
        let mut group = Vec::new();
        for row in frames {
            let before = row.head.upto.saturating_sub(1);
            group.extend(self.read_group(&keys, row, before, 1)?);
        }
        Ok(group)
    }

    /// Frames of a lane after a number, opened.
    fn read_group(
        &self,
        keys: &FrameKeys,
        row: &LaneRow,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Opened>, DbError> {
        let frames = self
            .inbox
            .readers()
            .read(|connection| frames_between(connection, row, after, limit))?;
        let of = row.key();
        let open = |frame| self.open(keys, of, frame);
        Ok(frames.into_iter().map(open).collect())
    }

    fn open(&self, keys: &FrameKeys, of: ChainKey, frame: StoredFrame) -> Opened {
        open::open(of, frame, keys.get(&of.device), &self.keys)
    }

    fn frame_keys(&self) -> Result<FrameKeys, DbError> {
        let boxes = self.inbox.boxes()?.into_iter();
        Ok(boxes
            .map(|row| (row.known.id, row.known.frame_key))
            .collect())
    }
}

/// What becomes of each conflicting frame. Those that cannot be opened stay where they are, for
/// a later program.
pub(super) fn tried(group: &mut Vec<Opened>) -> Vec<TriedConflict> {
    let tried = group
        .iter()
        .map(|frame| {
            if let Err(refused) = &frame.outcome {
                let code = refused.code;
                tracing::error!(event = "ConflictNotFiled", code, frame = %frame.identity);
            }
            TriedConflict {
                identity: frame.identity,
                fingerprint: frame.fingerprint,
                filed: frame.outcome.is_ok(),
            }
        })
        .collect();
    group.retain(|frame| frame.outcome.is_ok());
    tried
}
