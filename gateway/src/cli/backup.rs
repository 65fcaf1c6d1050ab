//! `cardio-gateway backup`.

use std::path::{Path, PathBuf};

use cardio_gateway::control::Request;

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A folder that does not exist yet: inbox, record and invitations go there as they are now.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments, config: Option<&Path>) -> Result<u8, Failure> {
    let folder = std::path::absolute(&arguments.folder)
        .map_err(|error| Failure::of(&error, "backup.folder"))?;
    ask(
        &configured(config)?,
        &Request::Backup {
            folder: folder.clone(),
        },
    )?;
    out::narrate(&format!(
        "Inbox, record and invitations are in {}. Keep the folder `keys` beside them: nothing opens without it.\n",
        folder.display()
    ));
    Ok(exit::WELL)
}
