//! Recordings of the Viatom ER1 family: one lead at 125 Hz, as differences of one byte.
//!
//! ```text
//! 0        u8 version, 9 reserved
//! 10       differences
//! end-20   u32 seconds, u16 checksum, 10 reserved, u32 0xA55A0438
//! ```
//! A difference of one byte; 127 and -127 begin a larger one of two bytes, -128 a sample of
//! two bytes as it is. Deliberately absent: the checksum, whose rule is not published, and
//! the multi-lead models.
//!
//! Source: `viatomEcho/LepuBle`, the maker's published code.

use std::io::SeekFrom;

use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, StatedStart};
use cardio_core::sample::Adu;

use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::read::{ReadOptions, RecordingReader, Whole, read_whole};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::Source;
use crate::warnings::Warnings;

/// The longest file that is read: a day and more.
const FILE_LIMIT: u64 = 64 << 20;
const HEAD_BYTES: usize = 10;
const TAIL_BYTES: usize = 20;
const MAGIC: u32 = 0xA55A_0438;
/// Samples per second.
const RATE_HZ: u32 = 125;
/// One count is 0.00246722 mV.
const GAIN_ADU_PER_MV: f64 = 1.0 / 0.002_467_22;
/// A sample that says "nothing here".
const ABSENT: Adu = 0x7FFF;

const SAMPLE_FOLLOWS: i8 = -128;
const RISE_FOLLOWS: i8 = 127;
const FALL_FOLLOWS: i8 = -127;

/// Whether a file ends as these recordings do.
pub(crate) fn ends_like_one(source: &dyn Source, name: &str) -> bool {
    let Ok(mut file) = source.open(name) else {
        return false;
    };
    let mut end = [0; 4];
    file.seek(SeekFrom::End(-4))
        .and_then(|_| file.read_exact(&mut end))
        .is_ok_and(|()| u32::from_le_bytes(end) == MAGIC)
}

/// Opens a recording; it is read at once.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let bytes = read_whole(source, name, FormatId::Viatom, FILE_LIMIT)?;
    let recording = decode(&bytes, name, options)?;
    Ok(Box::new(Whole::new(FormatId::Viatom, recording)))
}

/// Reads a recording, which is called after the moment when it began (`R20260101120000`).
///
/// # Errors
/// [`FormatError`] with field and offset.
pub fn decode(bytes: &[u8], name: &str, options: ReadOptions) -> Result<Recording, FormatError> {
    let mut warnings = Warnings::new(FormatId::Viatom, options.strict);
    let mut fields = Fields::new(FormatId::Viatom, bytes, 0);
    fields.take("header", HEAD_BYTES)?;
    let wave = fields.rest().len().saturating_sub(TAIL_BYTES);
    let wave = fields.take("wave", wave)?;
    let at = fields.offset();
    let seconds = fields.u32("seconds")?;
    fields.take("checksum and reserved", 12)?;
    let magic = fields.u32("magic")?;
    if magic != MAGIC {
        return Err(FormatError::Invalid {
            format: FormatId::Viatom,
            field: "magic",
            offset: at.saturating_add(16),
            found: format!("{magic:#010x}"),
            want: "0xa55a0438",
        });
    }
    let (samples, cut) = samples(wave);
    if cut {
        warnings.tell("wave", at, "it ends inside a difference".to_owned())?;
    }
    let held = len64(samples.len()) / u64::from(RATE_HZ);
    if held.abs_diff(u64::from(seconds)) > 1 {
        let why = format!("{seconds} s are stated, the wave holds {held} s");
        warnings.tell("seconds", at, why)?;
    }
    let mut recording = super::empty(FormatId::Viatom, name);
    recording.start = start(name);
    recording.waveforms.push(waveform(&samples));
    recording.warnings = warnings.take();
    Ok(recording)
}

fn waveform(samples: &[Adu]) -> cardio_core::recording::Waveform {
    let kind = WaveformKind::EcgOther("chest patch".to_owned());
    let rate = SamplingRate::hz(RATE_HZ).expect("invariant: 125 Hz is above zero");
    let calibration =
        Calibration::millivolts(GAIN_ADU_PER_MV, 0.0).expect("invariant: a gain is not zero");
    // what was never measured fills up the last second
    let filled = samples.iter().rev().take_while(|count| **count == ABSENT);
    let measured = samples.len().saturating_sub(filled.count());
    let mut rows = Rows::new(1);
    if let Some(row) = rows.row(0) {
        row.push_with_missing(samples.get(..measured).unwrap_or_default(), Some(ABSENT));
    }
    let runs: Vec<Run> = rows.take().pop().unwrap_or_default();
    cardio_core::recording::Waveform {
        runs,
        ..super::row(kind, rate, calibration)
    }
}

/// The samples of a wave, and whether it ends inside one.
fn samples(wave: &[u8]) -> (Vec<Adu>, bool) {
    let mut samples = Vec::with_capacity(wave.len());
    let mut last = 0_i16;
    let mut bytes = wave.iter().copied();
    while let Some(byte) = bytes.next() {
        let wide = |part: Option<u8>| part.map(i16::from);
        let next = match byte.cast_signed() {
            SAMPLE_FOLLOWS => match (bytes.next(), bytes.next()) {
                (Some(low), Some(high)) => Some(i16::from_le_bytes([low, high])),
                _ => None,
            },
            RISE_FOLLOWS => wide(bytes.next()).map(|more| last.wrapping_add(more + 127)),
            FALL_FOLLOWS => wide(bytes.next()).map(|more| last.wrapping_sub(more + 127)),
            step => Some(last.wrapping_add(i16::from(step))),
        };
        let Some(next) = next else {
            return (samples, true);
        };
        last = next;
        samples.push(Adu::from(next));
    }
    (samples, false)
}

/// `R` and fourteen digits are date and time on the recorder's own clock.
fn start(name: &str) -> Option<StatedStart> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let digits = stem.strip_prefix('R').filter(|digits| {
        digits.len() == 14 && digits.bytes().all(|digit| digit.is_ascii_digit())
    })?;
    let part = |from: usize, to: usize| digits.get(from..to);
    Some(StatedStart {
        local: format!(
            "{}-{}-{}T{}:{}:{}",
            part(0, 4)?,
            part(4, 6)?,
            part(6, 8)?,
            part(8, 10)?,
            part(10, 12)?,
            part(12, 14)?
        ),
        utc_offset_minutes: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{MAGIC, decode};
    use crate::ReadOptions;
    use proptest::prelude::*;

    fn file(wave: &[u8], seconds: u32) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend([0; 9]);
        bytes.extend(wave);
        bytes.extend(seconds.to_le_bytes());
        bytes.extend([0; 12]);
        bytes.extend(MAGIC.to_le_bytes());
        bytes
    }

    #[test]
    fn differences_of_each_width_and_absent_samples_are_read() {
        // 5, 5+127+2, 134-127-3, 1000 as it is, two absent, 1001, and one that fills up
        let wave = [
            5, 127, 2, 0x81, 3, 0x80, 0xE8, 3, 0x80, 0xFF, 0x7F, 0, 0x80, 0xE9, 3, 0x80, 0xFF, 0x7F,
        ];
        let recording = decode(&file(&wave, 0), "R20260102030405", ReadOptions::default()).unwrap();
        let row = &recording.waveforms[0];
        let runs: Vec<_> = row
            .runs
            .iter()
            .map(|run| (run.first.0, run.samples.as_slice().to_vec()))
            .collect();
        assert_eq!(runs, [(0, vec![5, 134, 4, 1000]), (6, vec![1001])]);
        assert_eq!(recording.start.unwrap().local, "2026-01-02T03:04:05");
    }

    #[test]
    fn a_wave_that_ends_inside_a_difference_is_told() {
        let lenient = decode(&file(&[1, 127], 0), "a", ReadOptions::default()).unwrap();
        assert_eq!(lenient.warnings.len(), 1);
        assert_eq!(lenient.waveforms[0].sample_count().0, 1);
        let strict = ReadOptions {
            strict: true,
            ..ReadOptions::default()
        };
        assert_eq!(
            decode(&file(&[1, 127], 0), "a", strict).unwrap_err().code(),
            "format.strict"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_recording_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), seconds: u32) {
            let _ = decode(&bytes, "a", ReadOptions::default());
            let read = decode(&file(&bytes, seconds), "a", ReadOptions::default()).unwrap();
            let held = read.waveforms[0].end().0;
            prop_assert!(held <= u64::try_from(bytes.len()).unwrap());
        }
    }
}
