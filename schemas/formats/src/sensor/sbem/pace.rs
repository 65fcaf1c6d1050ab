//! Time stamps of a millisecond against rates: which rate it is, and where samples are missing.

/// The rates that the sensor has.
const RATES_HZ: [u32; 7] = [125, 128, 200, 250, 256, 500, 512];
/// A step of the clock is worth at most so much against a rate, in microseconds.
const WORST_US: u64 = 20_000;
/// How far a step may be off before samples are missing: a millisecond at each end.
const TOLERANCE_US: i64 = 2_000;

/// How far the clock went from one stamp to the next; `None` when it did not go on. It begins
/// again after 49 days.
fn step_ms(from: u32, to: u32) -> Option<u32> {
    Some(to.wrapping_sub(from)).filter(|step| (1..=u32::MAX / 2).contains(step))
}

/// Microseconds that so many samples last.
fn lasts_us(samples: usize, rate_hz: u32) -> u64 {
    let samples = u64::try_from(samples).unwrap_or(u64::MAX);
    samples.saturating_mul(1_000_000) / u64::from(rate_hz.max(1))
}

/// Finds the rate.
#[derive(Clone, Debug, Default)]
pub(super) struct RateSearch {
    last: Option<(u32, usize)>,
    steps: u64,
    off_us: [u64; RATES_HZ.len()],
}

impl RateSearch {
    /// Takes a stretch; `false` when its time does not go on.
    pub(super) fn note(&mut self, millis: u32, samples: usize) -> bool {
        if let Some((before, held)) = self.last {
            let Some(step) = step_ms(before, millis) else {
                return false;
            };
            self.steps = self.steps.saturating_add(1);
            let step_us = u64::from(step).saturating_mul(1000);
            for (off, rate_hz) in self.off_us.iter_mut().zip(RATES_HZ) {
                let wrong = step_us.abs_diff(lasts_us(held, rate_hz)).min(WORST_US);
                *off = off.saturating_add(wrong);
            }
        }
        self.last = Some((millis, samples));
        true
    }

    /// The rate that fits best, once there are two stretches and it fits most of the time.
    pub(super) fn rate_hz(&self) -> Option<u32> {
        let (off_us, rate_hz) = self.off_us.iter().zip(RATES_HZ).min()?;
        (self.steps > 0 && *off_us < self.steps.saturating_mul(WORST_US / 2)).then_some(rate_hz)
    }
}

/// Places stretches on a time line of samples.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate_hz: u32,
    last: Option<(u32, usize)>,
    next: u64,
}

impl Pace {
    /// From the first sample on.
    pub(super) const fn new(rate_hz: u32) -> Self {
        Self {
            rate_hz,
            last: None,
            next: 0,
        }
    }

    /// Where a stretch begins; `None` for one whose time does not go on.
    pub(super) fn place(&mut self, millis: u32, samples: usize) -> Option<u64> {
        if let Some((before, held)) = self.last {
            let step_us = u64::from(step_ms(before, millis)?).saturating_mul(1000);
            let ahead = step_us.saturating_sub(lasts_us(held, self.rate_hz));
            if ahead > TOLERANCE_US.unsigned_abs() {
                let missing = ahead
                    .saturating_mul(self.rate_hz.into())
                    .saturating_add(500_000);
                self.next = self.next.saturating_add(missing / 1_000_000);
            }
        }
        self.last = Some((millis, samples));
        let first = self.next;
        let samples = u64::try_from(samples).unwrap_or(u64::MAX);
        self.next = self.next.saturating_add(samples);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pace, RATES_HZ, RateSearch};
    use proptest::prelude::*;

    fn stamp(from: u32, samples: u64, rate_hz: u32) -> u32 {
        let millis = samples * 1000 / u64::from(rate_hz);
        from.wrapping_add(u32::try_from(millis).unwrap())
    }

    proptest! {
        #[test]
        fn the_rate_is_found_and_every_missing_stretch_is_placed(rate in 0..RATES_HZ.len(), from: u32, lost in proptest::collection::btree_set(1_u64..60, 0..8)) {
            let rate_hz = RATES_HZ[rate];
            let kept: Vec<u64> = (0..70).filter(|at| !lost.contains(at)).collect();
            let mut search = RateSearch::default();
            for at in &kept {
                prop_assert!(search.note(stamp(from, at * 16, rate_hz), 16));
            }
            prop_assert_eq!(search.rate_hz(), Some(rate_hz));
            let mut pace = Pace::new(rate_hz);
            for at in kept {
                prop_assert_eq!(pace.place(stamp(from, at * 16, rate_hz), 16), Some(at * 16));
            }
        }

        #[test]
        fn a_time_that_does_not_go_on_is_refused(from: u32, back in 0..u32::MAX / 2) {
            let (mut search, mut pace) = (RateSearch::default(), Pace::new(250));
            prop_assert!(search.note(from, 16) && pace.place(from, 16).is_some());
            let earlier = from.wrapping_sub(back);
            prop_assert!(!search.note(earlier, 16) && pace.place(earlier, 16).is_none());
        }
    }
}
