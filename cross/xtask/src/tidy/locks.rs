//! Hostile bytes are fed to what ships: the fuzz targets lock the versions of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

const SHIPPED: &str = "Cargo.lock";
const FUZZED: &str = "schemas/fuzz/Cargo.lock";

/// One line per library that is fuzzed in a version that does not ship.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(root.join(name));
        text.with_context(|| format!("cannot read {name}"))
    };
    Ok(compare(&read(SHIPPED)?, &read(FUZZED)?))
}

fn compare(shipped: &str, fuzzed: &str) -> Vec<String> {
    let shipped = versions(shipped);
    let mut findings = Vec::new();
    for (name, fuzzed) in versions(fuzzed) {
        let Some(shipped) = shipped.get(name) else {
            continue;
        };
        for version in fuzzed.difference(shipped) {
            findings.push(format!(
                "{FUZZED} has {name} {version}, which {SHIPPED} has not: cargo update -p {name} \
                 --manifest-path schemas/fuzz/Cargo.toml --precise VERSION"
            ));
        }
    }
    findings
}

/// The versions of each package in a lock file.
fn versions(lock: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        let quoted = |key| line.strip_prefix(key)?.strip_suffix('"');
        if let Some(found) = quoted("name = \"") {
            name = found;
        } else if let Some(version) = quoted("version = \"") {
            versions.entry(name).or_default().insert(version);
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn a_library_is_fuzzed_in_a_version_that_ships() {
        let package = |name: &str, version: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
        };
        let shipped = package("nom", "8.0.0") + &package("ring", "0.17.1");
        assert!(compare(&shipped, &package("nom", "8.0.0")).is_empty());
        assert!(compare(&shipped, &package("libfuzzer-sys", "0.4.0")).is_empty());
        let findings = compare(&shipped, &package("ring", "0.17.2"));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("ring 0.17.2"));
    }
}
