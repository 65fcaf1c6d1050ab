//! Where waves begin and end, beside what cardiologists marked: LUDB and the QT database.
//!
//! Both are read from `wfdb/ludb` and `wfdb/qtdb` of the data folder when they are there.

use std::collections::BTreeMap;

use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_formats::wfdb::annotation::AnnotationFile;
use cardio_signal::delineation::{BeatMarks, Limits, cut_beat, delineate_with};
use cardio_signal::qrs::QrsDetector;

use crate::data::{Data, samples};

/// What cardiologists marked of one beat, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marked {
    pub(crate) r: f64,
    pub(crate) p_on: Option<f64>,
    pub(crate) qrs_on: Option<f64>,
    pub(crate) qrs_off: Option<f64>,
    pub(crate) t_off: Option<f64>,
}

/// A lead or a record in which beats are marked.
pub(crate) struct Row {
    pub(crate) record: usize,
    pub(crate) rate: SamplingRate,
    pub(crate) leads: Vec<Vec<f64>>,
    /// R peaks of each lead, found by the product's own detector, in seconds.
    pub(crate) beats: Vec<Vec<f64>>,
    pub(crate) marked: Vec<Marked>,
}

const LUDB_LEADS: [&str; 12] = [
    "i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6",
];
/// Spread between two experts on the QT database: onset and end of QRS, end of T.
const TOLERANCE_MS: [(&str, f64); 4] = [
    ("P begins", 10.2),
    ("QRS begins", 6.5),
    ("QRS ends", 11.6),
    ("T ends", 30.6),
];

fn millivolts(recording: &Recording, place: usize) -> Option<Vec<f64>> {
    let wave = recording.waveforms.get(place)?;
    let row = samples(wave);
    Some(row.iter().map(|adu| wave.calibration.value(*adu)).collect())
}

fn found(recording: &Recording, place: usize) -> Vec<f64> {
    let wave = &recording.waveforms[place];
    let mut detector = QrsDetector::new(wave.rate, wave.calibration.gain_adu_per_unit());
    let mut told = detector.push(&samples(wave));
    told.extend(detector.finish());
    told.iter()
        .map(|at| at.0 as f64 / wave.rate.as_hz())
        .collect()
}

/// The beats of an annotation file of waves: `(`, the wave, `)`.
fn marked(bytes: &[u8], rate: SamplingRate) -> Vec<Marked> {
    let mut beats: Vec<Marked> = Vec::new();
    let (mut open, mut wave, mut p_on) = (None, String::new(), None);
    for mark in AnnotationFile::decode(bytes).marks {
        let mark = mark.on(rate, rate);
        let at = mark.at.0 as f64 / rate.as_hz();
        match mark.code.as_str() {
            "(" => open = Some(at),
            ")" => {
                let close = std::mem::take(&mut wave);
                if let Some(beat) = beats.last_mut() {
                    match close.as_str() {
                        "N" => beat.qrs_off = Some(at),
                        "t" if at - beat.r < 0.8 => beat.t_off = Some(at),
                        _ => {}
                    }
                }
                open = None;
            }
            "p" => {
                p_on = open.take();
                wave = "p".to_owned();
            }
            "t" => {
                wave = "t".to_owned();
                open = None;
            }
            "u" => wave = "u".to_owned(),
            code if crate::data::class_of(code).is_some() => {
                beats.push(Marked {
                    r: at,
                    p_on: p_on.take().filter(|p| at - p < 0.4),
                    qrs_on: open.take(),
                    ..Marked::default()
                });
                wave = "N".to_owned();
            }
            _ => {}
        }
    }
    beats
}

/// Every lead of LUDB with its own marks.
pub(crate) fn ludb(data: &Data) -> Vec<Row> {
    let mut rows = Vec::new();
    for record in 1..=200 {
        let path = format!("wfdb/ludb/{record}");
        if !data.0.join(format!("{path}.hea")).exists() {
            continue;
        }
        let Some(recording) = data.read(&path) else {
            continue;
        };
        for (place, lead) in LUDB_LEADS.iter().enumerate() {
            let Ok(bytes) = std::fs::read(data.0.join(format!("{path}.{lead}"))) else {
                continue;
            };
            let rate = recording.waveforms[place].rate;
            rows.extend(millivolts(&recording, place).map(|mv| Row {
                record,
                rate,
                leads: vec![mv],
                beats: vec![found(&recording, place)],
                marked: marked(&bytes, rate),
            }));
        }
    }
    rows
}

/// The records of the QT database: two leads with one cardiologist's marks for both.
pub(crate) fn qtdb(data: &Data) -> Vec<Row> {
    let mut names = data.stems("wfdb/qtdb", ".q1c");
    names.sort();
    let mut rows = Vec::new();
    for (record, name) in names.iter().enumerate() {
        let path = format!("wfdb/qtdb/{name}");
        let Some(recording) = data.read(&path) else {
            continue;
        };
        let Ok(bytes) = std::fs::read(data.0.join(format!("{path}.q1c"))) else {
            continue;
        };
        let rate = recording.waveforms[0].rate;
        rows.push(Row {
            record,
            rate,
            leads: (0..2)
                .filter_map(|place| millivolts(&recording, place))
                .collect(),
            beats: (0..2).map(|place| found(&recording, place)).collect(),
            marked: marked(&bytes, rate),
        });
    }
    rows
}

/// Errors by mark, in milliseconds, and how many marks had none.
#[derive(Default)]
pub(crate) struct Errors {
    pub(crate) ms: [Vec<f64>; 4],
    pub(crate) missed: [usize; 4],
}

impl Errors {
    pub(crate) fn mean_sd(&self, mark: usize) -> (f64, f64) {
        let all = &self.ms[mark];
        let count = all.len().max(1) as f64;
        let mean = all.iter().sum::<f64>() / count;
        let square = all.iter().map(|e| (e - mean) * (e - mean)).sum::<f64>() / count;
        (mean, square.sqrt())
    }

    fn print(&self, name: &str) {
        for (mark, (what, tolerance)) in TOLERANCE_MS.iter().enumerate() {
            let (mean, sd) = self.mean_sd(mark);
            let found = self.ms[mark].len();
            let mut size: Vec<f64> = self.ms[mark].iter().map(|e| e.abs()).collect();
            size.sort_by(f64::total_cmp);
            println!(
                "{name:<30} {what:<11} {mean:>6.1} ± {sd:>5.1} ms  middle size {:>5.1}  found {:.3} of {}  (experts ± {tolerance})",
                size.get(found / 2).copied().unwrap_or(0.0),
                found as f64 / (found + self.missed[mark]).max(1) as f64,
                found + self.missed[mark],
            );
        }
    }
}

/// The marks of one lead near a marked beat, in seconds.
fn told(limits: &Limits, row: &Row, lead: usize, r: f64) -> Option<[Option<f64>; 4]> {
    let beats = &row.beats[lead];
    let place = beats.iter().position(|at| (at - r).abs() < 0.15)?;
    let at = beats[place];
    let before = place
        .checked_sub(1)
        .map_or(1.0, |before| at - beats[before]);
    let after = beats.get(place + 1).map_or(1.0, |after| after - at);
    let (beat, middle) = cut_beat(&row.leads[lead], row.rate, at * row.rate.as_hz());
    let BeatMarks {
        p_on_ms,
        qrs_on_ms,
        qrs_off_ms,
        t_off_ms,
        ..
    } = delineate_with(limits, &beat, middle, before, after);
    Some([p_on_ms, qrs_on_ms, qrs_off_ms, t_off_ms].map(|ms| ms.map(|ms| at + ms / 1_000.0)))
}

/// Errors over rows; of several leads the nearer one counts, as publications on the QT
/// database do it.
pub(crate) fn errors<'a>(limits: &Limits, rows: impl Iterator<Item = &'a Row>) -> Errors {
    let mut errors = Errors::default();
    for row in rows {
        for beat in &row.marked {
            let leads: Vec<[Option<f64>; 4]> = (0..row.leads.len())
                .map(|lead| told(limits, row, lead, beat.r).unwrap_or_default())
                .collect();
            let truth = [beat.p_on, beat.qrs_on, beat.qrs_off, beat.t_off];
            for (mark, truth) in truth.into_iter().enumerate() {
                let Some(truth) = truth else { continue };
                let nearest = leads
                    .iter()
                    .filter_map(|told| Some((told[mark]? - truth) * 1_000.0))
                    .min_by(|a, b| a.abs().total_cmp(&b.abs()))
                    .filter(|error| error.abs() < 250.0);
                match nearest {
                    Some(error) => errors.ms[mark].push(error),
                    None => errors.missed[mark] += 1,
                }
            }
        }
    }
    errors
}

/// Prints errors beside the spread between experts.
pub(crate) fn report(data: &Data) {
    println!("delineation, beat by beat, mean ± SD of all beats");
    let limits = Limits::default();
    let (ludb, qtdb) = (ludb(data), qtdb(data));
    if ludb.is_empty() && qtdb.is_empty() {
        println!("skipped: neither wfdb/ludb nor wfdb/qtdb in the data folder");
        return;
    }
    let half = |odd: usize| ludb.iter().filter(move |row| row.record % 2 == odd);
    let qt_half = |odd: usize| qtdb.iter().filter(move |row| row.record % 2 == odd);
    errors(&limits, half(1)).print("LUDB, odd records (limits)");
    errors(&limits, half(0)).print("LUDB, even records (unseen)");
    errors(&limits, qt_half(1)).print("QT database, odd (limits)");
    errors(&limits, qt_half(0)).print("QT database, even (unseen)");
    let mut sds: BTreeMap<usize, [f64; 4]> = BTreeMap::new();
    for row in qt_half(0) {
        let own = errors(&limits, std::iter::once(row));
        sds.insert(row.record, [0, 1, 2, 3].map(|mark| own.mean_sd(mark).1));
    }
    for (mark, (what, tolerance)) in TOLERANCE_MS.iter().enumerate() {
        let mean = sds.values().map(|sd| sd[mark]).sum::<f64>() / sds.len().max(1) as f64;
        println!(
            "QT database, even, mean of records  {what:<11} SD {mean:>5.1} ms  (experts {tolerance})"
        );
    }
}
