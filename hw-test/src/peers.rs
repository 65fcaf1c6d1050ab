//! The record beside software that others wrote: a FHIR server that it is pushed to, and client
//! libraries that read, search and write it.
//!
//! The server is started only when the record has been waiting for it, and stands still for a
//! while in the middle. Deliberately absent: how it and the libraries are installed; see
//! `judges/peers.sh`.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::child::Program;
use crate::clock::wait_for;
use crate::given::Judges;
use crate::judge::fhir::FhirServer;
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::ports;
use crate::programs::Programs;
use crate::visit::{SUBJECT, Stage, fictitious_patient};

/// The simulated sensor, and how long it sends.
const DEVICE: &str = "openbci-cyton";
const SENDS_FOR: &str = "12s";

/// How long programs may take to come up, to go, or to have everything filed and pushed.
const LIMIT: Duration = Duration::from_secs(60);

/// Reports as messages of secure health mail.
const MSSANTE: &str = include_str!("../../gateway/tests/mssante.toml");

/// Plays the visit and asks the judges. `true` when everything is as it must be.
pub(crate) fn run(options: &Judges) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let mut stage = Stage::set(folder.path(), programs)?;
    let port = ports::free()?;
    stage.configure_gateway(&format!(
        "[[push]]\nname = \"peer\"\nbase = \"http://127.0.0.1:{port}/r4\"\nplain = true\n{MSSANTE}"
    ))?;
    let _gateway = stage.start_gateway()?;
    stage.record()?.put(&fictitious_patient(SUBJECT))?;
    let mut sim =
        stage.start_sim(&["--device", DEVICE, "--duration", SENDS_FOR].map(str::to_owned))?;
    let inputs = wait_for("the sensor's ledger", LIMIT, || {
        Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
    })?;
    stage.enrol(DEVICE, &inputs)?;
    let mut agent = stage.start_agent()?;
    let away = wait_for("the server that is away to be missed", LIMIT, || {
        Ok(standing(&stage)?.filter(|one| one["failure"].is_string()))
    })?;
    say(format!("away: {}", away["failure"]));
    let mut server = start_server(options, folder.path(), port)?;
    wait_for("something to arrive", LIMIT, || {
        Ok(standing(&stage)?.filter(|one| one["failure"].is_null()))
    })?;
    server.freeze()?;
    std::thread::sleep(Duration::from_secs(2));
    server.thaw()?;
    sim.wait(LIMIT)?;
    stage.wait_until_read()?;
    agent.stop(LIMIT)?;
    wait_for("everything to be filed and pushed", LIMIT, || {
        let due = stage.gateway_status()?["record"]["reports_due"] == 0;
        Ok(standing(&stage)?.filter(|one| due && one["behind"] == 0))
    })?;
    server.must_run()?;
    let pushed = compare(&stage.record()?, port)?;
    result(format!(
        "pushed        {pushed} resources are there as they are here"
    ));
    let clients = clients(options, &stage)? && letter(options, &stage)?;
    result(if clients {
        "verdict       another server and other clients see the record as it is"
    } else {
        "verdict       FAILED: a client sees something else"
    });
    Ok(clients)
}

/// Where the gateway stands with the server.
fn standing(stage: &Stage) -> anyhow::Result<Option<Value>> {
    let one = stage.gateway_status()?["push"][0].take();
    ensure!(one["refused"] == 0, "the server refused something: {one}");
    Ok(Some(one))
}

fn start_server(options: &Judges, folder: &Path, port: u16) -> anyhow::Result<Program> {
    let mut command = Command::new("node");
    command
        .arg(options.judges.join("server.mjs"))
        .arg(&options.installed)
        .arg(port.to_string());
    Program::start("server", command, folder)
}

/// Compares every resource of the record with the one of the other server; answers how many.
fn compare(record: &FhirServer, port: u16) -> anyhow::Result<usize> {
    let capabilities = record.read("metadata")?;
    let kinds = capabilities["rest"][0]["resource"].as_array().cloned();
    let mut count = 0;
    for kind in kinds.unwrap_or_default() {
        let kind = kind["type"].as_str().context("a resource without a type")?;
        if kind == "AuditEvent" {
            continue;
        }
        for mut here in record.search(&format!("{kind}?_count=100"))? {
            let id = here["id"]
                .as_str()
                .context("a resource without an id")?
                .to_owned();
            let url = format!("http://127.0.0.1:{port}/r4/{kind}/{id}");
            let answer = ureq::get(&url)
                .call()
                .with_context(|| format!("no {kind}/{id}"))?;
            let mut there: Value = answer
                .into_body()
                .with_config()
                .limit(256 * 1024 * 1024)
                .read_json()
                .with_context(|| format!("{url} gave no JSON"))?;
            // The bytes of a document are an answer of their own here.
            if kind == "Binary" {
                let bytes = there["data"].as_str().unwrap_or_default().len();
                ensure!(bytes > 0, "{kind}/{id} came without its bytes");
                here["data"] = there["data"].clone();
            }
            for one in [&mut here, &mut there] {
                undress(one);
            }
            if here != there {
                bail!("{kind}/{id} differs: here {here}, there {there}");
            }
            count += 1;
        }
    }
    ensure!(count > 10, "only {count} resources were filed");
    Ok(count)
}

/// Without what each server says of its own versions.
fn undress(resource: &mut Value) {
    let Some(map) = resource.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(meta)) = map.get_mut("meta") {
        meta.retain(|name, _| !matches!(name.as_str(), "versionId" | "lastUpdated" | "author"));
        if meta.is_empty() {
            map.remove("meta");
        }
    }
}

/// A doctor signs the report and has it as a message; `true` when Python's readers of mail, archives
/// and XML find in it what must be there.
fn letter(options: &Judges, stage: &Stage) -> anyhow::Result<bool> {
    let record = stage.record()?;
    let mut patient = record.read(&format!("Patient/{SUBJECT}"))?;
    patient["managingOrganization"] = json!({"reference": "Organization/team"});
    record.put(&patient)?;
    record.put(&json!({"resourceType": "Organization", "id": "team", "name": "Équipe d'essai"}))?;
    record.put(&json!({
        "resourceType": "Practitioner", "id": "d1",
        "name": [{"family": "ESSAI", "given": ["DOCTEUR"]}],
        "identifier": [{"system": "https://rpps.esante.gouv.fr", "value": "10101010101"}],
    }))?;
    let adding = [
        "accounts",
        "add",
        "doctor",
        "--role",
        "cardiologist",
        "--practitioner",
        "Practitioner/d1",
        "--all-patients",
        "--no-password",
    ];
    let added = stage.gateway_does(&adding).output()?;
    ensure!(
        added.status.success(),
        "no account can be made: {}",
        String::from_utf8_lossy(&added.stderr)
    );
    let token = stage.gateway_does(&["accounts", "token", "doctor", "--label", "judge"]);
    let token = { token }.output().context("no token")?.stdout;
    let token = String::from_utf8(token).context("no token")?;
    let mut reader = Command::new(options.installed.join("venv/bin/python"));
    reader.arg(options.judges.join("letter.py"));
    reader.env("REQUESTS_CA_BUNDLE", stage.authority());
    reader.env("CARDIO_FHIR_BASE", stage.fhir_base());
    reader.env("CARDIO_FHIR_TOKEN", token.trim());
    let status = reader.status().context("a reader cannot be started")?;
    Ok(status.success())
}

/// Lets the clients see the record; `true` when all are content.
fn clients(options: &Judges, stage: &Stage) -> anyhow::Result<bool> {
    let token = std::fs::read_to_string(stage.token()).context("no token")?;
    let mut kit = Command::new("node");
    kit.arg(options.judges.join("kit.mjs"))
        .arg(&options.installed);
    kit.env("NODE_EXTRA_CA_CERTS", stage.authority());
    let mut python = Command::new(options.installed.join("venv/bin/python"));
    python.arg(options.judges.join("client.py"));
    python.env("REQUESTS_CA_BUNDLE", stage.authority());
    let mut content = true;
    for mut client in [kit, python] {
        client.env("CARDIO_FHIR_BASE", stage.fhir_base());
        client.env("CARDIO_FHIR_TOKEN", token.trim());
        let status = client.status().context("a client cannot be started")?;
        content &= status.success();
    }
    Ok(content)
}
