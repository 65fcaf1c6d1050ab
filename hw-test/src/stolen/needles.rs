//! What is looked for: words, samples and slices of records, in the forms in which a program
//! might leave them behind.

use std::collections::BTreeSet;

use crate::judge::ledger::Ledger;

/// Samples in a row that make a needle.
const RUN: usize = 8;
/// Places of the signal that are looked for.
const PLACES: usize = 24;
/// Shorter needles are found by chance.
const SHORTEST: usize = 5;

/// What a needle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A name or a number of the patient.
    Identity,
    /// The patient's opaque reference.
    Subject,
    /// Samples as numbers.
    Signal,
    /// Bytes of a record before it was sealed.
    Record,
    /// Planted on the card to prove the search.
    Planted,
}

impl What {
    /// Its name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Subject => "the subject",
            Self::Signal => "signal",
            Self::Record => "records",
            Self::Planted => "planted",
        }
    }
}

/// Bytes to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Needle {
    pub(crate) what: What,
    pub(crate) bytes: Vec<u8>,
}

/// A word as UTF-8, Latin-1, UTF-16 of both orders, hexadecimal and base64 at each of its three offsets.
pub(crate) fn text(what: What, word: &str) -> Vec<Needle> {
    let wide = |order: fn(u16) -> [u8; 2]| word.encode_utf16().flat_map(order).collect();
    let latin: Option<Vec<u8>> = word.chars().map(|c| u8::try_from(c).ok()).collect();
    let latin = latin.filter(|_| !word.is_ascii());
    forms(word.as_bytes())
        .into_iter()
        .chain([wide(u16::to_le_bytes), wide(u16::to_be_bytes)])
        .chain(latin)
        .map(|bytes| Needle { what, bytes })
        .collect()
}

/// Bytes as they are, in hexadecimal of both cases, and in base64 at each offset.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lower: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![
        bytes.to_vec(),
        lower.to_uppercase().into_bytes(),
        lower.into_bytes(),
    ];
    all.extend((0..3).map(|offset| base64_at(bytes, offset)));
    all
}

/// The characters of base64 that depend on these bytes alone, when `offset` others stand
/// before them in their group of three.
fn base64_at(bytes: &[u8], offset: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<bool> = std::iter::repeat_n(0, offset)
        .chain(bytes.iter().copied())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
        .collect();
    let whole = bits.chunks_exact(6).enumerate();
    whole
        .skip_while(|(at, _)| at * 6 < offset * 8)
        .filter_map(|(_, six)| {
            let digit = six.iter().fold(0, |all, bit| all << 1 | usize::from(*bit));
            DIGITS.get(digit).copied()
        })
        .collect()
}

/// Stretches of the signal as integers of 16, 24 and 32 bits in both orders, as decimal text,
/// and interleaved over the leads.
pub(crate) fn signal(ledger: &Ledger) -> Vec<Needle> {
    let rows = &ledger.sent;
    let step = (rows.len() / PLACES).max(RUN);
    let mut needles = Vec::new();
    for place in rows.chunks(step) {
        let Some(stretch) = place.get(..RUN) else {
            continue;
        };
        for lead in 0..ledger.leads.len() {
            let row: Vec<i32> = stretch
                .iter()
                .filter_map(|one| one.counts.get(lead).copied())
                .collect();
            needles.extend(numbers(What::Signal, &row));
        }
        let mixed: Vec<i32> = stretch
            .iter()
            .flat_map(|one| one.counts.iter().copied())
            .collect();
        needles.extend(numbers(What::Signal, &mixed));
    }
    needles
}

/// A stretch of samples in each form; none when it is too flat to be told from anything else.
pub(crate) fn numbers(what: What, row: &[i32]) -> Vec<Needle> {
    let different: BTreeSet<&i32> = row.iter().collect();
    if different.len() < RUN / 2 {
        return Vec::new();
    }
    let mut forms: Vec<Vec<u8>> = vec![
        row.iter().flat_map(|v| v.to_le_bytes()).collect(),
        row.iter().flat_map(|v| v.to_be_bytes()).collect(),
        row.iter()
            .flat_map(|v| v.to_le_bytes().into_iter().take(3))
            .collect(),
        row.iter()
            .flat_map(|v| v.to_be_bytes().into_iter().skip(1))
            .collect(),
    ];
    let narrow: Result<Vec<i16>, _> = row.iter().map(|v| i16::try_from(*v)).collect();
    if let Ok(narrow) = narrow {
        forms.push(narrow.iter().flat_map(|v| v.to_le_bytes()).collect());
        forms.push(narrow.iter().flat_map(|v| v.to_be_bytes()).collect());
    }
    for between in [",", ", ", " ", "\n", ";"] {
        let words: Vec<String> = row.iter().map(i32::to_string).collect();
        forms.push(words.join(between).into_bytes());
    }
    // And the binary ones as text.
    let words: Vec<Vec<u8>> = forms.iter().flat_map(|bytes| self::forms(bytes)).collect();
    forms.extend(words);
    forms
        .into_iter()
        .map(|bytes| Needle { what, bytes })
        .collect()
}

/// A slice of a record, from the hexadecimal digits of a database.
pub(crate) fn record(digits: &str) -> Vec<Needle> {
    let bytes = unhex(digits);
    let different: BTreeSet<&u8> = bytes.iter().collect();
    if bytes.len() < SHORTEST || different.len() < SHORTEST {
        return Vec::new();
    }
    let what = What::Record;
    forms(&bytes)
        .into_iter()
        .map(|bytes| Needle { what, bytes })
        .collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{What, base64_at, numbers, text};

    #[test]
    fn base64_is_found_wherever_the_word_stands_in_it() {
        // "ESSAI" alone, behind one and behind two other bytes: RVNTQUk=, eEVTU0FJ, eHhFU1NBSQ==.
        for (offset, whole) in ["RVNTQUk=", "eEVTU0FJ", "eHhFU1NBSQ=="].iter().enumerate() {
            let part = String::from_utf8(base64_at(b"ESSAI", offset)).unwrap();
            assert!(whole.contains(&part), "{part} in {whole}");
            assert!(part.len() >= 5);
        }
    }

    #[test]
    fn a_word_has_eight_forms() {
        let forms = text(What::Identity, "AZ-12");
        assert_eq!(forms.len(), 8);
        assert!(
            forms
                .iter()
                .any(|form| form.bytes == b"A\0Z\0-\x001\x002\0")
        );
        assert!(forms.iter().any(|form| form.bytes == b"415a2d3132"));
    }

    #[test]
    fn an_accent_is_looked_for_in_latin_1_too() {
        let forms = text(What::Identity, "Amb\u{e9}on");
        assert!(forms.iter().any(|form| form.bytes == b"Amb\xe9on"));
    }

    #[test]
    fn samples_are_looked_for_in_both_orders_and_as_text_unless_they_are_flat() {
        let forms = numbers(What::Signal, &[1, -2, 3, -4, 5, -6, 7, -8]);
        let is_there = |bytes: &[u8]| forms.iter().any(|form| form.bytes == bytes);
        assert!(is_there(&[
            1, 0, 254, 255, 3, 0, 252, 255, 5, 0, 250, 255, 7, 0, 248, 255
        ]));
        assert!(is_there(b"1, -2, 3, -4, 5, -6, 7, -8"));
        assert!(is_there(b"0001fffe0003fffc0005fffa0007fff8"));
        assert!(numbers(What::Signal, &[5; 8]).is_empty());
    }
}
