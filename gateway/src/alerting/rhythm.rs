//! What the beats of many windows say together: whether they look like atrial fibrillation.
//!
//! - The answer for a window follows from that window and those of the last ninety seconds before
//!   it, and from nothing else: however they are read, at once or as they come, it is the same, and
//!   the same again from stored bytes a year later.
//! - A beat is where the newest window that covers it says. Intervals across a hole count for
//!   nothing.
//! - With too few beats, or with more than a third of the windows insufficient, nothing is said.
//!
//! Deliberately absent: the method (`cardio_signal::rhythm`), classes of beats, which windows of a
//! box do not tell, and rates that a sensor tells, which are no beats.

use std::collections::VecDeque;

use cardio_alert::{Algorithm, Fact, Rhythm};
use cardio_core::annotation::Beat;
use cardio_core::index::SampleIndex;
use cardio_core::quality::QualityVerdict;
use cardio_core::rate::SamplingRate;
use cardio_signal::rhythm::{EVENT_ALGORITHM, RhythmKind, RhythmTracker, WINDOW};

/// How far back windows count.
const LOOK_BACK_US: u64 = 90_000_000;

/// The last windows of one acquisition.
#[derive(Debug, Default)]
pub(super) struct Windows {
    seen: VecDeque<Seen>,
    beats: VecDeque<SampleIndex>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: SampleIndex,
    end: SampleIndex,
    poor: bool,
}

/// How many samples back windows count.
pub(super) fn look_back(rate: SamplingRate) -> u64 {
    rate.count_in_micros(LOOK_BACK_US).0
}

impl Windows {
    /// Takes the next window, in the order of their ends, and says what follows from it.
    pub(super) fn push(&mut self, fact: &Fact) -> Option<Rhythm> {
        let beats = fact.beats.as_ref()?;
        let end = fact.first.after(fact.len);
        while self.beats.back().is_some_and(|beat| *beat >= fact.first) {
            self.beats.pop_back();
        }
        let within = |beat: &&SampleIndex| (fact.first..end).contains(*beat);
        self.beats.extend(beats.iter().filter(within));
        self.seen.push_back(Seen {
            first: fact.first,
            end,
            poor: fact.verdict == QualityVerdict::Insufficient,
        });
        let since = SampleIndex(end.0.saturating_sub(look_back(fact.rate)));
        while self.seen.front().is_some_and(|seen| seen.end <= since) {
            self.seen.pop_front();
        }
        while self.beats.front().is_some_and(|beat| *beat < since) {
            self.beats.pop_front();
        }
        self.says(fact.rate)
    }

    fn says(&self, rate: SamplingRate) -> Option<Rhythm> {
        let poor = self.seen.iter().filter(|seen| seen.poor).count();
        if 3 * poor > self.seen.len() {
            return None;
        }
        let mut tracker = RhythmTracker::new(rate);
        let mut in_a_row = 0;
        let mut holes = self.holes().peekable();
        for at in &self.beats {
            while holes.next_if(|hole| hole <= at).is_some() {
                tracker.finish();
                in_a_row = 0;
            }
            tracker.push(Beat {
                at: *at,
                class: None,
            });
            in_a_row += 1;
        }
        if in_a_row <= WINDOW {
            return None;
        }
        // What goes on now is what ends with the last beat.
        let mut ended = tracker.finish().into_iter();
        let fibrillation = ended.find(|event| event.kind == RhythmKind::AfSuspected);
        Some(Rhythm {
            fibrillation_since: fibrillation.map(|event| event.from),
            algorithm: Algorithm {
                name: EVENT_ALGORITHM.name.to_owned(),
                version: EVENT_ALGORITHM.version,
            },
        })
    }

    /// Where windows begin that do not touch those before them.
    fn holes(&self) -> impl Iterator<Item = SampleIndex> {
        let mut covered: Option<SampleIndex> = None;
        let seen = self.seen.iter();
        seen.filter_map(move |seen| {
            let before = covered.replace(covered.map_or(seen.end, |end| end.max(seen.end)));
            before
                .is_some_and(|end| end < seen.first)
                .then_some(seen.first)
        })
    }
}

#[cfg(test)]
mod tests {
    use cardio_core::acquisition::Attendance;
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::AcquisitionId;
    use cardio_core::index::SampleCount;
    use proptest::prelude::*;

    use super::*;

    const HZ: u64 = 250;

    fn window(beats: &[u64], second: u64) -> Fact {
        let (first, end) = ((second - 10) * HZ, second * HZ);
        let within = beats.iter().filter(|beat| (first..end).contains(beat));
        Fact {
            acquisition: AcquisitionId([1; 16]),
            first: SampleIndex(first),
            len: SampleCount(10 * HZ),
            rate: SamplingRate::hz(250).unwrap(),
            at: UtcMicros(0),
            attendance: Attendance::Attended,
            verdict: QualityVerdict::Good,
            causes: Vec::new(),
            suspect_electrode: None,
            bpm: Some(70.0),
            beats: Some(within.map(|beat| SampleIndex(*beat)).collect()),
            rhythm: None,
            algorithms: Vec::new(),
        }
    }

    /// Beats of two minutes, 700 ms apart give or take half of `spread_ms`.
    fn heart(spread_ms: u64) -> Vec<u64> {
        let mut state = 7_u32;
        let mut at = 0;
        let mut beats = Vec::new();
        while at < 120 * HZ {
            beats.push(at);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let scatter = u64::from(state >> 8) * spread_ms / (1 << 24);
            at += (700 + scatter - spread_ms / 2) * HZ / 1000;
        }
        beats
    }

    fn said(beats: &[u64], seconds: std::ops::RangeInclusive<u64>) -> Vec<Option<bool>> {
        let mut windows = Windows::default();
        let each = seconds.map(|second| windows.push(&window(beats, second)));
        each.map(|says| says.map(|says| says.fibrillation_since.is_some()))
            .collect()
    }

    #[test]
    fn an_irregular_heart_is_suspected_once_half_a_minute_shows_it() {
        let scattered = said(&heart(450), 10..=120);
        let first = scattered
            .iter()
            .position(|says| *says == Some(true))
            .unwrap();
        assert!((30..=80).contains(&first), "{first}");
        assert_eq!(scattered[5], None, "too few beats say nothing");
        let regular = said(&heart(20), 10..=120);
        assert!(!regular.contains(&Some(true)) && regular.ends_with(&[Some(false)]));
    }

    #[test]
    fn a_hole_and_bad_signal_take_the_ground_away() {
        let beats = heart(450);
        let mut windows = Windows::default();
        for second in 10..=70 {
            windows.push(&window(&beats, second));
        }
        // ten seconds without a window, then too few beats again
        assert_eq!(windows.push(&window(&beats, 90)), None);
        let mut windows = Windows::default();
        let mut last = None;
        for second in 10..=110 {
            let mut fact = window(&beats, second);
            if second % 2 == 0 {
                fact.verdict = QualityVerdict::Insufficient;
            }
            last = windows.push(&fact);
        }
        assert_eq!(last, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn windows_read_from_any_time_on_say_the_same(from in 10_u64..120, spread in 10_u64..500) {
            let beats = heart(spread);
            let mut all = Windows::default();
            let mut late = Windows::default();
            let back = look_back(SamplingRate::hz(250).unwrap());
            for second in 10..=120 {
                let fact = window(&beats, second);
                let says = all.push(&fact);
                if second * HZ + back > from * HZ {
                    let again = late.push(&fact);
                    if second >= from {
                        prop_assert_eq!(again, says);
                    }
                }
            }
        }
    }
}
