//! How samples are stored in a signal file: `signal(5)`.
#![expect(
    clippy::as_conversions,
    clippy::cast_possible_wrap,
    reason = "widening and sign-extending bit fields in the innermost loops"
)]

/// A storage format of a signal file, by its number in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// 0: no samples at all; a null signal.
    Null,
    /// 8: differences of 8 bits.
    Difference8,
    /// 16: two's complement, low byte first.
    Le16,
    /// 24: two's complement, low byte first.
    Le24,
    /// 32: two's complement, low byte first.
    Le32,
    /// 61: two's complement, high byte first.
    Be16,
    /// 80: 8 bits in offset binary.
    Offset8,
    /// 160: 16 bits in offset binary, low byte first.
    Offset16,
    /// 212: two samples of 12 bits in three bytes.
    Packed212,
    /// 310: three samples of 10 bits in two words.
    Packed310,
    /// 311: three samples of 10 bits in one double word.
    Packed311,
    /// 508: FLAC of 8 bits.
    Flac8,
    /// 516: FLAC of 16 bits.
    Flac16,
    /// 524: FLAC of 24 bits.
    Flac24,
}

impl Storage {
    /// The format of a number in a header.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            0 => Self::Null,
            8 => Self::Difference8,
            16 => Self::Le16,
            24 => Self::Le24,
            32 => Self::Le32,
            61 => Self::Be16,
            80 => Self::Offset8,
            160 => Self::Offset16,
            212 => Self::Packed212,
            310 => Self::Packed310,
            311 => Self::Packed311,
            508 => Self::Flac8,
            516 => Self::Flac16,
            524 => Self::Flac24,
            _ => return None,
        })
    }

    /// Whether the file is a FLAC stream.
    pub const fn is_flac(self) -> bool {
        matches!(self, Self::Flac8 | Self::Flac16 | Self::Flac24)
    }

    /// The value that stands for "absent".
    pub const fn missing(self) -> Option<i32> {
        match self {
            Self::Null | Self::Difference8 => None,
            Self::Offset8 | Self::Flac8 => Some(-128),
            Self::Packed310 | Self::Packed311 => Some(-512),
            Self::Packed212 => Some(-2048),
            Self::Le16 | Self::Be16 | Self::Offset16 | Self::Flac16 => Some(-32_768),
            Self::Le24 | Self::Flac24 => Some(-8_388_608),
            Self::Le32 => Some(i32::MIN),
        }
    }

    /// Bytes that `samples` samples take; `None` when that is more than memory has.
    pub(crate) fn bytes_for(self, samples: usize) -> Option<usize> {
        match self {
            Self::Null | Self::Flac8 | Self::Flac16 | Self::Flac24 => Some(0),
            Self::Difference8 | Self::Offset8 => Some(samples),
            Self::Le16 | Self::Be16 | Self::Offset16 => samples.checked_mul(2),
            Self::Le24 => samples.checked_mul(3),
            Self::Le32 => samples.checked_mul(4),
            Self::Packed212 => (samples / 2).checked_mul(3)?.checked_add(samples % 2 * 2),
            Self::Packed310 => (samples / 3).checked_mul(4)?.checked_add(samples % 3 * 2),
            Self::Packed311 => {
                let tail = [0, 2, 3].get(samples % 3).copied().unwrap_or(0);
                (samples / 3).checked_mul(4)?.checked_add(tail)
            }
        }
    }

    /// The most samples that `bytes` bytes can hold.
    pub(crate) fn samples_in(self, bytes: u64) -> u64 {
        let whole = |unit: u64, samples: u64| (bytes / unit).saturating_mul(samples);
        match self {
            Self::Null | Self::Flac8 | Self::Flac16 | Self::Flac24 => 0,
            Self::Difference8 | Self::Offset8 => bytes,
            Self::Le16 | Self::Be16 | Self::Offset16 => bytes / 2,
            Self::Le24 => bytes / 3,
            Self::Le32 => bytes / 4,
            Self::Packed212 => whole(3, 2).saturating_add(u64::from(bytes % 3 == 2)),
            Self::Packed310 => whole(4, 3).saturating_add(u64::from(bytes % 4 >= 2)),
            Self::Packed311 => whole(4, 3).saturating_add((bytes % 4).saturating_sub(1)),
        }
    }

    /// Appends the samples of `bytes` to `out`; trailing bytes that hold no whole sample
    /// are left out. Differences stay differences; FLAC is decoded elsewhere.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut Vec<i32>) {
        match self {
            Self::Null | Self::Flac8 | Self::Flac16 | Self::Flac24 => {}
            Self::Difference8 => out.extend(bytes.iter().map(|b| i32::from(*b as i8))),
            Self::Offset8 => out.extend(bytes.iter().map(|b| i32::from(*b) - 128)),
            Self::Le16 => words(bytes, out, |pair| i32::from(i16::from_le_bytes(pair))),
            Self::Be16 => words(bytes, out, |pair| i32::from(i16::from_be_bytes(pair))),
            Self::Offset16 => words(bytes, out, |pair| {
                i32::from(u16::from_le_bytes(pair)) - 32_768
            }),
            Self::Le24 => {
                let (whole, _) = bytes.as_chunks::<3>();
                let wide = |[a, b, c]: &[u8; 3]| i32::from_le_bytes([0, *a, *b, *c]) >> 8;
                out.extend(whole.iter().map(wide));
            }
            Self::Le32 => {
                let (whole, _) = bytes.as_chunks::<4>();
                out.extend(whole.iter().map(|quad| i32::from_le_bytes(*quad)));
            }
            Self::Packed212 => decode_212(bytes, out),
            Self::Packed310 => decode_310(bytes, out),
            Self::Packed311 => decode_311(bytes, out),
        }
    }
}

fn words(bytes: &[u8], out: &mut Vec<i32>, value: impl Fn([u8; 2]) -> i32) {
    let (whole, _) = bytes.as_chunks::<2>();
    out.extend(whole.iter().map(|pair| value(*pair)));
}

/// Sign-extends the low 12 bits.
const fn signed_12(bits: u32) -> i32 {
    ((bits << 20) as i32) >> 20
}

/// Sign-extends the low 10 bits.
const fn signed_10(bits: u32) -> i32 {
    ((bits << 22) as i32) >> 22
}

fn decode_212(bytes: &[u8], out: &mut Vec<i32>) {
    let (whole, tail) = bytes.as_chunks::<3>();
    let from = out.len();
    out.resize(from.saturating_add(whole.len().saturating_mul(2)), 0);
    let (pairs, _) = out.get_mut(from..).unwrap_or_default().as_chunks_mut::<2>();
    for (pair, &[a, b, c]) in pairs.iter_mut().zip(whole) {
        let middle = u32::from(b);
        *pair = [
            signed_12(u32::from(a) | (middle << 8)),
            signed_12(u32::from(c) | ((middle >> 4) << 8)),
        ];
    }
    if let [a, b] = *tail {
        out.push(signed_12(u32::from(a) | (u32::from(b) << 8)));
    }
}

fn decode_310(bytes: &[u8], out: &mut Vec<i32>) {
    let (whole, tail) = bytes.as_chunks::<4>();
    out.extend(whole.iter().flat_map(|&[a, b, c, d]| {
        let first = u32::from(u16::from_le_bytes([a, b]));
        let second = u32::from(u16::from_le_bytes([c, d]));
        [
            signed_10(first >> 1),
            signed_10(second >> 1),
            signed_10(((second >> 11) << 5) | (first >> 11)),
        ]
    }));
    if let [a, b, ..] = *tail {
        out.push(signed_10(u32::from(u16::from_le_bytes([a, b])) >> 1));
    }
}

fn decode_311(bytes: &[u8], out: &mut Vec<i32>) {
    let (whole, tail) = bytes.as_chunks::<4>();
    out.extend(whole.iter().flat_map(|quad| {
        let bits = u32::from_le_bytes(*quad);
        [
            signed_10(bits),
            signed_10(bits >> 10),
            signed_10(bits >> 20),
        ]
    }));
    if let [a, b, ref rest @ ..] = *tail {
        let bits = u32::from(a) | (u32::from(b) << 8);
        out.push(signed_10(bits));
        if let [c] = *rest {
            out.push(signed_10((bits | (u32::from(c) << 16)) >> 10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Storage;
    use proptest::prelude::*;

    const ALL: [u32; 10] = [8, 16, 24, 32, 61, 80, 160, 212, 310, 311];

    fn decoded(code: u32, bytes: &[u8]) -> Vec<i32> {
        let mut out = Vec::new();
        Storage::from_code(code).unwrap().decode(bytes, &mut out);
        out
    }

    #[test]
    fn two_samples_of_12_bits_lie_in_three_bytes() {
        assert_eq!(
            decoded(212, &[0x34, 0xF2, 0xFE, 0x01, 0x08]),
            [0x234, -2, -2047]
        );
    }

    #[test]
    fn three_samples_of_10_bits_lie_in_two_words() {
        // Words 0x0FFE and 0x0002: low bits without the lowest, and 5 + 5 high bits.
        assert_eq!(decoded(310, &[0xFE, 0x0F, 0x02, 0x00]), [-1, 1, 1]);
        assert_eq!(decoded(310, &[0x02, 0x00]), [1]);
    }

    #[test]
    fn three_samples_of_10_bits_lie_in_one_double_word() {
        assert_eq!(decoded(311, &[0xFF, 0x07, 0x00, 0x20]), [-1, 1, -512]);
        assert_eq!(decoded(311, &[0xFF, 0x07, 0x00]), [-1, 1]);
    }

    #[test]
    fn offset_binary_and_big_endian_are_read() {
        assert_eq!(decoded(80, &[0, 128, 255]), [-128, 0, 127]);
        assert_eq!(decoded(160, &[0, 0x80, 1, 0]), [0, -32767]);
        assert_eq!(decoded(61, &[0xFF, 0xFE]), [-2]);
        assert_eq!(decoded(24, &[0xFE, 0xFF, 0xFF]), [-2]);
    }

    proptest! {
        #[test]
        fn as_many_samples_come_out_as_were_promised(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for code in ALL {
                let storage = Storage::from_code(code).unwrap();
                let samples = decoded(code, &bytes).len();
                let want = storage.samples_in(u64::try_from(bytes.len()).unwrap());
                prop_assert_eq!(u64::try_from(samples).unwrap(), want);
                prop_assert!(storage.bytes_for(samples).unwrap() <= bytes.len());
                prop_assert!(storage.bytes_for(samples + 1).unwrap() > bytes.len());
            }
        }
    }
}
