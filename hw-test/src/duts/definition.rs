//! The files of the devices.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

/// A device under test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dut {
    /// The name of its file.
    #[serde(skip)]
    pub(crate) name: String,
    /// One line for a person.
    pub(crate) about: String,
    /// Its profile.
    pub(crate) device: String,
    /// How long it is recorded.
    #[serde(default = "usual_seconds")]
    pub(crate) seconds: u64,
    /// How it is found.
    pub(crate) link: Link,
    /// What is demanded of it.
    pub(crate) expect: Expect,
}

const fn usual_seconds() -> u64 {
    20
}

/// How a device is found.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Link {
    /// It does not exist, and its faults are those of a file in `duts/scenarios`.
    Simulated {
        /// The file's name, without `.toml`.
        scenario: String,
    },
    /// A serial port of this path.
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The one serial adapter with this USB vendor and product.
    Usb {
        /// As `lsusb` writes them.
        vendor_product: String,
    },
    /// The one Bluetooth sensor of this kind that is within reach.
    Ble {
        /// What its name begins with.
        #[serde(default)]
        name: String,
        /// Its address, where several are within reach.
        address: Option<String>,
    },
}

/// What is demanded of a device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// From the connection to the first sample.
    pub(crate) first_sample_within_s: f64,
    /// From the return of a device that was away to its first sample.
    pub(crate) back_within_s: Option<f64>,
    /// How far its rate, measured over the recording, may be from its profile's.
    pub(crate) rate_within_ppm: f64,
    /// Which gaps there may be.
    pub(crate) gaps: Gaps,
    /// Samples before and behind noise, or before the end of its stream, that its bytes cannot prove,
    /// and that are given up: so much each gap may begin earlier, and lie where nothing else was lost.
    #[serde(default)]
    pub(crate) unconfirmed: u64,
    /// The verdicts of which one must be that of most windows; none: its signal is not scored.
    #[serde(default)]
    pub(crate) quality: Vec<String>,
    /// What it must say of itself: fields of `device` in `replay/1`.
    #[serde(default)]
    pub(crate) tells: Vec<String>,
}

/// Which gaps there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Gaps {
    /// None.
    None,
    /// Those that the simulator's ledger names, and no other.
    Ledger,
}

/// The folder of the files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("duts")
}

/// Every device, by name.
pub(crate) fn all() -> anyhow::Result<Vec<Dut>> {
    let folder = folder();
    let unreadable = || format!("cannot read {}", folder.display());
    let mut duts = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            duts.push(read(&path).with_context(|| path.display().to_string())?);
        }
    }
    duts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(duts)
}

fn read(path: &Path) -> anyhow::Result<Dut> {
    let text = std::fs::read_to_string(path).context("cannot read it")?;
    let name = path.file_stem().context("it has no name")?;
    let mut dut: Dut = toml::from_str(&text).context("it is no device")?;
    dut.name = name.to_string_lossy().into_owned();
    let is_simulated = matches!(dut.link, Link::Simulated { .. });
    let needs_ledger = dut.expect.gaps == Gaps::Ledger || dut.expect.back_within_s.is_some();
    if needs_ledger && !is_simulated {
        bail!("only a simulated device has a ledger");
    }
    Ok(dut)
}

#[cfg(test)]
mod tests {
    use super::{Link, all, folder};

    #[test]
    fn every_file_is_a_device_and_every_scenario_that_one_names_is_there() {
        let duts = all().unwrap();
        assert!(duts.len() >= 7);
        for dut in duts {
            if let Link::Simulated { scenario } = &dut.link {
                let file = folder().join(format!("scenarios/{scenario}.toml"));
                assert!(file.is_file(), "{}", dut.name);
            }
        }
    }
}
