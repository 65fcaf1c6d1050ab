//! Feeds damaged files to every reader: `hammer ROUNDS [FORMAT]`.
//!
//! Seeds are small files of our own writers and, when `CARDIO_DATA` is set, real files of
//! the formats that are only read. A panic ends the run; the last line printed says which
//! seed and round to repeat.
#![expect(clippy::print_stdout, reason = "this program reports what it did")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_formats::ReadOptions;
use cardio_formats::read::read;
use cardio_formats::source::MemorySource;
use cardio_formats::write::{WRITABLE, WriteOptions, write};

/// Files that are read together; the first is opened.
struct Seed {
    name: String,
    files: Vec<(String, Vec<u8>)>,
}

/// Real files of formats without a writer: folder, file, files beside it, bytes kept.
const REAL: [(&str, &str, &[&str], usize); 7] = [
    ("philipsxml", "129DYPRG_1_03.XML", &[], 1 << 16),
    ("musexml", "braveheart_example1.xml", &[], 1 << 18),
    ("mfer", "test-file.MWF", &[], 2048),
    ("edf", "SC4001EC-Hypnogram.bdf", &[], 1 << 16),
    ("scp/ecgtk", "Example_refbeat_d1.scp", &[], 1 << 16),
    (
        "wfdb/formats",
        "flacformats.hea",
        &["flacformats.d0", "flacformats.d1", "flacformats.d2"],
        1 << 16,
    ),
    (
        "wfdb/formats",
        "binformats.hea",
        &[
            "binformats.d0",
            "binformats.d1",
            "binformats.d2",
            "binformats.d3",
            "binformats.d4",
            "binformats.d5",
            "binformats.d6",
            "binformats.d7",
            "binformats.d8",
            "binformats.d9",
        ],
        1 << 16,
    ),
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let rounds: u64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(10_000);
    let only = words.next();
    let mut seeds = written_seeds();
    seeds.extend(real_seeds());
    for seed in &seeds {
        if only
            .as_ref()
            .is_some_and(|only| !seed.name.contains(only.as_str()))
        {
            continue;
        }
        println!("{}: {rounds} rounds", seed.name);
        let (mut read_well, mut refused) = (0_u64, 0_u64);
        let mut chance = Chance(0x2545_F491_4F6C_DD1D);
        for _ in 0..rounds {
            if attempt(seed, &mut chance) {
                read_well += 1;
            } else {
                refused += 1;
            }
        }
        println!(
            "{}: {read_well} read, {refused} refused, no panic",
            seed.name
        );
    }
    ExitCode::SUCCESS
}

/// Damages one of the files and reads; whether it could be read.
fn attempt(seed: &Seed, chance: &mut Chance) -> bool {
    let target = chance.below(seed.files.len());
    let mut source = MemorySource::new();
    for (position, (name, bytes)) in seed.files.iter().enumerate() {
        let bytes = if position == target {
            damage(bytes, chance)
        } else {
            bytes.clone()
        };
        source = source.with(name, bytes);
    }
    let options = ReadOptions {
        strict: chance.below(8) == 0,
        max_samples: 1 << 24,
    };
    let name = seed.files.first().map_or("", |(name, _)| name.as_str());
    read(Arc::new(source), name, options).is_ok()
}

fn damage(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..=chance.below(6) {
        let at = chance.below(copy.len().saturating_add(1));
        let any = chance.byte();
        match chance.below(7) {
            0 => copy.truncate(at),
            1 => copy.insert(at.min(copy.len()), any),
            2 if at < copy.len() => drop(copy.remove(at)),
            3 => set(&mut copy, at, |_| any),
            4 => set(&mut copy, at, |byte| byte ^ (1 << (any % 8))),
            5 => (0..4).for_each(|next| set(&mut copy, at.saturating_add(next), |_| 0xFF)),
            _ => {
                let from = chance.below(copy.len().saturating_add(1)).min(copy.len());
                let len = chance.below(32);
                let piece: Vec<u8> = copy.iter().skip(from).take(len).copied().collect();
                let end = at.min(copy.len());
                copy.splice(end..end, piece);
            }
        }
    }
    copy
}

fn set(bytes: &mut [u8], at: usize, value: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value(*byte);
    }
}

/// A small generator, so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small places are as likely as all others together, because headers matter most.
    fn below(&mut self, limit: usize) -> usize {
        let wide = u64::try_from(limit.max(1)).unwrap_or(1);
        let reach = if self.next().is_multiple_of(2) {
            wide.min(512)
        } else {
            wide
        };
        usize::try_from(self.next() % reach).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        byte
    }
}

fn written_seeds() -> Vec<Seed> {
    let Some(recording) = small_recording() else {
        return Vec::new();
    };
    let options = WriteOptions { drop_facts: true };
    WRITABLE
        .into_iter()
        .filter_map(|format| {
            let written = write(&recording, format, "seed", options).ok()?;
            Some(Seed {
                name: format.name().to_owned(),
                files: written.files,
            })
        })
        .collect()
}

fn small_recording() -> Option<Recording> {
    let rate = SamplingRate::hz(500).ok()?;
    let calibration = Calibration::millivolts(200.0, 0.0).ok()?;
    let waveform = |lead: Lead| Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate,
        calibration: calibration.clone(),
        runs: vec![Run {
            first: SampleIndex(0),
            samples: (0..100).map(|at| (at * 37) % 301 - 150).collect(),
        }],
    };
    Some(Recording {
        format: "seed",
        name: "seed".to_owned(),
        start: Some(StatedStart {
            local: "2024-01-02T03:04:05".to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms: vec![waveform(Lead::I), waveform(Lead::II)],
        ..Recording::default()
    })
}

fn real_seeds() -> Vec<Seed> {
    let Some(root) = std::env::var_os("CARDIO_DATA").map(PathBuf::from) else {
        println!("CARDIO_DATA is not set: only formats with a writer are fed");
        return Vec::new();
    };
    REAL.iter()
        .filter_map(|(folder, name, beside, kept)| {
            let files = std::iter::once(name)
                .chain(beside.iter())
                .map(|name| {
                    let mut bytes = std::fs::read(root.join(folder).join(name)).ok()?;
                    bytes.truncate(*kept);
                    Some(((*name).to_owned(), bytes))
                })
                .collect::<Option<Vec<_>>>()?;
            Some(Seed {
                name: format!("{folder}/{name}"),
                files,
            })
        })
        .collect()
}
