//! Gap records as the gateway opened them: a reader of just as much CBOR (RFC 8949) as they need.
//!
//! Written anew from `schemas/cddl/record.cddl`: the judge does not share the product's decoder.

/// A stretch of a lane that a box named as missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedGap {
    /// The lane's number.
    pub(crate) lane: u64,
    /// The chain, in upper-case hexadecimal digits; zeros when the box did not know it.
    pub(crate) chain: String,
    /// The first frame that is missing.
    pub(crate) from_seq: u64,
    /// The last one.
    pub(crate) to_seq: u64,
    /// Why.
    pub(crate) reason: String,
}

impl NamedGap {
    /// Reads a `lane-gap` record; `None` when it is none.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let mut rest = record;
        let (5, pairs) = head(&mut rest)? else {
            return None;
        };
        let mut gap = Self::default();
        let mut kind = None;
        for _ in 0..pairs {
            let (0, key) = head(&mut rest)? else {
                return None;
            };
            let value = item(&mut rest)?;
            match (key, value) {
                (0, Item::Number(number)) => kind = Some(number),
                (4, Item::Number(number)) => gap.lane = number,
                (5, Item::Bytes(bytes)) => gap.chain = hex(bytes),
                (6, Item::Number(number)) => gap.from_seq = number,
                (7, Item::Number(number)) => gap.to_seq = number,
                (9, Item::Bytes(text)) => gap.reason = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        (kind == Some(6)).then_some(gap)
    }

    /// Whether it names this frame.
    pub(crate) fn names(&self, lane: u64, chain: &str, seq: u64) -> bool {
        let unknown = self.chain.bytes().all(|digit| digit == b'0');
        self.lane == lane
            && (unknown || self.chain == chain)
            && (self.from_seq..=self.to_seq).contains(&seq)
    }
}

/// One value, as far as it matters here.
enum Item<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// Major type and argument of the next value.
fn head(rest: &mut &[u8]) -> Option<(u8, u64)> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    let (major, short) = (first >> 5, first & 0x1f);
    let width = match short {
        0..=23 => return Some((major, u64::from(short))),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return None,
    };
    let (argument, after) = rest.split_at_checked(width)?;
    *rest = after;
    let number = argument
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    Some((major, number))
}

fn item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let (major, argument) = head(rest)?;
    match major {
        0 => Some(Item::Number(argument)),
        2 | 3 => {
            let (bytes, after) = rest.split_at_checked(usize::try_from(argument).ok()?)?;
            *rest = after;
            Some(Item::Bytes(bytes))
        }
        4 | 5 => {
            let values = if major == 4 {
                argument
            } else {
                argument.saturating_mul(2)
            };
            for _ in 0..values {
                item(rest)?;
            }
            Some(Item::Other)
        }
        6 => item(rest),
        _ => Some(Item::Other),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The bytes of a text of hexadecimal digits.
pub(crate) fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high << 4 | low).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{NamedGap, bytes_of};

    /// `{0: 6, 1: 1, 3: [1, 2], 4: 2, 5: h'AB01', 6: 3, 7: 500, 8: 0, 9: "x.y"}`
    const RECORD: &str = "A9 0006 0101 03820102 0402 0542AB01 0603 071901F4 0800 0963782E79";

    fn gap() -> NamedGap {
        NamedGap::read(&bytes_of(&RECORD.replace(' ', "")).unwrap()).unwrap()
    }

    #[test]
    fn a_gap_record_is_read_over_what_is_of_no_interest() {
        let gap = gap();
        assert_eq!((gap.lane, gap.from_seq, gap.to_seq), (2, 3, 500));
        assert_eq!((gap.chain.as_str(), gap.reason.as_str()), ("AB01", "x.y"));
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(bytes_of("00FF"), Some(vec![0, 255]));
        assert_eq!(bytes_of("0"), None);
    }

    #[test]
    fn it_names_its_own_frames_and_no_other() {
        assert!(gap().names(2, "AB01", 3) && gap().names(2, "AB01", 500));
        assert!(!gap().names(2, "AB01", 501) && !gap().names(1, "AB01", 3));
        assert!(!gap().names(2, "AB02", 3));
    }

    #[test]
    fn what_is_cut_off_or_another_record_is_no_gap() {
        let whole = bytes_of(&RECORD.replace(' ', "")).unwrap();
        for end in 0..whole.len() {
            assert_eq!(NamedGap::read(&whole[..end]), None);
        }
        let mut other = whole;
        other[2] = 7;
        assert_eq!(NamedGap::read(&other), None);
    }
}
