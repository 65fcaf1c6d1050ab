//! How long to wait before the next try: doubled each time, with chance, up to a limit.
//!
//! The chance keeps a thousand boxes from knocking at the same moment after a gateway
//! returns. Deliberately absent: waiting.

use std::time::Duration;

/// The waits of one row of failed tries.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
    chance: u64,
}

impl Backoff {
    /// Waits from about `first` to about `last`; `seed` makes them differ between boxes.
    pub const fn new(first: Duration, last: Duration, seed: u64) -> Self {
        Self {
            first,
            last,
            next: first,
            chance: seed,
        }
    }

    /// The wait before the next try: between half of the present step and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next.min(self.last);
        self.next = step.saturating_mul(2).min(self.last);
        let half = step / 2;
        half + half.mul_f64(self.fraction())
    }

    /// A try succeeded: the next row starts small again.
    pub const fn succeeded(&mut self) {
        self.next = self.first;
    }

    /// A number from 0 to 1 (SplitMix64, Steele et al. 2014).
    fn fraction(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Duration};

    #[test]
    fn waits_double_up_to_the_limit_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(300), 1);
        let mut step = 200;
        for _ in 0..20 {
            let wait = backoff.next_wait().as_millis();
            assert!(wait >= step / 2 && wait <= step, "{wait} of {step}");
            step = (step * 2).min(300_000);
        }
        backoff.succeeded();
        assert!(backoff.next_wait().as_millis() <= 200);
    }

    #[test]
    fn two_boxes_do_not_wait_alike() {
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            (0..4).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
    }
}
