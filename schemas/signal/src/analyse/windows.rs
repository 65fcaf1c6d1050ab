//! Quality along the common time line of the chosen leads, window by window.
//!
//! Deliberately absent: the scoring itself ([`crate::sqi`]), and what the windows amount to.

use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::SignalQuality;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Waveform;
use cardio_core::samples::SampleSlice;

use super::{BLOCK, Chosen};
use crate::limbs::LimbSwap;
use crate::sqi::{EcgQuality, LeadSpec, QualityConfig};

/// Windows are told this far apart, in seconds.
const WINDOW_STEP_S: u64 = 10;

/// A stretch in which every chosen lead has samples, or in which one has none.
pub(crate) enum Stretch<'a> {
    Signal(Vec<SampleSlice<'a>>),
    Gap(SampleCount),
}

/// The common time line of the chosen leads.
pub(crate) fn stretches<'a>(chosen: &Chosen<'a>) -> Vec<Stretch<'a>> {
    let mut edges: Vec<u64> = chosen
        .iter()
        .flat_map(|(_, wave)| &wave.runs)
        .flat_map(|run| [run.first.0, run.end().0])
        .collect();
    edges.push(0);
    edges.sort_unstable();
    edges.dedup();
    let mut all = Vec::new();
    for pair in edges.windows(2) {
        let [from, to] = pair else { continue };
        let rows: Option<Vec<SampleSlice<'_>>> = chosen
            .iter()
            .map(|(_, wave)| slice(wave, *from, *to))
            .collect();
        match rows {
            Some(rows) => all.push(Stretch::Signal(rows)),
            None => all.push(Stretch::Gap(SampleCount(to - from))),
        }
    }
    all
}

fn slice(wave: &Waveform, from: u64, to: u64) -> Option<SampleSlice<'_>> {
    let run = wave
        .runs
        .iter()
        .find(|run| run.first.0 <= from && run.end().0 >= to)?;
    let start = SampleCount(from - run.first.0).len();
    let end = SampleCount(to - run.first.0).len();
    run.samples.as_slice().part(start..end)
}

/// The windows, and the swap of limb electrodes that was suspected first.
pub(super) fn windows(
    chosen: &Chosen<'_>,
    rate: SamplingRate,
    specs: &[LeadSpec],
) -> (Vec<SignalQuality>, Option<LimbSwap>) {
    let mut quality = EcgQuality::new(
        rate,
        specs,
        QualityConfig {
            forget_lost_contact: false,
            ..QualityConfig::default()
        },
    );
    let mut told: Vec<SignalQuality> = Vec::new();
    let mut latest: Option<SignalQuality> = None;
    let mut swap = None;
    for stretch in stretches(chosen) {
        match stretch {
            Stretch::Gap(len) => {
                told.extend(latest.take());
                quality.gap(len);
            }
            Stretch::Signal(rows) => {
                let length = rows.first().map_or(0, |row| row.len());
                let mut from = 0;
                while from < length {
                    let to = length.min(from + BLOCK);
                    let part = |row: &SampleSlice<'_>| row.part(from..to).map(SampleSlice::to_vec);
                    let block: Vec<Vec<i32>> = rows.iter().filter_map(part).collect();
                    let block: Vec<&[i32]> = block.iter().map(Vec::as_slice).collect();
                    for window in quality.push(&block) {
                        keep_window(&mut told, &mut latest, window, rate);
                    }
                    swap = swap.or(quality.suspect_swap());
                    from = to;
                }
            }
        }
    }
    told.extend(latest);
    (told, swap)
}

/// Keeps the windows that end a step after the one kept before; the newest waits in case it
/// is the last.
fn keep_window(
    told: &mut Vec<SignalQuality>,
    latest: &mut Option<SignalQuality>,
    window: SignalQuality,
    rate: SamplingRate,
) {
    let end = window.first.after(window.len);
    let before = told
        .last()
        .map_or(SampleIndex(0), |kept| kept.first.after(kept.len));
    let start = before.max(window.first);
    let step = rate.count_in_micros(WINDOW_STEP_S * 1_000_000);
    if end.since(start).is_some_and(|span| span >= step) {
        *latest = None;
        told.push(window);
    } else {
        *latest = Some(window);
    }
}
