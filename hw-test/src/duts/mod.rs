//! Devices under test: one file each in `duts/`, and the same demands for a simulated device and
//! for a real one that is attached.
//!
//! What a device sent is written down by the real `cardio-agent sources record` and found by
//! `cardio-agent replay`; what a simulated one should have lost stands in its ledger. Deliberately
//! absent: which devices there are.

mod bench;
mod definition;
mod judge;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::given::Given;
use crate::out::{result, say};
use crate::programs::Programs;
use bench::{Attempt, attempt};
use definition::{Dut, Link};

/// What the rig is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only the device of this file, without `.toml`; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    #[command(flatten)]
    given: Given,
}

/// One device and what became of it.
struct Row {
    name: String,
    about: String,
    outcome: Outcome,
}

enum Outcome {
    /// It does what is demanded of it; what was seen.
    Held(String),
    /// It does not; what was seen, and every demand that it does not meet.
    Broken(String, Vec<String>),
    /// It is not here; why.
    Skipped(String),
}

/// Runs every device; `false` when one does not do what is demanded of it.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let duts = definition::all()?;
    let known: Vec<&str> = duts.iter().map(|dut| dut.name.as_str()).collect();
    for name in &options.only {
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "there is no device {name}: {}",
            known.join(", ")
        );
    }
    let wanted = |dut: &Dut| options.only.is_empty() || options.only.contains(&dut.name);
    let duts: Vec<Dut> = duts.into_iter().filter(wanted).collect();
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("cannot make a folder")?;
    let folder = options.given.folder(temporary.path()).to_path_buf();
    say(format!(
        "{} device(s), seed {}; simulated ones at once, real ones one after another",
        duts.len(),
        options.given.seed
    ));
    let rows = play(duts, &programs, &folder, options.given.seed)?;
    Ok(tell(&rows, options.given.seed))
}

fn play(
    duts: Vec<Dut>,
    programs: &Programs,
    folder: &std::path::Path,
    seed: u64,
) -> anyhow::Result<Vec<Row>> {
    let one = |dut: Dut| -> anyhow::Result<Row> {
        let place: PathBuf = folder.join(&dut.name);
        std::fs::create_dir_all(&place).context("cannot make a folder for a device")?;
        let tried = attempt(&dut, programs, &place, seed);
        let tried = tried.with_context(|| format!("device {}", dut.name))?;
        let outcome = match tried {
            Attempt::Absent(why) => Outcome::Skipped(why),
            Attempt::Recorded(found, ledger) => {
                let (seen, broken) = judge::hold(&dut, &found, ledger.as_ref())?;
                match broken.is_empty() {
                    true => Outcome::Held(seen),
                    false => Outcome::Broken(seen, broken),
                }
            }
        };
        let Dut { name, about, .. } = dut;
        Ok(Row {
            name,
            about,
            outcome,
        })
    };
    let (simulated, real): (Vec<Dut>, Vec<Dut>) = duts
        .into_iter()
        .partition(|dut| matches!(dut.link, Link::Simulated { .. }));
    let mut rows: Vec<Row> = std::thread::scope(|scope| {
        let running: Vec<_> = simulated
            .into_iter()
            .map(|dut| scope.spawn(|| one(dut)))
            .collect();
        let joined = running.into_iter().map(|thread| {
            let done = thread.join();
            done.map_err(|_| anyhow::anyhow!("the thread of a device broke"))?
        });
        joined.collect::<anyhow::Result<_>>()
    })?;
    for dut in real {
        rows.push(one(dut)?);
    }
    Ok(rows)
}

fn tell(rows: &[Row], seed: u64) -> bool {
    let mut held = true;
    for row in rows {
        match &row.outcome {
            Outcome::Held(seen) => result(format!("ok    {:<21} {seen}", row.name)),
            Outcome::Skipped(why) => {
                result(format!("skip  {:<21} {}: {why}", row.name, row.about));
            }
            Outcome::Broken(seen, broken) => {
                held = false;
                result(format!("FAIL  {:<21} {seen}", row.name));
                for one in broken {
                    result(format!("      {:<21} {one}", ""));
                }
                let name = &row.name;
                result(format!(
                    "      {:<21} again: cardio-rig duts --only {name} --seed {seed} --keep FOLDER",
                    ""
                ));
            }
        }
    }
    held
}
