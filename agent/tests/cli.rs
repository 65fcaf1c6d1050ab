//! The command line: what it prints and how it exits.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::process::{Command, Output};

use common::Bench;

fn agent(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cardio-agent"))
        .args(words)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_starts_with_two_examples() {
    let help = agent(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = out(&help);
    assert!(text.starts_with("Examples:\n  cardio-agent run"), "{text}");
    for verb in [
        "run", "status", "analyse", "inspect", "convert", "outbox", "config",
    ] {
        assert!(text.contains(&format!("\n  {verb} ")), "{verb} in {text}");
    }
}

#[test]
fn wrong_usage_is_64() {
    assert_eq!(agent(&["play"]).status.code(), Some(64));
    assert_eq!(agent(&["run", "--for", "30"]).status.code(), Some(64));
}

#[test]
fn the_default_configuration_is_printed_and_accepted() {
    let printed = agent(&["config", "default"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let shown = agent(&[
        "config",
        "show",
        "--json",
        "--config",
        file.to_str().unwrap(),
    ]);
    let document: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(document["schema"], "config/1");
    assert_eq!(document["store"]["cap"], "8GiB");
}

#[test]
fn a_misspelt_key_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, "[stor]\ncap = \"8GiB\"\n").unwrap();
    let checked = agent(&["config", "check", "--config", file.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(2));
    assert_eq!(
        err(&checked),
        format!(
            "error: unknown key `stor` in {}\n  try:     write `store` instead\n  code:    config.key.unknown\n",
            file.display()
        )
    );
}

#[test]
fn a_missing_configuration_says_how_to_make_one() {
    let missing = agent(&["run", "--config", "/nowhere/agent.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    let text = err(&missing);
    assert!(text.contains("because: No such file"), "{text}");
    assert!(text.contains("config default > FILE"), "{text}");
}

#[test]
fn a_box_with_its_files_checks_out() {
    let bench = Bench::new();
    let checked = bench.output(&["config", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    assert!(
        out(&checked).starts_with("OK   box FR75-012"),
        "{}",
        out(&checked)
    );
}

#[test]
fn a_missing_key_file_is_one_clear_error() {
    let bench = Bench::new();
    std::fs::remove_file(bench.dir.path().join("enrolment.toml")).unwrap();
    for words in [&["config", "check"][..], &["run"]] {
        let failed = bench.output(words);
        assert_eq!(failed.status.code(), Some(2));
        let text = err(&failed);
        assert!(text.contains("code:    enrolment.unreadable"), "{text}");
        assert!(text.contains("try:"), "{text}");
    }
}

#[test]
fn status_of_an_agent_that_does_not_run_exits_with_3() {
    let bench = Bench::new();
    let status = bench.output(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    assert!(
        err(&status).contains("control.not_running"),
        "{}",
        err(&status)
    );
}

/// Twenty seconds of two leads with a beat every second, the first at sample 105.
fn write_record(file: &std::path::Path) {
    let mut text = String::from("# rate_hz: 250\nI [mV],II [mV]\n");
    for sample in 0..250_i32 * 20 {
        let away = f64::from((sample % 250 - 105).abs());
        let peak = (1.0 - away / 5.0).max(0.0);
        let wave = 0.15 * (f64::from(sample) * 0.05).sin();
        text += &format!("{:.4},{:.4}\n", 0.6 * peak + wave, peak + wave);
    }
    std::fs::write(file, text).unwrap();
}

#[test]
fn a_record_is_inspected_and_analysed_in_its_own_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("beats.csv");
    write_record(&file);
    let json = |verb: &str| -> serde_json::Value {
        let told = agent(&[verb, file.to_str().unwrap(), "--json"]);
        assert_eq!(told.status.code(), Some(0), "{}", err(&told));
        serde_json::from_slice(&told.stdout).unwrap()
    };
    let inspected = json("inspect");
    assert_eq!(inspected["schema"], "inspect/1");
    assert_eq!(inspected["waveforms"][1]["samples"], 5_000);
    let analysed = json("analyse");
    assert_eq!(analysed["schema"], "analysis/1");
    assert_eq!(analysed["rate_hz"], 250.0);
    let beats = analysed["beats"]["samples"].as_array().unwrap();
    assert!((18..=20).contains(&beats.len()), "{beats:?}");
    for beat in beats {
        let at = beat.as_u64().unwrap() % 250;
        assert!(at.abs_diff(105) <= 8, "{at}");
    }
    assert_eq!(analysed["windows"].as_array().unwrap().len(), 2);
    assert!(analysed["coverage"]["analysable_s"].is_number());
    assert!(analysed["rhythm"].is_array());
    let intervals = &analysed["intervals"];
    assert_eq!(
        intervals["millis"].as_array().unwrap().len(),
        beats.len() - 1
    );
    assert!(intervals["variability"]["sdnn_ms"].as_f64().unwrap() < 20.0);
    let text = out(&agent(&["analyse", file.to_str().unwrap()]));
    assert!(text.contains("BEATS"), "{text}");
}

#[test]
fn scorers_are_given_the_files_that_they_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("beats.csv");
    write_record(&file);
    let exchange = |kind: &str| {
        let told = agent(&["analyse", file.to_str().unwrap(), "--exchange", kind]);
        assert_eq!(told.status.code(), Some(0), "{}", err(&told));
        out(&told)
    };
    let beats: serde_json::Value = serde_json::from_str(&exchange("beats")).unwrap();
    assert_eq!(beats["beats"]["fs"], 250.0);
    let count = |key: &str| beats["beats"][key].as_array().unwrap().len();
    assert_eq!(count("samples"), count("labels"));
    let quality = exchange("quality");
    assert!(
        quality.starts_with("id,label,score,cause\nbeats,"),
        "{quality}"
    );
    assert!(quality.contains("\nbeats/1/10,"), "{quality}");
    assert!(quality.lines().all(|line| line.matches(',').count() == 3));
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("record.edf");
    std::fs::write(&file, [0xFF; 600]).unwrap();
    for verb in ["analyse", "inspect"] {
        let failed = agent(&[verb, file.to_str().unwrap()]);
        assert_eq!(failed.status.code(), Some(2), "{verb}");
        assert!(
            err(&failed).contains("code:    format."),
            "{}",
            err(&failed)
        );
    }
}

#[test]
fn a_record_is_written_in_another_format_and_never_over_a_file_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("beats.csv");
    write_record(&file);
    let out_file = dir.path().join("beats.edf");
    let convert = |more: &[&str]| {
        let words = [
            "convert",
            file.to_str().unwrap(),
            out_file.to_str().unwrap(),
        ];
        agent(&[&words[..], more].concat())
    };
    let done = convert(&["--json"]);
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    let document: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(document["schema"], "convert/1");
    assert_eq!(document["from"], "csv");
    assert_eq!(document["files"][0]["name"], "beats.edf");
    let inspected = agent(&["inspect", out_file.to_str().unwrap(), "--json", "--strict"]);
    let document: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(document["format"], "edf");
    assert_eq!(document["waveforms"][1]["samples"], 5_000);

    let again = convert(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(
        err(&again).contains("code:    format.exists"),
        "{}",
        err(&again)
    );
    assert_eq!(convert(&["--force"]).status.code(), Some(0));
}

#[test]
fn a_conversion_that_contradicts_itself_is_wrong_usage() {
    let refused = agent(&["convert", "a.csv", "b.dcm", "--to", "edf"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(
        err(&refused).contains("convert.contradiction"),
        "{}",
        err(&refused)
    );
    let unknown = agent(&["convert", "a.csv", "b", "--to", "mp3"]);
    assert_eq!(unknown.status.code(), Some(64));
    assert!(
        err(&unknown).contains("possible values: wfdb, edf"),
        "{}",
        err(&unknown)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let shell = Command::new("sh")
        .args(["-c", "\"$0\" config default | head -n 1; exit 0"])
        .arg(env!("CARGO_BIN_EXE_cardio-agent"))
        .output()
        .unwrap();
    assert_eq!(err(&shell), "");
}

#[test]
fn real_records_are_analysed_in_the_indexes_of_the_file() {
    let Ok(data) = std::env::var("CARDIO_DATA") else {
        println!("skipped: CARDIO_DATA not set");
        return;
    };
    let record = format!("{data}/wfdb/mitdb/100");
    let analysed = agent(&["analyse", &record, "--json"]);
    assert_eq!(analysed.status.code(), Some(0), "{}", err(&analysed));
    let document: serde_json::Value = serde_json::from_slice(&analysed.stdout).unwrap();
    assert_eq!(document["schema"], "analysis/1");
    assert_eq!(document["rate_hz"], 360.0);
    assert_eq!(document["acceptable"], true);
    let beats = document["beats"]["samples"].as_array().unwrap();
    assert!(beats.len().abs_diff(2273) < 12, "{}", beats.len());
    let bpm = document["heart_rate"]["mean_bpm"].as_f64().unwrap();
    assert!((bpm - 75.5).abs() < 1.0, "{bpm}");
    let inspected = agent(&["inspect", &record, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(document["schema"], "inspect/1");
    assert_eq!(document["waveforms"][0]["label"], "MLII");
    assert_eq!(document["waveforms"][0]["samples"], 650_000);
}
