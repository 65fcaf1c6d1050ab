//! What is known of one boot of a box: between which instants of this gateway's clock each
//! microsecond of its boot clock lies.
//!
//! - A fact is one moment of the box's clock with a bound on one side or on both. A word that
//!   the box says cannot arrive before it is said, and a word that the box has heard cannot
//!   be heard before it was said: an exchange bounds both sides, half its round trip wide
//!   (Cristian 1989). Facts intersect, so each one can only narrow what is known.
//! - Away from a fact its bound widens by [`DRIFT_MAX_PPM`]. The boot clock counts while the
//!   box is suspended, so suspend needs no care.
//! - A fact that contradicts the ones before it means that a clock was set, on a gateway or
//!   by a gateway that took over. The newest fact is believed, and those before are dropped.
//!
//! Bounds are against the clock of the gateway: what that one is wrong by comes on top.
//! Deliberately absent: clocks, storage, and facts across boots ([`super::boots`]).

use cardio_core::clock::UtcMicros;

/// How far a box's boot clock may run fast or slow: crystals of small computers stay within
/// 100 ppm, and the kernel never steers it by more than 500 ppm (`adjtimex`, frequency).
pub const DRIFT_MAX_PPM: u64 = 500;
/// Facts kept of one boot.
const FACTS_MAX: usize = 256;
/// Bytes of one stored fact: its micros, which sides it has, both sides.
const FACT_BYTES: usize = 25;

/// One moment of a box's clock, with what bounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Microseconds since the boot.
    pub micros: u64,
    /// It was not earlier than this.
    pub earliest: Option<UtcMicros>,
    /// It was not later than this.
    pub latest: Option<UtcMicros>,
}

/// Between which instants a moment lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Not earlier than this.
    pub earliest: Option<UtcMicros>,
    /// Not later than this.
    pub latest: Option<UtcMicros>,
}

/// What a new fact did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// It says nothing that was not known.
    Nothing,
    /// The bounds are narrower.
    Narrower,
    /// It contradicts what was known, which is dropped.
    Contradiction,
}

/// What is known of one boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootTie {
    facts: Vec<Fact>,
}

impl Bounds {
    /// What both allow; `None` when nothing is left.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self {
            earliest: self.earliest.max(other.earliest),
            latest: match (self.latest, other.latest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        };
        both.are_possible().then_some(both)
    }

    fn are_possible(&self) -> bool {
        !matches!((self.earliest, self.latest), (Some(from), Some(to)) if from > to)
    }

    /// The instant in the middle, and half the width rounded up; `None` while a side is open.
    pub fn middle(&self) -> Option<(UtcMicros, u64)> {
        let (from, to) = (self.earliest?.0, self.latest?.0);
        let width = to
            .checked_sub(from)
            .and_then(|width| u64::try_from(width).ok())?;
        let half = width.div_ceil(2);
        let middle = from.saturating_add(i64::try_from(width / 2).unwrap_or(i64::MAX));
        Some((UtcMicros(middle), half))
    }

    /// The instant in between that is nearest to `hint`.
    pub fn nearest(&self, hint: UtcMicros) -> UtcMicros {
        let from = self.earliest.map_or(hint, |from| hint.max(from));
        self.latest.map_or(from, |to| from.min(to))
    }

    /// The same bounds, for a moment that lies `by` microseconds later.
    #[must_use]
    pub fn moved(self, by: i64) -> Self {
        let moved = |at: UtcMicros| UtcMicros(at.0.saturating_add(by));
        Self {
            earliest: self.earliest.map(moved),
            latest: self.latest.map(moved),
        }
    }

    /// How far the farthest possible instant lies from `at`; `None` while a side is open.
    pub fn farthest(&self, at: UtcMicros) -> Option<u64> {
        Some(
            at.0.abs_diff(self.earliest?.0)
                .max(at.0.abs_diff(self.latest?.0)),
        )
    }
}

impl Fact {
    /// What this fact says of the moment `micros`.
    fn bounds_at(&self, micros: u64) -> Bounds {
        let (there, here) = (signed(micros), signed(self.micros));
        let passed = there.saturating_sub(here);
        let slack = signed(drift_over(micros.abs_diff(self.micros)));
        let moved = |at: UtcMicros| at.0.saturating_add(passed);
        Bounds {
            earliest: self
                .earliest
                .map(|at| UtcMicros(moved(at).saturating_sub(slack))),
            latest: self
                .latest
                .map(|at| UtcMicros(moved(at).saturating_add(slack))),
        }
    }

    const fn bounds(&self) -> Bounds {
        Bounds {
            earliest: self.earliest,
            latest: self.latest,
        }
    }

    /// Without the sides that `known` implies; `None` when nothing is left.
    fn beyond(self, known: Bounds) -> Option<Self> {
        let rest = Self {
            earliest: self
                .earliest
                .filter(|at| known.earliest.is_none_or(|known| known < *at)),
            latest: self
                .latest
                .filter(|at| known.latest.is_none_or(|known| known > *at)),
            ..self
        };
        (rest.earliest.is_some() || rest.latest.is_some()).then_some(rest)
    }
}

impl BootTie {
    /// Takes in what was exchanged with the box. A contradiction drops what was known before.
    pub fn learn(&mut self, fact: Fact) -> Learnt {
        if !fact.bounds().are_possible() {
            return Learnt::Nothing;
        }
        let known = self.bounds_at(fact.micros);
        if known.and(fact.bounds()).is_none() {
            self.facts.clear();
            self.insert(fact);
            return Learnt::Contradiction;
        }
        match fact.beyond(known) {
            None => Learnt::Nothing,
            Some(news) => {
                self.insert(news);
                Learnt::Narrower
            }
        }
    }

    /// Takes in what follows from elsewhere, unless it contradicts what is known.
    pub fn narrow(&mut self, fact: Fact) {
        let known = self.bounds_at(fact.micros);
        if known.and(fact.bounds()).is_some()
            && let Some(news) = fact.beyond(known)
        {
            self.insert(news);
        }
    }

    /// Between which instants a moment of this boot lies.
    pub fn bounds_at(&self, micros: u64) -> Bounds {
        let each = self.facts.iter().map(|fact| fact.bounds_at(micros));
        each.fold(Bounds::default(), |all, one| {
            // Facts that agree where they were taken in agree everywhere; only at the ends of
            // the number type can they part, and there the first stands.
            all.and(one).unwrap_or(all)
        })
    }

    /// The facts, in the order of the box's clock.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    fn insert(&mut self, news: Fact) {
        self.facts = std::mem::take(&mut self.facts)
            .into_iter()
            .filter_map(|fact| fact.beyond(news.bounds_at(fact.micros)))
            .collect();
        let place = self.facts.partition_point(|fact| fact.micros < news.micros);
        self.facts.insert(place, news);
        if self.facts.len() > FACTS_MAX {
            self.drop_one();
        }
    }

    /// Drops the fact that its neighbours come nearest to saying too. The first and the last
    /// stay.
    fn drop_one(&mut self) {
        let worth = |around: &[Fact]| match around {
            [before, fact, after] => widening(fact, before, after),
            _ => u64::MAX,
        };
        let worths = self.facts.windows(3).map(worth).enumerate();
        if let Some((before, _)) = worths.min_by_key(|(_, worth)| *worth) {
            self.facts.remove(before + 1);
        }
    }

    /// The bytes to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.facts.len().saturating_mul(FACT_BYTES));
        for fact in &self.facts {
            let sides = u8::from(fact.earliest.is_some()) | u8::from(fact.latest.is_some()) << 1;
            bytes.extend(fact.micros.to_be_bytes());
            bytes.push(sides);
            bytes.extend(fact.earliest.map_or(0, |at| at.0).to_be_bytes());
            bytes.extend(fact.latest.map_or(0, |at| at.0).to_be_bytes());
        }
        bytes
    }

    /// What [`BootTie::to_bytes`] kept; `None` when the bytes are something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(FACT_BYTES) || bytes.len() / FACT_BYTES > FACTS_MAX {
            return None;
        }
        let facts = bytes
            .chunks_exact(FACT_BYTES)
            .map(read)
            .collect::<Option<_>>()?;
        Some(Self { facts })
    }
}

/// What would be lost without a fact, in microseconds: how much wider its neighbours alone
/// bound its moment, and how far they may drift apart in the gap that is left.
fn widening(fact: &Fact, before: &Fact, after: &Fact) -> u64 {
    let (one, other) = (before.bounds_at(fact.micros), after.bounds_at(fact.micros));
    let rest = one.and(other).unwrap_or(one);
    let side = |mine: Option<UtcMicros>, theirs: Option<UtcMicros>| match (mine, theirs) {
        (None, _) => 0,
        (Some(_), None) => u64::MAX / 2,
        (Some(mine), Some(theirs)) => mine.0.abs_diff(theirs.0).min(u64::MAX / 2),
    };
    side(fact.earliest, rest.earliest)
        .saturating_add(side(fact.latest, rest.latest))
        .saturating_add(drift_over(after.micros.saturating_sub(before.micros)).saturating_mul(4))
}

fn read(row: &[u8]) -> Option<Fact> {
    let (micros, rest) = row.split_first_chunk()?;
    let (sides, rest) = rest.split_first()?;
    let (earliest, rest) = rest.split_first_chunk()?;
    let latest = rest.first_chunk()?;
    let side =
        |bit: u8, at: &[u8; 8]| (sides & bit != 0).then(|| UtcMicros(i64::from_be_bytes(*at)));
    Some(Fact {
        micros: u64::from_be_bytes(*micros),
        earliest: side(1, earliest),
        latest: side(2, latest),
    })
}

/// How far a box's clock may have drifted over a stretch, in microseconds, rounded up.
pub const fn drift_over(micros: u64) -> u64 {
    micros.div_ceil(1_000_000 / DRIFT_MAX_PPM)
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
