//! Which format a file is in: by its content first, by its name only where the content
//! cannot tell.

use std::path::Path;

use crate::text::{looks_like_text, lossless};

/// Media type of a file of which nothing more is known.
pub const OCTETS: &str = "application/octet-stream";

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
    /// European Data Format, EDF and EDF+.
    Edf,
    /// BioSemi's 24-bit EDF, BDF and BDF+.
    Bdf,
    /// SCP-ECG (EN 1064).
    Scp,
    /// ISHNE Holter data.
    Ishne,
    /// ISHNE annotations.
    IshneAnnotations,
    /// DICOM.
    Dicom,
    /// HL7 annotated ECG.
    Aecg,
    /// GE MUSE XML.
    MuseXml,
    /// Philips Sierra XML.
    PhilipsXml,
    /// RIFF WAVE sound.
    Wav,
    /// MFER (ISO 22077).
    Mfer,
    /// A Movesense sensor's own recording.
    Sbem,
    /// A recording of the Viatom ER1 family.
    Viatom,
    /// A HealthyPi Move's own recording.
    HealthyPi,
}

impl FormatId {
    /// All formats.
    pub const ALL: [Self; 17] = [
        Self::Wfdb,
        Self::WfdbAnnotations,
        Self::Csv,
        Self::Edf,
        Self::Bdf,
        Self::Scp,
        Self::Ishne,
        Self::IshneAnnotations,
        Self::Dicom,
        Self::Aecg,
        Self::MuseXml,
        Self::PhilipsXml,
        Self::Wav,
        Self::Mfer,
        Self::Sbem,
        Self::Viatom,
        Self::HealthyPi,
    ];

    /// Stable name in logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wfdb => "wfdb",
            Self::WfdbAnnotations => "wfdb-annotations",
            Self::Csv => "csv",
            Self::Edf => "edf",
            Self::Bdf => "bdf",
            Self::Scp => "scp",
            Self::Wav => "wav",
            Self::Mfer => "mfer",
            Self::Sbem => "sbem",
            Self::Viatom => "viatom",
            Self::HealthyPi => "healthypi",
            Self::Aecg => "aecg",
            Self::MuseXml => "muse-xml",
            Self::PhilipsXml => "philips-xml",
            Self::Dicom => "dicom",
            Self::Ishne => "ishne",
            Self::IshneAnnotations => "ishne-annotations",
        }
    }

    /// Media type of a file; the general one where none is registered.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Dicom => "application/dicom",
            Self::Aecg | Self::MuseXml | Self::PhilipsXml => "application/xml",
            Self::Wav => "audio/wav",
            Self::Csv => "text/csv",
            _ => OCTETS,
        }
    }

    /// The member of the EDF family that these first bytes begin.
    pub(crate) fn of_edf(bytes: &[u8]) -> Self {
        if bytes.first() == Some(&0xFF) {
            Self::Bdf
        } else {
            Self::Edf
        }
    }

    /// The format of a stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format that is meant by the name of a file to be written. What a name of a file
    /// to be read leaves open is settled: `.xml` is aECG, the only XML that is written.
    pub fn of_output(name: &Path) -> Option<Self> {
        let extension = name.extension()?.to_str()?;
        if extension.eq_ignore_ascii_case("xml") {
            return Some(Self::Aecg);
        }
        Self::from_extension(name)
    }

    /// The format that a name promises, by its extension.
    pub fn from_extension(name: &Path) -> Option<Self> {
        let extension = name.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "hea" => Some(Self::Wfdb),
            "atr" | "qrs" => Some(Self::WfdbAnnotations),
            "csv" | "tsv" => Some(Self::Csv),
            "edf" | "rec" => Some(Self::Edf),
            "bdf" => Some(Self::Bdf),
            "scp" => Some(Self::Scp),
            "wav" => Some(Self::Wav),
            "mwf" => Some(Self::Mfer),
            "sbem" => Some(Self::Sbem),
            "hpi" => Some(Self::HealthyPi),
            "dcm" => Some(Self::Dicom),
            "ecg" => Some(Self::Ishne),
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
            Self::Edf => "EDF",
            Self::Bdf => "BDF",
            Self::Scp => "SCP-ECG",
            Self::Wav => "WAV",
            Self::Mfer => "MFER",
            Self::Sbem => "SBEM",
            Self::Viatom => "Viatom",
            Self::HealthyPi => "HealthyPi",
            Self::Aecg => "HL7 aECG",
            Self::MuseXml => "MUSE XML",
            Self::PhilipsXml => "Philips XML",
            Self::Dicom => "DICOM",
            Self::Ishne => "ISHNE",
            Self::IshneAnnotations => "ISHNE annotations",
        })
    }
}

/// How many bytes from the start of a file [`sniff`] wants to see.
pub const HEAD_BYTES: usize = 4096;

/// The format of a file that starts with `head`. The name only decides between formats
/// whose content does not tell.
pub fn sniff(head: &[u8], name: &Path) -> Option<FormatId> {
    if let Some(format) = by_magic(head) {
        return Some(format);
    }
    if let Some(format) = by_root_element(head) {
        return Some(format);
    }
    if crate::sensor::healthypi::begins_like_one(head, name) {
        return Some(FormatId::HealthyPi);
    }
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

/// Formats that begin with bytes of their own.
fn by_magic(head: &[u8]) -> Option<FormatId> {
    if head.starts_with(b"\xFFBIOSEMI") {
        return Some(FormatId::Bdf);
    }
    if head.starts_with(crate::ishne::header::MAGIC) {
        return Some(FormatId::Ishne);
    }
    if head.starts_with(crate::ishne::header::MARKS_MAGIC) {
        return Some(FormatId::IshneAnnotations);
    }
    if head
        .get(crate::dicom::MAGIC_AT..)
        .is_some_and(|at| at.starts_with(crate::dicom::MAGIC))
    {
        return Some(FormatId::Dicom);
    }
    if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE") {
        return Some(FormatId::Wav);
    }
    if head.starts_with(crate::mfer::MAGIC) {
        return Some(FormatId::Mfer);
    }
    if head.starts_with(crate::sensor::sbem::MAGIC) {
        return Some(FormatId::Sbem);
    }
    // The reserved field of section 0, whose length is 6 + 10 bytes per pointer.
    if head.get(16..22) == Some(b"SCPECG") {
        return Some(FormatId::Scp);
    }
    // EDF begins with a version that is always 0; its header holds numbers at fixed places.
    let number = |at: usize, len: usize| {
        let field = head.get(at..at.saturating_add(len)).map(lossless);
        field.is_some_and(|text| text.trim().parse::<i64>().is_ok())
    };
    if head.starts_with(b"0       ") && number(184, 8) && number(252, 4) {
        return Some(FormatId::Edf);
    }
    None
}

/// XML formats, by the name of their root element.
fn by_root_element(head: &[u8]) -> Option<FormatId> {
    let text = crate::xml::text_of(head);
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    if !rest.starts_with('<') {
        return None;
    }
    // Declarations, comments and document types stand before the root.
    while let Some(inside) = rest.strip_prefix(['<']) {
        let after = if inside.starts_with("!--") {
            inside.split_once("-->")?.1
        } else if inside.starts_with(['?', '!']) {
            inside.split_once('>')?.1
        } else {
            let end = inside.find([' ', '>', '/', '\r', '\n', '\t'])?;
            let name = inside.get(..end)?;
            return match name.rsplit(':').next() {
                Some("AnnotatedECG") => Some(FormatId::Aecg),
                Some("RestingECG") => Some(FormatId::MuseXml),
                Some("restingecgdata") => Some(FormatId::PhilipsXml),
                _ => None,
            };
        };
        rest = after.trim_start();
    }
    None
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
