//! Rules of the equipment, by the real programs: a sensor and then a box fall silent, somebody is
//! called for each, and each call ends when they speak again.
//!
//! Deliberately absent: batteries, room and clocks, which no program here can be made to have.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::clock::{StopWatch, wait_for};
use crate::given::Given;
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::visit::Stage;

const DEVICE: &str = "openbci-cyton";
/// A box looks at itself every five seconds, and the gateway at its boxes every fifteen.
const LIMIT: Duration = Duration::from_secs(180);

/// A box is silent sooner than it would be in the field.
const RULES: &str = "\n[[rule]]\nname = \"box-silent\"\nversion = 2\nlimit = \"12 s\"\n\
                     limit_unattended = \"12 s\"\n";

/// What is told of the silence.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    given: Given,
}

/// Lets both fall silent and speak again. `true` when each was told and taken back.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let stage = Stage::set(options.given.folder(temporary.path()), programs)?;
    let rules = stage.folder().join("rules.toml");
    let mut rules = std::fs::OpenOptions::new().append(true).open(rules)?;
    rules.write_all(RULES.as_bytes())?;
    let _gateway = stage.start_gateway()?;
    let seed = options.given.seed.to_string();
    let sensor = ["--device", DEVICE, "--seed", &seed, "--duration", "24h"].map(str::to_owned);
    let mut sim = stage.start_sim(&sensor)?;
    let inputs = wait_for("the sensor's ledger", LIMIT, || {
        Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
    })?;
    stage.enrol(DEVICE, &inputs)?;
    let mut box_ = stage.start_agent()?;
    wait_for("a stream", LIMIT, || {
        let status = stage.agent_status()?.unwrap_or_default();
        Ok((status.pointer("/sources/0/state") == Some(&json!("streaming"))).then_some(()))
    })?;

    let watch = StopWatch::start();
    sim.kill()?;
    let text = wait_for("the silent sensor to be told", LIMIT, || {
        of(&stage, "source-silent", true)
    })?;
    tell("sensor", watch, &text);
    let _sim = stage.start_sim(&sensor)?;
    wait_for("that it speaks again", LIMIT, || {
        of(&stage, "source-silent", false)
    })?;

    let watch = StopWatch::start();
    box_.kill()?;
    let text = wait_for("the silent box to be told", LIMIT, || {
        of(&stage, "box-silent", true)
    })?;
    tell("box", watch, &text);
    box_ = stage.start_agent()?;
    wait_for("that it speaks again", LIMIT, || {
        of(&stage, "box-silent", false)
    })?;
    box_.must_run()?;
    result(
        "verdict       a silent sensor and a silent box were told, and taken back when they spoke",
    );
    Ok(true)
}

fn tell(who: &str, watch: StopWatch, text: &str) {
    let seconds = watch.elapsed().as_secs_f64();
    say(format!(
        "the {who} fell silent, and {seconds:.1} s later: {text}"
    ));
}

/// The text of the newest alert of a rule, once its condition goes on, or is over.
fn of(stage: &Stage, rule: &str, goes_on: bool) -> anyhow::Result<Option<String>> {
    let mut command = stage.gateway_does(&["alerts", "list", "--json"]);
    let output = command.output().context("cannot ask for the alerts")?;
    let Ok(list) = serde_json::from_slice::<Value>(&output.stdout) else {
        return Ok(None);
    };
    let alerts = list.get("alerts").and_then(Value::as_array);
    let mut alerts = alerts.into_iter().flatten();
    let found = alerts.find(|alert| alert.get("rule") == Some(&json!(rule)));
    let stands = found.filter(|alert| alert.get("ended").is_some_and(Value::is_null) == goes_on);
    let text = stands.and_then(|alert| alert.get("text_fr")?.as_str());
    Ok(text.map(str::to_owned))
}
