//! Rows of samples as one byte string.
//!
//! | encoding | layout |
//! | --- | --- |
//! | 0 | 24-bit two's complement, little-endian, row after row; used when every sample fits |
//! | 1 | 32-bit two's complement, little-endian, row after row |
//! | 2 | packed, see [`super::packed`]; used when it is shorter than the other two |
//!
//! Never an array of CBOR integers: that is a third larger and far slower to read. A signal
//! has one encoding: what was read is encoded again and compared.

use cardio_core::sample::Adu;

use super::packed;

const PLANAR_I24: u8 = 0;
const PLANAR_I32: u8 = 1;
const PACKED: u8 = 2;

/// The most rows that a reader accepts.
const MAX_ROWS: usize = 256;

/// The least and the greatest value of 24-bit two's complement.
const I24: std::ops::RangeInclusive<Adu> = -(1 << 23)..=(1 << 23) - 1;

/// The encoding that was chosen, and the bytes.
pub(super) fn encode(rows: &[Vec<Adu>]) -> (u8, Vec<u8>) {
    let narrow = rows.iter().flatten().all(|sample| I24.contains(sample));
    let (encoding, width) = if narrow {
        (PLANAR_I24, 3)
    } else {
        (PLANAR_I32, 4)
    };
    let packed = packed::encode(rows);
    let samples: usize = rows.iter().map(Vec::len).sum();
    if packed.len() < samples * width {
        (PACKED, packed)
    } else {
        (encoding, planar(rows, width))
    }
}

fn planar(rows: &[Vec<Adu>], width: usize) -> Vec<u8> {
    let bytes = |sample: &Adu| sample.to_le_bytes().into_iter().take(width);
    rows.iter().flatten().flat_map(bytes).collect()
}

/// The rows, or `None` when the bytes are not the encoding of that many samples.
pub(super) fn decode(encoding: u8, rows: u64, per_row: u64, bytes: &[u8]) -> Option<Vec<Vec<Adu>>> {
    let rows = usize::try_from(rows)
        .ok()
        .filter(|rows| *rows <= MAX_ROWS)?;
    let per_row = usize::try_from(per_row).ok()?;
    if rows == 0 && per_row > 0 {
        return None;
    }
    let total = rows.checked_mul(per_row)?;
    let leads = match encoding {
        PLANAR_I24 if bytes.len() == total.checked_mul(3)? => {
            let samples = bytes.as_chunks::<3>().0;
            split(samples, rows, per_row, |&[a, b, c]| {
                Adu::from_le_bytes([0, a, b, c]) >> 8
            })
        }
        PLANAR_I32 if bytes.len() == total.checked_mul(4)? => {
            let samples = bytes.as_chunks::<4>().0;
            split(samples, rows, per_row, |sample| Adu::from_le_bytes(*sample))
        }
        PACKED => packed::decode(rows, per_row, bytes)?,
        _ => return None,
    };
    let (only, canonical) = encode(&leads);
    (only == encoding && canonical == bytes).then_some(leads)
}

fn split<T>(samples: &[T], rows: usize, per_row: usize, read: impl Fn(&T) -> Adu) -> Vec<Vec<Adu>> {
    if per_row == 0 {
        return vec![Vec::new(); rows];
    }
    samples
        .chunks_exact(per_row)
        .map(|row| row.iter().map(&read).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn samples_of_24_bits_take_three_bytes_little_endian_row_after_row() {
        let (encoding, bytes) = encode(&[vec![1, -1], vec![-8_388_608, 8_388_607]]);
        assert_eq!(encoding, 0);
        assert_eq!(
            bytes,
            [1, 0, 0, 0xFF, 0xFF, 0xFF, 0, 0, 0x80, 0xFF, 0xFF, 0x7F]
        );
    }

    #[test]
    fn one_wide_sample_makes_all_wide() {
        let (encoding, bytes) = encode(&[vec![8_388_608], vec![-1]]);
        assert_eq!(encoding, 1);
        assert_eq!(bytes, [0, 0, 0x80, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert_eq!(
            decode(1, 2, 1, &bytes),
            Some(vec![vec![8_388_608], vec![-1]])
        );
    }

    #[test]
    fn a_signal_is_packed_when_that_is_shorter() {
        let row: Vec<i32> = (0..250).map(|at| at * at / 100).collect();
        let (encoding, bytes) = encode(std::slice::from_ref(&row));
        assert_eq!(encoding, 2);
        assert!(bytes.len() < 100, "{}", bytes.len());
        assert_eq!(decode(2, 1, 250, &bytes), Some(vec![row]));
    }

    #[test]
    fn a_longer_encoding_of_the_same_samples_is_refused() {
        assert_eq!(decode(1, 1, 1, &[1, 0, 0, 0]), None);
        assert_eq!(decode(0, 1, 250, &[0; 750]), None);
    }

    #[test]
    fn lengths_that_disagree_with_the_bytes_are_refused_before_memory_is_taken() {
        assert_eq!(decode(0, 1, u64::MAX, &[]), None);
        assert_eq!(decode(0, u64::MAX, 0, &[]), None);
        assert_eq!(decode(0, 0, 5, &[]), None);
        assert_eq!(decode(0, 2, 1, &[0, 0, 0]), None);
        assert_eq!(decode(9, 0, 0, &[]), None);
        assert_eq!(decode(0, 3, 0, &[]), Some(vec![vec![]; 3]));
    }
}
