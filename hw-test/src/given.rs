//! What every rig is told in the same words: where chance starts, where its files lie and which
//! programs it runs.

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
