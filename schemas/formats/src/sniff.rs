//! Which format a file is in: by its content first, by its name only where the content
//! cannot tell.

use std::path::Path;

use crate::text::{looks_like_text, lossless};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FormatId {
    /// WaveForm DataBase record, by its header.
    Wfdb,
    /// WFDB annotation file.
    WfdbAnnotations,
    /// Comma-separated values.
    Csv,
}

impl FormatId {
    /// Stable name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wfdb => "wfdb",
            Self::WfdbAnnotations => "wfdb-annotations",
            Self::Csv => "csv",
        }
    }

    /// The format that a name promises, by its extension.
    pub fn from_extension(name: &Path) -> Option<Self> {
        let extension = name.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "hea" => Some(Self::Wfdb),
            "atr" | "qrs" | "ann" => Some(Self::WfdbAnnotations),
            "csv" | "tsv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl std::fmt::Display for FormatId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Wfdb => "WFDB",
            Self::WfdbAnnotations => "WFDB annotations",
            Self::Csv => "CSV",
        })
    }
}

/// How many bytes from the start of a file [`sniff`] wants to see.
pub const HEAD_BYTES: usize = 4096;

/// The format of a file that starts with `head`. The name only decides between formats
/// whose content does not tell.
pub fn sniff(head: &[u8], name: &Path) -> Option<FormatId> {
    if !looks_like_text(head) {
        return None;
    }
    let text = lossless(head);
    if is_wfdb_header(&text) {
        return Some(FormatId::Wfdb);
    }
    let named = FormatId::from_extension(name) == Some(FormatId::Csv);
    let separated = text
        .lines()
        .find(|line| !line.starts_with('#') && !line.trim().is_empty())
        .is_some_and(|line| line.contains([',', ';', '\t']));
    let marked = text
        .lines()
        .next()
        .is_some_and(|line| line.contains("rate_hz"));
    (separated && (named || marked)).then_some(FormatId::Csv)
}

/// A record line: a name, a number of signals, perhaps a rate.
fn is_wfdb_header(text: &str) -> bool {
    let Some(line) = text
        .lines()
        .find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty())
    else {
        return false;
    };
    let mut words = line.split_whitespace();
    let (Some(name), Some(signals)) = (words.next(), words.next()) else {
        return false;
    };
    let name_fits = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'/' | b'.'));
    let rate_fits = words
        .next()
        .is_none_or(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == '.'));
    name_fits && rate_fits && !signals.is_empty() && signals.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{FormatId, sniff};
    use std::path::Path;

    #[test]
    fn a_header_is_told_by_its_record_line() {
        let head = b"# made by hand\r\n100 2 360 650000\r\n100.dat 212 200\r\n";
        assert_eq!(sniff(head, Path::new("x")), Some(FormatId::Wfdb));
    }

    #[test]
    fn a_picture_is_no_recording_whatever_its_name() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n\0\0", Path::new("100.hea")), None);
        assert_eq!(sniff(b"", Path::new("100.csv")), None);
    }

    #[test]
    fn separated_values_are_told_by_name_or_by_their_first_comment() {
        let body = b"I,II\n1,2\n";
        assert_eq!(sniff(body, Path::new("a.csv")), Some(FormatId::Csv));
        assert_eq!(sniff(body, Path::new("a.txt")), None);
        let marked = b"# rate_hz: 500\nI,II\n1,2\n";
        assert_eq!(sniff(marked, Path::new("a.txt")), Some(FormatId::Csv));
    }
}
