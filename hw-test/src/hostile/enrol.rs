//! Enrolment over the network, and what changes in the life of a box that was enrolled so.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::ground::{Ground, Opened, Play, count};
use super::{Case, Observed, Place};
use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::visit::Stage;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "enrol",
        does: "a new box is killed before it is let in; keys and certificate change in its visit",
        run: enrol,
    },
    Case {
        name: "enrol-middle",
        does: "another gateway answers where a new box enrols",
        run: middle,
    },
    Case {
        name: "enrol-refused",
        does: "wrong codes, wrong words, and an operator who refuses a new box",
        run: refuse,
    },
];

const LIMIT: Duration = Duration::from_secs(40);

/// How long a certificate holds where it is renewed during a visit.
const LIFE: (&str, Duration) = ("24s", Duration::from_secs(24));

/// What the new box is called.
const NAME: &str = "FR75-012";

/// Exit status of `enrol` while an operator has to decide, and once one has refused.
const PENDING: i32 = 1;
const REFUSED: i32 = 2;

fn enrol(place: &Place) -> anyhow::Result<Observed> {
    let mut stage = Stage::set(&place.folder, place.programs.clone())?;
    stage.certify_for(LIFE.0)?;
    let opened = Opened::on(stage, place.seed)?;
    opened.stage.configure_box()?;
    let words = let_in(&opened.stage)?;
    let watch = StopWatch::start();

    let upstream = opened.stage.gateway_address();
    let ready = opened.ready_enrolled(&Play::visit(34), upstream)?;
    let before = enrolment(&ready.stage)?;
    let mut ground = ready.start()?;
    ground.connected()?;
    let files = closed(&ground)?;
    rotate(&ground)?;
    ground.counter_until("certificates_renewed", 1, LIMIT)?;
    watch.sleep_until(LIFE.1 + Duration::from_secs(1));
    let filed = ground.box_until("an answer", LIMIT, |_| true)?;
    ground.restart_gateway()?;
    ground.box_until("the box to be let in again", LIMIT, |status| {
        status["uplink"]["connected"] == true
            && count(&status["store"]["filed"]) > count(&filed["store"]["filed"])
    })?;
    let after = enrolment(&ground.stage)?;
    for (part, key, changes) in [
        ("keys", "tls_certificate", true),
        ("gateway", "recipient_key", true),
        ("gateway", "control_key", true),
        ("keys", "tls_key", false),
        ("keys", "frame_key", false),
    ] {
        let (old, new) = (entry(&before, part, key)?, entry(&after, part, key)?);
        ensure!((old != new) == changes, "{part}.{key} of the enrolment");
    }
    Ok(vec![
        format!(
            "both showed {} words, also after the kill; {files} files are closed to others",
            words.split_whitespace().count()
        ),
        "both keys of the gateway were changed, and the first certificate outlived".to_owned(),
        ground.judge_whole()?,
    ])
}

/// Lets the box in, which is killed while it waits; gives the six words.
fn let_in(stage: &Stage) -> anyhow::Result<String> {
    let invitation = asked(stage, &["boxes", "invite", NAME, "--json"])?;
    let qr = text(&invitation, "qr")?;
    let mut first = Program::start(
        "enrol",
        stage.box_does(&["enrol", "--qr", qr]),
        stage.folder(),
    )?;
    let words = words_in(stage, "enrol.log", &mut first)?;
    ensure!(
        visitor(stage)?["words"] == *words,
        "the gateway shows other words than the box"
    );
    first.kill()?;
    let the_same = ["enrol", "--qr", qr, "--no-wait"];
    ends_with(&mut stage.box_does(&the_same), PENDING)?;
    let mut second = Program::start("enrol-again", stage.box_does(&["enrol"]), stage.folder())?;
    let again = words_in(stage, "enrol-again.log", &mut second)?;
    ensure!(
        again == words,
        "other words after a kill: {words}, then {again}"
    );
    asked(stage, &["boxes", "confirm", NAME, "--words", &words])?;
    let status = second.wait(LIMIT)?;
    ensure!(status.success(), "{}", second.last_words());
    refused(
        &mut stage.box_does(&["enrol", "--qr", qr]),
        "enrol.enrolled",
    )?;
    Ok(words)
}

/// Changes both keys of the gateway, and waits until the box has said that it has them.
fn rotate(ground: &Ground) -> anyhow::Result<()> {
    for verb in ["rotate-recipient", "rotate-control"] {
        asked(&ground.stage, &["keys", verb])?;
    }
    wait_for("the box to have the new keys", LIMIT, || {
        let keys = asked(&ground.stage, &["keys", "list", "--json"])?;
        let behind = keys["boxes_behind"].as_array();
        let behind = behind.context("no list of boxes without the new keys")?;
        Ok(behind.is_empty().then_some(()))
    })
}

fn middle(place: &Place) -> anyhow::Result<Observed> {
    let opened = Opened::open(place)?;
    let stage = &opened.stage;
    stage.configure_box()?;
    let other = Stage::set(&place.folder.join("other"), place.programs.clone())?;
    let _other_gateway = other.start_gateway()?;
    let theirs = asked(&other, &["boxes", "invite", NAME, "--json"])?;
    let invitation = asked(stage, &["boxes", "invite", NAME, "--json"])?;
    let (hash, code) = (text(&invitation, "ca_sha256")?, text(&invitation, "code")?);

    let mut astray = manual(stage, text(&theirs, "address")?, hash, code);
    refused(&mut astray, "gate.untrusted")?;
    let mut misled = manual(
        stage,
        text(&invitation, "address")?,
        text(&theirs, "ca_sha256")?,
        code,
    );
    refused(&mut misled, "gate.untrusted")?;
    for (whose, one) in [("the other", &other), ("the right", stage)] {
        let asked = &one.gateway_status()?["counters"]["enrol_requests"];
        ensure!(*asked == 0, "{whose} gateway was told: {asked} request(s)");
    }
    let mut right = manual(stage, text(&invitation, "address")?, hash, code);
    ends_with(right.arg("--no-wait"), PENDING)?;
    let words = visitor(stage)?["words"].clone();
    let words = words.as_str().context("no words at the gateway")?;
    asked(stage, &["boxes", "confirm", NAME, "--words", words])?;
    ends_with(&mut stage.box_does(&["enrol"]), 0)?;
    Ok(vec![
        "told of another authority the box says gate.untrusted, and no code leaves it".to_owned(),
        "the same code enrols it at the right gateway".to_owned(),
    ])
}

fn refuse(place: &Place) -> anyhow::Result<Observed> {
    let opened = Opened::open(place)?;
    let stage = &opened.stage;
    stage.configure_box()?;
    let invitation = asked(stage, &["boxes", "invite", NAME, "--json"])?;
    let address = text(&invitation, "address")?;
    let hash = text(&invitation, "ca_sha256")?;
    let code = text(&invitation, "code")?;
    let claim = |code: &str| manual(stage, address, hash, code);

    refused(&mut claim(&wrong(code)), "gate.turned_away")?;
    ensure!(visitor(stage)?["wrong_codes"] == 1, "{}", visitor(stage)?);
    ends_with(claim(code).arg("--no-wait"), PENDING)?;
    let others = ["boxes", "confirm", NAME, "--words", "a b c d e f"];
    refused(&mut stage.gateway_does(&others), "enrol.words")?;
    asked(stage, &["boxes", "refuse", NAME])?;
    ends_with(&mut stage.box_does(&["enrol"]), REFUSED)?;
    refused(&mut stage.box_does(&["enrol"]), "enrol.nothing_begun")?;
    let left: Vec<_> = ["enrolment.toml", "enrolment.toml.enrolling"]
        .into_iter()
        .filter(|name| stage.folder().join(name).exists())
        .collect();
    ensure!(left.is_empty(), "left of a refused box: {left:?}");

    let second = asked(stage, &["boxes", "invite", "FR75-013", "--json"])?;
    let code = text(&second, "code")?;
    for _ in 0..5 {
        refused(&mut claim(&wrong(code)), "gate.turned_away")?;
    }
    refused(&mut claim(code), "gate.turned_away")?;
    Ok(vec![
        "a wrong code is turned away, five lock the invitation, also for the right one".to_owned(),
        "wrong words confirm nothing; of a refused box nothing is left".to_owned(),
    ])
}

/// `enrol` with what an operator reads out.
fn manual(stage: &Stage, address: &str, hash: &str, code: &str) -> Command {
    let mut command = stage.box_does(&["enrol"]);
    command.args(["--gateway", address, "--ca-sha256", hash, "--code", code]);
    command
}

/// The same code with another last digit.
fn wrong(code: &str) -> String {
    let mut wrong = code.to_owned();
    let last = wrong.pop();
    wrong.push(if last == Some('0') { '1' } else { '0' });
    wrong
}

/// The six words that `program` has written to the log `log`.
fn words_in(stage: &Stage, log: &str, program: &mut Program) -> anyhow::Result<String> {
    wait_for("the box to show its words", LIMIT, || {
        program.must_run()?;
        let said = std::fs::read_to_string(stage.folder().join(log))?;
        let mut lines = said
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let words = lines.find_map(|line| line.strip_prefix("PENDING"));
        Ok(words.map(|words| words.trim().to_owned()))
    })
}

/// What the gateway shows of the one invitation.
fn visitor(stage: &Stage) -> anyhow::Result<Value> {
    let shown = asked(stage, &["boxes", "pending", "--json"])?;
    Ok(shown["invitations"][0].clone())
}

/// What the gateway's program answers; null when it prints nothing.
fn asked(stage: &Stage, verb: &[&str]) -> anyhow::Result<Value> {
    let output = stage.gateway_does(verb).output();
    let output = output.context("cannot run cardio-gateway")?;
    if !output.status.success() {
        bail!("{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    if output.stdout.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{verb:?} gives no JSON"))
}

/// Runs a program that must fail with `code`.
fn refused(command: &mut Command, code: &str) -> anyhow::Result<()> {
    let output = command.output().context("cannot run a program")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_told = said.lines().any(|line| line.trim_end().ends_with(code));
    ensure!(
        !output.status.success() && is_told,
        "not {code} but {}: {said}",
        output.status
    );
    Ok(())
}

/// Runs a program that must end with `status`.
fn ends_with(command: &mut Command, status: i32) -> anyhow::Result<()> {
    let output = command.output().context("cannot run a program")?;
    ensure!(
        output.status.code() == Some(status),
        "{command:?}: {}, not {status}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn text<'a>(value: &'a Value, name: &str) -> anyhow::Result<&'a str> {
    let text = value[name].as_str();
    text.with_context(|| format!("the invitation has no {name}"))
}

fn enrolment(stage: &Stage) -> anyhow::Result<toml::Table> {
    let path = stage.folder().join("enrolment.toml");
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).context("an enrolment that is no TOML")
}

fn entry<'a>(table: &'a toml::Table, part: &str, key: &str) -> anyhow::Result<&'a str> {
    let found = table.get(part).and_then(|part| part.get(key)?.as_str());
    found.with_context(|| format!("the enrolment has no {part}.{key}"))
}

/// Neither program leaves a core dump, and nobody else can open a file of either; gives how
/// many files that are. That a process cannot be read by its own user's others shows only
/// where the rig does not run as root, to whom everything belongs.
fn closed(ground: &Ground) -> anyhow::Result<usize> {
    for program in [&ground.agent, &ground.gateway] {
        let folder = format!("/proc/{}", program.pid());
        let limits = std::fs::read_to_string(format!("{folder}/limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core: Vec<_> = core.unwrap_or_default().split_whitespace().collect();
        ensure!(
            core.get(4..6) == Some(&["0", "0"]),
            "a core dump is possible: {core:?}"
        );
        let memory = std::fs::metadata(format!("{folder}/environ"))?;
        ensure!(memory.uid() == 0, "the memory of {folder} can be read");
    }
    let stage = &ground.stage;
    let mut files = private(&stage.folder().join("enrolment.toml"))?;
    for state in [stage.agent_state(), stage.gateway_state()] {
        files += private(&state)?;
    }
    Ok(files)
}

/// How many files lie at and below `path`, all of which are their owner's only.
fn private(path: &Path) -> anyhow::Result<usize> {
    let metadata = match std::fs::symlink_metadata(path) {
        // a journal of a database comes and goes
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        metadata => metadata.with_context(|| format!("cannot look at {}", path.display()))?,
    };
    let mode = metadata.permissions().mode();
    ensure!(
        mode & 0o077 == 0,
        "{} is open to others: {mode:o}",
        path.display()
    );
    if !metadata.is_dir() {
        return Ok(1);
    }
    let mut files = 0;
    for entry in std::fs::read_dir(path)? {
        files += private(&entry?.path())?;
    }
    Ok(files)
}
