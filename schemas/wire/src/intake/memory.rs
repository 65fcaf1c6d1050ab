//! Holdings in memory: the model that stores are compared with.

use std::collections::BTreeMap;
use std::convert::Infallible;

use cardio_core::ids::BoxId;

use super::{Arrival, ChainKey, Holdings, LaneHead, Link};
use crate::lane::{FrameIdentity, Lane};

/// What a gateway would hold, in memory. For models and tests of whole exchanges; a clone is
/// a backup.
#[derive(Clone, Debug, Default)]
pub struct MemoryHoldings {
    heads: BTreeMap<ChainKey, LaneHead>,
    frames: BTreeMap<FrameIdentity, (Link, Vec<u8>)>,
    missing: BTreeMap<(ChainKey, u64), u64>,
    conflicts: BTreeMap<(FrameIdentity, [u8; 32]), Vec<u8>>,
    late: Vec<FrameIdentity>,
}

impl MemoryHoldings {
    /// Every stored frame with its bytes.
    pub fn frames(&self) -> impl Iterator<Item = (&FrameIdentity, &[u8])> {
        self.frames
            .iter()
            .map(|(id, (_, bytes))| (id, bytes.as_slice()))
    }

    /// Every missing stretch: first and last frame.
    pub fn missing(&self) -> impl Iterator<Item = (ChainKey, u64, u64)> {
        self.missing
            .iter()
            .map(|((key, from), to)| (*key, *from, *to))
    }

    /// Frames that conflicted with stored ones, with their bytes.
    pub fn conflicts(&self) -> impl Iterator<Item = (&FrameIdentity, &[u8])> {
        self.conflicts
            .iter()
            .map(|((id, _), bytes)| (id, bytes.as_slice()))
    }

    /// Frames that conflicted with stored ones, with their fingerprints.
    #[cfg(test)]
    pub(super) fn conflicts_by_fingerprint(
        &self,
    ) -> impl Iterator<Item = &(FrameIdentity, [u8; 32])> {
        self.conflicts.keys()
    }

    /// Where every chain stands.
    pub fn heads(&self) -> impl Iterator<Item = (&ChainKey, &LaneHead)> {
        self.heads.iter()
    }

    /// Frames that came after their lane had gone on without them.
    pub fn late(&self) -> &[FrameIdentity] {
        &self.late
    }

    /// Forgets a frame as retention does.
    pub fn forget(&mut self, identity: &FrameIdentity) {
        self.frames.remove(identity);
    }
}

impl Holdings for MemoryHoldings {
    type Error = Infallible;

    fn head(&mut self, key: ChainKey) -> Result<Option<LaneHead>, Infallible> {
        Ok(self.heads.get(&key).copied())
    }

    fn set_head(&mut self, device: BoxId, head: &LaneHead) -> Result<(), Infallible> {
        let key = ChainKey {
            device,
            lane: head.lane,
            chain: head.chain,
        };
        self.heads.insert(key, *head);
        Ok(())
    }

    fn chains(&mut self, device: BoxId, lane: Lane) -> Result<u64, Infallible> {
        let of = self
            .heads
            .iter()
            .filter(|(key, head)| key.device == device && key.lane == lane && !head.ended);
        Ok(u64::try_from(of.count()).unwrap_or(u64::MAX))
    }

    fn link(&mut self, key: ChainKey, seq: u64) -> Result<Option<Link>, Infallible> {
        Ok(self.frames.get(&key.frame(seq)).map(|(link, _)| *link))
    }

    fn links_after(
        &mut self,
        key: ChainKey,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Link>, Infallible> {
        let range = key.frame(after.saturating_add(1))..=key.frame(u64::MAX);
        let links = self.frames.range(range).map(|(_, (link, _))| *link);
        Ok(links.take(limit).collect())
    }

    fn keep(&mut self, frame: &Arrival<'_>, late: bool) -> Result<(), Infallible> {
        let link = Link {
            seq: frame.identity.seq,
            prev: frame.prev,
            fingerprint: frame.fingerprint,
        };
        self.frames
            .insert(frame.identity, (link, frame.frame.to_vec()));
        if late {
            self.late.push(frame.identity);
        }
        Ok(())
    }

    fn keep_conflict(&mut self, frame: &Arrival<'_>) -> Result<(), Infallible> {
        self.conflicts
            .insert((frame.identity, frame.fingerprint), frame.frame.to_vec());
        Ok(())
    }

    fn missing_from(&mut self, key: ChainKey, seq: u64) -> Result<Option<(u64, u64)>, Infallible> {
        let mut stretches = self.missing.range((key, 0)..=(key, u64::MAX));
        Ok(stretches
            .find(|(_, to)| **to >= seq)
            .map(|((_, from), to)| (*from, *to)))
    }

    fn add_missing(&mut self, key: ChainKey, from: u64, to: u64) -> Result<(), Infallible> {
        self.missing.insert((key, from), to);
        Ok(())
    }

    fn remove_missing(&mut self, key: ChainKey, from: u64) -> Result<(), Infallible> {
        self.missing.remove(&(key, from));
        Ok(())
    }
}
