//! Under `schemas/` and in the pure crates of the gateway there is no clock, network, disk or
//! thread.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Folders whose code does no IO.
const PURE: [&str; 7] = [
    "schemas/core/src",
    "schemas/protocol/src",
    "schemas/signal/src",
    "schemas/wire/src",
    "schemas/formats/src",
    "gateway/alert/src",
    "gateway/fhir/src",
];

/// What such code would have to name.
const DOORS: [&str; 6] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env::var",
    "tokio::",
];

/// The one file that may open files: a reader's companions lie beside it.
const EXCEPTIONS: [&str; 1] = ["schemas/formats/src/fsource.rs"];

/// One line per file that opens a door.
pub(crate) fn check(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files {
        let name = file.to_string_lossy();
        let pure = PURE.iter().any(|folder| name.starts_with(folder));
        if !pure || !name.ends_with(".rs") || EXCEPTIONS.contains(&name.as_ref()) {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file))
            .with_context(|| format!("cannot read {name}"))?;
        findings.extend(doors_in(&text).map(|door| format!("{name} names {door}: no IO here")));
    }
    Ok(findings)
}

/// The doors that the code of a file names, its tests and comments left out.
fn doors_in(text: &str) -> impl Iterator<Item = &'static str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    DOORS.into_iter().filter(move |door| {
        code.lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains(door))
    })
}

#[cfg(test)]
mod tests {
    use super::doors_in;

    #[test]
    fn code_that_opens_a_file_is_found_but_its_tests_are_not() {
        assert_eq!(doors_in("use std::fs;\n").collect::<Vec<_>>(), ["std::fs"]);
        assert_eq!(
            doors_in("// std::fs\n#[cfg(test)]\nuse std::fs;\n").count(),
            0
        );
    }
}
