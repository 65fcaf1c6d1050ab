//! Measures the methods of this crate on public recordings and prints the figures.
//!
//! `cargo run --release -p cardio-signal --example evaluate -- [PART …]` with `CARDIO_DATA`
//! naming the data folder; without a part, all of them.
#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a measuring program: it prints, and its data are checked recordings"
)]

mod beats;
mod data;
mod delineation;
mod events;
mod invariance;
mod limbs;
mod limits;
mod noise;
mod quality;
mod rhythms;
mod speed;
mod strips;

use std::path::PathBuf;

use beats::{Score, detect};
use data::{Data, MITDB, flutter, samples, truth};

fn main() {
    let Some(folder) = std::env::var_os("CARDIO_DATA") else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    let data = Data(PathBuf::from(folder));
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|name| name == part);
    if wanted("beats") {
        mitdb(&data);
    }
    if wanted("noise") {
        noise::stress(&data);
    }
    if wanted("events") {
        events::mitdb(&data, 1);
        events::mitdb(&data, 2);
    }
    if wanted("speed") {
        speed::speed(&data);
    }
    if wanted("invariance") {
        invariance::report(&data);
    }
    if wanted("delineation") {
        delineation::report(&data);
    }
    if asked.iter().any(|name| name == "delineation-limits") {
        limits::learn(&data);
    }
    if wanted("limbs") {
        println!("limb electrodes swapped on purpose, people that nothing was learnt from");
        limbs::report(&limbs::people(&data));
    }
    if wanted("quality") {
        quality::labelled(&data);
        quality::stress(&data);
    }
}

fn mitdb(data: &Data) {
    println!("beats, MIT-BIH, first signal, from minute 5 and whole record");
    let (mut late, mut whole) = (Score::default(), Score::default());
    let mut fused = Score::default();
    for name in MITDB {
        let Some(recording) = data.read(&format!("wfdb/mitdb/{name}")) else {
            continue;
        };
        let wave = &recording.waveforms[0];
        let hz = wave.rate.as_hz();
        let gain = wave.calibration.gain_adu_per_unit();
        let found = detect(&samples(wave), wave.rate, gain);
        let truth = truth(&recording, hz);
        let left_out = flutter(&recording, hz);
        let score = beats::score(&truth, &found, 300.0, &left_out);
        println!("{}", score.line(name));
        if std::env::args().any(|arg| arg == "--errors") {
            for (kind, at) in beats::errors(&truth, &found, 300.0, &left_out) {
                println!("{name} {kind} {at:.2}");
            }
        }
        late.add(&score);
        let rows: Vec<Vec<i32>> = recording.waveforms.iter().map(samples).collect();
        let gains: Vec<f64> = recording
            .waveforms
            .iter()
            .map(|wave| wave.calibration.gain_adu_per_unit())
            .collect();
        let both = beats::detect_fused(&rows, wave.rate, &gains);
        let score = beats::score(&truth, &both, 300.0, &left_out);
        println!("{}", score.line("  both"));
        fused.add(&score);
        whole.add(&beats::score(&truth, &found, 0.0, &left_out));
    }
    println!("{}", late.line("from 5:00"));
    println!("{}", whole.line("whole"));
    println!("{}", fused.line("both signals"));
}
