//! Clocks that jump by less than a silence may last, and first frames that waited.

use proptest::prelude::*;

use super::stamps::{Strap, place_strap, strap};
use super::{FRAME_US, Placement, at, counted};
use crate::gap::GapCause;
use crate::index::SampleCount;

const JUMPS_MS: [i64; 10] = [
    -4_900, -3_000, -1_123, -600, -200, 200, 600, 1_123, 3_000, 4_900,
];

#[test]
fn a_clock_that_jumps_by_seconds_is_no_loss_and_drops_no_frame() {
    for jump_ms in JUMPS_MS {
        let mut strap = Strap::new(0);
        (0..100).for_each(|number| {
            strap.frame(number);
        });
        strap.origin_ns = strap.origin_ns.saturating_add_signed(jump_ms * 1_000_000);
        for number in 100..200 {
            let placed = strap.frame(number);
            assert!(matches!(placed, Placement::Block { gap: None, .. }));
        }
        assert_eq!(strap.timeline.next().0, 200 * 73, "{jump_ms} ms");
        assert_eq!(strap.timeline.counts().clock_resets, 1, "{jump_ms} ms");
    }
}

#[test]
fn a_counter_that_goes_on_tells_a_clock_that_jumps_from_a_loss() {
    for jump_ms in JUMPS_MS {
        let mut timeline = strap();
        let clock_ms = |frame: u64| (500_000 + frame * 252).saturating_add_signed(jump_ms);
        for frame in 40..60_u64 {
            let seq = u32::try_from(frame).unwrap();
            let gap = place_strap(&mut timeline, frame * 252, seq, clock_ms(frame));
            assert_eq!(gap, None, "{jump_ms} ms");
        }
        assert_eq!(timeline.counts().clock_resets, 1, "{jump_ms} ms");
        // a loss behind it is one of its length
        let gap = place_strap(&mut timeline, 63 * 252, 63, clock_ms(63)).unwrap();
        assert_eq!((gap.len.0, gap.uncertainty.0), (3 * 63, 0));
        assert_eq!(gap.cause, GapCause::FramesLost);
    }
}

#[test]
fn a_clock_that_jumps_ahead_while_its_frames_are_late_is_claimed_as_a_loss() {
    let mut strap = Strap::new(0);
    (0..100).for_each(|number| {
        strap.frame(number);
    });
    // two seconds late, and two seconds ahead: so a loss of two seconds looks
    let taken_ns = strap.taken_ns(100);
    let late = at(taken_ns / 1000 + 2_020_000);
    let stamp = strap.origin_ns + taken_ns + 2_000_000_000;
    let placed = strap.timeline.place_ticks(stamp, SampleCount(73), late);
    let Placement::Block { gap: Some(gap), .. } = placed else {
        panic!("{placed:?}");
    };
    assert!(gap.len.0.abs_diff(260) <= gap.uncertainty.0, "{gap:?}");
}

#[test]
fn a_clock_that_jumps_ahead_by_less_than_its_first_frame_may_have_waited_is_a_loss_that_may_be_none()
 {
    for waited_us in [0, 500_000] {
        let mut strap = Strap::new(0);
        strap
            .timeline
            .note_taken_since(at(strap.taken_ns(0) / 1000 + 20_000 - waited_us));
        (0..3).for_each(|number| {
            strap.frame(number);
        });
        strap.origin_ns += 300_000_000;
        let Placement::Block { first, gap } = strap.frame(3) else {
            panic!("the frame is there");
        };
        assert_eq!(strap.timeline.counts().clock_resets, 1);
        match gap {
            // a first frame that came at once proves that the clock jumped
            None => assert_eq!((waited_us, first.0), (0, 3 * 73)),
            Some(gap) => {
                assert_eq!((waited_us, gap.from.0), (500_000, 3 * 73));
                assert_eq!(gap.len, gap.uncertainty, "from none");
                assert!((39..=50).contains(&(gap.len.0 * 2)), "to 0.3 s: {gap:?}");
            }
        }
        (4..20).for_each(|number| {
            assert!(matches!(
                strap.frame(number),
                Placement::Block { gap: None, .. }
            ));
        });
    }
}

#[test]
fn a_clock_that_jumps_back_into_a_loss_drops_nothing() {
    let mut strap = Strap::new(0);
    for number in (0..10).filter(|number| *number != 6) {
        strap.frame(number);
    }
    // four frames back: the next stamp is that of the frame that was lost
    strap.origin_ns -= 4 * 73 * (1_000_000_000 / 130);
    for number in 10..20 {
        let placed = strap.frame(number);
        assert!(
            matches!(placed, Placement::Block { gap: None, .. }),
            "{placed:?}"
        );
    }
    let places: Vec<(u64, u64)> = strap.gaps.iter().map(|gap| (gap.0, gap.1)).collect();
    assert_eq!(places, [(6 * 73, 73)]);
    assert_eq!(strap.timeline.counts().late_frames, 0);
}

#[test]
fn an_absence_is_as_uncertain_as_clock_and_arrival_differ() {
    for apart_ms in [0, 90] {
        let mut strap = Strap::new(0);
        (0..100).for_each(|number| {
            strap.frame(number);
        });
        // away for ten frames; the clock went on, or started anew and shows about the same time
        strap.origin_ns += apart_ms * 1_000_000;
        let nanos = strap.origin_ns + strap.taken_ns(110);
        let arrival = at(strap.taken_ns(110) / 1000 + 20_000);
        assert!(strap.timeline.ticks_go_on(nanos, arrival));
        let Placement::Block { gap: Some(gap), .. } = strap.frame(110) else {
            panic!("an absence is a gap");
        };
        let wrong = gap.len.0.abs_diff(10 * 73);
        assert!(wrong <= gap.uncertainty.0, "{gap:?}");
        assert!(
            gap.uncertainty.0 <= 6 + apart_ms * 130 / 1000 + 1,
            "{gap:?}"
        );
    }
}

#[test]
fn what_was_asked_for_just_now_cannot_have_waited_long() {
    for waited_us in [0, 4_000, 300_000, 2_000_000] {
        let mut timeline = counted();
        for number in 0..500_u64 {
            let seq = u32::try_from(number % 256).unwrap();
            timeline.place(Some(seq), SampleCount(1), at(1_000_000 + number * FRAME_US));
        }
        let back = at(9_000_000);
        timeline.note_taken_since(back.minus_micros(waited_us));
        let gap = timeline
            .gap_until(GapCause::SourceLost, SampleCount(1), back)
            .unwrap();
        assert_eq!(gap.uncertainty.0, (waited_us / FRAME_US).max(5));
    }
}

proptest! {
    #[test]
    fn an_absence_is_as_long_as_stated_however_the_frames_around_it_were_delayed(
        runs in proptest::collection::vec((100_u64..2_000, 0_u64..400, 1_u64..400, 0_u64..50), 1..6),
    ) {
        let mut timeline = counted();
        // true and stated place of the sample behind the last one
        let mut before: Option<(u64, u64)> = None;
        let mut number = 0;
        for (away, waits, frames, asked) in runs {
            number += away;
            // asked for a little before its first frame, whose way is blocked for a while
            let since = at(1_000_000 + number.saturating_sub(asked) * FRAME_US);
            let free_us = 1_000_000 + (number + waits) * FRAME_US;
            for place in number..number + frames {
                let arrival = at((1_000_000 + place * FRAME_US).max(free_us));
                if place == number {
                    timeline.note_taken_since(since);
                    if let Some((true_end, stated_end)) = before {
                        let gap = timeline
                            .gap_until(GapCause::SourceLost, SampleCount(1), arrival)
                            .unwrap();
                        prop_assert_eq!(gap.from.0, stated_end);
                        let length = number - true_end;
                        prop_assert!(gap.len.0.abs_diff(length) <= gap.uncertainty.0 + 1, "{:?}, but {}", gap, length);
                        timeline.resume_after(gap);
                    }
                }
                let seq = u32::try_from((place - number) % 256).unwrap();
                timeline.place(Some(seq), SampleCount(1), arrival);
            }
            number += frames;
            before = Some((number, timeline.next().0));
        }
    }
}
