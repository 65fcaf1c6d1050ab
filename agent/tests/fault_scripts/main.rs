//! Scripts of faults by chance against every device that can be played: the simulator's player and
//! the box's own conversation, decoder, time line and segments, in virtual time. What is recorded
//! and what is named as missing must be what the ledger says, in place, length and cause; leads that
//! are off, a clock that jumps, a battery that runs low are said while they last, and only then.
//!
//! `FAULT_SCRIPTS` says how many are played (default 28), `FAULT_SEED` where chance starts; both
//! are printed, and a disagreement prints device, seed and script. `FAULT_ONLY="DEVICE SEED"`
//! plays one of them again, with the test of those that once disagreed (`found.txt`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod download;
mod judge;
mod script;
mod strap;
mod visit;

use std::collections::BTreeMap;

use cardio_firmware_sim::device::Device;

use crate::judge::disagreement;
use crate::script::{Chance, script};
use crate::visit::Visit;

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

fn given(name: &str, otherwise: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.map_or(otherwise, |text| text.parse().unwrap())
}

/// What came of the scripts of each device.
#[derive(Default)]
struct Table {
    rows: BTreeMap<&'static str, (u64, u64, u64)>,
    disagreements: Vec<String>,
}

impl Table {
    fn note(&mut self, device: &'static str, faults: u64, disagreement: Option<String>) {
        let row = self.rows.entry(device).or_default();
        row.0 += 1;
        row.1 += faults;
        row.2 += u64::from(disagreement.is_some());
        self.disagreements.extend(disagreement);
    }

    /// Prints the table, and fails if anything disagreed.
    fn settle(self) {
        println!("{:<24} scripts   faults  disagreements", "device");
        for (name, (scripts, faults, wrong)) in &self.rows {
            println!("{name:<24} {scripts:>7} {faults:>8} {wrong:>14}");
        }
        let all = &self.disagreements;
        assert!(
            all.is_empty(),
            "{} disagreements, the first:\n{}",
            all.len(),
            all[..all.len().min(100)].join("\n")
        );
    }
}

/// How many scripts there are, and where chance starts for each of them.
fn seeds() -> impl Iterator<Item = u64> {
    let (count, seed) = (given("FAULT_SCRIPTS", 28), given("FAULT_SEED", 1));
    println!("{count} scripts, FAULT_SEED={seed}");
    (0..count).map(move |number| seed.wrapping_mul(1_000_003).wrapping_add(number))
}

/// Plays one script; how many faults it has, and what disagrees.
fn play(device: &Device, seed: u64) -> (u64, Option<String>) {
    let script = script(device, &mut Chance(seed));
    let mut visit = Visit::new(device.clone(), &script, seed);
    visit.play();
    let why = disagreement(&visit).map(|why| {
        let name = device.name;
        format!("{name} {seed}: {why} #{}", script.replace('\n', " "))
    });
    (wide(script.matches("[[fault]]").count()), why)
}

#[test]
fn any_script_on_any_device_is_recorded_as_its_ledger_tells_it() {
    let mut devices = Device::all();
    devices.retain(|device| !device.sees_beats());
    let mut table = Table::default();
    for (seed, device) in seeds().zip(devices.iter().cycle()) {
        let (faults, why) = play(device, seed);
        table.note(device.name, faults, why);
    }
    table.settle();
}

#[test]
fn any_script_on_a_strap_that_tells_beats_is_recorded_as_its_ledger_tells_it() {
    let device = Device::by_name("sig-hrs").unwrap();
    let mut table = Table::default();
    for seed in seeds() {
        let (faults, why) = play(&device, seed);
        table.note(device.name, faults, why);
    }
    table.settle();
}

#[test]
fn scripts_that_once_disagreed_do_so_no_more() {
    let mut table = Table::default();
    let told = std::env::var("FAULT_ONLY").ok();
    let found = told.as_deref().unwrap_or(include_str!("found.txt"));
    for line in found.lines().filter(|line| !line.starts_with('#')) {
        let (name, seed) = line.split_once(' ').unwrap();
        let device = Device::by_name(name).unwrap();
        let (faults, why) = play(&device, seed.parse().unwrap());
        table.note(device.name, faults, why);
    }
    table.settle();
}

#[test]
fn any_script_on_any_download_leaves_every_recording_whole() {
    let mut table = Table::default();
    for (seed, device) in seeds().zip(download::KEEPERS.into_iter().cycle()) {
        let (faults, why) = download::visit(device, &mut Chance(seed));
        let why = why.map(|why| format!("{device} {seed}: {why}"));
        table.note(device, faults, why);
    }
    table.settle();
}
