//! A box on a bench: an enrolment of its own, a sensor on a pseudo terminal that speaks as
//! the real one does, and the real program.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench for tests, of which each test program uses its part"
)]

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cardio_agent::clock::SystemClock;
use cardio_core::rate::SamplingRate;
use cardio_protocol::decoder::FrameRows;
use cardio_protocol::profile::by_name;
use cardio_protocol::smp_records::{ConsoleReader, RecordsPeripheral, console_frames};
use cardio_signal::synth::{EcgSynth, SynthConfig, to_adu};
use cardio_store::{KeyRing, Outbox, OutboxConfig};
use cardio_wire::envelope;
use cardio_wire::keys::{RecipientSecretKey, SigningKey};
use cardio_wire::lane::Lane;
use cardio_wire::record::Record;
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Longest wait for something that must happen.
const LIMIT_TRIES: u32 = 1_200;
const TRY_EVERY: Duration = Duration::from_millis(25);

/// Waits until `found` finds something.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LIMIT_TRIES {
        if let Some(value) = found() {
            return value;
        }
        std::thread::sleep(TRY_EVERY);
    }
    panic!("waited in vain for {what}");
}

/// Who the box is.
const BOX: &str = "0198c0de-0000-7000-8000-000000000001";

/// A box with its files.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub recipient: RecipientSecretKey,
    signer: SigningKey,
    /// What `DBUS_SYSTEM_BUS_ADDRESS` is for the program.
    pub bus: String,
}

impl Bench {
    /// A box whose gateway is nowhere, with one sensor at `port`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rng = ring::rand::SystemRandom::new();
        let recipient = RecipientSecretKey::generate(&rng).unwrap();
        let (signer, frame_key) = SigningKey::generate(&rng).unwrap();
        let bench = Self {
            bus: format!("unix:path={}", dir.path().join("no-bus").display()),
            dir,
            recipient,
            signer,
        };
        bench.write_enrolment(&rng, &frame_key);
        bench.write_config("");
        bench
    }

    pub fn port(&self) -> PathBuf {
        self.dir.path().join("port")
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    pub fn outbox(&self) -> PathBuf {
        self.dir.path().join("state/outbox.sqlite")
    }

    pub fn write_config(&self, more: &str) {
        let text = format!(
            "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n[store]\ncap = \"64MiB\"\n\
             {more}[[source]]\nname = \"ecg12-a\"\nkind = \"serial\"\ndevice = \"openbci-cyton\"\n\
             path = \"port\"\nsubject = \"p-0001\"\n"
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// What the outbox holds, opened with the gateway's key, lane by lane. The agent must
    /// have ended.
    pub fn records(&self) -> Vec<Record> {
        let keys = KeyRing {
            device: BOX.parse().unwrap(),
            signer: self.signer.clone(),
            recipient: self.recipient.public(),
        };
        let clock = Arc::new(SystemClock::open().unwrap());
        let config = OutboxConfig::new(&self.outbox(), 64 << 20);
        let outbox = Outbox::open(config, keys, clock).unwrap();
        let mut records = Vec::new();
        for lane in Lane::ALL {
            let mut after = 0;
            loop {
                let frames = outbox.next_to_send(lane, after, 50, usize::MAX).unwrap();
                let Some(last) = frames.last() else {
                    break;
                };
                after = last.identity.seq;
                records.extend(frames.iter().map(|frame| self.read(&frame.bytes)));
            }
        }
        records
    }

    fn read(&self, frame: &[u8]) -> Record {
        let verified = envelope::verify(frame, &self.signer.verifying_key()).unwrap();
        let plain = envelope::open(&verified, &self.recipient).unwrap();
        Record::decode(&plain).unwrap()
    }

    fn write_enrolment(&self, rng: &ring::rand::SystemRandom, frame_key: &[u8]) {
        let (control, _) = SigningKey::generate(rng).unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["box".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let text = format!(
            "schema = \"enrolment/1\"\n[box]\nid = \"{BOX}\"\n\
             name = \"FR75-012\"\n[gateway]\nendpoint = \"127.0.0.1:1\"\nserver_name = \"localhost\"\n\
             ca_certificate = \"\"\"\n{}\"\"\"\nrecipient_key = \"{}\"\ncontrol_key = \"{}\"\n[keys]\n\
             tls_certificate = \"\"\"\n{}\"\"\"\ntls_key = \"\"\"\n{}\"\"\"\nframe_key = \"{}\"\n",
            ca_certificate.pem(),
            STANDARD.encode(self.recipient.public().0),
            STANDARD.encode(control.public()),
            certificate.pem(),
            key.serialize_pem(),
            STANDARD.encode(frame_key),
        );
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.dir.path().join("enrolment.toml"))
            .unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// The program with these words and the box's configuration.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardio-agent"));
        command.args(words).arg("--config").arg(self.config());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus);
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts the agent.
    pub fn start(&self, words: &[&str]) -> Agent {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("agent.log"))
            .unwrap();
        let mut all = vec!["run"];
        all.extend(words);
        let child = self.command(&all).stderr(Stdio::from(log)).spawn().unwrap();
        Agent(child)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// What the running agent says of itself.
    pub fn status(&self) -> Option<serde_json::Value> {
        let output = self.output(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// The first source, once it is as wanted.
    pub fn wait_for_source(
        &self,
        what: &str,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        wait_for(what, || {
            let status = self.status()?;
            let source = status["sources"][0].clone();
            is_so(&source).then_some(source)
        })
    }
}

/// The running program; killed when the test is over.
pub struct Agent(pub Child);

impl Agent {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        wait_for("the agent to end", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Cyton on a pseudo terminal whose link is at `path`.
pub struct Sensor {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    link: PathBuf,
}

impl Sensor {
    /// Plugs the sensor in: it answers commands, and sends a frame every 4 ms while it
    /// streams.
    pub fn plug_in(path: &Path) -> Self {
        Self::with(path, live)
    }

    fn with(
        path: &Path,
        life: impl FnOnce(&OwnedFd, &AtomicBool, &AtomicU64) + Send + 'static,
    ) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let mut line = tcgetattr(&master).unwrap();
        line.make_raw();
        tcsetattr(&master, OptionalActions::Now, &line).unwrap();
        let slave = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        std::os::unix::fs::symlink(slave, path).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let (stops, sends) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || life(&master, &stops, &sends));
        Self {
            stop,
            sent,
            thread: Some(thread),
            link: path.to_owned(),
        }
    }

    /// How many frames it has sent; a watch, how many bytes of answers.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Sensor {
    /// Pulls the plug.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.link);
    }
}

/// A watch with recordings on a pseudo terminal whose link is at `path`. Between its messages
/// its console says other things. Once it has answered with `bytes`, it says nothing any more.
pub fn plug_in_watch(path: &Path, watch: Arc<Mutex<RecordsPeripheral>>, bytes: u64) -> Sensor {
    Sensor::with(path, move |master, stop, answered| {
        let mut reader = ConsoleReader::default();
        while !stop.load(Ordering::Relaxed) {
            let mut heard = [0; 512];
            let Ok(count) = rustix::io::read(master, &mut heard) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let mut asked = Vec::new();
            reader.push(&heard[..count], &mut asked);
            for question in asked {
                if answered.load(Ordering::Relaxed) >= bytes {
                    break;
                }
                let answer = watch.lock().unwrap().answer(&question);
                let mut lines = b"[00:00:01] <inf> battery 80\r\n".to_vec();
                lines.extend(console_frames(&answer));
                let mut rest = lines.as_slice();
                while !rest.is_empty() && !stop.load(Ordering::Relaxed) {
                    let taken = rustix::io::write(master, rest).unwrap_or(0);
                    rest = &rest[taken..];
                }
                let length = u64::try_from(answer.body.len()).unwrap();
                answered.fetch_add(length, Ordering::Relaxed);
            }
        }
    })
}

/// Something that is no sensor at all, on a pseudo terminal whose link is at `path`.
pub fn plug_in_noise(path: &Path) -> Sensor {
    Sensor::with(path, |master, stop, _| {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
            // what a full line does not take is lost, as on a real one
            let _ = rustix::io::write(master, &[0x55; 40]);
        }
    })
}

/// The sensor's life: paced by waiting 4 ms for a command between two frames.
fn live(master: &OwnedFd, stop: &AtomicBool, sent: &AtomicU64) {
    let profile = by_name("openbci-cyton").unwrap();
    let calibration = profile.calibration();
    let mut peripheral = (profile.peripheral)();
    let mut encoder = (profile.encoder)();
    let mut heart = EcgSynth::new(SynthConfig::calm(3, SamplingRate::hz(250).unwrap()));
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(4));
        let mut out = Vec::new();
        let mut heard = [0; 64];
        if let Ok(count) = rustix::io::read(master, &mut heard) {
            peripheral.on_bytes(&heard[..count], &mut out, &mut Vec::new());
        }
        if peripheral.is_streaming() {
            let row = heart.next_measured();
            let adu: Vec<i32> = row
                .iter()
                .map(|mv| to_adu(*mv, &calibration, profile.rails))
                .collect();
            encoder.frame(&FrameRows::one_each(&adu), &mut out);
            sent.fetch_add(1, Ordering::Relaxed);
        }
        // what a full line does not take is lost, as on a real one
        let _ = rustix::io::write(master, &out);
    }
}
