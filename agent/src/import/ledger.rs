//! What the import remembers beyond the outbox's bookkeeping: a file of lines, only ever
//! added to, each on the disk before what it announces or after what it confirms.
//!
//! - `done HASH`: everything of this content is in the outbox.
//! - `ending ACQUISITION`: its last record is offered next. If the outbox then knows no open
//!   acquisition of that name, the record was kept.
//! - `fetched MARK`: everything of the recording that its sensor calls so is in the outbox.
//! - `parts HASH NUMBER`: so many parts of the file of that hash are in the outbox.
//! - `lost ACQUISITION`: it was ended without its file; the file begins another one.
//!
//! A line that was cut by a power loss is no line. Deliberately absent: names of files.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cardio_core::ids::{AcquisitionId, BoxId};
use ring::digest::{Context, SHA256};

use super::{ImportError, Mark};

/// Name of the ledger in the state directory.
const FILE: &str = "imports";
const FETCHED: &str = "fetched";
const PARTS: &str = "parts";

/// The lines, and where more go.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    lines: HashSet<String>,
}

impl Ledger {
    pub(super) fn open(state: &Path) -> Result<Self, ImportError> {
        let path = state.join(FILE);
        let failed = |source| ImportError::Disk {
            act: "open",
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let lines = text.get(..whole).unwrap_or_default().lines();
        let lines = lines.map(str::to_owned).collect();
        // a cut line ends here, so that the next one begins on its own
        let at = u64::try_from(whole).unwrap_or(u64::MAX);
        file.set_len(at)
            .and_then(|()| file.seek(SeekFrom::Start(at)))
            .and_then(|_| file.sync_all())
            .and_then(|()| File::open(state)?.sync_all())
            .map_err(failed)?;
        Ok(Self { path, file, lines })
    }

    /// Whether everything of this content is in the outbox.
    pub(super) fn is_done(&self, content: &[u8; 32]) -> bool {
        self.lines.contains(&done_line(content))
    }

    /// Remembers that everything of this content is in the outbox.
    pub(super) fn done(&mut self, content: &[u8; 32]) -> Result<(), ImportError> {
        self.add(done_line(content))
    }

    /// Remembers that a sensor's recording is in the outbox.
    pub(super) fn fetched(&mut self, mark: &Mark) -> Result<(), ImportError> {
        self.add(hash_line(FETCHED, &mark.0))
    }

    /// The recordings of sensors that are in the outbox.
    pub(super) fn all_fetched(&self) -> BTreeSet<Mark> {
        let mark = |line: &String| {
            let (word, digits) = line.split_once(' ')?;
            let mut mark = [0; 32];
            for (place, byte) in mark.iter_mut().enumerate() {
                let at = place.checked_mul(2)?;
                *byte = u8::from_str_radix(digits.get(at..at.checked_add(2)?)?, 16).ok()?;
            }
            (word == FETCHED).then_some(Mark(mark))
        };
        self.lines.iter().filter_map(mark).collect()
    }

    /// How many parts of a file are in the outbox for sure.
    pub(super) fn parts_kept(&self, file: &[u8; 32]) -> u64 {
        let of_file = format!("{} ", hash_line(PARTS, file));
        let numbers = self.lines.iter().filter_map(|line| {
            let number = line.strip_prefix(&of_file)?;
            number.parse().ok()
        });
        numbers.max().unwrap_or(0)
    }

    /// Remembers that so many parts of a file are in the outbox.
    pub(super) fn keep_parts(&mut self, file: &[u8; 32], number: u64) -> Result<(), ImportError> {
        self.add(format!("{} {number}", hash_line(PARTS, file)))
    }

    /// Whether the last record of this acquisition was offered.
    pub(super) fn is_ending(&self, id: AcquisitionId) -> bool {
        self.lines.contains(&format!("ending {id}"))
    }

    /// Remembers that the last record of this acquisition is offered next.
    pub(super) fn ending(&mut self, id: AcquisitionId) -> Result<(), ImportError> {
        self.add(format!("ending {id}"))
    }

    /// Remembers that this acquisition was ended without its file.
    pub(super) fn lost(&mut self, id: AcquisitionId) -> Result<(), ImportError> {
        self.add(format!("lost {id}"))
    }

    /// The name of the acquisition that a part of a file becomes on this box: the same at
    /// every try, another one after a loss.
    pub(super) fn next_name(
        &self,
        device: &BoxId,
        content: &[u8; 32],
        part: usize,
    ) -> AcquisitionId {
        let mut attempt = 0_u64;
        loop {
            let id = name(device, content, part, attempt);
            if !self.lines.contains(&format!("lost {id}")) {
                return id;
            }
            attempt = attempt.saturating_add(1);
        }
    }

    fn add(&mut self, line: String) -> Result<(), ImportError> {
        if self.lines.contains(&line) {
            return Ok(());
        }
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|source| ImportError::Disk {
                act: "write",
                path: self.path.clone(),
                source,
            })?;
        self.lines.insert(line);
        Ok(())
    }
}

fn done_line(content: &[u8; 32]) -> String {
    hash_line("done", content)
}

fn hash_line(word: &str, hash: &[u8; 32]) -> String {
    let digits = hash.iter().map(|byte| format!("{byte:02x}"));
    format!("{word} {}", digits.collect::<String>())
}

/// A UUID of version 8 (RFC 9562, 5.8) from all that makes the acquisition what it is.
fn name(device: &BoxId, content: &[u8; 32], part: usize, attempt: u64) -> AcquisitionId {
    let mut context = Context::new(&SHA256);
    context.update(b"cardio import 1");
    context.update(&device.0);
    context.update(content);
    context.update(&u64::try_from(part).unwrap_or(u64::MAX).to_be_bytes());
    context.update(&attempt.to_be_bytes());
    let digest = context.finish();
    let mut id = [0_u8; 16];
    for (position, (to, from)) in id.iter_mut().zip(digest.as_ref()).enumerate() {
        *to = match position {
            6 => from & 0x0F | 0x80,
            8 => from & 0x3F | 0x80,
            _ => *from,
        };
    }
    AcquisitionId(id)
}

#[cfg(test)]
mod tests {
    use super::{BoxId, FILE, Ledger, Mark};

    const BOX: BoxId = BoxId([7; 16]);

    #[test]
    fn what_was_remembered_is_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        let id = ledger.next_name(&BOX, &[1; 32], 0);
        ledger.ending(id).unwrap();
        ledger.done(&[1; 32]).unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        assert!(ledger.is_ending(id) && ledger.is_done(&[1; 32]));
        assert!(!ledger.is_done(&[2; 32]));
    }

    #[test]
    fn a_recording_of_a_sensor_is_known_again_by_all_that_the_sensor_says_of_it() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        let mark = Mark::of(["unit", "r1"]);
        ledger.fetched(&mark).unwrap();
        ledger.done(&[1; 32]).unwrap();
        let known = Ledger::open(state.path()).unwrap().all_fetched();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [mark]);
        assert_ne!(mark, Mark::of(["unitr", "1"]));
    }

    #[test]
    fn how_far_a_file_was_sent_is_known_after_a_restart() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        for number in [512, 1024, 1536] {
            ledger.keep_parts(&[1; 32], number).unwrap();
        }
        let ledger = Ledger::open(state.path()).unwrap();
        assert_eq!(ledger.parts_kept(&[1; 32]), 1536);
        assert_eq!(ledger.parts_kept(&[2; 32]), 0);
    }

    #[test]
    fn a_cut_line_is_no_line_and_the_next_one_stands_alone() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        ledger.done(&[1; 32]).unwrap();
        let path = state.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"done 02"].concat()).unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        ledger.done(&[3; 32]).unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        assert!(ledger.is_done(&[1; 32]) && ledger.is_done(&[3; 32]));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
    }

    #[test]
    fn after_a_loss_the_same_content_gets_another_name() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(state.path()).unwrap();
        let first = ledger.next_name(&BOX, &[1; 32], 0);
        assert_eq!(first, ledger.next_name(&BOX, &[1; 32], 0));
        assert_ne!(first, ledger.next_name(&BOX, &[1; 32], 1));
        ledger.lost(first).unwrap();
        assert_ne!(first, ledger.next_name(&BOX, &[1; 32], 0));
    }
}
