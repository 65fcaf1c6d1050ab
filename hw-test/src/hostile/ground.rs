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
use crate::judge::record::{FiledVisit, start_of};
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

/// A gateway that knows the patient, and nothing else yet.
pub(super) struct Opened {
    pub(super) stage: Stage,
    gateway: Program,
    seed: u64,
}

/// Everything but the box, which is enrolled.
pub(super) struct Ready {
    pub(super) stage: Stage,
    gateway: Program,
    proxy: Proxy,
    sim: Program,
    inputs: Vec<String>,
}

/// Everything of a case while it runs. Dropped in this order: programs before the proxy.
pub(super) struct Ground {
    pub(super) agent: Program,
    sim: Program,
    pub(super) gateway: Program,
    pub(super) proxy: Proxy,
    pub(super) stage: Stage,
    inputs: Vec<String>,
}

/// What the judge found.
pub(super) struct Judged {
    /// Samples that the sensor sent.
    pub(super) sent: u64,
    /// Samples filed, equal in every lead.
    pub(super) equal: u64,
    /// Samples named in gaps.
    pub(super) named: u64,
    /// When each stretch of signal begins, in milliseconds since 1970, in order.
    pub(super) starts_ms: Vec<i128>,
}

impl Opened {
    /// Starts the gateway and registers the patient.
    pub(super) fn open(place: &Place) -> anyhow::Result<Self> {
        let stage = Stage::set(&place.folder, place.programs.clone())?;
        Self::on(stage, place.seed)
    }

    /// [`Self::open`] on a stage that is set already.
    pub(super) fn on(mut stage: Stage, seed: u64) -> anyhow::Result<Self> {
        stage.set_agent_environment(&[("NO_COLOR", "1")]);
        let gateway = stage.start_gateway()?;
        stage.record()?.put(&fictitious_patient(SUBJECT))?;
        Ok(Self {
            stage,
            gateway,
            seed,
        })
    }

    /// Starts the sensor and a proxy that leads to `upstream`, and enrols a box that connects
    /// there.
    pub(super) fn ready(self, play: &Play, upstream: SocketAddr) -> anyhow::Result<Ready> {
        let ready = self.ready_enrolled(play, upstream)?;
        ready.stage.enrol(DEVICE, &ready.inputs)?;
        Ok(ready)
    }

    /// [`Self::ready`] for a box that is enrolled already, and connects where that says.
    pub(super) fn ready_enrolled(self, play: &Play, upstream: SocketAddr) -> anyhow::Result<Ready> {
        let mut stage = self.stage;
        let proxy = Proxy::start(upstream, self.seed).context("no proxy")?;
        stage.route(proxy.addr());
        if play.unattended {
            stage.leave_alone();
        }
        let sim = stage.start_sim(&sensor(play, self.seed))?;
        let inputs = wait_for("the sensor's ledger", PROGRAM_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.connect_sensor(DEVICE, &inputs)?;
        Ok(Ready {
            stage,
            gateway: self.gateway,
            proxy,
            sim,
            inputs,
        })
    }
}

impl Ready {
    /// Starts the box.
    pub(super) fn start(self) -> anyhow::Result<Ground> {
        let agent = self.stage.start_agent()?;
        Ok(Ground {
            agent,
            sim: self.sim,
            gateway: self.gateway,
            proxy: self.proxy,
            stage: self.stage,
            inputs: self.inputs,
        })
    }
}

impl Ground {
    /// Starts gateway, proxy, sensor and box.
    pub(super) fn begin(place: &Place, play: &Play) -> anyhow::Result<Self> {
        let opened = Opened::open(place)?;
        let upstream = opened.stage.gateway_address();
        opened.ready(play, upstream)?.start()
    }

    /// Stops the box and puts another in its place, with its own enrolment and nothing stored.
    /// What the first one had lies in `enrolment-1.toml` and `agent-1` of the stage's folder.
    pub(super) fn replace_box(&mut self) -> anyhow::Result<()> {
        self.agent.stop(PROGRAM_LIMIT)?;
        let folder = self.stage.folder();
        for (from, to) in [("enrolment.toml", "enrolment-1.toml"), ("agent", "agent-1")] {
            std::fs::rename(folder.join(from), folder.join(to))
                .with_context(|| format!("cannot put {from} aside"))?;
        }
        self.stage.enrol_as("FR75-013", DEVICE, &self.inputs)?;
        self.agent = self.stage.start_agent()?;
        Ok(())
    }

    /// Kills the gateway and starts it again.
    pub(super) fn restart_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway.kill()?;
        self.gateway = self.stage.start_gateway()?;
        Ok(())
    }

    /// Stops the box and starts it again.
    pub(super) fn restart_box(&mut self) -> anyhow::Result<()> {
        self.agent.stop(PROGRAM_LIMIT)?;
        self.agent = self.stage.start_agent()?;
        Ok(())
    }

    /// The codes that the box has logged with `event`, in order.
    pub(super) fn codes(&self, event: &str) -> anyhow::Result<Vec<String>> {
        let log = std::fs::read_to_string(self.stage.folder().join("agent.log"))?;
        let event = format!("event=\"{event}\"");
        let codes = log.lines().filter(|line| line.contains(&event));
        let code = |line: &str| Some(line.split_once("code=\"")?.1.split_once('"')?.0.to_owned());
        Ok(codes.filter_map(code).collect())
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
            match self.stage.agent_status() {
                Ok(Some(status)) => last = status,
                Ok(None) => return Ok(None),
                // On a busy machine an answer may come too late; the limit is what counts.
                Err(err) => {
                    last = format!("{err:#}").into();
                    return Ok(None);
                }
            }
            Ok(is(&last).then(|| last.clone()))
        });
        found.with_context(|| match &last {
            Value::String(err) => format!("the box said last: {err}"),
            status => format!("the box said last: {}", status["uplink"]),
        })
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

    /// Waits until the sensor has said all and the box, which cannot send it, has kept it.
    pub(super) fn offline_to_the_end(&mut self, limit: Duration) -> anyhow::Result<Value> {
        wait_for("the sensor's end", limit, || {
            self.agent.must_run()?;
            Ok(Ledger::is_ended(&self.stage.ledger())?.then_some(()))
        })?;
        self.box_until("the box to be offline", limit, |status| {
            status["uplink"]["connected"] == false
        })
    }

    /// Waits until the sensor has said all and the box has sent all, stops the box, and
    /// compares the record with the sensor's ledger. Fails on any difference.
    pub(super) fn judge(mut self) -> anyhow::Result<Judged> {
        wait_for("the sensor's end", FILED_LIMIT, || {
            self.agent.must_run()?;
            self.gateway.must_run()?;
            Ok(Ledger::is_ended(&self.stage.ledger())?.then_some(()))
        })?;
        self.stage.wait_until_read()?;
        self.box_until("the box to have sent everything", FILED_LIMIT, |status| {
            count(&status["store"]["waiting"]) == 0
        })?;
        self.agent.stop(PROGRAM_LIMIT)?;
        let server = self.stage.record()?;
        let filed = wait_for("the recording to be filed", FILED_LIMIT, || {
            self.gateway.must_run()?;
            FiledVisit::complete(&server, SUBJECT)
        })
        .with_context(|| self.gateway.last_words())?;
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
            starts_ms: starts_ms(&filed)?,
        })
    }

    /// [`Ground::judge`], and nothing may be missing.
    pub(super) fn judge_whole(self) -> anyhow::Result<String> {
        Ok(self.judge_with_starts()?.0)
    }

    /// [`Ground::judge_whole`], and when each stretch of signal begins.
    pub(super) fn judge_with_starts(self) -> anyhow::Result<(String, Vec<i128>)> {
        let judged = self.judge()?;
        if judged.equal != judged.sent {
            bail!(
                "only {} of {} samples are filed, {} named in gaps",
                judged.equal,
                judged.sent,
                judged.named
            );
        }
        let whole = format!("all {} samples filed once", judged.sent);
        Ok((whole, judged.starts_ms))
    }
}

/// When each stretch of signal begins, in milliseconds since 1970.
fn starts_ms(filed: &FiledVisit) -> anyhow::Result<Vec<i128>> {
    let start = |reference: &str| {
        let id = reference.rsplit('/').next().unwrap_or_default();
        let found = filed.of_kind("Observation").find(|one| one["id"] == id);
        let text = start_of(found.with_context(|| format!("{reference} is not there"))?);
        let at: jiff::Timestamp = text
            .parse()
            .with_context(|| format!("{reference} states no time: `{text}`"))?;
        anyhow::Ok(i128::from(at.as_millisecond()))
    };
    filed
        .spans
        .iter()
        .map(|span| start(&span.reference))
        .collect()
}

/// Memory that a program holds, in KiB.
pub(super) fn resident_kib(program: &Program) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid()))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.context("the kernel does not say how much memory a program holds")
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
