//! The command line: one file per verb.
//!
//! Results go to standard output, narration and errors to standard error. Exit codes: 0
//! well, 1 degraded, 2 failing, 3 not running or not reachable, 64 wrong usage.

mod analyse;
mod config;
mod convert;
mod enrol;
mod failure;
mod hints;
mod inspect;
mod out;
mod outbox;
mod reading;
mod replay;
mod run;
mod sources;
mod status;
mod visits;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  cardio-agent run --config /etc/cardio-agent/config.toml
  cardio-agent analyse /data/mitdb/100 --json
";

/// Wrong usage, as in sysexits.h.
const USAGE: u8 = 64;

/// The box: captures ECG from sensors, keeps it sealed, forwards it to the gateway.
#[derive(Debug, Parser)]
#[command(name = "cardio-agent", version, before_help = EXAMPLES)]
struct Cli {
    /// Colour of the verdict words.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
    #[command(subcommand)]
    verb: Verb,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Capture, keep and forward, until told to stop.
    Run(run::Args),
    /// Make this box known to a gateway, with a claim code.
    Enrol(enrol::Args),
    /// What the running agent is doing.
    Status(status::Args),
    /// The visits of the day: see them, say which one you are at.
    #[command(subcommand)]
    Visits(visits::Verb),
    /// The sensors: listen for them, bind them to sources, unbind them.
    #[command(subcommand)]
    Sources(sources::Verb),
    /// A captured sensor through the box's own pipeline: what was wrong with it?
    Replay(replay::Args),
    /// Quality, beats and heart rate of a recording.
    Analyse(analyse::Args),
    /// What a recording says of itself.
    Inspect(inspect::Args),
    /// The same recording in another format.
    Convert(convert::Args),
    /// What the outbox holds, sealed as it is.
    #[command(subcommand)]
    Outbox(outbox::Verb),
    /// The configuration: check it, show it, print the default.
    #[command(subcommand)]
    Config(config::Verb),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            // a reader that has gone away is no failure
            let _ = err.print();
            return ExitCode::from(if err.use_stderr() { USAGE } else { 0 });
        }
    };
    match cli.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    let done = match &cli.verb {
        Verb::Run(args) => run::run(args),
        Verb::Enrol(args) => enrol::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Visits(verb) => visits::run(verb),
        Verb::Sources(verb) => sources::run(verb),
        Verb::Replay(args) => replay::run(args),
        Verb::Analyse(args) => analyse::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Convert(args) => convert::run(args),
        Verb::Outbox(verb) => outbox::run(verb),
        Verb::Config(verb) => config::run(verb),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.exit)
        }
    }
}
