//! Alert rules on real recordings: each is tried by the gateway's own program on a recording that
//! shows what it is about, and on one that does not.
//!
//! Deliberately absent: rules of the equipment, which no recording shows, and how often a rule is
//! right; the figures of the detectors are measured elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::out::result;
use crate::programs;

/// Where the public recordings lie.
const DATA: &str = "CARDIO_DATA";

/// A recording, the rules that must call, and those that must not.
const CASES: [(&str, &[&str], &[&str]); 8] = [
    (
        "wfdb/mitdb/100",
        &[],
        &["af-suspected", "pause", "bradycardia", "tachycardia-severe"],
    ),
    // Fibrillation that stays, one that comes and goes, and a heart without.
    ("wfdb/cpsc2021/data_84_1", &["af-suspected"], &["asystole"]),
    ("wfdb/cpsc2021/data_101_6", &["af-suspected"], &["pause"]),
    ("wfdb/cpsc2021/data_21_8", &[], &["af-suspected"]),
    (
        "wfdb/mitdb/201",
        &["af-suspected", "pause", "bradycardia-severe"],
        &["asystole"],
    ),
    (
        "wfdb/mitdb/231",
        &["bradycardia"],
        &["af-suspected", "tachycardia-severe"],
    ),
    ("wfdb/mitdb/207", &["tachycardia-severe"], &["asystole"]),
    (
        "wfdb/nstdb/em",
        &["heart-rate-missing", "quality-insufficient"],
        &["af-suspected"],
    ),
];

/// Rules about the patient, all on.
const PRESCRIBED: [&str; 8] = [
    "asystole",
    "pause-long",
    "pause",
    "bradycardia-severe",
    "bradycardia",
    "tachycardia-severe",
    "tachycardia",
    "af-suspected",
];

/// How the rig runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// Why it cannot be run, if it cannot.
pub(crate) fn obstacle() -> Option<String> {
    std::env::var_os(DATA)
        .is_none()
        .then(|| format!("skipped: {DATA} does not say where the public recordings lie"))
}

/// Tries every case. `true` when all went as they must.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let data = PathBuf::from(std::env::var_os(DATA).context("no recordings")?);
    let gateway = programs::gateway(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let config = folder.path().join("gateway.toml");
    let state = folder.path().join("state");
    std::fs::write(&config, format!("state = \"{}\"\n", state.display()))?;
    let rules = folder.path().join("rules.toml");
    std::fs::write(&rules, prescribed())?;
    let mut good = true;
    for (recording, calls, silent) in CASES {
        let mut command = Command::new(&gateway);
        command.args(["rules", "test", "--patient", "p1", "--json"]);
        command.arg(data.join(recording)).arg("--rules").arg(&rules);
        command.arg("--config").arg(&config);
        let called = called(command, Path::new(recording))?;
        let has = |rule: &&&str| called.iter().any(|one| one == **rule);
        let missing: Vec<_> = calls.iter().filter(|rule| !has(rule)).collect();
        let wrong: Vec<_> = silent.iter().filter(has).collect();
        let fits = missing.is_empty() && wrong.is_empty();
        good &= fits;
        result(format!(
            "{} {recording:26} called {called:?}{}",
            if fits { "well  " } else { "FAILED" },
            if fits {
                String::new()
            } else {
                format!("; silent {missing:?}, wrong {wrong:?}")
            }
        ));
    }
    Ok(good)
}

fn prescribed() -> String {
    let mut text = "schema = \"rules/1\"\nextends = \"default\"\n[[patient]]\nsubject = \"p1\"\n\
                    set_by = \"PractitionerRole/cardio1\"\nversion = 1\n"
        .to_owned();
    for rule in PRESCRIBED {
        text += &format!("[patient.rule.{rule}]\nenabled = true\n");
    }
    text
}

/// The rules that call, each once.
fn called(mut command: Command, recording: &Path) -> anyhow::Result<Vec<String>> {
    let output = command.output().context("cannot run the gateway")?;
    // 0 nothing, 1 alerts, 2 could not analyse: all of them come with the document.
    let told: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("{}: {said}", recording.display())
    })?;
    let alerts = told.get("alerts").and_then(Value::as_array);
    let alerts = alerts.context("the answer names no alerts")?;
    let rules = alerts
        .iter()
        .filter_map(|alert| alert.get("rule")?.as_str());
    let mut rules: Vec<String> = rules.map(str::to_owned).collect();
    rules.sort();
    rules.dedup();
    ensure!(told.get("seconds").is_some(), "the answer has no length");
    Ok(rules)
}
