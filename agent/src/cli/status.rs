//! `status`: asks the running agent over its local socket.

use std::time::Duration;

use crate::config::Config;
use crate::control;
use crate::status::{Verdict, as_text};

use super::{ConfigArg, Failure, out};

const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `status/1`.
    #[arg(long)]
    json: bool,
    /// Again every second, until interrupted.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    loop {
        let status = control::ask_status(&config.site.state)?;
        if args.json {
            out::json(&status)?;
        } else {
            let text = as_text(&status);
            out::text(&coloured(&text, status.verdict))?;
        }
        if !args.watch {
            return Ok(status.verdict.exit_code());
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// The verdict word in its colour; nothing else has one.
fn coloured(text: &str, verdict: Verdict) -> String {
    let colour = match verdict {
        Verdict::Capturing | Verdict::Idle => "32",
        Verdict::Degraded => "33",
        Verdict::Failing => "31",
    };
    let word = verdict.word();
    let rest = text.strip_prefix(word).unwrap_or(text);
    format!("\x1b[{colour}m{word}\x1b[0m{rest}")
}
