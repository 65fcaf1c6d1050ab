//! Labelled ten-second strips: the PhysioNet Challenges 2011 and 2017.

use std::path::{Path, PathBuf};
use std::process::Command;

use cardio_core::lead::Lead;
use cardio_signal::sqi::{LeadSpec, QualityConfig};

use crate::data::{Data, read, samples};

/// A 12-lead strip with what people said of it.
pub(crate) struct Strip {
    pub(crate) rows: Vec<Vec<i32>>,
    pub(crate) bad: bool,
    /// Per lead, where somebody looked at each.
    pub(crate) bad_leads: Option<Vec<bool>>,
}

/// The column order that the data prove.
pub(crate) const LEADS: [Lead; 12] = [
    Lead::I,
    Lead::II,
    Lead::III,
    Lead::Avr,
    Lead::Avf,
    Lead::Avl,
    Lead::V1,
    Lead::V2,
    Lead::V3,
    Lead::V4,
    Lead::V5,
    Lead::V6,
];

/// Unpacks an archive of the data folder beside the system's temporary files.
fn unpack(archive: &Path, name: &str) -> Option<PathBuf> {
    let folder = std::env::temp_dir()
        .join("cardio-signal-evaluate")
        .join(name);
    if !folder.exists() {
        std::fs::create_dir_all(&folder).ok()?;
        let done = Command::new("tar")
            .arg("-xJf")
            .arg(archive)
            .arg("-C")
            .arg(&folder)
            .status();
        if !done.is_ok_and(|status| status.success()) {
            println!("left out {}: tar cannot unpack it", archive.display());
            return None;
        }
    }
    Some(folder)
}

/// Lines of a table without its header, split at commas.
fn table(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().skip(1).map(cells).collect()
}

pub(crate) fn challenge_2011(data: &Data) -> Vec<Strip> {
    let folder = data.0.join("quality/cinc2011");
    let Some(unpacked) = unpack(&folder.join("set-a.tar.xz"), "cinc2011") else {
        return Vec::new();
    };
    let mut strips = Vec::new();
    for line in table(&folder.join("labels.csv")) {
        let path = unpacked.join("set-a").join(format!("{}.txt", line[0]));
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let mut rows = vec![Vec::new(); 12];
        for sample in text.lines() {
            for (row, value) in rows.iter_mut().zip(sample.split(',').skip(1)) {
                row.push(value.trim().parse().unwrap_or(0));
            }
        }
        let each: Vec<bool> = line[2..].iter().map(|word| word == "1").collect();
        let looked_at = line.get(2).is_some_and(|word| !word.is_empty());
        strips.push(Strip {
            rows,
            bad: line[1] == "unacceptable",
            bad_leads: looked_at.then_some(each),
        });
    }
    strips
}

pub(crate) fn config() -> QualityConfig {
    QualityConfig {
        forget_lost_contact: false,
        ..QualityConfig::default()
    }
}

pub(crate) fn specs(leads: &[Option<Lead>], gain_adu_per_mv: f64) -> Vec<LeadSpec> {
    leads
        .iter()
        .map(|lead| LeadSpec {
            label: lead.map_or("ECG", Lead::name).to_owned(),
            lead: *lead,
            gain_adu_per_mv,
            baseline_adu: 0.0,
            rails: None,
        })
        .collect()
}

/// Hand-held recordings of one lead: name, samples, whether people called it noise.
pub(crate) fn challenge_2017(data: &Data) -> Vec<(String, Vec<i32>, String)> {
    let folder = data.0.join("quality/cinc2017");
    let Some(unpacked) = unpack(&folder.join("training2017.tar.xz"), "cinc2017") else {
        return Vec::new();
    };
    table(&folder.join("labels.csv"))
        .into_iter()
        .filter_map(|line| {
            let recording = read(&unpacked.join(&line[0]))?;
            let row = samples(recording.waveforms.first()?);
            Some((line[0].clone(), row, line[1].clone()))
        })
        .collect()
}

/// Area under the curve: how often a bad one scores above a good one.
pub(crate) fn auc(scores: &[(f64, bool)]) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bad = sorted.iter().filter(|(_, is_bad)| *is_bad).count() as f64;
    let good = sorted.len() as f64 - bad;
    let mut ranks = 0.0;
    let mut from = 0;
    while from < sorted.len() {
        let mut to = from;
        while to < sorted.len() && sorted[to].0 == sorted[from].0 {
            to += 1;
        }
        let rank = (from + 1 + to) as f64 / 2.0;
        ranks += rank
            * sorted[from..to]
                .iter()
                .filter(|(_, is_bad)| *is_bad)
                .count() as f64;
        from = to;
    }
    (ranks - bad * (bad + 1.0) / 2.0) / (bad * good).max(1.0)
}

/// One line of figures for scores where a probability above a half means bad.
pub(crate) fn line(name: &str, scores: &[(f64, bool)]) -> String {
    let count = |called: bool, bad: bool| {
        let of = scores
            .iter()
            .filter(|(p, is_bad)| (*p > 0.5) == called && *is_bad == bad);
        of.count() as f64
    };
    let (hit, miss) = (count(true, true), count(false, true));
    let (alarm, kept) = (count(true, false), count(false, false));
    format!(
        "{name:<28} accuracy {:.4}  Se(bad) {:.4}  Sp {:.4}  AUC {:.4}  n {}",
        (hit + kept) / (scores.len() as f64).max(1.0),
        hit / (hit + miss).max(1.0),
        kept / (kept + alarm).max(1.0),
        auc(scores),
        scores.len()
    )
}
