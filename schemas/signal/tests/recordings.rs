//! Real recordings, where `CARDIO_DATA` names the data folder: a flutter that must be told as a
//! fast heart, and beats that stay the same at other rates and sizes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test stops at the first thing that is not as expected, and says what it skips"
)]

use std::path::PathBuf;

use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_formats::{ReadOptions, read_path};
use cardio_signal::assess::assess;
use cardio_signal::qrs::QrsDetector;

/// A recording of MIT-BIH Arrhythmia; `None`, and said so, without the data folder.
fn mitdb(name: &str) -> Option<Recording> {
    let Some(root) = std::env::var_os("CARDIO_DATA") else {
        println!("skipped: CARDIO_DATA not set");
        return None;
    };
    let path = PathBuf::from(root).join("wfdb/mitdb").join(name);
    Some(read_path(&path, ReadOptions::default()).unwrap())
}

/// Seconds in which the rate is above a limit, in each unbroken stretch of them.
fn stretches_above(recording: &Recording, limit_bpm: f64) -> Vec<u32> {
    let mut stretches = vec![0];
    assess(recording, |_, window| {
        let fast = window.heart_rate.is_ok_and(|rate| rate.bpm > limit_bpm);
        match stretches.last_mut() {
            Some(last) if fast => *last += 1,
            Some(0) => {}
            _ => stretches.push(0),
        }
    })
    .unwrap();
    stretches
}

#[test]
fn the_ventricular_flutter_of_207_is_fast_for_as_long_as_a_rule_waits() {
    let Some(recording) = mitdb("207") else {
        return;
    };
    // Six spans of flutter at some 230 per minute, 141 s together, the longest of 118 s; a rule
    // for severe tachycardia calls after ten seconds above 180.
    let stretches = stretches_above(&recording, 180.0);
    let longest = stretches.iter().max().copied().unwrap_or(0);
    assert!(longest >= 11, "{stretches:?}");
}

#[test]
fn beats_are_the_same_at_other_rates_and_sizes() {
    for name in ["100", "208", "222"] {
        let Some(recording) = mitdb(name) else {
            return;
        };
        let wave = &recording.waveforms[0];
        let gain = wave.calibration.gain_adu_per_unit();
        let row: Vec<i32> = wave.contiguous().unwrap().to_vec();
        // Ten minutes, in eighths of a count so that half the size loses nothing.
        let row: Vec<f64> = row
            .iter()
            .take(600 * 360)
            .map(|x| 8.0 * f64::from(*x))
            .collect();
        let as_recorded = beats_s(&row, 360, 1.0, gain);
        assert!(as_recorded.len() > 600, "{name}: {}", as_recorded.len());
        for (hz, factor) in [(360, 0.5), (360, 2.0), (250, 1.0), (500, 1.0), (1_000, 1.0)] {
            let found = beats_s(&row, hz, factor, gain);
            let shared = shared(&as_recorded, &found);
            let f1 = 2.0 * shared / (as_recorded.len() + found.len()) as f64;
            assert!(
                f1 >= 0.9985,
                "{name} at {hz} Hz, {factor} of the size: {f1}"
            );
        }
    }
}

/// Instants of the beats of a row of 360 Hz that is shown at another rate and size, in seconds.
fn beats_s(row: &[f64], hz: u32, factor: f64, gain: f64) -> Vec<f64> {
    let count = row.len() * hz as usize / 360;
    let samples: Vec<i32> = (0..count)
        .map(|place| {
            let at = place as f64 * 360.0 / f64::from(hz);
            let index = at as usize;
            let next = row.get(index + 1).unwrap_or(&row[index]);
            let value = row[index] + (at - index as f64) * (next - row[index]);
            (factor * value).round() as i32
        })
        .collect();
    let mut detector = QrsDetector::new(SamplingRate::hz(hz).unwrap(), 8.0 * gain);
    let mut found = detector.push(&samples);
    found.extend(detector.finish());
    let seconds = |at: &SampleIndex| at.0 as f64 / f64::from(hz);
    found.iter().map(seconds).collect()
}

/// Beats that both have, within the 150 ms of EC57.
fn shared(one: &[f64], other: &[f64]) -> f64 {
    let near = |at: &&f64| other.iter().any(|other| (*at - other).abs() <= 0.15);
    one.iter().filter(near).count() as f64
}
