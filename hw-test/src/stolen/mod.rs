//! A stolen box: what its card holds is searched, as raw bytes, for what was recorded.
//!
//! The box's state lies on a card of its own, with its logs and as working directory. After a
//! visit with a known patient and a known signal the box is told to dump core (SIGABRT, core
//! dumps unlimited). Copies of the card that were taken during the visit and after it are
//! searched: files, deleted files and journal alike. A second visit with a box that also keeps
//! its records unsealed proves that the search finds them, and what is planted and deleted on
//! each card proves the encodings. Deliberately absent: the memory of a running box, and its
//! configuration, which is not written by the box and names the subject by its reference.

mod needles;
mod search;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::disk::{Card, Host};
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::programs::{self, Programs};
use crate::sql;
use crate::visit::{SUBJECT, Stage, fictitious_patient};

use needles::{Needle, What};
use search::Search;

/// Sizes of the file systems; the images are sparse.
const HOST_MIB: u64 = 4096;
const CARD_MIB: u64 = 256;

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";

/// How long a visit lasts, and when the card is copied during it.
const VISIT: Duration = Duration::from_secs(12);
const COPIES_AT: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(8)];

/// How long programs may take to come up, or to go.
const LIMIT: Duration = Duration::from_secs(30);

/// Slices of opened records that are looked for.
const RECORDS: usize = 64;

/// A word and a signal that are nowhere else.
const PLANTED_WORD: &str = "PLANTÉ-0417 word";
const PLANTED_SIGNAL: [i32; 8] = [-3107, 8211, -29_001, 17, 12_345, -6, 31_007, 2024];

/// Words in every form in which a program might leave them behind.
pub(crate) fn words(words: &[&str]) -> Vec<Vec<u8>> {
    let needles = words
        .iter()
        .flat_map(|word| needles::text(What::Identity, word));
    needles.map(|needle| needle.bytes).collect()
}

/// How the rig runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where chance starts.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Use the programs of this folder instead of building them; the box that does not seal is
    /// built in any case.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
}

/// What one visit left on its card.
struct Left {
    needles: usize,
    bytes: u64,
    found: BTreeMap<What, usize>,
    planted: usize,
    planted_found: usize,
    cores: usize,
}

/// Searches the card of a box, and of one that does not seal. `true` when nothing is found on
/// the first and the signal and the records on the second.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.programs.as_deref())?;
    let unsealed = Programs {
        agent: programs::unsealed_agent()?,
        ..programs.clone()
    };
    say(format!("seed {}", options.seed));
    let watch = StopWatch::start();
    let sealed = visit(programs, options.seed).context("the visit of the box")?;
    let open = visit(unsealed, options.seed).context("the visit of the box that does not seal")?;
    say(if dumps_core()? {
        "a program that does not forbid it leaves a core dump where it runs"
    } else {
        "this machine puts core dumps elsewhere or makes none: that the box leaves none says little"
    });
    tell("sealed", &sealed);
    tell("unsealed", &open);
    let eyes = [&sealed, &open]
        .into_iter()
        .all(|left| left.planted > 0 && left.planted_found == left.planted);
    let nothing = sealed.found.is_empty() && sealed.cores == 0;
    let everything = [What::Record, What::Subject]
        .iter()
        .all(|what| open.found.contains_key(what));
    result(format!(
        "took          {:.1} s",
        watch.elapsed().as_secs_f64()
    ));
    result(match (nothing, everything && eyes) {
        (true, true) => {
            "verdict       the card reveals nothing recorded, and the search would have found it"
        }
        (false, _) => "verdict       FAILED: the card reveals what was recorded",
        (true, false) => "verdict       FAILED: the search does not find what lies open",
    });
    Ok(nothing && everything && eyes)
}

fn tell(name: &str, left: &Left) {
    let found: Vec<String> = left
        .found
        .iter()
        .map(|(what, count)| format!("{} of {}", count, what.name()))
        .collect();
    let found = if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.join(", ")
    };
    result(format!(
        "{name:13} {} needles in {} MiB of raw card: found {found}; planted {} found {}; core files {}",
        left.needles,
        left.bytes >> 20,
        left.planted,
        left.planted_found,
        left.cores
    ));
}

fn visit(programs: Programs, seed: u64) -> anyhow::Result<Left> {
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let host = Host::make(folder.path(), HOST_MIB)?;
    let agent = programs.agent.clone();
    let stage = Stage::set(&folder.path().join("visit"), programs)?;
    let mut card = host.card("box", CARD_MIB, &stage.agent_state())?;
    let planted = plant(&card, &stage.agent_state())?;
    let mut copies = vec![card.cut("planted")?];
    let _gateway = stage.start_gateway()?;
    stage.record()?.put(&fictitious_patient(SUBJECT))?;
    let seed = seed.to_string();
    let sensor = ["--device", DEVICE, "--seed", &seed, "--duration", "24h"];
    let _sim = stage.start_sim(&sensor.map(str::to_owned))?;
    let inputs = wait_for("the sensor's ledger", LIMIT, || {
        Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
    })?;
    stage.enrol(DEVICE, &inputs)?;
    let mut box_ = start(&stage, &agent)?;
    let watch = StopWatch::start();
    for (number, at) in COPIES_AT.into_iter().enumerate() {
        watch.sleep_until(at);
        copies.push(card.cut(&format!("copy-{number}"))?);
    }
    watch.sleep_until(VISIT);
    box_.must_run()?;
    abort(&box_)?;
    let ended = box_.wait(LIMIT)?;
    say(format!("the box ended with {ended}"));
    let cores = core_files(&stage.agent_state())?;
    card.unmount()?;
    copies.push(card.cut("after")?);
    let needles = known(&stage)?;
    let mut left = Left {
        needles: needles.len(),
        bytes: 0,
        found: BTreeMap::new(),
        planted: planted.len(),
        planted_found: 0,
        cores,
    };
    let mut search = Search::of(needles.iter().chain(&planted));
    for copy in &copies {
        left.bytes += search.read(copy)?;
    }
    for (needle, found) in needles.iter().chain(&planted).zip(search.found()) {
        match needle.what {
            What::Planted => left.planted_found += usize::from(*found),
            what if *found => *left.found.entry(what).or_default() += 1,
            _ => {}
        }
    }
    Ok(left)
}

/// The box, with everything that it may write on its card and core dumps asked for.
fn start(stage: &Stage, agent: &Path) -> anyhow::Result<Program> {
    let card = stage.agent_state();
    // It runs in another folder than this program.
    let agent = std::path::absolute(agent).context("the box's program has no path")?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited; exec \"$0\" run --config \"$1\""])
        .arg(agent)
        .arg(stage.folder().join("agent.toml"))
        .current_dir(&card)
        .env("HOME", &card)
        .env("TMPDIR", &card);
    Program::start("agent", command, &card)
}

/// Whether a program that aborts leaves a core dump in its folder on this machine.
fn dumps_core() -> anyhow::Result<bool> {
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited; kill -ABRT $$"])
        .current_dir(folder.path());
    Program::start("aborted", command, folder.path())?.wait(LIMIT)?;
    Ok(core_files(folder.path())? > 0)
}

fn abort(box_: &Program) -> anyhow::Result<()> {
    let pid = i32::try_from(box_.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.context("the box has no process id")?, Signal::ABORT)
        .context("cannot make the box abort")
}

/// Files that look like core dumps beside the box's state.
fn core_files(folder: &Path) -> anyhow::Result<usize> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with("core")).count())
}

/// Writes a word and a signal in every form on the card and deletes them: the search must find
/// each.
fn plant(card: &Card, at: &Path) -> anyhow::Result<Vec<Needle>> {
    let mut planted = needles::text(What::Planted, PLANTED_WORD);
    planted.extend(needles::numbers(What::Planted, &PLANTED_SIGNAL));
    let path = at.join("planted");
    let mut bytes = Vec::new();
    for needle in &planted {
        bytes.extend_from_slice(&needle.bytes);
        bytes.extend_from_slice(b"\n\n\n\n");
    }
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    card.flush()?;
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(planted)
}

/// Everything of the visit that nobody may find.
fn known(stage: &Stage) -> anyhow::Result<Vec<Needle>> {
    let mut needles = Vec::new();
    for word in [
        "ESSAI",
        "VISITE",
        "Ambléon",
        "123456789012212",
        "ESS-000123",
    ] {
        needles.extend(needles::text(What::Identity, word));
    }
    needles.extend(needles::text(What::Subject, SUBJECT));
    needles.extend(needles::signal(&Ledger::read(&stage.ledger())?));
    // What the gateway opened is what the box sealed, packed samples among it.
    let record = stage.gateway_state().join("record.sqlite");
    let rows = sql::look(
        &record,
        "SELECT hex(substr(bytes, length(bytes) / 2, 24)) AS slice FROM records
         WHERE kind IN ('segment', 'assessment') ORDER BY kind, first DESC",
    )?;
    ensure!(
        !rows.is_empty(),
        "the gateway has opened nothing of the visit"
    );
    for row in rows.iter().take(RECORDS) {
        needles.extend(needles::record(&sql::text(row, "slice")));
    }
    Ok(needles)
}
