//! What holds for any frames.

use proptest::prelude::*;

use super::stamps::strap;
use super::*;

proptest! {
    #[test]
    fn a_stall_of_any_length_is_no_gap_however_its_backlog_is_read(stall in 1_u64..1500, chunk in 1_u64..200, faster in 50_u64..5000) {
        let mut timeline = counted();
        let gaps = play_late(&mut timeline, 0..6000, |number| stalled(number, stall, chunk, faster));
        prop_assert_eq!(gaps, []);
        prop_assert_eq!(timeline.next(), SampleIndex(6000));
    }

    #[test]
    fn turns_that_are_lost_after_a_stall_are_told(stall in 1_u64..500, chunk in 1_u64..100, turns in 1_u64..4) {
        let mut timeline = counted();
        let lost = 1000..1000 + turns * 256;
        let numbers = (0..5000).filter(|number| !lost.contains(number));
        let gaps = play_late(&mut timeline, numbers, |number| stalled(number, stall, chunk, 1000));
        prop_assert_eq!(gaps.iter().map(|gap| gap.len.0).sum::<u64>(), turns * 256);
        prop_assert_eq!(timeline.next(), SampleIndex(5000));
    }

    #[test]
    fn every_counted_sample_is_where_its_number_says_and_losses_add_up(losses in proptest::collection::vec((0_u64..3000, 1_u64..200), 0..8)) {
        let mut timeline = counted();
        let lost = |n: u64| losses.iter().any(|(from, len)| (*from..from + len).contains(&n));
        let kept: Vec<u64> = (0..3000).filter(|n| *n == 0 || !lost(*n)).collect();
        // those that the counter does not show are told later
        prop_assume!(kept.array_windows().all(|[one, next]| next - one == 1 || (next - one) % 256 != 1));
        let gaps = play(&mut timeline, kept.iter().copied());
        let missing: u64 = gaps.iter().map(|(_, len)| len).sum();
        let last = kept.last().copied().unwrap_or(0);
        prop_assert_eq!(missing + u64::try_from(kept.len()).unwrap(), last + 1);
        prop_assert_eq!(timeline.counts().missing.0, missing);
    }

    #[test]
    fn any_time_stamps_are_placed_forwards(frames in proptest::collection::vec((any::<u64>(), 0_u64..5000, any::<u64>()), 0..100)) {
        let mut timeline = Timeline::new(SamplingRate::hz(130).unwrap(), IntegrityClass::TimeStamped, None, SampleIndex(0));
        let mut end = SampleIndex(0);
        for (nanos, samples, micros) in frames {
            if let Placement::Block { first, gap } = timeline.place_ticks(nanos, SampleCount(samples), at(micros)) {
                prop_assert!(first >= end);
                prop_assert_eq!(gap.map_or(end, |gap| gap.from), end);
                end = first.after(SampleCount(samples));
            }
        }
    }

    #[test]
    fn any_counters_with_times_are_placed_forwards(frames in proptest::collection::vec((any::<u32>(), any::<u64>(), 0_u64..5000, any::<u64>()), 0..100)) {
        let mut timeline = strap();
        let mut next = timeline.next();
        for (seq, nanos, samples, arrival) in frames {
            let placed = timeline.place_counted_ticks(seq, nanos, SampleCount(samples), at(arrival));
            if let Placement::Block { first, .. } = placed {
                prop_assert!(first >= next);
                prop_assert!(timeline.next() >= first);
            }
            next = timeline.next();
        }
    }

    #[test]
    fn any_counters_and_arrivals_are_placed_forwards(frames in proptest::collection::vec((any::<Option<u32>>(), 0_u64..5000, any::<u64>()), 0..200), integrity in 0_usize..4) {
        let class = [IntegrityClass::TimeStamped, IntegrityClass::Counted, IntegrityClass::Uncounted, IntegrityClass::File][integrity];
        let mut timeline = Timeline::new(SamplingRate::hz(250).unwrap(), class, Some(16), SampleIndex(0));
        let mut end = SampleIndex(0);
        for (seq, samples, micros) in frames {
            if let Placement::Block { first, gap } = timeline.place(seq, SampleCount(samples), at(micros)) {
                prop_assert!(first >= end);
                if let Some(gap) = gap {
                    prop_assert_eq!(gap.from, end);
                    prop_assert_eq!(gap.end(), first);
                }
                end = first.after(SampleCount(samples));
            }
        }
        prop_assert_eq!(timeline.next(), end);
    }
}
