//! What is wrong with a file that can still be read: told, or refused when strict.

use crate::error::FormatError;
use crate::sniff::FormatId;

/// The most warnings that are kept in words; the rest are counted.
const KEPT: usize = 100;

/// Collects warnings of one file.
#[derive(Debug)]
pub(crate) struct Warnings {
    format: FormatId,
    strict: bool,
    texts: Vec<String>,
    more: u64,
}

impl Warnings {
    pub(crate) const fn new(format: FormatId, strict: bool) -> Self {
        Self {
            format,
            strict,
            texts: Vec::new(),
            more: 0,
        }
    }

    /// Tells of one fault, or refuses the file when reading is strict.
    pub(crate) fn tell(
        &mut self,
        field: &'static str,
        offset: u64,
        why: String,
    ) -> Result<(), FormatError> {
        if self.strict {
            return Err(FormatError::Strict {
                format: self.format,
                field,
                offset,
                why,
            });
        }
        if self.texts.len() < KEPT {
            self.texts
                .push(format!("{field} at offset {offset}: {why}"));
        } else {
            self.more = self.more.saturating_add(1);
        }
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        let mut texts = std::mem::take(&mut self.texts);
        if self.more > 0 {
            texts.push(format!("and {} more", self.more));
            self.more = 0;
        }
        texts
    }
}
