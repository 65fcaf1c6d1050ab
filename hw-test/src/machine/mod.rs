//! A whole Bluetooth stack under emulation: two sensors, a box, and what lies between them.
//!
//! A machine of Debian's kernel, BlueZ and virtual controllers is booted without any right that
//! this one would have to give. In it, `cardio-sim` is a strap on one controller and a
//! stethoscope on another, `cardio-agent` the box on the third; the gateway runs outside. Both
//! sensors leave in the middle and return. Deliberately absent: real radio waves, and two hosts.

mod image;
mod judge;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::given::Given;
use crate::judge::ledger::Ledger;
use crate::out::{result, say};
use crate::programs::Programs;
use crate::soak::RECORD;
use crate::visit::{SUBJECT, Stage, fictitious_patient};
use image::Kernel;
use judge::{Stored, Verdict};

/// How long the machine may run beside the time that the sensors send.
const LIMIT: Duration = Duration::from_secs(240);
/// How long the gateway may take to file what it has.
const FILED_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// This machine, as the emulated one reaches it (QEMU's user network).
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// How often the machine is run at most: its Bluetooth daemon (BlueZ 5.66) crashes now and then
/// where a link breaks.
const RUNS_MAX: u32 = 3;
/// How long the sensors are away.
const AWAY_S: u64 = 4;

/// The sensors: source, device and adapter.
const SENSORS: [(&str, &str, &str); 2] = [
    ("strap", "polar-pmd", "hci1"),
    ("stethoscope", "ble-audio-packets", "hci5"),
];

/// How the machine is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How much signal the sensors send, in seconds.
    #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u64).range(60..=3_600))]
    seconds: u64,
    #[command(flatten)]
    given: Given,
}

/// Why the machine cannot be run here, if it cannot.
pub(crate) fn obstacle() -> Option<String> {
    image::obstacle().or_else(crate::week::obstacle)
}

/// What became of one run of the machine.
enum Played {
    /// Whether what is stored is what was sent.
    Judged(bool),
    /// The machine's Bluetooth daemon crashed, and with it the sensors that it served.
    DaemonCrashed(String),
}

/// Runs the machine, and again when its Bluetooth daemon crashed: that is Debian's, and neither
/// the box nor the sensors. `true` when what is stored is what was sent.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.given.programs.as_deref())?;
    let temporary = tempfile::tempdir().context("no temporary folder can be had")?;
    let folder = options.given.folder(temporary.path());
    let judged = play_until_judged(options, folder, &programs);
    if !matches!(judged, Ok(true)) {
        let kept = temporary.keep();
        let folder = options.given.folder(&kept);
        say(format!(
            "The machine's files are kept in {}",
            folder.display()
        ));
    }
    judged
}

fn play_until_judged(
    options: &Options,
    folder: &Path,
    programs: &Programs,
) -> anyhow::Result<bool> {
    for run in 1..=RUNS_MAX {
        let folder = folder.join(format!("run-{run}"));
        std::fs::create_dir_all(&folder).context("no folder for the machine")?;
        match play(options, &folder, programs.clone())? {
            Played::Judged(is_well) => return Ok(is_well),
            Played::DaemonCrashed(how) => say(format!(
                "run {run} of at most {RUNS_MAX} is not judged: the machine's bluetoothd ended \
                 with {how}"
            )),
        }
    }
    bail!("the machine's bluetoothd crashed in each of {RUNS_MAX} runs")
}

fn play(options: &Options, folder: &Path, programs: Programs) -> anyhow::Result<Played> {
    let (agent, sim) = (programs.agent.clone(), programs.sim.clone());
    let mut stage = Stage::set(folder, programs)?;
    stage.route(SocketAddr::from((OUTSIDE, stage.gateway_address().port())));
    let mut gateway = stage.start_gateway()?;
    stage.record()?.put(&fictitious_patient(SUBJECT))?;

    let share = folder.join("share");
    std::fs::create_dir_all(&share).context("no folder to share")?;
    stage.add_box("FR75-012", "share/enrolment.toml")?;
    write(&share.join("agent.toml"), &box_config())?;
    write(&share.join("scenario.toml"), &scenario(options.seconds))?;
    write(&share.join("visit"), &visit(options))?;

    let watch = StopWatch::start();
    let kernel = Kernel::fetch()?;
    let tree = tempfile::tempdir().context("no temporary folder can be had")?;
    let image = folder.join("initrd.gz");
    image::make(tree.path(), &kernel, &[&agent, &sim], &image)?;
    say(format!(
        "machine made in {:.0} s",
        watch.elapsed().as_secs_f64()
    ));

    let watch = StopWatch::start();
    let mut machine = Program::start("machine", boot(&kernel, &image, &share), folder)?;
    let limit = LIMIT + Duration::from_secs(options.seconds);
    machine.wait(limit)?;
    let took = watch.elapsed();
    if let Some(how) = daemon_crash(&share) {
        gateway.stop(STOP_LIMIT)?;
        return Ok(Played::DaemonCrashed(how));
    }
    let end = std::fs::read_to_string(share.join("end")).unwrap_or_default();
    if end.trim() != "well" {
        bail!(
            "the machine ended with: {}\n{}",
            end.trim(),
            machine.last_words()
        );
    }
    say(format!("machine ran for {:.0} s", took.as_secs_f64()));
    tell_times(&share);

    let database = stage.gateway_state().join(RECORD);
    let stored = wait_for("both recordings to be stored", FILED_LIMIT, || {
        gateway.must_run()?;
        let stored = judge::stored(&database)?;
        let ended = stored.values().filter(|one| one.ended > 0).count();
        Ok((ended >= SENSORS.len()).then_some(stored))
    })?;
    gateway.stop(STOP_LIMIT)?;
    tell(&share, &stored).map(Played::Judged)
}

/// How the machine's Bluetooth daemon crashed, if it did: by a signal that a program raises
/// against itself (128 and its number, as a shell tells it).
fn daemon_crash(share: &Path) -> Option<String> {
    let said = std::fs::read_to_string(share.join("bluetoothd.log")).unwrap_or_default();
    crash_told(&said)
}

fn crash_told(said: &str) -> Option<String> {
    let ends = said
        .lines()
        .filter_map(|line| line.strip_prefix("bluetoothd ended with "));
    let mut ends = ends.map(str::trim);
    let status = ends.find_map(|status| match status {
        "132" => Some("SIGILL"),
        "134" => Some("SIGABRT"),
        "135" => Some("SIGBUS"),
        "136" => Some("SIGFPE"),
        "139" => Some("SIGSEGV"),
        _ => None,
    });
    status.map(str::to_owned)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn box_config() -> String {
    let source = |(name, device, _): (&str, &str, &str), leads: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nkind = \"ble\"\ndevice = \"{device}\"\n\
             leads = [\"{leads}\"]\nsubject = \"{SUBJECT}\"\n"
        )
    };
    let [strap, stethoscope] = SENSORS;
    format!(
        "[box]\nenrolment = \"/share/enrolment.toml\"\nstate = \"/state\"\n\
         [store]\ncap = \"64MiB\"\n[capture]\nadapters = [\"hci0\", \"hci4\"]\n[uplink]\nretry_last = \"2s\"\n\
         {}{}",
        source(strap, "I"),
        source(stethoscope, "mitral")
    )
}

/// Both sensors leave and return; to be found and connected again takes an emulated box up to
/// half a minute.
fn scenario(seconds: u64) -> String {
    format!(
        "summary = \"Leaves and returns\"\n\
         [[fault]]\nkind = \"disconnect\"\nat = \"{}s\"\nfor = \"{AWAY_S}s\"\n",
        seconds / 4
    )
}

/// What the machine plays, for its shell.
fn visit(options: &Options) -> String {
    let sensors: Vec<String> = SENSORS
        .iter()
        .map(|(name, device, adapter)| {
            format!("--device {device} --adapter {adapter} --ledger /share/{name}.jsonl")
        })
        .collect();
    format!(
        "SENSORS=\"{} --scenario /share/scenario.toml --duration {seconds}s --linger 60s --seed {}\"\n\
         LOOKS={}\n",
        sensors.join(" "),
        options.given.seed,
        // Two a second, and a minute for a sensor that begins later than the other.
        2 * (options.seconds + 60),
        seconds = options.seconds
    )
}

/// Emulated: where `/dev/kvm` exists it need not work. The machine ends with the rig, however that
/// ends.
fn boot(kernel: &Kernel, image: &Path, share: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "/usr/bin/qemu-system-x86_64"])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "768", "-nographic", "-no-reboot"])
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .args(["-nic", "user,model=virtio-net-pci"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        .arg("-virtfs")
        .arg(format!(
            "local,path={},mount_tag=share,security_model=none",
            share.display()
        ));
    command
}

/// What happened when, in seconds since the machine's kernel began.
fn tell_times(share: &Path) {
    let times = std::fs::read_to_string(share.join("times")).unwrap_or_default();
    let times: Vec<String> = times.lines().map(|line| format!("{line} s")).collect();
    result(format!("times       {}", times.join(", ")));
}

fn tell(share: &Path, stored: &BTreeMap<String, Stored>) -> anyhow::Result<bool> {
    let mut is_well = true;
    for (name, ..) in SENSORS {
        let ledger = Ledger::read(&share.join(format!("{name}.jsonl")))?;
        let none = Stored::default();
        let stored = stored.get(name).unwrap_or(&none);
        let mut verdict = judge::compare(&ledger, stored)?;
        if !verdict
            .gaps
            .iter()
            .any(judge::Found::is_of_sensor_that_left)
        {
            let line = "the sensor left, and no gap says so".to_owned();
            verdict.differences.push(line);
        }
        tell_one(name, &ledger, stored, &verdict);
        is_well &= verdict.differences.is_empty();
    }
    result(if is_well { "EQUAL" } else { "DIFFERENT" });
    Ok(is_well)
}

fn tell_one(name: &str, ledger: &Ledger, stored: &Stored, verdict: &Verdict) {
    let lost: u64 = verdict.gaps.iter().map(|gap| gap.sent).sum();
    result(format!(
        "{name:<11} {} samples sent at {} Hz, {} stored and equal, {lost} lost on the way in {} gap(s), {} value(s) came again",
        verdict.sent,
        ledger.rate_hz,
        verdict.equal,
        verdict.gaps.iter().filter(|gap| gap.sent > 0).count(),
        stored.repeated
    ));
    for gap in verdict.gaps.iter().filter(|gap| !gap.unsent.is_empty()) {
        let (len, uncertainty, cause) = gap.stated;
        result(format!(
            "{name:<11} unheard for {} samples at {}: stated as {len} +-{uncertainty} ({cause}; the sensor says {})",
            gap.missing,
            gap.from,
            gap.unsent.join(", ")
        ));
    }
    for difference in &verdict.differences {
        say(format!("DIFFERENT  {name}: {difference}"));
    }
}

#[cfg(test)]
mod tests {
    use super::crash_told;

    #[test]
    fn a_daemon_that_was_told_to_end_has_not_crashed() {
        let crashed = "bluetoothd[158]: No matching connection\nbluetoothd ended with 139\n";
        assert_eq!(crash_told(crashed).as_deref(), Some("SIGSEGV"));
        for calm in [
            "",
            "bluetoothd ended with 0\n",
            "bluetoothd ended with 143\n",
        ] {
            assert_eq!(crash_told(calm), None);
        }
    }
}
