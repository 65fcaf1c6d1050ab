//! Spans of rhythm that somebody may have to act on, each with its evidence.
//!
//! The limits are those of the published definitions, fixed so that answers can be compared;
//! whether anyone is told is a matter of rules and of the patient. Deliberately absent:
//! quality; whoever holds both drops what rests on insufficient signal.

use std::collections::VecDeque;
use std::sync::Arc;

use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::index::SampleIndex;
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;

use super::irregular::{Beside, WINDOW, forest_of_intervals, irregularity, reviewed_forest};
use crate::beat::ToldBeat;
use crate::forest::Forest;
use crate::num;

/// Who names these spans.
pub const EVENT_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "rhythm",
    version: 5,
};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RhythmKind {
    /// No beat for 3 s or more. The value is the longest interval, in seconds.
    Pause,
    /// Eight intervals with a mean above 1.5 s. The value is the lowest rate, per minute.
    Bradycardia,
    /// Eight intervals with a mean below 0.4 s. The value is the highest rate, per minute.
    Tachycardia,
    /// Three or more ventricular beats in a row at 100 per minute or more, of which single
    /// ones may look otherwise when they come at 120. The value is their rate, per minute.
    VentricularRun,
    /// Irregular intervals, ectopic beats left out, for 30 s or more. The value is the mean
    /// rate, per minute.
    AfSuspected,
    /// Waves without a resting line, as in ventricular fibrillation or flutter, for 5 s or
    /// more. The value is their rate, per minute.
    VfSuspected,
    /// No beat for 4 s or more on an electrode that is on. The value is how long the line
    /// rested, in seconds.
    Asystole,
}

impl RhythmKind {
    /// Stable name in JSON and exchange files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Bradycardia => "brady",
            Self::Tachycardia => "tachy",
            Self::VentricularRun => "vt",
            Self::AfSuspected => "af",
            Self::VfSuspected => "vf",
            Self::Asystole => "asystole",
        }
    }
}

/// A span of rhythm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RhythmEvent {
    /// What happened.
    pub kind: RhythmKind,
    /// The first and the last beat that it rests on.
    pub from: SampleIndex,
    /// See `from`.
    pub to: SampleIndex,
    /// How many beats it rests on.
    pub beats: usize,
    /// The measure that the kind names.
    pub value: f64,
}

const PAUSE_S: f64 = 3.0;
const RATE_INTERVALS: usize = 8;
const SLOW_S: f64 = 1.5;
const FAST_S: f64 = 0.4;
const RUN_BEATS: usize = 3;
const RUN_MEAN_S: f64 = 0.6;
/// Intervals before and after a beat called otherwise within a run: 120 per minute.
const OTHER_US: u64 = 500_000;
/// Longer intervals are pauses, not rhythm.
const LONGEST_S: f64 = 2.5;
/// A suspicion shorter than this is none; two nearer than [`AF_JOIN_S`] are one.
const AF_LEAST_S: f64 = 30.0;
const AF_JOIN_S: f64 = 15.0;

/// Follows the beats of one lead.
#[derive(Clone, Debug)]
pub struct RhythmTracker {
    rate: SamplingRate,
    recent: VecDeque<Beat>,
    slow: Option<RhythmEvent>,
    fast: Option<RhythmEvent>,
    run: Vec<SampleIndex>,
    /// A beat called otherwise that came right behind the run.
    run_other: Option<SampleIndex>,
    /// How many such beats the run holds.
    run_others: usize,
    /// Whether every second beat has been ventricular lately.
    alternating: bool,
    /// The last intervals, with the end of each.
    intervals: VecDeque<(SampleIndex, Beside)>,
    fibrillation: Arc<Forest>,
    /// The same for beats without a word on their P waves.
    by_intervals: Arc<Forest>,
    af: Option<RhythmEvent>,
}

impl RhythmTracker {
    /// A tracker for beats on a time line of this rate.
    pub fn new(rate: SamplingRate) -> Self {
        Self::with_forest(rate, reviewed_forest())
    }

    /// A tracker that judges irregularity by other trees than the reviewed ones, to measure
    /// them.
    pub fn with_forest(rate: SamplingRate, fibrillation: Arc<Forest>) -> Self {
        Self {
            rate,
            recent: VecDeque::new(),
            slow: None,
            fast: None,
            run: Vec::new(),
            run_other: None,
            run_others: 0,
            alternating: false,
            intervals: VecDeque::new(),
            fibrillation,
            by_intervals: forest_of_intervals(),
            af: None,
        }
    }

    /// Takes the next beat, in order of time, and gives the spans that ended with it.
    pub fn push(&mut self, beat: Beat) -> Vec<RhythmEvent> {
        self.take(beat, None)
    }

    /// As [`RhythmTracker::push`], for a beat whose P wave was looked at.
    pub fn push_told(&mut self, told: ToldBeat) -> Vec<RhythmEvent> {
        self.take(told.beat, Some(told.p_wave))
    }

    fn take(&mut self, beat: Beat, p_wave: Option<f64>) -> Vec<RhythmEvent> {
        let mut ended = Vec::new();
        self.pause(&beat, &mut ended);
        self.run(&beat, &mut ended);
        self.interval(&beat, p_wave, &mut ended);
        self.recent.push_back(beat);
        if self.recent.len() > RATE_INTERVALS + 1 {
            self.recent.pop_front();
        }
        self.rates(&mut ended);
        ended
    }

    /// Signal is missing or has ended: gives the spans that were open.
    pub fn finish(&mut self) -> Vec<RhythmEvent> {
        let mut ended = Vec::new();
        self.end_run(&mut ended);
        ended.extend(self.slow.take());
        ended.extend(self.fast.take());
        self.end_af(&mut ended);
        self.recent.clear();
        self.intervals.clear();
        ended
    }

    fn apart_s(&self, from: SampleIndex, to: SampleIndex) -> f64 {
        let micros = self
            .rate
            .micros_at(to)
            .saturating_sub(self.rate.micros_at(from));
        num::float_u64(micros) / 1e6
    }

    fn pause(&self, beat: &Beat, ended: &mut Vec<RhythmEvent>) {
        if let Some(last) = self.recent.back() {
            let apart_s = self.apart_s(last.at, beat.at);
            if apart_s >= PAUSE_S {
                ended.push(RhythmEvent {
                    kind: RhythmKind::Pause,
                    from: last.at,
                    to: beat.at,
                    beats: 2,
                    value: apart_s,
                });
            }
        }
    }

    /// Slow and fast spans over the last eight intervals.
    fn rates(&mut self, ended: &mut Vec<RhythmEvent>) {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else {
            return;
        };
        let (from, to) = (first.at, last.at);
        let mean_s = self.apart_s(from, to) / num::float(RATE_INTERVALS);
        let full = self.recent.len() == RATE_INTERVALS + 1 && mean_s > 0.0;
        let ventricular = self
            .recent
            .iter()
            .filter(|beat| beat.class == Some(BeatClass::Ventricular))
            .count();
        let is_slow = full && mean_s > SLOW_S;
        // A run of ventricular beats has a name of its own.
        let is_fast = full && mean_s < FAST_S && ventricular < RUN_BEATS;
        let bpm = 60.0 / mean_s.max(0.01);
        follow(
            &mut self.slow,
            is_slow,
            RhythmKind::Bradycardia,
            (from, to, bpm),
            ended,
        );
        follow(
            &mut self.fast,
            is_fast,
            RhythmKind::Tachycardia,
            (from, to, bpm),
            ended,
        );
    }

    /// A run goes on over a beat called otherwise that comes and is followed as fast: a
    /// premature beat of another origin would be followed by a pause.
    fn run(&mut self, beat: &Beat, ended: &mut Vec<RhythmEvent>) {
        let (rate, now_us) = (self.rate, self.rate.micros_at(beat.at));
        let within = |from| now_us.saturating_sub(rate.micros_at(from)) <= OTHER_US;
        let ventricular = |beat: &Beat| beat.class == Some(BeatClass::Ventricular);
        let last = self.recent.back();
        if last.is_some_and(|last| ventricular(last) == ventricular(beat)) {
            self.alternating = false;
        }
        let other = self.run_other.take();
        if beat.class == Some(BeatClass::Ventricular) {
            match other {
                Some(other) if within(other) => {
                    self.run.push(other);
                    self.run_others += 1;
                }
                Some(_) => self.end_run(ended),
                None => {}
            }
            self.run.push(beat.at);
        } else if other.is_none()
            && !self.alternating
            && self.run.last().is_some_and(|last| within(*last))
        {
            // Every second beat looks otherwise: bigeminy.
            self.alternating = self.run_others > 0 && 2 * self.run_others + 1 >= self.run.len();
            if self.alternating {
                self.run.clear();
                self.run_others = 0;
            } else {
                self.run_other = Some(beat.at);
            }
        } else {
            self.end_run(ended);
        }
    }

    fn end_run(&mut self, ended: &mut Vec<RhythmEvent>) {
        self.run_other = None;
        self.run_others = 0;
        let run = std::mem::take(&mut self.run);
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            return;
        };
        let intervals = run.len().saturating_sub(1);
        let mean_s = self.apart_s(*first, *last) / num::float(intervals.max(1));
        if run.len() >= RUN_BEATS && mean_s > 0.0 && mean_s <= RUN_MEAN_S {
            ended.push(RhythmEvent {
                kind: RhythmKind::VentricularRun,
                from: *first,
                to: *last,
                beats: run.len(),
                value: 60.0 / mean_s,
            });
        }
    }

    fn interval(&mut self, beat: &Beat, p_wave: Option<f64>, ended: &mut Vec<RhythmEvent>) {
        let Some(last) = self.recent.back().copied() else {
            return;
        };
        let ventricular = |class| class == Some(BeatClass::Ventricular);
        let interval_s = self.apart_s(last.at, beat.at);
        if interval_s > LONGEST_S {
            return;
        }
        let ectopic = ventricular(beat.class) || ventricular(last.class);
        let beside = Beside {
            interval_s,
            ectopic,
            p_wave,
        };
        self.intervals.push_back((beat.at, beside));
        if self.intervals.len() > WINDOW {
            self.intervals.pop_front();
        }
        self.irregular(ended);
    }

    /// Judges the window of intervals; what is said holds for its middle.
    fn irregular(&mut self, ended: &mut Vec<RhythmEvent>) {
        if self.intervals.len() < WINDOW {
            return;
        }
        let window: Vec<Beside> = self.intervals.iter().map(|(_, one)| *one).collect();
        let Some(seen) = irregularity(&window) else {
            return;
        };
        let middle = self.intervals.get(WINDOW / 2).map(|(at, _)| *at);
        let now = middle.unwrap_or(SampleIndex(0));
        let [_, _, _, _, _, _, _, _, mean_s, ..] = seen;
        let forest = if window.iter().all(|one| one.p_wave.is_some()) {
            &self.fibrillation
        } else {
            &self.by_intervals
        };
        if forest.score(&seen) > 0.0 {
            let af = self.af.get_or_insert(RhythmEvent {
                kind: RhythmKind::AfSuspected,
                from: now,
                to: now,
                beats: 1,
                value: 60.0 / mean_s,
            });
            af.to = now;
            af.beats += 1;
        } else if let Some(af) = self.af
            && self.apart_s(af.to, now) > AF_JOIN_S
        {
            self.end_af(ended);
        }
    }

    fn end_af(&mut self, ended: &mut Vec<RhythmEvent>) {
        if let Some(af) = self.af.take()
            && self.apart_s(af.from, af.to) >= AF_LEAST_S
        {
            ended.push(af);
        }
    }
}

/// Opens, lengthens or ends a span.
fn follow(
    open: &mut Option<RhythmEvent>,
    holds: bool,
    kind: RhythmKind,
    (from, to, bpm): (SampleIndex, SampleIndex, f64),
    ended: &mut Vec<RhythmEvent>,
) {
    match open {
        Some(event) if holds => {
            event.to = to;
            event.beats += 1;
            event.value = if kind == RhythmKind::Bradycardia {
                event.value.min(bpm)
            } else {
                event.value.max(bpm)
            };
        }
        // Spans that touch are one.
        Some(event) if event.to >= from => {}
        Some(event) => {
            ended.push(*event);
            *open = None;
        }
        None if holds => {
            *open = Some(RhythmEvent {
                kind,
                from,
                to,
                beats: RATE_INTERVALS + 1,
                value: bpm,
            });
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Beat, BeatClass, RhythmEvent, RhythmKind, RhythmTracker, SampleIndex, SamplingRate,
    };

    fn follow(beats: impl IntoIterator<Item = (f64, BeatClass)>) -> Vec<RhythmEvent> {
        let mut tracker = RhythmTracker::new(SamplingRate::hz(1_000).unwrap());
        let mut at = 0.0;
        let mut told = Vec::new();
        for (interval_s, class) in beats {
            at += interval_s * 1_000.0;
            let beat = Beat {
                at: SampleIndex(crate::num::round_u64(at)),
                class: Some(class),
            };
            told.extend(tracker.push(beat));
        }
        told.extend(tracker.finish());
        told
    }

    fn normal(interval_s: f64, count: usize) -> Vec<(f64, BeatClass)> {
        vec![(interval_s, BeatClass::Normal); count]
    }

    fn kinds(events: &[RhythmEvent]) -> Vec<RhythmKind> {
        events.iter().map(|event| event.kind).collect()
    }

    #[test]
    fn a_calm_rhythm_has_no_events() {
        assert!(follow(normal(0.8, 200)).is_empty());
    }

    #[test]
    fn three_seconds_without_a_beat_are_a_pause_and_a_little_less_is_none() {
        let with = |gap| [normal(0.8, 5), normal(gap, 1), normal(0.8, 5)].concat();
        let told = follow(with(3.0));
        assert_eq!(kinds(&told), [RhythmKind::Pause]);
        assert_eq!(told[0].value, 3.0);
        assert!(follow(with(2.99)).is_empty());
    }

    #[test]
    fn slow_and_fast_spans_are_named_once_with_their_extreme() {
        let told = follow([normal(0.8, 20), normal(1.6, 20), normal(0.8, 20)].concat());
        assert_eq!(kinds(&told), [RhythmKind::Bradycardia]);
        assert!((told[0].value - 37.5).abs() < 0.1);
        let told = follow([normal(0.8, 20), normal(0.35, 30), normal(0.8, 20)].concat());
        assert_eq!(kinds(&told), [RhythmKind::Tachycardia]);
        assert!((told[0].value - 171.4).abs() < 0.1);
    }

    #[test]
    fn three_fast_ventricular_beats_are_a_run_and_a_couplet_is_none() {
        let run = |beats| {
            let ventricular = vec![(0.4, BeatClass::Ventricular); beats];
            follow([normal(0.8, 10), ventricular, normal(0.8, 10)].concat())
        };
        assert!(run(2).is_empty());
        let told = run(4);
        assert_eq!(kinds(&told), [RhythmKind::VentricularRun]);
        assert_eq!((told[0].beats, told[0].value), (4, 150.0));
    }

    #[test]
    fn a_run_goes_on_over_one_beat_that_looks_otherwise_and_a_fast_bigeminy_is_none() {
        let ventricular = (0.4, BeatClass::Ventricular);
        let run = [
            ventricular,
            ventricular,
            (0.4, BeatClass::Normal),
            ventricular,
        ];
        let told = follow([normal(0.8, 10), run.to_vec(), normal(0.8, 10)].concat());
        assert_eq!(kinds(&told), [RhythmKind::VentricularRun]);
        assert_eq!((told[0].beats, told[0].value), (4, 150.0));
        for coupled_s in [0.45, 0.55] {
            let bigeminy = [ventricular, (coupled_s, BeatClass::Normal)].repeat(20);
            let beats = [normal(0.7, 10), bigeminy, normal(0.7, 10)].concat();
            assert!(follow(beats).is_empty(), "{coupled_s}");
        }
    }

    #[test]
    fn irregular_intervals_for_half_a_minute_are_suspected_and_bigeminy_is_not() {
        let mut state = 9_u32;
        let scattered: Vec<(f64, BeatClass)> = (0..120)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (
                    0.45 + 0.5 * f64::from(state >> 8) / f64::from(1_u32 << 24),
                    BeatClass::Normal,
                )
            })
            .collect();
        let told = follow([normal(0.8, 40), scattered, normal(0.8, 60)].concat());
        assert_eq!(kinds(&told), [RhythmKind::AfSuspected], "{told:?}");
        let bigeminy = [(0.5, BeatClass::Ventricular), (1.1, BeatClass::Normal)].repeat(80);
        assert!(follow(bigeminy).is_empty());
    }
}
