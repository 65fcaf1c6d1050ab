//! How much the gateway takes in: many boxes at once, each over its own TLS connection with its
//! own certificate, send frames that were sealed and signed beforehand.
//!
//! The same connections then send the same publishes to mosquitto with persistence, the broker
//! that a user would pick instead. After each, the receiving end is killed (SIGKILL), and what it
//! had acknowledged is counted in what it kept.
//!
//! Deliberately absent: what becomes of a frame after it is stored.

pub(crate) mod client;
pub(crate) mod fleet;
pub(crate) mod receiver;
pub(crate) mod recording;
pub(crate) mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::StopWatch;
use crate::out::{result, say};
use crate::programs;

use client::Pace;
use fleet::Fleet;
use table::Measured;

/// What must hold of the gateway, whatever the rate.
const WORST_P99: Duration = Duration::from_secs(1);
const MOST_MIB: f64 = 300.0;

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Boxes connected at once.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    boxes: u32,
    /// Frames per second of all boxes together.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// Runs both and prints one table. `true` when the gateway kept up with the rate, kept all that
/// it acknowledged and stayed within its limits.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    raise_open_files()?;
    let program = programs::gateway(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let boxes = usize::try_from(options.boxes).context("too many boxes")?;
    let frames = usize::try_from(u64::from(options.rate) * u64::from(options.seconds))
        .context("too many frames")?
        .div_ceil(boxes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the clients")?;

    let mut gateway = receiver::Gateway::start(&program, folder.path(), "")?;
    say(format!("enrolling {} boxes", options.boxes));
    let mut fleet = Fleet::enrol(&gateway, boxes)?;
    let listener = Fleet::listener(&gateway)?;
    say(format!("sealing {} frames", frames * boxes));
    fleet.seal(frames)?;
    let pace = Pace::over(boxes, options.rate);
    say(format!(
        "{} boxes send {} frames/s of {:.1} kB for {} s",
        options.boxes,
        options.rate,
        fleet.frame_kb(),
        options.seconds
    ));
    let of_gateway = measure(&runtime, &fleet, &pace, &mut gateway)?;
    let mut measured = vec![of_gateway];
    match crate::mosquitto::obstacle() {
        None => {
            let mut broker =
                receiver::Broker::start(folder.path(), gateway.authority(), &listener, &runtime)?;
            say("the same to mosquitto".to_owned());
            measured.push(measure(&runtime, &fleet, &pace, &mut broker)?);
        }
        Some(obstacle) => say(format!("without comparison: {obstacle}")),
    }
    for line in table::lines(&measured) {
        result(line);
    }
    let good = measured.first().is_some_and(|gateway| {
        gateway.kept == gateway.acknowledged()
            && gateway.acknowledged() == frames * boxes
            && gateway.kept_up(options.rate)
            && gateway.p99() < WORST_P99
            && gateway.resident_mib < MOST_MIB
    });
    Ok(good)
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    fleet: &Fleet,
    pace: &Pace,
    receiver: &mut dyn receiver::Receiver,
) -> anyhow::Result<Measured> {
    let sent = runtime.block_on(client::all(fleet, pace, receiver, StopWatch::start()))?;
    let resident_mib = receiver.peak_mib()?;
    let acks = sent.verified(fleet)?;
    receiver.kill()?;
    let kept = receiver.kept(runtime)?;
    Ok(Measured {
        name: receiver.name(),
        span: sent.span,
        processor_s: sent.processor_s,
        resident_mib,
        pubacks: sent.pubacks,
        acks,
        kept,
    })
}

/// Each connection is an open file, here and at the other end.
fn raise_open_files() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the number of open files")
}
