//! A week without a network, and its end: a box whose gateway is not there takes in twelve visits
//! and two Holter recordings a day; then the gateway comes, and everything must arrive, alerts
//! first, with memory flat.
//!
//! What decides is how many records there are, how large they are and when they say they were
//! made, so a week is made of that and not of waiting: Holter files are taken from the drop
//! folder as fast as they can be sealed, and a visit is a short real acquisition. The box's wall
//! clock moves on from visit to visit; its boot clock cannot be moved.
//!
//! Deliberately absent: faults, which the soak plays, and samples, which visits compare.

mod drain;
pub(crate) mod holter;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::child::Program;
use crate::clock::wait_for;
use crate::cuts::word::Word;
use crate::cuts::{INBOX, OUTBOX};
use crate::given::Given;
use crate::judge::ledger::Ledger;
use crate::out::say;
use crate::programs::Programs;
use crate::soak::RECORD;
use crate::soak::truth::{Filed, Truth};
use crate::sql::{self, Database, number};
use crate::visit::{SOURCE, SUBJECT, Stage, fictitious_patient};

use holter::Holter;
use table::{Stored, Table};

/// The simulated sensor.
const DEVICE: &str = "openbci-cyton";

/// How long a program may take to start or to end.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// How long a visit may take beyond its length.
const VISIT_LIMIT: Duration = Duration::from_secs(60);

/// How long the last files may take to be sealed.
const IMPORT_LIMIT: Duration = Duration::from_secs(3_600);

const DAY_S: i64 = 86_400;

/// A visit during which a chest electrode comes off.
const ELECTRODE_OFF: &str = r#"
summary = "chest electrode C3 comes off after two seconds"

[heart]
rate_bpm = 70

[[fault]]
kind = "electrode-off"
electrode = "C3"
at = "2s"
for = "1h"
"#;

/// Of so many visits one loses an electrode.
const EVERY: u64 = 4;

/// How long, and how much a day.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Days without the gateway.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=31))]
    days: u64,
    /// Visits a day.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=24))]
    visits: u64,
    /// Seconds that are captured of each visit.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(3..=3_600))]
    seconds: u64,
    /// Holter recordings a day.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=12))]
    holters: u64,
    /// Hours of each Holter recording.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=48))]
    hours: u64,
    #[command(flatten)]
    given: Given,
}

/// Why this machine cannot run it, if it cannot.
pub(crate) fn obstacle() -> Option<String> {
    let asked = Command::new("sqlite3").arg("--version").output();
    asked
        .is_err()
        .then(|| "sqlite3 is not installed (Debian package sqlite3)".to_owned())
}

/// Plays it. `true` when everything arrived once, alerts first, with memory flat.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    say(format!("seed {}", options.given.seed));
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let done = Week::begin(folder, programs, options).and_then(|mut week| {
        week.live_through()?;
        week.come_home()
    });
    if !matches!(done, Ok(true)) {
        let kept = temporary.keep();
        let kept = options.given.folder(&kept);
        say(format!("the week's files are kept in {}", kept.display()));
    }
    done
}

/// A week while it passes.
struct Week<'a> {
    options: &'a Options,
    stage: Stage,
    agent: Program,
    clock_bends: bool,
}

impl<'a> Week<'a> {
    /// Lets the gateway know the box and the patient, and takes the gateway away.
    fn begin(folder: &Path, programs: Programs, options: &'a Options) -> anyhow::Result<Self> {
        let mut stage = Stage::set(folder, programs)?;
        stage.equip_for_long()?;
        let clock_bends = stage.bend_wall_clock()?;
        if !clock_bends {
            say("the box's clock stands at the end of the week: libfaketime is not installed");
        }
        std::fs::write(electrode_off(&stage), ELECTRODE_OFF).context("cannot write a scenario")?;
        let mut gateway = stage.start_gateway()?;
        stage.record()?.put(&fictitious_patient(SUBJECT))?;
        let mut sim = stage.start_sim(&sensor(&["--seed", "1", "--duration", "1s"]))?;
        let inputs = wait_for("the sensor's ledger", PROGRAM_LIMIT, || {
            Ok(Ledger::header(&stage.ledger())?.map(|ledger| ledger.inputs))
        })?;
        sim.kill()?;
        stage.enrol(DEVICE, &inputs)?;
        gateway.stop(PROGRAM_LIMIT)?;
        let agent = stage.start_agent()?;
        Ok(Self {
            options,
            stage,
            agent,
            clock_bends,
        })
    }

    /// Every day its files and its visits.
    fn live_through(&mut self) -> anyhow::Result<()> {
        let options = self.options;
        for day in 0..options.days {
            for place in 0..options.holters {
                let number = day * options.holters + place;
                Holter {
                    hours: options.hours,
                    seed: options.given.seed.wrapping_add(number),
                    ended_s_ago: self.seconds_left(day, 0),
                }
                .lie_in(&self.stage.recorder(), &format!("holter{number}"))?;
            }
            for visit in 0..options.visits {
                self.go_to(day, visit)?;
            }
            let word = self.word()?;
            say(format!(
                "day {}: {} records sealed, {} files wait in the drop folder",
                day + 1,
                word.saved(),
                self.files_left()?
            ));
        }
        self.shift(0)?;
        wait_for("the last files to be sealed", IMPORT_LIMIT, || {
            self.agent.must_run()?;
            Ok((self.files_left()? == 0).then_some(()))
        })
    }

    /// One visit: the sensor is switched on, records, and is switched off.
    fn go_to(&mut self, day: u64, visit: u64) -> anyhow::Result<()> {
        let options = self.options;
        let left_s = self.seconds_left(day, visit);
        self.shift(-left_s)?;
        let place = day * options.visits + visit;
        let seed = options.given.seed.wrapping_add(place).to_string();
        let lasts = format!("{}s", options.seconds);
        let mut arguments = sensor(&["--seed", &seed, "--duration", &lasts]);
        if place % EVERY == EVERY - 1 {
            arguments.push("--scenario".to_owned());
            arguments.push(electrode_off(&self.stage).display().to_string());
        }
        let mut sim = self.stage.start_sim(&arguments)?;
        let limit = VISIT_LIMIT + Duration::from_secs(options.seconds);
        sim.wait(limit)
            .with_context(|| format!("visit {} of day {}", visit + 1, day + 1))?;
        let outbox = self.outbox();
        let question =
            format!("SELECT count(*) AS open FROM open_acquisition WHERE source = '{SOURCE}'");
        wait_for("the visit to end", VISIT_LIMIT, || {
            self.agent.must_run()?;
            let rows = sql::look(&outbox, &question)?;
            Ok(rows
                .first()
                .filter(|row| number(row, "open") == 0)
                .map(drop))
        })
    }

    /// The gateway comes; everything is measured and judged.
    fn come_home(&mut self) -> anyhow::Result<bool> {
        let mut truth = Truth::default();
        truth.note(&self.word()?);
        let stored = Stored::read(&self.outbox())?;
        let status = self.stage.agent_status()?.context("the box is silent")?;
        let mut gateway = self.stage.start_gateway()?;
        let drained = drain::watch(&self.stage, &mut self.agent, &mut gateway)?;
        truth.note(&self.word()?);
        self.agent.stop(PROGRAM_LIMIT)?;
        gateway.stop(PROGRAM_LIMIT)?;
        let proved = self
            .stage
            .verify_outbox()
            .and_then(|()| self.stage.verify_chains());
        let state = self.stage.gateway_state();
        let (inbox, record) = (state.join(INBOX), state.join(RECORD));
        let filed = Filed::read(&Database::File(inbox.clone()), &Database::File(record))?;
        let table = Table {
            days: self.options.days,
            visits: self.options.visits * self.options.days,
            visit_s: self.options.seconds,
            holters: self.options.holters * self.options.days,
            holter_h: self.options.hours,
            order: drain::Order::read(&inbox, &stored)?,
            stored,
            status,
            drained,
            outcome: truth.judge(&filed),
            proved,
        };
        Ok(table.tell())
    }

    /// How long before the end of the week a visit is, two hours apart if there are twelve.
    fn seconds_left(&self, day: u64, visit: u64) -> i64 {
        let of_day = DAY_S * i64::try_from(visit).unwrap_or_default()
            / i64::try_from(self.options.visits).unwrap_or(i64::MAX);
        let days_left = i64::try_from(self.options.days - day).unwrap_or_default();
        days_left * DAY_S - of_day
    }

    fn shift(&self, seconds: i64) -> anyhow::Result<()> {
        if self.clock_bends {
            self.stage.shift_wall_clock(seconds)?;
        }
        Ok(())
    }

    fn outbox(&self) -> PathBuf {
        self.stage.agent_state().join(OUTBOX)
    }

    fn word(&self) -> anyhow::Result<Word> {
        Word::of(&self.outbox())
    }

    /// Recordings that the box has not put aside yet.
    fn files_left(&self) -> anyhow::Result<usize> {
        let entries = std::fs::read_dir(self.stage.recorder()).context("no drop folder")?;
        let names = entries.flatten().map(|entry| entry.path());
        Ok(names
            .filter(|path| path.extension().is_some_and(|e| e == "hea"))
            .count())
    }
}

fn electrode_off(stage: &Stage) -> PathBuf {
    stage.folder().join("electrode-off.toml")
}

fn sensor(further: &[&str]) -> Vec<String> {
    let all = ["--device", DEVICE].iter().chain(further);
    all.map(|word| (*word).to_owned()).collect()
}
