//! Which candidates are beats.

use std::path::Path;
use std::sync::Arc;

use cardio_core::annotation::BeatClass;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_signal::forest::Forest;
use cardio_signal::qrs::QrsDetector;

use crate::beats::{self, Pair, Score, pair};
use crate::boost::{self, Examples, Settings};
use crate::data::{Data, MITDB, Truth, flutter, samples, seconds, truth};
use crate::strips;

const SETTINGS: Settings = Settings {
    trees: 120,
    shrinkage: 0.12,
    ridge: 4.0,
    least: 6.0,
    signs: &SIGNS,
    seen: 1.0,
    depth: 4,
};
/// Larger, steeper, likelier and later speaks for a beat; more to come, and noise, against it.
const SIGNS: [i8; 28] = [
    0, 1, 1, 1, 1, 0, 0, 0, -1, -1, 1, 1, -1, 0, 0, -1, 1, 0, 0, -1, -1, -1, -1, 0, -1, -1, 0, 1,
];
const MORE: [&str; 7] = [
    "wfdb/cpsc2021/data_101_6",
    "wfdb/cpsc2021/data_21_8",
    "wfdb/cpsc2021/data_35_4",
    "wfdb/cpsc2021/data_84_1",
    "wfdb/cpsc2021/data_8_3",
    "wfdb/cpsc2021/data_92_4",
    "wfdb/svdb/800",
];
/// Of candidates that are judged right with more than these odds' logarithm, one in this
/// many is learnt from, for all of them.
const PLAIN: f64 = 3.0;
const KEEP_PLAIN: usize = 4;
/// Noise of the second signal only: the first one is for measuring.
const NOISES: [&str; 3] = ["em", "ma", "bw"];

/// One row to learn from.
struct Source {
    record: String,
    row: Vec<i32>,
    rate: SamplingRate,
    gain: f64,
    truth: Vec<Truth>,
    left_out: Vec<(f64, f64)>,
    weight: f64,
}

pub(crate) fn learn(data: &Data, write: Option<&Path>, validate: bool) {
    let mut sources = sources(data);
    sources.extend(strips(data));
    println!("{} rows to learn from", sources.len());
    let first: Vec<Examples> = sources.iter().map(|source| look(source, None)).collect();
    let learnt = folds(&sources, &first);
    if validate {
        measure(&sources, &learnt, "first round");
    }
    // What a detector meets on records that it never saw: levels that its own errors moved.
    let second: Vec<Examples> = sources
        .iter()
        .map(|source| look(source, learnt[source.fold()].as_ref()))
        .collect();
    if validate {
        measure(&sources, &folds(&sources, &second), "second round");
    }
    let mut examples = Examples::default();
    for seen in &second {
        examples.extend(seen);
    }
    let remarks = [
        "qrs: which candidates are beats; features in the order of qrs::FEATURES".to_owned(),
        "learnt by examples/train from MIT-BIH Arrhythmia (13 records), CPSC 2021 (6),".to_owned(),
        "MIT-BIH Supraventricular (800), MIT-BIH with the second signals of the MIT-BIH".to_owned(),
        "Noise Stress Test, and the acceptable strips of the PhysioNet Challenge 2011 with"
            .to_owned(),
        "the beats that most leads agree on; ODC-By 1.0 and CC-BY 4.0".to_owned(),
        format!("{} candidates", examples.rows.len()),
    ];
    crate::keep(write, &boost::learn(&examples, SETTINGS, &remarks));
}

impl Source {
    /// The fold in which its record is held back.
    fn fold(&self) -> usize {
        let place = MITDB.iter().position(|name| *name == self.record);
        place.unwrap_or_else(|| self.record.bytes().map(usize::from).sum()) % FOLDS
    }
}

fn sources(data: &Data) -> Vec<Source> {
    let noises: Vec<Vec<i32>> = NOISES
        .iter()
        .filter_map(|name| data.read(&format!("wfdb/nstdb/{name}")))
        .map(|noise| samples(&noise.waveforms[1]))
        .collect();
    let mut all = Vec::new();
    for (turn, name) in MITDB.iter().enumerate() {
        let Some(recording) = data.read(&format!("wfdb/mitdb/{name}")) else {
            continue;
        };
        all.extend(source(name, &recording, 0, 1.0));
        all.extend(source(name, &recording, 1, 0.25));
        for (kind, noise) in noises.iter().enumerate() {
            // Electrode motion looks most like beats: it is learnt at two ratios.
            let ratios: &[f64] = if kind == 0 {
                &[6.0, 0.0, 14.0, -3.0, 9.0, 3.0]
            } else {
                &[12.0, 6.0, 0.0, 18.0]
            };
            for again in 0..if kind == 0 { 3 } else { 1 } {
                let snr_db = ratios[(turn + kind + again) % ratios.len()];
                if let Some(mut noisy) = source(name, &recording, 0, 0.3) {
                    add_noise(&mut noisy, noise, snr_db);
                    all.push(noisy);
                }
            }
        }
    }
    for name in MORE {
        if let Some(recording) = data.read(name) {
            all.extend(source(name, &recording, 0, 1.0));
            all.extend(source(name, &recording, 1, 0.5));
        }
    }
    let mut chance = Chance(11);
    for name in MITDB.iter() {
        let Some(recording) = data.read(&format!("wfdb/mitdb/{name}")) else {
            continue;
        };
        if let Some(mut smaller) = source(name, &recording, 0, 0.5) {
            shrink_beats(&mut smaller, &mut chance);
            all.push(smaller);
        }
        if let Some(mut taller) = source(name, &recording, 0, 0.5) {
            raise_waves(&mut taller, &mut chance);
            all.push(taller);
        }
    }
    all
}

fn source(name: &str, recording: &Recording, row: usize, weight: f64) -> Option<Source> {
    let wave = recording.waveforms.get(row)?;
    let hz = recording.waveforms[0].rate.as_hz();
    Some(Source {
        record: name.to_owned(),
        row: samples(wave),
        rate: wave.rate,
        gain: wave.calibration.gain_adu_per_unit(),
        truth: truth(recording, hz),
        left_out: flutter(recording, hz),
        weight,
    })
}

/// Makes about a third of the beats smaller, down to a fifth, as a changing axis does.
fn shrink_beats(source: &mut Source, chance: &mut Chance) {
    let hz = source.rate.as_hz();
    for beat in source.truth.clone() {
        if chance.next() > 0.35 {
            continue;
        }
        let factor = chance.between(0.2, 0.8);
        let (at, half) = ((beat.at * hz) as usize, (0.22 * hz) as usize);
        let Some(around) = source.row.get_mut(at.saturating_sub(half)..at + half) else {
            continue;
        };
        let (first, last) = (f64::from(around[0]), f64::from(around[around.len() - 1]));
        let length = around.len() as f64;
        for (place, sample) in around.iter_mut().enumerate() {
            let base = first + (last - first) * place as f64 / length;
            *sample = (base + factor * (f64::from(*sample) - base)) as i32;
        }
    }
}

/// Adds tall P and T waves, as some hearts have them.
fn raise_waves(source: &mut Source, chance: &mut Chance) {
    let hz = source.rate.as_hz();
    let size = middle_size(source);
    let waves = [
        (
            chance.between(-0.24, -0.15),
            chance.between(0.014, 0.026),
            chance.between(0.15, 0.5),
        ),
        (
            chance.between(0.24, 0.34),
            chance.between(0.025, 0.05),
            chance.between(0.2, 0.9),
        ),
    ];
    for beat in &source.truth {
        for (centre, width, height) in waves {
            let from = ((beat.at + centre - 4.0 * width) * hz).max(0.0) as usize;
            let to = ((beat.at + centre + 4.0 * width) * hz).max(0.0) as usize;
            for place in from..to.min(source.row.len()) {
                let x = (place as f64 / hz - beat.at - centre) / width;
                source.row[place] += (height * size * (-0.5 * x * x).exp()) as i32;
            }
        }
    }
}

/// A small generator of chance, so that learning can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.next()
    }
}

fn middle_size(source: &Source) -> f64 {
    let hz = source.rate.as_hz();
    let mut sizes: Vec<i32> = source
        .truth
        .iter()
        .filter_map(|beat| {
            let at = (beat.at * hz) as usize;
            let reach = (0.05 * hz) as usize;
            let around = source.row.get(at.checked_sub(reach)?..at + 2 * reach)?;
            Some(around.iter().max()? - around.iter().min()?)
        })
        .collect();
    sizes.sort_unstable();
    f64::from(sizes.get(sizes.len() / 2).copied().unwrap_or(200))
}

/// Adds noise in every other two minutes, at a ratio of the middle QRS to the noise.
fn add_noise(source: &mut Source, noise: &[i32], snr_db: f64) {
    let hz = source.rate.as_hz();
    let size = middle_size(source);
    let mean = noise.iter().map(|x| f64::from(*x)).sum::<f64>() / noise.len() as f64;
    let power = noise
        .iter()
        .map(|x| (f64::from(*x) - mean).powi(2))
        .sum::<f64>()
        / noise.len() as f64;
    let factor = (size * size / 8.0 / power / 10f64.powf(snr_db / 10.0)).sqrt();
    let two_minutes = (120.0 * hz) as usize;
    for (place, sample) in source.row.iter_mut().enumerate() {
        if (place / two_minutes) % 2 == 1 {
            *sample += (factor * (f64::from(noise[place % noise.len()]) - mean)) as i32;
        }
    }
}

fn detector(source: &Source, forest: Option<&Arc<Forest>>) -> QrsDetector {
    match forest {
        Some(forest) => QrsDetector::with_forest(source.rate, source.gain, Arc::clone(forest)),
        None => QrsDetector::new(source.rate, source.gain),
    }
}

/// The candidates of a row with what they really are.
fn look(source: &Source, forest: Option<&Arc<Forest>>) -> Examples {
    let mut detector = detector(source, forest).explaining();
    detector.push(&source.row);
    detector.finish();
    let hz = source.rate.as_hz();
    let told = detector.take_explained();
    let at: Vec<f64> = told.iter().map(|one| seconds(one.at.0, hz)).collect();
    let truth: Vec<f64> = source.truth.iter().map(|beat| beat.at).collect();
    let mut is_beat = vec![false; told.len()];
    for pair in pair(&truth, &at) {
        if let Pair::Hit(_, found) = pair {
            is_beat[found] = true;
        }
    }
    let last = truth.last().copied().unwrap_or(0.0);
    let mut examples = Examples::default();
    let mut plain = 0;
    for ((one, at), is_beat) in told.iter().zip(&at).zip(is_beat) {
        let inside = source.left_out.iter().any(|(a, b)| at >= a && at <= b);
        if inside || *at >= last + 1.0 {
            continue;
        }
        let mut weight = source.weight;
        if is_beat == one.is_beat && one.score.abs() > PLAIN {
            plain += 1;
            if plain % KEEP_PLAIN != 0 {
                continue;
            }
            weight *= KEEP_PLAIN as f64;
        }
        examples.push(one.features.to_vec(), is_beat, weight);
    }
    examples
}

/// Folds by record; each record is judged by trees that never saw it.
const FOLDS: usize = 7;

/// For every fold, what is learnt without it.
fn folds(sources: &[Source], seen: &[Examples]) -> Vec<Option<Arc<Forest>>> {
    std::thread::scope(|scope| {
        let turns: Vec<_> = (0..2)
            .map(|turn| {
                scope.spawn(move || {
                    (turn..FOLDS)
                        .step_by(2)
                        .map(|fold| (fold, without(sources, seen, fold)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut learnt = vec![None; FOLDS];
        for turn in turns {
            for (fold, forest) in turn.join().unwrap_or_default() {
                learnt[fold] = forest;
            }
        }
        learnt
    })
}

fn measure(sources: &[Source], learnt: &[Option<Arc<Forest>>], what: &str) {
    println!("{what}: {FOLDS} folds by record, MIT-BIH first signal, from minute 5");
    let (mut total, mut whole) = (Score::default(), Score::default());
    for name in &MITDB {
        let Some(source) = sources.iter().find(|source| source.record == *name) else {
            continue;
        };
        let found = found(source, learnt[source.fold()].as_ref());
        let score = beats::score(&source.truth, &found, 300.0, &source.left_out);
        println!("{}", score.line(name));
        if std::env::args().any(|arg| arg == "--errors") {
            for (kind, at) in beats::errors(&source.truth, &found, 300.0, &source.left_out) {
                println!("{name} {kind} {at:.2}");
            }
        }
        total.add(&score);
        whole.add(&beats::score(&source.truth, &found, 0.0, &source.left_out));
    }
    println!("{}", total.line("unseen"));
    println!("{}", whole.line("unseen whole"));
}

/// What is learnt when the records of a fold are held back.
fn without(sources: &[Source], first: &[Examples], fold: usize) -> Option<Arc<Forest>> {
    let mut examples = Examples::default();
    for (source, seen) in sources.iter().zip(first) {
        if source.fold() != fold {
            examples.extend(seen);
        }
    }
    Forest::parse(&boost::learn(&examples, SETTINGS, &[])).map(Arc::new)
}

/// The beats of a row, in seconds.
fn found(source: &Source, forest: Option<&Arc<Forest>>) -> Vec<f64> {
    let mut detector = detector(source, forest);
    let mut found = detector.push(&source.row);
    found.extend(detector.finish());
    let hz = source.rate.as_hz();
    found.iter().map(|at| seconds(at.0, hz)).collect()
}

/// Leads that must agree on a beat, and within what time, in seconds.
const AGREE: usize = 8;
const AGREE_S: f64 = 0.1;

/// Twelve-lead strips of many hearts, whose beats are those that most leads agree on: what
/// is small, or beside a tall wave, in one lead is plain in others.
fn strips(data: &Data) -> Vec<Source> {
    let mut all = Vec::new();
    let Ok(rate) = SamplingRate::hz(500) else {
        return all;
    };
    let strips = strips::challenge_2011(data);
    for (turn, strip) in strips.into_iter().filter(|strip| !strip.bad).enumerate() {
        let leads: Vec<Source> = strip
            .rows
            .into_iter()
            .map(|row| Source {
                record: format!("strip {turn}"),
                row,
                rate,
                gain: 200.0,
                truth: Vec::new(),
                left_out: Vec::new(),
                weight: 0.5,
            })
            .collect();
        let each: Vec<Vec<f64>> = leads.iter().map(|lead| found(lead, None)).collect();
        let (truth, left_out) = agreed(&each);
        let chosen = leads.into_iter().enumerate();
        for (place, mut lead) in chosen {
            if place % 3 == turn % 3 {
                lead.truth.clone_from(&truth);
                lead.left_out.clone_from(&left_out);
                all.push(lead);
            }
        }
    }
    all
}

/// The instants that most leads take for a beat, and spans around those that only some do.
fn agreed(each: &[Vec<f64>]) -> (Vec<Truth>, Vec<(f64, f64)>) {
    let mut marks: Vec<f64> = each.iter().flatten().copied().collect();
    marks.sort_by(f64::total_cmp);
    let (mut truth, mut doubtful) = (Vec::new(), Vec::new());
    let mut from = 0;
    while from < marks.len() {
        let mut to = from + 1;
        while to < marks.len() && marks[to] - marks[to - 1] < AGREE_S {
            to += 1;
        }
        let at = marks[(from + to) / 2];
        if to - from >= AGREE {
            truth.push(Truth {
                at,
                class: BeatClass::Normal,
            });
        } else if to - from > 2 {
            doubtful.push((at - 0.2, at + 0.2));
        }
        from = to;
    }
    (truth, doubtful)
}
