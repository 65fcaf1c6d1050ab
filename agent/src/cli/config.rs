//! `config`: checks it, shows it, prints the default.

use crate::config::device::Device;
use crate::config::{Config, DEFAULT_TEXT};
use crate::enrolment::EnrolmentFile;

use super::{ConfigArg, Failure, out};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Read the configuration and what it names, and say whether the agent could run with it.
    Check(ConfigArg),
    /// The configuration as it is understood, defaults filled in.
    Show(ShowArgs),
    /// A commented configuration to start from.
    Default,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `config/1`.
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Document {
    schema: &'static str,
    #[serde(flatten)]
    config: Config,
}

pub(crate) fn run(verb: &Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Check(args) => check(args),
        Verb::Show(args) => show(args),
        Verb::Default => {
            out::text(DEFAULT_TEXT)?;
            Ok(0)
        }
    }
}

fn check(args: &ConfigArg) -> Result<u8, Failure> {
    let config = Config::load(&args.config)?;
    let enrolment = EnrolmentFile::open(&config.site.enrolment_file())
        .and_then(|file| file.enrolment())
        .map_err(|err| Failure::new(&err, err.code()))?;
    let devices: Vec<&str> = Device::all().map(Device::name).collect();
    out::text(&format!(
        "OK   box {}, gateway {}, {} source(s)\nknown devices: {}\n",
        enrolment.name,
        enrolment.endpoint,
        config.sources.len(),
        devices.join(", ")
    ))?;
    Ok(0)
}

fn show(args: &ShowArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    if args.json {
        out::json(&Document {
            schema: "config/1",
            config,
        })?;
    } else {
        let text = toml::to_string(&config).map_err(|err| Failure::new(&err, "config.show"))?;
        out::text(&text)?;
    }
    Ok(0)
}
