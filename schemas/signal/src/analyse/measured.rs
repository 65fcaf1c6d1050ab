//! Where a recording is measured: the best half minute of each hour.
//!
//! Deliberately absent: the measuring itself ([`crate::delineation`]).

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityVerdict, SignalQuality};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Waveform;

use super::{BeatTrain, Chosen, gain_adu_per_mv};
use crate::delineation::{BeatLead, Measurements, Unmeasured, measure};
use crate::rhythm::{RhythmEvent, RhythmKind};

/// Windows in a row that are measured together.
const TOGETHER: usize = 3;
const HOUR_US: u64 = 3_600_000_000;

/// A stretch, and what was measured in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The first sample of the stretch.
    pub from: SampleIndex,
    /// The sample after its last.
    pub to: SampleIndex,
    /// What it shows, or why it was not measured.
    pub told: Result<Measurements, Unmeasured>,
}

/// Measures the stretch of each hour in which the most leads are good.
pub(super) fn measured(
    chosen: &Chosen<'_>,
    windows: &[SignalQuality],
    train: Option<&BeatTrain>,
    events: &[RhythmEvent],
    rate: SamplingRate,
) -> Vec<Measured> {
    let beats = train.map_or(&[][..], |train| train.beats.as_slice());
    let hour = |window: &SignalQuality| rate.micros_at(window.first) / HOUR_US;
    windows
        .chunk_by(|one, two| hour(one) == hour(two))
        .filter_map(|windows| {
            let row = best(windows)?;
            let (first, last) = (row.first()?, row.last()?);
            let (from, to) = (first.first, last.first.after(last.len));
            let leads: Vec<BeatLead> = chosen
                .iter()
                .zip(good(row))
                .map(|((_, wave), is_good)| lead(wave, is_good, from, to))
                .collect();
            let irregular = events.iter().any(|event| {
                event.kind == RhythmKind::AfSuspected && event.from < to && event.to > from
            });
            let told = measure(&leads, beats, from, rate, irregular);
            Some(Measured { from, to, told })
        })
        .collect()
}

/// The windows in a row with the most good leads; of those the longest, then the first.
fn best(hour: &[SignalQuality]) -> Option<&[SignalQuality]> {
    let worth = |row: &[SignalQuality]| {
        let leads = good(row).into_iter().filter(|is_good| *is_good).count();
        (leads, row.len())
    };
    (1..=TOGETHER)
        .flat_map(|length| hour.windows(length))
        .filter(|row| row.windows(2).all(follow))
        .reduce(|best, next| {
            if worth(next) > worth(best) {
                next
            } else {
                best
            }
        })
}

/// Whether the second of two windows goes on where the first ends.
fn follow(pair: &[SignalQuality]) -> bool {
    match pair {
        [one, two] => one.first.after(one.len) >= two.first,
        _ => true,
    }
}

/// Which leads are good in all of the windows.
fn good(row: &[SignalQuality]) -> Vec<bool> {
    let leads = row.first().map_or(0, |window| window.per_lead.len());
    let is_good = |lead: usize| {
        row.iter().all(|window| {
            let told = window.per_lead.get(lead);
            told.is_some_and(|told| told.verdict == QualityVerdict::Good)
        })
    };
    (0..leads).map(is_good).collect()
}

/// A lead over a stretch; without samples when it is not good or has a gap there.
fn lead(wave: &Waveform, is_good: bool, from: SampleIndex, to: SampleIndex) -> BeatLead {
    let part = wave
        .runs
        .iter()
        .filter(|_| is_good)
        .find(|run| run.first <= from && run.end() >= to)
        .and_then(|run| {
            let start = from.since(run.first).map_or(0, SampleCount::len);
            let end = to.since(run.first).map_or(0, SampleCount::len);
            run.samples.as_slice().part(start..end)
        });
    let scale = crate::mv_per_adu(gain_adu_per_mv(&wave.calibration));
    let baseline = wave.calibration.baseline_adu();
    BeatLead {
        label: wave.label.clone(),
        lead: wave.kind.lead(),
        good: part.is_some(),
        mv: part
            .into_iter()
            .flat_map(|part| part.iter())
            .map(|adu| (f64::from(adu) - baseline) * scale)
            .collect(),
    }
}
