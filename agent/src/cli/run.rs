//! `run`: the agent itself.

use crate::config::{Config, Span};
use crate::{hygiene, service, telemetry};

use super::{ConfigArg, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// End the acquisitions after this long, send what can be sent, and stop.
    #[arg(long = "for", value_name = "SPAN")]
    limit: Option<Span>,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    hygiene::close_leaks()?;
    telemetry::start();
    let config = Config::load(&args.config.config)?;
    service::run(&config, args.limit.map(|span| span.0))?;
    Ok(0)
}
