//! `cardio-sim`: plays sensors that do not exist, and their faults.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
