//! LZW with fixed codes of 10 bits, highest bit first, as XLI uses it.

/// Bits of a code.
const BITS: u32 = 10;
/// The highest code that names a string.
const CODE_MAX: usize = (1 << BITS) - 2;
/// The most bytes that one chunk may grow to: an hour of one lead at 1000 Hz.
pub(super) const OUTPUT_MAX: usize = 8 << 20;

/// Where a string that was learnt stands in the output.
#[derive(Clone, Copy)]
struct Learnt {
    from: usize,
    len: usize,
}

/// The bytes of a chunk up to its end or its first code that means nothing; `None` when
/// they grow beyond [`OUTPUT_MAX`].
pub(super) fn decode(packed: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    // Strings 256 and up; every one is a stretch of the output itself.
    let mut learnt: Vec<Learnt> = Vec::new();
    let mut previous: Option<Learnt> = None;
    for code in codes(packed) {
        if code > CODE_MAX {
            break;
        }
        let from = out.len();
        match (u8::try_from(code), code.checked_sub(256)) {
            (Ok(byte), _) => out.push(byte),
            (_, Some(position)) => {
                // The code that is learnt next repeats the previous string and its first byte.
                let next = previous.filter(|_| position == learnt.len());
                let string = learnt.get(position).copied().or(next);
                let Some(string) = string else {
                    break;
                };
                let extra = usize::from(position == learnt.len());
                for at in 0..string.len {
                    let byte = out.get(string.from.saturating_add(at)).copied()?;
                    out.push(byte);
                }
                if extra == 1 {
                    out.push(out.get(string.from).copied()?);
                }
            }
            (Err(_), None) => break,
        }
        if out.len() > OUTPUT_MAX {
            return None;
        }
        // The previous string and the first byte of this one stand side by side.
        if let Some(previous) = previous.filter(|_| learnt.len().saturating_add(256) <= CODE_MAX) {
            learnt.push(Learnt {
                from: previous.from,
                len: previous.len.saturating_add(1),
            });
        }
        previous = Some(Learnt {
            from,
            len: out.len().saturating_sub(from),
        });
    }
    Some(out)
}

fn codes(packed: &[u8]) -> impl Iterator<Item = usize> {
    let mut bytes = packed.iter();
    let (mut held, mut bits) = (0_u32, 0_u32);
    std::iter::from_fn(move || {
        while bits < BITS {
            held = (held << 8) | u32::from(*bytes.next()?);
            bits += 8;
        }
        bits -= BITS;
        let code = (held >> bits) & ((1 << BITS) - 1);
        usize::try_from(code).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::decode;
    use proptest::prelude::*;

    /// Codes of 10 bits, packed.
    fn packed(codes: &[u32]) -> Vec<u8> {
        let bits: String = codes.iter().map(|code| format!("{code:010b}")).collect();
        let padded = format!("{bits:0<width$}", width = bits.len().next_multiple_of(8));
        (0..padded.len() / 8)
            .map(|at| u8::from_str_radix(&padded[at * 8..at * 8 + 8], 2).unwrap())
            .collect()
    }

    #[test]
    fn strings_are_learnt_while_they_are_read() {
        // a b ab aba: the last code is used before it is learnt.
        let bytes = decode(&packed(&[97, 98, 256, 258, 1023])).unwrap();
        assert_eq!(bytes, b"abababa");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
