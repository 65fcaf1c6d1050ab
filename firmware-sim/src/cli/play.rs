//! `cardio-sim play`: a device on a pseudo-terminal, or sensors on a radio of their own or on
//! real adapters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardio_core::lead::Lead;
use cardio_firmware_sim::device::{Device, Transport};
use cardio_firmware_sim::faults::FaultPlan;
use cardio_firmware_sim::ledger::{Header, Resampling, SCHEMA, SourceFacts};
use cardio_firmware_sim::on_air::{self, OnAir, Transmitter, sensor_of};
use cardio_firmware_sim::play::{PlayOptions, Played, play};
use cardio_firmware_sim::player::{Pacing, Player};
use cardio_firmware_sim::radio::Radio;
use cardio_firmware_sim::scenario::{BUILT_IN, Scenario, Span};
use cardio_firmware_sim::source::{
    BeatSource, RecordingSource, SignalSource, SoundSource, SynthSource, Wiring,
};
use cardio_formats::read::{ReadOptions, read_path};
use cardio_protocol::profile::WaveKind;
use cardio_signal::pcg::synth::SoundSynthConfig;

use super::failure::Failure;
use super::print;

/// Longest visit of a heart that never ends: a Holter of 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Device to play; `cardio-sim devices` lists them. On Bluetooth, several times for several.
    #[arg(long, required = true)]
    device: Vec<String>,
    /// Stable link to the pseudo-terminal, as the box's configuration names it.
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// Socket of the bus on which Bluetooth sensors are found; without it, one without a file.
    #[arg(long, value_name = "PATH", conflicts_with = "link")]
    bus: Option<PathBuf>,
    /// Adapter of this machine to be a Bluetooth sensor on, such as hci1, through the system's
    /// BlueZ. Each device needs one of its own.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["link", "bus"])]
    adapter: Vec<String>,
    /// Recording to play instead of a synthetic heart.
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Plays the recording again and again.
    #[arg(long, requires = "recording")]
    repeat: bool,
    /// Scenario: a name from `cardio-sim devices`, or a TOML file.
    #[arg(long, default_value = "calm", value_name = "NAME|FILE")]
    scenario: String,
    /// Mean rate of the synthetic heart, per minute, instead of the scenario's.
    #[arg(long, value_name = "BPM", conflicts_with = "recording")]
    heart_rate: Option<f64>,
    /// Where chance starts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much signal to play, such as 30s or 24h; without it, to the recording's end.
    #[arg(long)]
    duration: Option<Span>,
    /// A recording of this length lies in the device's memory from before the visit; several times
    /// for several. The visit then begins when a host connects.
    #[arg(long, value_name = "SPAN")]
    keep: Vec<Span>,
    /// Where to write what was really sent, as JSON lines. With several devices, once for each.
    #[arg(long, value_name = "FILE.jsonl")]
    ledger: Vec<PathBuf>,
    /// How many times faster than life.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    speed: f64,
    /// How long the device stays plugged in, silent, after the last sample.
    #[arg(long, default_value = "2s")]
    linger: Span,
    /// Prints the closing line as JSON, schema play/1.
    #[arg(long)]
    json: bool,
}

struct Signal {
    source: Box<dyn SignalSource>,
    wiring: Vec<Wiring>,
    facts: SourceFacts,
}

/// A device with its signal, ready to be played.
struct Part {
    device: Device,
    player: Player,
    header: Header,
    ledger: Option<PathBuf>,
}

impl Part {
    fn on_air(self, args: &Args) -> on_air::Part {
        on_air::Part {
            player: self.player,
            header: self.header,
            ledger: self.ledger,
            linger: Duration::from_micros(args.linger.micros()),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let (scenario, scenario_name) = read_scenario(&args.scenario)?;
    let ledgers = args.ledger.len();
    if ledgers > 0 && ledgers != args.device.len() {
        let text = format!("{ledgers} ledger(s) for {} device(s)", args.device.len());
        return Err(
            Failure::new("each device needs a ledger of its own", "sim.ledgers")
                .because_text(text)
                .wrong_usage(),
        );
    }
    let mut parts = Vec::new();
    for (at, name) in args.device.iter().enumerate() {
        let device = Device::by_name(name).ok_or_else(|| unknown_device(name))?;
        let ledger = args.ledger.get(at).cloned();
        parts.push(part(args, device, &scenario, &scenario_name, ledger)?);
    }
    let on_line = parts
        .iter()
        .position(|part| matches!(part.device.transport, Transport::Serial(_)));
    if let (Some(_), false) = (on_line, args.adapter.is_empty()) {
        return Err(
            Failure::new("an adapter is for Bluetooth sensors", "sim.adapters")
                .because_text("a serial device has a line of its own: leave --adapter out")
                .wrong_usage(),
        );
    }
    match on_line {
        None => play_on_air(args, parts),
        Some(at) if parts.len() == 1 => {
            let part = parts.swap_remove(at);
            play_on_line(args, part, scenario.device.baud)
        }
        Some(_) => Err(Failure::new(
            "several devices can be played on Bluetooth only",
            "sim.several",
        )
        .because_text("a serial device has a line of its own: start it by itself")
        .wrong_usage()),
    }
}

fn part(
    args: &Args,
    device: Device,
    scenario: &Scenario,
    scenario_name: &str,
    ledger: Option<PathBuf>,
) -> Result<Part, Failure> {
    let signal = signal(args, &device, scenario)?;
    let span = args
        .duration
        .map_or(LONGEST, |span| Duration::from_micros(span.micros()));
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let pacing = Pacing {
        speed: args.speed,
        clock_ppm: scenario.device.clock_ppm,
        samples: device.rate().count_in_micros(micros).0,
    };
    let header = header(args, &device, &signal, scenario_name.to_owned(), pacing);
    let wired = signal
        .wiring
        .iter()
        .map(|wiring| wiring.label.is_some())
        .collect();
    let plan = FaultPlan::new(scenario, &device, args.seed);
    let mut player = Player::new(device.clone(), signal.source, wired, plan, pacing);
    for (number, span) in (1..).zip(&args.keep) {
        let config = scenario.synth(args.seed.wrapping_add(number), device.rate());
        let heart = Box::new(SynthSource::new(config, &leads_of(&device)));
        let samples = device.rate().count_in_micros(span.micros()).0;
        if !player.keep(heart, samples) {
            let title = format!("{} keeps no recordings here", device.name);
            return Err(Failure::new(title, "sim.keep")
                .because_text("only viatom-er1 has a memory to put one into")
                .wrong_usage());
        }
    }
    Ok(Part {
        device,
        player,
        header,
        ledger,
    })
}

fn play_on_line(args: &Args, part: Part, baud: Option<u32>) -> Result<(), Failure> {
    let Transport::Serial(profile) = part.device.transport else {
        return Ok(());
    };
    let options = PlayOptions {
        link: args.link.clone(),
        baud,
        ledger: part.ledger,
        linger: Duration::from_micros(args.linger.micros()),
    };
    let mut told = Ok(());
    let played = play(profile, part.player, part.header, options, |path| {
        told = print(&format!("ready {}", path.display()));
    })
    .map_err(|err| match std::error::Error::source(&err) {
        Some(source) => Failure::of(source, err.code()),
        None => Failure::of(&err, err.code()),
    })?;
    told?;
    close(args, part.device.name, played)
}

fn play_on_air(args: &Args, parts: Vec<Part>) -> Result<(), Failure> {
    if !args.adapter.is_empty() {
        return play_on_adapters(args, parts);
    }
    let radio = match &args.bus {
        Some(path) => Radio::start_at(path),
        None => Radio::start(),
    }
    .map_err(|err| Failure::of(&err, err.code()))?;
    let mut playing = Vec::new();
    for (number, part) in (1..).zip(parts) {
        let Transport::Bluetooth(profile) = part.device.transport else {
            continue;
        };
        let name = part.device.name;
        let begun = OnAir::begin(&radio, sensor_of(profile, number), part.on_air(args));
        playing.push((name, begun.map_err(|err| not_begun(&err))?));
    }
    print(&format!("ready {}", radio.address()))?;
    play_all(args, playing)
}

fn play_on_adapters(args: &Args, parts: Vec<Part>) -> Result<(), Failure> {
    let (adapters, devices) = (args.adapter.len(), parts.len());
    if adapters != devices {
        return Err(
            Failure::new("each device needs an adapter of its own", "sim.adapters")
                .because_text(format!("{adapters} adapter(s) for {devices} device(s)"))
                .wrong_usage(),
        );
    }
    let mut playing = Vec::new();
    for (number, (part, adapter)) in (1..).zip(parts.into_iter().zip(&args.adapter)) {
        let Transport::Bluetooth(profile) = part.device.transport else {
            continue;
        };
        let name = part.device.name;
        let shown = sensor_of(profile, number);
        let begun = OnAir::begin_on_adapter(adapter, shown, part.on_air(args));
        playing.push((name, begun.map_err(|err| not_begun(&err))?));
    }
    let addresses: Vec<&str> = playing
        .iter()
        .map(|(_, on_air)| on_air.sensor().address())
        .collect();
    print(&format!("ready {}", addresses.join(" ")))?;
    play_all(args, playing)
}

fn not_begun(err: &on_air::BeginError) -> Failure {
    match std::error::Error::source(err) {
        Some(source) => Failure::of(source, err.code()),
        None => Failure::of(err, err.code()),
    }
}

/// Plays each device on a thread of its own, to the end of all.
fn play_all<S: Transmitter + Send + 'static>(
    args: &Args,
    playing: Vec<(&'static str, OnAir<S>)>,
) -> Result<(), Failure> {
    let threads: Vec<_> = playing
        .into_iter()
        .map(|(name, on_air)| (name, std::thread::spawn(move || on_air.play())))
        .collect();
    for (name, thread) in threads {
        let played = thread
            .join()
            .map_err(|_| Failure::new("a device stopped being played", "sim.thread"))?
            .map_err(|err| Failure::of(&err, err.code()))?;
        close(args, name, played)?;
    }
    Ok(())
}

fn close(args: &Args, device: &str, played: Played) -> Result<(), Failure> {
    let Played {
        frames,
        samples,
        reason,
    } = played;
    if !args.json {
        return print(&format!(
            "played {device}: {samples} samples of each lead in {frames} frames"
        ));
    }
    let document = serde_json::json!({
        "schema": "play/1",
        "device": device,
        "samples": samples,
        "frames": frames,
        "reason": reason,
    });
    print(&document.to_string())
}

/// What each row of a device is wired to.
fn leads_of(device: &Device) -> Vec<Option<Lead>> {
    device
        .waves
        .iter()
        .map(|wave| match wave {
            WaveKind::Ecg(lead) => Some(*lead),
            // A strap of two electrodes sees about what lead I sees.
            WaveKind::EcgOther(_) => Some(Lead::I),
            WaveKind::HeartSound => None,
        })
        .collect()
}

fn signal(args: &Args, device: &Device, scenario: &Scenario) -> Result<Signal, Failure> {
    let leads = leads_of(device);
    let is_sound = device.waves.contains(&WaveKind::HeartSound);
    let Some(path) = &args.recording else {
        if is_sound {
            return Ok(sound(args, device, scenario));
        }
        let mut config = scenario.synth(args.seed, device.rate());
        if let Some(bpm) = args.heart_rate {
            config.heart_rate_bpm = bpm;
        }
        let facts = SourceFacts::Synth {
            heart_rate_bpm: config.heart_rate_bpm,
        };
        let wiring = leads
            .iter()
            .map(|lead| Wiring {
                label: lead.map(|lead| lead.name().to_owned()),
                rate: Some(device.rate()),
            })
            .collect();
        let source = seen_by(device, Box::new(SynthSource::new(config, &leads)));
        return Ok(Signal {
            source,
            wiring,
            facts,
        });
    };
    let recording =
        read_path(path, ReadOptions::default()).map_err(|err| Failure::of(&err, err.code()))?;
    let facts = SourceFacts::Recording {
        name: recording.name.clone(),
        format: recording.format,
        repeat: args.repeat,
    };
    let source = RecordingSource::new(recording, &leads, device.rate(), device.name, args.repeat)
        .map_err(|err| Failure::of(&err, err.code()))?;
    Ok(Signal {
        wiring: source.wiring(),
        source: seen_by(device, Box::new(source)),
        facts,
    })
}

/// What a device sees of a heart: its waves, or its beats only.
fn seen_by(device: &Device, heart: Box<dyn SignalSource>) -> Box<dyn SignalSource> {
    if device.sees_beats() {
        Box::new(BeatSource::new(heart))
    } else {
        heart
    }
}

/// Heart sounds at the scenario's rate.
fn sound(args: &Args, device: &Device, scenario: &Scenario) -> Signal {
    let heart_rate_bpm = args.heart_rate.unwrap_or(scenario.heart.rate_bpm);
    let config = SoundSynthConfig {
        heart_rate_bpm,
        ..SoundSynthConfig::clean(args.seed, device.rate())
    };
    let wiring = device.labels().into_iter().map(|label| Wiring {
        label: Some(label),
        rate: Some(device.rate()),
    });
    Signal {
        source: Box::new(SoundSource::new(config)),
        wiring: wiring.collect(),
        facts: SourceFacts::Synth { heart_rate_bpm },
    }
}

fn header(
    args: &Args,
    device: &Device,
    signal: &Signal,
    scenario: String,
    pacing: Pacing,
) -> Header {
    let to = device.rate();
    let from = signal
        .wiring
        .iter()
        .filter_map(|wiring| wiring.rate)
        .find(|rate| *rate != to);
    Header {
        schema: SCHEMA,
        device: device.name,
        maker: device.maker,
        model: device.model,
        rate_hz: device.rate_hz,
        samples_per_frame: device.samples_per_frame,
        modulus: device.modulus,
        gain_adu_per_mv: device.gain_adu_per_mv(),
        rails: device.rails,
        leads: device.labels(),
        wiring: signal
            .wiring
            .iter()
            .map(|wiring| wiring.label.clone())
            .collect(),
        source: signal.facts.clone(),
        resampling: from.map(|from| Resampling {
            from_hz: from.as_hz(),
            to_hz: to.as_hz(),
            method: "windowed-sinc/1",
        }),
        scenario,
        seed: args.seed,
        speed: pacing.speed,
        clock_ppm: pacing.clock_ppm,
    }
}

/// A scenario by name or from a file, and what the ledger calls it.
fn read_scenario(wanted: &str) -> Result<(Scenario, String), Failure> {
    let read = |name: &str, text: &str| {
        Scenario::from_toml(name, text).map_err(|err| Failure::of(&err, err.code()))
    };
    if let Some(text) = Scenario::built_in(wanted) {
        return Ok((read(wanted, text)?, wanted.to_owned()));
    }
    let path = Path::new(wanted);
    let is_file = path.extension().is_some_and(|ext| ext == "toml");
    if !is_file {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        return Err(
            Failure::new(format!("there is no scenario {wanted}"), "sim.scenario")
                .because_text(format!(
                    "it is neither a .toml file nor one of {}",
                    names.join(", ")
                ))
                .wrong_usage(),
        );
    }
    let text = std::fs::read_to_string(path).map_err(|err| {
        Failure::new(
            format!("cannot read the scenario {wanted}"),
            "scenario.read",
        )
        .because(&err)
    })?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok((read(&name, &text)?, name))
}

fn unknown_device(name: &str) -> Failure {
    let known: Vec<&str> = Device::all().iter().map(|device| device.name).collect();
    Failure::new(format!("there is no device {name}"), "sim.device")
        .because_text(format!("the known ones are {}", known.join(", ")))
        .wrong_usage()
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 && value <= 1000.0 => Ok(value),
        _ => Err("a number above 0 and at most 1000 is expected".to_owned()),
    }
}
