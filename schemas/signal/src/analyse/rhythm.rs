//! Beats of the leads together, and the rhythm and the mean rate that they make.
//!
//! Deliberately absent: the methods, which stream ([`crate::beat`], [`crate::rhythm`]). What
//! rests on insufficient signal is told apart, not left out.

use cardio_core::annotation::Beat;
use cardio_core::index::SampleIndex;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Waveform;
use cardio_core::samples::SampleSlice;

use super::{BeatTrain, Chosen, gain_adu_per_mv};
use crate::beat::{self, BeatDetector, ToldBeat};
use crate::num;
use crate::qrs;
use crate::rhythm::{
    ArrestWatch, HeartRate, Interval, IntervalKind, RhythmEvent, RhythmKind, RhythmTracker,
    Undetermined, heart_rate, series,
};

/// Leads that are listened to together: more cost time and tell little more.
const TOGETHER: usize = 3;

/// The first lead, and those with samples at the very same instants, as far apart as the
/// order of leads allows.
fn together<'a>(chosen: &Chosen<'a>) -> Vec<(usize, &'a Waveform)> {
    let Some(first) = chosen.first() else {
        return Vec::new();
    };
    let spans = |wave: &Waveform| -> Vec<_> {
        wave.runs.iter().map(|run| (run.first, run.end())).collect()
    };
    let own = spans(first.1);
    let others: Vec<_> = chosen
        .iter()
        .skip(1)
        .filter(|(_, wave)| spans(wave) == own)
        .collect();
    let mut all = vec![*first];
    let wanted = (TOGETHER - 1).min(others.len());
    all.extend((1..=wanted).filter_map(|turn| {
        let place = turn * others.len() / wanted - 1;
        others.get(place).map(|other| **other)
    }));
    all
}

pub(super) fn train(chosen: &Chosen<'_>) -> Option<BeatTrain> {
    let leads = together(chosen);
    let (waveform, wave) = leads.first()?;
    let gains: Vec<f64> = leads
        .iter()
        .map(|(_, wave)| gain_adu_per_mv(&wave.calibration))
        .collect();
    let (mut detector, algorithm) = match gains.as_slice() {
        [gain] => (BeatDetector::new(wave.rate, *gain), qrs::ALGORITHM),
        gains => (BeatDetector::fused(wave.rate, gains), qrs::FUSED_ALGORITHM),
    };
    let mut found = Vec::new();
    for (place, run) in wave.runs.iter().enumerate() {
        if let Some(len) = run
            .first
            .since(detector.end())
            .filter(|len| !len.is_empty())
        {
            found.extend(detector.gap(len));
        }
        let length = run.samples.as_slice().len();
        for from in (0..length).step_by(super::BLOCK) {
            let part = from..length.min(from + super::BLOCK);
            let block: Vec<Vec<i32>> = leads
                .iter()
                .filter_map(|(_, wave)| wave.runs.get(place)?.samples.as_slice().part(part.clone()))
                .map(SampleSlice::to_vec)
                .collect();
            let rows: Vec<&[i32]> = block.iter().map(Vec::as_slice).collect();
            found.extend(detector.push_rows(&rows));
        }
    }
    found.extend(detector.finish());
    Some(BeatTrain {
        waveform: *waveform,
        label: wave.label.clone(),
        heard: leads.iter().map(|(waveform, _)| *waveform).collect(),
        p_waves: found.iter().map(|told| told.p_wave).collect(),
        beats: found.into_iter().map(|told| told.beat).collect(),
        algorithm,
        class_algorithm: beat::ALGORITHM,
    })
}

/// A shorter rest between two beats is no asystole, in seconds.
const ASYSTOLE_S: f64 = 4.0;
/// A lead that moves less than this holds no beat, in millivolts from peak to peak: a twentieth of a
/// usual QRS, and more than electrodes on skin make by themselves.
const STILL_MV: f64 = 0.05;
/// What is left out beside a beat, in seconds.
const BESIDE_BEATS_S: f64 = 0.3;

/// The intervals between the beats of a lead, none across its gaps; what lies in windows
/// that are insufficient counts as unclassified.
pub(super) fn intervals(
    train: Option<&BeatTrain>,
    wave: &Waveform,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> Vec<Interval> {
    let breaks: Vec<SampleIndex> = wave.gaps().into_iter().map(|gap| gap.from).collect();
    let beats = train.map(|train| train.beats.as_slice());
    let mut all = series(beats.unwrap_or_default(), rate, &breaks);
    for window in windows {
        let lead = window.per_lead.first();
        if lead.is_none_or(|lead| lead.verdict != QualityVerdict::Insufficient) {
            continue;
        }
        let from = all.partition_point(|one| one.ends_at < window.first);
        let end = window.first.after(window.len);
        let within = all.iter_mut().skip(from);
        for one in within.take_while(|one| one.ends_at < end) {
            one.kind = IntervalKind::Unclassified;
        }
    }
    all
}

/// The spans of rhythm, and those that rest on windows that are insufficient.
pub(super) fn rhythm(
    train: Option<&BeatTrain>,
    wave: &Waveform,
    windows: &[SignalQuality],
    rate: SamplingRate,
) -> (Vec<RhythmEvent>, Vec<RhythmEvent>) {
    let beats = train
        .map(|train| train.beats.as_slice())
        .unwrap_or_default();
    let mut tracker = RhythmTracker::new(rate);
    let mut events = Vec::new();
    let mut gaps = wave.gaps().into_iter().peekable();
    let p_waves = train.map(|train| train.p_waves.as_slice());
    for (beat, p_wave) in beats.iter().zip(p_waves.unwrap_or_default()) {
        while gaps.next_if(|gap| gap.from <= beat.at).is_some() {
            events.extend(tracker.finish());
        }
        events.extend(tracker.push_told(ToldBeat {
            beat: *beat,
            p_wave: *p_wave,
        }));
    }
    events.extend(tracker.finish());
    let arrests = arrests(wave).into_iter();
    let arrests: Vec<RhythmEvent> = arrests
        .flat_map(|arrest| between_beats(arrest, beats, wave))
        .collect();
    // What is taken for beats in fibrillation has no rhythm of its own.
    events.retain(|event| !within_fibrillation(event, &arrests));
    events.extend(arrests);
    events.sort_by_key(|event| (event.from, event.kind));
    let insufficient = |event: &RhythmEvent| {
        let (mut bad, mut all) = (0, 0);
        for window in windows {
            let end = window.first.after(window.len).min(event.to);
            let shared = end.0.saturating_sub(window.first.max(event.from).0);
            all += shared;
            if window
                .per_lead
                .first()
                .is_some_and(|lead| refutes(lead, event.kind))
            {
                bad += shared;
            }
        }
        // More than a third of the evidence.
        3 * bad > all
    };
    events.into_iter().partition(|event| !insufficient(event))
}

/// Whether a lead's quality takes the ground from a statement. Fibrillation and asystole
/// have no beats, which makes quality insufficient by itself: only what is wrong with the
/// contact speaks against them.
fn refutes(lead: &LeadQuality, kind: RhythmKind) -> bool {
    let without_beats = matches!(kind, RhythmKind::VfSuspected | RhythmKind::Asystole);
    let contact = lead.causes.iter().any(|cause| {
        matches!(
            cause,
            QualityCause::LeadOff | QualityCause::Flat | QualityCause::Saturation
        )
    });
    lead.verdict == QualityVerdict::Insufficient && (contact || !without_beats)
}

/// Fibrillation and asystole of a lead.
fn arrests(wave: &Waveform) -> Vec<RhythmEvent> {
    let mut watch = ArrestWatch::new(wave.rate, gain_adu_per_mv(&wave.calibration));
    let mut found = Vec::new();
    for run in &wave.runs {
        if let Some(len) = run.first.since(watch.end()).filter(|len| !len.is_empty()) {
            found.extend(watch.gap(len));
        }
        for block in run.samples.as_slice().chunks(super::BLOCK) {
            found.extend(watch.push(&block.to_vec()));
        }
    }
    found.extend(watch.finish());
    found
}

/// What of an asystole is one although beats were found within: a line that rests between small
/// beats is none, and what is taken for a beat on a line as good as still does not undo the seconds
/// before and after it.
fn between_beats(arrest: RhythmEvent, beats: &[Beat], wave: &Waveform) -> Vec<RhythmEvent> {
    let within = |at: &SampleIndex| *at > arrest.from && *at < arrest.to;
    let inside: Vec<SampleIndex> = beats.iter().map(|beat| beat.at).filter(within).collect();
    if arrest.kind != RhythmKind::Asystole || inside.is_empty() {
        return vec![arrest];
    }
    let starts = std::iter::once(arrest.from).chain(inside.iter().copied());
    let ends = inside.iter().copied().chain([arrest.to]);
    let stretches = starts.zip(ends).map(|(from, to)| {
        let micros = wave.rate.micros_at(to) - wave.rate.micros_at(from);
        RhythmEvent {
            from,
            to,
            value: num::float_u64(micros) / 1e6,
            ..arrest
        }
    });
    stretches
        .filter(|part| part.value >= ASYSTOLE_S && is_still(wave, part.from, part.to))
        .collect()
}

/// Whether a lead moves less than any beat would, but for a moment at both ends.
fn is_still(wave: &Waveform, from: SampleIndex, to: SampleIndex) -> bool {
    let moment = num::round_u64(BESIDE_BEATS_S * wave.rate.as_hz());
    let (first, end) = (from.0.saturating_add(moment), to.0.saturating_sub(moment));
    let (mut low, mut high) = (i32::MAX, i32::MIN);
    for run in &wave.runs {
        let samples = run.samples.as_slice();
        let place = |at: u64| {
            let place = usize::try_from(at.saturating_sub(run.first.0));
            place.unwrap_or(usize::MAX).min(samples.len())
        };
        let part = samples.part(place(first)..place(end));
        for sample in part.map(SampleSlice::to_vec).unwrap_or_default() {
            (low, high) = (low.min(sample), high.max(sample));
        }
    }
    let moved = f64::from(high) - f64::from(low);
    low <= high && moved < STILL_MV * gain_adu_per_mv(&wave.calibration)
}

/// Whether a span lies mostly in fibrillation.
fn within_fibrillation(event: &RhythmEvent, arrests: &[RhythmEvent]) -> bool {
    let shared: u64 = arrests
        .iter()
        .filter(|arrest| arrest.kind == RhythmKind::VfSuspected)
        .map(|vf| {
            let to = vf.to.min(event.to).0;
            to.saturating_sub(vf.from.max(event.from).0)
        })
        .sum();
    2 * shared > event.to.0 - event.from.0
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
