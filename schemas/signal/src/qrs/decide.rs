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
use super::pace::Pace;
use super::shape::Families;
use crate::forest::Forest;
use crate::num;

/// How long after a candidate it is judged: 0.72 s on the working grid.
pub(crate) const HORIZON: u64 = 180;
/// How much signal is looked at before the first judgement: 2.4 s.
pub(crate) const LEARNING: u64 = 600;

/// What is looked at, in this order: logarithms of ratios, times in seconds, correlations.
pub const FEATURES: [&str; 40] = [
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
    "fit of slopes to usual form",
    "size in usual form",
    "odds of last beat",
    "distance from when a beat is due",
    "intervals since last sure beat",
    "unevenness of sure intervals",
    "best fit ahead over this",
    "best fit behind over this",
    "sharpness over beats",
    "sharpness over noise",
    "largest sharpness ahead over this",
    "largest sharpness behind over this",
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
/// The odds of the last beat are told up to this.
const SUREST: f64 = 6.0;
/// Times are told up to this, in working samples: 3 s.
const LONGEST: f64 = 750.0;

/// A short memory with a median.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(VecDeque<f64>);

impl Memory {
    pub(super) fn push(&mut self, value: f64) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    pub(super) fn median(&self) -> Option<f64> {
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
    sharp: Memory,
    sharp_noise: Memory,
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

/// A candidate that waits, with how its slopes fit the form that was usual when it came:
/// correlation and size.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    candidate: Candidate,
    fit: (f64, f64),
}

/// The judge.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    waiting: VecDeque<Waiting>,
    levels: Levels,
    families: Families,
    pace: Pace,
    last_odds: f64,
    /// The last beat, and refused candidates of the last half second.
    last: Option<Candidate>,
    before: Option<Candidate>,
    recent: VecDeque<Waiting>,
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
            pace: Pace::default(),
            last_odds: 0.0,
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
        self.pace.restart();
        self.last = None;
        self.last_odds = 0.0;
        self.before = None;
    }

    /// Takes a candidate, in order of time.
    pub(crate) fn push(&mut self, candidate: Candidate) {
        let fit = self.fit(&candidate);
        self.waiting.push_back(Waiting { candidate, fit });
    }

    fn fit(&self, candidate: &Candidate) -> (f64, f64) {
        let usual = self.families.usual();
        usual.map_or((0.0, 1.0), |usual| candidate.shape.fit(usual))
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
            .is_some_and(|first| all || first.candidate.at + HORIZON <= now)
        {
            let Some(one) = self.waiting.pop_front() else {
                return;
            };
            self.relearn(&one.candidate);
            let judged = self.look_at(one);
            self.remember(&judged, one);
            told(&judged);
        }
    }

    /// First levels: the largest candidate of each 0.8 s is taken for a beat.
    fn learn(&mut self) {
        let mut tops: Vec<Candidate> = Vec::new();
        let mut slot = u64::MAX;
        for Waiting { candidate, .. } in &self.waiting {
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
            self.levels.sharp.push(like.sharp);
            self.levels.sharp_noise.push(0.1 * like.sharp);
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
                .map(|one| &one.candidate)
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

    fn look_at(&self, one: Waiting) -> Judged {
        let candidate = one.candidate;
        let features = self.features(&one);
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

    fn features(&self, one: &Waiting) -> [f64; FEATURES.len()] {
        let c = &one.candidate;
        let (fit, size) = one.fit;
        let due = self.pace.look(c.at);
        let levels = &self.levels;
        let energy = levels.energy.median().unwrap_or(c.energy);
        let slope = levels.slope.median().unwrap_or(c.slope);
        let span = levels.span.median().unwrap_or(c.span);
        let height = levels.height.median().unwrap_or(c.height);
        let noise = levels.noise.median().unwrap_or(0.1 * energy);
        let sharp = levels.sharp.median().unwrap_or(c.sharp);
        let sharp_noise = levels.sharp_noise.median().unwrap_or(0.1 * sharp);
        let usual = levels.intervals.median().unwrap_or(200.0);
        let since = self
            .last
            .map_or(LONGEST, |last| apart(c, &last))
            .min(LONGEST);
        let last = self.last.unwrap_or(*c);
        let next = self.waiting.front().map(|one| &one.candidate);
        let to_next = next.map_or(num::float_u64(HORIZON), |next| apart(next, c));
        let next_energy = next.map_or(0.0, |next| next.energy);
        let ahead = |of: fn(&Waiting) -> f64| largest(&self.waiting, c, HORIZON, of);
        let behind = |of: fn(&Waiting) -> f64| largest(&self.recent, c, HORIZON / 2 + 35, of);
        let of_energy: fn(&Waiting) -> f64 = |one| one.candidate.energy;
        let of_sharp: fn(&Waiting) -> f64 = |one| one.candidate.sharp;
        let before = self.before.map_or(LONGEST, |before| apart(c, &before));
        let strong = self
            .waiting
            .iter()
            .map(|one| &one.candidate)
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
            ratio(ahead(of_energy), c.energy),
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
            ratio(behind(of_energy), c.energy),
            likeness.share,
            ratio(next.map_or(0.0, |next| next.slope), c.slope),
            ratio(behind(|one| one.candidate.slope), c.slope),
            ratio(c.energy, levels.minute_energy.median().unwrap_or(energy)),
            since / levels.minute_intervals.median().unwrap_or(usual).max(1.0),
            fit,
            ratio(size, 1.0),
            self.last_odds,
            due.away,
            due.cycles,
            due.uneven,
            ahead(|one| one.fit.0) - fit,
            behind(|one| one.fit.0) - fit,
            ratio(c.sharp, sharp),
            ratio(c.sharp, sharp_noise),
            ratio(ahead(of_sharp), c.sharp),
            ratio(behind(of_sharp), c.sharp),
        ]
    }

    fn remember(&mut self, judged: &Judged, one: Waiting) {
        let c = judged.candidate;
        self.before = Some(c);
        self.recent.push_back(one);
        while self
            .recent
            .front()
            .is_some_and(|old| c.at.saturating_sub(old.candidate.at) > HORIZON)
        {
            self.recent.pop_front();
        }
        if !judged.is_beat {
            self.levels.noise.push(c.energy);
            self.levels.sharp_noise.push(c.sharp);
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
        let sharp = self.levels.sharp.median().unwrap_or(c.sharp);
        self.levels.sharp.push(c.sharp.min(2.5 * sharp));
        if let Some(last) = self.last {
            let interval = apart(&c, &last).min(LONGEST);
            self.levels.intervals.push(interval);
            self.levels.minute_intervals.push(interval);
        }
        self.families.learn(&c.shape);
        self.pace.learn(c.at, judged.score);
        self.last_odds = judged.score.clamp(-SUREST, SUREST);
        self.last = Some(c);
    }
}

fn apart(later: &Candidate, earlier: &Candidate) -> f64 {
    num::float_u64(later.at.abs_diff(earlier.at))
}

/// The largest value among candidates that near; -1 when there is none.
fn largest(
    candidates: &VecDeque<Waiting>,
    c: &Candidate,
    reach: u64,
    of: fn(&Waiting) -> f64,
) -> f64 {
    candidates
        .iter()
        .filter(|other| other.candidate.at.abs_diff(c.at) <= reach)
        .map(of)
        .fold(-1.0, f64::max)
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
