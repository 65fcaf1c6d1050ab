//! The noise stress test: clean MIT-BIH records with recorded noise, as its authors mix them.

use std::collections::BTreeMap;

use cardio_core::recording::Recording;
use cardio_signal::analyse::analyse;
use cardio_signal::rhythm::RhythmEvent;

use crate::beats::{self, Score, detect};
use crate::data::{Data, flutter, samples, truth};

/// Factors of em, ma and bw at 0 dB for the first signal, by the set's own rule.
pub(crate) const RECORDS: [(&str, [f64; 3]); 2] = [
    ("118", [2.962_27, 12.267_6, 9.860_06]),
    ("119", [2.564_78, 10.621_5, 8.537_01]),
];
const NOISES: [&str; 3] = ["em", "ma", "bw"];
pub(crate) const SNR_DB: [f64; 6] = [24.0, 18.0, 12.0, 6.0, 0.0, -6.0];

/// A clean signal with noise in every other two minutes from minute five on; the offset is
/// held at each switch, so that there is no step.
pub(crate) fn mixed(clean: &[i32], noise: &[i32], factor: f64, hz: f64) -> Vec<i32> {
    let two_minutes = (120.0 * hz) as usize;
    let mut next = (300.0 * hz) as usize;
    let (mut on, mut held) = (false, 0.0);
    let mut out = Vec::with_capacity(clean.len());
    for (place, value) in clean.iter().enumerate() {
        let added = if on {
            factor * f64::from(noise[place % noise.len()])
        } else {
            0.0
        };
        let last = (f64::from(*value) + added - held).trunc();
        out.push(last as i32);
        if place + 1 == next {
            on = !on;
            let added = if on {
                factor * f64::from(noise[place % noise.len()])
            } else {
                0.0
            };
            held = f64::from(*value) + added - last;
            next += two_minutes;
        }
    }
    out
}

pub(crate) fn stress(data: &Data) {
    println!("noise stress, first signal, from minute 5: F1 at 24 18 12 6 0 -6 dB");
    let mut cells: Vec<f64> = Vec::new();
    for (kind, name) in NOISES.iter().enumerate() {
        let Some(noise) = data.read(&format!("wfdb/nstdb/{name}")) else {
            continue;
        };
        let noise = samples(&noise.waveforms[0]);
        let mut line = String::new();
        let mut sum = 0.0;
        let mut told = BTreeMap::new();
        for snr_db in SNR_DB {
            let mut score = Score::default();
            for (record, factors) in RECORDS {
                if !data.0.join(format!("wfdb/mitdb/{record}.hea")).exists() {
                    continue;
                }
                let Some(recording) = data.read(&format!("wfdb/mitdb/{record}")) else {
                    continue;
                };
                let wave = &recording.waveforms[0];
                let hz = wave.rate.as_hz();
                let factor = factors[kind] * 10f64.powf(-snr_db / 20.0);
                let row = mixed(&samples(wave), &noise, factor, hz);
                let found = detect(&row, wave.rate, wave.calibration.gain_adu_per_unit());
                false_alarms(&recording, row.clone(), &mut told);
                let truth = truth(&recording, hz);
                score.add(&beats::score(
                    &truth,
                    &found,
                    300.0,
                    &flutter(&recording, hz),
                ));
            }
            sum += score.f1();
            cells.push(score.f1());
            line.push_str(&format!(" {:.4}", score.f1()));
        }
        println!(
            "{name}{line}  mean {:.4}  told falsely: {told:?}",
            sum / SNR_DB.len() as f64
        );
    }
    println!(
        "mean of {} cells {:.4} (best peer 0.946)",
        cells.len(),
        cells.iter().sum::<f64>() / cells.len().max(1) as f64
    );
}

/// What is told of a row beyond what is told of it without noise, by kind.
fn false_alarms(recording: &Recording, row: Vec<i32>, told: &mut BTreeMap<&'static str, usize>) {
    let mut clean = recording.clone();
    clean.waveforms.truncate(1);
    let before = analyse(&clean).events;
    clean.waveforms[0].runs[0].samples = row.into();
    for event in analyse(&clean).events {
        let known = |one: &&RhythmEvent| {
            one.kind == event.kind && one.from <= event.to && event.from <= one.to
        };
        if !before.iter().any(|one| known(&one)) {
            *told.entry(event.kind.name()).or_default() += 1;
        }
    }
}
