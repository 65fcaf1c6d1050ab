//! The part of `cargo metadata` that the checks read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// Packages of the workspace and of everything it is built from.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// All packages, ours and others'.
    pub(crate) packages: Vec<Package>,
    /// Package ids of the workspace's members.
    pub(crate) workspace_members: Vec<String>,
}

/// One package with what it declares.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Name as published.
    pub(crate) name: String,
    /// Opaque id.
    pub(crate) id: String,
    /// Declared dependencies of every kind.
    pub(crate) dependencies: Vec<Dependency>,
    /// Features, with what each switches on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// One declared dependency.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// Name of the package.
    pub(crate) name: String,
    /// `None` for a normal one, `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Features that are asked for.
    pub(crate) features: Vec<String>,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .current_dir(root)
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
    }

    /// The workspace's own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}
