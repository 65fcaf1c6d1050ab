//! Who may know whom: our crates among themselves, and the libraries that only some may use.

use super::metadata::{Metadata, Package};

/// The drawing: each crate with the crates of ours that it may know.
///
/// A new arrow is a change to this table, with a line that says why.
const ARROWS: [(&str, &[&str]); 14] = [
    ("cardio-core", &[]),
    ("cardio-protocol", &["cardio-core"]),
    ("cardio-signal", &["cardio-core"]),
    ("cardio-wire", &["cardio-core"]),
    ("cardio-formats", &["cardio-core"]),
    ("cardio-sqlite", &[]),
    // sqlite: both ends promise what is on a disk, and open their files in the same careful way.
    (
        "cardio-store",
        &["cardio-core", "cardio-wire", "cardio-sqlite"],
    ),
    ("cardio-alert", &["cardio-core"]),
    ("cardio-fhir", &["cardio-core"]),
    (
        // formats: `inspect` and `analyse` read files on the box, as the Holter import does.
        "cardio-agent",
        &[
            "cardio-core",
            "cardio-protocol",
            "cardio-signal",
            "cardio-wire",
            "cardio-formats",
            "cardio-store",
        ],
    ),
    (
        // formats: `inspect` and `convert` read files at the gateway, as the upload does.
        // sqlite: as for the store.
        // signal: `rules test` shows a recorded file to the assessor that a box runs.
        "cardio-gateway",
        &[
            "cardio-core",
            "cardio-signal",
            "cardio-wire",
            "cardio-sqlite",
            "cardio-formats",
            "cardio-alert",
            "cardio-fhir",
        ],
    ),
    (
        "cardio-firmware-sim",
        &[
            "cardio-core",
            "cardio-protocol",
            "cardio-signal",
            "cardio-formats",
        ],
    ),
    // The rigs run the programs from outside and judge what comes out. core, wire: the load
    // generator sends real sealed and signed frames; the judge of visits knows neither.
    ("cardio-hw-test", &["cardio-core", "cardio-wire"]),
    ("xtask", &[]),
];

/// Further arrows for tests only: they make no program know more.
const DEV_ARROWS: [(&str, &[&str]); 3] = [
    // The tests of the Bluetooth adapter talk to sensors and a BlueZ that do not exist. Never
    // the program: what plays sensors has no place on a box.
    ("cardio-agent", &["cardio-firmware-sim"]),
    // The evaluation reads the public recordings.
    ("cardio-signal", &["cardio-formats"]),
    // Packing is chosen by measurement on the public recordings.
    ("cardio-wire", &["cardio-formats"]),
];

/// Libraries that only the named crates may use, with the reason in one word.
const ONLY_IN: [(&str, &[&str]); 11] = [
    // Several gateways share one server: behind the same statements as the file.
    ("postgres", &["cardio-gateway"]),
    (
        "rusqlite",
        &["cardio-sqlite", "cardio-store", "cardio-gateway"],
    ),
    ("serialport", &["cardio-agent"]),
    ("tokio-serial", &["cardio-agent"]),
    ("btleplug", &["cardio-agent"]),
    // Under btleplug: bonds, and hearing that the bus is lost, which btleplug keeps to itself.
    ("bluez-async", &["cardio-agent"]),
    // hw-test: its load generator is a thousand clients in one program.
    (
        "rumqttc-v5-next",
        &["cardio-agent", "cardio-gateway", "cardio-hw-test"],
    ),
    (
        "ring",
        &[
            "cardio-wire",
            "cardio-store",
            "cardio-agent",
            "cardio-gateway",
        ],
    ),
    ("serde_cbor_2", &["cardio-wire"]),
    ("hpke", &["cardio-wire"]),
    (
        "tokio",
        &["cardio-agent", "cardio-gateway", "cardio-hw-test"],
    ),
];

/// Libraries that nothing may pull in: a second crypto stack, or code that needs more than
/// Rust and a C compiler.
const BANNED: [&str; 6] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
    "libudev-sys",
];

/// Crates that own no serialisation: words, not bytes.
const WITHOUT_SERDE: [&str; 3] = ["cardio-core", "cardio-protocol", "cardio-signal"];

/// One line per arrow or use that the tables do not hold.
pub(crate) fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings: Vec<String> = metadata.members().flat_map(check_member).collect();
    for (name, _) in ARROWS {
        if !metadata.members().any(|package| package.name == name) {
            findings.push(format!(
                "the table of arrows names {name}, which is no member"
            ));
        }
    }
    for package in &metadata.packages {
        if BANNED.contains(&package.name.as_str()) {
            findings.push(format!(
                "{} is banned, and something pulls it in",
                package.name
            ));
        }
    }
    findings
}

fn check_member(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some(allowed) = lookup(&ARROWS, name) else {
        return vec![format!(
            "{name} is not in the table of arrows (cross/xtask/src/tidy/arrows.rs)"
        )];
    };
    let for_tests = lookup(&DEV_ARROWS, name).unwrap_or_default();
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let to = dependency.name.as_str();
        let is_dev = dependency.kind.as_deref() == Some("dev");
        let ours = lookup(&ARROWS, to).is_some();
        if ours && !allowed.contains(&to) && !(is_dev && for_tests.contains(&to)) {
            findings.push(format!("{name} must not know {to}"));
        }
        if lookup(&ONLY_IN, to).is_some_and(|users| !users.contains(&name)) && !is_dev {
            findings.push(format!("{name} must not use {to} directly"));
        }
        if WITHOUT_SERDE.contains(&name) && to == "serde" && !is_dev {
            findings.push(format!(
                "{name} must not derive serde: bytes belong to cardio-wire"
            ));
        }
    }
    findings
}

fn lookup<'t>(table: &[(&str, &'t [&'t str])], name: &str) -> Option<&'t [&'t str]> {
    table
        .iter()
        .find(|(row, _)| *row == name)
        .map(|(_, entries)| *entries)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::{Dependency, Metadata, Package};
    use super::check;

    fn workspace(name: &str, dependency: &str, kind: Option<&str>) -> Metadata {
        let package = Package {
            name: name.to_owned(),
            id: name.to_owned(),
            dependencies: vec![Dependency {
                name: dependency.to_owned(),
                kind: kind.map(str::to_owned),
                features: Vec::new(),
            }],
            features: std::collections::BTreeMap::new(),
        };
        Metadata {
            packages: vec![package],
            workspace_members: vec![name.to_owned()],
        }
    }

    fn about(metadata: &Metadata, words: &str) -> bool {
        check(metadata)
            .iter()
            .any(|finding| finding.contains(words))
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        let metadata = workspace("cardio-signal", "cardio-wire", None);
        assert!(about(&metadata, "cardio-signal must not know cardio-wire"));
    }

    #[test]
    fn an_arrow_for_tests_is_not_an_arrow_of_the_program() {
        assert!(!about(
            &workspace("cardio-signal", "cardio-formats", Some("dev")),
            "must not know"
        ));
        assert!(about(
            &workspace("cardio-signal", "cardio-formats", None),
            "must not know"
        ));
    }

    #[test]
    fn a_new_crate_needs_a_line_in_the_table() {
        assert!(about(
            &workspace("cardio-new", "nom", None),
            "not in the table"
        ));
    }

    #[test]
    fn the_database_belongs_to_the_stores() {
        assert!(about(
            &workspace("cardio-agent", "rusqlite", None),
            "must not use rusqlite"
        ));
    }

    #[test]
    fn a_second_crypto_stack_is_banned_wherever_it_comes_from() {
        let mut metadata = workspace("cardio-core", "thiserror", None);
        metadata.packages.push(Package {
            name: "aws-lc-rs".to_owned(),
            id: "x".to_owned(),
            dependencies: vec![],
            features: std::collections::BTreeMap::new(),
        });
        assert!(about(&metadata, "aws-lc-rs is banned"));
    }
}
