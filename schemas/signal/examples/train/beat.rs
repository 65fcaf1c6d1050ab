//! Which beats are ventricular, and which are supraventricular and premature.

use std::path::Path;
use std::sync::Arc;

use cardio_core::annotation::{Beat, BeatClass};
use cardio_signal::beat::{BeatDetector, BeatForests};
use cardio_signal::forest::Forest;
use cardio_signal::qrs::QrsDetector;

use crate::beats::{Pair, pair};
use crate::boost::{self, Examples, Settings};
use crate::data::{Data, MITDB, flutter, samples, seconds, truth};

const SETTINGS: Settings = Settings {
    trees: 100,
    shrinkage: 0.1,
    ridge: 5.0,
    least: 10.0,
    signs: &[],
    seen: 0.5,
    depth: 3,
};
/// For a ventricular beat speaks what is unlike the patient's own beats, wide, with another
/// P and T wave, of a form that comes early; a rhythm that is uneven anyway speaks against.
const VENTRICULAR: [i8; 32] = [
    -1, 0, 0, 0, -1, 1, 1, 0, 1, 1, 0, 0, -1, 1, 0, 0, -1, -1, -1, 0, -1, 1, -1, -1, 1, 0, 1, 1, 1,
    1, 1, -1,
];
/// For a supraventricular one speaks that it comes early.
const SUPRAVENTRICULAR: [i8; 1] = [-1];

fn settings(class: BeatClass) -> Settings {
    let signs: &[i8] = match class {
        BeatClass::Ventricular => &VENTRICULAR,
        _ => &SUPRAVENTRICULAR,
    };
    Settings { signs, ..SETTINGS }
}
/// How much more an ectopic beat weighs: one missed is worse than one too many.
const PRIOR: f64 = 1.5;
/// Paced: left out by EC57.
const PACED: &str = "217";
const PACED_PARTS: [&str; 2] = ["sel102", "sel104"];

struct Seen {
    name: String,
    /// Features and true class.
    beats: Vec<(Vec<f64>, BeatClass)>,
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
    for name in qtdb(data).iter().filter(|name| !is_of_mitdb(name)) {
        for row in 0..2 {
            seen.extend(look(data, &format!("wfdb/qtdb/{name}"), name, row));
        }
    }
    if validate {
        cross_validate(data, &seen);
    }
    for (class, name) in [
        (BeatClass::Ventricular, "beat-v.txt"),
        (BeatClass::Supraventricular, "beat-s.txt"),
    ] {
        let all: Vec<&Seen> = seen.iter().collect();
        let text = learn_class(&all, class);
        crate::keep(folder.map(|folder| folder.join(name)).as_deref(), &text);
    }
}

/// The records of the QT database in which all beats are marked, where the folder has them.
fn qtdb(data: &Data) -> Vec<String> {
    let mut names = data.stems("wfdb/qtdb", ".atr");
    names.sort();
    names
}

/// Whether a record of the QT database is a part of one of MIT-BIH Arrhythmia, which only
/// measures: `sel1xx` and `sel2xx`.
fn is_of_mitdb(name: &str) -> bool {
    name.len() == 6 && (name.starts_with("sel1") || name.starts_with("sel2"))
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
    let detector = QrsDetector::new(wave.rate, gain);
    let mut detector = BeatDetector::with(detector, wave.rate, empty).explaining();
    detector.push(&samples(wave));
    detector.finish();
    let told = detector.take_explained();
    let found: Vec<f64> = told.iter().map(|one| seconds(one.at.0, hz)).collect();
    let truth = truth(&recording, hz);
    let at: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    let left_out = flutter(&recording, hz);
    let mut seen = Seen {
        name: format!("{name}/{row}"),
        beats: Vec::new(),
    };
    for pair in pair(&at, &found) {
        match pair {
            Pair::Hit(t, f) if !left_out.iter().any(|(a, b)| at[t] >= *a && at[t] <= *b) => {
                seen.beats.push((told[f].features.to_vec(), truth[t].class));
            }
            _ => {}
        }
    }
    Some(seen)
}

fn learn_class(seen: &[&Seen], class: BeatClass) -> String {
    let mut examples = Examples::default();
    let is_ventricular = class == BeatClass::Ventricular;
    let learnt_from = |record: &&&Seen| {
        // Other databases call other beats supraventricular: their rhythm marks are missing.
        !record.name.starts_with(PACED) && (is_ventricular || !record.name.starts_with("sel"))
    };
    for record in seen.iter().filter(learnt_from) {
        let row_weight = if record.name.ends_with("/0") {
            1.0
        } else {
            0.4
        };
        let of_class = record.beats.iter().filter(|(_, is)| *is == class).count() as f64;
        // A record with thousands of ectopic beats must not outweigh the others.
        let balance = (300.0 / of_class.max(1.0)).clamp(0.3, 1.0);
        for (row, is) in &record.beats {
            let neutral = matches!(is, BeatClass::Fusion | BeatClass::Unknown);
            let weight = if neutral {
                0.05
            } else if *is == class {
                balance.max(0.5) * PRIOR
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
        if is_ventricular {
            "Supraventricular (800), and the QT database without MIT-BIH Arrhythmia; ODC-By 1.0"
        } else {
            "Supraventricular (800); ODC-By 1.0"
        }
        .to_owned(),
        format!("{} beats", examples.rows.len()),
    ];
    boost::learn(&examples, settings(class), &remarks)
}

/// Each record judged by trees that never saw it.
fn cross_validate(data: &Data, seen: &[Seen]) {
    println!("classes, unseen record by record, first signal, from minute 5");
    let mut totals = [[0.0; 4]; 2];
    for name in MITDB.iter().filter(|name| **name != PACED) {
        let others: Vec<&Seen> = seen
            .iter()
            .filter(|record| !record.name.starts_with(name))
            .collect();
        let forest =
            |class| Arc::new(Forest::parse(&learn_class(&others, class)).unwrap_or_default());
        let forests = BeatForests {
            ventricular: forest(BeatClass::Ventricular),
            supraventricular: forest(BeatClass::Supraventricular),
        };
        let path = format!("wfdb/mitdb/{name}");
        tell(data, &path, forests, 300.0, &mut totals);
    }
    println!("all: V {}", figures(&totals[0]));
    println!("all: S {}", figures(&totals[1]));
    let all: Vec<&Seen> = seen.iter().collect();
    let forest = |class| Arc::new(Forest::parse(&learn_class(&all, class)).unwrap_or_default());
    let forests = BeatForests {
        ventricular: forest(BeatClass::Ventricular),
        supraventricular: forest(BeatClass::Supraventricular),
    };
    println!("the same, parts of other records of MIT-BIH in the QT database, whole");
    let mut totals = [[0.0; 4]; 2];
    for name in qtdb(data).iter().filter(|name| is_of_mitdb(name)) {
        let number = name.get(3..).unwrap_or_default();
        if MITDB.contains(&number) || PACED_PARTS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("wfdb/qtdb/{name}");
        tell(data, &path, forests.clone(), 0.0, &mut totals);
    }
    println!("all: V {}", figures(&totals[0]));
    println!("all: S {}", figures(&totals[1]));
}

/// Prints a record's figures and adds them up.
fn tell(data: &Data, path: &str, forests: BeatForests, from_s: f64, totals: &mut [[f64; 4]; 2]) {
    let Some(counts) = measure(data, path, forests, from_s) else {
        return;
    };
    println!("{path}: V {}", figures(&counts[0]));
    println!("{path}: S {}", figures(&counts[1]));
    for (total, counts) in totals.iter_mut().zip(counts) {
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
}

/// Hits, missed, extra and other beats of a record, for both classes.
fn measure(data: &Data, path: &str, forests: BeatForests, from_s: f64) -> Option<[[f64; 4]; 2]> {
    let recording = data.read(path)?;
    let wave = recording.waveforms.first()?;
    let hz = wave.rate.as_hz();
    let detector = QrsDetector::new(wave.rate, wave.calibration.gain_adu_per_unit());
    let mut detector = BeatDetector::with(detector, wave.rate, forests);
    let mut told = detector.push(&samples(wave));
    told.extend(detector.finish());
    let told: Vec<Beat> = told.into_iter().map(|told| told.beat).collect();
    let found: Vec<f64> = told.iter().map(|beat| seconds(beat.at.0, hz)).collect();
    let truth = truth(&recording, hz);
    let at: Vec<f64> = truth.iter().map(|beat| beat.at).collect();
    let left_out = flutter(&recording, hz);
    let counted = |at: f64| at >= from_s && !left_out.iter().any(|(a, b)| at >= *a && at <= *b);
    let mut counts = [[0.0; 4]; 2];
    for pair in pair(&at, &found) {
        for (class, counts) in [BeatClass::Ventricular, BeatClass::Supraventricular]
            .iter()
            .zip(&mut counts)
        {
            match pair {
                Pair::Hit(t, f) if counted(at[t]) => {
                    let is = truth[t].class;
                    let neutral = matches!(is, BeatClass::Fusion | BeatClass::Unknown);
                    match (is == *class, told[f].class == Some(*class)) {
                        (true, true) => counts[0] += 1.0,
                        (true, false) => counts[1] += 1.0,
                        _ if neutral => {}
                        (false, true) => counts[2] += 1.0,
                        (false, false) => counts[3] += 1.0,
                    }
                }
                Pair::Missed(t) if counted(at[t]) && truth[t].class == *class => counts[1] += 1.0,
                Pair::Extra(f) if counted(found[f]) && told[f].class == Some(*class) => {
                    counts[2] += 1.0;
                }
                _ => {}
            }
        }
    }
    Some(counts)
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
