//! Heart rate over the latest intervals.

use cardio_core::index::SampleIndex;
use cardio_core::quality::AlgorithmId;
use cardio_core::rate::SamplingRate;
use cardio_core::rr;

use crate::num;

/// Who says how fast the heart beats.
pub const RATE_ALGORITHM: AlgorithmId = AlgorithmId {
    name: "heart-rate",
    version: 1,
};

/// At most this many intervals are looked at.
const INTERVALS: usize = 8;
/// And no beat older than this.
const REACH_US: u64 = 10_000_000;
/// Without a beat for this long there is no rate to tell.
const STALE_US: u64 = 5_000_000;
/// A rate needs this many intervals.
const NEEDED: usize = 3;

/// How fast the heart beats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeartRate {
    /// Beats per minute, from the mean of the intervals.
    pub bpm: f64,
    /// How far the single intervals differ: the rate of the shortest minus that of the
    /// longest, in beats per minute.
    pub spread: f64,
    /// How many intervals were looked at.
    pub intervals: usize,
}

/// Why a heart rate cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undetermined {
    /// Fewer beats than a rate needs.
    #[error("cannot tell the heart rate: {have} beat(s) in the last 10 s, 4 are needed")]
    TooFewBeats {
        /// How many there are.
        have: usize,
    },
    /// No beat for some time.
    #[error("cannot tell the heart rate: no beat for {silent_ms} ms")]
    NoRecentBeat {
        /// Time since the last beat, in milliseconds.
        silent_ms: u64,
    },
    /// The signal is not good enough for its beats to be believed.
    #[error("cannot tell the heart rate: the signal is insufficient")]
    InsufficientSignal,
}

impl Undetermined {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooFewBeats { .. } => "rate.too-few-beats",
            Self::NoRecentBeat { .. } => "rate.no-recent-beat",
            Self::InsufficientSignal => "rate.insufficient-signal",
        }
    }
}

/// The heart rate at the instant `now`, from beats in order of time: the mean of the last
/// eight intervals, ten seconds at most.
///
/// # Errors
/// [`Undetermined`] says what is missing.
pub fn heart_rate(
    beats: &[SampleIndex],
    rate: SamplingRate,
    now: SampleIndex,
) -> Result<HeartRate, Undetermined> {
    let now_us = rate.micros_at(now);
    let recent: Vec<SampleIndex> = beats
        .iter()
        .copied()
        .filter(|at| *at <= now && now_us - rate.micros_at(*at) <= REACH_US)
        .collect();
    let kept = recent.len().saturating_sub(INTERVALS + 1);
    let recent = recent.get(kept..).unwrap_or_default();
    let Some(last) = recent.last().filter(|_| recent.len() > NEEDED) else {
        return Err(Undetermined::TooFewBeats { have: recent.len() });
    };
    let silent_us = now_us - rate.micros_at(*last);
    if silent_us > STALE_US {
        return Err(Undetermined::NoRecentBeat {
            silent_ms: silent_us / 1000,
        });
    }
    let intervals: Vec<f64> = rr::intervals(recent, rate)
        .iter()
        .map(|interval| interval.millis)
        .collect();
    let sum: f64 = intervals.iter().sum();
    let count = intervals.len();
    let shortest = intervals.iter().copied().fold(f64::MAX, f64::min);
    let longest = intervals.iter().copied().fold(0.0, f64::max);
    if count < NEEDED || sum <= 0.0 {
        return Err(Undetermined::TooFewBeats { have: recent.len() });
    }
    Ok(HeartRate {
        bpm: 60_000.0 * num::float(count) / sum,
        spread: 60_000.0 / shortest - 60_000.0 / longest,
        intervals: count,
    })
}

#[cfg(test)]
mod tests {
    use super::{Undetermined, heart_rate};
    use cardio_core::index::SampleIndex;
    use cardio_core::rate::SamplingRate;

    fn beats(every: u64, count: u64) -> Vec<SampleIndex> {
        (0..count).map(|n| SampleIndex(n * every)).collect()
    }

    #[test]
    fn beats_every_second_are_sixty_per_minute_without_spread() {
        let rate = SamplingRate::hz(250).unwrap();
        let told = heart_rate(&beats(250, 11), rate, SampleIndex(2_600)).unwrap();
        assert!((told.bpm - 60.0).abs() < 1e-9);
        assert!(told.spread.abs() < 1e-9);
        assert_eq!(told.intervals, 8);
    }

    #[test]
    fn a_rate_of_thirty_can_still_be_told() {
        let rate = SamplingRate::hz(250).unwrap();
        let told = heart_rate(&beats(500, 11), rate, SampleIndex(5_010)).unwrap();
        assert!((told.bpm - 30.0).abs() < 1e-9);
    }

    #[test]
    fn too_few_or_too_old_beats_are_named() {
        let rate = SamplingRate::hz(250).unwrap();
        assert_eq!(
            heart_rate(&[], rate, SampleIndex(0)),
            Err(Undetermined::TooFewBeats { have: 0 })
        );
        let silent = heart_rate(&beats(125, 9), rate, SampleIndex(1_000 + 1_300)).unwrap_err();
        assert_eq!(silent.code(), "rate.no-recent-beat");
    }

    #[test]
    fn beats_after_now_are_not_looked_at() {
        let rate = SamplingRate::hz(250).unwrap();
        assert!(heart_rate(&beats(250, 100), rate, SampleIndex(500)).is_err());
    }
}
