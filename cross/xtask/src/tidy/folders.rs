//! The top-level folders, and what each must hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The folders of the product. There is no other, and no new one.
const FOLDERS: [&str; 7] = [
    "agent",
    "cross",
    "firmware-sim",
    "gateway",
    "hw-test",
    "schemas",
    "systemd",
];

/// Folders of tools, which hold nothing of the product.
const TOOL_FOLDERS: [&str; 3] = [".cargo", ".ci", ".config"];

/// Files that every clone must have.
const REQUIRED: [&str; 10] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Cargo.lock",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    ".cargo/config.toml",
    ".ci/run",
];

/// Every file that git tracks or would track, relative to the root.
pub(crate) fn tracked_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git ls-files")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| root.join(path).exists())
        .collect())
}

/// One line per folder that should not be there, or file that should.
pub(crate) fn check(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    let present: BTreeSet<&str> = files.iter().filter_map(|file| top_folder(file)).collect();
    for folder in &present {
        if !FOLDERS.contains(folder) && !TOOL_FOLDERS.contains(folder) {
            findings.push(format!("{folder}/ is no folder of this product"));
        }
    }
    for folder in FOLDERS {
        if !root.join(folder).join("README.md").is_file() {
            findings.push(format!("{folder}/README.md is missing"));
        }
    }
    for file in REQUIRED {
        if !root.join(file).is_file() {
            findings.push(format!("{file} is missing"));
        }
    }
    let manifest =
        std::fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    findings.extend(glob_members(&manifest));
    Ok(findings)
}

fn top_folder(file: &Path) -> Option<&str> {
    let mut parts = file.iter();
    let first = parts.next()?;
    parts.next()?;
    first.to_str()
}

/// Members are listed one by one: a glob stops loading beside a folder without a manifest.
fn glob_members(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| !line.starts_with("members"))
        .take_while(|line| !line.starts_with(']'))
        .filter(|line| line.contains('*'))
        .map(|line| format!("Cargo.toml lists a member by glob: {}", line.trim()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{glob_members, top_folder};
    use std::path::Path;

    #[test]
    fn a_file_at_the_root_is_in_no_folder() {
        assert_eq!(top_folder(Path::new("README.md")), None);
        assert_eq!(top_folder(Path::new("agent/src/main.rs")), Some("agent"));
    }

    #[test]
    fn a_member_by_glob_is_found() {
        let manifest = "members = [\n  \"agent\",\n  \"schemas/*\",\n]\n";
        assert_eq!(glob_members(manifest).len(), 1);
        assert!(glob_members("members = [\n  \"agent\",\n]\n# schemas/*\n").is_empty());
    }
}
