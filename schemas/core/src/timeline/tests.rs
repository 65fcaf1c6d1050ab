use std::collections::BTreeMap;

use super::{Placement, Timeline};
use crate::clock::BoxInstant;
use crate::device::IntegrityClass;
use crate::gap::{Gap, GapCause};
use crate::ids::BootId;
use crate::index::{SampleCount, SampleIndex};
use crate::rate::SamplingRate;
use stamps::Strap;

mod any;
mod asked;
mod jumps;
mod stamps;

const FRAME_US: u64 = 4_000;

fn at(micros: u64) -> BoxInstant {
    BoxInstant {
        boot: BootId([1; 16]),
        micros,
    }
}

fn counted() -> Timeline {
    Timeline::new(
        SamplingRate::hz(250).unwrap(),
        IntegrityClass::Counted,
        Some(256),
        SampleIndex(0),
    )
}

/// 128 Hz in frames of eight: 62.5 ms per frame.
fn uncounted() -> Timeline {
    Timeline::new(
        SamplingRate::hz(128).unwrap(),
        IntegrityClass::Uncounted,
        None,
        SampleIndex(0),
    )
}

/// Plays the frames with these numbers, each on time, and gives the gaps as (from, length).
fn play(timeline: &mut Timeline, numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut gaps = Vec::new();
    for number in numbers {
        let seq = u32::try_from(number % 256).unwrap();
        let placed = timeline.place(Some(seq), SampleCount(1), at(1_000_000 + number * FRAME_US));
        let Placement::Block { first, gap } = placed else {
            panic!("frame {number}: {placed:?}");
        };
        assert_eq!(
            first,
            SampleIndex(number),
            "a frame is where its number says"
        );
        gaps.extend(gap.map(|gap| (gap.from.0, gap.len.0)));
    }
    gaps
}

#[test]
fn a_counter_that_wraps_is_no_gap() {
    let mut timeline = counted();
    assert_eq!(play(&mut timeline, 0..2000), []);
    assert_eq!(timeline.next(), SampleIndex(2000));
}

#[test]
fn lost_frames_are_a_gap_of_their_place_and_length() {
    let lost = |n: &u64| !(300..303).contains(n) && *n != 700;
    assert_eq!(
        play(&mut counted(), (0..1000).filter(lost)),
        [(300, 3), (700, 1)]
    );
}

#[test]
fn whole_turns_of_the_counter_are_told_by_time() {
    for missing in [300, 750, 1000, 255, 257] {
        let mut timeline = counted();
        let gaps = play(&mut timeline, (0..500).chain(500 + missing..3000));
        assert_eq!(gaps, [(500, missing)]);
        assert_eq!(timeline.counts().missing, SampleCount(missing));
    }
}

/// Plays frames with these numbers, each read at `read(number)` microseconds after its time;
/// frames of one instant are one read. Gives the gaps.
fn play_late(
    timeline: &mut Timeline,
    numbers: impl IntoIterator<Item = u64>,
    read: impl Fn(u64) -> u64,
) -> Vec<Gap> {
    let mut reads: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for number in numbers {
        let instant = 1_000_000 + number * FRAME_US + read(number);
        reads.entry(instant).or_default().push(number);
    }
    let mut gaps = Vec::new();
    for (instant, frames) in reads {
        timeline.note_backlog(SampleCount(u64::try_from(frames.len()).unwrap()));
        for number in frames {
            let seq = u32::try_from(number % 256).unwrap();
            let placed = timeline.place(Some(seq), SampleCount(1), at(instant));
            let Placement::Block { gap, .. } = placed else {
                panic!("frame {number}: {placed:?}");
            };
            gaps.extend(gap);
        }
    }
    gaps
}

/// How late a frame is read after a stall of `stall` frames from frame 500 on, when what
/// waits is read `chunk` frames at a time, `faster` per cent faster than it comes.
fn stalled(number: u64, stall: u64, chunk: u64, faster: u64) -> u64 {
    let Some(behind) = number.checked_sub(500) else {
        return 0;
    };
    let read = behind / chunk * chunk + chunk - 1;
    let worked_off = 500 + stall + read * 100 / (100 + faster);
    worked_off.saturating_sub(number) * FRAME_US
}

#[test]
fn exactly_whole_turns_are_told_within_two_seconds_of_pace() {
    for turns in 1..5 {
        let missing = turns * 256;
        let mut timeline = counted();
        let gaps = play_late(&mut timeline, (0..500).chain(500 + missing..6000), |_| 0);
        let [gap] = gaps[..] else {
            panic!("{turns}: {gaps:?}");
        };
        assert_eq!((gap.len.0, gap.uncertainty.0), (missing, 256));
        assert!((500..1000).contains(&gap.from.0), "{gap:?}");
        assert_eq!(timeline.next(), SampleIndex(6000));
    }
}

#[test]
fn a_whole_turn_that_a_delay_had_hidden_is_told_once_it_proves_lasting() {
    let mut timeline = counted();
    play(&mut timeline, 0..500);
    // Half a second comes late and at once; then 256 frames never come.
    let burst = at(1_000_000 + 620 * FRAME_US);
    timeline.note_backlog(SampleCount(120));
    for number in 500..620_u64 {
        let seq = u32::try_from(number % 256).unwrap();
        timeline.place(Some(seq), SampleCount(1), burst);
    }
    let gaps = play_late(&mut timeline, 620 + 256..6000, |_| 0);
    assert_eq!(
        gaps.iter().map(|gap| gap.len.0).sum::<u64>(),
        256,
        "{gaps:?}"
    );
    assert_eq!(timeline.next(), SampleIndex(6000));
}

#[test]
fn a_delay_of_more_than_a_turn_is_no_gap_when_the_backlog_shows_it() {
    let mut timeline = counted();
    play(&mut timeline, 0..500);
    // Nothing is read for 1.2 s, then everything at once.
    let arrival = at(1_000_000 + 800 * FRAME_US);
    timeline.note_backlog(SampleCount(300));
    for number in 500..800_u64 {
        let seq = u32::try_from(number % 256).unwrap();
        let placed = timeline.place(Some(seq), SampleCount(1), arrival);
        let first = SampleIndex(number);
        assert_eq!(placed, Placement::Block { first, gap: None });
    }
    assert_eq!(play(&mut timeline, 800..1000), []);
}

#[test]
fn repeated_and_late_frames_are_counted_and_not_placed() {
    let mut timeline = counted();
    play(&mut timeline, (0..100).filter(|n| *n != 98));
    let now = at(1_000_000 + 99 * FRAME_US);
    assert_eq!(
        timeline.place(Some(99), SampleCount(1), now),
        Placement::Repeated { seq: 99 }
    );
    assert_eq!(
        timeline.place(Some(98), SampleCount(1), now),
        Placement::Late { seq: 98 }
    );
    assert_eq!(
        timeline.place(Some(95), SampleCount(1), now),
        Placement::Repeated { seq: 95 }
    );
    assert_eq!(play(&mut timeline, 100..200), []);
    let counts = timeline.counts();
    assert_eq!((counts.repeated_frames, counts.late_frames), (2, 1));
    assert_eq!((counts.samples.0, counts.missing.0), (199, 1));
}

#[test]
fn the_frame_that_ends_an_absence_may_be_as_late_as_any_before_it() {
    let mut timeline = counted();
    play(&mut timeline, 0..400);
    // One frame of the last second came 45 ms late.
    timeline.place(
        Some(400 % 256),
        SampleCount(1),
        at(1_000_000 + 400 * FRAME_US + 45_000),
    );
    play(&mut timeline, 401..800);
    let back = at(1_000_000 + 3000 * FRAME_US + 40_000);
    let gap = timeline
        .gap_until(GapCause::SourceLost, SampleCount(1), back)
        .unwrap();
    assert!(gap.end().0.abs_diff(3000) > 0);
    assert!(
        gap.end().0.abs_diff(3000) <= gap.uncertainty.0,
        "{gap:?} claims more than a late frame allows"
    );
}

#[test]
fn a_source_that_returns_goes_on_behind_its_gap() {
    let mut timeline = counted();
    play(&mut timeline, 0..500);
    let back = at(1_000_000 + 3000 * FRAME_US);
    let gap = timeline
        .gap_until(GapCause::SourceLost, SampleCount(1), back)
        .unwrap();
    assert_eq!((gap.from, gap.end()), (SampleIndex(500), SampleIndex(3000)));
    assert!(gap.uncertainty.0 > 0);
    timeline.resume_after(gap);
    assert_eq!(
        timeline.place(Some(17), SampleCount(1), back),
        Placement::Block {
            first: SampleIndex(3000),
            gap: None
        }
    );
    let other_boot = BoxInstant {
        boot: BootId([2; 16]),
        micros: 5,
    };
    assert_eq!(
        timeline.gap_until(GapCause::BoxStopped, SampleCount(1), other_boot),
        None
    );
}

/// Plays `frames` frames of eight samples; `sent` says when each is sent, in microseconds,
/// or that it is lost. Gives the gaps as (from, length, uncertainty).
fn play_uncounted(
    timeline: &mut Timeline,
    frames: u64,
    sent: impl Fn(u64) -> Option<u64>,
) -> Vec<(u64, u64, u64)> {
    let mut gaps = Vec::new();
    for frame in 0..frames {
        let Some(arrival) = sent(frame) else { continue };
        let placed = timeline.place(None, SampleCount(8), at(arrival));
        if let Placement::Block { gap: Some(gap), .. } = placed {
            assert_eq!(gap.cause, GapCause::FewerThanTime);
            gaps.push((gap.from.0, gap.len.0, gap.uncertainty.0));
        }
    }
    gaps
}

#[test]
fn fewer_samples_than_time_demands_are_a_gap_of_whole_frames() {
    for lost in [1_u64, 3, 20, 100] {
        let mut timeline = uncounted();
        let gaps = play_uncounted(&mut timeline, 600, |frame| {
            let jitter = frame.wrapping_mul(2_654_435_761) % 15_000;
            (!(200..200 + lost).contains(&frame)).then_some(frame * 62_500 + jitter)
        });
        assert_eq!(gaps.len(), 1, "{lost}: {gaps:?}");
        let (from, len, uncertainty) = gaps[0];
        assert_eq!((len, uncertainty), (lost * 8, 8));
        assert!((1600..=1600 + 192).contains(&from), "{lost}: {from}");
        assert_eq!(timeline.next(), SampleIndex(4800));
    }
}

#[test]
fn a_stall_that_is_made_up_for_is_no_gap() {
    let mut timeline = uncounted();
    let gaps = play_uncounted(&mut timeline, 400, |frame| {
        let due = frame * 62_500;
        // Nothing comes for three seconds, then all of it.
        Some(if (100..148).contains(&frame) {
            148 * 62_500
        } else {
            due
        })
    });
    assert_eq!(gaps, []);
}

#[test]
fn a_slow_device_is_no_gap_and_its_drift_is_named() {
    for ppm in [-20_000_i64, -100, 0, 50, 20_000] {
        let mut timeline = uncounted();
        let gaps = play_uncounted(&mut timeline, 3200, |frame| {
            let due = i64::try_from(frame).unwrap() * 62_500 * (1_000_000 - ppm) / 1_000_000;
            let jitter = frame.wrapping_mul(2_654_435_761) % 5_000;
            Some(u64::try_from(due).unwrap() + jitter)
        });
        assert_eq!(gaps, [], "{ppm}");
        let drift = timeline.drift().unwrap();
        let expected = f64::from(i32::try_from(ppm).unwrap());
        // 1 / (1 - ppm) - 1 differs from ppm by its square.
        let tolerance = 20.0 + expected * expected / 1e6 * 1.5;
        assert!((drift.ppm - expected).abs() < tolerance, "{ppm}: {drift:?}");
        assert!(drift.standard_error_ppm < 20.0, "{drift:?}");
    }
}

/// 1000 Hz, one sample per frame, a counter of sixteen values: a turn of 16 ms.
fn fast_counter() -> Timeline {
    Timeline::new(
        SamplingRate::hz(1000).unwrap(),
        IntegrityClass::Counted,
        Some(16),
        SampleIndex(0),
    )
}

/// Plays frames that arrive in batches of 50 ms; gives the gaps.
fn play_fast(timeline: &mut Timeline, kept: impl Fn(u64) -> bool) -> Vec<(u64, u64, u64)> {
    let mut gaps = Vec::new();
    for number in (0..20_000_u64).filter(|number| kept(*number)) {
        let seq = u32::try_from(number % 16).unwrap();
        let arrival = at((number / 50 + 1) * 50_000);
        if let Placement::Block { gap: Some(gap), .. } =
            timeline.place(Some(seq), SampleCount(1), arrival)
        {
            gaps.push((gap.from.0, gap.len.0, gap.uncertainty.0));
        }
    }
    gaps
}

#[test]
fn batches_longer_than_a_turn_of_the_counter_are_no_gap() {
    assert_eq!(play_fast(&mut fast_counter(), |_| true), []);
}

#[test]
fn a_fast_counter_proves_a_loss_only_up_to_a_turn() {
    let gaps = play_fast(&mut fast_counter(), |number| {
        !(5000..5005).contains(&number)
    });
    assert_eq!(gaps, [(5000, 5, 16)]);
}

#[test]
fn whole_turns_of_a_fast_counter_show_as_fewer_samples_than_time_demands() {
    let mut timeline = fast_counter();
    let gaps = play_fast(&mut timeline, |number| !(5000..5160).contains(&number));
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let (from, len, _) = gaps[0];
    assert_eq!(len, 160);
    assert!((5000..6500).contains(&from), "{from}");
    assert_eq!(timeline.next(), SampleIndex(20_000));
}

#[test]
fn the_first_frame_of_a_new_time_line_has_its_instant() {
    let mut strap = Strap::new(0);
    for number in 0..10 {
        strap.frame(number);
    }
    strap.origin_ns += 3_600_000_000_000;
    let Placement::Block { first, gap: None } = strap.frame(10) else {
        panic!("an hour is no gap");
    };
    assert!(strap.timeline.instant_of(first).is_some());
}

#[test]
fn drift_is_not_named_before_it_can_be_known() {
    let mut timeline = uncounted();
    play_uncounted(&mut timeline, 100, |frame| Some(frame * 62_500));
    assert_eq!(timeline.drift_ppm(), None);
}

#[test]
fn the_instant_of_a_sample_rests_on_the_frames_that_came_soonest() {
    let mut timeline = counted();
    for number in 0..100_u64 {
        let delay = if number == 50 { 0 } else { 9_000 };
        let seq = u32::try_from(number).unwrap();
        timeline.place(
            Some(seq),
            SampleCount(1),
            at((number + 1) * FRAME_US + delay),
        );
    }
    let (taken, uncertainty) = timeline.instant_of(SampleIndex(50)).unwrap();
    assert_eq!(taken, at(51 * FRAME_US));
    assert!((4_000..=13_000).contains(&uncertainty), "{uncertainty}");
}
