//! The record for a data warehouse: one file of lines (NDJSON) per type of resource, without
//! anything that names a person.
//!
//! Pseudonyms are an HMAC-SHA256 (RFC 2104) of the reference under a key of the operator's, cut
//! to 128 bits: the same at every export with that key. Deliberately absent: originals, which
//! hold whatever their makers wrote into them.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cardio_fhir::pseudonym::{KINDS, pseudonymous};
use ring::hmac;
use serde_json::{Map, Value, json};

use crate::db::{Connection, DbError, Readers, values};

/// Least length of a key, in bytes.
const KEY_MIN: usize = 32;
/// Resources that are held in memory at once.
const AT_ONCE: u64 = 200;

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The key cannot be read.
    #[error("cannot read the key of the pseudonyms {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is too short to keep a secret.
    #[error(
        "the key of the pseudonyms has {found} bytes; at least {KEY_MIN} random ones are needed"
    )]
    ShortKey {
        /// How long it is.
        found: usize,
    },
    /// A file or the folder cannot be written, for instance because the folder exists.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The record cannot be read.
    #[error("the record cannot be read")]
    Record(#[source] DbError),
}

impl BulkError {
    /// Stable identifier for logs and `--json`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "bulk.key",
            Self::ShortKey { .. } => "bulk.short-key",
            Self::Write { .. } => "bulk.write",
            Self::Record(error) => error.code(),
        }
    }
}

/// Writes the record into a new folder that only its owner may enter; answers how many
/// resources of each type there are.
///
/// # Errors
/// [`BulkError`]; a folder that was made stays, with what was written into it.
pub fn export(
    readers: &Readers,
    folder: &Path,
    key: &Path,
) -> Result<Map<String, Value>, BulkError> {
    let secret = std::fs::read(key).map_err(|source| BulkError::Key {
        path: key.to_owned(),
        source,
    })?;
    let secret = secret.trim_ascii();
    if secret.len() < KEY_MIN {
        let found = secret.len();
        return Err(BulkError::ShortKey { found });
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|source| BulkError::Write {
        path: folder.to_owned(),
        source,
    })?;
    let mut counts = Map::new();
    for kind in KINDS {
        let path = folder.join(format!("{kind}.ndjson"));
        let count = write_kind(readers, kind, &path, &key)?;
        counts.insert(kind.to_owned(), json!(count));
    }
    Ok(counts)
}

fn write_kind(
    readers: &Readers,
    kind: &str,
    path: &Path,
    key: &hmac::Key,
) -> Result<u64, BulkError> {
    let failed = |source| BulkError::Write {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut file = BufWriter::new(file);
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = readers
            .read(|connection| page(connection, kind, &after))
            .map_err(BulkError::Record)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        after.clone_from(last);
        for (_, body) in &page {
            let Some(left) = pseudonymous(body, &|of: &str| pseudonym(key, of)) else {
                continue;
            };
            writeln!(file, "{left}").map_err(failed)?;
            count += 1;
        }
    }
    let file = file
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(count)
}

/// The resources of a type behind an id, with their ids.
fn page(connection: &Connection, kind: &str, after: &str) -> Result<Vec<(String, Value)>, DbError> {
    let rows = connection.rows(
        "read the record for an export",
        "SELECT id, body FROM resources WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        values![kind, after, AT_ONCE],
    )?;
    rows.into_iter()
        .map(|mut row| {
            let body: String = row.take(1)?;
            let body = serde_json::from_str(&body).map_err(|_| DbError::Damaged {
                what: "read a resource",
            })?;
            Ok((row.take(0)?, body))
        })
        .collect()
}

fn pseudonym(key: &hmac::Key, of: &str) -> String {
    let tag = hmac::sign(key, of.as_bytes());
    let mut text = String::with_capacity(32);
    for byte in tag.as_ref().iter().take(16) {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
