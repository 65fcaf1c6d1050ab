//! What a man in the middle says to a box: acknowledgements and commands that are forged, cut,
//! old, of another box, or for another purpose. The box must delete nothing.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::ground::{Ground, Opened, Play, count};
use super::middle::{Heard, Middle};
use super::{Case, Observed, Place};
use crate::clock::wait_for;
use crate::cuts::OUTBOX;
use crate::sql;

pub(super) const CASES: &[Case] = &[Case {
    name: "forged-acks",
    does: "a man in the middle with the gateway's certificate lies to the box",
    run: forged_acks,
}];

const LIMIT: Duration = Duration::from_secs(40);

/// The event that the box logs for each acknowledgement that it refuses.
const ACK_REFUSED: &str = "UplinkAckRefused";

fn forged_acks(place: &Place) -> anyhow::Result<Observed> {
    let opened = Opened::open(place)?;
    let middle = Middle::start(&opened.stage)?;
    let mut ground = opened.ready(&Play::visit(40), middle.addr)?.start()?;
    ground.connected()?;
    // The first box's acknowledgements are the foreign ones for the second.
    let foreign = acks(&middle, 1)?.last().cloned().context("no ack")?;
    ground.replace_box()?;
    ground.connected()?;
    let own = |ack: &Heard| ack.topic != foreign.topic;
    let heard = middle.heard("/down/ack");
    let delivered = heard.into_iter().find(own).context("no ack for the box")?;

    middle.keep_acks(true);
    let before = acks(&middle, 0)?.len();
    let kept = acks(&middle, before + 4)?.split_off(before);
    let (first, last) = (&kept[0], &kept[kept.len() - 1]);
    let filed = status_filed(&mut ground)?;
    let frames = frames(&ground)?;

    let lies = lies(&last.payload, &delivered.payload, &foreign.payload);
    for (_, lie) in &lies {
        middle.say_to_box(&delivered.topic, lie);
    }
    middle.say_to_box(&foreign.topic, &last.payload);
    let command = delivered.topic.replace("/down/ack", "/down/cmd");
    middle.say_to_box(&command, &last.payload);
    let told = u64::try_from(lies.len()).unwrap_or(u64::MAX);
    let status = ground.box_until("all lies to be refused", LIMIT, |status| {
        count(&status["uplink"]["refused_acks"]) >= told
    })?;
    wait_for("the misplaced ones to be refused", LIMIT, || {
        let topics = ground.codes("UplinkMessageRefused")?;
        let commands = ground.codes("UplinkCommandRefused")?;
        Ok((!topics.is_empty() && !commands.is_empty()).then_some(()))
    })?;
    let after = (status_filed(&mut ground)?, self::frames(&ground)?);
    if after.0 != filed || after.1 < frames {
        bail!(
            "lies moved something: filed {filed} became {}, frames {frames} became {}",
            after.0,
            after.1
        );
    }

    // The gateway is heard again; then one that was kept back comes after a newer one. Where
    // its lane has said nothing since, it is the newest, and old when it comes again.
    middle.keep_acks(false);
    ground.box_until("the real ones to be accepted", LIMIT, |status| {
        count(&status["store"]["filed"]) > filed
    })?;
    for _ in 0..2 {
        middle.say_to_box(&first.topic, &first.payload);
    }
    ground.box_until("the older one to be refused", LIMIT, |status| {
        count(&status["uplink"]["refused_acks"]) > told
    })?;
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for code in ground.codes(ACK_REFUSED)? {
        *codes.entry(code).or_default() += 1;
    }
    let codes: Vec<String> = codes
        .iter()
        .map(|(code, times)| format!("{code} {times}"))
        .collect();
    ground.box_until("the box to have sent everything", LIMIT * 3, |status| {
        count(&status["store"]["waiting"]) == 0
    })?;
    let conflicts = ground.counter("frames_conflicting")?;
    if conflicts > 0 {
        bail!("{conflicts} frames conflict");
    }
    Ok(vec![
        format!(
            "{} refused: {}",
            status["uplink"]["refused_acks"],
            codes.join(", ")
        ),
        format!(
            "also refused: on another box's topic ({}), as a command ({})",
            ground.codes("UplinkMessageRefused")?.join(" "),
            ground.codes("UplinkCommandRefused")?.join(" ")
        ),
        format!(
            "{frames} frames kept, {filed} records filed before and after the lies; then all sent"
        ),
    ])
}

/// The same acknowledgement made wrong in every way that needs no key.
fn lies(real: &[u8], delivered: &[u8], foreign: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flipped = |at: usize| {
        let mut bytes = real.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1;
        }
        bytes
    };
    let mut longer = real.to_vec();
    longer.push(0);
    vec![
        ("another signature", flipped(real.len() - 1)),
        ("another content", flipped(real.len() / 2)),
        ("another header", flipped(6)),
        ("cut", real[..real.len() / 2].to_vec()),
        ("longer", longer),
        ("nothing", Vec::new()),
        ("200 kB", vec![0xD2; 200_000]),
        ("said before", delivered.to_vec()),
        ("another box's", foreign.to_vec()),
    ]
}

/// All acknowledgements that passed, once there are `least`.
fn acks(middle: &Middle, least: usize) -> anyhow::Result<Vec<Heard>> {
    wait_for("acknowledgements to pass", LIMIT, || {
        let heard = middle.heard("/down/ack");
        Ok((heard.len() >= least).then_some(heard))
    })
}

fn status_filed(ground: &mut Ground) -> anyhow::Result<u64> {
    let status = ground.box_until("the box's word", LIMIT, |_| true)?;
    Ok(count(&status["store"]["filed"]))
}

/// Frames that the box holds.
fn frames(ground: &Ground) -> anyhow::Result<u64> {
    let outbox = ground.stage.agent_state().join(OUTBOX);
    let rows = sql::look(&outbox, "SELECT count(*) AS frames FROM frame")?;
    Ok(rows.first().map_or(0, |row| sql::number(row, "frames")))
}
