//! From candidates to beats: what a candidate looks like, held against a learnt function.
//!
//! As in Pan and Tompkins 1985 and Hamilton 2002 the levels of beats and of noise are
//! followed apart, forms are compared and the usual interval is known. What is ours: every
//! candidate is judged once, [`HORIZON`] after it, when those behind it are known too, and
//! the judgement is a sum of small trees over [`FEATURES`], learnt by `examples/train`.
//! Deliberately absent: the signal itself.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::front::Candidate;
use super::shape::Families;
use crate::forest::Forest;
use crate::num;

/// How long after a candidate it is judged: 0.72 s on the working grid.
pub(crate) const HORIZON: u64 = 180;
/// How much signal is looked at before the first judgement: 2.4 s.
pub(crate) const LEARNING: u64 = 600;

/// What is looked at, in this order: logarithms of ratios, times in seconds, correlations.
pub const FEATURES: [&str; 28] = [
    "energy over beats",
    "slope over beats",
    "energy over noise",
    "time since last beat",
    "the same over usual interval",
    "energy over last beat",
    "slope over last beat",
    "time to next candidate",
    "its energy over this",
    "largest energy ahead over this",
    "likeness to usual form",
    "likeness to nearest form",
    "band level over beats",
    "width over beats",
    "time since candidate before",
    "its energy over this",
    "interval that refusal would leave",
    "span over beats",
    "height over beats",
    "fast noise over beats",
    "step of baseline over beats",
    "likeness of next candidate",
    "largest energy of last half second over this",
    "share of nearest form",
    "slope of next candidate over this",
    "steepest of last half second over this",
    "energy over beats of the last minute",
    "time since last beat over interval of the last minute",
];

/// Place of "likeness to nearest form".
const NEAREST_FORM: usize = 11;
/// Beats and noise peaks that make up a level.
const REMEMBERED: usize = 8;
/// The heart cannot beat again sooner: 180 ms.
const REFRACTORY: u64 = 45;
/// Without a beat for this long the level of beats is learnt anew: 4 s.
const LOST: u64 = 1_000;
/// Candidates below this share of the level of beats are not learnt from when lost, since a
/// heart that stands still has P waves. From eight seconds on the share halves every four:
/// what was taken for beats may have been noise.
const ASYSTOLE_SHARE: f64 = 0.12;
const HALVINGS: u64 = 3;
/// Below this energy, in millivolts a sample, nothing is a beat.
const FLOOR: f64 = 0.0015;
/// A candidate above this share of the level of beats would do as the next beat.
const STRONG: f64 = 0.3;
/// Times are told up to this, in working samples: 3 s.
const LONGEST: f64 = 750.0;

/// A short memory with a median.
#[derive(Clone, Debug, Default)]
struct Memory(VecDeque<f64>);

impl Memory {
    fn push(&mut self, value: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    fn median(&self) -> Option<f64> {
        let mut sorted = [0.0; REMEMBERED];
        let mut count = 0;
        for (place, value) in sorted.iter_mut().zip(&self.0) {
            *place = *value;
            count += 1;
        }
        sorted
            .get_mut(..count)
            .filter(|values| !values.is_empty())
            .map(num::median)
    }
}

/// A memory of about a minute: the middle of the middles of eight.
#[derive(Clone, Debug, Default)]
struct LongMemory {
    newest: Memory,
    since: usize,
    middles: Memory,
}

impl LongMemory {
    fn push(&mut self, value: f64) {
        self.newest.push(value);
        self.since += 1;
        if self.since == REMEMBERED {
            self.since = 0;
            self.middles.push(self.newest.median().unwrap_or(value));
        }
    }

    fn median(&self) -> Option<f64> {
        self.middles.median().or_else(|| self.newest.median())
    }
}

/// What is known of the beats so far.
#[derive(Clone, Debug, Default)]
struct Levels {
    energy: Memory,
    slope: Memory,
    span: Memory,
    height: Memory,
    noise: Memory,
    intervals: Memory,
    minute_energy: LongMemory,
    minute_intervals: LongMemory,
}

/// A candidate that was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) candidate: Candidate,
    pub(crate) features: [f64; FEATURES.len()],
    /// Logarithm of the odds of a beat.
    pub(crate) score: f64,
    pub(crate) is_beat: bool,
}

impl Judged {
    /// Likeness to the nearest form that beats have had.
    pub(crate) const fn likeness(&self) -> f64 {
        self.features[NEAREST_FORM]
    }
}

/// The judge.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    waiting: VecDeque<Candidate>,
    levels: Levels,
    families: Families,
    /// The last beat, and refused candidates of the last half second.
    last: Option<Candidate>,
    before: Option<Candidate>,
    recent: VecDeque<Candidate>,
    learnt: bool,
    forest: Arc<Forest>,
}

/// The trees of the file, read once.
pub(crate) fn reviewed_forest() -> Arc<Forest> {
    static FOREST: OnceLock<Arc<Forest>> = OnceLock::new();
    let read = || Forest::parse(include_str!("../../models/qrs.txt")).unwrap_or_default();
    Arc::clone(FOREST.get_or_init(|| Arc::new(read())))
}

impl Judge {
    pub(crate) fn new(forest: Arc<Forest>) -> Self {
        Self {
            waiting: VecDeque::new(),
            levels: Levels::default(),
            families: Families::default(),
            last: None,
            before: None,
            recent: VecDeque::new(),
            learnt: false,
            forest,
        }
    }

    /// Signal is missing: what was learnt stays, what waits is gone.
    pub(crate) fn restart(&mut self) {
        self.waiting.clear();
        self.recent.clear();
        self.last = None;
        self.before = None;
    }

    /// Takes a candidate, in order of time.
    pub(crate) fn push(&mut self, candidate: Candidate) {
        self.waiting.push_back(candidate);
    }

    /// Judges what can be judged when the signal is known up to `now`; with `all`, everything.
    pub(crate) fn judge(&mut self, now: u64, all: bool, mut told: impl FnMut(&Judged)) {
        if !self.learnt {
            if now < LEARNING && !all {
                return;
            }
            self.learn();
        }
        while self
            .waiting
            .front()
            .is_some_and(|first| all || first.at + HORIZON <= now)
        {
            let Some(candidate) = self.waiting.pop_front() else {
                return;
            };
            self.relearn(&candidate);
            let judged = self.look_at(candidate);
            self.remember(&judged);
            told(&judged);
        }
    }

    /// First levels: the largest candidate of each 0.8 s is taken for a beat.
    fn learn(&mut self) {
        let mut tops: Vec<Candidate> = Vec::new();
        let mut slot = u64::MAX;
        for candidate in &self.waiting {
            let its = candidate.at / 200;
            match tops.last_mut() {
                Some(top) if its == slot => {
                    if candidate.energy > top.energy {
                        *top = *candidate;
                    }
                }
                _ => {
                    slot = its;
                    tops.push(*candidate);
                }
            }
        }
        self.learnt = true;
        if tops.is_empty() {
            return;
        }
        tops.sort_by(|a, b| a.energy.total_cmp(&b.energy));
        if let Some(middle) = tops.get(tops.len() / 2) {
            self.set_levels(middle);
        }
    }

    fn set_levels(&mut self, like: &Candidate) {
        for _ in 0..REMEMBERED / 2 {
            self.levels.energy.push(like.energy);
            self.levels.slope.push(like.slope);
            self.levels.span.push(like.span);
            self.levels.height.push(like.height.abs());
            self.levels.noise.push(0.1 * like.energy);
        }
    }

    /// After a long silence the level of beats falls to what is there.
    fn relearn(&mut self, candidate: &Candidate) {
        let since = self
            .last
            .map_or(0, |last| candidate.at.saturating_sub(last.at));
        let level = self.levels.energy.median().unwrap_or(0.0);
        let halvings = (since / LOST).saturating_sub(1).min(HALVINGS);
        let least = (0..halvings).fold(ASYSTOLE_SHARE, |share, _| share / 2.0) * level;
        if level == 0.0 || (since > LOST && candidate.energy > least) {
            let largest = self
                .waiting
                .iter()
                .chain([candidate])
                .max_by(|a, b| a.energy.total_cmp(&b.energy))
                .copied();
            if let Some(largest) = largest.filter(|largest| largest.energy < level || level == 0.0)
            {
                self.set_levels(&largest);
                self.set_levels(&largest);
            }
        }
    }

    fn look_at(&self, candidate: Candidate) -> Judged {
        let features = self.features(&candidate);
        let refractory = self
            .last
            .is_some_and(|last| candidate.at.saturating_sub(last.at) < REFRACTORY);
        let score = self.forest.score(&features);
        let is_beat = candidate.energy >= FLOOR && !refractory && score > 0.0;
        Judged {
            candidate,
            features,
            score,
            is_beat,
        }
    }

    fn features(&self, c: &Candidate) -> [f64; FEATURES.len()] {
        let levels = &self.levels;
        let energy = levels.energy.median().unwrap_or(c.energy);
        let slope = levels.slope.median().unwrap_or(c.slope);
        let span = levels.span.median().unwrap_or(c.span);
        let height = levels.height.median().unwrap_or(c.height);
        let noise = levels.noise.median().unwrap_or(0.1 * energy);
        let usual = levels.intervals.median().unwrap_or(200.0);
        let since = self
            .last
            .map_or(LONGEST, |last| apart(c, &last))
            .min(LONGEST);
        let last = self.last.unwrap_or(*c);
        let next = self.waiting.front();
        let to_next = next.map_or(num::float_u64(HORIZON), |next| apart(next, c));
        let next_energy = next.map_or(0.0, |next| next.energy);
        let ahead = within(&self.waiting, c, HORIZON);
        let behind = within(&self.recent, c, HORIZON / 2 + 35);
        let steepest = self
            .recent
            .iter()
            .filter(|other| other.at.abs_diff(c.at) <= HORIZON / 2 + 35)
            .map(|other| other.slope)
            .fold(0.0, f64::max);
        let before = self.before.map_or(LONGEST, |before| apart(c, &before));
        let strong = self
            .waiting
            .iter()
            .find(|later| later.energy > STRONG * energy)
            .map_or(num::float_u64(HORIZON), |later| apart(later, c));
        let likeness = self.families.compare(&c.shape);
        let next_like = next.map_or(0.0, |next| self.families.compare(&next.shape).usual);
        [
            ratio(c.energy, energy),
            ratio(c.slope, slope),
            ratio(c.energy, noise),
            since / 250.0,
            since / usual.max(1.0),
            ratio(c.energy, last.energy),
            ratio(c.slope, last.slope),
            to_next.min(LONGEST) / 250.0,
            ratio(next_energy, c.energy),
            ratio(ahead, c.energy),
            likeness.usual,
            likeness.best,
            ratio(c.level, energy),
            ratio(c.energy, c.slope) - ratio(energy, slope),
            before.min(LONGEST) / 250.0,
            ratio(self.before.map_or(0.0, |before| before.energy), c.energy),
            (since + strong) / usual.max(1.0),
            ratio(c.span, span),
            ratio(c.height.abs(), height),
            ratio(c.fast, energy),
            ratio(c.step, span),
            next_like,
            ratio(behind, c.energy),
            likeness.share,
            ratio(next.map_or(0.0, |next| next.slope), c.slope),
            ratio(steepest, c.slope),
            ratio(c.energy, levels.minute_energy.median().unwrap_or(energy)),
            since / levels.minute_intervals.median().unwrap_or(usual).max(1.0),
        ]
    }

    fn remember(&mut self, judged: &Judged) {
        let c = judged.candidate;
        self.before = Some(c);
        self.recent.push_back(c);
        while self
            .recent
            .front()
            .is_some_and(|old| c.at.saturating_sub(old.at) > HORIZON)
        {
            self.recent.pop_front();
        }
        if !judged.is_beat {
            self.levels.noise.push(c.energy);
            return;
        }
        let level = self.levels.energy.median().unwrap_or(c.energy);
        let slope = self.levels.slope.median().unwrap_or(c.slope);
        // One artefact must not raise the levels for long.
        self.levels.energy.push(c.energy.min(2.5 * level));
        self.levels.slope.push(c.slope.min(2.5 * slope));
        self.levels.minute_energy.push(c.energy.min(2.5 * level));
        self.levels.span.push(c.span);
        self.levels.height.push(c.height.abs());
        if let Some(last) = self.last {
            let interval = apart(&c, &last).min(LONGEST);
            self.levels.intervals.push(interval);
            self.levels.minute_intervals.push(interval);
        }
        self.families.learn(&c.shape);
        self.last = Some(c);
    }
}

fn apart(later: &Candidate, earlier: &Candidate) -> f64 {
    num::float_u64(later.at.abs_diff(earlier.at))
}

/// The largest energy among candidates that near.
fn within(candidates: &VecDeque<Candidate>, c: &Candidate, reach: u64) -> f64 {
    candidates
        .iter()
        .filter(|other| other.at.abs_diff(c.at) <= reach)
        .map(|other| other.energy)
        .fold(0.0, f64::max)
}

/// Natural logarithm of a ratio, within ±6.
fn ratio(a: f64, b: f64) -> f64 {
    libm::log((a.max(0.0) + 1e-9) / (b.max(0.0) + 1e-9)).clamp(-6.0, 6.0)
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, Forest};

    #[test]
    fn the_reviewed_file_of_trees_is_read_whole() {
        let forest = Forest::parse(include_str!("../../models/qrs.txt")).unwrap();
        let score = forest.score(&[0.0; FEATURES.len()]);
        assert!(score.is_finite() && score != 0.0);
    }
}
