//! The samples of a Holter file, in blocks, and their checksum.

use std::io::{Read, SeekFrom};

use cardio_core::index::SampleCount;
use cardio_core::recording::Recording;

use super::header::{CHECKED_FROM, FIXED_BYTES, Header, invalid};
use crate::crc;
use crate::error::FormatError;
use crate::fields::len64;
use crate::read::{RecordingReader, Refill};
use crate::rows::Rows;
use crate::sniff::FormatId;
use crate::source::ReadSeek;
use crate::warnings::Warnings;

/// Bytes that one block holds, about.
const BLOCK_BYTES: usize = 1 << 16;
/// The longest variable block that is believed.
const HEADER_LIMIT: u64 = 1 << 24;

/// Reads a Holter file.
pub(super) struct IshneReader {
    name: String,
    file: Box<dyn ReadSeek>,
    pub(super) recording: Recording,
    pub(super) warnings: Warnings,
    frame_bytes: usize,
    frames_left: u64,
    frames_missing: u64,
    at: u64,
    raw: Refill,
    done: bool,
}

impl IshneReader {
    /// Reads the header and verifies the checksum, which covers all of it.
    pub(super) fn open(
        mut file: Box<dyn ReadSeek>,
        name: &str,
        size: u64,
        warnings: &mut Warnings,
    ) -> Result<Self, FormatError> {
        let mut head = read(&mut file, name, 0, len64(FIXED_BYTES))?;
        let header = Header::parse(&head, FormatId::Ishne)?;
        if header.data_at < len64(FIXED_BYTES) || header.data_at > size.min(HEADER_LIMIT) {
            let found = header.data_at.to_string();
            let want = "behind the fixed header, inside the file";
            return Err(invalid("offset of ECG block", 22, &found, want));
        }
        let more = header.data_at.saturating_sub(len64(head.len()));
        head.extend(read(&mut file, name, len64(head.len()), more)?);
        let found = crc::ccitt(head.get(CHECKED_FROM..).unwrap_or_default());
        if found != header.crc {
            let why = format!("{:04x} stated, the header gives {found:04x}", header.crc);
            warnings.tell("checksum", 8, why)?;
        }
        let mut recording = super::describe(&header, name)?;
        let variable = head.get(FIXED_BYTES..).unwrap_or_default();
        let text = crate::text::lossless(variable);
        let text = text.trim_matches(['\0', ' ', '\r', '\n']);
        if !text.is_empty() {
            let remark = ("variable block".to_owned(), text.to_owned());
            recording.remarks.push(remark);
        }
        let frame_bytes = header.leads.len().saturating_mul(2);
        let (there, stated) = frames(&header, size, frame_bytes);
        let mut reader = Self {
            name: name.to_owned(),
            file,
            recording,
            warnings: Warnings::new(FormatId::Ishne, false),
            frame_bytes,
            frames_left: there.min(stated),
            frames_missing: stated.saturating_sub(there),
            at: header.data_at,
            raw: Refill::default(),
            done: false,
        };
        reader
            .file
            .seek(SeekFrom::Start(header.data_at))
            .map_err(|source| FormatError::Read {
                name: name.to_owned(),
                offset: header.data_at,
                source,
            })?;
        if stated != there {
            let why = format!("{stated} sample(s) per lead stated, {there} in the file");
            warnings.tell("size of ECG", 14, why)?;
        }
        Ok(reader)
    }
}

/// Samples per lead: in the file, and as stated. The stated number counts one lead, or all
/// of them when only that fits the file.
fn frames(header: &Header, size: u64, frame_bytes: usize) -> (u64, u64) {
    let there = size.saturating_sub(header.data_at) / len64(frame_bytes.max(1));
    let stated = u64::try_from(header.samples).unwrap_or(0);
    let leads = len64(header.leads.len().max(1));
    if stated == 0 {
        return (there, there);
    }
    if stated != there && stated / leads == there && stated % leads == 0 {
        return (there, there);
    }
    (there, stated)
}

fn read(
    file: &mut Box<dyn ReadSeek>,
    name: &str,
    at: u64,
    count: u64,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    file.by_ref()
        .take(count)
        .read_to_end(&mut bytes)
        .map_err(|source| FormatError::Read {
            name: name.to_owned(),
            offset: at,
            source,
        })?;
    Ok(bytes)
}

/// Distributes interleaved samples over the rows.
fn part(leads: usize, words: &[[u8; 2]], rows: &mut Rows) {
    for lead in 0..leads {
        if let Some(row) = rows.row(lead) {
            let frames = words.chunks_exact(leads.max(1));
            row.extend(frames.map(move |frame| frame.get(lead).map_or(0, value)));
        }
    }
}

/// The commonest shapes, with the width known to the compiler.
fn part_evenly<const LEADS: usize>(words: &[[u8; 2]], rows: &mut Rows) {
    let (frames, _) = words.as_chunks::<LEADS>();
    for lead in 0..LEADS {
        if let Some(row) = rows.row(lead) {
            let lead = move |frame: &[[u8; 2]; LEADS]| frame.get(lead).map_or(0, value);
            row.extend(frames.iter().map(lead));
        }
    }
}

fn value(word: &[u8; 2]) -> i32 {
    i32::from(i16::from_le_bytes(*word))
}

impl RecordingReader for IshneReader {
    fn format(&self) -> FormatId {
        FormatId::Ishne
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
        let most = BLOCK_BYTES / self.frame_bytes.max(1);
        let many = usize::try_from(self.frames_left).map_or(most, |left| left.min(most));
        let want = many.saturating_mul(self.frame_bytes);
        let raw = self.raw.next(&mut *self.file, want);
        let raw = raw.map_err(|source| FormatError::Read {
            name: self.name.clone(),
            offset: self.at,
            source,
        })?;
        self.at = self.at.saturating_add(len64(raw.len()));
        let (words, _) = raw.as_chunks::<2>();
        let leads = self.recording.waveforms.len();
        let frames = words.len().checked_div(leads).unwrap_or(0);
        let words = words
            .get(..frames.saturating_mul(leads))
            .unwrap_or_default();
        match leads {
            3 => part_evenly::<3>(words, rows),
            12 => part_evenly::<12>(words, rows),
            _ => part(leads, words, rows),
        }
        self.frames_left = self.frames_left.saturating_sub(len64(frames));
        if self.frames_left == 0 || frames < many {
            self.done = true;
            for lead in 0..leads {
                if let Some(row) = rows.row(lead) {
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
