//! Prints a recording for a program in another language to compare: one line of JSON
//! facts, then the samples of every row as 32-bit integers, little-endian.
//!
//! Usage: `dump FILE` writes facts on the first line and binary rows after it.

use std::io::Write as _;
use std::process::ExitCode;

use cardio_core::recording::{Recording, Waveform};
use cardio_formats::{ReadOptions, read_path};

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let mut failed = false;
    for path in std::env::args_os().skip(1) {
        let written = match read_path(path.as_ref(), ReadOptions::default()) {
            Ok(recording) => write(&mut out, &recording),
            Err(error) => {
                failed = true;
                let text = format!("{error}");
                writeln!(
                    out,
                    "{{\"error\":{},\"text\":{}}}",
                    json(error.code()),
                    json(&text)
                )
            }
        };
        if written.is_err() {
            return ExitCode::FAILURE;
        }
    }
    if failed {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

fn write(out: &mut impl std::io::Write, recording: &Recording) -> std::io::Result<()> {
    let rows: Vec<String> = recording.waveforms.iter().map(row_facts).collect();
    let marks: Vec<String> = recording
        .annotations
        .iter()
        .map(|mark| {
            let text = mark.text.as_deref().map_or("null".to_owned(), json);
            let code = json(&mark.code);
            let (at, subtype, channel) = (mark.at.0, mark.subtype, mark.channel);
            format!("[{at},{code},{subtype},{channel},{},{text}]", mark.number)
        })
        .collect();
    let warnings: Vec<String> = recording.warnings.iter().map(|text| json(text)).collect();
    let remarks: Vec<String> = recording
        .remarks
        .iter()
        .map(|(name, text)| format!("[{},{}]", json(name), json(text)))
        .collect();
    let patient = &recording.patient;
    let optional = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), json);
    writeln!(
        out,
        "{{\"format\":{},\"name\":{},\"start\":{},\"patient\":[{},{},{},{},{}],\"rows\":[{}],\"marks\":[{}],\"warnings\":[{}],\"remarks\":[{}]}}",
        json(recording.format),
        json(&recording.name),
        recording
            .start
            .as_ref()
            .map_or("null".to_owned(), |start| json(&start.local)),
        optional(&patient.id),
        optional(&patient.name),
        optional(&patient.sex),
        optional(&patient.birth_date),
        optional(&patient.age),
        rows.join(","),
        marks.join(","),
        warnings.join(","),
        remarks.join(",")
    )?;
    let mut bytes = Vec::new();
    for run in recording.waveforms.iter().flat_map(|row| &row.runs) {
        bytes.clear();
        bytes.extend(run.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn row_facts(row: &Waveform) -> String {
    let runs: Vec<String> = row
        .runs
        .iter()
        .map(|run| format!("[{},{}]", run.first.0, run.samples.len()))
        .collect();
    let (samples, seconds) = row.rate.as_ratio();
    format!(
        "{{\"label\":{},\"kind\":{},\"rate\":[{samples},{seconds}],\"gain\":{:?},\"baseline\":{:?},\"unit\":{},\"runs\":[{}]}}",
        json(&row.label),
        json(row.kind.label()),
        row.calibration.gain_adu_per_unit(),
        row.calibration.baseline_adu(),
        json(row.calibration.unit().ucum()),
        runs.join(",")
    )
}

fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
