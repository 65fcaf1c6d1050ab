//! The command line: one file per verb.

mod devices;
mod failure;
mod play;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Exit status for wrong usage.
const USAGE: u8 = 64;

#[derive(Debug, Parser)]
#[command(
    name = "cardio-sim",
    version,
    about = "Plays sensors that do not exist, and their faults",
    before_help = "Examples:\n  \
        cardio-sim play --device openbci-cyton --link ./ecg12 --ledger visit.jsonl\n  \
        cardio-sim play --device openbci-cyton --recording mitdb/100 --duration 2min\n  \
        cardio-sim play --device polar-pmd --device ble-audio-packets --bus ./bus"
)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists the devices that can be played, and the scenarios.
    Devices(devices::Args),
    /// Plays a device on a pseudo-terminal, or sensors on a Bluetooth radio of their own.
    Play(Box<play::Args>),
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => {
            // Help and version go to stdout, errors to stderr; a closed pipe is no failure.
            let _ = err.print();
            return if err.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let outcome = match args.verb {
        Verb::Devices(args) => devices::run(&args),
        Verb::Play(args) => play::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Prints a line of results. A reader that has gone away is no failure.
fn print(line: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output", "stdout.write").because(&err))
        }
        _ => Ok(()),
    }
}
