//! One table: what each receiving end did with the same publishes.

use std::time::Duration;

/// What one receiving end did.
pub(crate) struct Measured {
    /// Who.
    pub(crate) name: &'static str,
    /// From the first frame sent to the last PUBACK.
    pub(crate) span: Duration,
    /// Processor time that it used meanwhile, in seconds.
    pub(crate) processor_s: f64,
    /// Its largest resident memory.
    pub(crate) resident_mib: f64,
    /// From sending a frame to its PUBACK, sorted.
    pub(crate) pubacks: Vec<Duration>,
    /// From sending a frame to a signed acknowledgement that covers it, sorted; empty when the
    /// receiving end signs none.
    pub(crate) acks: Vec<Duration>,
    /// Frames that were there after it was killed.
    pub(crate) kept: usize,
}

impl Measured {
    /// Frames with a PUBACK.
    pub(crate) fn acknowledged(&self) -> usize {
        self.pubacks.len()
    }

    fn per_s(&self) -> f64 {
        f64::from(u32::try_from(self.acknowledged()).unwrap_or(u32::MAX)) / self.span.as_secs_f64()
    }

    /// Whether it answered as fast as frames came, but for the last answer.
    pub(crate) fn kept_up(&self, rate: u32) -> bool {
        self.per_s() >= 0.95 * f64::from(rate)
    }

    /// The worst of the 99th percentiles.
    pub(crate) fn p99(&self) -> Duration {
        percentile(&self.pubacks, 99).max(percentile(&self.acks, 99))
    }
}

/// The value that `percent` of the sorted values do not exceed; zero of none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

/// Median, 99 of 100, and worst in milliseconds.
pub(crate) fn spread(sorted: &[Duration]) -> String {
    if sorted.is_empty() {
        return "-".to_owned();
    }
    [50, 99, 100]
        .map(|percent| percentile(sorted, percent).as_millis().to_string())
        .join(" / ")
}

/// The table, line by line.
pub(crate) fn lines(measured: &[Measured]) -> Vec<String> {
    let row = |name: &str, cells: [&str; 6]| {
        let [per_s, puback, ack, cpu, memory, kept] = cells;
        format!("{name:<12}{per_s:>9}  {puback:>18}  {ack:>18}  {cpu:>6}  {memory:>8}  {kept:>16}")
    };
    let mut lines = vec![
        row(
            "",
            [
                "frames/s",
                "PUBACK ms",
                "signed ack ms",
                "CPU",
                "memory",
                "kept/acked",
            ],
        ),
        row(
            "",
            [
                "",
                "p50 / p99 / max",
                "p50 / p99 / max",
                "",
                "",
                "after SIGKILL",
            ],
        ),
    ];
    for one in measured {
        lines.push(row(
            one.name,
            [
                &format!("{:.0}", one.per_s()),
                &spread(&one.pubacks),
                &spread(&one.acks),
                &format!("{:.0} %", 100.0 * one.processor_s / one.span.as_secs_f64()),
                &format!("{:.0} MiB", one.resident_mib),
                &format!("{}/{}", one.kept, one.acknowledged()),
            ],
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Duration, percentile};

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let all: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&all, 50), Duration::from_millis(100));
        assert_eq!(percentile(&all, 99), Duration::from_millis(198));
        assert_eq!(percentile(&all, 100), Duration::from_millis(200));
        assert_eq!(percentile(&all[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
