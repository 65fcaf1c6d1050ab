//! `cardio-gateway restore`.

use std::path::{Path, PathBuf};

use cardio_core::clock::Clock as _;
use cardio_gateway::clock::SystemClock;
use cardio_gateway::restore;

use super::ask::configured;
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A folder that `backup` made.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    let place = config
        .record_place()
        .map_err(|error| Failure::of(&error, error.code()))?;
    if place.is_shared() {
        let why = format!("the records are kept by {place}, which has its own tools for it");
        return Err(Failure::new(why, "restore.server"));
    }
    let now = SystemClock::new().read().utc;
    let aside = restore::restore(&arguments.folder, &config.state, now)
        .map_err(|error| Failure::of(&error, error.code()))?;
    let kept = aside.map_or_else(
        || "No database was there before.".to_owned(),
        |aside| {
            format!(
                "What was there before is in {}: delete it when it is missed no more.",
                aside.display()
            )
        },
    );
    out::narrate(&format!(
        "The backup is in place in {}. {kept}\nOnce the gateway runs, boxes are asked to send again what it lacks.\n",
        config.state.display()
    ));
    Ok(exit::WELL)
}
