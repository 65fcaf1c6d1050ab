//! `cargo xtask tidy`: the drawing of the house as tables, held against what is there.

mod arrows;
mod features;
mod folders;
mod io;
mod metadata;
mod sizes;

use std::path::Path;

/// What is checked, as named in the closing line.
pub(crate) const CHECKS: [&str; 6] = [
    "top-level folders",
    "crate arrows",
    "third-party use",
    "rig features",
    "no IO under schemas",
    "file sizes",
];

/// One line per thing that is not where the tables say.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = metadata::Metadata::load(root)?;
    let files = folders::tracked_files(root)?;
    let mut findings = folders::check(root, &files)?;
    findings.extend(arrows::check(&metadata));
    findings.extend(features::check(&metadata));
    findings.extend(io::check(root, &files)?);
    findings.extend(sizes::check(root, &files)?);
    Ok(findings)
}
