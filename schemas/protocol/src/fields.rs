//! Reading fixed fields from the front of a value, with errors that name field and offset.

use crate::decoder::DecodeError;

/// A place in a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn offset(&self) -> u64 {
        u64::try_from(self.at).unwrap_or(u64::MAX)
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The rest of the value.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    pub(crate) fn take(
        &mut self,
        field: &'static str,
        need: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let found = self
            .bytes
            .get(self.at..)
            .and_then(|rest| rest.get(..need))
            .ok_or(DecodeError::Truncated {
                field,
                offset: self.offset(),
                need,
                have: self.left(),
            })?;
        self.at += need;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// Refuses what is left over.
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing {
                offset: self.offset(),
                extra,
            }),
        }
    }
}

/// A signed 24-bit little-endian number.
pub(crate) fn i24_le(bytes: [u8; 3]) -> i32 {
    let [low, middle, high] = bytes;
    i32::from_le_bytes([0, low, middle, high]) >> 8
}

/// The low 24 bits of a number, little-endian; a number beyond them is taken to the limit.
pub(crate) fn to_i24_le(value: i32) -> [u8; 3] {
    let [low, middle, high, _] = value.clamp(-8_388_608, 8_388_607).to_le_bytes();
    [low, middle, high]
}
