//! Labelled recordings of heart sounds from the data folder.

use std::path::Path;

use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;
use cardio_formats::{ReadOptions, read_path};
use cardio_signal::pcg::{HeartSound, HeartSounds, SoundSummary};
use cardio_signal::qrs::QrsDetector;

/// One recording of the challenge of 2016.
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) good: bool,
    pub(crate) rate: SamplingRate,
    pub(crate) sound: Vec<i32>,
    /// R peaks of the simultaneous ECG, if there is one.
    pub(crate) beats: Vec<SampleIndex>,
}

/// What the analyser says of a recording.
pub(crate) struct Answer {
    pub(crate) summary: SoundSummary,
    pub(crate) sounds: Vec<HeartSound>,
}

/// All labelled recordings; what cannot be read is named and left out.
pub(crate) fn load(data: &Path) -> Vec<Record> {
    let folder = data.join("pcg/cinc2016");
    let labels = std::fs::read_to_string(folder.join("REFERENCE-SQI.csv")).unwrap_or_default();
    labels
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut cells = line.split(',');
            let (name, _, quality) = (cells.next()?, cells.next()?, cells.next()?);
            let record = read(&folder, name, quality.trim() == "1");
            if record.is_none() {
                println!("left out {name}: it cannot be read");
            }
            record
        })
        .collect()
}

fn read(folder: &Path, name: &str, good: bool) -> Option<Record> {
    let bytes = std::fs::read(folder.join(format!("{name}.wav"))).ok()?;
    let (rate, sound) = wav(&bytes)?;
    let header = read_path(&folder.join(format!("{name}.hea")), ReadOptions::default());
    let ecg = header
        .ok()?
        .waveforms
        .into_iter()
        .find(|row| row.label == "ECG");
    let beats = ecg.map_or_else(Vec::new, |ecg| {
        let mut detector = QrsDetector::new(ecg.rate, 1_000.0);
        let mut beats = detector.push(&ecg.contiguous().unwrap_or_default().to_vec());
        beats.extend(detector.finish());
        beats
    });
    Some(Record {
        name: name.to_owned(),
        good,
        rate,
        sound,
        beats,
    })
}

/// Rate and samples of a RIFF file of one row of 16-bit samples. (By its WFDB header the
/// lowest count would mean "absent"; in a sound file it is a sample.)
fn wav(bytes: &[u8]) -> Option<(SamplingRate, Vec<i32>)> {
    let mut rest = bytes.get(12..)?;
    let mut rate = None;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let body = after.get(..len.min(after.len()))?;
        match name {
            b"fmt " => {
                let hz = body.get(4..8)?.first_chunk::<4>()?;
                rate = SamplingRate::hz(u32::from_le_bytes(*hz)).ok();
            }
            b"data" => {
                let pairs = body.chunks_exact(2);
                let sample = |pair: &[u8]| i32::from(i16::from_le_bytes([pair[0], pair[1]]));
                return Some((rate?, pairs.map(sample).collect()));
            }
            _ => {}
        }
        rest = after.get(len + len % 2..)?;
    }
}

impl Record {
    /// The part of the challenge that it comes from: another stethoscope, other patients.
    pub(crate) fn database(&self) -> char {
        self.name.chars().next().unwrap_or('?')
    }

    /// What the analyser says, by the sound alone or with the ECG beside it.
    pub(crate) fn analyse(&self, with_ecg: bool) -> Answer {
        let Ok(mut analyser) = HeartSounds::new(self.rate, None) else {
            unreachable!("the challenge's rate is 2 kHz");
        };
        let mut sounds = Vec::new();
        let mut beats = self.beats.iter().filter(|_| with_ecg).peekable();
        for block in self.sound.chunks(500) {
            for window in analyser.push(block) {
                sounds.extend(window.sounds);
            }
            // The detector of R peaks is about a second late.
            while let Some(beat) = beats.peek() {
                if beat.0 + 2_000 > analyser.end().0 {
                    break;
                }
                analyser.beat(**beat);
                beats.next();
            }
        }
        sounds.extend(analyser.finish());
        Answer {
            summary: analyser.summary(),
            sounds,
        }
    }

    /// Rate by the ECG in beats per minute: of the middle interval, when eight intervals of
    /// ten agree with it within 15 of 100.
    pub(crate) fn ecg_bpm(&self) -> Option<f64> {
        let mut intervals: Vec<f64> = self
            .beats
            .windows(2)
            .map(|pair| (pair[1].0 - pair[0].0) as f64 / self.rate.as_hz())
            .collect();
        intervals.sort_by(f64::total_cmp);
        let middle = *intervals.get(intervals.len() / 2)?;
        let near = |interval: &&f64| (**interval - middle).abs() < 0.15 * middle;
        let agree = intervals.iter().filter(near).count();
        (agree * 10 >= intervals.len() * 8).then_some(60.0 / middle)
    }
}
