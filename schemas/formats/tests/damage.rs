//! Every known file, cut and damaged: an error or a recording, never a panic, in memory
//! that stays a small multiple of the file.
//!
//! A file is cut after every byte of its first and last ones and at places between, or after
//! every byte when it is small; what it then gives, the whole file holds too. `truncation.rs`
//! does the same with files that are written, without exception.
//!
//! Uses the recordings below `CARDIO_DATA`; without it there is nothing to damage.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first thing that is not as expected, and says what it skips"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardio_core::recording::Recording;
use cardio_formats::ReadOptions;
use cardio_formats::read::read;
use cardio_formats::source::MemorySource;
use support::{assert_explained, assert_nothing_invented};

/// Bytes at the start of a file of which every one is a place to cut.
const HEAD: usize = 512;
/// The same at its end.
const TAIL: usize = 32;
/// Places to cut between them.
const BETWEEN: usize = 64;
/// Damaged copies of one file at most.
const FLIPS: usize = 24;
/// Bytes above which a file is damaged only a few times.
const LARGE: usize = 200_000;

type Folder = BTreeMap<String, Arc<[u8]>>;

fn data() -> Option<PathBuf> {
    let root = std::env::var_os("CARDIO_DATA");
    if root.is_none() {
        println!("skipped: CARDIO_DATA not set");
    }
    root.map(PathBuf::from)
}

fn folder(path: &Path) -> Folder {
    let mut files = Folder::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).unwrap().into());
        }
    }
    files
}

fn source(files: &Folder, damaged: Option<(&str, &[u8])>) -> Arc<MemorySource> {
    let all = files
        .iter()
        .fold(MemorySource::new(), |source, (name, bytes)| {
            source.with(name, Arc::clone(bytes))
        });
    Arc::new(match damaged {
        Some((name, bytes)) => all.with(name, bytes),
        None => all,
    })
}

/// Reads both ways; the recording holds no more than its files could.
fn attempt(files: &Folder, damaged: (&str, &[u8]), name: &str) -> Option<Recording> {
    let lenient = attempt_as(files, damaged, name, false);
    let strict = attempt_as(files, damaged, name, true);
    assert!(lenient.is_some() || strict.is_none(), "{name}: only strict");
    lenient
}

fn attempt_as(
    files: &Folder,
    damaged: (&str, &[u8]),
    name: &str,
    strict: bool,
) -> Option<Recording> {
    let size: usize = files.values().map(|bytes| bytes.len()).sum();
    let options = ReadOptions {
        strict,
        ..ReadOptions::default()
    };
    match read(source(files, Some(damaged)), name, options) {
        Ok(recording) => {
            bounded(&recording, size, name);
            Some(recording)
        }
        Err(error) => {
            assert_explained(&error, name);
            None
        }
    }
}

fn bounded(recording: &Recording, size: usize, name: &str) {
    let held: usize = recording
        .waveforms
        .iter()
        .flat_map(|row| &row.runs)
        .map(|run| run.samples.len() * 4)
        .sum();
    assert!(
        held <= 64 * size + 4096,
        "{name}: {held} bytes held for {size}"
    );
}

/// A small generator, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// Where a file of that length is cut.
fn cuts(length: usize) -> Vec<usize> {
    let (head, between) = if length > LARGE {
        (8, 4)
    } else {
        (HEAD, BETWEEN)
    };
    let step = length / between + 1;
    let spread = (0..length).step_by(step);
    let last = length.saturating_sub(if length > LARGE { 1 } else { TAIL })..length;
    let all = (0..length.min(head)).chain(spread).chain(last);
    BTreeSet::from_iter(all).into_iter().collect()
}

fn damage(files: &Folder, part: &str, name: &str) {
    let bytes = &files[part];
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let whole = read(source(files, None), name, ReadOptions::default()).unwrap();
    for cut in cuts(bytes.len()) {
        if let Some(recording) = attempt(files, (part, &bytes[..cut]), name) {
            assert_nothing_invented(&whole, &recording, &format!("{part} cut to {cut}"));
        }
    }
    let few = if bytes.len() > LARGE { 3 } else { FLIPS };
    for round in 0..few {
        let mut copy = bytes.to_vec();
        if copy.is_empty() {
            return;
        }
        // Headers matter most: half of the damage lies in the first kilobyte.
        let reach = if round % 2 == 0 { 1024 } else { copy.len() };
        for _ in 0..=chance.below(4) {
            let at = chance.below(reach.min(copy.len()));
            copy[at] ^= 1 << chance.below(8);
        }
        attempt(files, (part, &copy), name);
    }
}

fn damage_folder(parts: &[&str], only: &[&str]) {
    let Some(root) = data() else { return };
    let path = parts.iter().fold(root, |path, part| path.join(part));
    let all = folder(&path);
    let mut tried = 0;
    for name in all.keys() {
        let wanted = only.is_empty() || only.iter().any(|text| name.contains(text));
        if !wanted || name.ends_with(".csv") || name.ends_with(".txt") {
            continue;
        }
        let stem = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem);
        let own: Folder = all
            .iter()
            .filter(|(other, _)| other.starts_with(stem) || !name.ends_with(".hea"))
            .filter(|(other, _)| *other == name || name.ends_with(".hea"))
            .map(|(other, bytes)| (other.clone(), Arc::clone(bytes)))
            .collect();
        if read(source(&own, None), name, ReadOptions::default()).is_err() {
            continue;
        }
        for part in own.keys() {
            damage(&own, part, name);
            tried += 1;
        }
    }
    assert!(tried > 0, "nothing to damage in {}", path.display());
}

#[test]
fn damaged_wfdb_records_of_every_storage_format() {
    let only = [
        "binformats",
        "flacformats",
        "100_3chan",
        "310derive",
        "311derive",
        "3000003",
        "test01",
        "null",
        "100s",
        "v102s",
    ];
    damage_folder(&["wfdb", "formats"], &only);
}

#[test]
fn damaged_wfdb_records_with_byte_offset_and_annotations() {
    damage_folder(&["wfdb", "cinc2021"], &["E07500"]);
    damage_folder(&["wfdb", "cpsc2021"], &["data_101_6"]);
}

#[test]
fn damaged_wfdb_records_of_several_segments() {
    let Some(root) = data() else { return };
    let all = folder(&root.join("wfdb/formats/multi-segment/041s"));
    for part in all.keys() {
        damage(&all, part, "041s.hea");
    }
}

#[test]
fn damaged_edf_and_bdf_files() {
    damage_folder(
        &["edf"],
        &[
            "luna",
            "Hypnogram",
            "duplicate",
            "uneven",
            "subsecond",
            "generator_2",
        ],
    );
}

#[test]
fn damaged_scp_files() {
    damage_folder(&["scp"], &["Example"]);
    damage_folder(
        &["scp", "ecgtk"],
        &["Example_refbeat_d1", "bimodal4", "raw_none"],
    );
}

#[test]
fn damaged_xml_documents() {
    damage_folder(&["aecg"], &["minimum"]);
    damage_folder(&["musexml"], &["braveheart_example1"]);
    damage_folder(&["philipsxml"], &["129DYPRG"]);
}

#[test]
fn damaged_dicom_holter_monitor_and_sound_files() {
    damage_folder(&["dicom"], &["waveform_ecg"]);
    damage_folder(&["ishne"], &[]);
    damage_folder(&["mfer"], &[]);
    damage_folder(&["pcg", "cinc2016"], &["b0102.wav"]);
}
