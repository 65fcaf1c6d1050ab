//! A home visit, played by the real programs on one machine.

mod patient;
mod report;
mod scenario;
pub(crate) mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::given::Given;
use crate::judge::ledger::Ledger;
use crate::judge::record::FiledVisit;
use crate::out::say;
use crate::programs::Programs;
use crate::usage::Usage;

pub(crate) use patient::fictitious as fictitious_patient;
use report::Report;
use scenario::{Chaos, Scenario};
pub(crate) use stage::{SOURCE, SUBJECT, Stage};

/// How long everything that was captured may take to be filed after the last sample.
const FILED_LIMIT: Duration = Duration::from_secs(30);

/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How long the sensor may take to send its first frame once the box has started.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(20);

/// Which visit is played.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the visit to its end, compare what was filed with what was sent, exit 0 if equal.
    #[arg(long)]
    pub(crate) once: bool,
    /// What happens during the visit (a file of hw-test/scenarios).
    #[arg(long, default_value = "calm")]
    pub(crate) scenario: String,
    /// Play a real recording instead of a synthetic heart.
    #[arg(long, value_name = "FILE")]
    pub(crate) recording: Option<PathBuf>,
    /// The simulated sensor.
    #[arg(long, default_value = "openbci-cyton")]
    pub(crate) device: String,
    /// Length of the recording with --once.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// The programs of a visit while it runs.
struct Visit {
    stage: Stage,
    options: Options,
    scenario: Scenario,
    gateway: Program,
    agent: Program,
    sim: Program,
    usage: Usage,
}

/// Plays the visit. `true` when everything that was sent is in the record and nothing else.
pub(crate) fn play(options: &Options) -> anyhow::Result<bool> {
    let scenario = Scenario::load(&options.scenario)?;
    say(format!(
        "Visit \"{}\": {}",
        options.scenario, scenario.about
    ));
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let stage = Stage::set(folder, programs)?;
    let mut visit = Visit::begin(stage, options, scenario)?;
    if options.once {
        let judged = visit
            .run_to_the_end()
            .and_then(|report| report.tell(options));
        if !matches!(judged, Ok(true)) {
            let kept = temporary.keep();
            if options.given.keep.is_none() {
                say(format!("The visit's files are kept in {}", kept.display()));
            }
        }
        judged
    } else {
        visit.run_until_stopped()
    }
}

impl Visit {
    /// Starts gateway, sensor and box, in this order, and registers the patient.
    fn begin(stage: Stage, options: &Options, scenario: Scenario) -> anyhow::Result<Self> {
        let gateway = stage.start_gateway()?;
        stage.record()?.put(&patient::fictitious(stage::SUBJECT))?;
        let sim = stage.start_sim(&sensor_arguments(options, &scenario))?;
        let inputs = wait_for("the sensor's ledger", FIRST_FRAME_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.enrol(&options.device, &inputs)?;
        let agent = stage.start_agent()?;
        say(format!(
            "gateway pid {}, sensor {} pid {}, box pid {}",
            gateway.pid(),
            options.device,
            sim.pid(),
            agent.pid()
        ));
        let usage = Usage::default();
        let options = options.clone();
        Ok(Self {
            stage,
            options,
            scenario,
            gateway,
            agent,
            sim,
            usage,
        })
    }

    fn run_to_the_end(&mut self) -> anyhow::Result<Report> {
        let watch = self.wait_for_first_frame()?;
        let mut chaos = self.scenario.chaos.clone();
        chaos.sort_by_key(|event| event.at_ms);
        for event in chaos {
            watch.sleep_until(Duration::from_millis(event.at_ms));
            self.suffer(&event)?;
        }
        self.watch_progress(watch)?;
        self.stage.wait_until_read()?;
        self.usage.note(&self.agent, watch.elapsed())?;
        let status = self.stage.agent_status()?;
        self.agent.stop(STOP_LIMIT)?;
        let filed = self.wait_until_filed()?;
        self.sim.wait(STOP_LIMIT)?;
        let ledger = Ledger::read(&self.stage.ledger())?;
        let locked = self.stage.record()?.status_without_token("Patient")?;
        self.gateway.stop(STOP_LIMIT)?;
        Ok(Report {
            ledger,
            filed,
            expected_alerts: self.scenario.alerts.clone(),
            usage: self.usage.clone(),
            agent_status: status.unwrap_or(Value::Null),
            locked,
            folder: self.stage.folder().to_path_buf(),
        })
    }

    /// Plays on until somebody presses Ctrl-C or a program ends.
    fn run_until_stopped(&mut self) -> anyhow::Result<bool> {
        self.wait_for_first_frame()?;
        say("The visit is under way. Where to look:".to_owned());
        say(format!(
            "  record   {}/DiagnosticReport?patient={}",
            self.stage.fhir_base(),
            stage::SUBJECT
        ));
        say(format!("  trust    {}", self.stage.authority().display()));
        say(format!("  token    {}", self.stage.token().display()));
        say(format!("  files    {}", self.stage.folder().display()));
        say(format!(
            "  try      curl --cacert {} -H \"Authorization: Bearer $(cat {})\" '{}/Observation?patient={}&_count=3'",
            self.stage.authority().display(),
            self.stage.token().display(),
            self.stage.fhir_base(),
            stage::SUBJECT
        ));
        say("Ctrl-C ends it.".to_owned());
        loop {
            self.must_all_run()?;
            if let Some(status) = self.stage.agent_status()? {
                say(report::progress(&status));
            }
            StopWatch::start().sleep_until(Duration::from_secs(5));
        }
    }

    fn must_all_run(&mut self) -> anyhow::Result<()> {
        self.gateway.must_run()?;
        self.agent.must_run()?;
        self.sim.must_run()
    }

    fn wait_for_first_frame(&mut self) -> anyhow::Result<StopWatch> {
        wait_for("the first frame of the sensor", FIRST_FRAME_LIMIT, || {
            self.gateway.must_run()?;
            self.agent.must_run()?;
            self.sim.must_run()?;
            Ok(Ledger::has_frames(&self.stage.ledger())?.then(StopWatch::start))
        })
    }

    /// Programs are killed and started again.
    fn suffer(&mut self, event: &Chaos) -> anyhow::Result<()> {
        let back = Duration::from_millis(event.back_after_ms);
        say(format!(
            "{} killed (SIGKILL), back after {} ms",
            event.kill.name(),
            event.back_after_ms
        ));
        if event.kill.is_agent() {
            self.agent.kill()?;
        }
        if event.kill.is_gateway() {
            self.gateway.kill()?;
        }
        StopWatch::start().sleep_until(back);
        if event.kill.is_gateway() {
            self.gateway = self.stage.start_gateway()?;
        }
        if event.kill.is_agent() {
            self.agent = self.stage.start_agent()?;
        }
        Ok(())
    }

    /// Shows how far the visit is until the sensor has sent everything and the box has it.
    fn watch_progress(&mut self, watch: StopWatch) -> anyhow::Result<()> {
        let mut told = Duration::ZERO;
        let limit = Duration::from_secs(self.options.seconds) + FIRST_FRAME_LIMIT;
        loop {
            self.gateway.must_run()?;
            self.agent.must_run()?;
            if Ledger::is_ended(&self.stage.ledger())? {
                return Ok(());
            }
            if watch.elapsed() > limit {
                bail!(
                    "the sensor has not ended after {} s\n{}",
                    watch.elapsed().as_secs(),
                    self.sim.last_words()
                );
            }
            if watch.elapsed() > told + Duration::from_secs(5) {
                told = watch.elapsed();
                if let Some(status) = self.stage.agent_status()? {
                    say(format!(
                        "{:>3} s  {}",
                        told.as_secs(),
                        report::progress(&status)
                    ));
                }
            }
            StopWatch::start().sleep_until(Duration::from_millis(100));
        }
    }

    /// Waits until every report of the patient says that its recording is complete.
    fn wait_until_filed(&mut self) -> anyhow::Result<FiledVisit> {
        let server = self.stage.record()?;
        wait_for("the recording to be filed", FILED_LIMIT, || {
            self.gateway.must_run()?;
            FiledVisit::complete(&server, stage::SUBJECT)
        })
        .with_context(|| self.gateway.last_words())
    }
}

fn sensor_arguments(options: &Options, scenario: &Scenario) -> Vec<String> {
    let mut arguments = vec![
        "--device".to_owned(),
        options.device.clone(),
        "--scenario".to_owned(),
        scenario.sim.clone(),
        "--seed".to_owned(),
        options.given.seed.to_string(),
        "--duration".to_owned(),
        if options.once {
            format!("{}s", options.seconds)
        } else {
            "24h".to_owned()
        },
    ];
    if let Some(recording) = &options.recording {
        arguments.push("--recording".to_owned());
        arguments.push(recording.display().to_string());
    }
    arguments
}
