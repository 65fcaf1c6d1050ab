//! `cardio-sim devices`: what can be played.

use cardio_firmware_sim::device::{Device as Known, Transport};
use cardio_firmware_sim::scenario::{BUILT_IN, Scenario};
use serde::Serialize;

use super::failure::Failure;
use super::print;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Prints one JSON document, schema devices/1.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    devices: Vec<Device>,
    scenarios: Vec<ScenarioFacts>,
}

#[derive(Serialize)]
struct Device {
    name: &'static str,
    maker: &'static str,
    model: &'static str,
    link: &'static str,
    baud: Option<u32>,
    rate_hz: u32,
    samples_per_frame: usize,
    integrity: &'static str,
    gain_adu_per_mv: Option<f64>,
    leads: Vec<String>,
}

#[derive(Serialize)]
struct ScenarioFacts {
    name: &'static str,
    summary: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let document = document()?;
    if args.json {
        let text = serde_json::to_string_pretty(&document)
            .map_err(|err| Failure::new("cannot write JSON", "json.write").because(&err))?;
        return print(&text);
    }
    print(
        "DEVICE                  LINK       MODEL                     RATE     LOSS SHOWS BY   LEADS",
    )?;
    for device in &document.devices {
        let model = format!("{} {}", device.maker, device.model);
        print(&format!(
            "{:<22}  {:<9}  {model:<24}  {:>4} Hz  {:<14}  {}",
            device.name,
            device.link,
            device.rate_hz,
            match device.integrity {
                "counted" => "counter",
                "time-stamped" => "time stamp",
                _ => "time only",
            },
            device.leads.join(" ")
        ))?;
    }
    print("\nSCENARIO")?;
    for scenario in &document.scenarios {
        print(&format!("{:<22}  {}", scenario.name, scenario.summary))?;
    }
    Ok(())
}

fn document() -> Result<Document, Failure> {
    let devices = Known::all()
        .into_iter()
        .map(|device| {
            let (link, baud) = match device.transport {
                Transport::Serial(profile) => ("serial", Some(profile.baud)),
                Transport::Bluetooth(_) => ("bluetooth", None),
            };
            Device {
                name: device.name,
                maker: device.maker,
                model: device.model,
                link,
                baud,
                rate_hz: device.rate_hz,
                samples_per_frame: device.samples_per_frame,
                integrity: device.integrity.name(),
                gain_adu_per_mv: device.gain_adu_per_mv(),
                leads: device.labels(),
            }
        })
        .collect();
    let scenarios = BUILT_IN
        .into_iter()
        .map(|(name, text)| {
            let scenario =
                Scenario::from_toml(name, text).map_err(|err| Failure::of(&err, err.code()))?;
            Ok(ScenarioFacts {
                name,
                summary: scenario.summary,
            })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Document {
        schema: "devices/1",
        devices,
        scenarios,
    })
}
