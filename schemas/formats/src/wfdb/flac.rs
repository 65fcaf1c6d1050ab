//! Signal files that are FLAC streams: storage formats 508, 516 and 524.

use claxon::FlacReader;

use crate::error::FormatError;
use crate::sniff::FormatId;
use crate::source::ReadSeek;

/// The most samples of a channel in one FLAC block (FLAC format, frame header).
const BLOCK_MAX: usize = 1 << 16;

/// Decodes a FLAC stream into one column per channel.
pub(crate) struct FlacColumns {
    name: String,
    reader: FlacReader<Box<dyn ReadSeek>>,
    buffer: Vec<i32>,
    pending: Vec<Vec<i32>>,
    done: u64,
}

impl FlacColumns {
    pub(crate) fn open(
        file: Box<dyn ReadSeek>,
        name: &str,
        channels: usize,
    ) -> Result<Self, FormatError> {
        let reader = FlacReader::new(file).map_err(|error| damaged(name, 0, &error))?;
        let found = reader.streaminfo().channels;
        if usize::try_from(found) != Ok(channels) {
            return Err(FormatError::Invalid {
                format: FormatId::Wfdb,
                field: "FLAC channels",
                offset: 0,
                found: format!("{found} in {name}"),
                want: "as many as the header has signals in this file",
            });
        }
        Ok(Self {
            name: name.to_owned(),
            reader,
            buffer: Vec::new(),
            pending: vec![Vec::new(); channels],
            done: 0,
        })
    }

    /// Leaves out the first `count` samples of every channel.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), FormatError> {
        let mut left = count;
        let mut columns = vec![Vec::new(); self.pending.len()];
        while left > 0 {
            let step = usize::try_from(left).map_or(BLOCK_MAX, |left| left.min(BLOCK_MAX));
            let got = self.next(step, &mut columns)?;
            if got == 0 {
                break;
            }
            left = left.saturating_sub(u64::try_from(got).unwrap_or(u64::MAX));
            columns.iter_mut().for_each(Vec::clear);
        }
        Ok(())
    }

    /// Appends up to `count` samples to every column; fewer only at the end.
    pub(crate) fn next(
        &mut self,
        count: usize,
        columns: &mut [Vec<i32>],
    ) -> Result<usize, FormatError> {
        while self.waiting() < count {
            if !self.decode_block()? {
                break;
            }
        }
        let give = self.waiting().min(count);
        for (column, pending) in columns.iter_mut().zip(&mut self.pending) {
            column.extend(pending.drain(..give.min(pending.len())));
        }
        Ok(give)
    }

    fn waiting(&self) -> usize {
        self.pending.iter().map(Vec::len).min().unwrap_or(0)
    }

    fn decode_block(&mut self) -> Result<bool, FormatError> {
        let buffer = std::mem::take(&mut self.buffer);
        let block = self
            .reader
            .blocks()
            .read_next_or_eof(buffer)
            .map_err(|error| damaged(&self.name, self.done, &error))?;
        let Some(block) = block else {
            return Ok(false);
        };
        if usize::try_from(block.channels()) != Ok(self.pending.len()) {
            return Err(FormatError::Invalid {
                format: FormatId::Wfdb,
                field: "FLAC frame",
                offset: self.done,
                found: format!("{} channel(s)", block.channels()),
                want: "as many as the stream has",
            });
        }
        for (channel, pending) in (0..block.channels()).zip(&mut self.pending) {
            pending.extend_from_slice(block.channel(channel));
        }
        self.done = self.done.saturating_add(u64::from(block.duration()));
        self.buffer = block.into_buffer();
        Ok(true)
    }
}

/// The offset of a FLAC fault is the sample where its block begins.
fn damaged(name: &str, sample: u64, error: &claxon::Error) -> FormatError {
    FormatError::Invalid {
        format: FormatId::Wfdb,
        field: "FLAC stream",
        offset: sample,
        found: format!("damaged in {name} ({error})"),
        want: "a sound FLAC stream",
    }
}
