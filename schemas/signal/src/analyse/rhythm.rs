//! Beats of the first lead, and the rhythm and the mean rate that they make.
//!
//! Deliberately absent: the methods, which stream ([`crate::beat`], [`crate::rhythm`]). What
//! rests on insufficient signal is told apart, not left out.

use cardio_core::index::SampleIndex;
use cardio_core::quality::{QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Waveform;

use super::{BeatTrain, Chosen, gain_adu_per_mv};
use crate::beat::{self, BeatDetector};
use crate::num;
use crate::qrs;
use crate::rhythm::{HeartRate, RhythmEvent, RhythmTracker, Undetermined, heart_rate};

pub(super) fn train(chosen: &Chosen<'_>) -> Option<BeatTrain> {
    let (waveform, wave) = chosen.first()?;
    let mut detector = BeatDetector::new(wave.rate, gain_adu_per_mv(&wave.calibration));
    let mut found = Vec::new();
    for run in &wave.runs {
        if let Some(len) = run
            .first
            .since(detector.end())
            .filter(|len| !len.is_empty())
        {
            found.extend(detector.gap(len));
        }
        for block in run.samples.as_slice().chunks(super::BLOCK) {
            found.extend(detector.push(&block.to_vec()));
        }
    }
    found.extend(detector.finish());
    Some(BeatTrain {
        waveform: *waveform,
        label: wave.label.clone(),
        beats: found,
        algorithm: qrs::ALGORITHM,
        class_algorithm: beat::ALGORITHM,
    })
}

/// The spans of rhythm, and those that rest on windows that are insufficient.
pub(super) fn rhythm(
    train: Option<&BeatTrain>,
    wave: &Waveform,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> (Vec<RhythmEvent>, Vec<RhythmEvent>) {
    let mut tracker = RhythmTracker::new(rate);
    let mut events = Vec::new();
    let mut gaps = wave.gaps().into_iter().peekable();
    for beat in train
        .map(|train| train.beats.as_slice())
        .unwrap_or_default()
    {
        while gaps.next_if(|gap| gap.from <= beat.at).is_some() {
            events.extend(tracker.finish());
        }
        events.extend(tracker.push(*beat));
    }
    events.extend(tracker.finish());
    events.sort_by_key(|event| (event.from, event.kind));
    let insufficient = |event: &RhythmEvent| {
        let (mut bad, mut all) = (0, 0);
        for window in windows {
            let end = window.first.after(window.len).min(event.to);
            let shared = end.0.saturating_sub(window.first.max(event.from).0);
            let first_lead = window.per_lead.first();
            all += shared;
            if first_lead.is_some_and(|lead| lead.verdict == QualityVerdict::Insufficient) {
                bad += shared;
            }
        }
        // More than a third of the evidence.
        3 * bad > all
    };
    events.into_iter().partition(|event| !insufficient(event))
}

pub(super) fn mean_rate(
    train: Option<&BeatTrain>,
    rate: SamplingRate,
) -> Result<HeartRate, Undetermined> {
    let beats: Vec<SampleIndex> = train
        .map(|train| train.beats.iter().map(|beat| beat.at).collect())
        .unwrap_or_default();
    let (Some(first), Some(last)) = (beats.first(), beats.last()) else {
        return Err(Undetermined::TooFewBeats { have: 0 });
    };
    if beats.len() <= 9 {
        return heart_rate(&beats, rate, *last);
    }
    let intervals = beats.len() - 1;
    let span_us = num::float_u64(rate.micros_at(*last) - rate.micros_at(*first));
    let mut each: Vec<f64> = cardio_core::rr::intervals(&beats, rate)
        .iter()
        .map(|interval| interval.millis.max(1.0))
        .collect();
    let fast = 60_000.0 / num::quantile(&mut each, 0.05);
    let slow = 60_000.0 / num::quantile(&mut each, 0.95);
    Ok(HeartRate {
        bpm: 60e6 * num::float(intervals) / span_us.max(1.0),
        spread: fast - slow,
        intervals,
    })
}
