//! Figures of the team over a time as a MeasureReport.
//!
//! One group per indicator, one stratum per kind of exam, priority or contact. Deliberately
//! absent: what the figures are made of, and any patient.

use cardio_core::clock::UtcMicros;
use serde_json::{Value, json};

use crate::codes::own;
use crate::element::{concept, reference_to, resource};
use crate::time::instant;

/// One figure of one stratum.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The indicator, as a stable word.
    pub indicator: &'static str,
    /// What the figure is about within the indicator.
    pub stratum: String,
    /// How many cases it is made of.
    pub denominator: u64,
    /// How many of them count, for shares.
    pub numerator: Option<u64>,
    /// The figure; `None` where there are no cases.
    pub value: Option<f64>,
    /// Unit of the figure (UCUM).
    pub unit: &'static str,
}

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Reporting<'a> {
    /// Its logical id.
    pub id: &'a str,
    /// Who reports, as a reference.
    pub reporter: &'a str,
    /// When it is made.
    pub made: UtcMicros,
    /// The time that it is about: from here,
    pub from: UtcMicros,
    /// to here, which no longer belongs to it.
    pub to: UtcMicros,
}

/// Figures as a MeasureReport, those of one indicator in one group, in their order.
pub fn measure_report(reporting: &Reporting<'_>, figures: &[Figure]) -> Value {
    let mut report = resource("MeasureReport", reporting.id);
    for (key, value) in [
        ("status", json!("complete")),
        ("type", json!("summary")),
        ("measure", json!(own::TEAM_INDICATORS)),
        ("date", json!(instant(reporting.made))),
        ("reporter", reference_to(reporting.reporter)),
    ] {
        report.insert(key.to_owned(), value);
    }
    let last = UtcMicros(reporting.to.0.saturating_sub(1));
    let period = json!({"start": instant(reporting.from), "end": instant(last)});
    report.insert("period".to_owned(), period);
    let mut groups: Vec<Value> = Vec::new();
    for of_one in figures.chunk_by(|a, b| a.indicator == b.indicator) {
        let Some(first) = of_one.first() else {
            continue;
        };
        let strata: Vec<Value> = of_one.iter().map(stratum).collect();
        groups.push(json!({
            "code": concept(own::INDICATOR, first.indicator),
            "stratifier": [{"stratum": strata}],
        }));
    }
    if !groups.is_empty() {
        report.insert("group".to_owned(), Value::Array(groups));
    }
    Value::Object(report)
}

fn stratum(figure: &Figure) -> Value {
    let population = |code: &str, count: u64| {
        let system = "http://terminology.hl7.org/CodeSystem/measure-population";
        json!({"code": concept(system, code), "count": count})
    };
    let mut populations = vec![population("denominator", figure.denominator)];
    populations.extend(figure.numerator.map(|count| population("numerator", count)));
    let mut stratum = json!({
        "value": {"text": figure.stratum},
        "population": populations,
    });
    if let (Some(value), Some(map)) = (figure.value, stratum.as_object_mut()) {
        let score = json!({
            "value": value, "unit": figure.unit,
            "system": "http://unitsofmeasure.org", "code": figure.unit,
        });
        map.insert("measureScore".to_owned(), score);
    }
    stratum
}
