//! The visits of the day, by the real programs: a request goes down to the box, an exam comes back
//! to its request, a cancelled visit is forgotten, and the box's disk never names the patient.
//!
//! Deliberately absent: the raw card of the box (`stolen` reads one), and its memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::clock::wait_for;
use crate::given::Given;
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::stolen::words;
use crate::visit::Stage;

const DEVICE: &str = "openbci-cyton";
const BOX: &str = "FR75-012";
const LIMIT: Duration = Duration::from_secs(60);
/// The patient's name, and what else a thief would like to read.
const SECRETS: [&str; 4] = ["ESSAI-TOURNEE", "Célestine", "1931-02-28", "p-tournee"];

/// Which visits are played.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    given: Given,
}

/// Plays a day. `true` when all of it went as it must.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let mut stage = Stage::set(folder, programs)?;
    stage.record_nobody();
    let mut gateway = stage.start_gateway()?;
    team_with_a_visit(&stage)?;
    let seed = options.given.seed.to_string();
    let sensor = ["--device", DEVICE, "--seed", &seed, "--duration", "24h"];
    let _sim = stage.start_sim(&sensor.map(str::to_owned))?;
    let inputs = wait_for("the sensor's ledger", LIMIT, || {
        Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
    })?;
    stage.enrol(DEVICE, &inputs)?;
    must(stage.gateway_does(&["boxes", "team", BOX, "Organization/equipe"]))?;
    let mut box_ = stage.start_agent()?;

    let list = wait_for("the visits of the day", LIMIT, || listed(&stage, 1))?;
    ensure!(
        list.pointer("/visits/0/name") == Some(&Value::Null),
        "a name is shown unasked"
    );
    let named = must(stage.box_does(&["visits", "list", "--show-patient"]))?;
    ensure!(
        named.contains("ESSAI-TOURNEE Célestine"),
        "the nurse is not told who: {named}"
    );
    say("the visit is on the box's list, with a name for who asks for it");

    must(stage.box_does(&["visits", "choose", "1"]))?;
    let server = stage.record()?;
    let based = "DiagnosticReport?based-on=ServiceRequest/tournee";
    wait_for("the exam to be filed for its request", LIMIT, || {
        Ok((!server.search(based)?.is_empty()).then_some(()))
    })?;
    say("the exam is filed, and based on its request");

    gateway.kill()?;
    box_.kill()?;
    box_ = stage.start_agent()?;
    let text = wait_for("the box to say that it has no list", LIMIT, || {
        Ok(told(&stage, &["visits", "list"])?.filter(|text| text.contains("prochain contact")))
    })?;
    wait_for("capture without a request", LIMIT, || {
        let status = stage.agent_status()?.unwrap_or_default();
        let source = status.pointer("/sources/0");
        let at = |name: &str| source.and_then(|source| source.get(name));
        let streams = at("state") == Some(&json!("streaming"));
        Ok((streams && at("assigned") == Some(&json!(false))).then_some(()))
    })?;
    say(format!(
        "started without its gateway, the box says: {}",
        text.trim()
    ));

    gateway = stage.start_gateway()?;
    wait_for("the list to come back", LIMIT, || listed(&stage, 1))?;
    must(stage.box_does(&["visits", "choose", "tournee"]))?;
    stage.record()?.put(&request("revoked")?)?;
    let list = wait_for("the cancelled visit to be forgotten", LIMIT, || {
        listed(&stage, 0)
    })?;
    ensure!(
        list.get("withdrawn") == Some(&json!(1)),
        "the box does not say so: {list}"
    );
    let left = must(stage.box_does(&["visits", "list", "--show-patient"]))?;
    ensure!(
        !left.contains("ESSAI-TOURNEE"),
        "the box still names the patient: {left}"
    );
    ensure!(
        left.contains("effacées de ce boîtier"),
        "the nurse is not told: {left}"
    );
    say("the cancelled visit is gone from the box, which says so");

    box_.must_run()?;
    gateway.must_run()?;
    let searched = search(&stage.agent_state())?;
    box_.kill()?;
    result(format!(
        "verdict       visits went down, an exam came back, and {searched} bytes of the box name nobody"
    ));
    Ok(true)
}

/// A team, its patient and a request for around today; midnight may pass meanwhile.
fn team_with_a_visit(stage: &Stage) -> anyhow::Result<()> {
    let [family, given, born, id] = SECRETS;
    let record = stage.record()?;
    record.put(&json!({"resourceType": "Organization", "id": "equipe", "name": "Équipe"}))?;
    record.put(&json!({
        "resourceType": "Patient", "id": id, "active": true, "gender": "female", "birthDate": born,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "managingOrganization": {"reference": "Organization/equipe"},
    }))?;
    record.put(&request("active")?)
}

fn request(status: &str) -> anyhow::Result<Value> {
    let day = |days: &str| {
        let mut date = Command::new("date");
        date.args(["--utc", "--date", days, "+%F"]);
        Ok::<_, anyhow::Error>(must(date)?.trim().to_owned())
    };
    Ok(json!({
        "resourceType": "ServiceRequest", "id": "tournee", "status": status, "intent": "order",
        "subject": {"reference": format!("Patient/{}", SECRETS[3])},
        "code": {"text": "ECG 12 dérivations"},
        "occurrencePeriod": {"start": day("-2 days")?, "end": day("+2 days")?},
    }))
}

/// The box's list, once it has so many visits.
fn listed(stage: &Stage, visits: usize) -> anyhow::Result<Option<Value>> {
    let Some(text) = told(stage, &["visits", "list", "--json"])? else {
        return Ok(None);
    };
    let list: Value = serde_json::from_str(&text).context("the visits are no JSON")?;
    let found = list.get("visits").and_then(Value::as_array).map(Vec::len);
    let is_list = list.get("state") == Some(&json!("listed"));
    Ok((is_list && found == Some(visits)).then_some(list))
}

/// What the box says; nothing while its program does not answer.
fn told(stage: &Stage, verb: &[&str]) -> anyhow::Result<Option<String>> {
    let output = stage
        .box_does(verb)
        .output()
        .context("cannot ask the box")?;
    let text = String::from_utf8(output.stdout).context("the box's answer is no text")?;
    Ok(output.status.success().then_some(text))
}

fn must(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().context("cannot run a program")?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("its answer is no text")
}

/// Every file of the box's state: how many bytes were searched, none of which name the patient.
fn search(folder: &Path) -> anyhow::Result<usize> {
    let needles = words(&SECRETS);
    let (mut searched, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path())?;
                let found = needles.iter().find(|needle| {
                    bytes
                        .windows(needle.len())
                        .any(|window| window == needle.as_slice())
                });
                ensure!(
                    found.is_none(),
                    "{} names the patient",
                    entry.path().display()
                );
                searched += bytes.len();
            }
        }
    }
    ensure!(searched > 0, "the box has written nothing");
    Ok(searched)
}
