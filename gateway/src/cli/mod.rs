//! The command line: one file per verb, results on stdout, narration on stderr.

mod accounts;
mod alerts;
mod ask;
mod audit;
mod backup;
mod boxes;
mod chain;
mod config;
mod duty;
mod failure;
mod files;
mod indicators;
mod keys;
mod out;
mod push;
mod records;
mod restore;
mod rules;
mod run;
mod status;
mod telemetry;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Exit codes of every verb.
mod exit {
    /// All is well.
    pub(super) const WELL: u8 = 0;
    /// It works, but something needs a look.
    pub(super) const DEGRADED: u8 = 1;
    /// It does not work.
    pub(super) const FAILING: u8 = 2;
    /// The program is not running or cannot be reached.
    pub(super) const NOT_RUNNING: u8 = 3;
    /// Wrong usage.
    pub(super) const USAGE: u8 = 64;
}

const EXAMPLES: &str = "\
Examples:
  cardio-gateway run --config /etc/cardio-gateway.toml
  cardio-gateway boxes add --name FR75-012 --out fr75-012.toml

The receiving end of the telemonitoring boxes: takes in what they seal, files it into the
patient record (FHIR R4 over HTTPS), raises alerts.";

#[derive(Debug, Parser)]
#[command(name = "cardio-gateway", version, before_help = EXAMPLES)]
struct Arguments {
    /// Configuration file; the built-in defaults without it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway until it is told to stop.
    Run(run::Arguments),
    /// How the running gateway is.
    Status(status::Arguments),
    /// Boxes that may connect.
    #[command(subcommand)]
    Boxes(boxes::Verb),
    /// The keys of this gateway that boxes seal to and believe.
    #[command(subcommand)]
    Keys(keys::Verb),
    /// The chains of frames, as they are stored.
    #[command(subcommand)]
    Chain(chain::Verb),
    /// Who may use the record.
    #[command(subcommand)]
    Accounts(accounts::Verb),
    /// The trace of who did what.
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Alerts that were raised.
    #[command(subcommand)]
    Alerts(alerts::Verb),
    /// Who is on duty.
    #[command(subcommand)]
    Duty(duty::Verb),
    /// The alert rules.
    #[command(subcommand)]
    Rules(rules::Verb),
    /// What was filed.
    #[command(subcommand)]
    Records(records::Verb),
    /// Other FHIR servers that hold the record too.
    #[command(subcommand)]
    Push(push::Verb),
    /// Figures of the team over some days, from what is filed.
    Indicators(indicators::Arguments),
    /// What the file of a recording says of itself.
    Inspect(files::Inspect),
    /// The same recording in another format.
    Convert(files::Convert),
    /// Copy inbox and record of the running gateway.
    Backup(backup::Arguments),
    /// Put a backup in the place of the databases of a gateway that does not run.
    Restore(restore::Arguments),
    /// The configuration.
    #[command(subcommand)]
    Config(config::Verb),
}

/// Runs the program; answers its exit code.
pub(crate) fn main() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures; when nobody reads them, nothing is lost.
            let _ = error.print();
            return if error.use_stderr() {
                exit::USAGE
            } else {
                exit::WELL
            };
        }
    };
    match arguments.verb.run(arguments.config.as_deref()) {
        Ok(code) => code,
        Err(failure) => {
            failure.tell();
            failure.exit
        }
    }
}

impl Verb {
    fn run(self, config: Option<&std::path::Path>) -> Result<u8, Failure> {
        match self {
            Self::Run(arguments) => run::run(&arguments, config),
            Self::Status(arguments) => status::run(&arguments, config),
            Self::Boxes(verb) => boxes::run(verb, config),
            Self::Keys(verb) => keys::run(verb, config),
            Self::Chain(verb) => chain::run(&verb, config),
            Self::Accounts(verb) => accounts::run(verb, config),
            Self::Audit(verb) => audit::run(verb, config),
            Self::Alerts(verb) => alerts::run(verb, config),
            Self::Duty(verb) => duty::run(&verb, config),
            Self::Rules(verb) => rules::run(&verb, config),
            Self::Records(verb) => records::run(verb, config),
            Self::Push(verb) => push::run(verb, config),
            Self::Indicators(arguments) => indicators::run(&arguments, config),
            Self::Inspect(arguments) => files::inspect(&arguments),
            Self::Convert(arguments) => files::convert(&arguments),
            Self::Backup(arguments) => backup::run(&arguments, config),
            Self::Restore(arguments) => restore::run(&arguments, config),
            Self::Config(verb) => config::run(&verb, config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_starts_with_two_examples() {
        let help = Arguments::command().render_help().to_string();
        assert!(
            help.starts_with("Examples:\n  cardio-gateway run"),
            "{help}"
        );
    }
}
