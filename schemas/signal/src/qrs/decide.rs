//! From candidates to beats: adaptive thresholds with a second of hindsight.
//!
//! In the line of Pan and Tompkins 1985 and Hamilton 2002: the level of beats and the level
//! of noise are followed apart, a T wave is told from a QRS by its slope, and a long
//! interval makes the detector look again at what it refused. What is ours: every candidate
//! is judged once, [`HORIZON`] after it, when the candidates behind it are known too.
//! Deliberately absent: the signal itself.

use std::collections::VecDeque;

use super::front::Candidate;
use crate::num;

/// How long after a candidate it is judged: 0.72 s on the working grid.
pub(crate) const HORIZON: u64 = 180;
/// How much signal is looked at before the first judgement: 2.4 s.
pub(crate) const LEARNING: u64 = 600;

/// Beats and noise peaks that make up a level.
const REMEMBERED: usize = 8;
/// Where the threshold lies between the level of noise and of beats.
const THRESHOLD: f64 = 0.30;
/// The same when a beat is overdue.
const SECOND_LOOK: f64 = 0.16;
/// A candidate this soon after a beat may be its T wave: 360 ms.
const T_WAVE: u64 = 90;
/// The heart cannot beat again sooner: 200 ms.
const REFRACTORY: u64 = 50;
/// A beat is overdue after this many usual intervals.
const OVERDUE: f64 = 1.5;
/// Without a beat for this long the level of beats is learnt anew: 4 s.
const LOST: u64 = 1_000;
/// Candidates below this share of the level of beats are not learnt from when lost.
const ASYSTOLE_SHARE: f64 = 0.12;
/// Below this energy, in millivolts a sample, nothing is a beat.
const FLOOR: f64 = 0.0015;

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
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        (!sorted.is_empty()).then(|| num::median(&mut sorted))
    }
}

/// The judge.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    waiting: VecDeque<Candidate>,
    beats: Memory,
    noise: Memory,
    intervals: Memory,
    last: Option<Candidate>,
    learnt: bool,
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            beats: Memory::default(),
            noise: Memory::default(),
            intervals: Memory::default(),
            last: None,
            learnt: false,
        }
    }

    /// Signal is missing: what was learnt stays, what waits is gone.
    pub(crate) fn restart(&mut self) {
        self.waiting.clear();
        self.last = None;
    }

    /// Takes a candidate, in order of time.
    pub(crate) fn push(&mut self, candidate: Candidate) {
        self.waiting.push_back(candidate);
    }

    /// Judges what can be judged when the signal is known up to `now`; with `all`, everything.
    pub(crate) fn judge(&mut self, now: u64, all: bool, mut beat: impl FnMut(Candidate)) {
        if !self.learnt {
            if now < LEARNING && !all {
                return;
            }
            self.learn();
        }
        while let Some(candidate) = self.waiting.front().copied() {
            if candidate.at + HORIZON > now && !all {
                return;
            }
            self.waiting.pop_front();
            if self.is_beat(&candidate) {
                self.accept(candidate);
                beat(candidate);
            } else {
                self.noise.push(candidate.energy);
            }
        }
    }

    /// First levels: the largest candidate of each 0.8 s is taken for a beat.
    fn learn(&mut self) {
        let mut tops: Vec<f64> = Vec::new();
        let mut slot = u64::MAX;
        for candidate in &self.waiting {
            let its = candidate.at / 200;
            if its == slot {
                if let Some(top) = tops.last_mut() {
                    *top = top.max(candidate.energy);
                }
            } else {
                slot = its;
                tops.push(candidate.energy);
            }
        }
        self.learnt = true;
        let level = num::median(&mut tops);
        for _ in 0..REMEMBERED / 2 {
            self.beats.push(level);
            self.noise.push(0.1 * level);
        }
    }

    fn is_beat(&mut self, candidate: &Candidate) -> bool {
        if candidate.energy < FLOOR {
            return false;
        }
        let Some(last) = self.last else {
            return candidate.energy > self.threshold(THRESHOLD);
        };
        let since = candidate.at.saturating_sub(last.at);
        if since < REFRACTORY {
            return false;
        }
        self.relearn(candidate, since);
        if since < T_WAVE && candidate.slope < 0.5 * last.slope {
            return false;
        }
        if candidate.energy > self.threshold(THRESHOLD) {
            return true;
        }
        self.is_overdue(candidate, &last) && candidate.energy > self.threshold(SECOND_LOOK)
    }

    fn threshold(&self, share: f64) -> f64 {
        let beats = self.beats.median().unwrap_or(0.0);
        let noise = self.noise.median().unwrap_or(0.0).min(beats);
        noise + share * (beats - noise)
    }

    /// Whether the heart would have missed a beat if this candidate is none.
    fn is_overdue(&self, candidate: &Candidate, last: &Candidate) -> bool {
        let Some(usual) = self.intervals.median() else {
            return false;
        };
        let threshold = self.threshold(THRESHOLD);
        let next = self
            .waiting
            .iter()
            .find(|later| later.energy > threshold)
            .map_or(candidate.at + HORIZON, |later| later.at);
        let interval = num::float_u64(next.saturating_sub(last.at));
        // Of several weak ones the strongest counts.
        let stronger = self
            .waiting
            .iter()
            .take_while(|later| later.at < next)
            .any(|later| later.energy > candidate.energy);
        interval > OVERDUE * usual
            && num::float_u64(candidate.at.saturating_sub(last.at)) > 0.5 * usual
            && !stronger
    }

    /// After a long silence the level of beats falls to what is there.
    fn relearn(&mut self, candidate: &Candidate, since: u64) {
        let Some(beats) = self.beats.median() else {
            return;
        };
        if since > LOST && candidate.energy > ASYSTOLE_SHARE * beats {
            let level = self
                .waiting
                .iter()
                .map(|later| later.energy)
                .fold(candidate.energy, f64::max);
            for _ in 0..REMEMBERED {
                self.beats.push(level);
            }
            self.noise.push(0.1 * level);
        }
    }

    fn accept(&mut self, candidate: Candidate) {
        let level = self.beats.median().unwrap_or(candidate.energy);
        self.beats.push(candidate.energy.min(3.0 * level));
        if let Some(last) = self.last {
            self.intervals
                .push(num::float_u64(candidate.at.saturating_sub(last.at)));
        }
        self.last = Some(candidate);
    }
}
