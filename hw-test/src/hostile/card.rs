//! A card that goes back: the box is given a copy of its state from before, and has made frames
//! since that the gateway holds.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::ground::{Ground, Play, count};
use super::{Case, Observed, Place};
use crate::clock::wait_for;
use crate::judge::ledger::Ledger;
use crate::proxy::Weather;

pub(super) const CASES: &[Case] = &[Case {
    name: "card-back",
    does: "after a visit the box's card goes back to an older state",
    run: back,
}];

const LIMIT: Duration = Duration::from_secs(60);

fn back(place: &Place) -> anyhow::Result<Observed> {
    let mut ground = Ground::begin(place, &Play::visit(8))?;
    wait_for("the sensor's end", LIMIT, || {
        Ok(Ledger::is_ended(&ground.stage.ledger())?.then_some(()))
    })?;
    ground.stage.wait_until_read()?;
    // the visit ends with the box, and each start makes frames of its own
    rest(&mut ground)?;
    ground.restart_box()?;
    rest(&mut ground)?;
    ground.agent.stop(LIMIT)?;
    let state = ground.stage.agent_state();
    let older = state.with_file_name("agent-older");
    copy(&state, &older)?;
    ground.agent = ground.stage.start_agent()?;
    let newer = rest(&mut ground)?;
    ground.agent.stop(LIMIT)?;
    std::fs::remove_dir_all(&state).context("cannot take the card out")?;
    std::fs::rename(&older, &state).context("cannot put the older card in")?;
    // offline it makes other frames in the places of those that it forgot
    ground.proxy.set(Weather::closed());
    ground.agent = ground.stage.start_agent()?;
    ground.box_until("frames of the older card", LIMIT, |status| {
        count(&status["store"]["waiting"]) > 0
    })?;
    ground.proxy.set(Weather::default());
    ground.box_until("the box to notice and to send all", LIMIT, |status| {
        let aside = &status["store"]["aside"];
        count(&aside["files"]) > 0 && !is_busy(status)
    })?;
    let carried = ground.counter_until("frames_carried", 1, LIMIT)?;
    ground.agent.stop(LIMIT)?;
    ground.stage.verify_outbox()?;
    ground.stage.verify_chains()?;
    ground.agent = ground.stage.start_agent()?;
    let noticed = format!(
        "the box had {} frames filed before, noticed, began new chains and carried {carried} over; \
         both walk their chains",
        newer["store"]["filed"]
    );
    Ok(vec![noticed, ground.judge_whole()?])
}

/// Waits until the gateway has everything that the box made.
fn rest(ground: &mut Ground) -> anyhow::Result<Value> {
    ground.box_until("the box to have sent everything", LIMIT, |status| {
        status["uplink"]["connected"] == true && !is_busy(status)
    })
}

fn is_busy(status: &Value) -> bool {
    let store = &status["store"];
    count(&store["waiting"]) > 0 || count(&store["aside"]["waiting"]) > 0
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> anyhow::Result<()> {
    let done = Command::new("cp").arg("-a").args([from, to]).status();
    match done.context("cannot run cp")?.success() {
        true => Ok(()),
        false => bail!("cannot copy {}", from.display()),
    }
}
