//! What a box costs while it captures several sensors at once: three on Bluetooth, a stethoscope
//! among them, and one of twelve leads on a serial line.
//!
//! The real programs, the gateway included; the radio does not exist. Loss and growing memory are
//! judged; processor time is said, because it belongs to the machine. Deliberately absent: any
//! comparison of what was captured with what was sent (the other rigs).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::given::Given;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::usage::{processor_s, resident_mib};
use crate::visit::stage::Stage;

/// What the rig is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long it is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[command(flatten)]
    given: Given,
}

/// On Bluetooth, in the order in which the simulator numbers them.
const ON_AIR: [&str; 3] = ["polar-pmd", "movesense-gsp", "ble-audio-packets"];
/// The one of them that is asked for more than its usual rate.
const FAST: (&str, u32) = ("movesense-gsp", 500);
const ON_LINE: &str = "openbci-cyton";
/// For everything to stream, and for programs to start.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Largest growth of memory after the first half of the measurement.
const GROWTH_MIB: f64 = 2.0;

/// Measures; `false` when something is lost or memory grows.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("cannot make a folder")?;
    let folder = options.given.folder(temporary.path());
    let mut stage = Stage::set(folder, programs.clone())?;
    let bus = folder.join("bus");
    let address = format!("unix:path={}", bus.display());
    stage.set_agent_environment(&[("DBUS_SYSTEM_BUS_ADDRESS", address.as_str())]);
    stage.capture(&sources(&stage.port_link()));
    stage.add_box("FR75-012", "enrolment.toml")?;
    stage.configure_box()?;
    let _gateway = stage.start_gateway()?;
    let span = options.seconds + 2 * START_LIMIT.as_secs();
    let play = |name, more: &[&str], at: (&str, &Path)| {
        let mut command = Command::new(&programs.sim);
        command.arg("play").args(more).arg(at.0).arg(at.1);
        command.args(["--seed", &options.given.seed.to_string()]);
        command.args(["--duration", &format!("{span}s")]);
        Program::start(name, command, folder)
    };
    let played = ON_AIR.map(|name| match FAST {
        (fast, rate_hz) if fast == name => format!("{name}@{rate_hz}"),
        _ => name.to_owned(),
    });
    let on_air: Vec<&str> = played.iter().flat_map(|name| ["--device", name]).collect();
    let _on_air = play("sim-air", &on_air, ("--bus", &bus))?;
    let _on_line = play(
        "sim-line",
        &["--device", ON_LINE],
        ("--link", &stage.port_link()),
    )?;
    wait_for("the sensors", START_LIMIT, || {
        Ok((bus.exists() && stage.port_link().exists()).then_some(()))
    })?;
    for (number, name) in (1..).zip(ON_AIR) {
        pair(
            &stage,
            name,
            &format!("C0:DE:CA:FE:00:{number:02X}"),
            &address,
        )?;
    }
    let agent = stage.start_agent()?;
    wait_for("every sensor to stream", START_LIMIT, || {
        Ok(streaming(&stage)?.then_some(()))
    })?;
    say(format!("all stream; measured for {} s", options.seconds));
    measure(options, &stage, &agent)
}

fn sources(port: &Path) -> String {
    let on_air = ON_AIR.map(|name| {
        let rate = match FAST {
            (fast, rate_hz) if fast == name => format!("rate_hz = {rate_hz}\n"),
            _ => String::new(),
        };
        format!("[[source]]\nname = \"{name}\"\nkind = \"ble\"\ndevice = \"{name}\"\n{rate}")
    });
    format!(
        "{}[[source]]\nname = \"{ON_LINE}\"\nkind = \"serial\"\ndevice = \"{ON_LINE}\"\n\
         path = {:?}\n",
        on_air.concat(),
        PathBuf::from(port)
    )
}

fn pair(stage: &Stage, source: &str, sensor: &str, bus: &str) -> anyhow::Result<()> {
    let mut command = stage.box_does(&["sources", "pair", source, sensor]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
    let output = command.output().context("cannot pair a sensor")?;
    if !output.status.success() {
        bail!(
            "{source} cannot be paired: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn streaming(stage: &Stage) -> anyhow::Result<bool> {
    let Some(status) = stage.agent_status()? else {
        return Ok(false);
    };
    let sources = status.get("sources").and_then(|all| all.as_array());
    let is_streaming =
        |one: &serde_json::Value| one.get("state").is_some_and(|state| state == "streaming");
    Ok(sources.is_some_and(|all| all.len() > ON_AIR.len() && all.iter().all(is_streaming)))
}

fn measure(options: &Options, stage: &Stage, agent: &Program) -> anyhow::Result<bool> {
    let watch = StopWatch::start();
    let begun_s = processor_s(agent)?;
    watch.sleep_until(Duration::from_secs(options.seconds / 2));
    let half_mib = resident_mib(agent)?;
    watch.sleep_until(Duration::from_secs(options.seconds));
    let used_s = processor_s(agent)? - begun_s;
    let percent = 100.0 * used_s / watch.elapsed().as_secs_f64();
    let end_mib = resident_mib(agent)?;
    let status = stage.agent_status()?.context("the box is gone")?;
    let sources = status.get("sources").and_then(|all| all.as_array());
    let mut lost = 0;
    for source in sources.into_iter().flatten() {
        let name = source.get("device").and_then(|name| name.as_str());
        let of = |key: &str| source.get(key).and_then(serde_json::Value::as_u64);
        let [samples, gaps, crowded] =
            ["samples", "gaps", "crowded_out"].map(|key| of(key).unwrap_or_default());
        lost += gaps + crowded;
        let rate = source.get("rate_hz").and_then(serde_json::Value::as_f64);
        result(format!(
            "{:<20} {:>6} Hz {samples:>8} samples, {gaps} gap(s), {crowded} crowded out",
            name.unwrap_or_default(),
            rate.unwrap_or_default(),
        ));
    }
    let grown_mib = end_mib - half_mib;
    result(format!(
        "box: {percent:.1} % of one core over {} s, {end_mib:.1} MiB, {grown_mib:+.2} MiB since half-time",
        options.seconds,
    ));
    Ok(lost == 0 && grown_mib <= GROWTH_MIB)
}
