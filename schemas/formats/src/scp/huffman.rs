//! Huffman tables of section 2, and the bits of a lead.

use super::section::Section;
use crate::error::FormatError;

/// The number of tables that stands for the standard's own (EN 1064, 5.5).
pub const DEFAULT_TABLE: u16 = 19_999;

/// One code structure. The base code's lowest bit is the first bit of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Bits that must match.
    pub prefix_bits: u8,
    /// Bits in all; what exceeds the prefix is a value in two's complement.
    pub total_bits: u8,
    /// Whether the code gives a value; otherwise it switches the table.
    pub is_value: bool,
    /// The value, or the number of the table.
    pub value: i16,
    /// The prefix, first bit lowest.
    pub prefix: u32,
}

const fn code(prefix_bits: u8, total_bits: u8, value: i16, prefix: u32) -> Code {
    Code {
        prefix_bits,
        total_bits,
        is_value: true,
        value,
        prefix,
    }
}

/// The standard's table (EN 1064, table C.1 of its annex on compression).
pub const DEFAULT: [Code; 19] = [
    code(1, 1, 0, 0),
    code(3, 3, 1, 1),
    code(3, 3, -1, 5),
    code(4, 4, 2, 3),
    code(4, 4, -2, 11),
    code(5, 5, 3, 7),
    code(5, 5, -3, 23),
    code(6, 6, 4, 15),
    code(6, 6, -4, 47),
    code(7, 7, 5, 31),
    code(7, 7, -5, 95),
    code(8, 8, 6, 63),
    code(8, 8, -6, 191),
    code(9, 9, 7, 127),
    code(9, 9, -7, 383),
    code(10, 10, 8, 255),
    code(10, 10, -8, 767),
    code(10, 18, 0, 511),
    code(10, 26, 0, 1023),
];

/// How the samples of a record are written.
#[derive(Debug)]
pub(crate) enum Tables {
    /// As plain words.
    None,
    /// By codes; tables switch among themselves.
    Codes(Vec<Table>),
}

/// One table. The first code that fits counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    codes: Vec<Code>,
    /// For every next byte, a place before which no code fits.
    from: Vec<u8>,
}

impl Table {
    fn new(codes: Vec<Code>) -> Self {
        let first = |byte: u8| {
            let window = u64::from(byte) << 56;
            let fits = codes.iter().position(|code| {
                let bits = code.prefix_bits.min(8);
                differs(window, code.prefix, bits) == 0
            });
            u8::try_from(fits.unwrap_or(codes.len())).unwrap_or(u8::MAX)
        };
        Self {
            from: (0..=u8::MAX).map(first).collect(),
            codes,
        }
    }

    fn find(&self, window: u64) -> Option<&Code> {
        let [byte, ..] = window.to_be_bytes();
        let from = self.from.get(usize::from(byte)).copied().unwrap_or(0);
        let codes = self.codes.get(usize::from(from)..).unwrap_or_default();
        codes
            .iter()
            .find(|code| differs(window, code.prefix, code.prefix_bits) == 0)
    }
}

/// What the first bits of a window have other than a prefix, whose first bit is its lowest.
fn differs(window: u64, prefix: u32, bits: u8) -> u64 {
    let prefix = u64::from(prefix.reverse_bits()) << 32;
    let unused = 64_u32.saturating_sub(u32::from(bits));
    (window ^ prefix).checked_shr(unused).unwrap_or(0)
}

impl Tables {
    /// Reads section 2; without it samples are plain words.
    pub(crate) fn read(section: Option<Section<'_>>) -> Result<Self, FormatError> {
        let Some(section) = section else {
            return Ok(Self::None);
        };
        let mut fields = section.fields();
        let count = fields.u16("number of Huffman tables")?;
        match count {
            0 => return Ok(Self::None),
            DEFAULT_TABLE => return Ok(Self::Codes(vec![Table::new(DEFAULT.to_vec())])),
            _ => {}
        }
        let mut tables = Vec::new();
        for _ in 0..count {
            let codes = fields.u16("number of code structures")?;
            let mut table = Vec::new();
            for _ in 0..codes {
                let at = fields.offset();
                let prefix_bits = fields.u8("prefix bits")?;
                let total_bits = fields.u8("total bits")?;
                let mode = fields.u8("table mode switch")?;
                let value = fields.i16("base value")?;
                let prefix = fields.u32("base code")?;
                let extra = total_bits.checked_sub(prefix_bits);
                if prefix_bits > 32 || total_bits == 0 || extra.is_none_or(|bits| bits > 16) {
                    return Err(super::section::invalid(
                        "prefix bits",
                        at,
                        &format!("{prefix_bits} of {total_bits}"),
                        "at most 32, and at most 16 more in all",
                    ));
                }
                table.push(Code {
                    prefix_bits,
                    total_bits,
                    is_value: mode != 0,
                    value,
                    prefix,
                });
            }
            tables.push(Table::new(table));
        }
        Ok(Self::Codes(tables))
    }

    /// Decodes at most `count` numbers; fewer when the bytes end or no code matches.
    pub(crate) fn decode(&self, bytes: &[u8], count: usize) -> Vec<i32> {
        match self {
            Self::None => {
                let (words, _) = bytes.as_chunks::<2>();
                let value = |pair: &[u8; 2]| i32::from(i16::from_le_bytes(*pair));
                words.iter().take(count).map(value).collect()
            }
            Self::Codes(tables) => {
                let mut out = Vec::new();
                let mut bits = Bits { bytes, at: 0 };
                let mut table = tables.first();
                while let Some(codes) = table {
                    if out.len() >= count {
                        break;
                    }
                    match bits.next(codes) {
                        Some((true, value)) => out.push(value),
                        Some((false, number)) => {
                            let number = usize::try_from(number).ok();
                            let position = number.and_then(|number| number.checked_sub(1));
                            table = position.and_then(|position| tables.get(position));
                        }
                        None => break,
                    }
                }
                out
            }
        }
    }
}

/// Bits of a lead, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        self.bytes.len().saturating_mul(8).saturating_sub(self.at)
    }

    /// The next 64 bits, highest first; zeros behind the end.
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(chunk) => u64::from_be_bytes(*chunk),
            None => {
                let mut padded = [0_u8; 8];
                for (to, from) in padded.iter_mut().zip(rest) {
                    *to = *from;
                }
                u64::from_be_bytes(padded)
            }
        };
        word << (self.at % 8)
    }

    /// The next code: whether it is a value, and which. Up to 48 bits are looked at, of
    /// which a window has at least 57.
    fn next(&mut self, table: &Table) -> Option<(bool, i32)> {
        let window = self.window();
        let found = table.find(window)?;
        let total = usize::from(found.total_bits);
        if total > self.left() {
            return None;
        }
        self.at = self.at.saturating_add(total);
        let extra = u32::from(found.total_bits.saturating_sub(found.prefix_bits));
        if extra == 0 {
            return Some((found.is_value, i32::from(found.value)));
        }
        let shifted = window << u32::from(found.prefix_bits);
        let signed = i64::from_be_bytes(shifted.to_be_bytes()) >> 64_u32.saturating_sub(extra);
        let value = i32::try_from(signed).unwrap_or(0);
        Some((found.is_value, value.saturating_add(i32::from(found.value))))
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, Table, Tables};
    use proptest::prelude::*;

    #[test]
    fn the_default_table_reads_short_and_escaped_values() {
        let tables = Tables::Codes(vec![Table::new(DEFAULT.to_vec())]);
        // 0 | 100 | 101 | 1100 | 1111111110 11111110 | 1111111111 1000000000000000 and zeros
        let bits = "0100101110011111111101111111011111111111000000000000000";
        let padded = format!("{bits:0<56}");
        let bytes: Vec<u8> = (0..7)
            .map(|at| u8::from_str_radix(&padded[at * 8..at * 8 + 8], 2).unwrap())
            .collect();
        assert_eq!(tables.decode(&bytes, 6), [0, 1, -1, 2, -2, -32768]);
    }

    proptest! {
        #[test]
        fn no_more_numbers_come_out_than_there_are_bits(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            count in 0_usize..2000,
        ) {
            let tables = Tables::Codes(vec![Table::new(DEFAULT.to_vec())]);
            let out = tables.decode(&bytes, count);
            prop_assert!(out.len() <= count.min(bytes.len() * 8));
        }
    }
}
