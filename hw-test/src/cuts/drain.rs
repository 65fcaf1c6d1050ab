//! The real programs on what a cut left: the box sends what it has, and the gateway must then
//! hold every frame of it, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::word::Word;
use super::{INBOX, OUTBOX};
use crate::clock::wait_for;
use crate::disk::Card;
use crate::sql::{self, number};
use crate::visit::Stage;

/// How long the box may take to send what it has.
const DRAIN_LIMIT: Duration = Duration::from_secs(120);

/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Starts the programs of `stage` on the images that a cut of both left. How many frames the
/// box had, each of which the gateway then has.
pub(super) fn drain(
    stage: &Stage,
    folder: &Path,
    gateway: PathBuf,
    box_: PathBuf,
) -> anyhow::Result<u64> {
    let stage = stage.for_copies(&folder.join("drained"))?;
    let gateway_card = Card::insert(gateway, &stage.gateway_state())?;
    let box_card = Card::insert(box_, &stage.agent_state())?;
    let outbox = stage.agent_state().join(OUTBOX);
    let mut gateway = stage.start_gateway()?;
    let mut agent = stage.start_agent()?;
    wait_for(
        "the copy of the box to send what it has",
        DRAIN_LIMIT,
        || {
            agent.must_run()?;
            gateway.must_run()?;
            let word = Word::of(&outbox).ok();
            Ok(word.filter(|word| word.saved() > 0 && word.saved() == word.acked()))
        },
    )
    .with_context(|| agent.last_words())
    .with_context(|| gateway.last_words())?;
    agent.stop(STOP_LIMIT)?;
    gateway.stop(STOP_LIMIT)?;
    let word = Word::of(&outbox)?;
    let inbox = stage.gateway_state().join(INBOX);
    let kept = word.in_inbox(&inbox);
    let odd = sql::read(
        &inbox,
        "SELECT (SELECT count(*) FROM conflicts) AS conflicts, \
         (SELECT count(*) FROM missing) AS missing, \
         (SELECT count(*) FROM lanes WHERE broken_at IS NOT NULL) AS broken",
    )?;
    let odd = odd.first().context("the inbox says nothing of itself")?;
    for what in ["conflicts", "missing", "broken"] {
        if number(odd, what) > 0 {
            bail!(
                "after a cut and a drain the inbox counts {} {what}",
                number(odd, what)
            );
        }
    }
    if !kept.wrong.is_empty() {
        bail!("after a cut and a drain: {}", kept.wrong.join("; "));
    }
    stage.verify_outbox()?;
    box_card.discard()?;
    gateway_card.discard()?;
    std::fs::remove_dir_all(folder.join("drained")).context("cannot tidy up after a drain")?;
    Ok(word.acked())
}
