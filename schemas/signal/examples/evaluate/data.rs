//! Recordings and labels from the data folder.

use std::path::{Path, PathBuf};

use cardio_core::annotation::BeatClass;
use cardio_core::recording::{Recording, Waveform};
use cardio_formats::{ReadOptions, read_path};

/// The MIT-BIH records of the data folder.
pub(crate) const MITDB: [&str; 13] = [
    "100", "105", "106", "108", "119", "200", "201", "203", "207", "208", "217", "222", "231",
];

/// Where the data folder is.
pub(crate) struct Data(pub(crate) PathBuf);

impl Data {
    /// Names in a folder that end so, without the end.
    pub(crate) fn stems(&self, folder: &str, end: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(folder)).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(end)?.to_owned()))
            .collect()
    }

    pub(crate) fn read(&self, path: &str) -> Option<Recording> {
        read(&self.0.join(path))
    }
}

pub(crate) fn read(path: &Path) -> Option<Recording> {
    match read_path(path, ReadOptions::default()) {
        Ok(recording) => Some(recording),
        Err(error) => {
            println!("left out {}: {error}", path.display());
            None
        }
    }
}

pub(crate) fn samples(wave: &Waveform) -> Vec<i32> {
    wave.contiguous().unwrap_or_default().to_vec()
}

/// A reference beat.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) at: f64,
    pub(crate) class: BeatClass,
}

/// The EC57 class of an annotation code, if it is a beat.
pub(crate) fn class_of(code: &str) -> Option<BeatClass> {
    match code {
        "N" | "L" | "R" | "B" | "e" | "j" | "n" => Some(BeatClass::Normal),
        "A" | "a" | "J" | "S" => Some(BeatClass::Supraventricular),
        "V" | "E" | "r" => Some(BeatClass::Ventricular),
        "F" => Some(BeatClass::Fusion),
        "/" | "f" | "Q" | "?" => Some(BeatClass::Unknown),
        _ => None,
    }
}

pub(crate) fn seconds(at: u64, hz: f64) -> f64 {
    at as f64 / hz
}

/// The reference beats of a recording, in seconds.
pub(crate) fn truth(recording: &Recording, hz: f64) -> Vec<Truth> {
    recording
        .annotations
        .iter()
        .filter_map(|mark| {
            class_of(&mark.code).map(|class| Truth {
                at: seconds(mark.at.0, hz),
                class,
            })
        })
        .collect()
}

/// Spans of ventricular flutter or fibrillation, in seconds.
pub(crate) fn flutter(recording: &Recording, hz: f64) -> Vec<(f64, f64)> {
    let mut spans = Vec::new();
    let mut open = None;
    for mark in &recording.annotations {
        match mark.code.as_str() {
            "[" => open = Some(seconds(mark.at.0, hz)),
            "]" => {
                if let Some(from) = open.take() {
                    spans.push((from, seconds(mark.at.0, hz)));
                }
            }
            _ => {}
        }
    }
    spans
}
