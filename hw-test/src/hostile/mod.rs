//! A hostile world around box and gateway: one case each for what networks, clocks, forgers and
//! strangers do. Every case says what it did and what was observed.
//!
//! - Each case has its own box, gateway and sensor, all real programs, and a [`crate::proxy`]
//!   between box and gateway; several cases run abreast.
//! - A case passes when the programs answered as they promise *and* nothing was lost: what the
//!   sensor sent is in the record once, sample by sample.
//! - Chance follows from the printed seed. Instants are those of this machine.
//!
//! Deliberately absent: kills and power cuts, which have rigs of their own.

mod card;
mod certificates;
mod certify;
mod clocks;
mod enrol;
mod forger;
mod ground;
mod link;
mod malformed;
mod middle;
mod stranger;
mod wire;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};

use crate::clock::StopWatch;
use crate::given::Given;
use crate::out::{result, say};
use crate::programs::Programs;

/// Which cases, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The cases to run; all without a name.
    #[arg(value_name = "CASE")]
    pub(crate) only: Vec<String>,
    /// How many cases run at once.
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub(crate) abreast: usize,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// Where a case takes place.
pub(crate) struct Place {
    /// Its own folder.
    folder: PathBuf,
    programs: Programs,
    seed: u64,
}

/// What was observed, one line each.
type Observed = Vec<String>;

/// One thing that the world does.
struct Case {
    name: &'static str,
    /// What is done, for a person.
    does: &'static str,
    run: fn(&Place) -> anyhow::Result<Observed>,
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [
        link::CASES,
        forger::CASES,
        stranger::CASES,
        malformed::CASES,
        certificates::CASES,
        clocks::CASES,
        card::CASES,
        enrol::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Runs the cases and prints what came of each. `true` when all went as promised.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let chosen = choose(&options.only)?;
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let root = std::path::absolute(options.given.folder(temporary.path()))
        .context("no folder to work in")?;
    result(format!(
        "seed {}, {} case(s)",
        options.given.seed,
        chosen.len()
    ));
    let failed = run_abreast(&chosen, options, &root, &programs);
    if !failed.is_empty() {
        say(format!(
            "repeat with: cardio-rig hostile --seed {} {}",
            options.given.seed,
            failed.join(" ")
        ));
        let kept = temporary.keep();
        if options.given.keep.is_none() {
            say(format!("The files are kept in {}", kept.display()));
        }
    }
    result(format!(
        "{} of {} case(s) as promised",
        chosen.len() - failed.len(),
        chosen.len()
    ));
    Ok(failed.is_empty())
}

/// The cases called `names`, or all.
fn choose(names: &[String]) -> anyhow::Result<Vec<&'static Case>> {
    let known: BTreeSet<&str> = cases().map(|case| case.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        bail!(
            "no case is called {unknown}; there are: {}",
            known.join(", ")
        );
    }
    let is_chosen = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    Ok(cases().filter(is_chosen).collect())
}

/// Runs the cases, as many at once as asked, and gives the names of those that failed.
fn run_abreast(
    chosen: &[&'static Case],
    options: &Options,
    root: &Path,
    programs: &Programs,
) -> Vec<&'static str> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.abreast.max(1) {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let place = Place {
                        folder: root.join(case.name),
                        programs: programs.clone(),
                        seed: options.given.seed,
                    };
                    if !is_as_promised(case, &place) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(case.name);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one case and tells what came of it.
fn is_as_promised(case: &Case, place: &Place) -> bool {
    let watch = StopWatch::start();
    let outcome = (case.run)(place);
    let mut lines = vec![format!(
        "{:<4} {:<18} {} ({} s)",
        if outcome.is_ok() { "ok" } else { "FAIL" },
        case.name,
        case.does,
        watch.elapsed().as_secs()
    )];
    match &outcome {
        Ok(observed) => lines.extend(observed.iter().map(|line| format!("       {line}"))),
        Err(err) => lines.push(format!("       {err:#}")),
    }
    result(lines.join("\n"));
    outcome.is_ok()
}

#[cfg(test)]
mod tests {
    use super::{cases, choose};
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = cases().map(|case| case.name).collect();
        assert_eq!(names.len(), cases().count());
    }

    #[test]
    fn a_case_that_does_not_exist_is_answered_with_those_that_do() {
        let err = choose(&["half-opne".to_owned()]).map(|_| ()).unwrap_err();
        assert!(err.to_string().contains("half-open"), "{err}");
        assert_eq!(choose(&["half-open".to_owned()]).unwrap().len(), 1);
    }
}
