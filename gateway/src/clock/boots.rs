//! The boots of one box: what was exchanged in each, what the box said itself, and what
//! follows from their order. A boot in which no gateway was ever reached lies after the last
//! moment known of the boots before it and before the start of those after it.
//!
//! Which boot came first is read from the chains: a box writes a lane in order, so the boot
//! of an earlier frame is an earlier boot. Deliberately absent: storage and clocks.

use std::collections::BTreeMap;

use cardio_core::clock::{ClockQuality, ClockReading, UtcMicros};
use cardio_core::ids::BootId;
use cardio_wire::lane::{ChainId, Lane};

use super::tie::{BootTie, Bounds, Fact};

/// A time known less well than this is filed as unknown, with its bounds. Ten minutes are a
/// fortnight away from an exchange.
pub const VOUCHED_MAX_US: u64 = 600_000_000;

/// A boot, as it is seen in one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which boot.
    pub boot: BootId,
    /// In which lane.
    pub lane: Lane,
    /// In which life of its database.
    pub chain: ChainId,
    /// The first frame that was made in the boot.
    pub first_seq: u64,
    /// The latest moment of the boot that any of them names.
    pub last_micros: u64,
}

/// A moment of a box, dated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dated {
    /// The best guess.
    pub at: UtcMicros,
    /// How far it may lie from the true time, in microseconds, when both sides are bounded.
    pub error_us: Option<u64>,
    /// Between which instants it lies.
    pub bounds: Bounds,
}

impl Dated {
    /// Whether the time is known well enough to be filed as a time.
    pub fn is_vouched_for(&self) -> bool {
        self.error_us.is_some_and(|error| error <= VOUCHED_MAX_US)
    }
}

/// What is known of the boots of one box.
#[derive(Clone, Debug, Default)]
pub struct BoxTimes {
    boots: BTreeMap<BootId, BootTie>,
}

impl BoxTimes {
    /// Joins what gateways exchanged with the box, what follows from its records, and the
    /// order of its boots. Where they contradict each other the exchange is believed.
    pub fn of(
        exchanged: impl IntoIterator<Item = (BootId, BootTie)>,
        recorded: impl IntoIterator<Item = (BootId, BootTie)>,
        sightings: &[Sighting],
    ) -> Self {
        let mut boots: BTreeMap<BootId, BootTie> = exchanged.into_iter().collect();
        for (boot, tie) in recorded {
            let known = boots.entry(boot).or_default();
            for fact in tie.facts() {
                known.narrow(*fact);
            }
        }
        let mut times = Self { boots };
        for (boot, fact) in times.order(sightings) {
            times.boots.entry(boot).or_default().narrow(fact);
        }
        times
    }

    /// Between which instants a moment lies.
    pub fn bounds_at(&self, boot: BootId, micros: u64) -> Bounds {
        self.boots
            .get(&boot)
            .map_or_else(Bounds::default, |tie| tie.bounds_at(micros))
    }

    /// Dates a reading: in the middle of its bounds when they are close enough to vouch for
    /// it, else where the box's own clock says, as far as the bounds allow.
    pub fn date(&self, reading: &ClockReading) -> Dated {
        let known = self.bounds_at(reading.box_instant.boot, reading.box_instant.micros);
        let bounds = claimed(reading)
            .and_then(|claim| known.and(claim))
            .unwrap_or(known);
        match bounds.middle() {
            Some((at, error)) if error <= VOUCHED_MAX_US => Dated {
                at,
                error_us: Some(error),
                bounds,
            },
            _ => {
                let at = bounds.nearest(reading.utc);
                Dated {
                    at,
                    error_us: bounds.farthest(at),
                    bounds,
                }
            }
        }
    }

    /// What the order of the boots says of each.
    fn order(&self, sightings: &[Sighting]) -> Vec<(BootId, Fact)> {
        let mut last: BTreeMap<BootId, u64> = BTreeMap::new();
        for seen in sightings {
            let latest = last.entry(seen.boot).or_default();
            *latest = (*latest).max(seen.last_micros);
        }
        let mut facts = Vec::new();
        for earlier in sightings {
            let ends = last.get(&earlier.boot).copied().unwrap_or(0);
            let follows = |later: &&Sighting| {
                (later.lane, later.chain) == (earlier.lane, earlier.chain)
                    && later.boot != earlier.boot
                    && later.first_seq > earlier.first_seq
            };
            for later in sightings.iter().filter(follows) {
                let end = Fact {
                    micros: ends,
                    earliest: None,
                    latest: self.bounds_at(later.boot, 0).latest,
                };
                let start = Fact {
                    micros: 0,
                    earliest: self.bounds_at(earlier.boot, ends).earliest,
                    latest: None,
                };
                facts.extend([(earlier.boot, end), (later.boot, start)]);
            }
        }
        facts
    }
}

/// What a box says of its own clock, when something has set it.
pub(crate) fn claimed(reading: &ClockReading) -> Option<Bounds> {
    let ClockQuality::Synchronised { error_us } = reading.quality else {
        return None;
    };
    let error = i64::try_from(error_us).unwrap_or(i64::MAX);
    Some(Bounds {
        earliest: Some(UtcMicros(reading.utc.0.saturating_sub(error))),
        latest: Some(UtcMicros(reading.utc.0.saturating_add(error))),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        BootId, BootTie, BoxTimes, ChainId, ClockQuality, ClockReading, Fact, Lane, Sighting,
        UtcMicros,
    };
    use cardio_core::clock::BoxInstant;
    use proptest::prelude::*;

    const NOON: i64 = 1_780_000_000_000_000;
    const HOUR: u64 = 3_600_000_000;
    const HOUR_I: i64 = 3_600_000_000;

    fn reading(boot: u8, micros: u64, utc: i64, error_us: Option<u64>) -> ClockReading {
        ClockReading {
            box_instant: BoxInstant {
                boot: BootId([boot; 16]),
                micros,
            },
            utc: UtcMicros(utc),
            quality: error_us.map_or(ClockQuality::Unsynchronised, |error_us| {
                ClockQuality::Synchronised { error_us }
            }),
        }
    }

    fn tied(boot: u8, micros: u64, at: i64) -> (BootId, BootTie) {
        let mut tie = BootTie::default();
        tie.learn(Fact {
            micros,
            earliest: Some(UtcMicros(at - 1_000)),
            latest: Some(UtcMicros(at + 1_000)),
        });
        (BootId([boot; 16]), tie)
    }

    fn seen(boot: u8, first_seq: u64, last_micros: u64) -> Sighting {
        Sighting {
            boot: BootId([boot; 16]),
            lane: Lane::Routine,
            chain: ChainId([7; 8]),
            first_seq,
            last_micros,
        }
    }

    #[test]
    fn a_record_of_1970_is_dated_by_an_exchange_of_its_boot() {
        let times = BoxTimes::of([tied(1, HOUR, NOON)], [], &[]);
        let dated = times.date(&reading(1, HOUR - 60_000_000, 17_000_000, None));
        assert_eq!(dated.at, UtcMicros(NOON - 60_000_000));
        assert_eq!(dated.error_us, Some(1_000 + 30_000));
        assert!(dated.is_vouched_for());
    }

    #[test]
    fn an_exchange_outweighs_a_box_that_claims_to_be_ten_years_ahead() {
        let ahead = NOON + 10 * 365 * 24 * HOUR_I;
        let times = BoxTimes::of([tied(1, 0, NOON)], [], &[]);
        let dated = times.date(&reading(1, 0, ahead, Some(5_000_000)));
        assert_eq!((dated.at, dated.error_us), (UtcMicros(NOON), Some(1_000)));
    }

    #[test]
    fn without_any_exchange_a_synchronised_box_is_believed_with_its_own_error() {
        let times = BoxTimes::default();
        let dated = times.date(&reading(1, 5, NOON, Some(5_000_000)));
        assert_eq!(
            (dated.at, dated.error_us),
            (UtcMicros(NOON), Some(5_000_000))
        );
        let dated = times.date(&reading(1, 5, 0, None));
        assert_eq!((dated.at, dated.error_us), (UtcMicros(0), None));
        assert!(!dated.is_vouched_for());
    }

    #[test]
    fn a_boot_without_exchange_lies_between_its_neighbours() {
        let exchanged = [tied(1, HOUR, NOON), tied(3, HOUR, NOON + 3 * HOUR_I)];
        let sightings = [seen(1, 1, HOUR), seen(2, 10, HOUR / 2), seen(3, 20, HOUR)];
        let times = BoxTimes::of(exchanged, [], &sightings);
        let bounds = times.bounds_at(BootId([2; 16]), 0);
        let drift = 3_000_000;
        let near = |at: Option<UtcMicros>, want: i64| at.unwrap().0.abs_diff(want) <= drift + 1_000;
        assert!(near(bounds.earliest, NOON));
        assert!(near(bounds.latest, NOON + 2 * HOUR_I - HOUR_I / 2));
        let hinted = times.date(&reading(2, 0, NOON + HOUR_I, None));
        assert_eq!(
            hinted.at,
            UtcMicros(NOON + HOUR_I),
            "the box's own clock decides within"
        );
        assert!(!hinted.is_vouched_for());
        let of_1970 = times.date(&reading(2, 0, 0, None));
        assert_eq!(Some(of_1970.at), bounds.earliest);
    }

    #[test]
    fn boots_in_different_chains_have_no_order() {
        let other = Sighting {
            chain: ChainId([8; 8]),
            ..seen(2, 10, HOUR)
        };
        let times = BoxTimes::of([tied(1, HOUR, NOON)], [], &[seen(1, 1, HOUR), other]);
        assert_eq!(times.bounds_at(BootId([2; 16]), 0).earliest, None);
    }

    proptest! {
        #[test]
        fn the_true_time_of_every_boot_is_inside_its_bounds(
            boots in prop::collection::vec((1_u64..50_000_000_000, 0_u64..50_000_000_000, any::<Option<u16>>()), 1..8),
        ) {
            let mut start = NOON;
            let (mut exchanged, mut sightings, mut truth) = (Vec::new(), Vec::new(), Vec::new());
            for (at, (length, pause, exchange)) in boots.into_iter().enumerate() {
                let boot = u8::try_from(at).unwrap();
                if let Some(share) = exchange {
                    let micros = length / 65_536 * u64::from(share);
                    exchanged.push(tied(boot, micros, start + i64::try_from(micros).unwrap()));
                }
                sightings.push(seen(boot, u64::from(boot) * 10 + 1, length));
                truth.push((boot, length, start));
                start += i64::try_from(length + pause).unwrap();
            }
            let times = BoxTimes::of(exchanged, [], &sightings);
            for (boot, length, start) in truth {
                for micros in [0, length / 2, length] {
                    let utc = start + i64::try_from(micros).unwrap();
                    let bounds = times.bounds_at(BootId([boot; 16]), micros);
                    prop_assert!(bounds.earliest.is_none_or(|at| at.0 <= utc));
                    prop_assert!(bounds.latest.is_none_or(|at| utc <= at.0));
                }
            }
        }

        #[test]
        fn any_reading_is_dated(micros: u64, utc: i64, error: Option<u64>) {
            let times = BoxTimes::of([tied(1, HOUR, NOON)], [], &[seen(1, 1, micros), seen(2, 2, micros)]);
            let _ = times.date(&reading(1, micros, utc, error));
            let _ = times.date(&reading(2, micros, utc, error));
        }
    }
}
