//! What `convert IN OUT` means: which format, which names, and what it did, in words.
//!
//! The extension of OUT decides the format unless the caller names one; the two must agree.
//! Deliberately absent: the disk (see [`crate::fsource`]) and the writers themselves.

use std::path::{Path, PathBuf};

use crate::sniff::FormatId;
use crate::write::{WRITABLE, Written};

/// Where a conversion goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder of the files.
    pub folder: PathBuf,
    /// Their name without extension.
    pub stem: String,
    /// Their format.
    pub format: FormatId,
}

/// Why a path is no target of a conversion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither the name nor the caller says a format.
    #[error("{} does not say which format to write", path.display())]
    NoFormat {
        /// The path.
        path: PathBuf,
    },
    /// The name says one format, the caller another.
    #[error("{} promises {named}, but {asked} is to be written", path.display())]
    Contradiction {
        /// The path.
        path: PathBuf,
        /// What the name promises.
        named: FormatId,
        /// What the caller asks for.
        asked: FormatId,
    },
    /// The format is only read.
    #[error("{format} is only read, not written")]
    ReadOnly {
        /// The format.
        format: FormatId,
    },
    /// The path has no file name, or one that is no text.
    #[error("{} names no file", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
}

impl TargetError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoFormat { .. } => "convert.no-format",
            Self::Contradiction { .. } => "convert.contradiction",
            Self::ReadOnly { .. } => "convert.read-only",
            Self::NoName { .. } => "convert.no-name",
        }
    }
}

impl Target {
    /// What `out` means, with the format that the caller asks for, if any.
    ///
    /// # Errors
    /// [`TargetError`] when that is not one writable format and one name.
    pub fn of(out: &Path, asked: Option<FormatId>) -> Result<Self, TargetError> {
        let path = || out.to_owned();
        let named = FormatId::of_output(out);
        let format = match (named, asked) {
            (Some(named), Some(asked)) if named != asked => {
                let path = path();
                return Err(TargetError::Contradiction { path, named, asked });
            }
            (_, Some(format)) | (Some(format), None) => format,
            (None, None) => return Err(TargetError::NoFormat { path: path() }),
        };
        if !WRITABLE.contains(&format) {
            return Err(TargetError::ReadOnly { format });
        }
        let stem = if named.is_some() {
            out.file_stem()
        } else {
            out.file_name()
        };
        let stem = stem.and_then(|stem| stem.to_str());
        let stem = stem.ok_or_else(|| TargetError::NoName { path: path() })?;
        Ok(Self {
            folder: out.parent().map(Path::to_owned).unwrap_or_default(),
            stem: stem.to_owned(),
            format,
        })
    }
}

/// The document of `convert --json`.
#[derive(Debug, serde::Serialize)]
pub struct Conversion {
    schema: &'static str,
    from: &'static str,
    to: &'static str,
    files: Vec<FileFacts>,
    left_behind: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, serde::Serialize)]
struct FileFacts {
    name: String,
    bytes: usize,
}

impl Conversion {
    /// The document `convert/1` of what was written. Facts that were left behind are told
    /// by the name of their field: what they said may identify the patient.
    pub fn of(
        recording: &cardio_core::recording::Recording,
        to: FormatId,
        written: &Written,
    ) -> Self {
        let files = written.files.iter().map(|(name, bytes)| FileFacts {
            name: name.clone(),
            bytes: bytes.len(),
        });
        Self {
            schema: "convert/1",
            from: recording.format,
            to: to.name(),
            files: files.collect(),
            left_behind: fields(&written.dropped),
            warnings: recording.warnings.clone(),
        }
    }

    /// The same in words.
    pub fn text(&self) -> String {
        let mut text = format!("WRITTEN   {} as {}\n\n", self.from, self.to);
        for file in &self.files {
            text += &format!("{:<32} {:>12} bytes\n", file.name, file.bytes);
        }
        for field in &self.left_behind {
            text += &format!("left behind: {field}\n");
        }
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text
    }
}

/// The fields of facts, each with the number of facts.
fn fields(dropped: &[String]) -> Vec<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for fact in dropped {
        let field = fact
            .split_once(':')
            .map_or(fact.as_str(), |(field, _)| field);
        match counts.iter_mut().find(|(known, _)| *known == field) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((field, 1)),
        }
    }
    counts
        .into_iter()
        .map(|(field, count)| match count {
            1 => field.to_owned(),
            _ => format!("{field} ({count})"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FormatId, Target, TargetError, fields};
    use std::path::Path;

    fn of(out: &str, asked: Option<FormatId>) -> Result<Target, TargetError> {
        Target::of(Path::new(out), asked)
    }

    #[test]
    fn the_extension_says_the_format() {
        let target = of("out/day.edf", None).unwrap();
        assert_eq!(
            (target.stem.as_str(), target.format),
            ("day", FormatId::Edf)
        );
        assert_eq!(target.folder, Path::new("out"));
        assert_eq!(of("a.xml", None).unwrap().format, FormatId::Aecg);
    }

    #[test]
    fn a_name_without_a_known_extension_is_taken_whole() {
        let target = of("holter.v2", Some(FormatId::Wfdb)).unwrap();
        assert_eq!(target.stem, "holter.v2");
        assert_eq!(
            of("holter.v2", None).unwrap_err().code(),
            "convert.no-format"
        );
    }

    #[test]
    fn a_name_and_a_wish_that_differ_are_refused() {
        let err = of("a.dcm", Some(FormatId::Edf)).unwrap_err();
        assert_eq!(
            err.to_string(),
            "a.dcm promises DICOM, but EDF is to be written"
        );
        assert_eq!(of("a.mwf", None).unwrap_err().code(), "convert.read-only");
        assert_eq!(
            of("..", Some(FormatId::Edf)).unwrap_err().code(),
            "convert.no-name"
        );
    }

    #[test]
    fn facts_left_behind_are_told_without_what_they_said() {
        let dropped = ["remark: a: b", "remark: c", "patient: X"].map(str::to_owned);
        assert_eq!(fields(&dropped), ["remark (2)", "patient"]);
    }
}
