//! What must hold when everything has arrived that could.

use std::collections::BTreeMap;

use cardio_wire::chain::ChainWalk;
use cardio_wire::intake::ChainKey;
use cardio_wire::lane::{ChainId, FrameIdentity, Lane};
use cardio_wire::record::{LaneGapV1, Record};

use crate::World;

impl World {
    /// Everything that the gateway files: each chain up to where it stands, and what stands
    /// beside it. Each chain is walked as far as it goes.
    fn filed(&self) -> Vec<Record> {
        let mut chains: BTreeMap<(Lane, ChainId), ChainWalk> = BTreeMap::new();
        for (identity, bytes) in self.gateway.frames().filter(|_| !self.went_back) {
            let walk = chains
                .entry((identity.lane, identity.chain))
                .or_insert(ChainWalk::new(self.ends.signer.verifying_key()));
            if identity.seq == walk.last().map_or(1, |(last, _)| last.seq + 1) {
                walk.step(bytes).unwrap();
            }
        }
        let frames = self.gateway.frames().filter(|(id, _)| self.is_reached(id));
        let frames = frames.chain(self.gateway.conflicts());
        frames.map(|(_, bytes)| self.ends.read(bytes)).collect()
    }

    fn is_reached(&self, id: &FrameIdentity) -> bool {
        let key = ChainKey::of(id);
        let head = self.gateway.heads().find(|(chain, _)| **chain == key);
        head.is_some_and(|(_, head)| id.seq <= head.upto)
    }

    /// Whether a filed gap record names a frame, or one that brought it or named it.
    fn is_named(&self, id: &FrameIdentity, filed: &[&LaneGapV1]) -> bool {
        // a chain that has ended is named to its end: what the gateway once had before the
        // gap, and lost with its disk, is missing too
        let covers = |gap: &LaneGapV1| {
            (gap.lane, gap.chain) == (id.lane, id.chain)
                && (gap.ends_chain() || gap.from_seq <= id.seq)
                && id.seq <= gap.to_seq
        };
        filed.iter().any(|gap| covers(gap))
            || self.bringers(id).any(|by| self.is_named(by, filed))
            || self
                .gaps
                .iter()
                .any(|(by, gap)| covers(gap) && by != id && self.is_named(by, filed))
    }

    fn bringers<'a>(&'a self, id: &'a FrameIdentity) -> impl Iterator<Item = &'a FrameIdentity> {
        let of = self.carriers.iter().filter(move |(_, inner)| *inner == id);
        of.map(|(by, _)| by)
    }

    /// Whether the box was ever told that the gateway has a frame, whichever way it went.
    fn was_acked(&self, id: &FrameIdentity) -> bool {
        let covered = self.covered.get(&id.chain).copied().unwrap_or(0);
        id.seq <= covered || self.bringers(id).any(|by| self.was_acked(by))
    }

    pub(crate) fn check(&self) {
        assert!(self.went_back || self.gateway.conflicts().count() == 0);
        let filed = self.filed();
        let gaps: Vec<&LaneGapV1> = filed
            .iter()
            .filter_map(|record| match record {
                Record::LaneGap(gap) => Some(gap),
                _ => None,
            })
            .collect();
        let times = |record: &Record| filed.iter().filter(|other| *other == record).count();
        for (identity, record) in &self.committed {
            let times = times(record);
            assert!(times <= 1, "{identity} is filed {times} times");
            let may_miss = self.damaged.contains(identity) || self.was_acked(identity);
            assert!(
                times == 1 || may_miss,
                "{identity} is intact and was not sent"
            );
            assert!(
                times == 1 || self.is_named(identity, &gaps),
                "{identity} is lost"
            );
        }
        for (identity, record) in &self.forgotten {
            let reached = self.gateway.frames().filter(|(id, _)| self.is_reached(id));
            let mut held = reached.chain(self.gateway.conflicts());
            let held = held.any(|(id, bytes)| id == identity && self.ends.read(bytes) == *record);
            assert_eq!(times(record), usize::from(held), "forgotten {identity}");
        }
        let summary = self.outbox().summary().unwrap();
        let unnamed: u64 = summary.lanes.iter().map(|lane| lane.refused).sum();
        let named: u64 = gaps
            .iter()
            .filter(|gap| gap.reason == "space.refused")
            .map(|gap| gap.records)
            .sum();
        assert!(
            self.went_back || unnamed + named >= self.refused,
            "{} were refused, {named} are named, {unnamed} will be",
            self.refused
        );
    }
}
