//! What came of a visit, for a person: counts, differences, and one verdict.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use super::Options;
use crate::judge::compare::{Verdict, compare};
use crate::judge::ledger::Ledger;
use crate::judge::record::FiledVisit;
use crate::out::{result, say};
use crate::usage::Usage;

/// Everything that is known after a visit.
pub(crate) struct Report {
    /// What the sensor sent.
    pub(crate) ledger: Ledger,
    /// What the record shows.
    pub(crate) filed: FiledVisit,
    /// The alerts that had to be raised.
    pub(crate) expected_alerts: Vec<String>,
    /// What the box cost.
    pub(crate) usage: Usage,
    /// What the box said of itself at the end.
    pub(crate) agent_status: Value,
    /// How the record answers somebody without the right to read.
    pub(crate) locked: u16,
    /// Where everything lies.
    pub(crate) folder: PathBuf,
}

impl Report {
    /// Compares, prints, and keeps the resources for other judges. `true` when all is well.
    pub(crate) fn tell(&self, options: &Options) -> anyhow::Result<bool> {
        let verdict = compare(
            &self.ledger.leads,
            &self.ledger.sent,
            &self.filed.spans,
            &self.filed.gaps,
        );
        let mut differences = verdict.all_differences();
        differences.extend(self.gain_differences());
        differences.extend(self.alert_differences(options));
        if self.locked != 401 {
            differences.push(format!(
                "the record answers {} to a reader without a token",
                self.locked
            ));
        }
        self.print(&verdict);
        self.keep_resources()?;
        for difference in &differences {
            say(format!("DIFFERENT  {difference}"));
        }
        result(if differences.is_empty() {
            "EQUAL"
        } else {
            "DIFFERENT"
        });
        if !differences.is_empty() {
            say(format!(
                "repeat with: cargo demo -- --once --scenario {} --device {} --seed {} --seconds {}",
                options.scenario, options.device, options.given.seed, options.seconds
            ));
        }
        Ok(differences.is_empty())
    }

    fn print(&self, verdict: &Verdict) {
        let filed = &self.filed;
        result(format!(
            "sent       {} samples of {} lead(s): {}",
            verdict.sent,
            self.ledger.leads.len(),
            self.ledger.leads.join(" ")
        ));
        for fault in &self.ledger.faults {
            result(format!("played     {fault}"));
        }
        result(format!(
            "filed      {} samples equal in {} stretch(es), leads {}",
            verdict.equal,
            filed.spans.len(),
            verdict.leads.join(" ")
        ));
        for gap in &filed.gaps {
            result(format!(
                "gap        {} sample(s) +-{} after sample {} ({})",
                gap.len, gap.uncertainty, gap.after, gap.cause
            ));
        }
        let rates: Vec<String> = filed
            .heart_rates
            .iter()
            .map(|rate| format!("{rate:.0}"))
            .collect();
        result(format!("heart rate {} /min", rates.join(" ")));
        let verdicts: Vec<String> = filed
            .verdicts
            .iter()
            .map(|(verdict, count)| format!("{verdict} {count}"))
            .collect();
        result(format!("quality    {}", verdicts.join(", ")));
        let alerts: Vec<&str> = filed.alerts.iter().map(String::as_str).collect();
        result(format!(
            "alerts     {}",
            if alerts.is_empty() {
                "none".to_owned()
            } else {
                alerts.join(", ")
            }
        ));
        result(format!(
            "record     {} Observation, {} DiagnosticReport ({}), {} DocumentReference, {} Provenance",
            filed.count("Observation"),
            filed.count("DiagnosticReport"),
            filed.reports.join(", "),
            filed.count("DocumentReference"),
            filed.count("Provenance")
        ));
        result(format!(
            "box        {:.1} % of one core, {:.1} MiB at most",
            self.usage.cpu_percent, self.usage.peak_mib
        ));
        for line in latencies(&self.agent_status) {
            result(line);
        }
    }

    /// Every lead's counts must mean what the sensor meant by them.
    fn gain_differences(&self) -> Vec<String> {
        let sensor = self.ledger.gain_adu_per_mv;
        self.filed
            .gains
            .iter()
            .filter_map(|(lead, gain)| {
                let factor = if matches!(lead.as_str(), "aVR" | "aVL" | "aVF") {
                    2.0
                } else {
                    1.0
                };
                let right = (gain - sensor * factor).abs() < 1e-6 * gain;
                (!right).then(|| {
                    format!(
                        "lead {lead} is filed with {gain} counts per mV, not {}",
                        sensor * factor
                    )
                })
            })
            .collect()
    }

    fn alert_differences(&self, options: &Options) -> Vec<String> {
        let mut differences: Vec<String> = self
            .filed
            .undelivered
            .iter()
            .map(|code| format!("alert {code} has no notice or no task"))
            .collect();
        // What a real recording must raise is nobody's to decide here.
        if options.recording.is_none() {
            let expected: BTreeSet<String> = self.expected_alerts.iter().cloned().collect();
            differences.extend(
                expected
                    .difference(&self.filed.alerts)
                    .map(|code| format!("alert {code} was not raised")),
            );
            differences.extend(
                self.filed
                    .alerts
                    .difference(&expected)
                    .map(|code| format!("alert {code} was raised without cause")),
            );
        }
        differences
    }

    fn keep_resources(&self) -> anyhow::Result<()> {
        let folder = self.folder.join("resources");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        for resource in &self.filed.resources {
            let name = |field: &str| resource[field].as_str().unwrap_or("none").to_owned();
            let path = folder.join(format!("{}-{}.json", name("resourceType"), name("id")));
            std::fs::write(&path, resource.to_string())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// One line on where a visit stands, from `cardio-agent status --json`.
pub(crate) fn progress(status: &Value) -> String {
    let source = &status["sources"][0];
    let quality = &source["quality"];
    let store = &status["store"];
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let electrode = quality["electrode_iec"]
        .as_str()
        .map_or_else(String::new, |letter| {
            format!(", look at electrode {letter}")
        });
    format!(
        "{} captured {} samples, quality {}{electrode}, stored {} records, filed {}, gaps {}",
        word(&source["state"]),
        count(&source["samples"]),
        word(&quality["verdict"]),
        count(&store["stored"]),
        count(&store["filed"]),
        count(&source["gaps"]),
    )
}

/// What the box measured of itself: median and 99th percentile by kind.
fn latencies(status: &Value) -> Vec<String> {
    let kinds = status["latency"].as_object();
    kinds
        .into_iter()
        .flatten()
        .map(|(kind, facts)| {
            format!(
                "latency    {kind}: median {:.0} ms, p99 {:.0} ms of {}",
                facts["median_ms"].as_f64().unwrap_or_default(),
                facts["p99_ms"].as_f64().unwrap_or_default(),
                facts["count"].as_u64().unwrap_or_default()
            )
        })
        .collect()
}
