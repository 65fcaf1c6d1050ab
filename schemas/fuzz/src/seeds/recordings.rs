//! Small files of every format; each format has a folder of its own, so that it can be fed alone.

use std::path::{Path, PathBuf};

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart, Waveform};
use cardio_formats::write::{WRITABLE, WriteOptions, write};
use cardio_fuzz::NEXT_FILE;

use crate::{Seed, seed};

/// How files of formats without a writer begin.
const HEADS: [(&str, &[u8]); 5] = [
    ("muse-xml", b"<?xml version=\"1.0\"?><RestingECG><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>500</SampleBase><LeadData><LeadID>I</LeadID><WaveFormData>AAABAAIA</WaveFormData></LeadData></Waveform></RestingECG>"),
    ("philips-xml", b"<?xml version=\"1.0\"?><restingecgdata xmlns=\"http://www3.medical.philips.com\"><waveforms><parsedwaveforms dataencoding=\"Base64\" compressmethod=\"XLI\">AAAAAAAA</parsedwaveforms></waveforms></restingecgdata>"),
    ("mfer", b"\x40\x20MFR ECG                          \x01\x01\x01\x80\0"),
    ("bdf", b"\xFFBIOSEMI"),
    ("ishne-annotations", b"ANN  1.0"),
];

/// Real files of such formats below `CARDIO_DATA`: format, folder, files, bytes kept of each.
const REAL: [(&str, &str, &[&str], usize); 7] = [
    ("philips-xml", "philipsxml", &["129DYPRG_1_03.XML"], 1 << 16),
    ("muse-xml", "musexml", &["braveheart_example1.xml"], 1 << 16),
    ("mfer", "mfer", &["test-file.MWF"], 2048),
    ("bdf", "edf", &["SC4001EC-Hypnogram.bdf"], 1 << 14),
    ("scp", "scp/ecgtk", &["Example_refbeat_d1.scp"], 1 << 15),
    (
        "wfdb",
        "wfdb/formats",
        &[
            "flacformats.hea",
            "flacformats.d0",
            "flacformats.d1",
            "flacformats.d2",
        ],
        1 << 12,
    ),
    (
        "wfdb",
        "wfdb/formats",
        &[
            "binformats.hea",
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
        1 << 11,
    ),
];

/// Seeds of the target `formats`.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (format, head) in HEADS {
        seeds.push(seed(&folder(format), "head", head));
    }
    for rate_hz in [500, 8000] {
        let recording = small_recording(rate_hz);
        let options = WriteOptions { drop_facts: true };
        for format in WRITABLE {
            if let Ok(written) = write(&recording, format, "seed", options) {
                let name = format!("written-{rate_hz}");
                seeds.push(seed(&folder(format.name()), &name, joined(&written.files)));
            }
        }
    }
    if let Some(root) = std::env::var_os("CARDIO_DATA") {
        seeds.extend(real(Path::new(&root)));
    }
    seeds
}

fn folder(format: &str) -> String {
    format!("formats/{format}")
}

fn small_recording(rate_hz: u32) -> Recording {
    let rate = SamplingRate::hz(rate_hz).expect("the rate is above zero");
    let calibration = Calibration::millivolts(200.0, 0.0).expect("the gain is above zero");
    let waveform = |lead: Lead| Waveform {
        label: lead.name().to_owned(),
        kind: WaveformKind::Ecg(lead),
        rate,
        calibration: calibration.clone(),
        runs: vec![Run {
            first: SampleIndex(0),
            samples: (0..64).map(|at| (at * 37) % 301 - 150).collect(),
        }],
    };
    Recording {
        format: "seed",
        name: "seed".to_owned(),
        start: Some(StatedStart {
            local: "2024-01-02T03:04:05".to_owned(),
            utc_offset_minutes: None,
        }),
        waveforms: vec![waveform(Lead::I), waveform(Lead::II)],
        ..Recording::default()
    }
}

/// The first file, then each other one behind its name.
fn joined(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (at, (name, bytes)) in files.iter().enumerate() {
        if at > 0 {
            all.extend(NEXT_FILE);
            all.extend(name.as_bytes());
            all.push(b'\n');
        }
        all.extend(bytes);
    }
    all
}

fn real(root: &Path) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (format, below, names, kept) in REAL {
        let read = |name: &&str| {
            let path: PathBuf = root.join(below).join(name);
            let mut bytes = std::fs::read(path).ok()?;
            bytes.truncate(kept);
            Some(((*name).to_owned(), bytes))
        };
        let files: Option<Vec<_>> = names.iter().map(read).collect();
        match (files, names.first()) {
            (Some(files), Some(name)) => {
                seeds.push(seed(&folder(format), name, joined(&files)));
            }
            _ => eprintln!("seeds: {below} below CARDIO_DATA lacks one of {names:?}"),
        }
    }
    seeds
}
