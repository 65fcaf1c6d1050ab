//! Fields of a binary file, one after another, each with its name and offset on failure.

use nom::IResult;
use nom::bytes::complete::take;
use nom::number::complete::{le_i16, le_i32, le_u16, le_u32, u8 as byte};

use crate::error::FormatError;
use crate::sniff::FormatId;

/// Reads fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    format: FormatId,
    rest: &'a [u8],
    base: u64,
    start_len: usize,
}

impl<'a> Fields<'a> {
    /// Fields of `bytes`, which lie at `base` in their file.
    pub(crate) const fn new(format: FormatId, bytes: &'a [u8], base: u64) -> Self {
        Self {
            format,
            rest: bytes,
            base,
            start_len: bytes.len(),
        }
    }

    /// Offset of the next field in the file.
    pub(crate) fn offset(&self) -> u64 {
        let read = self.start_len.saturating_sub(self.rest.len());
        self.base.saturating_add(len64(read))
    }

    /// Bytes that remain.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn run<T>(
        &mut self,
        field: &'static str,
        need: usize,
        parser: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], T>,
    ) -> Result<T, FormatError> {
        match parser(self.rest) {
            Ok((rest, value)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(_) => Err(FormatError::Truncated {
                format: self.format,
                field,
                offset: self.offset(),
                need: len64(need),
                have: len64(self.rest.len()),
            }),
        }
    }

    /// The next `count` bytes.
    pub(crate) fn take(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<&'a [u8], FormatError> {
        self.run(field, count, |bytes| take(count)(bytes))
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, FormatError> {
        self.run(field, 1, byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, FormatError> {
        self.run(field, 2, le_u16)
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, FormatError> {
        self.run(field, 2, le_i16)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, FormatError> {
        self.run(field, 4, le_u32)
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, FormatError> {
        self.run(field, 4, le_i32)
    }
}

/// A length in memory as a file offset.
pub(crate) fn len64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
