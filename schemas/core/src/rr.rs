//! Intervals between consecutive R peaks.

use crate::index::SampleIndex;
use crate::rate::SamplingRate;

/// Time between two consecutive R peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RrInterval {
    /// The R peak that ends it.
    pub ends_at: SampleIndex,
    /// Its length in milliseconds.
    pub millis: f64,
}

/// The intervals of a run of R peaks; the peaks must rise strictly, others are left out.
pub fn intervals(peaks: &[SampleIndex], rate: SamplingRate) -> Vec<RrInterval> {
    peaks
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] if after > before => {
                let span_us = rate.micros_at(*after) - rate.micros_at(*before);
                #[expect(
                    clippy::as_conversions,
                    clippy::cast_precision_loss,
                    reason = "a span between two beats is far below 2^53 microseconds"
                )]
                let millis = span_us as f64 / 1000.0;
                Some(RrInterval {
                    ends_at: *after,
                    millis,
                })
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{SampleIndex, SamplingRate, intervals};

    #[test]
    fn two_peaks_a_second_apart_are_a_thousand_milliseconds() {
        let rr = intervals(
            &[SampleIndex(10), SampleIndex(260)],
            SamplingRate::hz(250).unwrap(),
        );
        assert_eq!(rr.first().unwrap().millis, 1000.0);
    }
}
