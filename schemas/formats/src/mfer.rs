//! MFER, Medical waveform Format Encoding Rules (ISO 22077-1).
//!
//! Facts: the public MONK library. Deliberately absent: nested groups other than channel
//! attributes, compressed waveforms, events.

use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, StatedStart, Waveform};

use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::label::{calibration, kind_of};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::text::lossless;
use crate::warnings::Warnings;

/// The longest file that is read.
const FILE_LIMIT: u64 = 1 << 30;
/// What begins a file: the preamble's tag, its length and its text.
pub const MAGIC: &[u8; 6] = b"@ MFR ";
/// The most channels that are read.
const CHANNELS_MAX: u64 = 1024;

/// Facts of one channel; defaults as ISO 22077-1 states them.
#[derive(Clone, Debug)]
struct Channel {
    code: u16,
    kind: u64,
    block: u64,
    interval: Scaled,
    resolution: Scaled,
    null: Option<[u8; 2]>,
}

impl Channel {
    const fn is_unsigned(&self) -> bool {
        matches!(self.kind, 1 | 3 | 4 | 6)
    }

    /// What stands for "absent", as a sample of 16 bits.
    fn missing(&self) -> Option<i32> {
        self.null.map(|null| {
            if self.is_unsigned() {
                i32::from(u16::from_le_bytes(null))
            } else {
                i32::from(i16::from_le_bytes(null))
            }
        })
    }
}

/// A unit, an exponent of ten and a mantissa.
#[derive(Clone, Copy, Debug)]
struct Scaled {
    unit: u8,
    exponent: i8,
    mantissa: u64,
}

impl Scaled {
    fn value(self) -> f64 {
        let whole = u32::try_from(self.mantissa).unwrap_or(u32::MAX);
        f64::from(whole) * 10_f64.powi(i32::from(self.exponent))
    }

    /// Samples per second: unit 0 is a frequency, 1 an interval in seconds.
    fn rate(self) -> Option<SamplingRate> {
        let hz = match self.unit {
            0 => self.value(),
            1 => (1e6 / self.value()).round() / 1e6,
            _ => return None,
        };
        SamplingRate::from_hz(hz).ok()
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            code: 0,
            kind: 0,
            block: 1,
            interval: Scaled {
                unit: 0,
                exponent: 0,
                mantissa: 1000,
            },
            resolution: Scaled {
                unit: 0,
                exponent: -6,
                mantissa: 1,
            },
            null: None,
        }
    }
}

/// What the tags before the samples say.
#[derive(Default)]
struct State {
    little: bool,
    wide_text: bool,
    sequences: u64,
    all: Channel,
    channels: Vec<Channel>,
}

/// Opens a file; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Mfer, FILE_LIMIT)?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let recording = decode(&bytes, stem, options)?;
    Ok(Box::new(Whole::new(FormatId::Mfer, recording)))
}

/// Reads a file.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::Mfer, options.strict);
    let mut recording = Recording {
        format: FormatId::Mfer.name(),
        name: name.to_owned(),
        ..Recording::default()
    };
    let mut state = State {
        sequences: 1,
        ..State::default()
    };
    let mut fields = Fields::new(FormatId::Mfer, bytes, 0);
    let mut found = false;
    while !fields.rest().is_empty() {
        let at = fields.offset();
        let tag = fields.u8("tag")?;
        if tag == 0x00 {
            continue;
        }
        if tag == 0x80 {
            break;
        }
        let channel = if tag == 0x3F {
            Some(u64::from(fields.u8("channel")?))
        } else {
            None
        };
        let length = length(&mut fields)?;
        if tag == 0x1E {
            let have = fields.rest().len();
            let body = fields.take("waveform", length.min(have))?;
            if body.len() < length {
                let why = format!("{length} byte(s) stated, {have} remain");
                warnings.tell("waveform", at, why)?;
            }
            if found {
                let why = "a second waveform is left out".to_owned();
                warnings.tell("waveform", at, why)?;
                continue;
            }
            found = true;
            rows(&state, body, at, &mut recording, &mut warnings)?;
            continue;
        }
        let value = fields.take("value", length)?;
        match channel {
            Some(channel) => attributes(&mut state, channel, value, at)?,
            None => root(&mut state, tag, value, at, &mut recording)?,
        }
    }
    if !found {
        return Err(invalid("waveform", len64(bytes.len()), "absent", "samples"));
    }
    recording.warnings = warnings.take();
    Ok(recording)
}

/// A length of one byte, or of as many bytes as the low bits of the first say, high first.
fn length(fields: &mut Fields<'_>) -> Result<usize, FormatError> {
    let first = fields.u8("length")?;
    if first < 0x80 {
        return Ok(usize::from(first));
    }
    let at = fields.offset();
    let count = usize::from(first & 0x7F);
    if count == 0 || count > 4 {
        return Err(invalid(
            "length",
            at,
            &format!("of {count} bytes"),
            "1 to 4 bytes",
        ));
    }
    let bytes = fields.take("length", count)?;
    let value = bytes
        .iter()
        .fold(0_u32, |value, byte| (value << 8) | u32::from(*byte));
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

/// A number of up to eight bytes in the file's order.
fn number(little: bool, bytes: &[u8]) -> u64 {
    let add = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    let bytes = bytes.get(..bytes.len().min(8)).unwrap_or_default();
    if little {
        bytes.iter().rev().fold(0, add)
    } else {
        bytes.iter().fold(0, add)
    }
}

fn scaled(little: bool, bytes: &[u8]) -> Option<Scaled> {
    let (unit, rest) = bytes.split_first()?;
    let (exponent, mantissa) = rest.split_first()?;
    Some(Scaled {
        unit: *unit,
        exponent: i8::from_le_bytes([*exponent]),
        mantissa: number(little, mantissa),
    })
}

/// A tag that holds for the whole file.
fn root(
    state: &mut State,
    tag: u8,
    value: &[u8],
    at: u64,
    recording: &mut Recording,
) -> Result<(), FormatError> {
    let text = || {
        let text = if state.wide_text {
            let (pairs, _) = value.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
            char::decode_utf16(units).map_while(Result::ok).collect()
        } else {
            lossless(value)
        };
        let text = text.trim_matches(['\0', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    };
    match tag {
        0x01 => state.little = value.first() == Some(&1),
        0x03 => state.wide_text = value.starts_with(b"UTF-16"),
        0x05 => {
            let count = number(state.little, value);
            if count > CHANNELS_MAX {
                return Err(invalid(
                    "number of channels",
                    at,
                    &count.to_string(),
                    "at most 1024",
                ));
            }
            let count = usize::try_from(count).unwrap_or(0);
            state.channels = vec![state.all.clone(); count];
        }
        0x06 => state.sequences = number(state.little, value),
        0x17 => {
            let text = text().unwrap_or_default();
            let mut parts = text.split('^').map(str::trim);
            recording.device.maker = parts.next().map(str::to_owned);
            recording.device.model = parts.next().map(str::to_owned);
            recording.device.firmware = parts.next().map(str::to_owned);
        }
        0x81 => recording.patient.name = text(),
        0x82 => recording.patient.id = text(),
        0x84 => {
            recording.patient.sex = match value.first() {
                Some(1) => Some("M".to_owned()),
                Some(2) => Some("F".to_owned()),
                _ => None,
            }
        }
        0x85 => recording.start = start(state.little, value),
        0x40 | 0x08 | 0x83 => {}
        _ if is_channel_tag(tag) => {
            let little = state.little;
            attribute(&mut state.all, little, tag, value);
            for channel in &mut state.channels {
                attribute(channel, little, tag, value);
            }
        }
        _ => recording
            .remarks
            .extend(text().map(|text| (format!("tag {tag}"), text))),
    }
    Ok(())
}

const fn is_channel_tag(tag: u8) -> bool {
    matches!(tag, 0x04 | 0x09 | 0x0A | 0x0B | 0x0C | 0x12)
}

/// Year, month, day, hour, minute, second, milliseconds, microseconds.
fn start(little: bool, value: &[u8]) -> Option<StatedStart> {
    let [a, b, month, day, hour, minute, second, rest @ ..] = value else {
        return None;
    };
    let year = number(little, &[*a, *b]);
    let millis = number(little, rest.get(..2).unwrap_or_default());
    let fraction = if millis > 0 && millis < 1000 {
        format!(".{millis:03}")
    } else {
        String::new()
    };
    Some(StatedStart {
        local: format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}"),
        utc_offset_minutes: None,
    })
}

/// The attributes of one channel, tags of their own.
fn attributes(state: &mut State, channel: u64, value: &[u8], at: u64) -> Result<(), FormatError> {
    let little = state.little;
    let position = usize::try_from(channel).unwrap_or(usize::MAX);
    let count = state.channels.len();
    let Some(channel) = state.channels.get_mut(position) else {
        let found = format!("{channel} of {count}");
        return Err(invalid(
            "channel",
            at,
            &found,
            "below the number of channels",
        ));
    };
    let mut fields = Fields::new(FormatId::Mfer, value, at);
    while !fields.rest().is_empty() {
        let tag = fields.u8("tag")?;
        let length = length(&mut fields)?;
        let value = fields.take("value", length)?;
        attribute(channel, little, tag, value);
    }
    Ok(())
}

fn attribute(channel: &mut Channel, little: bool, tag: u8, value: &[u8]) {
    match tag {
        0x04 => channel.block = number(little, value),
        0x09 => {
            let code = number(little, value.get(..2).unwrap_or(value));
            channel.code = u16::try_from(code).unwrap_or(0);
        }
        0x0A => channel.kind = number(little, value),
        0x0B => channel.interval = scaled(little, value).unwrap_or(channel.interval),
        0x0C => channel.resolution = scaled(little, value).unwrap_or(channel.resolution),
        0x12 => {
            let raw = number(little, value);
            let [a, b, ..] = raw.to_le_bytes();
            channel.null = match value.len() {
                2 => Some([a, b]),
                _ => None,
            };
        }
        _ => {}
    }
}

/// The name of a waveform by its code; leads are numbered as in SCP-ECG.
fn label(code: u16) -> String {
    let lead = u8::try_from(code).map(crate::scp::section::lead_name);
    lead.ok()
        .filter(|name| !name.starts_with("lead "))
        .unwrap_or_else(|| format!("MFER waveform {code:#06x}"))
}

/// UCUM-like spelling of a unit.
const fn unit_name(unit: u8) -> &'static str {
    match unit {
        0 => "V",
        1 => "mmHg",
        2 => "Pa",
        3 => "cmH2O",
        4 => "mmHg/s",
        7 => "%",
        8 => "Cel",
        9 => "/min",
        10 => "/s",
        11 => "Ohm",
        12 => "A",
        _ => "",
    }
}

/// Adds a row per channel: sequences of blocks, one block per channel in each.
fn rows(
    state: &State,
    body: &[u8],
    at: u64,
    recording: &mut Recording,
    warnings: &mut Warnings,
) -> Result<(), FormatError> {
    for channel in &state.channels {
        let rate = channel.interval.rate().ok_or_else(|| {
            invalid(
                "sampling",
                at,
                &format!("{:?}", channel.interval),
                "a rate above zero",
            )
        })?;
        let step = channel.resolution.value();
        let unit = unit_name(channel.resolution.unit);
        let calibration = calibration(1.0 / step, 0.0, unit)
            .map_err(|_| invalid("resolution", at, &step.to_string(), "above zero"))?;
        let label = label(channel.code);
        recording.waveforms.push(Waveform {
            kind: kind_of(&label, calibration.unit()),
            label,
            rate,
            calibration,
            runs: Vec::new(),
        });
    }
    let mut rows = Rows::new(state.channels.len());
    let mut rest = body;
    'all: for sequence in 0..state.sequences {
        let before = rest.len();
        for (position, channel) in state.channels.iter().enumerate() {
            let width = width(channel.kind, at)?;
            let block = usize::try_from(channel.block).unwrap_or(usize::MAX);
            let bytes = block.saturating_mul(width);
            let (mine, after) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
            rest = after;
            let unsigned = channel.is_unsigned();
            let samples: Vec<i32> = mine
                .chunks_exact(width)
                .map(|sample| value(sample, unsigned, state.little))
                .collect();
            let short = samples.len() < block;
            if let Some(row) = rows.row(position) {
                row.push_with_missing(&samples, channel.missing());
            }
            if short {
                let why = format!(
                    "the samples end in sequence {sequence} of {}",
                    state.sequences
                );
                warnings.tell("waveform", at, why)?;
                break 'all;
            }
        }
        if rest.len() == before {
            break;
        }
    }
    for (waveform, runs) in recording.waveforms.iter_mut().zip(rows.take()) {
        waveform.runs = runs;
    }
    Ok(())
}

/// Bytes of a sample by its type.
fn width(kind: u64, at: u64) -> Result<usize, FormatError> {
    match kind {
        0 | 1 | 4 => Ok(2),
        2 | 6 => Ok(4),
        3 | 5 => Ok(1),
        _ => Err(FormatError::Unsupported {
            format: FormatId::Mfer,
            field: "data type",
            offset: at,
            found: kind.to_string(),
        }),
    }
}

fn value(bytes: &[u8], unsigned: bool, little: bool) -> i32 {
    let raw = number(little, bytes);
    let [a, b, c, d, ..] = raw.to_le_bytes();
    match (bytes.len(), unsigned) {
        (1, true) => i32::from(a),
        (1, false) => i32::from(i8::from_le_bytes([a])),
        (2, true) => i32::from(u16::from_le_bytes([a, b])),
        (2, false) => i32::from(i16::from_le_bytes([a, b])),
        _ => i32::from_le_bytes([a, b, c, d]),
    }
}

fn invalid(field: &'static str, offset: u64, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Mfer,
        field,
        offset,
        found: found.to_owned(),
        want,
    }
}
