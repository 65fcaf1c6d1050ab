//! The receiving ends: the gateway, and mosquitto with persistence.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::v5::Packet;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::client::{Client, config};
use super::fleet::Member;
use crate::child::Program;
use crate::clock::wait_for;
use crate::judge::fhir::FhirServer;
use crate::mosquitto::{NAME, Place};
use crate::usage::Usage;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Someone who takes frames in.
pub(crate) trait Receiver {
    /// Its name in the table.
    fn name(&self) -> &'static str;
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// The name in its certificate.
    fn server_name(&self) -> &'static str;
    /// Who vouches for it.
    fn roots(&self) -> Arc<rustls::RootCertStore>;
    /// Whether it signs acknowledgements.
    fn signs(&self) -> bool;
    /// Its process.
    fn program(&self) -> &Program;
    /// Kills it as a power cut would.
    fn kill(&mut self) -> anyhow::Result<()>;
    /// Starts it again and counts the frames that it has.
    fn kept(&mut self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<usize>;

    /// Its largest resident memory so far, in MiB.
    fn peak_mib(&self) -> anyhow::Result<f64> {
        let mut usage = Usage::default();
        usage.note(self.program(), START_LIMIT)?;
        Ok(usage.peak_mib)
    }
}

/// The gateway, its state in a folder.
pub(crate) struct Gateway {
    program: PathBuf,
    folder: PathBuf,
    running: Program,
    ready: Value,
    address: SocketAddr,
    roots: Arc<rustls::RootCertStore>,
}

impl Gateway {
    /// Starts it with its defaults on free ports, and what `further` sets.
    pub(crate) fn start(program: &Path, folder: &Path, further: &str) -> anyhow::Result<Self> {
        let text = format!(
            "state = \"{}/gateway\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n\
             [https]\nlisten = \"127.0.0.1:0\"\n[enrol]\nlisten = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n{further}",
            folder.display()
        );
        std::fs::write(folder.join("gateway.toml"), text).context("no configuration")?;
        let (running, ready) = begin(program, folder)?;
        let address = of(&ready, "mqtt")?.parse().context("no address")?;
        let roots = trust(Path::new(of(&ready, "ca_file")?))?;
        Ok(Self {
            program: program.to_path_buf(),
            folder: folder.to_path_buf(),
            running,
            ready,
            address,
            roots,
        })
    }

    /// Certificate of the authority that the boxes' certificates come from.
    pub(crate) fn authority(&self) -> &Path {
        Path::new(of(&self.ready, "ca_file").unwrap_or_default())
    }

    /// The enrolment file of a new box.
    pub(crate) fn enrol(&self, name: &str) -> anyhow::Result<String> {
        let answer = self.ask(&json!({"verb": "boxes-add", "name": name, "endpoint": null}))?;
        let file = answer.pointer("/ok/file").and_then(Value::as_str);
        file.map(str::to_owned)
            .with_context(|| format!("no enrolment but {answer}"))
    }

    /// The record as other systems see it, with the right to read all of it.
    pub(crate) fn record(&self) -> anyhow::Result<FhirServer> {
        let listening: SocketAddr = of(&self.ready, "https")?.parse().context("no address")?;
        let base = format!("https://localhost:{}/fhir", listening.port());
        let [ca, token] = ["ca_file", "api_token_file"].map(|key| of(&self.ready, key));
        FhirServer::new(&base, Path::new(ca?), Path::new(token?))
    }

    /// Asks it over its own socket, as its command line does.
    pub(crate) fn ask(&self, request: &Value) -> anyhow::Result<Value> {
        let stream = UnixStream::connect(of(&self.ready, "control")?).context("no socket")?;
        (&stream).write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        serde_json::from_str(&line).context("no answer from the gateway")
    }
}

fn begin(program: &Path, folder: &Path) -> anyhow::Result<(Program, Value)> {
    let path = folder.join("gateway.ready");
    let _ = std::fs::remove_file(&path);
    let mut command = Command::new(program);
    command.arg("run");
    command.arg("--config").arg(folder.join("gateway.toml"));
    command.arg("--ready-file").arg(&path);
    let mut running = Program::start("gateway", command, folder)?;
    wait_for("the gateway to answer", START_LIMIT, || {
        running.must_run()?;
        Ok(path.is_file().then_some(()))
    })?;
    let text = std::fs::read_to_string(&path).context("no ready file")?;
    Ok((
        running,
        serde_json::from_str(&text).context("no ready file")?,
    ))
}

fn of<'v>(ready: &'v Value, key: &str) -> anyhow::Result<&'v str> {
    let found = ready.get(key).and_then(Value::as_str);
    found.with_context(|| format!("the ready file has no {key}"))
}

pub(crate) fn trust(ca: &Path) -> anyhow::Result<Arc<rustls::RootCertStore>> {
    let text = std::fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&text).context("no certificate")?)?;
    Ok(Arc::new(roots))
}

impl Receiver for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn server_name(&self) -> &'static str {
        "localhost"
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        Arc::clone(&self.roots)
    }

    fn signs(&self) -> bool {
        true
    }

    fn program(&self) -> &Program {
        &self.running
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.running.kill()
    }

    fn kept(&mut self, _: &tokio::runtime::Runtime) -> anyhow::Result<usize> {
        (self.running, self.ready) = begin(&self.program, &self.folder)?;
        let status = self.ask(&json!({"verb": "status"}))?;
        let frames = status.pointer("/ok/inbox/frames").and_then(Value::as_u64);
        let frames = frames.with_context(|| format!("no count of frames but {status}"))?;
        self.running.kill()?;
        Ok(usize::try_from(frames)?)
    }
}

/// mosquitto with persistence. One subscriber with a session that stays has gone away: everything
/// must be kept for it.
pub(crate) struct Broker {
    place: Place,
    running: Program,
    boxes_ca: PathBuf,
    roots: Arc<rustls::RootCertStore>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// Nothing that is kept is dropped.
const EXTRA: &str = "max_queued_messages 0\n";
/// The subscriber that went away.
const READER: &str = "reader";
/// When nothing has come for so long, nothing more was kept.
const SILENCE: Duration = Duration::from_secs(3);

impl Broker {
    /// Starts it with the shipped configuration and leaves the subscriber's session behind.
    pub(crate) fn start(
        folder: &Path,
        boxes_ca: &Path,
        reader: &Member,
        runtime: &tokio::runtime::Runtime,
    ) -> anyhow::Result<Self> {
        let acl = format!("user {}\ntopic read ecg/1/#\n", Topic::box_name(reader.id));
        let place = Place::prepare(&folder.join("broker"), &acl)?;
        let running = place.start(boxes_ca, EXTRA)?;
        let mut broker = Self {
            roots: trust(&place.authority())?,
            place,
            running,
            boxes_ca: boxes_ca.to_path_buf(),
            tls: None,
        };
        broker.tls = Some(config(broker.roots(), reader)?);
        runtime.block_on(async {
            let mut session = broker.reader().await?;
            session.subscribe("ecg/1/+/up/#").await
        })?;
        Ok(broker)
    }

    async fn reader(&self) -> anyhow::Result<Client> {
        let tls = self.tls.clone().context("no certificate")?;
        Client::open(self.address(), NAME, tls, READER, false).await
    }

    async fn drain(&self) -> anyhow::Result<usize> {
        let mut session = self.reader().await?;
        let mut count = 0;
        while let Ok(packet) = tokio::time::timeout(SILENCE, session.within_limit()).await {
            if let Packet::Publish(publish) = packet? {
                count += 1;
                session.answer(&publish).await?;
            }
        }
        Ok(count)
    }
}

impl Receiver for Broker {
    fn name(&self) -> &'static str {
        "mosquitto"
    }

    fn address(&self) -> SocketAddr {
        self.place.address()
    }

    fn server_name(&self) -> &'static str {
        NAME
    }

    fn roots(&self) -> Arc<rustls::RootCertStore> {
        Arc::clone(&self.roots)
    }

    fn signs(&self) -> bool {
        false
    }

    fn program(&self) -> &Program {
        &self.running
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.running.kill()
    }

    fn kept(&mut self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<usize> {
        self.running = self.place.start(&self.boxes_ca, EXTRA)?;
        let count = runtime.block_on(self.drain())?;
        self.running.kill()?;
        Ok(count)
    }
}
