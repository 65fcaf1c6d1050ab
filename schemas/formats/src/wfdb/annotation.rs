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
        file.fault = file.read(&mut fields).err();
        file
    }

    fn read(&mut self, fields: &mut Fields<'_>) -> Result<(), FormatError> {
        let mut tick = 0_i64;
        let (mut channel, mut number) = (0_u8, 0_i8);
        let mut mark: Option<Mark> = None;
        loop {
            let word = fields.u16("annotation")?;
            let (code, low) = (word >> 10, word & 0x3FF);
            let [byte, _] = low.to_le_bytes();
            let signed = i8::from_le_bytes([byte]);
            match code {
                0 if low == 0 => {
                    self.keep(mark.take());
                    return Ok(());
                }
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
                    set(&mut mark, |mark| mark.number = signed);
                }
                SUB => set(&mut mark, |mark| mark.subtype = signed),
                CHN => {
                    channel = byte;
                    set(&mut mark, |mark| mark.channel = byte);
                }
                AUX => {
                    let text = fields.take("AUX", usize::from(low))?;
                    if low % 2 == 1 {
                        fields.u8("AUX padding")?;
                    }
                    set(&mut mark, |mark| mark.aux = Some(text.to_vec()));
                }
                _ => {
                    self.keep(mark.take());
                    tick = tick.saturating_add(i64::from(low));
                    mark = Some(Mark {
                        tick,
                        code,
                        subtype: 0,
                        channel,
                        number,
                        aux: None,
                    });
                }
            }
            if fields.rest().is_empty() {
                self.keep(mark.take());
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

fn set(mark: &mut Option<Mark>, change: impl FnOnce(&mut Mark)) {
    if let Some(mark) = mark {
        change(mark);
    }
}
