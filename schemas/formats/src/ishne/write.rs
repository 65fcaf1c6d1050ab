//! A recording as an ISHNE Holter file, with an annotation file when there are marks.

use cardio_core::recording::Recording;
use cardio_core::samples::SampleSlice;

use super::header::{CHECKED_FROM, FIXED_BYTES, LEADS_MAX, MAGIC, MARKS_MAGIC, lead_code};
use crate::crc;
use crate::error::FormatError;
use crate::write::{Facts, Files, Moment, triple};

/// The code of a lead that has none of its own (table 2 of the paper: generic bipolar).
const BIPOLAR: i16 = 1;

/// The data file, and the marks.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = facts.even_rows(recording)?;
    let head = head(recording, &rows, facts)?;
    let mut out = Vec::from(*MAGIC);
    let checked = crc::ccitt(&head);
    out.extend(checked.to_le_bytes());
    out.extend(&head);
    let samples = rows.first().map_or(0, |row| row.len());
    for at in 0..samples {
        for (row, waveform) in rows.iter().zip(&recording.waveforms) {
            let sample = facts.narrow(waveform, row.get(at).unwrap_or(0))?;
            out.extend(sample.to_le_bytes());
        }
    }
    let mut files = vec![(format!("{name}.ecg"), out)];
    if !recording.annotations.is_empty() {
        let mut out = Vec::from(*MARKS_MAGIC);
        out.extend(checked.to_le_bytes());
        out.extend(&head);
        marks(recording, facts, &mut out)?;
        files.push((format!("{name}.ann"), out));
    }
    Ok(files)
}

/// The fixed header behind the checksum.
fn head(
    recording: &Recording,
    rows: &[SampleSlice<'_>],
    facts: &mut Facts,
) -> Result<Vec<u8>, FormatError> {
    let leads = recording.waveforms.len();
    if leads > LEADS_MAX {
        return Err(facts.refuse("leads", format!("{leads} of them, at most 12")));
    }
    let samples = rows.first().map_or(0, |row| row.len());
    let samples = i32::try_from(samples)
        .map_err(|_| facts.refuse("samples", "more than 2^31 per lead".to_owned()))?;
    let fixed = i32::try_from(FIXED_BYTES).unwrap_or(i32::MAX);
    let mut out = Vec::new();
    for number in [0, samples, fixed, fixed] {
        out.extend(number.to_le_bytes());
    }
    out.extend(1_i16.to_le_bytes());
    identity(recording, facts, &mut out)?;
    out.extend(i16::try_from(leads).unwrap_or(0).to_le_bytes());
    let mut codes = [0_i16; LEADS_MAX];
    let mut steps = [0_i16; LEADS_MAX];
    let slots = codes.iter_mut().zip(&mut steps);
    for ((code, step), row) in slots.zip(&recording.waveforms) {
        *code = match lead_code(&row.label) {
            Some(code) => code,
            None => {
                facts.lose("label", &row.label)?;
                BIPOLAR
            }
        };
        let nanovolts = facts.nanovolts(row, u32::from(i16::MAX.unsigned_abs()))?;
        *step = i16::try_from(nanovolts).unwrap_or(0);
    }
    for number in codes.into_iter().chain([0; LEADS_MAX]).chain(steps) {
        out.extend(number.to_le_bytes());
    }
    out.extend(0_i16.to_le_bytes());
    padded(
        recording.device.model.as_deref(),
        40,
        "device",
        facts,
        &mut out,
    )?;
    let hz = match recording.waveforms.first() {
        Some(row) => facts.whole_hz(row)?,
        None => 0,
    };
    let hz = i16::try_from(hz)
        .map_err(|_| facts.refuse("sampling rate", format!("{hz} Hz, at most 32767")))?;
    out.extend(hz.to_le_bytes());
    facts.lose_text("maker", recording.device.maker.as_ref())?;
    facts.lose_text("serial number", recording.device.serial.as_ref())?;
    facts.lose_text("firmware", recording.device.firmware.as_ref())?;
    let mut remarks = recording.remarks.clone();
    for key in ["proprietary", "copyright"] {
        let found = remarks.iter().position(|(name, _)| name == key);
        let text = found.map(|at| remarks.remove(at).1);
        padded(text.as_deref(), 80, "remark", facts, &mut out)?;
    }
    for (key, text) in &remarks {
        facts.lose("remark", &format!("{key}: {text}"))?;
    }
    out.resize(FIXED_BYTES - CHECKED_FROM, 0);
    Ok(out)
}

/// Names, identification, sex, dates and time.
fn identity(
    recording: &Recording,
    facts: &mut Facts,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let patient = &recording.patient;
    let name = patient.name.as_deref().unwrap_or_default();
    let (first, last) = name.rsplit_once(' ').unwrap_or(("", name));
    padded(Some(first), 40, "patient", facts, out)?;
    padded(Some(last), 40, "patient", facts, out)?;
    padded(patient.id.as_deref(), 20, "patient", facts, out)?;
    let sex = match patient.sex.as_deref() {
        None => 0_i16,
        Some("M" | "m" | "Male" | "male" | "MALE") => 1,
        Some("F" | "f" | "Female" | "female" | "FEMALE") => 2,
        Some(other) => {
            facts.lose("sex", other)?;
            0
        }
    };
    out.extend(sex.to_le_bytes());
    out.extend(0_i16.to_le_bytes());
    facts.lose_text("age", patient.age.as_ref())?;
    let birth = patient.birth_date.as_deref();
    let born = birth.and_then(|date| triple(date, '-'));
    if born.is_none() {
        facts.lose("birth date", birth.unwrap_or_default())?;
    }
    let moment = Moment::of(recording);
    facts.lose("fraction of a second", &moment.fraction)?;
    if moment == Moment::default() {
        let start = recording.start.as_ref().map(|start| &start.local);
        facts.lose_text("start", start)?;
    }
    let zone = recording
        .start
        .as_ref()
        .and_then(|start| start.utc_offset_minutes);
    if let Some(minutes) = zone {
        facts.lose("offset from UTC", &format!("{minutes} min"))?;
    }
    let absent = || [-9_i16; 3];
    let signed = |parts: [u16; 3]| parts.map(|part| i16::try_from(part).unwrap_or(-9));
    let date = |parts: Option<[u16; 3]>| {
        parts.map_or_else(absent, |parts| {
            let [year, month, day] = signed(parts);
            [day, month, year]
        })
    };
    let time = moment.time.map_or_else(absent, signed);
    for numbers in [date(born), date(moment.date), absent(), time] {
        for number in numbers {
            out.extend(number.to_le_bytes());
        }
    }
    Ok(())
}

/// A text field with a terminating zero; what does not fit is refused as a lost fact.
fn padded(
    text: Option<&str>,
    length: usize,
    field: &'static str,
    facts: &mut Facts,
    out: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let bytes = text.unwrap_or_default().as_bytes();
    let fits = if bytes.len() < length {
        bytes
    } else {
        facts.lose(field, text.unwrap_or_default())?;
        &[]
    };
    let end = out.len().saturating_add(length);
    out.extend(fits);
    out.resize(end, 0);
    Ok(())
}

/// Marks as class, inner letter and samples since the mark before.
fn marks(recording: &Recording, facts: &mut Facts, out: &mut Vec<u8>) -> Result<(), FormatError> {
    out.extend(0_i32.to_le_bytes());
    let mut last = 0_u64;
    for mark in &recording.annotations {
        let since = mark.at.0.saturating_sub(last);
        let since = u16::try_from(since).map_err(|_| {
            let why = format!("{since} samples lie before the mark at {}", mark.at.0);
            facts.refuse("annotations", why)
        })?;
        last = mark.at.0;
        let class = match mark.code.as_bytes() {
            [class] => *class,
            _ => {
                facts.lose("annotation", &mark.code)?;
                b'U'
            }
        };
        let inner = match mark.text.as_deref().map(str::as_bytes) {
            None => 0,
            Some([inner]) => *inner,
            Some(_) => {
                facts.lose_text("annotation", mark.text.as_ref())?;
                0
            }
        };
        if (mark.subtype, mark.channel, mark.number) != (0, 0, 0) {
            facts.lose("annotation", "subtype, channel or number")?;
        }
        out.extend([class, inner]);
        out.extend(since.to_le_bytes());
    }
    Ok(())
}
