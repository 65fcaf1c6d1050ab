//! Figures of the heart-sound analyser: quality, heart rate and sounds, on labelled
//! recordings and on synthetic ones with known truth.
//! `CARDIO_DATA=... cargo run --release -p cardio-signal --example evaluate_pcg [-- --each]`.
#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a program of the workbench, over data that was checked"
)]

use std::path::PathBuf;

use cardio_core::quality::QualityVerdict;
use cardio_core::rate::SamplingRate;
use cardio_signal::pcg::synth::{SoundSynth, SoundSynthConfig};
use cardio_signal::pcg::{HeartSound, HeartSounds, SoundKind};

#[path = "pcg/learn.rs"]
mod learn;
#[path = "pcg/records.rs"]
mod records;

use learn::{Example, auc, held_out};
use records::{Answer, Record};

/// A rate is right within this many beats per minute of the ECG.
const RIGHT_BPM: f64 = 5.0;
/// A synthetic sound is found when it starts this near to the truth, in seconds.
const NEAR_S: f64 = 0.060;
/// A first sound belongs to an R peak when it starts this long after it, in seconds.
const AFTER_R_S: (f64, f64) = (-0.060, 0.140);

fn main() {
    match std::env::var_os("CARDIO_DATA").map(PathBuf::from) {
        Some(data) => {
            let records = records::load(&data);
            let answers: Vec<Answer> = records.iter().map(|record| record.analyse(false)).collect();
            quality(&records, &answers);
            rates(&records, &answers);
            first_sounds(&records, &answers);
        }
        None => println!("skipped: CARDIO_DATA not set"),
    }
    synthetic();
}

fn usable(answer: &Answer) -> bool {
    answer.summary.quality.verdict != QualityVerdict::Insufficient
}

fn quality(records: &[Record], answers: &[Answer]) {
    let examples: Vec<Example> = records
        .iter()
        .zip(answers)
        .map(|(record, answer)| Example {
            features: answer.summary.features,
            good: record.good,
        })
        .collect();
    let indices: Vec<f64> = answers
        .iter()
        .map(|a| a.summary.quality.index.get())
        .collect();
    let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
    let databases: Vec<char> = records.iter().map(Record::database).collect();
    let bad = examples.iter().filter(|example| !example.good).count();
    println!(
        "quality: {} recordings, {bad} labelled unsure",
        records.len()
    );
    println!(
        "  AUC, training figure           {:.3}",
        auc(&indices, &examples)
    );
    println!(
        "  AUC, one recording left out    {:.3}",
        auc(&held_out(&examples, &names), &examples)
    );
    println!(
        "  AUC, one database left out     {:.3}",
        auc(&held_out(&examples, &databases), &examples)
    );
    let count = |good: bool, kept: bool| {
        let same = |(e, a): &(&Example, &Answer)| e.good == good && usable(a) == kept;
        examples.iter().zip(answers).filter(same).count()
    };
    println!(
        "  label good:   {:2} usable, {:2} insufficient",
        count(true, true),
        count(true, false)
    );
    println!(
        "  label unsure: {:2} usable, {:2} insufficient",
        count(false, true),
        count(false, false)
    );
    if std::env::args().any(|argument| argument == "--each") {
        for (record, answer) in records.iter().zip(answers) {
            let quality = &answer.summary.quality;
            let causes: Vec<&str> = quality.causes.iter().map(|cause| cause.name()).collect();
            let rate = answer.summary.rate.map_or_else(
                |why| why.code().to_owned(),
                |rate| format!("{:.0} /min", rate.bpm),
            );
            println!(
                "    {:7} label {} index {:.2} {:12} {rate:18} ECG {} {}",
                record.name,
                u8::from(record.good),
                quality.index.get(),
                quality.verdict.name(),
                record
                    .ecg_bpm()
                    .map_or_else(|| "-".to_owned(), |bpm| format!("{bpm:.0}")),
                causes.join(" ")
            );
        }
    }
}

fn rates(records: &[Record], answers: &[Answer]) {
    let mut usable_right = [0; 2];
    let mut all_right = [0; 2];
    let mut refused = 0;
    for (record, answer) in records.iter().zip(answers) {
        let Some(ecg) = record.ecg_bpm() else {
            continue;
        };
        let told = answer.summary.rate.ok().map(|rate| rate.bpm);
        let right = told.is_some_and(|bpm| (bpm - ecg).abs() <= RIGHT_BPM);
        all_right[0] += 1;
        all_right[1] += usize::from(right);
        if usable(answer) {
            usable_right[0] += 1;
            usable_right[1] += usize::from(right);
        }
        refused += usize::from(told.is_none());
    }
    println!(
        "rate by sound alone, recordings with a regular ECG: {}, refused {refused}",
        all_right[0]
    );
    println!(
        "  within 5 /min of the ECG: {} of {} called usable",
        usable_right[1], usable_right[0]
    );
    println!(
        "  within 5 /min of the ECG: {} of all {}",
        all_right[1], all_right[0]
    );
}

fn first_sounds(records: &[Record], answers: &[Answer]) {
    println!("first sounds against the R peaks (recordings called usable)");
    for with_ecg in [false, true] {
        let (mut beats, mut sounds, mut matched, mut late) = (0, 0, 0, Vec::new());
        for (record, alone) in records.iter().zip(answers) {
            if record.beats.is_empty() || !usable(alone) {
                continue;
            }
            let again = with_ecg.then(|| record.analyse(true));
            let found = &again.as_ref().unwrap_or(alone).sounds;
            let firsts: Vec<f64> = starts(found, SoundKind::S1, record.rate).collect();
            sounds += firsts.len();
            beats += record.beats.len();
            for beat in &record.beats {
                let beat = beat.0 as f64 / record.rate.as_hz();
                let near = firsts.iter().map(|at| at - beat);
                let near = near.min_by(|a, b| a.abs().total_cmp(&b.abs()));
                if let Some(after) = near.filter(|d| (AFTER_R_S.0..AFTER_R_S.1).contains(d)) {
                    matched += 1;
                    late.push(1000.0 * after);
                }
            }
        }
        late.sort_by(f64::total_cmp);
        let middle = late.get(late.len() / 2).copied().unwrap_or(0.0);
        println!(
            "  {}: {matched} of {beats} R peaks have one, {matched} of {sounds} follow one, {middle:.0} ms after it in the middle",
            if with_ecg {
                "with the ECG"
            } else {
                "sound alone "
            }
        );
    }
}

fn starts(
    sounds: &[HeartSound],
    kind: SoundKind,
    rate: SamplingRate,
) -> impl Iterator<Item = f64> + '_ {
    sounds
        .iter()
        .filter(move |sound| sound.kind == kind)
        .map(move |sound| sound.first.0 as f64 / rate.as_hz())
}

/// Thirty seconds of every heart rate from 40 to 150, per kind of trouble.
fn synthetic() {
    println!(
        "synthetic, 30 s each at 40 to 150 /min: usable, rate right where told, S1 and S2 within 60 ms"
    );
    let Ok(rate) = SamplingRate::hz(4_000) else {
        return;
    };
    let clean = SoundSynthConfig::clean(0, rate);
    let kinds = [
        ("clean", clean),
        (
            "noise 0.05",
            SoundSynthConfig {
                noise: 0.05,
                ..clean
            },
        ),
        (
            "noise 0.1",
            SoundSynthConfig {
                noise: 0.1,
                ..clean
            },
        ),
        (
            "noise 0.2",
            SoundSynthConfig {
                noise: 0.2,
                ..clean
            },
        ),
        (
            "noise 0.5",
            SoundSynthConfig {
                noise: 0.5,
                ..clean
            },
        ),
        (
            "murmur 0.3",
            SoundSynthConfig {
                murmur: 0.3,
                ..clean
            },
        ),
        (
            "faint S2",
            SoundSynthConfig {
                second_sound: 0.25,
                ..clean
            },
        ),
        (
            "loud S2",
            SoundSynthConfig {
                second_sound: 1.5,
                ..clean
            },
        ),
        (
            "irregular",
            SoundSynthConfig {
                variability: 0.15,
                ..clean
            },
        ),
        (
            "speech 0.3",
            SoundSynthConfig {
                speech: 0.3,
                ..clean
            },
        ),
        (
            "rubs 20/min",
            SoundSynthConfig {
                rubs_per_min: 20.0,
                ..clean
            },
        ),
        (
            "rubs 60/min",
            SoundSynthConfig {
                rubs_per_min: 60.0,
                ..clean
            },
        ),
        (
            "no heart",
            SoundSynthConfig {
                second_sound: 0.0,
                noise: 50.0,
                amplitude_adu: 50.0,
                ..clean
            },
        ),
    ];
    for (name, config) in kinds {
        let (mut kept, mut told, mut right, mut all) = (0, 0, 0, 0);
        let (mut truths, mut found, mut matched) = (0, 0, 0);
        for (seed, bpm) in (40..=150).step_by(5).enumerate() {
            let bpm = f64::from(bpm);
            let mut synth = SoundSynth::new(SoundSynthConfig {
                seed: seed as u64,
                heart_rate_bpm: bpm,
                ..config
            });
            let samples = synth.seconds(30.0);
            let truth = synth.take_sounds();
            let Ok(mut analyser) = HeartSounds::new(rate, None) else {
                return;
            };
            let windows = analyser.push(&samples);
            let mut sounds: Vec<HeartSound> = windows.into_iter().flat_map(|w| w.sounds).collect();
            sounds.extend(analyser.finish());
            let summary = analyser.summary();
            all += 1;
            kept += usize::from(summary.quality.verdict != QualityVerdict::Insufficient);
            if let Ok(rate) = summary.rate {
                told += 1;
                right += usize::from((rate.bpm - bpm).abs() <= RIGHT_BPM);
            }
            for kind in [SoundKind::S1, SoundKind::S2] {
                let mine: Vec<f64> = starts(&sounds, kind, rate).collect();
                let true_starts: Vec<f64> = starts(&truth, kind, rate).collect();
                let near = |at: &&f64| true_starts.iter().any(|t| (t - **at).abs() <= NEAR_S);
                matched += mine.iter().filter(near).count();
                found += mine.len();
                truths += true_starts.len();
            }
        }
        let f1 = 200.0 * matched as f64 / (found + truths) as f64;
        println!(
            "  {name:12} {kept:2} of {all} usable, rate {right:2} of {told:2}, sounds F1 {f1:5.1} % ({found} of {truths})"
        );
    }
}
