//! Which leads are insufficient, and which 12-lead strips are unacceptable.

use std::path::Path;

use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_signal::forest::Forest;
use cardio_signal::sqi::{EcgQuality, FEATURES, unacceptable};

use crate::boost::{self, Examples, Settings};
use crate::data::{Data, samples};
use crate::noise::mixed;
use crate::strips::{self, LEADS, Strip};

const LEAD: Settings = Settings {
    trees: 110,
    shrinkage: 0.08,
    ridge: 3.0,
    least: 4.0,
    signs: &[],
    seen: 1.0,
    depth: 4,
};
const FOLDS: usize = 10;
/// Records with a clean first signal, among them hearts with many ectopic beats, which are
/// no noise; and factors at 0 dB of em, ma and bw for a QRS of a
/// millivolt, near those of the noise stress test.
const CLEAN: [&str; 9] = [
    "100", "106", "119", "200", "201", "207", "208", "222", "231",
];
const NOISES: [(&str, f64); 3] = [("em", 1.7), ("ma", 6.0), ("bw", 6.0)];

struct Seen {
    bad: bool,
    bad_leads: Option<Vec<bool>>,
    features: Vec<[f64; FEATURES.len()]>,
}

pub(crate) fn learn(data: &Data, leads: Option<&Path>) {
    let strips = strips::challenge_2011(data);
    let seen: Vec<Seen> = strips.iter().map(see).collect();
    let noisy = stress_windows(data);
    println!("{} strips, {} noise windows", seen.len(), noisy.rows.len());
    let mut told: Vec<(f64, bool)> = Vec::new();
    let mut unseen: Vec<Vec<f64>> = vec![Vec::new(); seen.len()];
    for fold in 0..FOLDS {
        let forest = lead_forest(&seen, &noisy, |at| at % FOLDS != fold).1;
        for (at, strip) in seen.iter().enumerate().filter(|(at, _)| at % FOLDS == fold) {
            let p: Vec<f64> = strip
                .features
                .iter()
                .map(|row| odds(&forest, row))
                .collect();
            if let Some(labels) = &strip.bad_leads {
                told.extend(p.iter().copied().zip(labels.iter().copied()));
            }
            unseen[at] = p;
        }
    }
    println!("{}", strips::line("leads, ten-fold by record", &told));
    let (text, _) = lead_forest(&seen, &noisy, |_| true);
    crate::keep(leads, &text);
    let whole: Vec<(f64, bool)> = seen
        .iter()
        .zip(&unseen)
        .map(|(strip, p)| (unacceptable(p), strip.bad))
        .collect();
    println!("{}", strips::line("strips, leads unseen", &whole));
}

fn see(strip: &Strip) -> Seen {
    let leads = LEADS.map(Some);
    Seen {
        bad: strip.bad,
        bad_leads: strip.bad_leads.clone(),
        features: look(&strip.rows, &leads, 500, 200.0),
    }
}

fn odds(forest: &Forest, row: &[f64]) -> f64 {
    1.0 / (1.0 + (-forest.score(row)).exp())
}

fn lead_forest(seen: &[Seen], noisy: &Examples, of: impl Fn(usize) -> bool) -> (String, Forest) {
    let mut examples = noisy.clone();
    for (_, strip) in seen.iter().enumerate().filter(|(at, _)| of(*at)) {
        let Some(labels) = &strip.bad_leads else {
            continue;
        };
        for (row, bad) in strip.features.iter().zip(labels) {
            examples.push(row.to_vec(), *bad, 1.0);
        }
    }
    let remarks = [
        "sqi-lead: which leads are insufficient; features in the order of sqi::FEATURES".to_owned(),
        "learnt by examples/train from the PhysioNet Challenge 2011, set a, with the labels"
            .to_owned(),
        "per lead of the authors of ECGAssess, and from MIT-BIH Arrhythmia with the second"
            .to_owned(),
        "signals of the MIT-BIH Noise Stress Test; ODC-By 1.0, labels without a statement"
            .to_owned(),
        format!("{} windows", examples.rows.len()),
    ];
    let text = boost::learn(&examples, LEAD, &remarks);
    let forest = Forest::parse(&text).unwrap_or_default();
    (text, forest)
}

/// Ten-second windows of clean records, and with noise that leaves nothing to be measured.
fn stress_windows(data: &Data) -> Examples {
    let mut examples = Examples::default();
    for name in CLEAN {
        let Some(recording) = data.read(&format!("wfdb/mitdb/{name}")) else {
            continue;
        };
        let wave = &recording.waveforms[0];
        let gain = wave.calibration.gain_adu_per_unit();
        let clean = &samples(wave);
        push_windows(&mut examples, clean, wave.rate, gain, |_| Some(false));
        for (noise, factor) in NOISES {
            let Some(noise) = data.read(&format!("wfdb/nstdb/{noise}")) else {
                continue;
            };
            for snr_db in [-6.0, 0.0, 18.0] {
                let factor = factor * 10f64.powf(-snr_db / 20.0);
                let row = mixed(
                    clean,
                    &samples(&noise.waveforms[1]),
                    factor,
                    wave.rate.as_hz(),
                );
                push_windows(&mut examples, &row, wave.rate, gain, |at_s| {
                    let inside = at_s > 312.0
                        && (at_s - 300.0) % 240.0 > 11.0
                        && (at_s - 300.0) % 240.0 < 119.0;
                    inside.then_some(snr_db < 10.0)
                });
            }
        }
    }
    examples
}

fn push_windows(
    examples: &mut Examples,
    row: &[i32],
    rate: SamplingRate,
    gain: f64,
    label: impl Fn(f64) -> Option<bool>,
) {
    let mut quality = EcgQuality::new(rate, &strips::specs(&[None], gain), strips::config());
    let ten_seconds = (rate.as_hz() * 10.0) as usize;
    for (turn, block) in row.chunks_exact(ten_seconds).enumerate() {
        quality.push(&[block]);
        let at_s = (turn as f64 + 1.0) * 10.0;
        // Every third window is enough: they are much alike.
        if let Some(bad) = label(at_s).filter(|_| turn % 3 == 1)
            && let Some(row) = quality.features().first()
        {
            examples.push(row.to_vec(), bad, 0.5);
        }
    }
}

/// What the quality sees in a strip: the newest window's features, lead by lead.
fn look(
    rows: &[Vec<i32>],
    leads: &[Option<Lead>],
    hz: u32,
    gain: f64,
) -> Vec<[f64; FEATURES.len()]> {
    let Ok(rate) = SamplingRate::hz(hz) else {
        return Vec::new();
    };
    let mut quality = EcgQuality::new(rate, &strips::specs(leads, gain), strips::config());
    let rows: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
    quality.push(&rows);
    quality.features()
}
