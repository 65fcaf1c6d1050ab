//! How long a recording is, how much of it can be used, lead by lead and hour by hour, and
//! its longest gap.
//!
//! Deliberately absent: what a person should do about it.

use cardio_core::index::SampleIndex;
use cardio_core::quality::{QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Waveform;

use super::{AnalysableTime, Chosen, Coverage, LeadCoverage};
use crate::num;

/// What can be used, in all, lead by lead and hour by hour.
pub(super) fn coverage(
    chosen: &Chosen<'_>,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> Coverage {
    let end = chosen
        .iter()
        .map(|(_, wave)| wave.end())
        .max()
        .unwrap_or_default();
    let all = |window: &SignalQuality| window.overall.verdict;
    let per_lead = chosen
        .iter()
        .enumerate()
        .map(|(row, (_, wave))| LeadCoverage {
            label: wave.label.clone(),
            analysable: analysable(windows, end, rate, |window| {
                let told = window.per_lead.get(row);
                told.map_or(QualityVerdict::Insufficient, |told| told.verdict)
            }),
            longest_gap_s: longest_gap_s(wave, rate),
        })
        .collect();
    let gaps = chosen.iter().map(|(_, wave)| longest_gap_s(wave, rate));
    Coverage {
        planned_s: seconds(end.0, rate),
        analysable: analysable(windows, end, rate, all),
        longest_gap_s: gaps.fold(0.0, f64::max),
        per_lead,
    }
}

fn seconds(samples: u64, rate: SamplingRate) -> f64 {
    num::float_u64(samples) / rate.as_hz()
}

fn longest_gap_s(wave: &Waveform, rate: SamplingRate) -> f64 {
    let gaps = wave.gaps();
    let longest = gaps.iter().map(|gap| gap.len.0).max();
    seconds(longest.unwrap_or(0), rate)
}

/// Seconds in windows that are not insufficient, and the longest stretch outside of them.
fn analysable(
    windows: &[SignalQuality],
    end: SampleIndex,
    rate: SamplingRate,
    verdict: impl Fn(&SignalQuality) -> QualityVerdict,
) -> AnalysableTime {
    let hours = num::round_usize((seconds(end.0, rate) / 3_600.0).ceil());
    let mut time = AnalysableTime {
        total_s: 0.0,
        hours_s: vec![0.0; hours],
        longest_without_s: 0.0,
    };
    let (mut counted, mut usable_to) = (SampleIndex(0), SampleIndex(0));
    for window in windows {
        let to = window.first.after(window.len);
        let from = counted.max(window.first);
        counted = counted.max(to);
        if verdict(window) == QualityVerdict::Insufficient {
            continue;
        }
        let without_s = seconds(from.0.saturating_sub(usable_to.0), rate);
        time.longest_without_s = time.longest_without_s.max(without_s);
        usable_to = counted;
        add(&mut time, from, to, rate);
    }
    let without_s = seconds(end.0.saturating_sub(usable_to.0), rate);
    time.longest_without_s = time.longest_without_s.max(without_s);
    time
}

/// Adds a stretch, each part of it to its own hour.
fn add(time: &mut AnalysableTime, from: SampleIndex, to: SampleIndex, rate: SamplingRate) {
    let (mut from_s, to_s) = (seconds(from.0, rate), seconds(to.0, rate));
    while from_s < to_s {
        let hour = (from_s / 3_600.0).floor();
        let until_s = to_s.min((hour + 1.0) * 3_600.0);
        time.total_s += until_s - from_s;
        if let Some(sum) = time.hours_s.get_mut(num::round_usize(hour)) {
            *sum += until_s - from_s;
        }
        from_s = until_s;
    }
}
