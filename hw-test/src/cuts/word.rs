//! What the box holds for saved and for acknowledged, and whether a copy keeps its word.
//!
//! Read with the `sqlite3` command from the box's own database while it runs: a commit is seen
//! there when it has returned, so what is seen is what the box would say.

use std::path::Path;

use serde_json::Value;

use crate::sql::{self, number, text};

/// What the box says at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Each lane.
    pub(crate) lanes: Vec<LaneWord>,
}

/// What the box says of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneWord {
    /// Its number.
    pub(crate) lane: u64,
    /// Its chain, in hexadecimal digits.
    pub(crate) chain: String,
    /// The oldest frame that the box still has.
    pub(crate) oldest: u64,
    /// Frames saved in this chain so far.
    pub(crate) saved: u64,
    /// Fingerprint of the last of them, in hexadecimal digits.
    pub(crate) head: String,
    /// The last frame that the gateway's signed acknowledgement covers; 0 when there is none.
    pub(crate) acked: u64,
    /// Its fingerprint.
    pub(crate) acked_head: String,
}

/// What a copy made of the word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Records that should be there and are not, or are others.
    pub(crate) lost: u64,
    /// Whether the copy holds more than was said.
    pub(crate) beyond: bool,
    /// What is wrong, one line each.
    pub(crate) wrong: Vec<String>,
}

const BOX_LANES: &str = "SELECT lane, hex(chain) AS chain, oldest, next, hex(head) AS head, acked, \
     hex(acked_head) AS acked_head, (SELECT count(*) FROM frame WHERE place \
     BETWEEN (lane << 48) + oldest AND (lane << 48) + next - 1) AS kept FROM lane";

impl Word {
    /// What the running box with this database says now.
    pub(crate) fn of(outbox: &Path) -> anyhow::Result<Self> {
        let rows = sql::look(outbox, BOX_LANES)?;
        Ok(Self {
            lanes: rows.iter().map(LaneWord::of).collect(),
        })
    }

    /// Frames saved since the chains began.
    pub(crate) fn saved(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.saved).sum()
    }

    /// Frames that the gateway has acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.acked).sum()
    }

    /// Looks for everything that was saved in a copy of the box's database.
    pub(crate) fn in_box(&self, outbox: &Path) -> Kept {
        let mut kept = Kept::default();
        kept.check_integrity(outbox);
        let rows = match sql::read(outbox, BOX_LANES) {
            Ok(rows) => rows,
            Err(err) => {
                kept.lose(self.saved(), format!("the copy cannot be read: {err:#}"));
                return kept;
            }
        };
        for said in &self.lanes {
            let found = rows.iter().find(|row| number(row, "lane") == said.lane);
            said.in_box(outbox, found, &mut kept);
        }
        kept
    }

    /// Looks for everything that was acknowledged in a copy of the gateway's inbox.
    pub(crate) fn in_inbox(&self, inbox: &Path) -> Kept {
        let mut kept = Kept::default();
        kept.check_integrity(inbox);
        for said in self.lanes.iter().filter(|said| said.acked > 0) {
            said.in_inbox_from(1, inbox, &mut kept);
        }
        kept
    }

    /// Whether the running gateway with this inbox holds everything that it has acknowledged and
    /// the box still has: one from an old backup does not, until it has been sent again. What a
    /// full card made the box delete is gone, and is named.
    pub(crate) fn is_held_by(&self, inbox: &Path) -> bool {
        let mut kept = Kept::default();
        for said in self.lanes.iter().filter(|said| said.acked >= said.oldest) {
            said.in_inbox_from(said.oldest, inbox, &mut kept);
        }
        kept.wrong.is_empty()
    }
}

impl LaneWord {
    fn of(row: &Value) -> Self {
        Self {
            lane: number(row, "lane"),
            chain: text(row, "chain"),
            oldest: number(row, "oldest"),
            saved: number(row, "next").saturating_sub(1),
            head: text(row, "head"),
            acked: number(row, "acked"),
            acked_head: text(row, "acked_head"),
        }
    }

    fn in_box(&self, outbox: &Path, found: Option<&Value>, kept: &mut Kept) {
        let Some(found) = found.filter(|row| text(row, "chain") == self.chain) else {
            kept.lose(
                self.saved,
                format!("lane {}: another chain or none", self.lane),
            );
            return;
        };
        let there = Self::of(found);
        if there.saved < self.saved {
            let lost = self.saved - there.saved;
            kept.lose(
                lost,
                format!("lane {}: the last {lost} are missing", self.lane),
            );
            return;
        }
        kept.beyond |= there.saved > self.saved;
        let range = number(found, "next").saturating_sub(number(found, "oldest"));
        let holes = range.saturating_sub(number(found, "kept"));
        if holes > 0 {
            kept.lose(
                holes,
                format!("lane {}: {holes} frame(s) missing inside", self.lane),
            );
        }
        let question = format!(
            "SELECT hex(fingerprint) AS head FROM frame WHERE place = ({} << 48) + {}",
            self.lane, self.saved
        );
        kept.check_head(self.lane, self.saved, &self.head, outbox, &question);
    }

    fn in_inbox_from(&self, oldest: u64, inbox: &Path, kept: &mut Kept) {
        let question = format!(
            "SELECT count(DISTINCT seq) AS frames FROM frames \
             WHERE lane = {} AND chain = x'{}' AND seq BETWEEN {oldest} AND {}",
            self.lane, self.chain, self.acked
        );
        let frames = match sql::look(inbox, &question) {
            Ok(rows) => rows.first().map_or(0, |row| number(row, "frames")),
            Err(err) => {
                kept.lose(self.acked, format!("the copy cannot be read: {err:#}"));
                return;
            }
        };
        let promised = (self.acked + 1).saturating_sub(oldest);
        if frames < promised {
            let lost = promised - frames;
            kept.lose(
                lost,
                format!("lane {}: {lost} acknowledged are missing", self.lane),
            );
            return;
        }
        let question = format!(
            "SELECT hex(fingerprint) AS head FROM frames \
             WHERE lane = {} AND chain = x'{}' AND seq = {}",
            self.lane, self.chain, self.acked
        );
        kept.check_head(self.lane, self.acked, &self.acked_head, inbox, &question);
    }
}

impl Kept {
    fn lose(&mut self, records: u64, why: String) {
        self.lost += records;
        self.wrong.push(why);
    }

    fn check_integrity(&mut self, database: &Path) {
        match sql::integrity(database) {
            Ok(said) if said == "ok" => {}
            Ok(said) => self.wrong.push(format!("integrity_check: {said}")),
            Err(err) => self.wrong.push(format!("integrity_check: {err:#}")),
        }
    }

    fn check_head(&mut self, lane: u64, at: u64, said: &str, database: &Path, question: &str) {
        if at == 0 {
            return;
        }
        let found = sql::look(database, question)
            .ok()
            .and_then(|rows| Some(text(rows.first()?, "head")));
        if found.as_deref() != Some(said) {
            self.lose(1, format!("lane {lane}: frame {at} is another one"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LaneWord;
    use serde_json::json;

    #[test]
    fn a_lane_that_never_stored_has_saved_nothing() {
        let row = json!({"lane": 2, "chain": "AB", "next": 1, "head": "00", "acked": 0});
        let word = LaneWord::of(&row);
        assert_eq!((word.lane, word.saved, word.acked), (2, 0, 0));
    }
}
