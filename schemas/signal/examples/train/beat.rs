//! Which beats are ventricular, and which are supraventricular and premature.

use std::path::Path;
use std::sync::Arc;

use cardio_core::annotation::BeatClass;
use cardio_signal::beat::{BeatDetector, BeatForests};
use cardio_signal::forest::Forest;

use crate::beats::{Pair, pair};
use crate::boost::{self, Examples, Settings};
use crate::data::{Data, MITDB, flutter, samples, seconds, truth};

const SETTINGS: Settings = Settings {
    trees: 60,
    shrinkage: 0.1,
    ridge: 10.0,
    least: 10.0,
};
/// Paced: left out by EC57.
const PACED: &str = "217";

struct Seen {
    name: String,
    /// Features, true class, and whether it counts from minute five.
    beats: Vec<(Vec<f64>, BeatClass, bool)>,
    missed: [f64; 2],
}

pub(crate) fn learn(data: &Data, folder: Option<&Path>, validate: bool) {
    let mut seen = Vec::new();
    for name in MITDB {
        for row in 0..2 {
            seen.extend(look(data, &format!("wfdb/mitdb/{name}"), name, row));
        }
    }
    for row in 0..2 {
        seen.extend(look(data, "wfdb/svdb/800", "800", row));
    }
    for (class, name) in [
        (BeatClass::Ventricular, "beat-v.txt"),
        (BeatClass::Supraventricular, "beat-s.txt"),
    ] {
        if validate {
            cross_validate(&seen, class);
        }
        let all: Vec<&Seen> = seen.iter().collect();
        let text = learn_class(&all, class);
        crate::keep(folder.map(|folder| folder.join(name)).as_deref(), &text);
    }
}

fn look(data: &Data, path: &str, name: &str, row: usize) -> Option<Seen> {
    let recording = data.read(path)?;
    let wave = recording.waveforms.get(row)?;
    let hz = wave.rate.as_hz();
    let empty = BeatForests {
        ventricular: Arc::new(Forest::default()),
        supraventricular: Arc::new(Forest::default()),
    };
    let gain = wave.calibration.gain_adu_per_unit();
    let detector = cardio_signal::qrs::QrsDetector::new(wave.rate, gain);
    let mut detector = BeatDetector::with(detector, wave.rate, empty).explaining();
    detector.push(&samples(wave));
    detector.finish();
    let told = detector.take_explained();
    let found: Vec<f64> = told.iter().map(|(at, _)| seconds(at.0, hz)).collect();
    let truth = truth(&recording, hz);
    let at: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    let left_out = flutter(&recording, hz);
    let mut seen = Seen {
        name: format!("{name}/{row}"),
        beats: Vec::new(),
        missed: [0.0; 2],
    };
    for pair in pair(&at, &found) {
        match pair {
            Pair::Hit(t, f) if !left_out.iter().any(|(a, b)| at[t] >= *a && at[t] <= *b) => {
                let late = at[t] >= 300.0;
                seen.beats.push((told[f].1.to_vec(), truth[t].class, late));
            }
            Pair::Missed(t) if at[t] >= 300.0 => match truth[t].class {
                BeatClass::Ventricular => seen.missed[0] += 1.0,
                BeatClass::Supraventricular => seen.missed[1] += 1.0,
                _ => {}
            },
            _ => {}
        }
    }
    Some(seen)
}

fn learn_class(seen: &[&Seen], class: BeatClass) -> String {
    let mut examples = Examples::default();
    for record in seen.iter().filter(|record| !record.name.starts_with(PACED)) {
        let row_weight = if record.name.ends_with("/0") {
            1.0
        } else {
            0.4
        };
        let of_class = record
            .beats
            .iter()
            .filter(|(_, is, _)| *is == class)
            .count() as f64;
        // A record with thousands of ectopic beats must not outweigh the others.
        let balance = (300.0 / of_class.max(1.0)).clamp(0.3, 1.0);
        for (row, is, _) in &record.beats {
            let neutral = matches!(is, BeatClass::Fusion | BeatClass::Unknown);
            let weight = if neutral {
                0.05
            } else if *is == class {
                balance.max(0.5)
            } else {
                1.0
            };
            examples.push(row.clone(), *is == class, weight * row_weight);
        }
    }
    let remarks = [
        format!(
            "beat class {}; features as of beat::BeatDetector",
            class.letter()
        ),
        "learnt by examples/train from MIT-BIH Arrhythmia (12 records) and MIT-BIH".to_owned(),
        "Supraventricular (800); ODC-By 1.0".to_owned(),
        format!("{} beats", examples.rows.len()),
    ];
    boost::learn(&examples, SETTINGS, &remarks)
}

fn cross_validate(seen: &[Seen], class: BeatClass) {
    println!(
        "class {}, unseen record by record, first signal, from minute 5",
        class.letter()
    );
    let mut total = [0.0; 4];
    for name in MITDB.iter().filter(|name| **name != PACED) {
        let others: Vec<&Seen> = seen
            .iter()
            .filter(|record| !record.name.starts_with(name))
            .collect();
        let forest = Forest::parse(&learn_class(&others, class)).unwrap_or_default();
        let Some(record) = seen
            .iter()
            .find(|record| record.name == format!("{name}/0"))
        else {
            continue;
        };
        // Hits, missed, extra, other beats.
        let mut counts = [
            0.0,
            record.missed[usize::from(class != BeatClass::Ventricular)],
            0.0,
            0.0,
        ];
        for (row, is, late) in &record.beats {
            let called = forest.score(row) > 0.0;
            match (*late, *is == class, called) {
                (true, true, true) => counts[0] += 1.0,
                (true, true, false) => counts[1] += 1.0,
                (true, false, _) if matches!(is, BeatClass::Fusion | BeatClass::Unknown) => {}
                (true, false, true) => counts[2] += 1.0,
                (true, false, false) => counts[3] += 1.0,
                _ => {}
            }
        }
        println!("{name}: {}", figures(&counts));
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    println!("all: {}", figures(&total));
}

fn figures([hits, missed, extra, others]: &[f64; 4]) -> String {
    format!(
        "Se {:.4}  +P {:.4}  of {} beats, {missed} missed, {extra} extra, FPR {:.4}",
        hits / (hits + missed).max(1.0),
        hits / (hits + extra).max(1.0),
        hits + missed,
        extra / (extra + others).max(1.0)
    )
}
