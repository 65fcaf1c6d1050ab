//! Time-stamped annotation lists of EDF+ (section 2.2 of its specification).

/// Ends the onset when a duration follows.
const DURATION: u8 = 0x15;
/// Ends the onset, the duration, and each text.
const TEXT: u8 = 0x14;

/// One time-stamped annotation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tal {
    /// Onset in nanoseconds after the file's start.
    pub onset_nanos: i128,
    /// Onset as written.
    pub onset: String,
    /// Duration as written, if any.
    pub duration: Option<String>,
    /// The texts; the first list of a record begins with an empty one.
    pub texts: Vec<String>,
}

/// Reads the lists of one annotation signal in one record. Gives the lists before a fault
/// and the offset of the fault.
pub fn decode(bytes: &[u8]) -> (Vec<Tal>, Option<usize>) {
    let mut lists = Vec::new();
    let mut at = 0_usize;
    for part in bytes.split(|byte| *byte == 0) {
        if !part.is_empty() {
            match list(part) {
                Some(tal) => lists.push(tal),
                None => return (lists, Some(at)),
            }
        }
        at = at.saturating_add(part.len()).saturating_add(1);
    }
    (lists, None)
}

fn list(bytes: &[u8]) -> Option<Tal> {
    let body = bytes.strip_suffix(&[TEXT])?;
    let mut parts = body.split(|byte| *byte == TEXT);
    let times = parts.next()?;
    let mut times = times.splitn(2, |byte| *byte == DURATION);
    let onset = std::str::from_utf8(times.next()?).ok()?;
    if !onset.starts_with(['+', '-']) {
        return None;
    }
    let duration = times.next().map(crate::text::lossless);
    Some(Tal {
        onset_nanos: nanos(onset)?,
        onset: onset.to_owned(),
        duration,
        texts: parts.map(crate::text::lossless).collect(),
    })
}

/// Decimal seconds to whole nanoseconds; digits beyond are cut.
pub fn nanos(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once(['.', ',']).unwrap_or((unsigned, ""));
    let fits = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !fits(whole) || !fits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let seconds: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos = seconds * 1_000_000_000 + digits.parse::<i128>().ok()?;
    Some(if text.starts_with('-') { -nanos } else { nanos })
}

#[cfg(test)]
mod tests {
    use super::{decode, nanos};
    use proptest::prelude::*;

    #[test]
    fn a_list_holds_onset_duration_and_texts() {
        let bytes = b"+0.5\x14\x14\0+180.25\x1520\x14Apnea\x14Arousal\x14\0\0\0";
        let (lists, fault) = decode(bytes);
        assert_eq!(fault, None);
        assert_eq!(lists[0].texts, [""]);
        assert_eq!(lists[0].onset_nanos, 500_000_000);
        assert_eq!(lists[1].duration.as_deref(), Some("20"));
        assert_eq!(lists[1].texts, ["Apnea", "Arousal"]);
    }

    #[test]
    fn a_list_without_an_end_says_where() {
        let (lists, fault) = decode(b"+1\x14\x14\0+2\x14x\0");
        assert_eq!((lists.len(), fault), (1, Some(5)));
    }

    #[test]
    fn seconds_become_nanoseconds_without_rounding() {
        assert_eq!(nanos("+1.000000001"), Some(1_000_000_001));
        assert_eq!(nanos("-0.25"), Some(-250_000_000));
        assert_eq!(nanos("1e3"), None);
        assert_eq!(nanos(""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_located(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, fault) = decode(&bytes);
            prop_assert!(fault.is_none_or(|at| at < bytes.len()));
        }
    }
}
