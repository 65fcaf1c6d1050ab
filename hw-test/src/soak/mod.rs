//! One long visit in which everything goes wrong, again and again, and the proof that nothing
//! that the box accepted was lost or filed twice.
//!
//! Two judges: every frame that the box ever said it had saved, by its place in its chain; and
//! every sample that the sensor sent, by its value. Deliberately absent: faults of the sensor,
//! which the scenarios of a visit play.

mod fault;
mod field;
pub(crate) mod gap;
mod table;
pub(crate) mod truth;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::cuts::INBOX;
use crate::cuts::word::Word;
use crate::disk;
use crate::given::Given;
use crate::judge::compare::compare;
use crate::judge::ledger::Ledger;
use crate::judge::record::FiledVisit;
use crate::out::say;
use crate::programs::Programs;
use crate::proxy::Proxy;
use crate::sql::Database;
use crate::visit::{SUBJECT, Stage, fictitious_patient};

use fault::{Kind, Plan};
use field::{Cards, Field};
use table::{Happened, Table};
use truth::{Filed, Truth};

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";

/// The gateway's database of the patient record in its state directory.
pub(crate) const RECORD: &str = "record.sqlite";

/// How long programs may take to come up.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long the box may take to send everything after the last fault: it notices a half-open
/// connection by its keep-alive.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);

/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Which soak.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many faults.
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    faults: u64,
    /// Only this kind of fault; may be given several times. Every kind without it.
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// End after so many minutes, if the faults last longer.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    #[command(flatten)]
    given: Given,
}

/// A soak while it runs.
struct Soak {
    field: Field,
    sim: Program,
    truth: Truth,
    watch: StopWatch,
    happened: Vec<Happened>,
    with_cards: bool,
    clock_bends: bool,
}

/// Plays it. `true` when nothing was lost and nothing filed twice.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let obstacle = disk::obstacle();
    if obstacle.is_none() {
        disk::own_mounts()?;
    }
    say(format!("seed {}", options.given.seed));
    if let Some(obstacle) = &obstacle {
        say(format!("no power cuts and no failing disks: {obstacle}"));
    }
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let mut soak = Soak::begin(folder, programs, options.given.seed, obstacle.is_none())?;
    let plan = Plan::new(soak.kinds(&options.kind), options.given.seed);
    let done = soak.play(plan, options).and_then(|()| soak.judge(options));
    if !matches!(done, Ok(true)) {
        soak.keep(folder)?;
        let kept = temporary.keep();
        let kept = options.given.folder(&kept);
        say(format!("the soak's files are kept in {}", kept.display()));
    }
    done
}

impl Soak {
    fn begin(
        folder: &Path,
        programs: Programs,
        seed: u64,
        with_cards: bool,
    ) -> anyhow::Result<Self> {
        let mut stage = Stage::set(&folder.join("visit"), programs)?;
        let cards = with_cards
            .then(|| Cards::make(folder, &stage))
            .transpose()?;
        let proxy = Proxy::start(stage.gateway_address(), seed).context("no proxy can be had")?;
        stage.route(proxy.addr());
        let clock_bends = stage.bend_wall_clock()?;
        if !clock_bends {
            say("no clock jumps: libfaketime is not installed (Debian: libfaketime)");
        }
        let gateway = stage.start_gateway()?;
        stage.record()?.put(&fictitious_patient(SUBJECT))?;
        let seed = seed.to_string();
        let sensor = ["--device", DEVICE, "--seed", &seed, "--duration", "24h"];
        let sim = stage.start_sim(&sensor.map(str::to_owned))?;
        let inputs = wait_for("the sensor's ledger", START_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.enrol(DEVICE, &inputs)?;
        let agent = stage.start_agent()?;
        let field = Field::new(stage, cards, proxy, gateway, agent);
        let watch = wait_for("the first frame of the sensor", START_LIMIT, || {
            let begun = Ledger::has_frames(&field.stage().ledger())?;
            Ok(begun.then(StopWatch::start))
        })?;
        let record = Database::File(field.stage().gateway_state().join(RECORD));
        wait_for("filed samples", START_LIMIT, || {
            let segments = record.look("SELECT 1 FROM records WHERE kind = 'segment' LIMIT 1");
            Ok(segments.ok().filter(|rows| !rows.is_empty()))
        })?;
        Ok(Self {
            field,
            sim,
            truth: Truth::default(),
            watch,
            happened: Vec::new(),
            with_cards,
            clock_bends,
        })
    }

    /// The kinds of faults that are asked for and that this machine can play.
    fn kinds(&self, only: &[Kind]) -> Vec<Kind> {
        let is_asked_for = |kind: &Kind| only.is_empty() || only.contains(kind);
        let can_be = |kind: &Kind| match kind {
            Kind::ClockJump => self.clock_bends,
            kind => self.with_cards || !kind.needs_cards(),
        };
        let kinds = Kind::ALL.into_iter();
        kinds.filter(is_asked_for).filter(can_be).collect()
    }

    /// Lets one fault after another happen.
    fn play(&mut self, plan: Plan, options: &Options) -> anyhow::Result<()> {
        let minutes = options.minutes.unwrap_or(u64::MAX / 60);
        let end = Duration::from_secs(minutes * 60);
        let faults = usize::try_from(options.faults).unwrap_or(usize::MAX);
        for (number, fault) in plan.take(faults).enumerate() {
            if self.watch.elapsed() > end {
                return Ok(());
            }
            let waiting = match self.field.word() {
                Some(word) => {
                    self.truth.note(&word);
                    word.saved().saturating_sub(word.acked())
                }
                None => 0,
            };
            let from = self.watch.elapsed();
            say(format!(
                "{:>7.1} s  {:>4}  {} for {} ms{}, {waiting} record(s) waiting",
                from.as_secs_f64(),
                number + 1,
                fault.kind.name(),
                fault.lasts_ms,
                if fault.lingers() { " and on" } else { "" }
            ));
            self.field
                .suffer(&fault)
                .with_context(|| format!("fault {}, {}", number + 1, fault.kind.name()))?;
            self.field.revive()?;
            let to = self.watch.elapsed();
            self.happened.push(Happened {
                kind: fault.kind,
                from,
                to,
            });
            self.watch
                .sleep_until(to + Duration::from_millis(fault.pause_ms));
        }
        Ok(())
    }

    /// Lets everything arrive, and judges.
    fn judge(&mut self, options: &Options) -> anyhow::Result<bool> {
        self.field.clear_up();
        self.settle("the box to send everything")?;
        let asked = self.watch.elapsed();
        self.field.agent().stop(STOP_LIMIT)?;
        self.sim.kill()?;
        let (inbox, record) = (self.database(INBOX), self.database(RECORD));
        let word = self.field.word().context("the box's last word")?;
        self.truth.note(&word);
        wait_for("everything to be filed", SETTLE_LIMIT, || {
            truth::all_is_filed(&inbox, &record)
                .map(|done| done.then_some(()))
                .or(Ok(None))
        })?;
        let server = self.field.stage().record()?;
        let visit = FiledVisit::read(&server, SUBJECT)?;
        self.field.gateway().stop(STOP_LIMIT)?;
        let stage = self.field.stage();
        let proved = stage.verify_outbox().and_then(|()| stage.verify_chains());
        let filed = Filed::read(&inbox, &record)?;
        let ledger = Ledger::read(&self.field.stage().ledger())?;
        let mut verdict = compare(&ledger.leads, &ledger.sent, &visit.spans, &visit.gaps);
        let overstated = verdict.forgive_overstated(ledger.rate_hz, ledger.modulus);
        let table = Table {
            overstated,
            seed: options.given.seed,
            took: self.watch.elapsed(),
            happened: &self.happened,
            asked_to_stop: asked,
            rate_hz: ledger.rate_hz,
            outcome: self.truth.judge(&filed),
            gaps: filed.gaps(),
            stated: visit.gaps.len(),
            recordings: visit.reports.len(),
            verdict,
            proved,
            traffic: self.field.traffic(),
            restarts: self.field.restarts,
        };
        Ok(table.tell())
    }

    /// Waits until the gateway has acknowledged all that the box has.
    fn settle(&mut self, what: &str) -> anyhow::Result<()> {
        let all_acked = |word: &Word| word.saved() > 0 && word.saved() == word.acked();
        let settled = wait_for(what, SETTLE_LIMIT, || {
            Ok(self.field.word().filter(all_acked).map(drop))
        });
        let last = self.field.agent().last_words();
        settled.with_context(|| last)
    }

    fn database(&self, name: &str) -> Database {
        Database::File(self.field.stage().gateway_state().join(name))
    }

    /// Copies what lies on the cards beside them, for they go with this program.
    fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let stage = self.field.stage();
        for state in [stage.agent_state(), stage.gateway_state()] {
            let name = state.file_name().context("a state without a name")?;
            let kept = folder.join("kept").join(name);
            std::fs::create_dir_all(&kept).context("cannot keep the states")?;
            for entry in std::fs::read_dir(&state).context("cannot read a state")? {
                let from = entry.context("cannot read a state")?.path();
                let to = from.file_name().map(|name| kept.join(name));
                if let (true, Some(to)) = (from.is_file(), to) {
                    std::fs::copy(&from, to).context("cannot keep a file")?;
                }
            }
        }
        Ok(())
    }
}
