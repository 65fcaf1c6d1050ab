//! How long a recording is, how much of it can be used, and its longest gap.
//!
//! Deliberately absent: whether that is enough, and the quality of a single lead.

use cardio_core::index::SampleIndex;
use cardio_core::quality::{QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;

use super::{Chosen, Coverage};
use crate::num;

/// What can be used, in all and hour by hour.
pub(super) fn coverage(
    chosen: &Chosen<'_>,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> Coverage {
    let hz = rate.as_hz();
    let seconds = |samples: u64| num::float_u64(samples) / hz;
    let end = chosen
        .iter()
        .map(|(_, wave)| wave.end())
        .max()
        .unwrap_or_default();
    let longest = chosen
        .iter()
        .flat_map(|(_, wave)| wave.gaps())
        .map(|gap| gap.len.0)
        .max();
    let mut hours_s = vec![0.0; num::round_usize((seconds(end.0) / 3_600.0).ceil())];
    let mut counted = SampleIndex(0);
    let mut analysable_s = 0.0;
    for window in windows {
        let to = window.first.after(window.len);
        let from = counted.max(window.first);
        counted = counted.max(to);
        if window.overall.verdict == QualityVerdict::Insufficient {
            continue;
        }
        let span_s = seconds(to.0.saturating_sub(from.0));
        analysable_s += span_s;
        let hour = num::round_usize((seconds(from.0) / 3_600.0).floor());
        if let Some(sum) = hours_s.get_mut(hour) {
            *sum += span_s;
        }
    }
    Coverage {
        planned_s: seconds(end.0),
        analysable_s,
        longest_gap_s: seconds(longest.unwrap_or(0)),
        hours_s,
    }
}
