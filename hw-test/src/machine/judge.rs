//! What the sensors say they sent against what the gateway stored, sample by sample.
//!
//! A recording is followed from its first sample: each run must be the very rows that were sent
//! at the place where the gaps before it put it, each gap must have a cause that the ledger knows,
//! and nothing may be left at the end. Records are read with `cardio-wire`, because sounds are no
//! FHIR resource; every comparison is made here. Deliberately absent: leads that follow from
//! others, which the judge of visits knows.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use cardio_wire::record::Record;

use crate::judge::ledger::{Ledger, Lost};
use crate::soak::gap::bytes_of;
use crate::sql;

/// A part of a recording, in the order of its time line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Contiguous samples.
    Run(Vec<i32>),
    /// An absence.
    Gap {
        len: u64,
        uncertainty: u64,
        cause: &'static str,
    },
}

/// What is stored of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    /// One list for each recording, in the order of time.
    recordings: Vec<Vec<Piece>>,
    /// Frames that came again and were left out.
    pub(super) repeated: u64,
    /// Recordings that say that they ended.
    pub(super) ended: usize,
}

/// A gap that was found where it is stated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its first sample on the sensor's time line.
    pub(super) from: u64,
    /// Samples that are missing.
    pub(super) missing: u64,
    /// What the record says: length, how far it may be wrong, cause.
    pub(super) stated: (u64, u64, &'static str),
    /// Samples in it that the radio's daemon had.
    pub(super) sent: u64,
    /// Why the sensor did not send the others.
    pub(super) unsent: Vec<String>,
}

impl Found {
    /// Whether the sensor left in it.
    pub(super) fn is_of_sensor_that_left(&self) -> bool {
        self.unsent.iter().any(|cause| cause == LEFT)
    }
}

/// The outcome for one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub(super) sent: u64,
    pub(super) equal: u64,
    pub(super) gaps: Vec<Found>,
    /// What is wrong, one line each.
    pub(super) differences: Vec<String>,
}

/// Reads what the gateway's database holds of each source.
pub(super) fn stored(database: &Path) -> anyhow::Result<BTreeMap<String, Stored>> {
    let rows = sql::look(database, "SELECT hex(bytes) AS bytes FROM records")?;
    let records = rows
        .iter()
        .map(|row| {
            let bytes = bytes_of(&sql::text(row, "bytes")).context("bytes without digits")?;
            Record::decode(&bytes).context("a stored record cannot be read")
        })
        .collect::<anyhow::Result<Vec<Record>>>()?;
    Ok(by_source(&records))
}

fn by_source(records: &[Record]) -> BTreeMap<String, Stored> {
    let mut begun: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::AcquisitionStarted(started) => Some(started),
            _ => None,
        })
        .collect();
    begun.sort_by_key(|started| started.head.at.utc.0);
    let mut sources: BTreeMap<String, Stored> = BTreeMap::new();
    for started in begun {
        let id = started.acquisition.id;
        let source = started.acquisition.source.as_str().to_owned();
        let source = sources.entry(source).or_default();
        let mut pieces = Vec::new();
        for record in records {
            match record {
                Record::Segment(one) if one.segment.acquisition == id => {
                    let block = &one.segment.block;
                    let counts = block.leads.first().cloned().unwrap_or_default();
                    pieces.push((block.first.0, Piece::Run(counts)));
                }
                Record::Gap(one) if one.acquisition == id => {
                    let gap = &one.gap;
                    let piece = Piece::Gap {
                        len: gap.len.0,
                        uncertainty: gap.uncertainty.0,
                        cause: gap.cause.name(),
                    };
                    pieces.push((gap.from.0, piece));
                }
                Record::AcquisitionEnded(one) if one.acquisition == id => {
                    source.repeated += one.repeated_frames;
                    source.ended += 1;
                }
                _ => {}
            }
        }
        pieces.sort_by_key(|(first, _)| *first);
        let pieces = pieces.into_iter().map(|(_, piece)| piece);
        source.recordings.push(joined(pieces));
    }
    sources
}

/// Neighbours of a kind become one: a segment ends where its second does, a gap perhaps where its
/// cause becomes another.
fn joined(pieces: impl Iterator<Item = Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (Some(Piece::Run(before)), Piece::Run(behind)) => before.extend(behind),
            (
                Some(Piece::Gap {
                    len,
                    uncertainty,
                    cause,
                }),
                Piece::Gap {
                    len: more,
                    uncertainty: unsure,
                    cause: other,
                },
            ) => {
                *len += more;
                *uncertainty += unsure;
                // A sensor that was away is the graver cause.
                if other == AWAY {
                    *cause = other;
                }
            }
            (_, piece) => all.push(piece),
        }
    }
    all
}

/// The cause of a gap where the sensor was away.
const AWAY: &str = "source-lost";
/// Where the sensor was there and its values did not arrive.
const LOST: [&str; 2] = ["frames-lost", "fewer-than-time"];

/// What the ledger says of a sensor that left.
const LEFT: &str = "disconnect";

/// Where the comparison stands.
struct Walk<'l> {
    ledger: &'l Ledger,
    /// The next row that was sent.
    next: usize,
    gap: Option<(u64, u64, &'static str)>,
    verdict: Verdict,
}

/// Follows what is stored of a source along what it sent.
pub(super) fn compare(ledger: &Ledger, stored: &Stored) -> anyhow::Result<Verdict> {
    if ledger.leads.len() != 1 {
        bail!("this judge knows sensors of one row");
    }
    let mut walk = Walk {
        ledger,
        next: 0,
        gap: None,
        verdict: Verdict {
            sent: count(ledger.sent.len()),
            ..Verdict::default()
        },
    };
    for (number, recording) in stored.recordings.iter().enumerate() {
        if number > 0 {
            let line = "the recording does not go on, another begins".to_owned();
            walk.verdict.differences.push(line);
        }
        for piece in recording {
            match piece {
                Piece::Gap {
                    len,
                    uncertainty,
                    cause,
                } => walk.gap = Some((*len, *uncertainty, cause)),
                Piece::Run(counts) => walk.run(counts),
            }
        }
    }
    let tail = ledger.sent.len().saturating_sub(walk.next);
    if tail > 0 {
        let line = format!("the last {tail} sample(s) that were sent are not stored");
        walk.verdict.differences.push(line);
    }
    Ok(walk.verdict)
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Walk<'_> {
    /// The place on the sensor's time line behind what was compared last.
    fn at(&self) -> u64 {
        let last = self
            .next
            .checked_sub(1)
            .and_then(|at| self.ledger.sent.get(at));
        match last {
            Some(row) => row.at + 1,
            None => self.ledger.sent.first().map_or(0, |row| row.at),
        }
    }

    fn run(&mut self, counts: &[i32]) {
        let from = self.at();
        let stated = self.gap.take();
        let (len, uncertainty, _) = stated.unwrap_or((0, 0, ""));
        let expected = from + len;
        // Among places where a flat run would fit, the one that the record states.
        let mut places: Vec<usize> = (self.next..self.ledger.sent.len())
            .filter(|place| {
                let at = self.ledger.sent.get(*place).map(|row| row.at);
                at.is_some_and(|at| at.abs_diff(expected) <= uncertainty)
            })
            .collect();
        places.sort_by_key(|place| {
            let at = self.ledger.sent.get(*place).map_or(0, |row| row.at);
            at.abs_diff(expected)
        });
        let Some(place) = places.into_iter().find(|place| self.fits(*place, counts)) else {
            let line = format!(
                "{} sample(s) are stored at {expected}+-{uncertainty} that the sensor did not send there",
                counts.len()
            );
            self.verdict.differences.push(line);
            return;
        };
        self.verdict.equal += count(counts.len());
        if let Some(stated) = stated {
            self.found(from, place, stated);
        }
        self.next = place + counts.len();
    }

    /// Whether these rows were sent from a place on, without a hole in the sensor's time.
    fn fits(&self, place: usize, counts: &[i32]) -> bool {
        let Some(rows) = self.ledger.sent.get(place..place + counts.len()) else {
            return false;
        };
        let first = rows.first().map_or(0, |row| row.at);
        (first..)
            .zip(rows)
            .zip(counts)
            .all(|((at, row), count)| row.at == at && row.counts.as_slice() == [*count])
    }

    /// A gap is where it is said to be: the ledger must know why.
    fn found(&mut self, from: u64, place: usize, stated: (u64, u64, &'static str)) {
        let until = self.ledger.sent.get(place).map_or(from, |row| row.at);
        let sent = count(place - self.next);
        let overlaps = |lost: &&Lost| lost.from < until && from < lost.from + lost.len;
        let mut unsent: Vec<String> = Vec::new();
        for lost in self.ledger.lost.iter().filter(overlaps) {
            if !unsent.contains(&lost.cause) {
                unsent.push(lost.cause.clone());
            }
        }
        let is_lost = LOST.contains(&stated.2);
        let is_right = if unsent.is_empty() {
            is_lost && sent > 0
        } else if unsent.iter().any(|cause| *cause == LEFT) {
            stated.2 == AWAY
        } else {
            // Nobody was connected, or nobody subscribed: a host that subscribes anew sees the
            // sensor's counter jump, and the sensor was there.
            is_lost || stated.2 == AWAY
        };
        if !is_right {
            let line = format!(
                "{} sample(s) at {from} are missing as {}, the sensor says {}",
                until - from,
                stated.2,
                if unsent.is_empty() {
                    "sent".to_owned()
                } else {
                    unsent.join(", ")
                }
            );
            self.verdict.differences.push(line);
        }
        self.verdict.gaps.push(Found {
            from,
            missing: until - from,
            stated,
            sent,
            unsent,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Stored, Verdict, compare, joined};
    use crate::judge::compare::SentRow;
    use crate::judge::ledger::{Ledger, Lost};

    /// A sensor that sent everything but `lost`; its counts are their places.
    fn ledger(lost: &[(u64, u64, &str)]) -> Ledger {
        let is_lost = |at: u64| {
            lost.iter()
                .any(|(from, len, _)| (*from..from + len).contains(&at))
        };
        Ledger {
            leads: vec!["I".to_owned()],
            sent: (0..100)
                .filter(|at| !is_lost(*at))
                .map(|at| SentRow {
                    at,
                    counts: vec![i32::try_from(at).unwrap()],
                })
                .collect(),
            lost: lost
                .iter()
                .map(|(from, len, cause)| Lost {
                    from: *from,
                    len: *len,
                    cause: (*cause).to_owned(),
                })
                .collect(),
            ..Ledger::default()
        }
    }

    fn run(range: std::ops::Range<i32>) -> Piece {
        Piece::Run(range.collect())
    }

    const fn gap(len: u64, uncertainty: u64, cause: &'static str) -> Piece {
        Piece::Gap {
            len,
            uncertainty,
            cause,
        }
    }

    fn judge(ledger: &Ledger, pieces: &[Piece]) -> Verdict {
        let stored = Stored {
            recordings: vec![joined(pieces.iter().cloned())],
            ..Stored::default()
        };
        compare(ledger, &stored).unwrap()
    }

    #[test]
    fn what_was_sent_and_stored_whole_is_equal() {
        let verdict = judge(&ledger(&[]), &[run(0..40), run(40..100)]);
        assert_eq!((verdict.equal, verdict.differences), (100, vec![]));
    }

    #[test]
    fn a_sensor_that_was_away_is_a_gap_of_that_cause_and_length() {
        let away = ledger(&[(30, 20, "disconnect")]);
        let verdict = judge(
            &away,
            &[run(0..30), gap(22, 3, "source-lost"), run(50..100)],
        );
        assert_eq!(verdict.differences, Vec::<String>::new());
        assert_eq!((verdict.gaps[0].from, verdict.gaps[0].missing), (30, 20));
        for wrong in [gap(24, 3, "source-lost"), gap(20, 0, "frames-lost")] {
            let verdict = judge(&away, &[run(0..30), wrong, run(50..100)]);
            assert!(!verdict.differences.is_empty());
        }
    }

    #[test]
    fn a_host_that_subscribes_anew_may_call_its_gap_lost_frames() {
        let unheard = ledger(&[(30, 5, "not-connected")]);
        let pieces = [run(0..25), gap(10, 0, "frames-lost"), run(35..100)];
        let verdict = judge(&unheard, &pieces);
        assert_eq!(verdict.differences, Vec::<String>::new());
        let pieces = [run(0..25), gap(10, 0, "box-stopped"), run(35..100)];
        assert!(!judge(&unheard, &pieces).differences.is_empty());
    }

    #[test]
    fn values_that_the_daemon_lost_are_frames_lost() {
        let verdict = judge(
            &ledger(&[]),
            &[run(0..30), gap(10, 0, "frames-lost"), run(40..100)],
        );
        assert_eq!(verdict.differences, Vec::<String>::new());
        assert_eq!(verdict.gaps[0].sent, 10);
        let nothing = judge(&ledger(&[]), &[run(0..30), run(40..100)]);
        assert!(!nothing.differences.is_empty());
    }

    #[test]
    fn a_head_a_tail_or_a_count_that_is_wrong_is_found() {
        let sent = ledger(&[]);
        for pieces in [vec![run(1..100)], vec![run(0..99)], vec![]] {
            assert!(!judge(&sent, &pieces).differences.is_empty(), "{pieces:?}");
        }
        let mut counts: Vec<i32> = (0..100).collect();
        counts[70] += 1;
        assert!(!judge(&sent, &[Piece::Run(counts)]).differences.is_empty());
    }
}
