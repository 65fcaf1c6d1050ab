//! Which windows of intervals are atrial fibrillation or flutter.

use std::path::Path;
use std::sync::Arc;

use cardio_core::annotation::BeatClass;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_signal::beat::{BeatDetector, ToldBeat};
use cardio_signal::forest::Forest;
use cardio_signal::rhythm::{
    Beside, IRREGULARITY, RhythmKind, RhythmTracker, WINDOW, irregularity,
};

use crate::boost::{self, Examples, Settings};
use crate::data::{Data, MITDB, samples, seconds};
use crate::rhythms::{Span, fibrillation};
use crate::strips;

/// More scatter speaks for fibrillation, more intervals near one value and P waves that are
/// alike against it.
const SIGNS: [i8; 11] = [1, 1, -1, 1, 0, 0, 1, -1, 0, -1, -1];
const SETTINGS: Settings = Settings {
    trees: 60,
    shrinkage: 0.1,
    ridge: 5.0,
    least: 10.0,
    signs: &SIGNS,
    seen: 0.7,
    depth: 3,
};
const MORE: [&str; 6] = [
    "wfdb/cpsc2021/data_101_6",
    "wfdb/cpsc2021/data_21_8",
    "wfdb/cpsc2021/data_35_4",
    "wfdb/cpsc2021/data_84_1",
    "wfdb/cpsc2021/data_8_3",
    "wfdb/cpsc2021/data_92_4",
];
/// Features before those of P waves.
const BY_INTERVALS: usize = 9;
/// What a strip, and a record, weigh in all.
const STRIP: f64 = 10.0;
const RECORD: f64 = 60.0;

struct Source {
    name: String,
    rate: SamplingRate,
    beats: Vec<ToldBeat>,
    fibrillation: Vec<Span>,
    length_s: f64,
    /// What its windows weigh together.
    weight: f64,
    measured: bool,
}

pub(crate) fn learn(data: &Data, write: Option<&Path>, validate: bool) {
    let sources = sources(data);
    println!("{} recordings to learn intervals from", sources.len());
    if validate {
        cross_validate(&sources);
    }
    let all: Vec<&Source> = sources.iter().collect();
    crate::keep(write, &learn_from(&all, IRREGULARITY.len()));
    // For those who have beats only; these are mostly of the first signal.
    let first: Vec<&Source> = sources.iter().filter(|source| source.measured).collect();
    let intervals = write.map(|path| path.with_file_name("af-intervals.txt"));
    crate::keep(intervals.as_deref(), &learn_from(&first, BY_INTERVALS));
}

fn sources(data: &Data) -> Vec<Source> {
    let mut all = Vec::new();
    let records = MITDB.iter().map(|name| format!("wfdb/mitdb/{name}"));
    for path in records.chain(MORE.map(str::to_owned)) {
        if let Some(recording) = data.read(&path) {
            all.extend(source(&path, &recording, 0));
            all.extend(source(&path, &recording, 1));
        }
    }
    let Ok(rate) = SamplingRate::hz(300) else {
        return all;
    };
    for (name, row, label) in strips::challenge_2017(data) {
        let length_s = seconds(row.len() as u64, 300.0);
        let fibrillation = match label.as_str() {
            "af" => vec![(0.0, length_s)],
            "noisy" => continue,
            _ => Vec::new(),
        };
        all.push(Source {
            name,
            rate,
            beats: beats(&row, rate, 1_000.0),
            fibrillation,
            length_s,
            weight: STRIP,
            measured: true,
        });
    }
    all
}

/// A record, of which the first signal is measured and the others are only learnt from.
fn source(path: &str, recording: &Recording, signal: usize) -> Option<Source> {
    let wave = recording.waveforms.get(signal)?;
    let row = samples(wave);
    Some(Source {
        name: path.to_owned(),
        rate: wave.rate,
        beats: beats(&row, wave.rate, wave.calibration.gain_adu_per_unit()),
        fibrillation: fibrillation(recording, wave.rate),
        length_s: seconds(row.len() as u64, wave.rate.as_hz()),
        weight: if signal == 0 { RECORD } else { 0.5 * RECORD },
        measured: signal == 0,
    })
}

fn beats(row: &[i32], rate: SamplingRate, gain: f64) -> Vec<ToldBeat> {
    let mut detector = BeatDetector::new(rate, gain);
    let mut beats = detector.push(row);
    beats.extend(detector.finish());
    beats
}

fn learn_from(sources: &[&Source], features: usize) -> String {
    let mut examples = Examples::default();
    for source in sources {
        let windows = windows(source);
        let weight = source.weight / windows.len().max(1) as f64;
        for (row, is) in windows {
            examples.push(row[..features].to_vec(), is, weight);
        }
    }
    let remarks = [
        "af: which windows of intervals are fibrillation; features as of rhythm::IRREGULARITY"
            .to_owned(),
        "learnt by examples/train from MIT-BIH Arrhythmia (13 records), CPSC 2021 (6), and the"
            .to_owned(),
        "PhysioNet Challenge 2017 (normal, AF, other); ODC-By 1.0 and CC-BY 4.0".to_owned(),
        format!("{} windows", examples.rows.len()),
    ];
    boost::learn(&examples, SETTINGS, &remarks)
}

/// Windows whose intervals are nearly all, or nearly never, in fibrillation.
fn windows(source: &Source) -> Vec<(Vec<f64>, bool)> {
    let hz = source.rate.as_hz();
    let ventricular = |told: &ToldBeat| told.beat.class == Some(BeatClass::Ventricular);
    let intervals: Vec<(f64, Beside)> = source
        .beats
        .windows(2)
        .map(|pair| {
            let [one, two] = [0, 1].map(|at: usize| seconds(pair[at].beat.at.0, hz));
            let beside = Beside {
                interval_s: two - one,
                ectopic: ventricular(&pair[0]) || ventricular(&pair[1]),
                p_wave: Some(pair[1].p_wave),
            };
            (two, beside)
        })
        .filter(|(_, beside)| beside.interval_s <= 2.5)
        .collect();
    let inside = |at: f64| {
        source
            .fibrillation
            .iter()
            .any(|(a, b)| at >= *a && at <= *b)
    };
    intervals
        .windows(WINDOW.min(intervals.len().max(12)))
        .step_by(4)
        .filter_map(|window| {
            let within = window.iter().filter(|(at, _)| inside(*at)).count();
            let share = within as f64 / window.len() as f64;
            if (0.2..0.8).contains(&share) {
                return None;
            }
            let window: Vec<Beside> = window.iter().map(|(_, beside)| *beside).collect();
            Some((irregularity(&window)?.to_vec(), share > 0.5))
        })
        .collect()
}

const FOLDS: usize = 7;

impl Source {
    /// The fold in which its recording is held back.
    fn fold(&self) -> usize {
        let of_path = |sum: usize, byte: u8| sum * 31 % 1_009 + usize::from(byte);
        self.name.bytes().fold(7, of_path) % FOLDS
    }
}

fn cross_validate(sources: &[Source]) {
    println!("fibrillation of 30 s and more, {FOLDS} folds by recording");
    let (mut shared, mut expected, mut told, mut length) = (0.0, 0.0, 0.0, 0.0);
    let (mut strips, mut right) = ([0.0; 2], [0.0; 2]);
    for fold in 0..FOLDS {
        let others = sources.iter().filter(|source| source.fold() != fold);
        let others: Vec<&Source> = others.collect();
        let forest =
            Arc::new(Forest::parse(&learn_from(&others, IRREGULARITY.len())).unwrap_or_default());
        let held_back = |source: &&Source| source.fold() == fold && source.measured;
        for source in sources.iter().filter(held_back) {
            if source.weight == STRIP {
                let windows = windows(source);
                let odds: f64 = windows.iter().map(|(row, _)| forest.score(row)).sum();
                let is = usize::from(!source.fibrillation.is_empty());
                strips[is] += 1.0;
                right[is] += f64::from(u8::from((odds > 0.0) == (is == 1)));
                continue;
            }
            let spans = suspected(source, &forest);
            let both: f64 = spans
                .iter()
                .flat_map(|a| source.fibrillation.iter().map(move |b| overlap(a, b)))
                .sum();
            let length_of = |spans: &[Span]| spans.iter().map(|(a, b)| b - a).sum::<f64>();
            let (want, got) = (length_of(&source.fibrillation), length_of(&spans));
            println!(
                "{:<26} of {want:>6.0} s {both:>6.0} s found, {:>6.0} s too much",
                source.name,
                got - both
            );
            shared += both;
            expected += want;
            told += got;
            length += source.length_s;
        }
    }
    println!(
        "unseen records: duration Se {:.3} Sp {:.3} +P {:.3}; strips of 2017: Se {:.3} Sp {:.3}",
        shared / expected,
        1.0 - (told - shared) / (length - expected),
        shared / told,
        right[1] / strips[1],
        right[0] / strips[0]
    );
}

fn overlap(a: &Span, b: &Span) -> f64 {
    (a.1.min(b.1) - a.0.max(b.0)).max(0.0)
}

fn suspected(source: &Source, forest: &Arc<Forest>) -> Vec<Span> {
    let mut tracker = RhythmTracker::with_forest(source.rate, Arc::clone(forest));
    let mut events = Vec::new();
    for beat in &source.beats {
        events.extend(tracker.push_told(*beat));
    }
    events.extend(tracker.finish());
    let hz = source.rate.as_hz();
    let of_kind = events
        .iter()
        .filter(|event| event.kind == RhythmKind::AfSuspected);
    of_kind
        .map(|event| (seconds(event.from.0, hz), seconds(event.to.0, hz)))
        .collect()
}
