//! What the box accepted, and what became of it: every frame, by its place in its chain.
//!
//! The box's word is read from its database while it runs, before each fault; the gateway's
//! databases are read when all is over.

use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};

use super::gap::{NamedGap, bytes_of};
use crate::cuts::word::Word;
use crate::out::result;
use crate::sql::{Database, number, text};

/// A lane's number and its chain.
type ChainOf = (u64, String);

/// Everything that the box ever said it had saved.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    chains: BTreeMap<ChainOf, Chain>,
    setbacks: Vec<String>,
}

#[derive(Debug, Default)]
struct Chain {
    saved: u64,
    heads: BTreeMap<u64, String>,
}

/// What the gateway has.
#[derive(Debug, Default)]
pub(crate) struct Filed {
    /// Fingerprints of the frames in the inbox.
    frames: BTreeMap<ChainOf, BTreeMap<u64, String>>,
    /// How many records of one frame are in the patient record, by the frame's place.
    records: BTreeMap<ChainOf, BTreeMap<u64, u64>>,
    /// What boxes named as missing.
    gaps: Vec<NamedGap>,
    /// Frames that could not be filed.
    quarantined: u64,
    /// Other frames in the place of a stored one.
    others: Vec<Other>,
}

/// A frame in whose place another one is stored.
#[derive(Debug)]
struct Other {
    of: ChainOf,
    seq: u64,
    head: String,
    is_filed: bool,
}

/// What became of everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Records that the box had saved.
    pub(crate) accepted: u64,
    /// Those in the record.
    pub(crate) filed: u64,
    /// Filed more often than once.
    pub(crate) duplicated: u64,
    /// Not filed, but named in a signed gap record.
    pub(crate) named: u64,
    /// Neither.
    pub(crate) lost: u64,
    /// Gap records.
    pub(crate) gap_records: u64,
    /// Chains that the box began.
    pub(crate) chains: u64,
    /// Frames in whose place another one is stored: of a file that forgot what it had sent.
    pub(crate) others: u64,
    /// What is wrong, one line each.
    pub(crate) wrong: Vec<String>,
}

impl Outcome {
    /// Prints what became of the records.
    pub(crate) fn tell(&self) {
        result(format!(
            "records       {} accepted in {} chain(s)",
            self.accepted, self.chains
        ));
        result(format!("  filed       {}", self.filed));
        result(format!("  duplicated  {}", self.duplicated));
        result(format!("  lost        {}", self.lost));
        result(format!(
            "  named       {} in {} gap record(s)",
            self.named, self.gap_records
        ));
        result(format!(
            "  forgotten   {} frame(s) that the gateway has, and another one in their place",
            self.others
        ));
    }
}

impl Truth {
    /// Takes down what the box says now.
    pub(crate) fn note(&mut self, word: &Word) {
        for lane in word.lanes.iter().filter(|lane| lane.saved > 0) {
            let chain = self
                .chains
                .entry((lane.lane, lane.chain.clone()))
                .or_default();
            if lane.saved < chain.saved {
                self.setbacks.push(format!(
                    "lane {} chain {}: {} records were saved, now the box has {}",
                    lane.lane, lane.chain, chain.saved, lane.saved
                ));
            }
            chain.saved = chain.saved.max(lane.saved);
            chain.heads.insert(lane.saved, lane.head.clone());
        }
    }

    /// Holds what was accepted against what was filed.
    pub(crate) fn judge(&self, filed: &Filed) -> Outcome {
        let mut outcome = Outcome {
            chains: u64::try_from(self.chains.len()).unwrap_or(u64::MAX),
            gap_records: u64::try_from(filed.gaps.len()).unwrap_or(u64::MAX),
            others: u64::try_from(filed.others.len()).unwrap_or(u64::MAX),
            wrong: self.setbacks.clone(),
            ..Outcome::default()
        };
        for (of, chain) in &self.chains {
            chain.judge(of, filed, &mut outcome);
        }
        let repeats = filed.records.values().flat_map(BTreeMap::values);
        outcome.duplicated = repeats.map(|count| count.saturating_sub(1)).sum();
        if filed.quarantined > 0 {
            let wrong = format!("{} frame(s) in quarantine", filed.quarantined);
            outcome.wrong.push(wrong);
        }
        outcome.wrong.extend(filed.unexplained());
        outcome
    }
}

impl Chain {
    fn judge(&self, of: &ChainOf, filed: &Filed, outcome: &mut Outcome) {
        let frames = filed.frames.get(of);
        let records = filed.records.get(of);
        let (lane, chain) = of;
        let mut lost = BTreeSet::new();
        for seq in 1..=self.saved {
            let is_filed = records.is_some_and(|records| records.contains_key(&seq));
            let is_named = || filed.gaps.iter().any(|gap| gap.names(*lane, chain, seq));
            outcome.accepted += 1;
            if is_filed {
                outcome.filed += 1;
            } else if is_named() {
                outcome.named += 1;
            } else {
                outcome.lost += 1;
                lost.insert(seq);
            }
        }
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            let stored = frames.is_some_and(|frames| frames.contains_key(first));
            outcome.wrong.push(format!(
                "lane {lane} chain {chain}: {} record(s) between {first} and {last} of {} are \
                 neither filed nor named{}",
                lost.len(),
                self.saved,
                if stored { ", but in the inbox" } else { "" }
            ));
        }
        for (seq, head) in &self.heads {
            let there = frames.and_then(|frames| frames.get(seq));
            let is_beside = || filed.others.iter().any(|other| other.is(of, *seq, head));
            if there.is_some_and(|there| there != head) && !is_beside() {
                outcome.wrong.push(format!(
                    "lane {lane} chain {chain}: frame {seq} is not the one that was saved"
                ));
            }
        }
    }
}

impl Other {
    /// Whether it is this frame, and filed.
    fn is(&self, of: &ChainOf, seq: u64, head: &str) -> bool {
        self.is_filed && self.of == *of && self.seq == seq && self.head == head
    }
}

impl Filed {
    /// Reads the gateway's databases.
    pub(crate) fn read(inbox: &Database, record: &Database) -> anyhow::Result<Self> {
        let mut filed = Self::default();
        let rows = inbox
            .look("SELECT lane, hex(chain) AS chain, seq, hex(fingerprint) AS head FROM frames")?;
        for row in &rows {
            let chain = (number(row, "lane"), text(row, "chain"));
            let frames = filed.frames.entry(chain).or_default();
            frames.insert(number(row, "seq"), text(row, "head"));
        }
        // another frame in the same place is another record
        let rows = record.look(
            "SELECT lane, chain, seq, max(copies) AS copies FROM ( \
               SELECT lane, hex(chain) AS chain, seq, count(*) AS copies FROM records \
               GROUP BY lane, chain, seq, fingerprint) AS frames \
             GROUP BY lane, chain, seq",
        )?;
        for row in &rows {
            let chain = (number(row, "lane"), text(row, "chain"));
            let records = filed.records.entry(chain).or_default();
            records.insert(number(row, "seq"), number(row, "copies"));
        }
        let rows =
            record.look("SELECT hex(bytes) AS record FROM records WHERE kind = 'lane-gap'")?;
        for row in &rows {
            let bytes = bytes_of(&text(row, "record")).context("a record that is no bytes")?;
            let gap = NamedGap::read(&bytes).context("a gap record that cannot be read")?;
            filed.gaps.push(gap);
        }
        filed.quarantined = count(record, "quarantine")?;
        let rows = inbox.look(
            "SELECT lane, hex(chain) AS chain, seq, hex(fingerprint) AS head, filed FROM conflicts",
        )?;
        let others = rows.iter().map(|row| Other {
            of: (number(row, "lane"), text(row, "chain")),
            seq: number(row, "seq"),
            head: text(row, "head"),
            is_filed: number(row, "filed") == 1,
        });
        filed.others = others.collect();
        Ok(filed)
    }

    /// Frames in the place of others that are not filed, or whose chain the box has not given up
    /// for that reason.
    fn unexplained(&self) -> Vec<String> {
        let is_given_up = |(lane, chain): &ChainOf| {
            let forked = |gap: &NamedGap| {
                gap.lane == *lane && gap.chain == *chain && gap.reason == "outbox.forked"
            };
            self.gaps.iter().any(forked)
        };
        let others = self.others.iter();
        let wrong = others.filter(|other| !other.is_filed || !is_given_up(&other.of));
        let told = wrong.map(
            |Other {
                 of, seq, is_filed, ..
             }| {
                let (lane, chain) = of;
                let filed = if *is_filed {
                    ""
                } else {
                    ", and it is not filed"
                };
                format!(
                    "lane {lane} chain {chain}: another frame stands in the place of {seq}{filed}"
                )
            },
        );
        told.collect()
    }

    /// What boxes named as missing.
    pub(crate) fn gaps(&self) -> &[NamedGap] {
        &self.gaps
    }
}

/// Whether everything in the inbox is filed, and every resource written that follows from it.
pub(crate) fn all_is_filed(inbox: &Database, record: &Database) -> anyhow::Result<bool> {
    let lanes = |database: &Database, column: &str| -> anyhow::Result<BTreeMap<ChainOf, u64>> {
        let table = if column == "upto" { "lanes" } else { "cursors" };
        let question = format!("SELECT lane, hex(chain) AS chain, {column} AS upto FROM {table}");
        let rows = database.look(&question)?;
        let of = |row| {
            (
                (number(row, "lane"), text(row, "chain")),
                number(row, "upto"),
            )
        };
        Ok(rows.iter().map(of).collect())
    };
    let stored = lanes(inbox, "upto")?;
    let filed = lanes(record, "filed")?;
    let is_filed = |(chain, upto): (&ChainOf, &u64)| filed.get(chain).is_some_and(|at| at >= upto);
    let waiting = count(record, "unwritten")? + count(record, "reports_due")?;
    Ok(stored.iter().all(is_filed) && waiting == 0)
}

fn count(database: &Database, table: &str) -> anyhow::Result<u64> {
    let rows = database.look(&format!("SELECT count(*) AS rows FROM {table}"))?;
    Ok(rows.first().map_or(0, |row| number(row, "rows")))
}

#[cfg(test)]
mod tests {
    use super::{Filed, NamedGap, Other, Truth};
    use crate::cuts::word::{LaneWord, Word};

    fn word(saved: u64, head: &str) -> Word {
        Word {
            lanes: vec![LaneWord {
                lane: 1,
                chain: "AB".to_owned(),
                saved,
                head: head.to_owned(),
                ..LaneWord::default()
            }],
        }
    }

    fn filed(seqs: &[(u64, u64)]) -> Filed {
        let chain = (1, "AB".to_owned());
        let mut filed = Filed::default();
        filed
            .records
            .insert(chain.clone(), seqs.iter().copied().collect());
        let frames = seqs.iter().map(|(seq, _)| (*seq, format!("head-{seq}")));
        filed.frames.insert(chain, frames.collect());
        filed
    }

    fn gap(from_seq: u64, to_seq: u64, reason: &str) -> NamedGap {
        NamedGap {
            lane: 1,
            chain: "AB".to_owned(),
            from_seq,
            to_seq,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn another_frame_in_a_place_is_filed_too_and_its_chain_given_up() {
        let other = |is_filed| Other {
            of: (1, "AB".to_owned()),
            seq: 3,
            head: "head-of-another".to_owned(),
            is_filed,
        };
        let wrong = |filed: &Filed| truth().judge(filed).wrong.len();
        let mut filed = filed(&[(1, 1), (2, 1), (3, 1)]);
        filed.others.push(other(true));
        assert_eq!(wrong(&filed), 1);
        filed.gaps.push(gap(4, 3, "outbox.damaged"));
        assert_eq!(wrong(&filed), 1);
        filed.gaps.push(gap(4, 3, "outbox.forked"));
        assert_eq!(wrong(&filed), 0);
        filed.others.push(other(false));
        assert_eq!(wrong(&filed), 1);
        // what the box said last may be the one beside
        filed.others.pop();
        let mut truth = truth();
        truth.note(&word(3, "head-of-another"));
        assert_eq!(truth.judge(&filed).wrong, Vec::<String>::new());
        filed.others.clear();
        assert_eq!(truth.judge(&filed).wrong.len(), 1);
    }

    fn truth() -> Truth {
        let mut truth = Truth::default();
        truth.note(&word(2, "head-2"));
        truth.note(&word(3, "head-3"));
        truth
    }

    #[test]
    fn what_is_filed_once_is_well() {
        let outcome = truth().judge(&filed(&[(1, 1), (2, 1), (3, 1), (4, 1)]));
        assert_eq!((outcome.accepted, outcome.filed), (3, 3));
        assert_eq!((outcome.lost, outcome.duplicated), (0, 0));
        assert_eq!(outcome.wrong, Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_lost_unless_a_gap_names_it() {
        let mut filed = filed(&[(1, 1)]);
        assert_eq!(truth().judge(&filed).lost, 2);
        filed.gaps.push(gap(2, 2, ""));
        let outcome = truth().judge(&filed);
        assert_eq!((outcome.named, outcome.lost), (1, 1));
        assert_eq!(outcome.wrong.len(), 1);
    }

    #[test]
    fn what_is_filed_twice_or_is_another_frame_is_found() {
        assert_eq!(
            truth().judge(&filed(&[(1, 1), (2, 2), (3, 1)])).duplicated,
            1
        );
        let mut truth = truth();
        truth.note(&word(1, "head-of-another"));
        let outcome = truth.judge(&filed(&[(1, 1), (2, 1), (3, 1)]));
        assert_eq!(outcome.wrong.len(), 2, "{:?}", outcome.wrong);
    }
}
