//! Many needles in one pass over a large file, holes included.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

use super::needles::Needle;

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// Bytes of a needle that are looked up.
const KEY: usize = 4;

/// A search, and what it has found so far.
pub(crate) struct Search {
    needles: Vec<Vec<u8>>,
    by_key: HashMap<[u8; KEY], Vec<usize>>,
    /// Whether any needle begins with two bytes.
    begins: Vec<bool>,
    longest: usize,
    found: Vec<bool>,
}

impl Search {
    /// For these needles, each of at least four bytes; shorter ones are never found.
    pub(crate) fn of<'n>(needles: impl Iterator<Item = &'n Needle>) -> Self {
        let needles: Vec<Vec<u8>> = needles.map(|needle| needle.bytes.clone()).collect();
        let mut by_key: HashMap<[u8; KEY], Vec<usize>> = HashMap::new();
        let mut begins = vec![false; 1 << 16];
        for (at, needle) in needles.iter().enumerate() {
            if let Some(key) = needle.first_chunk::<KEY>() {
                by_key.entry(*key).or_default().push(at);
                if let Some(mark) = begins.get_mut(pair(*key)) {
                    *mark = true;
                }
            }
        }
        Self {
            found: vec![false; needles.len()],
            longest: needles.iter().map(Vec::len).max().unwrap_or(0),
            needles,
            by_key,
            begins,
        }
    }

    /// Which needles were found, in their order.
    pub(crate) fn found(&self) -> &[bool] {
        &self.found
    }

    /// Searches a whole file; answers how many bytes it has.
    pub(crate) fn read(&mut self, path: &Path) -> anyhow::Result<u64> {
        let mut file =
            std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        ensure!(self.longest < PIECE, "a needle is longer than a piece");
        let mut piece = vec![0; self.longest + PIECE];
        let (mut kept, mut all) = (0, 0);
        loop {
            let room = piece.get_mut(kept..kept + PIECE).unwrap_or_default();
            let len = file
                .read(room)
                .with_context(|| format!("cannot read {}", path.display()))?;
            if len == 0 {
                return Ok(all);
            }
            all += u64::try_from(len).unwrap_or(0);
            let filled = kept + len;
            self.look(piece.get(..filled).unwrap_or_default());
            // A needle may lie across two pieces.
            kept = filled.min(self.longest.saturating_sub(1));
            piece.copy_within(filled - kept..filled, 0);
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        const ZEROS: [u8; 4096] = [0; 4096];
        if bytes
            .chunks(ZEROS.len())
            .all(|part| ZEROS.starts_with(part))
        {
            return;
        }
        for (at, key) in bytes.windows(KEY).enumerate() {
            let Some(key) = key.first_chunk::<KEY>() else {
                continue;
            };
            if !self.begins.get(pair(*key)).copied().unwrap_or(false) {
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            for which in self.by_key.get(key).into_iter().flatten() {
                let is_here = self
                    .needles
                    .get(*which)
                    .is_some_and(|needle| rest.starts_with(needle));
                if let Some(found) = self.found.get_mut(*which).filter(|_| is_here) {
                    *found = true;
                }
            }
        }
    }
}

fn pair([first, second, ..]: [u8; KEY]) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

#[cfg(test)]
mod tests {
    use super::{PIECE, Search};
    use crate::stolen::needles::{Needle, What};

    #[test]
    fn a_needle_across_two_pieces_and_behind_holes_is_found() {
        let needles = [&b"NEEDLE-ONE"[..], b"NEEDLE-TWO", b"NEEDLE-MISSING"].map(|bytes| Needle {
            what: What::Planted,
            bytes: bytes.to_vec(),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card");
        let mut bytes = vec![0; 3 * PIECE];
        bytes[PIECE - 4..PIECE + 6].copy_from_slice(b"NEEDLE-ONE");
        bytes[3 * PIECE - 10..].copy_from_slice(b"NEEDLE-TWO");
        std::fs::write(&path, &bytes).unwrap();
        let mut search = Search::of(needles.iter());
        assert_eq!(search.read(&path).unwrap(), 3 << 20);
        assert_eq!(search.found(), [true, true, false]);
    }
}
