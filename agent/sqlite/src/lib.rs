//! A SQLite file whose word can be trusted after a write error: opened so that everything that can
//! be read of it is on the disk.
//!
//! It knows no table, and neither retries nor repairs. The files of box and gateway are opened to
//! write through here and nowhere else.
//!
//! **The danger.** When a flush fails, Linux keeps the pages that it could not write, readable and
//! marked as clean: no later flush of that file writes them. SQLite believes what it reads. So
//! after a failed COMMIT the log (`-wal`) can be opened again, shows the commit, and is a hole on
//! the disk; everything committed behind the hole goes with the next power cut. Neither a restart
//! of the program nor another `fsync` mends that.
//!
//! **The cure.** Whoever opens the file
//! 1. makes sure that no other program has it open. SQLite holds a shared lock on the database for
//!    as long as a connection lives (`sqlite3WalClose` rests on that too), so an exclusive one
//!    excludes them all. A log that is replaced under a connection would be read and written past;
//! 2. writes the log anew ([`renew`]): its bytes to another file, flushed, renamed over it, the
//!    name flushed. A power cut leaves the old log or the new one, and what was promised is in
//!    both. The log is not moved into the database instead: those writes may reach the disk while
//!    the log that they came from has a hole there;
//! 3. forgets what is in memory of the database file, so that it reads what the disk has. On ext4 a
//!    block whose first write failed may stay marked as never written while it is in memory, and
//!    writing it once more does not change that mark.
//!
//! When one of these fails the file stays closed: nothing is read, and nothing is promised.
//!
//! **Why the database file needs no copy.** Pages go there from the log only in a checkpoint, and
//! the log is begun from the start again only after `nBackfill` has reached its end, which
//! `walCheckpoint` sets after a flush of the database that succeeded. When that flush fails, the
//! log still holds every page in question, and reading prefers the log. Three things break this
//! argument in SQLite as it comes, and are different here:
//! - A checkpoint that readers kept from the end sets `nBackfill` without a flush. When those
//!   pages then fail on their way to the disk, the next checkpoint says so once, and the one after
//!   it leaves them out. So a failed checkpoint closes the file: the index of the log, `nBackfill`
//!   with it, is made anew by the first connection, and the next checkpoint takes the whole log.
//! - A checkpoint that follows a COMMIT by itself (`wal_autocheckpoint`) cannot say that it
//!   failed: `sqlite3WalDefaultHook` drops the error. So it is off, and [`checkpoint`] is called
//!   after a COMMIT, which stands whatever becomes of the checkpoint.
//! - The last connection moves the log when it closes. After an error that would be step 2's
//!   mistake, so a connection that is dropped never does (`SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE`);
//!   the next opening renews the log. [`close`] moves it, in the orderly end of a program.
//!
//! A new log's name is on the disk before the first COMMIT is answered: SQLite makes the file with
//! the first reading, drops the error of flushing its directory, and the directory is flushed here.

mod opening;
mod renew;

pub use opening::{
    LOG_BYTES, OpenError, beside, checkpoint, close, directory, open, private_file, sync_directory,
};
