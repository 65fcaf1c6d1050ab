//! Packed samples, encoding 2: lossless, small, and quick enough for a small box.
//!
//! Bits are written from the most significant on. A row is its first sample in 32 bits, then
//! blocks of up to 256 samples. A block is the order of its differences (2 bits), the Rice
//! parameter k (5 bits), and one code per sample: the difference, folded to an unsigned number
//! u (0, -1, 1, -2, …), as u >> k in unary (ones and a closing zero) and the k low bits; or,
//! where u >> k is 32 or more, 32 ones and u in 40 bits. Before a row's first sample lie
//! copies of it. Zero bits fill the last byte.
//!
//! Order and k of a block are those that the rules of [`choose`] give, so every signal has
//! one packed form. The method is that of Shorten (Robinson 1994), with its constants our own.
//!
//! Chosen by measurement, which the bench `packed` prints: the best of several orders takes 1 to
//! 3 % less than the best single one (orders 1 and 2 do nearly all of it), and blocks of 64
//! would take up to 4 % less than those of 256. That is too little for another encoding.

use cardio_core::sample::Adu;

const BLOCK: usize = 256;
const ORDERS: usize = 4;
const ORDER_BITS: u32 = 2;
const K_BITS: u32 = 5;
const K_MAX: u32 = 31;
/// So many ones say that the number follows in full.
const ESCAPE: u32 = 32;
/// A third difference of 32-bit samples folds into 36 bits.
const FULL_BITS: u32 = 40;
const ESCAPED_BITS: u64 = 72;
/// Folded differences have 0 to 36 bits.
const LENGTHS: usize = 37;

/// The last three samples of a row, newest first.
#[derive(Clone, Copy)]
struct History([i64; 3]);

impl History {
    fn of(first: Adu) -> Self {
        Self([i64::from(first); 3])
    }

    /// The differences of orders 0 to 3 that a sample makes.
    const fn differences(&self, sample: i64) -> [i64; ORDERS] {
        let [a, b, c] = self.0;
        [
            sample,
            sample - a,
            sample - 2 * a + b,
            sample - 3 * a + 3 * b - c,
        ]
    }

    /// What is expected when the difference of this order is nothing.
    const fn expected(&self, order: u64) -> i64 {
        let [a, b, c] = self.0;
        match order {
            0 => 0,
            1 => a,
            2 => 2 * a - b,
            _ => 3 * a - 3 * b + c,
        }
    }

    const fn push(&mut self, sample: i64) {
        let [a, b, _] = self.0;
        self.0 = [sample, a, b];
    }
}

/// Folds a signed number: 0, -1, 1, -2, … become 0, 1, 2, 3, …
const fn fold(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unfold(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// How many folded numbers of each length in bits there are, and their sums: enough to
/// know, without going through them again, what each parameter would cost.
#[derive(Clone, Copy)]
struct Lengths {
    counts: [u64; LENGTHS],
    sums: [u64; LENGTHS],
}

impl Lengths {
    const NONE: Self = Self {
        counts: [0; LENGTHS],
        sums: [0; LENGTHS],
    };

    fn add(&mut self, number: u64) {
        let bits = usize::try_from(u64::BITS - number.leading_zeros()).unwrap_or(LENGTHS);
        if let (Some(count), Some(sum)) = (self.counts.get_mut(bits), self.sums.get_mut(bits)) {
            *count += 1;
            *sum += number;
        }
    }

    /// The parameter that takes the fewest bits (the lowest of equals), and these bits. The
    /// sum of the quotients is taken as the quotient of the sum.
    fn cheapest(&self) -> (u64, u32) {
        let all: u64 = self.counts.iter().sum();
        let (mut count, mut sum) = (0, 0);
        let mut lengths = self.counts.iter().zip(&self.sums);
        // numbers of fewer than 6 bits are below the escape whatever the parameter is
        for (more, larger) in lengths.by_ref().take(6) {
            count += more;
            sum += larger;
        }
        let costs = (0..=K_MAX).map(|k| {
            let cost = (sum >> k) + count * (1 + u64::from(k)) + (all - count) * ESCAPED_BITS;
            if let Some((more, larger)) = lengths.next() {
                count += more;
                sum += larger;
            }
            (cost, k)
        });
        costs.min().unwrap_or((0, 0))
    }
}

/// The order and the parameter that take the fewest bits by [`Lengths::cheapest`], the lowest
/// of equals. Leaves the folded differences of that order in `folded`.
fn choose(block: &[Adu], history: &mut History, folded: &mut Vec<u64>) -> (usize, u32) {
    let mut all = Vec::with_capacity(block.len());
    let mut lengths = [Lengths::NONE; ORDERS];
    for sample in block {
        let sample = i64::from(*sample);
        let differences = history.differences(sample).map(fold);
        for (lengths, difference) in lengths.iter_mut().zip(differences) {
            lengths.add(difference);
        }
        all.push(differences);
        history.push(sample);
    }
    let costs = lengths.map(|lengths| lengths.cheapest());
    let best = costs.iter().enumerate().min_by_key(|(_, (cost, _))| *cost);
    let (order, k) = best.map_or((0, 0), |(order, (_, k))| (order, *k));
    folded.clear();
    folded.extend(all.iter().filter_map(|differences| differences.get(order)));
    (order, k)
}

/// The packed form of rows of equal length.
pub(super) fn encode(rows: &[Vec<Adu>]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let mut folded = Vec::with_capacity(BLOCK);
    for row in rows {
        let Some((first, rest)) = row.split_first() else {
            continue;
        };
        bits.push(u64::from(first.cast_unsigned()), 32);
        let mut history = History::of(*first);
        for block in rest.chunks(BLOCK) {
            let (order, k) = choose(block, &mut history, &mut folded);
            bits.push(u64::try_from(order).unwrap_or(0), ORDER_BITS);
            bits.push(u64::from(k), K_BITS);
            for number in &folded {
                bits.push_rice(*number, k);
            }
        }
    }
    bits.finish()
}

/// The rows, or `None` when the bytes are not the packed form of that many samples. Whether
/// they are its only form is for the caller to compare.
pub(super) fn decode(rows: usize, per_row: usize, bytes: &[u8]) -> Option<Vec<Vec<Adu>>> {
    let total = rows.checked_mul(per_row)?;
    if total > bytes.len().checked_mul(8)? {
        return None;
    }
    let mut bits = BitReader::new(bytes);
    let leads = (0..rows)
        .map(|_| decode_row(&mut bits, per_row))
        .collect::<Option<Vec<_>>>()?;
    bits.is_at_end().then_some(leads)
}

fn decode_row(bits: &mut BitReader<'_>, per_row: usize) -> Option<Vec<Adu>> {
    let mut row = Vec::with_capacity(per_row);
    if per_row == 0 {
        return Some(row);
    }
    let first = u32::try_from(bits.take(32)?).ok()?.cast_signed();
    row.push(first);
    let mut history = History::of(first);
    while row.len() < per_row {
        let order = bits.take(ORDER_BITS)?;
        let k = u32::try_from(bits.take(K_BITS)?).ok()?;
        for _ in 0..BLOCK.min(per_row - row.len()) {
            let difference = unfold(bits.take_rice(k)?);
            let sample = history.expected(order).checked_add(difference)?;
            row.push(Adu::try_from(sample).ok()?);
            history.push(sample);
        }
    }
    Some(row)
}

/// Bits into bytes, most significant first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that fill no byte yet, in the low end; at most 7 between calls.
    rest: u64,
    len: u32,
}

impl BitWriter {
    /// Writes the low `len` bits of a number, at most 56 of them.
    fn push(&mut self, number: u64, len: u32) {
        self.rest = (self.rest << len) | number;
        self.len += len;
        while self.len >= 8 {
            self.len -= 8;
            let [.., byte] = (self.rest >> self.len).to_be_bytes();
            self.bytes.push(byte);
        }
        self.rest &= (1 << self.len) - 1;
    }

    fn push_rice(&mut self, number: u64, k: u32) {
        match u32::try_from(number >> k) {
            Ok(quotient) if quotient < ESCAPE => {
                let ones = (1_u64 << quotient) - 1;
                self.push(ones << 1, quotient + 1);
                self.push(number & ((1 << k) - 1), k);
            }
            _ => {
                self.push((1 << ESCAPE) - 1, ESCAPE);
                self.push(number, FULL_BITS);
            }
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.push(0, (8 - self.len) % 8);
        self.bytes
    }
}

/// Bits out of bytes, most significant first.
struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bits, in the high end; zeros after them.
    next: u64,
    len: u32,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut reader = Self {
            bytes,
            next: 0,
            len: 0,
        };
        reader.refill();
        reader
    }

    fn refill(&mut self) {
        while self.len <= 56
            && let Some((byte, rest)) = self.bytes.split_first()
        {
            self.next |= u64::from(*byte) << (56 - self.len);
            self.len += 8;
            self.bytes = rest;
        }
    }

    /// Takes at most 56 bits.
    fn take(&mut self, len: u32) -> Option<u64> {
        if len > self.len {
            return None;
        }
        let number = self.next.checked_shr(64 - len).unwrap_or(0);
        self.skip(len);
        Some(number)
    }

    /// Forgets bits that are there.
    fn skip(&mut self, len: u32) {
        self.next <<= len;
        self.len -= len;
        self.refill();
    }

    fn take_rice(&mut self, k: u32) -> Option<u64> {
        let ones = self.next.leading_ones().min(self.len);
        if ones >= ESCAPE {
            self.skip(ESCAPE);
            return self.take(FULL_BITS);
        }
        self.take(ones + 1)?;
        Some((u64::from(ones) << k) | self.take(k)?)
    }

    /// Whether nothing is left but the zero bits of the last byte.
    const fn is_at_end(&self) -> bool {
        self.bytes.is_empty() && self.len < 8 && self.next == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, fold, unfold};
    use proptest::prelude::*;

    #[test]
    fn a_small_signal_has_exactly_these_bits() {
        // 5 in 32 bits; then order 1, k 0, and the differences 0, 1, -1, 0 folded to 0 2 1 0
        let bytes = encode(&[vec![5, 5, 6, 5, 5]]);
        // 00000000 x3, 00000101, 01 00000 0, 110 10 0 00
        assert_eq!(bytes, [0, 0, 0, 5, 0b0100_0000, 0b1101_0000]);
        assert_eq!(decode(1, 5, &bytes), Some(vec![vec![5, 5, 6, 5, 5]]));
    }

    #[test]
    fn a_flat_line_takes_a_bit_per_sample() {
        let bytes = encode(&[vec![-1234; 257]]);
        assert_eq!(bytes.len(), 4 + (7 + 256_usize).div_ceil(8));
    }

    #[test]
    fn the_widest_jumps_come_back() {
        let row: Vec<i32> = [i32::MIN, i32::MAX, i32::MIN, 0].repeat(100);
        let bytes = encode(std::slice::from_ref(&row));
        assert_eq!(decode(1, row.len(), &bytes), Some(vec![row]));
    }

    #[test]
    fn a_single_outlier_does_not_spoil_its_block() {
        let mut row = vec![0; 256];
        row[100] = 1_000_000_000;
        let bytes = encode(std::slice::from_ref(&row));
        assert!(bytes.len() < 80, "{}", bytes.len());
        assert_eq!(decode(1, 256, &bytes), Some(vec![row]));
    }

    #[test]
    fn more_samples_than_bits_are_refused_before_memory_is_taken() {
        assert_eq!(decode(1, usize::MAX, &[0; 100]), None);
        assert_eq!(decode(usize::MAX, 2, &[0; 100]), None);
        assert_eq!(decode(1, 801, &[0; 100]), None);
    }

    #[test]
    fn bytes_that_are_left_over_are_refused() {
        let mut bytes = encode(&[vec![1, 2, 3]]);
        bytes.push(0);
        assert_eq!(decode(1, 3, &bytes), None);
    }

    proptest! {
        #[test]
        fn folding_is_undone(number in -(1_i64 << 40)..(1_i64 << 40)) {
            prop_assert_eq!(unfold(fold(number)), number);
        }

        #[test]
        fn what_is_packed_comes_back_bit_for_bit(
            rows in 0_usize..5, row in prop::collection::vec(any::<i32>(), 0..700), shift in 0_u32..32,
        ) {
            let rows: Vec<Vec<i32>> = (0..rows)
                .map(|turn| row.iter().cycle().skip(turn).take(row.len()).map(|s| s >> shift).collect())
                .collect();
            let bytes = encode(&rows);
            prop_assert_eq!(decode(rows.len(), row.len(), &bytes), Some(rows));
        }

        #[test]
        fn any_bytes_are_samples_or_refused(
            rows in 0_usize..4, per_row in 0_usize..2000, bytes: Vec<u8>,
        ) {
            if let Some(leads) = decode(rows, per_row, &bytes) {
                prop_assert_eq!(leads.len(), rows);
                prop_assert!(leads.iter().all(|row| row.len() == per_row));
            }
        }
    }
}
