//! WAV sound: uncompressed samples of 8 to 32 bits, plain or extensible headers.
//!
//! A size of 0 or of all ones, as a recorder leaves behind that streams or was cut off,
//! means "to the end of the file". Deliberately absent: compressed and floating-point
//! sound, big-endian RIFX.

pub(crate) mod write;

use std::io::{Read, SeekFrom};

use cardio_core::acquisition::WaveformKind;
use cardio_core::index::SampleCount;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Waveform};

use crate::error::FormatError;
use crate::fields::{Fields, len64};
use crate::label::calibration;
use crate::read::{ReadOptions, RecordingReader, Refill, open_file};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::{ReadSeek, Source};
use crate::text::lossless;
use crate::warnings::Warnings;

/// Format tags of the header (RFC 2361).
const PCM: u16 = 1;
const EXTENSIBLE: u16 = 0xFFFE;
/// The most chunks before the samples.
const CHUNKS_MAX: usize = 1024;
/// The longest text of a chunk that is kept.
const TEXT_MAX: u64 = 1 << 16;
/// Bytes that one block holds, about.
const BLOCK_BYTES: usize = 1 << 18;
/// The most channels that are read.
const CHANNELS_MAX: u16 = 64;

/// How the samples are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    channels: u16,
    rate_hz: u32,
    bits: u16,
}

impl Layout {
    fn sample_bytes(self) -> usize {
        usize::from(self.bits / 8)
    }

    fn frame_bytes(self) -> usize {
        self.sample_bytes()
            .saturating_mul(usize::from(self.channels))
    }
}

/// Opens a sound file.
pub(crate) fn open(
    source: &dyn Source,
    name: &str,
    options: ReadOptions,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    let mut file = open_file(source, name)?;
    let failed = |source| FormatError::Read {
        name: name.to_owned(),
        offset: 0,
        source,
    };
    let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut warnings = Warnings::new(FormatId::Wav, options.strict);
    let mut remarks = Vec::new();
    let mut layout = None;
    let mut at = 12_u64;
    for _ in 0..CHUNKS_MAX {
        let head = part(&mut file, name, at, 8)?;
        let mut fields = Fields::new(FormatId::Wav, &head, at);
        let id = fields.take("chunk id", 4)?;
        let length = u64::from(fields.u32("chunk size")?);
        let body = at.saturating_add(8);
        if id == b"data" {
            let layout =
                layout.ok_or_else(|| invalid("fmt chunk", at, "absent", "before the samples"))?;
            let there = size.saturating_sub(body);
            let open_ended = length == 0 || length == u64::from(u32::MAX);
            let stated = if open_ended { there } else { length };
            if stated > there {
                let why = format!("{stated} byte(s) stated, {there} there");
                warnings.tell("data size", at.saturating_add(4), why)?;
            }
            let place = (body, stated.min(there), stated);
            return reader(file, name, layout, place, remarks, warnings);
        }
        if id == b"fmt " {
            layout = Some(format_chunk(
                &part(&mut file, name, body, length.min(40))?,
                body,
            )?);
        } else {
            let text = part(&mut file, name, body, length.min(TEXT_MAX))?;
            remarks.extend(remark(id, &text));
        }
        // Chunks begin at even offsets.
        at = body.saturating_add(length).saturating_add(length % 2);
    }
    Err(invalid(
        "data chunk",
        at,
        "absent",
        "samples within 1024 chunks",
    ))
}

fn part(
    file: &mut Box<dyn ReadSeek>,
    name: &str,
    at: u64,
    count: u64,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.by_ref().take(count).read_to_end(&mut bytes))
        .map_err(|source| FormatError::Read {
            name: name.to_owned(),
            offset: at,
            source,
        })?;
    Ok(bytes)
}

fn format_chunk(bytes: &[u8], at: u64) -> Result<Layout, FormatError> {
    let mut fields = Fields::new(FormatId::Wav, bytes, at);
    let tag = fields.u16("format tag")?;
    let channels = fields.u16("channels")?;
    let rate_hz = fields.u32("samples per second")?;
    fields.u32("bytes per second")?;
    let align = fields.u16("block align")?;
    let bits = fields.u16("bits per sample")?;
    let coding = if tag == EXTENSIBLE {
        fields.take("extension", 8)?;
        fields.u16("sub-format")?
    } else {
        tag
    };
    let layout = Layout {
        channels,
        rate_hz,
        bits,
    };
    if coding != PCM || !matches!(bits, 8 | 16 | 24 | 32) {
        return Err(FormatError::Unsupported {
            format: FormatId::Wav,
            field: "format tag",
            offset: at,
            found: format!("coding {coding} of {bits} bits"),
        });
    }
    if channels == 0 || channels > CHANNELS_MAX || usize::from(align) != layout.frame_bytes() {
        let found = format!("{channels} channel(s) in blocks of {align} byte(s)");
        return Err(invalid(
            "block align",
            at,
            &found,
            "channels times bytes of a sample",
        ));
    }
    Ok(layout)
}

/// A chunk that is text: `LIST INFO` entries and what other makers write.
fn remark(id: &[u8], bytes: &[u8]) -> Vec<(String, String)> {
    let Some(mut rest) = bytes.strip_prefix(b"INFO").filter(|_| id == b"LIST") else {
        return vec![("chunk".to_owned(), lossless(id))];
    };
    let mut remarks = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, length @ ..] = *head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let text = after.get(..length).unwrap_or(after);
        let shown = lossless(text).trim_matches(['\0', ' ']).to_owned();
        remarks.push((lossless(&[a, b, c, d]), shown));
        let next = length.saturating_add(length % 2);
        rest = after.get(next..).unwrap_or_default();
    }
    remarks
}

fn reader(
    mut file: Box<dyn ReadSeek>,
    name: &str,
    layout: Layout,
    (at, bytes, stated): (u64, u64, u64),
    remarks: Vec<(String, String)>,
    warnings: Warnings,
) -> Result<Box<dyn RecordingReader>, FormatError> {
    file.seek(SeekFrom::Start(at))
        .map_err(|source| FormatError::Read {
            name: name.to_owned(),
            offset: at,
            source,
        })?;
    let rate = SamplingRate::hz(layout.rate_hz)
        .map_err(|_| invalid("samples per second", at, "0", "a rate above zero"))?;
    // Full scale is 1; eight bits are stored above 128.
    let baseline = if layout.bits == 8 { 128.0 } else { 0.0 };
    let full = 2_f64.powi(i32::from(layout.bits).saturating_sub(1));
    let waveform = |channel: u16| {
        let label = match layout.channels {
            1 => "sound".to_owned(),
            _ => format!("channel {}", channel.saturating_add(1)),
        };
        let kind = match layout.channels {
            1 => WaveformKind::HeartSound(None),
            _ => WaveformKind::Other(label.clone()),
        };
        calibration(full, baseline, "").map(|calibration| Waveform {
            label,
            kind,
            rate,
            calibration,
            runs: Vec::new(),
        })
    };
    let waveforms: Result<Vec<Waveform>, _> = (0..layout.channels).map(waveform).collect();
    let waveforms =
        waveforms.map_err(|error| invalid("bits", at, &error.gain.to_string(), "a number"))?;
    let frame = len64(layout.frame_bytes().max(1));
    Ok(Box::new(WavReader {
        name: name.to_owned(),
        file,
        layout,
        recording: Recording {
            format: FormatId::Wav.name(),
            name: name
                .rsplit_once('.')
                .map_or(name, |(stem, _)| stem)
                .to_owned(),
            waveforms,
            remarks,
            ..Recording::default()
        },
        frames_left: bytes / frame,
        frames_missing: (stated / frame).saturating_sub(bytes / frame),
        raw: Refill::default(),
        done: false,
        warnings,
    }))
}

/// Reads a sound file in blocks.
struct WavReader {
    name: String,
    file: Box<dyn ReadSeek>,
    layout: Layout,
    recording: Recording,
    frames_left: u64,
    frames_missing: u64,
    raw: Refill,
    done: bool,
    warnings: Warnings,
}

impl RecordingReader for WavReader {
    fn format(&self) -> FormatId {
        FormatId::Wav
    }

    fn header(&self) -> &Recording {
        &self.recording
    }

    fn expected(&self) -> Vec<u64> {
        vec![self.frames_left; self.recording.waveforms.len()]
    }

    fn next_block(&mut self, rows: &mut Rows) -> Result<bool, FormatError> {
        if self.done {
            return Ok(false);
        }
        let frame = self.layout.frame_bytes().max(1);
        let most = BLOCK_BYTES / frame;
        let many = usize::try_from(self.frames_left).map_or(most, |left| left.min(most));
        let want = many.saturating_mul(frame);
        let raw = self.raw.next(&mut *self.file, want);
        let raw = raw.map_err(|source| FormatError::Read {
            name: self.name.clone(),
            offset: 0,
            source,
        })?;
        let frames = raw.len() / frame;
        let whole = raw.get(..frames.saturating_mul(frame)).unwrap_or_default();
        let width = self.layout.sample_bytes().max(1);
        let channels = usize::from(self.layout.channels);
        for channel in 0..channels {
            if let Some(row) = rows.row(channel) {
                let own = whole.chunks_exact(width).skip(channel).step_by(channels);
                row.extend(own.map(sample));
            }
        }
        self.frames_left = self.frames_left.saturating_sub(len64(frames));
        if self.frames_left == 0 || frames < many {
            self.done = true;
            for channel in 0..channels {
                if let Some(row) = rows.row(channel) {
                    row.skip(SampleCount(self.frames_missing));
                }
            }
        }
        Ok(true)
    }

    fn finish(&mut self, recording: &mut Recording) {
        recording.warnings.extend(self.warnings.take());
    }
}

fn sample(bytes: &[u8]) -> i32 {
    match *bytes {
        [a] => i32::from(a),
        [a, b] => i32::from(i16::from_le_bytes([a, b])),
        [a, b, c] => i32::from_le_bytes([0, a, b, c]) >> 8,
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

fn invalid(field: &'static str, offset: u64, found: &str, want: &'static str) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Wav,
        field,
        offset,
        found: found.to_owned(),
        want,
    }
}

#[cfg(test)]
mod tests {
    use crate::read::{ReadOptions, read};
    use crate::source::MemorySource;
    use cardio_core::recording::Recording;
    use std::sync::Arc;

    fn decode(bytes: Vec<u8>) -> Recording {
        let source = MemorySource::new().with("x.wav", bytes);
        read(Arc::new(source), "x.wav", ReadOptions::default()).unwrap()
    }

    fn file(before: &[u8], bits: u16, size: u32, samples: &[u8]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(2000_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((bits / 8).to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(before);
        bytes.extend(b"data");
        bytes.extend(size.to_le_bytes());
        bytes.extend(samples);
        bytes
    }

    #[test]
    fn an_odd_chunk_before_the_samples_is_stepped_over() {
        let list = b"LIST\x0F\0\0\0INFOICMT\x03\0\0\0abc\0";
        let recording = decode(file(list, 16, 4, &[1, 0, 0xFE, 0xFF]));
        assert_eq!(recording.waveforms[0].contiguous().unwrap(), [1, -2]);
        assert_eq!(recording.remarks[0], ("ICMT".to_owned(), "abc".to_owned()));
    }

    #[test]
    fn a_size_of_all_ones_means_to_the_end() {
        let recording = decode(file(&[], 24, u32::MAX, &[1, 0, 0, 0xFF, 0xFF, 0xFF]));
        assert_eq!(recording.waveforms[0].contiguous().unwrap(), [1, -1]);
        assert!(recording.warnings.is_empty());
    }

    #[test]
    fn a_cut_file_ends_in_a_gap() {
        let recording = decode(file(&[], 8, 4, &[128, 255]));
        assert_eq!(recording.waveforms[0].gaps()[0].len.0, 2);
        assert_eq!(recording.warnings.len(), 1);
    }
}
