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
