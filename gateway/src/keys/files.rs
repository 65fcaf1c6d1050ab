//! Files of the key folder: written whole or not at all, for their owner only.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use super::KeyError;

/// Writes a file that only its owner may read, and waits until it is on disk.
///
/// # Errors
/// [`KeyError::Io`] when the file exists or cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io("create", path))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(io("write", path))
}

/// Replaces a file as a whole: a draft beside it is flushed and renamed over it.
pub(super) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let draft = path.with_extension("new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(io("remove", &draft)(error));
        }
        _ => {}
    }
    write_private(&draft, bytes)?;
    std::fs::rename(&draft, path).map_err(io("replace", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Overwrites a file and removes it, as far as a file system lets one.
pub(super) fn wipe(path: &Path) -> Result<(), KeyError> {
    let wiped = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| {
            let len = file.metadata()?.len();
            std::io::copy(&mut std::io::repeat(0).take(len), &mut file)?;
            file.sync_all()
        });
    wiped
        .and_then(|()| std::fs::remove_file(path))
        .map_err(io("wipe", path))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), KeyError> {
    std::fs::File::open(folder)
        .and_then(|file| file.sync_all())
        .map_err(io("sync", folder))
}

pub(super) fn secret_bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mode = std::fs::metadata(path)
        .map_err(io("read", path))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(io("read", path))
}

pub(super) fn secret_text(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let bytes = secret_bytes(path)?;
    std::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| damaged(path, "text"))
}

pub(super) fn text(path: &Path) -> Result<String, KeyError> {
    std::fs::read_to_string(path).map_err(io("read", path))
}

pub(super) fn damaged(path: &Path, what: &'static str) -> KeyError {
    KeyError::Damaged {
        path: path.to_owned(),
        what,
    }
}

pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { act, path, source }
}
