//! A recording as a table of counts.

use std::fmt::Write as _;

use cardio_core::index::SampleIndex;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::units::PhysicalUnit;

use crate::error::FormatError;
use crate::write::{Facts, Files};

/// One file; every line begins with its sample index, so that gaps keep their length.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = &recording.waveforms;
    let rate = rows.first().map(|row| row.rate);
    for row in rows {
        if Some(row.rate) != rate {
            let why = format!("{} is sampled at {}", row.label, row.rate);
            return Err(facts.refuse("several rates", why));
        }
        if *row.calibration.unit() != PhysicalUnit::Millivolt {
            let why = format!("{} is in {}", row.label, row.calibration.unit().ucum());
            return Err(facts.refuse("unit", why));
        }
        let awkward = [',', ';', '\t', '[', '(', '\n', '\r', '#'];
        if row.label.trim().is_empty() || row.label.contains(awkward) {
            return Err(facts.refuse("label", format!("{:?} breaks the header line", row.label)));
        }
    }
    facts.lose_annotations(recording)?;
    let patient = &recording.patient;
    for text in [
        &patient.id,
        &patient.name,
        &patient.sex,
        &patient.birth_date,
        &patient.age,
    ] {
        facts.lose_text("patient", text.as_ref())?;
    }
    let mut out = String::new();
    let mut comment = |key: &str, value: &str| {
        let value = value.replace(['\r', '\n'], " ");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# {key}: {value}");
    };
    comment("record", &recording.name);
    if let Some(start) = &recording.start {
        comment("start", &start.local);
    }
    for (key, value) in &recording.remarks {
        comment(&key.replace(':', " "), value);
    }
    if let Some(rate) = rate {
        comment("rate_hz", &rate.as_hz().to_string());
    }
    let list = |value: fn(&Waveform) -> f64| {
        let values: Vec<String> = rows.iter().map(|row| value(row).to_string()).collect();
        values.join(" ")
    };
    comment(
        "gain_adu_per_mv",
        &list(|row| row.calibration.gain_adu_per_unit()),
    );
    comment("baseline_adu", &list(|row| row.calibration.baseline_adu()));
    let labels: Vec<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let _ = writeln!(out, "sample,{}", labels.join(","));
    lines(rows, &mut out);
    Ok(vec![(format!("{name}.csv"), out.into_bytes())])
}

/// A line for every instant at which some row has a sample, and one for the very end.
fn lines(rows: &[Waveform], out: &mut String) {
    let mut places: Vec<(usize, usize)> = vec![(0, 0); rows.len()];
    let end = rows.iter().map(Waveform::end).max().unwrap_or_default();
    let mut at = SampleIndex(0);
    while at < end {
        let cells: Vec<Option<i32>> = rows
            .iter()
            .zip(&mut places)
            .map(|(row, place)| cell(row, place, at))
            .collect();
        let last = at.0.saturating_add(1) == end.0;
        if last || cells.iter().any(Option::is_some) {
            let _ = write!(out, "{}", at.0);
            for cell in cells {
                out.push(',');
                if let Some(sample) = cell {
                    let _ = write!(out, "{sample}");
                }
            }
            out.push('\n');
        }
        at = SampleIndex(at.0.saturating_add(1));
    }
}

/// The sample of a row at an instant; `place` remembers its run.
fn cell(row: &Waveform, place: &mut (usize, usize), at: SampleIndex) -> Option<i32> {
    loop {
        let run = row.runs.get(place.0)?;
        if at < run.first {
            return None;
        }
        if at < run.end() {
            let sample = run.samples.get(place.1);
            place.1 = place.1.saturating_add(1);
            return sample;
        }
        *place = (place.0.saturating_add(1), 0);
    }
}
