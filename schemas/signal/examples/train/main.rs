//! Learns the reviewed trees of this crate from public recordings, and measures them on
//! records that they did not see.
//!
//! `cargo run --release -p cardio-signal --example train -- qrs|beat|af|quality|limbs [--write FOLDER]` with
//! `CARDIO_DATA` naming the data folder. Cross-validated figures are printed unless `--quick` is
//! given; `--write` keeps the trees learnt from all records.
#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a learning program: it prints, and its data are checked recordings"
)]
// Each example uses its own part of what they share.
mod af;
mod beat;
#[expect(dead_code, reason = "shared with the evaluation program")]
#[path = "../evaluate/beats.rs"]
mod beats;
mod boost;
#[path = "../evaluate/data.rs"]
mod data;
mod limbs;
#[expect(dead_code, reason = "shared with the evaluation program")]
#[path = "../evaluate/noise.rs"]
mod noise;
mod qrs;
mod quality;
#[path = "../evaluate/rhythms.rs"]
mod rhythms;
#[path = "../evaluate/strips.rs"]
mod strips;
#[path = "../evaluate/limbs.rs"]
mod swaps;

use std::path::{Path, PathBuf};

use data::Data;

fn main() {
    let Some(folder) = std::env::var_os("CARDIO_DATA") else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    let data = Data(PathBuf::from(folder));
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let place = asked.iter().position(|word| word == "--write");
    let write = place
        .and_then(|place| asked.get(place + 1))
        .map(PathBuf::from);
    let validate = !asked.iter().any(|word| word == "--quick");
    if asked.iter().any(|word| word == "qrs") {
        let path = write.as_ref().map(|folder| folder.join("qrs.txt"));
        qrs::learn(&data, path.as_deref(), validate);
    }
    if asked.iter().any(|word| word == "beat") {
        beat::learn(&data, write.as_deref(), validate);
    }
    if asked.iter().any(|word| word == "af") {
        let path = write.as_ref().map(|folder| folder.join("af.txt"));
        af::learn(&data, path.as_deref(), validate);
    }
    if asked.iter().any(|word| word == "limbs") {
        let path = write.as_ref().map(|folder| folder.join("limb-swap.txt"));
        limbs::learn(&data, path.as_deref());
    }
    if asked.iter().any(|word| word == "quality") {
        let path = write.as_ref().map(|folder| folder.join("sqi-lead.txt"));
        quality::learn(&data, path.as_deref());
    }
}

/// Keeps what was learnt.
fn keep(path: Option<&Path>, text: &str) {
    let Some(path) = path else { return };
    match std::fs::write(path, text) {
        Ok(()) => println!("wrote {}", path.display()),
        Err(error) => println!("cannot write {}: {error}", path.display()),
    }
}
