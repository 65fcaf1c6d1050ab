//! Learns the quality model of heart sounds from labelled recordings and prints its file,
//! ready to be reviewed: `CARDIO_DATA=... cargo run --release -p cardio-signal --example train_pcg`.
#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a program of the workbench, over data that was checked"
)]

use std::path::PathBuf;

#[path = "pcg/learn.rs"]
mod learn;
#[path = "pcg/records.rs"]
#[expect(dead_code, reason = "shared with the evaluation program")]
mod records;

use learn::{Example, auc, held_out, learn};

fn main() {
    let Some(data) = std::env::var_os("CARDIO_DATA").map(PathBuf::from) else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    let records = records::load(&data);
    let examples: Vec<Example> = records
        .iter()
        .map(|record| Example {
            features: record.analyse(false).summary.features,
            good: record.good,
        })
        .collect();
    let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
    let databases: Vec<char> = records.iter().map(records::Record::database).collect();
    let by_record = auc(&held_out(&examples, &names), &examples);
    let by_database = auc(&held_out(&examples, &databases), &examples);
    let bad = examples.iter().filter(|example| !example.good).count();
    println!("# Quality of heart sounds: bias + sum of WEIGHT * (feature - MEAN) / DEVIATION.");
    println!("# Learnt by examples/train_pcg.rs from PhysioNet/CinC Challenge 2016 (ODC-By 1.0),");
    println!(
        "# {} recordings, {bad} of them labelled unsure:",
        names.len()
    );
    for row in names.chunks(12) {
        println!("#   {}", row.join(" "));
    }
    println!(
        "# AUC on recordings left out one by one {by_record:.3}, database by database {by_database:.3}."
    );
    print!("{}", learn(&examples));
}
