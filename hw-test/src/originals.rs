//! Files as a recorder or a sensor made them, by the real programs: what lies in the drop folder
//! and what a sensor kept is read back from the record byte for byte, on a box that is left
//! alone and on one that is killed again and again.
//!
//! A recording of the sensor is judged by what the simulator says that it put into its memory:
//! the file is taken apart here, by the maker's published layout. Deliberately absent: samples of
//! the exams, which visits compare.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

mod er1;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::child::Program;
use crate::clock::wait_for;
use crate::given::Given;
use crate::judge::fhir::FhirServer;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::visit::{SUBJECT, Stage, fictitious_patient};
use crate::week::holter::Holter;

const SENSOR: &str = "viatom-er1";
/// Where the simulator puts its only sensor.
const ADDRESS: &str = "C0:DE:CA:FE:00:01";
const LIMIT: Duration = Duration::from_secs(300);
/// What the sensor kept before the visit.
const KEPT: [&str; 2] = ["10min", "3min"];
/// So many records are filed when the box is killed: among the samples, among the parts, near
/// the end.
const KILLS: [u64; 4] = [200, 800, 1_100, 1_300];

/// Which box is played.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    given: Given,
}

/// Lets files travel, undisturbed and not. `true` when each was read back as it was, once.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    for (name, kills) in [("undisturbed", &[][..]), ("killed", &KILLS[..])] {
        let bytes = play(&folder.join(name), &programs, options.given.seed, kills)?;
        say(format!(
            "{name}: {} file(s), {} bytes, each read back as it was",
            bytes.len(),
            bytes.iter().sum::<usize>()
        ));
    }
    result("verdict       what came as a file is in the record as that file, once");
    Ok(true)
}

/// One box, from its files to the record; answers the sizes of what was read back.
fn play(
    folder: &Path,
    programs: &Programs,
    seed: u64,
    kills: &[u64],
) -> anyhow::Result<Vec<usize>> {
    let mut stage = Stage::set(folder, programs.clone())?;
    let bus = folder.join("bus");
    let address = format!("unix:path={}", bus.display());
    stage.set_agent_environment(&[("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())]);
    std::fs::create_dir_all(stage.recorder()).context("no drop folder")?;
    stage.capture(&format!(
        "[capture]\nrecordings_every = \"1s\"\n\
         [import]\nfolder = \"{}\"\nsubject = \"{SUBJECT}\"\nquiet_for = \"1s\"\n\
         [[source]]\nname = \"patch\"\nkind = \"ble\"\ndevice = \"{SENSOR}\"\n\
         recordings = \"fetch\"\nsubject = \"{SUBJECT}\"\n",
        stage.recorder().display()
    ));
    stage.add_box("FR75-012", "enrolment.toml")?;
    stage.configure_box()?;
    let _gateway = stage.start_gateway()?;
    let server = stage.record()?;
    server.put(&fictitious_patient(SUBJECT))?;
    let _sensor = sensor(&stage, programs, seed, &bus)?;
    let holter = Holter {
        hours: 1,
        seed,
        ended_s_ago: 3_600,
    };
    holter.lie_in(&stage.recorder(), "holter")?;
    let pairing = stage.box_does(&["sources", "pair", "patch", ADDRESS]);
    pair(pairing, &address)?;
    let mut agent = stage.start_agent()?;
    for kill in kills {
        wait_for("the next moment to kill the box", LIMIT, || {
            agent.must_run()?;
            let status = stage.gateway_status()?;
            Ok((status["record"]["records"].as_u64() >= Some(*kill)).then_some(()))
        })?;
        agent.kill()?;
        agent = stage.start_agent()?;
    }
    let wanted = 2 + KEPT.len();
    let documents = wait_for("every file to be in the record", LIMIT, || {
        agent.must_run()?;
        let found = originals(&server)?;
        Ok((found.len() >= wanted).then_some(found))
    })?;
    ensure!(documents.len() == wanted, "{} documents", documents.len());
    agent.kill()?;
    judge(&stage, &server, &documents)
}

fn sensor(stage: &Stage, programs: &Programs, seed: u64, bus: &Path) -> anyhow::Result<Program> {
    let mut command = Command::new(&programs.sim);
    command.args(["play", "--device", SENSOR, "--bus"]).arg(bus);
    command.args(["--seed", &seed.to_string(), "--duration", "1h"]);
    command.arg("--ledger").arg(stage.ledger());
    for span in KEPT {
        command.args(["--keep", span]);
    }
    let mut sensor = Program::start("sim-air", command, stage.folder())?;
    wait_for("the sensor", LIMIT, || {
        sensor.must_run()?;
        Ok(bus.exists().then_some(()))
    })?;
    Ok(sensor)
}

fn pair(mut command: Command, bus: &str) -> anyhow::Result<()> {
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
    let output = command.output().context("cannot pair the sensor")?;
    if !output.status.success() {
        bail!(
            "the sensor cannot be paired: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The documents that are files as they came: what the box made of an exam is described by
/// nothing.
fn originals(server: &FhirServer) -> anyhow::Result<Vec<Value>> {
    let mut found = server.search(&format!("DocumentReference?patient={SUBJECT}"))?;
    found.retain(|one| one["description"].is_string());
    Ok(found)
}

/// Compares every document with what there was.
fn judge(stage: &Stage, server: &FhirServer, documents: &[Value]) -> anyhow::Result<Vec<usize>> {
    let done = stage.recorder().join("done");
    let mut files = Vec::new();
    for name in ["holter.hea", "holter.dat"] {
        files.push(std::fs::read(done.join(name)).with_context(|| name.to_owned())?);
    }
    let mut kept = er1::kept(&stage.ledger())?;
    ensure!(
        kept.len() == KEPT.len(),
        "the simulator kept {}",
        kept.len()
    );
    let mut sizes = Vec::new();
    for document in documents {
        let bytes = content(server, document)?;
        sizes.push(bytes.len());
        if let Some(at) = files.iter().position(|file| *file == bytes) {
            files.remove(at);
            continue;
        }
        let row = er1::samples(&bytes);
        let at = kept.iter().position(|kept| Some(kept) == row.as_ref());
        kept.remove(at.context("a document is none of the files that there were")?);
    }
    ensure!(
        files.is_empty() && kept.is_empty(),
        "a file is not in the record"
    );
    Ok(sizes)
}

/// The bytes of a document, which are as long as it says; it belongs to a report that is there.
fn content(server: &FhirServer, document: &Value) -> anyhow::Result<Vec<u8>> {
    let attachment = &document["content"][0]["attachment"];
    let url = attachment["url"].as_str().context("no address")?;
    let bytes = server.bytes(url)?;
    ensure!(
        attachment["size"] == bytes.len(),
        "another size: {document}"
    );
    let report = document["context"]["related"][0]["reference"].as_str();
    let report = server.read(report.context("no report")?)?;
    ensure!(report["resourceType"] == "DiagnosticReport", "no report");
    Ok(bytes)
}
