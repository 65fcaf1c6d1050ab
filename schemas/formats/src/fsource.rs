//! Files of one folder. The only place in this crate that touches the disk.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

use crate::source::{ReadSeek, Source};

/// The files of one folder and of the folders below it.
#[derive(Clone, Debug)]
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    /// The folder that holds `path`, and the file's name in it.
    pub fn beside(path: &Path) -> (Self, String) {
        let root = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        (Self { root }, name)
    }
}

impl Source for DirSource {
    fn open(&self, name: &str) -> Result<Box<dyn ReadSeek>> {
        let relative = Path::new(name);
        let inside = relative
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || name.is_empty() {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "the name leads out of the recording's folder",
            ));
        }
        let file = File::open(self.root.join(relative))?;
        if file.metadata()?.is_dir() {
            return Err(Error::new(ErrorKind::IsADirectory, "it is a folder"));
        }
        Ok(Box::new(file))
    }
}
