//! The product's programs: built by cargo, found beside this one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The programs. No package is named when they are built: what was built for all packages at once
/// is then ready.
const PROGRAMS: [&str; 3] = ["cardio-agent", "cardio-gateway", "cardio-sim"];

/// Where the programs under test are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The box.
    pub(crate) agent: PathBuf,
    /// The receiving end.
    pub(crate) gateway: PathBuf,
    /// The devices that do not exist.
    pub(crate) sim: PathBuf,
}

impl Programs {
    /// Builds the programs in the profile of this one, unless they lie ready in `ready`.
    pub(crate) fn prepare(ready: Option<&Path>) -> anyhow::Result<Self> {
        let folder = ready.map_or_else(|| build(&PROGRAMS), |folder| Ok(folder.to_path_buf()))?;
        Ok(Self {
            agent: program(&folder, "cardio-agent")?,
            gateway: program(&folder, "cardio-gateway")?,
            sim: program(&folder, "cardio-sim")?,
        })
    }
}

/// Builds the gateway alone in the profile of this program, unless it lies ready in `ready`.
pub(crate) fn gateway(ready: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = ready.map_or_else(
        || build(&["cardio-gateway"]),
        |folder| Ok(folder.to_path_buf()),
    )?;
    program(&folder, "cardio-gateway")
}

fn program(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is missing: build the workspace first", path.display());
    }
    Ok(path)
}

/// Builds a box that also keeps every record unsealed: what the search of a stolen card must
/// find. It has a name of its own, and refuses to be built for release.
pub(crate) fn unsealed_agent() -> anyhow::Result<PathBuf> {
    const NAME: &str = "cardio-agent-unsealed";
    let mut command = cargo_build(&[NAME]);
    command.args(["--features", "cardio-agent/unsealed"]);
    finish(command)?;
    program(&own_folder()?, NAME)
}

fn own_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let folder = own.parent().context("this program lies in no folder")?;
    Ok(folder.to_path_buf())
}

fn build(programs: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = own_folder()?;
    let mut command = cargo_build(programs);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    finish(command)?;
    Ok(folder)
}

/// `cargo build` of these programs.
fn cargo_build(programs: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet"]);
    for program in programs {
        command.args(["--bin", program]);
    }
    keep_own_package(&mut command);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// What `cargo run` tells this program of its own package is no business of another build: build
/// scripts that watch it would run again each time, and all that rests on them.
pub(crate) fn keep_own_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

fn finish(mut command: Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .context("cannot run cargo to build the programs")?;
    if !status.success() {
        bail!("the programs do not build");
    }
    Ok(())
}
