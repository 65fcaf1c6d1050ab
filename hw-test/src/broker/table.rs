//! The one table, and its verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Kind;
use crate::judge::compare::Verdict;
use crate::out::result;
use crate::soak::truth::Outcome;
use crate::sql::{Database, number, text};

/// An alert of a rule that was raised for a patient or a box while another of the same was on.
const TWICE: &str = "SELECT b.rule AS rule, count(*) AS times FROM alerts a JOIN alerts b \
     ON a.rule = b.rule AND a.box = b.box AND coalesce(a.subject, '') = coalesce(b.subject, '') \
     AND a.id <> b.id AND a.raised_us <= b.raised_us \
     AND (a.ended_us IS NULL OR a.ended_us > b.raised_us) GROUP BY b.rule";

/// What became of one box's visit.
pub(super) struct Visited {
    /// Sample by sample.
    pub(super) verdict: Verdict,
    /// Gaps that the patient record states.
    pub(super) stated: usize,
    /// Recordings in the patient record.
    pub(super) recordings: usize,
    /// Codes of the alerts.
    pub(super) alerts: Vec<String>,
    /// Those that must have come, and no other.
    pub(super) expected: &'static [&'static str],
    /// Samples per second of the sensor.
    pub(super) rate_hz: u32,
    /// After how many frames its counter begins again.
    pub(super) modulus: Option<u64>,
    /// For how long the sensor went on when the box had been asked to stop, at most.
    pub(super) unheard: Duration,
}

/// Everything that the table shows.
pub(super) struct Table<'a> {
    /// Where chance started.
    pub(super) seed: u64,
    /// How long all of it took.
    pub(super) took: Duration,
    /// How long it took after the last start until everything was acknowledged.
    pub(super) settled_in: Duration,
    /// Every kill.
    pub(super) happened: &'a [Kind],
    /// How many gateways shared the work.
    pub(super) gateways: u64,
    /// What became of the records.
    pub(super) outcome: Outcome,
    /// What became of the samples.
    pub(super) visits: Vec<Visited>,
    /// Rules of alerts that were raised twice.
    pub(super) alerts_twice: Vec<String>,
    /// Whether boxes and gateways could prove their chains.
    pub(super) proved: anyhow::Result<()>,
}

/// Rules of which an alert was raised while the same was on already.
pub(super) fn repeated_alerts(records: &Database) -> anyhow::Result<Vec<String>> {
    let rows = records.look(TWICE)?;
    let line = |row| format!("{} time(s) {}", number(row, "times"), text(row, "rule"));
    Ok(rows.iter().map(line).collect())
}

impl Table<'_> {
    /// Prints it. `true` when nothing was lost and nothing filed or raised twice.
    pub(super) fn tell(&self) -> bool {
        result(format!(
            "kills         {} in {:.0} s of {} gateway(s) on one share and one PostgreSQL server, seed {}",
            self.happened.len(),
            self.took.as_secs_f64(),
            self.gateways,
            self.seed
        ));
        let mut counts: BTreeMap<Kind, u64> = BTreeMap::new();
        for kind in self.happened {
            *counts.entry(*kind).or_default() += 1;
        }
        for (kind, count) in counts {
            result(format!("  {count:>6}      {}", kind.name()));
        }
        self.outcome.tell();
        for visit in &self.visits {
            result(format!(
                "samples       {} sent, {} filed equal in {} recording(s), {} absence(s) stated, \
                 {} of them too long",
                visit.verdict.sent,
                visit.verdict.equal,
                visit.recordings,
                visit.stated,
                visit.overstated()
            ));
        }
        let alerts: Vec<&str> = self.alerts().collect();
        result(format!("alerts        {}", alerts.join(", ")));
        result(format!(
            "chains        {}",
            if self.proved.is_ok() {
                "proved by `outbox verify` and `cardio-gateway chain verify`"
            } else {
                "NOT PROVED"
            }
        ));
        result(format!(
            "acknowledged  all of it {:.1} s after what was killed last came back",
            self.settled_in.as_secs_f64()
        ));
        let wrong = self.wrong();
        for line in &wrong {
            result(format!("WRONG         {line}"));
        }
        let holds = wrong.is_empty() && self.outcome.lost == 0 && self.outcome.duplicated == 0;
        result(if holds {
            "NOTHING LOST, NOTHING TWICE"
        } else {
            "FAILED"
        });
        holds
    }

    fn alerts(&self) -> impl Iterator<Item = &str> {
        self.visits
            .iter()
            .flat_map(|visit| visit.alerts.iter().map(String::as_str))
    }

    fn wrong(&self) -> Vec<String> {
        let mut wrong = self.outcome.wrong.clone();
        // Kills destroy nothing that was saved: nothing needs to be named.
        if self.outcome.named > 0 {
            wrong.push(format!("{} record(s) named as missing", self.outcome.named));
        }
        wrong.extend(self.visits.iter().flat_map(Visited::wrong));
        let twice = self.alerts_twice.iter();
        wrong.extend(twice.map(|line| format!("alert raised while it was on: {line}")));
        wrong.extend(self.proved.as_ref().err().map(|err| format!("{err:#}")));
        wrong
    }
}

impl Visited {
    fn wrong(&self) -> Vec<String> {
        let mut judged = self.verdict.clone();
        judged.forgive_overstated(self.rate_hz, self.modulus);
        // What the sensor sent when the box had been asked to stop reached nobody.
        let allowed = self.unheard.as_millis() * u128::from(self.rate_hz) / 1_000;
        if u128::from(judged.tail) <= allowed {
            judged.tail = 0;
        }
        let mut wrong = judged.all_differences();
        if self.alerts != self.expected {
            wrong.push(format!(
                "alerts [{}] instead of [{}]",
                self.alerts.join(", "),
                self.expected.join(", ")
            ));
        }
        wrong
    }

    /// How many gaps state more than is missing.
    fn overstated(&self) -> usize {
        let mut judged = self.verdict.clone();
        judged.forgive_overstated(self.rate_hz, self.modulus)
    }
}
