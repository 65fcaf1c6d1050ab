//! A device that must be asked: what is missing is told by each answer.

use proptest::prelude::*;

use super::{Placement, Timeline, at};
use crate::device::IntegrityClass;
use crate::gap::{Gap, GapCause};
use crate::index::{SampleCount, SampleIndex};
use crate::rate::SamplingRate;

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// The device takes no note of it, and its samples wait for the next one.
    Unheard,
    /// Its answer, and what that carries, is lost on its way.
    Lost,
}

/// 125 Hz, asked every half a second, and two seconds after a question without an answer.
struct Patch {
    timeline: Timeline,
    /// How much faster than nominal it samples, in parts per thousand.
    faster: i64,
    asked_us: u64,
    /// Samples that it handed over, whether they came or not.
    handed: u64,
    placed: u64,
    lost: u64,
    gaps: Vec<Gap>,
}

impl Patch {
    fn new(faster: i64) -> Self {
        let rate = SamplingRate::hz(125).unwrap();
        let class = IntegrityClass::Uncounted;
        Self {
            timeline: Timeline::new(rate, class, None, SampleIndex(0)),
            faster,
            asked_us: 1_000_000,
            handed: 0,
            placed: 0,
            lost: 0,
            gaps: Vec::new(),
        }
    }

    /// Asks; the answer is under way for `way_us`, and says what was taken before it left.
    fn ask(&mut self, fate: Fate, way_us: u64) {
        let period_us = u64::try_from(8_000 * 1_000 / (1_000 + self.faster)).unwrap();
        // it takes five samples together
        let taken = self.asked_us / period_us / 5 * 5;
        let samples = taken - self.handed;
        match fate {
            Fate::Unheard => {}
            Fate::Lost => (self.handed, self.lost) = (taken, self.lost + samples),
            Fate::Answered => {
                self.handed = taken;
                let arrival = at(self.asked_us + way_us);
                let placed =
                    self.timeline
                        .place_asked(SampleCount(samples), at(self.asked_us), arrival);
                let Placement::Block { first, gap } = placed else {
                    panic!("{placed:?}");
                };
                self.gaps.extend(gap);
                assert_eq!(gap.map_or(self.placed, |gap| gap.end().0), first.0);
                self.placed = first.0 + samples;
            }
        }
        self.asked_us += if fate == Fate::Answered {
            500_000
        } else {
            2_000_000
        };
    }
}

#[test]
fn a_lost_answer_is_told_by_the_next_one_and_a_question_that_nobody_heard_is_no_loss() {
    for (fates, lost) in [
        (vec![Fate::Unheard], 0),
        (vec![Fate::Lost], 60),
        (vec![Fate::Unheard, Fate::Lost], 310),
        (vec![Fate::Lost, Fate::Unheard], 60),
        (vec![Fate::Lost, Fate::Lost], 310),
        (vec![Fate::Lost, Fate::Answered, Fate::Lost], 125),
    ] {
        let mut patch = Patch::new(0);
        (0..10).for_each(|_| patch.ask(Fate::Answered, 30_000));
        let end = patch.placed;
        for fate in &fates {
            patch.ask(*fate, 30_000);
        }
        (0..10).for_each(|_| patch.ask(Fate::Answered, 30_000));
        assert!(patch.lost.abs_diff(lost) <= 5, "{fates:?}: {}", patch.lost);
        let told: u64 = patch.gaps.iter().map(|gap| gap.len.0).sum();
        assert!(
            told.abs_diff(patch.lost) <= 10,
            "{fates:?}: {:?}",
            patch.gaps
        );
        for gap in &patch.gaps {
            assert_eq!(gap.cause, GapCause::FewerThanTime);
            // two ways of an answer, and what is taken together
            assert!(gap.uncertainty.0 <= 30, "{gap:?}");
        }
        if let Some(gap) = patch.gaps.first() {
            assert_eq!(gap.from.0, end, "{fates:?}");
        }
    }
}

#[test]
fn an_answer_behind_a_silence_goes_on_where_it_holds_all_that_was_taken() {
    let mut patch = Patch::new(0);
    (0..10).for_each(|_| patch.ask(Fate::Answered, 30_000));
    // nothing was heard for five seconds
    let (asked, came) = (
        at(patch.asked_us + 5_000_000),
        at(patch.asked_us + 5_030_000),
    );
    let goes_on = |samples| {
        let timeline = &patch.timeline;
        timeline.asked_goes_on(SampleCount(samples), asked, came)
    };
    assert!(goes_on(690));
    assert!(!goes_on(62));
    let fresh = Patch::new(0).timeline;
    assert!(!fresh.asked_goes_on(SampleCount(690), asked, came));
}

#[test]
fn a_device_whose_rate_is_a_little_off_loses_nothing() {
    for faster in [-20, -1, 1, 20] {
        let mut patch = Patch::new(faster);
        (0..2_000).for_each(|_| patch.ask(Fate::Answered, 50_000));
        assert_eq!(patch.gaps, [], "{faster} parts per thousand");
    }
}

proptest! {
    #[test]
    fn what_is_stated_holds_what_was_lost_however_answers_are_under_way(
        steps in proptest::collection::vec((0_u8..8, 0_u64..150_000), 1..60),
    ) {
        let mut patch = Patch::new(0);
        (0..4).for_each(|_| patch.ask(Fate::Answered, 30_000));
        let mut alone = 0;
        for (kind, way_us) in steps {
            let fate = match kind {
                // a third question without an answer ends the conversation
                0 if alone < 2 => Fate::Unheard,
                1 if alone < 2 => Fate::Lost,
                _ => Fate::Answered,
            };
            alone = if fate == Fate::Answered { 0 } else { alone + 1 };
            patch.ask(fate, way_us);
        }
        patch.ask(Fate::Answered, 30_000);
        let told: u64 = patch.gaps.iter().map(|gap| gap.len.0).sum();
        let uncertain: u64 = patch.gaps.iter().map(|gap| gap.uncertainty.0 + 1).sum();
        prop_assert!(told.abs_diff(patch.lost) <= uncertain, "{} lost, {:?}", patch.lost, patch.gaps);
    }
}
