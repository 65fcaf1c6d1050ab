//! The programs that are killed: boxes with their sensors, gateways, broker, database server.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::plan::{Kind, Strike};
use super::table::Visited;
use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::cuts::OUTBOX;
use crate::cuts::word::Word;
use crate::judge::compare::compare;
use crate::judge::ledger::Ledger;
use crate::judge::record::FiledVisit;
use crate::mosquitto::Place;
use crate::out::say;
use crate::postgres::{self, Server};
use crate::programs::Programs;
use crate::soak::truth::Truth;
use crate::sql::{Database, number};
use crate::visit::{SUBJECT, Stage, fictitious_patient};

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";
/// What the patients have; for the first of them a limit is set.
const HEART: &str = "tachycardia";
/// The alert that must come of it.
const ALERT: &str = "heart-rate-high";
/// The rule that raises it.
const RULE: &str = "tachycardia";
/// Names of the gateways at the broker, as the shipped access list knows them.
const USERS: [&str; 2] = ["cardio-gateway", "cardio-gateway-2"];
/// After so long a box sends again what nobody acknowledges; 30 s unless it is told otherwise.
const STALLED_AFTER: &str = "4s";
/// How long programs may take to come up.
const START_LIMIT: Duration = Duration::from_secs(40);
/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The programs in the field.
pub(super) struct Field {
    // Dropped in this order: whoever connects before whom it connects to.
    posts: Vec<Post>,
    broker: Program,
    place: Place,
    server: Server,
    watch: StopWatch,
}

/// A box with its sensor, and a gateway, which need not be the one that it speaks with.
struct Post {
    agent: Program,
    gateway: Program,
    sim: Program,
    stage: Stage,
    subject: String,
    /// When the box was asked to stop, after the sensor's first frame.
    asked_to_stop: Duration,
}

impl Field {
    /// Starts `count` gateways and as many boxes, and waits until something is acknowledged for
    /// each.
    pub(super) fn begin(
        folder: &Path,
        programs: &Programs,
        count: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let server = Server::start()?;
        let place = Place::prepare(&folder.join("broker"), "")?;
        let mut stages: Vec<Stage> = Vec::new();
        let mut gateways = Vec::new();
        for (number, user) in USERS.iter().take(count).enumerate() {
            let mut stage = Stage::set(&folder.join(format!("post-{number}")), programs.clone())?;
            // One gateway is beside the server, the others are not, as far as they know.
            let store = match stages.first() {
                None => server.on_socket(),
                Some(first) => {
                    stage.share_keys(first)?;
                    let password = password(folder)?;
                    for (name, ca) in [
                        ("other.example", server.authority()),
                        (postgres::NAME, place.authority()),
                    ] {
                        let store = server.over_tls(name, &ca, &password);
                        stage.meet_at(&place, user, &store, STALLED_AFTER)?;
                        must_refuse(&stage)?;
                    }
                    server.over_tls(postgres::NAME, &server.authority(), &password)
                }
            };
            stage.meet_at(&place, user, &store, STALLED_AFTER)?;
            gateways.push(stage.start_gateway()?);
            stages.push(stage);
        }
        let first = stages.first().context("no gateway")?;
        // The gateways' authority vouches for boxes and gateways at the broker.
        let broker = place.start(&first.authority(), "")?;
        let mut posts = Vec::new();
        for (number, (stage, gateway)) in stages.into_iter().zip(gateways).enumerate() {
            posts.push(Post::open(stage, gateway, number, seed)?);
        }
        let mut field = Self {
            posts,
            broker,
            place,
            server,
            watch: StopWatch::start(),
        };
        wait_for("acknowledged records of every box", START_LIMIT, || {
            field.must_run()?;
            Ok(field
                .words()
                .all(|word| word.is_some_and(|word| word.acked() > 0))
                .then_some(()))
        })
        .with_context(|| field.last_words())?;
        Ok(field)
    }

    /// What the boxes say now; nothing of one whose database cannot be read at this moment.
    fn words(&self) -> impl Iterator<Item = Option<Word>> {
        let of = |post: &Post| Word::of(&post.stage.agent_state().join(OUTBOX)).ok();
        self.posts.iter().map(of)
    }

    /// Takes down what the boxes say; gives how many records wait.
    pub(super) fn note(&self, truth: &mut Truth) -> u64 {
        let mut waiting = 0;
        for word in self.words().flatten() {
            truth.note(&word);
            waiting += word.saved().saturating_sub(word.acked());
        }
        waiting
    }

    /// Whether all that the boxes saved is acknowledged.
    pub(super) fn is_all_acked(&self) -> bool {
        let mut words = self.words();
        words.all(|word| word.is_some_and(|word| word.saved() == word.acked()))
    }

    /// Fails when a program ended that nobody killed.
    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.server.must_run()?;
        self.broker.must_run()?;
        for post in &mut self.posts {
            post.gateway.must_run()?;
            post.agent.must_run()?;
            post.sim.must_run()?;
        }
        Ok(())
    }

    /// The end of what the gateways and boxes said.
    pub(super) fn last_words(&self) -> String {
        let of = |post: &Post| [post.gateway.last_words(), post.agent.last_words()].join("\n");
        self.posts.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// Kills, waits, and starts again what was killed.
    pub(super) fn suffer(&mut self, strike: &Strike) -> anyhow::Result<()> {
        self.must_run()?;
        let kind = strike.kind;
        let [of_box, of_gateway] = strike.whom.map(|number| {
            let posts = self.posts.len().max(1);
            usize::try_from(number).unwrap_or_default() % posts
        });
        let all = kind == Kind::Everything;
        let hits_box = |at: usize| all || (kind.has_box() && at == of_box);
        let hits_gateway =
            |at: usize| all || kind == Kind::Gateways || (kind.has_gateway() && at == of_gateway);
        for (at, post) in self.posts.iter_mut().enumerate() {
            if hits_gateway(at) {
                post.gateway.kill()?;
            }
            if hits_box(at) {
                post.agent.kill()?;
            }
        }
        if kind.has_broker() {
            self.broker.kill()?;
        }
        if kind.has_server() {
            self.server.kill()?;
        }
        StopWatch::start().sleep_until(Duration::from_millis(strike.lasts_ms));
        if kind.has_server() {
            self.server.revive()?;
        }
        if kind.has_broker() {
            let first = self.posts.first().context("no gateway")?;
            self.broker = self.place.start(&first.stage.authority(), "")?;
        }
        for (at, post) in self.posts.iter_mut().enumerate() {
            if hits_gateway(at) {
                post.gateway = post.stage.start_gateway()?;
            }
            if hits_box(at) {
                post.agent = post.stage.start_agent()?;
            }
        }
        Ok(())
    }

    /// Asks the boxes to stop; what they saved last must be acknowledged before they end.
    pub(super) fn stop_boxes(&mut self) -> anyhow::Result<()> {
        for post in &mut self.posts {
            post.asked_to_stop = self.watch.elapsed();
            post.agent.stop(STOP_LIMIT)?;
            post.sim.kill()?;
        }
        Ok(())
    }

    /// Asks the gateways to stop.
    pub(super) fn stop_gateways(&mut self) -> anyhow::Result<()> {
        for post in &mut self.posts {
            post.gateway.stop(STOP_LIMIT)?;
        }
        Ok(())
    }

    /// Where all gateways keep what they were sent.
    pub(super) fn database(&self) -> Database {
        Database::Server(self.server.readable())
    }

    /// Whether the alert is raised that must come of what the first patient has.
    pub(super) fn is_alert_raised(&self) -> anyhow::Result<bool> {
        let question = format!("SELECT count(*) AS alerts FROM alerts WHERE rule = '{RULE}'");
        let rows = self.database().look(&question)?;
        Ok(rows.first().is_some_and(|row| number(row, "alerts") > 0))
    }

    /// What each sensor sent against what the record shows of its patient. Each gateway is asked
    /// for the patient of another's box, if there is another.
    pub(super) fn visits(&self) -> anyhow::Result<Vec<Visited>> {
        let others = self.posts.iter().cycle().skip(1);
        self.posts
            .iter()
            .zip(others)
            .map(|(post, other)| {
                let ledger = Ledger::read(&post.stage.ledger())?;
                let filed = FiledVisit::read(&other.stage.record()?, &post.subject)?;
                Ok(Visited {
                    verdict: compare(&ledger.leads, &ledger.sent, &filed.spans, &filed.gaps),
                    stated: filed.gaps.len(),
                    recordings: filed.reports.len(),
                    alerts: filed.alerts.into_iter().collect(),
                    expected: if post.subject == SUBJECT {
                        &[ALERT]
                    } else {
                        &[]
                    },
                    rate_hz: ledger.rate_hz,
                    modulus: ledger.modulus,
                    unheard: self.watch.elapsed().saturating_sub(post.asked_to_stop),
                })
            })
            .collect()
    }

    /// Lets boxes and gateways prove their chains.
    pub(super) fn prove(&self) -> anyhow::Result<()> {
        for post in &self.posts {
            post.stage.verify_outbox()?;
            post.stage.verify_chains()?;
        }
        Ok(())
    }
}

impl Post {
    /// Enrols a box for a patient of its own and starts it with its sensor.
    fn open(mut stage: Stage, gateway: Program, number: usize, seed: u64) -> anyhow::Result<Self> {
        let subject = match number {
            0 => SUBJECT.to_owned(),
            _ => format!("{SUBJECT}-{number}"),
        };
        stage.record_of(&subject);
        stage.record()?.put(&fictitious_patient(&subject))?;
        let seed = seed.wrapping_add(u64::try_from(number).unwrap_or_default());
        let seed = seed.to_string();
        let sensor = [
            "--device",
            DEVICE,
            "--scenario",
            HEART,
            "--seed",
            &seed,
            "--duration",
            "24h",
        ];
        let sim = stage.start_sim(&sensor.map(str::to_owned))?;
        let inputs = wait_for("the sensor's ledger", START_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.enrol_as(&format!("FR75-{number:03}"), DEVICE, &inputs)?;
        let agent = stage.start_agent()?;
        say(format!(
            "gateway pid {}, sensor pid {}, box pid {}",
            gateway.pid(),
            sim.pid(),
            agent.pid()
        ));
        Ok(Self {
            agent,
            gateway,
            sim,
            stage,
            subject,
            asked_to_stop: Duration::ZERO,
        })
    }
}

/// A gateway does not believe this server.
fn must_refuse(stage: &Stage) -> anyhow::Result<()> {
    match stage.verify_chains() {
        Err(why) if format!("{why:#}").contains("invalid peer certificate") => Ok(()),
        Err(why) => Err(why).context("a server that is another is refused for another reason"),
        Ok(()) => bail!("a gateway believed a server of another name or authority"),
    }
}

/// The file of the database's password.
fn password(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let path = folder.join("postgres.password");
    let file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    match std::io::Write::write_all(&mut file, postgres::PASSWORD.as_bytes()) {
        Ok(()) => Ok(path),
        Err(error) => bail!("cannot write {}: {error}", path.display()),
    }
}
