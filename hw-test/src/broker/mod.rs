//! The external broker: two gateways on one shared subscription and one PostgreSQL server, boxes
//! that record all the while, and a plan by which boxes, gateways, broker and server are killed,
//! alone and together; and strangers who try another box's topics and name.
//!
//! Judged as the soak is: every frame that a box ever said it had saved, and every sample that
//! its sensor sent. Deliberately absent: bad networks and failing disks, which the soak plays.

mod field;
mod plan;
mod strangers;
mod table;

use std::time::Duration;

use anyhow::Context as _;

use crate::clock::{StopWatch, wait_for};
use crate::given::Given;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::soak::truth::{self, Filed, Truth};

use field::Field;
use plan::{Kind, Plan};
use strangers::Ground;
use table::{Table, repeated_alerts};

/// How long boxes may take to be acknowledged after the last kill.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many gateways share the work; as many boxes record.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=2))]
    gateways: u64,
    /// How many kills; every kind comes before one comes again.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    kills: u64,
    #[command(flatten)]
    given: Given,
}

/// `true` when all that was accepted is filed once, and what is not a box's own is refused.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    say(format!("seed {}", options.given.seed));
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let ground = Ground::prepare(&programs.gateway)?;
    ground.try_topics()?;
    result("topics        a box on another's: refused by the broker, and by the gateway behind it");
    ground.try_names()?;
    result("names         a box under another's client id: nobody is thrown off");
    drop(ground);
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let count = usize::try_from(options.gateways).unwrap_or(1);
    let begun = Field::begin(folder, &programs, count, options.given.seed);
    if begun.is_ok() && count > 1 {
        result("database      a server of another name or authority: not believed");
    }
    let played = begun.and_then(|field| play(field, options));
    if !matches!(played, Ok(true)) {
        let kept = temporary.keep();
        let kept = options.given.folder(&kept);
        say(format!("the files are kept in {}", kept.display()));
    }
    played
}

/// Lets one kill after another happen, lets everything arrive, and judges.
fn play(mut field: Field, options: &Options) -> anyhow::Result<bool> {
    let watch = StopWatch::start();
    let (mut truth, mut happened): (Truth, Vec<Kind>) = Default::default();
    let mut struck = watch.elapsed();
    let kills = usize::try_from(options.kills).unwrap_or(usize::MAX);
    for (number, strike) in Plan::new(options.given.seed).take(kills).enumerate() {
        let waiting = field.note(&mut truth);
        say(format!(
            "{:>7.1} s  {:>4}  {} for {} ms, {waiting} record(s) waiting",
            watch.elapsed().as_secs_f64(),
            number + 1,
            strike.kind.name(),
            strike.lasts_ms,
        ));
        field
            .suffer(&strike)
            .with_context(|| format!("kill {}, {}", number + 1, strike.kind.name()))?;
        happened.push(strike.kind);
        struck = watch.elapsed();
        let next = watch.elapsed() + Duration::from_millis(strike.pause_ms);
        watch.sleep_until(next);
    }
    wait_for("the boxes to be acknowledged", SETTLE_LIMIT, || {
        field.must_run()?;
        Ok(field.is_all_acked().then_some(()))
    })
    .with_context(|| field.last_words())?;
    let settled = watch.elapsed();
    wait_for("the alert of the first patient", SETTLE_LIMIT, || {
        field.must_run()?;
        field.is_alert_raised().map(|raised| raised.then_some(()))
    })?;
    field.stop_boxes()?;
    field.note(&mut truth);
    let records = field.database();
    wait_for("everything to be filed", SETTLE_LIMIT, || {
        truth::all_is_filed(&records, &records).map(|done| done.then_some(()))
    })
    .with_context(|| field.last_words())?;
    let visits = field.visits()?;
    field.stop_gateways()?;
    let filed = Filed::read(&records, &records)?;
    let table = Table {
        seed: options.given.seed,
        took: watch.elapsed(),
        settled_in: settled - struck,
        happened: &happened,
        gateways: options.gateways,
        outcome: truth.judge(&filed),
        visits,
        alerts_twice: repeated_alerts(&records)?,
        proved: field.prove(),
    };
    Ok(table.tell())
}
