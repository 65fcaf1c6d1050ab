//! The proof that what is stored is whole: every chain of every box, walked frame by frame.
//!
//! * Each frame must be signed by its box, stand in its place, and name the one before it.
//! * A number that is not stored must be named as missing, as the box said it was lost.
//! * Where a chain stands without holes (which is what boxes were acknowledged) must be the
//!   fingerprint of the frame there.
//! * Frames beyond the first hole are walked too; a hole there only waits to be filled.
//! * A chain that has ended may hold two histories of its box: where the second begins the walk
//!   begins anew, and what stands beside it must be filed. That is not a fault; it is shown.
//!
//! Reads, and changes nothing. Deliberately absent: opening frames.

use cardio_wire::chain::{ChainError, ChainWalk};
use cardio_wire::envelope;
use cardio_wire::keys::VerifyingKey;
use serde_json::{Value, json};

use crate::db::{Connection, DbError, Place, Readers, values};
use crate::inbox::{LaneRow, boxes_of, checkpoint, lane_rows};
use crate::keys::hex;

/// Frames that are held in memory at once.
const BATCH: i64 = 64;

/// Why a chain is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable identifier.
    pub code: &'static str,
    /// In words.
    pub why: String,
}

/// What was found of one chain.
#[derive(Clone, Debug)]
pub struct ChainProof {
    /// The box.
    pub name: String,
    row: LaneRow,
    /// Frames that were walked.
    pub frames: u64,
    /// Numbers that the box said it had lost, both ends included.
    pub missing: Vec<(u64, u64)>,
    /// Other frames that claim the place of a stored one and are not filed.
    pub conflicts: u64,
    /// Other frames that claim the place of a stored one and are filed beside it.
    pub conflicts_filed: u64,
    /// Frames that came in frames of a newer chain.
    pub carried: u64,
    /// The first place of which the box made two frames, or that does not follow from the one
    /// before it, in a chain that has ended.
    pub forked_at: Option<u64>,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
}

impl ChainProof {
    /// Whether nothing is wrong.
    pub const fn is_whole(&self) -> bool {
        self.fault.is_none() && self.conflicts == 0
    }

    /// As `chain verify --json` shows it.
    pub fn shown(&self) -> Value {
        let head = &self.row.head;
        json!({
            "box": self.name,
            "lane": head.lane.name(),
            "chain": hex(&head.chain.0),
            "frames": self.frames,
            "upto": head.upto,
            "head": head.head.map(|head| hex(&head)),
            "missing": self.missing,
            "ended": head.ended,
            "forked_at": self.forked_at,
            "carried": self.carried,
            "conflicts": self.conflicts,
            "conflicts_filed": self.conflicts_filed,
            "fault": self.fault.as_ref().map(|fault| fault.code),
            "why": self.fault.as_ref().map(|fault| &fault.why),
        })
    }
}

/// Walks every chain of an inbox, or those of one box.
///
/// # Errors
/// [`DbError`] when the inbox cannot be read.
pub fn verify(inbox: &Place, of: Option<&str>) -> Result<Vec<ChainProof>, DbError> {
    Readers::of(inbox).read(|connection| {
        let boxes = boxes_of(connection)?;
        let mut proofs = Vec::new();
        for row in lane_rows(connection)? {
            let known = boxes.iter().find(|one| one.known.id == row.device);
            let Some(known) = known.map(|one| &one.known) else {
                return Err(DbError::Damaged {
                    what: "box of a lane",
                });
            };
            if of.is_none_or(|name| name == known.name) {
                proofs.push(walk(connection, row, &known.name, known.frame_key)?);
            }
        }
        proofs.sort_by(|a, b| (&a.name, a.row.head.lane).cmp(&(&b.name, b.row.head.lane)));
        Ok(proofs)
    })
}

fn walk(
    connection: &Connection,
    row: LaneRow,
    name: &str,
    key: VerifyingKey,
) -> Result<ChainProof, DbError> {
    let missing = missing(connection, &row)?;
    let mut steps = Steps {
        key,
        walk: ChainWalk::new(key),
        row,
        missing: &missing,
        last: checkpoint(connection, row.key())?.map_or(0, |cut| cut.upto),
        frames: 0,
        forked_at: None,
    };
    let fault = steps.run(connection)?;
    let (frames, forked_at) = (steps.frames, steps.forked_at);
    let beside = beside(connection, &row)?;
    Ok(ChainProof {
        name: name.to_owned(),
        row,
        frames,
        conflicts: beside.waiting,
        conflicts_filed: beside.filed,
        carried: beside.carried,
        forked_at: match (forked_at, beside.first) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        missing,
        fault,
    })
}

struct Steps<'a> {
    key: VerifyingKey,
    walk: ChainWalk,
    row: LaneRow,
    missing: &'a [(u64, u64)],
    last: u64,
    frames: u64,
    forked_at: Option<u64>,
}

impl Steps<'_> {
    fn run(&mut self, connection: &Connection) -> Result<Option<Fault>, DbError> {
        loop {
            let batch = frames(connection, &self.row, self.last)?;
            if batch.is_empty() {
                return Ok(self.at_the_end());
            }
            for (seq, bytes) in batch {
                if let Some(fault) = self.step(seq, &bytes) {
                    return Ok(Some(fault));
                }
            }
        }
    }

    fn step(&mut self, seq: u64, bytes: &[u8]) -> Option<Fault> {
        if seq != self.last.saturating_add(1) {
            if let Some(fault) = self.hole(self.last.saturating_add(1), seq.saturating_sub(1)) {
                return Some(fault);
            }
            self.walk = ChainWalk::new(self.key);
        }
        let mut stepped = self.walk.step(bytes);
        if self.row.head.ended && matches!(stepped, Err(ChainError::Link { .. })) {
            self.forked_at.get_or_insert(seq);
            self.walk = ChainWalk::new(self.key);
            stepped = self.walk.step(bytes);
        }
        let header = match stepped {
            Ok(header) => header,
            Err(error) => {
                let why = format!("frame {seq}: {error}");
                return Some(Fault {
                    code: error.code(),
                    why,
                });
            }
        };
        let here = (
            self.row.device,
            self.row.head.lane,
            self.row.head.chain,
            seq,
        );
        if (header.device, header.lane, header.chain, header.seq) != here {
            let why = format!("frame {seq} is stored in the place of another");
            return Some(Fault {
                code: "chain.place",
                why,
            });
        }
        (self.last, self.frames) = (seq, self.frames + 1);
        let stands = self.row.head;
        let is_head = seq == stands.upto && stands.head.is_some();
        if is_head && stands.head != Some(envelope::fingerprint(bytes)) {
            let why = format!("what was acknowledged up to {seq} has another fingerprint");
            return Some(Fault {
                code: "chain.head",
                why,
            });
        }
        None
    }

    /// Numbers that are not stored: below what was acknowledged they must be named.
    fn hole(&self, from: u64, to: u64) -> Option<Fault> {
        let acknowledged = to.min(self.row.head.upto);
        let unnamed = (from..=acknowledged).find(|seq| {
            let named = |(first, last): &(u64, u64)| (first..=last).contains(&seq);
            !self.missing.iter().any(named)
        });
        unnamed.map(|seq| Fault {
            code: "chain.hole",
            why: format!(
                "frame {seq} was acknowledged, is not stored, and nobody named it missing"
            ),
        })
    }

    fn at_the_end(&self) -> Option<Fault> {
        self.hole(self.last.saturating_add(1), self.row.head.upto)
    }
}

fn frames(
    connection: &Connection,
    row: &LaneRow,
    after: u64,
) -> Result<Vec<(u64, Vec<u8>)>, DbError> {
    let found = connection.rows(
        "read frames",
        "SELECT seq, bytes FROM frames
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND seq > ?4 ORDER BY seq LIMIT ?5",
        values![row.device, row.head.lane, row.head.chain, after, BATCH],
    )?;
    found
        .into_iter()
        .map(|mut row| Ok((row.take(0)?, row.take(1)?)))
        .collect()
}

fn missing(connection: &Connection, row: &LaneRow) -> Result<Vec<(u64, u64)>, DbError> {
    let found = connection.rows(
        "read what is missing",
        "SELECT from_seq, to_seq FROM missing
         WHERE box = ?1 AND lane = ?2 AND chain = ?3 ORDER BY from_seq",
        values![row.device, row.head.lane, row.head.chain],
    )?;
    found
        .into_iter()
        .map(|mut row| Ok((row.take(0)?, row.take(1)?)))
        .collect()
}

/// What is stored of a chain beside its walk.
struct Beside {
    waiting: u64,
    filed: u64,
    carried: u64,
    first: Option<u64>,
}

fn beside(connection: &Connection, row: &LaneRow) -> Result<Beside, DbError> {
    let act = "count what stands beside a chain";
    let counts = connection.row(
        act,
        "SELECT (SELECT count(*) FROM conflicts
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND filed = 0),
                (SELECT count(*) FROM conflicts
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND filed = 1),
                (SELECT count(*) FROM frames
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND carried = 1)
                + (SELECT count(*) FROM conflicts
                 WHERE box = ?1 AND lane = ?2 AND chain = ?3 AND carried = 1),
                (SELECT min(seq) FROM conflicts WHERE box = ?1 AND lane = ?2 AND chain = ?3)",
        values![row.device, row.head.lane, row.head.chain],
    )?;
    let mut counts = counts.ok_or(DbError::Damaged { what: act })?;
    Ok(Beside {
        waiting: counts.take(0)?,
        filed: counts.take(1)?,
        carried: counts.take(2)?,
        first: counts.take(3)?,
    })
}
