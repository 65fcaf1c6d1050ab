//! How often somebody may try: a bucket per account or address, in bounded memory.
//!
//! A bucket holds `burst` attempts and fills by one per `every`. What is full is forgotten, for
//! it equals one never seen. When there is no room for another bucket, all that is new shares one.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Buckets held at once.
const BUCKETS_MAX: usize = 4_096;

/// Buckets of one kind. A bucket is the moment at which it will be full again.
#[derive(Debug)]
pub struct Buckets<K> {
    every_us: u64,
    burst_us: u64,
    held: Mutex<Held<K>>,
}

#[derive(Debug)]
struct Held<K> {
    full_at: HashMap<K, u64>,
    shared: u64,
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    /// Buckets of `burst` attempts that fill by one per `every`.
    pub fn new(burst: u32, every: Duration) -> Self {
        let every_us = u64::try_from(every.as_micros()).unwrap_or(u64::MAX).max(1);
        Self {
            every_us,
            burst_us: every_us.saturating_mul(u64::from(burst.max(1))),
            held: Mutex::new(Held {
                full_at: HashMap::new(),
                shared: 0,
            }),
        }
    }

    /// Buckets that let `count` through at once, and as many in each minute after.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60) / count.max(1))
    }

    /// Takes one attempt out of a bucket.
    ///
    /// # Errors
    /// How long to wait when it is empty; then nothing was taken.
    pub fn take(&self, of: &K, now_us: u64) -> Result<(), Duration> {
        let mut held = self.lock();
        if !held.full_at.contains_key(of) && held.full_at.len() >= BUCKETS_MAX {
            held.full_at.retain(|_, full_at| *full_at > now_us);
        }
        let is_crowded = held.full_at.len() >= BUCKETS_MAX;
        let before = match held.full_at.get(of) {
            Some(full_at) => *full_at,
            None if is_crowded => held.shared,
            None => 0,
        };
        let after = before.max(now_us).saturating_add(self.every_us);
        let over = after.saturating_sub(now_us).saturating_sub(self.burst_us);
        if over > 0 {
            return Err(Duration::from_micros(over));
        }
        match held.full_at.get_mut(of) {
            Some(full_at) => *full_at = after,
            None if is_crowded => held.shared = after,
            None => {
                held.full_at.insert(of.clone(), after);
            }
        }
        Ok(())
    }

    /// Puts one attempt back: it was none.
    pub fn give_back(&self, of: &K) {
        if let Some(full_at) = self.lock().full_at.get_mut(of) {
            *full_at = full_at.saturating_sub(self.every_us);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits of this program.
#[derive(Debug)]
pub struct Limits {
    /// Attempts to log in to an account; a right one does not count.
    pub logins: Buckets<String>,
    /// Attempts to log in from an address; a right one does not count.
    pub logins_from: Buckets<IpAddr>,
    /// Requests from an address that present nothing that is known.
    pub strangers: Buckets<IpAddr>,
    /// Requests of an account.
    pub requests: Buckets<String>,
}

impl Limits {
    /// The limits, with as many requests per second for an account.
    pub fn new(requests_per_s: u32) -> Self {
        let per_s = requests_per_s.max(1);
        Self {
            logins: Buckets::new(10, Duration::from_secs(30)),
            logins_from: Buckets::new(20, Duration::from_secs(6)),
            strangers: Buckets::new(60, Duration::from_secs(1)),
            requests: Buckets::new(per_s.saturating_mul(4), Duration::from_secs(1) / per_s),
        }
    }
}

/// The address that is counted: who has one of IPv6 has all 2^64 of its network.
pub fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(of) => match of.to_ipv4_mapped() {
            Some(plain) => IpAddr::V4(plain),
            None => {
                let [a, b, c, d, ..] = of.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS_MAX, Buckets, counted};
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_bucket_empties_says_how_long_and_fills_again() {
        let buckets = Buckets::new(3, Duration::from_secs(10));
        let take = |now| buckets.take(&"a", now);
        assert!(take(0).is_ok() && take(0).is_ok() && take(0).is_ok());
        assert_eq!(take(0), Err(Duration::from_secs(10)));
        assert_eq!(take(4 * SECOND), Err(Duration::from_secs(6)));
        assert!(take(10 * SECOND).is_ok());
        assert!(take(10 * SECOND).is_err());
        assert!(buckets.take(&"b", 10 * SECOND).is_ok());
        buckets.give_back(&"a");
        assert!(take(10 * SECOND).is_ok());
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory_and_shares_one_bucket() {
        let buckets = Buckets::new(2, Duration::from_secs(1));
        let let_in = (0..3 * BUCKETS_MAX).filter(|n| buckets.take(n, 5).is_ok());
        assert_eq!(let_in.count(), BUCKETS_MAX + 2);
        assert_eq!(buckets.lock().full_at.len(), BUCKETS_MAX);
        assert!(buckets.take(&usize::MAX, 5 + 10 * SECOND).is_ok());
        assert_eq!(buckets.lock().full_at.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |text: &str| counted(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_time_adds(
            steps in proptest::collection::vec(0_u64..4_000_000, 1..200),
        ) {
            let buckets = Buckets::new(5, Duration::from_secs(1));
            let (mut now, mut through) = (0_u64, 0_u64);
            for step in steps {
                now += step;
                through += u64::from(buckets.take(&(), now).is_ok());
                prop_assert!(through <= 5 + now / SECOND);
            }
        }
    }
}
