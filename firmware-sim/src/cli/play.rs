//! `cardio-sim play`: one device on a pseudo-terminal.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardio_core::lead::Lead;
use cardio_firmware_sim::faults::FaultPlan;
use cardio_firmware_sim::ledger::{Header, Resampling, SCHEMA, SourceFacts};
use cardio_firmware_sim::play::{PlayOptions, Played, play};
use cardio_firmware_sim::player::{Pacing, Player, lead_labels};
use cardio_firmware_sim::scenario::{BUILT_IN, Scenario, Span};
use cardio_firmware_sim::source::{RecordingSource, SignalSource, SynthSource, Wiring};
use cardio_formats::read::{ReadOptions, read_path};
use cardio_protocol::profile::{ALL, Profile, WaveKind, by_name};

use super::failure::Failure;
use super::print;

/// Longest visit of a heart that never ends: a Holter of 30 days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Device to play; `cardio-sim devices` lists them.
    #[arg(long)]
    device: String,
    /// Stable link to the pseudo-terminal, as the box's configuration names it.
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
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
    /// Where to write what was really sent, as JSON lines.
    #[arg(long, value_name = "FILE.jsonl")]
    ledger: Option<PathBuf>,
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

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let profile = by_name(&args.device).ok_or_else(|| unknown_device(&args.device))?;
    let (scenario, scenario_name) = read_scenario(&args.scenario)?;
    let signal = signal(&args, profile, &scenario)?;
    let span = args
        .duration
        .map_or(LONGEST, |span| Duration::from_micros(span.micros()));
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let pacing = Pacing {
        speed: args.speed,
        clock_ppm: scenario.device.clock_ppm,
        samples: profile.rate().count_in_micros(micros).0,
    };
    let header = header(&args, profile, &signal, scenario_name, pacing);
    let wired = signal
        .wiring
        .iter()
        .map(|wiring| wiring.label.is_some())
        .collect();
    let plan = FaultPlan::new(&scenario, profile, args.seed);
    let player = Player::new(profile, signal.source, wired, plan, pacing);
    let options = PlayOptions {
        link: args.link.clone(),
        ledger: args.ledger.clone(),
        linger: Duration::from_micros(args.linger.micros()),
    };
    let mut told = Ok(());
    let played = play(profile, player, header, options, |path| {
        told = print(&format!("ready {}", path.display()));
    })
    .map_err(|err| match std::error::Error::source(&err) {
        Some(source) => Failure::of(source, err.code()),
        None => Failure::of(&err, err.code()),
    })?;
    told?;
    close(&args, profile, played)
}

fn close(args: &Args, profile: &Profile, played: Played) -> Result<(), Failure> {
    let Played {
        frames,
        samples,
        reason,
    } = played;
    if !args.json {
        return print(&format!(
            "played {}: {samples} samples of each lead in {frames} frames",
            profile.name
        ));
    }
    let document = serde_json::json!({
        "schema": "play/1",
        "device": profile.name,
        "samples": samples,
        "frames": frames,
        "reason": reason,
    });
    print(&document.to_string())
}

fn signal(args: &Args, profile: &'static Profile, scenario: &Scenario) -> Result<Signal, Failure> {
    let leads: Vec<Option<Lead>> = profile
        .waves
        .iter()
        .map(|wave| match wave {
            WaveKind::Ecg(lead) => Some(*lead),
            // A strap of two electrodes sees about what lead I sees.
            WaveKind::EcgOther(_) => Some(Lead::I),
            WaveKind::HeartSound => None,
        })
        .collect();
    let Some(path) = &args.recording else {
        let mut config = scenario.synth(args.seed, profile.rate());
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
                rate: Some(profile.rate()),
            })
            .collect();
        let source = Box::new(SynthSource::new(config, &leads));
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
    let source = RecordingSource::new(recording, &leads, profile.rate(), profile.name, args.repeat)
        .map_err(|err| Failure::of(&err, err.code()))?;
    Ok(Signal {
        wiring: source.wiring(),
        source: Box::new(source),
        facts,
    })
}

fn header(
    args: &Args,
    profile: &'static Profile,
    signal: &Signal,
    scenario: String,
    pacing: Pacing,
) -> Header {
    let to = profile.rate();
    let from = signal
        .wiring
        .iter()
        .filter_map(|wiring| wiring.rate)
        .find(|rate| *rate != to);
    Header {
        schema: SCHEMA,
        device: profile.name,
        maker: profile.maker,
        model: profile.model,
        rate_hz: profile.rate_hz,
        samples_per_frame: profile.samples_per_frame,
        modulus: profile.modulus,
        gain_adu_per_mv: profile.gain_adu_per_mv,
        rails: profile.rails,
        leads: lead_labels(profile),
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
    let known: Vec<&str> = ALL.iter().map(|profile| profile.name).collect();
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
