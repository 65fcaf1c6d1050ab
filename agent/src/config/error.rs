//! Why a configuration cannot be used, with the key and what was probably meant.

use std::path::{Path, PathBuf};

use figment::error::Kind;

use super::suggest;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        why: String,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}` in {}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written, with its tables.
        key: String,
        /// The nearest key that exists there.
        meant: Option<&'static str>,
        /// All keys that exist there.
        known: &'static [&'static str],
    },
    /// A key that must be there is absent.
    #[error("the key `{key}` is missing in {}", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key, with its tables.
        key: String,
    },
    /// A value that the key cannot have.
    #[error("`{key}` in {} cannot be used: {why}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key, with its tables.
        key: String,
        /// What is wrong with it.
        why: String,
        /// The value that was probably meant.
        meant: Option<String>,
    },
}

impl ConfigError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config.unreadable",
            Self::Syntax { .. } => "config.syntax",
            Self::UnknownKey { .. } => "config.key.unknown",
            Self::MissingKey { .. } => "config.key.missing",
            Self::BadValue { .. } => "config.value",
        }
    }

    /// What to write instead, if that is known.
    pub fn suggestion(&self) -> Option<String> {
        match self {
            Self::UnknownKey {
                meant: Some(meant), ..
            } => Some(format!("write `{meant}` instead")),
            Self::UnknownKey { known, .. } => {
                Some(format!("known keys here: {}", known.join(", ")))
            }
            Self::BadValue {
                meant: Some(meant), ..
            } => Some(format!("write `{meant}` instead")),
            _ => None,
        }
    }
}

/// Our name for what figment found.
pub(super) fn named(err: &figment::Error, path: &Path) -> ConfigError {
    let path = path.to_owned();
    let at = err.path.join(".");
    let inside = |name: &str| {
        if at.is_empty() {
            name.to_owned()
        } else {
            format!("{at}.{name}")
        }
    };
    match &err.kind {
        Kind::UnknownField(name, known) => ConfigError::UnknownKey {
            path,
            // figment's path ends with the unknown key itself
            key: if at.ends_with(name.as_str()) {
                at.clone()
            } else {
                inside(name)
            },
            meant: suggest::nearest(name, known.iter().copied()),
            known,
        },
        Kind::MissingField(name) => ConfigError::MissingKey {
            path,
            key: inside(name),
        },
        Kind::UnknownVariant(name, known) => ConfigError::BadValue {
            path,
            key: at,
            why: format!("`{name}` is none of {}", known.join(", ")),
            meant: suggest::nearest(name, known.iter().copied()).map(str::to_owned),
        },
        Kind::InvalidType(actual, expected) => ConfigError::BadValue {
            path,
            key: at,
            why: format!("found {actual}, expected {expected}"),
            meant: None,
        },
        other if at.is_empty() => ConfigError::Syntax {
            path,
            why: other.to_string(),
        },
        other => ConfigError::BadValue {
            path,
            key: at,
            why: other.to_string(),
            meant: None,
        },
    }
}
