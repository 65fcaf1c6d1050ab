//! Seconds of one-lead ECG per second of work, and the same answer at other rates and gains.
#![expect(
    clippy::disallowed_methods,
    reason = "a stopwatch around pure functions: nothing measured depends on it"
)]

use std::time::Instant;

use cardio_core::rate::SamplingRate;
use cardio_signal::sqi::{EcgQuality, QualityConfig};

use crate::beats::{self, Score, detect};
use crate::data::{Data, MITDB, flutter, samples, truth};
use crate::strips;

pub(crate) fn speed(data: &Data) {
    let Some(recording) = data.read("wfdb/mitdb/119") else {
        return;
    };
    let wave = &recording.waveforms[0];
    let row = &samples(wave);
    let gain = wave.calibration.gain_adu_per_unit();
    let length_s = row.len() as f64 / wave.rate.as_hz();
    let start = Instant::now();
    let beats = detect(row, wave.rate, gain).len();
    let detector_s = start.elapsed().as_secs_f64();
    let mut quality = EcgQuality::new(
        wave.rate,
        &strips::specs(&[None], gain),
        QualityConfig::default(),
    );
    let start = Instant::now();
    let windows: usize = row
        .chunks(360)
        .map(|block| quality.push(&[block]).len())
        .sum();
    let quality_s = start.elapsed().as_secs_f64();
    println!(
        "speed: detector {:.0} s of ECG a second ({beats} beats), detector and quality {:.0} ({windows} windows)",
        length_s / detector_s,
        length_s / quality_s
    );
}

/// The same records at other rates and sizes.
pub(crate) fn invariance(data: &Data) {
    for (name, hz, factor) in [
        ("as recorded", 360, 1.0),
        ("half the size", 360, 0.5),
        ("twice the size", 360, 2.0),
        ("upside down", 360, -1.0),
        ("250 Hz", 250, 1.0),
        ("500 Hz", 500, 1.0),
        ("1000 Hz", 1_000, 1.0),
    ] {
        let mut score = Score::default();
        for record in MITDB {
            let Some(recording) = data.read(&format!("wfdb/mitdb/{record}")) else {
                continue;
            };
            let wave = &recording.waveforms[0];
            let Ok(rate) = SamplingRate::hz(hz) else {
                continue;
            };
            let row: Vec<i32> = resampled(&samples(wave), wave.rate.as_hz(), f64::from(hz))
                .iter()
                .map(|value| (value * factor * 8.0).round() as i32)
                .collect();
            let found = detect(&row, rate, wave.calibration.gain_adu_per_unit() * 8.0);
            let source_hz = wave.rate.as_hz();
            score.add(&beats::score(
                &truth(&recording, source_hz),
                &found,
                300.0,
                &flutter(&recording, source_hz),
            ));
        }
        println!("{}", score.line(name));
    }
}

/// Linear between samples: enough for a detector that looks below 20 Hz.
fn resampled(row: &[i32], from_hz: f64, to_hz: f64) -> Vec<f64> {
    let count = (row.len() as f64 * to_hz / from_hz) as usize;
    (0..count)
        .map(|place| {
            let at = place as f64 * from_hz / to_hz;
            let index = at as usize;
            let share = at - index as f64;
            let one = f64::from(row[index.min(row.len() - 1)]);
            let two = f64::from(row[(index + 1).min(row.len() - 1)]);
            one + share * (two - one)
        })
        .collect()
}
