//! Everything that a visit needs before it starts: folders, ports, configurations, enrolment.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::child::Program;
use crate::clock::wait_for;
use crate::judge::fhir::FhirServer;
use crate::mosquitto::{self, Place};
use crate::ports;
use crate::programs::Programs;

/// The fictitious patient's logical id, the only thing that the box knows of the patient.
pub(crate) const SUBJECT: &str = "p-demo";

/// The source's name in the box's configuration.
pub(crate) const SOURCE: &str = "ecg12-a";

/// Exit status of `status` when there is nobody to ask.
const NOT_RUNNING: i32 = 3;

/// How long a program may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Where a visit takes place.
pub(crate) struct Stage {
    folder: PathBuf,
    programs: Programs,
    mqtt_port: u16,
    https_port: u16,
    enrol_port: u16,
    /// How long the gateway's certificates for boxes hold.
    certificate: &'static str,
    /// Where the box connects, if not where the gateway listens.
    endpoint: Option<SocketAddr>,
    /// What the programs find in their environment.
    agent_environment: Vec<(String, String)>,
    gateway_environment: Vec<(String, String)>,
    /// Whether a person stands beside the patient.
    attendance: &'static str,
    /// Whom the box records, if its configuration says so.
    subject: Option<String>,
    /// Further parts of the configurations of both programs.
    further_of_gateway: String,
    further_of_box: String,
    /// Whether boxes come through a broker only.
    at_broker: bool,
    /// How much the box may keep.
    cap: &'static str,
}

impl Stage {
    /// Prepares `folder` for a visit: free ports, configurations of both programs. The box
    /// keeps its state in `folder/agent`, the gateway in `folder/gateway`.
    pub(crate) fn set(folder: &Path, programs: Programs) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let stage = Self {
            folder: folder.to_path_buf(),
            programs,
            mqtt_port: ports::free()?,
            https_port: ports::free()?,
            enrol_port: ports::free()?,
            certificate: "90d",
            endpoint: None,
            agent_environment: Vec::new(),
            gateway_environment: Vec::new(),
            attendance: "attended",
            subject: Some(SUBJECT.to_owned()),
            further_of_gateway: String::new(),
            further_of_box: String::new(),
            at_broker: false,
            cap: "1GiB",
        };
        stage.write("gateway.toml", &stage.gateway_config())?;
        stage.write("rules.toml", RULES)?;
        Ok(stage)
    }

    /// A stage in `folder` for copies of the states of both programs: the same box and gateway
    /// at other ports, no sensor.
    pub(crate) fn for_copies(&self, folder: &Path) -> anyhow::Result<Self> {
        let copy = Self::set(folder, self.programs.clone())?;
        let path = self.folder.join("enrolment.toml");
        let enrolment = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let port = |port: u16| format!(":{port}\"");
        copy.write_private(
            "enrolment.toml",
            &enrolment.replace(&port(self.mqtt_port), &port(copy.mqtt_port)),
        )?;
        copy.write("agent.toml", &copy.box_config())?;
        Ok(copy)
    }

    /// Lets the box connect to `through`, which leads to [`Self::gateway_address`].
    pub(crate) fn route(&mut self, through: SocketAddr) {
        self.endpoint = Some(through);
    }

    /// Lets certificates of boxes hold for `life`, from the gateway's next start on.
    pub(crate) fn certify_for(&mut self, life: &'static str) -> anyhow::Result<()> {
        self.certificate = life;
        self.write("gateway.toml", &self.gateway_config())
    }

    /// Nobody stands beside the patient: a long recording, from the next enrolment on.
    pub(crate) fn leave_alone(&mut self) {
        self.attendance = "unattended";
    }

    /// Lets the box keep as much as one in the field, take the files of a recorder from
    /// [`Self::recorder`], and end a visit as soon as its sensor is gone, from the next enrolment
    /// on.
    pub(crate) fn equip_for_long(&mut self) -> anyhow::Result<()> {
        let recorder = self.recorder();
        std::fs::create_dir_all(&recorder)
            .with_context(|| format!("cannot create {}", recorder.display()))?;
        self.cap = "8GiB";
        self.further_of_box = format!(
            "[capture]\nresume_within = \"1s\"\nsilent_after = \"1s\"\n\
             [import]\nfolder = \"{}\"\nsubject = \"{SUBJECT}\"\nquiet_for = \"1s\"\n",
            recorder.display()
        );
        Ok(())
    }

    /// Lets the box capture these sources, tables `[[source]]`, from the next configuration on.
    pub(crate) fn capture(&mut self, sources: &str) {
        sources.clone_into(&mut self.further_of_box);
    }

    /// The drop folder of a recorder's files.
    pub(crate) fn recorder(&self) -> PathBuf {
        self.folder.join("recorder")
    }

    /// Where the gateway listens for boxes.
    pub(crate) fn gateway_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.mqtt_port))
    }

    /// Sets what the box finds in its environment from its next start on.
    pub(crate) fn set_agent_environment(&mut self, variables: &[(&str, &str)]) {
        self.agent_environment = owned(variables);
    }

    /// Sets what the gateway finds in its environment from its next start on.
    pub(crate) fn set_gateway_environment(&mut self, variables: &[(&str, &str)]) {
        self.gateway_environment = owned(variables);
    }

    /// Lets the box's wall clock follow [`Self::shift_wall_clock`] from its next start on; its
    /// boot clock stays true. `false` when `libfaketime` is not installed.
    pub(crate) fn bend_wall_clock(&mut self) -> anyhow::Result<bool> {
        let Some(library) = libfaketime() else {
            return Ok(false);
        };
        self.shift_wall_clock(0)?;
        self.set_agent_environment(&[
            ("LD_PRELOAD", &library.display().to_string()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                &self.shift().display().to_string(),
            ),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        Ok(true)
    }

    /// Sets how far the box's wall clock is from the truth, at once.
    pub(crate) fn shift_wall_clock(&self, seconds: i64) -> anyhow::Result<()> {
        let path = self.shift();
        std::fs::write(&path, format!("{seconds:+}"))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn shift(&self) -> PathBuf {
        self.folder.join("wall-clock-shift")
    }

    /// The directory of everything that the box writes.
    pub(crate) fn agent_state(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// The directory of everything that the gateway writes.
    pub(crate) fn gateway_state(&self) -> PathBuf {
        self.folder.join("gateway")
    }

    /// The visit's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the gateway is for browsers.
    pub(crate) fn address(&self) -> String {
        format!("https://localhost:{}", self.https_port)
    }

    /// Where the record is read.
    pub(crate) fn fhir_base(&self) -> String {
        format!("{}/fhir", self.address())
    }

    /// The certificate of the authority that vouches for the gateway.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("gateway/keys/ca.pem")
    }

    /// The file that holds the right to read the record.
    pub(crate) fn token(&self) -> PathBuf {
        self.folder.join("gateway/keys/api.token")
    }

    /// The port of the simulated sensor.
    pub(crate) fn port_link(&self) -> PathBuf {
        self.folder.join("ecg12-a.port")
    }

    /// The simulator's account of what it did.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.folder.join("ledger.jsonl")
    }

    /// Lets box and gateway meet at a broker, where the gateway is called `user`; `store` says
    /// where the gateway keeps the records. The box sends again what nobody acknowledges after
    /// `stalled_after`.
    pub(crate) fn meet_at(
        &mut self,
        broker: &Place,
        user: &str,
        store: &str,
        stalled_after: &str,
    ) -> anyhow::Result<()> {
        self.at_broker = true;
        self.further_of_gateway = format!(
            "{store}[broker]\naddress = \"{}\"\nname = \"{}\"\nca = \"{}\"\nuser = \"{user}\"\n",
            broker.address(),
            mosquitto::NAME,
            broker.authority().display()
        );
        self.further_of_box = format!("stalled_after = \"{stalled_after}\"\n");
        self.write("gateway.toml", &self.gateway_config())
    }

    /// Says more in the gateway's configuration, from its next start on.
    pub(crate) fn configure_gateway(&mut self, further: &str) -> anyhow::Result<()> {
        further.clone_into(&mut self.further_of_gateway);
        self.write("gateway.toml", &self.gateway_config())
    }

    /// Gives this gateway the keys of another: the two are one to every box.
    pub(crate) fn share_keys(&self, with: &Self) -> anyhow::Result<()> {
        let (from, to) = (
            with.gateway_state().join("keys"),
            self.gateway_state().join("keys"),
        );
        let mut folder = std::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(&to)?;
        for entry in std::fs::read_dir(&from).context("no keys")? {
            let path = entry.context("no keys")?.path();
            let name = path.file_name().context("a key without a name")?;
            std::fs::copy(&path, to.join(name)).context("cannot copy a key")?;
        }
        Ok(())
    }

    /// Lets the box record another patient, from the next enrolment on.
    pub(crate) fn record_of(&mut self, subject: &str) {
        self.subject = Some(subject.to_owned());
    }

    /// Lets the box record whom a person chooses, from the next enrolment on.
    pub(crate) fn record_nobody(&mut self) {
        self.subject = None;
    }

    /// Makes the box known to the gateway and configures it with what the gateway says.
    /// `inputs` names the sensor's inputs by
    /// their leads, `-` where nothing is connected.
    pub(crate) fn enrol(&self, device: &str, inputs: &[String]) -> anyhow::Result<()> {
        self.enrol_as("FR75-012", device, inputs)
    }

    /// [`Self::enrol`], by another name.
    pub(crate) fn enrol_as(
        &self,
        name: &str,
        device: &str,
        inputs: &[String],
    ) -> anyhow::Result<()> {
        self.add_box(name, "enrolment.toml")?;
        self.connect_sensor(device, inputs)
    }

    /// Configures the box without a sensor.
    pub(crate) fn configure_box(&self) -> anyhow::Result<()> {
        self.write("agent.toml", &self.box_config())
    }

    /// Configures the box with its sensor.
    pub(crate) fn connect_sensor(&self, device: &str, inputs: &[String]) -> anyhow::Result<()> {
        self.write("agent.toml", &self.agent_config(device, inputs))
    }

    /// The box's own program, told to do `verb` with the box's configuration.
    pub(crate) fn box_does(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.agent);
        command.args(verb).arg("--config");
        command.arg(self.folder.join("agent.toml"));
        command
    }

    /// The gateway's program, told to do `verb` with the gateway's configuration.
    pub(crate) fn gateway_does(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.gateway);
        command.args(verb).arg("--config");
        command.arg(self.folder.join("gateway.toml"));
        command
    }

    /// Makes a box called `name` known to the gateway; its enrolment is the file `out` of the
    /// stage's folder.
    pub(crate) fn add_box(&self, name: &str, out: &str) -> anyhow::Result<()> {
        let enrolment = self.folder.join(out);
        let mut command = self.gateway_does(&["boxes", "add", "--name", name]);
        command.arg("--out").arg(&enrolment);
        if let Some(endpoint) = self.endpoint {
            command.arg("--endpoint").arg(endpoint.to_string());
        }
        let output = command
            .output()
            .context("cannot run cardio-gateway boxes add")?;
        if !output.status.success() {
            bail!(
                "the box cannot be enrolled: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Starts the gateway and waits until it answers.
    pub(crate) fn start_gateway(&self) -> anyhow::Result<Program> {
        let ready = self.folder.join("gateway.ready");
        let _ = std::fs::remove_file(&ready);
        let mut command = self.gateway_does(&["run"]);
        command.arg("--ready-file").arg(&ready);
        command.envs(self.gateway_environment.iter().cloned());
        let mut gateway = Program::start("gateway", command, &self.folder)?;
        wait_for("the gateway to answer", START_LIMIT, || {
            gateway.must_run()?;
            Ok(ready.is_file().then_some(()))
        })?;
        Ok(gateway)
    }

    /// Starts the simulated sensor and waits for its port.
    pub(crate) fn start_sim(&self, arguments: &[String]) -> anyhow::Result<Program> {
        let mut command = Command::new(&self.programs.sim);
        command.arg("play").args(arguments);
        command.arg("--link").arg(self.port_link());
        command.arg("--ledger").arg(self.ledger());
        let mut sim = Program::start("sim", command, &self.folder)?;
        wait_for("the sensor's port", START_LIMIT, || {
            sim.must_run()?;
            Ok(self.port_link().exists().then_some(()))
        })?;
        Ok(sim)
    }

    /// Starts the box.
    pub(crate) fn start_agent(&self) -> anyhow::Result<Program> {
        let mut command = self.box_does(&["run"]);
        command.envs(self.agent_environment.iter().cloned());
        Program::start("agent", command, &self.folder)
    }

    /// Waits until the box has read what the sensor said last: its count of samples stands still.
    /// On a busy machine that is a while after the sensor has written it.
    pub(crate) fn wait_until_read(&self) -> anyhow::Result<()> {
        const LOOKS: u32 = 10;
        let (mut last, mut still) = (None, 0);
        wait_for("the box to have read everything", START_LIMIT, || {
            // An answer that comes too late says nothing; the limit is what counts.
            let Ok(Some(status)) = self.agent_status() else {
                return Ok(None);
            };
            let samples = status.pointer("/sources/0/samples").cloned();
            still = if last == samples { still + 1 } else { 0 };
            last = samples;
            Ok((still >= LOOKS).then_some(()))
        })
    }

    /// What the box says of itself; `None` when it is not running.
    pub(crate) fn agent_status(&self) -> anyhow::Result<Option<serde_json::Value>> {
        let output = self
            .box_does(&["status", "--json"])
            .output()
            .context("cannot ask the box for its status")?;
        if output.status.code() == Some(NOT_RUNNING) {
            return Ok(None);
        }
        serde_json::from_slice(&output.stdout)
            .map(Some)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
            .context("the box's status is no JSON")
    }

    /// Lets the box's own program prove its chains; fails with its words when it cannot.
    pub(crate) fn verify_outbox(&self) -> anyhow::Result<()> {
        prove(&mut self.box_does(&["outbox", "verify"]))
    }

    /// Lets the gateway's own program prove the chains that it holds.
    pub(crate) fn verify_chains(&self) -> anyhow::Result<()> {
        prove(&mut self.gateway_does(&["chain", "verify"]))
    }

    /// What the gateway says of itself.
    pub(crate) fn gateway_status(&self) -> anyhow::Result<serde_json::Value> {
        let output = self
            .gateway_does(&["status", "--json"])
            .output()
            .context("cannot ask the gateway for its status")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
            .context("the gateway's status is no JSON")
    }

    /// The record, with the right to read and to register patients.
    pub(crate) fn record(&self) -> anyhow::Result<FhirServer> {
        FhirServer::new(&self.fhir_base(), &self.authority(), &self.token())
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn write_private(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn gateway_config(&self) -> String {
        format!(
            "state = \"{folder}/gateway\"\n\
             [mqtt]\nlisten = \"{mqtt}\"\n\
             [https]\nlisten = \"127.0.0.1:{https}\"\n\
             [enrol]\nlisten = \"127.0.0.1:{enrol}\"\ncertificate = \"{certificate}\"\n\
             [alerts]\nrules = \"{folder}/rules.toml\"\n{further}",
            folder = self.folder.display(),
            mqtt = if self.at_broker {
                "off".to_owned()
            } else {
                self.gateway_address().to_string()
            },
            further = self.further_of_gateway,
            https = self.https_port,
            enrol = self.enrol_port,
            certificate = self.certificate,
        )
    }

    fn agent_config(&self, device: &str, inputs: &[String]) -> String {
        let subject = self.subject.as_ref();
        let subject = subject.map(|subject| format!("subject = \"{subject}\"\n"));
        let leads: Vec<String> = inputs.iter().map(|lead| format!("\"{lead}\"")).collect();
        format!(
            "{common}\
             [[source]]\nname = \"{SOURCE}\"\nkind = \"serial\"\ndevice = \"{device}\"\n\
             path = \"{port}\"\nleads = [{leads}]\n{subject}attendance = \"{attendance}\"\n",
            common = self.box_config(),
            port = self.port_link().display(),
            leads = leads.join(", "),
            attendance = self.attendance,
            subject = subject.unwrap_or_default(),
        )
    }

    /// What a box is told besides its sensors.
    fn box_config(&self) -> String {
        format!(
            "[box]\nenrolment = \"{folder}/enrolment.toml\"\nstate = \"{folder}/agent\"\n\
             [store]\ncap = \"{cap}\"\n\
             [uplink]\nretry_last = \"2s\"\n{further}",
            folder = self.folder.display(),
            cap = self.cap,
            further = self.further_of_box,
        )
    }
}

/// Where Debian puts the library that shifts a program's clock.
fn libfaketime() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
    libraries
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
}

/// Runs a program that must be content.
fn prove(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("cannot run a proof")?;
    if !output.status.success() {
        bail!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(own).collect()
}

/// The rules of the visit: clinical limits set for the fictitious patient, with spans that fit
/// a short visit.
const RULES: &str = r#"
schema = "rules/1"
extends = "default"

[[rule]]
name = "quality-insufficient"
for = "8 s"
version = 2

[[patient]]
subject = "p-demo"
set_by = "PractitionerRole/prescriber-test"
version = 1

[patient.rule.tachycardia]
enabled = true
for = "10 s"

[patient.rule.bradycardia]
enabled = true
for = "10 s"
"#;
