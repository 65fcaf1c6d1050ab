//! Seconds of ECG per second of processor time, beside peers in the same run.
//!
//! `CARDIO_PYTHON` names a Python that has sleepecg, NeuroKit2 or wfdb; without it the
//! figures that the peers had elsewhere are not repeated here.

use std::path::Path;
use std::process::Command;

use cardio_core::calibration::Calibration;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_signal::beat::BeatDetector;
use cardio_signal::rhythm::{ArrestWatch, RhythmTracker};
use cardio_signal::sqi::{EcgQuality, LeadSpec, QualityConfig};
use cardio_signal::synth::{EcgSynth, SynthConfig, to_adu, twelve};

use crate::beats::detect;
use crate::data::{Data, samples};
use crate::strips;

const RECORD: &str = "wfdb/mitdb/119";
/// The best of as many runs: others use the same processor.
const RUNS: usize = 7;

/// Processor time of this thread, in seconds, as Linux tells it.
fn processor_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_ascii_whitespace().next();
    first.and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// The least processor time that a piece of work took.
fn least_s(mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = processor_s();
        work();
        processor_s() - start
    };
    (0..RUNS)
        .map(|_| once(&mut work))
        .fold(f64::INFINITY, f64::min)
}

pub(crate) fn speed(data: &Data) {
    let Some(recording) = data.read(RECORD) else {
        return;
    };
    let wave = &recording.waveforms[0];
    let row = &samples(wave);
    let gain = wave.calibration.gain_adu_per_unit();
    let length_s = row.len() as f64 / wave.rate.as_hz();
    println!("speed, record 119, one lead, seconds of ECG per second of processor time");
    let detector_s = least_s(|| {
        detect(row, wave.rate, gain);
    });
    let own = length_s / detector_s;
    println!("{:<28} {own:>8.0}", "detector");
    let both_s = least_s(|| {
        let specs = strips::specs(&[None], gain);
        let mut quality = EcgQuality::new(wave.rate, &specs, QualityConfig::default());
        for block in row.chunks(360) {
            quality.push(&[block]);
        }
    });
    println!(
        "{:<28} {:>8.0}  (goal 30000)",
        "detector and quality",
        length_s / both_s
    );
    peers(&data.0.join(RECORD), own);
    twelve_leads();
}

/// Peers over the same record in the same run.
fn peers(record: &Path, own: f64) {
    let Some(python) = std::env::var_os("CARDIO_PYTHON") else {
        println!("peers not run: CARDIO_PYTHON not set");
        return;
    };
    let told = Command::new(python)
        .arg("-c")
        .arg(include_str!("peers.py"))
        .arg(record)
        .output();
    let text = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    for line in text.unwrap_or_default().lines() {
        let Some((name, speed)) = line.rsplit_once(' ') else {
            continue;
        };
        let speed: f64 = speed.parse().unwrap_or(f64::INFINITY);
        println!("{name:<28} {speed:>8.0}  (we: {:.1} times)", own / speed);
    }
}

/// All that a box does with a 12-lead stream, as a share of one core.
fn twelve_leads() {
    const SECONDS: usize = 120;
    let (Ok(rate), Ok(calibration)) =
        (SamplingRate::hz(500), Calibration::millivolts(1_000.0, 0.0))
    else {
        return;
    };
    let mut synth = EcgSynth::new(SynthConfig::calm(3, rate));
    let mut rows = vec![Vec::new(); 12];
    for _ in 0..SECONDS * 500 {
        for (row, mv) in rows.iter_mut().zip(twelve(&synth.next_measured())) {
            row.push(to_adu(mv, &calibration, (-32_768, 32_767)));
        }
    }
    let specs: Vec<LeadSpec> = strips::specs(&Lead::ALL.map(Some), 1_000.0);
    let spent_s = least_s(|| {
        let mut quality = EcgQuality::new(rate, &specs, QualityConfig::default());
        let mut beats = BeatDetector::new(rate, 1_000.0);
        let mut watch = ArrestWatch::new(rate, 1_000.0);
        let mut tracker = RhythmTracker::new(rate);
        for second in 0..SECONDS {
            let part = second * 500..(second + 1) * 500;
            let block: Vec<&[i32]> = rows.iter().map(|row| &row[part.clone()]).collect();
            quality.push(&block);
            watch.push(block[1]);
            for beat in beats.push(block[1]) {
                tracker.push_told(beat);
            }
        }
    });
    println!(
        "12 leads of 500 Hz: quality, beats, classes, rhythm take {:.3} % of a core (goal 1 %)",
        100.0 * spent_s / SECONDS as f64
    );
}
