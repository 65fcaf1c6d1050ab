//! The same beats at other rates, sizes and the other way up.

use cardio_core::rate::SamplingRate;

use crate::beats::{self, Score, detect};
use crate::data::{Data, MITDB, flutter, samples, truth};

/// The same records at other rates and sizes.
pub(crate) fn report(data: &Data) {
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
