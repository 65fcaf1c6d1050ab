//! How long things took lately: the last values of each kind, their median and 99th
//! percentile.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Values kept per kind: about a quarter of an hour of one attended source.
const KEPT: usize = 1024;

/// The last latencies of one kind.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    last_us: VecDeque<u64>,
    seen: u64,
}

/// What is told about the latencies of one kind, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyFacts {
    /// How many were measured since start.
    pub count: u64,
    /// Half of the last values are at most this.
    pub median_ms: f64,
    /// 99 of 100 of the last values are at most this.
    pub p99_ms: f64,
    /// The largest of the last values.
    pub max_ms: f64,
}

impl Latencies {
    /// Notes one value, in microseconds.
    pub fn note(&mut self, micros: u64) {
        if self.last_us.len() == KEPT {
            self.last_us.pop_front();
        }
        self.last_us.push_back(micros);
        self.seen = self.seen.saturating_add(1);
    }

    /// The facts, or `None` before the first value.
    pub fn facts(&self) -> Option<LatencyFacts> {
        let mut sorted: Vec<u64> = self.last_us.iter().copied().collect();
        sorted.sort_unstable();
        Some(LatencyFacts {
            count: self.seen,
            median_ms: millis(*quantile(&sorted, 50)?),
            p99_ms: millis(*quantile(&sorted, 99)?),
            max_ms: millis(*sorted.last()?),
        })
    }
}

/// The smallest value that at least `percent` of 100 do not exceed.
fn quantile(sorted: &[u64], percent: usize) -> Option<&u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1))
}

fn millis(micros: u64) -> f64 {
    f64::from(u32::try_from(micros).unwrap_or(u32::MAX)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Latencies};

    #[test]
    fn median_and_99th_percentile_are_values_that_were_seen() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.facts(), None);
        for ms in 1..=100_u64 {
            latencies.note(ms * 1000);
        }
        let facts = latencies.facts().unwrap();
        assert_eq!(
            (facts.median_ms, facts.p99_ms, facts.max_ms),
            (50.0, 99.0, 100.0)
        );
    }

    #[test]
    fn only_the_last_values_count_but_all_are_counted() {
        let mut latencies = Latencies::default();
        latencies.note(9_000_000);
        for _ in 0..KEPT {
            latencies.note(1000);
        }
        let facts = latencies.facts().unwrap();
        assert_eq!((facts.count, facts.max_ms), (1025, 1.0));
    }
}
