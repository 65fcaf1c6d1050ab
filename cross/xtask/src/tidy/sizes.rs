//! A file that grows past a page turn or two has a seam somewhere.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Lines a source file may have, its tests included. The house aims at 500.
const MAX_LINES: usize = 700;

/// One line per source file that is too long.
pub(crate) fn check(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files {
        let is_source = file
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "js");
        if !is_source {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().count();
        if lines > MAX_LINES {
            findings.push(format!(
                "{} has {lines} lines, more than {MAX_LINES}: look for the seam",
                file.display()
            ));
        }
    }
    Ok(findings)
}
