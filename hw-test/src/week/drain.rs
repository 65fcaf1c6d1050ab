//! The hours after: how fast what waited leaves the box, in which order, and what it costs.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::table::Stored;
use crate::child::Program;
use crate::clock::{StopWatch, wait_for};
use crate::cuts::word::Word;
use crate::cuts::{INBOX, OUTBOX};
use crate::out::say;
use crate::soak::RECORD;
use crate::soak::truth;
use crate::sql::{self, Database, number};
use crate::usage;
use crate::visit::Stage;

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(2 * 3_600);

/// How often everything is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How often it is said how far it is.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// The lanes of alerts and of bulk data.
const ALERT: u64 = 0;
const BULK: u64 = 2;

/// How it went.
#[derive(Clone, Debug, Default)]
pub(super) struct Drained {
    /// From the gateway's start until it had acknowledged every alert that waited.
    pub(super) alerts: Duration,
    /// Until it had acknowledged everything.
    pub(super) acknowledged: Duration,
    /// Until everything was filed.
    pub(super) filed: Duration,
    /// Resident memory of the box.
    pub(super) box_: Memory,
    /// Resident memory of the gateway.
    pub(super) gateway: Memory,
}

/// Resident memory over time, in MiB, one look a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Vec<f64>);

impl Memory {
    fn note(&mut self, program: &Program) -> anyhow::Result<()> {
        self.0.push(usage::resident_mib(program)?);
        Ok(())
    }

    /// At the start.
    pub(super) fn start(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    /// At the end.
    pub(super) fn end(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The most.
    pub(super) fn peak(&self) -> f64 {
        most(&self.0)
    }

    /// How far the peak of the last three quarters lies above that of the first.
    pub(super) fn growth(&self) -> f64 {
        let (first, rest) = self.0.split_at(self.0.len().div_ceil(4));
        (most(rest) - most(first)).max(0.0)
    }
}

fn most(looks: &[f64]) -> f64 {
    looks.iter().copied().fold(0.0, f64::max)
}

/// Watches until everything is filed.
pub(super) fn watch(
    stage: &Stage,
    agent: &mut Program,
    gateway: &mut Program,
) -> anyhow::Result<Drained> {
    let state = stage.gateway_state();
    let inbox = Database::File(state.join(INBOX));
    let record = Database::File(state.join(RECORD));
    let outbox = stage.agent_state().join(OUTBOX);
    let mut drained = Drained::default();
    let clock = StopWatch::start();
    let (mut next, mut tell) = (Duration::ZERO, TELL_EVERY);
    wait_for("everything to be filed", LIMIT, || {
        agent.must_run()?;
        gateway.must_run()?;
        let now = clock.elapsed();
        if now < next {
            return Ok(None);
        }
        next = now + EVERY;
        drained.box_.note(agent)?;
        drained.gateway.note(gateway)?;
        let word = Word::of(&outbox)?;
        let is_through = |lane: u64| {
            let mut lanes = word.lanes.iter().filter(|word| word.lane == lane);
            lanes.all(|word| word.acked >= word.saved)
        };
        if drained.alerts.is_zero() && is_through(ALERT) {
            drained.alerts = now;
        }
        if now > tell {
            tell = now + TELL_EVERY;
            say(format!(
                "{:>6.0} s  {} of {} records acknowledged",
                now.as_secs_f64(),
                word.acked(),
                word.saved()
            ));
        }
        if word.acked() < word.saved() {
            return Ok(None);
        }
        if drained.acknowledged.is_zero() {
            drained.acknowledged = now;
        }
        Ok(truth::all_is_filed(&inbox, &record)?.then_some(()))
    })
    .with_context(|| agent.last_words())
    .with_context(|| gateway.last_words())?;
    drained.filed = clock.elapsed();
    Ok(drained)
}

/// In which order the gateway stored what had waited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// Alert frames that waited when it came.
    pub(super) alerts: u64,
    /// Bulk frames that it stored before the last of them.
    pub(super) bulk_before: u64,
    /// The most bulk frames that it stored between one of them and the next.
    pub(super) bulk_between: u64,
}

impl Order {
    /// Reads it from the order in which the gateway's inbox was written.
    pub(super) fn read(inbox: &Path, stored: &Stored) -> anyhow::Result<Self> {
        let alerts = stored.records_of(ALERT);
        let rows = sql::look(
            inbox,
            &format!(
                "WITH waiting AS (SELECT rowid AS at, lag(rowid, 1, 0) OVER (ORDER BY rowid) \
                 AS before FROM frames WHERE lane = {ALERT} AND seq <= {alerts}), \
                 bulk AS (SELECT (SELECT count(*) FROM frames WHERE lane = {BULK} AND rowid > \
                 before AND rowid < at) AS frames FROM waiting) \
                 SELECT coalesce(sum(frames), 0) AS before, coalesce(max(frames), 0) AS most \
                 FROM bulk"
            ),
        )?;
        let row = rows
            .first()
            .context("the inbox says nothing of its order")?;
        Ok(Self {
            alerts,
            bulk_before: number(row, "before"),
            bulk_between: number(row, "most"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn memory_that_rises_at_first_and_stays_has_not_grown() {
        assert!(
            Memory(vec![10.0, 30.0, 30.0, 30.0, 30.0, 29.0])
                .growth()
                .abs()
                < 1e-9
        );
        assert!((Memory(vec![10.0, 10.0, 20.0, 30.0]).growth() - 20.0).abs() < 1e-9);
        assert!(Memory::default().growth().abs() < 1e-9);
    }
}
