//! Writes the seeds of every target under `corpus/`, made by the product's own encoders, writers
//! and simulated sensors, and from the contract's examples. Formats without a writer of ours are
//! taken from `CARDIO_DATA` when that is set, otherwise begin with a few bytes only.
//!
//! `cargo run --manifest-path schemas/fuzz/Cargo.toml --bin seeds [FOLDER]`

// Instrumented code needs the hooks of the fuzzer, also where it is not fuzzed.
use libfuzzer_sys as _;

mod recordings;
mod sensors;
mod wire;

use std::path::{Path, PathBuf};

/// One seed: the folder of its target, its own name, its bytes.
type Seed = (String, String, Vec<u8>);

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::args_os()
        .nth(1)
        .map_or_else(|| here.join("corpus"), PathBuf::from);
    let mut seeds = wire::seeds(&here.join("../cddl/examples"))?;
    seeds.extend(sensors::seeds());
    seeds.extend(recordings::seeds());
    for (target, name, bytes) in seeds {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

fn seed(target: &str, name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    (target.to_owned(), name.to_owned(), bytes.into())
}
