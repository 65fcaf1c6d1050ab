//! What a strap tells, played on the time line.

use proptest::prelude::*;

use super::{PERIOD, RateLine, SILENCE_MAX};
use crate::pipeline::Captured;
use crate::testing::start_of_time;
use cardio_core::acquisition::Attendance;
use cardio_core::clock::ClockReading;
use cardio_core::gap::GapCause;
use cardio_core::heart_rate::{SkinContact, ToldRate};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, QualityVerdict};

fn after(millis: u64) -> ClockReading {
    let start = start_of_time();
    ClockReading {
        box_instant: start.box_instant.plus_micros(millis * 1_000),
        ..start
    }
}

fn told(bpm: u16, contact: SkinContact) -> ToldRate {
    ToldRate {
        bpm,
        contact,
        rr: vec![850],
    }
}

fn line() -> RateLine {
    RateLine::new(Attendance::Attended, SampleIndex(0))
}

#[test]
fn tellings_a_second_apart_are_contiguous_and_nothing_of_them_is_changed() {
    let (mut line, mut out) = (line(), Vec::new());
    for second in 0..5 {
        line.take(
            told(70 + second, SkinContact::On),
            None,
            after(1_000 * u64::from(second)),
            &mut out,
        );
    }
    line.cut(&mut out);
    let mut next = SampleIndex(0);
    let mut rates = Vec::new();
    for one in &out {
        match one {
            Captured::Rates(stretch) => {
                assert_eq!(stretch.first, next);
                next = stretch.first.after(stretch.len);
                rates.extend(stretch.told.iter().map(|(_, told)| told.bpm));
            }
            Captured::Assessment(found) => {
                assert_eq!(found.quality.overall.verdict, QualityVerdict::Acceptable)
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rates, [70, 71, 72, 73, 74]);
    assert_eq!(next, SampleIndex(5 * 1024));
}

#[test]
fn a_silence_is_a_gap_up_to_the_second_before_the_next_telling() {
    let (mut line, mut out) = (line(), Vec::new());
    line.take(told(70, SkinContact::On), None, after(0), &mut out);
    line.take(told(70, SkinContact::On), None, after(10_000), &mut out);
    let gaps: Vec<_> = out
        .iter()
        .filter_map(|one| match one {
            Captured::Gap { gap, near } => Some((*gap, near.unwrap())),
            _ => None,
        })
        .collect();
    let [(gap, near)] = gaps[..] else {
        panic!("{gaps:?}");
    };
    assert_eq!(
        (gap.from, gap.len),
        (SampleIndex(1024), SampleCount(9 * 1024))
    );
    assert_eq!(
        (gap.cause, gap.uncertainty),
        (GapCause::FewerThanTime, PERIOD)
    );
    assert_eq!(near.at.box_instant, after(9_000).box_instant);
    assert_eq!(line.counts().missing, gap.len);
}

#[test]
fn without_contact_nothing_can_be_used_and_without_a_rate_neither() {
    let (mut line, mut out) = (line(), Vec::new());
    line.take(told(70, SkinContact::Off), None, after(0), &mut out);
    line.take(told(0, SkinContact::Unknown), None, after(1_000), &mut out);
    line.take(told(70, SkinContact::Unknown), None, after(2_000), &mut out);
    let found: Vec<_> = out
        .iter()
        .filter_map(|one| match one {
            Captured::Assessment(found) => Some((
                found.quality.overall.verdict,
                found.quality.overall.causes.clone(),
                found.heart_rate.bpm,
                found.heart_rate.undetermined.as_deref(),
            )),
            _ => None,
        })
        .collect();
    let off = vec![QualityCause::LeadOff];
    let none = vec![QualityCause::NoRhythm];
    assert_eq!(
        found,
        [
            (QualityVerdict::Insufficient, off, None, Some("no-contact")),
            (QualityVerdict::Insufficient, none, None, Some("not-told")),
            (QualityVerdict::Acceptable, vec![], Some(70.0), None),
        ]
    );
}

proptest! {
    // What is covered and what is missing make up the whole time line, in order and without
    // overlap, whenever things come.
    #[test]
    fn stretches_and_gaps_cover_the_time_line_once(
        waits in proptest::collection::vec((0_u64..8_000, any::<bool>()), 1..60),
        unattended: bool,
    ) {
        let attendance = if unattended { Attendance::Unattended } else { Attendance::Attended };
        let mut line = RateLine::new(attendance, SampleIndex(7));
        let (mut out, mut now, mut count) = (Vec::new(), 0, 0);
        for (wait, away) in &waits {
            now += wait;
            let away = (*away && count > 0).then_some(GapCause::SourceLost);
            line.take(told(count, SkinContact::On), away, after(now), &mut out);
            count += 1;
        }
        line.cut(&mut out);
        let (mut next, mut seen) = (SampleIndex(7), 0);
        for one in &out {
            match one {
                Captured::Rates(stretch) => {
                    prop_assert_eq!(stretch.first, next);
                    next = next.after(stretch.len);
                    let mut before = SampleCount(0);
                    for (at, told) in &stretch.told {
                        prop_assert_eq!(told.bpm, seen);
                        prop_assert!(*at >= before && *at <= stretch.len);
                        prop_assert!(at.0 - before.0 <= SILENCE_MAX.0);
                        (before, seen) = (*at, seen + 1);
                    }
                    prop_assert_eq!(before, stretch.len);
                }
                Captured::Gap { gap, .. } => {
                    prop_assert_eq!(gap.from, next);
                    next = gap.end();
                }
                _ => {}
            }
        }
        prop_assert_eq!(seen, count);
        prop_assert_eq!(next, line.next());
        let counts = line.counts();
        prop_assert_eq!(counts.samples.0 + counts.missing.0, next.0 - 7);
    }
}
