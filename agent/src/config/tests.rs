use std::path::Path;

use super::{Config, ConfigError, DEFAULT_TEXT};

const FILE: &str = "box.toml";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new(FILE))
}

const SOURCE: &str = r#"
[[source]]
name = "ecg12-a"
kind = "serial"
device = "openbci-cyton"
path = "ttyUSB0"
"#;

#[test]
fn the_printed_default_is_the_default() {
    let printed = parse(DEFAULT_TEXT).unwrap();
    assert_eq!(
        serde_json::to_value(&printed).unwrap(),
        serde_json::to_value(Config::default()).unwrap()
    );
}

#[test]
fn the_commented_sources_of_the_default_are_sources() {
    let commented: String = DEFAULT_TEXT
        .lines()
        .skip_while(|line| !line.starts_with("# [[source]]"))
        .map(|line| line.trim_start_matches("# ").to_owned() + "\n")
        .collect();
    let config = parse(&commented).unwrap();
    assert_eq!(config.sources.len(), 4);
    assert_eq!(config.sources[0].subject.as_deref(), Some("p-0001"));
    assert_eq!(config.sources[2].rate_hz, Some(500));
    assert_eq!(config.sources[3].recordings, super::RecordingsName::Fetch);
}

#[test]
fn a_source_takes_what_its_device_has() {
    let of = |device: &str, kind: &str, more: &str| {
        parse(&format!(
            "[[source]]\nname = \"a\"\nkind = \"{kind}\"\ndevice = \"{device}\"\n{more}"
        ))
    };
    let fetch = "recordings = \"fetch\"\n";
    assert!(of("movesense-gsp", "ble", "rate_hz = 500\n").is_ok());
    assert!(of("movesense-gsp", "ble", "").is_ok());
    assert!(of("movesense-gsp", "ble", fetch).is_ok());
    assert!(
        of(
            "smp-console",
            "serial",
            "recordings = \"fetch\"\npath = \"/dev/watch\"\n"
        )
        .is_ok()
    );
    for (device, more, told) in [
        ("polar-pmd", fetch, "keeps no recordings"),
        ("smp-records", "", "sends no stream"),
        (
            "movesense-gsp",
            "rate_hz = 1000\n",
            "125, 128, 200, 250, 256, 500, 512",
        ),
        ("polar-pmd", "rate_hz = 500\n", "polar-pmd has one rate"),
        (
            "movesense-gsp",
            "recordings = \"fetch\"\nrate_hz = 500\n",
            "stands in the recording",
        ),
        (
            "viatom-er1",
            "recordings = \"fetch\"\nleads = [\"I\"]\n",
            "stands in the recording",
        ),
    ] {
        let err = of(device, "ble", more).unwrap_err().to_string();
        assert!(err.contains(told), "{err}");
    }
}

#[test]
fn a_misspelt_key_is_named_and_the_right_one_suggested() {
    let err = parse("[box]\nenrollment = \"x\"\n").unwrap_err();
    assert_eq!(err.code(), "config.key.unknown");
    assert_eq!(err.to_string(), "unknown key `box.enrollment` in box.toml");
    assert_eq!(err.suggestion().unwrap(), "write `enrolment` instead");
}

#[test]
fn a_misspelt_table_is_named_too() {
    let err = parse("[stor]\ncap = \"1GiB\"\n").unwrap_err();
    assert_eq!(err.to_string(), "unknown key `stor` in box.toml");
    assert_eq!(err.suggestion().unwrap(), "write `store` instead");
}

#[test]
fn a_wrong_unit_names_the_key_and_the_known_units() {
    let err = parse("[capture]\nresume_within = \"10 parsecs\"\n").unwrap_err();
    assert_eq!(err.code(), "config.value");
    let text = err.to_string();
    assert!(text.contains("`capture.resume_within`"), "{text}");
    assert!(text.contains("ms, s, min, h, d"), "{text}");
}

#[test]
fn a_number_without_unit_names_the_key() {
    let err = parse("[store]\ncap = 8\n").unwrap_err();
    let text = err.to_string();
    assert!(
        text.contains("`store.cap`") && text.contains("8GiB"),
        "{text}"
    );
}

#[test]
fn an_outbox_that_could_hold_nothing_is_refused() {
    let err = parse("[store]\ncap = \"1MiB\"\n").unwrap_err();
    assert!(err.to_string().contains("at least 32MiB"), "{err}");
}

#[test]
fn an_unknown_device_names_the_known_ones() {
    let err = parse(&SOURCE.replace("openbci-cyton", "openbci-cyten")).unwrap_err();
    assert!(err.to_string().contains("protocentral-openview"), "{err}");
    assert_eq!(err.suggestion().unwrap(), "write `openbci-cyton` instead");
}

#[test]
fn two_sources_of_one_name_are_refused() {
    let err = parse(&format!("{SOURCE}{SOURCE}")).unwrap_err();
    assert!(err.to_string().contains("`source.1.name`"), "{err}");
}

#[test]
fn a_missing_key_is_named_with_its_table() {
    let err = parse(&SOURCE.replace("path = \"ttyUSB0\"\n", "")).unwrap_err();
    assert_eq!(err.code(), "config.key.missing");
    assert!(err.to_string().contains("path` is missing"), "{err}");
}

#[test]
fn a_serial_source_is_named_by_its_path_or_by_its_usb_device() {
    let path = "path = \"ttyUSB0\"\n";
    let usb = "usb = \"0403:6015:DN01ABCD\"\n";
    let config = parse(&SOURCE.replace(path, usb)).unwrap();
    let named = config.sources[0].usb.as_ref().unwrap();
    assert_eq!(named.to_string(), "0403:6015:DN01ABCD");
    let both = parse(&format!("{SOURCE}{usb}")).unwrap_err();
    assert!(both.to_string().contains("`source.0.usb`"), "{both}");
    let err = parse(&SOURCE.replace(path, "usb = \"FTDI\"\n")).unwrap_err();
    assert!(err.to_string().contains("0403:6015:DN01ABCD"), "{err}");
}

#[test]
fn a_radio_sensor_needs_no_path_and_a_device_stays_on_its_link() {
    let radio = SOURCE
        .replace("serial", "ble")
        .replace("openbci-cyton", "polar-pmd");
    let err = parse(&radio).unwrap_err();
    assert!(err.to_string().contains("sources pair"), "{err}");
    let config = parse(&radio.replace("path = \"ttyUSB0\"\n", "")).unwrap();
    assert_eq!(config.sources[0].path, None);
    let err = parse(&SOURCE.replace("openbci-cyton", "polar-pmd")).unwrap_err();
    assert!(err.to_string().contains("over `ble`"), "{err}");
}

#[test]
fn two_words_are_no_reference_to_a_subject() {
    let err = parse(&format!("{SOURCE}subject = \"two words\"\n")).unwrap_err();
    assert!(err.to_string().contains("`source.0.subject`"), "{err}");
}

#[test]
fn what_is_not_toml_says_where() {
    let err = parse("[box\n").unwrap_err();
    assert_eq!(err.code(), "config.syntax");
    assert!(err.to_string().contains("line 1"), "{err}");
}

#[test]
fn paths_are_relative_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    std::fs::write(&file, format!("[box]\nstate = \"state\"\n{SOURCE}")).unwrap();
    let config = Config::load(&file).unwrap();
    assert_eq!(config.site.state, dir.path().join("state"));
    let port = dir.path().join("ttyUSB0");
    assert_eq!(config.sources[0].path.as_deref(), Some(&*port));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let err = Config::load(Path::new("/nowhere/agent.toml")).unwrap_err();
    assert_eq!(err.code(), "config.unreadable");
    assert!(err.to_string().contains("/nowhere/agent.toml"));
}
