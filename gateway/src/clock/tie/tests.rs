//! The true time always lies within the bounds, and every exchange narrows them.

use proptest::prelude::*;

use super::*;

const EPOCH: i64 = 1_780_000_000_000_000;

fn fact(micros: u64, earliest: Option<i64>, latest: Option<i64>) -> Fact {
    Fact {
        micros,
        earliest: earliest.map(UtcMicros),
        latest: latest.map(UtcMicros),
    }
}

/// A box whose clock runs `rate_ppm` fast at first and another rate after each stretch.
#[derive(Clone, Debug)]
struct TrueClock {
    offset: i64,
    /// Length of a stretch by the box's clock, and the rate in it.
    stretches: Vec<(u64, i64)>,
}

impl TrueClock {
    /// The true time of a moment of the box's clock.
    fn utc(&self, micros: u64) -> i64 {
        let (mut left, mut lag) = (i64::try_from(micros).unwrap(), 0_i64);
        for (len, ppm) in &self.stretches {
            let within = left.min(i64::try_from(*len).unwrap());
            lag += within * ppm / 1_000_000;
            left -= within;
        }
        self.offset + i64::try_from(micros).unwrap() + lag
    }
}

prop_compose! {
    fn true_clock()(
        offset in EPOCH..EPOCH + 1_000_000_000_000,
        // Whole seconds, so that a stretch lags by whole microseconds.
        stretches in prop::collection::vec((1_000_u64..100_000, -499_i64..500), 12),
    ) -> TrueClock {
        let whole = |(seconds, ppm): (u64, i64)| (seconds * 1_000_000, ppm);
        TrueClock { offset, stretches: stretches.into_iter().map(whole).collect() }
    }
}

/// An exchange: when by the box's clock, how long a word takes there and back, and which of
/// the two words are known of.
fn exchanges() -> impl Strategy<Value = Vec<(u64, u64, u64, bool, bool)>> {
    prop::collection::vec(
        (
            0_u64..200_000_000_000,
            0_u64..3_000_000,
            0_u64..3_000_000,
            any::<bool>(),
            any::<bool>(),
        ),
        1..40,
    )
}

fn observed(clock: &TrueClock, (at, there, back, down, up): (u64, u64, u64, bool, bool)) -> Fact {
    let utc = clock.utc(at);
    let ago = |span: u64| i64::try_from(span).unwrap();
    fact(
        at,
        down.then(|| utc - ago(there)),
        up.then(|| utc + ago(back)),
    )
}

fn holds(bounds: Bounds, utc: i64) -> bool {
    bounds.earliest.is_none_or(|at| at.0 <= utc) && bounds.latest.is_none_or(|at| utc <= at.0)
}

proptest! {
    #[test]
    fn the_true_time_is_always_inside_the_bounds(
        clock in true_clock(), exchanges in exchanges(), at in 0_u64..200_000_000_000,
    ) {
        let mut tie = BootTie::default();
        for exchange in exchanges {
            let learnt = tie.learn(observed(&clock, exchange));
            prop_assert_ne!(learnt, Learnt::Contradiction);
            prop_assert!(holds(tie.bounds_at(at), clock.utc(at)));
        }
    }

    #[test]
    fn every_exchange_narrows_the_bounds_or_leaves_them(
        clock in true_clock(), exchanges in exchanges(), at in 0_u64..200_000_000_000,
    ) {
        let mut tie = BootTie::default();
        let mut before = tie.bounds_at(at);
        for exchange in exchanges {
            tie.learn(observed(&clock, exchange));
            let after = tie.bounds_at(at);
            prop_assert!(after.earliest >= before.earliest);
            prop_assert!(before.latest.is_none_or(|was| after.latest.unwrap() <= was));
            before = after;
        }
    }

    #[test]
    fn the_error_at_an_exchange_is_at_most_half_its_round_trip(
        clock in true_clock(), exchanges in exchanges(),
    ) {
        let mut tie = BootTie::default();
        for exchange in &exchanges {
            tie.learn(observed(&clock, (exchange.0, exchange.1, exchange.2, true, true)));
        }
        for (at, there, back, ..) in exchanges {
            let (middle, error) = tie.bounds_at(at).middle().unwrap();
            prop_assert!(error <= (there + back).div_ceil(2));
            prop_assert!(middle.0.abs_diff(clock.utc(at)) <= error);
        }
    }

    #[test]
    fn the_order_in_which_facts_come_does_not_matter(
        clock in true_clock(), exchanges in exchanges(), at in 0_u64..200_000_000_000,
    ) {
        let (mut forward, mut backward) = (BootTie::default(), BootTie::default());
        for exchange in &exchanges {
            forward.learn(observed(&clock, *exchange));
        }
        for exchange in exchanges.iter().rev() {
            backward.learn(observed(&clock, *exchange));
        }
        prop_assert_eq!(forward.bounds_at(at), backward.bounds_at(at));
    }

    #[test]
    fn what_is_kept_is_found_again(clock in true_clock(), exchanges in exchanges()) {
        let mut tie = BootTie::default();
        for exchange in exchanges {
            tie.learn(observed(&clock, exchange));
        }
        prop_assert_eq!(BootTie::from_bytes(&tie.to_bytes()), Some(tie));
    }

    #[test]
    fn any_facts_and_any_bytes_are_taken_without_harm(
        facts in prop::collection::vec(any::<(u64, Option<i64>, Option<i64>)>(), 0..20),
        bytes: Vec<u8>, at: u64,
    ) {
        let mut tie = BootTie::default();
        for (micros, earliest, latest) in facts {
            tie.learn(fact(micros, earliest, latest));
            tie.narrow(fact(micros / 2, latest, earliest));
        }
        let _ = tie.bounds_at(at).middle();
        let _ = BootTie::from_bytes(&bytes);
    }
}

#[test]
fn a_bound_widens_with_the_distance_by_the_stated_drift() {
    let mut tie = BootTie::default();
    tie.learn(fact(1_000, Some(EPOCH - 100), Some(EPOCH + 100)));
    let hour = 3_600_000_000;
    let (middle, error) = tie.bounds_at(1_000 + hour).middle().unwrap();
    assert_eq!(middle.0, EPOCH + 3_600_000_000);
    assert_eq!(error, 100 + 1_800_000);
    let (before, same) = tie.bounds_at(1_000).middle().unwrap();
    assert_eq!((before.0, same), (EPOCH, 100));
}

#[test]
fn a_week_between_two_exchanges_leaves_three_minutes_at_its_middle() {
    let day: u64 = 86_400_000_000;
    let mut tie = BootTie::default();
    tie.learn(fact(0, Some(EPOCH), Some(EPOCH + 50_000)));
    let later = EPOCH + 7 * 86_400_000_000;
    tie.learn(fact(7 * day, Some(later), Some(later + 50_000)));
    let (_, error) = tie.bounds_at(7 * day / 2).middle().unwrap();
    assert!((150_000_000..155_000_000).contains(&error), "{error}");
}

#[test]
fn one_side_alone_gives_no_middle() {
    let mut tie = BootTie::default();
    tie.learn(fact(5, None, Some(EPOCH)));
    assert_eq!(tie.bounds_at(5).middle(), None);
    assert_eq!(tie.bounds_at(5).nearest(UtcMicros(0)), UtcMicros(0));
    assert_eq!(
        tie.bounds_at(5).nearest(UtcMicros(i64::MAX)),
        UtcMicros(EPOCH)
    );
}

#[test]
fn a_gateway_whose_clock_was_set_is_believed_anew() {
    let mut tie = BootTie::default();
    tie.learn(fact(0, Some(0), Some(50)));
    let set = fact(1_000_000, Some(EPOCH), Some(EPOCH + 50));
    assert_eq!(tie.learn(set), Learnt::Contradiction);
    assert_eq!(tie.facts(), [set]);
}

#[test]
fn what_follows_from_elsewhere_never_drops_an_exchange() {
    let mut tie = BootTie::default();
    let exchange = fact(10, Some(EPOCH), Some(EPOCH + 50));
    tie.learn(exchange);
    tie.narrow(fact(10, Some(EPOCH + 60), None));
    assert_eq!(tie.facts(), [exchange]);
}

#[test]
fn the_facts_of_a_long_boot_stay_few_and_true() {
    let mut tie = BootTie::default();
    let clock = TrueClock {
        offset: EPOCH,
        stretches: vec![(u64::MAX / 4, 20)],
    };
    let quarter_hour = 900_000_000;
    for at in 0..3_000 {
        tie.learn(observed(
            &clock,
            (at * quarter_hour, 20_000, 20_000, true, true),
        ));
    }
    assert_eq!(tie.facts().len(), FACTS_MAX);
    for at in (0..3_000).step_by(7) {
        let bounds = tie.bounds_at(at * quarter_hour);
        let (middle, error) = bounds.middle().unwrap();
        assert!(middle.0.abs_diff(clock.utc(at * quarter_hour)) <= error);
        assert!(error < 20_000_000, "{error} at {at}");
    }
}
