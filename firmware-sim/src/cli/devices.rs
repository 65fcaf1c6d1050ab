//! `cardio-sim devices`: what can be played.

use cardio_firmware_sim::player::lead_labels;
use cardio_firmware_sim::scenario::{BUILT_IN, Scenario};
use cardio_protocol::profile::ALL;
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
    baud: u32,
    rate_hz: u32,
    samples_per_frame: usize,
    integrity: &'static str,
    gain_adu_per_mv: f64,
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
    print("DEVICE                  MODEL                     RATE     LOSS SHOWS BY   LEADS")?;
    for device in &document.devices {
        let model = format!("{} {}", device.maker, device.model);
        print(&format!(
            "{:<22}  {model:<24}  {:>3} Hz   {:<14}  {}",
            device.name,
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
    let devices = ALL
        .into_iter()
        .map(|profile| Device {
            name: profile.name,
            maker: profile.maker,
            model: profile.model,
            link: "serial",
            baud: profile.baud,
            rate_hz: profile.rate_hz,
            samples_per_frame: profile.samples_per_frame,
            integrity: profile.integrity.name(),
            gain_adu_per_mv: profile.gain_adu_per_mv,
            leads: lead_labels(profile),
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
