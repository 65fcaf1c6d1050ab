//! A client with one box's certificate that meddles with another box: its topics, its frames,
//! its presence. The other box must not even notice.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::ground::{Ground, Play, count};
use super::wire::{Client, Identity, PUBACK, SUBACK, publish, subscribe};
use super::{Case, Observed, Place};
use crate::clock::wait_for;
use crate::cuts::OUTBOX;
use crate::sql;

pub(super) const CASES: &[Case] = &[Case {
    name: "stranger",
    does: "another box's certificate is used to meddle with a box at work",
    run: stranger,
}];

/// Not authorized (MQTT 5, 2.4).
const NOT_AUTHORIZED: u8 = 0x87;

/// From here on a reason code is a refusal (MQTT 5, 2.4).
const REFUSED: u8 = 0x80;

/// QoS 1, and QoS 1 with RETAIN.
const ONCE: u8 = 0x02;
const RETAINED: u8 = 0x03;

fn stranger(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(20))?;
    ground.connected()?;
    ground.stage.add_box("FR75-099", "stranger.toml")?;
    let folder = ground.stage.folder();
    let own = Identity::read(&folder.join("stranger.toml"))?;
    let victim = Identity::read(&folder.join("enrolment.toml"))?;
    let gateway = ground.stage.gateway_address();
    let frame = frame_of(&ground)?;
    let of = |identity: &Identity, leaf: &str| format!("ecg/1/{}/{leaf}", identity.digits);

    let mut observed = vec![format!(
        "may not listen: {}",
        may_not_listen(gateway, &own, &victim.digits)?.join(", ")
    )];
    let topics = [
        (of(&victim, "up/routine"), ONCE),
        (of(&victim, "up/hello"), ONCE),
        (of(&victim, "state"), RETAINED),
        (of(&own, "down/ack"), ONCE),
        (of(&own, "down/cmd"), RETAINED),
        ("ecg/1/+/up/routine".to_owned(), ONCE),
        ("$SYS/broker".to_owned(), ONCE),
    ];
    for (topic, flags) in &topics {
        let (mut client, _) = Client::connect(gateway, &own, None)?;
        client.send(&publish(topic, 1, &frame, *flags))?;
        let end = client.end()?;
        if end.is_none_or(|reason| reason < REFUSED) {
            bail!("a publish on {topic} ended with {end:02x?}");
        }
    }
    observed.push(format!(
        "may not publish on {} foreign topics",
        topics.len()
    ));

    let (mut client, _) = Client::connect(gateway, &own, None)?;
    client.send(&publish(&of(&own, "up/routine"), 7, &frame, ONCE))?;
    let answer = client.next_of(PUBACK)?.context("no answer to a frame")?;
    if answer.reason() < REFUSED {
        bail!(
            "another box's frame was taken with {:#04x}",
            answer.reason()
        );
    }
    observed.push(format!(
        "another box's frame on its own topic: refused with {:#04x}",
        answer.reason()
    ));

    let (_, reason) = Client::connect(gateway, &own, Some(&of(&victim, "state")))?;
    if reason != NOT_AUTHORIZED {
        bail!("a will on another box's topic was answered with {reason:#04x}");
    }
    observed.push("a will on another box's topic: refused with 0x87".to_owned());
    let mut named_alike = Client::tls(gateway, &own)?;
    named_alike.send(&super::wire::connect(&victim.digits, 60, None))?;
    let _ = named_alike.next()?;
    let status = ground.box_until("the box's word", Duration::from_secs(10), |_| true)?;
    if count(&status["uplink"]["connections"]) != 1 || status["uplink"]["connected"] != true {
        bail!("the box noticed: {}", status["uplink"]);
    }
    observed.push("the box kept its one connection, also beside a client of its name".to_owned());
    if ground.counter("frames_conflicting")? > 0 {
        bail!("a foreign frame was kept beside the box's own");
    }
    drop(named_alike);
    observed.push(ground.judge_whole()?);
    Ok(observed)
}

/// Filters beyond the client's own, each with the code that refused it.
fn may_not_listen(
    gateway: SocketAddr,
    own: &Identity,
    victim: &str,
) -> anyhow::Result<Vec<String>> {
    let filters = [
        format!("ecg/1/{victim}/down/ack"),
        format!("ecg/1/{victim}/down/+"),
        "ecg/1/+/down/cmd".to_owned(),
        "ecg/1/+/up/#".to_owned(),
        "$share/all/ecg/1/+/up/#".to_owned(),
        "#".to_owned(),
        "+/+/+/+/+".to_owned(),
    ];
    let (mut client, _) = Client::connect(gateway, own, None)?;
    let mut refused = Vec::new();
    for (place, filter) in filters.iter().enumerate() {
        let id = u16::try_from(place + 1)?;
        client.send(&subscribe(id, filter))?;
        let answer = client.next_of(SUBACK)?.context("no answer to SUBSCRIBE")?;
        if answer.reason() < REFUSED {
            bail!("{filter} was granted with {:#04x}", answer.reason());
        }
        let shown = filter.replace(victim, "<other>");
        refused.push(format!("{shown} {:#04x}", answer.reason()));
    }
    Ok(refused)
}

/// A frame that the box at work has sealed.
fn frame_of(ground: &Ground) -> anyhow::Result<Vec<u8>> {
    let outbox = ground.stage.agent_state().join(OUTBOX);
    let hex = wait_for("a frame of the box", Duration::from_secs(20), || {
        let rows = sql::look(
            &outbox,
            "SELECT hex(bytes) AS bytes FROM frame WHERE place >> 48 = 1 LIMIT 1",
        )?;
        Ok(rows.first().map(|row| sql::text(row, "bytes")))
    })?;
    let digits: Vec<char> = hex.chars().collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).context("no hexadecimal"))
        .collect()
}
