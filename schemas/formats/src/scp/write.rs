//! A recording as SCP-ECG: second differences, default Huffman table, no reference beat, no
//! bimodal compression, so that every sample comes back.

use cardio_core::recording::{Recording, Waveform};
use cardio_core::samples::SampleSlice;

use super::huffman::{DEFAULT, DEFAULT_TABLE};
use super::section::{HEADER_BYTES, RECORD_HEADER_BYTES, lead_id};
use crate::crc::ccitt;
use crate::error::FormatError;
use crate::fields::len64;
use crate::write::{Facts, Files, Moment, triple};

/// Version of sections and protocol, ten times (EN 1064:2005).
const VERSION: u8 = 20;
/// Sections 0 to 11 have a pointer each.
const SECTIONS: u16 = 12;
/// Bytes of a pointer.
const POINTER_BYTES: usize = 10;

/// One file.
pub(crate) fn files(
    recording: &Recording,
    name: &str,
    facts: &mut Facts,
) -> Result<Files, FormatError> {
    let rows = facts.even_rows(recording)?;
    facts.lose_annotations(recording)?;
    facts.lose_remarks(recording)?;
    let sections = [
        (1_u16, demographics(recording, facts)?),
        (2, DEFAULT_TABLE.to_le_bytes().to_vec()),
        (3, leads(recording, &rows, facts)?),
        (6, rhythm(recording, &rows, facts)?),
    ];
    let zero_bytes = HEADER_BYTES + POINTER_BYTES * usize::from(SECTIONS);
    let mut at = RECORD_HEADER_BYTES + zero_bytes;
    let mut pointers = Vec::new();
    let mut bodies = Vec::new();
    for id in 0..SECTIONS {
        let body = sections
            .iter()
            .find(|(own, _)| *own == id)
            .map(|(_, body)| body);
        let (length, start) = match (id, body) {
            (0, _) => (zero_bytes, RECORD_HEADER_BYTES),
            (_, Some(body)) => {
                let section = section(id, body, [0; 6]);
                let place = (section.len(), at);
                at = at.saturating_add(section.len());
                bodies.extend(section);
                place
            }
            (_, None) => (0, 0),
        };
        pointers.extend(id.to_le_bytes());
        pointers.extend(small(length).to_le_bytes());
        // The index counts from 1; a section that is absent has none.
        let index = if length == 0 {
            0
        } else {
            small(start).saturating_add(1)
        };
        pointers.extend(index.to_le_bytes());
    }
    let mut record = small(at).to_le_bytes().to_vec();
    record.extend(section(0, &pointers, *b"SCPECG"));
    record.extend(bodies);
    let mut out = ccitt(&record).to_le_bytes().to_vec();
    out.extend(record);
    Ok(vec![(format!("{name}.scp"), out)])
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A body with its header, of even length.
fn section(id: u16, body: &[u8], reserved: [u8; 6]) -> Vec<u8> {
    let length = HEADER_BYTES.saturating_add(body.len()).next_multiple_of(2);
    let mut checked = id.to_le_bytes().to_vec();
    checked.extend(small(length).to_le_bytes());
    checked.extend([VERSION, VERSION]);
    checked.extend(reserved);
    checked.extend(body);
    checked.resize(length.saturating_sub(2), 0);
    let mut out = ccitt(&checked).to_le_bytes().to_vec();
    out.extend(checked);
    out
}

/// Section 1. It must hold the patient's identification (an empty one where none is known), the
/// device, and the date and time of acquisition (EN 1064, 5.4.3.1).
fn demographics(recording: &Recording, facts: &mut Facts) -> Result<Vec<u8>, FormatError> {
    let patient = &recording.patient;
    let mut out = Vec::new();
    let name = patient.name.as_deref().unwrap_or_default();
    let (first, last) = name.rsplit_once(' ').unwrap_or(("", name));
    for (tag, value) in [
        (0, last),
        (1, first),
        (2, patient.id.as_deref().unwrap_or_default()),
    ] {
        if tag == 2 || !value.is_empty() {
            text(tag, value, facts, &mut out)?;
        }
    }
    facts.lose_text("age", patient.age.as_ref())?;
    if let Some(stated) = &patient.birth_date {
        match triple(stated, '-').and_then(day) {
            Some(value) => put(5, &value, &mut out),
            None => facts.lose("birth date", stated)?,
        }
    }
    match patient.sex.as_deref() {
        Some("M" | "m" | "Male" | "male" | "MALE") => put(8, &[1], &mut out),
        Some("F" | "f" | "Female" | "female" | "FEMALE") => put(8, &[2], &mut out),
        other => {
            facts.lose("sex", other.unwrap_or_default())?;
            put(8, &[0], &mut out);
        }
    }
    put(14, &device(recording, facts)?, &mut out);
    let moment = Moment::of(recording);
    facts.lose("fraction of a second", &moment.fraction)?;
    let (Some(date), Some(time)) = (moment.date.and_then(day), moment.time) else {
        let why = "a record needs the date and the time of acquisition".to_owned();
        return Err(facts.refuse("start", why));
    };
    put(25, &date, &mut out);
    let time = time.map(|part| u8::try_from(part).unwrap_or(0));
    put(26, &time, &mut out);
    let zone = recording
        .start
        .as_ref()
        .and_then(|start| start.utc_offset_minutes);
    if let Some(zone) = zone.and_then(|minutes| i16::try_from(minutes).ok()) {
        let mut value = zone.to_le_bytes().to_vec();
        value.extend([0, 0, 0]);
        put(34, &value, &mut out);
    }
    put(255, &[], &mut out);
    Ok(out)
}

fn put(tag: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    out.extend(value);
}

fn text(tag: u8, value: &str, facts: &mut Facts, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let fits = value.len() <= 60 && !value.contains('\0');
    if !fits {
        facts.lose("text", value)?;
    }
    let value = if fits { value } else { "" };
    let mut bytes = value.as_bytes().to_vec();
    bytes.push(0);
    put(tag, &bytes, out);
    Ok(())
}

fn day([year, month, day]: [u16; 3]) -> Option<[u8; 4]> {
    let [low, high] = year.to_le_bytes();
    Some([
        low,
        high,
        u8::try_from(month).ok()?,
        u8::try_from(day).ok()?,
    ])
}

/// Tag 14, the machine: a cart that only acquires, then five texts.
fn device(recording: &Recording, facts: &mut Facts) -> Result<Vec<u8>, FormatError> {
    let device = &recording.device;
    let mut out = vec![0; 8];
    let model = device.model.as_deref().unwrap_or_default();
    let fits = model.len() <= 5 && model.is_ascii();
    if !fits {
        facts.lose("model", model)?;
    }
    out.extend(model.bytes().filter(|_| fits));
    out.resize(14, 0);
    // Protocol version, compatibility I, UTF-8 texts, acquisition only, mains not stated.
    out.extend([VERSION, 0xA0, 0x00, 0x80, 0]);
    out.resize(35, 0);
    // No analysing program.
    out.extend([1, 0]);
    for value in [
        &device.serial,
        &device.firmware,
        &None,
        &device.maker,
        &None,
    ] {
        let value = value.as_deref().unwrap_or_default();
        out.extend(value.bytes().filter(|byte| *byte != 0));
        out.push(0);
    }
    Ok(out)
}

/// Section 3: all leads at once.
fn leads(
    recording: &Recording,
    rows: &[SampleSlice<'_>],
    facts: &mut Facts,
) -> Result<Vec<u8>, FormatError> {
    let count = u8::try_from(rows.len())
        .map_err(|_| facts.refuse("leads", format!("{} of them, at most 255", rows.len())))?;
    let mut out = vec![count, 0x04 | (count.min(31) << 3)];
    for (row, samples) in recording.waveforms.iter().zip(rows) {
        let end = u32::try_from(samples.len())
            .map_err(|_| facts.refuse("samples", "more than 2^32".to_owned()))?;
        out.extend(1_u32.to_le_bytes());
        out.extend(end.to_le_bytes());
        let id = lead_id(&row.label)
            .ok_or_else(|| facts.refuse("label", format!("{:?} has no code", row.label)))?;
        out.push(id);
    }
    Ok(out)
}

/// Section 6: second differences of every lead in the default code.
fn rhythm(
    recording: &Recording,
    rows: &[SampleSlice<'_>],
    facts: &mut Facts,
) -> Result<Vec<u8>, FormatError> {
    let Some(first) = recording.waveforms.first() else {
        return Ok(Vec::new());
    };
    let nanovolts = facts.nanovolts(first, u32::from(u16::MAX))?;
    for row in &recording.waveforms {
        if facts.nanovolts(row, u32::from(u16::MAX))? != nanovolts {
            let why = format!("{} has another gain than {}", row.label, first.label);
            return Err(facts.refuse("calibration", why));
        }
    }
    let (samples, seconds) = first.rate.as_ratio();
    let micros = u64::from(seconds) * 1_000_000;
    let interval = u16::try_from(micros / u64::from(samples))
        .ok()
        .filter(|_| micros % u64::from(samples) == 0)
        .ok_or_else(|| {
            let why = format!(
                "{} is no whole number of microseconds up to 65535",
                first.rate
            );
            facts.refuse("sampling rate", why)
        })?;
    let mut out = u16::try_from(nanovolts).unwrap_or(0).to_le_bytes().to_vec();
    out.extend(interval.to_le_bytes());
    out.extend([2, 0]);
    let coded = recording
        .waveforms
        .iter()
        .zip(rows)
        .map(|(row, samples)| lead(row, *samples, facts))
        .collect::<Result<Vec<_>, _>>()?;
    for bytes in &coded {
        out.extend(u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
    }
    coded.iter().for_each(|bytes| out.extend(bytes));
    Ok(out)
}

/// The bits of one lead.
fn lead(row: &Waveform, samples: SampleSlice<'_>, facts: &Facts) -> Result<Vec<u8>, FormatError> {
    let mut bits = BitWriter::default();
    let (mut before, mut last) = (0_i32, 0_i32);
    for (position, sample) in samples.iter().enumerate() {
        let sample = i32::from(facts.narrow(row, sample)?);
        let number = match position {
            0 | 1 => sample,
            _ => sample - 2 * last + before,
        };
        let number = i16::try_from(number).map_err(|_| {
            let why = format!("{} jumps at sample {position} beyond the code", row.label);
            facts.refuse("sample", why)
        })?;
        bits.put(number);
        (before, last) = (last, sample);
    }
    let bytes = bits.finish();
    if len64(bytes.len()) > u64::from(u16::MAX) {
        let why = format!(
            "{} takes {} bytes, a lead holds 65535",
            row.label,
            bytes.len()
        );
        return Err(facts.refuse("samples", why));
    }
    Ok(bytes)
}

/// Bits, the highest of each byte first.
#[derive(Debug, Default)]
struct BitWriter {
    bytes: Vec<u8>,
    held: u64,
    bits: u32,
}

impl BitWriter {
    /// One number in the default code: the short code of its value, or an escape.
    fn put(&mut self, number: i16) {
        let exact = DEFAULT
            .iter()
            .find(|code| code.total_bits == code.prefix_bits && code.value == number);
        let wide = if i8::try_from(number).is_ok() { 18 } else { 26 };
        let escape = DEFAULT.iter().find(|code| code.total_bits == wide);
        let Some(code) = exact.or(escape) else {
            return;
        };
        let prefix = u64::from(code.prefix.reverse_bits() >> (32 - u32::from(code.prefix_bits)));
        self.push(prefix, u32::from(code.prefix_bits));
        let extra = u32::from(code.total_bits.saturating_sub(code.prefix_bits));
        if extra > 0 {
            let [low, high] = number.to_le_bytes();
            let value = if extra == 8 {
                u16::from(low)
            } else {
                u16::from_le_bytes([low, high])
            };
            self.push(u64::from(value), extra);
        }
    }

    fn push(&mut self, value: u64, bits: u32) {
        self.held = (self.held << bits) | value;
        self.bits += bits;
        while self.bits >= 8 {
            self.bits -= 8;
            let [byte, ..] = (self.held >> self.bits).to_le_bytes();
            self.bytes.push(byte);
        }
    }

    /// Bytes of an even number. At least one bit is left over: a reader in use takes the last code
    /// of a lead that fills its bytes exactly for missing.
    fn finish(mut self) -> Vec<u8> {
        self.push(0, 8 - self.bits);
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        self.bytes
    }
}
