//! Frames with a time of the device's clock, alone and beside a counter.

use super::{Placement, Timeline, at};
use crate::device::IntegrityClass;
use crate::gap::{Gap, GapCause};
use crate::index::{SampleCount, SampleIndex};
use crate::rate::SamplingRate;

/// 130 Hz in frames of 73 samples, as a Polar strap sends them, with a true rate that is
/// `percent` faster than nominal.
pub(super) struct Strap {
    pub(super) timeline: Timeline,
    period_ns: u64,
    pub(super) origin_ns: u64,
    pub(super) gaps: Vec<(u64, u64, u64)>,
}

impl Strap {
    pub(super) fn new(percent: i64) -> Self {
        let nominal = 1_000_000_000_i64 / 130;
        Self {
            timeline: Timeline::new(
                SamplingRate::hz(130).unwrap(),
                IntegrityClass::TimeStamped,
                None,
                SampleIndex(0),
            ),
            period_ns: u64::try_from(nominal * 100 / (100 + percent)).unwrap(),
            origin_ns: 599_616_000_000_000_000,
            gaps: Vec::new(),
        }
    }

    /// When the last sample of a frame is taken.
    pub(super) const fn taken_ns(&self, number: u64) -> u64 {
        (number + 1) * 73 * self.period_ns
    }

    pub(super) fn frame(&mut self, number: u64) -> Placement {
        let taken = self.taken_ns(number);
        let arrival = at(taken / 1000 + 20_000);
        let placed = self
            .timeline
            .place_ticks(self.origin_ns + taken, SampleCount(73), arrival);
        if let Placement::Block { gap: Some(gap), .. } = placed {
            self.gaps.push((gap.from.0, gap.len.0, gap.uncertainty.0));
        }
        placed
    }
}

#[test]
fn time_stamps_at_a_rate_that_is_a_little_off_are_no_gap() {
    for percent in [-4, -2, 0, 2, 4] {
        let mut strap = Strap::new(percent);
        (0..500).for_each(|number| {
            strap.frame(number);
        });
        assert_eq!(strap.gaps, [], "{percent} %");
    }
}

#[test]
fn a_step_of_the_time_stamps_is_a_gap_of_the_lost_frames() {
    for percent in [-2, 0, 2] {
        let mut strap = Strap::new(percent);
        for number in (0..500).filter(|number| !(200..203).contains(number)) {
            strap.frame(number);
        }
        let [(from, len, uncertainty)] = strap.gaps[..] else {
            panic!("{:?}", strap.gaps);
        };
        assert_eq!((from, len), (200 * 73, 3 * 73), "{percent} %");
        assert!(uncertainty <= 2);
    }
}

#[test]
fn the_same_time_stamp_is_a_repeat_and_an_earlier_one_is_late() {
    let mut strap = Strap::new(0);
    (0..20).for_each(|number| {
        strap.frame(number);
    });
    assert!(matches!(strap.frame(19), Placement::Repeated { .. }));
    assert!(matches!(strap.frame(17), Placement::Late { .. }));
    assert!(matches!(
        strap.frame(20),
        Placement::Block { gap: None, .. }
    ));
}

#[test]
fn a_clock_that_jumps_by_years_is_a_new_time_line_and_no_gap_of_years() {
    let mut strap = Strap::new(0);
    (0..100).for_each(|number| {
        strap.frame(number);
    });
    // The strap is given the time of day: seven years forward.
    strap.origin_ns += 220_000_000_000_000_000;
    (100..200).for_each(|number| {
        strap.frame(number);
    });
    assert_eq!(strap.gaps, []);
    // It was off for a minute, and its clock starts in 2019 again.
    strap.origin_ns -= 220_000_000_000_000_000;
    for number in 310..400 {
        strap.frame(number);
    }
    let [(from, len, uncertainty)] = strap.gaps[..] else {
        panic!("{:?}", strap.gaps);
    };
    assert_eq!(from, 200 * 73);
    assert!(
        len.abs_diff(110 * 73) <= uncertainty,
        "{len} ± {uncertainty}"
    );
}

/// A strap that carries a counter and its own clock: when its frame comes, with which counter, and
/// at which of its milliseconds.
pub(super) fn place_strap(
    timeline: &mut Timeline,
    came_ms: u64,
    seq: u32,
    clock_ms: u64,
) -> Option<Gap> {
    let arrival = at(1_000_000 + came_ms * 1000);
    let placed = timeline.place_counted_ticks(seq, clock_ms * 1_000_000, SampleCount(63), arrival);
    match placed {
        Placement::Block { gap, .. } => gap,
        other => panic!("{other:?}"),
    }
}

pub(super) fn strap() -> Timeline {
    let rate = SamplingRate::hz(250).unwrap();
    let mut timeline = Timeline::new(rate, IntegrityClass::Counted, Some(256), SampleIndex(0));
    for frame in 0..40 {
        let seq = u32::try_from(frame).unwrap();
        let gap = place_strap(&mut timeline, frame * 252, seq, 500_000 + frame * 252);
        assert_eq!(gap, None);
    }
    timeline
}

#[test]
fn a_restart_shows_by_a_counter_that_contradicts_the_clock() {
    for seq in [0, 7, 41, 200] {
        let mut timeline = strap();
        // away for ten frames, and back with any counter
        let gap = place_strap(&mut timeline, 50 * 252, seq, 500_000 + 50 * 252).unwrap();
        assert_eq!(gap.cause, GapCause::SourceLost, "{seq}");
        assert!(gap.len.0.abs_diff(630) <= gap.uncertainty.0, "{gap:?}");
        let next = place_strap(&mut timeline, 51 * 252, seq + 1, 500_000 + 51 * 252);
        assert_eq!(next, None);
    }
}

#[test]
fn counter_and_clock_that_agree_prove_a_loss_to_the_frame_and_to_the_turn() {
    for lost in [1, 9, 255, 256, 700] {
        let mut timeline = strap();
        let frame = 40 + lost;
        let seq = u32::try_from(frame % 256).unwrap();
        let gap = place_strap(&mut timeline, frame * 252, seq, 500_000 + frame * 252).unwrap();
        let told = (gap.len.0, gap.uncertainty.0, gap.cause);
        assert_eq!(told, (lost * 63, 0, GapCause::FramesLost));
    }
}

#[test]
fn a_clock_that_is_set_is_no_loss_and_one_that_was_lost_with_its_counter_is() {
    let mut timeline = strap();
    assert_eq!(place_strap(&mut timeline, 40 * 252, 40, 90_000_000), None);
    assert_eq!(timeline.counts().clock_resets, 1);
    // two frames later by arrival, and by the counter
    let gap = place_strap(&mut timeline, 43 * 252, 43, 1_000).unwrap();
    assert_eq!((gap.len.0, gap.cause), (126, GapCause::FramesLost));
    // a restart: counter and clock begin anew
    let gap = place_strap(&mut timeline, 52 * 252, 0, 0).unwrap();
    assert_eq!(gap.cause, GapCause::SourceLost);
    assert!(gap.len.0.abs_diff(8 * 63) <= gap.uncertainty.0, "{gap:?}");
}

#[test]
fn frames_that_are_swapped_right_behind_a_restart_are_late_and_no_restart() {
    let mut timeline = strap();
    let gap = place_strap(&mut timeline, 51 * 252, 1, 500_000 + 51 * 252).unwrap();
    assert_eq!(gap.cause, GapCause::SourceLost);
    let late = timeline.place_counted_ticks(
        0,
        (500_000 + 50 * 252) * 1_000_000,
        SampleCount(63),
        at(1_000_000 + 51 * 252_000),
    );
    assert_eq!(late, Placement::Late { seq: 0 });
    let next = place_strap(&mut timeline, 52 * 252, 2, 500_000 + 52 * 252);
    assert_eq!(next, None);
}

#[test]
fn a_frame_that_changed_places_with_the_first_of_a_time_line_is_late() {
    for jump_ns in [None, Some(3_600_000_000_000_u64)] {
        let mut strap = Strap::new(0);
        if let Some(jump_ns) = jump_ns {
            (0..10).for_each(|number| {
                strap.frame(number);
            });
            strap.origin_ns += jump_ns;
        }
        // the frame before the first one comes right behind it
        strap.frame(11);
        let came = at(strap.taken_ns(11) / 1000 + 21_000);
        let stamp = strap.origin_ns + strap.taken_ns(10);
        let placed = strap.timeline.place_ticks(stamp, SampleCount(73), came);
        assert!(matches!(placed, Placement::Late { .. }), "{placed:?}");
        assert!(matches!(
            strap.frame(12),
            Placement::Block { gap: None, .. }
        ));
    }
}

#[test]
fn a_clock_that_jumps_back_by_a_frame_behind_the_first_one_drops_nothing() {
    let mut strap = Strap::new(0);
    strap.frame(0);
    // two frames back: its next frame ends where the first one began
    strap.origin_ns -= 2 * 73 * (1_000_000_000 / 130);
    let next = strap.frame(1);
    assert!(
        matches!(next, Placement::Block { gap: None, .. }),
        "{next:?}"
    );
}
