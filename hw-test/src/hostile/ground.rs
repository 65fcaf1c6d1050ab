//! The ground of a case: sensor, box, proxy and gateway, and how a case sees what they do.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::Place;
use crate::child::Program;
use crate::clock::wait_for;
use crate::judge::compare::compare;
use crate::judge::ledger::Ledger;
use crate::judge::record::FiledVisit;
use crate::proxy::Proxy;
use crate::visit::{SUBJECT, Stage, fictitious_patient};

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";

/// How long a program may take to come up, or to end when asked.
const PROGRAM_LIMIT: Duration = Duration::from_secs(40);

/// How long everything may take to be filed once the network is well again.
const FILED_LIMIT: Duration = Duration::from_secs(150);

/// What the sensor plays.
pub(super) struct Play {
    /// Seconds of signal.
    pub(super) seconds: u64,
    /// How many times faster than life.
    pub(super) speed: u64,
    /// Nobody attends: segments of 5 s in the bulk lane.
    pub(super) unattended: bool,
}

impl Play {
    /// An attended visit in real time.
    pub(super) const fn visit(seconds: u64) -> Self {
        Self {
            seconds,
            speed: 1,
            unattended: false,
        }
    }
}

/// Everything of a case while it runs. Dropped in this order: programs before the proxy.
pub(super) struct Ground {
    pub(super) agent: Program,
    sim: Program,
    pub(super) gateway: Program,
    pub(super) proxy: Proxy,
    pub(super) stage: Stage,
}

/// What the judge found.
pub(super) struct Judged {
    /// Samples that the sensor sent.
    pub(super) sent: u64,
    /// Samples filed, equal in every lead.
    pub(super) equal: u64,
    /// Samples named in gaps.
    pub(super) named: u64,
}

impl Ground {
    /// Starts gateway, proxy, sensor and box, and waits until the box is connected and has
    /// something acknowledged.
    pub(super) fn begin(place: &Place, play: &Play) -> anyhow::Result<Self> {
        Self::begin_with(place, play, |_, _| Ok(()))
    }

    /// The same; `prepare` may change the stage before the box starts, and is given where the
    /// box will connect.
    pub(super) fn begin_with(
        place: &Place,
        play: &Play,
        prepare: impl FnOnce(&mut Stage, SocketAddr) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut stage = Stage::set(&place.folder, place.programs.clone())?;
        let gateway = stage.start_gateway()?;
        stage.record()?.put(&fictitious_patient(SUBJECT))?;
        let proxy = Proxy::start(stage.gateway_address(), place.seed).context("no proxy")?;
        stage.route(proxy.addr());
        if play.unattended {
            stage.leave_alone();
        }
        let sim = stage.start_sim(&sensor(play, place.seed))?;
        let inputs = wait_for("the sensor's ledger", PROGRAM_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.enrol(DEVICE, &inputs)?;
        prepare(&mut stage, proxy.addr())?;
        let agent = stage.start_agent()?;
        Ok(Self {
            agent,
            sim,
            gateway,
            proxy,
            stage,
        })
    }

    /// What the box says of itself, once it is as `is` asks.
    pub(super) fn box_until(
        &mut self,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let found = wait_for(what, limit, || {
            self.gateway.must_run()?;
            self.agent.must_run()?;
            let Some(status) = self.stage.agent_status()? else {
                return Ok(None);
            };
            last = status;
            Ok(is(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("the box said last: {}", last["uplink"]))
    }

    /// Waits until the box is connected and the gateway has acknowledged something.
    pub(super) fn connected(&mut self) -> anyhow::Result<Value> {
        self.box_until("the first acknowledgement", PROGRAM_LIMIT, |status| {
            status["uplink"]["connected"] == true && count(&status["store"]["filed"]) > 0
        })
    }

    /// One of the gateway's counters, once it is at least `least`.
    pub(super) fn counter_until(
        &mut self,
        name: &str,
        least: u64,
        limit: Duration,
    ) -> anyhow::Result<u64> {
        wait_for(&format!("{name} to reach {least}"), limit, || {
            self.gateway.must_run()?;
            let counted = self.counter(name)?;
            Ok((counted >= least).then_some(counted))
        })
    }

    /// One of the gateway's counters.
    pub(super) fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.stage.gateway_status()?;
        let counter = &status["counters"][name];
        counter
            .as_u64()
            .with_context(|| format!("the gateway has no counter {name}"))
    }

    /// Waits until the sensor has said all and the box has sent all, stops the box, and
    /// compares the record with the sensor's ledger. Fails on any difference.
    pub(super) fn judge(mut self) -> anyhow::Result<Judged> {
        wait_for("the sensor's end", FILED_LIMIT, || {
            self.agent.must_run()?;
            self.gateway.must_run()?;
            Ok(Ledger::is_ended(&self.stage.ledger())?.then_some(()))
        })?;
        self.box_until("the box to have sent everything", FILED_LIMIT, |status| {
            count(&status["store"]["waiting"]) == 0
        })?;
        self.agent.stop(PROGRAM_LIMIT)?;
        let server = self.stage.record()?;
        let query = format!("DiagnosticReport?patient={SUBJECT}");
        wait_for("the recording to be filed", FILED_LIMIT, || {
            self.gateway.must_run()?;
            let reports = server.search(&query)?;
            let is_done = |report: &Value| report["status"] == "preliminary";
            Ok((!reports.is_empty() && reports.iter().all(is_done)).then_some(()))
        })
        .with_context(|| self.gateway.last_words())?;
        let filed = FiledVisit::read(&server, SUBJECT)?;
        self.sim.wait(PROGRAM_LIMIT)?;
        self.gateway.stop(PROGRAM_LIMIT)?;
        let ledger = Ledger::read(&self.stage.ledger())?;
        let verdict = compare(&ledger.leads, &ledger.sent, &filed.spans, &filed.gaps);
        if !verdict.differences.is_empty() {
            bail!("the record differs: {}", verdict.differences.join("; "));
        }
        Ok(Judged {
            sent: verdict.sent,
            equal: verdict.equal,
            named: filed.gaps.iter().map(|gap| gap.len).sum(),
        })
    }

    /// [`Ground::judge`], and nothing may be missing.
    pub(super) fn judge_whole(self) -> anyhow::Result<String> {
        let judged = self.judge()?;
        if judged.equal != judged.sent {
            bail!(
                "only {} of {} samples are filed, {} named in gaps",
                judged.equal,
                judged.sent,
                judged.named
            );
        }
        Ok(format!("all {} samples filed once", judged.sent))
    }
}

/// A number of a status.
pub(super) fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn sensor(play: &Play, seed: u64) -> Vec<String> {
    let duration = format!("{}s", play.seconds);
    let arguments = [
        "--device",
        DEVICE,
        "--seed",
        &seed.to_string(),
        "--duration",
        &duration,
        "--speed",
        &play.speed.to_string(),
    ];
    arguments.map(str::to_owned).to_vec()
}
