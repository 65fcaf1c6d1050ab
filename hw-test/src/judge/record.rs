//! A visit as the patient record shows it: stretches of signal, gaps, alerts, read from FHIR
//! resources and from nothing else.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::compare::{FiledSpan, StatedGap};
use super::fhir::FhirServer;

/// What a clock said that nothing had set.
const STATED_TIME: &str = "https://ess-cardio.example/fhir/StructureDefinition/stated-time";
/// Code system of ISO/IEEE 11073-10101.
const MDC: &str = "urn:iso:std:iso:11073:10101";

/// Codes of the twelve leads (`MDC_ECG_ELEC_POTL_*`), written down here anew.
const LEADS: [(&str, &str); 12] = [
    ("131329", "I"),
    ("131330", "II"),
    ("131389", "III"),
    ("131390", "aVR"),
    ("131391", "aVL"),
    ("131392", "aVF"),
    ("131331", "V1"),
    ("131332", "V2"),
    ("131333", "V3"),
    ("131334", "V4"),
    ("131335", "V5"),
    ("131336", "V6"),
];

/// All resources of one patient that a visit can cause.
const KINDS: [&str; 8] = [
    "Observation",
    "DiagnosticReport",
    "DocumentReference",
    "DetectedIssue",
    "Communication",
    "Task",
    "Device",
    "Provenance",
];

/// What the record holds of a visit.
#[derive(Debug, Default)]
pub(crate) struct FiledVisit {
    /// Stretches of signal, in the order of time.
    pub(crate) spans: Vec<FiledSpan>,
    /// Stated absences, in the order of time.
    pub(crate) gaps: Vec<StatedGap>,
    /// Counts per millivolt of each lead.
    pub(crate) gains: BTreeMap<String, f64>,
    /// Codes of the alerts.
    pub(crate) alerts: BTreeSet<String>,
    /// Alerts that lack their notice or their task.
    pub(crate) undelivered: Vec<String>,
    /// Heart rates, in beats per minute, in the order of time.
    pub(crate) heart_rates: Vec<f64>,
    /// How many windows had which verdict.
    pub(crate) verdicts: BTreeMap<String, u32>,
    /// Status of each report.
    pub(crate) reports: Vec<String>,
    /// Everything that was read, for other judges.
    pub(crate) resources: Vec<Value>,
}

/// Observations that one report names, or none.
struct Recording {
    report: Option<usize>,
    observations: Vec<Value>,
}

impl FiledVisit {
    /// Reads all that the record shows of `patient`, once every report says that its recording
    /// is complete and the reports name all that is filed; `None` before.
    pub(crate) fn complete(server: &FhirServer, patient: &str) -> anyhow::Result<Option<Self>> {
        let reports = server.search(&format!("DiagnosticReport?patient={patient}"))?;
        let is_done = |report: &Value| report["status"] == "preliminary";
        if reports.is_empty() || !reports.iter().all(is_done) {
            return Ok(None);
        }
        let visit = Self::read(server, patient)?;
        let is_named = visit.recordings().iter().all(|one| one.report.is_some());
        Ok(is_named.then_some(visit))
    }

    /// Reads all that the record shows of `patient`.
    pub(crate) fn read(server: &FhirServer, patient: &str) -> anyhow::Result<Self> {
        let mut visit = Self::default();
        for kind in KINDS {
            let query = if matches!(kind, "Device" | "Provenance") {
                format!("{kind}?_count=100")
            } else {
                format!("{kind}?patient={patient}&_count=100")
            };
            visit.resources.extend(server.search(&query)?);
        }
        visit
            .resources
            .push(server.read(&format!("Patient/{patient}"))?);
        for recording in visit.recordings() {
            let before = visit.samples();
            for observation in &recording.observations {
                if recording.report.is_none() && has_code(&observation["code"], "gap") {
                    let gap = stated(observation)?;
                    let after = visit.samples();
                    visit.gaps.push(StatedGap { after, ..gap });
                }
                visit.take_observation(observation)?;
            }
            if recording.report.is_some() {
                visit.take_gaps(&recording.observations, before)?;
            }
        }
        visit.take_alerts();
        visit.reports = visit
            .of_kind("DiagnosticReport")
            .map(|report| text(&report["status"]))
            .collect();
        Ok(visit)
    }

    /// How many resources of a kind there are.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.of_kind(kind).count()
    }

    /// The resources of a kind.
    pub(crate) fn of_kind<'v>(&'v self, kind: &'v str) -> impl Iterator<Item = &'v Value> {
        self.resources
            .iter()
            .filter(move |resource| resource["resourceType"] == kind)
    }

    /// The observations in the order of time, cut where another report begins to name them. A
    /// recording that never ended has no report that names them.
    fn recordings(&self) -> Vec<Recording> {
        let names: BTreeMap<&str, usize> = self
            .of_kind("DiagnosticReport")
            .enumerate()
            .flat_map(|(place, report)| {
                let results = report["result"].as_array().into_iter().flatten();
                results.filter_map(move |one| Some((one["reference"].as_str()?, place)))
            })
            .collect();
        let mut all: Vec<&Value> = self.of_kind("Observation").collect();
        all.sort_by_key(|one| place_of(one).to_owned());
        let mut recordings: Vec<Recording> = Vec::new();
        for observation in all {
            let reference = format!("Observation/{}", text(&observation["id"]));
            let report = names.get(reference.as_str()).copied();
            match recordings.last_mut().filter(|last| last.report == report) {
                Some(last) => last.observations.push(observation.clone()),
                None => recordings.push(Recording {
                    report,
                    observations: vec![observation.clone()],
                }),
            }
        }
        recordings
    }

    /// Samples of each lead in all stretches.
    fn samples(&self) -> u64 {
        let len = |span: &FiledSpan| span.leads.values().next().map_or(0, Vec::len);
        let samples: usize = self.spans.iter().map(len).sum();
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    fn take_observation(&mut self, observation: &Value) -> anyhow::Result<()> {
        let reference = format!("Observation/{}", text(&observation["id"]));
        if has_code(&observation["code"], "8867-4") {
            self.heart_rates
                .extend(observation["valueQuantity"]["value"].as_f64());
        } else if has_code(&observation["code"], "signal-quality-index") {
            let verdict = text(&observation["interpretation"][0]["coding"][0]["code"]);
            *self.verdicts.entry(verdict).or_default() += 1;
        } else if let Some(span) = self.span(observation, &reference)? {
            self.spans.push(span);
        }
        Ok(())
    }

    /// The stretch of signal that an observation shows, if it shows one.
    fn span(&mut self, observation: &Value, reference: &str) -> anyhow::Result<Option<FiledSpan>> {
        let mut leads = BTreeMap::new();
        let components = observation["component"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for part in std::iter::once(observation).chain(components) {
            let sampled = &part["valueSampledData"];
            if sampled.is_null() {
                continue;
            }
            let lead = lead_of(&part["code"])
                .with_context(|| format!("{reference}: a waveform of no known lead"))?;
            let factor = sampled["factor"]
                .as_f64()
                .with_context(|| format!("{reference}: lead {lead} has no factor"))?;
            let gain = 1.0 / factor;
            let before = *self.gains.entry(lead.to_owned()).or_insert(gain);
            if (before - gain).abs() > 1e-6 * gain {
                bail!("{reference}: lead {lead} has another gain than before");
            }
            let counts: Result<Vec<i64>, _> = text(&sampled["data"])
                .split_whitespace()
                .map(str::parse)
                .collect();
            leads.insert(
                lead.to_owned(),
                counts.with_context(|| format!("{reference}: lead {lead} holds no integers"))?,
            );
        }
        Ok((!leads.is_empty()).then(|| FiledSpan {
            reference: reference.to_owned(),
            leads,
        }))
    }

    /// The stated absences of one recording, before which `before` samples are there; a place on
    /// its time line becomes the number of samples before it that are there.
    fn take_gaps(&mut self, observations: &[Value], before: u64) -> anyhow::Result<()> {
        let is_gap = |one: &&Value| has_code(&one["code"], "gap");
        let gaps: anyhow::Result<Vec<StatedGap>> =
            observations.iter().filter(is_gap).map(stated).collect();
        let mut gaps = gaps?;
        gaps.sort_by_key(|gap| gap.after);
        let mut missing = 0;
        for gap in gaps {
            let after = gap.after.checked_sub(missing).context("gaps overlap")?;
            missing += gap.len;
            self.gaps.push(StatedGap {
                after: before + after,
                ..gap
            });
        }
        Ok(())
    }

    /// Every alert is a DetectedIssue, with a Communication and a Task of its own.
    fn take_alerts(&mut self) {
        let (mut alerts, mut undelivered) = (BTreeSet::new(), Vec::new());
        for issue in self.of_kind("DetectedIssue") {
            let code = text(&issue["code"]["coding"][0]["code"]);
            let key = text(&issue["identifier"][0]["value"]);
            let stands_in = |kind: &str| {
                self.of_kind(kind)
                    .any(|other| text(&other["identifier"][0]["value"]).starts_with(&key))
            };
            if !stands_in("Communication") || !stands_in("Task") {
                undelivered.push(code.clone());
            }
            alerts.insert(code);
        }
        (self.alerts, self.undelivered) = (alerts, undelivered);
    }
}

/// The absence that an observation states, at its place on the recording's own time line.
fn stated(observation: &Value) -> anyhow::Result<StatedGap> {
    let part = |code: &str| {
        observation["component"]
            .as_array()
            .and_then(|parts| parts.iter().find(|part| has_code(&part["code"], code)))
            .with_context(|| format!("a gap without {code}"))
    };
    let number = |code: &str| {
        part(code)?["valueQuantity"]["value"]
            .as_u64()
            .with_context(|| format!("{code} is no count"))
    };
    Ok(StatedGap {
        len: number("gap-samples")?,
        uncertainty: number("gap-uncertainty-samples")?,
        cause: text(&part("gap-cause")?["valueCodeableConcept"]["coding"][0]["code"]),
        after: number("gap-first-sample")?,
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// When an observation begins, as it is written; empty when it states no time.
pub(crate) fn start_of(observation: &Value) -> &str {
    let period = observation["effectivePeriod"]["start"].as_str();
    period
        .or_else(|| observation["effectiveDateTime"].as_str())
        .unwrap_or_default()
}

/// When an observation begins; where that is filed as unknown, by the clock that nothing had set:
/// it is the only thing that puts such observations into an order.
fn place_of(observation: &Value) -> &str {
    let extensions = observation["extension"].as_array().into_iter().flatten();
    let mut stated = extensions.filter(|one| one["url"] == STATED_TIME);
    match start_of(observation) {
        "" => stated
            .find_map(|one| one["valuePeriod"]["start"].as_str())
            .unwrap_or_default(),
        vouched => vouched,
    }
}

fn has_code(concept: &Value, code: &str) -> bool {
    concept["coding"]
        .as_array()
        .is_some_and(|codings| codings.iter().any(|coding| coding["code"] == code))
}

fn lead_of(concept: &Value) -> Option<&'static str> {
    let codings = concept["coding"].as_array()?;
    LEADS.into_iter().find_map(|(code, lead)| {
        let named = codings
            .iter()
            .any(|coding| coding["system"] == MDC && coding["code"] == code);
        named.then_some(lead)
    })
}

#[cfg(test)]
mod tests {
    use super::{FiledVisit, STATED_TIME};
    use serde_json::{Value, json};

    #[test]
    fn a_stretch_of_two_leads_is_read_with_its_gains() {
        let sampled = |data: &str| json!({"origin": {"value": 0}, "factor": 0.5, "data": data});
        let observation = json!({
            "resourceType": "Observation", "id": "x",
            "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131328"}]},
            "component": [
                {"code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131330"}]}, "valueSampledData": sampled("1 -2")},
                {"code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131389"}]}, "valueSampledData": sampled("3 4")},
            ],
        });
        let mut visit = FiledVisit::default();
        visit.take_observation(&observation).unwrap();
        assert_eq!(visit.spans[0].leads["II"], [1, -2]);
        assert_eq!(visit.gains["III"], 2.0);
    }

    #[test]
    fn stretches_whose_time_is_unknown_stand_in_the_order_that_the_box_stated() {
        let stretch = |id: &str, effective: Value, extension: Value| {
            json!({
                "resourceType": "Observation", "id": id, "extension": extension,
                "effectivePeriod": effective,
                "code": {"coding": [{"system": "urn:iso:std:iso:11073:10101", "code": "131330"}]},
                "valueSampledData": {"origin": {"value": 0}, "factor": 1, "data": id},
            })
        };
        let unknown = |id: &str, start: &str| {
            let stated = json!([{"url": "https://other.example", "valuePeriod": {"start": "1970"}},
                {"url": STATED_TIME, "valuePeriod": {"start": start}}]);
            stretch(id, json!({"extension": []}), stated)
        };
        let visit = FiledVisit {
            resources: vec![
                unknown("3", "2026-01-31T09:00:20Z"),
                unknown("1", "2026-01-31T09:00:00Z"),
                stretch("2", json!({"start": "2026-01-31T09:00:10Z"}), json!(null)),
            ],
            ..FiledVisit::default()
        };
        let recordings = visit.recordings();
        let ids: Vec<&Value> = recordings[0]
            .observations
            .iter()
            .map(|one| &one["id"])
            .collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn gaps_are_placed_by_the_samples_that_are_there() {
        let gap = |from: u64, len: u64| {
            let part = |code: &str, value: u64| json!({"code": {"coding": [{"code": code}]}, "valueQuantity": {"value": value}});
            json!({"code": {"coding": [{"code": "gap"}]}, "component": [
                part("gap-first-sample", from), part("gap-samples", len), part("gap-uncertainty-samples", 1),
                {"code": {"coding": [{"code": "gap-cause"}]}, "valueCodeableConcept": {"coding": [{"code": "frames-lost"}]}},
            ]})
        };
        let mut visit = FiledVisit::default();
        visit.take_gaps(&[gap(150, 5), gap(100, 10)], 7).unwrap();
        assert_eq!(
            visit.gaps.iter().map(|gap| gap.after).collect::<Vec<_>>(),
            [107, 147]
        );
    }
}
