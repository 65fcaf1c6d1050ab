//! Power cuts: the state of a running program is copied as a cut at a random instant would leave
//! it, and everything that was acknowledged before must be in the copy.
//!
//! The program under test runs on; only its card's image is copied. Deliberately absent: storage
//! that lies about flushing, which nothing can prove safe.

mod drain;
pub(crate) mod word;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::chance::Chance;
use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::disk::{Card, Host, reflink};
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::visit::Stage;

use word::{Kept, Word};

/// Sizes of the file systems; the images are sparse.
const HOST_MIB: u64 = 16 * 1024;
const BOX_MIB: u64 = 1024;
const GATEWAY_MIB: u64 = 2048;

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";

/// The box's database in its state directory.
pub(crate) const OUTBOX: &str = "outbox.sqlite";

/// The gateway's database of frames in its state directory.
pub(crate) const INBOX: &str = "inbox.sqlite";

/// How many times faster than life the sensor plays: more commits, more instants to hit.
const SPEED: &str = "10";

/// Every how many cuts the real programs are started on the copies.
const DRAIN_EVERY: u64 = 20;

/// Longest pause before a cut.
const PAUSE_MS: (u64, u64) = (0, 400);

/// How long the box may take to commit when a cut waits for that.
const COMMIT_LIMIT: Duration = Duration::from_secs(10);

/// How long programs may take to come up.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Whose power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Side {
    /// The box: what it holds for saved must survive.
    Agent,
    /// The gateway: what it has acknowledged must survive.
    Gateway,
}

/// How often databases are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Synchronous {
    /// As the product does it.
    Full,
    /// Too rarely: a debug build does so when told to, and the rig must find losses then.
    Normal,
}

/// Which cuts.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many cuts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) cuts: u64,
    /// Where chance starts.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Whose power.
    #[arg(long, value_enum, default_value = "agent")]
    pub(crate) side: Side,
    /// With `normal` a debug build flushes too rarely, and the run succeeds if it finds losses.
    #[arg(long, value_enum, default_value = "full")]
    pub(crate) synchronous: Synchronous,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
}

/// What came of all cuts.
#[derive(Debug, Default)]
struct Tally {
    /// Cuts made.
    cuts: u64,
    /// Records that the last cut had to leave.
    word: u64,
    /// Records lost, over all cuts.
    lost: u64,
    /// Cuts that lost something.
    lossy: u64,
    /// Copies that were wrong in another way.
    damaged: u64,
    /// Copies that held more than was said.
    beyond: u64,
    /// Copies on which the real programs were started.
    drained: u64,
    /// Frames of which the gateway had each after that.
    drained_frames: u64,
}

/// The programs while they are cut.
struct Rig {
    // Dropped in this order: programs, cards, the file system that holds them.
    _agent: Program,
    _sim: Program,
    _gateway: Program,
    box_card: Card,
    gateway_card: Card,
    _host: Host,
    stage: Stage,
    folder: PathBuf,
    chance: Chance,
    options: Options,
    tally: Tally,
}

/// Cuts the power again and again. `true` when nothing that was acknowledged was lost; with
/// [`Synchronous::Normal`] when losses were found.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    say(format!("seed {}", options.seed));
    let watch = StopWatch::start();
    let mut rig = Rig::begin(folder.path(), programs, options)?;
    for number in 1..=options.cuts {
        rig.cut(number)?;
    }
    Ok(rig.tell(watch.elapsed()))
}

impl Rig {
    fn begin(folder: &Path, programs: Programs, options: &Options) -> anyhow::Result<Self> {
        let host = Host::make(folder, HOST_MIB)?;
        let mut stage = Stage::set(&folder.join("visit"), programs)?;
        let box_card = host.card("box", BOX_MIB, &stage.agent_state())?;
        let gateway_card = host.card("gateway", GATEWAY_MIB, &stage.gateway_state())?;
        if options.synchronous == Synchronous::Normal {
            let rarely = [("CARDIO_RIG_SYNCHRONOUS", "normal")];
            match options.side {
                Side::Agent => stage.set_agent_environment(&rarely),
                Side::Gateway => stage.set_gateway_environment(&rarely),
            }
        }
        let gateway = stage.start_gateway()?;
        let seed = options.seed.to_string();
        let sensor = [
            "--device",
            DEVICE,
            "--seed",
            &seed,
            "--duration",
            "24h",
            "--speed",
            SPEED,
        ];
        let sim = stage.start_sim(&sensor.map(str::to_owned))?;
        let inputs = wait_for("the sensor's ledger", START_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        stage.enrol(DEVICE, &inputs)?;
        let agent = stage.start_agent()?;
        wait_for("acknowledged records", START_LIMIT, || {
            let word = Word::of(&stage.agent_state().join(OUTBOX));
            Ok(word.ok().filter(|word| word.acked() > 0))
        })?;
        Ok(Self {
            _agent: agent,
            _sim: sim,
            _gateway: gateway,
            box_card,
            gateway_card,
            _host: host,
            stage,
            folder: folder.to_path_buf(),
            chance: Chance::new(options.seed),
            options: options.clone(),
            tally: Tally::default(),
        })
    }

    /// One cut: the word, the copy, the comparison, and now and then the real programs.
    fn cut(&mut self, number: u64) -> anyhow::Result<()> {
        let pause = self.chance.between(PAUSE_MS);
        let after_commit = self.chance.below(2) == 0;
        StopWatch::start().sleep_until(Duration::from_millis(pause));
        let shown = self.shown_as_saved()?;
        let word = self.word(after_commit)?;
        if shown > word.saved() {
            bail!(
                "the box shows {shown} record(s) as saved and has {}",
                word.saved()
            );
        }
        let is_due = number.is_multiple_of(DRAIN_EVERY) || number == self.options.cuts;
        if is_due && self.options.synchronous == Synchronous::Full {
            // The gateway first: after a cut of both, no box is behind its gateway.
            let gateway = self.gateway_card.cut("gateway-drained")?;
            let box_ = self.box_card.cut("box-drained")?;
            let checked = match self.options.side {
                Side::Agent => reflink(&box_, "checked")?,
                Side::Gateway => reflink(&gateway, "checked")?,
            };
            self.check(number, &word, checked)?;
            self.tally.drained_frames += drain::drain(&self.stage, &self.folder, gateway, box_)?;
            self.tally.drained += 1;
        } else {
            let checked = match self.options.side {
                Side::Agent => self.box_card.cut("checked")?,
                Side::Gateway => self.gateway_card.cut("checked")?,
            };
            self.check(number, &word, checked)?;
        }
        Ok(())
    }

    /// What `status` shows to a person.
    fn shown_as_saved(&self) -> anyhow::Result<u64> {
        let status = self.stage.agent_status()?.unwrap_or_default();
        let stored = status.pointer("/store/stored").and_then(Value::as_u64);
        stored.context("the status does not say how much is saved")
    }

    /// What the box says at this instant, or the instant after its next commit.
    fn word(&self, after_commit: bool) -> anyhow::Result<Word> {
        let outbox = self.stage.agent_state().join(OUTBOX);
        let before = Word::of(&outbox)?;
        if !after_commit {
            return Ok(before);
        }
        wait_for("the next commit", COMMIT_LIMIT, || {
            let now = Word::of(&outbox)?;
            Ok((now != before).then_some(now))
        })
    }

    /// Mounts the copy, which replays its journal, and holds it against the word.
    fn check(&mut self, number: u64, word: &Word, image: PathBuf) -> anyhow::Result<()> {
        let at = self.folder.join("checked");
        let card = Card::insert(image, &at)?;
        let kept = match self.options.side {
            Side::Agent => word.in_box(&at.join(OUTBOX)),
            Side::Gateway => word.in_inbox(&at.join(INBOX)),
        };
        card.discard()?;
        self.note(number, word, &kept);
        Ok(())
    }

    fn note(&mut self, number: u64, word: &Word, kept: &Kept) {
        let tally = &mut self.tally;
        tally.cuts += 1;
        tally.word = match self.options.side {
            Side::Agent => word.saved(),
            Side::Gateway => word.acked(),
        };
        tally.lost += kept.lost;
        tally.lossy += u64::from(kept.lost > 0);
        tally.damaged += u64::from(kept.lost == 0 && !kept.wrong.is_empty());
        tally.beyond += u64::from(kept.beyond);
        if self.options.synchronous == Synchronous::Full {
            for wrong in &kept.wrong {
                say(format!("cut {number}: {wrong}"));
            }
        }
    }

    /// The table, and whether the cuts went as they must.
    fn tell(&self, took: Duration) -> bool {
        let (options, tally) = (&self.options, &self.tally);
        let (side, word) = match options.side {
            Side::Agent => ("box", "shown as saved by the box"),
            Side::Gateway => ("gateway", "acknowledged by the gateway"),
        };
        let mode = match options.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        result(format!(
            "power cuts    {} of the {side}, synchronous={mode}, seed {}, {:.1} s",
            tally.cuts,
            options.seed,
            took.as_secs_f64()
        ));
        result(format!(
            "promised      {} record(s) {word} before the last cut",
            tally.word
        ));
        result(format!(
            "lost          {} record(s) in {} cut(s)",
            tally.lost, tally.lossy
        ));
        result(format!("damaged       {} database(s)", tally.damaged));
        result(format!(
            "beyond        {} cut(s) left more than was promised",
            tally.beyond
        ));
        result(format!(
            "drained       {} time(s) by the real programs on the copies, {} frame(s) found at the gateway",
            tally.drained, tally.drained_frames
        ));
        let held = tally.lost == 0 && tally.damaged == 0;
        let right = match options.synchronous {
            Synchronous::Full => held,
            Synchronous::Normal => !held,
        };
        result(match (options.synchronous, right) {
            (Synchronous::Full, true) => "NOTHING LOST",
            (Synchronous::Full, false) => "LOST",
            (Synchronous::Normal, true) => "THE RIG FINDS LOSSES",
            (Synchronous::Normal, false) => {
                "THE RIG IS BLIND: no loss found where there must be some"
            }
        });
        right
    }
}
