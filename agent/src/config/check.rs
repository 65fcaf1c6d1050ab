//! What a configuration must hold beside its form: names, limits, and what goes together.

use std::path::Path;

use cardio_core::ids::SourceId;
use cardio_core::subject::SubjectRef;

use super::device::Device;
use super::{
    Config, ConfigError, RecordingsName, STORE_CAP_MIN, SourceConfig, SourceKind, rows, suggest,
};

impl Config {
    /// Says the first thing that is wrong.
    pub(super) fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let bad = |key: String, why: String, meant: Option<String>| ConfigError::BadValue {
            path: path.to_owned(),
            key,
            why,
            meant,
        };
        if self.store.cap < STORE_CAP_MIN {
            let why = format!(
                "{} is too small, the outbox needs at least {STORE_CAP_MIN}",
                self.store.cap
            );
            return Err(bad("store.cap".to_owned(), why, None));
        }
        if self.uplink.retry_first > self.uplink.retry_last {
            let why = "it is longer than `uplink.retry_last`".to_owned();
            return Err(bad("uplink.retry_first".to_owned(), why, None));
        }
        self.check_import(&bad)?;
        for (place, source) in self.sources.iter().enumerate() {
            let key = |name: &str| format!("source.{place}.{name}");
            SourceId::new(&source.name).map_err(|err| bad(key("name"), err.to_string(), None))?;
            if let Some(subject) = &source.subject {
                SubjectRef::new(subject)
                    .map_err(|err| bad(key("subject"), err.to_string(), None))?;
            }
            if self
                .sources
                .iter()
                .take(place)
                .any(|other| other.name == source.name)
            {
                let why = format!("another source is already called {}", source.name);
                return Err(bad(key("name"), why, None));
            }
            let device =
                check_device(source).map_err(|(why, meant)| bad(key("device"), why, meant))?;
            match (source.kind, &source.path, &source.usb) {
                (SourceKind::Serial, None, None) => {
                    return Err(ConfigError::MissingKey {
                        path: path.to_owned(),
                        key: key("path"),
                    });
                }
                (SourceKind::Serial, Some(_), Some(_)) => {
                    let why = "the source has a path already; one of the two is enough";
                    return Err(bad(key("usb"), why.to_owned(), None));
                }
                (SourceKind::Ble, None, None) | (SourceKind::Serial, ..) => {}
                (SourceKind::Ble, ..) => {
                    let why = "a radio sensor has no port; see `cardio-agent sources pair`";
                    return Err(bad(key("path"), why.to_owned(), None));
                }
            }
            if let Err((name, why)) = check_takes(source, device) {
                return Err(bad(key(name), why, None));
            }
        }
        Ok(())
    }

    fn check_import(
        &self,
        bad: &dyn Fn(String, String, Option<String>) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let import = &self.import;
        let key = |name: &str| format!("import.{name}");
        SourceId::new(&import.name).map_err(|err| bad(key("name"), err.to_string(), None))?;
        if self.sources.iter().any(|other| other.name == import.name) {
            let why = format!("a sensor is already called {}", import.name);
            return Err(bad(key("name"), why, None));
        }
        if let Some(subject) = &import.subject {
            SubjectRef::new(subject).map_err(|err| bad(key("subject"), err.to_string(), None))?;
        }
        Ok(())
    }
}

/// The device of a source, or what is wrong with its name and what was probably meant.
fn check_device(source: &SourceConfig) -> Result<Device, (String, Option<String>)> {
    let known = || Device::all().map(Device::name);
    let Some(device) = Device::by_name(&source.device) else {
        let why = format!(
            "no device `{}` is known; known: {}",
            source.device,
            known().collect::<Vec<_>>().join(", ")
        );
        let meant = suggest::nearest(&source.device, known()).map(str::to_owned);
        return Err((why, meant));
    };
    if device.kind() != source.kind {
        let why = format!(
            "{} is reached over `{}`, not over `{}`",
            source.device,
            device.kind().name(),
            source.kind.name()
        );
        return Err((why, None));
    }
    Ok(device)
}

/// Whether the device has what the source is to take of it; else the key and what is wrong.
fn check_takes(source: &SourceConfig, device: Device) -> Result<(), (&'static str, String)> {
    let name = device.name();
    match source.recordings {
        RecordingsName::Fetch if device.keeps().is_none() => Err((
            "recordings",
            format!("{name} keeps no recordings that can be fetched"),
        )),
        RecordingsName::Fetch if source.leads.is_some() => {
            let why = "what a kept recording shows stands in the recording";
            Err(("leads", why.to_owned()))
        }
        RecordingsName::Fetch if source.rate_hz.is_some() => {
            let why = "what a kept recording's rate is stands in the recording";
            Err(("rate_hz", why.to_owned()))
        }
        RecordingsName::Fetch => Ok(()),
        RecordingsName::Leave if device.signal().is_none() => {
            let why = format!("{name} sends no stream; its recordings can only be fetched");
            Err(("recordings", why))
        }
        RecordingsName::Leave if device.signal_at(source.rate_hz).is_none() => {
            Err(("rate_hz", rates_of(device)))
        }
        RecordingsName::Leave => rows::of(device, source.leads.as_deref())
            .map(drop)
            .map_err(|err| ("leads", err.to_string())),
    }
}

/// What a device can be asked for.
fn rates_of(device: Device) -> String {
    let rates = device.rates_hz().iter().map(u32::to_string);
    match rates.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => format!("{} has one rate, and no other", device.name()),
        rates => format!("{} has {rates} samples per second", device.name()),
    }
}
