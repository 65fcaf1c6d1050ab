//! A box with a good certificate that tries what is another box's: its topics, its name.

use anyhow::{Context as _, ensure};
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use cardio_wire::topic::Topic;

use crate::child::Program;
use crate::clock::wait_for;
use crate::load::client::{Client, config};
use crate::load::fleet::{Fleet, Member};
use crate::load::receiver::{Gateway, trust};
use crate::mosquitto::{NAME, Place};

/// How long a gateway may take to find the broker.
const MEET_LIMIT: Duration = Duration::from_secs(20);
/// Lets everybody publish everywhere.
const HOLE: &str = "pattern write ecg/1/#\n";
/// Lets everybody choose a name.
const ANY_NAME: &str = "use_username_as_clientid false\n";
/// The gateway's name at the broker.
const GATEWAY: &str = "cardio-gateway";

/// A broker's place, a gateway that looks for a broker there, and two boxes.
pub(super) struct Ground {
    // Dropped in this order.
    fleet: Fleet,
    gateway: Gateway,
    place: Place,
    runtime: Runtime,
    _folder: TempDir,
}

impl Ground {
    /// Starts the gateway; there is no broker yet.
    pub(super) fn prepare(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be had")?;
        let place = Place::prepare(&folder.path().join("broker"), "")?;
        let further = format!(
            "[broker]\naddress = \"{}\"\nname = \"{NAME}\"\nca = \"{}\"\n",
            place.address(),
            place.authority().display()
        );
        let gateway = Gateway::start(program, folder.path(), &further)?;
        let mut fleet = Fleet::enrol(&gateway, 2)?;
        fleet.seal(1)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("no runtime for the clients")?;
        Ok(Self {
            fleet,
            gateway,
            place,
            runtime,
            _folder: folder,
        })
    }

    fn boxes(&self) -> anyhow::Result<(&Member, &Member)> {
        match self.fleet.members.as_slice() {
            [stranger, victim] => Ok((stranger, victim)),
            _ => anyhow::bail!("two boxes were asked for"),
        }
    }

    fn broker(&self, extra: &str) -> anyhow::Result<Program> {
        self.place.start(self.gateway.authority(), extra)
    }

    /// A broker that the gateway has found.
    fn met(&self, extra: &str) -> anyhow::Result<Program> {
        let before = self.counter("broker_connections")?;
        let broker = self.broker(extra)?;
        wait_for("the gateway at the broker", MEET_LIMIT, || {
            let now = self.counter("broker_connections")?;
            Ok((now > before).then_some(()))
        })?;
        Ok(broker)
    }

    fn counter(&self, name: &str) -> anyhow::Result<u64> {
        let status = self.gateway.ask(&json!({"verb": "status"}))?;
        let counted = status.pointer(&format!("/ok/counters/{name}"));
        counted
            .and_then(Value::as_u64)
            .with_context(|| format!("the gateway does not count {name}"))
    }

    async fn connect(&self, member: &Member, client_id: &str) -> anyhow::Result<Client> {
        let tls = config(trust(&self.place.authority())?, member)?;
        Client::open(self.place.address(), NAME, tls, client_id, true).await
    }

    /// On another box's topic: refused by the access list of the broker; and, where that has a
    /// hole, by the gateway.
    pub(super) fn try_topics(&self) -> anyhow::Result<()> {
        let mut broker = self.broker("")?;
        let answer = self.runtime.block_on(self.publish_as_victim())?;
        ensure!(
            answer == PubAckReason::NotAuthorized,
            "the broker let a box publish for another: {answer:?}"
        );
        broker.kill()?;

        self.place.widen(HOLE)?;
        let _broker = self.met("")?;
        let before = self.counter("frames_refused")?;
        wait_for("the gateway to refuse the frame", MEET_LIMIT, || {
            let answer = self.runtime.block_on(self.publish_as_victim())?;
            ensure!(
                matches!(
                    answer,
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers
                ),
                "the wide access list refuses: {answer:?}"
            );
            Ok((self.counter("frames_refused")? > before).then_some(()))
        })?;
        ensure!(
            self.counter("frames_stored")? == 0,
            "the gateway stored a frame of a box on another box's topic"
        );
        self.place.widen("")
    }

    /// Publishes the stranger's frame on the victim's topic; gives the broker's answer.
    async fn publish_as_victim(&self) -> anyhow::Result<PubAckReason> {
        let (stranger, victim) = self.boxes()?;
        let mut client = self.connect(stranger, "stranger").await?;
        for publish in stranger.on_topic_of(victim)? {
            client.send(&Packet::Publish(publish)).await?;
        }
        answer(&mut client).await
    }

    /// Under another's name: whoever has it stays connected. Where the broker lets everybody
    /// choose a name, this must find that it does not.
    pub(super) fn try_names(&self) -> anyhow::Result<()> {
        let mut broker = self.met("")?;
        let (of_box, of_gateway) = self.runtime.block_on(self.take_names())?;
        ensure!(
            of_box,
            "a box threw another off by asking for its client id"
        );
        ensure!(
            of_gateway,
            "a box threw the gateway off by asking for its client id"
        );
        broker.kill()?;

        let _broker = self.met(ANY_NAME)?;
        let (of_box, of_gateway) = self.runtime.block_on(self.take_names())?;
        ensure!(
            !of_box && !of_gateway,
            "nobody was thrown off although the broker lets everybody choose a name"
        );
        Ok(())
    }

    /// The stranger connects as the victim, then as the gateway: whether they stay.
    async fn take_names(&self) -> anyhow::Result<(bool, bool)> {
        let (stranger, victim) = self.boxes()?;
        let name = Topic::box_name(victim.id);
        let mut honest = self.connect(victim, &name).await?;
        let _stranger = self.connect(stranger, &name).await?;
        let filter = Topic::down_filter(victim.id);
        let box_stays = honest.subscribe(&filter).await.is_ok();
        let _stranger = self.connect(stranger, GATEWAY).await?;
        // The broker says with its PUBACK whether anybody listens to boxes.
        let mut honest = self.connect(victim, &name).await?;
        for publish in victim.on_topic_of(victim)? {
            honest.send(&Packet::Publish(publish)).await?;
        }
        let gateway_stays = answer(&mut honest).await? == PubAckReason::Success;
        Ok((box_stays, gateway_stays))
    }
}

async fn answer(client: &mut Client) -> anyhow::Result<PubAckReason> {
    match client.within_limit().await? {
        Packet::PubAck(answer) => Ok(answer.reason),
        other => anyhow::bail!("no PUBACK but {other:?}"),
    }
}
