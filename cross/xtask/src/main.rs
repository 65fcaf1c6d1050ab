//! `cargo xtask`: what a machine can check about the shape of this workspace.
//!
//! Deliberately absent: building, testing and running the product; those are plain `cargo`.

mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Checks of the workspace itself")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Compares folders, crate arrows and third-party use with the tables of the house.
    ///
    /// Exit status 0 when everything is in its place, 1 with one line per finding otherwise.
    Tidy,
}

fn main() -> anyhow::Result<ExitCode> {
    let Verb::Tidy = Args::parse().verb;
    let root = workspace_root()?;
    let findings = tidy::check(&root)?;
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    eprintln!(
        "tidy: {} finding(s) in {}",
        findings.len(),
        tidy::CHECKS.join(", ")
    );
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The folder of the workspace's `Cargo.toml`: two above this crate's own.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.ancestors()
        .nth(2)
        .map(PathBuf::from)
        .context("cannot find the workspace above cross/xtask")
}
