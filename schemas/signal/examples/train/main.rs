//! Learns the reviewed trees of this crate from public recordings, and measures them on
//! records that they did not see.
//!
//! `cargo run --release -p cardio-signal --example train -- qrs [--write]` with
//! `CARDIO_DATA` naming the data folder. Without `--write` only the cross-validated figures
//! are printed.
#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a learning program: it prints, and its data are checked recordings"
)]
// Each example uses its own part of what they share.
#[expect(dead_code, reason = "shared with the evaluation program")]
#[path = "../evaluate/beats.rs"]
mod beats;
mod boost;
#[expect(dead_code, reason = "shared with the evaluation program")]
#[path = "../evaluate/data.rs"]
mod data;
mod qrs;

use std::path::PathBuf;

use data::Data;

fn main() {
    let Some(folder) = std::env::var_os("CARDIO_DATA") else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    let data = Data(PathBuf::from(folder));
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let write = asked.iter().any(|word| word == "--write");
    let validate = !asked.iter().any(|word| word == "--quick");
    if asked.iter().any(|word| word == "qrs") {
        qrs::learn(&data, write, validate);
    }
}

/// Where the reviewed files lie.
fn model_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("models")
        .join(name)
}
