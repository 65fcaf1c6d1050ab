//! Whom to look for, whom to connect, and when to scan, as a state machine without IO.
//!
//! - One sensor is connected at a time; those that are heard take turns.
//! - A scan runs only while a sensor is missing, never while one is being connected.
//! - A sensor that is not heard for a while is given up, and whoever wants it may ask again:
//!   until then the scan lingers a little.
//!
//! Deliberately absent: the radio, and why a connection fails.

use std::collections::BTreeMap;

use super::Address;

/// How long a sensor is listened for before whoever wants it is told.
const GIVE_UP_US: u64 = 10_000_000;
/// How long the scan goes on when nobody wants anything: longer than a source waits before
/// it asks again.
const LINGER_US: u64 = 4_000_000;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for now.
    Wait,
    /// Begin to scan.
    StartScan,
    /// End the scan.
    StopScan,
    /// End the scan if one runs, and connect this sensor.
    Connect(Address),
    /// Tell whoever wants this sensor that it is not heard.
    GiveUp(Address),
}

/// The wanted sensors, and the scan.
#[derive(Debug, Default)]
pub(super) struct Seeker {
    /// Each sensor that is wanted, and since when.
    wanted: BTreeMap<Address, u64>,
    scans: bool,
    /// When the last sensor ceased to be wanted.
    idle_since_us: u64,
    /// Who was connected last.
    last: Option<Address>,
}

impl Seeker {
    /// Somebody wants this sensor.
    pub(super) fn want(&mut self, address: Address, now_us: u64) {
        self.wanted.entry(address).or_insert(now_us);
    }

    /// The sensor is connected, refused, or no longer wanted.
    pub(super) fn settled(&mut self, address: Address, now_us: u64) {
        if self.wanted.remove(&address).is_some() && self.wanted.is_empty() {
            self.idle_since_us = now_us;
        }
    }

    /// Whether a scan runs, as the radio has it.
    pub(super) const fn scan_runs(&mut self, runs: bool) {
        self.scans = runs;
    }

    /// Whether a scan should be running.
    pub(super) const fn scans(&self) -> bool {
        self.scans
    }

    /// Whether there is nothing to do until somebody wants something.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && !self.scans
    }

    /// The next thing to do, when the sensors of `heard` are within reach.
    pub(super) fn step(&mut self, heard: &[Address], now_us: u64) -> Step {
        if let Some(address) = self.next_of(heard) {
            self.last = Some(address);
            return Step::Connect(address);
        }
        let waited = |since: &u64| now_us.saturating_sub(*since);
        let too_long = |(_, since): &(&Address, &u64)| waited(since) >= GIVE_UP_US;
        if let Some((address, _)) = self.wanted.iter().find(too_long) {
            return Step::GiveUp(*address);
        }
        match (self.wanted.is_empty(), self.scans) {
            (false, false) => Step::StartScan,
            (true, true) if waited(&self.idle_since_us) >= LINGER_US => Step::StopScan,
            _ => Step::Wait,
        }
    }

    /// The next wanted sensor that is heard, after the one that had the last turn.
    fn next_of(&self, heard: &[Address]) -> Option<Address> {
        let is_heard = |address: &&Address| heard.contains(address);
        let after = |address: &&Address| self.last.is_none_or(|last| **address > last);
        let later = self.wanted.keys().filter(is_heard).find(after);
        later.or_else(|| self.wanted.keys().find(is_heard)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, GIVE_UP_US, LINGER_US, Seeker, Step};
    use proptest::prelude::*;

    const A: Address = Address([1; 6]);
    const B: Address = Address([2; 6]);

    #[test]
    fn a_missing_sensor_is_scanned_for_and_connected_once_it_is_heard() {
        let mut seeker = Seeker::default();
        seeker.want(A, 0);
        assert_eq!(seeker.step(&[], 0), Step::StartScan);
        seeker.scan_runs(true);
        assert_eq!(seeker.step(&[B], 1), Step::Wait);
        assert_eq!(seeker.step(&[B, A], 2), Step::Connect(A));
        seeker.scan_runs(false);
        seeker.settled(A, 3);
        assert!(seeker.is_idle());
        assert_eq!(seeker.step(&[A, B], 4), Step::Wait);
    }

    #[test]
    fn sensors_that_are_heard_take_turns() {
        let mut seeker = Seeker::default();
        seeker.want(A, 0);
        seeker.want(B, 0);
        let turns: Vec<Step> = (1..4).map(|now| seeker.step(&[A, B], now)).collect();
        assert_eq!(
            turns,
            [Step::Connect(A), Step::Connect(B), Step::Connect(A)]
        );
    }

    #[test]
    fn a_sensor_that_is_not_heard_is_given_up_and_the_scan_lingers_for_the_next_who_asks() {
        let mut seeker = Seeker::default();
        seeker.want(A, 0);
        seeker.scan_runs(true);
        assert_eq!(seeker.step(&[], GIVE_UP_US), Step::GiveUp(A));
        seeker.settled(A, GIVE_UP_US);
        assert_eq!(seeker.step(&[], GIVE_UP_US + LINGER_US - 1), Step::Wait);
        assert_eq!(seeker.step(&[], GIVE_UP_US + LINGER_US), Step::StopScan);
    }

    proptest! {
        #[test]
        fn nobody_is_connected_who_is_not_wanted_and_heard_and_no_scan_runs_for_nothing(
            deeds in proptest::collection::vec((0_u8..5, 0_u8..4, 0_u64..5_000_000), 1..80)
        ) {
            let mut seeker = Seeker::default();
            let (mut now, mut wanted, mut heard) = (0, Vec::new(), Vec::new());
            for (deed, who, later) in deeds {
                now += later;
                let address = Address([who; 6]);
                match deed {
                    0 => { seeker.want(address, now); wanted.push(address); }
                    1 => heard.push(address),
                    2 => heard.retain(|other| *other != address),
                    _ => {}
                }
                match seeker.step(&heard, now) {
                    Step::Connect(who) => {
                        prop_assert!(wanted.contains(&who) && heard.contains(&who));
                        seeker.scan_runs(false);
                        seeker.settled(who, now);
                        wanted.retain(|other| *other != who);
                    }
                    Step::GiveUp(who) => {
                        prop_assert!(wanted.contains(&who) && !heard.contains(&who));
                        seeker.settled(who, now);
                        wanted.retain(|other| *other != who);
                    }
                    Step::StartScan => {
                        prop_assert!(!wanted.is_empty());
                        seeker.scan_runs(true);
                    }
                    Step::StopScan => {
                        prop_assert!(wanted.is_empty() && seeker.scans());
                        seeker.scan_runs(false);
                    }
                    Step::Wait => {}
                }
            }
        }
    }
}
