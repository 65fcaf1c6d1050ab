//! Recordings of a HealthyPi Move: a header of 30 bytes, and samples side by side.
//!
//! ```text
//! 0   u32 id, i64 start (UTC seconds), u8 signal, u8 form, u8 channels, u8 flags
//! 16  u16 rate, u32 samples per channel, u32 bytes, u32 CRC-32 of the bytes
//! 30  samples
//! ```
//! As they lie in the watch's own storage. A count has no unit: the gain is a setting of the
//! firmware that it does not tell. Deliberately absent: intervals between beats, which are no
//! waveform, and compressed recordings.
//!
//! Source: `Protocentral/healthypi-move-fw`, `hpi_hs_types.h`.

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run};
use cardio_core::units::PhysicalUnit;

use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;

/// The longest file that is read.
const FILE_LIMIT: u64 = 64 << 20;
/// Bytes before the samples.
pub const HEADER_BYTES: usize = 30;
/// The most channels of one recording.
const CHANNELS_MAX: u8 = 16;

const SIGNAL_ECG: u8 = 1;
const SIGNAL_RR: u8 = 5;
const SIGNAL_ACCELERATION: u8 = 6;
const FLAG_PARTIAL: u8 = 1 << 1;
const FLAG_COMPRESSED: u8 = 1 << 2;

/// Whether a file that is called so may begin like this.
pub(crate) fn begins_like_one(head: &[u8], name: &std::path::Path) -> bool {
    let named = name.extension().is_some_and(|known| known == "hpi");
    let known = |at: usize, values: std::ops::RangeInclusive<u8>| {
        head.get(at).is_some_and(|value| values.contains(value))
    };
    named && head.len() >= HEADER_BYTES && known(12, 1..=6) && known(13, 0..=2)
}

/// Opens a recording; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::HealthyPi, FILE_LIMIT)?;
    let recording = decode(&bytes, name, options)?;
    Ok(Box::new(Whole::new(FormatId::HealthyPi, recording)))
}

struct Header {
    start_s: i64,
    signal: u8,
    form: u8,
    channels: u8,
    flags: u8,
    rate_hz: u16,
    crc: u32,
}

/// Reads a recording.
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::HealthyPi, options.strict);
    let mut fields = Fields::new(FormatId::HealthyPi, bytes, 0);
    let header = header(&mut fields)?;
    let payload = fields.rest();
    let found = crc32(payload);
    if found != header.crc {
        let why = format!(
            "the bytes have {found:08x}, the header states {:08x}",
            header.crc
        );
        warnings.tell("CRC-32", 26, why)?;
    }
    let mut recording = super::empty(FormatId::HealthyPi, name);
    recording.start = header
        .start_s
        .checked_mul(1_000_000)
        .and_then(super::stated_utc);
    if header.flags & FLAG_PARTIAL != 0 {
        let told = ("cut off".to_owned(), "by the sensor, at its end".to_owned());
        recording.remarks.push(told);
    }
    recording.waveforms = rows(&header, payload, &mut warnings)?;
    recording.warnings = warnings.take();
    Ok(recording)
}

fn header(fields: &mut Fields<'_>) -> Result<Header, FormatError> {
    fields.u32("id")?;
    let (low, high) = (fields.u32("start")?, fields.i32("start")?);
    let header = Header {
        start_s: i64::from(high) << 32 | i64::from(low),
        signal: fields.u8("signal")?,
        form: fields.u8("form")?,
        channels: fields.u8("channels")?,
        flags: fields.u8("flags")?,
        rate_hz: fields.u16("rate")?,
        crc: {
            fields.u32("samples")?;
            fields.u32("bytes")?;
            fields.u32("CRC-32")?
        },
    };
    if header.flags & FLAG_COMPRESSED != 0 {
        return Err(unsupported("flags", 15, "compressed samples"));
    }
    if header.signal == SIGNAL_RR {
        return Err(unsupported("signal", 12, "intervals between beats"));
    }
    Ok(header)
}

fn rows(
    header: &Header,
    payload: &[u8],
    warnings: &mut Warnings,
) -> Result<Vec<cardio_core::recording::Waveform>, FormatError> {
    let rate = SamplingRate::hz(u32::from(header.rate_hz))
        .map_err(|_| invalid("rate", 16, header.rate_hz.into(), "a rate above zero"))?;
    if !(1..=CHANNELS_MAX).contains(&header.channels) {
        return Err(invalid("channels", 14, header.channels.into(), "1 to 16"));
    }
    let width = match header.form {
        0 => 4,
        1 | 2 => 2,
        other => return Err(invalid("form", 13, other.into(), "0, 1 or 2")),
    };
    let channels = usize::from(header.channels);
    let frame = width * channels;
    let left_over = payload.len() % frame;
    if left_over > 0 {
        let why = format!("{left_over} byte(s) at the end are no samples of all channels");
        warnings.tell("samples", len64(HEADER_BYTES), why)?;
    }
    let mut rows = Rows::new(channels);
    for (at, bytes) in payload
        .chunks_exact(frame)
        .flat_map(|frame| frame.chunks_exact(width).enumerate())
    {
        if let Some(row) = rows.row(at) {
            row.push(&[count(header.form, bytes)]);
        }
    }
    let calibration =
        Calibration::new(1.0, 0.0, PhysicalUnit::Dimensionless).expect("invariant: one is a gain");
    let runs: Vec<Vec<Run>> = rows.take();
    Ok(runs
        .into_iter()
        .enumerate()
        .map(|(at, runs)| cardio_core::recording::Waveform {
            runs,
            ..super::row(kind(header.signal, at), rate, calibration.clone())
        })
        .collect())
}

fn count(form: u8, bytes: &[u8]) -> i32 {
    match (form, bytes) {
        (0, [a, b, c, d]) => i32::from_le_bytes([*a, *b, *c, *d]),
        (1, [a, b]) => i16::from_le_bytes([*a, *b]).into(),
        (_, [a, b]) => u16::from_le_bytes([*a, *b]).into(),
        _ => 0,
    }
}

fn kind(signal: u8, channel: usize) -> WaveformKind {
    let numbered = |name: &str| match channel {
        0 => name.to_owned(),
        more => format!("{name} {}", more + 1),
    };
    match signal {
        SIGNAL_ECG => WaveformKind::EcgOther(numbered("wrist")),
        2 => WaveformKind::Other(numbered("BioZ")),
        3 => WaveformKind::Other(numbered("PPG wrist")),
        4 => WaveformKind::Other(numbered("PPG finger")),
        SIGNAL_ACCELERATION => WaveformKind::Other(numbered("acceleration")),
        other => WaveformKind::Other(numbered(&format!("signal {other}"))),
    }
}

/// CRC-32 (IEEE 802.3).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0xEDB8_8320,
        })
    })
}

fn invalid(field: &'static str, offset: u64, found: u32, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::HealthyPi,
        field,
        offset,
        found: found.to_string(),
        want,
    }
}

fn unsupported(field: &'static str, offset: u64, found: &str) -> FormatError {
    FormatError::Unsupported {
        format: FormatId::HealthyPi,
        field,
        offset,
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{crc32, decode};
    use crate::ReadOptions;
    use cardio_core::acquisition::WaveformKind;
    use proptest::prelude::*;

    fn file(signal: u8, form: u8, channels: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = 7_u32.to_le_bytes().to_vec();
        bytes.extend(1_767_225_600_i64.to_le_bytes());
        bytes.extend([signal, form, channels, flags]);
        bytes.extend(128_u16.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(crc32(payload).to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn channels_lie_side_by_side_in_each_form() {
        let read = |form, channels, payload: &[u8]| {
            let recording = decode(
                &file(1, form, channels, 1, payload),
                "r",
                ReadOptions::default(),
            );
            let rows = recording.unwrap().waveforms;
            rows.iter()
                .map(|row| row.runs[0].samples.as_slice().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read(0, 1, &[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
            [vec![1, -1]]
        );
        assert_eq!(
            read(1, 2, &[1, 0, 0xFF, 0xFF, 2, 0, 0, 0x80]),
            [vec![1, 2], vec![-1, -32768]]
        );
        assert_eq!(read(2, 1, &[0xFF, 0xFF]), [vec![65_535]]);
    }

    #[test]
    fn start_kind_and_a_cut_are_told_and_what_is_no_waveform_is_refused() {
        let cut = decode(&file(1, 0, 1, 2, &[0; 8]), "r", ReadOptions::default()).unwrap();
        assert_eq!(cut.start.unwrap().local, "2026-01-01T00:00:00.000000");
        assert_eq!(cut.remarks.len(), 1);
        assert_eq!(
            cut.waveforms[0].kind,
            WaveformKind::EcgOther("wrist".to_owned())
        );
        for refused in [file(5, 2, 1, 1, &[0; 8]), file(1, 0, 1, 4, &[0; 8])] {
            let error = decode(&refused, "r", ReadOptions::default()).unwrap_err();
            assert_eq!(error.code(), "format.unsupported");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_recording_or_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), head in (1_u8..7, 0_u8..3, 1_u8..17)) {
            let _ = decode(&bytes, "r", ReadOptions::default());
            bytes.splice(0..0, file(head.0, head.1, head.2, 1, &[]));
            let _ = decode(&bytes, "r", ReadOptions::default());
        }
    }
}
