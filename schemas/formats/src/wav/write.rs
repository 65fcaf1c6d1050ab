//! A recording as sound: plain PCM of 8, 16, 24 or 32 bits.

use cardio_core::recording::Recording;

use crate::error::FormatError;
use crate::write::{Facts, Files};

/// One file of all rows as channels.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = facts.even_rows(recording)?;
    let Some(first) = recording.waveforms.first() else {
        return Ok(Vec::new());
    };
    let rate = facts.whole_hz(first)?;
    facts.lose_annotations(recording)?;
    facts.lose_remarks(recording)?;
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
    let bits = bits_of(recording, facts)?;
    for row in &recording.waveforms {
        let full = 2_f64.powi(i32::from(bits).saturating_sub(1));
        let zero = if bits == 8 { 128.0 } else { 0.0 };
        let calibration = &row.calibration;
        let same = calibration.gain_adu_per_unit() == full && calibration.baseline_adu() == zero;
        if !same || calibration.gain_adu_per_mv().is_some() {
            facts.lose("calibration", &format!("of {}", row.label))?;
        }
    }
    let channels = u16::try_from(rows.len())
        .map_err(|_| facts.refuse("channels", format!("{} of them", rows.len())))?;
    let width = bits / 8;
    let align = channels.saturating_mul(width);
    let samples = rows.first().map_or(0, |row| row.len());
    let too_long = || facts.refuse("samples", "more than 4 GiB".to_owned());
    let size = u32::try_from(samples)
        .ok()
        .and_then(|samples| samples.checked_mul(u32::from(align)))
        .filter(|size| *size < u32::MAX - 64)
        .ok_or_else(too_long)?;
    let mut out = Vec::new();
    out.extend(b"RIFF");
    out.extend((size + size % 2 + 36).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16_u32.to_le_bytes());
    out.extend(1_u16.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(rate.to_le_bytes());
    out.extend(rate.saturating_mul(u32::from(align)).to_le_bytes());
    out.extend(align.to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(b"data");
    out.extend(size.to_le_bytes());
    let width = usize::from(width);
    for at in 0..samples {
        for row in &rows {
            let sample = row.get(at).unwrap_or(0);
            out.extend(sample.to_le_bytes().iter().take(width));
        }
    }
    if size % 2 == 1 {
        out.push(0);
    }
    Ok(vec![(format!("{name}.wav"), out)])
}

/// The width that the calibration names, else the smallest that holds every sample.
fn bits_of(recording: &Recording, facts: &Facts) -> Result<u16, FormatError> {
    let samples = || {
        let runs = recording.waveforms.iter().flat_map(|row| &row.runs);
        runs.flat_map(|run| &run.samples)
    };
    let low = samples().min().unwrap_or(0);
    let high = samples().max().unwrap_or(0);
    let fits = |bits: u16| match bits {
        8 => low >= 0 && high <= 255,
        16 => low >= -32_768 && high <= 32_767,
        24 => low >= -8_388_608 && high <= 8_388_607,
        _ => true,
    };
    let first = recording.waveforms.first();
    let gain = first.map_or(0.0, |row| row.calibration.gain_adu_per_unit());
    let named = [8_u16, 16, 24, 32]
        .into_iter()
        .find(|bits| gain == 2_f64.powi(i32::from(*bits).saturating_sub(1)));
    [named, Some(16), Some(24), Some(32)]
        .into_iter()
        .flatten()
        .find(|bits| fits(*bits))
        .ok_or_else(|| facts.refuse("sample", "no width holds it".to_owned()))
}
