//! The drop folder as a source of files, which notes what was opened.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cardio_formats::fsource::DirSource;
use cardio_formats::source::{ReadSeek, Source};
use ring::digest::{Context, SHA256};

/// Files of one folder, and the names of those that were there when asked for, in the order
/// of the first asking.
pub(super) struct Noted {
    folder: PathBuf,
    files: DirSource,
    opened: Mutex<Vec<String>>,
}

impl Noted {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: DirSource::of(folder),
            opened: Mutex::new(Vec::new()),
        }
    }

    /// What was opened.
    pub(super) fn opened(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// SHA-256 over the content of all that was opened; names do not count.
    pub(super) fn digest(&self) -> std::io::Result<[u8; 32]> {
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 1 << 16];
        for name in self.opened() {
            let mut file = File::open(self.folder.join(&name))?;
            context.update(&file.metadata()?.len().to_be_bytes());
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                context.update(buffer.get(..count).unwrap_or_default());
            }
        }
        let mut digest = [0; 32];
        for (to, from) in digest.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Ok(digest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Noted {
    fn open(&self, name: &str) -> std::io::Result<Box<dyn ReadSeek>> {
        let file = self.files.open(name)?;
        let mut opened = self.lock();
        if !opened.iter().any(|known| known == name) {
            opened.push(name.to_owned());
        }
        Ok(file)
    }
}
