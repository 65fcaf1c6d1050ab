//! The box's own battery, as the kernel tells it (`Documentation/ABI/testing/sysfs-class-power`).
//!
//! Deliberately absent: what a low one means.

use std::path::Path;

/// Where the kernel tells of batteries.
pub const SUPPLIES: &str = "/sys/class/power_supply";

/// Charge of the emptiest battery in percent; `None` for a box that runs on the mains only.
pub fn battery_percent(supplies: &Path) -> Option<u8> {
    let entries = std::fs::read_dir(supplies).ok()?;
    entries
        .take(64)
        .filter_map(|entry| charge(&entry.ok()?.path()))
        .min()
}

/// A supply of type "Battery" that powers the system; mice and headsets say scope "Device".
fn charge(supply: &Path) -> Option<u8> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(supply.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    if read("type")? != "Battery" || read("scope").is_some_and(|scope| scope == "Device") {
        return None;
    }
    read("capacity")?
        .parse()
        .ok()
        .filter(|charge| *charge <= 100)
}

#[cfg(test)]
mod tests {
    use super::battery_percent;

    #[test]
    fn the_emptiest_battery_of_the_box_counts_and_no_other_supply() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(battery_percent(folder.path()), None);
        for (name, kind, scope, capacity) in [
            ("AC", "Mains", None, None),
            ("BAT0", "Battery", None, Some("71\n")),
            ("BAT1", "Battery", Some("System"), Some("19\n")),
            ("mouse", "Battery", Some("Device"), Some("3\n")),
            ("odd", "Battery", None, Some("full\n")),
            ("more", "Battery", None, Some("104\n")),
        ] {
            let supply = folder.path().join(name);
            std::fs::create_dir(&supply).unwrap();
            std::fs::write(supply.join("type"), format!("{kind}\n")).unwrap();
            if let Some(scope) = scope {
                std::fs::write(supply.join("scope"), scope).unwrap();
            }
            if let Some(capacity) = capacity {
                std::fs::write(supply.join("capacity"), capacity).unwrap();
            }
        }
        assert_eq!(battery_percent(folder.path()), Some(19));
        assert_eq!(battery_percent(&folder.path().join("none")), None);
    }
}
