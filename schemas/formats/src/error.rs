//! Why a file cannot be read or written: the format, the field and the place.

use crate::sniff::FormatId;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file could not be opened.
    #[error("cannot open {name}")]
    Open {
        /// The file, as the caller or the header names it.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be read to its end.
    #[error("cannot read {name} at offset {offset}")]
    Read {
        /// The file, as the caller or the header names it.
        name: String,
        /// Where reading stopped.
        offset: u64,
        /// What the system said.
        source: std::io::Error,
    },
    /// No known format begins like this.
    #[error("{name} is in no known format{}: its first bytes are {head}", claim(*.claims))]
    Unrecognised {
        /// The file.
        name: String,
        /// What its name promises.
        claims: Option<FormatId>,
        /// Its first bytes, as text or as hexadecimal digits.
        head: String,
    },
    /// The content is of another format than the name promises, and reading is strict.
    #[error("{name} is named as {claims} but holds {content}")]
    Misnamed {
        /// The file.
        name: String,
        /// What its name promises.
        claims: FormatId,
        /// What it holds.
        content: FormatId,
    },
    /// The file ends inside a field.
    #[error("{format}: {field} needs {need} byte(s) at offset {offset}, but {have} remain")]
    Truncated {
        /// The format being read.
        format: FormatId,
        /// The field, as the format calls it.
        field: &'static str,
        /// Offset of the field's first byte.
        offset: u64,
        /// Bytes that the field needs.
        need: u64,
        /// Bytes that remain.
        have: u64,
    },
    /// A field holds a value that the format does not allow.
    #[error("{format}: {field} at offset {offset} is {found}, but {want} is expected")]
    Invalid {
        /// The format being read.
        format: FormatId,
        /// The field, as the format calls it.
        field: &'static str,
        /// Offset of the field, in bytes of its file, or the line for text formats.
        offset: u64,
        /// What the file holds.
        found: String,
        /// What the format allows.
        want: &'static str,
    },
    /// The format allows it, this reader does not hold it.
    #[error("{format}: {field} at offset {offset} is {found}, which is not supported")]
    Unsupported {
        /// The format being read.
        format: FormatId,
        /// The field, as the format calls it.
        field: &'static str,
        /// Offset of the field.
        offset: u64,
        /// What the file holds.
        found: String,
    },
    /// The file asks for more memory than its size or the caller's limit allows.
    #[error("{format}: {field} at offset {offset} asks for {asked}, above the limit of {limit}")]
    TooLarge {
        /// The format being read.
        format: FormatId,
        /// The field, as the format calls it.
        field: &'static str,
        /// Offset of the field.
        offset: u64,
        /// What it asks for.
        asked: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Reading is strict, and the file is only almost right.
    #[error("{format}: {field} at offset {offset}: {why} (refused because reading is strict)")]
    Strict {
        /// The format being read.
        format: FormatId,
        /// The field, as the format calls it.
        field: &'static str,
        /// Offset of the field.
        offset: u64,
        /// What was wrong.
        why: String,
    },
    /// The recording holds something that the format to be written cannot carry.
    #[error("{format} cannot carry {field}: {why}")]
    CannotCarry {
        /// The format to be written.
        format: FormatId,
        /// What would be lost.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// A file could not be stored.
    #[error("cannot write {name}")]
    Save {
        /// The file.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of this name is there already.
    #[error("{name} exists already")]
    Exists {
        /// The file.
        name: String,
    },
}

fn claim(claims: Option<FormatId>) -> String {
    claims.map_or_else(String::new, |format| {
        format!(", although its name promises {format}")
    })
}

impl FormatError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "format.open",
            Self::Read { .. } => "format.read",
            Self::Unrecognised { .. } => "format.unrecognised",
            Self::Misnamed { .. } => "format.misnamed",
            Self::Truncated { .. } => "format.truncated",
            Self::Invalid { .. } => "format.invalid",
            Self::Unsupported { .. } => "format.unsupported",
            Self::TooLarge { .. } => "format.too-large",
            Self::Strict { .. } => "format.strict",
            Self::CannotCarry { .. } => "format.cannot-carry",
            Self::Save { .. } => "format.write",
            Self::Exists { .. } => "format.exists",
        }
    }

    /// The format, where one is known.
    pub const fn format(&self) -> Option<FormatId> {
        match self {
            Self::Truncated { format, .. }
            | Self::Invalid { format, .. }
            | Self::Unsupported { format, .. }
            | Self::TooLarge { format, .. }
            | Self::Strict { format, .. }
            | Self::CannotCarry { format, .. } => Some(*format),
            Self::Misnamed { content, .. } => Some(*content),
            Self::Unrecognised { claims, .. } => *claims,
            Self::Open { .. } | Self::Read { .. } | Self::Save { .. } | Self::Exists { .. } => None,
        }
    }

    /// The field, where one is known.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Truncated { field, .. }
            | Self::Invalid { field, .. }
            | Self::Unsupported { field, .. }
            | Self::TooLarge { field, .. }
            | Self::Strict { field, .. }
            | Self::CannotCarry { field, .. } => Some(field),
            Self::Unrecognised { .. } | Self::Misnamed { .. } => Some("first bytes"),
            Self::Open { .. } | Self::Read { .. } | Self::Save { .. } | Self::Exists { .. } => None,
        }
    }

    /// The offset in its file (the line, for text formats), where one is known.
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::Truncated { offset, .. }
            | Self::Invalid { offset, .. }
            | Self::Unsupported { offset, .. }
            | Self::TooLarge { offset, .. }
            | Self::Strict { offset, .. }
            | Self::Read { offset, .. } => Some(*offset),
            Self::Unrecognised { .. } | Self::Misnamed { .. } => Some(0),
            Self::CannotCarry { .. }
            | Self::Open { .. }
            | Self::Save { .. }
            | Self::Exists { .. } => None,
        }
    }
}
