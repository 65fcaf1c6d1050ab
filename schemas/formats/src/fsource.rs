//! Files of one folder. The only place in this crate that touches the disk.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::FormatError;
use crate::source::{ReadSeek, Source};

/// The files of one folder and of the folders below it.
#[derive(Clone, Debug)]
pub struct DirSource {
    root: PathBuf,
}

impl DirSource {
    /// The files of `folder`.
    pub fn of(folder: &Path) -> Self {
        Self {
            root: folder.to_owned(),
        }
    }

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

/// Writes files into a folder, whole or not at all: each under another name first, on the
/// disk before it gets its own. Only the owner may read them.
///
/// # Errors
/// [`FormatError::Exists`] when a file is there already and `replace` is not set,
/// [`FormatError::Save`] with what the system says.
pub fn save(
    folder: &Path,
    files: &[(String, Vec<u8>)],
    replace: bool,
) -> std::result::Result<(), FormatError> {
    for (name, _) in files {
        if !replace && folder.join(name).exists() {
            return Err(FormatError::Exists { name: name.clone() });
        }
    }
    for (name, bytes) in files {
        let (path, part) = (folder.join(name), folder.join(format!("{name}.part")));
        let written = write_synced(&part, bytes).and_then(|()| std::fs::rename(&part, &path));
        written.map_err(|source| FormatError::Save {
            name: name.clone(),
            source,
        })?;
    }
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
