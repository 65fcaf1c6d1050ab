//! Where bytes come from: a name to something that can be read and sought.
//!
//! Deliberately absent: the disk (see [`crate::fsource`]).

use std::collections::BTreeMap;
use std::io::{Cursor, Error, ErrorKind, Read, Result, Seek};
use std::sync::Arc;

/// Bytes that can be read from any place.
pub trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// The files of one recording, by the names that its header uses.
pub trait Source: Send + Sync {
    /// Opens a file beside the recording.
    ///
    /// # Errors
    /// What the system says; [`ErrorKind::NotFound`] when there is no such file.
    fn open(&self, name: &str) -> Result<Box<dyn ReadSeek>>;
}

/// Files held in memory, for uploads and tests.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl MemorySource {
    /// A source without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The source with one more file.
    #[must_use]
    pub fn with(mut self, name: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.files.insert(name.to_owned(), bytes.into());
        self
    }
}

impl Source for MemorySource {
    fn open(&self, name: &str) -> Result<Box<dyn ReadSeek>> {
        let bytes = self
            .files
            .get(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no such file"))?;
        Ok(Box::new(Cursor::new(Arc::clone(bytes))))
    }
}
