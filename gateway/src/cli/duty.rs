//! `cardio-gateway duty check|show|example`.

use std::path::{Path, PathBuf};

use cardio_alert::duty::EXAMPLE;
use cardio_alert::{Language, Roster};
use cardio_core::clock::{Clock as _, UtcMicros};
use cardio_gateway::clock::{SystemClock, rfc3339};
use cardio_gateway::gateway::roster;

use super::ask::configured;
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Read a duty roster and say what is wrong with it.
    Check {
        /// The roster.
        file: PathBuf,
    },
    /// Who is on duty now, or at a time.
    Show {
        /// A time such as 2026-12-24T22:00:00+01:00; now when absent.
        #[arg(long, value_name = "TIME", value_parser = time)]
        at: Option<UtcMicros>,
    },
    /// Print a roster to start from.
    Example,
}

fn time(text: &str) -> Result<UtcMicros, String> {
    text.parse::<jiff::Timestamp>()
        .map(|at| UtcMicros(at.as_microsecond()))
        .map_err(|_| "a time with its offset is needed, such as 2026-12-24T22:00:00Z".to_owned())
}

pub(super) fn run(verb: &Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let failed = |error: &cardio_gateway::gateway::RunError| Failure::of(error, error.code());
    let now = SystemClock::new().read().utc;
    match verb {
        Verb::Check { file } => {
            let roster = roster(file).map_err(|error| failed(&error))?;
            out::result(&format!(
                "{} people; on duty {}\n",
                roster.people().len(),
                roster.hours(Language::English)
            ));
            Ok(said(&roster, now))
        }
        Verb::Show { at } => {
            let config = configured(config)?;
            let Some(path) = &config.alerts.duty else {
                out::narrate("no duty roster is configured (alerts.duty): nobody is told\n");
                return Ok(exit::DEGRADED);
            };
            let roster = roster(path).map_err(|error| failed(&error))?;
            Ok(said(&roster, at.unwrap_or(now)))
        }
        Verb::Example => {
            out::result(EXAMPLE);
            Ok(exit::WELL)
        }
    }
}

/// Says who is on duty; something needs a look when nobody is for two months.
fn said(roster: &Roster, at: UtcMicros) -> u8 {
    let people = roster.on_duty(at);
    if !people.is_empty() {
        out::result(&format!(
            "on duty at {}: {}\n",
            rfc3339(at),
            people.join(", ")
        ));
        return exit::WELL;
    }
    match roster.next_opening(at) {
        Some(opening) => {
            let when = rfc3339(opening);
            out::result(&format!("nobody at {}; next {when}\n", rfc3339(at)));
            exit::WELL
        }
        None => {
            out::result("nobody is on duty within two months\n");
            exit::DEGRADED
        }
    }
}
