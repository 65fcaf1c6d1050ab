//! Indexes tied to the box's clock.
//!
//! Every read ties its last sample to the time of its arrival; samples before it are a
//! whole number of sampling intervals earlier. Deliberately absent: placing frames on the
//! time line and finding gaps (`cardio_core::timeline`).

use cardio_core::clock::{BoxInstant, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;

/// One index whose instant is known, from which others follow at the nominal rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tie {
    index: SampleIndex,
    at: ClockReading,
    uncertainty_us: u64,
    rate: SamplingRate,
}

impl Tie {
    /// The sample `index` arrived at `at`.
    pub(crate) const fn new(
        index: SampleIndex,
        at: ClockReading,
        uncertainty_us: u64,
        rate: SamplingRate,
    ) -> Self {
        Self {
            index,
            at,
            uncertainty_us,
            rate,
        }
    }

    /// The instant of `index`, before or after the sample that is tied.
    pub(crate) fn anchor(&self, index: SampleIndex) -> TimeAnchor {
        let here = self.rate.micros_at(self.index);
        let there = self.rate.micros_at(index);
        TimeAnchor {
            index,
            at: moved(self.at, here, there),
            uncertainty_us: self.uncertainty_us,
        }
    }
}

/// The reading at `instant`, told from the one at `at`.
pub(crate) fn moved_to(at: ClockReading, instant: BoxInstant) -> ClockReading {
    moved(at, at.box_instant.micros, instant.micros)
}

/// The reading that lies as far from `at` as `there_us` from `here_us`.
fn moved(at: ClockReading, here_us: u64, there_us: u64) -> ClockReading {
    let later = there_us.saturating_sub(here_us);
    let earlier = here_us.saturating_sub(there_us);
    let signed = |micros: u64| i64::try_from(micros).unwrap_or(i64::MAX);
    ClockReading {
        box_instant: at.box_instant.plus_micros(later).minus_micros(earlier),
        utc: UtcMicros(
            at.utc
                .0
                .saturating_add(signed(later))
                .saturating_sub(signed(earlier)),
        ),
        quality: at.quality,
    }
}

#[cfg(test)]
mod tests {
    use super::{SampleIndex, SamplingRate, Tie};
    use crate::testing::start_of_time;

    #[test]
    fn samples_before_and_after_the_tie_keep_their_distance() {
        let rate = SamplingRate::hz(250).unwrap();
        let tie = Tie::new(SampleIndex(100), start_of_time(), 20_000, rate);
        let at = |index| tie.anchor(SampleIndex(index)).at;
        assert_eq!(at(100), start_of_time());
        assert_eq!(at(50).box_instant.micros, 1_000_000 - 200_000);
        assert_eq!(at(101).utc.0, start_of_time().utc.0 + 4_000);
    }
}
