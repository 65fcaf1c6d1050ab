//! What rigs are told in the same words: where chance starts, where files lie, which programs
//! run, and where judges from elsewhere are.

use std::path::{Path, PathBuf};

/// Seed, folder and programs of a rig.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Given {
    /// Where chance starts.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep everything in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
}

impl Given {
    /// Where the rig's files lie: the folder that is kept, or else a temporary one.
    pub(crate) fn folder<'a>(&'a self, temporary: &'a Path) -> &'a Path {
        self.keep.as_deref().unwrap_or(temporary)
    }
}

/// Programs that nobody here wrote, and what they are held against.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Judges {
    /// The folder of the judges.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) judges: PathBuf,
    /// Where their libraries are installed.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) installed: PathBuf,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) programs: Option<PathBuf>,
}
