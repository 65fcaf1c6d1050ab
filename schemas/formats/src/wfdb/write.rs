//! A recording as a WFDB record: header, one signal file, annotations.

use std::fmt::Write as _;

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};
use cardio_core::units::PhysicalUnit;

use super::annotation::encode;
use super::storage::Storage;
use crate::error::FormatError;
use crate::write::{Facts, Files, Moment};

/// Header, signals and, when there are some, annotations.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || !name.bytes().all(fits) {
        let why = format!("{name:?} is no record name: letters, digits, '-' and '_' are");
        return Err(facts.refuse("record name", why));
    }
    let rows = &recording.waveforms;
    let Some(frame) = slowest(rows) else {
        return Err(facts.refuse("recording", "it has no waveform".to_owned()));
    };
    let per_frame = rows
        .iter()
        .map(|row| samples_per_frame(row, frame, facts))
        .collect::<Result<Vec<usize>, _>>()?;
    let storage = storage(rows, facts)?;
    let frames = rows
        .iter()
        .zip(&per_frame)
        .map(|(row, many)| row.end().0.div_ceil(u64::try_from(*many).unwrap_or(1)))
        .max()
        .unwrap_or(0);
    let (signals, sums) = signals(rows, &per_frame, frames, storage);
    let header = header(
        recording,
        name,
        (frame, frames),
        &per_frame,
        storage,
        &sums,
        facts,
    )?;
    let mut files = vec![
        (format!("{name}.hea"), header.into_bytes()),
        (format!("{name}.dat"), signals),
    ];
    if !recording.annotations.is_empty() {
        let first = rows.first().map_or(frame, |row| row.rate);
        let stated = (first != frame).then_some(first);
        let marks = encode(&recording.annotations, stated, facts)?;
        files.push((format!("{name}.atr"), marks));
    }
    Ok(files)
}

/// The lowest rate: one frame holds one of its samples.
fn slowest(rows: &[Waveform]) -> Option<SamplingRate> {
    let slower = |a: &SamplingRate, b: &SamplingRate| a.as_hz().total_cmp(&b.as_hz());
    rows.iter().map(|row| row.rate).min_by(slower)
}

fn samples_per_frame(
    row: &Waveform,
    frame: SamplingRate,
    facts: &Facts,
) -> Result<usize, FormatError> {
    let (samples, seconds) = row.rate.as_ratio();
    let (frames, frame_seconds) = frame.as_ratio();
    let above = u64::from(samples).saturating_mul(u64::from(frame_seconds));
    let below = u64::from(seconds).saturating_mul(u64::from(frames)).max(1);
    usize::try_from(above / below)
        .ok()
        .filter(|_| above % below == 0)
        .ok_or_else(|| {
            let why = format!("{} of {} is no multiple of {frame}", row.rate, row.label);
            facts.refuse("several rates", why)
        })
}

/// The narrowest storage that holds every sample and keeps a value for absence.
fn storage(rows: &[Waveform], facts: &Facts) -> Result<Storage, FormatError> {
    let samples = || {
        rows.iter()
            .flat_map(|row| &row.runs)
            .flat_map(|run| &run.samples)
    };
    let low = samples().min().unwrap_or(0);
    let high = samples().max().unwrap_or(0);
    let fits = |low_limit: i32, high_limit: i32| low > low_limit && high <= high_limit;
    if fits(-32_768, 32_767) {
        Ok(Storage::Le16)
    } else if fits(-8_388_608, 8_388_607) {
        Ok(Storage::Le24)
    } else if fits(i32::MIN, i32::MAX) {
        Ok(Storage::Le32)
    } else {
        Err(facts.refuse(
            "sample",
            format!("{low} is the value that stands for absence"),
        ))
    }
}

/// The frames of all rows, and the sum of each.
fn signals(
    rows: &[Waveform],
    per_frame: &[usize],
    frames: u64,
    storage: Storage,
) -> (Vec<u8>, Vec<i16>) {
    let missing = storage.missing().unwrap_or(0);
    let width = storage.bytes_for(1).unwrap_or(4);
    let mut filled: Vec<Filled<'_>> = rows.iter().map(|row| Filled::new(row, missing)).collect();
    let mut out = Vec::new();
    for _ in 0..frames {
        for (row, many) in filled.iter_mut().zip(per_frame) {
            for _ in 0..*many {
                out.extend(row.next().to_le_bytes().iter().take(width));
            }
        }
    }
    (out, filled.into_iter().map(|row| row.sum).collect())
}

/// The samples of a row one after another, gaps filled with the value for absence.
struct Filled<'a> {
    row: &'a Waveform,
    missing: i32,
    at: u64,
    run: usize,
    sum: i16,
}

impl<'a> Filled<'a> {
    const fn new(row: &'a Waveform, missing: i32) -> Self {
        Self {
            row,
            missing,
            at: 0,
            run: 0,
            sum: 0,
        }
    }

    fn next(&mut self) -> i32 {
        while self
            .row
            .runs
            .get(self.run)
            .is_some_and(|run| self.at >= run.end().0)
        {
            self.run = self.run.saturating_add(1);
        }
        let inside = self.row.runs.get(self.run).and_then(|run| {
            let offset = self.at.checked_sub(run.first.0)?;
            run.samples.get(usize::try_from(offset).ok()?)
        });
        self.at = self.at.saturating_add(1);
        let sample = inside.unwrap_or(self.missing);
        let [low, high, ..] = sample.to_le_bytes();
        self.sum = self.sum.wrapping_add(i16::from_le_bytes([low, high]));
        sample
    }
}

fn header(
    recording: &Recording,
    name: &str,
    (frame, frames): (SamplingRate, u64),
    per_frame: &[usize],
    storage: Storage,
    sums: &[i16],
    facts: &mut Facts,
) -> Result<String, FormatError> {
    let rows = &recording.waveforms;
    let mut out = format!("{name} {} {} {frames}", rows.len(), frame.as_hz());
    let moment = Moment::of(recording);
    if let Some([hour, minute, second]) = moment.time {
        let point = if moment.fraction.is_empty() { "" } else { "." };
        let _ = write!(
            out,
            " {hour:02}:{minute:02}:{second:02}{point}{}",
            moment.fraction
        );
        if let Some([year, month, day]) = moment.date {
            let _ = write!(out, " {day:02}/{month:02}/{year:04}");
        }
    } else {
        facts.lose_text("start", recording.start.as_ref().map(|start| &start.local))?;
    }
    out.push_str("\r\n");
    let (code, bits) = match storage {
        Storage::Le24 => (24, 24),
        Storage::Le32 => (32, 32),
        _ => (16, 16),
    };
    for ((row, many), sum) in rows.iter().zip(per_frame).zip(sums) {
        let baseline = row.calibration.baseline_adu();
        if baseline.fract() != 0.0 || baseline.abs() > f64::from(i32::MAX) {
            let why = format!("zero of {} lies at count {baseline}", row.label);
            return Err(facts.refuse("calibration", why));
        }
        let unit = match row.calibration.unit() {
            PhysicalUnit::Dimensionless => "NU".to_owned(),
            unit => unit.ucum().replace(' ', "_"),
        };
        let gain = row.calibration.gain_adu_per_unit();
        let first = row.runs.first().filter(|run| run.first.0 == 0);
        let first = first.and_then(|run| run.samples.get(0)).unwrap_or(0);
        let many = if *many == 1 {
            String::new()
        } else {
            format!("x{many}")
        };
        let label = row.label.replace(['\r', '\n'], " ");
        let _ = write!(
            out,
            "{name}.dat {code}{many} {gain}({baseline})/{unit} {bits} 0 {first} {sum} 0 {label}\r\n"
        );
    }
    comments(recording, facts, &mut out)?;
    Ok(out)
}

fn comments(recording: &Recording, facts: &mut Facts, out: &mut String) -> Result<(), FormatError> {
    let patient = &recording.patient;
    facts.lose_text("patient", patient.id.as_ref())?;
    facts.lose_text("patient", patient.name.as_ref())?;
    facts.lose_text("birth date", patient.birth_date.as_ref())?;
    let mut comment = |text: &str| {
        let _ = write!(out, "# {}\r\n", text.replace(['\r', '\n'], " "));
    };
    let said: Vec<String> = recording
        .remarks
        .iter()
        .filter(|(key, _)| key == "comment")
        .map(|(_, text)| text.clone())
        .collect();
    for (key, value) in [("age", &patient.age), ("sex", &patient.sex)] {
        let known = super::comment_value(&said, key);
        if let Some(value) = value.as_ref().filter(|_| known.is_none()) {
            comment(&format!("<{key}>: {value}"));
        }
    }
    let device = &recording.device;
    for (key, value) in [
        ("maker", &device.maker),
        ("model", &device.model),
        ("serial", &device.serial),
        ("firmware", &device.firmware),
    ] {
        if let Some(value) = value {
            comment(&format!("{key}: {value}"));
        }
    }
    for (key, value) in &recording.remarks {
        if key == "comment" {
            comment(value);
        } else {
            comment(&format!("{key}: {value}"));
        }
    }
    Ok(())
}
