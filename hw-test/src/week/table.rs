//! The one table of a week, and its verdict.

use std::path::Path;

use serde_json::Value;

use super::drain::{Drained, Memory, Order};
use crate::out::result;
use crate::soak::truth::Outcome;
use crate::sql::{self, number};

/// The lanes, by their numbers.
const LANES: [&str; 4] = ["alert", "routine", "bulk", "log"];

/// Resident memory may grow by so much after the first quarter of the drain, in MiB.
const GROWTH_MIB: f64 = 16.0;

/// The most that the gateway may ever hold resident, in MiB.
const GATEWAY_MIB: f64 = 300.0;

/// Bulk frames that may be under way before an alert: the box's window for them. While as many
/// alerts as it may have out wait for their acknowledgement, other lanes go on, so that a lane of
/// alerts that nobody acknowledges does not hold everything else.
const BULK_BETWEEN: u64 = 32;

const MIB: f64 = 1024.0 * 1024.0;

/// What waited in the box at the end of the week, lane by lane: records and bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored(Vec<(u64, u64, u64)>);

impl Stored {
    /// Reads it from the box's database.
    pub(super) fn read(outbox: &Path) -> anyhow::Result<Self> {
        let rows = sql::look(
            outbox,
            "SELECT lane, next - 1 - acked AS records, waiting_bytes AS bytes FROM lane",
        )?;
        let of = |row| {
            (
                number(row, "lane"),
                number(row, "records"),
                number(row, "bytes"),
            )
        };
        Ok(Self(rows.iter().map(of).collect()))
    }

    /// Records of a lane.
    pub(super) fn records_of(&self, lane: u64) -> u64 {
        let own = self.0.iter().filter(|(number, ..)| *number == lane);
        own.map(|(_, records, _)| records).sum()
    }

    fn records(&self) -> u64 {
        self.0.iter().map(|(_, records, _)| records).sum()
    }
}

/// Everything that the table shows.
pub(super) struct Table {
    /// Days without the gateway.
    pub(super) days: u64,
    /// Visits in them.
    pub(super) visits: u64,
    /// Seconds captured of each.
    pub(super) visit_s: u64,
    /// Holter recordings in them.
    pub(super) holters: u64,
    /// Hours of each.
    pub(super) holter_h: u64,
    /// What waited at the end.
    pub(super) stored: Stored,
    /// What the box said of itself then.
    pub(super) status: Value,
    /// How the drain went.
    pub(super) drained: Drained,
    /// In which order.
    pub(super) order: Order,
    /// What became of the records.
    pub(super) outcome: Outcome,
    /// Whether the programs could prove their chains.
    pub(super) proved: anyhow::Result<()>,
}

impl Table {
    /// Prints it. `true` when everything arrived once, alerts first, with memory flat.
    pub(super) fn tell(&self) -> bool {
        result(format!(
            "offline       {} days: {} visits of {} s, {} Holters of {} h",
            self.days, self.visits, self.visit_s, self.holters, self.holter_h
        ));
        for (lane, records, bytes) in &self.stored.0 {
            let name = usize::try_from(*lane).ok().and_then(|lane| LANES.get(lane));
            result(format!(
                "  {:<10}  {records:>7} records, {:>7.1} MiB",
                name.copied().unwrap_or("?"),
                mib(*bytes)
            ));
        }
        self.tell_space();
        self.tell_drain();
        let outcome = &self.outcome;
        result(format!(
            "records       {} accepted, {} filed, {} duplicated, {} named in gaps, {} lost",
            outcome.accepted, outcome.filed, outcome.duplicated, outcome.named, outcome.lost
        ));
        let wrong = self.wrong();
        for line in &wrong {
            result(format!("wrong         {line}"));
        }
        result(if wrong.is_empty() { "PASS" } else { "FAIL" });
        wrong.is_empty()
    }

    fn tell_space(&self) {
        let store = |name: &str| self.status.pointer(&format!("/store/{name}"));
        let bytes = |name: &str| store(name).and_then(Value::as_u64).unwrap_or_default();
        let level = store("level").and_then(Value::as_str).unwrap_or("unknown");
        let (used, cap) = (bytes("bytes"), bytes("cap_bytes"));
        result(format!(
            "space         {:.1} of {:.1} MiB, level {level}; at this pace the cap lasts {} days",
            mib(used),
            mib(cap),
            (cap * self.days).checked_div(used).unwrap_or_default()
        ));
        let state = store("autonomy/state").and_then(Value::as_str);
        let hours = store("autonomy/hours").and_then(Value::as_f64);
        result(format!(
            "autonomy      the box says {}{}",
            state.unwrap_or("nothing"),
            hours.map_or_else(String::new, |hours| format!(" {hours:.1} h"))
        ));
    }

    fn tell_drain(&self) {
        let drained = &self.drained;
        let seconds = drained.acknowledged.as_secs_f64();
        let records = u32::try_from(self.stored.records()).unwrap_or(u32::MAX);
        result(format!(
            "drained       alerts after {:.0} s, everything after {seconds:.0} s ({:.0} records/s), \
             filed after {:.0} s",
            drained.alerts.as_secs_f64(),
            f64::from(records) / seconds.max(1.0),
            drained.filed.as_secs_f64()
        ));
        result(format!(
            "order         {} alerts waited; {} bulk frames stored before the last of them, \
             {} at most between two",
            self.order.alerts, self.order.bulk_before, self.order.bulk_between
        ));
        tell_memory("box", &drained.box_);
        tell_memory("gateway", &drained.gateway);
    }

    /// Everything that must not be, one line each.
    fn wrong(&self) -> Vec<String> {
        let outcome = &self.outcome;
        let mut wrong = outcome.wrong.clone();
        let mut must = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        must(
            outcome.filed == outcome.accepted && outcome.duplicated == 0,
            "not every record is filed exactly once".to_owned(),
        );
        must(self.order.alerts > 0, "no alert waited".to_owned());
        must(
            self.order.bulk_between <= BULK_BETWEEN,
            format!(
                "{} bulk frames went before an alert",
                self.order.bulk_between
            ),
        );
        for (name, memory) in [
            ("box", &self.drained.box_),
            ("gateway", &self.drained.gateway),
        ] {
            must(
                memory.growth() <= GROWTH_MIB,
                format!(
                    "the {name}'s memory grew by {:.1} MiB, more than {GROWTH_MIB}",
                    memory.growth()
                ),
            );
        }
        let peak = self.drained.gateway.peak();
        must(
            peak <= GATEWAY_MIB,
            format!("the gateway held {peak:.0} MiB, more than {GATEWAY_MIB}"),
        );
        if let Err(why) = &self.proved {
            wrong.push(format!("a chain is not proved: {why:#}"));
        }
        wrong
    }
}

fn tell_memory(name: &str, memory: &Memory) {
    result(format!(
        "memory        {name:<8} {:.1} MiB at the start, {:.1} peak, {:.1} at the end, \
         {:.1} growth after the first quarter",
        memory.start(),
        memory.peak(),
        memory.end(),
        memory.growth()
    ));
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a figure for a table"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
