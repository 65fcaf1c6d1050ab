//! Annotation files: `annot(5)`, MIT format.
//!
//! Deliberately absent: the older AHA format.

use cardio_core::annotation::Annotation;
use cardio_core::index::SampleIndex;
use cardio_core::rate::SamplingRate;

use crate::error::FormatError;
use crate::fields::Fields;
use crate::sniff::FormatId;
use crate::text::lossless;
use crate::write::Facts;

/// The longest annotation file that is read; a day of beats takes some hundred kilobytes.
pub const FILE_LIMIT: u64 = 64 << 20;

/// Codes that are no mark but change the next one (`annot(5)`).
const SKIP: u16 = 59;
const NUM: u16 = 60;
const SUB: u16 = 61;
const CHN: u16 = 62;
const AUX: u16 = 63;
/// The code of a comment (`ecgcodes.h`, NOTE).
const NOTE: u16 = 22;
/// What begins the note that states how many ticks a second has.
const RESOLUTION: &str = "## time resolution: ";

/// Mnemonics of codes 0 to 49 (`ecgcodes.h`, `annot(5)`).
const MNEMONICS: [&str; 42] = [
    "", "N", "L", "R", "a", "V", "F", "J", "A", "S", "E", "j", "/", "Q", "~", "[15]", "|", "[17]",
    "s", "T", "*", "D", "\"", "=", "p", "B", "^", "t", "+", "u", "?", "!", "[", "]", "e", "n", "@",
    "x", "f", "(", ")", "r",
];

/// The mnemonic of a code.
pub fn mnemonic(code: u16) -> String {
    MNEMONICS
        .get(usize::from(code))
        .filter(|name| !name.is_empty() && !name.starts_with("[1"))
        .map_or_else(|| format!("[{code}]"), |name| (*name).to_owned())
}

/// The code of a mnemonic.
pub fn code_of(mnemonic: &str) -> Option<u16> {
    let listed = MNEMONICS
        .iter()
        .position(|name| *name == mnemonic && !name.is_empty());
    let numbered = || {
        let inner = mnemonic.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse().ok().filter(|code: &u16| *code < SKIP)
    };
    listed
        .and_then(|at| u16::try_from(at).ok())
        .or_else(numbered)
}

/// One mark, in the ticks of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, in ticks since the start of the record; may lie before it.
    pub tick: i64,
    /// What, as a number (`ecgcodes.h`).
    pub code: u16,
    /// Subtype.
    pub subtype: i8,
    /// Channel.
    pub channel: u8,
    /// Number field.
    pub number: i8,
    /// Auxiliary text, as written.
    pub aux: Option<Vec<u8>>,
}

impl Mark {
    /// The mark on the time line of a row: ticks become samples, rounded down.
    pub fn on(self, ticks: SamplingRate, rate: SamplingRate) -> Annotation {
        let (tick_count, tick_seconds) = ticks.as_ratio();
        let (samples, seconds) = rate.as_ratio();
        let tick = u128::from(u64::try_from(self.tick).unwrap_or(0));
        let above = tick
            .saturating_mul(u128::from(samples))
            .saturating_mul(u128::from(tick_seconds));
        let below = u128::from(seconds).saturating_mul(u128::from(tick_count));
        let at = above.checked_div(below).unwrap_or(0);
        Annotation {
            at: SampleIndex(u64::try_from(at).unwrap_or(u64::MAX)),
            code: mnemonic(self.code),
            subtype: i32::from(self.subtype),
            channel: u32::from(self.channel),
            number: i32::from(self.number),
            text: self.aux.map(|aux| {
                let end = aux.iter().rposition(|byte| *byte != 0);
                let kept = aux.get(..end.map_or(0, |end| end + 1));
                lossless(kept.unwrap_or_default())
            }),
        }
    }
}

/// What an annotation file holds.
#[derive(Debug, Default)]
pub struct AnnotationFile {
    /// The marks, in the order of the file.
    pub marks: Vec<Mark>,
    /// Ticks per second, when the file states them; the record's frames otherwise.
    pub ticks_per_second: Option<SamplingRate>,
    /// What is wrong with the file; the marks before the fault are kept.
    pub fault: Option<FormatError>,
}

impl AnnotationFile {
    /// Reads a file. Total: marks before a fault are kept.
    pub fn decode(bytes: &[u8]) -> Self {
        let mut file = Self::default();
        let mut fields = Fields::new(FormatId::WfdbAnnotations, bytes, 0);
        let mut mark = None;
        file.fault = file.read(&mut fields, &mut mark).err();
        file.keep(mark);
        file
    }

    /// Reads up to the end mark; the mark that is still open is the caller's to keep.
    fn read(
        &mut self,
        fields: &mut Fields<'_>,
        mark: &mut Option<Mark>,
    ) -> Result<(), FormatError> {
        let mut tick = 0_i64;
        let (mut channel, mut number) = (0_u8, 0_i8);
        loop {
            let word = fields.u16("annotation")?;
            let (code, low) = (word >> 10, word & 0x3FF);
            let [byte, _] = low.to_le_bytes();
            let signed = i8::from_le_bytes([byte]);
            match code {
                0 if low == 0 => return Ok(()),
                SKIP => {
                    self.keep(mark.take());
                    let high = fields.u16("SKIP")?;
                    let low = fields.u16("SKIP")?;
                    let [a, b] = low.to_le_bytes();
                    let [c, d] = high.to_le_bytes();
                    let ticks = i32::from_le_bytes([a, b, c, d]);
                    tick = tick.saturating_add(i64::from(ticks));
                }
                NUM => {
                    number = signed;
                    set(mark, |mark| mark.number = signed);
                }
                SUB => set(mark, |mark| mark.subtype = signed),
                CHN => {
                    channel = byte;
                    set(mark, |mark| mark.channel = byte);
                }
                AUX => {
                    let text = fields.take("AUX", usize::from(low))?;
                    if low % 2 == 1 {
                        fields.u8("AUX padding")?;
                    }
                    set(mark, |mark| mark.aux = Some(text.to_vec()));
                }
                _ => {
                    self.keep(mark.take());
                    tick = tick.saturating_add(i64::from(low));
                    *mark = Some(Mark {
                        tick,
                        code,
                        subtype: 0,
                        channel,
                        number,
                        aux: None,
                    });
                }
            }
        }
    }

    /// Keeps a finished mark; the note that states the resolution is a fact of the file.
    fn keep(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark else {
            return;
        };
        let stated = (mark.tick == 0 && mark.code == NOTE)
            .then(|| mark.aux.as_deref().map(lossless).unwrap_or_default())
            .and_then(|text| {
                let rest = text.strip_prefix(RESOLUTION)?;
                let word = rest.split_whitespace().next()?;
                let hz = word.trim_end_matches('\0').parse().ok()?;
                SamplingRate::from_hz(hz).ok()
            });
        match stated {
            Some(rate) if self.ticks_per_second.is_none() => self.ticks_per_second = Some(rate),
            _ => self.marks.push(mark),
        }
    }
}

/// Writes marks as an annotation file. `ticks` is stated in the file when it is not the
/// record's rate of frames.
pub(crate) fn encode(
    marks: &[Annotation],
    ticks: Option<SamplingRate>,
    facts: &mut Facts,
) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    if let Some(rate) = ticks {
        let text = format!("{RESOLUTION}{}", rate.as_hz());
        word(&mut out, NOTE, 0);
        auxiliary(&mut out, text.as_bytes());
    }
    let mut last = 0_u64;
    let (mut channel, mut number) = (0_u8, 0_i8);
    for mark in marks {
        let since = mark.at.0.checked_sub(last).ok_or_else(|| {
            let why = format!("the mark at {} is not in time order", mark.at.0);
            facts.refuse("annotations", why)
        })?;
        last = mark.at.0;
        let code = code_of(&mark.code);
        let low = skip(&mut out, since);
        word(&mut out, code.unwrap_or(NOTE), low);
        let narrow = |field, value: i32| {
            i8::try_from(value).map_err(|_| facts.refuse(field, value.to_string()))
        };
        let subtype = narrow("subtype", mark.subtype)?;
        if subtype != 0 {
            small(&mut out, SUB, subtype.to_le_bytes());
        }
        let own = u8::try_from(mark.channel)
            .map_err(|_| facts.refuse("channel", mark.channel.to_string()))?;
        if own != channel {
            channel = own;
            small(&mut out, CHN, [channel]);
        }
        let own = narrow("number", mark.number)?;
        if own != number {
            number = own;
            small(&mut out, NUM, number.to_le_bytes());
        }
        // A code that WFDB has no number for becomes a note with the code as its text.
        let named = code.is_none().then_some(&mark.code);
        let parts: Vec<&str> = named
            .into_iter()
            .chain(&mark.text)
            .map(String::as_str)
            .collect();
        let text = parts.join(" ");
        if text.len() > usize::from(u8::MAX) {
            return Err(facts.refuse("annotation", format!("text of {} bytes", text.len())));
        }
        if named.is_some() && mark.text.is_some() {
            facts.lose("annotation", "the border between code and text")?;
        }
        if !text.is_empty() {
            auxiliary(&mut out, text.as_bytes());
        }
    }
    word(&mut out, 0, 0);
    Ok(out)
}

fn word(out: &mut Vec<u8>, code: u16, low: u16) {
    out.extend(((code << 10) | low).to_le_bytes());
}

fn small(out: &mut Vec<u8>, code: u16, [byte]: [u8; 1]) {
    word(out, code, u16::from(byte));
}

fn auxiliary(out: &mut Vec<u8>, text: &[u8]) {
    word(out, AUX, u16::try_from(text.len()).unwrap_or(0));
    out.extend(text);
    if text.len() % 2 == 1 {
        out.push(0);
    }
}

/// Steps over ticks that ten bits do not hold; gives what remains for the mark itself.
fn skip(out: &mut Vec<u8>, since: u64) -> u16 {
    if let Ok(low @ 0..=0x3FF) = u16::try_from(since) {
        return low;
    }
    let mut left = since;
    while left > 0 {
        let step = i32::try_from(left).unwrap_or(i32::MAX);
        let [a, b, c, d] = step.to_le_bytes();
        word(out, SKIP, 0);
        out.extend([c, d, a, b]);
        left = left.saturating_sub(u64::from(step.unsigned_abs()));
    }
    0
}

fn set(mark: &mut Option<Mark>, change: impl FnOnce(&mut Mark)) {
    if let Some(mark) = mark {
        change(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::{AnnotationFile, RESOLUTION, code_of, mnemonic};
    use proptest::prelude::*;

    #[test]
    fn every_number_has_a_mnemonic_that_leads_back() {
        for code in 1..50_u16 {
            assert_eq!(code_of(&mnemonic(code)), Some(code), "{}", mnemonic(code));
        }
    }

    #[test]
    fn channel_and_number_carry_over_and_subtype_does_not() {
        // N at 5 with SUB 2, CHN 1, NUM 3; N at 10; end.
        let bytes = [5, 4, 2, 0xF4, 1, 0xF8, 3, 0xF0, 5, 4, 0, 0];
        let file = AnnotationFile::decode(&bytes);
        assert!(file.fault.is_none());
        let facts: Vec<_> = file
            .marks
            .iter()
            .map(|mark| (mark.tick, mark.subtype, mark.channel, mark.number))
            .collect();
        assert_eq!(facts, [(5, 2, 1, 3), (10, 0, 1, 3)]);
    }

    #[test]
    fn a_skip_stores_its_high_word_first() {
        let bytes = [0, 0xEC, 1, 0, 0, 0, 0, 4, 0, 0];
        assert_eq!(AnnotationFile::decode(&bytes).marks[0].tick, 65_536);
    }

    #[test]
    fn a_stated_resolution_is_a_fact_and_no_mark() {
        let text = format!("{RESOLUTION}1000");
        let mut bytes = vec![0, 22 << 2, u8::try_from(text.len()).unwrap(), 63 << 2];
        bytes.extend(text.as_bytes());
        if text.len() % 2 == 1 {
            bytes.push(0);
        }
        bytes.extend([5, 4, 0, 0]);
        let file = AnnotationFile::decode(&bytes);
        assert_eq!(file.ticks_per_second.unwrap().as_hz(), 1000.0);
        assert_eq!(file.marks.len(), 1);
    }

    #[test]
    fn marks_before_a_cut_are_kept() {
        let file = AnnotationFile::decode(&[5, 4, 5]);
        assert_eq!(file.marks.len(), 1);
        assert_eq!(file.fault.unwrap().offset(), Some(2));
    }

    proptest! {
        #[test]
        fn any_bytes_give_marks_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let file = AnnotationFile::decode(&bytes);
            prop_assert!(file.marks.len() <= bytes.len());
        }
    }
}
