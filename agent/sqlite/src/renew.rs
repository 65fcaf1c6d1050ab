//! Writing the log of a database anew, so that what can be read of it is on the disk.
//!
//! Nobody may have the database open meanwhile; see [`crate`]. It does not look at the bytes: what
//! SQLite accepts of the old log it accepts of the new one.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::opening::{OpenError, beside, sync_directory};

/// Ends the name of SQLite's write-ahead log.
const LOG: &str = "-wal";

/// Ends the name of a log that is not complete yet. A crash may leave it; it means nothing.
const NEW_LOG: &str = "-wal.new";

const BLOCK: usize = 64 * 1024;

/// Replaces the log of `database` by a copy that is on the disk. Without a log there is nothing to
/// do.
pub(crate) fn renew(database: &Path) -> Result<(), OpenError> {
    let (log, new_log) = (beside(database, LOG), beside(database, NEW_LOG));
    let mut old = match File::open(&log) {
        Ok(old) => old,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(OpenError::file("read the log", &log, err)),
    };
    let length = old.metadata().map(|meta| meta.len());
    if length.map_err(|err| OpenError::file("read the log", &log, err))? == 0 {
        return Ok(());
    }
    copy(&mut old, &new_log).map_err(|err| {
        // What there is of it takes space that others may need, and means nothing.
        let _ = std::fs::remove_file(&new_log);
        OpenError::file("write the log anew as", &new_log, err)
    })?;
    std::fs::rename(&new_log, &log).map_err(|err| OpenError::file("replace the log", &log, err))?;
    sync_directory(database)
}

/// Copies byte by byte through memory. `std::io::copy` asks the file system to copy, which may
/// share the blocks on the disk: exactly those that lack what is in memory.
fn copy(old: &mut File, path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut block = vec![0; BLOCK];
    loop {
        match old.read(&mut block)? {
            0 => break,
            count => new.write_all(block.get(..count).unwrap_or_default())?,
        }
    }
    new.sync_all()
}
