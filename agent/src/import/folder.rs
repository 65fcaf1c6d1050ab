//! The drop folder: what lies in it, whether it is complete, and where it goes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use cardio_core::clock::BoxInstant;

use super::ImportError;

const DONE: &str = "done";
const REFUSED: &str = "refused";
/// Files that belong to another one, by their extension: they are looked at last.
const COMPANIONS: [&str; 6] = ["dat", "mat", "atr", "qrs", "ann", "d"];

/// A file that may be a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) size: u64,
    /// Microseconds since 1970.
    pub(super) modified_us: i64,
}

/// The folder, and what was seen in it last.
pub(super) struct Folder {
    path: PathBuf,
    quiet_for: Duration,
    seen: Vec<Candidate>,
    quiet_since: Option<BoxInstant>,
    /// What is through but could not be moved away, because the storage is read-only.
    through: Vec<Candidate>,
}

impl Folder {
    pub(super) fn new(path: &Path, quiet_for: Duration) -> Self {
        Self {
            path: path.to_owned(),
            quiet_for,
            seen: Vec::new(),
            quiet_since: None,
            through: Vec::new(),
        }
    }

    /// The files that lie there, once nothing has changed for long enough; `None` before
    /// that, and while there is no folder.
    pub(super) fn look(&mut self, now: BoxInstant) -> Result<Option<Vec<Candidate>>, ImportError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed("read", &self.path)(source)),
        };
        let mut found: Vec<Candidate> = entries
            .flatten()
            .filter_map(|one| candidate(&one))
            .collect();
        found.sort();
        if found != self.seen || self.quiet_since.is_none() {
            self.seen = found;
            self.quiet_since = Some(now);
            return Ok(None);
        }
        let quiet = self.quiet_since.and_then(|since| now.micros_since(&since));
        if u128::from(quiet.unwrap_or(0)) < self.quiet_for.as_micros() {
            return Ok(None);
        }
        found.retain(|candidate| !self.through.contains(candidate));
        found.sort_by_key(|candidate| is_companion(&candidate.name));
        Ok(Some(found))
    }

    /// Puts files aside that were imported.
    pub(super) fn done(&mut self, names: &[String]) -> Result<(), ImportError> {
        self.put_aside(names, DONE).map(drop)
    }

    /// Puts a file aside that cannot be imported, with the reason beside it. Files that it
    /// names stay: another may need them.
    pub(super) fn refuse(&mut self, name: &str, why: &ImportError) -> Result<(), ImportError> {
        let mut text = format!("{why}\n");
        let mut cause = std::error::Error::source(why);
        while let Some(err) = cause {
            text += &format!("because: {err}\n");
            cause = err.source();
        }
        text += &format!("code:    {}\n", why.code());
        let moved = self.put_aside(&[name.to_owned()], REFUSED)?;
        for path in moved {
            let reason = path.with_file_name(format!(
                "{}.reason.txt",
                path.file_name().unwrap_or_default().to_string_lossy()
            ));
            fs::write(&reason, &text).map_err(self.failed("write", &reason))?;
        }
        Ok(())
    }

    fn put_aside(&mut self, names: &[String], to: &str) -> Result<Vec<PathBuf>, ImportError> {
        let folder = self.path.join(to);
        let mut moved = Vec::new();
        for name in names {
            let from = self.path.join(name);
            let Some(base) = from.file_name() else {
                continue;
            };
            let target = free_name(&folder, base);
            let done = fs::create_dir_all(&folder).and_then(|()| fs::rename(&from, &target));
            match done {
                Ok(()) => moved.push(target),
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(err) if err.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
                    let seen = self.seen.iter().filter(|seen| seen.name == *name);
                    self.through.extend(seen.cloned());
                }
                Err(source) => return Err(self.failed("move", &from)(source)),
            }
        }
        if !moved.is_empty() {
            let synced = fs::File::open(&folder).and_then(|file| file.sync_all());
            synced.map_err(self.failed("sync", &folder))?;
            // what is gone is no change that must settle first
            self.seen.retain(|seen| !names.contains(&seen.name));
        }
        Ok(moved)
    }

    fn failed(&self, act: &'static str, path: &Path) -> impl Fn(std::io::Error) -> ImportError {
        let path = path.to_owned();
        move |source| ImportError::Disk {
            act,
            path: path.clone(),
            source,
        }
    }
}

fn candidate(entry: &fs::DirEntry) -> Option<Candidate> {
    let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    let name = entry.file_name().to_str()?.to_owned();
    if name.starts_with('.') || name.ends_with(".part") {
        return None;
    }
    let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Candidate {
        name,
        size: meta.len(),
        modified_us: i64::try_from(since.as_micros()).ok()?,
    })
}

fn is_companion(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| {
        let letters = extension.trim_end_matches(|c: char| c.is_ascii_digit());
        COMPANIONS
            .iter()
            .any(|known| letters.eq_ignore_ascii_case(known))
    })
}

/// A name that nothing has in the folder yet.
fn free_name(folder: &Path, base: &OsStr) -> PathBuf {
    let first = folder.join(base);
    if !first.exists() {
        return first;
    }
    let base = base.to_string_lossy();
    let mut number = 2_u64;
    loop {
        let path = folder.join(format!("{number}-{base}"));
        if !path.exists() {
            return path;
        }
        number = number.saturating_add(1);
    }
}
