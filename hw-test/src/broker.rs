//! The external broker: a visit through mosquitto with its shipped configuration, in which
//! gateway and broker are killed; and a box that tries another box's topics.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::clock::wait_for;
use crate::load::client::{Client, config};
use crate::load::fleet::{Fleet, Member};
use crate::load::receiver::{Gateway, trust};
use crate::mosquitto::{NAME, Place};
use crate::out::{result, say};
use crate::programs;
use crate::visit::{self, Chaos, Scenario, Victim};

/// Shortest and longest time between two kills, in milliseconds.
const BETWEEN_MS: (u64, u64) = (2_000, 6_000);
/// Shortest and longest time until what was killed is back, in milliseconds.
const BACK_MS: (u64, u64) = (0, 1_500);
/// The visit goes on for so long after the last kill.
const AFTER_S: u64 = 10;
/// How long a gateway may take to find the broker.
const MEET_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many kills.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    kills: u64,
    /// Where chance starts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep everything in this folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Use the programs of this folder instead of building them.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

/// `true` when all that was sent is filed once, and what is not a box's own is refused.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    stranger(options)?;
    result("a box on another box's topic: refused by the broker, and by the gateway behind it");
    let (scenario, seconds) = mishaps(options.kills, options.seed);
    let visit = visit::Options {
        scenario: "through a broker".to_owned(),
        recording: None,
        device: "openbci-cyton".to_owned(),
        seconds,
        seed: options.seed,
        once: true,
        keep: options.keep.clone(),
        programs: options.programs.clone(),
    };
    visit::play_scenario(&visit, scenario, true)
}

/// Kills of gateway, broker and both at instants that follow from `seed`, and the length of the
/// visit in seconds.
fn mishaps(kills: u64, seed: u64) -> (Scenario, u64) {
    let mut chance = Chance::new(seed);
    let mut at_ms = 3_000;
    let mut chaos = Vec::new();
    for _ in 0..kills {
        let kill = match chance.below(3) {
            0 => Victim::Gateway,
            1 => Victim::Broker,
            _ => Victim::GatewayAndBroker,
        };
        let back_after_ms = chance.between(BACK_MS);
        chaos.push(Chaos {
            at_ms,
            kill,
            back_after_ms,
        });
        at_ms += back_after_ms + chance.between(BETWEEN_MS);
    }
    let scenario = Scenario {
        about: format!("{kills} kills of gateway and broker, seed {seed}"),
        sim: "calm".to_owned(),
        alerts: Vec::new(),
        chaos,
    };
    (scenario, at_ms / 1_000 + AFTER_S)
}

/// A box with a good certificate publishes on another box's topic: refused by the access list of
/// the broker; and, where that has a hole, by the gateway.
fn stranger(options: &Options) -> anyhow::Result<()> {
    let program = programs::gateway(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let place = Place::prepare(&folder.path().join("broker"), "")?;
    let further = format!(
        "[broker]\naddress = \"{}\"\nname = \"{NAME}\"\nca = \"{}\"\n",
        place.address(),
        place.authority().display()
    );
    let gateway = Gateway::start(&program, folder.path(), &further)?;
    let mut fleet = Fleet::enrol(&gateway, 2)?;
    fleet.seal(1)?;
    let [stranger, victim] = fleet.members.as_slice() else {
        anyhow::bail!("two boxes were asked for");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the clients")?;
    say("a box tries another box's topic".to_owned());
    let mut broker = place.start(gateway.authority(), "")?;
    let answer = runtime.block_on(try_topic(&place, stranger, victim))?;
    ensure!(
        answer == PubAckReason::NotAuthorized,
        "the broker let a box publish for another: {answer:?}"
    );
    broker.kill()?;

    // The same with an access list that lets everybody publish everywhere.
    place.widen("pattern write ecg/1/#\n")?;
    let _broker = place.start(gateway.authority(), "")?;
    wait_for("the gateway at the broker", MEET_LIMIT, || {
        Ok((counter(&gateway, "broker_connections")? > 0).then_some(()))
    })?;
    let before = counter(&gateway, "frames_refused")?;
    wait_for("the gateway to refuse the frame", MEET_LIMIT, || {
        let answer = runtime.block_on(try_topic(&place, stranger, victim))?;
        ensure!(
            matches!(
                answer,
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers
            ),
            "the wide access list refuses: {answer:?}"
        );
        Ok((counter(&gateway, "frames_refused")? > before).then_some(()))
    })?;
    ensure!(
        counter(&gateway, "frames_stored")? == 0,
        "the gateway stored a frame of a box on another box's topic"
    );
    Ok(())
}

/// Publishes the stranger's frame on the victim's topic; gives the broker's answer.
async fn try_topic(
    place: &Place,
    stranger: &Member,
    victim: &Member,
) -> anyhow::Result<PubAckReason> {
    let tls = config(trust(&place.authority())?, stranger)?;
    let mut client = Client::open(place.address(), NAME, tls, "stranger", true).await?;
    for publish in stranger.on_topic_of(victim)? {
        client.send(&Packet::Publish(publish)).await?;
    }
    match client.within_limit().await? {
        Packet::PubAck(answer) => Ok(answer.reason),
        other => anyhow::bail!("no PUBACK but {other:?}"),
    }
}

fn counter(gateway: &Gateway, name: &str) -> anyhow::Result<u64> {
    let status = gateway.ask(&json!({"verb": "status"}))?;
    let counted = status.pointer(&format!("/ok/counters/{name}"));
    counted
        .and_then(Value::as_u64)
        .with_context(|| format!("the gateway does not count {name}"))
}

#[cfg(test)]
mod tests {
    use super::mishaps;

    #[test]
    fn a_visit_goes_on_after_its_last_kill() {
        let (scenario, seconds) = mishaps(20, 7);
        assert_eq!(scenario.chaos.len(), 20);
        assert!(
            scenario
                .chaos
                .iter()
                .all(|kill| kill.at_ms / 1_000 + 10 <= seconds)
        );
    }
}
