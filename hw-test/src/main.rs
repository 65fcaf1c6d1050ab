//! `cardio-rig`: runs the real programs as any user would, and judges them from outside.
//!
//! Deliberately absent: the product's own crates. What is compared here is computed anew.

mod authority;
mod broker;
mod chance;
mod child;
mod clock;
mod cuts;
mod delays;
mod disk;
mod duts;
mod given;
mod hostile;
mod judge;
mod load;
mod machine;
mod mosquitto;
mod openid;
mod originals;
mod out;
mod peers;
mod ports;
mod postgres;
mod programs;
mod proxy;
mod rules;
mod sensors;
mod silence;
mod soak;
mod sql;
mod stolen;
mod usage;
mod visit;
mod visits;
mod week;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Rigs of the cardiology telemonitoring product.
#[derive(Parser)]
#[command(
    name = "cardio-rig",
    version,
    args_conflicts_with_subcommands = true,
    before_help = "Examples:\n  cardio-rig demo --once --scenario electrode-off\n  cardio-rig soak --faults 50 --seed 7"
)]
struct Cli {
    #[command(subcommand)]
    rig: Option<Rig>,
    /// Without a verb, a home visit is played: `cargo demo -- --once`.
    #[command(flatten)]
    demo: visit::Options,
}

impl Cli {
    fn rig(self) -> Rig {
        self.rig.unwrap_or(Rig::Demo(self.demo))
    }
}

/// Exit status of a rig that this machine cannot run; the last line says why.
const SKIPPED: u8 = 75;

#[derive(Subcommand)]
enum Rig {
    /// Plays a home visit with the real programs.
    Demo(visit::Options),
    /// Lets everything go wrong, again and again, and proves that nothing is lost.
    Soak(soak::Options),
    /// Cuts the power of a program again and again, and looks for what was acknowledged.
    Power(cuts::Options),
    /// Steals a box after a visit and searches its card for anything recorded.
    Stolen(stolen::Options),
    /// Lets a sensor and a box fall silent, and waits until that is told and taken back.
    Silence(silence::Options),
    /// Tries alert rules on real recordings that show what they are about.
    Rules(rules::Options),
    /// Sends the visits of the day to a box, makes an exam for one, cancels it, and looks for its
    /// name on the box.
    Visits(visits::Options),
    /// Bad networks, forgers, strangers and wrong clocks: one case each.
    Hostile(hostile::Options),
    /// Sends frames of many boxes at once to the gateway, then to mosquitto, and prints a table.
    Load(load::Options),
    /// Measures how soon after its frame a report or an alert can be read, alone and under load.
    Delays(delays::Options),
    /// Kills boxes, gateways, broker and database server while boxes send through mosquitto, and
    /// tries another box's topics and name.
    Broker(broker::Options),
    /// Files a visit while the record is pushed to a server that others wrote, and lets clients
    /// that others wrote see it; `judges/peers.sh` installs them and runs this.
    Peers(given::Judges),
    /// Lets people and programs log in through an OpenID provider that others wrote;
    /// `judges/openid.sh` installs it and runs this.
    Openid(given::Judges),
    /// Runs a command with a PostgreSQL server of its own, named in `CARDIO_TEST_POSTGRES`.
    Postgres {
        /// The command and what it is told.
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Holds every device of `duts/` against its file: simulated ones always, real ones where they
    /// are attached.
    Duts(duts::Options),
    /// Measures what the box costs while four sensors stream.
    Sensors(sensors::Options),
    /// Lets files of a recorder and of a sensor travel, and reads them back byte for byte.
    Originals(originals::Options),
    /// Runs sensors and box in an emulated machine with a Bluetooth stack of its own.
    BleMachine(machine::Options),
    /// Lets a box gather a week of visits and Holters without its gateway, and watches it drain.
    Week(week::Options),
}

fn main() -> ExitCode {
    let rig = Cli::parse().rig();
    if let Some(obstacle) = rig.obstacle() {
        out::say(obstacle);
        return ExitCode::from(SKIPPED);
    }
    let done = match rig {
        Rig::Demo(args) => visit::play(&args),
        Rig::Soak(options) => soak::run(&options),
        Rig::Broker(options) => broker::run(&options),
        Rig::Peers(options) => peers::run(&options),
        Rig::Openid(options) => openid::run(&options),
        Rig::Postgres { command } => postgres::lend(&command),
        Rig::Load(options) => load::run(&options),
        Rig::Delays(options) => delays::run(&options),
        Rig::Week(options) => week::run(&options),
        Rig::Duts(options) => duts::run(&options),
        Rig::Sensors(options) => sensors::run(&options),
        Rig::Originals(options) => originals::run(&options),
        Rig::BleMachine(options) => machine::run(&options),
        Rig::Power(args) => disk::own_mounts().and_then(|()| cuts::run(&args)),
        Rig::Stolen(args) => disk::own_mounts().and_then(|()| stolen::run(&args)),
        Rig::Visits(args) => visits::run(&args),
        Rig::Rules(args) => rules::run(&args),
        Rig::Silence(args) => silence::run(&args),
        Rig::Hostile(args) => hostile::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(err) => {
            out::say(format!("error: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Rig {
    /// Why it cannot be run on this machine, if it cannot.
    fn obstacle(&self) -> Option<String> {
        match self {
            Self::Power(_) | Self::Stolen(_) => disk::obstacle(),
            Self::Broker(_) => mosquitto::obstacle().or_else(postgres::obstacle),
            Self::Postgres { .. } => postgres::obstacle(),
            Self::Week(_) => week::obstacle(),
            Self::Rules(_) => rules::obstacle(),
            Self::BleMachine(_) => machine::obstacle(),
            Self::Peers(_)
            | Self::Openid(_)
            | Self::Demo(_)
            | Self::Soak(_)
            | Self::Hostile(_)
            | Self::Visits(_)
            | Self::Silence(_)
            | Self::Load(_)
            | Self::Delays(_)
            | Self::Sensors(_)
            | Self::Originals(_)
            | Self::Duts(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Rig};
    use clap::Parser as _;

    fn demo(arguments: &[&str]) -> Option<super::visit::Options> {
        let all = std::iter::once("cardio-rig").chain(arguments.iter().copied());
        match Cli::try_parse_from(all).ok()?.rig() {
            Rig::Demo(args) => Some(args),
            _ => None,
        }
    }

    #[test]
    fn a_visit_is_what_is_played_when_no_verb_is_given() {
        assert!(demo(&["--once"]).unwrap().once);
        assert!(demo(&["demo", "--once"]).unwrap().once);
        assert_eq!(demo(&[]).unwrap().scenario, "calm");
        assert!(demo(&["soak"]).is_none());
    }
}
