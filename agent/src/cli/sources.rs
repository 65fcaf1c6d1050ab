//! `sources`: which sensor belongs to which source.
//!
//! A radio sensor is bound by its address, because a person names it: the strongest signal
//! may be that of the patient next door.

mod holter;
mod record;

use std::time::Duration;

use crate::adapters::ble::{Address, BleError, Sighting, Survey};
use crate::adapters::serial::usb::UsbIdentity;
use crate::config::device::Device;
use crate::config::{Config, SourceConfig, SourceKind, Span};
use crate::hygiene;
use crate::pairings::{Pairing, Pairings};

use super::{ConfigArg, Failure, out};

/// Nothing was found, and nothing is wrong.
const NOTHING: u8 = 1;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Listen for radio sensors and say whom the box hears.
    Scan(ScanArgs),
    /// Bind a sensor to a source of the configuration.
    Pair(PairArgs),
    /// Unbind the sensor of a source.
    Forget(ForgetArgs),
    /// The sources of the configuration and their sensors.
    List(ListArgs),
    /// Write down what passes between the box and a sensor, to `replay` it: signal in clear.
    Record(record::RecordArgs),
    /// Start and stop a recording in a sensor's own memory, and ask after it.
    #[command(subcommand)]
    Holter(holter::Holter),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// How long to listen.
    #[arg(long = "for", value_name = "SPAN", default_value = "8s")]
    span: Span,
    /// Also devices that no profile fits.
    #[arg(long)]
    all: bool,
    /// One JSON document, `sources-scan/1`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PairArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The source, as the configuration calls it.
    source: String,
    /// The address of the sensor, as `sources scan` shows it, or its name if only one sensor
    /// within reach has it.
    sensor: String,
    /// How long to listen for it.
    #[arg(long = "for", value_name = "SPAN", default_value = "15s")]
    span: Span,
    /// Make a bond, for a sensor that does not talk to strangers.
    #[arg(long)]
    bond: bool,
    /// One JSON document, `sources-pair/1`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The source, as the configuration calls it.
    source: String,
    /// One JSON document, `sources-forget/1`.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `sources/1`.
    #[arg(long)]
    json: bool,
}

/// Why a sensor was not bound.
#[derive(Debug, thiserror::Error)]
enum SourcesError {
    #[error("no source is called {name}")]
    UnknownSource { name: String },
    #[error("{name} is on a serial port, which the configuration names")]
    NotOnRadio { name: String },
    #[error("{count} sensors within reach are called {name}")]
    Ambiguous { name: String, count: usize },
    #[error("nothing within reach is called {name}")]
    NoneCalled { name: String },
    #[error("no sensor is paired with {name}")]
    NotPaired { name: String },
}

impl SourcesError {
    const fn code(&self) -> &'static str {
        match self {
            Self::UnknownSource { .. } => "sources.unknown",
            Self::NotOnRadio { .. } => "sources.not_on_radio",
            Self::Ambiguous { .. } => "sources.ambiguous",
            Self::NoneCalled { .. } => "sources.none_called",
            Self::NotPaired { .. } => "sources.not_paired",
        }
    }
}

impl From<SourcesError> for Failure {
    fn from(err: SourcesError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<BleError> for Failure {
    fn from(err: BleError) -> Self {
        Self::new(&err, err.code())
    }
}

impl From<crate::pairings::PairingsError> for Failure {
    fn from(err: crate::pairings::PairingsError) -> Self {
        Self::new(&err, err.code())
    }
}

pub(crate) fn run(verb: &Verb) -> Result<u8, Failure> {
    hygiene::close_leaks()?;
    match verb {
        Verb::Scan(args) => on_radio(scan(args)),
        Verb::Pair(args) => on_radio(pair(args)),
        Verb::Forget(args) => forget(args),
        Verb::List(args) => list(args),
        Verb::Record(args) => on_radio(record::record(args)),
        Verb::Holter(verb) => on_radio(holter::holter(verb)),
    }
}

fn on_radio(act: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(act)
}

#[derive(serde::Serialize)]
struct ScanDocument {
    schema: &'static str,
    sensors: Vec<SightingRow>,
}

#[derive(serde::Serialize)]
struct SightingRow {
    address: Address,
    name: Option<String>,
    /// The profile that fits.
    device: Option<&'static str>,
    rssi_dbm: Option<i16>,
    connected: bool,
    /// The source that it is paired with.
    source: Option<String>,
    /// Whether another sensor within reach has the same name.
    same_name: bool,
}

async fn scan(args: &ScanArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let pairings = Pairings::load(&config.site.state)?;
    let survey = Survey::open(config.capture.adapters.clone()).await?;
    let mut heard = survey.scan(args.span.0, None).await?;
    heard.retain(|one| args.all || one.profile.is_some());
    // by address, so that no order suggests a choice
    heard.sort_by_key(|one| one.address);
    let rows: Vec<SightingRow> = heard
        .iter()
        .map(|one| row(one, &heard, &pairings))
        .collect();
    let code = if rows.is_empty() { NOTHING } else { 0 };
    if args.json {
        out::json(&ScanDocument {
            schema: "sources-scan/1",
            sensors: rows,
        })?;
    } else {
        out::text(&scan_text(&rows))?;
    }
    Ok(code)
}

fn row(one: &Sighting, heard: &[Sighting], pairings: &Pairings) -> SightingRow {
    let named_alike = |other: &Sighting| other.address != one.address && other.name == one.name;
    let mut paired = pairings.all().iter();
    SightingRow {
        address: one.address,
        name: one.name.clone(),
        device: one.profile.map(|profile| profile.name),
        rssi_dbm: one.rssi_dbm,
        connected: one.connected,
        source: paired
            .find(|pairing| pairing.address == one.address)
            .map(|pairing| pairing.source.clone()),
        same_name: one.name.is_some() && heard.iter().any(named_alike),
    }
}

fn scan_text(rows: &[SightingRow]) -> String {
    if rows.is_empty() {
        return "NOTHING HEARD\n\
                fr: mettez le capteur en place ou en marche, près du boîtier, puis recommencez\n\
                en: put the sensor on or switch it on, close to the box, then try again\n"
            .to_owned();
    }
    let mut text = String::new();
    for row in rows {
        let name = row.name.as_deref().unwrap_or("-");
        let device = row.device.unwrap_or("unknown");
        let rssi = row
            .rssi_dbm
            .map_or_else(|| "-".to_owned(), |dbm| format!("{dbm} dBm"));
        text += &format!("{}  {device:<18} {rssi:>8}  {name}", row.address);
        if let Some(source) = &row.source {
            text += &format!("  paired with {source}");
        }
        text.push('\n');
    }
    if rows.iter().any(|row| row.same_name) {
        text += "fr: deux capteurs portent le même nom : comparez l'adresse imprimée sur le capteur\n\
                 en: two sensors have the same name: compare the address printed on the sensor\n";
    }
    text
}

#[derive(serde::Serialize)]
struct PairDocument {
    schema: &'static str,
    #[serde(flatten)]
    pairing: Pairing,
}

async fn pair(args: &PairArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let source = source_of(&config, &args.source)?;
    let Some(Device::Ble(profile)) = Device::by_name(&source.device) else {
        let name = source.name.clone();
        return Err(SourcesError::NotOnRadio { name }.into());
    };
    let mut pairings = Pairings::load(&config.site.state)?;
    let survey = Survey::open(config.capture.adapters.clone()).await?;
    let sighting = named(&survey, &args.sensor, args.span.0).await?;
    let address = sighting.address;
    // asked before the sensor is disturbed
    pairings.clone().bind(pairing(source, &sighting))?;
    let found = survey.meet(address, profile, args.bond).await?;
    let pairing = Pairing {
        serial: found.serial,
        bonded: found.bonded,
        ..pairing(source, &sighting)
    };
    pairings.bind(pairing.clone())?;
    crate::service::make_state(&config.site.state)?;
    pairings.save(&config.site.state)?;
    if args.json {
        out::json(&PairDocument {
            schema: "sources-pair/1",
            pairing,
        })?;
    } else {
        let name = pairing.name.as_deref().unwrap_or("-");
        out::text(&format!("PAIRED   {} with {address} {name}\n", source.name))?;
    }
    Ok(0)
}

fn pairing(source: &SourceConfig, sighting: &Sighting) -> Pairing {
    Pairing {
        source: source.name.clone(),
        device: source.device.clone(),
        address: sighting.address,
        name: sighting.name.clone(),
        serial: None,
        bonded: false,
    }
}

/// The one sensor within reach that was meant.
async fn named(survey: &Survey, sensor: &str, span: Duration) -> Result<Sighting, Failure> {
    if let Ok(address) = sensor.parse::<Address>() {
        let heard = survey.scan(span, Some(address)).await?;
        let is_it = |one: &Sighting| one.address == address;
        let found = heard.into_iter().find(is_it);
        return Ok(found.ok_or(BleError::NotHeard { address })?);
    }
    let mut heard = survey.scan(span, None).await?;
    heard.retain(|one| one.name.as_deref() == Some(sensor));
    let (name, count) = (sensor.to_owned(), heard.len());
    match (heard.pop(), count) {
        (Some(one), 1) => Ok(one),
        (Some(_), count) => Err(SourcesError::Ambiguous { name, count }.into()),
        (None, _) => Err(SourcesError::NoneCalled { name }.into()),
    }
}

fn source_of<'a>(config: &'a Config, name: &str) -> Result<&'a SourceConfig, Failure> {
    let unknown = || SourcesError::UnknownSource {
        name: name.to_owned(),
    };
    let found = config.sources.iter().find(|source| source.name == name);
    Ok(found.ok_or_else(unknown)?)
}

fn forget(args: &ForgetArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let mut pairings = Pairings::load(&config.site.state)?;
    let Some(gone) = pairings.forget(&args.source) else {
        let name = args.source.clone();
        return Err(SourcesError::NotPaired { name }.into());
    };
    pairings.save(&config.site.state)?;
    if args.json {
        out::json(&PairDocument {
            schema: "sources-forget/1",
            pairing: gone,
        })?;
    } else {
        let (address, source) = (gone.address, &gone.source);
        out::text(&format!("FORGOTTEN   {address} of {source}\n"))?;
    }
    Ok(0)
}

#[derive(serde::Serialize)]
struct ListDocument {
    schema: &'static str,
    sources: Vec<SourceRow>,
}

#[derive(serde::Serialize)]
struct SourceRow {
    name: String,
    kind: SourceKind,
    device: String,
    path: Option<std::path::PathBuf>,
    usb: Option<UsbIdentity>,
    sensor: Option<Pairing>,
}

fn list(args: &ListArgs) -> Result<u8, Failure> {
    let config = Config::load(&args.config.config)?;
    let pairings = Pairings::load(&config.site.state)?;
    let sources: Vec<SourceRow> = config
        .sources
        .iter()
        .map(|source| SourceRow {
            name: source.name.clone(),
            kind: source.kind,
            device: source.device.clone(),
            path: source.path.clone(),
            usb: source.usb.clone(),
            sensor: pairings.of(&source.name).cloned(),
        })
        .collect();
    if args.json {
        out::json(&ListDocument {
            schema: "sources/1",
            sources,
        })?;
    } else {
        let lines = sources.iter().map(|row| format!("{}\n", list_line(row)));
        out::text(&lines.collect::<String>())?;
    }
    Ok(0)
}

fn list_line(row: &SourceRow) -> String {
    let reached = match (&row.path, &row.usb, &row.sensor) {
        (Some(path), ..) => path.display().to_string(),
        (None, Some(usb), _) => format!("USB {usb}"),
        (None, None, Some(sensor)) => {
            let name = sensor.name.as_deref().unwrap_or("-");
            format!("{} {name}", sensor.address)
        }
        (None, None, None) => "no sensor paired".to_owned(),
    };
    let (name, kind, device) = (&row.name, row.kind.name(), &row.device);
    format!("{name:<16} {kind:<6} {device:<22} {reached}")
}

#[cfg(test)]
mod tests {
    use super::{Address, Pairings, Sighting, row, scan_text};

    fn sighting(last: u8, name: &str) -> Sighting {
        Sighting {
            address: Address([0xA0, 0x9E, 0x1A, 0, 0, last]),
            name: Some(name.to_owned()),
            profile: None,
            rssi_dbm: Some(-60),
            connected: false,
        }
    }

    #[test]
    fn two_sensors_of_one_name_are_pointed_out_in_both_languages() {
        let heard = [sighting(1, "ER1"), sighting(2, "ER1"), sighting(3, "ER2")];
        let pairings = Pairings::default();
        let rows: Vec<_> = heard
            .iter()
            .map(|one| row(one, &heard, &pairings))
            .collect();
        let same: Vec<bool> = rows.iter().map(|row| row.same_name).collect();
        assert_eq!(same, [true, true, false]);
        let text = scan_text(&rows);
        assert!(
            text.contains("même nom") && text.contains("same name"),
            "{text}"
        );
        assert!(!scan_text(&rows[2..]).contains("same name"));
    }
}
