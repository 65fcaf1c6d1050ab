//! The one table of a soak, and its verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Kind;
use super::gap::NamedGap;
use super::truth::Outcome;
use crate::judge::compare::{FoundGap, StatedGap, Verdict};
use crate::out::result;
use crate::proxy::Traffic;

/// How long before bits changed a record may have been saved that was still waiting then.
const WAITING_AT_MOST: Duration = Duration::from_secs(30);

/// How long after it the damage may be met.
const MET_WITHIN: Duration = Duration::from_secs(30);

/// What the box makes one record of at most while a person attends.
const RECORD_S: u64 = 1;

/// A fault that has happened, on the soak's own time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    /// What.
    pub(super) kind: Kind,
    /// From when.
    pub(super) from: Duration,
    /// Until when.
    pub(super) to: Duration,
}

/// Everything that the table shows.
pub(super) struct Table<'a> {
    /// Where chance started.
    pub(super) seed: u64,
    /// How long all of it took.
    pub(super) took: Duration,
    /// Every fault.
    pub(super) happened: &'a [Happened],
    /// When the box was asked to stop: what the sensor sent after that reached nobody.
    pub(super) asked_to_stop: Duration,
    /// Samples per second of the sensor.
    pub(super) rate_hz: u32,
    /// What became of the records.
    pub(super) outcome: Outcome,
    /// What the box named as missing.
    pub(super) gaps: &'a [NamedGap],
    /// Gaps that the patient record states.
    pub(super) stated: usize,
    /// Recordings in the patient record.
    pub(super) recordings: usize,
    /// Gaps that state more than is missing, as a stalled or killed box may.
    pub(super) overstated: usize,
    /// What became of the samples.
    pub(super) verdict: Verdict,
    /// Whether the programs could prove their chains.
    pub(super) proved: anyhow::Result<()>,
    /// What passed between box and gateway.
    pub(super) traffic: Traffic,
    /// Programs that ended by themselves.
    pub(super) restarts: u64,
}

impl Table<'_> {
    /// Prints it. `true` when nothing was lost and nothing filed twice.
    pub(super) fn tell(&self) -> bool {
        result(format!(
            "faults        {} in {:.0} s, seed {}",
            self.happened.len(),
            self.took.as_secs_f64(),
            self.seed
        ));
        for (kind, count) in self.by_kind() {
            result(format!("  {count:>6}      {}", kind.name()));
        }
        let outcome = &self.outcome;
        outcome.tell();
        for (reason, count) in self.reasons() {
            result(format!("              {count} {reason}"));
        }
        let (explained, unexplained) = self.absences();
        result(format!(
            "samples       {} sent, {} filed equal in {} recording(s), {} absence(s) stated, \
             {} of them too long, {} explained by a gap record",
            self.verdict.sent,
            self.verdict.equal,
            self.recordings,
            self.stated,
            self.overstated,
            explained.len()
        ));
        let traffic = &self.traffic;
        result(format!(
            "network       {} connection(s), {} turned away, {} byte(s) vanished, {} bit(s) changed",
            traffic.accepted, traffic.turned_away, traffic.lost_bytes, traffic.flipped_bits
        ));
        result(format!(
            "chains        {}",
            if self.proved.is_ok() {
                "proved by `outbox verify` and `chain verify`"
            } else {
                "NOT PROVED"
            }
        ));
        result(format!(
            "restarts      {} that nobody asked for",
            self.restarts
        ));
        let wrong = self.wrong(&explained, &unexplained);
        for line in &wrong {
            result(format!("WRONG         {line}"));
        }
        let holds = wrong.is_empty() && outcome.lost == 0 && outcome.duplicated == 0;
        result(if holds {
            "NOTHING LOST, NOTHING TWICE"
        } else {
            "FAILED"
        });
        holds
    }

    fn by_kind(&self) -> BTreeMap<Kind, u64> {
        let mut counts = BTreeMap::new();
        for fault in self.happened {
            *counts.entry(fault.kind).or_default() += 1;
        }
        counts
    }

    fn reasons(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for gap in self.gaps {
            *counts.entry(gap.reason.as_str()).or_default() += 1;
        }
        counts
    }

    /// Absences that no gap of the patient record states: those that bit flips explain whose
    /// losses are named, and the others.
    fn absences(&self) -> (Vec<&FoundGap>, Vec<&FoundGap>) {
        let is_named = !self.gaps.is_empty();
        self.verdict
            .unstated
            .iter()
            .partition(|absence| is_named && self.is_destroyed(absence))
    }

    fn is_destroyed(&self, absence: &FoundGap) -> bool {
        let begin = self.instant(absence.from);
        let end = self.instant(absence.from + absence.len);
        self.happened
            .iter()
            .filter(|fault| fault.kind.destroys())
            .any(|fault| begin <= fault.to + MET_WITHIN && end + WAITING_AT_MOST >= fault.from)
    }

    /// The most samples that can have been in the records that the box named as missing, and in
    /// its memory each time that its outbox was damaged.
    fn samples_named(&self) -> u64 {
        let named = |gap: &NamedGap| gap.to_seq.saturating_add(1).saturating_sub(gap.from_seq);
        let in_memory = self.happened.iter().filter(|fault| fault.kind.destroys());
        let records = self.gaps.iter().map(named).fold(0, u64::saturating_add);
        records
            .saturating_add(u64::try_from(in_memory.count()).unwrap_or(u64::MAX))
            .saturating_mul(RECORD_S)
            .saturating_mul(u64::from(self.rate_hz))
    }

    /// When the sensor took a sample.
    fn instant(&self, sample: u64) -> Duration {
        Duration::from_millis(sample.saturating_mul(1_000) / u64::from(self.rate_hz.max(1)))
    }

    fn wrong(&self, explained: &[&FoundGap], unexplained: &[&FoundGap]) -> Vec<String> {
        let mut wrong = self.outcome.wrong.clone();
        // A gap that was stated just before bits flipped lies in the absence that followed.
        let is_part = |gap: &StatedGap| {
            let fits = |found: &&FoundGap| {
                found.after == gap.after && gap.len <= found.len + gap.uncertainty
            };
            explained.iter().any(fits)
        };
        let superfluous = self.verdict.superfluous.iter();
        let false_ones = superfluous.filter(|gap| !is_part(gap));
        wrong.extend(false_ones.map(|gap| {
            format!(
                "a gap of {} sample(s) ({}) is stated after sample {} where nothing is missing",
                gap.len, gap.cause, gap.after
            )
        }));
        let missing: u64 = explained.iter().map(|absence| absence.len).sum();
        if missing > self.samples_named() {
            wrong.push(format!(
                "bit flips are to explain {missing} missing sample(s), and the gap records name {} \
                 at most",
                self.samples_named()
            ));
        }
        wrong.extend(self.verdict.differences.iter().cloned());
        wrong.extend(unexplained.iter().map(|absence| {
            format!(
                "{} sample(s) are missing at {:.1} s and nothing says so",
                absence.len,
                self.instant(absence.from).as_secs_f64()
            )
        }));
        let after_stop = self.took.saturating_sub(self.asked_to_stop).as_millis();
        let allowed = after_stop.saturating_mul(u128::from(self.rate_hz)) / 1_000;
        if u128::from(self.verdict.tail) > allowed {
            wrong.push(format!(
                "the last {} sample(s) sent were not filed",
                self.verdict.tail
            ));
        }
        wrong.extend(self.proved.as_ref().err().map(|err| format!("{err:#}")));
        wrong
    }
}
