//! First sound, systole, second sound, diastole: the likeliest course of a stretch.
//!
//! A hidden semi-Markov model in the manner of Schmidt 2010 and Springer 2016: four states
//! in a fixed order, each with a normal law of its length. What differs: a frame speaks for
//! "sound" or "silence" by its level alone, so that nothing had to be learned from one
//! stethoscope, and the search goes forward for ever with a bounded memory.
//!
//! Deliberately absent: murmurs, third and fourth sounds, and whether the stretch is good
//! enough to be believed.

use std::collections::VecDeque;

use crate::num;
use crate::pcg::envelope::Period;

/// States in their order: first sound, systole, second sound, diastole.
pub(crate) const STATES: usize = 4;
/// The first sound.
pub(crate) const FIRST: usize = 0;
/// The second sound.
pub(crate) const SECOND: usize = 2;

/// Columns that are kept: ten seconds.
const KEPT: usize = 1_000;
/// Longest state, in frames.
const LONGEST: usize = 220;
/// Shortest state, in frames.
const SHORTEST: usize = 4;
/// Lengths of the two sounds and their deviation, in frames (Schmidt 2010: 122 and 92 ms,
/// each 22 ms; 30 ms more, because the envelope is smoothed over 90 ms).
const FIRST_SOUND: (f64, f64) = (15.2, 2.2);
const SECOND_SOUND: (f64, f64) = (12.2, 2.2);
/// Price of having begun inside of a state, as a logarithm.
const BEGUN: f64 = -3.0;
/// Neighbouring frames tell much the same: each counts for this share of an observation.
const FRAME_WEIGHT: f64 = 0.3;

/// A normal law of a state's length, in frames.
#[derive(Clone, Debug)]
struct Law {
    mean: f64,
    shortest: usize,
    /// Logarithm of the density for every length up to the longest.
    logs: Vec<f64>,
}

impl Law {
    fn normal(mean: f64, deviation: f64) -> Self {
        let longest = num::round_usize(mean + 4.0 * deviation).clamp(SHORTEST, LONGEST);
        let log = |frames: usize| {
            let distance = (num::float(frames) - mean) / deviation;
            -0.5 * distance * distance - libm::log(deviation)
        };
        Self {
            mean,
            shortest: SHORTEST,
            logs: (0..=longest).map(log).collect(),
        }
    }

    /// The law of a state that goes on: no length up to the mean speaks against it.
    fn unfinished(&self) -> Self {
        let mean = num::round_usize(self.mean);
        let at_mean = self.logs.get(mean).copied().unwrap_or(0.0);
        let mut logs = self.logs.clone();
        logs.iter_mut().take(mean).for_each(|log| *log = at_mean);
        Self {
            mean: self.mean,
            shortest: 1,
            logs,
        }
    }
}

/// How long each state lasts at the present heart rate.
#[derive(Clone, Debug)]
pub(crate) struct Lengths([Law; STATES]);

impl Lengths {
    /// For a period: the quiet states take what the sounds leave.
    pub(crate) fn of(period: &Period) -> Self {
        let systole = (period.systole - FIRST_SOUND.0).max(6.0);
        let diastole = (period.frames - period.systole - SECOND_SOUND.0).max(6.0);
        Self([
            Law::normal(FIRST_SOUND.0, FIRST_SOUND.1),
            Law::normal(systole, 2.5),
            Law::normal(SECOND_SOUND.0, SECOND_SOUND.1),
            Law::normal(diastole, 1.0 + 0.12 * diastole),
        ])
    }

    /// Share of the time that the two sounds take.
    pub(crate) fn sound_share(&self) -> f64 {
        let [first, systole, second, diastole] = self.0.each_ref().map(|law| law.mean);
        (first + second) / (first + systole + second + diastole)
    }

    fn unfinished(&self) -> Self {
        Self(self.0.each_ref().map(Law::unfinished))
    }

    fn each<T>(&self, mut of: impl FnMut(usize, &Law) -> T) -> [T; STATES] {
        let mut state = 0;
        self.0.each_ref().map(|law| {
            let done = of(state, law);
            state += 1;
            done
        })
    }
}

/// What one frame says of each state, as logarithms of likelihoods.
pub(crate) type Evidence = [f64; STATES];

/// What a frame says by its level: how many steps it lies above the border between sound
/// and silence, and how much brighter than usual it is (-1 to 1; the second sound is).
pub(crate) fn evidence(steps: f64, brightness: f64) -> Evidence {
    let steps = steps.clamp(-4.0, 4.0);
    let sound = -FRAME_WEIGHT * libm::log1p(libm::exp(-steps));
    let silence = -FRAME_WEIGHT * libm::log1p(libm::exp(steps));
    let hue = FRAME_WEIGHT * 0.3 * brightness.clamp(-1.0, 1.0);
    [sound - hue, silence, sound + hue, silence]
}

/// One frame of the search.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Best course that ends a state here.
    best: [f64; STATES],
    /// Length of that state.
    length: [usize; STATES],
    /// Sum of the evidence up to here, for each state.
    sum: [f64; STATES],
}

/// A stretch in one state, in frames since the search began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) state: usize,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The forward search.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segmenter {
    columns: VecDeque<Column>,
    /// Frames taken.
    end: u64,
}

impl Segmenter {
    /// Frames taken.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Frames that are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.columns.len()
    }

    /// Takes the next frame.
    pub(crate) fn push(&mut self, evidence: Evidence, lengths: &Lengths) {
        let mut column = Column {
            best: [f64::NEG_INFINITY; STATES],
            length: [0; STATES],
            sum: self.columns.back().map_or([0.0; STATES], |last| last.sum),
        };
        for (sum, more) in column.sum.iter_mut().zip(evidence) {
            *sum += more;
        }
        let before = self.columns.len();
        let ends =
            lengths.each(|state, law| self.ending(before, self.end + 1, &column, state, law));
        for (state, (best, length)) in ends.into_iter().enumerate() {
            put(&mut column.best, state, best);
            put(&mut column.length, state, length);
        }
        self.columns.push_back(column);
        self.end += 1;
        if self.columns.len() > KEPT {
            self.columns.pop_front();
        }
    }

    /// The best course that ends `state` at `column`, which follows `before` of the held
    /// columns and is number `number` of all: its score and the length of its last stretch.
    fn ending(
        &self,
        before: usize,
        number: u64,
        column: &Column,
        state: usize,
        law: &Law,
    ) -> (f64, usize) {
        let previous = (state + STATES - 1) % STATES;
        let sum = get(&column.sum, state);
        let mut best = (f64::NEG_INFINITY, 0);
        for (length, density) in law.logs.iter().enumerate().skip(law.shortest) {
            let Some(from) = before
                .checked_sub(length)
                .and_then(|at| self.columns.get(at))
            else {
                break;
            };
            let score = get(&from.best, previous) + sum - get(&from.sum, state) + density;
            if score > best.0 {
                best = (score, length);
            }
        }
        // The search may have begun inside of this state.
        let whole = num::round_usize(num::float_u64(number));
        if whole < law.logs.len() && sum + BEGUN > best.0 {
            best = (sum + BEGUN, whole);
        }
        best
    }

    /// The likeliest course of the frames that are held, oldest first. Its last stretch may
    /// be unfinished.
    pub(crate) fn course(&self, lengths: &Lengths) -> Vec<Stretch> {
        let Some(last) = self.columns.back() else {
            return Vec::new();
        };
        let before = self.columns.len() - 1;
        let open = lengths.unfinished();
        let ends = open.each(|state, law| self.ending(before, self.end, last, state, law));
        let (state, (_, length)) = ends
            .into_iter()
            .enumerate()
            .reduce(|a, b| if b.1.0 > a.1.0 { b } else { a })
            .unwrap_or_default();
        self.trace(state, length)
    }

    fn trace(&self, mut state: usize, mut length: usize) -> Vec<Stretch> {
        let mut course = Vec::new();
        let mut held = self.columns.len();
        let mut to = self.end;
        while length > 0 && held > 0 {
            let span = length.min(held);
            let from = to - num::count(span);
            course.push(Stretch { state, from, to });
            held -= span;
            to = from;
            state = (state + STATES - 1) % STATES;
            let column = held.checked_sub(1).and_then(|at| self.columns.get(at));
            length = column.map_or(0, |column| get(&column.length, state));
        }
        course.reverse();
        course
    }
}

fn get<T: Copy + Default>(row: &[T; STATES], state: usize) -> T {
    row.get(state).copied().unwrap_or_default()
}

fn put<T>(row: &mut [T; STATES], state: usize, value: T) {
    if let Some(place) = row.get_mut(state) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Lengths, SECOND, Segmenter, Stretch, evidence};
    use crate::pcg::envelope::Period;

    fn period(frames: f64, systole: f64) -> Period {
        Period {
            frames,
            height: 1.0,
            systole,
            systole_height: 0.5,
        }
    }

    /// Pushes beats of a period with sounds at their start and a systole later.
    fn course_of(frames: u64, beat: u64, systole: u64) -> Vec<Stretch> {
        let lengths = Lengths::of(&period(
            crate::num::float_u64(beat),
            crate::num::float_u64(systole),
        ));
        let mut segmenter = Segmenter::default();
        for at in 0..frames {
            let phase = (at + 20) % beat;
            let loud = phase < 15 || (systole..systole + 12).contains(&phase);
            segmenter.push(evidence(if loud { 3.0 } else { -3.0 }, 0.0), &lengths);
        }
        segmenter.course(&lengths)
    }

    #[test]
    fn the_long_silence_is_diastole() {
        for (beat, systole) in [(120, 36), (80, 32), (60, 27)] {
            let course = course_of(900, beat, systole);
            let firsts: Vec<u64> = course
                .iter()
                .filter(|stretch| stretch.state == FIRST)
                .map(|stretch| (stretch.from + 20) % beat)
                .collect();
            assert!(firsts.len() >= 6, "{beat}: {firsts:?}");
            for phase in firsts.iter().skip(1) {
                assert!(*phase <= 2 || *phase >= beat - 2, "{beat}: {firsts:?}");
            }
        }
    }

    #[test]
    fn stretches_follow_each_other_without_a_hole() {
        let course = course_of(2_500, 85, 33);
        for pair in course.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
            assert_eq!((pair[0].state + 1) % 4, pair[1].state);
        }
        assert_eq!(course.last().map(|stretch| stretch.to), Some(2_500));
        assert!(course.iter().any(|stretch| stretch.state == SECOND));
        assert!(
            course[0].from >= 1_490,
            "memory is bounded: {:?}",
            course[0]
        );
    }

    #[test]
    fn nothing_gives_an_empty_course() {
        let lengths = Lengths::of(&period(80.0, 33.0));
        assert!(Segmenter::default().course(&lengths).is_empty());
    }
}
