//! A device on the bench: found or played, recorded for a while, and what a replay finds.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::definition::{Dut, Link, folder};
use crate::child::Program;
use crate::clock::wait_for;
use crate::judge::ledger::Ledger;
use crate::programs::Programs;

/// A simulated device plays so much less than is recorded, so that all it sent is heard.
const LESS_S: u64 = 2;
/// How long a sensor is looked for.
const SCAN: &str = "8s";
/// For a simulator to be ready, and to end.
const SIM_LIMIT: Duration = Duration::from_secs(20);

/// What became of a device.
pub(super) enum Attempt {
    /// It was recorded: the document `replay/1`, and the ledger of a simulated one.
    Recorded(Value, Option<Ledger>),
    /// It is not here.
    Absent(String),
}

/// How the box reaches it.
enum Reached {
    /// By these lines of the source's configuration.
    Serial(String),
    /// By this address, once it is paired.
    Ble(String),
}

/// Finds the device, or plays it, and records it.
pub(super) fn attempt(
    dut: &Dut,
    programs: &Programs,
    place: &Path,
    seed: u64,
) -> anyhow::Result<Attempt> {
    let mut bench = Bench {
        dut,
        agent: &programs.agent,
        place,
        bus: None,
    };
    let ledger = place.join("ledger.jsonl");
    let mut sim = None;
    if let Link::Simulated { scenario } = &dut.link {
        sim = Some(bench.play(&programs.sim, scenario, &ledger, seed)?);
    }
    let reached = match bench.reach()? {
        Ok(reached) => reached,
        Err(why) => return Ok(Attempt::Absent(why)),
    };
    if let Reached::Serial(lines) = &reached {
        bench.configure("serial", lines)?;
    }
    if let Reached::Ble(address) = &reached {
        bench.must(&["sources", "pair", "dut", address])?;
    }
    let found = bench.record()?;
    let Some(mut sim) = sim else {
        return Ok(Attempt::Recorded(found, None));
    };
    sim.wait(SIM_LIMIT)?;
    Ok(Attempt::Recorded(found, Some(Ledger::read(&ledger)?)))
}

struct Bench<'a> {
    dut: &'a Dut,
    agent: &'a Path,
    place: &'a Path,
    /// Where the box finds a bus, if not where this machine has it.
    bus: Option<PathBuf>,
}

impl Bench<'_> {
    fn play(
        &mut self,
        sim: &Path,
        scenario: &str,
        ledger: &Path,
        seed: u64,
    ) -> anyhow::Result<Program> {
        let scenario = folder().join(format!("scenarios/{scenario}.toml"));
        let mut command = Command::new(sim);
        command.args(["play", "--device", &self.dut.device]);
        command.arg("--scenario").arg(scenario);
        command.arg("--ledger").arg(ledger);
        let seconds = self.dut.seconds.saturating_sub(LESS_S);
        command.args(["--duration", &format!("{seconds}s")]);
        command.args(["--seed", &seed.to_string()]);
        let (link, bus) = (self.place.join("port"), self.place.join("bus"));
        let is_serial = self.is_serial(sim)?;
        if is_serial {
            command.arg("--link").arg(&link);
        } else {
            command.arg("--bus").arg(&bus);
            self.bus = Some(bus);
        }
        let mut program = Program::start("cardio-sim", command, self.place)?;
        let log = self.place.join("cardio-sim.log");
        wait_for("the simulated device", SIM_LIMIT, || {
            program.must_run()?;
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(said.contains("ready ").then_some(()))
        })?;
        Ok(program)
    }

    /// Whether the simulator plays this device on a line.
    fn is_serial(&self, sim: &Path) -> anyhow::Result<bool> {
        let output = Command::new(sim).arg("devices").output();
        let output = output.context("cannot ask the simulator for its devices")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(|line| line.split_whitespace());
        let link = lines.find_map(|mut words| {
            let is_it = words.next() == Some(&self.dut.device);
            is_it.then(|| words.next().map(str::to_owned)).flatten()
        });
        let link = link.with_context(|| format!("nobody plays a {}", self.dut.device))?;
        Ok(link == "serial")
    }

    /// How the device is reached, or why it is not here.
    fn reach(&self) -> anyhow::Result<Result<Reached, String>> {
        let by_path = |path: &Path| Reached::Serial(format!("path = {:?}\n", path));
        Ok(match &self.dut.link {
            Link::Simulated { .. } if self.bus.is_none() => Ok(by_path(&self.place.join("port"))),
            Link::Simulated { .. } => self.heard("", None, "1s")?,
            Link::Path { path } if path.exists() => Ok(by_path(path)),
            Link::Path { path } => Err(format!("there is no {}", path.display())),
            Link::Usb { vendor_product } => usb(Path::new("/sys"), vendor_product)
                .map(|identity| Reached::Serial(format!("usb = {identity:?}\n"))),
            Link::Ble { name, address } => self.heard(name, address.as_deref(), SCAN)?,
        })
    }

    /// The one sensor of this kind within reach. Never the strongest of several.
    fn heard(
        &self,
        name: &str,
        address: Option<&str>,
        span: &str,
    ) -> anyhow::Result<Result<Reached, String>> {
        self.configure("ble", "")?;
        let output = self.ask(&["sources", "scan", "--for", span, "--json"])?;
        let Ok(scan) = serde_json::from_slice::<Value>(&output.stdout) else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let first = said.lines().next().unwrap_or("no answer");
            return Ok(Err(first.trim_start_matches("error: ").to_owned()));
        };
        let text = |one: &Value, key: &str| {
            let text = one.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let sensors = scan.get("sensors").and_then(Value::as_array);
        let sensors = sensors.cloned().unwrap_or_default();
        let fits = |one: &&Value| {
            text(one, "device") == self.dut.device
                && text(one, "name").starts_with(name)
                && address.is_none_or(|address| text(one, "address") == address)
        };
        let fitting: Vec<&Value> = sensors.iter().filter(fits).collect();
        Ok(match fitting.as_slice() {
            [one] => Ok(Reached::Ble(text(one, "address"))),
            [] => Err("it is not within reach".to_owned()),
            several => Err(format!(
                "{} of its kind are within reach: name one by its address",
                several.len()
            )),
        })
    }

    fn configure(&self, kind: &str, lines: &str) -> anyhow::Result<()> {
        let text = format!(
            "[box]\nenrolment = \"enrolment.toml\"\nstate = \"state\"\n[[source]]\nname = \"dut\"\n\
             kind = \"{kind}\"\ndevice = \"{}\"\n{lines}",
            self.dut.device
        );
        std::fs::write(self.place.join("agent.toml"), text).context("cannot write agent.toml")
    }

    fn record(&self) -> anyhow::Result<Value> {
        let capture = self.place.join("capture.log");
        // one that an earlier run kept here is of another recording
        let _ = std::fs::remove_file(&capture);
        let capture = capture.to_string_lossy().into_owned();
        let span = format!("{}s", self.dut.seconds);
        self.must(&["sources", "record", "dut", &capture, "--for", &span])?;
        let output = self.must_plain(&["replay", &capture, "--json"])?;
        serde_json::from_slice(&output.stdout).context("a replay that cannot be read")
    }

    fn ask(&self, words: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(words);
        command.arg("--config").arg(self.place.join("agent.toml"));
        command.output().context("cannot run cardio-agent")
    }

    fn must(&self, words: &[&str]) -> anyhow::Result<Output> {
        succeeded(words, self.ask(words)?)
    }

    fn must_plain(&self, words: &[&str]) -> anyhow::Result<Output> {
        let output = self.command(words).output();
        succeeded(words, output.context("cannot run cardio-agent")?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.agent);
        command.args(words);
        if let Some(bus) = &self.bus {
            let address = format!("unix:path={}", bus.display());
            command.env("DBUS_SYSTEM_BUS_ADDRESS", address);
        }
        command
    }
}

fn succeeded(words: &[&str], output: Output) -> anyhow::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    bail!(
        "cardio-agent {}: {}\n{said}{told}",
        words.join(" "),
        output.status
    )
}

/// The one adapter with this vendor and product, with its serial number.
fn usb(sys: &Path, vendor_product: &str) -> Result<String, String> {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let devices = std::fs::read_dir(sys.join("bus/usb/devices"));
    let all = devices.into_iter().flatten().flatten();
    let serials: Vec<String> = all
        .filter_map(|entry| {
            let of = |name: &str| Some(read(entry.path().join(name))?.trim().to_owned());
            let found = format!("{}:{}", of("idVendor")?, of("idProduct")?);
            (found == vendor_product).then(|| of("serial")).flatten()
        })
        .collect();
    match serials.as_slice() {
        [serial] => Ok(format!("{vendor_product}:{serial}")),
        [] => Err(format!("no USB device {vendor_product} is plugged in")),
        several => Err(format!(
            "{} USB devices {vendor_product} are plugged in: leave one",
            several.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::usb;

    #[test]
    fn one_adapter_is_taken_with_its_serial_number_and_of_two_none() {
        let sys = tempfile::tempdir().unwrap();
        assert!(usb(sys.path(), "0403:6015").unwrap_err().contains("no USB"));
        let plug_in = |port: &str, serial: &str| {
            let folder = sys.path().join("bus/usb/devices").join(port);
            std::fs::create_dir_all(&folder).unwrap();
            for (name, text) in [
                ("idVendor", "0403"),
                ("idProduct", "6015"),
                ("serial", serial),
            ] {
                std::fs::write(folder.join(name), format!("{text}\n")).unwrap();
            }
        };
        plug_in("1-1", "DN01");
        assert_eq!(usb(sys.path(), "0403:6015").unwrap(), "0403:6015:DN01");
        plug_in("1-2", "DN02");
        assert!(usb(sys.path(), "0403:6015").unwrap_err().starts_with("2 "));
    }
}
