//! Rows of samples as one byte string.
//!
//! | encoding | layout |
//! | --- | --- |
//! | 0 | 24-bit two's complement, little-endian, row after row; used when every sample fits |
//! | 1 | 32-bit two's complement, little-endian, row after row |
//!
//! Never an array of CBOR integers: that is a third larger and far slower to read.

use cardio_core::sample::Adu;

const PLANAR_I24: u8 = 0;
const PLANAR_I32: u8 = 1;

/// The most rows that a reader accepts.
const MAX_ROWS: u64 = 256;

/// The least and the greatest value of 24-bit two's complement.
const I24: std::ops::RangeInclusive<Adu> = -(1 << 23)..=(1 << 23) - 1;

/// The encoding that was chosen, and the bytes.
pub(super) fn encode(rows: &[Vec<Adu>]) -> (u8, Vec<u8>) {
    let samples = || rows.iter().flatten();
    if samples().all(|sample| I24.contains(sample)) {
        let narrow = |sample: &Adu| {
            let [a, b, c, _] = sample.to_le_bytes();
            [a, b, c]
        };
        (PLANAR_I24, samples().flat_map(narrow).collect())
    } else {
        let wide = samples().flat_map(|sample| sample.to_le_bytes());
        (PLANAR_I32, wide.collect())
    }
}

/// The rows, or `None` when the bytes are not that many samples in that encoding.
pub(super) fn decode(encoding: u8, rows: u64, per_row: u64, bytes: &[u8]) -> Option<Vec<Vec<Adu>>> {
    if rows > MAX_ROWS || (rows == 0 && per_row > 0) {
        return None;
    }
    let rows = usize::try_from(rows).ok()?;
    let per_row = usize::try_from(per_row).ok()?;
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
        _ => return None,
    };
    // One encoding per value: what fits into 24 bits is not written with 32.
    let canonical = encoding != PLANAR_I32 || !leads.iter().flatten().all(|s| I24.contains(s));
    canonical.then_some(leads)
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
    fn narrow_samples_in_the_wide_encoding_are_refused() {
        assert_eq!(decode(1, 1, 1, &[1, 0, 0, 0]), None);
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
